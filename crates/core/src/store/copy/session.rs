//! One side of a copy, on either database.

use super::{
    super::{
        Result,
        migrate::Existing,
        resolved::{ResolvedTable, Schema},
        schema::Kind,
        value::Value,
    },
    Page, Pair, Place,
    postgres::{self, ColumnType},
    sqlite,
};
use std::sync::Arc;

/// A transaction on either side.
pub(super) enum Session {
    Sqlite(sqlite::Session),
    Postgres(Box<postgres::Session>),
}

impl Session {
    pub(super) async fn reading(place: &Place) -> Result<Self> {
        Ok(match place {
            Place::Sqlite(path) => Self::Sqlite(sqlite::Session::reading(path).await?),
            Place::Postgres(database) => {
                Self::Postgres(Box::new(postgres::Session::reading(database).await?))
            }
        })
    }

    pub(super) async fn writing(place: &Place) -> Result<Self> {
        Ok(match place {
            Place::Sqlite(path) => Self::Sqlite(sqlite::Session::writing(path).await?),
            Place::Postgres(database) => {
                Self::Postgres(Box::new(postgres::Session::writing(database).await?))
            }
        })
    }

    pub(super) async fn existing(&mut self, schema: &Arc<Schema>) -> Result<Existing> {
        match self {
            Self::Sqlite(session) => session.existing(schema).await,
            Self::Postgres(session) => session.existing(schema).await,
        }
    }

    /// What tells these tables from all others.
    pub(super) async fn identity(&self, schema: &Schema) -> Result<String> {
        match self {
            Self::Sqlite(session) => session.identity(),
            Self::Postgres(session) => session.identity(schema).await,
        }
    }

    /// The first column of the first row.
    pub(super) async fn scalar(&self, statement: String, kind: Kind) -> Result<Option<Value>> {
        match self {
            Self::Sqlite(session) => session.scalar(statement, kind).await,
            Self::Postgres(session) => session.scalar(&statement).await,
        }
    }

    pub(super) async fn count(&self, table: &ResolvedTable, is_there: bool) -> Result<u64> {
        if !is_there {
            return Ok(0);
        }
        let count = format!("select count(*) from {}", table.place);
        Ok(match self.scalar(count, Kind::BigInteger).await? {
            Some(Value::Integer(number)) => u64::try_from(number).unwrap_or(0),
            _ => 0,
        })
    }

    pub(super) async fn start(&mut self, table: &Arc<ResolvedTable>) -> Result<()> {
        match self {
            Self::Sqlite(session) => session.start(table).await,
            Self::Postgres(session) => session.start(table).await,
        }
    }

    pub(super) async fn page(&mut self) -> Result<Page> {
        match self {
            Self::Sqlite(session) => session.page().await,
            Self::Postgres(session) => session.page().await,
        }
    }

    /// Nobody else writes to these tables from now on, and they may point at one another whichever comes first. What
    /// [`Self::settle`] needs to know.
    pub(super) async fn prepare(&self, schema: &Schema, tables: &[&ResolvedTable]) -> Result<Vec<String>> {
        match self {
            Self::Sqlite(_) => Ok(Vec::new()),
            Self::Postgres(session) => {
                session.lock(tables).await?;
                session.defer(schema, tables).await
            }
        }
    }

    pub(super) async fn write(
        &self,
        table: &ResolvedTable,
        types: &[ColumnType],
        rows: Vec<Vec<Value>>,
    ) -> Result<()> {
        match self {
            Self::Sqlite(session) => session.write(table, rows).await,
            Self::Postgres(session) => session.write(table, types, rows).await,
        }
    }

    pub(super) async fn settle(&self, restore: &[String]) -> Result<()> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(session) => session.settle(restore).await,
        }
    }

    /// The last id that the source has given where it counts them, of a row that may be gone.
    pub(super) async fn last_number(&self, pair: &Pair) -> Result<i64> {
        match self {
            Self::Postgres(session) if pair.is_there => session.last_number(&pair.from).await,
            _ => Ok(0),
        }
    }

    /// SQLite counts on from the largest id by itself.
    pub(super) async fn count_on(
        &self,
        table: &ResolvedTable,
        types: &[ColumnType],
        last: i64,
    ) -> Result<()> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(session) => session.count_on(table, types, last).await,
        }
    }

    /// Nothing is kept of what was written; where nothing was, this is how it ends in good order.
    pub(super) async fn end(self) {
        match self {
            Self::Sqlite(session) => drop(session),
            Self::Postgres(session) => session.end().await,
        }
    }

    pub(super) async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(session) => session.commit().await,
            Self::Postgres(session) => session.commit().await,
        }
    }
}
