//! What a line means.

use narthex::{
    Auth, Time,
    crypto::password::{KNOWN_FORMATS, PasswordError, check_stored},
    model::{NewUser, User},
};
use serde_json::{Map, Value as Json};

/// What a line adds.
pub(super) enum Entry {
    /// A user, and the hash of their password if they have one.
    User { user: Box<User>, hash: Option<String>, has_id: bool },
    /// A password for a user of this id: from an export, which has users and their accounts apart.
    Password { user_id: String, hash: String },
    /// Nothing: the row of an export that is no user and no password.
    Other,
}

/// Fields that have a meaning here, each with all its names.
const FIELDS: [&[&str]; 8] = [
    &["id"],
    &["email"],
    &["name"],
    &["emailVerified", "email_verified"],
    &["image", "picture"],
    &["createdAt", "created_at"],
    &["updatedAt", "updated_at"],
    &["passwordHash", "password_hash"],
];
/// Auth0's own, in its files of password hashes.
const IGNORED: [&str; 4] = ["_id", "tenant", "connection", "_tmp_is_unique"];
/// RFC 5321's longest path.
const LONGEST_ADDRESS: usize = 254;
/// No hash that is known comes near.
const LONGEST_HASH: usize = 1024;

/// Why a password that is apart from its user is refused.
const IDS_ARE_LOST: &str = "userId: ids are not kept, so that whose password this is cannot be known; put the hash into the user's line as passwordHash";

/// How lines become entries.
pub(super) struct Reading<'a> {
    pub(super) auth: &'a Auth,
    /// Whether there are only texts.
    pub(super) has_texts_only: bool,
    /// Names to be left out.
    pub(super) ignored: &'a [String],
}

