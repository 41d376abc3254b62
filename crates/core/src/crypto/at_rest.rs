//! What is kept encrypted: signing keys, second factors, tokens of other providers.
//!
//! XChaCha20-Poly1305 under the SHA-256 of a secret, as hexadecimal digits of nonce, ciphertext and tag. An
//! installation with several secrets writes `$ba$<version>$` before them and still opens what older versions wrote, and
//! what was written before there were versions. Upstream: `crypto/index.ts`, `crypto/purpose.ts`.

use super::{hmac_sha256, stored_hash::hex};
use crate::secret::Secret;
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305,
    aead::{Aead as _, Error},
};
use hmac::Mac as _;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

const PREFIX: &str = "$ba$";
const PURPOSE_SALT: &[u8] = b"better-auth:oauth-encryption:v1";

/// The bytes of a nonce; so many that drawing them by chance never gives the same twice.
pub const NONCE: usize = 24;

/// The secrets of an installation: the one that signs and encrypts, and those that still decrypt.
#[derive(Debug, Clone)]
pub struct Secrets {
    current: Secret,
    /// `None` where there is one secret and no versions.
    version: Option<u64>,
    former: Vec<(u64, Secret)>,
    legacy: Option<Secret>,
}

/// Why something that was kept encrypted cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AtRestError {
    /// It was not written by any installation.
    #[error("it is not encrypted text")]
    Malformed,
    /// Its secret is not among those that are configured.
    #[error("it needs version {0} of the secret, which is not configured")]
    UnknownVersion(u64),
    /// It was written before there were versions, and the secret of that time is not configured.
    #[error("it was written before there were versions of the secret, and `secret` is not configured")]
    NoLegacySecret,
    /// It was encrypted with another secret, or has been changed.
    #[error("it was encrypted with another secret, or has been changed")]
    Refused,
    /// It is longer than the cipher can encrypt: 256 GB.
    #[error("it is too long to be encrypted")]
    TooLong,
}

impl Secrets {
    /// One secret, without versions.
    pub fn single(secret: Secret) -> Self {
        Self { current: secret, version: None, former: Vec::new(), legacy: None }
    }

    /// Several secrets: the current one, those before it, and the one from before there were versions.
    pub fn versioned(current: (u64, Secret), former: Vec<(u64, Secret)>, legacy: Option<Secret>) -> Self {
        Self { current: current.1, version: Some(current.0), former, legacy }
    }

    /// The one that signs and encrypts.
    pub fn current(&self) -> &Secret {
        &self.current
    }

    /// Every secret, in the order in which they are tried.
    pub fn all(&self) -> impl Iterator<Item = &Secret> {
        let former = self.former.iter().map(|(_, secret)| secret);
        std::iter::once(&self.current).chain(former).chain(&self.legacy)
    }

    /// Secrets for one purpose, of no use for any other.
    #[must_use]
    pub fn for_purpose(&self, purpose: &str) -> Self {
        let derived = |secret: &Secret| derive(secret, purpose);
        Self {
            current: derived(&self.current),
            version: self.version,
            former: self.former.iter().map(|(version, secret)| (*version, derived(secret))).collect(),
            legacy: self.legacy.as_ref().map(derived),
        }
    }

    /// Encrypts `text`; `nonce` must be fresh chance each time.
    pub fn encrypt(&self, text: &str, nonce: [u8; NONCE]) -> Result<String, AtRestError> {
        let sealed = cipher(&self.current).encrypt(&nonce.into(), text.as_bytes());
        let sealed = sealed.map_err(|Error| AtRestError::TooLong)?;
        let mut out = self.version.map_or_else(String::new, |version| format!("{PREFIX}{version}$"));
        out.push_str(&hex(&nonce));
        out.push_str(&hex(&sealed));
        Ok(out)
    }

    /// Opens what [`encrypt`](Self::encrypt), or upstream, has written.
    pub fn decrypt(&self, stored: &str) -> Result<Secret, AtRestError> {
        let (secret, digits) = self.opener(stored)?;
        let bytes = unhex(digits).ok_or(AtRestError::Malformed)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>().ok_or(AtRestError::Malformed)?;
        let opened = cipher(secret).decrypt(nonce.into(), sealed).map_err(|Error| AtRestError::Refused)?;
        String::from_utf8(opened).map(Secret::from).map_err(|error| {
            error.into_bytes().zeroize();
            AtRestError::Malformed
        })
    }

