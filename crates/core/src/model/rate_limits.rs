//! How often clients have asked, where several processes have to know.
//!
//! Upstream: `api/rate-limiter/index.ts`.

use crate::model;

model! {
    /// Requests of one client to one endpoint.
    pub struct RateLimit in "rateLimit" {
        /// The client's address, a bar, and the endpoint.
        KEY key: String = text("key").unique();
        /// How many in this window.
        COUNT count: i64 = integer("count");
        /// When the last one that was allowed came, in milliseconds.
        LAST_REQUEST last_request: i64 = big_integer("lastRequest");
    }
}
