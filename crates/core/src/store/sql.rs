//! The SQL generator: every statement either database ever sees, but DDL, is rendered here.
//!
//! A dozen shapes, two dialects that differ in the placeholder and in one locking clause. Written by hand, not with a
//! query builder: the texts are short, upstream's quoting is fixed, and rendering one costs less than looking it
//! up in a cache (the select lists, its longest part, are rendered once per table).

use super::{
    filter::{Node, Operator, Order},
    resolved::{Ids, ResolvedTable, serial, uuid},
    value::Value,
};
use std::{fmt::Write as _, sync::Arc};

/// What the two databases spell differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// A statement and what its placeholders stand for.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) text: Arc<str>,
    pub(crate) values: Vec<Value>,
}

/// One statement being written.
struct Writer {
    dialect: Dialect,
    text: String,
    values: Vec<Value>,
}

impl Writer {
    fn new(dialect: Dialect, parts: &[&str]) -> Self {
        let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + 96);
        for part in parts {
            text.push_str(part);
        }
        Self { dialect, text, values: Vec::with_capacity(4) }
    }

    fn value(&mut self, value: Value) {
        self.values.push(value);
        self.text.push(match self.dialect {
            Dialect::Sqlite => '?',
            Dialect::Postgres => '$',
        });
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{}", self.values.len());
    }

    fn identifier(&mut self, name: &str) {
        self.text.push('"');
        self.text.push_str(name);
        self.text.push('"');
    }

    /// Columns of `table`, each behind its name if `qualified`.
    fn column(&mut self, table: &ResolvedTable, name: &str, qualified: bool) {
        if qualified {
            self.identifier(&table.relation);
            self.text.push('.');
        }
        self.identifier(table.column(name));
    }

    /// What a row that could not be inserted would have had.
    fn excluded(&mut self, table: &ResolvedTable, name: &str) {
        self.text.push_str("excluded.");
        self.column(table, name, false);
    }

    /// ` where …`, or nothing for every row.
    fn filter(&mut self, table: &ResolvedTable, node: Node, qualified: bool) {
        if !matches!(&node, Node::All(nodes) if nodes.is_empty()) {
            self.text.push_str(" where ");
            self.node(table, node, qualified);
        }
    }

    fn node(&mut self, table: &ResolvedTable, node: Node, qualified: bool) {
        match node {
            Node::Compare { column, operator, value } => {
                self.compare(table, column, operator, value, qualified);
            }
            Node::All(nodes) => self.joined(table, nodes, " and ", "true", qualified),
            Node::Any(nodes) => self.joined(table, nodes, " or ", "false", qualified),
        }
    }

    fn joined(
        &mut self,
        table: &ResolvedTable,
        nodes: Vec<Node>,
        between: &str,
        none: &str,
        qualified: bool,
    ) {
        if nodes.is_empty() {
            return self.text.push_str(none);
        }
        self.text.push('(');
        for (position, node) in nodes.into_iter().enumerate() {
            if position > 0 {
                self.text.push_str(between);
            }
            self.node(table, node, qualified);
        }
        self.text.push(')');
    }

    fn compare(
        &mut self,
        table: &ResolvedTable,
        column: &str,
        operator: Operator,
        value: Value,
        qualified: bool,
    ) {
        let (value, cast) = match value {
            Value::Text(id) if table.has_typed_key(column) => match self.key(table.ids, id) {
                Some(key) => key,
                // No row has such an id, so there is nothing to ask the database, which would refuse the text.
                None => {
                    return self.text.push_str(if operator == Operator::NotEqual { "true" } else { "false" });
                }
            },
            value => (value, ""),
        };
        if operator == Operator::Contains {
            return self.contains(table, column, value, qualified);
        }
        self.column(table, column, qualified);
        let (written, for_null) = match operator {
            Operator::Equal => (" = ", Some(" is null")),
            Operator::NotEqual => (" <> ", Some(" is not null")),
            Operator::Less => (" < ", None),
            Operator::LessOrEqual => (" <= ", None),
            Operator::Greater => (" > ", None),
            Operator::GreaterOrEqual | Operator::Contains => (" >= ", None),
        };
        if let (Value::Null, Some(written)) = (&value, for_null) {
            self.text.push_str(written);
        } else {
            self.text.push_str(written);
            self.value(value);
            self.text.push_str(cast);
        }
    }

    fn contains(&mut self, table: &ResolvedTable, column: &str, value: Value, qualified: bool) {
        match self.dialect {
            Dialect::Sqlite => {
                self.text.push_str("instr(lower(");
                self.column(table, column, qualified);
                self.text.push_str("), lower(");
                self.value(value);
                self.text.push_str(")) > 0");
            }
            Dialect::Postgres => {
                self.text.push_str("position(lower(");
                self.value(value);
                self.text.push_str(") in lower(");
                self.column(table, column, qualified);
                self.text.push_str(")) > 0");
            }
        }
    }

    /// An id as the column has it, and the type by which it is compared: a number may be larger than the column's.
    fn key(&self, ids: Ids, id: String) -> Option<(Value, &'static str)> {
        match (ids, self.dialect) {
            (Ids::Serial, Dialect::Sqlite) => serial(&id).map(|number| (Value::Integer(number), "")),
            (Ids::Serial, Dialect::Postgres) => {
                serial(&id).map(|number| (Value::Integer(number), "::bigint"))
            }
            (Ids::Uuid, Dialect::Postgres) => uuid(&id).map(|_| (Value::Text(id), "")),
            _ => Some((Value::Text(id), "")),
        }
    }

    /// A value to be written.
    fn assigned(&mut self, table: &ResolvedTable, column: &str, value: Value) {
        let value = match value {
            Value::Text(id) if table.ids == Ids::Serial && table.has_typed_key(column) => {
                serial(&id).map_or(Value::Text(id), Value::Integer)
            }
            value => value,
        };
        self.value(value);
    }

    /// All columns of the rows that it has written.
    fn returning(mut self, table: &ResolvedTable) -> Statement {
        self.text.push_str(" returning ");
        self.text.push_str(&table.columns);
        self.done()
    }

    fn done(self) -> Statement {
        Statement { text: self.text.into(), values: self.values }
    }
}

