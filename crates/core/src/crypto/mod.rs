//! Passwords, signatures and the comparisons that must not tell how far they got.
//!
//! Everything here is a pure function of its input: entropy comes from the caller, and nothing is logged but
//! the failures of the hash pool. Mirrors `crypto/` of Better Auth and `crypto.mjs` of better-call.

pub mod at_rest;
pub(crate) mod blocklist;
pub mod claims;
pub mod hash_pool;
pub mod jwe;
pub mod jwk;
pub mod jws;
pub mod password;
pub mod signed;
mod stored_hash;

use hmac::{Hmac, KeyInit as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Whether two byte strings are equal, in a time that depends on nothing but their lengths.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// An HMAC-SHA256 with its key prepared; clone it for each message.
pub fn hmac_sha256(key: &[u8]) -> Hmac<Sha256> {
    // A key longer than a block is its digest, and a shorter one is filled up with zeros (RFC 2104). Done here
    // because the crate's constructor for whole blocks is the one that cannot fail.
    let mut block = Zeroizing::new([0; 64]);
    if key.len() > block.len() {
        block.iter_mut().zip(Sha256::digest(key)).for_each(|(to, from)| *to = from);
    } else {
        block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    }
    Hmac::new((&*block).into())
}

/// A key of its own for one purpose, out of a secret that has several: HKDF-SHA256 without salt.
#[expect(clippy::expect_used, reason = "HKDF gives up to 8160 bytes, and this asks for 32")]
pub(crate) fn derive_key(secret: &[u8], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    hkdf::Hkdf::<Sha256>::new(None, secret).expand(purpose, key.as_mut()).expect("32 bytes");
    key
}

#[cfg(test)]
mod tests {
    use hmac::Mac as _;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 0xf])
            .map(|digit| char::from_digit(digit.into(), 16).unwrap())
            .collect()
    }

    #[test]
    fn equal_is_equal_in_every_byte_and_in_length() {
        assert!(constant_time_eq(b"", b""));
        assert!(constant_time_eq(b"same", b"same"));
        assert!(!constant_time_eq(b"same", b"sama"));
        assert!(!constant_time_eq(b"same", b"tame"));
        assert!(!constant_time_eq(b"same", b"same\0"));
        assert!(!constant_time_eq(b"same", b""));
    }

    /// RFC 5869, test case 3, as far as it goes: without salt and without a purpose.
    #[test]
    fn a_derived_key_is_what_rfc_5869_says() {
        assert_eq!(
            hex(&*derive_key(&[0x0b; 22], b"")),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
        );
        assert_ne!(derive_key(b"secret", b"one"), derive_key(b"secret", b"another"));
    }

    /// RFC 4231, test cases 2 and 6: a short key, and one longer than a block.
    #[test]
    fn hmac_gives_the_digests_of_rfc_4231() {
        let short = hmac_sha256(b"Jefe").chain_update(b"what do ya want for nothing?").finalize();
        assert_eq!(
            hex(&short.into_bytes()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let long = hmac_sha256(&[0xaa; 131])
            .chain_update(b"Test Using Larger Than Block-Size Key - Hash Key First")
            .finalize();
        assert_eq!(
            hex(&long.into_bytes()),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }
}
