//! Sessions outside the database: each under its token with its user, and a list of them for each user.

use super::{Edit, Secondary, away, seconds_until};
use crate::{
    error::Result,
    model::{Session, User, Users, sessions::ended},
    store::{Record, ResolvedTable, Store, from_map, json, to_map},
    time::Time,
};
use serde_json::{Map, Value as Json};

/// What is under a token.
pub(crate) enum Found {
    /// A session and its user.
    Session(Box<(Session, User)>),
    /// Nothing.
    Nothing,
    /// A session that was ended with all others of its user, or what is no session.
    Refused,
}

/// An entry of the list of a user's sessions.
#[derive(Clone)]
struct Entry {
    token: String,
    /// Milliseconds.
    expires_at: f64,
    whole: Json,
}

/// Which of a user's sessions are to end.
#[derive(Clone, Copy)]
enum Meant<'a> {
    MadeBy(Time),
    AllBut(&'a str),
}

fn list_key(user_id: &str) -> String {
    format!("active-sessions-{user_id}")
}

fn revocation_key(user_id: &str) -> String {
    format!("revoked-sessions-before-{user_id}")
}

impl Secondary {
    /// The session with this token, expired or not, and its user.
    pub(crate) async fn session(&self, store: &Store, token: &str) -> Result<Found> {
        let Some(text) = self.storage.get(token).await.map_err(away)? else { return Ok(Found::Nothing) };
        let Some((session, user)) = read(&text, token) else { return Ok(Found::Refused) };
        let session: Option<Session> = from_map(store.resolved::<Session>()?, &session);
        let user = user.as_object().and_then(|user| from_map::<User>(store.resolved::<User>().ok()?, user));
        let (Some(session), Some(user)) = (session, user) else { return Ok(Found::Refused) };
        let is_revoked = session.created_at < self.revoked_before(&session.user_id).await?;
        Ok(if is_revoked { Found::Refused } else { Found::Session(Box::new((session, user))) })
    }

    /// The sessions of a user that have not ended.
    pub(crate) async fn sessions_of(&self, store: &Store, user_id: &str) -> Result<Vec<Session>> {
        let (table, now) = (store.resolved::<Session>()?, store.now());
        let list = self.storage.get(&list_key(user_id)).await.map_err(away)?;
        let mut sessions: Vec<Session> = Vec::new();
        let mut revoked_before = None;
        for entry in read_list(list.as_deref(), now) {
            if sessions.iter().any(|session| session.token == entry.token) {
                continue;
            }
            let Some(text) = self.storage.get(&entry.token).await.map_err(away)? else { continue };
            let session =
                read(&text, &entry.token).and_then(|(session, _)| from_map::<Session>(table, &session));
            let Some(session) = session.filter(|session| session.user_id == user_id) else { continue };
            let revoked_before = match revoked_before {
                Some(time) => time,
                None => *revoked_before.insert(self.revoked_before(user_id).await?),
            };
            if session.created_at >= revoked_before {
                sessions.push(session);
            }
        }
        Ok(sessions)
    }

    /// Before when all sessions of a user were ended.
    async fn revoked_before(&self, user_id: &str) -> Result<Time> {
        let text = self.storage.get(&revocation_key(user_id)).await.map_err(away)?;
        Ok(milliseconds(text.as_deref()))
    }

    pub(super) async fn session_made(
        &self,
        store: &Store,
        session: Map<String, Json>,
        token: &str,
        user_id: &str,
        expires_at: Time,
    ) -> Result<()> {
        let now = store.now();
        let Some(user) = Users::new(store).by_id(user_id).await? else { return Ok(()) };
        let user = to_map(store.resolved::<User>()?, &user);
        let Some(seconds) = seconds_until(expires_at, now) else { return Ok(()) };
        let text = written(session, user.into());
        // Listed last, so that whoever ends the others meanwhile has either ended it or leaves it where it is seen.
        self.storage.set(token, &text, seconds).await.map_err(away)?;
        self.list(user_id, token, expires_at, now).await
    }

