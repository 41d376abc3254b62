use crate::support::with;
use narthex_plugins::Plugins;
use serde_json::{Value, json};

fn read(plugins: Value) -> Result<Plugins, String> {
    serde_json::from_value(plugins).map_err(|error| error.to_string())
}

#[test]
fn plugins_keep_the_order_of_the_configuration() {
    for order in [["jwt", "bearer"], ["bearer", "jwt"]] {
        let plugins = read(json!({ order[0]: {}, order[1]: {} })).expect("a configuration");
        let shown = serde_json::to_value(&plugins).expect("JSON");
        let names: Vec<_> = shown.as_object().expect("a table").keys().cloned().collect();
        assert_eq!(names, order);
    }
}

#[test]
fn what_is_no_plugin_and_no_option_is_refused_with_what_there_is() {
    let refused = read(json!({ "jwd": {} })).expect_err("no plugin");
    assert!(
        refused.starts_with("unknown field `jwd`, expected one of `jwt`, `bearer`, `token-api`"),
        "{refused}"
    );
    let refused = read(json!({ "bearer": { "require": true } })).expect_err("no option");
    assert!(refused.starts_with("unknown field `require`, expected `require-signature`"), "{refused}");
}

#[tokio::test]
async fn every_mistake_of_a_section_is_told_at_once() {
    let plugins = json!({ "jwt": {
        "secret": "short",
        "jwks": {
            "key-pair-config": { "alg": "ES256", "crv": "P-521" },
            "key-pair-configs": [{ "alg": "RS256", "modulus-length": 1024 }, { "alg": "EdDSA", "modulus-length": 2048 }],
            "rotation-interval": 60,
            "grace-period": 60,
            "jwks-path": "keys",
        },
        "jwt": {
            "get-subject": "email",
            "define-payload": { "exp": { "value": 1 }, "level": "user", "t": "session.token" },
        },
        "audiences": [{ "audience": "", "alg": "PS256" }],
        "schema": { "jwks": { "fields": { "kid": "id" } } },
    }});
    let problems = with(plugins).try_build().await.err().expect("it is refused").problems.join("\n");
    insta::assert_snapshot!(problems);
}

#[tokio::test]
async fn a_name_that_no_table_can_have_is_told_by_the_option_that_says_it() {
    for (name, problem) in [
        ("keys!", "a name has letters, digits, _, - and $"),
        ("sqlite_keys", "SQLite keeps such names for itself"),
    ] {
        let plugins = json!({ "jwt": { "schema": { "jwks": { "model-name": name } } } });
        let problems = with(plugins).try_build().await.err().expect("it is refused").problems;
        assert_eq!(problems, [format!("plugins.jwt.schema.jwks.model-name = {name:?}: {problem}")]);
    }
}

#[tokio::test]
async fn one_path_is_not_answered_by_two() {
    let plugins = json!({ "jwt": { "jwks": { "jwks-path": "/token" } } });
    let problems = with(plugins).try_build().await.err().expect("it is refused").problems;
    assert_eq!(problems, ["GET /token is registered twice, the second time by \"jwt\""]);
}
