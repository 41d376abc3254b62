//! The yardstick: axum with the one query that a session check cannot do without, and a password
//! hash that nothing surrounds.
//!
//! It checks no signature, no expiry and no limit, and keeps nothing between requests but
//! connections and prepared statements. What it reaches is what the machine, the framework and the
//! driver allow; Narthex is measured by how close it comes.

#![expect(clippy::disallowed_methods, reason = "a tool that measures servers is none, and has no `Env`")]

use std::{
    cell::RefCell,
    env,
    error::Error,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::SystemTime,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use rusqlite::{Connection, OpenFlags, OptionalExtension, config::DbConfig};
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};
use tokio::{net::TcpListener, sync::oneshot};

type Failure = Box<dyn Error + Send + Sync>;

const QUERY: &str = r#"select s."id", s."expiresAt", s."token", s."createdAt", s."updatedAt", s."ipAddress",
    s."userAgent", s."userId", u."id", u."name", u."email", u."emailVerified", u."image", u."createdAt",
    u."updatedAt" from "session" s join "user" u on u."id" = s."userId" where s."token" = $1"#;

#[derive(Serialize)]
struct Answer<'a> {
    session: Session<'a>,
    user: User<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Session<'a> {
    id: &'a str,
    expires_at: &'a str,
    token: &'a str,
    created_at: &'a str,
    updated_at: &'a str,
    ip_address: Option<&'a str>,
    user_agent: Option<&'a str>,
    user_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct User<'a> {
    id: &'a str,
    name: &'a str,
    email: &'a str,
    email_verified: bool,
    image: Option<&'a str>,
    created_at: &'a str,
    updated_at: &'a str,
}

#[derive(Deserialize)]
struct Credentials {
    password: String,
}

enum Database {
    Sqlite(String),
    Postgres { client: tokio_postgres::Client, query: tokio_postgres::Statement },
}

#[derive(Clone, Copy)]
enum Scheme {
    Bcrypt,
    Scrypt,
}

struct Job {
    password: String,
    done: oneshot::Sender<bool>,
}

struct Bare {
    database: Database,
    hashing: mpsc::Sender<Job>,
}

fn main() -> Result<(), Failure> {
    let threads = thread::available_parallelism()?.get();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(serve(threads))
}

async fn serve(threads: usize) -> Result<(), Failure> {
    let scheme = match env::var("HASH")?.as_str() {
        "bcrypt" => Scheme::Bcrypt,
        "scrypt" => Scheme::Scrypt,
        other => return Err(format!("HASH is {other}, neither bcrypt nor scrypt").into()),
    };
    let url = env::var("DATABASE_URL")?;
    let database = match url.strip_prefix("sqlite://") {
        Some(file) => Database::Sqlite(file.to_owned()),
        None => connect(&url).await?,
    };
    let bare = Arc::new(Bare { database, hashing: start_hashing(scheme, threads) });
    let router = Router::new()
        .route("/api/auth/get-session", get(get_session))
        .route("/hash", post(hash))
        .route("/ready", get(StatusCode::OK))
        .with_state(bare);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, env::var("PORT")?.parse()?)).await?;
    // A failure to set it costs time and nothing else.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router).await?;
    Ok(())
}

async fn connect(url: &str) -> Result<Database, Failure> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    let query = client.prepare(QUERY).await?;
    Ok(Database::Postgres { client, query })
}

