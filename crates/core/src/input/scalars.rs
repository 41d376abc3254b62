//! The single values that clients send: text in its kinds, numbers, booleans, passwords, and the coercions that
//! query strings need.
//!
//! Each kind reports what zod reports for the type named in its documentation.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::schema::{Kind, Schema};
use super::{At, Described, Field, Gravity, Issues, NonEmptyText, email, javascript};
use crate::secret::Secret;

/// Any text: `z.string()`.
pub type Text = String;

/// Any number: `z.number()`.
pub type Number = f64;

/// A whole number that a double holds exactly: `z.int()`.
pub type Integer = i64;

/// Any value that was sent, null included: `z.any()`.
pub type Json = Value;

/// Text that is hidden from logs and wiped from memory: `z.string()`.
pub type Password = Secret;

/// Implements what all wrappers of text have in common.
macro_rules! wraps_text {
    ([$($generics:tt)*] $name:ty) => {
        impl<$($generics)*> $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text, without copying it.
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl<$($generics)*> std::ops::Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl<$($generics)*> AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl<$($generics)*> std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl<$($generics)*> From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl<$($generics)*> PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl<$($generics)*> PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }

        impl<$($generics)*> serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}
pub(super) use wraps_text;

/// An email address: `z.email()`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(String);

wraps_text!([] Email);

impl Described for Email {
    fn describe() -> Schema {
        let format = Some("email");
        Schema::new(Kind::Text { minimum: 0, maximum: None, format, pattern: Some(email::PATTERN) })
    }
}

impl Field for Email {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        let text = String::decode(value, at, issues)?;
        if !email::is_email(&text) {
            issues.object_to("Invalid email address", at);
        }
        Some(Self(text))
    }
}

/// An absolute URL, kept as it was written but for white space: `z.url()`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Url(String);

wraps_text!([] Url);

impl Described for Url {
    fn describe() -> Schema {
        Schema::format("uri")
    }
}

impl Field for Url {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        const IGNORED: [char; 3] = ['\t', '\n', '\r'];
        let mut text = String::decode(value, at, issues)?;
        let trimmed = javascript::trim(&text);
        if url::Url::parse(trimmed).is_err() {
            issues.object_to("Invalid URL", at);
            return Some(Self(text));
        }
        if trimmed.len() != text.len() {
            text = trimmed.to_owned();
        }
        text.retain(|character| !IGNORED.contains(&character));
        Some(Self(text))
    }
}

impl Described for String {
    fn describe() -> Schema {
        Schema::text()
    }
}

impl Field for String {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        match value {
            Some(Value::String(text)) => Some(text),
            other => {
                issues.expected("string", other.as_ref(), at);
                None
            }
        }
    }
}

impl Described for Secret {
    fn describe() -> Schema {
        Schema::text()
    }
}

impl Field for Secret {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        String::decode(value, at, issues).map(Self::from)
    }
}

/// A password that is not empty: `z.string().nonempty()`.
#[derive(Clone)]
pub struct NonEmptyPassword(Secret);

impl NonEmptyPassword {
    /// The password as a plain secret.
    pub fn into_secret(self) -> Secret {
        self.0
    }
}

impl Deref for NonEmptyPassword {
    type Target = Secret;

    fn deref(&self) -> &Secret {
        &self.0
    }
}

impl fmt::Debug for NonEmptyPassword {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl Described for NonEmptyPassword {
    fn describe() -> Schema {
        NonEmptyText::describe()
    }
}

impl Field for NonEmptyPassword {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        NonEmptyText::decode(value, at, issues).map(|password| Self(Secret::from(password.into_string())))
    }
}

impl Described for bool {
    fn describe() -> Schema {
        Schema::boolean()
    }
}

impl Field for bool {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        match value {
            Some(Value::Bool(boolean)) => Some(boolean),
            other => {
                issues.expected("boolean", other.as_ref(), at);
                None
            }
        }
    }
}

/// Nothing but `true`: `z.literal(true)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct True;

impl Serialize for True {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(true)
    }
}

impl Described for True {
    fn describe() -> Schema {
        Schema::new(Kind::Boolean { only: Some(true) })
    }
}

impl Field for True {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        if value == Some(Value::Bool(true)) {
            return Some(Self);
        }
        issues.refuse("Invalid input: expected true", at);
        None
    }
}

