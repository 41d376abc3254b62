//! What clients may send and what we answer, described as data.
//!
//! [`input!`](crate::input!) declares a body or a query once and yields the struct, its decoder and its [`Schema`];
//! [`output!`](crate::output!) does the same for replies. A decoder reports *every* mistake, in the words and the
//! order in which upstream's clients see them, and moves strings out of the parsed value: accepting a request
//! allocates nothing that the request does not keep.
//!
//! Upstream: the schemas passed to `createAuthEndpoint`, checked by zod 4; the text is put together in
//! better-call's `validator.ts`.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

mod email;
mod form;
mod javascript;
mod macros;
mod object;
mod rules;
mod scalars;
mod schema;
mod types;

#[cfg(test)]
mod tests;

pub use email::is_email;
pub use form::{from_form, from_query};
pub use javascript::as_javascript;
pub(crate) use javascript::{MAX_SAFE_INTEGER, is_number_text, to_milliseconds, type_name};
pub use object::{Loose, Members, ReadMembers, WriteMembers};
pub use rules::{
    BoundedList, BoundedText, Maximum, Minimum, MoreThan, NonEmptyList, NonEmptyText, Refined, Rule,
};
pub use scalars::{
    CoercedBoolean, CoercedDate, CoercedNumber, CoercedText, Email, Integer, Json, NonEmptyPassword, Number,
    Password, Text, True, Url,
};
pub(crate) use schema::WriteObject;
pub use schema::{ColumnUse, Columns, Kind, ObjectSchema, Others, Property, Schema};
pub use types::{Either, Entries, Nullable, Nullish, Record};

/// What the macros expand to; not part of the interface.
#[doc(hidden)]
pub mod private {
    pub use super::macros::{camel_case, camel_length};
    pub use super::object::{member, members, refuse_choice, refuse_unknown, write_member};
    pub use serde::ser::{Serialize, SerializeMap, Serializer};
    pub use serde_json::to_value;
}

/// One step from a value to a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathSegment {
    /// A member of an object.
    Key(Cow<'static, str>),
    /// An element of a list.
    Index(usize),
}

impl fmt::Display for PathSegment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => formatter.write_str(key),
            Self::Index(index) => write!(formatter, "{index}"),
        }
    }
}

/// Where a decoder stands: a list of steps that lives on the stack until a mistake needs it.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    step: Step<'a>,
    parent: Option<&'a At<'a>>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Root,
    Member(&'static str),
    Entry(&'a str),
    Index(usize),
}

impl At<'static> {
    /// The whole value.
    pub const ROOT: Self = Self { step: Step::Root, parent: None };
}

impl<'a> At<'a> {
    /// A declared member of the object here.
    #[must_use]
    pub fn member(&'a self, name: &'static str) -> Self {
        Self { step: Step::Member(name), parent: Some(self) }
    }

    /// A member whose name the client chose.
    #[must_use]
    pub fn entry(&'a self, name: &'a str) -> Self {
        Self { step: Step::Entry(name), parent: Some(self) }
    }

    /// An element of the list here.
    #[must_use]
    pub fn index(&'a self, index: usize) -> Self {
        Self { step: Step::Index(index), parent: Some(self) }
    }

    fn to_path(self) -> Vec<PathSegment> {
        let mut path = self.parent.map_or_else(Vec::new, |parent| parent.to_path());
        match self.step {
            Step::Root => {}
            Step::Member(name) => path.push(PathSegment::Key(Cow::Borrowed(name))),
            Step::Entry(name) => path.push(PathSegment::Key(Cow::Owned(name.to_owned()))),
            Step::Index(index) => path.push(PathSegment::Index(index)),
        }
        path
    }
}

/// One mistake in what the client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Where it is; empty for the whole value.
    pub path: Vec<PathSegment>,
    /// Upstream's words.
    pub message: Cow<'static, str>,
    gravity: Gravity,
}

/// What a mistake means for the checks that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gravity {
    /// The value has the right type and breaks a rule: other rules are checked too, and an [`Either`] reports it.
    Rule,
    /// The value cannot be used; rules on sizes are checked all the same.
    Type,
    /// Nothing else is checked.
    Final,
}

