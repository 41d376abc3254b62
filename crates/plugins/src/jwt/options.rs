//! `[plugins.jwt]`, in upstream's nesting.

use super::{keys::Keyring, revocation::Feed, span::Span};
use narthex::{
    CacheStrategy, CookieCacheOptions, Installed, Names, Secret,
    crypto::jwk::{Algorithm, key_size},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const DEFAULT_LIFETIME: Duration = Duration::from_mins(15);
/// How long what remembers a session is believed, in seconds, where its cookie ends with the browser.
const ENDS_WITH_BROWSER: u32 = 300;

/// Tokens that other servers verify on their own: `GET /token`, `GET /jwks`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Jwt {
    /// A secret that backends know too: then tokens are signed with it (HS256), and with a key pair only for those
    /// `audiences` that say so. At least 32 characters. `JWT_SECRET`.
    pub secret: Option<Secret>,
    /// The key pairs that sign.
    pub jwks: JwksOptions,
    /// What a token says.
    pub jwt: TokenOptions,
    /// Who else gets tokens, with an algorithm of their own: `GET /token?audience=…`.
    pub audiences: Vec<Audience>,
    /// Say in each token which session it belongs to (`sid`), and list at `GET /revocations` what has ended before its
    /// time: backends that follow the list refuse such tokens within seconds.
    pub revocation: bool,
    /// What backends show to be given the list, as a bearer: at least 32 characters, and not `secret`.
    pub revocation_secret: Option<Secret>,
    /// Give the list to everybody. It has hashes of ids, and shows how many sessions end.
    pub revocation_public: bool,
    /// Do not put a token into `set-auth-jwt` of every `/get-session`.
    pub disable_setting_jwt_header: bool,
    /// Sign the cookie cache with the key that signs tokens, and not with the secret, so that others can verify it too.
    /// Needs `session.cookie-cache.strategy = "jwt"`.
    pub session_cookie_cache: bool,
    /// Names in the database.
    pub schema: SchemaOptions,
    #[serde(skip)]
    pub(super) keyring: Keyring,
    #[serde(skip)]
    pub(super) feed: Feed,
}

/// `[plugins.jwt.jwks]`
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct JwksOptions {
    /// Where else the public keys are published: `GET /jwks` is then not answered.
    pub remote_url: Option<String>,
    /// The key pairs that are made. Another algorithm takes effect with the next token.
    pub key_pair_config: KeyPair,
    /// Further algorithms that `audiences` may ask for.
    pub key_pair_configs: Vec<KeyPair>,
    /// Keep private keys in the database as they are, for a database that is encrypted itself.
    pub disable_private_key_encryption: bool,
    /// Seconds after which a key is replaced; never when absent or 0. The next key is published some minutes before it
    /// signs.
    pub rotation_interval: Option<u32>,
    /// Seconds for which a replaced key is still published. Must not be shorter than tokens are valid.
    pub grace_period: u32,
    /// Where the public keys are published, below the base path.
    pub jwks_path: String,
}

impl Default for JwksOptions {
    fn default() -> Self {
        Self {
            remote_url: None,
            key_pair_config: KeyPair::default(),
            key_pair_configs: Vec::new(),
            disable_private_key_encryption: false,
            rotation_interval: None,
            grace_period: 2_592_000,
            jwks_path: "/jwks".to_owned(),
        }
    }
}

/// What key pairs are like.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeyPair {
    /// How tokens are signed.
    pub alg: Algorithm,
    /// The curve, which follows from the algorithm.
    pub crv: Option<String>,
    /// The bits of an RSA key: 2048, 3072, 4096 or 8192; 2048 when absent.
    pub modulus_length: Option<u32>,
}

/// `[plugins.jwt.jwt]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TokenOptions {
    /// Who signs: the claim `iss`. The base URL's origin when absent.
    pub issuer: Option<String>,
    /// For whom: the claim `aud`. The base URL's origin when absent; with a shared secret none.
    pub audience: Option<Recipients>,
    /// How long a token is valid, such as `"15m"` or `"1 hour"`; 15 minutes when absent.
    pub expiration_time: Option<Span>,
    /// The claims, in place of all fields of the user: a field by `"user.email"` or `"session.id"`, or a constant by
    /// `{ value = … }`.
    pub define_payload: Option<Names<Claim>>,
    /// The field that is the claim `sub`; `"user.id"` when absent.
    pub get_subject: Option<String>,
}

/// One, or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum Recipients {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// What a claim says.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum Claim {
    /// A field of the user or the session: `"user.email"`.
    Field(String),
    /// Always the same.
    Constant(Constant),
}

