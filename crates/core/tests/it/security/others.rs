//! What belongs to somebody else is out of reach: sessions by their token, accounts and users by their id.

use crate::support::{ADA, PASSWORD, ada};
use narthex_testkit::{Browser, TestApp};
use serde_json::{Value, json};

/// A way to ask for somebody else's things.
struct Attack {
    path: &'static str,
    body: Value,
    answer: &'static str,
}

async fn eve(app: &TestApp) -> Browser {
    let browser = app.browser();
    let body = json!({ "name": "Eve", "email": "eve@example.com", "password": "eves password" });
    let _ = browser.post("/sign-up/email", body).await.expecting(200);
    browser
}

async fn tables(app: &TestApp) -> Vec<Vec<Value>> {
    let mut tables = Vec::new();
    for table in ["user", "account", "session"] {
        tables.push(app.database().rows(table, None).await);
    }
    tables
}

/// Ada's things, asked for by name in every body that names something.
async fn attacks(app: &TestApp) -> Vec<Attack> {
    let users = app.rows("user").await;
    let user = users.iter().find(|row| row["email"] == ADA).expect("she signed up")["id"].clone();
    let of_ada = |rows: &[Value]| rows.iter().find(|row| row["userId"] == user).cloned().expect("hers");
    let account = of_ada(&app.rows("account").await);
    let session = of_ada(&app.rows("session").await);
    vec![
        Attack {
            path: "/revoke-session",
            body: json!({ "token": session["token"], "userId": user, "id": session["id"] }),
            answer: r#"200 {"status":true}"#,
        },
        Attack {
            path: "/revoke-session",
            body: json!({ "token": session["id"] }),
            answer: r#"200 {"status":true}"#,
        },
        Attack {
            path: "/revoke-other-sessions",
            body: json!({ "token": session["token"], "userId": user }),
            answer: r#"200 {"status":true}"#,
        },
        Attack {
            path: "/unlink-account",
            body: json!({ "accountId": account["id"], "userId": user }),
            answer: r#"400 {"message":"Account not found","code":"ACCOUNT_NOT_FOUND"}"#,
        },
        Attack {
            path: "/verify-password",
            body: json!({ "password": PASSWORD, "userId": user, "email": ADA }),
            answer: r#"400 {"message":"Invalid password","code":"INVALID_PASSWORD"}"#,
        },
        Attack {
            path: "/change-password",
            body: json!({ "currentPassword": PASSWORD, "newPassword": "mine from now on", "userId": user, "revokeOtherSessions": true }),
            answer: r#"400 {"message":"Invalid password","code":"INVALID_PASSWORD"}"#,
        },
    ]
}

/// Somebody else's id or token in a body.
#[tokio::test]
async fn ghsa_4vcf_q4xf_f48m_nobody_reaches_what_belongs_to_somebody_else() {
    let app = TestApp::new().await;
    let ada = ada(&app).await;
    let eve = eve(&app).await;
    let second = r#"insert into "account" ("id", "accountId", "providerId", "userId", "createdAt", "updatedAt")
        select 'eves-second', 'over-there', 'github', "id", "createdAt", "updatedAt" from "user" where "email" = 'eve@example.com'"#;
    app.database().execute(second).await;
    let before = tables(&app).await;
    for Attack { path, body, answer } in attacks(&app).await {
        assert_eq!(eve.post(path, body).await.to_string(), answer, "{path}");
        assert_eq!(tables(&app).await, before, "{path}");
    }
    for path in ["/list-sessions", "/list-accounts"] {
        let user = before[0].iter().find(|row| row["email"] == ADA).expect("she signed up")["id"].clone();
        let reply = eve.get(&format!("{path}?userId={}", user.as_str().expect("an id"))).await.expecting(200);
        assert!(!reply.text().contains(user.as_str().expect("an id")), "{path}: {}", reply.text());
    }
    let _ = eve.post("/revoke-sessions", json!({ "userId": before[0][0]["id"] })).await.expecting(200);
    assert_eq!(ada.get("/get-session").await.json()["user"]["email"], ADA);
}

