//! Additive migrations: the declared schema minus what the database has, as upstream's own DDL.
//!
//! Only additions are made. A column of another type, or a required one missing from a table that has rows, is
//! refused with the reason. Runs under a lock, in one transaction. Upstream: `db/get-migration.ts`.

use super::{
    Result, StoreError, ddl, postgres,
    resolved::Schema,
    sql::{Dialect, Statement},
    sqlite,
    value::Value,
};
use rusqlite::TransactionBehavior;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// Names our lock among PostgreSQL's advisory locks; any constant does, as long as every version uses it.
const ADVISORY_LOCK: i64 = 0x006e_6172_7468_6578;

/// What stands between the declared schema and the database's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The statements that add what is missing, in order.
    pub statements: Vec<String>,
    /// Whether they were run.
    pub applied: bool,
}

/// What the database has: its tables, their columns with types, and which columns have an index of their own.
#[derive(Debug, Default)]
pub(super) struct Existing {
    pub(super) columns: HashMap<String, HashMap<String, String>>,
    indexed: HashSet<(String, String)>,
    /// The declared tables that have rows.
    pub(super) filled: HashSet<String>,
}

pub(super) async fn sqlite(
    database: &sqlite::Database,
    schema: &Arc<Schema>,
    apply: bool,
) -> Result<Migration> {
    let schema = Arc::clone(schema);
    database
        .exclusively(move |connection| {
            // Off the async threads, and before anyone is served: waiting for another process is fine here.
            connection.busy_timeout(Duration::from_secs(30))?;
            let outcome = sqlite_locked(connection, &schema, apply);
            connection.busy_timeout(Duration::ZERO)?;
            outcome
        })
        .await
}

fn sqlite_locked(connection: &mut rusqlite::Connection, schema: &Schema, apply: bool) -> Result<Migration> {
    let behavior = if apply { TransactionBehavior::Immediate } else { TransactionBehavior::Deferred };
    let transaction = connection.transaction_with_behavior(behavior)?;
    let existing = Existing::of_sqlite(&transaction, schema)?;
    let statements = plan(schema, &existing, Dialect::Sqlite)?;
    if apply {
        for statement in &statements {
            transaction.execute_batch(statement)?;
        }
        transaction.commit()?;
    }
    Ok(Migration { applied: apply && !statements.is_empty(), statements })
}

pub(super) async fn postgres(
    database: &postgres::Database,
    schema: &Arc<Schema>,
    apply: bool,
) -> Result<Migration> {
    let mut transaction = database.begin().await?;
    // Another process may be at it, for as long as its indexes take.
    transaction.wait(&format!("select pg_advisory_xact_lock({ADVISORY_LOCK})")).await?;
    let existing = Existing::of_postgres(&mut transaction, schema).await?;
    let mut statements = plan(schema, &existing, Dialect::Postgres);
    if let (Ok(statements), Some(namespace)) = (&mut statements, &schema.namespace) {
        let there = Statement {
            text: "select 1 from pg_namespace where nspname::text = $1::text".into(),
            values: vec![namespace.into()],
        };
        if transaction.rows(&there).await?.is_empty() {
            statements.insert(0, format!("create schema \"{namespace}\""));
        }
    }
    let statements = match statements {
        Ok(statements) if apply => statements,
        // Now, and not when the connection is next used: until then the tables would stay locked.
        refused_or_asked => {
            transaction.rollback().await;
            return refused_or_asked.map(|statements| Migration { applied: false, statements });
        }
    };
    for statement in &statements {
        // An index on a table with many rows takes its time.
        transaction.wait(statement).await?;
    }
    transaction.commit().await?;
    Ok(Migration { applied: !statements.is_empty(), statements })
}

