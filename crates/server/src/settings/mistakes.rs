//! Gives the configuration its types, and tells every mistake at once: which option, what is there, what would be right.
//!
//! serde stops at the first mistake. So what it refuses is told, taken out, and the rest is read again; what would be
//! right is said by the option's schema, which editors use as well.

use super::{
    document::{Document, Place, joined},
    environment::variable,
    upstream::instead_of,
};
use narthex::store::without_password;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use serde_path_to_error::Segment;
use std::collections::HashSet;
use toml::{Table, Value};

/// A step from a table or a list to what is in it.
enum Step {
    Key(String),
    Index(usize),
}

/// Reads what can be read. `others` are options that are none of these and no mistakes.
pub(crate) fn read<T: DeserializeOwned + JsonSchema + Default>(
    mut table: Table,
    others: &[String],
    document: &Document,
    problems: &mut Vec<String>,
) -> T {
    let mut taken = HashSet::new();
    // Each round takes something out, so that there is a last one.
    loop {
        let error = match serde_path_to_error::deserialize(Value::Table(table.clone())) {
            Ok(read) => return read,
            Err(error) => error,
        };
        let steps: Vec<Step> = error.path().iter().map_while(step).collect();
        let message = error.inner().message().to_owned();
        if let Some(text) = as_text(&table, &steps, &message, document) {
            replace(&mut table, &steps, text);
            continue;
        }
        let is_told = missing(&message).is_some_and(|field| taken.contains(&joined(&spelled(&steps), field)));
        if !is_told {
            problems.push(tell(&table, &steps, &message, others, &schema::<T>()));
        }
        taken.insert(spelled(&steps));
        if !take(&mut table, &steps) {
            return T::default();
        }
    }
}

/// The schema of a part of the configuration.
pub(crate) fn schema<T: JsonSchema>() -> Json {
    SchemaGenerator::new(SchemaSettings::draft2020_12()).into_root_schema_for::<T>().into()
}

fn step(segment: &Segment) -> Option<Step> {
    match segment {
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

/// A variable's text that looks like a number, where text is wanted.
fn as_text(table: &Table, steps: &[Step], message: &str, document: &Document) -> Option<Value> {
    let is_text = message.starts_with("invalid type") && message.ends_with("expected a string");
    let is_other = |value: &&Value| !value.is_str() && !value.is_table() && !value.is_array();
    find(table, steps).filter(|value| is_text && is_other(value))?;
    // Only what the variable says as a whole; one of several in a list is a mistake in it.
    if steps.iter().any(|step| matches!(step, Step::Index(_))) {
        return None;
    }
    let Place::Variable(name) = document.place(&spelled(steps))? else { return None };
    variable(name).map(Value::String)
}

fn spelled(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |path, step| match step {
        Step::Key(key) => joined(&path, key),
        Step::Index(index) => format!("{path}[{index}]"),
    })
}

fn tell(table: &Table, steps: &[Step], message: &str, others: &[String], schema: &Json) -> String {
    let path = spelled(steps);
    let option = steps.iter().try_fold(schema, |node, step| inside(schema, node, step));
    if message.starts_with("unknown field") {
        let (Some(Step::Key(key)), section) = (steps.last(), &steps[..steps.len().saturating_sub(1)]) else {
            return format!("{path}: {message}");
        };
        let upstreams = steps.iter().fold(String::new(), |path, step| match step {
            Step::Key(key) => joined(&path, &kebab(key)),
            Step::Index(_) => path,
        });
        if let Some(instead) = instead_of(&upstreams) {
            return format!("{path}: is no option here: {instead}");
        }
        let section_schema = section.iter().try_fold(schema, |node, step| inside(schema, node, step));
        let mut known: Vec<&str> = section_schema.into_iter().flat_map(|node| names(schema, node)).collect();
        if section.is_empty() {
            known.extend(others.iter().map(String::as_str));
        }
        return match nearest(key, &known) {
            Some(meant) => format!("{path}: is no option; perhaps `{meant}` is meant"),
            None => format!("{path}: is no option; there are {}", known.join(", ")),
        };
    }
    let wanted = option.map(|node| describe(schema, node)).filter(|wanted| !wanted.is_empty());
    if let Some(missing) = missing(message) {
        let field = option.and_then(|node| inside(schema, node, &Step::Key(missing.to_owned())));
        let wanted = field.map(|node| describe(schema, node)).unwrap_or_default();
        return format!("{path}: needs `{missing}`: {wanted}");
    }
    let message = match message {
        "invalid socket address syntax" => "must be an address and a port, such as \"0.0.0.0:80\"",
        other => other,
    };
    let is_serdes = message.starts_with("invalid ") || message.starts_with("unknown variant");
    let wanted = match wanted {
        Some(wanted) if is_serdes => format!("must be {wanted}"),
        _ => message.to_owned(),
    };
    match find(table, steps).map(|value| shown(&path, value)) {
        // A message of our own that names its option already.
        _ if wanted.starts_with(&path) => wanted,
        Some(value) => format!("{path} = {value}: {wanted}"),
        None => format!("{path}: {wanted}"),
    }
}

/// The field whose absence serde complains of.
fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next())
}

