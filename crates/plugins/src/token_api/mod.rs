//! Signing in without cookies: JSON in, an access token and a refresh token out, as clients of a Python backend expect.
//!
//! An access token is one of the plugin `jwt`'s and says which session it belongs to. Sessions are those of everybody:
//! listing, revoking and banning end them, and with them what refreshes them. No cookie is looked at and none is set, so
//! that there is nothing for another site to misuse.
//!
//! | file | what |
//! |-|-|
//! | `access.rs` | whose access token a request has |
//! | `refresh.rs` | refresh tokens: how they are made, kept and used once |
//! | `cookies.rs` | the two endpoints that other names of upstream's API need, for sessions in cookies |
//!
//! Upstream has no such API.

mod access;
mod cookies;
mod refresh;

pub use self::refresh::{REFRESH_TOKEN_REUSED, RefreshTokens};

use self::{access::AccessToken, refresh::RefreshToken};
use crate::jwt::Jwt;
use http::{HeaderValue, Method, StatusCode, header::CACHE_CONTROL};
use narthex::{
    Credentials, Installed, NewAccount,
    http::{Extract, is_plain_path},
    input::{Either, Integer},
    model::{self, NewFields, User},
    prelude::*,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const INVALID_TOKEN: Code = Code::new("INVALID_TOKEN", "Invalid token");
const INVALID_REFRESH_TOKEN: Code = Code::new("INVALID_REFRESH_TOKEN", "Invalid refresh token");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// As upstream has it for what guesses at passwords.
const GUESSING: Rate = Rate { max: 3, window: 10 };

/// Signing in without cookies: access tokens of the plugin `jwt`, and refresh tokens. Needs `[plugins.jwt]`.
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TokenApi {
    /// Where the endpoints are found besides `/token-api` below the base path: a whole path, below which there are
    /// `/signup`, `/signin`, `/refresh`, `/signout` and `/me`. Empty for nowhere else.
    pub path: String,
    /// Other names of endpoints below the base path: `POST /signup/email`, `/signin/email`, `/signout` and
    /// `/session/refresh`, `GET /session` and `/user`.
    pub aliases: bool,
    /// Let `/signin` take OAuth's password form too: `grant_type=password`, `username` and `password`.
    pub password_form: bool,
}

impl Default for TokenApi {
    fn default() -> Self {
        Self { path: "/auth".to_owned(), aliases: true, password_form: false }
    }
}

impl Plugin for TokenApi {
    const ID: &'static str = "token-api";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        let is_elsewhere = !self.path.is_empty();
        if is_elsewhere && !is_plain_path(&self.path) {
            setup.refuse(format!("path = {:?}: must be a path such as \"/auth\", or empty", self.path));
            return;
        }
        setup.check(Self::look_around);
        setup.table(RefreshTokens::table());
        setup.codes(&[INVALID_TOKEN, INVALID_REFRESH_TOKEN]);
        setup.rate_limit(["/token-api/signup", "/token-api/signin"], GUESSING);
        setup
            .post("/token-api/signup", Self::sign_up)
            .without_cookies()
            .summary("Makes an account, and answers tokens unless they have to sign in first.")
            .refuses_with(NewAccount::REFUSALS);
        let sign_in = if self.password_form {
            setup.post("/token-api/signin", Self::sign_in_by_form)
        } else {
            setup.post("/token-api/signin", Self::sign_in)
        };
        sign_in
            .without_cookies()
            .summary("Answers tokens for an email address and a password.")
            .refuses_with(Credentials::REFUSALS);
        setup
            .post("/token-api/refresh", Self::refresh)
            .without_cookies()
            .summary("Answers new tokens for a refresh token, which holds once.")
            .refuses(StatusCode::UNAUTHORIZED, [INVALID_REFRESH_TOKEN]);
        setup
            .post("/token-api/signout", Self::sign_out)
            .without_cookies()
            .summary("Ends the session of a refresh token or an access token.")
            .looks_for_bearer(access::ACCESS_TOKEN)
            .refuses_with(access::REFUSALS);
        setup.get("/token-api/me", Self::me).without_cookies().summary("Tells whose access token it is.");
        if is_elsewhere {
            for (method, name) in [
                (Method::POST, "signup"),
                (Method::POST, "signin"),
                (Method::POST, "refresh"),
                (Method::POST, "signout"),
                (Method::GET, "me"),
            ] {
                setup.alias_anywhere(method, format!("{}/{name}", self.path), format!("/token-api/{name}"));
            }
        }
        if self.aliases {
            setup.get("/user", Self::user).summary("Tells who is signed in.");
            setup
                .post("/session/refresh", Self::refresh_session)
                .summary("Renews the session now.")
                .looks_for_session()
                .refuses(StatusCode::UNAUTHORIZED, [Code::FAILED_TO_GET_SESSION]);
            setup.alias(Method::POST, "/signup/email", "/sign-up/email");
            setup.alias(Method::POST, "/signin/email", "/sign-in/email");
            setup.alias(Method::POST, "/signout", "/sign-out");
            setup.alias(Method::GET, "/session", "/get-session");
        }
    }
}

