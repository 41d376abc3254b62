//! Encrypted tokens, compact, `dir` with A256CBC-HS512: `header..iv.ciphertext.tag`.
//!
//! The keys are derived from the server's secrets, one set for each purpose, and prepared once. The tag is checked
//! before anything is decrypted, so that padding is not an oracle. What a token carries may have ended, see
//! [`claims`](super::claims). Base64 is read strictly: each token has one spelling.
//!
//! Upstream: `symmetricEncodeJWT` and `symmetricDecodeJWT` of `crypto/jwt.ts`, which use jose. It also lets A256GCM
//! through, but its keys never have the length for it, so no such token opens there either.

use std::fmt;

use aes::Aes256;
use aes::cipher::{
    BlockModeDecrypt as _, BlockModeEncrypt as _, InnerIvInit as _, KeyInit as _, block_padding::Pkcs7,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256, Sha512};
use zeroize::Zeroizing;

use super::constant_time_eq;
use super::jws::{LONGEST_TOKEN, protected_header};

const ALGORITHM: &str = "dir";
const ENCRYPTION: &str = "A256CBC-HS512";
const INFO: &[u8] = b"BetterAuth.js Generated Encryption Key";

/// A secret's keys for one purpose: half of 64 bytes authenticates, the other half encrypts (RFC 7518, 5.2.5).
struct Key {
    mac: Hmac<Sha512>,
    cipher: Aes256,
    /// The thumbprint of the 64 bytes as a JWK (RFC 7638).
    id: String,
    /// The encoded header of tokens made with this key.
    header: String,
}

/// Seals with the current secret, opens with this one and older ones.
pub struct Keyring {
    keys: Vec<Key>,
}

impl Keyring {
    /// The keys of `secrets` for one purpose, the current secret first.
    pub fn derive<'a>(secrets: impl IntoIterator<Item = &'a str>, purpose: &str) -> Self {
        let derived = secrets.into_iter().filter_map(|secret| {
            let mut key = Zeroizing::new([0; 64]);
            Hkdf::<Sha256>::new(Some(purpose.as_bytes()), secret.as_bytes()).expand(INFO, &mut *key).ok()?;
            Some(Key::new(&key))
        });
        Self { keys: derived.collect() }
    }

    /// The token that carries `payload`; `iv` must be fresh. Without a secret there is none.
    pub fn seal(&self, payload: &[u8], iv: [u8; 16]) -> Option<String> {
        let key = self.keys.first()?;
        let encrypted = cbc::Encryptor::inner_iv_init(key.cipher.clone(), (&iv).into())
            .encrypt_padded_vec::<Pkcs7>(payload);
        let tag = key.tag(&key.header, &iv, &encrypted);
        let mut token = String::with_capacity(key.header.len() + encrypted.len().div_ceil(3) * 4 + 70);
        token.push_str(&key.header);
        token.push_str("..");
        URL_SAFE_NO_PAD.encode_string(iv, &mut token);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&encrypted, &mut token);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(tag, &mut token);
        Some(token)
    }

    /// What `token` carries, if one of our secrets has sealed it.
    pub fn open(&self, token: &str) -> Option<Vec<u8>> {
        if token.len() > LONGEST_TOKEN {
            return None;
        }
        let mut parts = token.split('.');
        let (header, encrypted_key) = (parts.next()?, parts.next()?);
        let (iv, encrypted, tag) = (parts.next()?, parts.next()?, parts.next()?);
        // With `dir` there is no encrypted key.
        if parts.next().is_some() || !encrypted_key.is_empty() {
            return None;
        }
        let iv: [u8; 16] = URL_SAFE_NO_PAD.decode(iv).ok()?.try_into().ok()?;
        let tag: [u8; 32] = URL_SAFE_NO_PAD.decode(tag).ok()?.try_into().ok()?;
        let encrypted = URL_SAFE_NO_PAD.decode(encrypted).ok()?;
        let open = |key: &Key| key.open(header, iv, &encrypted, &tag);
        if let Some(key) = self.keys.iter().find(|key| key.header == header) {
            return open(key);
        }
        let header = protected_header(header)?;
        let is_ours = header.get("alg") == Some(&ALGORITHM.into())
            && header.get("enc") == Some(&ENCRYPTION.into())
            && !header.contains_key("crit")
            && !header.contains_key("zip");
        if !is_ours {
            return None;
        }
        match header.get("kid") {
            Some(id) => self.keys.iter().find(|key| *id == *key.id).and_then(open),
            None => self.keys.iter().find_map(open),
        }
    }
}

