//! Many at once: one winner, nobody lost, few commits.

use super::{Ticket, app, names};
use crate::support::{ADA, PASSWORD};
use narthex::{Code, Error, Result, store::Tx};
use narthex_testkit::{Dialect, TestApp};
use serde_json::json;
use std::time::Duration;

/// Long enough for many to come and wait.
const A_WHILE: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn of_64_takers_one_wins() {
    let app = app().await;
    app.store().insert(&Ticket::named("a", 1)).await.expect("it is free");
    let takers: Vec<_> = (0..64)
        .map(|_| {
            let store = app.store().clone();
            tokio::task::spawn(async move { store.take(Ticket::NAME.eq("a")).await })
        })
        .collect();
    let mut winners = 0;
    for taker in takers {
        winners += u32::from(taker.await.expect("an end").expect("an answer").is_some());
    }
    assert_eq!(winners, 1);
}

/// What every link, code and challenge stands on.
#[tokio::test(flavor = "multi_thread")]
async fn of_64_who_redeem_a_verification_one_gets_it_and_an_expired_one_nobody() {
    let app = TestApp::new().await;
    let issue = |lifetime| {
        app.inside(move |cx| {
            Box::pin(cx.transact(async move |tx: &mut Tx| {
                tx.verifications().issue("reset-password:a", "a-user", lifetime).await.map(drop)
            }))
        })
    };
    let redeem = || {
        app.inside(|cx| {
            Box::pin(cx.redeem("reset-password:a", async |_: &mut Tx, verification| Ok(verification)))
        })
    };
    issue(Duration::from_mins(1)).await.expect("it is issued");
    let redeemed = futures_util::future::join_all((0..64).map(|_| redeem())).await;
    let values: Vec<_> = redeemed.into_iter().filter_map(|outcome| outcome.expect("an answer")).collect();
    assert_eq!(values.iter().map(|verification| verification.value.as_str()).collect::<Vec<_>>(), ["a-user"]);

    issue(Duration::from_mins(1)).await.expect("it is issued");
    app.advance(Duration::from_mins(2));
    assert!(redeem().await.expect("an answer").is_none(), "it has ended");
    assert!(app.database().rows("verification", None).await.is_empty(), "and is gone");
}

fn issue(app: &TestApp, value: &'static str) -> impl Future<Output = Result<()>> {
    app.inside(move |cx| {
        Box::pin(cx.transact(async move |tx: &mut Tx| {
            tx.verifications().issue("reset-password:a", value, Duration::from_mins(9)).await.map(drop)
        }))
    })
}

fn redeem(app: &TestApp) -> impl Future<Output = Result<Option<String>>> {
    app.inside(|cx| {
        Box::pin(cx.redeem("reset-password:a", async |_: &mut Tx, verification| Ok(verification.value)))
    })
}

