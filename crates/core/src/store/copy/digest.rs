//! What a table's rows have in common wherever they are kept: a hash of each row, and their sum, which does not depend
//! on the order in which they are read.
//!
//! The bytes that are hashed are those of the typed values, so that a time, a truth value, a number or a JSON document is
//! the same whichever way a database keeps it.

use super::super::value::Value;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A sum of SHA-256 hashes, modulo 2^256; its least significant part first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum([u64; 4]);

impl Sum {
    /// Adds a row of `table`.
    pub(super) fn add(&mut self, table: &str, row: &[Value], scratch: &mut Vec<u8>) {
        scratch.clear();
        text(table, scratch);
        for value in row {
            write(value, scratch);
        }
        let hash = Sha256::digest(&*scratch);
        let mut carry = false;
        for (part, bytes) in self.0.iter_mut().zip(hash.as_chunks::<8>().0) {
            let (sum, first) = part.overflowing_add(u64::from_le_bytes(*bytes));
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*part, carry) = (sum, first || second);
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|part| write!(f, "{part:016x}"))
    }
}

/// Each value begins with a letter for its kind and says where it ends, so that no two rows have the same bytes.
fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(b'0'),
        Value::Text(value) => text(value, out),
        Value::Integer(value) => number(&value.to_string(), out),
        Value::Real(value) => number(&format!("{value:e}"), out),
        Value::Bool(value) => out.push(if *value { b't' } else { b'f' }),
        Value::Time(value) => {
            out.push(b'd');
            out.extend_from_slice(&value.millis().to_be_bytes());
        }
        Value::Json(value) => {
            out.push(b'j');
            json(value, out);
        }
    }
}

fn text(value: &str, out: &mut Vec<u8>) {
    out.push(b's');
    length(value.len(), out);
    out.extend_from_slice(value.as_bytes());
}

fn length(length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(length as u64).to_be_bytes());
}

fn number(value: &str, out: &mut Vec<u8>) {
    match Decimal::read(value) {
        Some(Decimal { is_negative, digits, exponent }) => {
            out.push(if is_negative { b'-' } else { b'+' });
            length(digits.len(), out);
            out.extend_from_slice(digits.as_bytes());
            out.extend_from_slice(&exponent.to_be_bytes());
        }
        // Infinite, or none at all: no column that is copied holds it.
        None => text(value, out),
    }
}

/// JSON without what does not change it: the order of an object's members, and how a number is written.
fn json(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::Null => out.push(b'0'),
        Json::Bool(value) => out.push(if *value { b't' } else { b'f' }),
        Json::Number(value) => number(&value.to_string(), out),
        Json::String(value) => text(value, out),
        Json::Array(values) => {
            out.push(b'[');
            length(values.len(), out);
            for value in values {
                json(value, out);
            }
        }
        Json::Object(members) => {
            out.push(b'{');
            length(members.len(), out);
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            for (name, value) in members {
                text(name, out);
                json(value, out);
            }
        }
    }
}

/// A number as it is meant, however it is written.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    /// Without zeros at either end.
    digits: String,
    /// The power of ten that the last digit counts.
    exponent: i64,
}

impl Decimal {
    fn read(text: &str) -> Option<Self> {
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let kept = all.trim_end_matches('0');
        let digits = kept.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self { is_negative: false, digits, exponent: 0 });
        }
        let dropped = i64::try_from(all.len() - kept.len()).ok()?;
        let behind = i64::try_from(fraction.len()).ok()?;
        let exponent = exponent.checked_sub(behind)?.checked_add(dropped)?;
        Some(Self { is_negative, digits, exponent })
    }
}

/// Whether each number of a JSON text is still the same once it was read, which keeps what a double does.
pub(super) fn keeps_numbers(json: &str) -> bool {
    let bytes = json.as_bytes();
    let (mut position, mut is_in_text) = (0, false);
    while let Some(byte) = bytes.get(position) {
        match byte {
            b'"' => is_in_text = !is_in_text,
            // Whatever is behind it ends no text.
            b'\\' if is_in_text => position += 1,
            b'-' | b'0'..=b'9' if !is_in_text => {
                let rest = json.get(position..).unwrap_or_default();
                let is_other = |other: char| !matches!(other, '0'..='9' | '+' | '-' | '.' | 'e' | 'E');
                let written = rest.find(is_other).map_or(rest, |end| rest.get(..end).unwrap_or_default());
                if !keeps_number(written) {
                    return false;
                }
                position += written.len();
                continue;
            }
            _ => {}
        }
        position += 1;
    }
    true
}

