//! Reading everything as it was at one moment, a page at a time.

use super::{
    Backend, Record, Result, Row, Store, StoreError, Value,
    filter::{Node, Operator, Order},
    postgres,
    resolved::ResolvedTable,
    schema::Kind,
    sql::{self, Statement},
    sqlite,
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// How long one page may take.
const PAGE_DEADLINE: Duration = Duration::from_secs(30);

/// What was committed at one moment. Nothing that others write meanwhile is seen, and nobody waits for it.
pub struct Snapshot {
    connection: Connection,
    store: Store,
}

enum Connection {
    /// Gone only while a page is read, or after that has failed.
    Sqlite(Option<sqlite::Reading>),
    Postgres(Box<postgres::Transaction>),
}

impl Store {
    /// Everything that is committed now, for reading.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let connection = match &self.backend {
            Backend::Sqlite(database) => Connection::Sqlite(Some(database.reading()?)),
            Backend::Postgres(database) => Connection::Postgres(Box::new(database.reading().await?)),
        };
        Ok(Snapshot { connection, store: self.clone() })
    }
}

impl Snapshot {
    /// At most `limit` rows of a table, those with the smallest ids that are greater than `after`. Each is whole, with
    /// what no reply shows: its `id` first, then its columns by their declared names.
    pub async fn page(&mut self, table: &str, after: Option<&str>, limit: u32) -> Result<Vec<Record>> {
        let schema = &self.store.schema;
        let Some(table) = schema.tables().find(|other| other.name == table).map(Arc::clone) else {
            return Err(StoreError::Schema(format!("the database has no table \"{table}\" of ours")));
        };
        let filter = match after {
            Some(id) => Node::Compare { column: "id", operator: Operator::Greater, value: id.into() },
            None => Node::All(Vec::new()),
        };
        let order = Some(("id", Order::Ascending));
        let statement = sql::list(self.store.dialect(), &table, filter, order, Some(limit), 0);
        let rows = self.rows(statement, &table).await?;
        Ok(rows.into_iter().map(|row| record(&table, row)).collect())
    }

    async fn rows(&mut self, statement: Statement, table: &ResolvedTable) -> Result<Vec<Row>> {
        self.store.count_statement();
        match &mut self.connection {
            Connection::Sqlite(slot) => {
                let reading = slot.take().ok_or(StoreError::Busy)?;
                let kinds: Vec<Kind> = table.kinds().collect();
                let (reading, rows) = reading.rows(statement, kinds).await?;
                *slot = Some(reading);
                rows
            }
            Connection::Postgres(transaction) => {
                let rows = timeout(PAGE_DEADLINE, transaction.rows(&statement)).await;
                rows.map_err(|_| StoreError::Deadline)?
            }
        }
    }
}

fn record(table: &ResolvedTable, row: Row) -> Record {
    let mut values = row.into_iter();
    // A key that the database has counted is text everywhere else.
    let id = match values.next() {
        Some(Value::Integer(number)) => Value::Text(number.to_string()),
        id => id.unwrap_or(Value::Null),
    };
    let names = table.fields.iter().map(|field| (field.name.clone().into_owned(), field.is_key()));
    let columns = names.zip(values).map(|((name, is_key), value)| match value {
        Value::Integer(number) if is_key => (name, Value::Text(number.to_string())),
        value => (name, value),
    });
    std::iter::once(("id".to_owned(), id)).chain(columns).collect()
}
