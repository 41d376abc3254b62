//! Stored password hashes of every known format, taken apart, bounded and compared.
//!
//! Nothing is computed for a hash that asks for more than some seconds or 1 GiB, that lacks a part, or whose digest
//! is so short that it would match by chance. How new hashes are made is in `password.rs`.

use std::ops::RangeInclusive;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::alphabet::{BCRYPT, STANDARD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::Mac as _;
use sha2::{Digest as _, Sha256, Sha512};
use zeroize::Zeroizing;

use super::password::{BCRYPT_COSTS, PasswordError};
use super::{constant_time_eq, hmac_sha256};

/// What upstream always uses.
const SCRYPT: ScryptCost = ScryptCost { log_n: 14, r: 16, p: 1 };
/// OWASP's first choice for Argon2id.
pub(super) const ARGON2ID: Argon2Cost = Argon2Cost { memory: 19_456, passes: 2, lanes: 1 };

// Memory at one time; all work together may touch four times as much with Argon2, and twice with scrypt, which is
// some five seconds of a core.
const MOST_BYTES: u64 = 1 << 30;
const MOST_KIBIBYTES: u32 = 1 << 20;
const MOST_ROUNDS: u32 = 5_000_000;
const DIGEST_LENGTHS: RangeInclusive<usize> = 16..=64;
const SALT_LENGTHS: RangeInclusive<usize> = 1..=128;

// Lenient in what changes no byte: other systems write padding or do not, and some leave surplus bits set.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_encode_padding(false)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const BASE64_PADDED: GeneralPurpose = base64::engine::general_purpose::STANDARD;
pub(super) const BASE64_BCRYPT: GeneralPurpose = GeneralPurpose::new(&BCRYPT, LENIENT);

/// A stored hash, taken apart and within all bounds.
pub(super) enum Stored<'a> {
    Upstream { salt: &'a str, key: &'a str },
    Bcrypt(Bcrypt<'a>),
    Argon2 { algorithm: Algorithm, version: Version, cost: Argon2Cost, salt: Vec<u8>, digest: Vec<u8> },
    Scrypt { cost: ScryptCost, salt: Vec<u8>, digest: Vec<u8> },
    Pbkdf2 { function: Function, rounds: u32, salt: Vec<u8>, digest: Vec<u8> },
}

pub(super) struct Bcrypt<'a> {
    wrapping: Wrapping,
    pub(super) cost: u32,
    salt: [u8; 16],
    salt_text: &'a str,
    digest: [u8; 23],
}

/// What bcrypt is given instead of a password that it would cut off.
#[derive(Clone, Copy)]
pub(super) enum Wrapping {
    None,
    /// passlib's version 1.
    Sha256,
    /// passlib's version 2, keyed with the salt as it is written.
    HmacSha256,
}

#[derive(Clone, Copy)]
pub(super) enum Function {
    Sha256,
    Sha512,
}

impl<'a> Stored<'a> {
    /// Reads a stored hash; every cost is within the bounds.
    pub(super) fn parse(stored: &'a str) -> Result<Self, PasswordError> {
        let Some(rest) = stored.strip_prefix('$') else {
            return match stored.strip_prefix("pbkdf2_sha256$") {
                Some(rest) => parse_django(rest),
                None => parse_upstream(stored),
            };
        };
        let (name, rest) = rest.split_once('$').ok_or(PasswordError::UnknownFormat)?;
        match name {
            "2a" | "2b" | "2y" => parse_bcrypt(rest),
            "bcrypt-sha256" => parse_bcrypt_sha256(rest),
            "argon2id" => parse_argon2(Algorithm::Argon2id, rest),
            "argon2i" => parse_argon2(Algorithm::Argon2i, rest),
            "argon2d" => parse_argon2(Algorithm::Argon2d, rest),
            "scrypt" => parse_scrypt(rest),
            "pbkdf2-sha256" => parse_pbkdf2(Function::Sha256, rest),
            "pbkdf2-sha512" => parse_pbkdf2(Function::Sha512, rest),
            _ => Err(PasswordError::UnknownFormat),
        }
    }

