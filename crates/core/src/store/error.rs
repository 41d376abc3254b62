//! What can go wrong in the database, as far as anyone can act on it.

use crate::error::BoxError;

/// A failed store operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another row has this value already.
    #[error("\"{table}\".\"{column}\" must be unique, and another row has this value")]
    Unique {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// Nobody got to write for too long: another process holds the lock, or too many are waiting.
    #[error("the database is busy")]
    Busy,
    /// A transaction or a query took longer than it may and was rolled back.
    #[error("the database operation took too long and was rolled back")]
    Deadline,
    /// The database cannot be reached.
    #[error("the database cannot be reached")]
    Unavailable(#[source] BoxError),
    /// The URL is not one.
    #[error("{0}")]
    Url(String),
    /// Code asked for a table that neither core nor a plugin declares.
    #[error("table \"{0}\" is not declared")]
    UnknownTable(&'static str),
    /// A column holds what its declaration rules out.
    #[error("\"{table}\".\"{column}\" holds a value of another type")]
    Type {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// The database differs from the declared schema in a way that adding cannot mend.
    #[error("{0}")]
    Schema(String),
    /// Anything else the driver reports.
    #[error("the database refused the statement")]
    Other(#[source] BoxError),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match &error {
            rusqlite::Error::SqliteFailure(failure, message) => match failure.code {
                ErrorCode::ConstraintViolation => match message.as_deref().and_then(unique_column) {
                    Some((table, column)) => {
                        Self::Unique { table: table.to_owned(), column: column.to_owned() }
                    }
                    None => Self::Other(error.into()),
                },
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy,
                ErrorCode::OperationInterrupted => Self::Deadline,
                ErrorCode::CannotOpen
                | ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::ReadOnly => Self::Unavailable(error.into()),
                _ => Self::Other(error.into()),
            },
            _ => Self::Other(error.into()),
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let is_lost = error.is_closed()
            || std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
        let Some(database) = error.as_db_error() else {
            return if is_lost { Self::Unavailable(error.into()) } else { Self::Other(error.into()) };
        };
        match database.code().code() {
            // unique_violation; the detail names the columns: `Key (email)=(…) already exists.`
            "23505" => {
                let column = database
                    .detail()
                    .and_then(|detail| detail.strip_prefix("Key ("))
                    .and_then(|detail| detail.split([')', ',']).next())
                    .map(|column| column.trim_matches('"').to_owned());
                match (database.table(), column) {
                    (Some(table), Some(column)) => Self::Unique { table: table.to_owned(), column },
                    _ => Self::Other(told(database)),
                }
            }
            // query_canceled
            "57014" => Self::Deadline,
            // lock_not_available, deadlock_detected, serialization_failure; and what a transaction pooler nobody knew
            // of makes of a prepared statement: there is none of that name, or one of somebody else's
            "55P03" | "40P01" | "40001" | "26000" | "42P05" => Self::Busy,
            // read_only_sql_transaction: a standby, which another host has taken over from
            "25006" => Self::Unavailable(told(database)),
            // connection exceptions, insufficient resources, operator intervention
            code if ["08", "53", "57"].iter().any(|class| code.starts_with(class)) => {
                Self::Unavailable(told(database))
            }
            _ => Self::Other(told(database)),
        }
    }
}

/// What PostgreSQL says, for the log. Its detail is left out: that shows the row, with the password's hash in it.
fn told(error: &tokio_postgres::error::DbError) -> BoxError {
    format!("{}: {} ({})", error.severity(), error.message(), error.code().code()).into()
}

/// Table and column of SQLite's `UNIQUE constraint failed: user.email`.
fn unique_column(message: &str) -> Option<(&str, &str)> {
    message.strip_prefix("UNIQUE constraint failed: ")?.split(", ").next()?.split_once('.')
}
