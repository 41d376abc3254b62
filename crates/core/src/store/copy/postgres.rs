//! One side of a copy that is a PostgreSQL database: one transaction on a connection of its own.
//!
//! Rows are read by a cursor and written as one array for each column, so that a page is one statement whose text is
//! always the same. No statement has a name, so that it does not matter whether a pooler stands in between.

use super::{
    super::{
        Result, StoreError,
        migrate::Existing,
        postgres::{Database, Transaction},
        resolved::{Ids, ResolvedTable, Schema},
        value::Value,
    },
    PAGE_BYTES, PAGE_ROWS, Page,
    exact::Exact,
};
use futures_util::TryStreamExt as _;
use postgres_types::Type;
use std::{collections::HashMap, fmt::Write as _, time::Duration};
use tokio::time::timeout;
use tokio_postgres::Row;

/// How long the database may take for a page of rows.
const PAGE: Duration = Duration::from_mins(1);
/// How long it may take for what looks at a whole table.
const TABLE: Duration = Duration::from_mins(10);
/// The first page of a table is small: nothing is known yet of how large its rows are.
const FIRST_ROWS: usize = 50;

/// A transaction. Dropping it rolls it back.
pub(super) struct Session {
    transaction: Transaction,
    cursor: u32,
    rows: usize,
    is_at_end: bool,
}

impl Session {
    /// What is committed now, whatever is written meanwhile.
    pub(super) async fn reading(database: &Database) -> Result<Self> {
        Self::begin(database, "begin isolation level repeatable read, read only").await
    }

    pub(super) async fn writing(database: &Database) -> Result<Self> {
        Self::begin(database, "begin").await
    }

    async fn begin(database: &Database, command: &str) -> Result<Self> {
        let transaction = database.begin_as(command).await?;
        let session = Self { transaction, cursor: 0, rows: FIRST_ROWS, is_at_end: true };
        // Limits of the user's or of the server's are for requests. Not every version has each of them. Rows that a policy
        // hides from this user would be missing from the copy and from what checks it: PostgreSQL is to refuse instead.
        let limits = "select set_config(name, case name when 'lock_timeout' then '5s' when 'row_security' then 'off' \
                      else '0' end, true) from pg_settings where name in ('statement_timeout', 'transaction_timeout', \
                      'idle_in_transaction_session_timeout', 'lock_timeout', 'row_security')";
        session.ask(limits, Vec::new(), PAGE).await?;
        Ok(session)
    }

    async fn ask(&self, text: &str, values: Vec<(Vec<Value>, Type)>, patience: Duration) -> Result<Vec<Row>> {
        let client = self.transaction.client()?;
        let work = async {
            let stream = client.query_typed_raw(text, values).await?;
            Ok::<_, StoreError>(stream.try_collect().await?)
        };
        timeout(patience, work).await.map_err(|_| StoreError::Deadline)?
    }

    async fn run(&self, command: &str) -> Result<()> {
        let work = self.transaction.wait(command);
        timeout(TABLE, work).await.map_err(|_| StoreError::Deadline)?
    }

    pub(super) async fn existing(&mut self, schema: &Schema) -> Result<Existing> {
        let work = Existing::of_postgres(&mut self.transaction, schema);
        timeout(TABLE, work).await.map_err(|_| StoreError::Deadline)?
    }

    /// Which tables these are, among all that there are anywhere.
    pub(super) async fn identity(&self, schema: &Schema) -> Result<String> {
        let namespace = match &schema.namespace {
            Some(name) => format!("'{name}'"),
            None => "current_schema()".to_owned(),
        };
        let query = format!(
            "select concat_ws(' ', extract(epoch from pg_postmaster_start_time()), current_database(), {namespace})"
        );
        match self.scalar(&query).await? {
            Some(Value::Text(identity)) => Ok(identity),
            _ => Err(StoreError::Other("the database does not say which one it is".into())),
        }
    }