impl Reading<'_> {
    /// Names that mean nothing, and why that is a mistake.
    pub(super) fn check_names<'a>(&self, names: impl Iterator<Item = &'a String>) -> Vec<String> {
        let unknown = names.filter(|name| !self.is_known(name));
        unknown.map(|name| self.unknown(name)).collect()
    }

    /// What a line adds, or all that is wrong with it.
    pub(super) fn entry(&self, mut given: Map<String, Json>) -> Result<Entry, Vec<String>> {
        if let (2, Some(Json::String(table)), Some(Json::Object(_))) =
            (given.len(), given.get("table"), given.get("row"))
        {
            let table = table.clone();
            let Some(Json::Object(row)) = given.shift_remove("row") else { return Ok(Entry::Other) };
            return match table.as_str() {
                "user" => self.user(row),
                "account" => self.password(&row),
                _ => Ok(Entry::Other),
            };
        }
        self.user(given)
    }

    fn user(&self, mut given: Map<String, Json>) -> Result<Entry, Vec<String>> {
        // A field of the operator's may be empty where it has a default.
        given.retain(|name, value| !self.is_ignored(name) && (!value.is_null() || !self.has_meaning(name)));
        let mut problems = self.check_names(given.keys());
        let [id, email, name, verified, image, created, updated, hash] = FIELDS.map(|names| {
            let mut values = names
                .iter()
                .filter(|name| !self.is_additional(name))
                .filter_map(|name| given.shift_remove(*name));
            let value = values.next();
            if values.next().is_some() {
                problems.push(format!("{}: are the same; leave one out", names.join(" and ")));
            }
            value
        });
        let mut note = |name: &str, problem: &str| problems.push(format!("{name}: {problem}"));
        let mut text = |name: &str, value: Option<Json>| match value {
            None => None,
            Some(Json::String(text)) => Some(text),
            Some(_) => {
                note(name, "must be text");
                None
            }
        };
        let (id, email, name, image, hash) = (
            text("id", id),
            text("email", email),
            text("name", name),
            text("image", image),
            text("passwordHash", hash),
        );
        let email = email.unwrap_or_default();
        match email.len() {
            0 => note("email", "is missing"),
            1..=LONGEST_ADDRESS => {}
            _ => note("email", "is longer than 254 bytes"),
        }
        let email_verified = verified.as_ref().map_or(Some(false), truth);
        if email_verified.is_none() {
            note("emailVerified", "must be true or false");
        }
        let mut time = |name: &str, value: Option<Json>| match value {
            None => None,
            Some(value) => {
                let time = value.as_str().and_then(Time::parse);
                if time.is_none() {
                    note(name, "must be a time such as 2026-11-21T09:30:00Z");
                }
                time
            }
        };
        let (created_at, updated_at) = (time("createdAt", created), time("updatedAt", updated));
        if let Some(id) = &id
            && let Err(problem) = self.auth.check_id(id)
        {
            note("id", problem);
        }
        if let Some(problem) = hash.as_deref().and_then(wrong_hash) {
            note("passwordHash", &problem);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        if self.has_texts_only {
            self.auth.read_texts(&mut given).map_err(|error| vec![error.message().to_owned()])?;
        }
        let name = name.unwrap_or_else(|| email.split('@').next().unwrap_or_default().to_owned());
        let new = NewUser { name, email, email_verified: email_verified.unwrap_or_default(), image };
        let mut user = self.auth.new_user(new, given).map_err(|error| match error.code() {
            Some("INVALID_EMAIL") => vec!["email: is no address that Better Auth's clients take".to_owned()],
            _ => vec![error.message().to_owned()],
        })?;
        let has_id = id.is_some();
        user.id = id.unwrap_or(user.id);
        user.created_at = created_at.unwrap_or(user.created_at);
        user.updated_at = updated_at.unwrap_or(user.created_at);
        Ok(Entry::User { user: Box::new(user), hash, has_id })
    }

    /// An account of an export.
    fn password(&self, row: &Map<String, Json>) -> Result<Entry, Vec<String>> {
        let text = |name: &str| row.get(name).and_then(Json::as_str);
        if text("providerId") != Some("credential") {
            return Ok(Entry::Other);
        }
        let Some(hash) = text("password") else { return Ok(Entry::Other) };
        if self.is_ignored("id") || !self.auth.takes_ids() {
            return Err(vec![IDS_ARE_LOST.to_owned()]);
        }
        let mut problems = Vec::new();
        if let Some(problem) = wrong_hash(hash) {
            problems.push(format!("password: {problem}"));
        }
        let user_id = text("userId");
        if let Err(problem) = user_id.map_or(Err("is missing"), |id| self.auth.check_id(id)) {
            problems.push(format!("userId: {problem}"));
        }
        match user_id {
            Some(user_id) if problems.is_empty() => {
                Ok(Entry::Password { user_id: user_id.to_owned(), hash: hash.to_owned() })
            }
            _ => Err(problems),
        }
    }

    fn is_known(&self, name: &str) -> bool {
        self.has_meaning(name) || self.is_additional(name) || self.is_ignored(name)
    }

    /// Whether a field of this name has a meaning here.
    fn has_meaning(&self, name: &str) -> bool {
        FIELDS.iter().any(|names| names.contains(&name)) && !self.is_additional(name)
    }

    /// Whether the operator or a plugin has given users a field of this name.
    fn is_additional(&self, name: &str) -> bool {
        let table = self.auth.store().schema().table("user");
        table.is_some_and(|table| table.additional().any(|field| field.name == name))
    }

    fn is_ignored(&self, name: &str) -> bool {
        self.ignored.iter().any(|ignored| ignored == name)
            || IGNORED.contains(&name) && !self.is_additional(name)
    }

    fn unknown(&self, name: &str) -> String {
        let mut known: Vec<&str> = FIELDS.iter().filter_map(|names| names.first().copied()).collect();
        if let Some(table) = self.auth.store().schema().table("user") {
            known.extend(table.additional().map(|field| &*field.name));
        }
        let name = name.escape_debug();
        format!("{name}: is no field of a user ({}); `--ignore {name}` leaves it out", known.join(", "))
    }
}

/// What is wrong with a hash, which is not shown.
fn wrong_hash(hash: &str) -> Option<String> {
    if hash.len() > LONGEST_HASH {
        return Some(format!("is longer than {LONGEST_HASH} bytes"));
    }
    let problem = check_stored(hash).err()?;
    Some(match problem {
        PasswordError::UnknownFormat => format!("is in no known format; known are {KNOWN_FORMATS}"),
        PasswordError::Malformed => "begins like a hash of a known format and does not go on so".to_owned(),
        PasswordError::Cost => "would take too long to compare: its cost is out of bounds".to_owned(),
    })
}

/// As databases and spreadsheets write it.
fn truth(value: &Json) -> Option<bool> {
    match value {
        Json::Bool(value) => Some(*value),
        Json::Number(number) => match number.as_u64()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        Json::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" | "yes" => Some(true),
            "false" | "f" | "0" | "no" => Some(false),
            _ => None,
        },
        _ => None,
    }
}
