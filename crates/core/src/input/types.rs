//! Types made of other types: optional, nullable, alternatives, lists and maps.

use std::ops::Deref;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::javascript::{PROTOTYPE, as_javascript, order_keys};
use super::schema::{Kind, Schema};
use super::{At, Described, Field, Gravity, Issues};

/// An object with names the client chose, in its order: `z.record(z.string(), z.any())`.
pub type Record = Map<String, Value>;

impl<T: Described> Described for Option<T> {
    const OMITTABLE: bool = true;

    fn describe() -> Schema {
        T::describe()
    }

    fn is_omitted(&self) -> bool {
        self.is_none()
    }
}

impl<T: Field> Field for Option<T> {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        match value {
            None => Some(None),
            value => T::decode(value, at, issues).map(Some),
        }
    }
}

/// A value that must be sent but may be null: `nullable()`. In a reply: a member that is always there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Nullable<T>(pub Option<T>);

impl<T> Deref for Nullable<T> {
    type Target = Option<T>;

    fn deref(&self) -> &Option<T> {
        &self.0
    }
}

impl<T> From<Option<T>> for Nullable<T> {
    fn from(value: Option<T>) -> Self {
        Self(value)
    }
}

impl<T: Serialize> Serialize for Nullable<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T: Described> Described for Nullable<T> {
    const OMITTABLE: bool = T::OMITTABLE;

    fn describe() -> Schema {
        Schema::nullable(T::describe())
    }
}

impl<T: Field> Field for Nullable<T> {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        match value {
            Some(Value::Null) => Some(Self(None)),
            value => T::decode(value, at, issues).map(Some).map(Self),
        }
    }
}

/// A value that may be left out and may be null, which are different things: `nullish()`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Nullish<T> {
    /// Not sent.
    #[default]
    Absent,
    /// Sent as null.
    Null,
    /// Sent.
    Value(T),
}

impl<T> Nullish<T> {
    /// The value, if there is one.
    pub fn into_option(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// The value, if there is one, borrowed.
    pub fn as_option(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

impl<T: Serialize> Serialize for Nullish<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_option().serialize(serializer)
    }
}

impl<T: Described> Described for Nullish<T> {
    const OMITTABLE: bool = true;

    fn describe() -> Schema {
        Schema::nullable(T::describe())
    }

    fn is_omitted(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<T: Field> Field for Nullish<T> {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        match value {
            None => Some(Self::Absent),
            Some(Value::Null) => Some(Self::Null),
            value => T::decode(value, at, issues).map(Self::Value),
        }
    }
}

/// One of two types, the first that fits: `z.union([a, b])`, `a.or(b)`. More alternatives nest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Either<A, B> {
    /// The first type.
    Left(A),
    /// The second type.
    Right(B),
}

impl<A: Serialize, B: Serialize> Serialize for Either<A, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Left(value) => value.serialize(serializer),
            Self::Right(value) => value.serialize(serializer),
        }
    }
}

impl<A: Described, B: Described> Described for Either<A, B> {
    const OMITTABLE: bool = A::OMITTABLE || B::OMITTABLE;

    fn describe() -> Schema {
        Schema::new(Kind::AnyOf(vec![A::describe(), B::describe()]))
    }
}

impl<A: Field, B: Field> Field for Either<A, B> {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        let mut left_issues = Issues::default();
        let left = A::decode(value.clone(), at, &mut left_issues);
        if left_issues.is_empty() {
            return left.map(Self::Left);
        }
        let mut right_issues = Issues::default();
        let right = B::decode(value, at, &mut right_issues);
        if right_issues.is_empty() {
            return right.map(Self::Right);
        }
        // If the value has the type of exactly one alternative, that one's rules are what it breaks.
        let only_breaks_rules = |issues: &Issues| issues.gravity_since(0) == Some(Gravity::Rule);
        match (only_breaks_rules(&left_issues), only_breaks_rules(&right_issues)) {
            (true, false) => {
                issues.append(left_issues);
                left.map(Self::Left)
            }
            (false, true) => {
                issues.append(right_issues);
                right.map(Self::Right)
            }
            _ => {
                issues.refuse("Invalid input", at);
                None
            }
        }
    }
}

impl<T: Described> Described for Vec<T> {
    fn describe() -> Schema {
        Schema::list(T::describe())
    }
}

impl<T: Field> Field for Vec<T> {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        let items = match value {
            Some(Value::Array(items)) => items,
            other => {
                issues.expected("array", other.as_ref(), at);
                return None;
            }
        };
        let before = issues.len();
        let mut decoded = Self::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            decoded.extend(T::decode(Some(item), &at.index(index), issues));
        }
        (issues.gravity_since(before) <= Some(Gravity::Rule)).then_some(decoded)
    }
}

impl Described for Record {
    fn describe() -> Schema {
        Schema::new(Kind::Entries(Box::new(Schema::new(Kind::Any))))
    }
}

impl Field for Record {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        let mut members = entries(value, at, issues)?;
        members.values_mut().for_each(as_javascript);
        Some(members)
    }
}

/// An object with names the client chose and values of one type: `z.record(z.string(), …)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries<T>(Vec<(String, T)>);

impl<T> Entries<T> {
    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(entry, _)| entry == name).map(|(_, value)| value)
    }

    /// The entries in order.
    pub fn into_vec(self) -> Vec<(String, T)> {
        self.0
    }
}

impl<T> Deref for Entries<T> {
    type Target = [(String, T)];

    fn deref(&self) -> &[(String, T)] {
        &self.0
    }
}

impl<T> FromIterator<(String, T)> for Entries<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl<T: Serialize> Serialize for Entries<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<T: Described> Described for Entries<T> {
    fn describe() -> Schema {
        Schema::new(Kind::Entries(Box::new(T::describe())))
    }
}

impl<T: Field> Field for Entries<T> {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        let members = entries(value, at, issues)?;
        let before = issues.len();
        let mut decoded = Vec::with_capacity(members.len());
        for (name, value) in members {
            if let Some(value) = T::decode(Some(value), &at.entry(&name), issues) {
                decoded.push((name, value));
            }
        }
        (issues.gravity_since(before) <= Some(Gravity::Rule)).then_some(Self(decoded))
    }
}

fn entries(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Record> {
    match value {
        Some(Value::Object(mut members)) => {
            members.shift_remove(PROTOTYPE);
            order_keys(&mut members);
            Some(members)
        }
        other => {
            issues.expected("record", other.as_ref(), at);
            None
        }
    }
}
