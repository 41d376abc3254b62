//! A fresh database for each test, gone when the test ends, and a second way into it that is not ours.

use narthex::{Time, store::Kind, store::ResolvedTable};
use rusqlite::types::ValueRef;
use serde_json::{Map, Value};
use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// Which database this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// A file.
    Sqlite,
    /// A schema in the database that `TEST_DATABASE` names.
    Postgres,
}

/// A database that nobody else uses.
#[derive(Debug)]
pub struct Database {
    place: Place,
    url: String,
}

#[derive(Debug)]
enum Place {
    Sqlite {
        path: PathBuf,
        _folder: TempDir,
    },
    Postgres {
        server: String,
        direct: String,
        schema: String,
        client: Box<tokio::sync::Mutex<Option<Client>>>,
    },
}

impl Database {
    /// An empty one.
    pub async fn fresh() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the only choice a test run leaves to its environment")]
        match std::env::var("TEST_DATABASE") {
            Ok(server) if server.starts_with("postgres") => Self::postgres(server).await,
            Ok(other) if !other.is_empty() => panic!("TEST_DATABASE={other} is no postgres:// URL"),
            _ => Self::sqlite(),
        }
    }

    /// An empty SQLite file, whatever the others use.
    pub fn sqlite() -> Self {
        let folder = folder();
        let path = folder.path().join("narthex.db");
        let url = format!("sqlite://{}", path.display());
        Self { place: Place::Sqlite { path, _folder: folder }, url }
    }

    async fn postgres(asked: String) -> Self {
        // Narthex knows more parameters than the driver, which the tests use as it is.
        let (server, ours) = asked.split_once("?pgbouncer=").unwrap_or((&asked, ""));
        let ours = if ours.is_empty() { String::new() } else { format!("&pgbouncer={ours}") };
        let server = server.to_owned();
        let schema = format!("t_{:016x}", RandomState::new().build_hasher().finish());
        let creating = format!("create schema \"{schema}\"");
        connected(&server).await.batch_execute(&creating).await.expect("the schema is new");
        let separator = if server.contains('?') { '&' } else { '?' };
        let direct = format!(
            "{server}{separator}options=-c%20search_path%3D{schema}%20-c%20synchronous_commit%3Doff&application_name={schema}"
        );
        let url = format!("{direct}{ours}");
        let client = Box::default();
        Self { place: Place::Postgres { server, direct, schema, client }, url }
    }

    /// What `Store::open` takes.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Which one it is.
    pub fn dialect(&self) -> Dialect {
        match self.place {
            Place::Sqlite { .. } => Dialect::Sqlite,
            Place::Postgres { .. } => Dialect::Postgres,
        }
    }

    /// The schema, if it is one.
    pub fn schema(&self) -> Option<&str> {
        match &self.place {
            Place::Sqlite { .. } => None,
            Place::Postgres { schema, .. } => Some(schema),
        }
    }

    /// How many connections there are besides our own.
    pub async fn connections(&self) -> u32 {
        let Place::Postgres { client, direct, schema, .. } = &self.place else { return 0 };
        let mut client = client.lock().await;
        let query =
            "select count(*) from pg_stat_activity where application_name = $1 and pid <> pg_backend_pid()";
        let row = reconnected(&mut client, direct).await.query_one(query, &[schema]).await.expect("a number");
        row.get::<_, i64>(0).try_into().expect("a small number")
    }

    /// The file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Sqlite { path, .. } => Some(path),
            Place::Postgres { .. } => None,
        }
    }

    /// Runs statements on a connection of its own, as another program would.
    pub async fn execute(&self, statements: &str) {
        match &self.place {
            Place::Sqlite { path, .. } => {
                let connection = connect(path);
                connection
                    .execute_batch(statements)
                    .unwrap_or_else(|error| panic!("{error} in {statements}"));
            }
            Place::Postgres { client, direct, .. } => {
                let mut client = client.lock().await;
                let outcome = reconnected(&mut client, direct).await.batch_execute(statements).await;
                outcome.unwrap_or_else(|error| panic!("{error:?} in {statements}"));
            }
        }
    }

    /// Runs statements in a transaction of another program, which keeps its locks until [`Held::release`].
    pub async fn hold(&self, statements: &str) -> Held {
        match &self.place {
            Place::Sqlite { path, .. } => {
                let connection = connect(path);
                connection.execute_batch("begin immediate").expect("nobody writes");
                connection
                    .execute_batch(statements)
                    .unwrap_or_else(|error| panic!("{error} in {statements}"));
                Held(Holder::Sqlite(connection))
            }
            Place::Postgres { direct, .. } => {
                let client = connected(direct).await;
                client.batch_execute("begin").await.expect("a transaction");
                client
                    .batch_execute(statements)
                    .await
                    .unwrap_or_else(|error| panic!("{error:?} in {statements}"));
                Held(Holder::Postgres(client))
            }
        }
    }

    /// All rows of a table, oldest first, in the same form from both databases.
    pub async fn rows(&self, name: &str, table: Option<&ResolvedTable>) -> Vec<Value> {
        let mut rows = match &self.place {
            Place::Sqlite { path, .. } => sqlite_rows(path, name),
            Place::Postgres { client, direct, .. } => {
                let mut client = client.lock().await;
                postgres_rows(reconnected(&mut client, direct).await, name).await
            }
        };
        for row in &mut rows {
            for (column, value) in row.iter_mut() {
                let kind = table.and_then(|table| table.kept_in(column)).map(|field| field.kind);
                unify(kind, value);
            }
        }
        let key = |row: &Map<String, Value>, column| row.get(column).map(ToString::to_string);
        rows.sort_by_key(|row| (key(row, "createdAt"), key(row, "id")));
        rows.into_iter().map(Value::Object).collect()
    }
}

