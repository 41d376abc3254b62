//! Sessions: a token in a cookie, a row here.

use crate::{
    Result,
    context::Client,
    error::{Code, Error},
    happening::Happening,
    model,
    model::{Account, User, new_id, users::unwritable},
    plugin::Event,
    secondary::{Found, Secondary, Told},
    store::{self, Filter, Patch, Record, Select, Store, Tx, from_map, json, to_map},
    time::Time,
};
use serde_json::{Map, Value as Json};
use std::time::Duration;

model! {
    /// Somebody is signed in somewhere.
    pub struct Session in "session" {
        /// When it ends.
        EXPIRES_AT expires_at: Time = time("expiresAt");
        /// What the cookie holds.
        [secret] TOKEN token: String = text("token").unique();
        /// When they signed in.
        CREATED_AT created_at: Time = time("createdAt").default_now();
        /// When it was last renewed.
        UPDATED_AT updated_at: Time = time("updatedAt");
        /// From where.
        IP_ADDRESS ip_address: Option<String> = text("ipAddress").optional();
        /// With what.
        USER_AGENT user_agent: Option<String> = text("userAgent").optional();
        /// Who.
        USER_ID user_id: String = text("userId").references("user").index();
    }
}

/// Somebody signed in.
#[derive(Debug, Clone)]
pub struct SessionCreated {
    /// The new record.
    pub session: Session,
}

impl Event for SessionCreated {
    const NAME: &'static str = "session.created";
}

/// Sessions that were ended before their time, for [`Setup::on_sessions_ended`](crate::Setup::on_sessions_ended).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// One.
    Session {
        /// Its id.
        id: String,
        /// Whose it was.
        user_id: String,
    },
    /// All that a user had, where nobody knows which those were.
    User {
        /// Whose they were.
        id: String,
    },
    /// All that there were.
    Everybody,
}

/// The rules for sessions.
pub struct Sessions<D> {
    database: D,
}

impl<D> Sessions<D> {
    pub(crate) fn new(database: D) -> Self {
        Self { database }
    }
}

impl Sessions<&Store> {
    /// The session with this token, expired or not, and its user: one statement, or none where sessions are kept
    /// elsewhere.
    pub async fn by_token(&self, token: &str) -> Result<Option<(Session, User)>> {
        if let Some(secondary) = self.database.secondary() {
            // Apart, so that who has no such storage does not carry room for what asks it.
            match Box::pin(secondary.session(self.database, token)).await? {
                Found::Session(found) => return Ok(Some(*found)),
                Found::Nothing if secondary.falls_back() => {}
                Found::Nothing | Found::Refused => return Ok(None),
            }
        }
        Ok(self.database.find_with_parent(Session::TOKEN, token, Session::USER_ID).await?)
    }

    /// The sessions of a user that have not ended by `now`.
    pub async fn active(&self, user_id: &str, now: Time) -> Result<Vec<Session>> {
        match self.database.secondary().filter(|secondary| !secondary.falls_back()) {
            Some(secondary) => secondary.sessions_of(self.database, user_id).await,
            None => Ok(self.database.list(of_by(user_id, now)).await?),
        }
    }
}

/// Those of a user that have not ended by `now`.
fn of_by(user_id: &str, now: Time) -> Filter<Session> {
    Session::USER_ID.eq(user_id).and(Session::EXPIRES_AT.gt(now))
}

/// Upstream's order of a session's members where no database has made a row of it.
const COMPOSED: [&str; 8] =
    ["id", "ipAddress", "userAgent", "expiresAt", "userId", "token", "createdAt", "updatedAt"];

impl Sessions<&mut Tx> {
    /// Adds a session; `how` somebody came to it is told.
    pub async fn create(
        &mut self,
        user_id: &str,
        how: &'static str,
        lifetime: Duration,
        client: Client,
    ) -> Result<Session> {
        let session = self.new_session(user_id, lifetime, client);
        let made = self.make(session, how, None).await?;
        made.ok_or_else(|| Error::internal("a session that depends on nothing was not made"))
    }

    /// Adds a session for the password of `account`; `None` when that has changed since `account` was read. Whoever
    /// changes it now waits, and then finds this session among those to be ended.
    pub async fn create_by_password(
        &mut self,
        account: &Account,
        lifetime: Duration,
        client: Client,
    ) -> Result<Option<Session>> {
        let session = self.new_session(&account.user_id, lifetime, client);
        self.make(session, Happening::PASSWORD, Some(account)).await
    }

    fn new_session(&self, user_id: &str, lifetime: Duration, client: Client) -> Session {
        let env = self.database.env();
        let now = env.clock.now();
        Session {
            id: self.database.new_id(),
            expires_at: now + lifetime,
            token: new_id(env),
            created_at: now,
            updated_at: now,
            ip_address: Some(client.ip_address),
            user_agent: Some(client.user_agent),
            user_id: user_id.to_owned(),
            extra: store::Record::default(),
            hidden: store::Record::default(),
        }
    }