/// What was written, unless nobody should see it; only its beginning when it is long.
fn shown(path: &str, value: &Value) -> String {
    let last = path.rsplit('.').next().unwrap_or_default();
    if path.contains("secret") || matches!(last, "url" | "value" | "password" | "key") {
        return "***".to_owned();
    }
    match value {
        Value::Table(_) => "{ … }".to_owned(),
        Value::Array(_) => "[ … ]".to_owned(),
        Value::String(text) => {
            // A URL in the wrong place is one all the same.
            let is_url = text.contains("://") || matches!(path, "database" | "secondary-storage");
            let text = if is_url { without_password(text) } else { text.clone() };
            let short: String = text.chars().take(80).collect();
            if short.len() < text.len() { format!("{short:?}…") } else { format!("{text:?}") }
        }
        other => other.to_string(),
    }
}

/// `sendOTP` and `send_otp` as they are here: `send-otp`. Acronyms are one word.
fn kebab(key: &str) -> String {
    let mut text = String::new();
    let mut last_was_small = false;
    for letter in key.chars() {
        if letter.is_ascii_uppercase() && last_was_small {
            text.push('-');
        }
        last_was_small = !letter.is_ascii_uppercase();
        text.push(if letter == '_' { '-' } else { letter.to_ascii_lowercase() });
    }
    text
}

/// The option that was meant: upstream's spelling, or a few letters away.
fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let kebab = kebab(key);
    // `disableCSRFCheck` has no capital where its acronym ends.
    let squeezed = |text: &str| text.replace('-', "");
    let same = known.iter().find(|name| squeezed(name) == squeezed(&kebab));
    let close = || {
        let rated = known.iter().map(|name| (strsim::damerau_levenshtein(&kebab, name), name));
        let best = rated.min_by_key(|(distance, _)| *distance);
        best.filter(|(distance, name)| *distance <= 1 + name.len() / 5).map(|(_, name)| name)
    };
    same.or_else(close).copied()
}

/// The schema that a reference stands for.
fn resolve<'a>(root: &'a Json, node: &'a Json) -> &'a Json {
    let reference = node.get("$ref").and_then(Json::as_str).and_then(|reference| reference.strip_prefix('#'));
    reference.and_then(|pointer| root.pointer(pointer)).unwrap_or(node)
}

/// All that something may be.
pub(super) fn forms<'a>(root: &'a Json, node: &'a Json) -> Vec<&'a Json> {
    let node = resolve(root, node);
    let any = ["anyOf", "oneOf"].iter().find_map(|form| node.get(form)?.as_array());
    match any {
        Some(several) => several.iter().flat_map(|form| forms(root, form)).collect(),
        None => vec![node],
    }
}

