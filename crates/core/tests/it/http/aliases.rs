//! Other paths of endpoints, endpoints without cookies, and mistakes that are seen once everything is installed.

use crate::support::{ada, again, credentials, over_tcp};
use http::Method;
use insta::assert_snapshot;
use narthex::{Installed, prelude::*};
use narthex_testkit::{Builder, TestApp};
use serde_json::json;

/// Has an endpoint that says what it sees, and other paths for it.
#[derive(Default)]
struct Other {
    further: Vec<(&'static str, &'static str)>,
    needs_company: bool,
}

output! {
    /// What somebody sees.
    struct Seen {
        /// The path.
        path: String,
        /// The cookies.
        cookies: String,
        /// Whether a session is found.
        is_signed_in: bool,
    }
}

impl Plugin for Other {
    const ID: &'static str = "other";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.get("/other/seen", Self::seen);
        setup.get("/other/blind", Self::seen).without_cookies();
        setup.post("/other/blind", Self::enter).without_cookies();
        setup.get("/other/guarded", Self::guarded).without_cookies();
        setup.alias(Method::GET, "/seen", "/other/seen");
        setup.alias_anywhere(Method::GET, "/elsewhere/seen", "/other/seen");
        setup.alias_anywhere(Method::GET, "/api/auth/whole", "/other/seen");
        setup.alias_anywhere(Method::POST, "/elsewhere/seen", "/sign-in/email");
        for (from, to) in &self.further {
            setup.alias(Method::GET, *from, *to);
        }
        setup.check(Self::check);
    }
}

impl Other {
    async fn seen(&self, cx: &mut Ctx) -> Result<Json<Seen>> {
        let cookies = cx.headers().get("cookie").and_then(|cookies| cookies.to_str().ok());
        let cookies = cookies.unwrap_or_default().to_owned();
        let is_signed_in = cx.renew_current_session().await?.is_some();
        Ok(Json(Seen { path: cx.path().to_owned(), cookies, is_signed_in }))
    }

    async fn guarded(&self, _: &mut Ctx, Session(signed_in): Session) -> Result<Json<narthex::model::User>> {
        Ok(Json(signed_in.user))
    }

    async fn enter(&self, cx: &mut Ctx) -> Result<Reply> {
        let user = cx.users().by_email("ada@example.com").await?;
        let user = user.ok_or_else(|| Error::not_found(Code::USER_NOT_FOUND))?;
        cx.sign_in(SignIn { user, method: narthex::Method::Password, remember: true }).await?;
        Ok(Reply::empty(http::StatusCode::NO_CONTENT))
    }

    fn check(&self, installed: &Installed<'_>) -> Vec<String> {
        let is_missing = self.needs_company && installed.plugin::<Companion>().is_none();
        let problem = is_missing.then(|| "plugins.other: needs [plugins.companion]".to_owned());
        problem.into_iter().collect()
    }
}

/// What the other one may depend on.
struct Companion;

impl Plugin for Companion {
    const ID: &'static str = "companion";