    /// Whether this is the hash of exactly these bytes.
    pub(super) fn matches(&self, password: &[u8]) -> Result<bool, PasswordError> {
        match self {
            Self::Upstream { salt, key } => {
                Ok(constant_time_eq(upstream_key(password, salt)?.as_bytes(), key.as_bytes()))
            }
            Self::Bcrypt(Bcrypt { wrapping, cost, salt, salt_text, digest }) => {
                let computed = bcrypt_digest(*wrapping, *cost, *salt, salt_text, password)?;
                // bcrypt repeats its key, so `a` and `a\0a` are one to it. No maker hashes the second as it is,
                // and the work is done all the same.
                let readable = !matches!(wrapping, Wrapping::None) || !password.contains(&0);
                Ok(constant_time_eq(&*computed, digest) & readable)
            }
            Self::Argon2 { algorithm, version, cost, salt, digest } => {
                let mut computed = Zeroizing::new(vec![0; digest.len()]);
                cost.derive(*algorithm, *version, password, salt, &mut computed)?;
                Ok(constant_time_eq(&computed, digest))
            }
            Self::Scrypt { cost, salt, digest } => {
                let mut computed = Zeroizing::new(vec![0; digest.len()]);
                cost.derive(password, salt, &mut computed)?;
                Ok(constant_time_eq(&computed, digest))
            }
            Self::Pbkdf2 { function, rounds, salt, digest } => {
                let mut computed = Zeroizing::new(vec![0; digest.len()]);
                match function {
                    Function::Sha256 => {
                        pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, *rounds, &mut computed);
                    }
                    Function::Sha512 => {
                        pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, *rounds, &mut computed);
                    }
                }
                Ok(constant_time_eq(&computed, digest))
            }
        }
    }
}

/// `<salt>:<128 hex digits>`; upstream's salt is 32 hex digits, and it reads any text.
fn parse_upstream(stored: &str) -> Result<Stored<'_>, PasswordError> {
    let is_hex = |key: &str| key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match stored.split_once(':') {
        Some((salt, key)) if !salt.is_empty() && key.len() == 128 && is_hex(key) => {
            Ok(Stored::Upstream { salt, key })
        }
        _ => Err(PasswordError::UnknownFormat),
    }
}

/// `<cost>$<22 salt><31 digest>`
fn parse_bcrypt(rest: &str) -> Result<Stored<'_>, PasswordError> {
    let (cost, rest) = rest.split_once('$').ok_or(PasswordError::Malformed)?;
    let (salt, digest) = rest.split_at_checked(22).ok_or(PasswordError::Malformed)?;
    bcrypt_parts(Wrapping::None, cost, salt, digest)
}

/// `v=2,t=2b,r=<cost>$<22 salt>$<31 digest>`, or the first version's `2b,<cost>$<22 salt>$<31 digest>`
fn parse_bcrypt_sha256(rest: &str) -> Result<Stored<'_>, PasswordError> {
    let [cost, salt, digest] = fields(rest)?;
    if let Some(cost) = cost.strip_prefix("v=2,t=2b,r=") {
        return bcrypt_parts(Wrapping::HmacSha256, cost, salt, digest);
    }
    let cost =
        cost.strip_prefix("2a,").or_else(|| cost.strip_prefix("2b,")).ok_or(PasswordError::Malformed)?;
    bcrypt_parts(Wrapping::Sha256, cost, salt, digest)
}

fn bcrypt_parts<'a>(
    wrapping: Wrapping,
    cost: &str,
    salt_text: &'a str,
    digest: &str,
) -> Result<Stored<'a>, PasswordError> {
    let cost = number(cost)?;
    if !BCRYPT_COSTS.contains(&cost) {
        return Err(PasswordError::Cost);
    }
    let salt = exactly(&BASE64_BCRYPT, salt_text)?;
    let digest = exactly(&BASE64_BCRYPT, digest)?;
    Ok(Stored::Bcrypt(Bcrypt { wrapping, cost, salt, salt_text, digest }))
}

/// `v=19$m=<KiB>,t=<passes>,p=<lanes>$<salt>$<digest>`; without `v` it is the version before.
fn parse_argon2(algorithm: Algorithm, rest: &str) -> Result<Stored<'_>, PasswordError> {
    let (version, rest) = match rest.strip_prefix("v=") {
        None => (Version::V0x10, rest),
        Some(rest) => match rest.split_once('$') {
            Some(("16", rest)) => (Version::V0x10, rest),
            Some(("19", rest)) => (Version::V0x13, rest),
            _ => return Err(PasswordError::Malformed),
        },
    };
    let [cost, salt, digest] = fields(rest)?;
    let [memory, passes, lanes] = parameters(cost, ["m=", "t=", "p="])?;
    let cost = Argon2Cost { memory, passes, lanes }.checked()?;
    Ok(Stored::Argon2 { algorithm, version, cost, salt: decode_salt(salt)?, digest: decode_digest(digest)? })
}