impl Described for f64 {
    fn describe() -> Schema {
        Schema::number()
    }
}

impl Field for f64 {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        match value {
            Some(Value::Number(number)) => number.as_f64(),
            other => {
                issues.expected("number", other.as_ref(), at);
                None
            }
        }
    }
}

impl Described for i64 {
    fn describe() -> Schema {
        Schema::integer()
    }
}

impl Field for i64 {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        let number = f64::decode(value, at, issues)?;
        if number.fract() != 0.0 {
            issues.push("Invalid input: expected int, received number".into(), Gravity::Final, at);
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "what does not fit saturates and is refused below"
        )]
        let integer = number as Self;
        if integer > javascript::MAX_SAFE_INTEGER {
            issues.object_to("Too big: expected int to be <=9007199254740991", at);
        } else if integer < -javascript::MAX_SAFE_INTEGER {
            issues.object_to("Too small: expected int to be >=-9007199254740991", at);
        }
        Some(integer)
    }
}

/// What replies contain beside the types that clients send.
macro_rules! described {
    ($($type:ty => $schema:expr),* $(,)?) => {
        $(impl Described for $type {
            fn describe() -> Schema {
                $schema
            }
        })*
    };
}

described! {
    str => Schema::text(),
    Cow<'_, str> => Schema::text(),
    i32 => Schema::integer(),
    u32 => Schema::integer(),
    u64 => Schema::integer(),
    usize => Schema::integer(),
}

impl<T: Described + ?Sized> Described for &T {
    const OMITTABLE: bool = T::OMITTABLE;

    fn describe() -> Schema {
        T::describe()
    }

    fn is_omitted(&self) -> bool {
        T::is_omitted(self)
    }
}

impl Described for Value {
    fn describe() -> Schema {
        Schema::new(Kind::Any)
    }
}

impl Field for Value {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        let mut value = present(value, at, issues)?;
        javascript::as_javascript(&mut value);
        Some(value)
    }
}

/// What upstream says when a type takes everything but was not sent.
fn present(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Value> {
    if value.is_none() {
        issues.expected("nonoptional", None, at);
    }
    value
}

/// A boolean made from anything; every text but the empty one is true, even `false`: `z.coerce.boolean()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CoercedBoolean(pub bool);

impl Deref for CoercedBoolean {
    type Target = bool;

    fn deref(&self) -> &bool {
        &self.0
    }
}

impl Described for CoercedBoolean {
    fn describe() -> Schema {
        Schema::boolean()
    }
}

impl Field for CoercedBoolean {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        Some(Self(match present(value, at, issues)? {
            Value::Null => false,
            Value::Bool(boolean) => boolean,
            Value::Number(number) => number.as_f64().is_some_and(|number| number != 0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(_) | Value::Object(_) => true,
        }))
    }
}

/// A number made from anything that looks like one: `z.coerce.number()`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CoercedNumber(pub f64);

impl Deref for CoercedNumber {
    type Target = f64;

    fn deref(&self) -> &f64 {
        &self.0
    }
}

impl Described for CoercedNumber {
    fn describe() -> Schema {
        Schema::number()
    }
}

impl Field for CoercedNumber {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        let number = javascript::to_number(value);
        if number.is_finite() {
            return Some(Self(number));
        }
        issues.expected_word("number", &javascript::number_text(number), at);
        None
    }
}

/// Text made from anything: `z.coerce.string()`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CoercedText(String);

wraps_text!([] CoercedText);

impl Described for CoercedText {
    fn describe() -> Schema {
        Schema::text()
    }
}

impl Field for CoercedText {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        present(value, at, issues).map(|value| Self(javascript::to_text(value)))
    }
}

/// A moment made from an ISO 8601 text or a number of milliseconds: `z.coerce.date()`.
///
/// A time without an offset is UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoercedDate(i64);

impl CoercedDate {
    /// Milliseconds since 1970.
    pub fn milliseconds(self) -> i64 {
        self.0
    }
}

impl Described for CoercedDate {
    fn describe() -> Schema {
        Schema::format("date-time")
    }
}

impl Field for CoercedDate {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        let moment = javascript::to_date(value);
        if moment.is_none() {
            issues.expected_word("date", "Date", at);
        }
        moment.map(Self)
    }
}
