//! The endpoints as OpenAPI 3.1: what their descriptions say, with the fields, names and limits of this configuration.
//!
//! Nothing is written down here that an endpoint does not say itself, or that dispatch does not do for all of them:
//! reading bodies, judging origins, counting requests. Paths that are switched off are left out.
//!
//! Upstream: `plugins/open-api`.

use crate::{
    auth::Route,
    config::Config,
    error::Code,
    http::{cookies::Cookie, origin},
    input::{ColumnUse, Columns, Kind as Shape, ObjectSchema, Others, Schema, WriteObject},
    plugin::{Alias, BearerToken, Credential, Endpoint, Manifest, SessionUse},
    store::{Fallback, Field, Kind, Schema as Tables},
};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use url::Url;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
/// The name of the scheme that every installation has.
const COOKIE: &str = "cookie";
/// The name of the shape that all refusals have.
const ERROR: &str = "Error";

/// `routes` are those of the manifest's endpoints, in their order.
pub(crate) fn document(config: &Config, manifest: &Manifest, tables: &Tables, routes: &[Route]) -> Value {
    let (mut schemes, base_path) = (security_schemes(config, manifest), config.path());
    let ways: Vec<Value> = schemes.keys().map(|scheme| json!({ scheme: [] })).collect();
    let mut components = Components { tables, plugin: "", known: Vec::new(), schemas: Map::new() };
    components.schemas.insert(ERROR.to_owned(), error_schema());
    let mut paths: Map<String, Value> = Map::new();
    let mut tags: Vec<&str> = Vec::new();
    let mut names = Vec::new();
    let served: Vec<_> =
        manifest.endpoints.iter().zip(routes).filter(|(_, route)| !route.is_disabled).collect();
    for (endpoint, route) in &served {
        if !tags.contains(&endpoint.plugin) {
            tags.push(endpoint.plugin);
        }
        components.plugin = endpoint.plugin;
        let operation = Operation { config, endpoint, route, ways: &ways };
        let written = operation.write(&mut components, &mut names);
        insert(&mut paths, template(&endpoint.path), &endpoint.method, written);
        if let Some((token, _)) = endpoint.description.bearer {
            schemes.insert(token.name.to_owned(), bearer_scheme(token));
        }
    }
    // Afterwards, so that no name depends on what else somebody may be called by.
    for (endpoint, alias) in
        served.iter().flat_map(|(endpoint, route)| route.aliases.iter().map(move |alias| (endpoint, alias)))
    {
        let written =
            paths.get(&template(&endpoint.path)).and_then(|methods| methods.get(lowercase(&endpoint.method)));
        let Some(mut written) = written.cloned() else { continue };
        let whole = alias.path(&base_path);
        let below = whole.strip_prefix(&base_path).filter(|path| path.starts_with('/'));
        describe_alias(&mut written, endpoint, alias, &mut names);
        if below.is_none() {
            written["servers"] = json!([{ "url": origin_of(config) }]);
        }
        insert(&mut paths, below.unwrap_or(&whole).to_owned(), &alias.method, written);
    }
    components.schemas.sort_keys();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Narthex",
            "description": "Authentication that speaks Better Auth's protocol.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "servers": [{ "url": server(config) }],
        "tags": tags.iter().map(|tag| json!({ "name": tag })).collect::<Vec<_>>(),
        "paths": paths,
        "components": { "schemas": components.schemas, "securitySchemes": schemes },
    })
}

fn server(config: &Config) -> String {
    format!("{}{}", origin_of(config), config.path())
}

fn origin_of(config: &Config) -> String {
    Url::parse(&config.base_url).map(|base| base.origin().ascii_serialization()).unwrap_or_default()
}

fn lowercase(method: &Method) -> String {
    method.as_str().to_ascii_lowercase()
}

/// Of two operations of one path, of which only one is below the base path, the first is described.
fn insert(paths: &mut Map<String, Value>, path: String, method: &Method, operation: Value) {
    if let Some(methods) = paths.entry(path).or_insert_with(|| json!({})).as_object_mut() {
        methods.entry(lowercase(method)).or_insert(operation);
    }
}

/// The endpoint by another path: all but its name and by whom it is called so.
fn describe_alias(operation: &mut Value, endpoint: &Endpoint, alias: &Alias, names: &mut Vec<String>) {
    let own = format!("{}Alias", operation["operationId"].as_str().unwrap_or_default());
    let copies = std::iter::once(own.clone()).chain((2..).map(|copy| format!("{own}{copy}")));
    let name = copies.into_iter().find(|name| !names.contains(name)).unwrap_or(own);
    names.push(name.clone());
    operation["operationId"] = name.into();
    operation["tags"] = json!([alias.plugin]);
    operation["description"] = format!("The same as `{} {}`.", endpoint.method, endpoint.path).into();
}

