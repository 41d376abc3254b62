//! What is said of the plugins' endpoints, and whether it is true.

use crate::support::{ADA, signed_up, with};
use narthex_testkit::{Call, Contract, Replied};
use serde_json::{Value, json};

async fn judged(contract: &Contract, path: &str, status: u16, call: Call) {
    judged_as(contract, "GET", path, status, call).await;
}

async fn judged_as(contract: &Contract, method: &str, path: &str, status: u16, call: Call) {
    let reply = call.await.expecting(status);
    let body = reply.text();
    let replied = Replied { status, content_type: reply.header("content-type"), body: body.as_bytes() };
    assert_eq!(contract.breach(method, path, replied), None);
    assert!(contract.operation(method, path).is_some(), "{path}");
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
async fn the_token_api_answers_as_described() {
    let fields = json!({ "software_background": { "type": "string", "required": false } });
    let fields = serde_json::from_value(fields).expect("fields");
    let app = with(json!({ "jwt": {}, "token-api": {} }));
    let app = app.config(|config| config.user.additional_fields = fields).build().await;
    let contract = Contract::of(app.auth());
    let post = |path: &str, status, body| {
        let (path, contract, browser) = (format!("/token-api/{path}"), &contract, app.browser());
        async move { judged_as(contract, "POST", &path, status, browser.post(&path, body)).await }
    };
    let ada = json!({ "name": "Ada", "email": ADA, "password": "correct horse battery", "software_background": "C" });
    post("signup", 200, ada.clone()).await;
    post("signup", 422, ada.clone()).await;
    post("signup", 400, json!({})).await;
    post("signup", 400, json!({ "name": "Eve", "email": "eve@example.com", "password": "short" })).await;
    post("signin", 200, ada).await;
    post("signin", 401, json!({ "email": ADA, "password": "wrong horse" })).await;
    post("signin", 400, json!({ "email": "x", "password": "y" })).await;
    post("refresh", 401, json!({ "refresh_token": "x" })).await;
    post("signout", 401, json!({})).await;
    post("signout", 200, json!({ "refresh_token": "x" })).await;
    judged(&contract, "/token-api/me", 401, app.browser().get("/token-api/me")).await;
    let body = &contract.operation("POST", "/token-api/signup").expect("it is served")["requestBody"];
    let schema = &body["content"]["application/json"]["schema"];
    let schema = schema["$ref"].as_str().and_then(|name| contract.referred(name)).unwrap_or(schema);
    assert_eq!(schema["properties"]["software_background"]["type"], json!(["string", "null"]));
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
async fn an_access_token_is_a_credential_of_the_endpoints_that_take_it_and_of_no_other() {
    let app = with(json!({ "jwt": {}, "token-api": {} })).build().await;
    let contract = Contract::of(app.auth());
    let scheme = contract.referred("#/components/securitySchemes/accessToken").expect("it is there");
    assert_eq!(
        [&scheme["type"], &scheme["scheme"], &scheme["bearerFormat"]],
        [&json!("http"), &json!("bearer"), &json!("JWT")]
    );
    let security = |method: &str, path: &str| {
        contract.operation(method, path).expect("it is served").get("security").cloned()
    };
    assert_eq!(security("GET", "/token-api/me"), Some(json!([{ "accessToken": [] }])));
    assert_eq!(security("POST", "/token-api/signout"), Some(json!([{ "accessToken": [] }, {}])));
    assert_eq!(security("POST", "/token-api/refresh"), None);
    assert_eq!(security("GET", "/user"), Some(json!([{ "cookie": [] }])));
    let app = with(json!({ "jwt": {} })).build().await;
    assert!(Contract::of(app.auth()).referred("#/components/securitySchemes/accessToken").is_none());
}

#[tokio::test]
async fn other_paths_of_endpoints_are_described_where_they_are_found() {
    for (path, base_path, below) in [
        ("/auth", "/api/auth", None),
        ("/api/auth/tokens", "/api/auth", Some("/tokens")),
        ("/auth", "", Some("/auth")),
    ] {
        let app = with(json!({ "jwt": {}, "token-api": { "path": path } }));
        let app = app.config(|config| config.base_path = base_path.to_owned()).build().await;
        let contract = Contract::of(app.auth());
        let paths = &contract.document()["paths"];
        let without = |operation: &Value| {
            let mut operation = operation.as_object().expect("it is described").clone();
            operation.retain(|name, _| !["operationId", "tags", "description", "servers"].contains(&&**name));
            operation
        };
        for (method, name) in
            [("post", "signup"), ("post", "signin"), ("post", "refresh"), ("post", "signout"), ("get", "me")]
        {
            let own = &paths[format!("/token-api/{name}")][method];
            let other = &paths[format!("{}/{name}", below.unwrap_or(path))][method];
            assert_eq!(without(other), without(own), "{path}/{name}");
            assert_eq!(
                other["operationId"],
                format!("{}Alias", own["operationId"].as_str().expect("a name"))
            );
            let servers = below.is_none().then(|| json!([{ "url": "http://localhost:3001" }]));
            assert_eq!(other.get("servers"), servers.as_ref(), "it is there that it is found");
            let whole = format!("{path}/{name}");
            let reply =
                app.browser().request(method.to_uppercase().parse().expect("a method"), "").at(&whole);
            assert_ne!(reply.await.status(), 404, "{whole}");
        }
        for (method, path, own) in [
            ("post", "/signup/email", "/sign-up/email"),
            ("post", "/signin/email", "/sign-in/email"),
            ("post", "/signout", "/sign-out"),
            ("get", "/session", "/get-session"),
        ] {
            let (own, other) = (&paths[own][method], &paths[path][method]);
            assert_eq!(without(other), without(own), "{path}");
            assert_eq!((&other["tags"], other.get("servers")), (&json!(["token-api"]), None));
        }
        let mut names: Vec<_> = paths
            .as_object()
            .expect("paths")
            .values()
            .flat_map(|methods| methods.as_object().expect("methods").values())
            .map(|operation| operation["operationId"].as_str().expect("a name"))
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "each name once");
    }
    let disabled = with(json!({ "jwt": {}, "token-api": {} }))
        .config(|config| config.disabled_paths = vec!["/token-api/me".to_owned(), "/signout".to_owned()]);
    let app = disabled.build().await;
    let document = app.auth().openapi();
    for path in ["/token-api/me", "/auth/me", "/signout"] {
        assert!(document["paths"].get(path).is_none(), "{path}");
    }
    assert!(document["paths"].get("/sign-out").is_some());
}

#[tokio::test]
async fn operations_have_upstreams_names() {
    let app = with(json!({ "jwt": {} })).build().await;
    let contract = Contract::of(app.auth());
    for (path, name) in [("/jwks", "getJSONWebKeySet"), ("/token", "getJSONWebToken")] {
        assert_eq!(contract.operation("GET", path).map(|said| &said["operationId"]), Some(&json!(name)));
    }
}
