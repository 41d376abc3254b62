//! Key pairs that sign tokens, as JSON Web Keys: EdDSA, ES256, ES512, RS256 and PS256, on aws-lc-rs.
//!
//! A key knows its one algorithm, and a token's header is only compared with it: nothing that a token says chooses
//! how it is verified. Members stand in the order in which upstream's runtime writes them, because their text is kept
//! in the database. Upstream: `generateKeyPair`, `exportJWK` and `importJWK` of jose.

use super::jws::protected_header;
use aws_lc_rs::{
    encoding::{AsBigEndian as _, AsDer as _, EcPrivateKeyBin, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize, PublicKeyComponents},
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED,
        ECDSA_P521_SHA512_FIXED_SIGNING, ED25519, EcdsaKeyPair, EcdsaSigningAlgorithm,
        EcdsaVerificationAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaParameters,
        UnparsedPublicKey,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

mod pkcs8;

/// No token that is read is longer.
pub const LONGEST_TOKEN: usize = 64 * 1024;
/// The bits of an RSA key where nothing else is said.
const MODULUS: u32 = 2048;

/// How a token is signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Algorithm {
    /// Ed25519.
    #[default]
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA with P-256 and SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA with P-521 and SHA-512.
    #[serde(rename = "ES512")]
    Es512,
    /// RSA with PSS and SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
    /// RSA with PKCS #1 v1.5 and SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
}

impl Algorithm {
    /// As headers have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Es512 => "ES512",
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
        }
    }

    /// The one that headers call so.
    pub fn named(name: &str) -> Option<Self> {
        [Self::EdDsa, Self::Es256, Self::Es512, Self::Ps256, Self::Rs256]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }

    /// The curve of its keys, where they have one.
    pub const fn curve(self) -> Option<&'static str> {
        match self {
            Self::EdDsa => Some("Ed25519"),
            Self::Es256 => Some("P-256"),
            Self::Es512 => Some("P-521"),
            Self::Ps256 | Self::Rs256 => None,
        }
    }

    /// Whether a signature takes so long that no async thread should make it.
    pub const fn is_slow(self) -> bool {
        matches!(self, Self::Es512 | Self::Ps256 | Self::Rs256)
    }

    /// The bytes of a coordinate of its curve.
    const fn coordinate(self) -> usize {
        match self {
            Self::Es512 => 66,
            _ => 32,
        }
    }

    fn ecdsa(self) -> Option<(&'static EcdsaSigningAlgorithm, &'static EcdsaVerificationAlgorithm)> {
        match self {
            Self::Es256 => Some((&ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P256_SHA256_FIXED)),
            Self::Es512 => Some((&ECDSA_P521_SHA512_FIXED_SIGNING, &ECDSA_P521_SHA512_FIXED)),
            Self::EdDsa | Self::Ps256 | Self::Rs256 => None,
        }
    }

    fn rsa(self) -> Option<(&'static dyn RsaEncoding, &'static RsaParameters)> {
        match self {
            Self::Rs256 => Some((&RSA_PKCS1_SHA256, &RSA_PKCS1_2048_8192_SHA256)),
            Self::Ps256 => Some((&RSA_PSS_SHA256, &RSA_PSS_2048_8192_SHA256)),
            Self::EdDsa | Self::Es256 | Self::Es512 => None,
        }
    }
}

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is not the JSON of a key of this algorithm.
    #[error("it is not a JSON Web Key for {}", .0.name())]
    Malformed(Algorithm),
    /// It is the JSON of a key, and the key is none.
    #[error("its numbers make no key for {}", .0.name())]
    Rejected(Algorithm),
    /// The machine has no chance to offer, or no memory.
    #[error("a key for {} could not be made", .0.name())]
    NotMade(Algorithm),
}

