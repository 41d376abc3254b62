//! Records: a struct for the columns the code knows, and room for those it does not.

use super::{
    Result, StoreError,
    resolved::ResolvedTable,
    schema::{Kind, Table},
    value::{Record, Value},
};
use crate::input::{ColumnUse, Columns, Kind as SchemaKind, ObjectSchema, Others, Schema};
use serde::Serialize;

/// The values of one row, `id` first, then the table's columns in schema order.
pub type Row = Vec<Value>;

/// A row with a known shape. Made with `model!`.
pub trait Model: Serialize + Clone + Send + Sync + 'static {
    /// The table it lives in.
    const TABLE: &'static str;

    /// The table as declared; the resolved one may have more columns.
    fn table() -> Table;

    /// Takes the known columns off the front of `values`; `None` when one holds another type.
    fn from_values(values: &mut std::vec::IntoIter<Value>) -> Option<Self>;

    /// All columns, `id` first, then the known ones, then `extra` and `hidden`.
    fn columns(&self) -> Vec<(&str, Value)>;

    /// Columns beyond the known ones: what replies may show, and what they may not.
    fn extra(&mut self) -> (&mut Record, &mut Record);
}

/// Reads a row of `table` as an `M`.
pub(crate) fn read<M: Model>(table: &ResolvedTable, row: Row) -> Result<M> {
    let known = row.len();
    let mut values = row.into_iter();
    let Some(mut record) = M::from_values(&mut values) else {
        let position = known.saturating_sub(values.len() + 1);
        let column = position
            .checked_sub(1)
            .and_then(|field| table.fields.get(field))
            .map_or("id", |field| &field.name);
        return Err(StoreError::Type { table: table.name.to_owned(), column: column.to_owned() });
    };
    let first_extra = known - values.len() - 1;
    for (field, value) in table.fields.iter().skip(first_extra).zip(values) {
        let value = match (value, field.kind) {
            (Value::Integer(number), Kind::Text) => Value::Text(number.to_string()),
            // Upstream: what SQLite keeps and nobody can read is nothing (kept).
            (Value::Text(_), Kind::Time | Kind::Json | Kind::TextList | Kind::NumberList) => Value::Null,
            (value, _) => value,
        };
        let (shown, hidden) = record.extra();
        if field.hidden { hidden } else { shown }.set(field.name.clone().into_owned(), value);
    }
    Ok(record)
}

/// The shape of a record in a reply; `members` are its columns, those that it shows with a name, and what is said of
/// each.
#[doc(hidden)]
pub fn describe_model<M: Model>(
    name: &'static str,
    description: &'static str,
    members: &[(Option<&'static str>, &'static str)],
) -> Schema {
    let mut object = ObjectSchema::new(name, Others::Kept);
    object.columns = Some(Columns { table: M::TABLE, usage: ColumnUse::Shown });
    let table = M::table();
    for ((member, description), field) in members.iter().zip(&table.fields) {
        if let Some(member) = member {
            let schema = match field.kind {
                Kind::Text => Schema::text(),
                Kind::Integer | Kind::BigInteger => Schema::integer(),
                Kind::Bool => Schema::boolean(),
                Kind::Time => Schema::format("date-time"),
                Kind::Json | Kind::TextList | Kind::NumberList => Schema::new(SchemaKind::Any),
            };
            let schema = if field.required { schema } else { Schema::nullable(schema) };
            object.property(member, member, true, schema.described(description));
        }
    }
    object.property("id", "id", true, Schema::text().described("Its key."));
    Schema::new(SchemaKind::Object(object)).described(description)
}

