//! Signing up and signing in with an address and a password: the rules, for every endpoint that does either.
//!
//! An unknown address, an account without a password and a wrong password answer alike and cost alike: the same
//! statements, one hash, one failure counted. Whoever loses to a change of the password is answered as if they had come
//! after it, and has no session. Where a new account does not sign in at once, the answer for an address that is taken
//! looks the same as for a new one and costs a hash too, so nobody learns who has an account.

use crate::{
    context::{Ctx, Method, SignIn, SignedIn},
    endpoints::password_length,
    error::{Code, Error, Result},
    guessing::Attempt,
    happening::Happening,
    input::{Email, NonEmptyPassword, is_email},
    model::{Account, NewFields, NewUser, Session, User, fields},
    secret::Secret,
    store::Tx,
};
use http::StatusCode;

/// An address and a password that somebody has typed and that may be compared with an account's.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    email: &'a str,
    password: &'a Secret,
}

/// Who wants an account.
#[derive(Debug)]
pub struct NewAccount {
    /// What to call them.
    pub name: String,
    /// Their address.
    pub email: Email,
    /// The password they chose.
    pub password: NonEmptyPassword,
    /// Where there is a picture of them.
    pub image: Option<String>,
    /// Further fields, as they came.
    pub fields: NewFields<User>,
    /// Whether the session outlives the browser's.
    pub remember: bool,
}

impl Credentials<'_> {
    /// What [`Ctx::credentials`] and [`Ctx::sign_in_with_password`] refuse with.
    pub const REFUSALS: [(StatusCode, Code); 6] = [
        (StatusCode::BAD_REQUEST, Code::EMAIL_PASSWORD_DISABLED),
        (StatusCode::BAD_REQUEST, Code::INVALID_EMAIL),
        (StatusCode::BAD_REQUEST, Code::PASSWORD_TOO_LONG),
        (StatusCode::UNAUTHORIZED, Code::INVALID_EMAIL_OR_PASSWORD),
        (StatusCode::FORBIDDEN, Code::EMAIL_NOT_VERIFIED),
        (StatusCode::TOO_MANY_REQUESTS, Code::TOO_MANY_ATTEMPTS),
    ];
}

impl NewAccount {
    /// What [`Ctx::sign_up_with_password`] refuses with.
    pub const REFUSALS: [(StatusCode, Code); 6] = [
        (StatusCode::BAD_REQUEST, Code::EMAIL_PASSWORD_SIGN_UP_DISABLED),
        (StatusCode::BAD_REQUEST, Code::PASSWORD_TOO_SHORT),
        (StatusCode::BAD_REQUEST, Code::PASSWORD_TOO_LONG),
        (StatusCode::BAD_REQUEST, Code::PASSWORD_COMPROMISED),
        (StatusCode::UNPROCESSABLE_ENTITY, Code::USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL),
        (StatusCode::UNPROCESSABLE_ENTITY, Code::FAILED_TO_CREATE_USER),
    ];
}

/// For who has nothing to write beside a new session.
pub(crate) async fn nothing_more(_: &mut Tx, _: &Session) -> Result<()> {
    Ok(())
}

impl Ctx {
    /// Refuses what nobody could sign in with, before anything is looked for.
    pub fn credentials<'a>(&self, email: &'a str, password: &'a Secret) -> Result<Credentials<'a>> {
        let options = &self.config().email_and_password;
        if !options.enabled {
            return Err(Error::bad_request(Code::EMAIL_PASSWORD_DISABLED));
        }
        if !is_email(email) {
            return Err(Error::bad_request(Code::INVALID_EMAIL));
        }
        password_length::not_too_long(options, password)?;
        Ok(Credentials { email, password })
    }

    /// Signs somebody in, or refuses them; `also` is done in the transaction that makes the session.
    pub async fn sign_in_with_password(
        &mut self,
        Credentials { email, password }: Credentials<'_>,
        remember: bool,
        also: impl AsyncFnOnce(&mut Tx, &Session) -> Result<()>,
    ) -> Result<SignedIn> {
        let user = self.users().by_email(email).await?;
        let account = self.accounts().credential(user.as_ref().map_or("", |user| &user.id)).await?;
        let stored =
            account.as_ref().and_then(|account| account.password.clone()).filter(|stored| !stored.is_empty());
        let attempt = Attempt {
            told_as: Happening::SIGN_IN_FAILED,
            account: email,
            user_id: user.as_ref().map(|user| &*user.id),
            stored: stored.as_deref(),
        };
        let is_right = self.check_password(attempt, password).await?;
        let (true, Some(user), Some(account), Some(stored)) = (is_right, user, account, stored) else {
            return Err(wrong());
        };
        if self.config().email_and_password.require_email_verification && !user.email_verified {
            self.sign_in_failed(Happening::EMAIL_NOT_VERIFIED, email, &user.id).await;
            return Err(Error::forbidden(Code::EMAIL_NOT_VERIFIED));
        }
        let user_id = user.id.clone();
        let account =
            if self.is_outdated(&stored) { self.rehashed(account, password).await? } else { Some(account) };
        let sign_in = SignIn { user, method: Method::Password, remember };
        let signed_in = match account {
            Some(account) => self.sign_in_by_password(sign_in, &account, also).await?,
            None => None,
        };
        let Some(signed_in) = signed_in else {
            self.sign_in_failed(Happening::WRONG_CREDENTIALS, email, &user_id).await;
            return Err(wrong());
        };
        Ok(signed_in)
    }

