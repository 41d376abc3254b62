//! Tokens that other servers verify on their own.
//!
//! A token is made for whoever is signed in, says who that is for some minutes, and is verified with the published
//! keys, or with a secret that a backend shares. What is published is every key that may still verify something.
//!
//! | file | what |
//! |-|-|
//! | `options.rs` | `[plugins.jwt]`, and what is wrong with it |
//! | `keys.rs` | the key pairs, and which one signs |
//! | `claims.rs` | what a token says |
//! | `revocation.rs` | the list of what tokens are no longer good for |
//! | `span.rs` | `15m` |
//!
//! Upstream: `plugins/jwt`.

mod claims;
mod keys;
mod options;
mod revocation;
mod span;

pub use self::options::{
    Audience, Claim, Constant, JwksOptions, Jwt, KeyPair, Recipients, SchemaOptions, TableNames, TokenOptions,
};
pub use keys::Jwk;
pub use revocation::Revocation;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH},
};
use narthex::{
    crypto::{
        claims::are_current,
        jwk::{Algorithm, Parts},
    },
    http::ReplyOf,
    input::{Described, Kind, ObjectSchema, Others, Schema},
    prelude::*,
    store::Store,
};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

const UNKNOWN_AUDIENCE: Code = Code::new("UNKNOWN_AUDIENCE", "There are no tokens for this audience");
const SET_AUTH_JWT: HeaderName = HeaderName::from_static("set-auth-jwt");
/// As long as [`keys::REMEMBERED`].
const FOR_FIVE_MINUTES: HeaderValue = HeaderValue::from_static("public, max-age=300, must-revalidate");

impl Plugin for Jwt {
    const ID: &'static str = "jwt";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        for problem in self.problems() {
            setup.refuse(problem);
        }
        let mut table = Jwk::table();
        table.relation.clone_from(&self.schema.jwks.model_name);
        table.section = Some("plugins.jwt.schema.jwks");
        for (name, column) in &self.schema.jwks.fields.0 {
            match table.fields.iter_mut().find(|field| field.name == **name) {
                Some(field) => field.column = Some(column.clone().into()).filter(|column| *column != field.name),
                None => setup.refuse(format!(
                    "schema.jwks.fields.{name}: \"jwks\" has no such field; its own are publicKey, privateKey, createdAt, expiresAt, alg, crv"
                )),
            }
        }
        setup.table(table);
        let keys = setup
            .get(self.jwks.jwks_path.clone(), Self::jwks)
            .operation("getJSONWebKeySet")
            .summary("Publishes the keys with which tokens are verified.")
            .answers(StatusCode::NOT_MODIFIED, "The keys are those of `If-None-Match`.")
            .refuses(StatusCode::SERVICE_UNAVAILABLE, [Code::SERVICE_UNAVAILABLE]);
        if self.jwks.remote_url.is_some() {
            keys.answers(StatusCode::NOT_FOUND, "The keys are published somewhere else.");
        }
        let token = if self.audiences.is_empty() {
            setup.get("/token", Self::token)
        } else {
            setup.codes(&[UNKNOWN_AUDIENCE]);
            setup.get("/token", Self::token_for).refuses(StatusCode::BAD_REQUEST, [UNKNOWN_AUDIENCE])
        };
        token
            .operation("getJSONWebToken")
            .summary("Makes a token that says who is signed in, for servers that verify it on their own.");
        if !self.disable_setting_jwt_header {
            setup.after("/get-session", Self::hand_out);
        }
        if self.revocation {
            self.install_revocation(setup);
        }
        if self.session_cookie_cache {
            setup.check(Self::about_the_cookie_cache);
            setup.sign_cookie_cache(Self::sign_cookie, Self::open_cookie);
        }
    }
}

input! {
    /// For whom.
    pub(crate) struct TokenQuery {
        /// One of the configured audiences; those of every token when absent.
        audience: Option<Text>,
    }
}

output! {
    /// Public keys, as RFC 7517 has them.
    pub(crate) struct KeySet {
        /// The keys, the newest last.
        keys: Vec<PublishedKey>,
    }

    /// A token.
    pub(crate) struct Token {
        /// In compact form: three parts with dots between them.
        token: String,
    }
}

/// A public key, with whatever members its kind has.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PublishedKey(Map<String, Value>);