/// `ln=<log N>,r=<r>,p=<p>$<salt>$<digest>`
fn parse_scrypt(rest: &str) -> Result<Stored<'_>, PasswordError> {
    let [cost, salt, digest] = fields(rest)?;
    let [log_n, r, p] = parameters(cost, ["ln=", "r=", "p="])?;
    let log_n = u8::try_from(log_n).map_err(|_| PasswordError::Cost)?;
    let cost = ScryptCost { log_n, r, p }.checked()?;
    Ok(Stored::Scrypt { cost, salt: decode_salt(salt)?, digest: decode_digest(digest)? })
}

/// passlib's `<rounds>$<salt>$<digest>`, or PHC's `i=<rounds>,l=<length>$<salt>$<digest>`
fn parse_pbkdf2(function: Function, rest: &str) -> Result<Stored<'_>, PasswordError> {
    let [cost, salt, digest] = fields(rest)?;
    let (rounds, length) = match cost.strip_prefix("i=").map(|cost| cost.split_once(",l=").ok_or(cost)) {
        None => (number(cost)?, None),
        Some(Err(rounds)) => (number(rounds)?, None),
        Some(Ok((rounds, length))) => (number(rounds)?, Some(number(length)?)),
    };
    // passlib writes `.` for `+`.
    let salt = decode_salt(&salt.replace('.', "+"))?;
    let digest = decode_digest(&digest.replace('.', "+"))?;
    if length.is_some_and(|length| usize::try_from(length) != Ok(digest.len())) {
        return Err(PasswordError::Malformed);
    }
    Ok(Stored::Pbkdf2 { function, rounds: checked_rounds(rounds)?, salt, digest })
}

/// `<rounds>$<salt as it is>$<digest>`
fn parse_django(rest: &str) -> Result<Stored<'_>, PasswordError> {
    let [rounds, salt, digest] = fields(rest)?;
    if !SALT_LENGTHS.contains(&salt.len()) {
        return Err(PasswordError::Malformed);
    }
    let (salt, digest) = (salt.as_bytes().to_vec(), decode_digest(digest)?);
    Ok(Stored::Pbkdf2 { function: Function::Sha256, rounds: checked_rounds(number(rounds)?)?, salt, digest })
}

fn checked_rounds(rounds: u32) -> Result<u32, PasswordError> {
    if (1..=MOST_ROUNDS).contains(&rounds) { Ok(rounds) } else { Err(PasswordError::Cost) }
}

fn fields<const N: usize>(text: &str) -> Result<[&str; N], PasswordError> {
    text.split('$').collect::<Vec<_>>().try_into().map_err(|_| PasswordError::Malformed)
}

/// The numbers of `a=1,b=2,…`; the PHC format fixes the order.
fn parameters<const N: usize>(text: &str, names: [&str; N]) -> Result<[u32; N], PasswordError> {
    let mut numbers = [0; N];
    let mut parts = text.split(',');
    for (to, name) in numbers.iter_mut().zip(names) {
        let part = parts.next().and_then(|part| part.strip_prefix(name)).ok_or(PasswordError::Malformed)?;
        *to = number(part)?;
    }
    if parts.next().is_some() { Err(PasswordError::Malformed) } else { Ok(numbers) }
}

/// Decimal digits and nothing else; `u32::from_str` would take a sign.
fn number(text: &str) -> Result<u32, PasswordError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PasswordError::Malformed);
    }
    text.parse().map_err(|_| PasswordError::Cost)
}

fn exactly<const N: usize>(base64: &GeneralPurpose, text: &str) -> Result<[u8; N], PasswordError> {
    base64.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(PasswordError::Malformed)
}

fn decode_salt(text: &str) -> Result<Vec<u8>, PasswordError> {
    decode(text, SALT_LENGTHS)
}

/// Never a short digest: an empty one would match every password.
fn decode_digest(text: &str) -> Result<Vec<u8>, PasswordError> {
    decode(text, DIGEST_LENGTHS)
}

fn decode(text: &str, lengths: RangeInclusive<usize>) -> Result<Vec<u8>, PasswordError> {
    let bytes = BASE64.decode(text).map_err(|_| PasswordError::Malformed)?;
    if lengths.contains(&bytes.len()) { Ok(bytes) } else { Err(PasswordError::Malformed) }
}

