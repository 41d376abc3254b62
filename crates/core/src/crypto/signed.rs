//! The signed cookie value: `value.signature`, HMAC-SHA256 in standard base64 with padding.
//!
//! The key is prepared once, because every session check opens such a value. Accepts exactly what upstream
//! accepts, and compares in constant time. Upstream: `crypto.mjs`, and `getSignedCookie` in `context.mjs`, of
//! better-call.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::{STANDARD as ALPHABET, URL_SAFE};
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{NO_PAD, STANDARD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::{constant_time_eq, hmac_sha256};

/// The characters of a signature, and of these the ones before the padding.
const SIGNATURE: usize = 44;

// Upstream: `atob` drops the two bits that the last character has too many, so each signature has four
// spellings (kept: they are the same 32 bytes, and refusing three of them would protect nothing).
const LENIENT: GeneralPurpose = GeneralPurpose::new(&ALPHABET, NO_PAD.with_decode_allow_trailing_bits(true));

const URL_LENIENT: GeneralPurpose =
    GeneralPurpose::new(&URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));

/// Signs values and opens signed ones.
#[derive(Clone)]
pub struct Signer {
    prepared: Hmac<Sha256>,
}

impl Signer {
    /// A signer for the UTF-8 bytes of `secret`.
    pub fn new(secret: &str) -> Self {
        Self { prepared: hmac_sha256(secret.as_bytes()) }
    }

    /// `value.signature`, not percent-encoded.
    pub fn sign(&self, value: &str) -> String {
        let mut signed = String::with_capacity(value.len() + 1 + SIGNATURE);
        signed.push_str(value);
        signed.push('.');
        STANDARD.encode_string(self.signature(value), &mut signed);
        signed
    }

    /// The value inside `signed`, if it is not empty and what follows its last dot is its signature.
    pub fn open<'a>(&self, signed: &'a str) -> Option<&'a str> {
        let (value, signature) = signed.rsplit_once('.')?;
        if value.is_empty() || signature.len() != SIGNATURE {
            return None;
        }
        let mut given = [0; 32];
        let length = LENIENT.decode_slice(signature.strip_suffix('=')?, &mut given).ok()?;
        (length == given.len() && constant_time_eq(&given, &self.signature(value))).then_some(value)
    }

    /// Whether what follows the first dot of `signed` is the signature of what is before it, in any spelling of base64:
    /// of either alphabet, with padding or without.
    ///
    /// Upstream asks this of a bearer token and then reads the token as a cookie, as [`Self::open`] does (kept).
    pub fn is_ours(&self, signed: &str) -> bool {
        let mut parts = signed.split('.');
        let (Some(value), Some(signature)) = (parts.next(), parts.next()) else { return false };
        let signature = signature.split('=').next().unwrap_or_default();
        let alphabet = if signature.contains(['-', '_']) { &URL_LENIENT } else { &LENIENT };
        let mut given = [0; 32];
        let length = alphabet.decode_slice(signature, &mut given);
        length == Ok(given.len()) && constant_time_eq(&given, &self.signature(value))
    }

    fn signature(&self, value: &str) -> [u8; 32] {
        self.prepared.clone().chain_update(value).finalize().into_bytes().into()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "better-auth-secret-that-is-long-enough-for-validation";

    /// What upstream's `signCookieValue` makes with `SECRET`, percent-decoded.
    const CAPTURED: [&str; 6] = [
        "abc.OaGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rI=",
        "Zk3qW9XhT2mC8vB1nL6sD4fG7jK0pQ5r.cSkMlyMUYfHGZ8pV7Xvv2JRW7nIwCK/oMiqkqOYhZ4I=",
        "a.b.c.JcmkorJ3AiSLzG6iXWq+A8lxuKu8MS75AIHgi9bVYvc=",
        "ünï✓.lK7cj1gPlpSikod/bcWS6Ynsni8lm5hEw8OEiplUEyM=",
        "..5SwRbqZu4UxjuW11zpzmJ3xPmr2sxxeEgyqQj1yNKo0=",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
         .HKzYtKRBZLZixdolaSWF/bLdKcwUpWcXDtPf2EoU2vQ=",
    ];

    #[test]
    fn signs_and_opens_what_upstream_signed() {
        let signer = Signer::new(SECRET);
        for captured in CAPTURED {
            let value = &captured[..captured.len() - SIGNATURE - 1];
            assert_eq!(signer.sign(value), captured);
            assert_eq!(signer.open(captured), Some(value));
        }
    }

    #[test]
    fn the_secret_is_its_utf_8_bytes_of_any_length() {
        assert_eq!(Signer::new("sécret✓").sign("abc"), "abc.9ZAwPRwfoL+wDBAnP3Iiv6TUNrO6gu4gO78PxG3BDh8=");
        let long = "k".repeat(100);
        assert_eq!(Signer::new(&long).sign("abc"), "abc.tYsraU/boN122j6+mRdPco0ydWDzbs4iTpCGeXJHmSI=");
    }

    /// All four are `abc` to upstream; the next letter is another signature.
    #[test]
    fn the_surplus_bits_of_a_signature_are_ignored_as_upstream_does() {
        let signer = Signer::new(SECRET);
        for last in ["I", "J", "K", "L"] {
            let cookie = format!("abc.OaGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1r{last}=");
            assert_eq!(signer.open(&cookie), Some("abc"), "{last}");
        }
        assert_eq!(signer.open("abc.OaGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rM="), None);
    }

    #[test]
    fn nothing_else_opens() {
        let signer = Signer::new(SECRET);
        for refused in [
            "",
            ".",
            "abc",
            "abc.",
            // The right signature of the empty value.
            ".TEKFhqFXDSf4SCEB6nYdtXT4P369lSqq/RNRlcBYlxk=",
            // Another value, and a value that grew a part.
            "abd.OaGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rI=",
            "abc.d.OaGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rI=",
            // No dot; too short; no padding; two of it; a space; the other alphabet; not ASCII.
            "OaGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rI=",
            "abc.aGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rI=",
            "abc.OaGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rI",
            "abc.OaGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rIA",
            "abc.OaGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1r==",
            "abc.OaGAKSECM+xA5F6sZ3J yTIdBTQrjJrTFj7spmgYI1r=",
            "abc.OaGAKSECM-xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rI=",
            "abc.éaGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1r=",
            // Percent-encoded still.
            "abc.OaGAKSECM%2BxA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rI%3D",
        ] {
            assert_eq!(signer.open(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn a_signature_is_ours_in_any_spelling_of_base64() {
        let signer = Signer::new(SECRET);
        for signed in [
            "abc.OaGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rI=",
            "abc.OaGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rI",
            "abc.OaGAKSECM-xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rI",
            "abc.OaGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rI=x",
            "abc.OaGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rI=.more",
        ] {
            assert!(signer.is_ours(signed), "{signed}");
        }
        for other in [
            "",
            "abc",
            "abc.",
            "abc.x",
            "abd.OaGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rI=",
            "abc.OaGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rM=",
            "abc.d.OaGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rI=",
            "abc.éaGAKSECM+xA5F6sZ3JyTIdBTQrjJrTFj7spmgYI1rI=",
        ] {
            assert!(!signer.is_ours(other), "{other}");
        }
    }

    #[test]
    fn another_secret_does_not_open() {
        assert_eq!(Signer::new("another").open(CAPTURED[0]), None);
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        assert_eq!(format!("{:?}", Signer::new(SECRET)), "Signer { .. }");
    }
}