pub(crate) fn find(dialect: Dialect, table: &ResolvedTable, filter: Node) -> Statement {
    finding(dialect, table, filter).done()
}

fn finding(dialect: Dialect, table: &ResolvedTable, filter: Node) -> Writer {
    let mut sql = Writer::new(dialect, &["select ", &table.columns, " from ", &table.place]);
    sql.filter(table, filter, false);
    sql.text.push_str(" limit 1");
    sql
}

/// A row that nobody else changes until the transaction ends. SQLite has one writer at a time, so whoever writes holds
/// the lock already; PostgreSQL's kind still lets others refer to the row.
pub(crate) fn lock(dialect: Dialect, table: &ResolvedTable, filter: Node) -> Statement {
    let mut sql = finding(dialect, table, filter);
    if dialect == Dialect::Postgres {
        sql.text.push_str(" for no key update");
    }
    sql.done()
}

/// The text of the join that a table is asked for: every session check is this one statement, so it is written once.
#[derive(Debug)]
pub(super) struct Join {
    parent: &'static str,
    on: &'static str,
    by: &'static str,
    text: Arc<str>,
}

/// The row of `child` with `value` in its column `by`, and the row of `parent` whose id its column `on` holds. Its text
/// is kept for the first join that a table is asked for; any other is written each time.
pub(crate) fn find_with_parent(
    dialect: Dialect,
    child: &ResolvedTable,
    parent: &ResolvedTable,
    on: &'static str,
    by: &'static str,
    value: &str,
) -> Statement {
    let write = || join(dialect, child, parent, on, by, value);
    // Whether such a value is an id, and what it is in the statement, is to be seen each time.
    if child.has_typed_key(by) {
        return write();
    }
    let kept = child.join.get_or_init(|| Join { parent: parent.name, on, by, text: write().text });
    if (kept.parent, kept.on, kept.by) != (parent.name, on, by) {
        return write();
    }
    Statement { text: Arc::clone(&kept.text), values: vec![value.into()] }
}

