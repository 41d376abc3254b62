//! Whether replies are what the description of the endpoints says they are.

use narthex::{Auth, Time};
use serde_json::{Map, Value};

/// The description of the endpoints of an app, to hold its replies against.
///
/// It is read more strictly than a client would: a member that no shape has, a status or a code of which nothing was
/// said is a breach.
pub struct Contract(Value);

/// A reply as it came.
#[derive(Clone, Copy)]
pub struct Replied<'a> {
    /// Its status.
    pub status: u16,
    /// Its `Content-Type`; empty when it has none.
    pub content_type: &'a str,
    /// Its body.
    pub body: &'a [u8],
}

impl Contract {
    /// Of the endpoints of this engine.
    pub fn of(auth: &Auth) -> Self {
        Self(auth.openapi())
    }

    /// The description.
    pub fn document(&self) -> &Value {
        &self.0
    }

    /// Everything that stands in the description more than once, by a reference such as `#/components/schemas/User`.
    pub fn referred(&self, reference: &str) -> Option<&Value> {
        self.0.pointer(reference.strip_prefix('#')?)
    }

    /// What is said of an endpoint; `path` is below the base path and may have a query. What is found elsewhere, by a path
    /// of another server, is none.
    pub fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let path = path.split('?').next().unwrap_or_default();
        let paths = self.0["paths"].as_object()?;
        let fits = |template: &str| {
            let (mut parts, mut given) = (template.split('/'), path.split('/'));
            parts
                .by_ref()
                .all(|part| given.next().is_some_and(|given| part == given || part.starts_with('{')))
                && given.next().is_none()
        };
        let (_, methods) = paths.iter().find(|(template, _)| fits(template))?;
        methods.get(method.to_lowercase()).filter(|operation| operation.get("servers").is_none())
    }

    /// How a reply is not as it is described; nothing of what is no endpoint, or a fault of ours.
    pub fn breach(&self, method: &str, path: &str, reply: Replied<'_>) -> Option<String> {
        if reply.status == 500 {
            return None;
        }
        let operation = self.operation(method, path)?;
        let problem = self.judge(&operation["responses"], reply).err()?;
        Some(format!("{method} {path}: {problem}: {} {}", reply.status, String::from_utf8_lossy(reply.body)))
    }

    fn judge(&self, responses: &Value, reply: Replied<'_>) -> Result<(), String> {
        let response = responses.get(reply.status.to_string()).ok_or("nothing is said of this status")?;
        let Some(content) = response.get("content") else {
            return if reply.body.is_empty() { Ok(()) } else { Err("nothing is said of a body".to_owned()) };
        };
        let essence = reply.content_type.split(';').next().unwrap_or_default();
        let content = content.get(essence).ok_or_else(|| format!("nothing is said of {essence:?}"))?;
        if essence != "application/json" {
            return Ok(());
        }
        let body: Value = serde_json::from_slice(reply.body).map_err(|error| error.to_string())?;
        self.check(&content["schema"], &body, "body")?;
        match body.get("code").and_then(Value::as_str) {
            Some(code) if reply.status >= 400 && content["examples"].get(code).is_none() => {
                Err(format!("nothing is said of the code {code}"))
            }
            _ => Ok(()),
        }
    }

    /// How a value does not have the shape that a schema describes; `place` is what it is called then.
    pub fn check(&self, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
        let schema = schema.as_object().ok_or_else(|| format!("{place}: its schema is no object"))?;
        for (keyword, said) in schema {
            self.check_keyword(schema, keyword, said, value, place)?;
        }
        Ok(())
    }

    fn check_keyword(
        &self,
        schema: &Map<String, Value>,
        keyword: &str,
        said: &Value,
        value: &Value,
        place: &str,
    ) -> Result<(), String> {
        let is_right = match keyword {
            "description" | "default" | "required" | "additionalProperties" | "propertyNames" => true,
            "$ref" => {
                let referred = said.as_str().and_then(|reference| self.referred(reference));
                return self.check(referred.ok_or_else(|| format!("{said} is not there"))?, value, place);
            }
            "anyOf" => {
                let options = said.as_array().into_iter().flatten();
                options.clone().any(|option| self.check(option, value, place).is_ok())
            }
            "allOf" => {
                let mut all = said.as_array().into_iter().flatten();
                return all.try_for_each(|one| self.check(one, value, place));
            }
            "type" => {
                let mut types = said.as_array().map_or(std::slice::from_ref(said), Vec::as_slice).iter();
                types.any(|name| name.as_str().is_some_and(|name| is_a(name, value)))
            }
            "minimum" => value.as_f64().zip(said.as_f64()).is_none_or(|(value, least)| value >= least),
            "maximum" => value.as_f64().zip(said.as_f64()).is_none_or(|(value, most)| value <= most),
            "const" => said == value,
            "enum" => said.as_array().is_some_and(|words| words.contains(value)),
            "format" if said == "date-time" => value
                .as_str()
                .is_none_or(|text| Time::parse(text).is_some_and(|time| time.to_string() == text)),
            "items" => {
                let mut items = value.as_array().into_iter().flatten().enumerate();
                return items
                    .try_for_each(|(index, item)| self.check(said, item, &format!("{place}[{index}]")));
            }
            "properties" => return self.check_members(schema, said, value, place),
            // A reply is never bounded by what is said of texts that clients send.
            other => return Err(format!("{place}: nobody checks {other:?}")),
        };
        if is_right { Ok(()) } else { Err(format!("{place}: {value} breaks {keyword:?}: {said}")) }
    }

    fn check_members(
        &self,
        schema: &Map<String, Value>,
        properties: &Value,
        value: &Value,
        place: &str,
    ) -> Result<(), String> {
        let Some(members) = value.as_object() else { return Ok(()) };
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if !members.contains_key(name) {
                return Err(format!("{place}.{name} is missing"));
            }
        }
        for (name, member) in members {
            let place = format!("{place}.{name}");
            match properties.get(name).or(schema.get("additionalProperties")) {
                Some(Value::Bool(true)) => {}
                Some(said) => self.check(said, member, &place)?,
                None => return Err(format!("nothing is said of {place}")),
            }
        }
        Ok(())
    }
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn contract() -> Contract {
        Contract(json!({
            "paths": {
                "/people/{id}": { "get": { "responses": {
                    "200": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Person" } } } },
                    "304": {},
                    "400": { "content": { "application/json": { "schema": {}, "examples": { "KNOWN": {} } } } },
                } } },
            },
            "components": { "schemas": { "Person": {
                "type": "object",
                "properties": {
                    "name": { "type": "string" },
                    "born": { "anyOf": [{ "type": "string", "format": "date-time" }, { "type": "null" }] },
                    "tags": { "type": "array", "items": { "enum": ["a", "b"] } },
                },
                "required": ["name"],
            } } },
        }))
    }

    fn breach(path: &str, status: u16, body: &str) -> Option<String> {
        let reply =
            Replied { status, content_type: "application/json; charset=utf-8", body: body.as_bytes() };
        contract().breach("GET", path, reply)
    }

    #[test]
    fn replies_that_are_as_described_are_no_breach() {
        for (path, status, body) in [
            ("/people/1", 200, r#"{"name":"Ada","born":"1815-12-10T00:00:00.000Z","tags":["a","b"]}"#),
            ("/people/1?x=/y", 200, r#"{"name":"Ada","born":null}"#),
            ("/people/1", 304, ""),
            ("/people/1", 400, r#"{"code":"KNOWN"}"#),
            ("/people/1", 400, r#"{"message":"without a code"}"#),
            ("/people/1", 500, ""),
            ("/elsewhere", 200, "anything"),
            ("/people/1/more", 200, "anything"),
        ] {
            assert_eq!(breach(path, status, body), None, "{path} {status} {body}");
        }
    }

    #[test]
    fn everything_else_is_a_breach() {
        for (status, body, problem) in [
            (200, r#"{"born":null}"#, "body.name is missing"),
            (200, r#"{"name":1}"#, "body.name: 1 breaks \"type\""),
            (200, r#"{"name":"Ada","born":"yesterday"}"#, "body.born: \"yesterday\" breaks \"anyOf\""),
            (200, r#"{"name":"Ada","tags":["c"]}"#, "body.tags[0]: \"c\" breaks \"enum\""),
            (200, r#"{"name":"Ada","secret":1}"#, "nothing is said of body.secret"),
            (200, "[]", "body: [] breaks \"type\""),
            (200, "", "EOF"),
            (304, "{}", "nothing is said of a body"),
            (400, r#"{"code":"UNKNOWN"}"#, "nothing is said of the code UNKNOWN"),
            (418, "", "nothing is said of this status"),
        ] {
            let breach = breach("/people/1", status, body).expect("a breach");
            assert!(breach.contains(problem), "{breach}");
        }
        let page = Replied { status: 200, content_type: "text/html", body: b"" };
        assert!(contract().breach("GET", "/people/1", page).expect("a breach").contains("\"text/html\""));
    }

    #[test]
    fn a_keyword_that_nobody_checks_is_a_breach() {
        assert!(contract().check(&json!({ "oneOf": [] }), &json!(1), "it").is_err());
    }
}