/// `/reset-password/:token` as `/reset-password/{token}`.
fn template(path: &str) -> String {
    let segments = path.split('/').map(|segment| match segment.strip_prefix(':') {
        Some(name) => format!("{{{name}}}"),
        None => segment.to_owned(),
    });
    segments.collect::<Vec<_>>().join("/")
}

fn security_schemes(config: &Config, manifest: &Manifest) -> Map<String, Value> {
    let mut schemes = Map::new();
    let cookie = Cookie::new(config, "session_token", None).name;
    let description = "A session's token, as sign-in sets it.";
    schemes.insert(
        COOKIE.to_owned(),
        json!({ "type": "apiKey", "in": "cookie", "name": cookie, "description": description }),
    );
    for credential in &manifest.credentials {
        match credential {
            Credential::Bearer { meaning } => schemes.insert(
                "bearer".to_owned(),
                json!({ "type": "http", "scheme": "bearer", "description": meaning }),
            ),
            Credential::Header { name, meaning } => schemes.insert(
                name.to_ascii_lowercase(),
                json!({ "type": "apiKey", "in": "header", "name": name, "description": meaning }),
            ),
        };
    }
    schemes
}

fn bearer_scheme(BearerToken { format, meaning, .. }: BearerToken) -> Value {
    json!({ "type": "http", "scheme": "bearer", "bearerFormat": format, "description": meaning })
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "description": "Why a request was refused.",
        "properties": {
            "message": { "type": "string", "description": "For people." },
            "code": { "type": "string", "description": "For programs, where there is one." },
        },
        "required": ["message"],
    })
}

/// One endpoint on its way into the document.
struct Operation<'a> {
    config: &'a Config,
    endpoint: &'a Endpoint,
    route: &'a Route,
    /// How a session may be shown.
    ways: &'a [Value],
}

