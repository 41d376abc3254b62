//! Fields that the schema knows and the code does not: those of plugins and of the operator, read from a request.
//!
//! A field is checked against its type, which upstream leaves to the database. Names that no field has are ignored.
//!
//! Upstream: `db/schema.ts`.

use super::User;
use crate::{
    error::{Code, Error, Result},
    input::{
        self, At, ColumnUse, Columns, Issues, MAX_SAFE_INTEGER, Members, ObjectSchema, Others, ReadMembers,
        is_number_text, to_milliseconds,
    },
    store::{Field, Kind, Model, Record, ResolvedTable, Store, Value},
    time::Time,
};
use http::StatusCode;
use serde_json::Value as Json;
use std::{fmt, marker::PhantomData};

/// All members of a body beyond the declared ones, among which are the fields of a new `M`: for [`read`].
pub struct NewFields<M>(pub(crate) input::Record, PhantomData<fn() -> M>);

impl<M> Clone for NewFields<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<M> fmt::Debug for NewFields<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<M: Model> Members for NewFields<M> {
    fn describe_members(object: &mut ObjectSchema) {
        object.others = Others::KeptBeside;
        object.columns = Some(Columns { table: M::TABLE, usage: ColumnUse::Given });
    }
}

impl<M: Model> ReadMembers for NewFields<M> {
    const BESIDE: bool = input::Record::BESIDE;

    fn read_members(members: &mut input::Record, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        input::Record::read_members(members, at, issues).map(|members| Self(members, PhantomData))
    }
}

/// Whether the record is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    Update,
}

/// Who has filled a record in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Giver {
    Client,
    Operator,
}

/// The milliseconds of the years 0000 to 9999.
const WRITTEN: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// Takes the fields of `M` beyond its own out of a request; defaults are for the store to fill in.
pub(crate) fn read<M: Model>(store: &Store, given: &mut input::Record, action: Action) -> Result<Record> {
    take::<M>(store, given, action, Giver::Client)
}

/// As [`read`], for a new record that is made by whoever runs the installation: every field may be set, and a name that
/// no field has is a mistake of theirs.
pub(crate) fn read_all<M: Model>(store: &Store, given: &mut input::Record) -> Result<Record> {
    let record = take::<M>(store, given, Action::Create, Giver::Operator)?;
    let Some(unknown) = given.keys().next() else { return Ok(record) };
    let names: Vec<&str> = store.resolved::<M>()?.additional().map(|field| &*field.name).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Err(refused(
        "UNKNOWN_FIELD",
        format!("\"{}\" has no field {unknown:?} of yours; its are: {names}", M::TABLE),
    ))
}

fn take<M: Model>(store: &Store, given: &mut input::Record, action: Action, giver: Giver) -> Result<Record> {
    let table = store.resolved::<M>()?;
    let mut record = Record::default();
    let mut issues = Issues::default();
    for field in table.additional() {
        let name = &*field.name;
        let has_default = field.default.is_some();
        match given.shift_remove(name) {
            Some(value) if !field.input && giver == Giver::Client => {
                let is_overruled = has_default && action == Action::Create;
                if !is_overruled && is_truthy(&value) {
                    return Err(refused(
                        Code::FIELD_NOT_ALLOWED.code,
                        format!("{name} is not allowed to be set"),
                    ));
                }
            }
            Some(Json::Null) if has_default && action == Action::Create => {
                record.set(name, Value::Null);
            }
            Some(value) => match value_of(field, value).and_then(|value| kept(store, field, value)) {
                Ok(value) => record.set(name, value),
                Err(problem) => issues.refuse(problem, &At::ROOT.entry(name)),
            },
            None if field.required && !has_default && action == Action::Create => {
                return Err(refused(Code::MISSING_FIELD.code, format!("{name} is required")));
            }
            None => {}
        }
    }
    match giver {
        _ if issues.is_empty() => Ok(record),
        Giver::Client => Err(invalid(&issues)),
        Giver::Operator => Err(refused(Code::VALIDATION_ERROR.code, issues.message("field"))),
    }
}

/// What a request says is wrong with it.
pub(crate) fn invalid(issues: &Issues) -> Error {
    refused(Code::VALIDATION_ERROR.code, issues.message("body"))
}

fn refused(code: &'static str, message: String) -> Error {
    Error::with(StatusCode::BAD_REQUEST, Some(code), message)
}

pub(crate) fn is_truthy(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(value) => *value,
        Json::Number(number) => number.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(_) | Json::Object(_) => true,
    }
}