fn join(
    dialect: Dialect,
    child: &ResolvedTable,
    parent: &ResolvedTable,
    on: &str,
    by: &'static str,
    value: &str,
) -> Statement {
    let mut sql = Writer::new(
        dialect,
        &[
            "select ",
            &child.qualified,
            ", ",
            &parent.qualified,
            " from ",
            &child.place,
            " join ",
            &parent.place,
            " on \"",
            &parent.relation,
            "\".\"id\" = \"",
            &child.relation,
            "\".\"",
            child.column(on),
            "\" where ",
        ],
    );
    sql.compare(child, by, Operator::Equal, value.into(), true);
    sql.text.push_str(" limit 1");
    sql.done()
}

pub(crate) fn list(
    dialect: Dialect,
    table: &ResolvedTable,
    filter: Node,
    order: Option<(&str, Order)>,
    limit: Option<u32>,
    offset: u32,
) -> Statement {
    let mut sql = Writer::new(dialect, &["select ", &table.columns, " from ", &table.place]);
    sql.filter(table, filter, false);
    if let Some((column, order)) = order {
        sql.text.push_str(" order by ");
        sql.column(table, column, false);
        sql.text.push_str(if order == Order::Descending { " desc" } else { " asc" });
    }
    if limit.is_some() || offset > 0 {
        // SQLite has no `offset` without `limit`.
        sql.text.push_str(" limit ");
        sql.value(Value::Integer(limit.map_or(i64::MAX, i64::from)));
        sql.text.push_str(" offset ");
        sql.value(Value::Integer(i64::from(offset)));
    }
    sql.done()
}

pub(crate) fn count(dialect: Dialect, table: &ResolvedTable, filter: Node) -> Statement {
    let mut sql = Writer::new(dialect, &["select count(*) from ", &table.place]);
    sql.filter(table, filter, false);
    sql.done()
}

pub(crate) fn insert<'a>(
    dialect: Dialect,
    table: &ResolvedTable,
    columns: impl IntoIterator<Item = (&'a str, Value)>,
) -> Statement {
    let sql = insert_values(dialect, table, columns);
    sql.returning(table)
}

/// Inserts rows that have the same columns; nothing where there are none.
pub(crate) fn insert_all<'a>(
    dialect: Dialect,
    table: &ResolvedTable,
    rows: impl IntoIterator<Item = impl IntoIterator<Item = (&'a str, Value)>>,
) -> Option<Statement> {
    let mut rows = rows.into_iter();
    let mut sql = insert_values(dialect, table, rows.next()?);
    for row in rows {
        sql.text.push_str(", (");
        for (position, (column, value)) in row.into_iter().enumerate() {
            if position > 0 {
                sql.text.push_str(", ");
            }
            sql.assigned(table, column, value);
        }
        sql.text.push(')');
    }
    Some(sql.done())
}

/// Inserts a row only while one of `other` matches, which nobody else changes until the transaction ends. PostgreSQL
/// waits for whoever is changing it and looks again; others may hold on to the row in the same way.
pub(crate) fn insert_while<'a>(
    dialect: Dialect,
    table: &ResolvedTable,
    columns: impl IntoIterator<Item = (&'a str, Value)>,
    other: &ResolvedTable,
    filter: Node,
) -> Statement {
    let mut sql = insert_into(dialect, table, columns, "select ");
    sql.text.push_str(" where exists (select 1 from ");
    sql.text.push_str(&other.place);
    sql.filter(other, filter, false);
    if dialect == Dialect::Postgres {
        sql.text.push_str(" for share");
    }
    sql.text.push(')');
    sql.returning(table)
}