/// What a claim always says.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// What the claim always says.
    pub value: serde_json::Value,
}

/// `[[plugins.jwt.audiences]]`
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Audience {
    /// The claim `aud`, and what `GET /token?audience=…` asks for.
    pub audience: String,
    /// How its tokens are signed: `jwks.key-pair-config` or one of `jwks.key-pair-configs`.
    pub alg: Algorithm,
}

/// `[plugins.jwt.schema]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SchemaOptions {
    /// The table of key pairs.
    pub jwks: TableNames,
}

/// `[plugins.jwt.schema.jwks]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TableNames {
    /// The table's name in the database.
    pub model_name: Option<String>,
    /// Columns by the name of the field that is kept in them.
    pub fields: Names<String>,
}

/// Claims that are ours to set, and by which option they can be changed.
const OURS: [(&str, &str); 5] = [
    ("iat", "is the time at which the token is made"),
    ("exp", "is set by jwt.expiration-time"),
    ("iss", "is set by jwt.issuer"),
    ("aud", "is set by jwt.audience"),
    ("sub", "is set by jwt.get-subject"),
];

impl Jwt {
    /// How long a token is valid.
    pub fn lifetime(&self) -> Duration {
        self.jwt.expiration_time.as_ref().map_or(DEFAULT_LIFETIME, Span::duration)
    }

    /// Every mistake that the types let through, without the name of the section.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, secret) in [("secret", &self.secret), ("revocation-secret", &self.revocation_secret)] {
            if secret.as_ref().is_some_and(|secret| secret.expose().chars().count() < 32) {
                problems.push(format!(
                    "{name}: needs at least 32 characters; `openssl rand -base64 32` makes a good one"
                ));
            }
        }
        self.check_revocation(&mut problems);
        self.jwks.check(&mut problems);
        self.jwt.check(&mut problems);
        let lifetime = self.lifetime().as_secs();
        if self.jwks.rotation().is_some() && u64::from(self.jwks.grace_period) < lifetime {
            problems.push(format!(
                "jwks.grace-period = {}: a replaced key must be published as long as its tokens are valid, {lifetime} seconds",
                self.jwks.grace_period
            ));
        }
        for (index, Audience { audience, alg }) in self.audiences.iter().enumerate() {
            if audience.is_empty() {
                problems.push(format!("audiences[{index}].audience: must not be empty"));
            }
            if self.audiences.iter().take(index).any(|other| other.audience == *audience) {
                problems.push(format!("audiences[{index}].audience = {audience:?}: is there twice"));
            }
            if self.jwks.pair(*alg).is_none() {
                problems.push(format!(
                    "audiences[{index}].alg = \"{}\": no key is made for it; add {{ alg = \"{0}\" }} to jwks.key-pair-configs",
                    alg.name()
                ));
            }
        }
        problems
    }

    /// What stands in the way of signing the cookie cache.
    pub(super) fn about_the_cookie_cache(&self, installed: &Installed<'_>) -> Vec<String> {
        let CookieCacheOptions { enabled, strategy, max_age, .. } = &installed.config.session.cookie_cache;
        let mut problems = Vec::new();
        if !enabled {
            problems.push(
                "plugins.jwt.session-cookie-cache = true: there is no cookie cache; set session.cookie-cache.enabled = true"
                    .to_owned(),
            );
        }
        let written = match strategy {
            CacheStrategy::Compact => Some("compact"),
            CacheStrategy::Jwe => Some("jwe"),
            CacheStrategy::Jwt => None,
        };
        problems.extend(written.map(|written| {
            format!("session.cookie-cache.strategy = \"{written}\": must be \"jwt\", because plugins.jwt.session-cookie-cache signs it")
        }));
        if self.secret.is_some() {
            problems.push(
                "plugins.jwt.session-cookie-cache = true: needs key pairs, and tokens are signed with plugins.jwt.secret; leave out one of the two"
                    .to_owned(),
            );
        }
        let believed = (*max_age).max(ENDS_WITH_BROWSER);
        if self.jwks.rotation().is_some() && self.jwks.grace_period < believed {
            problems.push(format!(
                "plugins.jwt.jwks.grace-period = {}: a replaced key must be published as long as the cookie cache is believed, {believed} seconds",
                self.jwks.grace_period
            ));
        }
        problems
    }
}