    /// The first column of the first row.
    pub(super) async fn scalar(&self, statement: &str) -> Result<Option<Value>> {
        let rows = self.ask(statement, Vec::new(), TABLE).await?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
    }

    /// Begins to read a table; [`Self::page`] answers with its rows.
    pub(super) async fn start(&mut self, table: &ResolvedTable) -> Result<()> {
        self.cursor += 1;
        self.rows = FIRST_ROWS;
        self.is_at_end = false;
        let (columns, place) = (&table.columns, &table.place);
        let declare =
            format!("declare \"copy_{}\" no scroll cursor for select {columns} from {place}", self.cursor);
        self.run(&declare).await
    }

    /// The next rows of the table; none at its end.
    pub(super) async fn page(&mut self) -> Result<Page> {
        if self.is_at_end {
            return Ok(Page::new());
        }
        let fetch = format!("fetch forward {} from \"copy_{}\"", self.rows, self.cursor);
        let rows = self.ask(&fetch, Vec::new(), PAGE).await?;
        let bytes: usize = rows.iter().map(Row::raw_size_bytes).sum();
        self.is_at_end = rows.len() < self.rows;
        self.rows = match (rows.len() * PAGE_BYTES).checked_div(bytes) {
            // No more than twice as many: the next may be larger.
            Some(fitting) => fitting.min(self.rows * 2).clamp(1, PAGE_ROWS),
            None => self.rows,
        };
        if self.is_at_end {
            self.run(&format!("close \"copy_{}\"", self.cursor)).await?;
        }
        rows.iter().map(decode).collect()
    }

    /// Nobody else writes to the tables until the end of the transaction.
    pub(super) async fn lock(&self, tables: &[&ResolvedTable]) -> Result<()> {
        let places: Vec<_> = tables.iter().map(|table| table.place.as_str()).collect();
        self.run(&format!("lock table {} in exclusive mode", places.join(", "))).await
    }