input! {
    /// Who wants an account.
    pub(crate) struct SignUpBody {
        /// What to call them.
        name: Text,
        /// Their address.
        email: Email,
        /// The password they chose.
        password: NonEmptyPassword,
        /// Where there is a picture of them.
        image: Option<Text>,
        ..rest: NewFields<User>,
    }

    /// Who wants to sign in.
    pub(crate) struct SignInBody {
        /// Their address.
        email: Text,
        /// Their password.
        password: Password,
    }

    /// Who wants to sign in, as OAuth's password grant has it.
    pub(crate) struct PasswordForm {
        /// Always `password`; may be left out.
        grant_type ("grant_type"): Option<GrantType>,
        /// Their address.
        username: Text,
        /// Their password.
        password: Password,
    }

    /// Who wants a new access token.
    pub(crate) struct RefreshBody {
        /// The refresh token of the last answer.
        refresh_token ("refresh_token"): Password,
    }

    /// Which session to end.
    pub(crate) struct SignOutBody {
        /// A refresh token of the session; without it the access token in `Authorization` says which it is.
        refresh_token ("refresh_token"): Option<Password>,
    }
}

narthex::choice! {
    /// How somebody wants to sign in.
    pub(crate) enum GrantType { Password = "password" }
}

output! {
    /// Somebody is signed in. Without tokens they have an account, and have to do something before they can sign in.
    pub(crate) struct Tokens {
        /// For `Authorization: Bearer`.
        access_token ("access_token"): Nullable<String>,
        /// Always `bearer`.
        token_type ("token_type"): &'static str,
        /// Seconds for which the access token holds.
        expires_in ("expires_in"): Nullable<Integer>,
        /// For the next access token; holds once.
        refresh_token ("refresh_token"): Nullable<String>,
        /// Who it is.
        user: User,
    }

    /// Signed out.
    pub(crate) struct SignedOut {
        /// Always true.
        success: bool,
    }
}

/// An address and a password, as JSON or in OAuth's form.
pub(crate) struct JsonOrForm(SignInBody);

impl Extract for JsonOrForm {
    async fn extract(cx: &mut Ctx) -> Result<Self> {
        if !cx.has_form() {
            return Body::extract(cx).await.map(|Body(body)| Self(body));
        }
        let FormBody(PasswordForm { username, password, .. }) = FormBody::extract(cx).await?;
        Ok(Self(SignInBody { email: username, password }))
    }

    fn describe(description: &mut narthex::Description) {
        FormBody::<Either<SignInBody, PasswordForm>>::describe(description);
    }
}

impl TokenApi {
    /// What this plugin cannot do without.
    fn look_around(&self, installed: &Installed<'_>) -> Vec<String> {
        let mut problems = Vec::new();
        match installed.plugin::<Jwt>() {
            None => problems.push(
                "plugins.token-api: its access tokens are made by the plugin \"jwt\"; add [plugins.jwt]"
                    .to_owned(),
            ),
            Some(jwt) => {
                if let Some(subject) = jwt.jwt.get_subject.as_deref().filter(|subject| *subject != "user.id")
                {
                    problems.push(format!(
                        "plugins.jwt.jwt.get-subject = {subject:?}: plugins.token-api finds users by their ids; leave it out"
                    ));
                }
            }
        }
        if !installed.has_sessions_in_database {
            problems.push(
                "session.store-session-in-database = false: plugins.token-api keeps refresh tokens beside the sessions in the database; set it to true"
                    .to_owned(),
            );
        }
        problems
    }

