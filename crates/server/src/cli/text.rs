//! Results as text for people.

use serde_json::Value as Json;

/// Rows in columns, as wide as what is in them.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or_default());
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Text that others have chosen, on one line and without anything that a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A value of JSON as a person reads it: texts without their quotes, nothing as nothing.
pub(super) fn plain(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => printable(text),
        value => value.to_string(),
    }
}
