//! JSON values as YAML that every reader takes for the same values, also those of YAML 1.1.
//!
//! Texts stand in double quotes, where YAML reads JSON's escapes, so that none is taken for a number or a truth value.

use serde_json::Value;
use std::fmt::Write as _;

/// Words that are values where they stand without quotes.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

pub(super) fn write(value: &Value) -> String {
    let mut text = String::new();
    if is_block(value) {
        block(&mut text, value, 0);
    } else {
        scalar(&mut text, value);
    }
    text.push('\n');
    text
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => false,
    }
}

/// The first line goes on where `text` ends.
fn block(text: &mut String, value: &Value, indent: usize) {
    let begin = |text: &mut String, position: usize| {
        if position > 0 {
            line(text, indent);
        }
    };
    match value {
        Value::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                begin(text, position);
                text.push_str("- ");
                if is_block(item) {
                    block(text, item, indent + 2);
                } else {
                    scalar(text, item);
                }
            }
        }
        Value::Object(members) => {
            for (position, (name, member)) in members.iter().enumerate() {
                begin(text, position);
                key(text, name);
                if is_block(member) {
                    line(text, indent + 2);
                    block(text, member, indent + 2);
                } else {
                    text.push(' ');
                    scalar(text, member);
                }
            }
        }
        _ => scalar(text, value),
    }
}

fn line(text: &mut String, indent: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n(' ', indent));
}

fn key(text: &mut String, name: &str) {
    let is_plain = name.starts_with(|first: char| first.is_ascii_alphabetic() || matches!(first, '$' | '_'))
        && name.chars().skip(1).all(|other| other.is_ascii_alphanumeric() || matches!(other, '-' | '_'))
        && !WORDS.contains(&&*name.to_ascii_lowercase());
    if is_plain {
        text.push_str(name);
    } else {
        quoted(text, name);
    }
    text.push(':');
}

fn scalar(text: &mut String, value: &Value) {
    match value {
        Value::String(value) => quoted(text, value),
        Value::Number(number) => text.push_str(&number_text(&number.to_string())),
        other => text.push_str(&other.to_string()),
    }
}

/// YAML 1.1 has no number with an exponent but no point, or an exponent without a sign.
fn number_text(number: &str) -> String {
    let Some((digits, exponent)) = number.split_once(['e', 'E']) else { return number.to_owned() };
    let point = if digits.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['+', '-']) { "" } else { "+" };
    format!("{digits}{point}e{sign}{exponent}")
}

fn quoted(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' => {
                text.push(character);
            }
            '\u{ff00}'..='\u{fffd}' | '\u{10000}'.. => text.push(character),
            // What YAML does not take as it is, or takes for the end of a line.
            other => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{:04x}", u32::from(other));
            }
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_of_value_is_written_in_block_style() {
        let value = json!({
            "openapi": "3.1.0",
            "$ref": "#/a",
            "200": { "x-y": [], "z": {} },
            "no": null,
            "list": [1, -2.5, true, "true", [[1], { "a": 1, "b": [{}] }], {}],
        });
        let expected = r##"openapi: "3.1.0"
$ref: "#/a"
"200":
  x-y: []
  z: {}
"no": null
list:
  - 1
  - -2.5
  - true
  - "true"
  - - - 1
    - a: 1
      b:
        - {}
  - {}
"##;
        assert_eq!(write(&value), expected);
    }

    #[test]
    fn what_is_nothing_but_a_value_is_a_line() {
        for (value, expected) in [(json!("a: b"), "\"a: b\"\n"), (json!({}), "{}\n"), (json!(null), "null\n")]
        {
            assert_eq!(write(&value), expected);
        }
    }

    #[test]
    fn texts_cannot_be_taken_for_something_else() {
        for (text, expected) in [
            ("", r#""""#),
            ("null", r#""null""#),
            ("12", r#""12""#),
            ("- a", r#""- a""#),
            ("a # b", r#""a # b""#),
            ("say \"hi\" \\ \n\t\r", r#""say \"hi\" \\ \n\t\u000d""#),
            ("\0\u{7f}\u{85}\u{2028}\u{feff}\u{ffff}", r#""\u0000\u007f\u0085\u2028\ufeff\uffff""#),
            ("é€😀", r#""é€😀""#),
        ] {
            assert_eq!(write(&json!(text)), format!("{expected}\n"));
        }
    }

    #[test]
    fn numbers_are_numbers_for_readers_of_yaml_1_1_as_well() {
        for (number, expected) in
            [("1", "1"), ("-1.5", "-1.5"), ("1e100", "1.0e+100"), ("1.5E-7", "1.5e-7"), ("2e+3", "2.0e+3")]
        {
            assert_eq!(number_text(number), expected);
        }
    }

    /// JSON is YAML as well, so that quoting must give the same text back.
    #[test]
    fn every_character_of_the_basic_plane_is_read_back_from_its_quotes() {
        let all: String = ('\0'..='\u{ffff}').collect();
        let mut quotes = String::new();
        quoted(&mut quotes, &all);
        assert_eq!(serde_json::from_str::<String>(&quotes).unwrap(), all);
    }
}
