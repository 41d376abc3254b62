//! The decoders against what zod answers to the same values, recorded by running it (`vectors/`).

use serde_json::{Value, json};

use super::*;
use crate::{choice, input, output};

input! {
    /// Body of `POST /sign-up/email`.
    struct SignUpBody {
        /// The user's name.
        name: Text,
        email: Email,
        password: NonEmptyPassword,
        image: Option<Text>,
        callback_url: Option<Text>,
        remember_me: Option<bool>,
        ..rest: Record,
    }

    /// Who wants to sign in.
    struct SignInBody { email: Text, password: Password, callback_url: Option<Text>, remember_me: bool = true }

    struct SignOutBody {
        /// Where to go
        /// afterwards.
        callback_url ("callbackURL"): Option<Text>,
        disable_redirect: Option<bool>,
        state: Option<Text>,
    }

    struct GetSessionQuery {
        disable_cookie_cache: Option<CoercedBoolean>,
        disable_refresh: Option<CoercedBoolean>,
    }

    #[strict]
    #[derive(PartialEq)]
    struct StrictBody { wallet: Text, chain_id: Option<Number> }

    struct LooseBody { a: Text, ..rest: Loose }

    struct Callbacks { callback_url: Option<Text>, error_callback_url: Option<Text> }

    struct SharedBody { token: Text, ..callbacks: Callbacks }

    struct Inner { b: Vec<Innermost> }

    struct Innermost { c: Text }

    struct Empty {}
}

choice! {
    /// In which direction to sort.
    enum Direction { Ascending = "asc", Descending = "desc" }
}

choice! {
    enum Confirmation { Confirm = "confirm" }
}

/// Decodes `{ a: … }` and gives back what zod would.
macro_rules! single {
    ($type:ty, $value:expr $(, $default:expr)?) => {{
        input! { struct Body { a: $type $(= $default)? } }
        Body::from_value($value).map(|body| {
            if body.a.is_omitted() { json!({}) } else { json!({ "a": body.a }) }
        })
    }};
}

fn decode(schema: &str, value: Option<Value>) -> Result<Value, Issues> {
    match schema {
        "signUp" => SignUpBody::from_value(value).map(|body| {
            let mut object =
                json!({ "name": body.name, "email": body.email, "password": body.password.expose() });
            let optional = [
                ("image", body.image.map(Value::from)),
                ("callbackURL", body.callback_url.map(Value::from)),
                ("rememberMe", body.remember_me.map(Value::from)),
            ];
            for (name, value) in optional {
                if let Some(value) = value {
                    object[name] = value;
                }
            }
            object.as_object_mut().unwrap().extend(body.rest);
            object
        }),
        "signIn" => SignInBody::from_value(value).map(|body| {
            let mut object = json!({ "email": body.email, "password": body.password.expose() });
            if let Some(url) = body.callback_url {
                object["callbackURL"] = url.into();
            }
            object["rememberMe"] = body.remember_me.into();
            object
        }),
        "signOut" => Option::<SignOutBody>::from_value(value).map(|body| {
            body.map_or(Value::Null, |body| {
                let members = [
                    ("callbackURL", body.callback_url.map(Value::from)),
                    ("disableRedirect", body.disable_redirect.map(Value::from)),
                    ("state", body.state.map(Value::from)),
                ];
                members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
            })
        }),
        "getSession" => Option::<GetSessionQuery>::from_value(value).map(|query| {
            query.map_or(Value::Null, |query| {
                let members = [
                    ("disableCookieCache", query.disable_cookie_cache),
                    ("disableRefresh", query.disable_refresh),
                ];
                members
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.to_owned(), json!(value?))))
                    .collect()
            })
        }),
        "strict" => StrictBody::from_value(value).map(|body| match body.chain_id {
            Some(chain) => json!({ "wallet": body.wallet, "chainId": chain }),
            None => json!({ "wallet": body.wallet }),
        }),
        "loose" => LooseBody::from_value(value).map(|body| {
            let mut object = json!({ "a": body.a });
            object.as_object_mut().unwrap().extend(body.rest.0);
            object
        }),
        "shared" => SharedBody::from_value(value).map(|body| match body.callbacks.callback_url {
            Some(url) => json!({ "token": body.token, "callbackURL": url }),
            None => json!({ "token": body.token, "errorCallbackURL": body.callbacks.error_callback_url }),
        }),
        "nested" => {
            input! { struct Body { a: Inner } }
            Body::from_value(value).map(|body| {
                let items: Vec<_> = body.a.b.into_iter().map(|item| json!({ "c": item.c })).collect();
                json!({ "a": { "b": items } })
            })
        }
        "coercedDate" => {
            input! { struct Body { a: CoercedDate } }
            Body::from_value(value).map(|body| json!({ "a": body.a.milliseconds() }))
        }
        _ => decode_single(schema, value),
    }
}

