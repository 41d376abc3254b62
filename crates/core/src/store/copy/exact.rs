//! Values as they are read and written by a copy, which alters none: what ordinary reading forgives is told here, and
//! what the other database would cut, round or refuse is found before it is sent.

use super::{
    super::{
        resolved::{serial, uuid},
        schema::{Field, Kind},
        value::Value,
    },
    digest::keeps_numbers,
};
use crate::time::Time;
use postgres_types::{FromSql, Type};
use rusqlite::types::ValueRef;
use std::error::Error;

/// What is wrong with a value, as in "it holds …".
pub(super) type Flaw = &'static str;

/// A value as it is, or why it cannot be had.
#[derive(Debug)]
pub(super) struct Exact {
    pub(super) value: Result<Value, Flaw>,
    /// Whether a time had more than milliseconds, which is all that anyone reads of it.
    pub(super) is_shortened: bool,
}

/// What four digits can write, but the year 0: PostgreSQL has none.
const YEARS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

const NO_JSON: Flaw = "text that is not JSON";
const LONG_NUMBER: Flaw = "JSON with a number of more digits than a double keeps";
const NO_DATE: Flaw = "no date";
const NO_UTF8: Flaw = "text that is not UTF-8";

impl Exact {
    /// A value of SQLite's, where columns hold anything.
    pub(super) fn of_sqlite(stored: ValueRef<'_>, kind: Kind) -> Self {
        let value = match (stored, kind) {
            (ValueRef::Null, _) => Ok(Value::Null),
            (ValueRef::Integer(number @ (0 | 1)), Kind::Bool) => Ok(Value::Bool(number == 1)),
            (ValueRef::Integer(_), Kind::Bool) => Err("another number than 0 and 1 for a truth value"),
            (ValueRef::Integer(number), Kind::Time) => Ok(Value::Time(Time::from_millis(number))),
            (ValueRef::Integer(number), _) => Ok(Value::Integer(number)),
            (ValueRef::Real(number), _) => Ok(Value::Real(number)),
            (ValueRef::Text(bytes), Kind::Time) => {
                let is_shortened = is_finer(bytes);
                let value = Time::from_bytes(bytes).map(Value::Time).ok_or(NO_DATE);
                return Self { value, is_shortened };
            }
            (ValueRef::Text(bytes), Kind::Json | Kind::TextList | Kind::NumberList) => {
                std::str::from_utf8(bytes).map_err(|_| NO_UTF8).and_then(json)
            }
            (ValueRef::Text(bytes), _) => std::str::from_utf8(bytes).map(Value::from).map_err(|_| NO_UTF8),
            (ValueRef::Blob(_), _) => Err("bytes"),
        };
        Self { value, is_shortened: false }
    }

    /// The value as its column's declaration has it, whichever way it was kept.
    pub(super) fn declared(self, kind: Kind, is_required: bool) -> Result<Value, Flaw> {
        let value = self.value?;
        match (kind, value) {
            (_, Value::Null) if is_required => Err("nothing, and needs a value"),
            (_, Value::Null) => Ok(Value::Null),
            (Kind::Text, Value::Integer(number)) => Ok(Value::Text(number.to_string())),
            (Kind::Integer | Kind::BigInteger, Value::Real(number)) => real(number),
            (Kind::Time, Value::Time(time)) if !YEARS.contains(&time.millis()) => {
                Err("a date before the year 1 or after the year 9999")
            }
            (Kind::Text, value @ Value::Text(_))
            | (Kind::Integer | Kind::BigInteger, value @ Value::Integer(_))
            | (Kind::Bool, value @ Value::Bool(_))
            | (Kind::Time, value @ Value::Time(_))
            | (Kind::Json | Kind::TextList | Kind::NumberList, value @ Value::Json(_)) => Ok(value),
            (Kind::Text, _) => Err("no text"),
            (Kind::Integer | Kind::BigInteger, _) => Err("no number"),
            (Kind::Bool, _) => Err("no truth value"),
            (Kind::Time, _) => Err(NO_DATE),
            (Kind::Json | Kind::TextList | Kind::NumberList, _) => Err(NO_JSON),
        }
    }
}