impl Jwt {
    fn check_revocation(&self, problems: &mut Vec<String>) {
        let Self { revocation, revocation_secret, revocation_public, .. } = self;
        let problem = match (revocation, revocation_secret, revocation_public) {
            (true, None, false) => {
                "revocation-secret: is missing: what backends show to be given the list, at least 32 characters \
                 (`openssl rand -base64 32`); or revocation-public = true, to give it to everybody"
            }
            (true, Some(_), true) => {
                "revocation-public = true: whoever has no revocation-secret is given the list too; remove one of the two"
            }
            (false, Some(_), _) => "revocation-secret: has no effect without revocation = true",
            (false, None, true) => "revocation-public = true: has no effect without revocation = true",
            _ => "",
        };
        problems.extend(Some(problem.to_owned()).filter(|problem| !problem.is_empty()));
        let exposed = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
        if revocation_secret.is_some() && exposed(revocation_secret) == exposed(&self.secret) {
            problems.push(
                "revocation-secret: is what signs tokens (secret); it is sent with every request, so take another"
                    .to_owned(),
            );
        }
        let defines_sid = self
            .jwt
            .define_payload
            .as_ref()
            .is_some_and(|claims| claims.0.iter().any(|(name, _)| name == "sid"));
        if *revocation && defines_sid {
            problems.push("jwt.define-payload.sid: is set by revocation = true".to_owned());
        }
    }
}

impl JwksOptions {
    /// After how long a key is replaced, if it is.
    pub(super) fn rotation(&self) -> Option<Duration> {
        self.rotation_interval
            .filter(|seconds| *seconds > 0)
            .map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// What the keys of this algorithm are like, if there are to be any.
    pub(super) fn pair(&self, algorithm: Algorithm) -> Option<&KeyPair> {
        let all = std::iter::once(&self.key_pair_config).chain(&self.key_pair_configs);
        all.into_iter().find(|pair| pair.alg == algorithm)
    }

    fn check(&self, problems: &mut Vec<String>) {
        let further = self.key_pair_configs.iter().enumerate();
        let further = further.map(|(index, pair)| (format!("jwks.key-pair-configs[{index}]"), pair));
        for (key, pair) in
            std::iter::once(("jwks.key-pair-config".to_owned(), &self.key_pair_config)).chain(further)
        {
            let curve = pair.alg.curve();
            if let Some(crv) = pair.crv.as_deref().filter(|crv| Some(*crv) != curve) {
                let right = curve.map_or("none".to_owned(), |curve| format!("{curve:?}"));
                problems.push(format!("{key}.crv = {crv:?}: the curve of {} is {right}", pair.alg.name()));
            }
            match pair.modulus_length {
                Some(bits) if curve.is_some() => problems.push(format!(
                    "{key}.modulus-length = {bits}: keys for {} have none; it is for RS256 and PS256",
                    pair.alg.name()
                )),
                Some(bits) if key_size(bits).is_none() => {
                    problems.push(format!("{key}.modulus-length = {bits}: must be 2048, 3072, 4096 or 8192"));
                }
                _ => {}
            }
        }
        if self.rotation_interval.is_some_and(|seconds| (1..60).contains(&seconds)) {
            problems.push(format!(
                "jwks.rotation-interval = {}: must be at least 60 seconds, and is better a day or more",
                self.rotation_interval.unwrap_or_default()
            ));
        }
        let is_path = self.jwks_path.strip_prefix('/').is_some_and(|path| {
            !path.is_empty()
                && !path.ends_with('/')
                && !path.contains("..")
                && !path.contains([':', '*', '?', '#'])
        });
        if !is_path {
            problems.push(format!(
                "jwks.jwks-path = {:?}: must be a path below the base path, such as \"/jwks\" or \"/.well-known/jwks.json\"",
                self.jwks_path
            ));
        }
    }
}

impl TokenOptions {
    fn check(&self, problems: &mut Vec<String>) {
        for (name, claim) in self.define_payload.iter().flat_map(|claims| &claims.0) {
            if let Some((_, instead)) = OURS.iter().find(|(ours, _)| ours == name) {
                problems.push(format!("jwt.define-payload.{name}: {instead}"));
            }
            if let Claim::Field(path) = claim {
                check_path(&format!("jwt.define-payload.{name}"), path, problems);
            }
        }
        if let Some(path) = &self.get_subject {
            check_path("jwt.get-subject", path, problems);
        }
    }
}

fn check_path(key: &str, path: &str, problems: &mut Vec<String>) {
    let is_path = matches!(path.split_once('.'), Some(("user" | "session", field)) if !field.is_empty());
    if !is_path {
        problems.push(format!(
            "{key} = {path:?}: must be a field of the user or the session, such as \"user.email\"; a constant is {{ value = {path:?} }}"
        ));
    } else if path == "session.token" {
        problems.push(format!(
            "{key} = {path:?}: would sign in whoever reads the token; `session.id` names the session"
        ));
    }
}
