//! Our values as PostgreSQL has them: in its binary form where the types of a statement's parameters are known, and as
//! text where they are left to the server.

use super::{
    Result,
    resolved::{serial, uuid, uuid_text},
    value::Value,
};
use crate::time::Time;
use bytes::BytesMut;
use postgres_types::{Format, FromSql, IsNull, ToSql, Type};
use std::error::Error;

/// 2000-01-01T00:00:00Z, where PostgreSQL starts counting, in our milliseconds.
const EPOCH: i64 = 946_684_800_000;

impl<'a> FromSql<'a> for Value {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *kind {
            Type::BOOL => Self::Bool(bool::from_sql(kind, raw)?),
            Type::INT2 => Self::Integer(i16::from_sql(kind, raw)?.into()),
            Type::INT4 => Self::Integer(i32::from_sql(kind, raw)?.into()),
            Type::INT8 => Self::Integer(i64::from_sql(kind, raw)?),
            Type::FLOAT4 => Self::Real(f32::from_sql(kind, raw)?.into()),
            Type::FLOAT8 => Self::Real(f64::from_sql(kind, raw)?),
            Type::TIMESTAMPTZ | Type::TIMESTAMP => {
                let micros = i64::from_be_bytes(raw.try_into()?);
                Self::Time(Time::from_millis(micros.div_euclid(1000) + EPOCH))
            }
            Type::UUID => Self::Text(uuid_text(raw.try_into()?)),
            Type::JSON => Self::Json(serde_json::from_slice(raw)?),
            Type::JSONB => Self::Json(serde_json::from_slice(raw.get(1..).unwrap_or_default())?),
            _ => Self::Text(std::str::from_utf8(raw)?.to_owned()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(kind: &Type) -> bool {
        matches!(
            *kind,
            Type::BOOL
                | Type::INT2
                | Type::INT4
                | Type::INT8
                | Type::FLOAT4
                | Type::FLOAT8
                | Type::TIMESTAMPTZ
                | Type::TIMESTAMP
                | Type::JSON
                | Type::JSONB
                | Type::UUID
                | Type::TEXT
                | Type::VARCHAR
                | Type::BPCHAR
                | Type::NAME
        )
    }
}

impl ToSql for Value {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Text(text) => return key_to_sql(text, kind, out),
            Self::Bool(value) => out.extend_from_slice(&[u8::from(*value)]),
            Self::Integer(number) => match *kind {
                Type::INT2 => out.extend_from_slice(&i16::try_from(*number)?.to_be_bytes()),
                Type::INT4 => out.extend_from_slice(&i32::try_from(*number)?.to_be_bytes()),
                Type::FLOAT4 => return number.to_string().parse::<f32>()?.to_sql(kind, out),
                Type::FLOAT8 => return number.to_string().parse::<f64>()?.to_sql(kind, out),
                _ => out.extend_from_slice(&number.to_be_bytes()),
            },
            Self::Real(number) => match *kind {
                Type::FLOAT4 => return number.to_string().parse::<f32>()?.to_sql(kind, out),
                Type::FLOAT8 => return number.to_sql(kind, out),
                // A whole number of JavaScript's; the parser refuses a fraction.
                _ => return Self::Integer(number.to_string().parse()?).to_sql(kind, out),
            },
            Self::Time(time) => {
                let micros = time.millis().saturating_sub(EPOCH).saturating_mul(1000);
                out.extend_from_slice(&micros.to_be_bytes());
            }
            Self::Json(value) => {
                if *kind == Type::JSONB {
                    out.extend_from_slice(&[1]);
                }
                out.extend_from_slice(&serde_json::to_vec(value)?);
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        // The migration check has compared every column's type with its declaration.
        true
    }

    postgres_types::to_sql_checked!();
}

/// Text, or an id in a column of another type, as databases have that were not made by us. An id that the type cannot
/// have is nothing, which no row equals.
fn key_to_sql(text: &str, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
    match *kind {
        Type::UUID => match uuid(text) {
            Some(bytes) => out.extend_from_slice(&bytes),
            None => return Ok(IsNull::Yes),
        },
        Type::INT2 | Type::INT4 | Type::INT8 => {
            return serial(text).map_or(Ok(IsNull::Yes), |number| Value::Integer(number).to_sql(kind, out));
        }
        _ => out.extend_from_slice(text.as_bytes()),
    }
    Ok(IsNull::No)
}

/// A value for a parameter whose type only the server knows, which reads it as it reads a literal in quotes.
#[derive(Debug)]
pub(super) struct Literal<'a>(pub(super) &'a Value);

impl ToSql for Literal<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self.0 {
            Value::Null => return Ok(IsNull::Yes),
            Value::Text(text) => out.extend_from_slice(text.as_bytes()),
            Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Value::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Value::Real(number) => out.extend_from_slice(number.to_string().as_bytes()),
            // JavaScript puts a sign before years beyond 9999.
            Value::Time(time) => out.extend_from_slice(time.to_string().trim_start_matches('+').as_bytes()),
            Value::Json(value) => out.extend_from_slice(&serde_json::to_vec(value)?),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    postgres_types::to_sql_checked!();
}