impl Operation<'_> {
    /// `names` are those of the operations so far.
    fn write(&self, components: &mut Components<'_>, names: &mut Vec<String>) -> Value {
        let description = &self.endpoint.description;
        let mut operation = Map::new();
        operation.insert("tags".to_owned(), json!([self.endpoint.plugin]));
        if let Some(summary) = description.summary {
            operation.insert("summary".to_owned(), summary.into());
        }
        operation.insert("operationId".to_owned(), self.name(names).into());
        let parameters = self.parameters(components);
        if !parameters.is_empty() {
            operation.insert("parameters".to_owned(), parameters.into());
        }
        if let Some(body) = &description.body {
            let content = json!({ "schema": body.to_json_with(components) });
            let mut types = Map::new();
            types.insert(JSON.to_owned(), content.clone());
            if description.accepts_form {
                types.insert(FORM.to_owned(), content);
            }
            let body = json!({ "required": description.requires_body, "content": types });
            operation.insert("requestBody".to_owned(), body);
        }
        operation.insert("responses".to_owned(), self.responses(components));
        let (mut ways, usage) = match description.bearer {
            Some((token, usage)) => (vec![json!({ token.name: [] })], usage),
            None => (self.ways.to_vec(), description.session),
        };
        if usage == SessionUse::Optional {
            ways.push(json!({}));
        }
        if usage != SessionUse::None {
            operation.insert("security".to_owned(), ways.into());
        }
        Value::Object(operation)
    }

    /// Upstream's name, or the path in camel case; what has the name of another is told from it by its method.
    fn name(&self, names: &mut Vec<String>) -> String {
        let own = self.endpoint.description.operation.map_or_else(
            || {
                let words = pascal_case(&self.endpoint.path);
                let mut characters = words.chars();
                let first = characters.next().unwrap_or('_').to_ascii_lowercase();
                std::iter::once(first).chain(characters).collect()
            },
            str::to_owned,
        );
        let mut name = own.clone();
        let mut copies = 1;
        while names.contains(&name) {
            name = format!("{own}{}", pascal_case(&self.endpoint.method.as_str().to_ascii_lowercase()));
            if copies > 1 {
                name.push_str(&copies.to_string());
            }
            copies += 1;
        }
        names.push(name.clone());
        name
    }

    fn parameters(&self, components: &mut Components<'_>) -> Vec<Value> {
        let path = self.endpoint.path.split('/').filter_map(|segment| segment.strip_prefix(':'));
        let path = path.map(
            |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }),
        );
        let query = self.endpoint.description.query.iter().flat_map(Schema::properties).map(|property| {
            let mut schema = property.schema.to_json_with(components);
            let description = schema.as_object_mut().and_then(|schema| schema.shift_remove("description"));
            let mut parameter =
                json!({ "name": property.name, "in": "query", "required": property.required });
            if let Some(parameter) = parameter.as_object_mut() {
                parameter.extend(description.map(|description| ("description".to_owned(), description)));
                parameter.insert("schema".to_owned(), schema);
            }
            parameter
        });
        path.chain(query).collect()
    }

    fn responses(&self, components: &mut Components<'_>) -> Value {
        let description = &self.endpoint.description;
        let mut responses: BTreeMap<StatusCode, Value> = BTreeMap::new();
        for (status, codes) in self.refusals() {
            responses.insert(status, refusal(status, &codes));
        }
        for other in &description.others {
            let mut response = json!({ "description": other.meaning });
            if let Some(content_type) = other.content_type {
                response["content"] = json!({ content_type: { "schema": { "type": "string" } } });
            }
            responses.insert(other.status, response);
        }
        if let Some(reply) = &description.reply {
            let said = match &reply.kind {
                Shape::Nullable(inner) => inner.description.as_deref(),
                _ => reply.description.as_deref(),
            };
            let meaning = said.or(description.summary).unwrap_or("It is done.");
            let schema = reply.to_json_with(components);
            let response = json!({ "description": meaning, "content": { JSON: { "schema": schema } } });
            responses.insert(StatusCode::OK, response);
        }
        if !responses.keys().any(|status| status.is_success() || status.is_redirection()) {
            responses.insert(StatusCode::OK, json!({ "description": "It is done." }));
        }
        let responses =
            responses.into_iter().map(|(status, response)| (status.as_str().to_owned(), response));
        Value::Object(responses.collect())
    }

    /// By status; a status without a code is one whose message says all.
    fn refusals(&self) -> BTreeMap<StatusCode, Vec<Code>> {
        let endpoint = self.endpoint;
        let mut refusals: BTreeMap<StatusCode, Vec<Code>> = BTreeMap::new();
        let mut add = |status, code| {
            let codes = refusals.entry(status).or_default();
            if !codes.contains(&code) {
                codes.push(code);
            }
        };
        if endpoint.takes_body() {
            add(StatusCode::BAD_REQUEST, Code::BAD_REQUEST);
            add(StatusCode::PAYLOAD_TOO_LARGE, Code::PAYLOAD_TOO_LARGE);
            add(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::UNSUPPORTED_MEDIA_TYPE);
        }
        endpoint.description.refusals.iter().for_each(|(status, code)| add(*status, *code));
        if endpoint.method != Method::GET {
            for code in origin::refusals(self.config, endpoint.takes_body(), endpoint.has_cookies) {
                add(StatusCode::FORBIDDEN, code);
            }
            add(StatusCode::SERVICE_UNAVAILABLE, Code::SERVICE_UNAVAILABLE);
        }
        if self.route.limit.is_some() {
            refusals.entry(StatusCode::TOO_MANY_REQUESTS).or_default();
        }
        refusals
    }
}

fn refusal(status: StatusCode, codes: &[Code]) -> Value {
    let meaning = match status {
        StatusCode::BAD_REQUEST => "What was sent cannot be used.",
        StatusCode::UNAUTHORIZED => "Nobody is signed in, or what was to prove who it is does not.",
        StatusCode::FORBIDDEN => "Not from there, or not for them.",
        StatusCode::NOT_FOUND => "There is no such thing.",
        StatusCode::METHOD_NOT_ALLOWED => "Not with this method.",
        StatusCode::PAYLOAD_TOO_LARGE => "The body is too large.",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "The body is of another type.",
        StatusCode::UNPROCESSABLE_ENTITY => "What was sent is of the right form and cannot be done.",
        StatusCode::TOO_MANY_REQUESTS => "Too often.",
        StatusCode::SERVICE_UNAVAILABLE => "Not now.",
        _ => "It was refused.",
    };
    let mut content = json!({ "schema": { "$ref": reference(ERROR) } });
    if !codes.is_empty() {
        let example = |Code { code, message }: &Code| {
            ((*code).to_owned(), json!({ "value": { "message": message, "code": code } }))
        };
        content["examples"] = Value::Object(codes.iter().map(example).collect());
    }
    let mut response = json!({ "description": meaning });
    let wait = match status {
        StatusCode::TOO_MANY_REQUESTS => Some("X-Retry-After"),
        StatusCode::SERVICE_UNAVAILABLE => Some("Retry-After"),
        _ => None,
    };
    if let Some(header) = wait {
        let seconds = "After how many seconds it is worth trying again.";
        response["headers"] = json!({ header: { "description": seconds, "schema": { "type": "integer" } } });
    }
    response["content"] = json!({ JSON: content });
    response
}