/// A private key, and how it signs.
pub struct SigningKey {
    algorithm: Algorithm,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SigningKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// The members of a private key. Those of others are missing.
#[derive(Default, Deserialize)]
struct Members {
    kty: String,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    d: Option<String>,
    #[serde(default)]
    p: Option<String>,
    #[serde(default)]
    q: Option<String>,
    #[serde(default)]
    dp: Option<String>,
    #[serde(default)]
    dq: Option<String>,
    #[serde(default)]
    qi: Option<String>,
}

impl Drop for Members {
    fn drop(&mut self) {
        for secret in [&mut self.d, &mut self.p, &mut self.q, &mut self.dp, &mut self.dq, &mut self.qi] {
            secret.zeroize();
        }
    }
}

impl Members {
    /// Those of a key for `algorithm`.
    fn read(text: &str, algorithm: Algorithm) -> Result<Self, KeyError> {
        let members: Self = serde_json::from_str(text).map_err(|_| KeyError::Malformed(algorithm))?;
        let kind = match algorithm {
            Algorithm::EdDsa => "OKP",
            Algorithm::Es256 | Algorithm::Es512 => "EC",
            Algorithm::Ps256 | Algorithm::Rs256 => "RSA",
        };
        let fits = members.kty == kind
            && (algorithm.curve().is_none() || members.crv.as_deref() == algorithm.curve());
        if fits { Ok(members) } else { Err(KeyError::Malformed(algorithm)) }
    }

    /// A coordinate, or a scalar: as many bytes as the curve has.
    fn fixed(text: Option<&str>, algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let bytes = Self::number(text, algorithm)?;
        if bytes.len() == algorithm.coordinate() { Ok(bytes) } else { Err(KeyError::Malformed(algorithm)) }
    }

    fn number(text: Option<&str>, algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let bytes = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        bytes.map(Zeroizing::new).ok_or(KeyError::Malformed(algorithm))
    }

    /// The point of an elliptic curve, as aws-lc takes it.
    fn point(&self, algorithm: Algorithm) -> Result<Vec<u8>, KeyError> {
        let x = Self::fixed(self.x.as_deref(), algorithm)?;
        let y = Self::fixed(self.y.as_deref(), algorithm)?;
        Ok([&[4][..], &x, &y].concat())
    }
}

impl SigningKey {
    /// A new key. One of RSA takes a while, and no async thread should wait for it.
    ///
    /// `modulus` is the bits of an RSA key: 2048, 3072, 4096 or 8192. Drawn by aws-lc itself, because what it makes
    /// of chance from elsewhere would be for us to get right.
    pub fn generate(algorithm: Algorithm, modulus: Option<u32>) -> Result<Self, KeyError> {
        let not_made = |_| KeyError::NotMade(algorithm);
        let pair = if let Some((signing, _)) = algorithm.ecdsa() {
            Pair::Ecdsa(EcdsaKeyPair::generate(signing).map_err(not_made)?)
        } else if algorithm.rsa().is_some() {
            let size = key_size(modulus.unwrap_or(MODULUS)).ok_or(KeyError::NotMade(algorithm))?;
            Pair::Rsa(Box::new(RsaKeyPair::generate(size).map_err(not_made)?))
        } else {
            Pair::Ed25519(Ed25519KeyPair::generate().map_err(not_made)?)
        };
        Ok(Self { algorithm, pair })
    }