fn inside<'a>(root: &'a Json, node: &'a Json, step: &Step) -> Option<&'a Json> {
    forms(root, node).into_iter().find_map(|form| match step {
        Step::Key(key) => {
            let named = form.get("properties").and_then(|properties| properties.get(key));
            named.or_else(|| form.get("additionalProperties").filter(|any| any.is_object()))
        }
        Step::Index(_) => form.get("items"),
    })
}

fn names<'a>(root: &'a Json, node: &'a Json) -> Vec<&'a str> {
    let properties = |form: &'a Json| form.get("properties").and_then(Json::as_object);
    let forms = forms(root, node);
    forms.into_iter().filter_map(properties).flat_map(|fields| fields.keys().map(String::as_str)).collect()
}

/// What would be right, in words.
pub(super) fn describe(root: &Json, node: &Json) -> String {
    let mut right: Vec<String> = Vec::new();
    for form in forms(root, node) {
        let choices = form.get("enum").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        right.extend(
            choices.iter().chain(form.get("const")).filter(|choice| !choice.is_null()).map(Json::to_string),
        );
        if !choices.is_empty() || form.get("const").is_some() {
            continue;
        }
        let kinds = match form.get("type") {
            Some(Json::String(kind)) => vec![kind.as_str()],
            Some(Json::Array(kinds)) => kinds.iter().filter_map(Json::as_str).collect(),
            _ => Vec::new(),
        };
        right.extend(kinds.into_iter().filter_map(|kind| describe_kind(root, form, kind)));
    }
    right.dedup();
    match right.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn describe_kind(root: &Json, form: &Json, kind: &str) -> Option<String> {
    let bound = |name| form.get(name).and_then(Json::as_u64);
    Some(match kind {
        "string" => "text in quotes".to_owned(),
        "boolean" => "true or false".to_owned(),
        "integer" => {
            let most = match form.get("format").and_then(Json::as_str) {
                Some("uint8") => Some(u8::MAX.into()),
                Some("uint16") => Some(u16::MAX.into()),
                Some("uint32") => Some(u32::MAX.into()),
                _ => None,
            };
            match (bound("minimum"), bound("maximum").or(most)) {
                (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
                (Some(least), None) => format!("a whole number, {least} at least"),
                _ => "a whole number".to_owned(),
            }
        }
        "number" => "a number".to_owned(),
        "array" => {
            match form.get("items").map(|items| describe(root, items)).filter(|items| !items.is_empty()) {
                Some(items) => format!("a list, [ … ], each {items}"),
                None => "a list, [ … ]".to_owned(),
            }
        }
        "object" => match names(root, form).as_slice() {
            [] => "a table".to_owned(),
            names => format!("a table with {}", names.join(", ")),
        },
        _ => return None,
    })
}

fn find<'a>(table: &'a Table, steps: &[Step]) -> Option<&'a Value> {
    let (Step::Key(first), rest) = steps.split_first()? else { return None };
    rest.iter().try_fold(table.get(first)?, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    })
}

fn find_mut<'a>(table: &'a mut Table, steps: &[Step]) -> Option<&'a mut Value> {
    let (Step::Key(first), rest) = steps.split_first()? else { return None };
    rest.iter().try_fold(table.get_mut(first)?, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    })
}

fn replace(table: &mut Table, steps: &[Step], value: Value) {
    if let Some(there) = find_mut(table, steps) {
        *there = value;
    }
}

/// Takes out what could not be read; of a list all, so that the places of its other entries stay true.
fn take(table: &mut Table, steps: &[Step]) -> bool {
    let whole = steps.iter().take_while(|step| matches!(step, Step::Key(_))).count();
    let Some((Step::Key(last), section)) = steps[..whole].split_last() else { return false };
    let section = match section {
        [] => Some(table),
        section => find_mut(table, section).and_then(Value::as_table_mut),
    };
    section.is_some_and(|section| section.remove(last).is_some())
}