    /// As [`Self::sign_in`], for somebody who has entered the password of `account`: `None` when that password has
    /// changed since it was compared, so that no session outlives the change.
    async fn sign_in_by_password(
        &mut self,
        sign_in: SignIn,
        account: &Account,
        also: impl AsyncFnOnce(&mut Tx, &Session) -> Result<()>,
    ) -> Result<Option<SignedIn>> {
        let (client, lifetime) = self.prepare_session(&sign_in).await?;
        let session = self
            .transact(async |tx: &mut Tx| {
                let session = tx.sessions().create_by_password(account, lifetime, client).await?;
                if let Some(session) = &session {
                    also(tx, session).await?;
                }
                Ok(session)
            })
            .await?;
        Ok(match session {
            Some(session) => Some(self.signed_in(sign_in, session).await),
            None => None,
        })
    }

    /// A wrong password is told where it is compared; this is what else keeps somebody out.
    async fn sign_in_failed(&self, reason: &'static str, email: &str, user_id: &str) {
        let failed = Happening::failed(Happening::SIGN_IN_FAILED, reason);
        self.happened(failed.of(user_id).account(self.account_hash(email))).await;
    }

    /// The account with a hash of the scheme in force; `None` when its password has changed since it was compared.
    async fn rehashed(&mut self, account: Account, password: &Secret) -> Result<Option<Account>> {
        let hash = self.hash(password).await?;
        let rehashed = self.transact(async |tx: &mut Tx| tx.accounts().rehash(&account, hash).await).await?;
        if rehashed.is_some() {
            return Ok(rehashed);
        }
        // Somebody who signed in with the same password at the same moment has done it, if it still is that password.
        let current = self.accounts().credential(&account.user_id).await?;
        let stored = current.as_ref().and_then(|account| account.password.as_deref());
        Ok(if self.verify(stored, password).await? { current } else { None })
    }

    /// Makes an account, and a session unless they have to sign in first; `also` is done in the transaction that makes
    /// both. A hook that interrupts ends the handler with its reply, and there is an account without a session.
    pub async fn sign_up_with_password(
        &mut self,
        new: NewAccount,
        also: impl AsyncFnOnce(&mut Tx, &Session) -> Result<()>,
    ) -> Result<(User, Option<Session>)> {
        let NewAccount { name, email, password, image, fields, remember } = new;
        let mut given = fields.0;
        let options = self.config().email_and_password.clone();
        if !options.enabled || options.disable_sign_up {
            return Err(Error::bad_request(Code::EMAIL_PASSWORD_SIGN_UP_DISABLED));
        }
        self.password_rules(&password)?;
        if self.has_form() {
            fields::from_form::<User>(self.store(), &mut given)?;
        }
        let fields = fields::read::<User>(self.store(), &mut given, fields::Action::Create)?;
        let signs_in = options.auto_sign_in && !options.require_email_verification;
        let new = NewUser { name, email: email.into(), email_verified: false, image };
        let mut user = new.into_user(self.store());

        let is_taken = self.users().by_email(&user.email).await?.is_some();
        if is_taken && signs_in {
            return Err(Error::unprocessable(Code::USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL));
        }
        let hash = self.hash(&password).await?;
        if is_taken {
            return Ok((user.imagined(self.store(), fields).await?, None));
        }
        user.give(self.store(), fields.clone())?;

        let sign_in = SignIn { user, method: Method::SignUp, remember };
        let interruption = if signs_in { self.before_sign_in(&sign_in).await? } else { None };
        let starts_session = signs_in && interruption.is_none();
        let (client, lifetime) = (self.client(), self.session_lifetime(remember));
        let created = self
            .transact(async |tx: &mut Tx| {
                let user = tx.users().create(&sign_in.user).await?;
                tx.accounts().create_credential(&user.id, hash).await?;
                if !starts_session {
                    return Ok((user, None));
                }
                let how = sign_in.method.reason();
                let session = tx.sessions().create(&user.id, how, lifetime, client).await?;
                also(tx, &session).await?;
                Ok((user, Some(session)))
            })
            .await;
        let (user, session) = match created {
            // Somebody else took the address since we looked.
            Err(error)
                if !signs_in && error.code() == Some(Code::USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL.code) =>
            {
                (sign_in.user.imagined(self.store(), fields).await?, None)
            }
            created => created?,
        };
        if let Some(reply) = interruption {
            return Err(Error::interrupted(reply));
        }
        let Some(session) = session else { return Ok((user, None)) };
        let SignedIn { session, user } = self.signed_in(SignIn { user, ..sign_in }, session).await;
        Ok((user, Some(session)))
    }
}

fn wrong() -> Error {
    Error::unauthorized(Code::INVALID_EMAIL_OR_PASSWORD)
}