    /// Writes rows whose columns are of these types.
    pub(super) async fn write(
        &self,
        table: &ResolvedTable,
        types: &[ColumnType],
        rows: Vec<Vec<Value>>,
    ) -> Result<()> {
        let mut columns: Vec<_> = types.iter().map(|kind| (Vec::with_capacity(rows.len()), kind)).collect();
        for row in rows {
            for ((column, _), value) in columns.iter_mut().zip(row) {
                column.push(value);
            }
        }
        // An id that the database would make itself is given, as is everything else.
        let mut text = format!(
            "insert into {} ({}) overriding system value select * from unnest(",
            table.place, table.columns
        );
        for number in 1..=columns.len() {
            let separator = if number == 1 { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(text, "{separator}${number}");
        }
        text.push(')');
        let values = columns.into_iter().map(|(column, kind)| (column, kind.array.clone())).collect();
        self.ask(&text, values, PAGE).await.map(drop)
    }

    /// The last number that a table whose ids are counted has given.
    pub(super) async fn last_number(&self, table: &ResolvedTable) -> Result<i64> {
        if !matches!(table.ids, Ids::Serial | Ids::Database) {
            return Ok(0);
        }
        let query = format!("select pg_sequence_last_value({}::regclass)", sequence(table));
        Ok(match self.scalar(&query).await? {
            Some(Value::Integer(number)) => number,
            _ => 0,
        })
    }

    /// Ids are counted on from the largest, and from the last that was given elsewhere.
    pub(super) async fn count_on(
        &self,
        table: &ResolvedTable,
        types: &[ColumnType],
        last: i64,
    ) -> Result<()> {
        let is_counted = |id: &ColumnType| matches!(id.kind, Type::INT2 | Type::INT4 | Type::INT8);
        if !types.first().is_some_and(is_counted) {
            return Ok(());
        }
        let (place, sequence) = (&table.place, sequence(table));
        let query = format!(
            "select setval({sequence}::regclass, last) from (select greatest({last}, (select max(\"id\") from {place}))) \
             as counted(last) where last > 0"
        );
        self.scalar(&query).await.map(drop)
    }

    /// Constraints by which a row may point at one that is copied later, in its own table or in a later one: they are
    /// checked at the end. Answers with the statements that make them what they were.
    pub(super) async fn defer(&self, schema: &Schema, tables: &[&ResolvedTable]) -> Result<Vec<String>> {
        let namespace = match &schema.namespace {
            Some(name) => format!("'{name}'"),
            None => "current_schema()::text".to_owned(),
        };
        let query = format!(
            "select child.relname::text, parent.relname::text, c.conname::text from pg_constraint c \
             join pg_class child on child.oid = c.conrelid join pg_class parent on parent.oid = c.confrelid \
             join pg_namespace n on n.oid = child.relnamespace and n.oid = parent.relnamespace \
             where c.contype = 'f' and not c.condeferrable and n.nspname::text = {namespace}"
        );
        let order: HashMap<_, _> =
            tables.iter().enumerate().map(|(turn, table)| (table.relation.as_str(), (turn, table))).collect();
        let mut later = Vec::new();
        for row in self.ask(&query, Vec::new(), PAGE).await? {
            let (child, parent, name): (&str, &str, &str) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let (Some((turn, table)), Some((parent, _))) = (order.get(child), order.get(parent)) else {
                continue;
            };
            if parent >= turn {
                let name = name.replace('"', "\"\"");
                let alter = format!("alter table {} alter constraint \"{name}\"", table.place);
                self.run(&format!("{alter} deferrable initially deferred")).await?;
                later.push(format!("{alter} not deferrable"));
            }
        }
        Ok(later)
    }

    /// Checks what was put off.
    pub(super) async fn settle(&self, restore: &[String]) -> Result<()> {
        if !restore.is_empty() {
            self.run("set constraints all immediate").await?;
        }
        for statement in restore {
            self.run(statement).await?;
        }
        Ok(())
    }

    pub(super) async fn end(self) {
        self.transaction.rollback().await;
    }

    pub(super) async fn commit(self) -> Result<()> {
        self.run("commit").await?;
        self.transaction.give_back();
        Ok(())
    }
}

/// The name of the sequence that a table's ids come from, or NULL.
fn sequence(table: &ResolvedTable) -> String {
    format!("pg_get_serial_sequence('{}', 'id')", table.place)
}

fn decode(row: &Row) -> Result<Vec<Exact>> {
    Ok((0..row.len()).map(|position| row.try_get(position)).collect::<Result<_, _>>()?)
}

/// What a column of the target's is.
#[derive(Debug, Clone)]
pub(super) struct ColumnType {
    pub(super) kind: Type,
    array: Type,
}

impl ColumnType {
    /// By the name that `information_schema` has for it; those that the migration accepts.
    pub(super) fn named(name: &str) -> Option<Self> {
        let (kind, array) = match name {
            "text" | "character varying" | "character" => (Type::TEXT, Type::TEXT_ARRAY),
            "uuid" => (Type::UUID, Type::UUID_ARRAY),
            "smallint" => (Type::INT2, Type::INT2_ARRAY),
            "integer" => (Type::INT4, Type::INT4_ARRAY),
            "bigint" => (Type::INT8, Type::INT8_ARRAY),
            "real" => (Type::FLOAT4, Type::FLOAT4_ARRAY),
            "double precision" => (Type::FLOAT8, Type::FLOAT8_ARRAY),
            "boolean" => (Type::BOOL, Type::BOOL_ARRAY),
            "timestamp with time zone" => (Type::TIMESTAMPTZ, Type::TIMESTAMPTZ_ARRAY),
            "timestamp without time zone" => (Type::TIMESTAMP, Type::TIMESTAMP_ARRAY),
            "json" => (Type::JSON, Type::JSON_ARRAY),
            "jsonb" => (Type::JSONB, Type::JSONB_ARRAY),
            _ => return None,
        };
        Some(Self { kind, array })
    }
}
