//! How the structs of [`input!`](crate::input!) and [`output!`](crate::output!) take their members from an object and
//! put them into one.

use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::Value;

use super::javascript::{PROTOTYPE, as_javascript, order_keys};
use super::schema::{ObjectSchema, Others};
use super::types::Record;
use super::{At, Field, Issues};

/// Something that owns members of an object beside others: after `..` in a struct.
pub trait Members: Sized {
    /// Adds the members to the description of the object.
    fn describe_members(object: &mut ObjectSchema);
}

/// [`Members`] of an input.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand after `..` in `input!`",
    label = "does not read members of an object",
    note = "use Record to keep all other members, or another `input!` struct to share its fields"
)]
pub trait ReadMembers: Members {
    /// Whether upstream checks the object against a second schema, which reports a value that is no object again.
    const BESIDE: bool = false;

    /// Takes the members out of the object at `at`.
    fn read_members(members: &mut Record, at: &At<'_>, issues: &mut Issues) -> Option<Self>;
}

/// [`Members`] of an output.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand after `..` in `output!`",
    label = "does not write members of an object",
    note = "use Record, or another `output!` struct"
)]
pub trait WriteMembers: Members {
    /// Appends the members to the object.
    fn write_members<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error>;
}

impl Members for Record {
    fn describe_members(object: &mut ObjectSchema) {
        object.others = Others::KeptBeside;
    }
}

/// Keeps all members that were not declared: `z.object(…).and(z.record(z.string(), z.any()))`.
impl ReadMembers for Record {
    const BESIDE: bool = true;

    fn read_members(members: &mut Record, _: &At<'_>, _: &mut Issues) -> Option<Self> {
        let mut others = std::mem::take(members);
        others.shift_remove(PROTOTYPE);
        order_keys(&mut others);
        others.values_mut().for_each(as_javascript);
        Some(others)
    }
}

impl WriteMembers for Record {
    fn write_members<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        self.iter().try_for_each(|(name, value)| object.serialize_entry(name, value))
    }
}

/// All members that were not declared, kept by the same schema: `z.looseObject(…)`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loose(pub Record);

impl std::ops::Deref for Loose {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.0
    }
}

impl Members for Loose {
    fn describe_members(object: &mut ObjectSchema) {
        object.others = Others::Kept;
    }
}

impl ReadMembers for Loose {
    fn read_members(members: &mut Record, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        Record::read_members(members, at, issues).map(Self)
    }
}

impl WriteMembers for Loose {
    fn write_members<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        self.0.write_members(object)
    }
}

/// The members of a value that must be an object.
pub fn members(value: Option<Value>, beside: bool, at: &At<'_>, issues: &mut Issues) -> Option<Record> {
    match value {
        Some(Value::Object(members)) => Some(members),
        other => {
            issues.expected("object", other.as_ref(), at);
            if beside {
                issues.expected("record", other.as_ref(), at);
            }
            None
        }
    }
}

/// Takes one declared member.
pub fn member<T: Field>(
    members: &mut Record,
    name: &'static str,
    default: Option<fn() -> T>,
    at: &At<'_>,
    issues: &mut Issues,
) -> Option<T> {
    match (members.shift_remove(name), default) {
        (None, Some(default)) => Some(default()),
        (value, _) => T::decode(value, &at.member(name), issues),
    }
}

/// Reports what is left of a strict object.
pub fn refuse_unknown(mut members: Record, at: &At<'_>, issues: &mut Issues) {
    order_keys(&mut members);
    let plural = match members.len() {
        0 => return,
        1 => "",
        _ => "s",
    };
    let names: Vec<_> = members.keys().map(|name| format!("\"{name}\"")).collect();
    issues.object_to(format!("Unrecognized key{plural}: {}", names.join(", ")), at);
}

/// Appends one member of an output, unless it is left out.
pub fn write_member<M: SerializeMap, T: super::Described + Serialize>(
    object: &mut M,
    name: &'static str,
    value: &T,
) -> Result<(), M::Error> {
    if value.is_omitted() { Ok(()) } else { object.serialize_entry(name, value) }
}

/// Reports a word that is none of `words`.
pub fn refuse_choice(words: &[&str], at: &At<'_>, issues: &mut Issues) {
    let listed: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let lead = if words.len() == 1 { "Invalid input: expected " } else { "Invalid option: expected one of " };
    issues.refuse(format!("{lead}{}", listed.join("|")), at);
}
