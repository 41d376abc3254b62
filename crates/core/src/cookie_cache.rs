//! The session as a cookie remembers it, so that most requests need no database.
//!
//! Three ways to write it, byte for byte upstream's, so that either server reads what the other wrote. What is believed
//! was signed or sealed with our secret and has not ended; that it belongs to the session cookie beside it is checked
//! here as well, so that nobody gets a session out of a cache alone. The compact way is verified over the text of its
//! payload and never over what a parser made of it, so the order of members and the spelling of numbers are not ours to
//! guess.
//!
//! Where a plugin signs ([`Setup::sign_cookie_cache`](crate::Setup::sign_cookie_cache)), others can verify what a cookie
//! remembers. Such a token says whose it is, by whom and for what, so that no other token of those keys passes for one.
//!
//! Upstream: `cookies/cache.ts`, `cookies/jwt.ts`, `setCookieCache` and `decodeCookieCache` of `cookies/index.ts`, and
//! `plugins/jwt/cookie-cache.ts`.

use std::{borrow::Cow, fmt, sync::Arc};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};
use sha2::Sha256;

use crate::{
    config::{CacheStrategy, RefreshBefore, RefreshCache, Resolved},
    context::{Ctx, SignedIn},
    crypto::{claims, constant_time_eq, hmac_sha256, jwe::Keyring, jwk, jws::Hs256, jws::LONGEST_TOKEN},
    error::chain,
    model::{Session, User},
    plugin::CacheSigner,
    secret::Secret,
    store::{Model, ResolvedTable, Schema, Shown, Store, new_uuid},
    time::Time,
};

/// What the keys of `jwe` are derived for.
const PURPOSE: &str = "better-auth-session";
/// How far clocks may be apart where upstream allows for it, in seconds.
const TOLERANCE: u32 = 15;
/// What a token is that a plugin has signed, in its header.
const TYPE: &str = "better-auth.session-cache+jwt";
/// For what it is, in its claims.
const AUDIENCE: &str = "better-auth:session-cache";

/// Writes sessions into cookies and reads them back.
#[derive(Debug)]
pub(crate) struct CookieCache {
    sealing: Sealing,
    version: String,
    sessions: Arc<ResolvedTable>,
    users: Arc<ResolvedTable>,
}

enum Sealing {
    Compact(Hmac<Sha256>),
    Jwt(Hs256),
    Jwe(Keyring),
    Signer { signer: CacheSigner, issuer: String },
}

/// What is written.
#[derive(Serialize)]
struct Written<'a> {
    session: &'a Session,
    user: &'a User,
    #[serde(rename = "updatedAt")]
    updated_at: i64,
    version: &'a str,
}

/// What the compact way wraps around its payload.
#[derive(Deserialize)]
struct Compact<'a> {
    #[serde(borrow)]
    session: &'a RawValue,
    #[serde(rename = "expiresAt")]
    expires_at: i64,
    #[serde(borrow)]
    signature: Cow<'a, str>,
}

impl CookieCache {
    /// `None` where it is off. The first of the secrets writes, and where upstream reads what older ones wrote, so do we.
    pub(crate) fn new(resolved: &Resolved, signer: Option<CacheSigner>, schema: &Schema) -> Option<Self> {
        let options = &resolved.config.session.cookie_cache;
        if matches!(
            options.refresh_cache,
            RefreshCache::Switch(true) | RefreshCache::Before(RefreshBefore { .. })
        ) {
            tracing::warn!("session.cookie-cache.refresh-cache has no effect: sessions are in a database");
        }
        if !options.enabled {
            return None;
        }
        let current = resolved.secrets.current().expose();
        Some(Self {
            sealing: match (options.strategy, signer) {
                (CacheStrategy::Compact, _) => Sealing::Compact(hmac_sha256(current.as_bytes())),
                (CacheStrategy::Jwt, Some(signer)) => {
                    Sealing::Signer { signer, issuer: resolved.base_origin.clone() }
                }
                (CacheStrategy::Jwt, None) => Sealing::Jwt(Hs256::new(current)),
                (CacheStrategy::Jwe, _) => {
                    Sealing::Jwe(Keyring::derive(resolved.secrets.all().map(Secret::expose), PURPOSE))
                }
            },
            version: or_one(options.version.as_deref()).to_owned(),
            sessions: Arc::clone(schema.table(Session::TABLE)?),
            users: Arc::clone(schema.table(User::TABLE)?),
        })
    }