    /// Gives some columns of a session other values; `None` when there is none.
    pub(crate) async fn change_session(
        &self,
        table: &ResolvedTable,
        token: &str,
        columns: &Record,
        now: Time,
    ) -> Result<Option<Session>> {
        let changed = self
            .edit(token, |text| {
                let Some((mut session, user)) = text.and_then(|text| read(text, token)) else {
                    return Edit::Leave(None);
                };
                for (name, value) in columns.iter() {
                    session.insert(name.to_owned(), json(value));
                }
                // Upstream: what no reply shows is lost from here on (kept).
                session.retain(|name, _| table.field(name).is_none_or(|field| !field.hidden));
                let Some(changed) = from_map::<Session>(table, &session) else { return Edit::Leave(None) };
                match seconds_until(changed.expires_at, now) {
                    Some(seconds) => Edit::Put(written(session, user), seconds, Some(changed)),
                    None => Edit::Leave(Some(changed)),
                }
            })
            .await?;
        if let Some(session) =
            changed.as_ref().filter(|session| seconds_until(session.expires_at, now).is_some())
        {
            self.list(&session.user_id, token, session.expires_at, now).await?;
        }
        Ok(changed)
    }

    pub(super) async fn session_ended(&self, store: &Store, token: &str, of: Option<&str>) -> Result<()> {
        let now = store.now();
        let Some(text) = self.storage.get(token).await.map_err(away)? else { return Ok(()) };
        let user_id = read(&text, token)
            .and_then(|(session, _)| session.get("userId").and_then(Json::as_str).map(str::to_owned));
        if of.is_some_and(|of| user_id.as_deref() != Some(of)) {
            return Ok(());
        }
        if of.is_some() && self.sessions_in_database && self.preserves_sessions {
            let alive = Session::TOKEN.eq(token).and(Session::EXPIRES_AT.gt(now));
            store.update(alive, ended(now)).await?;
        }
        self.storage.delete(token).await.map_err(away)?;
        match user_id {
            Some(user_id) => self.unlist(&user_id, now, &[token.to_owned()]).await,
            None => Ok(()),
        }
    }

    pub(super) async fn all_ended(&self, user_id: &str, before: Time, now: Time) -> Result<()> {
        let seconds = seconds_until(now + self.longest_session, now);
        self.edit(&revocation_key(user_id), |there| {
            let before = before.max(milliseconds(there));
            match seconds {
                Some(seconds) => Edit::Put(before.millis().to_string(), seconds, ()),
                None => Edit::Leave(()),
            }
        })
        .await?;
        self.end_listed(user_id, now, Meant::MadeBy(before)).await
    }

    /// What is no session was not made at all, and goes too.
    async fn was_made_by(&self, token: &str, time: Time) -> Result<bool> {
        let text = self.storage.get(token).await.map_err(away)?;
        let session = text.and_then(|text| read(&text, token)).map(|(session, _)| session);
        let created_at = session.and_then(|session| Time::parse(session.get("createdAt")?.as_str()?));
        Ok(created_at.is_none_or(|created_at| created_at <= time))
    }

    pub(super) async fn others_ended(&self, user_id: &str, token: &str, now: Time) -> Result<()> {
        self.end_listed(user_id, now, Meant::AllBut(token)).await
    }

    /// Ends those on the list of a user that are `meant`. They leave the list last: whoever asks again after a failure
    /// finds them there.
    async fn end_listed(&self, user_id: &str, now: Time, meant: Meant<'_>) -> Result<()> {
        let list = self.storage.get(&list_key(user_id)).await.map_err(away)?;
        let mut ended = Vec::new();
        for Entry { token, .. } in read_list(list.as_deref(), Time::from_millis(0)) {
            let is_meant = match meant {
                Meant::MadeBy(time) => self.was_made_by(&token, time).await?,
                Meant::AllBut(other) => token != other,
            };
            if is_meant {
                self.storage.delete(&token).await.map_err(away)?;
                ended.push(token);
            }
        }
        self.unlist(user_id, now, &ended).await
    }

