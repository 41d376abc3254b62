//! What is said of the plugins' endpoints, and whether it is true.

use crate::support::{ADA, signed_up, with};
use narthex_testkit::{Call, Contract, Replied};
use serde_json::json;

async fn judged(contract: &Contract, path: &str, status: u16, call: Call) {
    let reply = call.await.expecting(status);
    let body = reply.text();
    let replied = Replied { status, content_type: reply.header("content-type"), body: body.as_bytes() };
    assert_eq!(contract.breach("GET", path, replied), None);
    assert!(contract.operation("GET", path).is_some(), "{path}");
}

#[tokio::test]
async fn tokens_and_keys_are_answered_as_described() {
    for algorithm in ["EdDSA", "ES256", "RS256"] {
        let plugins = json!({ "jwt": {
            "jwks": { "key-pair-config": { "alg": algorithm } },
            "audiences": [{ "audience": "https://api.example.com", "alg": algorithm }],
        } });
        let app = with(plugins).build().await;
        let contract = Contract::of(app.auth());
        let browser = signed_up(&app, ADA).await;
        judged(&contract, "/token", 200, browser.get("/token")).await;
        judged(&contract, "/token", 200, browser.get("/token?audience=https://api.example.com")).await;
        judged(&contract, "/token", 400, browser.get("/token?audience=unknown")).await;
        judged(&contract, "/token", 401, app.browser().get("/token")).await;
        judged(&contract, "/jwks", 200, browser.get("/jwks")).await;
        judged(&contract, "/jwks", 304, browser.get("/jwks").header("if-none-match", "*")).await;
    }
}

#[tokio::test]
async fn keys_that_are_published_elsewhere_are_not_here_as_described() {
    let remote = json!({ "jwt": { "jwks": { "remote-url": "https://cdn.example.com/jwks.json" } } });
    for (plugins, is_described) in [(remote, true), (json!({ "jwt": {} }), false)] {
        let app = with(plugins).build().await;
        let contract = Contract::of(app.auth());
        let operation = contract.operation("GET", "/jwks").expect("it is served");
        assert_eq!(operation["responses"].get("404").is_some(), is_described);
        if is_described {
            judged(&contract, "/jwks", 404, app.browser().get("/jwks")).await;
        }
    }
}

#[tokio::test]
async fn a_token_in_a_header_is_a_credential_where_the_plugin_is_installed() {
    for (plugins, ways) in [
        (json!({ "bearer": {} }), json!([{ "cookie": [] }, { "bearer": [] }])),
        (json!({ "jwt": {} }), json!([{ "cookie": [] }])),
    ] {
        let app = with(plugins).build().await;
        let contract = Contract::of(app.auth());
        let operation = contract.operation("POST", "/update-user").expect("it is served");
        assert_eq!(operation["security"], ways);
        let scheme = contract.referred("#/components/securitySchemes/bearer");
        assert_eq!(scheme.is_some(), ways[1].is_object());
        assert!(scheme.is_none_or(|scheme| scheme["type"] == "http" && scheme["scheme"] == "bearer"));
    }
}

#[tokio::test]
async fn operations_have_upstreams_names() {
    let app = with(json!({ "jwt": {} })).build().await;
    let contract = Contract::of(app.auth());
    for (path, name) in [("/jwks", "getJSONWebKeySet"), ("/token", "getJSONWebToken")] {
        assert_eq!(contract.operation("GET", path).map(|said| &said["operationId"]), Some(&json!(name)));
    }
}
