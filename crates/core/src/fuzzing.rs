//! Parsers of what strangers send that nobody but the fuzz targets reaches from outside. Not part of the interface.

use crate::{
    config::Advanced,
    http::{Attributes, InvalidCookie, client_ip::ClientAddresses, cookie_text},
};
use http::request::Parts;
use std::{borrow::Cow, net::IpAddr};

/// The first cookie of that name in a `Cookie` header.
pub fn cookie<'header>(header: &'header str, name: &str) -> Option<Cow<'header, str>> {
    cookie_text::find(header, name)
}

/// A cookie that may be spread over several.
pub fn cookie_in_pieces<'header>(header: &'header str, name: &str) -> Option<Cow<'header, str>> {
    cookie_text::chunked(header, name)
}

/// The names under which a header carries a cookie or pieces of it.
pub fn cookie_pieces<'header>(header: &'header str, name: &str) -> Vec<&'header str> {
    cookie_text::pieces(header, name)
}

/// A header in which a cookie has another value.
pub fn with_cookie(header: &str, name: &str, value: &str) -> String {
    cookie_text::with(header, name, value)
}

/// A `Set-Cookie` header.
pub fn set_cookie(name: &str, value: &str, attributes: &Attributes) -> Result<String, InvalidCookie> {
    cookie_text::serialize(name, &crate::http::encode_component(value), attributes)
}

/// Whose request it is.
pub fn client_address(options: &Advanced, parts: &Parts) -> Option<IpAddr> {
    ClientAddresses::new(options, &mut Vec::new()).of(parts)
}

/// A target with `query` at the end of its own.
pub fn append_query(target: &str, query: &str) -> Option<String> {
    crate::http::append_query(target, query)
}

/// Text in which everything is escaped that `encodeURIComponent` escapes.
pub fn encode_component(text: &str) -> Cow<'_, str> {
    crate::http::encode_component(text)
}

/// What is wrong with the URL of a PostgreSQL database.
pub fn database_url_problems(url: &str) -> Vec<String> {
    crate::store::problems(url)
}
