//! The reference of all options, written from the same schema that checks them.

use super::mistakes::{describe, forms};
use serde_json::Value as Json;
use std::fmt::Write as _;

const HEAD: &str = "\
# Every option

Written by `cargo xtask generate` from the options themselves. Names are upstream's in kebab-case, in upstream's
nesting; names that an operator chooses, here `<name>`, keep their spelling. Each can be set in `narthex.toml`, or in the
environment as `NARTHEX__` and its key in capitals: `NARTHEX__SESSION__EXPIRES_IN=3600`.
";

/// All options as Markdown.
pub(super) fn write(schema: &Json) -> String {
    let mut sections = Vec::new();
    collect(schema, schema, "", &mut sections);
    let mut text = HEAD.to_owned();
    for (position, section) in sections.iter().enumerate().filter(|(_, section)| !section.rows.is_empty()) {
        let _ = match section.path.as_str() {
            "" => write!(text, "\n## At the top\n\n"),
            path => write!(text, "\n## `[{path}]`\n\n"),
        };
        // Four tables may have additional fields, and they are the same in each.
        let twin = sections.iter().take(position).find(|other| other.rows == section.rows);
        if let Some(twin) = twin {
            let _ = writeln!(text, "As `[{}]`.", twin.path);
            continue;
        }
        text.push_str("| option | default | |\n|-|-|-|\n");
        for row in &section.rows {
            let _ = writeln!(text, "{row}");
        }
    }
    text
}

/// A table of the file.
struct Section {
    path: String,
    rows: Vec<String>,
}

fn collect(root: &Json, node: &Json, section: &str, sections: &mut Vec<Section>) {
    let mine = sections.len();
    sections.push(Section { path: section.to_owned(), rows: Vec::new() });
    let mut inner = Vec::new();
    for form in forms(root, node) {
        for (key, option) in form.get("properties").and_then(Json::as_object).into_iter().flatten() {
            let path = if section.is_empty() { key.clone() } else { format!("{section}.{key}") };
            let is_table = forms(root, option).iter().any(|form| form.get("properties").is_some());
            let named = forms(root, option)
                .into_iter()
                .find_map(|form| form.get("additionalProperties").filter(|named| named.is_object()));
            let is_named_table = named
                .is_some_and(|named| forms(root, named).iter().any(|form| form.get("properties").is_some()));
            if !is_table || forms(root, option).len() > 1 {
                let row = row(root, key, option, form, named.filter(|_| !is_named_table));
                if let Some(mine) = sections.get_mut(mine) {
                    mine.rows.push(row);
                }
            }
            if is_table {
                inner.push((path, option));
            } else if let Some(named) = named.filter(|_| is_named_table) {
                inner.push((format!("{path}.<name>"), named));
            }
        }
    }
    for (path, option) in inner {
        collect(root, option, &path, sections);
    }
}

fn row(root: &Json, key: &str, option: &Json, section: &Json, named: Option<&Json>) -> String {
    let is_required = section
        .get("required")
        .and_then(Json::as_array)
        .is_some_and(|keys| keys.iter().any(|other| other == key));
    let default = match option.get("default") {
        _ if is_required => "required".to_owned(),
        None | Some(Json::Null) => String::new(),
        Some(Json::Object(entries)) if entries.is_empty() => "`{}`".to_owned(),
        Some(value) => format!("`{value}`"),
    };
    let right = match named {
        Some(named) => format!("a table of names, each {}", describe(root, named)),
        None => describe(root, option),
    };
    let meaning = option.get("description").and_then(Json::as_str).unwrap_or_default().replace('\n', " ");
    let separator = if meaning.is_empty() || right.is_empty() { "" } else { "<br>" };
    format!("| `{key}` | {default} | {meaning}{separator}{right} |").replace("|  |", "| |")
}