/// Inserts a row or, where its value in `unique` is taken, counts it into the row that is there: one statement. A row
/// that is `stale` starts over, and one for which `guard` does not hold is left alone and not returned.
pub(crate) fn tally<'a>(
    dialect: Dialect,
    table: &ResolvedTable,
    columns: Vec<(&'a str, Value)>,
    unique: &str,
    counter: &str,
    stale: Node,
    guard: Node,
) -> Statement {
    let names: Vec<&'a str> =
        columns.iter().map(|(name, _)| *name).filter(|name| *name != "id" && *name != unique).collect();
    let mut sql = insert_values(dialect, table, columns);
    sql.text.push_str(" on conflict (");
    sql.column(table, unique, false);
    sql.text.push_str(") do update set ");
    for (position, name) in names.into_iter().enumerate() {
        if position > 0 {
            sql.text.push_str(", ");
        }
        sql.column(table, name, false);
        sql.text.push_str(" = ");
        if name == counter {
            sql.text.push_str("case when ");
            sql.node(table, stale.clone(), true);
            sql.text.push_str(" then ");
            sql.excluded(table, name);
            sql.text.push_str(" else ");
            sql.column(table, name, true);
            sql.text.push_str(" + ");
            sql.excluded(table, name);
            sql.text.push_str(" end");
        } else {
            sql.excluded(table, name);
        }
    }
    sql.filter(table, Node::Any(vec![stale, guard]), true);
    sql.returning(table)
}

fn insert_values<'a>(
    dialect: Dialect,
    table: &ResolvedTable,
    columns: impl IntoIterator<Item = (&'a str, Value)>,
) -> Writer {
    let mut sql = insert_into(dialect, table, columns, "values (");
    sql.text.push(')');
    sql
}

/// Up to the last value, with `verb` before the first.
fn insert_into<'a>(
    dialect: Dialect,
    table: &ResolvedTable,
    columns: impl IntoIterator<Item = (&'a str, Value)>,
    verb: &str,
) -> Writer {
    let mut sql = Writer::new(dialect, &["insert into ", &table.place, " ("]);
    let mut values = Vec::new();
    for (position, (column, value)) in columns.into_iter().enumerate() {
        if position > 0 {
            sql.text.push_str(", ");
        }
        sql.column(table, column, false);
        values.push((column, value));
    }
    sql.text.push_str(") ");
    sql.text.push_str(verb);
    for (position, (column, value)) in values.into_iter().enumerate() {
        if position > 0 {
            sql.text.push_str(", ");
        }
        sql.assigned(table, column, value);
    }
    sql
}

pub(crate) fn update<'a>(
    dialect: Dialect,
    table: &ResolvedTable,
    filter: Node,
    columns: impl IntoIterator<Item = (&'a str, &'a Value)>,
) -> Statement {
    updating(dialect, table, filter, columns).done()
}

/// An update of one row that answers with the row it left.
pub(crate) fn update_returning<'a>(
    dialect: Dialect,
    table: &ResolvedTable,
    filter: Node,
    columns: impl IntoIterator<Item = (&'a str, &'a Value)>,
) -> Statement {
    updating(dialect, table, filter, columns).returning(table)
}

fn updating<'a>(
    dialect: Dialect,
    table: &ResolvedTable,
    filter: Node,
    columns: impl IntoIterator<Item = (&'a str, &'a Value)>,
) -> Writer {
    let mut sql = Writer::new(dialect, &["update ", &table.place, " set "]);
    for (position, (column, value)) in columns.into_iter().enumerate() {
        if position > 0 {
            sql.text.push_str(", ");
        }
        sql.column(table, column, false);
        sql.text.push_str(" = ");
        sql.assigned(table, column, value.clone());
    }
    sql.filter(table, filter, false);
    sql
}

pub(crate) fn delete(dialect: Dialect, table: &ResolvedTable, filter: Node) -> Statement {
    let mut sql = Writer::new(dialect, &["delete from ", &table.place]);
    sql.filter(table, filter, false);
    sql.done()
}

/// Deletes every match and returns them all.
pub(crate) fn take_all(dialect: Dialect, table: &ResolvedTable, filter: Node) -> Statement {
    let mut sql = Writer::new(dialect, &["delete from ", &table.place]);
    sql.filter(table, filter, false);
    sql.returning(table)
}

