//! Types with a rule: text and lists of a given length, numbers within bounds, and rules a feature brings itself.
//!
//! Upstream counts the characters of a text, not its UTF-16 units. It measures whatever has a length, so an empty
//! list where text is expected is reported twice: for its type and for its size.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::javascript::{self, Size};
use super::scalars::wraps_text;
use super::schema::{Kind, Schema};
use super::{At, Described, Field, Gravity, Issues};

/// Text of `MINIMUM` to `MAXIMUM` characters: `z.string().min(…).max(…)`, or `length(…)` if both are the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BoundedText<const MINIMUM: usize, const MAXIMUM: usize = { usize::MAX }>(String);

/// Text that is not empty: `z.string().nonempty()`, `z.string().min(1)`.
pub type NonEmptyText = BoundedText<1>;

wraps_text!([const MINIMUM: usize, const MAXIMUM: usize] BoundedText<MINIMUM, MAXIMUM>);

impl<const MINIMUM: usize, const MAXIMUM: usize> Described for BoundedText<MINIMUM, MAXIMUM> {
    fn describe() -> Schema {
        let maximum = (MAXIMUM != usize::MAX).then_some(MAXIMUM);
        Schema::new(Kind::Text { minimum: MINIMUM, maximum, format: None, pattern: None })
    }
}

impl<const MINIMUM: usize, const MAXIMUM: usize> Field for BoundedText<MINIMUM, MAXIMUM> {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        let size = value.as_ref().and_then(javascript::size);
        let text = String::decode(value, at, issues);
        check_size::<MINIMUM, MAXIMUM>(size, at, issues);
        text.map(Self)
    }
}

/// A list of `MINIMUM` to `MAXIMUM` elements: `z.array(…).min(…).max(…)`, or `length(…)` if both are the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BoundedList<T, const MINIMUM: usize, const MAXIMUM: usize = { usize::MAX }>(Vec<T>);

/// A list that is not empty: `z.array(…).min(1)`.
pub type NonEmptyList<T> = BoundedList<T, 1>;

impl<T, const MINIMUM: usize, const MAXIMUM: usize> BoundedList<T, MINIMUM, MAXIMUM> {
    /// The elements.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MINIMUM: usize, const MAXIMUM: usize> Deref for BoundedList<T, MINIMUM, MAXIMUM> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Described, const MINIMUM: usize, const MAXIMUM: usize> Described
    for BoundedList<T, MINIMUM, MAXIMUM>
{
    fn describe() -> Schema {
        let maximum = (MAXIMUM != usize::MAX).then_some(MAXIMUM);
        Schema::new(Kind::List { items: Box::new(T::describe()), minimum: MINIMUM, maximum })
    }
}

impl<T: Field, const MINIMUM: usize, const MAXIMUM: usize> Field for BoundedList<T, MINIMUM, MAXIMUM> {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        let size = value.as_ref().and_then(javascript::size);
        if let Some(Size::Items(items)) = size
            && items > MAXIMUM
        {
            // Too long a list is not looked into.
            issues.push(too_big::<MINIMUM, MAXIMUM>("array", "items"), Gravity::Final, at);
            return None;
        }
        let before = issues.len();
        let items = Vec::decode(value, at, issues);
        if issues.gravity_since(before) != Some(Gravity::Final) {
            check_size::<MINIMUM, MAXIMUM>(size, at, issues);
        }
        items.map(Self)
    }
}

fn check_size<const MINIMUM: usize, const MAXIMUM: usize>(
    size: Option<Size>,
    at: &At<'_>,
    issues: &mut Issues,
) {
    let (is_small, is_big, kind, unit) = match size {
        None => return,
        Some(Size::Characters(count)) => (count < MINIMUM, count > MAXIMUM, "string", "characters"),
        Some(Size::Items(count)) => (count < MINIMUM, count > MAXIMUM, "array", "items"),
        Some(Size::Unknown { number, is_number }) => {
            let reaches = number >= as_number(MINIMUM);
            let exceeds = number > as_number(MAXIMUM);
            if MINIMUM == MAXIMUM {
                let is_exact = is_number && reaches && !exceeds;
                (!is_exact && !exceeds, exceeds, "unknown", "")
            } else {
                // What is no number is neither enough nor little enough.
                let is_big = MAXIMUM != usize::MAX && (exceeds || number.is_nan());
                (MINIMUM > 0 && !reaches, is_big, "unknown", "")
            }
        }
    };
    if is_small {
        issues.object_to(size_message("small", kind, bound::<MINIMUM, MAXIMUM>(">="), MINIMUM, unit), at);
    }
    if is_big {
        issues.object_to(too_big::<MINIMUM, MAXIMUM>(kind, unit), at);
    }
}

