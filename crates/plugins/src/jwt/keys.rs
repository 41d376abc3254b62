//! The key pairs: rows of `jwks`, the one that signs, and when the next one comes.
//!
//! Opening a row costs more than signing with it, so the key in use is remembered, and the table is asked again after
//! a minute: by then a row that was added or deleted by somebody else has its effect. A new key signs only when it has
//! been published for as long as others may remember the set; one that replaces a key that has ended signs at once,
//! because nothing else could. What verifies is remembered likewise, so that a session in a cookie needs no database.
//!
//! Upstream: `plugins/jwt/adapter.ts`, `sign.ts`, `utils.ts`; it reads and decrypts for every token.

use super::options::{Jwt, KeyPair};
use http::StatusCode;
use narthex::{
    crypto::{
        at_rest::NONCE,
        jwk::{Algorithm, KeyError, SigningKey, VerifyingKey, compact},
        jws::Hs256,
    },
    model,
    prelude::*,
    store::{Filter, Order, Record, Select, Store},
};
use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

/// How long others may remember the published keys, and we the rows.
pub(super) const REMEMBERED: Duration = Duration::from_mins(5);
const READ_AGAIN: Duration = Duration::from_mins(1);
/// A key that nobody knows is looked for no more often, whatever tokens come.
const LOOKED_FOR: Duration = Duration::from_secs(1);
/// Rows that are looked at: nobody has so many keys.
const MOST_KEYS: u32 = 100;

model! {
    /// A key pair.
    pub struct Jwk in "jwks" {
        /// The half that verifies, as JSON.
        PUBLIC_KEY public_key: String = text("publicKey");
        /// The half that signs, as JSON: encrypted, unless the options say otherwise.
        [hidden] PRIVATE_KEY private_key: String = text("privateKey");
        /// When it was made.
        CREATED_AT created_at: Time = time("createdAt");
        /// When it no longer signs.
        EXPIRES_AT expires_at: Option<Time> = time("expiresAt").optional();
        /// How it signs; rows of old have none.
        ALG alg: Option<String> = text("alg").optional();
        /// Its curve.
        CRV crv: Option<String> = text("crv").optional();
    }
}

impl Jwk {
    /// How it signs; rows that do not say sign as the options say.
    pub(super) fn algorithm(&self, jwt: &Jwt) -> Option<Algorithm> {
        match &self.alg {
            Some(name) => Algorithm::named(name),
            None => Some(jwt.jwks.key_pair_config.alg),
        }
    }
}

/// A key that signs now.
pub(super) struct Ready {
    /// The header of its tokens.
    header: String,
    key: SigningKey,
    read_at: Time,
    expires_at: Option<Time>,
}

impl Ready {
    fn has_ended(&self, now: Time) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    fn is_recent(&self, now: Time) -> bool {
        self.read_at <= now && now < self.read_at + READ_AGAIN
    }

    /// The token with this payload, which is JSON, and with this type in its header, if any.
    pub(super) async fn sign(
        self: Arc<Self>,
        cx: &Ctx,
        kind: Option<&'static str>,
        payload: Vec<u8>,
    ) -> Result<String> {
        let token = if self.key.algorithm().is_slow() {
            cx.compute_soon(move || self.token(kind, &payload)).await?
        } else {
            self.token(kind, &payload)
        };
        token.map_err(Error::internal)
    }

    fn token(&self, kind: Option<&str>, payload: &[u8]) -> Result<String, KeyError> {
        let header = match (kind, self.header.strip_suffix('}')) {
            (Some(kind), Some(members)) => {
                Cow::Owned(format!(r#"{members},"typ":{}}}"#, serde_json::Value::from(kind)))
            }
            _ => Cow::Borrowed(&*self.header),
        };
        compact(&header, payload, |message| self.key.sign(message))
    }
}

/// What verifies, by the ids of the keys, and until when each is published.
struct Verifiers {
    keys: HashMap<String, (Arc<VerifyingKey>, Option<Time>)>,
    read_at: Time,
}

impl Verifiers {
    fn key(&self, id: &str, now: Time) -> Option<Arc<VerifyingKey>> {
        let (key, until) = self.keys.get(id)?;
        until.is_none_or(|until| until > now).then(|| Arc::clone(key))
    }

    /// Whether what is known of this key is still so.
    fn is_recent(&self, id: &str, now: Time) -> bool {
        let holds = if self.keys.contains_key(id) { READ_AGAIN } else { LOOKED_FOR };
        self.read_at <= now && now < self.read_at + holds
    }
}

/// The keys in use.
#[derive(Default)]
pub(super) struct Keyring {
    ready: RwLock<HashMap<Algorithm, Arc<Ready>>>,
    /// One request at a time reads rows and makes keys.
    busy: tokio::sync::Mutex<()>,
    verifiers: RwLock<Option<Arc<Verifiers>>>,
    /// One request at a time reads what verifies.
    reading: tokio::sync::Mutex<()>,
    /// The shared secret, prepared.
    shared: OnceLock<Hs256>,
}

/// Keys are those of one database: another engine with the same options has its own.
impl Clone for Keyring {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Keyring").finish_non_exhaustive()
    }
}

impl Keyring {
    fn remembered(&self, algorithm: Algorithm, now: Time) -> Option<Arc<Ready>> {
        let ready = self.ready.read().unwrap_or_else(PoisonError::into_inner);
        ready.get(&algorithm).filter(|ready| !ready.has_ended(now)).map(Arc::clone)
    }