/// All mistakes in what the client sent, in the order in which upstream reports them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Issues(Vec<Issue>);

impl Issues {
    /// Whether nothing was found wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many mistakes were found.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The mistakes in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Issue> {
        self.0.iter()
    }

    /// Reports a value of the wrong type: `expected string, received undefined`.
    pub fn expected(&mut self, expected: &str, received: Option<&Value>, at: &At<'_>) {
        self.expected_word(expected, javascript::type_name(received), at);
    }

    /// As [`Issues::expected`], for a type that JSON does not have.
    pub fn expected_word(&mut self, expected: &str, received: &str, at: &At<'_>) {
        self.refuse(format!("Invalid input: expected {expected}, received {received}"), at);
    }

    /// Reports a value that cannot be used at all.
    pub fn refuse(&mut self, message: impl Into<Cow<'static, str>>, at: &At<'_>) {
        self.push(message.into(), Gravity::Type, at);
    }

    /// Reports a value of the right type that breaks a rule.
    pub fn object_to(&mut self, message: impl Into<Cow<'static, str>>, at: &At<'_>) {
        self.push(message.into(), Gravity::Rule, at);
    }

    fn push(&mut self, message: Cow<'static, str>, gravity: Gravity, at: &At<'_>) {
        self.0.push(Issue { path: at.to_path(), message, gravity });
    }

    /// The text on the wire; `root` is `body` or `query`.
    ///
    /// ```text
    /// [body.name] Invalid input: expected string, received undefined; [body.email] Invalid email address
    /// ```
    pub fn message(&self, root: &str) -> String {
        let mut text = String::new();
        for issue in &self.0 {
            if !text.is_empty() {
                text.push_str("; ");
            }
            text.push('[');
            text.push_str(root);
            for segment in &issue.path {
                text.push('.');
                match segment {
                    PathSegment::Key(key) => text.push_str(key),
                    PathSegment::Index(index) => text.push_str(&index.to_string()),
                }
            }
            text.push_str("] ");
            text.push_str(&issue.message);
        }
        text
    }

    fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// The gravest of the issues after the first `count`.
    fn gravity_since(&self, count: usize) -> Option<Gravity> {
        self.0.iter().skip(count).map(|issue| issue.gravity).max()
    }
}

impl<'a> IntoIterator for &'a Issues {
    type Item = &'a Issue;
    type IntoIter = std::slice::Iter<'a, Issue>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Something whose shape can be listed: for the API description, the command line and the documentation.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no schema, so it cannot stand in `input!` or `output!`",
    label = "not a described type",
    note = "declare a struct with `input!` or `output!`, an enumeration with `choice!`, or implement `Described`"
)]
pub trait Described {
    /// Whether an object may leave this member out.
    const OMITTABLE: bool = false;

    /// The shape.
    fn describe() -> Schema;

    /// Whether this value is left out of the object it belongs to.
    fn is_omitted(&self) -> bool {
        false
    }
}

/// The type of a member of an [`input!`](crate::input!) struct.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of an input field",
    label = "clients cannot send this type",
    note = "use Text, Email, Url, Password, bool, Number, Integer, Json, Record, Vec<_>, Entries<_>, another \
            `input!` struct or a `choice!`",
    note = "wrap it in Option<_> if it may be left out, in Nullable<_> if it may be null, in Nullish<_> if both"
)]
pub trait Field: Described + Sized {
    /// Reads the value at `at`, or says what is wrong with it; `None` as the value means that it was not sent.
    ///
    /// A decoder that returns `None` has reported at least one issue. One that returns a value may have reported
    /// rules that it breaks, so a value counts only while there are no issues.
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self>;
}

/// What a whole body or query can be read as.
pub trait Input: Field {
    /// Reads a body or a query; `None` means that there was none.
    fn from_value(value: Option<Value>) -> Result<Self, Issues> {
        let mut issues = Issues::default();
        match Self::decode(value, &At::ROOT, &mut issues) {
            Some(decoded) if issues.is_empty() => Ok(decoded),
            _ => {
                if issues.is_empty() {
                    issues.refuse("Invalid input", &At::ROOT);
                }
                Err(issues)
            }
        }
    }
}

impl<T: Field> Input for T {}