    /// The key of this JSON, if it is one for `algorithm` and its halves belong together.
    pub fn from_jwk(text: &str, algorithm: Algorithm) -> Result<Self, KeyError> {
        let members = Members::read(text, algorithm)?;
        let rejected = |_| KeyError::Rejected(algorithm);
        let pair = if let Some((signing, _)) = algorithm.ecdsa() {
            let (d, point) = (Members::fixed(members.d.as_deref(), algorithm)?, members.point(algorithm)?);
            Pair::Ecdsa(EcdsaKeyPair::from_private_key_and_public_key(signing, &d, &point).map_err(rejected)?)
        } else if algorithm.rsa().is_some() {
            Pair::Rsa(Box::new(rsa(&members, algorithm)?))
        } else {
            let d = Members::fixed(members.d.as_deref(), algorithm)?;
            let x = Members::fixed(members.x.as_deref(), algorithm)?;
            Pair::Ed25519(Ed25519KeyPair::from_seed_and_public_key(&d, &x).map_err(rejected)?)
        };
        Ok(Self { algorithm, pair })
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What verifies, as JSON.
    pub fn public_jwk(&self) -> String {
        self.write(None)
    }

    /// The whole key, as JSON.
    pub fn private_jwk(&self) -> Result<Zeroizing<String>, KeyError> {
        let not_made = || KeyError::NotMade(self.algorithm);
        Ok(Zeroizing::new(match &self.pair {
            Pair::Ed25519(pair) => {
                let seed = pair.seed().map_err(|_| not_made())?;
                let seed = seed.as_be_bytes().map_err(|_| not_made())?;
                self.write(Some(seed.as_ref()))
            }
            Pair::Ecdsa(pair) => {
                let key = pair.private_key();
                let scalar: EcPrivateKeyBin<'_> = key.as_be_bytes().map_err(|_| not_made())?;
                self.write(Some(scalar.as_ref()))
            }
            Pair::Rsa(pair) => {
                let document: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| not_made())?;
                let numbers = pkcs8::numbers(document.as_ref()).ok_or_else(not_made)?;
                let mut text = String::from(r#"{"kty":"RSA""#);
                for (name, number) in ["n", "e", "d", "p", "q", "dp", "dq", "qi"].iter().zip(numbers) {
                    member(&mut text, name, number);
                }
                text.push('}');
                text
            }
        }))
    }

    /// The key with the secret of a curve, or without.
    fn write(&self, secret: Option<&[u8]>) -> String {
        let mut text = String::from("{");
        let curve = self.algorithm.curve().unwrap_or_default();
        match &self.pair {
            Pair::Ed25519(pair) => {
                text.push_str(r#""crv":"Ed25519""#);
                if let Some(secret) = secret {
                    member(&mut text, "d", secret);
                }
                member(&mut text, "x", pair.public_key().as_ref());
                text.push_str(r#","kty":"OKP""#);
            }
            Pair::Ecdsa(pair) => {
                text.push_str(r#""kty":"EC""#);
                let point = pair.public_key().as_ref();
                let (x, y) = point.split_at_checked(1 + self.algorithm.coordinate()).unwrap_or((point, &[]));
                member(&mut text, "x", x.get(1..).unwrap_or_default());
                member(&mut text, "y", y);
                text.push_str(r#","crv":""#);
                text.push_str(curve);
                text.push('"');
                if let Some(secret) = secret {
                    member(&mut text, "d", secret);
                }
            }
            Pair::Rsa(pair) => {
                text.push_str(r#""kty":"RSA""#);
                let public = pair.public_key();
                member(&mut text, "n", public.modulus().big_endian_without_leading_zero());
                member(&mut text, "e", public.exponent().big_endian_without_leading_zero());
            }
        }
        text.push('}');
        text
    }

    /// The signature of `message`, as tokens have it.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError::NotMade(self.algorithm);
        match &self.pair {
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Ecdsa(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).map_err(failed)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Rsa(pair) => {
                let (encoding, _) = self.algorithm.rsa().ok_or(KeyError::Rejected(self.algorithm))?;
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

/// What verifies.
pub struct VerifyingKey {
    algorithm: Algorithm,
    bytes: Public,
}

enum Public {
    Curve(Vec<u8>),
    Rsa(PublicKeyComponents<Vec<u8>>),
}

impl VerifyingKey {
    /// The key of this JSON, if it is one for `algorithm`.
    pub fn from_jwk(text: &str, algorithm: Algorithm) -> Result<Self, KeyError> {
        let members = Members::read(text, algorithm)?;
        let bytes = if algorithm.ecdsa().is_some() {
            Public::Curve(members.point(algorithm)?)
        } else if algorithm.rsa().is_some() {
            Public::Rsa(PublicKeyComponents {
                n: Members::number(members.n.as_deref(), algorithm)?.to_vec(),
                e: Members::number(members.e.as_deref(), algorithm)?.to_vec(),
            })
        } else {
            Public::Curve(Members::fixed(members.x.as_deref(), algorithm)?.to_vec())
        };
        Ok(Self { algorithm, bytes })
    }

    /// Whether this is the key's signature of `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.bytes {
            Public::Curve(point) => match self.algorithm.ecdsa() {
                Some((_, verifying)) => {
                    UnparsedPublicKey::new(verifying, point).verify(message, signature).is_ok()
                }
                None => UnparsedPublicKey::new(&ED25519, point).verify(message, signature).is_ok(),
            },
            Public::Rsa(numbers) => match self.algorithm.rsa() {
                Some((_, parameters)) => numbers.verify(parameters, message, signature).is_ok(),
                None => false,
            },
        }
    }

    /// What `token` carries, if its header names this key's algorithm, wants nothing that we do not know of, and the
    /// signature is the key's.
    pub fn open(&self, token: &str) -> Option<Vec<u8>> {
        self.open_parts(&Parts::of(token)?)
    }

    /// The same of a token that was taken apart to find its key.
    pub fn open_parts(&self, parts: &Parts<'_>) -> Option<Vec<u8>> {
        let is_ours = parts.algorithm() == Some(self.algorithm);
        if !is_ours || !self.verify(parts.signed.as_bytes(), &parts.signature) {
            return None;
        }
        parts.payload()
    }
}

/// A compact token taken apart and not believed.
pub struct Parts<'token> {
    header: serde_json::Map<String, serde_json::Value>,
    signed: &'token str,
    payload: &'token str,
    signature: Vec<u8>,
}

impl<'token> Parts<'token> {
    /// Three parts, a header that is an object, and no extension that would have to be understood.
    pub fn of(token: &'token str) -> Option<Self> {
        if token.len() > LONGEST_TOKEN {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header = protected_header(header)?;
        if payload.contains('.') || header.contains_key("crit") || header.contains_key("b64") {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(Self { header, signed, payload, signature })
    }

    /// The algorithm that the header names.
    pub fn algorithm(&self) -> Option<Algorithm> {
        Algorithm::named(self.header.get("alg")?.as_str()?)
    }

    /// The key that the header names.
    pub fn key_id(&self) -> Option<&str> {
        self.header.get("kid")?.as_str()
    }

    /// Whether the header says that it is of this type, or of none.
    pub fn is_of_type(&self, name: Option<&str>) -> bool {
        self.header.get("typ").map(serde_json::Value::as_str) == name.map(Some)
    }

    fn payload(&self) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(self.payload).ok()
    }
}

/// `header.payload.signature`; `header` and `payload` are JSON.
pub fn compact<E>(
    header: &str,
    payload: &[u8],
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<String, E> {
    let mut token = String::with_capacity((header.len() + payload.len()).div_ceil(3) * 4 + 512);
    URL_SAFE_NO_PAD.encode_string(header, &mut token);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let signature = sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

fn member(text: &mut String, name: &str, bytes: &[u8]) {
    text.push_str(",\"");
    text.push_str(name);
    text.push_str("\":\"");
    URL_SAFE_NO_PAD.encode_string(bytes, text);
    text.push('"');
}

/// The sizes that can be made.
pub fn key_size(bits: u32) -> Option<KeySize> {
    match bits {
        2048 => Some(KeySize::Rsa2048),
        3072 => Some(KeySize::Rsa3072),
        4096 => Some(KeySize::Rsa4096),
        8192 => Some(KeySize::Rsa8192),
        _ => None,
    }
}

fn rsa(members: &Members, algorithm: Algorithm) -> Result<RsaKeyPair, KeyError> {
    let number = |text: &Option<String>| Members::number(text.as_deref(), algorithm);
    let components = aws_lc_rs::rsa::KeyPairComponents {
        public_key: PublicKeyComponents { n: number(&members.n)?, e: number(&members.e)? },
        d: number(&members.d)?,
        p: number(&members.p)?,
        q: number(&members.q)?,
        dP: number(&members.dp)?,
        dQ: number(&members.dq)?,
        qInv: number(&members.qi)?,
    };
    RsaKeyPair::from_components(&components).map_err(|_| KeyError::Rejected(algorithm))
}

#[cfg(test)]
mod tests;
