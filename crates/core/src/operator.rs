//! Users and sessions, changed by whoever runs the installation: a command, a job, an application that embeds this.
//!
//! There is no request, and nobody is asked who they are. The rules are those of the endpoints: addresses are unique,
//! fields are checked, `before_write` hooks see every record, events are told after the commit, and so is the
//! secondary storage.

use crate::{
    auth::Auth,
    context::Ctx,
    error::{Code, Error, Result},
    happening::Happening,
    input::{Record, is_email},
    model::{Ended, NewUser, Session, User, fields},
    secret::Secret,
    store::{Filter, Ids, Model as _, Order, Select, Tx, uuid},
};

/// Rows that are read, or deleted, at one time where all are concerned: others wait for whoever writes.
const AT_ONCE: u32 = 100;
/// Users whose sessions end in one transaction, which also far from the database has a second.
const TOGETHER: usize = 10;
/// An id takes part in keys, in the database and outside.
const LONGEST_ID: usize = 255;

impl Auth {
    /// What a handler has, without a request: for a command, a job, or an endpoint of the application's own.
    ///
    /// It has no client, and cookies that are set in it reach nobody.
    ///
    /// ```
    /// # use narthex::{Auth, Result, model::User};
    /// /// How many people have shown that their address is theirs.
    /// async fn verified(auth: &Auth) -> Result<u64> {
    ///     Ok(auth.ctx().store().count(User::EMAIL_VERIFIED.eq(true)).await?)
    /// }
    /// ```
    pub fn ctx(&self) -> Ctx {
        let (parts, ()) = http::Request::new(()).into_parts();
        let mut cx = Ctx::new(self.engine(), parts, String::new(), Vec::new());
        cx.actor = Some(self.engine().operator);
        cx
    }

