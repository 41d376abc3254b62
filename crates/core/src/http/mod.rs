//! HTTP: from a request to the handler that answers it, and back.
//!
//! | order | where |
//! |-|-|
//! | path and method to endpoint | `aliases.rs`, `router.rs` |
//! | whether it is switched off, or asked for too often | `disabled.rs`, `rate_limit.rs`, `client_ip.rs` |
//! | body to JSON value | `body.rs` |
//! | where the request comes from | `origin.rs` |
//! | hooks, handler, hooks | `dispatch.rs` |
//! | inputs to types, guards | `extract.rs` |
//! | cookies, reply | `cookies.rs`, `reply.rs` |

pub(crate) mod aliases;
mod append_query;
#[cfg(feature = "axum")]
mod bodies;
mod body;
pub(crate) mod client_ip;
pub(crate) mod cookie_text;
pub(crate) mod cookies;
pub(crate) mod disabled;
pub(crate) mod dispatch;
mod extract;
pub(crate) mod origin;
mod origin_pattern;
mod percent;
pub(crate) mod rate_limit;
mod rate_limit_memory;
mod reply;
pub(crate) mod router;

#[cfg(feature = "axum")]
mod axum_adapter;

#[cfg(feature = "axum")]
pub(crate) use self::bodies::Bodies;
pub use self::{
    aliases::is_plain_path,
    client_ip::{Network, TrustedProxies},
    cookie_text::{Attributes, InvalidCookie, SameSite},
    dispatch::Peer,
    extract::{Body, Extract, FormBody, FormCsrf, Query},
    origin_pattern::TrustedOrigins,
    percent::decode_component,
    reply::{Json, Replies, Reply, ReplyOf},
};

pub(crate) use self::{
    append_query::append_query, cookie_text as cookie, percent::encode_component, reply::location,
};