    pub(super) async fn user_changed(&self, table: &ResolvedTable, user: &User, now: Time) -> Result<()> {
        let list = self.storage.get(&list_key(&user.id)).await.map_err(away)?;
        let user: Json = to_map(table, user).into();
        for entry in read_list(list.as_deref(), now) {
            self.edit(&entry.token, |text| {
                let session = text.and_then(|text| read(text, &entry.token)).map(|(session, _)| session);
                let Some(session) = session else { return Edit::Leave(()) };
                let expires_at = session.get("expiresAt").and_then(Json::as_str).and_then(Time::parse);
                match expires_at.and_then(|expires_at| seconds_until(expires_at, now)) {
                    Some(seconds) => Edit::Put(written(session, user.clone()), seconds, ()),
                    None => Edit::Leave(()),
                }
            })
            .await?;
        }
        Ok(())
    }

    /// Puts a session on the list of its user.
    async fn list(&self, user_id: &str, token: &str, expires_at: Time, now: Time) -> Result<()> {
        self.edit(&list_key(user_id), |list| {
            let mut entries = read_list(list, now);
            entries.retain(|entry| entry.token != token);
            entries.push(Entry::new(token, expires_at));
            put_list(entries, now, ())
        })
        .await
    }

    /// Takes sessions off the list of their user.
    async fn unlist(&self, user_id: &str, now: Time, tokens: &[String]) -> Result<()> {
        self.edit(&list_key(user_id), |list| {
            if list.is_none() {
                return Edit::Leave(());
            }
            let mut entries = read_list(list, now);
            entries.retain(|entry| !tokens.contains(&entry.token));
            put_list(entries, now, ())
        })
        .await
    }
}

impl Entry {
    fn new(token: &str, expires_at: Time) -> Self {
        let whole = serde_json::json!({ "token": token, "expiresAt": expires_at.millis() });
        #[expect(
            clippy::cast_precision_loss,
            reason = "JavaScript's numbers, too, are exact for every date there is"
        )]
        let milliseconds = expires_at.millis() as f64;
        Self { token: token.to_owned(), expires_at: milliseconds, whole }
    }

    fn read(whole: Json) -> Option<Self> {
        let token = whole.get("token")?.as_str()?.to_owned();
        let expires_at = whole.get("expiresAt")?.as_f64()?;
        Some(Self { token, expires_at, whole })
    }

    fn ends(&self) -> Time {
        #[expect(clippy::cast_possible_truncation, reason = "what is beyond 64 bits ends never")]
        Time::from_millis(self.expires_at as i64)
    }
}

/// What has not ended by `now`. What is no list is an empty one.
fn read_list(text: Option<&str>, now: Time) -> Vec<Entry> {
    let entries: Vec<Json> = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let entries = entries.into_iter().filter_map(Entry::read);
    entries.filter(|entry| entry.ends() > now).collect()
}

/// The one that ends last is the last, and the list ends with it.
fn put_list<T>(mut entries: Vec<Entry>, now: Time, answer: T) -> Edit<T> {
    entries.sort_by(|left, right| left.expires_at.total_cmp(&right.expires_at));
    match entries.last().and_then(|last| seconds_until(last.ends(), now)) {
        None => Edit::Forget(answer),
        Some(seconds) => {
            let list: Vec<_> = entries.into_iter().map(|entry| entry.whole).collect();
            Edit::Put(Json::from(list).to_string(), seconds, answer)
        }
    }
}

/// A session and its user, if this is the session of that token.
fn read(text: &str, token: &str) -> Option<(Map<String, Json>, Json)> {
    let mut whole: Map<String, Json> = serde_json::from_str(text).ok()?;
    let Json::Object(session) = whole.shift_remove("session")? else { return None };
    let is_its = session.get("token").and_then(Json::as_str) == Some(token);
    is_its.then(|| (session, whole.shift_remove("user").unwrap_or_default()))
}

fn written(session: Map<String, Json>, user: Json) -> String {
    let mut whole = Map::new();
    whole.insert("session".to_owned(), session.into());
    whole.insert("user".to_owned(), user);
    Json::from(whole).to_string()
}

/// What is no number is the beginning of time.
fn milliseconds(text: Option<&str>) -> Time {
    let number = text.and_then(|text| text.trim().parse::<f64>().ok()).filter(|number| number.is_finite());
    #[expect(clippy::cast_possible_truncation, reason = "what is beyond 64 bits is the end of time")]
    Time::from_millis(number.unwrap_or_default() as i64)
}
