//! JSON, forms, query strings and the scalars in them.

use narthex::{
    Time,
    fuzzing::encode_component,
    http::decode_component,
    input,
    input::{
        CoercedBoolean, CoercedDate, CoercedNumber, CoercedText, Email, Input, Integer, Json, Nullish,
        Number, Text, True, Url, as_javascript, from_form, from_query, is_email,
    },
};
use serde_json::Value;

const SCHEMAS: &str = include_str!("../../crates/core/src/input/vectors/issues.jsonl");
const EMAILS: &str = include_str!("../../crates/core/src/input/vectors/emails.jsonl");
const QUERIES: &str = include_str!("../../crates/core/src/input/vectors/queries.jsonl");

/// The years that four digits can write, in milliseconds.
const WRITABLE: std::ops::Range<i64> = -62_167_219_200_000..253_402_300_800_000;

input! {
    /// One member of each kind.
    struct Everything {
        text: Option<Text>,
        email: Option<Email>,
        url: Option<Url>,
        number: Option<Number>,
        integer: Option<Integer>,
        json: Option<Json>,
        literal: Option<True>,
        nullish: Nullish<Text>,
        list: Option<Vec<Text>>,
        boolean: Option<CoercedBoolean>,
        date: Option<CoercedDate>,
    }

    struct Coerced { number: CoercedNumber, text: CoercedText }
}

/// A body.
pub(crate) fn json(input: &[u8]) {
    let Ok(mut value) = serde_json::from_slice::<Value>(input) else { return };
    let decoded = Everything::from_value(Some(value.clone()));
    if let Err(issues) = decoded {
        assert!(issues.message("body").starts_with("[body"), "a refusal without a reason");
    }
    as_javascript(&mut value);
    let mut again = value.clone();
    as_javascript(&mut again);
    assert_eq!(again.to_string(), value.to_string(), "one form of a value and another of the same");

    // String(value) of a number is read as that number.
    let both = |value: &Value| {
        let body = serde_json::json!({ "number": value, "text": value });
        Coerced::from_value(Some(body)).ok().map(|body| (body.number.0, body.text.into_string()))
    };
    if let Some((number, text)) = both(&value).filter(|_| value.is_number()) {
        let read = both(&Value::String(text.clone())).map(|(number, _)| number);
        assert_eq!(read, Some(number), "{value} is written {text}");
    }
}

/// A form, and the same as a query string.
pub(crate) fn form(input: &[u8]) {
    let most = input.split(|byte| *byte == b'&').count();
    let fields = from_form(input);
    assert!(fields.len() <= most && !fields.contains_key("__proto__"));
    let written: Vec<_> =
        fields.iter().map(|(name, value)| (name, value.as_str().unwrap_or_default())).collect();
    let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(&written).finish();
    assert_eq!(from_form(text.as_bytes()), fields, "a form that is written is read as it was");

    let Ok(query) = std::str::from_utf8(input) else { return };
    let parameters = from_query(query);
    assert!(parameters.len() <= most && !parameters.contains_key("__proto__"));
    let values = parameters.values().map(|value| value.as_array().map_or(1, Vec::len));
    assert!(values.sum::<usize>() <= most, "more than was sent");
}

/// Any text as an address, a time, and something that is escaped.
pub(crate) fn text(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if is_email(text) {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        assert!(is_plain && text.matches('@').count() == 1, "{text:?}");
    }
    if let Some(time) = Time::parse(text).filter(|time| WRITABLE.contains(&time.millis())) {
        assert_eq!(Time::parse(&time.to_string()), Some(time), "{text:?} is {time}");
    }
    let escaped = encode_component(text);
    assert_eq!(decode_component(&escaped).as_deref(), Some(text), "{escaped}");
    if let Some(decoded) = decode_component(text) {
        let theirs = percent_encoding::percent_decode_str(text).decode_utf8();
        assert_eq!(theirs.ok().as_deref(), Some(&*decoded), "{text:?}");
    }
}

pub(crate) fn json_seeds() -> Vec<Vec<u8>> {
    let everything = r#"{"text":"a","email":"a@b.co","url":"https://a.b","number":1.5,"integer":7,"json":{"2":0,"1":1.0},
        "literal":true,"nullish":null,"list":["a"],"boolean":"x","date":"2026-11-20T21:09:19.128+01:00"}"#;
    let numbers = ["0", "-0.0", "1e21", "1e-7", "123456789012345680000", "9007199254740993", "5e-324"];
    let issues = SCHEMAS.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let inputs = issues.filter_map(|line| line.get("input").map(Value::to_string));
    let all = inputs.chain(numbers.map(str::to_owned)).chain([everything.to_owned()]);
    all.map(String::into_bytes).collect()
}

pub(crate) fn form_seeds() -> Vec<Vec<u8>> {
    let rows = QUERIES.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    rows.filter_map(|row| row.get(0)?.as_str().map(|text| text.as_bytes().to_vec())).collect()
}

pub(crate) fn text_seeds() -> Vec<Vec<u8>> {
    let rows = EMAILS.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let emails = rows.filter_map(|row| row.get(1)?.as_str().map(str::to_owned));
    let others = [
        "2026-11-20T21:09:19.128Z",
        "2026-11-20 21:09:19.123456+05:30",
        "2026-02-29",
        "0000-01-01T00:00:00Z",
        "%C3%A9%F0%9F%98%80",
        "%zz%4",
    ];
    emails.chain(others.map(str::to_owned)).map(String::into_bytes).collect()
}
