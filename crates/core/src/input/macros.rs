//! `input!`, `output!` and `choice!`.
//!
//! Wire names are the camelCase of the field names, made at compile time. The word `url` becomes `URL`, as in
//! upstream's `callbackURL`; where upstream spells a name another way it stands in parentheses after the field.

/// The number of bytes of [`camel_case`].
pub const fn camel_length(name: &str) -> usize {
    let mut rest = unprefixed(name);
    let mut length = 0;
    while let [byte, tail @ ..] = rest {
        if *byte != b'_' {
            length += 1;
        }
        rest = tail;
    }
    length
}

/// The wire name of a field; `LENGTH` is [`camel_length`].
pub const fn camel_case<const LENGTH: usize>(name: &str) -> [u8; LENGTH] {
    let mut output = [0; LENGTH];
    let mut slots: &mut [u8] = output.as_mut_slice();
    let mut rest = unprefixed(name);
    let mut capitals: u8 = 0;
    while let [byte, tail @ ..] = rest {
        if *byte == b'_' {
            capitals = if begins_with_url(tail) { 3 } else { 1 };
        } else {
            let Some((slot, others)) = slots.split_first_mut() else { break };
            *slot = if capitals > 0 { byte.to_ascii_uppercase() } else { *byte };
            capitals = capitals.saturating_sub(1);
            slots = others;
        }
        rest = tail;
    }
    output
}

const fn begins_with_url(rest: &[u8]) -> bool {
    matches!(rest, [b'u', b'r', b'l'] | [b'u', b'r', b'l', b'_', ..])
}

/// `r#type` is the field `type`.
const fn unprefixed(name: &str) -> &[u8] {
    match name.as_bytes() {
        [b'r', b'#', rest @ ..] => rest,
        bytes => bytes,
    }
}

