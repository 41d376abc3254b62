//! `[database]` on PostgreSQL: the schema, the number of connections, and what must not be said.

use super::{Ticket, Tickets};
use narthex::{Auth, Config, DatabaseOptions, Migrate, Store, store::StoreError};
use narthex_testkit::{Database, SECRET};

/// A database on PostgreSQL, and the name of a schema beside its own.
async fn database() -> Option<(Database, String)> {
    let database = Database::fresh().await;
    let schema = database.schema()?.replace("t_", "t beside ");
    Some((database, schema))
}

async fn build(url: &str, options: DatabaseOptions) -> Result<Auth, String> {
    let store = Store::open_with(url, &options).await.map_err(|error| error.to_string())?;
    let config = Config { secret: Some(SECRET.into()), database: options, ..Config::default() };
    Auth::builder(config).plugin(Tickets).build(store).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn tables_are_in_the_schema_that_the_operator_names() {
    let Some((database, schema)) = database().await else { return };
    let options = DatabaseOptions { schema: Some(schema.clone()), ..DatabaseOptions::default() };
    let check = DatabaseOptions { migrate: Migrate::Check, ..options.clone() };
    let refusal = build(database.url(), check.clone()).await.err().expect("nothing is there yet");
    let first = format!(
        "the database is not up to date; run `narthex migrate`, or:\ncreate schema \"{schema}\";\ncreate table \"{schema}\"."
    );
    assert!(refusal.starts_with(&first), "{refusal}");
    assert!(refusal.contains(&format!(" references \"{schema}\".\"user\" (\"id\")")), "{refusal}");
    assert!(refusal.contains(&format!(" on \"{schema}\".\"session\" (\"userId\")")), "{refusal}");

    let auth = build(database.url(), options.clone()).await.expect("it is made");
    let store = auth.store();
    store.insert(&Ticket::named("a", 1)).await.expect("it is free");
    assert_eq!(
        store.add(Ticket::NAME.eq("a"), Ticket::USES, 4).await.expect("a row").map(|row| row.uses),
        Some(5)
    );
    let twin = Ticket { id: "other".to_owned(), ..Ticket::named("a", 2) };
    assert!(
        matches!(store.insert(&twin).await, Err(StoreError::Unique { table, column }) if (&*table, &*column) == ("ticket", "name"))
    );
    // Tables of the same name elsewhere are others.
    database.execute("create table ticket (id text primary key, name text)").await;
    assert!(database.rows("ticket", None).await.is_empty());
    database.execute(&format!("set search_path = \"{schema}\"")).await;
    assert_eq!(database.rows("ticket", None).await.len(), 1);

    let again = build(database.url(), check).await;
    assert!(again.is_ok(), "nothing is missing the second time: {:?}", again.err());
    let in_url = format!("{}&schema={}", database.url(), schema.replace(' ', "%20"));
    let auth = build(&in_url, DatabaseOptions::default()).await.expect("the URL says it as well");
    assert!(auth.store().find(Ticket::NAME.eq("a")).await.expect("an answer").is_some());
    let refusal =
        build(&in_url, DatabaseOptions { schema: Some("other".to_owned()), ..DatabaseOptions::default() });
    let refusal = refusal.await.err().expect("two schemas");
    assert!(refusal.starts_with("database.schema = \"other\": the URL says schema="), "{refusal}");
    drop(auth);
    database.execute(&format!("drop schema \"{schema}\" cascade")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_connections_are_made_than_are_allowed() {
    let Some((database, _)) = database().await else { return };
    for size in [1, 2, 3, 5] {
        let options = DatabaseOptions { pool_size: Some(size), ..DatabaseOptions::default() };
        let auth = build(database.url(), options).await.expect("it opens");
        let store = auth.store();
        let work = (0..40).map(async |number| {
            let name = format!("{size}-{number}");
            store.insert(&Ticket::named(&name, 1)).await.expect("it is free");
            store.find(Ticket::NAME.eq(&*name)).await.expect("an answer").expect("it is there");
        });
        futures_util::future::join_all(work).await;
        let there = database.connections().await;
        assert!((1..=size).contains(&there), "{there} connections of {size}");
        store.ping().await.expect("it answers");
        drop(auth);
        while database.connections().await > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused_with_what_would() {
    let refusal = async |url: &str, options: DatabaseOptions| {
        Store::open_with(url, &options).await.err().expect("a mistake").to_string()
    };
    let options = || DatabaseOptions::default();
    let size = refusal("postgres://localhost/db", DatabaseOptions { pool_size: Some(0), ..options() }).await;
    assert_eq!(size, "database.pool-size = 0: must be a whole number from 1 to 1000");
    let schema = DatabaseOptions { schema: Some("a\"b".to_owned()), ..options() };
    let schema = refusal("postgres://localhost/db", schema).await;
    assert_eq!(
        schema,
        r#"database.schema = "a\"b": must be the name of one schema, of 1 to 63 bytes and without quotes"#
    );
    let nowhere = DatabaseOptions { schema: Some("auth".to_owned()), ..options() };
    assert_eq!(refusal("sqlite://a.db", nowhere).await, "database.schema: SQLite has no schemas");
    let proxy = refusal("prisma+postgres://accelerate.example/?api_key=k", options()).await;
    assert!(proxy.contains("use the database's, which starts with postgres://"), "{proxy}");
}