    /// `POST /token-api/signup`
    async fn sign_up(&self, cx: &mut Ctx, Body(body): Body<SignUpBody>) -> Result<Json<Tokens>> {
        let SignUpBody { name, email, password, image, rest } = body;
        let new = NewAccount { name, email, password, image, fields: rest, remember: true };
        let token = RefreshToken::draw(cx);
        let begin = async |tx: &mut Tx, session: &model::Session| token.begin(tx, session).await;
        let (user, session) = cx.sign_up_with_password(new, begin).await?;
        match session {
            Some(session) => answer(cx, SignedIn { session, user }, &token).await,
            None => Ok(Json(Tokens::none(cx, user))),
        }
    }

    /// `POST /token-api/signin`
    async fn sign_in(&self, cx: &mut Ctx, Body(body): Body<SignInBody>) -> Result<Json<Tokens>> {
        let credentials = cx.credentials(&body.email, &body.password)?;
        enter(cx, credentials).await
    }

    /// The same where OAuth's form is taken too.
    async fn sign_in_by_form(&self, cx: &mut Ctx, JsonOrForm(body): JsonOrForm) -> Result<Json<Tokens>> {
        self.sign_in(cx, Body(body)).await
    }

    /// `POST /token-api/refresh`
    async fn refresh(&self, cx: &mut Ctx, Body(body): Body<RefreshBody>) -> Result<Json<Tokens>> {
        let used = match RefreshToken::read(body.refresh_token.expose()) {
            Some(token) => token.use_once(cx).await?,
            None => None,
        };
        let (signed_in, next) = used.ok_or_else(|| Error::unauthorized(INVALID_REFRESH_TOKEN))?;
        answer(cx, signed_in, &next).await
    }

    /// `POST /token-api/signout`
    async fn sign_out(&self, cx: &mut Ctx, Body(body): Body<Option<SignOutBody>>) -> Result<Json<SignedOut>> {
        let session = match body.and_then(|body| body.refresh_token) {
            Some(token) => match RefreshToken::read(token.expose()) {
                Some(token) => token.session(cx).await?,
                None => None,
            },
            None => access::session(cx).await?,
        };
        if let Some(SignedIn { session, user }) = session {
            cx.transact(async |tx: &mut Tx| {
                tx.sessions().revoke(&user.id, &session.token, Some(&session), Happening::SIGN_OUT).await
            })
            .await?;
        }
        Ok(Json(SignedOut { success: true }))
    }

    /// `GET /token-api/me`
    async fn me(&self, cx: &mut Ctx, AccessToken(user): AccessToken) -> Result<Json<User>> {
        cx.set_header(CACHE_CONTROL, NO_STORE);
        Ok(Json(user))
    }
}

async fn enter(cx: &mut Ctx, credentials: Credentials<'_>) -> Result<Json<Tokens>> {
    let token = RefreshToken::draw(cx);
    let begin = async |tx: &mut Tx, session: &model::Session| token.begin(tx, session).await;
    let signed_in = cx.sign_in_with_password(credentials, true, begin).await?;
    answer(cx, signed_in, &token).await
}

async fn answer(cx: &mut Ctx, signed_in: SignedIn, refresh: &RefreshToken) -> Result<Json<Tokens>> {
    let jwt = jwt(cx)?;
    let access_token = jwt.issue_with_session(cx, &signed_in).await?;
    let expires_in = Integer::try_from(jwt.lifetime().as_secs()).unwrap_or(Integer::MAX);
    Ok(Json(Tokens {
        access_token: Some(access_token).into(),
        expires_in: Some(expires_in).into(),
        refresh_token: Some(refresh.text()).into(),
        ..Tokens::none(cx, signed_in.user)
    }))
}

impl Tokens {
    /// Nothing but who it is. That is nobody else's to keep either.
    fn none(cx: &mut Ctx, user: User) -> Self {
        cx.set_header(CACHE_CONTROL, NO_STORE);
        Self {
            access_token: None.into(),
            token_type: "bearer",
            expires_in: None.into(),
            refresh_token: None.into(),
            user,
        }
    }
}

fn jwt(cx: &Ctx) -> Result<Arc<Jwt>> {
    cx.plugin::<Jwt>().ok_or_else(|| Error::internal("the plugin jwt was asked for at start"))
}