    /// Writes a new session, while `account` is what it was when it was read.
    async fn make(
        &mut self,
        session: Session,
        how: &'static str,
        account: Option<&Account>,
    ) -> Result<Option<Session>> {
        let (session, kept) = match self.database.secondary() {
            Some(secondary) if !secondary.has_sessions_in_database() => {
                if let Some(account) = account
                    && self.database.lock(account.unchanged()).await?.is_none()
                {
                    return Ok(None);
                }
                let (session, kept) = self.compose(session).await?;
                (session, Some(kept))
            }
            _ => {
                let row = match account {
                    None => Some(self.database.create(&session).await?),
                    Some(account) => self.database.create_while(&session, account.unchanged()).await?,
                };
                let Some(session) = row else { return Ok(None) };
                let kept = match self.database.secondary() {
                    None => None,
                    Some(_) => Some(to_map(self.database.store().resolved::<Session>()?, &session)),
                };
                (session, kept)
            }
        };
        if let Some(kept) = kept {
            self.database.tell(Told::SessionMade {
                session: kept,
                token: session.token.clone(),
                user_id: session.user_id.clone(),
                expires_at: session.expires_at,
                account: account.cloned().map(Box::new),
            });
        }
        let created = Happening::new(Happening::SESSION_CREATED).because(how);
        self.database.happened(created.of(&session.user_id).session(&session.id));
        self.database.emit(SessionCreated { session: session.clone() });
        Ok(Some(session))
    }

    /// A session that no database makes a row of, and what is kept of it.
    async fn compose(&mut self, mut session: Session) -> Result<(Session, Map<String, Json>)> {
        if session.id.is_empty() {
            session.id = new_id(self.database.env());
        }
        let mut columns = self.database.compose(&session).await?;
        let table = self.database.store().resolved::<Session>()?;
        let mut kept = Map::new();
        let additional = table.additional().map(|field| &*field.name);
        for name in COMPOSED.into_iter().chain(additional) {
            if let Some(value) = columns.remove(name) {
                kept.insert(name.to_owned(), json(&value));
            }
        }
        kept.extend(columns.into_iter().map(|(name, value)| (name, json(&value))));
        let session =
            from_map(table, &kept).ok_or_else(|| Error::internal("a hook made no session of it"))?;
        Ok((session, kept))
    }

    /// Changes a session, as far as the database has it; [`Ctx::update_session`](crate::Ctx::update_session) does the
    /// rest.
    pub(crate) async fn update(&mut self, token: &str, patch: Patch<Session>) -> Result<Changed> {
        let now = self.database.env().clock.now();
        let columns = self.database.revise(patch.and(Session::UPDATED_AT.set(now))).await?;
        let is_kept_elsewhere = match self.database.secondary() {
            None => false,
            Some(secondary) if secondary.has_sessions_in_database() => true,
            Some(_) => return Ok(Changed::Columns(columns)),
        };
        let row = self.database.amend(Session::TOKEN.eq(token), &columns).await;
        let row = row.map_err(|error| unwritable(error, Code::FAILED_TO_UPDATE_SESSION))?;
        if is_kept_elsewhere {
            self.database.tell(Told::SessionChanged { token: token.to_owned(), columns });
        }
        Ok(Changed::Row(row))
    }

    /// Ends a session; `elsewhere` is what the secondary storage has of it where the database may not.
    pub(crate) async fn delete(
        &mut self,
        token: &str,
        elsewhere: Option<&Session>,
        why: &'static str,
    ) -> Result<()> {
        let ended = self.end_one(Session::TOKEN.eq(token)).await?;
        if let Some(session) = ended.as_ref().or(elsewhere) {
            self.revoked(session, why);
        }
        self.tell(|| Told::SessionEnded { token: token.to_owned(), of: None });
        Ok(())
    }

    /// Deletes a session that was found to have ended, unless the database has renewed it since; `expires_at` is what
    /// was found there, to the millisecond.
    pub(crate) async fn delete_ended(&mut self, token: &str, expires_at: Time) -> Result<()> {
        let not_renewed = Session::EXPIRES_AT.lt(expires_at + Duration::from_millis(1));
        if let Some(session) = self.end_one(Session::TOKEN.eq(token).and(not_renewed)).await? {
            let expired = Happening::new(Happening::SESSION_EXPIRED).routine();
            self.database.happened(expired.of(&session.user_id).session(&session.id));
        }
        self.tell(|| Told::SessionEnded { token: token.to_owned(), of: None });
        Ok(())
    }

    /// Ends a session, if it is this user's. Where only what is in the secondary storage is a session, which is
    /// `elsewhere`, a row whose session is not there is left alone.
    pub async fn revoke(
        &mut self,
        user_id: &str,
        token: &str,
        elsewhere: Option<&Session>,
        why: &'static str,
    ) -> Result<()> {
        let ended = if self.database.secondary().is_some_and(Secondary::preserves_sessions) {
            None
        } else {
            self.end_one(Session::TOKEN.eq(token).and(Session::USER_ID.eq(user_id))).await?
        };
        let elsewhere = elsewhere.filter(|session| session.user_id == user_id);
        if let Some(session) = ended.as_ref().or(elsewhere) {
            self.revoked(session, why);
        }
        self.tell(|| Told::SessionEnded { token: token.to_owned(), of: Some(user_id.to_owned()) });
        Ok(())
    }