/// A value as the field's column holds it, or what is wrong with it.
pub(crate) fn value_of(field: &Field, value: Json) -> Result<Value, String> {
    let expected = |word: &str, value: &Json| {
        Err(format!("Invalid input: expected {word}, received {}", input::type_name(Some(value))))
    };
    if value.is_null() && !field.required {
        return Ok(Value::Null);
    }
    match (field.kind, value) {
        (Kind::Text, Json::String(text)) if field.values.is_empty() || field.values.contains(&text) => {
            Ok(Value::Text(text))
        }
        (Kind::Text, value) if !field.values.is_empty() => {
            drop(value);
            let listed: Vec<_> = field.values.iter().map(|word| format!("\"{word}\"")).collect();
            let lead = if listed.len() == 1 {
                "Invalid input: expected "
            } else {
                "Invalid option: expected one of "
            };
            Err(format!("{lead}{}", listed.join("|")))
        }
        (Kind::Text, value) => expected("string", &value),
        (Kind::Integer | Kind::BigInteger, Json::Number(number)) => Ok(number.into()),
        (Kind::Integer | Kind::BigInteger, value) => expected("number", &value),
        (Kind::Bool, Json::Bool(value)) => Ok(Value::Bool(value)),
        (Kind::Bool, value) => expected("boolean", &value),
        (Kind::Time, Json::String(text)) => match to_milliseconds(&text) {
            Some(milliseconds) if WRITTEN.contains(&milliseconds) => {
                Ok(Value::Time(Time::from_millis(milliseconds)))
            }
            _ => Err("Invalid input: expected date, received Date".to_owned()),
        },
        (Kind::Time, value) => expected("date", &value),
        (Kind::Json, Json::Null) => expected("nonoptional", &Json::Null),
        (Kind::Json, value) => Ok(Value::Json(value)),
        (Kind::TextList, Json::Array(items)) => match items.iter().find(|item| !item.is_string()) {
            Some(other) => expected("string", other),
            None => Ok(Value::Json(Json::Array(items))),
        },
        (Kind::NumberList, Json::Array(items)) => match items.iter().find(|item| !item.is_number()) {
            Some(other) => expected("number", other),
            None => Ok(Value::Json(Json::Array(items))),
        },
        (Kind::TextList | Kind::NumberList, value) => expected("array", &value),
    }
}

/// What PostgreSQL's columns cannot hold is the client's mistake, not a failure of the database.
fn kept(store: &Store, field: &Field, value: Value) -> Result<Value, String> {
    let largest = match field.kind {
        Kind::Integer => i64::from(i32::MAX),
        Kind::BigInteger => MAX_SAFE_INTEGER,
        _ => return Ok(value),
    };
    match value {
        _ if store.keeps_fractions() => Ok(value),
        Value::Real(_) => Err("Invalid input: expected int, received number".to_owned()),
        Value::Integer(number) if number > largest => Err(format!("Too big: expected int to be <={largest}")),
        Value::Integer(number) if number < -largest => {
            Err(format!("Too small: expected int to be >=-{largest}"))
        }
        value => Ok(value),
    }
}

/// A form has nothing but texts: those of numbers and truth values become what they say.
pub(crate) fn from_form<M: Model>(store: &Store, given: &mut input::Record) -> Result<()> {
    for field in store.resolved::<M>()?.additional() {
        let Some(value) = given.get_mut(&*field.name) else { continue };
        let Json::String(text) = &*value else { continue };
        let meant = match (field.kind, text.as_str()) {
            (Kind::Bool, "true") => Some(Json::Bool(true)),
            (Kind::Bool, "false") => Some(Json::Bool(false)),
            (Kind::Integer | Kind::BigInteger, text) if is_number_text(text) => {
                serde_json::from_str(text).ok()
            }
            _ => None,
        };
        if let Some(meant) = meant {
            *value = meant;
        }
    }
    Ok(())
}

/// Where everything is text, lists and documents are written as JSON.
pub(crate) fn from_json_texts<M: Model>(store: &Store, given: &mut input::Record) -> Result<()> {
    for field in store.resolved::<M>()?.additional() {
        let is_json = matches!(field.kind, Kind::Json | Kind::TextList | Kind::NumberList);
        let Some(value) = given.get_mut(&*field.name).filter(|_| is_json) else { continue };
        let Json::String(text) = &*value else { continue };
        let read = serde_json::from_str(text);
        *value = read.map_err(|error| {
            refused(Code::VALIDATION_ERROR.code, format!("{}: no JSON: {error}", field.name))
        })?;
    }
    Ok(())
}

impl User {
    /// Gives a record that the database does not have, or not yet, the columns that a request has for it.
    pub(crate) fn give(&mut self, store: &Store, given: Record) -> Result<()> {
        let table = store.resolved::<Self>()?;
        for (name, value) in given {
            let is_hidden = table.field(&name).is_some_and(|field| field.hidden);
            if is_hidden { &mut self.hidden } else { &mut self.extra }.set(name, value);
        }
        Ok(())
    }

    /// Gives a record that is not in the database the columns that one in it would have.
    pub(crate) fn fill(&mut self, table: &ResolvedTable, mut given: Record, now: Time) {
        for field in table.extra() {
            let value = match (given.remove(&field.name), &field.default) {
                (Some(Value::Null), Some(default)) if field.required => default.value(now),
                (Some(value), _) => value,
                (None, Some(default)) => default.value(now),
                (None, None) => Value::Null,
            };
            let columns = if field.hidden { &mut self.hidden } else { &mut self.extra };
            columns.set(field.name.clone().into_owned(), value);
        }
    }
}
