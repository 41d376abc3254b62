//! Additive migrations: the declared schema minus what the database has, as upstream's own DDL.
//!
//! Only additions are made. A column of another type, or a required one missing from a table that has rows, is
//! refused with the reason. Runs under a lock, in one transaction. Upstream: `db/get-migration.ts`.

use super::{
    Result, StoreError, postgres,
    schema::{Field, Kind, ResolvedTable, Schema},
    sql::Dialect,
    sqlite,
};
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
struct Existing {
    columns: HashMap<String, HashMap<String, String>>,
    indexed: HashSet<(String, String)>,
    filled: HashSet<String>,
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
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut existing = Existing::default();
    {
        let mut columns = transaction.prepare(
            "select m.name, c.name, c.type from sqlite_master m join pragma_table_info(m.name) c where m.type = 'table'",
        )?;
        let mut rows = columns.query([])?;
        while let Some(row) = rows.next()? {
            existing.column(row.get(0)?, row.get(1)?, row.get(2)?);
        }
        let mut indexes = transaction.prepare(
            "select m.name, min(i.name) from sqlite_master m join pragma_index_list(m.name) l \
             join pragma_index_info(l.name) i where m.type = 'table' group by m.name, l.name having count(*) = 1",
        )?;
        let mut rows = indexes.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(column) = row.get::<_, Option<String>>(1)? {
                existing.indexed.insert((row.get(0)?, column));
            }
        }
        for table in schema.tables().iter().filter(|table| existing.columns.contains_key(table.name)) {
            let any = format!("select exists (select 1 from \"{}\")", table.name);
            if transaction.query_row(&any, [], |row| row.get::<_, bool>(0))? {
                existing.filled.insert(table.name.to_owned());
            }
        }
    }
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
    let mut connection = database.checkout().await?;
    let transaction = connection.transaction().await?;
    transaction.execute("select pg_advisory_xact_lock($1)", &[&ADVISORY_LOCK]).await?;
    let mut existing = Existing::default();
    let columns = "select table_name::text, column_name::text, data_type::text from information_schema.columns \
                   where table_schema = current_schema()";
    for row in transaction.query(columns, &[]).await? {
        existing.column(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    }
    let indexes = "select t.relname::text, a.attname::text from pg_index i \
                   join pg_class t on t.oid = i.indrelid join pg_namespace n on n.oid = t.relnamespace \
                   join pg_attribute a on a.attrelid = t.oid and a.attnum = i.indkey[0] \
                   where n.nspname = current_schema() and i.indnkeyatts = 1 and i.indisvalid and i.indpred is null";
    for row in transaction.query(indexes, &[]).await? {
        existing.indexed.insert((row.try_get(0)?, row.try_get(1)?));
    }
    for table in schema.tables().iter().filter(|table| existing.columns.contains_key(table.name)) {
        let any = format!("select exists (select 1 from \"{}\")", table.name);
        if transaction.query_one(&any, &[]).await?.try_get(0)? {
            existing.filled.insert(table.name.to_owned());
        }
    }
    let statements = match plan(schema, &existing, Dialect::Postgres) {
        Ok(statements) if apply => statements,
        // Now, and not when the connection is next used: until then the tables would stay locked.
        refused_or_asked => {
            transaction.rollback().await?;
            return refused_or_asked.map(|statements| Migration { applied: false, statements });
        }
    };
    for statement in &statements {
        transaction.batch_execute(statement).await?;
    }
    transaction.commit().await?;
    Ok(Migration { applied: !statements.is_empty(), statements })
}

impl Existing {
    fn column(&mut self, table: String, column: String, kind: String) {
        self.columns.entry(table).or_default().insert(column, kind);
    }
}

