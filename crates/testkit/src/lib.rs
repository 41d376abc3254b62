//! What the tests of every crate share: an engine on a fresh database, a browser, and a world that stands still.
//!
//! Time moves when a test says so, identifiers are the same in every run, mail is read from an inbox, and other
//! servers answer what the test has written down. A test that leaves mail unread, or is answered a server error it
//! did not ask for, fails when its [`TestApp`] is dropped.
//!
//! Tests run on SQLite; with `TEST_DATABASE=postgres://…` each has a schema of its own in that database instead.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod app;
mod browser;
mod contract;
mod database;
mod exchange;
mod probe;
mod redact;
mod redis;
mod remembered;
pub mod replay;
mod world;

pub use self::{
    app::{Builder, Rows, SECRET, TestApp},
    browser::{Browser, Call},
    contract::{Contract, Replied},
    database::{Database, Dialect, Held},
    exchange::Exchange,
    redact::Redactor,
    redis::Redis,
    world::{FixedClock, Inbox, InstantTimer, Letter, ScriptedFetch, SeededEntropy},
};
