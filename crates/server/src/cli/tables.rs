//! The tables and columns that there can be, as Markdown: `docs/reference/data-model.md`, written from the declarations
//! that make them.

use narthex::{
    Auth, Config,
    model::RateLimit,
    store::{Fallback, Field, Kind, Model as _, OnDelete, Table, Value},
};
use narthex_plugins::{Plugins, jwt::Revocation};
use std::fmt::Write as _;

const HEAD: &str = r#"# Tables

Written by `cargo xtask generate` from the tables themselves. They are made, and given what they lack, at start or by
`narthex migrate`; `narthex migrate --dry-run` prints the statements, indexes included. Nothing is ever dropped or altered.

Tables and columns of Better Auth's have its names, types and order, so that either server serves a database of the other's.
Narthex's own tables are beside them, and no table of Better Auth's has a column of Narthex's. Your own columns come behind
those listed here: `user.additional-fields` and its like, see [configuration.md](configuration.md).

| here | PostgreSQL | SQLite |
|-|-|-|
| text | `text` | `text` |
| number | `integer`, or `bigint` where the number may be large | the same |
| boolean | `boolean` | `integer`, 0 or 1 |
| time | `timestamptz` | `date`: text such as `2026-11-20T21:09:19.128Z` |
| JSON | `jsonb` | `text` |

A key is text of 32 letters and digits, made by Narthex; `advanced.database.generate-id` makes it a UUID or a number, and what
points at it too. Tables and columns can have other names (`user.model-name`, `user.fields`, and the same for each table), and on
PostgreSQL a schema of their own (`database.schema`). Names have capitals: PostgreSQL wants them in quotes, `"userId"`.

