//! What JavaScript makes of a value, where clients can see it.
//!
//! Upstream's coercions, its order of keys and the lengths it compares are those of the language it is written in.
//! Dates are read in the ISO 8601 forms of the language; what its engines guess beyond those is refused.

use serde_json::{Number, Value};

use super::types::Record;

/// The largest integer up to which a double holds every integer.
pub(crate) const MAX_SAFE_INTEGER: i64 = 9_007_199_254_740_991;

/// The member that upstream never copies, because assigning it replaces an object's prototype.
pub(super) const PROTOTYPE: &str = "__proto__";

/// The word that messages use for the type of a value.
pub(crate) fn type_name(value: Option<&Value>) -> &'static str {
    match value {
        None => "undefined",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
        Some(Value::Array(_)) => "array",
        Some(Value::Object(_)) => "object",
    }
}

/// What upstream measures of a value that has a length: a text's characters, a list's elements, and the `length` of
/// an object, which it cannot tell from either.
pub(super) fn size(value: &Value) -> Option<Size> {
    match value {
        Value::String(text) => Some(Size::Characters(text.chars().count())),
        Value::Array(items) => Some(Size::Items(items.len())),
        Value::Object(members) => {
            let length = members.get("length")?;
            Some(Size::Unknown { number: to_number(Some(length.clone())), is_number: length.is_number() })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// The size of a value, by what it counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Size {
    /// Characters of a text, not its UTF-16 units.
    Characters(usize),
    /// Elements of a list.
    Items(usize),
    /// A member called `length`.
    Unknown {
        /// What it is as a number.
        number: f64,
        /// Whether it is a number without being made one.
        is_number: bool,
    },
}

/// A text without the white space around it.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|character: char| {
        character == '\u{feff}' || (character.is_whitespace() && character != '\u{85}')
    })
}

/// Gives a value the form in which upstream would hold it: keys that are list indices come first, in numeric order,
/// and `1.0` is the number `1`.
pub fn as_javascript(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(as_javascript),
        Value::Object(members) => {
            order_keys(members);
            members.values_mut().for_each(as_javascript);
        }
        Value::Number(number) => {
            if let Some(double) = as_double(number) {
                *number = double;
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// The number that a double holds, if it is not written like this already.
fn as_double(number: &Number) -> Option<Number> {
    if number.as_i64().is_some_and(|integer| integer.unsigned_abs() <= MAX_SAFE_INTEGER.unsigned_abs()) {
        return None;
    }
    let double = number.as_f64()?;
    if double.fract() != 0.0 {
        return None;
    }
    let digits = number_text(double);
    digits.parse::<i64>().map(Number::from).or_else(|_| digits.parse::<u64>().map(Number::from)).ok()
}

/// Moves the keys that are list indices to the front, in numeric order.
pub(super) fn order_keys(members: &mut Record) {
    if !members.keys().any(|key| list_index(key).is_some()) {
        return;
    }
    let (mut indices, others): (Vec<_>, Vec<_>) = std::mem::take(members)
        .into_iter()
        .map(|(key, value)| (list_index(&key), key, value))
        .partition(|(index, ..)| index.is_some());
    indices.sort_by_key(|(index, ..)| *index);
    members.extend(indices.into_iter().chain(others).map(|(_, key, value)| (key, value)));
}

fn list_index(key: &str) -> Option<u32> {
    let canonical = key.bytes().all(|byte| byte.is_ascii_digit()) && (key == "0" || !key.starts_with('0'));
    if canonical { key.parse().ok().filter(|index| *index != u32::MAX) } else { None }
}

/// `String(value)`.
pub(super) fn to_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Array(items) => {
            let parts: Vec<_> = items
                .into_iter()
                .map(|item| if item.is_null() { String::new() } else { to_text(item) })
                .collect();
            parts.join(",")
        }
        Value::Null => "null".to_owned(),
        Value::Bool(boolean) => boolean.to_string(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), number_text),
        Value::Object(_) => "[object Object]".to_owned(),
    }
}

/// `String(number)`.
pub(super) fn number_text(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    if !number.is_finite() {
        return if number.is_nan() {
            "NaN"
        } else if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .to_owned();
    }
    let shortest = format!("{:e}", number.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if number < 0.0 { "-" } else { "" };
    if !(-6..21).contains(&exponent) {
        let direction = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{direction}{}", exponent.abs());
    }
    // Within these bounds Rust writes the same digits without an exponent.
    format!("{number}")
}

/// `Number(value)`; what was not sent is not a number.
pub(super) fn to_number(value: Option<Value>) -> f64 {
    match value {
        None | Some(Value::Object(_)) => f64::NAN,
        Some(Value::Null) => 0.0,
        Some(Value::Bool(boolean)) => f64::from(u8::from(boolean)),
        Some(Value::Number(number)) => number.as_f64().unwrap_or(f64::NAN),
        Some(Value::String(text)) => parse_number(&text),
        Some(list @ Value::Array(_)) => parse_number(&to_text(list)),
    }
}

fn parse_number(text: &str) -> f64 {
    let text = trim(text);
    if text.is_empty() {
        return 0.0;
    }
    if let Some((prefix, digits)) = text.split_at_checked(2) {
        let radix = match prefix {
            "0x" | "0X" => Some(16),
            "0o" | "0O" => Some(8),
            "0b" | "0B" => Some(2),
            _ => None,
        };
        if let Some(radix) = radix {
            return parse_radix(digits, radix).unwrap_or(f64::NAN);
        }
    }
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => (true, magnitude),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let number = if magnitude == "Infinity" {
        f64::INFINITY
    } else if is_decimal(magnitude) {
        magnitude.parse().unwrap_or(f64::NAN)
    } else {
        f64::NAN
    };
    if negative { -number } else { number }
}

fn parse_radix(digits: &str, radix: u32) -> Option<f64> {
    if digits.is_empty() {
        return None;
    }
    digits.chars().try_fold(0.0, |number, digit| {
        digit.to_digit(radix).map(|digit| number * f64::from(radix) + f64::from(digit))
    })
}

/// Digits with at most one point and an exponent; the standard parser takes more than that.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let is_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_is_valid = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && is_digits(digits)
    });
    is_digits(whole) && is_digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_is_valid
}

