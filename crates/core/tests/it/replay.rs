//! What upstream was recorded doing, done by us: every exchange, byte for byte, and every row it left.

use narthex_testkit::replay::{replay, transcripts};

macro_rules! areas {
    ($($test:ident: $area:literal),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            let mut differences = Vec::new();
            for transcript in transcripts($area) {
                differences.extend(replay(&transcript).await);
            }
            assert!(differences.is_empty(), "{}", differences.join("\n"));
        }
    )*};
}

areas! {
    accounts_are_listed_and_unlinked_as_upstream_does: "account",
    sessions_are_remembered_as_upstream_does: "cookie-cache",
    cookies_look_as_upstreams: "cookies",
    the_official_client_sees_what_upstream_shows_it: "client",
    errors_end_where_upstream_sends_them: "error-page",
    additional_fields_are_as_upstream: "fields",
    ids_are_as_upstream: "ids",
    names_of_tables_and_columns_are_as_upstream: "names",
    sessions_are_changed_as_upstream: "update-session",
    users_are_changed_as_upstream: "update-user",
    ok_answers_as_upstream: "ok",
    origins_are_judged_as_upstream_does: "origin",
    passwords_are_changed_as_upstream_does: "password",
    secrets_sign_as_upstreams_do: "secrets",
    paths_lead_where_upstreams_lead: "paths",
    limits_are_upstreams: "rate-limit",
    sessions_are_answered_as_upstream: "session",
    sessions_are_listed_and_revoked_as_upstream_does: "sessions",
    sign_ins_are_answered_as_upstream: "sign-in",
    sign_outs_are_answered_as_upstream: "sign-out",
    sign_ups_are_answered_as_upstream: "sign-up",
}

/// An area that is recorded and not replayed would be a promise that nobody keeps.
#[test]
fn every_recorded_area_is_replayed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance/transcripts");
    let source = [include_str!("replay.rs"), include_str!("../../../plugins/tests/it/replay.rs")].concat();
    for entry in std::fs::read_dir(folder).expect("there are transcripts") {
        let area = entry.expect("a folder").file_name().into_string().expect("a name");
        assert!(source.contains(&format!("\"{area}\",")), "{area} is recorded but not replayed");
    }
}
