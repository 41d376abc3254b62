//! Whose access token a request has.
//!
//! A token is verified as every other server verifies it, and then compared with the database: one of a session that has
//! ended, or of a user who is gone, is none. RFC 6750 says what is answered.

use super::{INVALID_TOKEN, jwt};
use crate::bearer::bearer;
use http::{
    HeaderValue, StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use narthex::{BearerToken, Description, SessionUse, http::Extract, model::User, prelude::*};
use serde_json::{Map, Value};

const WANTED: HeaderValue = HeaderValue::from_static("Bearer");
const REFUSED: HeaderValue = HeaderValue::from_static("Bearer error=\"invalid_token\"");

pub(super) const ACCESS_TOKEN: BearerToken = BearerToken {
    name: "accessToken",
    format: "JWT",
    meaning: "An access token, as `access_token` of the replies that sign in, or a token of `/token`.",
};

/// Guard: the request has an access token that holds. Of its user, as the database has them now.
pub(crate) struct AccessToken(pub(super) User);

/// What a request without an access token that holds is refused with.
pub(super) const REFUSALS: [(StatusCode, Code); 2] =
    [(StatusCode::UNAUTHORIZED, Code::UNAUTHORIZED), (StatusCode::UNAUTHORIZED, INVALID_TOKEN)];

impl Extract for AccessToken {
    async fn extract(cx: &mut Ctx) -> Result<Self> {
        let claims = claims(cx).await?;
        let user = match session_id(&claims) {
            Some(id) => found(cx, &claims, id).await?.map(|signed_in| signed_in.user),
            // A token of the plugin jwt's own, which knows of no session.
            None => cx.users().by_id(subject(&claims)).await?,
        };
        user.map(Self).ok_or_else(refused)
    }

    fn describe(description: &mut Description) {
        description.bearer = Some((ACCESS_TOKEN, SessionUse::Required));
        for (status, code) in REFUSALS {
            description.refuse(status, code);
        }
        description.refuse(StatusCode::SERVICE_UNAVAILABLE, Code::SERVICE_UNAVAILABLE);
    }
}

/// The session of the request's access token, unless it has ended. A token that does not say which it is, is none.
pub(super) async fn session(cx: &Ctx) -> Result<Option<SignedIn>> {
    let claims = claims(cx).await?;
    let id = session_id(&claims).ok_or_else(refused)?;
    found(cx, &claims, id).await
}

async fn claims(cx: &Ctx) -> Result<Map<String, Value>> {
    let credentials = cx.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = credentials.and_then(bearer) else {
        return Err(Error::unauthorized(Code::UNAUTHORIZED).header(WWW_AUTHENTICATE, WANTED));
    };
    jwt(cx)?.verify(cx, token).await?.ok_or_else(refused)
}

async fn found(cx: &Ctx, claims: &Map<String, Value>, session_id: &str) -> Result<Option<SignedIn>> {
    let signed_in = cx.session_by_id(session_id).await?;
    Ok(signed_in.filter(|signed_in| signed_in.user.id == subject(claims)))
}

fn subject(claims: &Map<String, Value>) -> &str {
    claims.get("sub").and_then(Value::as_str).unwrap_or_default()
}

/// Of a claim that is something else there is no session.
fn session_id(claims: &Map<String, Value>) -> Option<&str> {
    claims.get("sid").map(|id| id.as_str().unwrap_or_default())
}

fn refused() -> Error {
    Error::unauthorized(INVALID_TOKEN).header(WWW_AUTHENTICATE, REFUSED)
}