With a [secondary storage](configuration.md#secondary-storage), sessions and verifications are there instead, unless
`session.store-session-in-database` and `verification.store-in-database` say otherwise: those tables are then not made.

## For other programs

Read, and write nothing: rules, hooks, caches and the audit log are in the server. What it is to change goes through its
endpoints or [its commands](../guides/users.md). Give a program that reads a role of its own, and only the columns that it needs:

```sql
create role reports login;
grant select ("id", "name", "email", "emailVerified", "createdAt") on "user" to reports;
```

What is marked *secret* is as good as a password: a session's token signs in, and so does what waits in `verification`. None of
it belongs into a report or another system. Point at users by `id`, which never changes; addresses do. A foreign key of yours
on `"user"` with `on delete cascade` removes your rows with the user; without it, deleting the user fails while you have rows.

Who wants to know who is asking needs no table: [tokens](../guides/tokens.md) say it.
"#;

/// Who writes a table, and whose it is.
const NOTES: [(&str, &str); 10] = [
    ("user", "Better Auth's. Written by signing up, `/update-user`, and `narthex user` and `import`."),
    (
        "session",
        "Better Auth's. Written by signing in; renewed while it is used (`session.update-age`), deleted when it is \
         revoked, and some time after it has ended.",
    ),
    (
        "account",
        "Better Auth's. Written by signing up, linking and unlinking, and whatever sets a password. A password is the \
         account of the provider `credential`.",
    ),
    (
        "verification",
        "Better Auth's. Written by whatever sends somebody a link or a code; deleted when it is redeemed, and some time \
         after it has ended.",
    ),
    (
        "narthexGuess",
        "Narthex's own, one row for each account at which somebody guesses (`password.max-failures`); its key is a keyed \
         hash of the address. Deleted by the right password, and when it is quiet.",
    ),
    (
        "audit_log",
        "Narthex's own, unless `audit.enabled = false`: [the audit log](../guides/audit.md). Rows are added, and deleted \
         when they are older than `audit.retention`; its key sorts by time.",
    ),
    (
        "rateLimit",
        "Better Auth's, where requests are counted in the database: `rate-limit.storage = \"database\"`, and by default \
         on PostgreSQL.",
    ),
    (
        "jwks",
        "Better Auth's, with the plugin [jwt](../guides/tokens.md): the keys that sign tokens. Its key is the `kid` of \
         tokens. To withdraw a key at once, delete its row.",
    ),
    (
        "narthexRefreshToken",
        "Narthex's own, with the plugin [token-api](../guides/token-api.md): one row for a session, which no token can be \
         read from.",
    ),
    (
        "narthexRevocation",
        "Narthex's own, with `plugins.jwt.revocation`: [the list of revocations](../decisions/0041-revocations.md). Rows are \
         added by what ends sessions, and deleted when no token is left that they concern.",
    ),
];

/// Columns that sign somebody in, or come near it.
const SECRETS: [(&str, &str); 8] = [
    ("session", "token"),
    ("account", "accessToken"),
    ("account", "refreshToken"),
    ("account", "idToken"),
    ("account", "password"),
    // Of some, the identifier is what stands in the link.
    ("verification", "identifier"),
    ("verification", "value"),
    ("jwks", "privateKey"),
];

/// All tables, as Markdown.
pub(super) fn write() -> String {
    let builder = Plugins::all().install(Auth::builder(Config::default()));
    let manifest = builder.manifest();
    let mut text = HEAD.to_owned();
    let optional = [RateLimit::table(), Revocation::table()];
    for table in manifest.tables.iter().chain(&optional) {
        let more = manifest.extensions.iter().filter(|(name, _)| *name == table.name).map(|(_, field)| field);
        let _ = section(&mut text, table, more);
    }
    text
}

fn section<'a>(
    text: &mut String,
    table: &'a Table,
    more: impl Iterator<Item = &'a Field>,
) -> std::fmt::Result {
    writeln!(text, "\n## `{}`\n", table.name)?;
    text.push_str(&sentence(table.about));
    if let Some((_, note)) = NOTES.iter().find(|(name, _)| *name == table.name) {
        write!(text, " {note}")?;
    }
    writeln!(text, "\n\n| column | type | | |\n|-|-|-|-|\n| `id` | key | | Its key. |")?;
    for field in table.fields.iter().chain(more) {
        let secret = if SECRETS.contains(&(table.name, &*field.name)) { " *Secret.*" } else { "" };
        let about = sentence(field.about);
        writeln!(
            text,
            "| `{}` | {} | {} | {about}{secret} |",
            field.name,
            kind(field),
            rules(field).join(", ")
        )?;
    }
    *text = text.replace("|  |", "| |");
    Ok(())
}

fn kind(field: &Field) -> &'static str {
    match field.kind {
        _ if field.references.as_ref().is_some_and(|reference| reference.field == "id") => "key",
        Kind::Text => "text",
        Kind::Integer | Kind::BigInteger => "number",
        Kind::Bool => "boolean",
        Kind::Time => "time",
        Kind::Json | Kind::TextList | Kind::NumberList => "JSON",
    }
}

/// What the database sees to.
fn rules(field: &Field) -> Vec<String> {
    let mut rules = Vec::new();
    if let Some(reference) = &field.references {
        let what = match reference.on_delete {
            OnDelete::Cascade => "goes with it",
            other => return vec![format!("of `{}`: {other:?}", reference.table)],
        };
        rules.push(format!("of `{}`, {what}", reference.table));
    }
    if !field.required {
        rules.push("may be null".to_owned());
    }
    if field.unique {
        rules.push("unique".to_owned());
    }
    if field.index {
        rules.push("index".to_owned());
    }
    match &field.default {
        Some(Fallback::Value(Value::Bool(value))) => rules.push(format!("{value} at first")),
        Some(Fallback::Value(value)) => rules.push(format!("{value:?} at first")),
        Some(Fallback::Now) | None => {}
    }
    rules
}

/// A comment in the code, on one line.
fn sentence(comment: &str) -> String {
    comment.split_whitespace().collect::<Vec<_>>().join(" ")
}
