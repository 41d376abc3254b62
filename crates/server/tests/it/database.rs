//! The database of a test, seen from outside: a SQLite file, or a database of its own in a PostgreSQL cluster.

use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_postgres::NoTls;

/// A folder for one test and the database in it, or beside it. Both go when dropped.
pub(crate) struct Database {
    folder: TempDir,
    postgres: Option<Postgres>,
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        Self { folder: TempDir::new().unwrap(), postgres: None }
    }

    /// What `TEST_DATABASE` asks for.
    pub(crate) fn chosen(name: &str) -> Self {
        Self { folder: TempDir::new().unwrap(), postgres: Postgres::create(name) }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder().join("narthex.db")
    }

    pub(crate) fn url(&self) -> String {
        match &self.postgres {
            Some(postgres) => postgres.url.clone(),
            None => format!("sqlite://{}", self.file().display()),
        }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.postgres.is_some()
    }

    /// The number that `query` answers with.
    pub(crate) fn number(&self, query: &str) -> i64 {
        match &self.postgres {
            Some(postgres) => postgres.number(query),
            None => self.open().query_row(query, [], |row| row.get(0)).unwrap(),
        }
    }

    /// Runs a statement as another program would.
    pub(crate) fn execute(&self, statement: &str) {
        match &self.postgres {
            Some(postgres) => drop(postgres.query(&postgres.url, statement)),
            None => self.open().execute_batch(statement).unwrap(),
        }
    }

    /// Lets new connections to the PostgreSQL database do no more than `role` may.
    pub(crate) fn limit_to(&self, role: &str) {
        let postgres = self.postgres.as_ref().unwrap();
        postgres.execute(&format!("alter database {} set role = {role}", postgres.name));
    }

    /// A connection of somebody else's to the SQLite file.
    pub(crate) fn open(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.file()).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        connection
    }
}

/// An empty database in the cluster that `TEST_DATABASE` names.
pub(crate) struct Postgres {
    runtime: Runtime,
    cluster: String,
    name: String,
    pub(crate) url: String,
}

impl Postgres {
    #[expect(clippy::disallowed_methods, reason = "this is how a test run chooses its database")]
    pub(crate) fn create(name: &str) -> Option<Self> {
        let cluster = std::env::var("TEST_DATABASE").ok().filter(|url| url.starts_with("postgres"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let name = format!("narthex_it_{name}_{}", std::process::id());
        let (server, _) = cluster.rsplit_once('/').unwrap();
        let postgres = Self { runtime, url: format!("{server}/{name}"), name, cluster: cluster.clone() };
        postgres.execute(&format!("create database {}", postgres.name));
        Some(postgres)
    }

    /// The number that `query` answers with in our own database.
    pub(crate) fn number(&self, query: &str) -> i64 {
        self.query(&self.url, query).map(|row| row.get(0)).unwrap()
    }

    /// Closes every connection that a server has to our database; how many there were.
    pub(crate) fn cut_connections(&self) -> i64 {
        let query = "select count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity \
                     where datname = '$' and application_name = 'narthex'";
        self.query(&self.cluster, &query.replace('$', &self.name)).map(|row| row.get(0)).unwrap()
    }

    /// Lets new connections to our database write, or not.
    pub(crate) fn set_read_only(&self, is_read_only: bool) {
        let value = if is_read_only { "on" } else { "off" };
        self.execute(&format!("alter database {} set default_transaction_read_only = {value}", self.name));
    }

    fn execute(&self, statement: &str) {
        self.query(&self.cluster, statement);
    }

    fn query(&self, url: &str, query: &str) -> Option<tokio_postgres::Row> {
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
            let work = async {
                let rows = client.query(query, &[]).await.unwrap();
                rows.into_iter().next()
            };
            tokio::select! {
                row = work => row,
                ended = connection => panic!("PostgreSQL ended the connection: {ended:?}"),
            }
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.execute(&format!("drop database if exists {} with (force)", self.name));
    }
}