async fn get_session(State(bare): State<Arc<Bare>>, headers: HeaderMap) -> Response {
    let Some(token) = session_token(&headers) else { return StatusCode::UNAUTHORIZED.into_response() };
    let found = match &bare.database {
        Database::Sqlite(file) => from_sqlite(file, token),
        Database::Postgres { client, query } => from_postgres(client, query, token).await,
    };
    match found {
        Ok(Some(body)) => json(body),
        Ok(None) => json(b"null".to_vec()),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn json(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn session_token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    let value = cookies.split("; ").find_map(|cookie| cookie.strip_prefix("better-auth.session_token="))?;
    Some(value.split_once('.').map_or(value, |(token, _)| token))
}

fn from_sqlite(file: &str, token: &str) -> Result<Option<Vec<u8>>, Failure> {
    thread_local! {
        static CONNECTION: RefCell<Option<Connection>> = const { RefCell::new(None) };
    }
    CONNECTION.with_borrow_mut(|slot| {
        let connection = match slot {
            Some(connection) => connection,
            None => slot.insert(open_sqlite(file)?),
        };
        let mut query = connection.prepare_cached(QUERY)?;
        let body = query.query_row([token], |row| {
            let text = |index: usize| Ok::<_, rusqlite::Error>(row.get_ref(index)?.as_str()?);
            let optional = |index: usize| Ok::<_, rusqlite::Error>(row.get_ref(index)?.as_str_or_null()?);
            let answer = Answer {
                session: Session {
                    id: text(0)?,
                    expires_at: text(1)?,
                    token: text(2)?,
                    created_at: text(3)?,
                    updated_at: text(4)?,
                    ip_address: optional(5)?,
                    user_agent: optional(6)?,
                    user_id: text(7)?,
                },
                user: User {
                    id: text(8)?,
                    name: text(9)?,
                    email: text(10)?,
                    email_verified: row.get(11)?,
                    image: optional(12)?,
                    created_at: text(13)?,
                    updated_at: text(14)?,
                },
            };
            Ok(serde_json::to_vec(&answer))
        });
        Ok(body.optional()?.transpose()?)
    })
}

fn open_sqlite(file: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    // Without it this SQLite plans a prepared statement anew for every value bound to it, which
    // takes five times as long as running it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

async fn from_postgres(
    client: &tokio_postgres::Client,
    query: &tokio_postgres::Statement,
    token: &str,
) -> Result<Option<Vec<u8>>, Failure> {
    let Some(row) = client.query_opt(query, &[&token]).await? else { return Ok(None) };
    let moment = |index: usize| iso(row.try_get(index)?);
    let (expires_at, created_at, updated_at) = (moment(1)?, moment(3)?, moment(4)?);
    let (user_created_at, user_updated_at) = (moment(13)?, moment(14)?);
    let answer = Answer {
        session: Session {
            id: row.try_get(0)?,
            expires_at: &expires_at,
            token: row.try_get(2)?,
            created_at: &created_at,
            updated_at: &updated_at,
            ip_address: row.try_get(5)?,
            user_agent: row.try_get(6)?,
            user_id: row.try_get(7)?,
        },
        user: User {
            id: row.try_get(8)?,
            name: row.try_get(9)?,
            email: row.try_get(10)?,
            email_verified: row.try_get(11)?,
            image: row.try_get(12)?,
            created_at: &user_created_at,
            updated_at: &user_updated_at,
        },
    };
    Ok(Some(serde_json::to_vec(&answer)?))
}

fn iso(moment: SystemTime) -> Result<String, Failure> {
    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    Ok(OffsetDateTime::from(moment).format(FORMAT)?)
}

async fn hash(State(bare): State<Arc<Bare>>, body: Bytes) -> Response {
    let Ok(credentials) = serde_json::from_slice::<Credentials>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let (done, hashed) = oneshot::channel();
    let sent = bare.hashing.send(Job { password: credentials.password, done });
    match (sent, hashed.await) {
        (Ok(()), Ok(true)) => json(br#"{"hashed":true}"#.to_vec()),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// As many threads as processors, so that the hash alone limits the rate.
fn start_hashing(scheme: Scheme, threads: usize) -> mpsc::Sender<Job> {
    let (sender, receiver) = mpsc::channel::<Job>();
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..threads {
        let receiver = Arc::clone(&receiver);
        thread::spawn(move || {
            loop {
                let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(job) = job else { return };
                let hashed = hash_once(scheme, &job.password);
                // Sending fails when the client has gone, and nobody is left to tell.
                let _ = job.done.send(hashed);
            }
        });
    }
    sender
}

fn hash_once(scheme: Scheme, password: &str) -> bool {
    const SALT: [u8; 16] = *b"sixteen bytes of";
    match scheme {
        Scheme::Bcrypt => bcrypt::hash_with_salt(password, 10, SALT).is_ok(),
        Scheme::Scrypt => {
            let mut key = [0; 64];
            scrypt::Params::new(14, 16, 1).is_ok_and(|parameters| {
                scrypt::scrypt(password.as_bytes(), &SALT, &parameters, &mut key).is_ok()
            })
        }
    }
}