fn keeps_number(written: &str) -> bool {
    if written.parse::<i64>().is_ok() || written.parse::<u64>().is_ok() {
        return true;
    }
    let Ok(read) = written.parse::<f64>() else { return false };
    let meant = Decimal::read(written);
    meant.is_some() && meant == Decimal::read(&format!("{read:e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Time;
    use serde_json::json;
    use std::slice;

    fn sum(rows: &[&[Value]]) -> String {
        let (mut sum, mut scratch) = (Sum::default(), Vec::new());
        for row in rows {
            sum.add("user", row, &mut scratch);
        }
        sum.to_string()
    }

    #[test]
    fn a_sum_does_not_depend_on_the_order_of_the_rows() {
        let (a, b) = ([Value::from("a"), Value::Null], [Value::from("b"), Value::from(1)]);
        assert_eq!(sum(&[&a, &b]), sum(&[&b, &a]));
        assert_ne!(sum(&[&a, &b]), sum(&[&a]));
        assert_ne!(sum(&[&a, &a]), sum(&[&b, &b]), "what is there twice is not as if it were not there");
        assert_eq!(sum(&[]), "0".repeat(64));
    }

    #[test]
    fn a_sum_is_carried_over_256_bits() {
        let mut sum = Sum([u64::MAX; 4]);
        sum.add("t", &[Value::Null], &mut Vec::new());
        let mut alone = Sum::default();
        alone.add("t", &[Value::Null], &mut Vec::new());
        // One less, modulo 2^256.
        let mut expected = alone.0;
        expected[0] -= 1;
        assert_eq!(sum.0, expected);
    }

    #[test]
    fn values_that_differ_have_other_hashes() {
        let values = [
            Value::Null,
            Value::from(""),
            Value::from("0"),
            Value::from("1"),
            Value::from(1),
            Value::from(-1),
            Value::from(10),
            Value::from(0.1),
            Value::from(true),
            Value::from(false),
            Value::from(Time::from_millis(1)),
            Value::from(json!(1)),
            Value::from(json!(null)),
            Value::from(json!("1")),
            Value::from(json!([1])),
            Value::from(json!([[1]])),
            Value::from(json!([[], 1])),
            Value::from(json!({ "1": 1 })),
        ];
        for (position, one) in values.iter().enumerate() {
            for other in values.iter().skip(position + 1) {
                let [of_one, of_other] = [one, other].map(|value| sum(&[slice::from_ref(value)]));
                assert_ne!(of_one, of_other, "{one:?} and {other:?}");
            }
        }
        let (split, other) = ([Value::from("a"), Value::from("bc")], [Value::from("ab"), Value::from("c")]);
        assert_ne!(sum(&[&split]), sum(&[&other]));
    }

    #[test]
    fn a_value_has_one_hash_however_a_database_writes_it() {
        for (one, other) in [
            (Value::from(100), Value::from(1e2)),
            (Value::from(1_000_000_000_000_000_000_i64), Value::from(1e18)),
            (Value::from(0), Value::from(-0.0)),
            (Value::from(json!({ "a": 1, "b": [1.5] })), Value::from(json!({ "b": [1.50], "a": 1.0 }))),
            (Value::from(json!(100_000_000_000_000_000_u64)), Value::from(json!(1e17))),
        ] {
            assert_eq!(sum(&[slice::from_ref(&one)]), sum(&[slice::from_ref(&other)]), "{one:?}");
        }
    }

    #[test]
    fn numbers_that_a_double_does_not_keep_are_found() {
        for kept in [
            "1",
            "-0",
            "0.1",
            "1.50",
            "[0.30000000000000004, 1e300, 1E-7]",
            "9007199254740993",
            "18446744073709551615",
            r#"{"1234567890123456789012": "\"12345678901234567890123", "a": 2.5e+3}"#,
        ] {
            assert!(keeps_numbers(kept), "{kept}");
        }
        for lost in [
            "12345678901234567890123",
            "0.1234567890123456789",
            r#"{"a": [1, 9007199254740993.5]}"#,
            "1e-400",
            "1e400",
        ] {
            assert!(!keeps_numbers(lost), "{lost}");
        }
    }
}
