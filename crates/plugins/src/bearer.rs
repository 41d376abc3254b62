//! Sessions for clients without cookies: a session's token in `Authorization: Bearer`.
//!
//! A token is what the session's cookie holds, with its signature; without the signature, as replies and the database
//! have it, it is taken too unless `require-signature` says otherwise. Replies that set the cookie have the same value
//! in `set-auth-token`. Where a request comes from is checked before this plugin is asked: a token in a header is not
//! sent by a browser on its own, but a cookie beside it is.
//!
//! Upstream: `plugins/bearer`.

use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use narthex::{Credential, http::decode_component, prelude::*};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

const SET_AUTH_TOKEN: HeaderName = HeaderName::from_static("set-auth-token");
const SCHEME: &str = "bearer ";

/// Sessions for clients without cookies: `Authorization: Bearer <token>`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bearer {
    /// Take only tokens with their signature, as `set-auth-token` has them. Without it whoever can read a token in the
    /// database is signed in.
    pub require_signature: bool,
}

impl Plugin for Bearer {
    const ID: &'static str = "bearer";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.credential(Credential::Bearer {
            meaning: "A session's token, as replies have it in `set-auth-token`.",
        });
        setup.before("/**", Self::read);
        setup.after("/**", Self::write);
    }
}

impl Bearer {
    /// What is no token of ours is as good as nothing: the cookies count.
    async fn read(&self, cx: &mut Ctx) -> Result<Option<Reply>> {
        // One byte, one character: what upstream's server makes of a header.
        let credentials = cx.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        let credentials: String = credentials.iter().map(|byte| char::from(*byte)).collect();
        let Some(token) = bearer(&credentials) else { return Ok(None) };
        let signed = if token.contains('.') {
            decode_component(token).unwrap_or(Cow::Borrowed(token)).into_owned()
        } else if self.require_signature {
            return Ok(None);
        } else {
            cx.sign_session_token(token)
        };
        if cx.is_signed_session_token(&signed) {
            cx.present_session(&signed);
        }
        Ok(None)
    }

    async fn write(&self, cx: &mut Ctx, _: &mut Reply) -> Result<()> {
        if let Some(token) = cx.session_set().and_then(|token| HeaderValue::try_from(token).ok()) {
            cx.expose_header(SET_AUTH_TOKEN, token);
        }
        Ok(())
    }
}

/// The token of an `Authorization` header.
pub(crate) fn bearer(credentials: &str) -> Option<&str> {
    let (scheme, token) = credentials.split_at_checked(SCHEME.len())?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case(SCHEME) && !token.is_empty()).then_some(token)
}
