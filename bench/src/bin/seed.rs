//! Fills a database with the users, sessions and password accounts that the measurements use, and
//! writes down the cookies and addresses that `load` needs.
//!
//! Tokens and ids follow from a user's number, so every database holds the same rows. Tables that
//! are missing are made as upstream makes them. All users have one password and share its hash:
//! a server that verifies it cannot tell.

#![expect(clippy::disallowed_methods, reason = "a tool that measures servers is none, and has no `Env`")]

use std::{
    env,
    error::Error,
    fmt::Write,
    fs,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;
use time::{OffsetDateTime, macros::format_description};

const USERS: u32 = 1000;
const PASSWORD: &str = "correct horse battery staple";
const SALT: [u8; 16] = *b"sixteen bytes of";

/// What JavaScript's `encodeURIComponent` escapes.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

const TABLES: &str = r#"
create table if not exists "user" ("id" text not null primary key, "name" text not null,
    "email" text not null unique, "emailVerified" BOOLEAN not null, "image" text,
    "createdAt" MOMENT not null, "updatedAt" MOMENT not null);
create table if not exists "session" ("id" text not null primary key, "expiresAt" MOMENT not null,
    "token" text not null unique, "createdAt" MOMENT not null, "updatedAt" MOMENT not null,
    "ipAddress" text, "userAgent" text, "userId" text not null references "user" ("id") on delete cascade);
create table if not exists "account" ("id" text not null primary key, "accountId" text not null,
    "providerId" text not null, "userId" text not null references "user" ("id") on delete cascade,
    "accessToken" text, "refreshToken" text, "idToken" text, "accessTokenExpiresAt" MOMENT,
    "refreshTokenExpiresAt" MOMENT, "scope" text, "password" text, "createdAt" MOMENT not null,
    "updatedAt" MOMENT not null);
create table if not exists "verification" ("id" text not null primary key, "identifier" text not null,
    "value" text not null, "expiresAt" MOMENT not null, "createdAt" MOMENT not null,
    "updatedAt" MOMENT not null);
create index if not exists "session_userId_idx" on "session" ("userId");
create index if not exists "account_userId_idx" on "account" ("userId");
create index if not exists "verification_identifier_idx" on "verification" ("identifier");
"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("DATABASE_URL")?;
    let hash = match env::var("HASH")?.as_str() {
        "bcrypt" => {
            bcrypt::hash_with_salt(PASSWORD, 10, SALT).map_err(|error| error.to_string())?.to_string()
        }
        "scrypt" => upstream_scrypt()?,
        other => return Err(format!("HASH is {other}, neither bcrypt nor scrypt").into()),
    };
    let rows = rows(&hash)?;
    if let Some(file) = url.strip_prefix("sqlite://") {
        let connection = rusqlite::Connection::open(file)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.execute_batch(&TABLES.replace("BOOLEAN", "integer").replace("MOMENT", "date"))?;
        connection.execute_batch(&format!("begin; {rows} commit;"))?;
    } else {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute(&TABLES.replace("BOOLEAN", "boolean").replace("MOMENT", "timestamptz")).await?;
        client.batch_execute(&format!("begin; {rows} commit;")).await?;
        client.batch_execute("vacuum analyze").await?;
    }
    fs::write(env::var("CREDENTIALS")?, credentials(&env::var("SECRET")?)?)?;
    Ok(())
}

fn rows(hash: &str) -> Result<String, Box<dyn Error>> {
    let created = iso(SystemTime::now())?;
    // Fresh for the whole run: no check of a session may want to extend it.
    let expires = iso(SystemTime::now() + Duration::from_hours(7 * 24))?;
    let mut sql = String::new();
    for number in 0..USERS {
        let (user, token) = (name("user", number)?, name("token", number)?);
        write!(
            sql,
            r#"insert into "user" ("id", "name", "email", "emailVerified", "createdAt", "updatedAt")
                values ('{user}', 'User {number}', '{}', true, '{created}', '{created}');
            insert into "session" ("id", "expiresAt", "token", "createdAt", "updatedAt", "ipAddress",
                "userAgent", "userId") values ('{}', '{expires}', '{token}', '{created}', '{created}',
                '127.0.0.1', 'Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0', '{user}');
            insert into "account" ("id", "accountId", "providerId", "userId", "password", "createdAt",
                "updatedAt") values ('{}', '{user}', 'credential', '{user}', '{hash}', '{created}', '{created}');
            "#,
            email(number),
            name("session", number)?,
            name("account", number)?,
        )?;
    }
    Ok(sql)
}

/// One line per user: the session cookie's value and the body of a sign-in.
fn credentials(secret: &str) -> Result<String, Box<dyn Error>> {
    let mut lines = String::new();
    for number in 0..USERS {
        let token = name("token", number)?;
        let signature = STANDARD.encode(keyed_hash(secret.as_bytes(), &token)?);
        let signed = format!("{token}.{signature}");
        let cookie = utf8_percent_encode(&signed, ESCAPED);
        let body = format!(r#"{{"email":"{}","password":"{PASSWORD}"}}"#, email(number));
        writeln!(lines, "{cookie}\t{body}")?;
    }
    Ok(lines)
}

fn email(number: u32) -> String {
    format!("user{number}@example.com")
}

/// An identifier as upstream makes them: 32 letters and digits.
fn name(kind: &str, number: u32) -> Result<String, Box<dyn Error>> {
    const ALPHABET: [char; 62] = {
        let text = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let mut letters = ['a'; 62];
        let mut index = 0;
        while index < 62 {
            letters[index] = text[index] as char;
            index += 1;
        }
        letters
    };
    let hash = keyed_hash(kind.as_bytes(), &number.to_string())?;
    Ok(hash.iter().filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len())).collect())
}

fn keyed_hash(key: &[u8], text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)?;
    mac.update(text.as_bytes());
    Ok(mac.finalize().into_bytes().to_vec())
}

/// `salt:key` in hex, where the salt that is hashed is the hex text itself.
fn upstream_scrypt() -> Result<String, Box<dyn Error>> {
    let salt = hex(&SALT);
    let mut key = [0; 64];
    scrypt::scrypt(PASSWORD.as_bytes(), salt.as_bytes(), &scrypt::Params::new(14, 16, 1)?, &mut key)?;
    Ok(format!("{salt}:{}", hex(&key)))
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn iso(moment: SystemTime) -> Result<String, time::error::Format> {
    OffsetDateTime::from(moment)
        .format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"))
}