/// A transaction of another program. Dropping it undoes it.
pub struct Held(Holder);

enum Holder {
    Sqlite(rusqlite::Connection),
    Postgres(Client),
}

impl Held {
    /// Commits.
    pub async fn release(self) {
        match self.0 {
            Holder::Sqlite(connection) => connection.execute_batch("commit").expect("it commits"),
            Holder::Postgres(client) => client.batch_execute("commit").await.expect("it commits"),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Place::Postgres { server, schema, .. } = &self.place else { return };
        let (server, schema) = (server.clone(), schema.clone());
        // A thread of its own: a test's runtime cannot wait for itself.
        let cleaning = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                // The test's own connections may hold locks, and its runtime, which waits for us, cannot close them.
                let end = format!("select pg_terminate_backend(pid) from pg_stat_activity where application_name = '{schema}'");
                let statement = format!("{end}; set lock_timeout = '5s'; drop schema \"{schema}\" cascade");
                let Ok((client, connection)) = tokio_postgres::connect(&server, NoTls).await else { return };
                tokio::select! {
                    // Best effort: what is left behind disturbs nobody.
                    _ = client.batch_execute(&statement) => {}
                    _ = connection => {}
                }
            });
        });
        let _ = cleaning.join();
    }
}

/// The connection of the other program, made when it is first needed.
async fn reconnected<'a>(slot: &'a mut Option<Client>, url: &str) -> &'a Client {
    if slot.as_ref().is_none_or(Client::is_closed) {
        *slot = Some(connected(url).await);
    }
    slot.as_ref().expect("it was just made")
}

/// In memory where there is such a place: a test's durability is nobody's concern.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("narthex-test-");
    let folder = if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() };
    folder.expect("a temporary folder")
}

fn connect(path: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).expect("the file opens");
    connection.busy_timeout(std::time::Duration::from_secs(10)).expect("a timeout");
    connection
}

#[expect(clippy::disallowed_methods, reason = "the driver's connection has to be polled by someone")]
async fn connected(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL answers");
    tokio::spawn(connection);
    client
}

fn sqlite_rows(path: &Path, name: &str) -> Vec<Map<String, Value>> {
    let connection = connect(path);
    let mut statement = connection.prepare(&format!("select * from \"{name}\"")).expect("the table exists");
    let columns: Vec<_> = statement.column_names().map(str::to_owned).collect();
    let rows = statement.query_map([], |row| {
        let mut members = Map::new();
        for (position, column) in columns.iter().enumerate() {
            let value = match row.get_ref(position)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => number.into(),
                ValueRef::Real(number) => number.into(),
                ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into(),
            };
            members.insert(column.clone(), value);
        }
        Ok(members)
    });
    rows.expect("the table can be read").map(|row| row.expect("a row")).collect()
}

async fn postgres_rows(client: &Client, name: &str) -> Vec<Map<String, Value>> {
    let query = format!("select row_to_json(t)::text from \"{name}\" t");
    let rows = client.query(&query, &[]).await.expect("the table exists");
    rows.iter().map(|row| serde_json::from_str(row.get(0)).expect("JSON")).collect()
}

/// What the two databases keep in different forms.
fn unify(kind: Option<Kind>, value: &mut Value) {
    match (kind, &*value) {
        (Some(Kind::Bool), Value::Number(number)) => *value = Value::Bool(number.as_i64() == Some(1)),
        (Some(Kind::Time), Value::String(text)) => {
            if let Some(time) = Time::parse(text) {
                *value = time.to_string().into();
            }
        }
        (Some(Kind::Json | Kind::TextList | Kind::NumberList), Value::String(text)) => {
            if let Ok(parsed) = serde_json::from_str(text) {
                *value = parsed;
            }
        }
        _ => {}
    }
}