/// Declares a record: a struct, its table, and a typed [`Column`](crate::store::Column) for each field.
///
/// ```ignore
/// model! {
///     /// A person.
///     pub struct User in "user" {
///         /// Lowercased.
///         EMAIL email: String = text("email").unique();
///         /// Part of replies, but not of logs.
///         [secret] TOKEN token: String = text("token");
///         /// Never part of either.
///         [hidden] PIN pin: Option<String> = text("pin").optional();
///     }
/// }
/// ```
#[macro_export]
macro_rules! model {
    (
        $(#[doc = $doc:literal])*
        pub struct $model:ident in $table:literal {
            $(
                $(#[doc = $field_doc:literal])*
                $([$mark:ident])? $column:ident $field:ident : $type:ty = $kind:ident ( $wire:literal ) $(. $modifier:ident ( $($argument:tt)* ))*;
            )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, PartialEq)]
        pub struct $model {
            /// Its key.
            pub id: String,
            $( $(#[doc = $field_doc])* pub $field: $type, )*
            /// Columns of plugins and of the operator.
            pub extra: $crate::store::Record,
            /// Such columns that no reply shows.
            pub hidden: $crate::store::Record,
        }

        impl $model {
            /// The key column.
            pub const ID: $crate::store::Column<Self, String> = $crate::store::Column::new("id");
            $( $(#[doc = $field_doc])* pub const $column: $crate::store::Column<Self, $type> = $crate::store::Column::new($wire); )*
        }

        impl $crate::store::Model for $model {
            const TABLE: &'static str = $table;

            fn table() -> $crate::store::Table {
                $crate::store::Table::new($table).about(concat!($($doc, "\n"),*))
                    $( .field($crate::model!(@field [$($mark)?]
                        $crate::store::Field::$kind($wire).about(concat!($($field_doc, "\n"),*))
                            $(. $modifier ( $($argument)* ))*)) )*
            }

            fn from_values(values: &mut std::vec::IntoIter<$crate::store::Value>) -> Option<Self> {
                Some(Self {
                    id: $crate::store::FromValue::from_value(values.next()?)?,
                    $( $field: $crate::store::FromValue::from_value(values.next()?)?, )*
                    extra: Default::default(),
                    hidden: Default::default(),
                })
            }

            fn columns(&self) -> Vec<(&str, $crate::store::Value)> {
                let mut columns = vec![
                    ("id", $crate::store::Value::from(&self.id)),
                    $( ($wire, $crate::store::Value::from(self.$field.clone())), )*
                ];
                columns.extend(self.extra.iter().chain(self.hidden.iter()).map(|(name, value)| (name, value.clone())));
                columns
            }

            fn extra(&mut self) -> (&mut $crate::store::Record, &mut $crate::store::Record) {
                (&mut self.extra, &mut self.hidden)
            }
        }

        impl $crate::input::Described for $model {
            fn describe() -> $crate::input::Schema {
                let members =
                    [$( ($crate::model!(@name [$($mark)?] $wire), concat!($($field_doc, "\n"),*)), )*];
                $crate::store::describe_model::<Self>(
                    stringify!($model),
                    concat!($($doc, "\n"),*),
                    &members,
                )
            }
        }

        // Logs are no reply, and no place for a secret either.
        impl ::core::fmt::Debug for $model {
            fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                let mut record = formatter.debug_struct(stringify!($model));
                record.field("id", &self.id);
                $( $crate::model!(@debug [$($mark)?] record, self, $field); )*
                record.field("extra", &self.extra).finish_non_exhaustive()
            }
        }

        // Upstream writes a record's columns in schema order and its `id` last, unless it was kept outside the database.
        // Columns declared hidden stay here.
        impl $crate::input::private::Serialize for $model {
            fn serialize<S: $crate::input::private::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                use $crate::input::private::SerializeMap as _;
                let mut map = serializer.serialize_map(None)?;
                if let Some(members) = self.extra.members() {
                    for member in members {
                        match &**member {
                            "id" => map.serialize_entry("id", &self.id)?,
                            $( $wire => { $crate::model!(@entry [$($mark)?] map, self, $field, $wire); } )*
                            other => if let Some(value) = self.extra.get(other) {
                                map.serialize_entry(other, value)?;
                            }
                        }
                    }
                    return map.end();
                }
                $( $crate::model!(@entry [$($mark)?] map, self, $field, $wire); )*
                for (name, value) in self.extra.iter() {
                    map.serialize_entry(name, value)?;
                }
                map.serialize_entry("id", &self.id)?;
                map.end()
            }
        }
    };
    (@name [hidden] $wire:literal) => { None };
    (@name [$($secret:ident)?] $wire:literal) => { Some($wire) };
    (@field [hidden] $declared:expr) => { $declared.hidden() };
    (@field [$($secret:ident)?] $declared:expr) => { $declared };
    (@debug [] $record:ident, $self:ident, $field:ident) => {
        $record.field(stringify!($field), &$self.$field);
    };
    (@debug [$mark:ident] $record:ident, $self:ident, $field:ident) => {
        $record.field(stringify!($field), &format_args!("***"));
    };
    (@entry [hidden] $map:ident, $self:ident, $field:ident, $wire:literal) => {};
    (@entry [$($secret:ident)?] $map:ident, $self:ident, $field:ident, $wire:literal) => {
        $map.serialize_entry($wire, &$self.$field)?;
    };
}
