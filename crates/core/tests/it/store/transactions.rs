//! All of it or nothing, within a second.

use super::{Ticket, app, names};
use narthex::{
    Code, Error, Result,
    store::{Filter, Order, Select, StoreError, Tx},
};
use narthex_testkit::Dialect;
use std::time::Duration;

#[tokio::test]
async fn what_fails_is_undone_and_what_succeeds_stays() {
    let app = app().await;
    let failed: Result<()> = app
        .inside(|cx| {
            Box::pin(cx.transact(async |tx: &mut Tx| {
                tx.insert(&Ticket::named("undone", 1)).await?;
                Err(Error::forbidden(Code::UNAUTHORIZED))
            }))
        })
        .await;
    assert_eq!(failed.map_err(|error| error.status().as_u16()), Err(403));
    let succeeded: Result<u64> = app
        .inside(|cx| {
            Box::pin(cx.transact(async |tx: &mut Tx| {
                tx.insert(&Ticket::named("a", 1)).await?;
                tx.insert(&Ticket::named("b", 2)).await?;
                Ok(tx.count(Filter::<Ticket>::everything()).await?)
            }))
        })
        .await;
    assert_eq!(succeeded.expect("it commits"), 2, "a transaction sees what it has written");
    assert_eq!(names(&app).await, ["a", "b"]);
}

#[tokio::test]
async fn what_takes_longer_than_a_second_is_undone_with_503() {
    let app = app().await;
    let slow: Result<()> = app
        .inside(|cx| {
            Box::pin(cx.transact(async |tx: &mut Tx| {
                tx.insert(&Ticket::named("slow", 1)).await?;
                std::future::pending::<()>().await;
                Ok(())
            }))
        })
        .await;
    assert_eq!(slow.map_err(|error| error.status().as_u16()), Err(503));
    app.store().insert(&Ticket::named("next", 1)).await.expect("nobody holds the lock");
    assert_eq!(names(&app).await, ["next"]);
}

/// A statement that waits for another program's lock is no reason to wait longer.
#[tokio::test]
async fn a_transaction_that_waits_for_a_lock_is_given_up_after_a_second() {
    let app = app().await;
    if app.database().dialect() == Dialect::Sqlite {
        return;
    }
    app.store().insert(&Ticket::named("a", 1)).await.expect("it is free");
    let other = app.database().hold("update ticket set uses = 5").await;
    // The lock is released only after the answer: whoever waited for it would wait for ever.
    let waiting: Result<u64> = app
        .inside(|cx| {
            Box::pin(cx.transact(async |tx: &mut Tx| {
                Ok(tx.update(Ticket::NAME.eq("a"), Ticket::USES.set(9)).await?)
            }))
        })
        .await;
    assert_eq!(waiting.map_err(|error| error.status().as_u16()), Err(503));
    other.release().await;
    // Nobody is left behind in the database who would still write once the lock is free.
    app.store()
        .add(Ticket::NAME.eq("a"), Ticket::USES, 1)
        .await
        .expect("the row is free")
        .expect("it is there");
    assert_eq!(
        app.store().find(Ticket::NAME.eq("a")).await.expect("a row").map(|ticket| ticket.uses),
        Some(6)
    );
}