/// On SQLite nobody issues while somebody redeems.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_issued_while_an_older_value_is_redeemed_waits_for_its_own_turn() {
    for (meanwhile, wins) in [
        (r#"update "verification" set "updatedAt" = "updatedAt" where "value" = 'old'"#, Some("old")),
        (r#"delete from "verification" where "value" = 'old'"#, None),
    ] {
        let app = TestApp::new().await;
        if app.database().dialect() == Dialect::Sqlite {
            return;
        }
        for value in ["older", "old"] {
            issue(&app, value).await.expect("it is issued");
            app.advance(Duration::from_secs(1));
        }
        let held = app.database().hold(meanwhile).await;
        let late = async {
            // Long enough to have read which is the newest.
            tokio::time::sleep(Duration::from_millis(300)).await;
            issue(&app, "new").await.expect("it is issued");
            held.release().await;
        };
        let (redeemed, ()) = tokio::join!(redeem(&app), late);
        assert_eq!(redeemed.expect("an answer").as_deref(), wins);
        assert_eq!(redeem(&app).await.expect("an answer").as_deref(), Some("new"), "after {meanwhile}");
        assert!(app.rows("verification").await.is_empty(), "after {meanwhile}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_counter_never_goes_below_its_guard() {
    let app = app().await;
    app.store().insert(&Ticket::named("a", 10)).await.expect("it is free");
    let users: Vec<_> = (0..64)
        .map(|_| {
            let store = app.store().clone();
            let guard = Ticket::NAME.eq("a").and(Ticket::USES.gt(0));
            tokio::task::spawn(async move { store.add(guard, Ticket::USES, -1).await })
        })
        .collect();
    let mut used = 0;
    for user in users {
        used += u32::from(user.await.expect("an end").expect("an answer").is_some());
    }
    assert_eq!(used, 10);
    assert_eq!(
        app.store().find(Ticket::NAME.eq("a")).await.expect("a row").map(|ticket| ticket.uses),
        Some(0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_sign_ups_with_one_address_one_makes_a_user() {
    let app = TestApp::new().await;
    let sign_ups: Vec<_> = (0..64)
        .map(|_| {
            let browser = app.browser();
            let body = json!({ "name": "Ada", "email": ADA, "password": PASSWORD });
            tokio::task::spawn(async move { browser.post("/sign-up/email", body).await.status() })
        })
        .collect();
    let mut statuses = Vec::new();
    for sign_up in sign_ups {
        statuses.push(sign_up.await.expect("an answer"));
    }
    statuses.sort_unstable();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 422).count(), 63, "{statuses:?}");
    for table in ["user", "account", "session"] {
        assert_eq!(app.database().rows(table, None).await.len(), 1, "{table}");
    }
}

/// On SQLite a batch shares its commit; a transaction that fails in it takes no other one along.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_transactions_share_commits_and_fail_alone() {
    let app = app().await;
    let before = app.store().commits();
    let writers: Vec<_> = (0..600)
        .map(|number| {
            let app = &app;
            async move {
                app.inside(move |cx| {
                    Box::pin(cx.transact(async move |tx: &mut Tx| {
                        tx.insert(&Ticket::named(&format!("{number:03}"), 1)).await?;
                        if number % 10 == 9 { Err(Error::forbidden(Code::UNAUTHORIZED)) } else { Ok(()) }
                    }))
                })
                .await
            }
        })
        .collect();
    // Somebody else has the file until most of them wait, however slow the machine is.
    let held = app.database().hold("select 1").await;
    let release = async {
        tokio::time::sleep(A_WHILE).await;
        held.release().await;
    };
    let (outcomes, ()) = tokio::join!(futures_util::future::join_all(writers), release);
    let outcomes: Vec<Result<()>> = outcomes;
    for (number, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_ok(), number % 10 != 9, "{number}: {outcome:?}");
    }
    let expected: Vec<_> =
        (0..600).filter(|number| number % 10 != 9).map(|number| format!("{number:03}")).collect();
    assert_eq!(names(&app).await, expected);
    let commits = app.store().commits() - before;
    match app.database().dialect() {
        Dialect::Sqlite => assert!(commits <= 30, "540 transactions took {commits} commits"),
        Dialect::Postgres => assert_eq!(commits, 540),
    }
}

/// Callers that leave at any moment: what was acknowledged is there, and nobody waits for ever.
#[tokio::test(flavor = "multi_thread")]
async fn callers_that_leave_take_nobody_along() {
    let app = app().await;
    let writers: Vec<_> = (0..300_u64)
        .map(|number| {
            let app = &app;
            async move {
                let name = format!("{number:03}");
                let written = app.inside({
                    let name = name.clone();
                    move |cx| {
                        Box::pin(cx.transact(async move |tx: &mut Tx| {
                            tx.insert(&Ticket::named(&name, 1)).await?;
                            tokio::task::yield_now().await;
                            Ok(())
                        }))
                    }
                });
                // A third leave within a few milliseconds, some before their turn, some during it, some after.
                let patience = if number % 3 == 0 {
                    Duration::from_micros(number * 17)
                } else {
                    Duration::from_secs(30)
                };
                matches!(tokio::time::timeout(patience, written).await, Ok(Ok(()))).then_some(name)
            }
        })
        .collect();
    let acknowledged: Vec<_> = futures_util::future::join_all(writers).await.into_iter().flatten().collect();
    assert!(acknowledged.len() >= 200, "only {} were acknowledged", acknowledged.len());
    let there = names(&app).await;
    for name in &acknowledged {
        assert!(there.contains(name), "{name} was acknowledged and is lost");
    }
    app.store().insert(&Ticket::named("after", 1)).await.expect("the store still works");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_another_program_holds_is_waited_for() {
    let app = app().await;
    let Some(path) = app.database().path() else { return };
    let other = rusqlite::Connection::open(path).expect("the file opens");
    other.execute_batch("begin immediate").expect("nobody writes");
    let store = app.store().clone();
    let waiting = tokio::task::spawn(async move { store.insert(&Ticket::named("waited", 1)).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    assert!(names(&app).await.is_empty(), "reading goes on meanwhile");
    other.execute_batch("commit").expect("it ends");
    waiting.await.expect("an end").expect("its turn came");
    assert_eq!(names(&app).await, ["waited"]);
}

#[tokio::test]
async fn what_another_program_writes_is_seen_at_once() {
    let app = app().await;
    app.store().insert(&Ticket::named("a", 1)).await.expect("it is free");
    assert!(app.store().find(Ticket::NAME.eq("a")).await.expect("a row").is_some());
    app.database().execute("update ticket set uses = 7 where name = 'a'").await;
    assert_eq!(
        app.store().find(Ticket::NAME.eq("a")).await.expect("a row").map(|ticket| ticket.uses),
        Some(7)
    );
}