/// Declares what clients send: structs with a decoder and a schema.
///
/// ```ignore
/// input! {
///     /// Body of `POST /sign-up/email`.
///     pub struct SignUpBody {
///         /// The user's name.
///         name: Text,
///         email: Email,
///         password: NonEmptyPassword,
///         image: Option<Text>,
///         callback_url: Option<Text>,             // "callbackURL"
///         return_url ("returnUrl"): Option<Text>, // spelled another way
///         remember_me: bool = true,               // may be left out
///         ..rest: Record,                         // all other members; or the fields of another input
///     }
///
///     /// Unknown members are a mistake instead of being dropped.
///     #[strict]
///     #[derive(PartialEq)]
///     pub struct NonceBody {
///         wallet: Text,
///     }
/// }
/// ```
///
/// Doc comments become descriptions. They come first, then `#[strict]`, then `#[derive(…)]` for what is wanted beside
/// `Debug` and `Clone`. Fields are as visible as their struct and are checked in their order. What stands after `..`
/// comes last and has no doc comment.
#[macro_export]
macro_rules! input {
    () => {};
    (
        $(#[doc = $doc:literal])* #[strict] $(#[derive($($derive:path),* $(,)?)])?
        $vis:vis struct $name:ident { $($fields:tt)* } $($next:tt)*
    ) => {
        $crate::__input! { [Refused] [$($doc)*] [$($($derive)*)?] $vis $name $($fields)* }
        $crate::input! { $($next)* }
    };
    (
        $(#[doc = $doc:literal])* $(#[derive($($derive:path),* $(,)?)])?
        $vis:vis struct $name:ident { $($fields:tt)* } $($next:tt)*
    ) => {
        $crate::__input! { [Ignored] [$($doc)*] [$($($derive)*)?] $vis $name $($fields)* }
        $crate::input! { $($next)* }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __input {
    (
        [$others:ident] [$($doc:literal)*] [$($derive:path)*] $vis:vis $name:ident
        $($(#[doc = $field_doc:literal])* $field:ident $(($wire:literal))? : $type:ty $(= $default:expr)?),*
        $(, .. $spread:ident : $spread_type:ty)* $(,)?
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone $(, $derive)*)]
        $vis struct $name {
            $(
                $(#[doc = $field_doc])*
                #[doc = $crate::__member_doc!([$($field_doc)*] $field)]
                $vis $field: $type,
            )*
            $(
                #[doc = "Further members of the same object."]
                $vis $spread: $spread_type,
            )*
        }

        // What clients may send is part of the protocol, also where this server has no use for it.
        const _: fn(&$name) = |_sent| {
            $(let _ = &_sent.$field;)*
            $(let _ = &_sent.$spread;)*
        };

        #[automatically_derived]
        impl $crate::input::Members for $name {
            fn describe_members(object: &mut $crate::input::ObjectSchema) {
                $($crate::__describe_member!(object, [$($field_doc)*] $field $($wire)?, $type $(, $default)?);)*
                $(<$spread_type as $crate::input::Members>::describe_members(object);)*
                let _ = object;
            }
        }

        #[automatically_derived]
        impl $crate::input::ReadMembers for $name {
            const BESIDE: bool = false $(|| <$spread_type as $crate::input::ReadMembers>::BESIDE)*;

            fn read_members(
                members: &mut $crate::input::Record,
                at: &$crate::input::At<'_>,
                issues: &mut $crate::input::Issues,
            ) -> ::core::option::Option<Self> {
                // All members are read before any is missed, so that all mistakes are reported.
                $(let $field = $crate::input::private::member::<$type>(
                    members,
                    $crate::__wire!($field $($wire)?),
                    $crate::__default!($($default)?),
                    at,
                    issues,
                );)*
                $(let $spread =
                    <$spread_type as $crate::input::ReadMembers>::read_members(members, at, issues);)*
                let _ = (members, at, issues);
                Some(Self { $($field: $field?,)* $($spread: $spread?,)* })
            }
        }

        #[automatically_derived]
        impl $crate::input::Described for $name {
            fn describe() -> $crate::input::Schema {
                let mut object =
                    $crate::input::ObjectSchema::new(stringify!($name), $crate::input::Others::$others);
                <Self as $crate::input::Members>::describe_members(&mut object);
                $crate::input::Schema::new($crate::input::Kind::Object(object))
                    .described(concat!($($doc, "\n"),*))
            }
        }

        #[automatically_derived]
        impl $crate::input::Field for $name {
            fn decode(
                value: ::core::option::Option<$crate::input::Json>,
                at: &$crate::input::At<'_>,
                issues: &mut $crate::input::Issues,
            ) -> ::core::option::Option<Self> {
                let beside = <Self as $crate::input::ReadMembers>::BESIDE;
                let mut members = $crate::input::private::members(value, beside, at, issues)?;
                let decoded = <Self as $crate::input::ReadMembers>::read_members(&mut members, at, issues);
                if matches!($crate::input::Others::$others, $crate::input::Others::Refused) {
                    $crate::input::private::refuse_unknown(members, at, issues);
                }
                decoded
            }
        }
    };
}

/// Declares what is answered: structs that serialise in the order of their fields, and a schema.
///
/// ```ignore
/// output! {
///     /// Somebody is signed in.
///     pub struct SignedInReply<'a> {
///         redirect: bool,
///         token: Nullable<&'a str>,   // always there, perhaps null
///         url: Option<String>,        // left out if none
///         user: &'a User,
///         ..extra: Record,
///     }
/// }
/// ```
///
/// Names, doc comments and `#[derive(…)]` are as in [`input!`](crate::input!).
#[macro_export]
macro_rules! output {
    () => {};
    (
        $(#[doc = $doc:literal])* $(#[derive($($derive:path),* $(,)?)])?
        $vis:vis struct $name:ident $(<$($life:lifetime),+>)? { $($fields:tt)* } $($next:tt)*
    ) => {
        $crate::__output! { [$($doc)*] [$($($derive)*)?] [$($($life)+)?] $vis $name $($fields)* }
        $crate::output! { $($next)* }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __output {
    (
        [$($doc:literal)*] [$($derive:path)*] [$($life:lifetime)*] $vis:vis $name:ident
        $($(#[doc = $field_doc:literal])* $field:ident $(($wire:literal))? : $type:ty),*
        $(, .. $spread:ident : $spread_type:ty)* $(,)?
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone $(, $derive)*)]
        $vis struct $name<$($life),*> {
            $(
                $(#[doc = $field_doc])*
                #[doc = $crate::__member_doc!([$($field_doc)*] $field)]
                $vis $field: $type,
            )*
            $(
                #[doc = "Further members of the same object."]
                $vis $spread: $spread_type,
            )*
        }

        #[automatically_derived]
        impl<$($life),*> $crate::input::Members for $name<$($life),*> {
            fn describe_members(object: &mut $crate::input::ObjectSchema) {
                $($crate::__describe_member!(object, [$($field_doc)*] $field $($wire)?, $type);)*
                $(<$spread_type as $crate::input::Members>::describe_members(object);)*
                let _ = object;
            }
        }

        #[automatically_derived]
        impl<$($life),*> $crate::input::WriteMembers for $name<$($life),*> {
            fn write_members<M: $crate::input::private::SerializeMap>(
                &self,
                object: &mut M,
            ) -> ::core::result::Result<(), M::Error> {
                $($crate::input::private::write_member(
                    object,
                    $crate::__wire!($field $($wire)?),
                    &self.$field,
                )?;)*
                $($crate::input::WriteMembers::write_members(&self.$spread, object)?;)*
                let _ = object;
                Ok(())
            }
        }

        #[automatically_derived]
        impl<$($life),*> $crate::input::Described for $name<$($life),*> {
            fn describe() -> $crate::input::Schema {
                let mut object =
                    $crate::input::ObjectSchema::new(stringify!($name), $crate::input::Others::Ignored);
                <Self as $crate::input::Members>::describe_members(&mut object);
                if object.others == $crate::input::Others::KeptBeside {
                    object.others = $crate::input::Others::Kept;
                }
                $crate::input::Schema::new($crate::input::Kind::Object(object))
                    .described(concat!($($doc, "\n"),*))
            }
        }

        #[automatically_derived]
        impl<$($life),*> $crate::input::private::Serialize for $name<$($life),*> {
            fn serialize<S: $crate::input::private::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                let mut object = serializer.serialize_map(None)?;
                $crate::input::WriteMembers::write_members(self, &mut object)?;
                $crate::input::private::SerializeMap::end(object)
            }
        }
    };
}

/// Declares words that clients choose from: `z.enum([…])`, and `z.literal(…)` if there is one.
///
/// ```ignore
/// choice! {
///     /// In which direction to sort.
///     pub enum Direction { Ascending = "asc", Descending = "desc" }
/// }
/// ```
#[macro_export]
macro_rules! choice {
    (
        $(#[doc = $doc:literal])*
        $vis:vis enum $name:ident { $($(#[doc = $word_doc:literal])* $variant:ident = $word:literal),+ $(,)? }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $name {
            $(
                $(#[doc = $word_doc])*
                #[doc = concat!("`", $word, "`")]
                $variant,
            )+
        }

        impl $name {
            /// All words in order.
            $vis const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word on the wire.
            $vis const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        #[automatically_derived]
        impl ::core::fmt::Display for $name {
            fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        #[automatically_derived]
        impl $crate::input::private::Serialize for $name {
            fn serialize<S: $crate::input::private::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        #[automatically_derived]
        impl $crate::input::Described for $name {
            fn describe() -> $crate::input::Schema {
                $crate::input::Schema::new($crate::input::Kind::Choice(Self::WORDS))
                    .described(concat!($($doc, "\n"),*))
            }
        }

        #[automatically_derived]
        impl $crate::input::Field for $name {
            fn decode(
                value: ::core::option::Option<$crate::input::Json>,
                at: &$crate::input::At<'_>,
                issues: &mut $crate::input::Issues,
            ) -> ::core::option::Option<Self> {
                match value.as_ref().and_then($crate::input::Json::as_str) {
                    $(Some($word) => Some(Self::$variant),)+
                    _ => {
                        $crate::input::private::refuse_choice(Self::WORDS, at, issues);
                        None
                    }
                }
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __wire {
    ($field:ident $wire:literal) => {
        $wire
    };
    ($field:ident) => {{
        const FIELD: &str = stringify!($field);
        const BYTES: [u8; $crate::input::private::camel_length(FIELD)] =
            $crate::input::private::camel_case(FIELD);
        const NAME: &str = match ::core::str::from_utf8(&BYTES) {
            Ok(name) => name,
            Err(_) => FIELD,
        };
        NAME
    }};
}

/// What rustdoc shows for a field that has no description of its own.
#[doc(hidden)]
#[macro_export]
macro_rules! __member_doc {
    ([] $field:ident) => {
        concat!("The member `", stringify!($field), "`.")
    };
    ([$($doc:literal)+] $field:ident) => {
        ""
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __default {
    () => {
        None
    };
    ($default:expr) => {
        Some(|| $default)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __describe_member {
    ($object:ident, [$($doc:literal)*] $field:ident $($wire:literal)?, $type:ty) => {
        $object.property(
            $crate::__wire!($field $($wire)?),
            stringify!($field),
            !<$type as $crate::input::Described>::OMITTABLE,
            <$type as $crate::input::Described>::describe().described(concat!($($doc, "\n"),*)),
        )
    };
    ($object:ident, [$($doc:literal)*] $field:ident $($wire:literal)?, $type:ty, $default:expr) => {{
        let default: $type = $default;
        let schema = <$type as $crate::input::Described>::describe().described(concat!($($doc, "\n"),*));
        $object.property(
            $crate::__wire!($field $($wire)?),
            stringify!($field),
            false,
            schema.or($crate::input::private::to_value(default).unwrap_or_default()),
        )
    }};
}
