//! Sessions outside the database: each under its token with its user, and a list of them for each user.

use super::{Edit, Secondary, TRIES, away, contended, seconds_until};
use crate::{
    error::{Code, Error, Result, chain},
    model::{Account, Session, User, Users, fields::is_truthy, sessions::ended},
    store::{Record, ResolvedTable, Store, from_map, json, to_map},
    time::Time,
};
use serde_json::{Map, Value as Json};
use std::collections::{BTreeSet, HashSet};

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
        let (mut seen, mut revoked_before) = (HashSet::new(), None);
        for entry in read_list(list.as_deref(), now) {
            if !seen.insert(entry.token.clone()) {
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

    /// Keeps a new session. What happened since it was written to the database, or since its password was compared, is
    /// looked at once the session can be found by whoever ends it: who changes a password, or ends sessions, either sees
    /// this one or is seen here.
    pub(super) async fn session_made(
        &self,
        store: &Store,
        session: Map<String, Json>,
        token: &str,
        user_id: &str,
        expires_at: Time,
        account: Option<&Account>,
    ) -> Result<()> {
        let now = store.now();
        let Some(user) = Users::new(store).by_id(user_id).await? else { return Ok(()) };
        let text = written(session, to_map(store.resolved::<User>()?, &user).into());
        let Some(seconds) = seconds_until(expires_at, now) else { return Ok(()) };
        let outcome = match self.storage.set(token, &text, seconds).await.map_err(away) {
            Ok(()) => {
                let looked = self.look_again(store, token, &user, expires_at, account).await;
                if looked.as_ref().is_err_and(|error| error.status().is_server_error()) {
                    // Nobody has looked whether it may be here, or whoever ends it may not find it on the list.
                    self.storage.delete(token).await.map_err(away)?;
                }
                looked
            }
            kept => kept,
        };
        match outcome {
            // Upstream: whoever asks for it finds it in the database.
            Err(error) if self.falls_back() && error.status().is_server_error() => {
                tracing::error!(error = chain(&error), "a new session is in the database only");
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn look_again(
        &self,
        store: &Store,
        token: &str,
        user: &User,
        expires_at: Time,
        account: Option<&Account>,
    ) -> Result<()> {
        let (user_id, now) = (&user.id, store.now());
        self.list(user_id, token, expires_at, now).await?;
        if let Some(account) = account
            && store.find(account.unchanged()).await?.is_none()
        {
            self.forget(user_id, token, now).await?;
            return Err(Error::unauthorized(Code::INVALID_EMAIL_OR_PASSWORD));
        }
        let row = Session::TOKEN.eq(token).and(Session::EXPIRES_AT.gt(now));
        if self.sessions_in_database && store.find(row).await?.is_none() {
            return self.forget(user_id, token, now).await;
        }
        match Users::new(store).by_id(user_id).await? {
            Some(current) if current != *user => self.refresh_user(store, user_id, token, now).await,
            _ => Ok(()),
        }
    }

    async fn forget(&self, user_id: &str, token: &str, now: Time) -> Result<()> {
        self.storage.delete(token).await.map_err(away)?;
        self.unlist(user_id, now, |listed| listed == token).await
    }

    /// Gives some columns of a session other values; `None` when there is none.
    pub(crate) async fn change_session(
        &self,
        table: &ResolvedTable,
        token: &str,
        columns: &Record,
        now: Time,
    ) -> Result<Option<Session>> {
        for _ in 0..TRIES {
            let text = self.storage.get(token).await.map_err(away)?;
            let Some((mut session, user)) = text.as_deref().and_then(|text| read(text, token)) else {
                return Ok(None);
            };
            for (name, value) in columns.iter() {
                session.insert(name.to_owned(), json(value));
            }
            // Upstream: what no reply shows is lost from here on (kept).
            session.retain(|name, _| table.field(name).is_none_or(|field| !field.hidden));
            let Some(changed) = from_map::<Session>(table, &session) else { return Ok(None) };
            let Some(seconds) = seconds_until(changed.expires_at, now) else { return Ok(Some(changed)) };
            // Before it lives longer: a session that is not on the list is missed by whoever ends all of them.
            self.list(&changed.user_id, token, changed.expires_at, now).await?;
            let edit = Edit::Put(written(session, user), seconds, changed);
            if let Some(changed) = self.try_edit(token, text.as_deref(), edit).await? {
                return Ok(Some(changed));
            }
        }
        Err(contended())
    }

    pub(super) async fn session_ended(&self, store: &Store, token: &str, of: Option<&str>) -> Result<()> {
        let now = store.now();
        let Some(text) = self.storage.get(token).await.map_err(away)? else { return Ok(()) };
        let session = match of {
            Some(of) => {
                read(&text, token).map(|(session, _)| session).filter(|session| owner(session) == Some(of))
            }
            // Upstream: anything goes that has a session in it, of whatever token, and nothing else does (kept).
            None => serde_json::from_str::<Map<String, Json>>(&text).ok().and_then(|mut whole| {
                let session = whole.shift_remove("session").filter(is_truthy)?;
                Some(session.as_object().cloned().unwrap_or_default())
            }),
        };
        let Some(session) = session else { return Ok(()) };
        if of.is_some() && self.sessions_in_database && self.preserves_sessions {
            let alive = Session::TOKEN.eq(token).and(Session::EXPIRES_AT.gt(now));
            store.update(alive, ended(now)).await?;
        }
        self.storage.delete(token).await.map_err(away)?;
        match owner(&session) {
            Some(user_id) => self.unlist(user_id, now, |listed| listed == token).await,
            None => Ok(()),
        }
    }

    pub(super) async fn all_ended(
        &self,
        user_id: &str,
        before: Time,
        known: Vec<String>,
        now: Time,
    ) -> Result<()> {
        let seconds = seconds_until(now + self.longest_session, now);
        self.edit(&revocation_key(user_id), |there| {
            let before = before.max(milliseconds(there));
            match seconds {
                Some(seconds) => Edit::Put(before.millis().to_string(), seconds, ()),
                None => Edit::Leave(()),
            }
        })
        .await?;
        let list = self.storage.get(&list_key(user_id)).await.map_err(away)?;
        let listed = entries(list.as_deref());
        let listed = listed.iter().filter_map(|entry| entry.get("token")?.as_str()).map(str::to_owned);
        self.end(user_id, listed.chain(known).collect(), now).await
    }

    /// Ends what is listed and what the database knows, which need not be the same.
    pub(super) async fn others_ended(
        &self,
        user_id: &str,
        token: &str,
        known: Vec<String>,
        now: Time,
    ) -> Result<()> {
        let mut others: BTreeSet<_> = known.into_iter().collect();
        let list = self.storage.get(&list_key(user_id)).await.map_err(away)?;
        for Entry { token, .. } in read_list(list.as_deref(), now) {
            let text = self.storage.get(&token).await.map_err(away)?;
            let session = text.and_then(|text| read(&text, &token)).map(|(session, _)| session);
            if session.is_some_and(|session| owner(&session) == Some(user_id) && end(&session) > Some(now)) {
                others.insert(token);
            }
        }
        others.remove(token);
        if others.is_empty() { Ok(()) } else { self.end(user_id, others, now).await }
    }

    /// The sessions leave the list last: whoever asks again after a failure finds them there.
    async fn end(&self, user_id: &str, tokens: BTreeSet<String>, now: Time) -> Result<()> {
        for token in &tokens {
            self.storage.delete(token).await.map_err(away)?;
        }
        self.unlist(user_id, now, |token| tokens.contains(token)).await
    }

    pub(super) async fn user_changed(&self, store: &Store, user_id: &str, now: Time) -> Result<()> {
        let list = self.storage.get(&list_key(user_id)).await.map_err(away)?;
        for entry in read_list(list.as_deref(), now) {
            self.refresh_user(store, user_id, &entry.token, now).await?;
        }
        Ok(())
    }

    /// Lets a session remember its user as the database has them. The row is read after the session, so that of two who
    /// do this the one with the older row is too late.
    async fn refresh_user(&self, store: &Store, user_id: &str, token: &str, now: Time) -> Result<()> {
        let table = store.resolved::<User>()?;
        for _ in 0..TRIES {
            let text = self.storage.get(token).await.map_err(away)?;
            let session = text.as_deref().and_then(|text| read(text, token)).map(|(session, _)| session);
            let session = session.filter(|session| owner(session) == Some(user_id));
            let (Some(session), Some(user)) = (session, Users::new(store).by_id(user_id).await?) else {
                return Ok(());
            };
            let edit = match end(&session).and_then(|end| seconds_until(end, now)) {
                Some(seconds) => Edit::Put(written(session, to_map(table, &user).into()), seconds, ()),
                None => Edit::Leave(()),
            };
            if self.try_edit(token, text.as_deref(), edit).await?.is_some() {
                return Ok(());
            }
        }
        Err(contended())
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
    async fn unlist(
        &self,
        user_id: &str,
        now: Time,
        has_ended: impl Fn(&str) -> bool + Send + Sync,
    ) -> Result<()> {
        self.edit(&list_key(user_id), |list| {
            if list.is_none() {
                return Edit::Leave(());
            }
            let mut entries = read_list(list, now);
            entries.retain(|entry| !has_ended(&entry.token));
            put_list(entries, now, ())
        })
        .await
    }
}

impl Entry {
    fn new(token: &str, expires_at: Time) -> Self {
        let whole = serde_json::json!({ "token": token, "expiresAt": expires_at.millis() });
        Self { token: token.to_owned(), expires_at: as_number(expires_at), whole }
    }

    fn read(whole: Json) -> Option<Self> {
        let token = whole.get("token")?.as_str()?.to_owned();
        let expires_at = moment(whole.get("expiresAt")?)?;
        Some(Self { token, expires_at, whole })
    }

    fn ends(&self) -> Time {
        time(self.expires_at)
    }
}

/// When a session ends, if that can be read.
fn end(session: &Map<String, Json>) -> Option<Time> {
    session.get("expiresAt").and_then(moment).map(time)
}

/// A moment as milliseconds, or as text.
fn moment(value: &Json) -> Option<f64> {
    match value {
        Json::String(text) => Time::parse(text).map(as_number),
        number => number.as_f64(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "what is beyond 64 bits ends never")]
fn time(milliseconds: f64) -> Time {
    Time::from_millis(milliseconds as i64)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "JavaScript's numbers, too, are exact for every date there is"
)]
fn as_number(time: Time) -> f64 {
    time.millis() as f64
}

/// What has not ended by `now`.
fn read_list(text: Option<&str>, now: Time) -> Vec<Entry> {
    let entries = entries(text).into_iter().filter_map(Entry::read);
    entries.filter(|entry| entry.ends() > now).collect()
}

/// What is on a list. What is no list is an empty one.
fn entries(text: Option<&str>) -> Vec<Json> {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
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

/// Whose session it is.
fn owner(session: &Map<String, Json>) -> Option<&str> {
    session.get("userId")?.as_str()
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
