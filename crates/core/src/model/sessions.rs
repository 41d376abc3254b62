//! Sessions: a token in a cookie, a row here.

use crate::{
    Result,
    context::Client,
    error::Code,
    model,
    model::{Account, User, new_id, users::unwritable},
    plugin::Event,
    store::{self, Patch, Reader, Store, Tx},
    time::Time,
};
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
    /// The session with this token, expired or not, and its user: one statement.
    pub async fn by_token(&self, token: &str) -> Result<Option<(Session, User)>> {
        Ok(self.database.find_with_parent(Session::TOKEN.eq(token), Session::USER_ID).await?)
    }
}

impl<D: Reader> Sessions<D> {
    /// The sessions of a user.
    pub async fn of(&mut self, user_id: &str) -> Result<Vec<Session>> {
        Ok(self.database.list(Session::USER_ID.eq(user_id).into()).await?)
    }

    /// The sessions of a user that have not ended by `now`.
    pub async fn active(&mut self, user_id: &str, now: Time) -> Result<Vec<Session>> {
        let active = Session::USER_ID.eq(user_id).and(Session::EXPIRES_AT.gt(now));
        Ok(self.database.list(active.into()).await?)
    }
}

impl Sessions<&mut Tx> {
    /// Adds a session.
    pub async fn create(&mut self, user_id: &str, lifetime: Duration, client: Client) -> Result<Session> {
        let session = self.database.create(&self.new_session(user_id, lifetime, client)).await?;
        self.database.emit(SessionCreated { session: session.clone() });
        Ok(session)
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
        let session = self.database.create_while(&session, account.unchanged()).await?;
        if let Some(session) = &session {
            self.database.emit(SessionCreated { session: session.clone() });
        }
        Ok(session)
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

    /// Lets a session live on; `None` when it is gone meanwhile.
    pub async fn renew(&mut self, token: &str, lifetime: Duration) -> Result<Option<Session>> {
        let now = self.database.env().clock.now();
        let renewed = Session::EXPIRES_AT.set(now + lifetime).and(Session::UPDATED_AT.set(now));
        self.database.change(Session::TOKEN.eq(token), renewed).await
    }

    /// Changes a session; `None` when it is gone.
    pub async fn update(&mut self, token: &str, patch: Patch<Session>) -> Result<Option<Session>> {
        let now = self.database.env().clock.now();
        let changed =
            self.database.change(Session::TOKEN.eq(token), patch.and(Session::UPDATED_AT.set(now))).await;
        changed.map_err(|error| unwritable(error, Code::FAILED_TO_UPDATE_SESSION))
    }

    /// Ends a session.
    pub async fn delete(&mut self, token: &str) -> Result<()> {
        self.database.delete(Session::TOKEN.eq(token)).await?;
        Ok(())
    }

    /// Ends a session, if it is this user's.
    pub async fn revoke(&mut self, user_id: &str, token: &str) -> Result<()> {
        self.database.delete(Session::TOKEN.eq(token).and(Session::USER_ID.eq(user_id))).await?;
        Ok(())
    }

    /// Ends every session of a user.
    pub async fn revoke_all(&mut self, user_id: &str) -> Result<()> {
        self.database.delete(Session::USER_ID.eq(user_id)).await?;
        Ok(())
    }

    /// Ends the sessions of a user but this one. What has ended by itself is left to whoever comes with its token, as
    /// upstream leaves it.
    pub async fn revoke_others(&mut self, user_id: &str, token: &str) -> Result<()> {
        let now = self.database.env().clock.now();
        let others = Session::USER_ID.eq(user_id).and(Session::TOKEN.ne(token));
        self.database.delete(others.and(Session::EXPIRES_AT.gt(now))).await?;
        Ok(())
    }
}
