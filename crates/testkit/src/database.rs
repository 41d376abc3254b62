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
use tokio_postgres::NoTls;

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
    Sqlite { path: PathBuf, _folder: TempDir },
    Postgres { server: String, schema: String },
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

    async fn postgres(server: String) -> Self {
        let schema = format!("t_{:016x}", RandomState::new().build_hasher().finish());
        run(&server, &format!("create schema \"{schema}\"")).await;
        let separator = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{separator}options=-c%20search_path%3D{schema}");
        Self { place: Place::Postgres { server, schema }, url }
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
            Place::Postgres { .. } => run(&self.url, statements).await,
        }
    }

    /// All rows of a table, oldest first, in the same form from both databases.
    pub async fn rows(&self, name: &str, table: Option<&ResolvedTable>) -> Vec<Value> {
        let mut rows = match &self.place {
            Place::Sqlite { path, .. } => sqlite_rows(path, name),
            Place::Postgres { .. } => postgres_rows(&self.url, name).await,
        };
        for row in &mut rows {
            for (column, value) in row.iter_mut() {
                let kind = table.and_then(|table| table.field(column)).map(|field| field.kind);
                unify(kind, value);
            }
        }
        let key = |row: &Map<String, Value>, column| row.get(column).map(ToString::to_string);
        rows.sort_by_key(|row| (key(row, "createdAt"), key(row, "id")));
        rows.into_iter().map(Value::Object).collect()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Place::Postgres { server, schema } = &self.place else { return };
        let (server, schema) = (server.clone(), schema.clone());
        // A thread of its own: a test's runtime cannot wait for itself.
        let cleaning = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let statement = format!("set lock_timeout = '5s'; drop schema \"{schema}\" cascade");
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

async fn run(url: &str, statements: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL answers");
    tokio::select! {
        outcome = client.batch_execute(statements) => outcome.unwrap_or_else(|error| panic!("{error:?} in {statements}")),
        outcome = connection => panic!("the connection ended: {outcome:?}"),
    }
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

async fn postgres_rows(url: &str, name: &str) -> Vec<Map<String, Value>> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL answers");
    let query = format!("select row_to_json(t)::text from \"{name}\" t");
    let rows = tokio::select! {
        rows = client.query(&query, &[]) => rows.expect("the table exists"),
        outcome = connection => panic!("the connection ended: {outcome:?}"),
    };
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
        (Some(Kind::Json), Value::String(text)) => {
            if let Ok(parsed) = serde_json::from_str(text) {
                *value = parsed;
            }
        }
        _ => {}
    }
}
