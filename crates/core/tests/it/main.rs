//! What the engine does, asked over HTTP and in process. Every test runs on either database.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests start tasks of their own")]

mod audit;
mod compile_fail;
mod endpoints;
mod happenings;
mod housekeeping;
mod http;
mod openapi;
mod operator;
mod passwords;
mod plugin;
mod replay;
mod secondary_races;
mod secondary_storage;
mod security;
mod store;
mod support;