    fn install(&self, _: &mut Setup<'_, Self>) {}
}

fn with(further: &[(&'static str, &'static str)]) -> Builder {
    TestApp::builder().plugin(Other { further: further.to_vec(), ..Other::default() })
}

#[tokio::test]
async fn an_alias_is_its_endpoint_below_the_base_path_and_elsewhere() {
    let app = with(&[]).build().await;
    let browser = ada(&app).await;
    for path in [
        "/api/auth/other/seen",
        "/api/auth/seen",
        "/elsewhere/seen",
        "/api/auth/whole",
        "/elsewhere/seen?a=1",
    ] {
        let reply = browser.get("").at(path).await;
        assert_eq!((reply.status(), &reply.json()["path"]), (200, &json!("/other/seen")), "{path}");
    }
    let reply = browser.post("", credentials()).at("/elsewhere/seen").await;
    assert_eq!(reply.json()["user"]["email"], "ada@example.com", "another method is another endpoint");
    for path in [
        "/api/auth/seen/",
        "/api/auth//seen",
        "/api/auth/Seen",
        "/api/auth/s%65en",
        "/elsewhere/seen/",
        "//elsewhere/seen",
        "/elsewhere//seen",
        "/elsewhere",
        "/elsewhere/",
        "/seen",
        "/api/auth/elsewhere/seen",
        "/ELSEWHERE/seen",
    ] {
        assert_eq!(browser.get("").at(path).await.to_string(), "404", "{path}");
    }
    assert_eq!(browser.request(Method::DELETE, "").at("/elsewhere/seen").await.to_string(), "404");
    let app = with(&[]).config(|config| config.advanced.skip_trailing_slashes = true).build().await;
    for (path, status) in [("/api/auth/seen/", 200), ("/elsewhere/seen/", 200), ("/elsewhere/seen//", 404)] {
        assert_eq!(app.browser().get("").at(path).await.status(), status, "{path}");
    }
}

#[tokio::test]
async fn the_axum_router_answers_aliases_elsewhere_too() {
    let app = with(&[]).build().await;
    let request =
        |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost:3001\r\nconnection: close\r\n\r\n");
    for (path, status) in [("/elsewhere/seen", 200), ("/api/auth/seen", 200), ("/elsewhere/other", 404)] {
        let reply = over_tcp(&app, request(path), Vec::new()).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {reply}");
    }
}

#[tokio::test]
async fn aliases_that_lead_nowhere_or_get_in_the_way_are_told_at_start() {
    let further = [
        ("/sign-in", "/no/endpoint"),
        ("/seen", "/ok"),
        ("/ok", "/other/seen"),
        ("ok", "/ok"),
        ("/a//b", "/ok"),
        ("/a/", "/ok"),
        ("/a/../b", "/ok"),
        ("/{a}", "/ok"),
        ("/:a", "/ok"),
        ("/", "/ok"),
    ];
    let error = with(&further).try_build().await.err().expect("it is refused");
    assert_snapshot!(error, @r#"
    the alias GET /sign-in of "other" leads to a path that no endpoint has
    GET /api/auth/seen is an alias of two endpoints
    the alias GET /ok of "other" is an endpoint's own path
    the alias GET ok of "other" is no path: it begins with / and has letters, digits, -, ., _ and ~ between single slashes
    the alias GET /a//b of "other" is no path: it begins with / and has letters, digits, -, ., _ and ~ between single slashes
    the alias GET /a/ of "other" is no path: it begins with / and has letters, digits, -, ., _ and ~ between single slashes
    the alias GET /a/../b of "other" is no path: it begins with / and has letters, digits, -, ., _ and ~ between single slashes
    the alias GET /{a} of "other" is no path: it begins with / and has letters, digits, -, ., _ and ~ between single slashes
    the alias GET /:a of "other" is no path: it begins with / and has letters, digits, -, ., _ and ~ between single slashes
    the alias GET / of "other" is no path: it begins with / and has letters, digits, -, ., _ and ~ between single slashes
    "#);
}

#[tokio::test]
async fn routes_name_their_aliases() {
    let plugin = Other { further: vec![("/off", "/other/seen")], ..Other::default() };
    let config = narthex::Config { disabled_paths: vec!["/off".to_owned()], ..narthex::Config::default() };
    let routes = narthex::Auth::builder(config).plugin(plugin).routes();
    let aliases = |method: Method, path: &str| {
        let route =
            routes.iter().find(|route| route.method == method && route.path == path).expect("a route");
        route.aliases.iter().map(|alias| alias.path("/api/auth").into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(aliases(Method::GET, "/other/seen"), ["/api/auth/seen", "/elsewhere/seen", "/api/auth/whole"]);
    assert_eq!(aliases(Method::POST, "/sign-in/email"), ["/elsewhere/seen"]);
    assert!(aliases(Method::GET, "/ok").is_empty());
}

#[tokio::test]
async fn an_endpoint_without_cookies_sees_none_and_sets_none() {
    let app = with(&[]).build().await;
    let browser = ada(&app).await;
    let reply = browser.get("/other/seen").await.json();
    assert!(reply["is_signed_in"] == json!(null) && reply["isSignedIn"] == true, "{reply}");
    let reply = browser.get("/other/blind").await;
    assert_snapshot!(reply, @r#"200 {"path":"/other/blind","cookies":"","isSignedIn":false}"#);
    assert_eq!(browser.get("/other/guarded").await.status(), 401);
    let elsewhere = browser.post("/other/blind", json!({})).header("origin", "https://evil.example").await;
    assert_eq!((elsewhere.status(), elsewhere.cookies()), (204, Vec::new()));
    assert_eq!(app.rows("session").await.len(), 2);
    let _ = again(&app).await;
}

#[tokio::test]
async fn what_a_plugin_misses_among_the_others_is_told_at_start() {
    let needy = || Other { needs_company: true, ..Other::default() };
    let error = TestApp::builder().plugin(needy()).try_build().await.err().expect("it is refused");
    assert_eq!(error.problems, ["plugins.other: needs [plugins.companion]"]);
    TestApp::builder().plugin(needy()).plugin(Companion).build().await;
}