/// One statement that waits is one caller who waits.
#[tokio::test]
async fn a_write_that_waits_for_a_lock_holds_up_no_reader() {
    let app = app().await;
    app.store().insert(&Ticket::named("a", 1)).await.expect("it is free");
    let other = app.database().hold("update ticket set uses = 5").await;
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let store = app.store().clone();
            tokio::task::spawn(async move { store.add(Ticket::NAME.eq("a"), Ticket::USES, 1).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..4 {
        let reading = tokio::time::timeout(Duration::from_secs(1), app.store().find(Ticket::ID.eq("a")));
        let ticket = reading.await.expect("a reader does not wait").expect("a row");
        assert_eq!(ticket.map(|ticket| ticket.uses), Some(1));
    }
    other.release().await;
    for writer in writers {
        writer.await.expect("an end").expect("its turn came").expect("the row is there");
    }
    assert_eq!(app.store().find(Ticket::ID.eq("a")).await.expect("a row").map(|ticket| ticket.uses), Some(9));
}

#[tokio::test]
async fn what_is_dropped_is_undone_and_holds_nobody_up() {
    let app = app().await;
    let abandoned = app.inside(|cx| {
        Box::pin(cx.transact(async |tx: &mut Tx| {
            tx.insert(&Ticket::named("abandoned", 1)).await?;
            std::future::pending::<Result<()>>().await
        }))
    });
    assert!(tokio::time::timeout(Duration::from_millis(100), abandoned).await.is_err());
    app.store().insert(&Ticket::named("next", 1)).await.expect("nobody holds the lock");
    assert_eq!(names(&app).await, ["next"]);
}

#[tokio::test]
async fn a_value_that_is_taken_names_its_column() {
    let app = app().await;
    app.store().insert(&Ticket::named("a", 1)).await.expect("it is free");
    let twin = Ticket { id: "other".to_owned(), ..Ticket::named("a", 2) };
    match app.store().insert(&twin).await {
        Err(StoreError::Unique { table, column }) => {
            assert_eq!((table.as_str(), column.as_str()), ("ticket", "name"));
        }
        other => panic!("{other:?}"),
    }
    // On PostgreSQL a transaction is lost with its first error, whoever overlooks it: it must not seem to commit.
    let overlooked: Result<()> = app
        .inside(|cx| {
            Box::pin(cx.transact(async |tx: &mut Tx| {
                tx.insert(&Ticket::named("before", 1)).await?;
                let twin = tx.insert(&Ticket::named("a", 1)).await;
                assert!(matches!(twin, Err(StoreError::Unique { .. })));
                Ok(())
            }))
        })
        .await;
    let is_there = names(&app).await.contains(&"before".to_owned());
    assert_eq!(overlooked.is_ok(), is_there, "what is acknowledged is there, what is not is not");
}

#[tokio::test]
async fn every_verb_does_what_it_says() {
    let app = app().await;
    let store = app.store();
    for (name, uses) in [("a", 1), ("b", 2), ("c", 3)] {
        store.insert(&Ticket::named(name, uses)).await.expect("it is free");
    }
    let several = Select::matching(Ticket::USES.gte(2)).order_by(Ticket::USES, Order::Descending);
    let several: Vec<_> =
        store.list(several).await.expect("a list").into_iter().map(|ticket| ticket.name).collect();
    assert_eq!(several, ["c", "b"]);
    let page = Select::matching(Filter::<Ticket>::everything())
        .order_by(Ticket::NAME, Order::Ascending)
        .offset(1)
        .limit(1);
    assert_eq!(store.list(page).await.expect("a list"), [Ticket::named("b", 2)]);
    assert_eq!(store.count(Ticket::USES.lt(3).and(Ticket::NAME.ne("a"))).await.expect("a number"), 1);
    assert_eq!(store.count(Ticket::NAME.eq("a").or(Ticket::NAME.eq("c"))).await.expect("a number"), 2);
    assert_eq!(store.update(Ticket::USES.gt(1), Ticket::USES.set(9)).await.expect("a number"), 2);
    assert_eq!(
        store.add(Ticket::NAME.eq("a"), Ticket::USES, 4).await.expect("a row"),
        Some(Ticket::named("a", 5))
    );
    assert_eq!(store.take(Ticket::NAME.eq("a")).await.expect("a row"), Some(Ticket::named("a", 5)));
    assert_eq!(store.take(Ticket::NAME.eq("a")).await.expect("no row"), None);
    assert_eq!(store.delete(Ticket::USES.lte(9)).await.expect("a number"), 2);
    assert_eq!(store.find(Ticket::ID.eq("b")).await.expect("no row"), None);
}
