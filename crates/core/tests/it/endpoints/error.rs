//! `/error`: where a browser ends up when something failed.

use insta::assert_snapshot;
use narthex::Environment;
use narthex_testkit::TestApp;

#[tokio::test]
async fn in_production_the_error_goes_to_the_root_of_the_site() {
    let app = TestApp::new().await;
    let reply =
        app.browser().get("/error?error=invalid_token&error_description=It%20is+over%20%26%20done").await;
    assert_snapshot!(reply.in_full(), @r"
    302
    location: /?error=invalid_token&error_description=It+is+over+%26+done
    ");
    let reply = app.browser().get("/error?error=%3Cscript%3E").await;
    assert_snapshot!(reply.in_full(), @r"
    302
    location: /?error=UNKNOWN
    ");
}

#[tokio::test]
async fn in_development_there_is_a_page_that_runs_and_loads_nothing() {
    let app = TestApp::with_config(|config| config.environment = Environment::Development).await;
    let reply =
        app.browser().get("/error?error=it's&error_description=%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert_snapshot!(reply.in_full(), @r#"
    200
    content-security-policy: default-src 'none'; style-src 'sha256-uUfvVf9aXMuDvQH5AKhbUN5p/lcngsolmWUCe8kcQ14='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'
    content-type: text/html
    referrer-policy: no-referrer
    x-content-type-options: nosniff

    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Error</title>
    <style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;place-items:center}main{max-width:32rem;padding:2rem;overflow-wrap:anywhere}h1{font-size:1.5rem;margin:0 0 1rem}code{font-family:ui-monospace,monospace;border:1px solid;border-radius:.25rem;padding:.125rem .375rem}</style>
    </head>
    <body>
    <main>
    <h1>Something went wrong</h1>
    <p>&lt;script&gt;alert(1)&lt;/script&gt;</p>
    <p><code>it&#39;s</code></p>
    <p><a href="/">Go to the home page</a></p>
    </main>
    </body>
    </html>
    "#);
}

#[tokio::test]
async fn an_application_can_have_a_page_of_its_own() {
    for (target, expected) in [
        ("https://app.example/failed?a=b#c", "https://app.example/failed?a=b&error=X#c"),
        ("/failed", "/failed?error=X"),
    ] {
        let app = TestApp::with_config(|config| {
            config.environment = Environment::Development;
            config.on_api_error.error_url = Some(target.to_owned());
        });
        let reply = app.await.browser().get("/error?error=X").await;
        assert_eq!((reply.status(), reply.header("location"), reply.text().as_str()), (302, expected, ""));
    }
}

#[tokio::test]
async fn where_the_error_goes_is_checked_at_start() {
    for target in [
        "",
        "failed",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "mailto:a@b.co",
    ] {
        let app = TestApp::builder().config(|config| config.on_api_error.error_url = Some(target.to_owned()));
        let Err(error) = app.try_build().await else { panic!("{target:?} was accepted") };
        assert_eq!(
            error.to_string(),
            format!("on-api-error.error-url = {target:?}: must be a URL, or a path that begins with one /")
        );
    }
}