    /// The value of the cookie that remembers this session for `max_age` seconds, or for a while where the cookie ends
    /// with the browser; nothing where it cannot be written.
    pub(crate) async fn seal(
        &self,
        cx: &mut Ctx,
        SignedIn { session, user }: &SignedIn,
        max_age: Option<i64>,
    ) -> Option<String> {
        let now = cx.now();
        let written = Written { session, user, updated_at: now.millis(), version: &self.version };
        let payload = serde_json::to_string(&written).ok()?;
        let members = payload.strip_suffix('}')?;
        let issued = now.millis().div_euclid(1000);
        let max_age = max_age.filter(|seconds| *seconds > 0);
        let ends = issued + max_age.unwrap_or(300);
        match &self.sealing {
            Sealing::Compact(key) => {
                let ends = now.millis() + max_age.unwrap_or(60) * 1000;
                let signature = URL_SAFE_NO_PAD.encode(compact_signature(key, members, ends));
                let text = format!(r#"{{"session":{payload},"expiresAt":{ends},"signature":"{signature}"}}"#);
                Some(URL_SAFE_NO_PAD.encode(text))
            }
            Sealing::Jwt(key) => {
                Some(key.sign(format!(r#"{members},"iat":{issued},"exp":{ends}}}"#).as_bytes()))
            }
            Sealing::Jwe(keys) => {
                let (iv, id) = (cx.random::<16>(), new_uuid(&cx.engine.env));
                let claims = format!(r#"{members},"iat":{issued},"exp":{ends},"jti":"{id}"}}"#);
                keys.seal(claims.as_bytes(), iv)
            }
            Sealing::Signer { signer, issuer } => {
                let [sid, iss, sub] = [&session.token, issuer, &user.id].map(|text| Value::from(&**text));
                let claims = format!(
                    r#"{members},"sid":{sid},"iat":{issued},"exp":{ends},"iss":{iss},"aud":"{AUDIENCE}","sub":{sub}}}"#
                );
                match (signer.sign)(cx, TYPE, claims).await {
                    // A longer one would not be read.
                    Ok(token) => Some(token).filter(|token| token.len() <= jwk::LONGEST_TOKEN),
                    Err(error) => {
                        tracing::error!(
                            error = chain(&error),
                            "no cookie could be made to remember a session"
                        );
                        None
                    }
                }
            }
        }
    }

    /// The session that `value` remembers, if it is the one of this token and nothing has ended.
    pub(crate) async fn open(&self, store: &Store, value: &str, token: &str, now: Time) -> Option<SignedIn> {
        let (read, ends) = match &self.sealing {
            Sealing::Compact(key) => self.open_compact(key, value)?,
            Sealing::Jwt(key) => self.open_token(&key.open(value)?, now, 0)?,
            Sealing::Jwe(keys) => self.open_token(&keys.open(value)?, now, TOLERANCE)?,
            Sealing::Signer { signer, issuer } => {
                let claims = match (signer.open)(store, TYPE, value).await {
                    Ok(claims) => claims?,
                    Err(error) => {
                        tracing::warn!(
                            error = chain(&error),
                            "what a cookie remembers could not be verified"
                        );
                        return None;
                    }
                };
                let (read, ends) = self.open_token(&claims, now, TOLERANCE)?;
                if !read.said.is_about(&read.session, &read.user, issuer) {
                    return None;
                }
                (read, ends)
            }
        };
        let is_believed = read.session.token == token
            && or_one(read.version.as_deref()) == self.version
            && ends >= now
            && read.session.expires_at >= now;
        is_believed.then_some(SignedIn { session: read.session, user: read.user })
    }

    fn open_compact(&self, key: &Hmac<Sha256>, value: &str) -> Option<(Read, Time)> {
        if value.len() > LONGEST_TOKEN {
            return None;
        }
        let text = URL_SAFE_NO_PAD.decode(value).ok()?;
        let compact: Compact<'_> = serde_json::from_slice(&text).ok()?;
        let payload = compact.session.get();
        let mut given = [0; 32];
        let length = URL_SAFE_NO_PAD.decode_slice(&*compact.signature, &mut given).ok()?;
        let right = compact_signature(key, payload.strip_suffix('}')?, compact.expires_at);
        if length != given.len() || !constant_time_eq(&given, &right) {
            return None;
        }
        Some((self.read(payload.as_bytes())?, Time::from_millis(compact.expires_at)))
    }

    fn open_token(&self, claims: &[u8], now: Time, tolerance: u32) -> Option<(Read, Time)> {
        let read = self.read(claims)?;
        // A token that never ends is none of ours.
        let ends = read.ends.filter(|ends| ends.abs() < 1e12)?;
        if !claims::are_current(Some(ends), read.begins, now, tolerance) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the bound above")]
        let ends = Time::from_millis((ends * 1000.0) as i64);
        Some((read, ends))
    }

    fn read(&self, payload: &[u8]) -> Option<Read> {
        let mut deserializer = serde_json::Deserializer::from_slice(payload);
        let read = deserializer.deserialize_map(ReadVisitor(self)).ok()?;
        deserializer.end().ok()?;
        Some(read)
    }
}

fn compact_signature(key: &Hmac<Sha256>, members: &str, expires_at: i64) -> [u8; 32] {
    let mac = key.clone().chain_update(members).chain_update(format!(r#","expiresAt":{expires_at}}}"#));
    mac.finalize().into_bytes().into()
}

/// No version and an empty one are the first.
fn or_one(version: Option<&str>) -> &str {
    version.filter(|version| !version.is_empty()).unwrap_or("1")
}

impl fmt::Debug for Sealing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Compact(_) => "Compact",
            Self::Jwt(_) => "Jwt",
            Self::Jwe(_) => "Jwe",
            Self::Signer { .. } => "Signer",
        })
    }
}

/// What was read.
struct Read {
    session: Session,
    user: User,
    version: Option<String>,
    ends: Option<f64>,
    begins: Option<f64>,
    said: Said,
}

/// What only a token says that a plugin has signed.
#[derive(Default)]
struct Said {
    session: Option<Value>,
    user: Option<Value>,
    issuer: Option<Value>,
    audience: Option<Value>,
}

impl Said {
    fn is_about(&self, session: &Session, user: &User, issuer: &str) -> bool {
        let is = |said: &Option<Value>, text: &str| said.as_ref().and_then(Value::as_str) == Some(text);
        let is_for_us = match &self.audience {
            Some(Value::Array(several)) => several.iter().any(|one| one == AUDIENCE),
            one => is(one, AUDIENCE),
        };
        is(&self.session, &session.token) && is(&self.user, &user.id) && is(&self.issuer, issuer) && is_for_us
    }
}

struct ReadVisitor<'a>(&'a CookieCache);

impl<'de> Visitor<'de> for ReadVisitor<'_> {
    type Value = Read;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a remembered session")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
        let (mut session, mut user, mut version, mut updated_at) = (None, None, None, None::<f64>);
        let (mut ends, mut begins) = (None, None);
        let mut said = Said::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "session" => session = Some(map.next_value_seed(Shown(&self.0.sessions))?),
                "user" => user = Some(map.next_value_seed(Shown(&self.0.users))?),
                "updatedAt" => updated_at = Some(map.next_value()?),
                "version" => version = Some(map.next_value()?),
                "exp" => ends = Some(map.next_value()?),
                "nbf" => begins = Some(map.next_value()?),
                "sid" => said.session = Some(map.next_value()?),
                "sub" => said.user = Some(map.next_value()?),
                "iss" => said.issuer = Some(map.next_value()?),
                "aud" => said.audience = Some(map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let read = || {
            updated_at?;
            Some(Read {
                session: remembered(session?.record(&self.0.sessions)?, &SESSION),
                user: remembered(user?.record(&self.0.users)?, &USER),
                version,
                ends,
                begins,
                said,
            })
        };
        read().ok_or_else(|| serde::de::Error::custom("no session, or no user"))
    }
}

/// The members of a session that upstream's schema for the cache names, in its order.
const SESSION: [&str; 8] =
    ["id", "createdAt", "updatedAt", "userId", "expiresAt", "token", "ipAddress", "userAgent"];
/// The same of a user.
const USER: [&str; 7] = ["id", "createdAt", "updatedAt", "email", "emailVerified", "name", "image"];

/// A record with its members in the order in which upstream shows them when a cache has remembered it: those that its
/// schema for the cache names, and then all others.
fn remembered<M: Model>(mut record: M, named: &[&'static str]) -> M {
    let (extra, _) = record.extra();
    let others = extra.iter().map(|(name, _)| Cow::Owned(name.to_owned()));
    let members = named.iter().copied().map(Cow::Borrowed).chain(others).collect();
    extra.show(members);
    record
}