/// Deletes one match and returns it: the row lock of PostgreSQL and the single writer of SQLite make the rival
/// statement find nothing.
pub(crate) fn take(dialect: Dialect, table: &ResolvedTable, filter: Node) -> Statement {
    let mut sql = Writer::new(
        dialect,
        &["delete from ", &table.place, " where \"id\" = (select \"id\" from ", &table.place],
    );
    sql.filter(table, filter, false);
    sql.text.push_str(match dialect {
        Dialect::Sqlite => " limit 1",
        Dialect::Postgres => " limit 1 for update",
    });
    sql.text.push(')');
    sql.returning(table)
}

/// Adds to a number where the filter still holds: guard and write are one statement.
pub(crate) fn add(dialect: Dialect, table: &ResolvedTable, filter: Node, column: &str, by: i64) -> Statement {
    let column = table.column(column);
    let mut sql =
        Writer::new(dialect, &["update ", &table.place, " set \"", column, "\" = \"", column, "\" + "]);
    sql.value(Value::Integer(by));
    sql.filter(table, filter, false);
    sql.returning(table)
}

/// Deletes at most `limit` rows. The filter is written twice: a row that changes while it is being looked at is judged
/// again, as it is by then.
pub(crate) fn delete_some(dialect: Dialect, table: &ResolvedTable, filter: Node, limit: u32) -> Statement {
    let parts = ["delete from ", &table.place, " where \"id\" in (select \"id\" from ", &table.place];
    let mut sql = Writer::new(dialect, &parts);
    sql.filter(table, filter.clone(), false);
    sql.text.push_str(" limit ");
    sql.value(Value::Integer(limit.into()));
    sql.text.push_str(") and ");
    sql.node(table, filter, false);
    sql.done()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Guess, Session, User},
        store::{Layout, Model, Schema, filter::Filter},
    };

    fn schema() -> Schema {
        Schema::resolve([User::table(), Session::table()], [], Layout::default())
            .expect("the core tables fit together")
    }

    #[test]
    fn each_dialect_has_its_placeholder_and_null_is_compared_as_null() {
        let schema = schema();
        let table = schema.table("user").expect("core has users");
        let filter = || User::EMAIL.eq("a@b.c").and(User::IMAGE.eq(None::<String>)).node;
        let sqlite = count(Dialect::Sqlite, table, filter());
        assert_eq!(*sqlite.text, *r#"select count(*) from "user" where ("email" = ?1 and "image" is null)"#);
        assert_eq!(sqlite.values, [Value::from("a@b.c")]);
        let postgres = count(Dialect::Postgres, table, filter());
        assert_eq!(
            *postgres.text,
            *r#"select count(*) from "user" where ("email" = $1 and "image" is null)"#
        );
    }

    #[test]
    fn a_filter_without_conditions_has_no_where() {
        let schema = schema();
        let table = schema.table("user").expect("core has users");
        assert_eq!(
            *count(Dialect::Sqlite, table, Filter::<User>::everything().node).text,
            *r#"select count(*) from "user""#
        );
    }

    #[test]
    fn counting_is_one_statement_that_starts_over_adds_or_leaves_alone() {
        let schema = Schema::resolve([Guess::table().own_ids()], [], Layout::default())
            .expect("it needs no other table");
        let table = schema.table("narthexGuess").expect("it is there");
        let columns = vec![
            ("id", Value::from("k")),
            ("failures", Value::Integer(1)),
            ("lastAttempt", Value::Integer(9)),
        ];
        let stale = Guess::LAST_ATTEMPT.lte(Value::Integer(5)).node;
        let guard = Guess::FAILURES.lt(100).node;
        let statement = tally(Dialect::Postgres, table, columns, "id", "failures", stale, guard);
        let expected = [
            r#"insert into "narthexGuess" ("id", "failures", "lastAttempt") values ($1, $2, $3)"#,
            r#" on conflict ("id") do update set"#,
            r#" "failures" = case when "narthexGuess"."lastAttempt" <= $4 then excluded."failures""#,
            r#" else "narthexGuess"."failures" + excluded."failures" end,"#,
            r#" "lastAttempt" = excluded."lastAttempt""#,
            r#" where ("narthexGuess"."lastAttempt" <= $5 or "narthexGuess"."failures" < $6)"#,
            r#" returning "id", "failures", "lastAttempt""#,
        ];
        assert_eq!(*statement.text, expected.concat());
        assert_eq!(statement.values.len(), 6);
    }

    #[test]
    fn a_row_is_inserted_only_while_another_one_is_there() {
        let schema = schema();
        let (session, user) = (schema.table("session").expect("core"), schema.table("user").expect("core"));
        let text = |dialect| {
            let columns = [("token", Value::from("t")), ("userId", Value::from("u"))];
            insert_while(dialect, session, columns, user, User::ID.eq("u").node).text
        };
        let beginning = r#"insert into "session" ("token", "userId") select $1, $2"#;
        let guard = r#" where exists (select 1 from "user" where "id" = $3 for share) returning "id", "#;
        assert!(text(Dialect::Postgres).starts_with(&format!("{beginning}{guard}")));
        let sqlite = format!("{beginning}{guard}").replace('$', "?").replace(" for share", "");
        assert!(text(Dialect::Sqlite).starts_with(&sqlite));
    }

    #[test]
    fn the_operators_schema_stands_before_every_table() {
        let layout = Layout { namespace: Some("auth".to_owned()), ..Layout::default() };
        let schema =
            Schema::resolve([User::table(), Session::table()], [], layout).expect("they fit together");
        let (session, user) = (schema.table("session").expect("core"), schema.table("user").expect("core"));
        let any = || Session::ID.eq("i").node;
        let columns = || [("token", Value::from("t"))];
        let changes = [("token", &Value::from("t"))];
        let on = Dialect::Postgres;
        for statement in [
            find(on, session, any()),
            lock(on, session, any()),
            find_with_parent(on, session, user, "userId", "token", "t"),
            list(on, session, any(), None, Some(1), 0),
            count(on, session, any()),
            insert(on, session, columns()),
            insert_all(on, session, [columns(), columns()]).expect("two rows"),
            insert_while(on, session, columns(), user, User::ID.eq("u").node),
            tally(on, session, columns().into(), "token", "token", any(), any()),
            update(on, session, any(), changes),
            update_returning(on, session, any(), changes),
            delete(on, session, any()),
            take(on, session, any()),
            add(on, session, any(), "token", 1),
            delete_some(on, session, any(), 1),
        ] {
            for verb in ["from ", "into ", "update ", "join "] {
                for (position, _) in statement.text.match_indices(verb) {
                    let rest = &statement.text[position + verb.len()..];
                    assert!(rest.starts_with(r#""auth"."#) || rest.starts_with("set "), "{}", statement.text);
                }
            }
            assert!(statement.text.contains(r#""auth"."session""#), "{}", statement.text);
        }
    }

    #[test]
    fn only_postgresql_has_to_ask_for_a_lock() {
        let schema = schema();
        let table = schema.table("user").expect("core has users");
        let text = |dialect| lock(dialect, table, User::ID.eq("a").node).text;
        assert!(text(Dialect::Sqlite).ends_with(r#" where "id" = ?1 limit 1"#));
        assert!(text(Dialect::Postgres).ends_with(r#" where "id" = $1 limit 1 for no key update"#));
    }

    #[test]
    fn a_join_names_the_table_of_every_column() {
        let schema = schema();
        let (session, user) = (schema.table("session").expect("core"), schema.table("user").expect("core"));
        let ends = |by, value, end: &str| {
            let statement = find_with_parent(Dialect::Postgres, session, user, "userId", by, value);
            let beginning =
                r#" from "session" join "user" on "user"."id" = "session"."userId" where "session"."#;
            assert!(statement.text.ends_with(&format!("{beginning}{end}")), "{}", statement.text);
            assert_eq!(statement.values, [Value::from(value)]);
        };
        ends("token", "t", r#""token" = $1 limit 1"#);
        // The text that is kept is for this column alone.
        ends("id", "i", r#""id" = $1 limit 1"#);
        ends("token", "u", r#""token" = $1 limit 1"#);
    }
}
