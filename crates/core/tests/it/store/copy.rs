//! A copy has every row, or there is none.

use narthex::{
    Auth, Config, DatabaseOptions, RateLimitStorage, Store,
    store::{Copied, CopyOptions, Progress, Source, Step},
};
use narthex_testkit::{Database, Dialect, SECRET};
use serde_json::json;
use std::collections::BTreeMap;

/// Users with a field of every kind.
fn config() -> Config {
    let mut config = Config { secret: Some(SECRET.into()), ..Config::default() };
    // As it is with SQLite without a word from the operator.
    config.rate_limit.storage = Some(RateLimitStorage::Memory);
    let fields = json!({
        "age": { "type": "number", "required": false },
        "credits": { "type": "number", "bigint": true, "required": false },
        "isAdmin": { "type": "boolean", "required": false, "column": "is_admin" },
        "born": { "type": "date", "required": false },
        "settings": { "type": "json", "required": false },
        "tags": { "type": "string[]", "required": false },
        "scores": { "type": "number[]", "required": false },
        "invitedBy": { "type": "string", "required": false, "references": { "model": "user", "on-delete": "set null" } },
    });
    config.user.additional_fields = serde_json::from_value(fields).expect("fields");
    config
}

async fn open(database: &Database) -> Source {
    Source::open(database.url(), &DatabaseOptions::default()).await.expect("the source opens")
}