    /// The secret that opens it, and its digits.
    fn opener<'a>(&'a self, stored: &'a str) -> Result<(&'a Secret, &'a str), AtRestError> {
        let Some(current) = self.version else { return Ok((&self.current, stored)) };
        match envelope(stored) {
            Some((version, digits)) if version == current => Ok((&self.current, digits)),
            Some((version, digits)) => {
                let former = self.former.iter().find(|(other, _)| *other == version);
                former.map(|(_, secret)| (secret, digits)).ok_or(AtRestError::UnknownVersion(version))
            }
            None if stored.starts_with(PREFIX) => Err(AtRestError::Malformed),
            None => self.legacy.as_ref().map(|secret| (secret, stored)).ok_or(AtRestError::NoLegacySecret),
        }
    }
}

/// `$ba$<version>$<digits>`
fn envelope(stored: &str) -> Option<(u64, &str)> {
    let (version, digits) = stored.strip_prefix(PREFIX)?.split_once('$')?;
    let is_number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| version.parse().ok()).flatten().map(|version| (version, digits))
}

fn cipher(secret: &Secret) -> XChaCha20Poly1305 {
    let key = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(secret.expose())));
    XChaCha20Poly1305::new((&*key).into())
}

/// HKDF-SHA256 (RFC 5869), whose first block is all that is needed here.
fn derive(secret: &Secret, purpose: &str) -> Secret {
    let extracted = hmac_sha256(PURPOSE_SALT).chain_update(secret.expose()).finalize().into_bytes();
    let extracted = Zeroizing::new(<[u8; 32]>::from(extracted));
    let expanded = hmac_sha256(&*extracted)
        .chain_update("better-auth:")
        .chain_update(purpose)
        .chain_update(":v1")
        .chain_update([1]);
    Secret::from(hex(&Zeroizing::new(<[u8; 32]>::from(expanded.finalize().into_bytes()))[..]).as_str())
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(value(*high)? << 4 | value(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "better-auth-secret-that-is-long-enough-for-validation";
    const FORMER: &str = "short";
    const LEGACY: &str = "ünï✓ legacy";

    fn single() -> Secrets {
        Secrets::single(SECRET.into())
    }

    fn rotated() -> Secrets {
        Secrets::versioned((2, SECRET.into()), vec![(1, FORMER.into())], Some(LEGACY.into()))
    }

    /// What upstream's `symmetricEncrypt` has made, and of what.
    const SINGLE: [(&str, &str); 3] = [
        ("", "bb610b2075c8904d2b5e4e7fec26bbb16e462e84bddd36fa5a934c8bc498602c46220dbfb38d8caf"),
        ("abc", "88294e9b9a6f3517709295b34b5d815756707a9377228cead95f0443562c958da8d1cc41a83ee5e3fb3e6f"),
        (
            "ünï✓ 🐎",
            "1b0fcdc38585bcc4db4a1dbc3eb50253d076a78fee1a7066cb3651359f74d7fc498e214eac6d0235627f33fadb9eb47193a189cbe3",
        ),
    ];
    const V2: &str =
        "$ba$2$349ada17cc7ea45d2cb8a7d8ef5f80842fa81c5d9c2351e40424dc9bea19ee1cefb22fa90cd6ca58b39ab0";
    const V1: &str =
        "$ba$1$4377eba69705d6db7221c41a0207d7eeb272be570246a0b42b922240ad953add678ed3f7e3db67edfa02f4c00607";
    const BEFORE_VERSIONS: &str =
        "c7fea81793fe7ec9558be48ae4768fc2b12b93a8a6eaff937926ccc931cb61224ce895ced56ef2e59fbea665684b";
    const STATE_V2: &str =
        "$ba$2$55d1a07392c4d31f033b6f61189a644aecf695d6ba683c8c1fa29ce78e8f2a84f797503ff3a86af18fb6143d4a";
    const STATE_SINGLE: &str =
        "47d9572ac487911108dc3a16b7a4ee612e9215b1792fff203f7b197e25343ec040d46668066e3e687f08d26682";

    /// Opens it, and makes the same of the same text and nonce.
    fn both_ways(secrets: &Secrets, stored: &str, text: &str) {
        assert_eq!(secrets.decrypt(stored).unwrap().expose(), text, "{stored}");
        let digits = stored.rsplit('$').next().unwrap();
        let nonce = unhex(&digits[..2 * NONCE]).unwrap().try_into().unwrap();
        assert_eq!(secrets.encrypt(text, nonce).unwrap(), stored, "{text}");
    }

    #[test]
    fn what_upstream_writes_is_read_and_what_is_written_is_the_same() {
        for (text, stored) in SINGLE {
            both_ways(&single(), stored, text);
        }
        both_ways(&rotated(), V2, "abc");
        both_ways(&single().for_purpose("oauth-state-cookie"), STATE_SINGLE, "state");
        both_ways(&rotated().for_purpose("oauth-state-cookie"), STATE_V2, "state");
    }

    #[test]
    fn what_former_secrets_wrote_is_still_read() {
        assert_eq!(rotated().decrypt(V1).unwrap().expose(), "before");
        assert_eq!(rotated().decrypt(BEFORE_VERSIONS).unwrap().expose(), "legacy");
        let digits = V2.trim_start_matches("$ba$2$");
        for stored in [format!("$ba$02${digits}"), format!("$ba$2${}", digits.to_uppercase())] {
            assert_eq!(rotated().decrypt(&stored).unwrap().expose(), "abc", "{stored}");
        }
    }

    #[test]
    fn what_cannot_be_opened_says_why() {
        let digits = V2.trim_start_matches("$ba$2$");
        let refused = |secrets: &Secrets, stored: &str| secrets.decrypt(stored).unwrap_err();
        for malformed in [
            "$ba$2$".to_owned(),
            "$ba$2$00".to_owned(),
            "$ba$2$zz".to_owned(),
            format!("$ba$2${digits} "),
            format!("$ba$2${digits}0"),
            format!("$ba$-2${digits}"),
            format!("$ba$$${digits}"),
            format!("$ba$2{digits}"),
            format!("$BA$2${digits}"),
            "é".to_owned(),
            String::new(),
        ] {
            assert_eq!(refused(&rotated(), &malformed), AtRestError::Malformed, "{malformed}");
        }
        assert_eq!(refused(&single(), V2), AtRestError::Malformed);
        assert_eq!(refused(&rotated(), &format!("$ba$3${digits}")), AtRestError::UnknownVersion(3));
        assert_eq!(refused(&rotated(), digits), AtRestError::Refused);
        assert_eq!(refused(&rotated(), &format!("$ba$1${digits}")), AtRestError::Refused);
        let without_legacy = Secrets::versioned((2, SECRET.into()), Vec::new(), None);
        assert_eq!(refused(&without_legacy, BEFORE_VERSIONS), AtRestError::NoLegacySecret);
        assert_eq!(refused(&without_legacy, V1), AtRestError::UnknownVersion(1));
    }

    #[test]
    fn a_changed_digit_is_noticed_wherever_it_is() {
        let (_, stored) = SINGLE[1];
        for position in 0..stored.len() {
            let digit = if stored.as_bytes()[position] == b'0' { "1" } else { "0" };
            let mut changed = stored.to_owned();
            changed.replace_range(position..=position, digit);
            assert_eq!(single().decrypt(&changed).unwrap_err(), AtRestError::Refused, "{position}");
        }
    }

    /// What upstream's `derivePurposeKey` makes of `SECRET`.
    #[test]
    fn each_purpose_has_upstreams_secret() {
        for (purpose, derived) in [
            ("oauth-state-cookie", "c66c17840b61422cba8e4856ae93456941a7315dba6ed9a6e04831d7dfafe81a"),
            ("oauth-link-session-token", "16f9c9d256b1cbca2a2e58bc28d37ef385a8c269aa6b85b448516211f6c987b0"),
            ("oauth-proxy-profile", "a4a73d5bc8b1a8fdeae5f79228a84dc7ac45f646092e44d53aa299bf5680386b"),
            ("oauth-proxy-package", "231dff9fde0433e25aece36404c3cdeda4f9a20c52b5942bf51442323fdb4979"),
            ("oauth-proxy-state", "0853d1b98ab15782bfd0263e5ddc6e51788e68324e3c8b4b053b291f0578f87f"),
        ] {
            assert_eq!(single().for_purpose(purpose).current().expose(), derived, "{purpose}");
        }
        let derived = rotated().for_purpose("oauth-state-cookie");
        let derived: Vec<_> = derived.all().map(Secret::expose).collect();
        assert_eq!(
            derived,
            [
                "c66c17840b61422cba8e4856ae93456941a7315dba6ed9a6e04831d7dfafe81a",
                "37a4991ff937aa1e8ca8d183696167e3f79e811a3af856be26be4ea6be5b97c7",
                "df44d7b407a4189efc4039e0fe2db5d58083ba2a4a4f6f047bae550a64359834",
            ]
        );
    }

    #[test]
    fn one_purpose_does_not_open_what_another_wrote() {
        let secrets = single().for_purpose("oauth-proxy-profile");
        assert_eq!(secrets.decrypt(STATE_SINGLE).unwrap_err(), AtRestError::Refused);
        assert_eq!(single().decrypt(STATE_SINGLE).unwrap_err(), AtRestError::Refused);
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", rotated());
        assert!(![SECRET, FORMER, LEGACY].iter().any(|secret| shown.contains(secret)), "{shown}");
    }
}