/// Whether a text is a JSON number.
pub(crate) fn is_number_text(text: &str) -> bool {
    serde_json::from_str::<Number>(text).is_ok()
}

/// `new Date(text)` in milliseconds since 1970; none for an invalid date.
pub(crate) fn to_milliseconds(text: &str) -> Option<i64> {
    to_date(Some(Value::String(text.to_owned())))
}

/// `new Date(value)` in milliseconds since 1970; none for an invalid date.
pub(super) fn to_date(value: Option<Value>) -> Option<i64> {
    const LATEST: i64 = 8_640_000_000_000_000;
    let milliseconds = match value? {
        Value::String(text) => parse_date(&text)?,
        list @ Value::Array(_) => parse_date(&to_text(list))?,
        value => {
            let number = to_number(Some(value));
            if number.is_nan() {
                return None;
            }
            truncate(number)
        }
    };
    (-LATEST..=LATEST).contains(&milliseconds).then_some(milliseconds)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a number outside the range saturates, which stays invalid"
)]
fn truncate(number: f64) -> i64 {
    number.trunc() as i64
}

fn parse_date(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let day = parse_day(date)?;
    let milliseconds = match time {
        None => 0,
        Some(time) => parse_time(time)?,
    };
    day.checked_mul(86_400_000)?.checked_add(milliseconds)
}

/// Days since 1970 of `YYYY`, `YYYY-MM`, `YYYY-MM-DD`, the year perhaps as `±YYYYYY`.
fn parse_day(date: &str) -> Option<i64> {
    let sign = if date.starts_with('-') { -1 } else { 1 };
    let (year, rest) = match date.strip_prefix(['+', '-']) {
        Some(unsigned) => unsigned.split_at_checked(6)?,
        None => date.split_at_checked(4)?,
    };
    let year = sign * digits(year, year.len())?;
    if year == 0 && sign < 0 {
        return None;
    }
    let mut parts = match rest.strip_prefix('-') {
        Some(rest) => rest.split('-'),
        None if rest.is_empty() => return Some(days_before(year, 1)),
        None => return None,
    };
    let month = digits(parts.next()?, 2).filter(|month| (1..=12).contains(month))?;
    let day = match parts.next() {
        Some(day) => digits(day, 2).filter(|day| (1..=31).contains(day))?,
        None => 1,
    };
    parts.next().is_none().then(|| days_before(year, month) + day - 1)
}

/// Days from 1970 to the first of a month of the Gregorian calendar.
fn days_before(year: i64, month: i64) -> i64 {
    // Years that begin in March end with the leap day.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (month * 153 + 2) / 5
        - 719_468
}

/// Milliseconds since midnight UTC of `HH:MM`, `HH:MM:SS`, `HH:MM:SS.F`, with `Z` or `±HH:MM` or neither.
fn parse_time(time: &str) -> Option<i64> {
    let (clock, offset) = if let Some(clock) = time.strip_suffix('Z') {
        (clock, 0)
    } else if let Some(at) = time.find(['+', '-']) {
        let (clock, offset) = time.split_at_checked(at)?;
        let sign = if offset.starts_with('-') { -1 } else { 1 };
        let (hours, minutes) = offset.get(1..)?.split_once(':')?;
        let hours = digits(hours, 2).filter(|hours| *hours < 24)?;
        (clock, sign * (hours * 60 + digits(minutes, 2).filter(|minutes| *minutes < 60)?) * 60_000)
    } else {
        (time, 0)
    };
    let mut parts = clock.split(':');
    let hours = digits(parts.next()?, 2)?;
    let minutes = digits(parts.next()?, 2).filter(|minutes| *minutes < 60)?;
    let milliseconds = match parts.next() {
        None => 0,
        Some(part) => {
            let (seconds, fraction) = part.split_once('.').unwrap_or((part, "0"));
            let seconds = digits(seconds, 2).filter(|seconds| *seconds < 60)?;
            seconds * 1000 + digits(fraction, fraction.len()).and_then(|_| thousandths(fraction))?
        }
    };
    let within_day = hours * 3_600_000 + minutes * 60_000 + milliseconds;
    (parts.next().is_none() && (hours < 24 || within_day == 86_400_000)).then_some(within_day - offset)
}

fn thousandths(fraction: &str) -> Option<i64> {
    let mut padded: String = fraction.chars().take(3).collect();
    while padded.len() < 3 {
        padded.push('0');
    }
    padded.parse().ok()
}

/// Exactly so many digits. More than fit in a number are only read as being digits.
fn digits(text: &str, count: usize) -> Option<i64> {
    if count == 0 || text.len() != count || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(i64::MAX))
}