async fn try_copy(
    config: Config,
    [from, to]: [&Database; 2],
    leave_behind: bool,
    progress: impl FnMut(Progress<'_>) + Send,
) -> Result<Copied, String> {
    let target = Store::open(to.url()).await.expect("the target opens");
    let copied =
        Auth::builder(config).copy(open(from).await, target, CopyOptions { leave_behind }, progress).await;
    copied.map_err(|error| error.to_string())
}

async fn copy(from: &Database, to: &Database) -> Result<Copied, String> {
    try_copy(config(), [from, to], false, |_| {}).await
}

async fn refusal(from: &Database, to: &Database) -> String {
    copy(from, to).await.expect_err("it is refused")
}

/// Makes the tables.
async fn migrate(database: &Database, config: Config) {
    let store = Store::open(database.url()).await.expect("the database opens");
    Auth::builder(config).migrate(store, true).await.expect("the tables are made");
}

fn user(id: &str, columns: &str, values: &str) -> String {
    let time = "'2026-11-20T21:09:19.128Z'";
    format!(
        r#"insert into "user" ("id", "name", "email", "emailVerified", "createdAt", "updatedAt"{columns})
        values ('{id}', 'User {id}', '{id}@example.com', {FALSE}, {time}, {time}{values});"#
    )
}

/// Both databases read it.
const FALSE: &str = "(1 = 0)";

fn session(id: &str, user: &str) -> String {
    let time = "'2026-11-20T21:09:19.128Z'";
    format!(
        r#"insert into "session" ("id", "expiresAt", "token", "createdAt", "updatedAt", "userId")
        values ('{id}', {time}, 'token-{id}', {time}, {time}, '{user}');"#
    )
}

fn verification(id: &str) -> String {
    let time = "'2026-11-20T21:09:19.128Z'";
    format!(
        r#"insert into "verification" ("id", "identifier", "value", "expiresAt", "createdAt", "updatedAt")
        values ('{id}', 'a', 'b', {time}, {time}, {time});"#
    )
}

/// A source with tables and what these statements put there.
async fn source(statements: &str) -> Database {
    let database = Database::sqlite();
    migrate(&database, config()).await;
    database.execute(&format!("begin; pragma defer_foreign_keys = on; {statements}; commit")).await;
    database
}

async fn count(database: &Database) -> usize {
    let mut all = 0;
    for table in ["user", "session", "account", "verification", "narthexGuess"] {
        all += database.rows(table, None).await.len();
    }
    all
}

fn numbers(copied: &Copied) -> BTreeMap<&str, u64> {
    copied.tables.iter().map(|table| (table.name, table.rows)).collect()
}

#[tokio::test]
async fn every_kind_of_value_comes_back_as_it_was() {
    let columns =
        r#", "age", "credits", "is_admin", "born", "settings", "tags", "scores", "image", "invitedBy""#;
    let all = [
        user(
            "a",
            columns,
            r#", -2147483648, 9007199254740993, 1, '1815-12-10T00:00:00.001Z', '{"b": [1.5, -0.1, 1e300], "a": {"ü": null, "": "\"\\n"}}', '["x", ""]', '[0.1, 12345678901234567]', '', 'z'"#,
        ),
        user("b", columns, ", null, null, null, null, null, null, null, null, null"),
        user(
            "z",
            columns,
            ", 0, -1, 0, '9999-12-31T23:59:59.999Z', 'null', '[]', '[]', '''; 😀\u{202e}\t\n', 'z'",
        ),
        user("é", r#", "born""#, ", '0001-01-01T00:00:00.000Z'"),
        session("s", "a"),
        verification("v"),
    ];
    let (first, second, third) = (source(&all.concat()).await, Database::fresh().await, Database::sqlite());
    let there = copy(&first, &second).await.expect("it is copied");
    assert_eq!(
        numbers(&there),
        [
            ("account", 0),
            ("audit_log", 0),
            ("narthexGuess", 0),
            ("session", 1),
            ("user", 4),
            ("verification", 1)
        ]
        .into()
    );
    let back = copy(&second, &third).await.expect("it is copied back");
    assert_eq!(there, back, "the same rows have the same hashes");
    let hashes: Vec<_> = there.tables.iter().map(|table| table.hash.as_str()).collect();
    assert!(hashes.iter().all(|hash| hash.len() == 64), "{hashes:?}");
    assert_eq!(hashes.iter().filter(|hash| **hash == "0".repeat(64)).count(), 3, "of those without a row");

    let store = Store::open(third.url()).await.expect("the copy opens");
    let auth = Auth::builder(config()).build(store).await.expect("the copy can be served");
    for table in auth.store().schema().tables() {
        let expected = first.rows(&table.relation, Some(table)).await;
        assert_eq!(second.rows(&table.relation, Some(table)).await, expected);
        assert_eq!(third.rows(&table.relation, Some(table)).await, expected);
    }
}

#[tokio::test]
async fn a_changed_value_changes_the_hash_of_its_table_alone() {
    let rows = [user("a", "", ""), verification("v")].concat();
    let (one, other) = (source(&rows).await, source(&rows).await);
    other.execute(r#"update "user" set "emailVerified" = 1"#).await;
    let first = copy(&one, &Database::fresh().await).await.expect("it is copied");
    let second = copy(&other, &Database::fresh().await).await.expect("it is copied");
    let changed: Vec<_> = first
        .tables
        .iter()
        .zip(&second.tables)
        .filter(|(one, other)| one != other)
        .map(|(one, _)| one.name)
        .collect();
    assert_eq!(changed, ["user"]);
}

#[tokio::test]
async fn a_database_that_upstream_has_made_and_written_is_copied() {
    let from = Database::sqlite();
    from.execute(
        r#"create table "user" ("id" text not null primary key, "name" text not null, "email" text not null unique, "emailVerified" integer not null, "image" text, "createdAt" date not null, "updatedAt" date not null);
        create table "session" ("id" text not null primary key, "expiresAt" date not null, "token" text not null unique, "createdAt" date not null, "updatedAt" date not null, "ipAddress" text, "userAgent" text, "userId" text not null references "user" ("id") on delete cascade);
        create table "blog" ("id" integer primary key autoincrement, "text" text);
        insert into "user" values ('a', 'Ada', 'ada@example.com', 1, null, '2026-11-20T21:09:19.128Z', 1795208959128);
        insert into "session" values ('s', '2026-11-20T21:09:19.128Z', 't', '2026-11-20 21:09:19', '2026-11-20T23:09:19.128+02:00', '', 'curl', 'a');
        insert into "blog" values (1, 'not ours')"#,
    )
    .await;
    let before = std::fs::read(from.path().expect("a file")).expect("it can be read");
    let to = Database::fresh().await;
    let mut config = config();
    config.user.additional_fields = narthex::Names::default();
    let copied = try_copy(config, [&from, &to], false, |_| {}).await.expect("it is copied");
    assert_eq!((copied.others.as_slice(), numbers(&copied)["user"]), (&["blog".to_owned()][..], 1));
    assert_eq!(numbers(&copied)["account"], 0, "a table that is not there has no rows");
    let after = std::fs::read(from.path().expect("a file")).expect("it can be read");
    assert!(before == after, "not even the journal's mode is changed");

    let store = Store::open(to.url()).await.expect("the copy opens");
    let auth = Auth::builder(Config { secret: Some(SECRET.into()), ..Config::default() }).build(store).await;
    let auth = auth.expect("the copy can be served");
    let ada = auth.store().find(narthex::model::User::ID.eq("a")).await.expect("a query").expect("Ada");
    assert!(ada.email_verified);
    assert_eq!(ada.updated_at.to_string(), "2026-11-20T21:09:19.128Z");
    let session =
        auth.store().find(narthex::model::Session::ID.eq("s")).await.expect("a query").expect("hers");
    assert_eq!(session.created_at.to_string(), "2026-11-20T21:09:19.000Z");
    assert_eq!(session.updated_at.to_string(), "2026-11-20T21:09:19.128Z");
}

#[tokio::test]
async fn a_target_with_rows_is_refused_and_stays_as_it_is() {
    let from = source(&user("a", "", "")).await;
    let to = Database::fresh().await;
    migrate(&to, config()).await;
    to.execute(&verification("theirs")).await;
    assert_eq!(
        refusal(&from, &to).await,
        "the target has rows already, in \"verification\"; a copy adds to nothing: use an empty database"
    );
    assert_eq!(count(&to).await, 1);
}

#[tokio::test]
async fn a_target_that_is_the_source_is_refused() {
    let from = source(&user("a", "", "")).await;
    let (file, link) = (from.path().expect("a file"), from.path().expect("a file").with_extension("link"));
    std::fs::hard_link(file, &link).expect("a file may have two names");
    let target = Store::open(&format!("sqlite://{}", link.display())).await.expect("it opens");
    let copied = Auth::builder(config()).copy(open(&from).await, target, CopyOptions::default(), |_| {});
    assert_eq!(copied.await.expect_err("it is refused").to_string(), "the target is the source");

    let to = Database::fresh().await;
    copy(&from, &to).await.expect("it is copied");
    assert_eq!(refusal(&to, &to).await, "the target is the source");
}

#[tokio::test]
async fn a_value_that_is_not_what_its_column_is_for_is_named_and_nothing_is_copied() {
    let flaws = [
        (
            r#"update "user" set "emailVerified" = 2"#,
            "emailVerified",
            "another number than 0 and 1 for a truth value",
        ),
        (r#"update "user" set "emailVerified" = 'yes'"#, "emailVerified", "no truth value"),
        (r#"update "user" set "age" = 'old'"#, "age", "no number"),
        (r#"update "user" set "age" = 9e999"#, "age", "a number that is not finite"),
        (r#"update "user" set "born" = 'yesterday'"#, "born", "no date"),
        (r#"update "user" set "born" = '2026-02-30T00:00:00Z'"#, "born", "no date"),
        (r#"update "user" set "born" = 1.5"#, "born", "no date"),
        (
            r#"update "user" set "born" = 9223372036854775807"#,
            "born",
            "a date before the year 1 or after the year 9999",
        ),
        (r#"update "user" set "settings" = '{'"#, "settings", "text that is not JSON"),
        (r#"update "user" set "settings" = '"\ud800"'"#, "settings", "text that is not JSON"),
        (
            r#"update "user" set "settings" = '[12345678901234567890123]'"#,
            "settings",
            "JSON with a number of more digits than a double keeps",
        ),
        (r#"update "user" set "image" = x'00'"#, "image", "bytes"),
        (r#"update "user" set "image" = cast(x'ff' as text)"#, "image", "text that is not UTF-8"),
    ];
    for (statement, column, flaw) in flaws {
        // Sessions are written before it is found in some of these: users come first, one page after the other.
        let from = source(&[user("a", "", ""), statement.to_owned()].concat()).await;
        let to = Database::fresh().await;
        assert_eq!(
            refusal(&from, &to).await,
            format!(
                "\"user\".\"{column}\" of the row with the id \"a\" holds {flaw}; correct it in the source, then copy again"
            )
        );
        assert_eq!(count(&to).await, 0, "{statement}");
    }
}

#[tokio::test]
async fn a_value_that_postgresql_cannot_hold_is_named_and_nothing_is_copied() {
    let flaws = [
        ("image", "'a' || char(0)", "the character NUL, which PostgreSQL does not keep in text"),
        ("age", "2147483648", "a number that is out of range for the target's column"),
        ("age", "0.5", "a number with a fraction, and the target's column keeps whole ones"),
        ("credits", "1e300", "a number with a fraction, and the target's column keeps whole ones"),
        ("settings", r#"'{"a": ["\u0000"]}'"#, "JSON with the character NUL, which PostgreSQL does not keep"),
        ("settings", r#"'{"\u0000": 1}'"#, "JSON with the character NUL, which PostgreSQL does not keep"),
    ];
    for (column, value, flaw) in flaws {
        let change = format!(r#"update "user" set "{column}" = {value} where "id" = 'user-1500'"#);
        let users: Vec<_> = (0..1_600).map(|number| user(&format!("user-{number}"), "", "")).collect();
        let from = source(&(users.concat() + &change)).await;
        let to = Database::fresh().await;
        if to.dialect() == Dialect::Sqlite {
            // Which keeps them all.
            let back = Database::sqlite();
            let there = copy(&from, &to).await.expect("it is copied");
            assert_eq!(there, copy(&to, &back).await.expect("it is copied"));
            continue;
        }
        let mut written = 0;
        let copied = try_copy(config(), [&from, &to], false, |progress| written = progress.rows).await;
        assert_eq!(
            copied.expect_err("it is refused"),
            format!(
                "\"user\".\"{column}\" of the row with the id \"user-1500\" holds {flaw}; correct it in the source, \
                 then copy again"
            )
        );
        assert_eq!(written, 1_000, "rows had been written");
        assert_eq!(count(&to).await, 0, "{column} = {value}");
    }
}

#[tokio::test]
async fn columns_that_nobody_declares_are_refused_unless_they_are_to_be_left_behind() {
    let from = source(&user("a", "", "")).await;
    from.execute(
        r#"alter table "user" add column "shoeSize" integer; alter table "session" add column "x" text"#,
    )
    .await;
    let to = Database::fresh().await;
    assert_eq!(
        refusal(&from, &to).await,
        "the source has columns that nothing declares, and they would not be copied: \"session\".\"x\", \
         \"user\".\"shoeSize\"; declare them in additional-fields, or leave them out with --leave-behind"
    );
    let copied = try_copy(config(), [&from, &to], true, |_| {}).await.expect("it is copied");
    assert_eq!(copied.left_behind, ["\"session\".\"x\"", "\"user\".\"shoeSize\""]);
    assert_eq!(count(&to).await, 1);
}

#[tokio::test]
async fn a_source_that_lacks_a_column_is_to_be_migrated_first() {
    let from = source(&user("a", "", "")).await;
    from.execute(r#"alter table "user" drop column "image"; alter table "user" drop column "age""#).await;
    assert_eq!(
        refusal(&from, &Database::fresh().await).await,
        "the source lacks \"user\".\"image\", \"user\".\"age\"; run `narthex migrate` on it, then copy again"
    );
}

#[tokio::test]
async fn a_source_without_tables_or_without_a_file_is_no_source() {
    let empty = Database::sqlite();
    empty.execute("create table elsewhere (x)").await;
    assert_eq!(
        refusal(&empty, &Database::fresh().await).await,
        "the source has none of the tables that are to be copied"
    );
    let missing = Source::open("sqlite:///nowhere/auth.db", &DatabaseOptions::default()).await.err();
    let missing = narthex::chain(&missing.expect("it does not open"));
    assert_eq!(missing, "the database cannot be reached: there is no file /nowhere/auth.db");
}

#[tokio::test]
async fn a_row_whose_parent_is_missing_is_named() {
    let from = source(&user("a", "", "")).await;
    from.execute(&format!(
        "pragma foreign_keys = off; {} {}",
        session("s", "a"),
        session("orphan", "nobody")
    ))
    .await;
    let to = Database::fresh().await;
    migrate(&to, config()).await;
    assert_eq!(
        refusal(&from, &to).await,
        "\"session\".\"userId\" of the row with the id \"orphan\" points at a row of \"user\" that is not there; \
         correct or delete it in the source, then copy again"
    );
    assert_eq!(count(&to).await, 0);
}

/// What is read again is what the target has, and not what was sent.
#[tokio::test]
async fn a_target_that_changes_what_is_written_is_found_out() {
    let from = source(&[user("a", "", ""), user("b", "", "")].concat()).await;
    let to = Database::fresh().await;
    migrate(&to, config()).await;
    let trigger = match to.dialect() {
        Dialect::Sqlite => {
            r#"create trigger meddle after insert on "user" when new."id" = 'b' begin
            update "user" set "name" = 'Bob' where "id" = new."id"; end"#
        }
        Dialect::Postgres => {
            r#"create function meddle() returns trigger language plpgsql as $$ begin
            if new."id" = 'b' then new."name" := 'Bob'; end if; return new; end $$;
            create trigger meddle before insert on "user" for each row execute function meddle()"#
        }
    };
    to.execute(trigger).await;
    let refusal = refusal(&from, &to).await;
    assert!(
        refusal.starts_with("\"user\" in the target is not what was copied: 2 rows with the hash "),
        "{refusal}"
    );
    assert!(
        refusal.ends_with(
            "nothing was kept. Something there changes what is written: look for triggers and rules"
        ),
        "{refusal}"
    );
    assert_eq!(count(&to).await, 0);
}

/// A page has a thousand rows at most.
#[tokio::test]
async fn rows_may_point_at_rows_that_come_later() {
    let users: Vec<_> = (0..2_500)
        .map(|number| {
            user(&format!("user-{number}"), r#", "invitedBy""#, &format!(", 'user-{}'", 2_499 - number))
        })
        .collect();
    let from = source(&users.concat()).await;
    let (to, back) = (Database::fresh().await, Database::sqlite());
    let mut seen = Vec::new();
    let there = try_copy(config(), [&from, &to], false, |progress| {
        if progress.table == "user" {
            seen.push((progress.step, progress.rows, progress.all));
        }
    });
    let there = there.await.expect("it is copied");
    assert_eq!(numbers(&there)["user"], 2_500);
    assert_eq!(there, copy(&to, &back).await.expect("it is copied back"));
    let copied: Vec<_> =
        seen.iter().filter(|(step, ..)| *step == Step::Copy).map(|(_, rows, _)| *rows).collect();
    assert_eq!(copied, [0, 1_000, 2_000, 2_500]);
    assert_eq!(seen.last(), Some(&(Step::Check, 2_500, 2_500)));
    if to.dialect() == Dialect::Postgres {
        to.execute("do $$ begin if (select count(*) from pg_constraint where condeferrable and connamespace = current_schema()::regnamespace) > 0 then raise 'constraints are deferred'; end if; end $$").await;
    }
}

#[tokio::test]
async fn what_is_written_to_the_source_meanwhile_is_not_copied() {
    let users: Vec<_> = (0..1_500).map(|number| user(&format!("user-{number}"), "", "")).collect();
    let from = source(&users.concat()).await;
    let file = from.path().expect("a file");
    let to = Database::fresh().await;
    let mut has_written = false;
    let copied = try_copy(config(), [&from, &to], false, |progress| {
        if progress.rows > 0 && !has_written {
            has_written = true;
            let other = rusqlite::Connection::open(file).expect("it opens");
            other
                .execute_batch(&(session("s", "user-0") + &user("late", "", "")))
                .expect("the source can be written");
        }
    });
    let copied = copied.await.expect("it is copied");
    assert!(has_written);
    assert_eq!((numbers(&copied)["user"], numbers(&copied)["session"]), (1_500, 0));
    assert_eq!(count(&from).await, 1_502);
}

#[tokio::test]
async fn numbered_ids_go_on_behind_those_that_were_copied() {
    let numbered = || {
        let mut config = config();
        config.advanced.database.generate_id = Some(narthex::GenerateId::Serial);
        config
    };
    let from = Database::sqlite();
    migrate(&from, numbered()).await;
    from.execute(&[user("40", "", ""), user("7", r#", "invitedBy""#, ", 40"), session("3", "7")].concat())
        .await;
    let (to, again) = (Database::fresh().await, Database::fresh().await);
    let there = try_copy(numbered(), [&from, &to], false, |_| {}).await.expect("it is copied");
    let columns = r#""name", "email", "emailVerified", "createdAt", "updatedAt""#;
    let insert = |name: &str| {
        let time = "'2026-11-20T21:09:19.128Z'";
        format!(r#"insert into "user" ({columns}) values ('{name}', '{name}', {FALSE}, {time}, {time})"#)
    };
    let id = async |database: &Database, name: &str| {
        let rows = database.rows("user", None).await;
        let row = rows.iter().find(|row| row["name"] == name).expect("the row").clone();
        row["id"].as_i64().or_else(|| row["id"].as_str()?.parse().ok()).expect("a number")
    };
    to.execute(&insert("next")).await;
    assert_eq!(id(&to, "next").await, 41);
    assert_eq!(there.tables.iter().map(|table| table.rows).sum::<u64>(), 3);

    // Who had the last number is gone, and nobody else gets it: PostgreSQL remembers.
    to.execute(r#"delete from "user" where "name" = 'next'"#).await;
    let copied = try_copy(numbered(), [&to, &again], false, |_| {}).await.expect("it is copied");
    assert_eq!(copied, there);
    again.execute(&insert("after")).await;
    assert_eq!(id(&again, "after").await, if again.dialect() == Dialect::Postgres { 42 } else { 41 });
}

#[tokio::test]
async fn ids_that_the_target_cannot_have_are_named() {
    let mut uuids = config();
    uuids.advanced.database.generate_id = Some(narthex::GenerateId::Uuid);
    let from = source(&user("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "", "")).await;
    let to = Database::fresh().await;
    let copied = try_copy(uuids, [&from, &to], false, |_| {}).await;
    match to.dialect() {
        Dialect::Sqlite => drop(copied.expect("text is text")),
        Dialect::Postgres => assert_eq!(
            copied.expect_err("it is refused"),
            "\"user\".\"id\" of row 1 holds an id that is no UUID in small letters, which the target's column needs; \
             correct it in the source, then copy again"
        ),
    }
}

#[tokio::test]
async fn what_a_time_has_beyond_milliseconds_is_told() {
    let from = Database::fresh().await;
    migrate(&from, config()).await;
    from.execute(&user("a", r#", "born""#, ", '2026-11-20 21:09:19.128001+00:00'")).await;
    from.execute(&user("b", r#", "born""#, ", '1969-11-20 21:09:19.128000+00:00'")).await;
    let to = Database::sqlite();
    let copied = copy(&from, &to).await.expect("it is copied");
    let shortened: Vec<_> = copied
        .tables
        .iter()
        .filter(|table| table.shortened > 0)
        .map(|table| (table.name, table.shortened))
        .collect();
    assert_eq!(shortened, [("user", 1)]);
    let rows = to.rows("user", None).await;
    let born: Vec<_> = rows.iter().map(|row| row["born"].as_str().expect("text")).collect();
    assert_eq!(born, ["2026-11-20T21:09:19.128Z", "1969-11-20T21:09:19.128Z"]);
}

#[tokio::test]
async fn counts_of_requests_are_not_copied_where_the_target_has_no_table_for_them() {
    let production = || {
        let mut config = config();
        config.rate_limit = narthex::RateLimitOptions { enabled: Some(true), ..Default::default() };
        config
    };
    let from = Database::fresh().await;
    migrate(&from, production()).await;
    from.execute(&user("a", "", "")).await;
    let copied =
        try_copy(production(), [&from, &Database::sqlite()], false, |_| {}).await.expect("it is copied");
    match from.dialect() {
        Dialect::Sqlite => assert!(copied.not_needed.is_empty(), "it has none either"),
        Dialect::Postgres => assert_eq!(copied.not_needed, ["rateLimit"]),
    }
}

#[tokio::test]
async fn two_rows_of_which_the_target_keeps_one_are_refused() {
    let from = Database::sqlite();
    migrate(&from, config()).await;
    from.execute(
        r#"pragma writable_schema = on;
        update sqlite_master set sql = replace(sql, '"email" text not null unique', '"email" text not null') where name = 'user';
        delete from sqlite_master where name = 'sqlite_autoindex_user_2'"#,
    )
    .await;
    let twice = [user("a", "", ""), user("b", "", "").replace("b@example.com", "a@example.com")].concat();
    from.execute(&twice).await;
    let to = Database::fresh().await;
    assert_eq!(
        refusal(&from, &to).await,
        "the target keeps every \"user\".\"email\" once, and the source has one twice; change or delete one of the \
         rows, then copy again"
    );
    assert_eq!(count(&to).await, 0);
}
