//! The session as a cookie remembers it, so that most requests need no database.
//!
//! Three ways to write it, byte for byte upstream's, so that either server reads what the other wrote. What is believed
//! was signed or sealed with our secret and has not ended; that it belongs to the session cookie beside it is checked
//! here as well, so that nobody gets a session out of a cache alone. The compact way is verified over the text of its
//! payload and never over what a parser made of it, so the order of members and the spelling of numbers are not ours to
//! guess.
//!
//! Upstream: `cookies/cache.ts`, and `setCookieCache` and `decodeCookieCache` of `cookies/index.ts`.

use std::{borrow::Cow, fmt, sync::Arc};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use sha2::Sha256;

use crate::{
    config::{CacheStrategy, Config, RefreshBefore, RefreshCache},
    context::SignedIn,
    crypto::{claims, constant_time_eq, hmac_sha256, jwe::Keyring, jws::Hs256, jws::LONGEST_TOKEN},
    env::Env,
    model::{Session, User},
    store::{Model, ResolvedTable, Schema, Shown, new_uuid},
    time::Time,
};

/// What the keys of `jwe` are derived for.
const PURPOSE: &str = "better-auth-session";
/// How far clocks may be apart where upstream allows for it, in seconds.
const TOLERANCE: u32 = 15;

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
    /// `None` where it is off. The first of `secrets` writes, and where upstream reads what older ones wrote, so do we.
    pub(crate) fn new<'a>(
        config: &Config,
        secrets: impl IntoIterator<Item = &'a str>,
        schema: &Schema,
    ) -> Option<Self> {
        let options = &config.session.cookie_cache;
        if matches!(
            options.refresh_cache,
            RefreshCache::Switch(true) | RefreshCache::Before(RefreshBefore { .. })
        ) {
            tracing::warn!("session.cookie-cache.refresh-cache has no effect: sessions are in a database");
        }
        let mut secrets = secrets.into_iter().peekable();
        let current = *secrets.peek().filter(|_| options.enabled)?;
        Some(Self {
            sealing: match options.strategy {
                CacheStrategy::Compact => Sealing::Compact(hmac_sha256(current.as_bytes())),
                CacheStrategy::Jwt => Sealing::Jwt(Hs256::new(current)),
                CacheStrategy::Jwe => Sealing::Jwe(Keyring::derive(secrets, PURPOSE)),
            },
            version: or_one(options.version.as_deref()).to_owned(),
            sessions: Arc::clone(schema.table(Session::TABLE)?),
            users: Arc::clone(schema.table(User::TABLE)?),
        })
    }

    /// The value of the cookie that remembers this session for `max_age` seconds, or for a while where the cookie ends
    /// with the browser.
    pub(crate) fn seal(
        &self,
        env: &Env,
        session: &Session,
        user: &User,
        max_age: Option<i64>,
    ) -> Option<String> {
        let now = env.clock.now();
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
                let mut iv = [0; 16];
                env.entropy.fill(&mut iv);
                let id = new_uuid(env);
                let claims = format!(r#"{members},"iat":{issued},"exp":{ends},"jti":"{id}"}}"#);
                keys.seal(claims.as_bytes(), iv)
            }
        }
    }

    /// The session that `value` remembers, if it is the one of this token and nothing has ended.
    pub(crate) fn open(&self, value: &str, token: &str, now: Time) -> Option<SignedIn> {
        let (read, ends) = match &self.sealing {
            Sealing::Compact(key) => self.open_compact(key, value)?,
            Sealing::Jwt(key) => self.open_token(&key.open(value)?, now, 0)?,
            Sealing::Jwe(keys) => self.open_token(&keys.open(value)?, now, TOLERANCE)?,
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
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "session" => session = Some(map.next_value_seed(Shown(&self.0.sessions))?),
                "user" => user = Some(map.next_value_seed(Shown(&self.0.users))?),
                "updatedAt" => updated_at = Some(map.next_value()?),
                "version" => version = Some(map.next_value()?),
                "exp" => ends = Some(map.next_value()?),
                "nbf" => begins = Some(map.next_value()?),
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