    fn verifiers(&self) -> Option<Arc<Verifiers>> {
        self.verifiers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Jwt {
    /// The key that signs with this algorithm now.
    pub(super) async fn ready(&self, cx: &mut Ctx, algorithm: Algorithm) -> Result<Arc<Ready>> {
        let now = cx.now();
        let remembered = self.keyring.remembered(algorithm, now);
        let _one = match remembered {
            Some(ready) if ready.is_recent(now) => return Ok(ready),
            // Still good while somebody else looks.
            Some(ready) => match self.keyring.busy.try_lock() {
                Ok(one) => one,
                Err(_) => return Ok(ready),
            },
            None => self.keyring.busy.lock().await,
        };
        if let Some(ready) = self.keyring.remembered(algorithm, now).filter(|ready| ready.is_recent(now)) {
            return Ok(ready);
        }
        let ready = match (self.read(cx, algorithm, now).await, self.keyring.remembered(algorithm, now)) {
            (Ok(ready), _) => Arc::new(ready),
            // The database is away; until it is back the key that was good a minute ago is.
            (Err(error), Some(ready)) if error.status() == StatusCode::SERVICE_UNAVAILABLE => {
                return Ok(ready);
            }
            (Err(error), _) => return Err(error),
        };
        let mut all = self.keyring.ready.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(algorithm, Arc::clone(&ready));
        Ok(ready)
    }

    async fn read(&self, cx: &mut Ctx, algorithm: Algorithm, now: Time) -> Result<Ready> {
        let mut keys = cx.store().list(signing(now)).await?;
        keys.retain(|key| key.algorithm(self) == Some(algorithm));
        if keys.is_empty() {
            self.make_first(cx, algorithm, now).await?;
            keys = cx.store().list(signing(now)).await?;
            keys.retain(|key| key.algorithm(self) == Some(algorithm));
        }
        let Some(chosen) = choose(&keys, now) else {
            return Err(Error::internal("the key that was made is gone"));
        };
        let is_last = keys.first().is_none_or(|newest| newest.id == chosen.id);
        if is_last && self.is_ending(chosen, now) {
            // Until it has ended there is time to try again.
            match self.make_next(cx, algorithm).await {
                Ok(next) => tracing::info!(kid = next.id, "made the key that signs next"),
                Err(error) => {
                    tracing::error!(
                        error = narthex::chain(&error),
                        "the key that signs next could not be made"
                    );
                }
            }
        }
        let key = self.open(cx, chosen, algorithm)?;
        let kid = serde_json::Value::from(&*chosen.id);
        Ok(Ready {
            header: format!(r#"{{"alg":"{}","kid":{kid}}}"#, algorithm.name()),
            key,
            read_at: now,
            expires_at: chosen.expires_at,
        })
    }

    /// What signs where a secret is shared.
    pub(super) fn shared(&self) -> Option<&Hs256> {
        let secret = self.secret.as_ref()?;
        Some(self.keyring.shared.get_or_init(|| Hs256::new(secret.expose())))
    }

    /// Whether the next key has to be published.
    fn is_ending(&self, key: &Jwk, now: Time) -> bool {
        let (Some(end), Some(interval)) = (key.expires_at, self.jwks.rotation()) else { return false };
        let ahead = (REMEMBERED * 2).min(interval / 2);
        end <= now + ahead
    }

    fn open(&self, cx: &Ctx, key: &Jwk, algorithm: Algorithm) -> Result<SigningKey> {
        let problem = |problem: String| {
            Error::internal(format!(
                "the private key {:?} in \"jwks\" cannot be used: {problem}. It is encrypted with the secret; put the one it \
                 was made with back, as one of `secrets`, or delete the row",
                key.id
            ))
        };
        // Whoever changed the option has keys of both kinds.
        let text = match serde_json::from_str::<Secret>(&key.private_key) {
            Ok(encrypted) => {
                cx.secrets().decrypt(encrypted.expose()).map_err(|error| problem(error.to_string()))?
            }
            Err(_) => Secret::from(&*key.private_key),
        };
        SigningKey::from_jwk(text.expose(), algorithm).map_err(|error| problem(error.to_string()))
    }

    /// A key pair where there is none. Of several processes that want one at once all are to sign with the same, or else
    /// whoever has fetched the keys in between refuses the tokens of some.
    async fn make_first(&self, cx: &mut Ctx, algorithm: Algorithm, now: Time) -> Result<()> {
        let key = self.generate(cx, algorithm).await?;
        cx.transact(async |tx: &mut Tx| {
            let there = tx.list(signing(now)).await?;
            if !there.iter().any(|other| other.algorithm(self) == Some(algorithm)) {
                tx.create(&key).await?;
            }
            Ok(())
        })
        .await
    }

    async fn make_next(&self, cx: &mut Ctx, algorithm: Algorithm) -> Result<Jwk> {
        let key = self.generate(cx, algorithm).await?;
        cx.transact(async |tx: &mut Tx| tx.create(&key).await).await
    }

    /// A new key pair, not yet in the table.
    async fn generate(&self, cx: &mut Ctx, algorithm: Algorithm) -> Result<Jwk> {
        let modulus = self.jwks.pair(algorithm).and_then(|KeyPair { modulus_length, .. }| *modulus_length);
        let made = cx.compute(move || {
            let key = SigningKey::generate(algorithm, modulus)?;
            Ok::<_, KeyError>((key.public_jwk(), key.private_jwk()?))
        });
        let (public_key, private_key) = made.await?.map_err(Error::internal)?;
        let private_key = if self.jwks.disable_private_key_encryption {
            private_key.to_string()
        } else {
            let encrypted =
                cx.secrets().encrypt(&private_key, cx.random::<NONCE>()).map_err(Error::internal)?;
            serde_json::Value::from(encrypted).to_string()
        };
        let now = cx.now();
        Ok(Jwk {
            id: cx.new_id(),
            public_key,
            private_key,
            created_at: now,
            expires_at: self.jwks.rotation().map(|interval| now + interval),
            alg: Some(algorithm.name().to_owned()),
            crv: algorithm.curve().map(str::to_owned),
            extra: Record::default(),
            hidden: Record::default(),
        })
    }

    /// What is published, in the order in which it was made. There is at least one key where one would sign.
    pub(super) async fn published(&self, cx: &mut Ctx) -> Result<Vec<Jwk>> {
        let has_keys = self.secret.is_none() || !self.audiences.is_empty();
        let mut keys = cx.store().list(newest(Filter::everything())).await?;
        if keys.is_empty() && has_keys {
            let algorithm = match (&self.secret, self.audiences.first()) {
                (Some(_), Some(audience)) => audience.alg,
                _ => self.jwks.key_pair_config.alg,
            };
            self.ready(cx, algorithm).await?;
            keys = cx.store().list(newest(Filter::everything())).await?;
        }
        let now = cx.now();
        keys.retain(|key| self.published_until(key).is_none_or(|until| until > now));
        keys.reverse();
        Ok(keys)
    }

    /// Until when others are told of this key.
    fn published_until(&self, key: &Jwk) -> Option<Time> {
        key.expires_at.map(|end| end + Duration::from_secs(self.jwks.grace_period.into()))
    }

    /// What verifies what the key of this id has signed, while it is published.
    pub(super) async fn verifying(&self, store: &Store, id: &str) -> Result<Option<Arc<VerifyingKey>>> {
        let now = store.now();
        let known = self.keyring.verifiers();
        let _one = match &known {
            Some(known) if known.is_recent(id, now) => return Ok(known.key(id, now)),
            // Still good while somebody else looks.
            Some(known) => match self.keyring.reading.try_lock() {
                Ok(one) => one,
                Err(_) => return Ok(known.key(id, now)),
            },
            None => self.keyring.reading.lock().await,
        };
        if let Some(known) = self.keyring.verifiers().filter(|known| known.is_recent(id, now)) {
            return Ok(known.key(id, now));
        }
        let rows = match (store.list(newest(Filter::everything())).await, known) {
            (Ok(rows), _) => rows,
            // The database is away; until it is back what verified a minute ago does.
            (Err(error), known) => match (Error::from(error), known) {
                (error, Some(known)) if error.status() == StatusCode::SERVICE_UNAVAILABLE => {
                    return Ok(known.key(id, now));
                }
                (error, _) => return Err(error),
            },
        };
        let verifier = |row: &Jwk| VerifyingKey::from_jwk(&row.public_key, row.algorithm(self)?).ok();
        let keys = rows
            .iter()
            .filter_map(|row| Some((row.id.clone(), (Arc::new(verifier(row)?), self.published_until(row)))));
        let read = Arc::new(Verifiers { keys: keys.collect(), read_at: now });
        let key = read.key(id, now);
        *self.keyring.verifiers.write().unwrap_or_else(PoisonError::into_inner) = Some(read);
        Ok(key)
    }
}

/// The keys that sign.
fn signing(now: Time) -> Select<Jwk> {
    newest(Jwk::EXPIRES_AT.eq(None::<Time>).or(Jwk::EXPIRES_AT.gt(now)))
}

fn newest(filter: Filter<Jwk>) -> Select<Jwk> {
    Select::matching(filter).order_by(Jwk::CREATED_AT, Order::Descending).limit(MOST_KEYS)
}

/// Of those that sign, the newest first: the newest that everybody knows, or else the one that most may know.
fn choose(keys: &[Jwk], now: Time) -> Option<&Jwk> {
    keys.iter().find(|key| key.created_at + REMEMBERED <= now).or(keys.last())
}
