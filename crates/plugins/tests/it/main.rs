//! What the plugins do, asked over HTTP. Every test runs on either database.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests start tasks of their own")]

mod bearer;
mod catalog;
mod cookie_cache;
mod jwt;
mod openapi;
mod replay;
mod revocation;
mod support;
mod token_api;
