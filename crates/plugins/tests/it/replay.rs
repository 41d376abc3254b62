//! What upstream's plugins were recorded doing, done by ours.

use narthex_plugins::Plugins;
use narthex_testkit::replay::{replay_with, transcripts};

macro_rules! areas {
    ($($test:ident: $area:literal),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            let mut differences = Vec::new();
            for transcript in transcripts($area) {
                let played = replay_with(&transcript, |app, plugins| {
                    let plugins: Plugins = plugins.try_into().expect("the plugins of a transcript");
                    app.install(move |builder| plugins.install(builder))
                });
                differences.extend(played.await);
            }
            assert!(differences.is_empty(), "{}", differences.join("\n"));
        }
    )*};
}

areas! {
    tokens_in_headers_are_sessions_as_upstreams: "bearer",
    tokens_are_upstreams: "jwt",
}