/// An identity that comes in the body, and no session.
#[tokio::test]
async fn ghsa_99h5_pjcv_gr6v_nobody_is_who_the_body_says() {
    let app = TestApp::new().await;
    ada(&app).await;
    let before = tables(&app).await;
    let mut all = attacks(&app).await;
    all.push(Attack { path: "/revoke-sessions", body: json!({ "userId": before[0][0]["id"] }), answer: "" });
    for Attack { path, body, .. } in all {
        let reply = app.browser().post(path, body).await;
        assert_eq!(reply.to_string(), r#"401 {"message":"Unauthorized","code":"UNAUTHORIZED"}"#, "{path}");
        assert_eq!(tables(&app).await, before, "{path}");
    }
    for path in ["/list-sessions", "/list-accounts"] {
        let user = before[0][0]["id"].as_str().expect("an id").to_owned();
        let reply = app.browser().get(&format!("{path}?userId={user}")).await;
        assert_eq!(reply.to_string(), r#"401 {"message":"Unauthorized","code":"UNAUTHORIZED"}"#, "{path}");
    }
}

/// A session that has ended is of no use for anything, from the same moment.
#[tokio::test]
async fn a_session_that_was_revoked_does_nothing_any_more() {
    let app = TestApp::new().await;
    let browser = ada(&app).await;
    let cookies = browser.cookies();
    let _ = browser.post("/revoke-sessions", json!({})).await.expecting(200);
    let again = json!({ "email": ADA, "password": PASSWORD });
    let _ = browser.post("/sign-in/email", again).await.expecting(200);
    let before = tables(&app).await;
    for Attack { path, body, .. } in attacks(&app).await {
        let reply = app.browser().post(path, body).header("cookie", &cookies).await;
        assert_eq!(reply.to_string(), r#"401 {"message":"Unauthorized","code":"UNAUTHORIZED"}"#, "{path}");
        assert_eq!(tables(&app).await, before, "{path}");
    }
}

/// Fields that say whose row it is, in a body that may have any fields.
#[tokio::test]
async fn ghsa_4vcf_q4xf_f48m_who_changes_a_user_changes_themselves() {
    let app = TestApp::new().await;
    let ada = ada(&app).await;
    let eve = eve(&app).await;
    let of = |rows: &[Value], email: &str| {
        rows.iter().find(|row| row["email"] == email).cloned().expect("somebody")
    };
    let before = tables(&app).await;
    let (hers, eves) = (of(&before[0], ADA), of(&before[0], "eve@example.com"));
    let session = before[2].iter().find(|row| row["userId"] == hers["id"]).cloned().expect("hers");
    let id = hers["id"].as_str().expect("an id");
    for (number, (field, value)) in [
        ("id", &hers["id"]),
        ("userId", &hers["id"]),
        ("user_id", &hers["id"]),
        ("accountId", &hers["id"]),
        ("where", &json!({ "id": id })),
        ("where", &json!([{ "field": "id", "value": id }])),
        ("user", &hers),
        ("session", &session),
        ("sessionId", &session["id"]),
        ("token", &session["token"]),
        ("sessionToken", &session["token"]),
        ("emailVerified", &json!(true)),
        ("createdAt", &json!("2001-01-01T00:00:00.000Z")),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("Eve {number}");
        let body = json!({ "name": name, field: value });
        let path = format!("/update-user?userId={id}&id={id}");
        assert_eq!(eve.post(&path, body).await.to_string(), r#"200 {"status":true}"#, "{field}");
        let after = tables(&app).await;
        assert_eq!(of(&after[0], ADA), hers, "{field}");
        let mut renamed = eves.clone();
        renamed["name"] = name.into();
        assert_eq!(of(&after[0], "eve@example.com"), renamed, "{field}");
        assert_eq!(after[1..], before[1..], "{field}");
    }
    let taken = eve.post("/update-user", json!({ "name": "Ada", "email": ADA })).await;
    assert_eq!(
        taken.to_string(),
        r#"400 {"message":"Email can not be updated","code":"EMAIL_CAN_NOT_BE_UPDATED"}"#
    );
    assert_eq!(ada.get("/get-session").await.json()["user"]["name"], "Ada");
}
