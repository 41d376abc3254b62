//! Spans of time as upstream writes them: `15m`, `7 days`, `1.5 hours from now`.
//!
//! Upstream: `utils/time.ts`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{borrow::Cow, time::Duration};

const MINUTE: f64 = 60.0;
const HOUR: f64 = 60.0 * MINUTE;
const DAY: f64 = 24.0 * HOUR;
/// A hundred years; nobody means more.
const LONGEST: f64 = 100.0 * 365.25 * DAY;

/// A span of time, and how it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    text: String,
    seconds: u64,
}

impl Span {
    /// `None` for what is no span, or none that lies ahead.
    pub fn parse(text: &str) -> Option<Self> {
        let seconds = seconds(text).filter(|seconds| (1.0..=LONGEST).contains(seconds))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number between one and a hundred years"
        )]
        let seconds = seconds as u64;
        Some(Self { text: text.to_owned(), seconds })
    }

    /// How long it is.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

fn seconds(text: &str) -> Option<f64> {
    let text = text.to_ascii_lowercase();
    let text = text.strip_suffix(" from now").unwrap_or(&text);
    let text = text.strip_prefix('+').unwrap_or(text);
    let text = text.strip_prefix(' ').unwrap_or(text);
    let unit = text.find(|character: char| !character.is_ascii_digit() && character != '.')?;
    let (number, unit) = text.split_at_checked(unit)?;
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !number.split_once('.').map_or_else(|| is_number(number), |(a, b)| is_number(a) && is_number(b)) {
        return None;
    }
    let unit = match unit.strip_prefix(' ').unwrap_or(unit) {
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => MINUTE,
        "h" | "hr" | "hrs" | "hour" | "hours" => HOUR,
        "d" | "day" | "days" => DAY,
        "w" | "week" | "weeks" => 7.0 * DAY,
        "mo" | "month" | "months" => 30.0 * DAY,
        "y" | "yr" | "yrs" | "year" | "years" => 365.25 * DAY,
        _ => return None,
    };
    Some((number.parse::<f64>().ok()? * unit).round())
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| D::Error::custom("must be a span of time ahead, such as \"15m\" or \"7 days\""))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_upstream_reads_them() {
        for (text, expected) in [
            ("15m", 900),
            ("15 minutes", 900),
            ("+ 15 MINS", 900),
            ("1h", 3600),
            ("1.5 hours from now", 5400),
            ("7 days", 604_800),
            ("2w", 1_209_600),
            ("1 month", 2_592_000),
            ("1mo", 2_592_000),
            ("1y", 31_557_600),
            ("90s", 90),
            ("1.5s", 2),
            ("0.6 seconds", 1),
        ] {
            assert_eq!(Span::parse(text).map(|span| span.seconds), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_or_lies_behind_is_refused() {
        for text in [
            "",
            "15",
            "m",
            "15 parsecs",
            "-15m",
            "15m ago",
            "15m from now ago",
            ".5h",
            "5.h",
            "1.2.3h",
            "15  m",
            " 15m ",
            "１５m",
            "0s",
            "0.4s",
            "101y",
            "1e3s",
            "99999999999999999999y",
        ] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }
}