fn too_big<const MINIMUM: usize, const MAXIMUM: usize>(kind: &str, unit: &str) -> Cow<'static, str> {
    size_message("big", kind, bound::<MINIMUM, MAXIMUM>("<="), MAXIMUM, unit)
}

fn bound<const MINIMUM: usize, const MAXIMUM: usize>(otherwise: &'static str) -> &'static str {
    if MINIMUM == MAXIMUM { "exactly " } else { otherwise }
}

fn size_message(word: &str, kind: &str, bound: &str, limit: usize, unit: &str) -> Cow<'static, str> {
    let verb = if unit.is_empty() { "be" } else { "have" };
    let space = if unit.is_empty() { "" } else { " " };
    Cow::Owned(format!("Too {word}: expected {kind} to {verb} {bound}{limit}{space}{unit}"))
}

#[expect(clippy::cast_precision_loss, reason = "upstream's limits are doubles too")]
fn as_number(limit: usize) -> f64 {
    limit as f64
}

/// Something that values of a type must also fulfil.
pub trait Rule<T> {
    /// Calls `object` with upstream's words for each way in which the value breaks the rule.
    fn check(value: &T, object: &mut dyn FnMut(Cow<'static, str>));

    /// Adds the rule to the type's description.
    fn describe(schema: &mut Schema);
}

/// A value of type `T` that fulfils the rule `R`; several rules are a tuple.
pub struct Refined<T, R>(T, PhantomData<fn() -> R>);

impl<T, R> Refined<T, R> {
    /// The value.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T: Clone, R> Clone for Refined<T, R> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<T: fmt::Debug, R> fmt::Debug for Refined<T, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<T, R> Deref for Refined<T, R> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Serialize, R> Serialize for Refined<T, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T: Described, R: Rule<T>> Described for Refined<T, R> {
    fn describe() -> Schema {
        let mut schema = T::describe();
        R::describe(&mut schema);
        schema
    }
}

impl<T: Field, R: Rule<T>> Field for Refined<T, R> {
    fn decode(value: Option<Value>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        let value = T::decode(value, at, issues)?;
        R::check(&value, &mut |message| issues.object_to(message, at));
        Some(Self(value, PhantomData))
    }
}

impl<T, A: Rule<T>, B: Rule<T>> Rule<T> for (A, B) {
    fn check(value: &T, object: &mut dyn FnMut(Cow<'static, str>)) {
        A::check(value, object);
        B::check(value, object);
    }

    fn describe(schema: &mut Schema) {
        A::describe(schema);
        B::describe(schema);
    }
}

/// At least `LIMIT`: `z.number().min(…)`.
#[derive(Debug, Clone, Copy)]
pub struct Minimum<const LIMIT: i64>;

/// More than `LIMIT`: `z.number().gt(…)`; `MoreThan<0>` is `positive()`.
#[derive(Debug, Clone, Copy)]
pub struct MoreThan<const LIMIT: i64>;

/// At most `LIMIT`: `z.number().max(…)`.
#[derive(Debug, Clone, Copy)]
pub struct Maximum<const LIMIT: i64>;

/// A bound on numbers: when it is broken, how upstream says so, and where the schema holds it.
macro_rules! bound {
    ($name:ident, $broken:tt, $message:literal, $slot:ident) => {
        impl<const LIMIT: i64> Rule<i64> for $name<LIMIT> {
            fn check(value: &i64, object: &mut dyn FnMut(Cow<'static, str>)) {
                if *value $broken LIMIT {
                    object(format!(concat!($message, "{}"), LIMIT).into());
                }
            }

            fn describe(schema: &mut Schema) {
                if let Kind::Number { $slot, .. } = &mut schema.kind {
                    *$slot = Some(LIMIT);
                }
            }
        }

        impl<const LIMIT: i64> Rule<f64> for $name<LIMIT> {
            #[expect(clippy::cast_precision_loss, reason = "upstream's limits are doubles too")]
            fn check(value: &f64, object: &mut dyn FnMut(Cow<'static, str>)) {
                if *value $broken LIMIT as f64 {
                    object(format!(concat!($message, "{}"), LIMIT).into());
                }
            }

            fn describe(schema: &mut Schema) {
                <Self as Rule<i64>>::describe(schema);
            }
        }
    };
}

bound!(Minimum, <, "Too small: expected number to be >=", minimum);
bound!(MoreThan, <=, "Too small: expected number to be >", more_than);
bound!(Maximum, >, "Too big: expected number to be <=", maximum);