impl Key {
    fn new(key: &[u8; 64]) -> Self {
        let (mac, cipher) = key.split_at(32);
        let mut block = Zeroizing::new([0; 128]);
        block.iter_mut().zip(mac).for_each(|(to, from)| *to = *from);
        let mut half = Zeroizing::new([0; 32]);
        half.iter_mut().zip(cipher).for_each(|(to, from)| *to = *from);
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(key));
        let jwk = Zeroizing::new(format!(r#"{{"k":"{}","kty":"oct"}}"#, *encoded));
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(jwk.as_bytes()));
        let header = format!(r#"{{"alg":"{ALGORITHM}","enc":"{ENCRYPTION}","kid":"{id}"}}"#);
        Self {
            mac: Hmac::new((&*block).into()),
            cipher: Aes256::new((&*half).into()),
            header: URL_SAFE_NO_PAD.encode(header),
            id,
        }
    }

    fn open(&self, header: &str, iv: [u8; 16], encrypted: &[u8], tag: &[u8; 32]) -> Option<Vec<u8>> {
        if !constant_time_eq(tag, &self.tag(header, &iv, encrypted)) {
            return None;
        }
        cbc::Decryptor::inner_iv_init(self.cipher.clone(), (&iv).into())
            .decrypt_padded_vec::<Pkcs7>(encrypted)
            .ok()
    }

    fn tag(&self, header: &str, iv: &[u8; 16], encrypted: &[u8]) -> [u8; 32] {
        let bits = u64::try_from(header.len()).unwrap_or(u64::MAX).saturating_mul(8);
        let mac = self.mac.clone().chain_update(header).chain_update(iv).chain_update(encrypted);
        let whole: [u8; 64] = mac.chain_update(bits.to_be_bytes()).finalize().into_bytes().into();
        let mut tag = [0; 32];
        tag.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
        tag
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Keyring").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "better-auth-secret-that-is-long-enough-for-validation";
    const OLDER: &str = "an-older-secret-that-is-also-long-enough-0123456789";
    const PURPOSE: &str = "better-auth-session";
    const PLAIN: &str = "{\"session\":{\"a\":\"ünï✓\\n\u{2028}\"},\"user\":{},\"updatedAt\":1700000000123,\"version\":\"1\",\"iat\":1700000000,\"exp\":1700000300,\"jti\":";

    /// What upstream's `symmetricEncodeJWT` makes with `SECRET`, with `OLDER`, and for another purpose; and a token
    /// without a key id that jose made with the key of `SECRET`.
    const CAPTURED: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoiaS1CZmtfd3k5R21WdVp6M2hBa3p0T3ozZ3lyR0NKWFA1U3liajVFWXZmWSJ9..AUCFxD_19UiRqgQUKrfQtQ.PMNHuzrPrT7j5bvUxNavBcxgK1e5HdA8Uf-2ZByGZIJLECGVuS89pUkO9G03-g30I_WFbGRVJh1T_Wr5GGBfrgGeX_COdxMi9cX_9ke_hlID8Y5w_AOIkFcryiGGcRKMrMokl_fiOQn0zbR53ZnM46kIeMlPL_V-PeeTsKZva1jgjjg1AfmzkeKK2uIydo2yUuDVdI_p7uzci2l58kCR-xLjpegtrFAwajjTdqvLm_k.nFQIONJuc_ZGWkLIzLnnqkLymIZwBPdomWGb1698_V8";
    const CAPTURED_OLDER: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoiQXVacWlMeFpESUdWVVNsa0hJY3FrRGFlV1dYNGJVUG0zTnBIdnpWRWxvayJ9..oKbk1WsFIAdhYQU8UpsxUQ.hJnrYGs6xaqJzxQBZ7vgzMjOzz1W-aD5bWh0woAiQp8M4ql09zKl7VKH9WuR9QMqCXdDHc7FA62nG7VjQoYp5veQ-iexjdvhW9S7Sf1XbaInkbBlyWU2ycXASfSLO5ot1j08rvR4SQ4J2LhFbzJIH0nhZUl0XCAV_NL2b_kXM7KNf0wYvtfO-OG5bhZFAfM3HPlNkx6gx9vDfjtaETdmWmLB4c-jhvsTYpy1-XlHh3o.HqCVtIzO4WCP-tN-PbD_fT47_HUGCJk7_6rL4MWLARU";
    const CAPTURED_ACCOUNT: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoibnlpMXRYVlZET3dDU0l3SFJoTjJKYXpzemJubVZ5dHBFMjV1MVA0RFNVYyJ9..wmnkWHDHkOGEvuzzLdwfKg.fMhmwvqIxVG4lviaA5NheCIIfAR67N2PaObvVonrS_6Npz8_6j_9fEFpXTf2pj09uFDHA7gZaZdIKPra8IZdiaSP5rPJJ8h-dpCk04a2CR3v_Itbmt0-dPofO1dMxzhXcnmBCjPdab2CJ7Avg4PKVQ.Hhml_m1BiQyKUz8ctvlcc-VjbU5OwLndDSw6mTBthrQ";
    const CAPTURED_WITHOUT_ID: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIn0..-d82jmDDPAVhF2713UZwMA.7AIDeaWITwYQ2YI6tEDttF-6-4KvnrFpM0kvmNTk-KXWXhBivCZUWjLwj1KRSdcegiJTzqY3YCLOwafvguo25QBSV3LRT5BAmeWqe6_d0LeZsMP9AMwWwHXwW_C1Yds3XyFV2H1ybVckoyke9QRNJA.LT8W5nUgAOfiVqB0VtPUhfXUcCARbGAhqkVqy7EbvhA";

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)?.try_into().ok()).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn ring(secrets: &[&str]) -> Keyring {
        Keyring::derive(secrets.iter().copied(), PURPOSE)
    }

