//! What is decided about a request before an endpoint sees it.

mod aliases;
mod dispatch;
mod paths;
mod rate_limit;