    /// Ends every session of a user; `why` is told.
    pub async fn revoke_all(&mut self, user_id: &str, why: &'static str) -> Result<()> {
        let sessions = Session::USER_ID.eq(user_id);
        let known = self.known(sessions.clone()).await?;
        let ended = self.end(sessions).await?;
        if ended.is_none() {
            self.database.ended(|| Ended::User { id: user_id.to_owned() });
        }
        self.revoked_several(user_id, ended, why);
        let before = self.database.env().clock.now();
        self.tell(|| Told::AllEnded { user_id: user_id.to_owned(), before, known });
        Ok(())
    }

    /// Ends the sessions of a user but this one. What has ended by itself is left to whoever comes with its token, as
    /// upstream leaves it. `elsewhere` is what the secondary storage has of them where the database has none.
    pub async fn revoke_others(&mut self, user_id: &str, token: &str, elsewhere: &[Session]) -> Result<()> {
        let now = self.database.env().clock.now();
        let others = of_by(user_id, now).and(Session::TOKEN.ne(token));
        let known = self.known(others.clone()).await?;
        let ended = self.end(others).await?;
        if ended.is_none() {
            for session in elsewhere.iter().filter(|session| session.token != token) {
                self.ended(session);
            }
        }
        self.revoked_several(user_id, ended, Happening::OTHER_SESSIONS);
        self.tell(|| Told::OthersEnded { user_id: user_id.to_owned(), token: token.to_owned(), known });
        Ok(())
    }

    /// The tokens of sessions that the database has and that are kept elsewhere too, where the list of them may have
    /// been lost.
    async fn known(&mut self, sessions: Filter<Session>) -> Result<Vec<String>> {
        if !self.database.secondary().is_some_and(Secondary::has_sessions_in_database) {
            return Ok(Vec::new());
        }
        let sessions: Vec<Session> = self.database.list(Select::matching(sessions)).await?;
        Ok(sessions.into_iter().map(|session| session.token).collect())
    }

    /// Ends sessions as far as the database has them; answers how many those were, where it has any.
    async fn end(&mut self, sessions: Filter<Session>) -> Result<Option<u64>> {
        let hears = self.database.hears_of_ends();
        let ended = match self.database.secondary() {
            Some(secondary) if !secondary.has_sessions_in_database() => return Ok(None),
            Some(secondary) if secondary.preserves_sessions() => {
                let (alive, ended) = self.alive(sessions);
                if !hears {
                    return Ok(Some(self.database.update(alive, ended).await?));
                }
                self.database.amend_all(alive, ended).await?
            }
            _ if !hears => return Ok(Some(self.database.delete(sessions).await?)),
            _ => self.database.take_all(sessions).await?,
        };
        for session in &ended {
            self.ended(session);
        }
        Ok(Some(ended.len() as u64))
    }

    /// Ends a session as far as the database has it, and answers with it.
    async fn end_one(&mut self, session: Filter<Session>) -> Result<Option<Session>> {
        match self.database.secondary() {
            Some(secondary) if !secondary.has_sessions_in_database() => Ok(None),
            Some(secondary) if secondary.preserves_sessions() => {
                let (alive, ended) = self.alive(session);
                let columns = ended.columns.into_iter().map(|(name, value)| (name.into_owned(), value));
                self.database.amend(alive, &columns.collect()).await
            }
            _ => Ok(self.database.take(session).await?),
        }
    }

    /// Those that have not ended, and what makes them end.
    fn alive(&self, sessions: Filter<Session>) -> (Filter<Session>, Patch<Session>) {
        let now = self.database.env().clock.now();
        (sessions.and(Session::EXPIRES_AT.gt(now)), ended(now))
    }

    fn ended(&mut self, Session { id, user_id, .. }: &Session) {
        self.database.ended(|| Ended::Session { id: id.clone(), user_id: user_id.clone() });
    }

    fn revoked(&mut self, session: &Session, why: &'static str) {
        self.ended(session);
        let revoked = Happening::new(Happening::SESSION_REVOKED).because(why);
        self.database.happened(revoked.of(&session.user_id).session(&session.id));
    }

    /// Where the database has no sessions, nobody knows how many there were.
    fn revoked_several(&mut self, user_id: &str, ended: Option<u64>, why: &'static str) {
        if ended != Some(0) {
            let revoked = Happening::new(Happening::SESSION_REVOKED).because(why);
            self.database.happened(revoked.of(user_id).counting(ended));
        }
    }

    fn tell(&mut self, told: impl FnOnce() -> Told) {
        if self.database.secondary().is_some() {
            self.database.tell(told());
        }
    }
}

/// A row whose session has ended.
pub(crate) fn ended(now: Time) -> Patch<Session> {
    Session::EXPIRES_AT.set(now).and(Session::UPDATED_AT.set(now))
}

/// What became of a session that is to be changed.
pub(crate) enum Changed {
    /// What the database has made of it; nothing when it is gone.
    Row(Option<Session>),
    /// It is kept elsewhere, and these are its new columns.
    Columns(Record),
}