    /// Writes several things, or none, without a request: [`Ctx::transact`].
    ///
    /// ```
    /// use narthex::{Auth, Result, Secret, input::Record, model::{NewUser, User}, store::Tx};
    ///
    /// /// Somebody whose password another system has hashed.
    /// async fn adopt(auth: &Auth, email: &str, hash: String) -> Result<User> {
    ///     let new = NewUser { name: "Ada".into(), email: email.into(), email_verified: true, image: None };
    ///     let user = auth.new_user(new, Record::new())?;
    ///     auth.transact(async |tx: &mut Tx| {
    ///         let user = tx.users().create(&user).await?;
    ///         tx.accounts().create_credential(&user.id, hash).await?;
    ///         Ok(user)
    ///     })
    ///     .await
    /// }
    ///
    /// /// Whoever is dismissed is signed out everywhere.
    /// async fn dismiss(auth: &Auth, email: &str) -> Result<()> {
    ///     if let Some(user) = auth.find_user(email).await? {
    ///         auth.revoke_sessions(&user.id).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub async fn transact<T>(&self, work: impl AsyncFnOnce(&mut Tx) -> Result<T>) -> Result<T> {
        self.ctx().transact(work).await
    }

    /// The user with this address, or this id.
    pub async fn find_user(&self, id_or_email: &str) -> Result<Option<User>> {
        let cx = self.ctx();
        // Ids that others have made may have an @ in them too.
        if id_or_email.contains('@')
            && let Some(user) = cx.users().by_email(id_or_email).await?
        {
            return Ok(Some(user));
        }
        cx.users().by_id(id_or_email).await
    }

    /// The record of a new user, checked and not yet written. Fields that are not for clients to set may be set here;
    /// one that no user has is refused.
    pub fn new_user(&self, new: NewUser, mut given: Record) -> Result<User> {
        if !is_email(&new.email) {
            return Err(Error::bad_request(Code::INVALID_EMAIL));
        }
        let store = self.store();
        let given = fields::read_all::<User>(store, &mut given)?;
        let mut user = new.into_user(store);
        user.give(store, given)?;
        Ok(user)
    }

    /// Whether a new record may have this id, or why not: where the database makes the ids, nobody else does.
    pub fn check_id(&self, id: &str) -> Result<(), &'static str> {
        match self.store().schema().ids {
            Ids::Letters if id.is_empty() || id.len() > LONGEST_ID || id.contains(char::is_control) => {
                Err("an id has 1 to 255 bytes, none of them a control character")
            }
            Ids::Uuid if uuid(id).is_none() => Err("an id is a UUID in small letters here"),
            Ids::Letters | Ids::Uuid => Ok(()),
            Ids::Serial | Ids::Database => Err("the database makes the ids here; leave it out"),
        }
    }

    /// Whether new records may have ids that others have made, and not the database's.
    pub fn takes_ids(&self) -> bool {
        matches!(self.store().schema().ids, Ids::Letters | Ids::Uuid)
    }

    /// Turns texts into what the fields of a user hold, where nothing but text can be written: `true`, `7`, and JSON
    /// for lists and documents.
    pub fn read_texts(&self, given: &mut Record) -> Result<()> {
        fields::from_form::<User>(self.store(), given)?;
        fields::from_json_texts::<User>(self.store(), given)
    }

    /// Adds a user, who signs in with `password` if there is one.
    pub async fn create_user(&self, user: &User, password: Option<&Secret>) -> Result<User> {
        let mut cx = self.ctx();
        let hash = match password {
            Some(password) => Some(new_hash(&cx, password).await?),
            None => None,
        };
        cx.transact(async |tx: &mut Tx| {
            let user = tx.users().create(user).await?;
            if let Some(hash) = hash {
                tx.accounts().create_credential(&user.id, hash).await?;
            }
            Ok(user)
        })
        .await
    }

    /// Gives a user another password, or a first one, and forgets the wrong ones that were tried. Their sessions end,
    /// unless `keep_sessions`.
    pub async fn set_password(&self, user: &User, password: &Secret, keep_sessions: bool) -> Result<()> {
        let mut cx = self.ctx();
        let hash = new_hash(&cx, password).await?;
        cx.forgive(&user.email);
        cx.transact(async |tx: &mut Tx| {
            // Of two who do this at once, the second waits and finds what the first has left.
            if tx.lock(User::ID.eq(&user.id)).await?.is_none() {
                return Err(Error::not_found(Code::USER_NOT_FOUND));
            }
            tx.happened(
                Happening::new(Happening::PASSWORD_CHANGED).of(&user.id).because(Happening::OPERATOR),
            );
            match tx.accounts().credential(&user.id).await? {
                None => drop(tx.accounts().create_credential(&user.id, hash).await?),
                Some(account) if tx.accounts().rehash(&account, hash).await?.is_some() => {}
                Some(_) => return Err(Error::busy("somebody else has just changed the password")),
            }
            if keep_sessions { Ok(()) } else { tx.sessions().revoke_all(&user.id, Happening::OPERATOR).await }
        })
        .await
    }

    /// Deletes a user with everything that hangs on them; `None` when there was none.
    pub async fn delete_user(&self, user: &User) -> Result<Option<User>> {
        if self.store().secondary().is_some() {
            // Where that fails the user is still there, and it can be tried again.
            self.revoke_sessions(&user.id).await?;
        }
        let mut cx = self.ctx();
        cx.forgive(&user.email);
        cx.transact(async |tx: &mut Tx| tx.users().delete(&user.id, Happening::OPERATOR).await).await
    }

    /// The sessions of a user that have not ended.
    pub async fn sessions_of(&self, user_id: &str) -> Result<Vec<Session>> {
        let cx = self.ctx();
        cx.sessions().active(user_id, cx.now()).await
    }

    /// Ends the session with this id; `None` when there is none. Where sessions are not in the database, they are found
    /// by their user alone.
    pub async fn revoke_session(&self, id: &str, user_id: Option<&str>) -> Result<Option<Session>> {
        let session = match user_id {
            Some(user_id) => self.sessions_of(user_id).await?.into_iter().find(|session| session.id == id),
            None => self.store().find(Session::ID.eq(id)).await?,
        };
        let Some(session) = session else { return Ok(None) };
        let Session { user_id, token, .. } = &session;
        self.transact(async |tx: &mut Tx| {
            tx.sessions().revoke(user_id, token, Some(&session), Happening::OPERATOR).await
        })
        .await?;
        Ok(Some(session))
    }

    /// Ends every session of a user.
    pub async fn revoke_sessions(&self, user_id: &str) -> Result<()> {
        self.transact(async |tx: &mut Tx| tx.sessions().revoke_all(user_id, Happening::OPERATOR).await).await
    }

    /// Ends every session of everybody, a few at a time.
    pub async fn revoke_all_sessions(&self) -> Result<()> {
        let store = self.store();
        if store.secondary().is_none() {
            let mut count = 0;
            loop {
                match store.delete_some(Filter::<Session>::everything(), AT_ONCE).await? {
                    0 => break,
                    some => count += some,
                }
            }
            let ended = Happening::new(Happening::SESSION_REVOKED).because(Happening::OPERATOR);
            self.ctx().happened(ended.counting(Some(count))).await;
            return self.everybody_ended().await;
        }
        // Only their users' lists say which there are.
        let mut after = Filter::everything();
        loop {
            let page = Select::matching(after).order_by(User::ID, Order::Ascending).limit(AT_ONCE);
            let users: Vec<User> = store.list(page).await?;
            let Some(last) = users.last() else { return self.everybody_ended().await };
            after = User::ID.gt(&last.id);
            for some in users.chunks(TOGETHER) {
                self.transact(async |tx: &mut Tx| {
                    for user in some {
                        tx.sessions().revoke_all(&user.id, Happening::OPERATOR).await?;
                    }
                    Ok(())
                })
                .await?;
            }
        }
    }

    /// Last, when no session is left with which somebody could come.
    async fn everybody_ended(&self) -> Result<()> {
        if !self.store().hears_of_ends() {
            return Ok(());
        }
        self.transact(async |tx: &mut Tx| {
            tx.ended(|| Ended::Everybody);
            Ok(())
        })
        .await
    }

    /// Whether sessions, verifications and counts may be outside the database.
    pub fn has_secondary_storage(&self) -> bool {
        self.store().secondary().is_some()
    }

    /// Whether the database has the sessions, or only the secondary storage.
    pub fn has_sessions_in_database(&self) -> bool {
        self.store().schema().tables().any(|table| table.name == Session::TABLE)
    }
}

/// The hash of a password that is not known yet.
async fn new_hash(cx: &Ctx, password: &Secret) -> Result<String> {
    cx.password_rules(password)?;
    cx.hash(password).await
}
