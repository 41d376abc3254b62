//! What a token says: upstream's claims, or those of the configuration.
//!
//! Upstream: `getJwtToken` and `signJWT` of `plugins/jwt/sign.ts`.

use super::options::{Claim, Jwt, Recipients};
use narthex::prelude::*;
use serde::Serialize;
use serde_json::{Map, Value};

/// Claims that decide whether a token holds. Upstream takes them from fields of the user that are called so, which a
/// user may be allowed to set.
const DECISIVE: [&str; 6] = ["iat", "exp", "nbf", "iss", "aud", "jti"];

impl Jwt {
    /// The claims of a token for `audience`, or for those that the options name.
    pub(super) fn claims(
        &self,
        cx: &Ctx,
        signed_in: &SignedIn,
        audience: Option<&str>,
    ) -> Result<Map<String, Value>> {
        let now = cx.now().millis().div_euclid(1000);
        let mut claims = Map::new();
        claims.insert("iat".to_owned(), now.into());
        match &self.jwt.define_payload {
            None => {
                let fields = object(&signed_in.user)?;
                claims.extend(fields.into_iter().filter(|(name, _)| !DECISIVE.contains(&&**name)));
            }
            Some(defined) => {
                for (name, claim) in &defined.0 {
                    let value = match claim {
                        Claim::Constant(constant) => Some(constant.value.clone()),
                        Claim::Field(path) => field(signed_in, path)?,
                    };
                    claims.extend(value.map(|value| (name.clone(), value)));
                }
            }
        }
        let subject = match &self.jwt.get_subject {
            None => Value::from(&*signed_in.user.id),
            Some(path) => match field(signed_in, path)? {
                Some(Value::String(text)) => text.into(),
                Some(Value::Number(number)) => number.to_string().into(),
                _ => {
                    return Err(Error::internal(format!(
                        "jwt.get-subject = {path:?}: this user has no such text"
                    )));
                }
            },
        };
        claims.insert("sub".to_owned(), subject);
        let lifetime = i64::try_from(self.lifetime().as_secs()).unwrap_or(i64::MAX);
        claims.insert("exp".to_owned(), now.saturating_add(lifetime).into());
        claims.insert("iss".to_owned(), self.issuer(cx).into());
        let audience = audience.map(Value::from).or_else(|| self.audience(cx));
        claims.extend(audience.map(|audience| ("aud".to_owned(), audience)));
        if self.revocation {
            claims.insert("sid".to_owned(), signed_in.session.id.clone().into());
        }
        Ok(claims)
    }

    pub(super) fn issuer<'a>(&'a self, cx: &'a Ctx) -> &'a str {
        self.jwt.issuer.as_deref().unwrap_or(cx.base_origin())
    }

    /// Backends that only know a secret do not expect an audience, and most refuse what they do not expect.
    pub(super) fn audience(&self, cx: &Ctx) -> Option<Value> {
        match &self.jwt.audience {
            Some(Recipients::One(one)) => Some(one.as_str().into()),
            Some(Recipients::Several(several)) => Some(several.as_slice().into()),
            None => self.secret.is_none().then(|| cx.base_origin().into()),
        }
    }
}

fn object(record: &impl Serialize) -> Result<Map<String, Value>> {
    match serde_json::to_value(record) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Error::internal("a record that is no object")),
        Err(error) => Err(Error::internal(error)),
    }
}

/// The field that a path names; what replies do not show is not there.
fn field(SignedIn { session, user }: &SignedIn, path: &str) -> Result<Option<Value>> {
    Ok(match path.split_once('.') {
        Some(("user", name)) => object(user)?.remove(name),
        Some(("session", name)) => object(session)?.remove(name),
        _ => None,
    })
}
