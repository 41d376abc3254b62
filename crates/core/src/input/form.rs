//! Forms and query strings as objects.
//!
//! Both hold text only, so `rememberMe=false` in a form is the text `false` and not a boolean: upstream refuses it
//! too. Of a repeated form field the last value counts; a repeated query parameter becomes a list.
//!
//! Upstream: `getBody` in better-call's `utils.ts` and the query loop of its `router.ts`.

use serde_json::Value;

use super::javascript::{PROTOTYPE, order_keys};
use super::types::Record;

/// Reads an `application/x-www-form-urlencoded` body.
pub fn from_form(body: &[u8]) -> Record {
    // Upstream decodes the whole body before it splits it, which differs from decoding
    // each piece when a character is half escaped.
    let text = String::from_utf8_lossy(body);
    // Its parser takes the text for a URL's and drops the question mark of one.
    let text = text.strip_prefix('?').unwrap_or(&text);
    let mut fields = Record::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        if name != PROTOTYPE {
            fields.insert(name.into_owned(), Value::String(value.into_owned()));
        }
    }
    order_keys(&mut fields);
    fields
}

/// Reads a query string, without its question mark.
pub fn from_query(query: &str) -> Record {
    let mut parameters = Record::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == PROTOTYPE {
            continue;
        }
        let value = Value::String(value.into_owned());
        match parameters.get_mut(name.as_ref()) {
            None => {
                parameters.insert(name.into_owned(), value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    order_keys(&mut parameters);
    parameters
}