fn decode_single(schema: &str, value: Option<Value>) -> Result<Value, Issues> {
    match schema {
        "text" => single!(Text, value),
        "email" => single!(Email, value),
        "url" => single!(Url, value),
        "boolean" => single!(bool, value),
        "number" => single!(Number, value),
        "integer" => single!(Integer, value),
        "any" => single!(Json, value),
        "record" => single!(Record, value),
        "entries" => single!(Entries<Vec<Text>>, value),
        "list" => single!(Vec<Text>, value),
        "nonEmptyText" => single!(NonEmptyText, value),
        "bounded" => single!(BoundedText<3, 5>, value),
        "exact" => single!(BoundedText<3, 3>, value),
        "nonEmptyList" => single!(NonEmptyList<Text>, value),
        "emailList" => single!(BoundedList<Email, 3>, value),
        "integerList" => single!(BoundedList<Integer, 3>, value),
        "cappedList" => single!(BoundedList<Text, 2, 3>, value),
        "oneItem" => single!(BoundedList<Text, 1, 1>, value),
        "choice" => single!(Direction, value),
        "literal" => single!(Confirmation, value),
        "true" => single!(True, value),
        "nullable" => single!(Nullable<Text>, value),
        "nullish" => single!(Nullish<Text>, value),
        "optional" => single!(Option<Text>, value),
        "union" => single!(Either<Text, Number>, value),
        "unionList" => single!(Either<Text, Vec<Text>>, value),
        "unionEmail" => single!(Either<Email, Number>, value),
        "unionEmails" => single!(Either<Email, BoundedText<3>>, value),
        "positive" => single!(Refined<Integer, (MoreThan<0>, Maximum<10>)>, value),
        "minimum" => single!(Refined<Number, Minimum<1>>, value),
        "defaulted" => single!(Text, value, "/".to_owned()),
        "coercedBoolean" => single!(CoercedBoolean, value),
        "coercedBooleanOptional" => single!(Option<CoercedBoolean>, value),
        "coercedNumber" => single!(CoercedNumber, value),
        "coercedText" => single!(CoercedText, value),
        other => panic!("no decoder for {other}"),
    }
}