/// Tables first, then added columns, then indexes, as upstream orders them.
fn plan(schema: &Schema, existing: &Existing, dialect: Dialect) -> Result<Vec<String>> {
    let (mut tables, mut columns, mut indexes) = (Vec::new(), Vec::new(), Vec::new());
    let mut problems = Vec::new();
    for table in schema.tables() {
        match existing.columns.get(table.name) {
            None => tables.push(create_table(table, dialect)),
            Some(present) => {
                for field in &table.fields {
                    match present.get(&*field.name) {
                        Some(kind) if fits(field.kind, kind, dialect) => {}
                        Some(kind) => problems.push(format!(
                            "\"{}\".\"{}\" has type {kind}, but {} is needed; convert the column, or drop it if nothing needs it",
                            table.name, field.name, type_name(field.kind, dialect),
                        )),
                        None if field.required && !(field.default_now && dialect == Dialect::Postgres)
                            && (dialect == Dialect::Sqlite || existing.filled.contains(table.name)) =>
                        {
                            problems.push(format!(
                                "\"{}\" lacks the required column \"{}\" and has rows that would have no value for it; \
                                 add it with a default: alter table \"{}\" add column \"{}\" {} not null default …",
                                table.name, field.name, table.name, field.name, type_name(field.kind, dialect),
                            ));
                        }
                        None => columns.extend(add_column(table, field, dialect)),
                    }
                }
            }
        }
        for field in table.fields.iter().filter(|field| field.index) {
            if !existing.indexed.contains(&(table.name.to_owned(), field.name.clone().into_owned())) {
                indexes.push(format!(
                    "create index \"{0}_{1}_idx\" on \"{0}\" (\"{1}\")",
                    table.name, field.name
                ));
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

fn create_table(table: &ResolvedTable, dialect: Dialect) -> String {
    let columns: Vec<_> = table.fields.iter().map(|field| column(field, dialect, true)).collect();
    format!("create table \"{}\" (\"id\" text not null primary key, {})", table.name, columns.join(", "))
}

/// SQLite cannot add a unique column; a unique index is the same thing to every statement.
fn add_column(table: &ResolvedTable, field: &Field, dialect: Dialect) -> Vec<String> {
    let inline_unique = dialect == Dialect::Postgres;
    let mut statements =
        vec![format!("alter table \"{}\" add column {}", table.name, column(field, dialect, inline_unique))];
    if field.unique && !inline_unique {
        statements.push(format!(
            "create unique index \"{0}_{1}_uidx\" on \"{0}\" (\"{1}\")",
            table.name, field.name
        ));
    }
    statements
}

fn column(field: &Field, dialect: Dialect, inline_unique: bool) -> String {
    let mut text = format!("\"{}\" {}", field.name, type_name(field.kind, dialect));
    if field.default_now && dialect == Dialect::Postgres {
        text.push_str(" default CURRENT_TIMESTAMP");
    }
    if field.required {
        text.push_str(" not null");
    }
    if field.unique && inline_unique {
        text.push_str(" unique");
    }
    if let Some(table) = field.references {
        text.extend([" references \"", table, "\" (\"id\") on delete cascade"]);
    }
    text
}

fn type_name(kind: Kind, dialect: Dialect) -> &'static str {
    match (kind, dialect) {
        (Kind::Text, _) | (Kind::Json, Dialect::Sqlite) => "text",
        (Kind::Integer, _) | (Kind::Bool, Dialect::Sqlite) => "integer",
        (Kind::BigInteger, _) => "bigint",
        (Kind::Bool, Dialect::Postgres) => "boolean",
        (Kind::Time, Dialect::Sqlite) => "date",
        (Kind::Time, Dialect::Postgres) => "timestamptz",
        (Kind::Json, Dialect::Postgres) => "jsonb",
    }
}

/// Types upstream accepts for a kind in a database that somebody else made, as far as we read and write them alike.
fn fits(kind: Kind, existing: &str, dialect: Dialect) -> bool {
    let lower = existing.to_ascii_lowercase();
    let name = lower.split('(').next().unwrap_or_default().trim();
    let accepted: &[&str] = match (dialect, kind) {
        (Dialect::Sqlite, Kind::Text | Kind::Json) => &["text", "varchar", "character varying"],
        (Dialect::Sqlite, Kind::Integer | Kind::BigInteger) => &["integer", "int", "real", "bigint"],
        (Dialect::Sqlite, Kind::Bool) => &["integer", "boolean"],
        (Dialect::Sqlite, Kind::Time) => &["date", "datetime", "timestamp", "text", "integer"],
        (Dialect::Postgres, Kind::Text) => &["text", "character varying", "character"],
        (Dialect::Postgres, Kind::Integer | Kind::BigInteger) => &["integer", "bigint", "smallint"],
        (Dialect::Postgres, Kind::Bool) => &["boolean"],
        (Dialect::Postgres, Kind::Time) => &["timestamp with time zone", "timestamp without time zone"],
        (Dialect::Postgres, Kind::Json) => &["json", "jsonb"],
    };
    accepted.contains(&name)
}