    fn opened(ring: &Keyring, token: &str) -> Option<String> {
        ring.open(token).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// RFC 7518, appendix B.3.
    #[test]
    fn encrypts_and_authenticates_as_rfc_7518_does() {
        let key: [u8; 64] = std::array::from_fn(|position| u8::try_from(position).unwrap());
        let key = Key::new(&key);
        let plain = b"A cipher system must not be required to be secret, and it must be able to fall into the hands of the enemy without inconvenience";
        let iv: [u8; 16] = unhex("1af38c2dc2b96ffdd86694092341bc04").try_into().unwrap();
        let encrypted = unhex(
            "4affaaadb78c31c5da4b1b590d10ffbd3dd8d5d302423526912da037ecbcc7bd822c301dd67c373bccb584ad3e9279c2e6d12a1374b77f077553df829410446b36ebd97066296ae6427ea75c2e0846a11a09ccf5370dc80bfecbad28c73f09b3a3b75e662a2594410ae496b2e2e6609e31e6e02cc837f053d21f37ff4f51950bbe2638d09dd7a4930930806d0703b1f6",
        );
        let aad = "The second principle of Auguste Kerckhoffs";
        let tag: [u8; 32] =
            unhex("4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5").try_into().unwrap();
        assert_eq!(key.tag(aad, &iv, &encrypted), tag);
        assert_eq!(key.open(aad, iv, &encrypted, &tag).as_deref(), Some(&plain[..]));
        let made = cbc::Encryptor::inner_iv_init(key.cipher.clone(), (&iv).into());
        assert_eq!(made.encrypt_padded_vec::<Pkcs7>(plain), encrypted);
    }

    #[test]
    fn opens_what_upstream_sealed_and_seals_it_again() {
        let ring = ring(&[SECRET]);
        let plain = opened(&ring, CAPTURED).unwrap();
        assert!(plain.starts_with(PLAIN), "{plain}");
        let iv = unhex("014085c43ff5f54891aa04142ab7d0b5").try_into().unwrap();
        assert_eq!(ring.seal(plain.as_bytes(), iv).as_deref(), Some(CAPTURED));
        assert!(opened(&ring, CAPTURED_WITHOUT_ID).unwrap().starts_with(&PLAIN[..50]));
    }

    #[test]
    fn older_secrets_open_and_the_current_one_seals() {
        let both = ring(&[SECRET, OLDER]);
        for token in [CAPTURED, CAPTURED_OLDER, CAPTURED_WITHOUT_ID] {
            assert!(both.open(token).is_some());
        }
        assert!(ring(&[OLDER, SECRET]).open(CAPTURED_WITHOUT_ID).is_some());
        assert_eq!(ring(&[OLDER]).open(CAPTURED_WITHOUT_ID), None);
        assert_eq!(ring(&[SECRET]).open(CAPTURED_OLDER), None);
        assert_eq!(ring(&[OLDER]).open(CAPTURED), None);
        let sealed = both.seal(b"{}", [7; 16]).unwrap();
        assert_eq!(opened(&ring(&[SECRET]), &sealed).as_deref(), Some("{}"));
        assert_eq!(ring(&[]).seal(b"{}", [7; 16]), None);
        assert_eq!(ring(&[]).open(CAPTURED), None);
    }

    #[test]
    fn a_key_is_good_for_one_purpose() {
        assert_eq!(ring(&[SECRET]).open(CAPTURED_ACCOUNT), None);
        let accounts = Keyring::derive([SECRET], "better-auth-account");
        assert!(opened(&accounts, CAPTURED_ACCOUNT).unwrap().starts_with(r#"{"accessToken":"x","#));
        assert_eq!(accounts.open(CAPTURED), None);
    }

    #[test]
    fn no_header_talks_us_into_anything() {
        let ring = ring(&[SECRET]);
        let key = &ring.keys[0];
        let id = &key.id;
        for (header, expected) in [
            (r#"{"alg":"dir","enc":"A256CBC-HS512"}"#.to_owned(), true),
            (format!(r#"{{"enc":"A256CBC-HS512","kid":"{id}", "alg":"dir"}}"#), true),
            (r#"{"alg":"dir","enc":"A256CBC-HS512","kid":"another"}"#.to_owned(), false),
            (r#"{"alg":"dir","enc":"A256CBC-HS512","kid":null}"#.to_owned(), false),
            (r#"{"alg":"dir","enc":"A256CBC-HS512","zip":"DEF"}"#.to_owned(), false),
            (r#"{"alg":"dir","enc":"A256CBC-HS512","crit":["x"],"x":1}"#.to_owned(), false),
            (r#"{"alg":"dir","enc":"A256GCM"}"#.to_owned(), false),
            (r#"{"alg":"dir","enc":"A128CBC-HS256"}"#.to_owned(), false),
            (r#"{"alg":"A256KW","enc":"A256CBC-HS512"}"#.to_owned(), false),
            (
                r#"{"alg":"PBES2-HS256+A128KW","enc":"A256CBC-HS512","p2c":999999999,"p2s":"AA"}"#.to_owned(),
                false,
            ),
            (r#"{"alg":"none","enc":"A256CBC-HS512"}"#.to_owned(), false),
            (r#"{"enc":"A256CBC-HS512"}"#.to_owned(), false),
            ("[]".to_owned(), false),
        ] {
            let encoded = URL_SAFE_NO_PAD.encode(&header);
            let sealed =
                Keyring { keys: vec![Key { header: encoded, ..ring_key() }] }.seal(b"{}", [9; 16]).unwrap();
            assert_eq!(ring.open(&sealed).is_some(), expected, "{header}");
        }
    }

    fn ring_key() -> Key {
        ring(&[SECRET]).keys.remove(0)
    }

    #[test]
    fn what_was_never_padded_is_refused_with_a_right_tag_too() {
        let ring = ring(&[SECRET]);
        let key = &ring.keys[0];
        for encrypted in [&[][..], &[1; 15], &[1; 16], &[1; 17]] {
            let tag = key.tag(&key.header, &[0; 16], encrypted);
            let [iv, encrypted, tag] =
                [&[0; 16][..], encrypted, &tag].map(|part| URL_SAFE_NO_PAD.encode(part));
            assert_eq!(ring.open(&format!("{}..{iv}.{encrypted}.{tag}", key.header)), None);
        }
    }

    #[test]
    fn no_change_of_a_character_is_overlooked() {
        let ring = ring(&[SECRET, OLDER]);
        for position in 0..CAPTURED.len() {
            for replacement in ["A", "B", "z", "_", ".", "=", "+", " ", "\n", "é", ""] {
                let changed = [&CAPTURED[..position], replacement, &CAPTURED[position + 1..]].concat();
                if changed != CAPTURED {
                    assert_eq!(ring.open(&changed), None, "{changed}");
                }
            }
        }
        for changed in [
            format!("{CAPTURED}="),
            format!("{CAPTURED}."),
            CAPTURED.replace("..", ".AA."),
            CAPTURED.repeat(2),
        ] {
            assert_eq!(ring.open(&changed), None, "{changed}");
        }
        assert_eq!(ring.open(&".".repeat(LONGEST_TOKEN + 1)), None);
        assert_eq!(ring.open(""), None);
    }
}