fn lines(text: &'static str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

/// The text of a value in upstream's order of keys.
fn canonical(mut value: Value) -> String {
    as_javascript(&mut value);
    value.to_string()
}

#[test]
fn every_recorded_value_is_read_or_refused_as_upstream_does() {
    let mut differences = Vec::new();
    let mut count = 0;
    for mut row in lines(include_str!("vectors/issues.jsonl")) {
        count += 1;
        let schema = row["schema"].as_str().unwrap().to_owned();
        let input = row.as_object_mut().unwrap().shift_remove("input");
        let shown = input.as_ref().map_or("nothing".to_owned(), Value::to_string);
        let ours = match decode(&schema, input) {
            Ok(value) => canonical(value),
            Err(issues) => issues.message("body"),
        };
        let theirs = match row["issues"].as_str() {
            Some(issues) => issues.to_owned(),
            None => canonical(row["value"].take()),
        };
        if ours != theirs {
            differences.push(format!("{schema} of {shown}\n  ours   {ours}\n  theirs {theirs}"));
        }
    }
    assert!(count > 500, "only {count} vectors");
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn email_addresses_are_judged_as_upstream_judges_them() {
    for row in lines(include_str!("vectors/emails.jsonl")) {
        let text = row[1].as_str().unwrap();
        assert_eq!(email::is_email(text), row[0].as_bool().unwrap(), "{text:?}");
    }
}

#[test]
fn forms_are_read_as_upstream_reads_them() {
    for row in lines(include_str!("vectors/forms.jsonl")) {
        let bytes: Vec<u8> =
            row[0].as_array().unwrap().iter().map(|b| u8::try_from(b.as_u64().unwrap()).unwrap()).collect();
        let ours = serde_json::to_string(&from_form(&bytes)).unwrap();
        assert_eq!(ours, row[1].to_string(), "{:?}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn query_strings_are_read_as_upstream_reads_them() {
    for row in lines(include_str!("vectors/queries.jsonl")) {
        let query = row[0].as_str().unwrap();
        assert_eq!(serde_json::to_string(&from_query(query)).unwrap(), row[1].to_string(), "{query}");
    }
}

#[test]
fn a_prototype_cannot_be_sent_in_a_query() {
    assert_eq!(json!(from_query("__proto__=1&a=2")), json!({ "a": "2" }));
}

#[test]
fn a_repeated_parameter_is_refused_where_text_is_expected() {
    input! { struct Query { token: Text } }
    let token = |query| Query::from_value(Some(from_query(query).into())).map(|query| query.token);
    assert_eq!(token("token=a").unwrap(), "a");
    let issues = token("token=a&token=b").unwrap_err();
    assert_eq!(issues.message("query"), "[query.token] Invalid input: expected string, received array");
}

#[test]
fn a_boolean_of_a_form_is_text_and_refused() {
    let form = from_form(b"name=n&email=a%40b.co&password=p&rememberMe=false");
    let issues = SignUpBody::from_value(Some(form.into())).unwrap_err();
    assert_eq!(issues.message("body"), "[body.rememberMe] Invalid input: expected boolean, received string");
}

#[test]
fn an_empty_struct_still_wants_an_object() {
    assert!(Empty::from_value(Some(json!({ "x": 1 }))).is_ok());
    let issues = Empty::from_value(None).unwrap_err();
    assert_eq!(issues.message("body"), "[body] Invalid input: expected object, received undefined");
}

#[test]
fn the_path_of_an_issue_is_kept_in_parts() {
    let issues = Vec::<Innermost>::from_value(Some(json!([{ "c": "x" }, {}]))).unwrap_err();
    let [issue] = issues.iter().collect::<Vec<_>>()[..] else { panic!("{issues:?}") };
    assert_eq!(issue.path, [PathSegment::Index(1), PathSegment::Key("c".into())]);
}

#[test]
fn strings_are_moved_and_not_copied() {
    let name = "a name that owns its memory".to_owned();
    let address = name.as_ptr();
    let body = json!({ "email": "x", "password": "y" });
    let Value::Object(mut body) = body else { unreachable!() };
    body.insert("email".to_owned(), Value::String(name));
    let body = SignInBody::from_value(Some(body.into())).unwrap();
    assert_eq!(body.email.as_ptr(), address);
}

#[test]
fn a_password_does_not_show_in_the_debug_text_of_its_body() {
    let body = json!({ "name": "n", "email": "a@b.co", "password": "correct horse" });
    let body = SignUpBody::from_value(Some(body)).unwrap();
    let shown = format!("{body:?}");
    assert!(shown.contains("password: ***") && !shown.contains("horse"), "{shown}");
}

/// The recorded schema of an upstream endpoint, without descriptions.
fn without_descriptions(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(object) => {
            if object.get("description").is_some_and(Value::is_string) {
                object.shift_remove("description");
            }
            for member in object.values_mut() {
                *member = without_descriptions(member.take());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_descriptions(item.take())),
        _ => {}
    }
    schema
}

#[test]
fn schemas_equal_those_that_upstream_publishes() {
    let ours = [
        ("signUpEmail", SignUpBody::describe()),
        ("signInEmail", SignInBody::describe()),
        ("signOut", Option::<SignOutBody>::describe()),
        ("getSession", Option::<GetSessionQuery>::describe()),
    ];
    let theirs: Value = serde_json::from_str(include_str!("vectors/schemas.json")).unwrap();
    for (endpoint, schema) in ours {
        assert_eq!(without_descriptions(schema.to_json()), theirs[endpoint], "{endpoint}");
    }
}

#[test]
fn doc_comments_become_descriptions() {
    let schema = SignOutBody::describe();
    assert_eq!(schema.properties()[0].schema.description.as_deref(), Some("Where to go\nafterwards."));
    assert_eq!(schema.properties()[1].schema.description, None);
    assert_eq!(SignUpBody::describe().description.as_deref(), Some("Body of `POST /sign-up/email`."));
}

#[test]
fn the_schema_of_a_type_is_spelled_as_upstream_spells_it() {
    let cases = [
        (Nullable::<Text>::describe(), json!({ "type": ["string", "null"] })),
        (
            Nullable::<Vec<Text>>::describe(),
            json!({ "anyOf": [{ "type": "array", "items": { "type": "string" } }, { "type": "null" }] }),
        ),
        (Either::<Text, Number>::describe(), json!({ "type": ["string", "number"] })),
        (BoundedText::<1, 256>::describe(), json!({ "type": "string", "minLength": 1, "maxLength": 256 })),
        (
            NonEmptyList::<Text>::describe(),
            json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 }),
        ),
        (
            Refined::<Integer, MoreThan<0>>::describe(),
            json!({ "type": "integer", "exclusiveMinimum": 0, "maximum": 9_007_199_254_740_991_i64 }),
        ),
        (Refined::<Number, Minimum<1>>::describe(), json!({ "type": "number", "minimum": 1 })),
        (
            Integer::describe(),
            json!({
                "type": "integer", "minimum": -9_007_199_254_740_991_i64, "maximum": 9_007_199_254_740_991_i64
            }),
        ),
        (
            Direction::describe(),
            json!({
                "type": "string", "enum": ["asc", "desc"], "description": "In which direction to sort."
            }),
        ),
        (Confirmation::describe(), json!({ "type": "string", "const": "confirm" })),
        (True::describe(), json!({ "type": "boolean", "const": true })),
        (Url::describe(), json!({ "type": "string", "format": "uri" })),
    ];
    for (schema, expected) in cases {
        assert_eq!(schema.to_json(), expected);
    }
    assert_eq!(StrictBody::describe().to_json()["additionalProperties"], json!(false));
    assert_eq!(LooseBody::describe().to_json()["additionalProperties"], json!({}));
}

#[test]
fn properties_know_both_their_names_and_their_type() {
    let schema = SharedBody::describe();
    let listed: Vec<_> = schema
        .properties()
        .iter()
        .map(|property| (property.name, property.field, property.required, property.schema.type_name()))
        .collect();
    assert_eq!(
        listed,
        [
            ("token", "token", true, "text".into()),
            ("callbackURL", "callback_url", false, "text".into()),
            ("errorCallbackURL", "error_callback_url", false, "text".into()),
        ]
    );
}

#[test]
fn wire_names_are_camel_case() {
    input! {
        struct Names {
            r#type: Text,
            new_user_callback_url: Text,
            url: Text,
            url_prefix: Text,
            curly_braces: Text,
            client_id ("client_id"): Text,
            two_factor_2: Text,
        }
    }
    let sent = json!({
        "type": "1", "newUserCallbackURL": "2", "url": "3", "urlPrefix": "4", "curlyBraces": "5", "client_id": "6",
        "twoFactor2": "7"
    });
    let names = Names::from_value(Some(sent.clone())).unwrap();
    assert_eq!(
        [names.r#type, names.new_user_callback_url, names.url, names.url_prefix, names.curly_braces],
        ["1", "2", "3", "4", "5"]
    );
    assert_eq!([names.client_id, names.two_factor_2], ["6", "7"]);
    let schema = Names::describe();
    let described: Vec<_> = schema.properties().iter().map(|property| property.name).collect();
    assert_eq!(described, sent.as_object().unwrap().keys().collect::<Vec<_>>());
}

output! {
    /// The answer.
    #[derive(PartialEq)]
    struct Answer<'a> {
        redirect: bool,
        /// The session's token.
        token: Nullable<&'a str>,
        url: Option<String>,
        nothing: Nullish<bool>,
        user: Person,
        ..extra: Record,
    }

    #[derive(PartialEq)]
    struct Person { id: String, image_url ("imageUrl"): Nullable<String> }
}

#[test]
fn a_reply_keeps_the_order_of_its_fields_and_tells_null_from_nothing() {
    let mut extra = Record::new();
    extra.insert("zeta".to_owned(), json!(1));
    extra.insert("alpha".to_owned(), json!(null));
    let person = Person { id: "1".to_owned(), image_url: Nullable(None) };
    let mut answer = Answer {
        redirect: false,
        token: None.into(),
        url: None,
        nothing: Nullish::Absent,
        user: person,
        extra,
    };
    assert_eq!(
        serde_json::to_string(&answer).unwrap(),
        r#"{"redirect":false,"token":null,"user":{"id":"1","imageUrl":null},"zeta":1,"alpha":null}"#
    );
    answer.token = Some("t").into();
    answer.url = Some("/".to_owned());
    answer.nothing = Nullish::Null;
    assert_eq!(
        serde_json::to_string(&answer).unwrap(),
        concat!(
            r#"{"redirect":false,"token":"t","url":"/","nothing":null,"#,
            r#""user":{"id":"1","imageUrl":null},"zeta":1,"alpha":null}"#
        )
    );
}

#[test]
fn the_schema_of_a_reply_requires_what_is_always_there() {
    let schema = Answer::describe().to_json();
    assert_eq!(schema["required"], json!(["redirect", "token", "user"]));
    assert_eq!(schema["additionalProperties"], json!({}));
    let token = json!({ "type": ["string", "null"], "description": "The session's token." });
    assert_eq!(schema["properties"]["token"], token);
    assert_eq!(schema["properties"]["user"]["required"], json!(["id", "imageUrl"]));
}

/// A rule that a feature brings itself.
#[derive(Debug)]
struct Lowercase;

impl Rule<Text> for Lowercase {
    fn check(value: &Text, object: &mut dyn FnMut(Cow<'static, str>)) {
        if value.chars().any(char::is_uppercase) {
            object("Use small letters".into());
        }
    }

    fn describe(schema: &mut Schema) {
        schema.description = Some("Small letters".into());
    }
}

#[test]
fn a_rule_reports_in_its_own_words() {
    input! { struct Body { slug: Refined<Text, Lowercase> } }
    let issues = Body::from_value(Some(json!({ "slug": "A" }))).unwrap_err();
    assert_eq!(issues.message("body"), "[body.slug] Use small letters");
    assert_eq!(&**Body::from_value(Some(json!({ "slug": "a" }))).unwrap().slug, "a");
    assert_eq!(Body::describe().properties()[0].schema.description.as_deref(), Some("Small letters"));
}

#[test]
fn numbers_take_the_form_that_javascript_gives_them() {
    let text = r#"{"b":1.0,"10":-0.0,"9":[12345678901234567890,9007199254740993,1.5],"01":{"1":0,"0":1}}"#;
    assert_eq!(
        canonical(serde_json::from_str(text).unwrap()),
        r#"{"9":[12345678901234567000,9007199254740992,1.5],"10":0,"b":1,"01":{"0":1,"1":0}}"#
    );
}