pub(super) fn bcrypt_digest(
    wrapping: Wrapping,
    cost: u32,
    salt: [u8; 16],
    salt_text: &str,
    password: &[u8],
) -> Result<Zeroizing<[u8; 23]>, PasswordError> {
    if !BCRYPT_COSTS.contains(&cost) {
        return Err(PasswordError::Cost);
    }
    let wrapped =
        |digest: [u8; 32]| Zeroizing::new(BASE64_PADDED.encode(*Zeroizing::new(digest)).into_bytes());
    let password = match wrapping {
        Wrapping::None => Zeroizing::new(password.to_vec()),
        Wrapping::Sha256 => wrapped(Sha256::digest(password).into()),
        Wrapping::HmacSha256 => {
            wrapped(hmac_sha256(salt_text.as_bytes()).chain_update(password).finalize().into_bytes().into())
        }
    };
    // The zero that ends the password is part of the key; beyond 72 bytes bcrypt reads nothing. That happens only
    // to hashes of other makers, which were cut off in the same way.
    let mut key = Zeroizing::new([0; 72]);
    key.iter_mut().zip(password.iter()).for_each(|(to, from)| *to = *from);
    let used = key.get(..=password.len()).unwrap_or(&*key);
    let [digest @ .., _] = bcrypt::bcrypt(cost, salt, used);
    Ok(Zeroizing::new(digest))
}

#[derive(Clone, Copy)]
pub(super) struct Argon2Cost {
    pub(super) memory: u32,
    pub(super) passes: u32,
    pub(super) lanes: u32,
}

impl Argon2Cost {
    /// Blocks written: what the time is proportional to.
    pub(super) fn work(self) -> u64 {
        u64::from(self.memory) * u64::from(self.passes)
    }

    fn checked(self) -> Result<Self, PasswordError> {
        let bounded = (8..=MOST_KIBIBYTES).contains(&self.memory)
            && (1..=100).contains(&self.passes)
            && (1..=64).contains(&self.lanes)
            && self.work() <= 4 * u64::from(MOST_KIBIBYTES);
        if bounded { Ok(self) } else { Err(PasswordError::Cost) }
    }

    pub(super) fn derive(
        self,
        algorithm: Algorithm,
        version: Version,
        password: &[u8],
        salt: &[u8],
        digest: &mut [u8],
    ) -> Result<(), PasswordError> {
        let parameters = Params::new(self.memory, self.passes, self.lanes, Some(digest.len()))
            .map_err(|_| PasswordError::Malformed)?;
        Argon2::new(algorithm, version, parameters)
            .hash_password_into(password, salt, digest)
            .map_err(|_| PasswordError::Malformed)
    }
}

#[derive(Clone, Copy)]
pub(super) struct ScryptCost {
    log_n: u8,
    r: u32,
    p: u32,
}

impl ScryptCost {
    fn checked(self) -> Result<Self, PasswordError> {
        // Each factor is bounded first, so that the products cannot overflow.
        if !(1..=24).contains(&self.log_n) || !(1..=1024).contains(&self.r) || !(1..=64).contains(&self.p) {
            return Err(PasswordError::Cost);
        }
        let memory = (128 * u64::from(self.r)) << self.log_n;
        let bounded = memory <= MOST_BYTES && memory * u64::from(self.p) <= 2 * MOST_BYTES;
        if bounded { Ok(self) } else { Err(PasswordError::Cost) }
    }

    fn derive(self, password: &[u8], salt: &[u8], digest: &mut [u8]) -> Result<(), PasswordError> {
        let parameters =
            scrypt::Params::new(self.log_n, self.r, self.p).map_err(|_| PasswordError::Malformed)?;
        scrypt::scrypt(password, salt, &parameters, digest).map_err(|_| PasswordError::Malformed)
    }
}

/// The key as upstream writes it.
pub(super) fn upstream_key(password: &[u8], salt: &str) -> Result<Zeroizing<String>, PasswordError> {
    let mut key = Zeroizing::new([0; 64]);
    // Upstream: the salt is the text that is stored, not the bytes which its hex digits mean (kept: its hashes
    // depend on it).
    SCRYPT.derive(password, salt.as_bytes(), &mut *key)?;
    Ok(hex(&*key))
}

pub(super) fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    Zeroizing::new(digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect())
}