/// `/sign-in/email` as `SignInEmail`.
fn pascal_case(text: &str) -> String {
    let mut name = String::new();
    let mut starts = true;
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            name.push(if starts { character.to_ascii_uppercase() } else { character });
        }
        starts = !character.is_ascii_alphanumeric();
    }
    name
}

fn reference(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

/// The objects that several endpoints share, by name.
struct Components<'a> {
    tables: &'a Tables,
    /// Whose endpoint is written.
    plugin: &'static str,
    known: Vec<(String, ObjectSchema)>,
    schemas: Map<String, Value>,
}

impl WriteObject for Components<'_> {
    fn write(&mut self, object: &ObjectSchema) -> Map<String, Value> {
        let name = match self.known.iter().find(|(_, known)| known == object) {
            Some((name, _)) => name.clone(),
            None => self.add(object),
        };
        Map::from_iter([("$ref".to_owned(), reference(&name).into())])
    }
}

impl Components<'_> {
    /// Of two objects of one name, the second has its plugin's before it.
    fn add(&mut self, object: &ObjectSchema) -> String {
        let mut name = object.name.to_owned();
        let mut copies = 1;
        while name == ERROR || self.known.iter().any(|(known, _)| *known == name) {
            name = format!("{}{}", pascal_case(self.plugin), object.name);
            if copies > 1 {
                name.push_str(&copies.to_string());
            }
            copies += 1;
        }
        self.known.push((name.clone(), object.clone()));
        let mut written = match object.columns {
            None => object.to_json(self),
            Some(columns) => {
                // What other members there may be is known.
                let own = ObjectSchema { others: Others::Ignored, ..object.clone() };
                let mut written = own.to_json(self);
                self.add_columns(&mut written, columns);
                written
            }
        };
        if let Some(description) = &object.description {
            written.insert("description".to_owned(), description.clone().into());
        }
        self.schemas.insert(name.clone(), Value::Object(written));
        name
    }

    fn add_columns(&self, object: &mut Map<String, Value>, Columns { table, usage }: Columns) {
        let Some(table) = self.tables.table(table) else { return };
        let fields: Vec<&Field> = match usage {
            ColumnUse::Shown => table.extra().filter(|field| !field.hidden).collect(),
            ColumnUse::Given | ColumnUse::Changed => table.additional().filter(|field| field.input).collect(),
        };
        let mut required = Vec::new();
        if let Some(Value::Object(properties)) = object.get_mut("properties") {
            for field in fields {
                if properties.contains_key(&*field.name) {
                    continue;
                }
                let (schema, is_required) = column(field, usage);
                properties.insert(field.name.clone().into_owned(), schema);
                if is_required {
                    required.push(Value::from(&*field.name));
                }
            }
        }
        if required.is_empty() {
            return;
        }
        if let Value::Array(all) = object.entry("required").or_insert_with(|| json!([])) {
            all.extend(required);
        }
    }
}

/// The shape of a column's value, and whether it must be there.
fn column(field: &Field, usage: ColumnUse) -> (Value, bool) {
    let mut schema = match field.kind {
        Kind::Text if !field.values.is_empty() => json!({ "type": "string", "enum": field.values }),
        Kind::Text => json!({ "type": "string" }),
        // SQLite keeps fractions, whatever the column is called.
        Kind::Integer | Kind::BigInteger => json!({ "type": "number" }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Time => json!({ "type": "string", "format": "date-time" }),
        Kind::Json => json!({}),
        Kind::TextList => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::NumberList => json!({ "type": "array", "items": { "type": "number" } }),
    };
    let has_default = field.default.is_some();
    let (may_be_null, is_required) = match usage {
        ColumnUse::Shown => (!field.required, true),
        ColumnUse::Given => (!field.required || has_default, field.required && !has_default),
        ColumnUse::Changed => (!field.required, false),
    };
    if let Some(schema) = schema.as_object_mut() {
        if may_be_null {
            if let Some(kind) = schema.get_mut("type") {
                *kind = json!([kind.take(), "null"]);
            }
            if let Some(Value::Array(words)) = schema.get_mut("enum") {
                words.push(Value::Null);
            }
        }
        if let (ColumnUse::Given, Some(Fallback::Value(default))) = (usage, &field.default) {
            schema.extend(serde_json::to_value(default).ok().map(|default| ("default".to_owned(), default)));
        }
    }
    (schema, is_required)
}