impl Existing {
    pub(super) fn of_sqlite(connection: &rusqlite::Connection, schema: &Schema) -> Result<Self> {
        let mut existing = Existing::default();
        let mut columns = connection.prepare(
            "select m.name, c.name, c.type from sqlite_master m join pragma_table_info(m.name) c where m.type = 'table'",
        )?;
        let mut rows = columns.query([])?;
        while let Some(row) = rows.next()? {
            existing.column(row.get(0)?, row.get(1)?, row.get(2)?);
        }
        let mut indexes = connection.prepare(
            "select m.name, min(i.name) from sqlite_master m join pragma_index_list(m.name) l \
             join pragma_index_info(l.name) i where m.type = 'table' group by m.name, l.name having count(*) = 1",
        )?;
        let mut rows = indexes.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(column) = row.get::<_, Option<String>>(1)? {
                existing.indexed.insert((row.get(0)?, column));
            }
        }
        for table in schema.tables().filter(|table| existing.columns.contains_key(&table.relation)) {
            let any = format!("select exists (select 1 from \"{}\")", table.relation);
            if connection.query_row(&any, [], |row| row.get::<_, bool>(0))? {
                existing.filled.insert(table.relation.clone());
            }
        }
        Ok(existing)
    }

    pub(super) async fn of_postgres(
        transaction: &mut postgres::Transaction,
        schema: &Schema,
    ) -> Result<Self> {
        let mut existing = Existing::default();
        // The operator's, or whichever comes first for this connection.
        let namespace = || Value::from(schema.namespace.clone());
        let ask = |text: &str| Statement { text: text.into(), values: vec![namespace()] };
        let columns = "select table_name::text, column_name::text, data_type::text from information_schema.columns \
                       where table_schema = coalesce($1::text, current_schema()::text)";
        for row in transaction.rows(&ask(columns)).await? {
            if let [Value::Text(table), Value::Text(column), Value::Text(kind)] = row.as_slice() {
                existing.column(table.clone(), column.clone(), kind.clone());
            }
        }
        let indexes = "select t.relname::text, a.attname::text from pg_index i \
                       join pg_class t on t.oid = i.indrelid join pg_namespace n on n.oid = t.relnamespace \
                       join pg_attribute a on a.attrelid = t.oid and a.attnum = i.indkey[0] \
                       where n.nspname::text = coalesce($1::text, current_schema()::text) \
                       and i.indnkeyatts = 1 and i.indisvalid and i.indpred is null";
        for row in transaction.rows(&ask(indexes)).await? {
            if let [Value::Text(table), Value::Text(column)] = row.as_slice() {
                existing.indexed.insert((table.clone(), column.clone()));
            }
        }
        for table in schema.tables().filter(|table| existing.columns.contains_key(&table.relation)) {
            let any = Statement {
                text: format!("select exists (select 1 from {})", table.place).into(),
                values: Vec::new(),
            };
            if transaction.rows(&any).await? == [[Value::Bool(true)]] {
                existing.filled.insert(table.relation.clone());
            }
        }
        Ok(existing)
    }

    fn column(&mut self, table: String, column: String, kind: String) {
        self.columns.entry(table).or_default().insert(column, kind);
    }
}

/// Tables first, then added columns, then indexes: upstream's statements, in an order in which an added column may
/// point at an added table.
pub(super) fn plan(schema: &Schema, existing: &Existing, dialect: Dialect) -> Result<Vec<String>> {
    let (mut tables, mut columns, mut indexes) = (Vec::new(), Vec::new(), Vec::new());
    let mut problems = Vec::new();
    for table in schema.tables() {
        let present = existing.columns.get(&table.relation);
        match present {
            None => tables.push(ddl::create_table(schema, table, dialect)),
            Some(present) => {
                if let Some(existing) =
                    present.get("id").filter(|existing| !ddl::fits_key(table.ids, existing, dialect))
                {
                    problems.push(format!(
                        "\"{}\".\"id\" has type {existing}, but {} is needed; say in advanced.database.generate-id what the ids are",
                        table.relation, ddl::type_of_keys(table.ids, dialect),
                    ));
                }
                for field in &table.fields {
                    let kind = ddl::type_of(table.ids, field, dialect);
                    match present.get(field.column()) {
                        Some(existing) if ddl::fits(table.ids, field, existing, dialect) => {}
                        Some(existing) => problems.push(format!(
                            "\"{}\".\"{}\" has type {existing}, but {kind} is needed; convert the column, or drop it if nothing needs it",
                            table.relation, field.column(),
                        )),
                        None if field.required && !ddl::is_filled(field, dialect)
                            && (dialect == Dialect::Sqlite || existing.filled.contains(&table.relation)) =>
                        {
                            problems.push(format!(
                                "\"{0}\" lacks the required column \"{1}\" and has rows that would have no value for it; \
                                 add it with a default: alter table \"{0}\" add column \"{1}\" {kind} not null default …",
                                table.relation, field.column(),
                            ));
                        }
                        None => columns.push(ddl::add_column(schema, table, field, dialect)),
                    }
                }
            }
        }
        for field in &table.fields {
            // A new table's unique columns say so themselves.
            let is_new = present.is_none_or(|present| !present.contains_key(field.column()));
            let is_unique = field.unique && present.is_some();
            let is_indexed = existing.indexed.contains(&(table.relation.clone(), field.column().to_owned()));
            if (is_unique && is_new) || (field.index && !field.unique && !is_indexed) {
                indexes.push(ddl::create_index(table, field.column(), is_unique));
            }
        }
    }
    if !problems.is_empty() {
        return Err(StoreError::Schema(problems.join("\n")));
    }
    tables.append(&mut columns);
    tables.append(&mut indexes);
    Ok(tables)
}
