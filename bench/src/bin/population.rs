//! Fills a SQLite database that has its tables with as many users as are asked for, each with a password account and a
//! session: `population FILE USERS`.
//!
//! Ids and tokens follow from a user's number and are as far apart as random ones, so that indexes are as they would be.

use rusqlite::{Connection, params};
use sha2::{Digest as _, Sha256};
use std::{env, error::Error, fmt::Write as _};

const TIME: &str = "2026-11-20T21:09:19.128Z";
const EXPIRES: &str = "2027-11-20T21:09:19.128Z";
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
/// As long as a real one, and nobody's.
const HASH: &str = "$2b$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(file), Some(users), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: population FILE USERS".into());
    };
    let users: u64 = users.parse()?;
    let mut connection = Connection::open(file)?;
    connection.pragma_update(None, "synchronous", "off")?;
    let transaction = connection.transaction()?;
    {
        let mut user = transaction.prepare(
            r#"insert into "user" ("id", "name", "email", "emailVerified", "createdAt", "updatedAt")
            values (?1, ?2, ?3, 1, ?4, ?4)"#,
        )?;
        let mut session = transaction.prepare(
            r#"insert into "session" ("id", "expiresAt", "token", "createdAt", "updatedAt", "ipAddress", "userAgent", "userId")
            values (?1, ?2, ?3, ?4, ?4, '127.0.0.1', ?5, ?6)"#,
        )?;
        let mut account = transaction.prepare(
            r#"insert into "account" ("id", "accountId", "providerId", "userId", "password", "createdAt", "updatedAt")
            values (?1, ?2, 'credential', ?2, ?3, ?4, ?4)"#,
        )?;
        for number in 0..users {
            let id = name("user", number)?;
            user.execute(params![id, format!("User {number}"), format!("user{number}@example.com"), TIME])?;
            let token = name("token", number)?;
            session.execute(params![name("session", number)?, EXPIRES, token, TIME, BROWSER, id])?;
            account.execute(params![name("account", number)?, id, HASH, TIME])?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// 32 letters and digits.
fn name(kind: &str, number: u64) -> Result<String, Box<dyn Error>> {
    let hash = Sha256::digest(format!("{kind} {number}"));
    let mut name = String::with_capacity(32);
    for byte in hash.iter().take(16) {
        write!(name, "{byte:02x}")?;
    }
    Ok(name)
}
