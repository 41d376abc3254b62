//! What a column can hold, the same on both databases, and rows of it.

use crate::time::Time;
use serde::{Serialize, Serializer};
use std::{borrow::Cow, fmt};

/// One value on its way to or from a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Real(f64),
    /// A truth value; SQLite keeps 0 or 1.
    Bool(bool),
    /// A point in time; SQLite keeps ISO text.
    Time(Time),
    /// JSON; SQLite keeps its text.
    Json(serde_json::Value),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Integer(number) => serializer.serialize_i64(*number),
            // JavaScript has one kind of number, and writes a whole one without a point.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a double below 2^53 is a whole number exactly"
            )]
            Self::Real(number) if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 => {
                serializer.serialize_i64(*number as i64)
            }
            Self::Real(number) => serializer.serialize_f64(*number),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Time(time) => time.serialize(serializer),
            Self::Json(value) => value.serialize(serializer),
        }
    }
}

macro_rules! into_value {
    ($($type:ty => $variant:ident),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}
into_value! { &str => Text, String => Text, &String => Text, i64 => Integer, i32 => Integer, f64 => Real, bool => Bool, Time => Time, serde_json::Value => Json }

impl From<serde_json::Number> for Value {
    fn from(number: serde_json::Number) -> Self {
        number.as_i64().map_or_else(|| Self::Real(number.as_f64().unwrap_or_default()), Self::Integer)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A Rust type a column can be read into.
pub trait FromValue: Sized {
    /// `None` when the column holds something else, which `build()` and the migration check rule out.
    fn from_value(value: Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty: $pattern:pat => $result:expr),* $(,)?) => {$(
        impl FromValue for $type {
            fn from_value(value: Value) -> Option<Self> {
                match value {
                    $pattern => Some($result),
                    _ => None,
                }
            }
        }
    )*};
}
from_value! {
    i64: Value::Integer(number) => number,
    bool: Value::Bool(value) => value,
    Time: Value::Time(time) => time,
    serde_json::Value: Value::Json(value) => value,
}

/// Ids that a database numbered itself are text everywhere else.
impl FromValue for String {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text),
            Value::Integer(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// Names of members, in order.
pub(crate) type Members = Vec<Cow<'static, str>>;

/// Columns by wire name, in order: those a record has beyond what the code knows, or those about to be written.
#[derive(Clone, Default, PartialEq)]
pub struct Record {
    columns: Vec<(String, Value)>,
    members: Option<Members>,
}

impl Record {
    /// The value of one column.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.columns.iter().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Sets one column. One that is new is the last member that a reply shows.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        if let Some((_, there)) = self.columns.iter_mut().find(|(key, _)| *key == name) {
            *there = value;
            return;
        }
        if let Some(members) = &mut self.members {
            members.push(Cow::Owned(name.clone()));
        }
        self.columns.push((name, value));
    }

    /// Takes one column out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let position = self.columns.iter().position(|(key, _)| key == name)?;
        Some(self.columns.remove(position).1)
    }

    /// Whether there is no column.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// All columns.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.columns.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Which members a reply shows of the record that these columns belong to, in order; none for a record that came
    /// from the database, of which it shows all.
    pub fn members(&self) -> Option<&[Cow<'static, str>]> {
        self.members.as_deref()
    }

    pub(crate) fn show(&mut self, members: Members) {
        self.members = Some(members);
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.columns.retain(|(name, _)| keep(name));
    }
}

// Which columns there are, and not what they hold: a password's hash may be among it.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.columns.iter().map(|(name, _)| name)).finish()
    }
}

impl IntoIterator for Record {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.columns.into_iter()
    }
}

impl FromIterator<(String, Value)> for Record {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(columns: I) -> Self {
        Self { columns: columns.into_iter().collect(), members: None }
    }
}
