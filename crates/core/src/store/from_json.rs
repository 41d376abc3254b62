//! Records that were kept as JSON outside the database, in a cookie or in the secondary storage; and the way there.

use super::{
    Record,
    model::{self, Model, Row},
    resolved::ResolvedTable,
    schema::Kind,
    value::{Members, Value},
};
use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Number, Value as Json};
use std::{borrow::Cow, fmt};

/// Reads an object as a record of a table. What no reply shows is left out, as are members that are no columns.
pub(crate) struct Shown<'a>(pub(crate) &'a ResolvedTable);

/// As [`Shown`], and leaves nothing out: the JSON is ours alone.
struct Whole<'a>(&'a ResolvedTable);

/// A row, and the members it came from.
pub(crate) struct Kept {
    row: Row,
    /// Those that a reply shows, in order.
    shown: Members,
    /// Those that are no columns.
    others: Record,
}

impl Kept {
    /// The record, if every column that the code knows holds what it should. A column of a plugin or of the operator
    /// that nothing was said about is none of the record's.
    pub(crate) fn record<M: Model>(self, table: &ResolvedTable) -> Option<M> {
        self.split(table).map(|(record, ..)| record)
    }

    fn split<M: Model>(self, table: &ResolvedTable) -> Option<(M, Members, Record)> {
        let Self { row, shown, others } = self;
        let mut record: M = model::read(table, row).ok()?;
        record.extra().0.retain(|name| shown.iter().any(|member| member == name));
        Some((record, shown, others))
    }
}

/// The record of which an object was kept, with its members in the object's order.
pub(crate) fn from_map<M: Model>(table: &ResolvedTable, map: &Map<String, Json>) -> Option<M> {
    let kept = Whole(table).deserialize(map).ok()?;
    let (mut record, shown, others) = kept.split::<M>(table)?;
    let (extra, _) = record.extra();
    for (name, value) in others {
        extra.set(name, value);
    }
    extra.show(shown);
    Some(record)
}

/// A record as upstream keeps it outside the database: all columns in the schema's order, and `id` last.
pub(crate) fn to_map<M: Model>(table: &ResolvedTable, record: &M) -> Map<String, Json> {
    let mut columns: Record =
        record.columns().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let names = table.fields.iter().map(|field| &*field.name).chain(["id"]);
    names.filter_map(|name| Some((name.to_owned(), json(&columns.remove(name)?)))).collect()
}

/// A value as JSON has it.
pub(crate) fn json(value: &Value) -> Json {
    // Nothing that a column holds has keys that are no texts, which is all that could fail.
    serde_json::to_value(value).unwrap_or_default()
}

impl<'de> DeserializeSeed<'de> for Shown<'_> {
    type Value = Kept;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kept, D::Error> {
        deserializer.deserialize_map(Object { table: self.0, leaves_out: true })
    }
}

impl<'de> DeserializeSeed<'de> for Whole<'_> {
    type Value = Kept;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kept, D::Error> {
        deserializer.deserialize_map(Object { table: self.0, leaves_out: false })
    }
}

struct Object<'a> {
    table: &'a ResolvedTable,
    leaves_out: bool,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Kept;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a record of \"{}\"", self.table.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kept, A::Error> {
        let Self { table, leaves_out } = self;
        let mut row = vec![Value::Null; table.fields.len() + 1];
        let (mut shown, mut others) = (Vec::new(), Record::default());
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let field = table.fields.iter().zip(1..).find(|(field, _)| field.name == *key);
            let (position, kind, is_hidden) = match field {
                Some((field, position)) => (Some(position), field.kind, field.hidden),
                None => ((key == "id").then_some(0), Kind::Text, false),
            };
            match position.and_then(|position| row.get_mut(position)) {
                Some(_) if is_hidden && leaves_out => drop(map.next_value::<IgnoredAny>()?),
                Some(slot) => *slot = value(&mut map, kind)?,
                None if leaves_out => drop(map.next_value::<IgnoredAny>()?),
                None => others.set(&*key, map.next_value::<Json>()?),
            }
            if !is_hidden {
                shown.push(Cow::Owned(key.into_owned()));
            }
        }
        Ok(Kept { row, shown, others })
    }
}

fn value<'de, A: MapAccess<'de>>(map: &mut A, kind: Kind) -> Result<Value, A::Error> {
    Ok(match kind {
        Kind::Text => map.next_value::<Option<String>>()?.into(),
        Kind::Integer | Kind::BigInteger => map.next_value::<Option<Number>>()?.into(),
        Kind::Bool => map.next_value::<Option<bool>>()?.into(),
        Kind::Time => map.next_value::<Option<crate::Time>>()?.into(),
        Kind::Json | Kind::TextList | Kind::NumberList => map.next_value::<Option<Json>>()?.into(),
    })
}