impl Described for PublishedKey {
    fn describe() -> Schema {
        let mut object = ObjectSchema::new("PublishedKey", Others::Kept);
        let alg = Schema::nullable(Schema::text()).described("How it signs.");
        object.property("alg", "alg", true, alg);
        object.property("crv", "crv", false, Schema::text().described("Its curve, where it has one."));
        object.property("kty", "kty", false, Schema::text().described("What kind of key it is."));
        object.property("kid", "kid", true, Schema::text().described("What tokens call it."));
        Schema::new(Kind::Object(object)).described("A public key, with whatever members its kind has.")
    }
}

impl Jwt {
    /// `GET /jwks`
    async fn jwks(&self, cx: &mut Ctx) -> Result<ReplyOf<KeySet>> {
        if self.jwks.remote_url.is_some() {
            return Ok(ReplyOf::other(not_here()));
        }
        let keys = self.published(cx).await?;
        let keys = keys.iter().filter_map(|key| self.publish(key)).collect();
        let mut reply = ReplyOf::json(&KeySet { keys });
        let digest = Sha256::digest(reply.body());
        let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default()));
        if is_known(cx.headers(), &tag) {
            reply = ReplyOf::other(Reply::empty(StatusCode::NOT_MODIFIED));
        }
        reply.set_header(CACHE_CONTROL, FOR_FIVE_MINUTES);
        // Base64 in quotes.
        if let Ok(tag) = HeaderValue::try_from(tag) {
            reply.set_header(ETAG, tag);
        }
        Ok(reply)
    }

    /// `GET /token`
    async fn token(&self, cx: &mut Ctx, Session(signed_in): Session) -> Result<Json<Token>> {
        self.answer(cx, &signed_in, None).await
    }

    /// The same where audiences are configured.
    async fn token_for(
        &self,
        cx: &mut Ctx,
        Session(signed_in): Session,
        Query(query): Query<TokenQuery>,
    ) -> Result<Json<Token>> {
        let audience = query.audience.as_deref();
        self.answer(cx, &signed_in, audience).await
    }

    async fn answer(
        &self,
        cx: &mut Ctx,
        signed_in: &SignedIn,
        audience: Option<&str>,
    ) -> Result<Json<Token>> {
        let token = self.issue(cx, signed_in, audience).await?;
        Ok(Json(Token { token }))
    }

    /// A token on each `/get-session`. Who only asks whose session it is need not be told that there is none.
    async fn hand_out(&self, cx: &mut Ctx, _: &mut Reply) -> Result<()> {
        let Some(signed_in) = cx.current().cloned() else { return Ok(()) };
        match self.issue(cx, &signed_in, None).await {
            Ok(token) => {
                // Base64 and dots.
                if let Ok(token) = HeaderValue::try_from(token) {
                    cx.expose_header(SET_AUTH_JWT, token);
                }
            }
            Err(error) => {
                tracing::error!(error = narthex::chain(&error), "no token could be put beside a session");
            }
        }
        Ok(())
    }

    /// A token for whoever is signed in. `audience` is one of the configured ones.
    pub async fn issue(&self, cx: &mut Ctx, signed_in: &SignedIn, audience: Option<&str>) -> Result<String> {
        let of_its_own = match audience {
            None => None,
            Some(name) => {
                let known = self.audiences.iter().find(|other| other.audience == name);
                Some(known.ok_or_else(|| Error::bad_request(UNKNOWN_AUDIENCE))?)
            }
        };
        let claims = self.claims(cx, signed_in, audience)?;
        self.sign(cx, &claims, of_its_own.map(|audience| audience.alg)).await
    }

    /// A token for whoever is signed in, that says which session it belongs to (`sid`): who verifies it can see whether
    /// that has ended.
    pub async fn issue_with_session(&self, cx: &mut Ctx, signed_in: &SignedIn) -> Result<String> {
        let mut claims = self.claims(cx, signed_in, None)?;
        claims.insert("sid".to_owned(), signed_in.session.id.clone().into());
        self.sign(cx, &claims, None).await
    }

    /// Signs claims as they are: with a key of this algorithm, or as all tokens are signed.
    pub async fn sign(
        &self,
        cx: &mut Ctx,
        claims: &Map<String, Value>,
        algorithm: Option<Algorithm>,
    ) -> Result<String> {
        let payload = serde_json::to_vec(claims).map_err(Error::internal)?;
        let algorithm = match (self.shared(), algorithm) {
            (Some(shared), None) => return Ok(shared.sign(&payload)),
            (_, Some(algorithm)) => algorithm,
            (None, None) => self.jwks.key_pair_config.alg,
        };
        self.ready(cx, algorithm).await?.sign(cx, None, payload).await
    }

    /// What the cookie cache remembers, signed with the key that signs tokens.
    async fn sign_cookie(&self, cx: &mut Ctx, kind: &'static str, claims: String) -> Result<String> {
        self.ready(cx, self.jwks.key_pair_config.alg).await?.sign(cx, Some(kind), claims.into_bytes()).await
    }

    async fn open_cookie(&self, store: &Store, kind: &'static str, token: &str) -> Result<Option<Vec<u8>>> {
        self.opened(store, Some(kind), token).await
    }

    /// The claims of a token that we signed for the issuer and the audience of the options, if it holds now.
    pub async fn verify(&self, cx: &Ctx, token: &str) -> Result<Option<Map<String, Value>>> {
        let payload = match self.shared().and_then(|shared| shared.open(token)) {
            Some(payload) => Some(payload),
            None => self.opened(cx.store(), None, token).await?,
        };
        let Some(payload) = payload else { return Ok(None) };
        let Ok(Value::Object(claims)) = serde_json::from_slice(&payload) else { return Ok(None) };
        let number = |name: &str| claims.get(name).and_then(Value::as_f64);
        let begins = claims.contains_key("nbf").then(|| number("nbf").unwrap_or(f64::INFINITY));
        let holds = number("exp").is_some_and(|end| are_current(Some(end), begins, cx.now(), 0))
            && claims.get("iss").and_then(Value::as_str) == Some(self.issuer(cx))
            && claims.get("sub").and_then(Value::as_str).is_some_and(|subject| !subject.is_empty())
            && self.audience(cx).is_none_or(|ours| is_for(claims.get("aud"), &ours));
        Ok(holds.then_some(claims))
    }

    /// What a token of this type carries, if one of the published keys has signed it.
    async fn opened(&self, store: &Store, kind: Option<&str>, token: &str) -> Result<Option<Vec<u8>>> {
        let Some(parts) = Parts::of(token).filter(|parts| parts.is_of_type(kind)) else { return Ok(None) };
        let Some(id) = parts.key_id() else { return Ok(None) };
        let key = self.verifying(store, id).await?;
        Ok(key.and_then(|key| key.open_parts(&parts)))
    }

    /// As it is published; a row that is no key is left out, and does not take the others with it.
    fn publish(&self, key: &Jwk) -> Option<PublishedKey> {
        let Ok(Value::Object(public)) = serde_json::from_str(&key.public_key) else {
            tracing::error!(
                kid = key.id,
                "a row of \"jwks\" whose publicKey is no JSON object is not published"
            );
            return None;
        };
        let mut entry = Map::new();
        entry.insert(
            "alg".to_owned(),
            key.algorithm(self).map_or(key.alg.clone().into(), |alg| alg.name().into()),
        );
        // A member that is there already keeps its place, and upstream's `crv` is there before it has a value.
        let curve = key.crv.clone().map(Value::from).or_else(|| public.get("crv").cloned());
        entry.extend(curve.map(|curve| ("crv".to_owned(), curve)));
        entry.extend(public.into_iter().filter(|(name, _)| !PRIVATE.contains(&&**name)));
        entry.insert("kid".to_owned(), key.id.clone().into());
        Some(PublishedKey(entry))
    }
}

/// Whether the client has what this tag names.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().any(|known| {
        let known = known.to_str().unwrap_or_default();
        known.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
    })
}

/// What no published key has, whatever somebody put into the row.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Whether one of the audiences is one of ours.
fn is_for(theirs: Option<&Value>, ours: &Value) -> bool {
    let all = |value: &Value| match value {
        Value::Array(several) => several.clone(),
        one => vec![one.clone()],
    };
    let ours = all(ours);
    theirs.is_some_and(|theirs| all(theirs).iter().any(|theirs| ours.contains(theirs)))
}

/// What upstream makes of an error without a message.
fn not_here() -> Reply {
    let mut empty = Reply::empty(StatusCode::NOT_FOUND);
    empty.set_header(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    empty
}
