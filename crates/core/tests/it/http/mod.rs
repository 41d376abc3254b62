//! What is decided about a request before an endpoint sees it.

mod dispatch;
mod paths;
mod rate_limit;