impl<'a> FromSql<'a> for Exact {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let (value, is_shortened) = match *kind {
            Type::JSON => (json(std::str::from_utf8(raw)?), false),
            // Its first byte is the version of its form.
            Type::JSONB => (json(std::str::from_utf8(raw.get(1..).unwrap_or_default())?), false),
            Type::TIMESTAMPTZ | Type::TIMESTAMP => {
                let micros = i64::from_be_bytes(raw.try_into()?);
                (Ok(Value::from_sql(kind, raw)?), micros.rem_euclid(1000) != 0)
            }
            _ => (Ok(Value::from_sql(kind, raw)?), false),
        };
        Ok(Self { value, is_shortened })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self { value: Ok(Value::Null), is_shortened: false })
    }

    fn accepts(kind: &Type) -> bool {
        <Value as FromSql<'_>>::accepts(kind)
    }
}

fn json(text: &str) -> Result<Value, Flaw> {
    let value = serde_json::from_str(text).map_err(|_| NO_JSON)?;
    if keeps_numbers(text) { Ok(Value::Json(value)) } else { Err(LONG_NUMBER) }
}

/// JavaScript has one kind of number: a whole one is the same with or without a point.
fn real(number: f64) -> Result<Value, Flaw> {
    if !number.is_finite() {
        return Err("a number that is not finite");
    }
    let is_whole = number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "a double below 2^53 is a whole number exactly")]
    Ok(if is_whole { Value::Integer(number as i64) } else { Value::Real(number) })
}

/// Whether a written time has more than milliseconds.
fn is_finer(written: &[u8]) -> bool {
    let fraction = written.split(|byte| *byte == b'.').nth(1).unwrap_or_default();
    fraction.iter().take_while(|byte| byte.is_ascii_digit()).skip(3).any(|digit| *digit != b'0')
}

/// Whether SQLite keeps a value as it is.
pub(super) fn fits_sqlite(value: &Value, field: Option<&Field>, counts: bool) -> Result<(), Flaw> {
    match value {
        Value::Text(id) if counts && field.is_none_or(Field::is_key) && serial(id).is_none() => {
            Err("an id that is no whole number")
        }
        _ => Ok(()),
    }
}

/// Whether a column of this type keeps a value as it is in PostgreSQL.
pub(super) fn fits_postgres(value: &Value, kind: &Type) -> Result<(), Flaw> {
    match (value, kind) {
        (Value::Text(id), &Type::UUID) => match uuid(id) {
            Some(_) => Ok(()),
            None => Err("an id that is no UUID in small letters, which the target's column needs"),
        },
        (Value::Text(id), kind @ (&Type::INT2 | &Type::INT4 | &Type::INT8)) => match serial(id) {
            Some(number) => whole(number, kind),
            None => Err("an id that is no whole number, which the target's column needs"),
        },
        (Value::Text(text), _) if text.contains('\0') => {
            Err("the character NUL, which PostgreSQL does not keep in text")
        }
        (Value::Integer(number), kind) => whole(*number, kind),
        (Value::Real(number), &Type::FLOAT4) => single(*number),
        (Value::Real(_), &Type::FLOAT8) => Ok(()),
        (Value::Real(number), kind) => match number.to_string().parse() {
            Ok(number) => whole(number, kind),
            Err(_) => Err("a number with a fraction, and the target's column keeps whole ones"),
        },
        (Value::Json(value), &Type::JSONB) if has_nul(value) => {
            Err("JSON with the character NUL, which PostgreSQL does not keep")
        }
        _ => Ok(()),
    }
}

fn whole(number: i64, kind: &Type) -> Result<(), Flaw> {
    #[expect(clippy::cast_precision_loss, reason = "whether it is lost is what is asked")]
    let fits = match *kind {
        Type::INT2 => i16::try_from(number).is_ok(),
        Type::INT4 => i32::try_from(number).is_ok(),
        Type::FLOAT4 => return single(number as f64),
        Type::FLOAT8 => number.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS,
        _ => true,
    };
    if fits { Ok(()) } else { Err("a number that is out of range for the target's column") }
}

/// Whether four bytes keep it.
fn single(number: f64) -> Result<(), Flaw> {
    #[expect(clippy::cast_possible_truncation, reason = "whether anything is lost is what is asked")]
    let kept = f64::from(number as f32);
    if kept.to_bits() == number.to_bits() {
        Ok(())
    } else {
        Err("a number of more digits than the target's column of type real keeps")
    }
}

fn has_nul(value: &serde_json::Value) -> bool {
    use serde_json::Value as Json;
    match value {
        Json::String(text) => text.contains('\0'),
        Json::Array(values) => values.iter().any(has_nul),
        Json::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}
