//! Signed tokens, compact, HS256: `header.payload.signature`.
//!
//! Says only whether we have signed a payload; when it ends is among its claims, see [`claims`](super::claims).
//! No other algorithm is known, so none can be asked for by a header. Base64 is read strictly: each token has one
//! spelling.
//!
//! Upstream: `signJWT` and `verifyJWT` of `crypto/jwt.ts`, which use jose.

use std::{convert::Infallible, fmt};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde_json::{Map, Value};
use sha2::Sha256;

use super::{constant_time_eq, hmac_sha256, jwk::compact};

/// No token is longer than what a hundred cookies can hold.
pub(crate) const LONGEST_TOKEN: usize = 405_000;

/// `{"alg":"HS256"}`
const HEADER: &str = "eyJhbGciOiJIUzI1NiJ9";

/// Signs payloads and opens signed ones.
#[derive(Clone)]
pub struct Hs256 {
    prepared: Hmac<Sha256>,
}

impl Hs256 {
    /// With the UTF-8 bytes of `secret` as the key.
    pub fn new(secret: &str) -> Self {
        Self { prepared: hmac_sha256(secret.as_bytes()) }
    }

    /// The token that carries `payload`.
    pub fn sign(&self, payload: &[u8]) -> String {
        let mut token = String::with_capacity(HEADER.len() + payload.len().div_ceil(3) * 4 + 45);
        token.push_str(HEADER);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature = self.signature(&token);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    /// The same with further members in its header, such as a type; `header` must say `HS256`.
    pub fn sign_under(&self, header: &str, payload: &[u8]) -> String {
        let sign = |signed: &[u8]| Ok::<_, Infallible>(self.signature(signed).to_vec());
        let Ok(token) = compact(header, payload, sign);
        token
    }

    /// What `token` carries, if we have signed it.
    pub fn open(&self, token: &str) -> Option<Vec<u8>> {
        if token.len() > LONGEST_TOKEN {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        if payload.contains('.') || !(header == HEADER || is_hs256(header)) {
            return None;
        }
        let mut given = [0; 32];
        let length = URL_SAFE_NO_PAD.decode_slice(signature, &mut given).ok()?;
        if length != given.len() || !constant_time_eq(&given, &self.signature(signed)) {
            return None;
        }
        URL_SAFE_NO_PAD.decode(payload).ok()
    }

    fn signature(&self, signed: impl AsRef<[u8]>) -> [u8; 32] {
        self.prepared.clone().chain_update(signed).finalize().into_bytes().into()
    }
}

/// An extension that must be understood is not.
fn is_hs256(header: &str) -> bool {
    protected_header(header)
        .is_some_and(|header| header.get("alg") == Some(&"HS256".into()) && !header.contains_key("crit"))
}

/// The members of an encoded header.
pub(super) fn protected_header(encoded: &str) -> Option<Map<String, Value>> {
    let text = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    serde_json::from_slice(&text).ok()
}

impl fmt::Debug for Hs256 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hs256").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "better-auth-secret-that-is-long-enough-for-validation";

    /// What upstream's `signJWT` makes with `SECRET` at 1700000000 for 300 seconds.
    const CAPTURED: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzZXNzaW9uIjp7ImEiOiLDvG7Dr-Kck1xu4oCoIn0sInVzZXIiOnt9LCJ1cGRhdGVkQXQiOjE3MDAwMDAwMDAxMjMsInZlcnNpb24iOiIxIiwiaWF0IjoxNzAwMDAwMDAwLCJleHAiOjE3MDAwMDAzMDB9.KQHImtib0KoDnrj3txHjSUD3FXUXsTcHL1TQxfpW1f4";
    const PAYLOAD: &str = "{\"session\":{\"a\":\"ünï✓\\n\u{2028}\"},\"user\":{},\"updatedAt\":1700000000123,\"version\":\"1\",\"iat\":1700000000,\"exp\":1700000300}";

    fn token(header: &str, payload: &str, secret: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = Hs256::new(secret).signature(&signed);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn signs_and_opens_what_upstream_signed() {
        let key = Hs256::new(SECRET);
        assert_eq!(key.sign(PAYLOAD.as_bytes()), CAPTURED);
        assert_eq!(key.open(CAPTURED).as_deref(), Some(PAYLOAD.as_bytes()));
        assert_eq!(Hs256::new("another").open(CAPTURED), None);
    }

    /// RFC 7515, appendix A.1: another spelling of the header.
    #[test]
    fn opens_the_example_of_rfc_7515() {
        let key = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let key = Hs256 { prepared: hmac_sha256(&key) };
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let payload = key.open(token).unwrap();
        assert_eq!(
            payload,
            b"{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"
        );
    }

    /// RFC 7520, section 4.4: a payload that is no JSON, and a key id.
    #[test]
    fn opens_the_example_of_rfc_7520() {
        let key = URL_SAFE_NO_PAD.decode("hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg").unwrap();
        let key = Hs256 { prepared: hmac_sha256(&key) };
        let token = "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9.SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4.s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0";
        let payload = key.open(token).unwrap();
        assert!(payload.starts_with("It\u{2019}s a dangerous business, Frodo".as_bytes()));
    }

    #[test]
    fn no_header_talks_us_into_anything() {
        let key = Hs256::new(SECRET);
        for (header, expected) in [
            (r#"{"alg":"HS256"}"#, true),
            (r#"{ "alg" : "HS256" }"#, true),
            (r#"{"alg":"HS256","typ":"JWT","kid":"x","jku":"https://evil.example"}"#, true),
            (r#"{"alg":"none"}"#, false),
            (r#"{"alg":"None"}"#, false),
            (r#"{"alg":"hs256"}"#, false),
            (r#"{"alg":"HS512"}"#, false),
            (r#"{"alg":"RS256"}"#, false),
            (r#"{"alg":["HS256"]}"#, false),
            (r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#, false),
            (r#"{"alg":"HS256","crit":[]}"#, false),
            (r#"{"alg":"HS256","crit":null}"#, false),
            (r"{}", false),
            (r"[]", false),
            (r#""HS256""#, false),
            ("", false),
        ] {
            assert_eq!(key.open(&token(header, "{}", SECRET)).is_some(), expected, "{header}");
        }
    }

    #[test]
    fn no_change_of_a_character_is_overlooked() {
        let key = Hs256::new(SECRET);
        for position in 0..CAPTURED.len() {
            for replacement in ["A", "B", "z", "_", ".", "=", "+", " ", "\n", "é", ""] {
                let changed = [&CAPTURED[..position], replacement, &CAPTURED[position + 1..]].concat();
                if changed != CAPTURED {
                    assert_eq!(key.open(&changed), None, "{changed}");
                }
            }
        }
        for changed in
            [format!("{CAPTURED}="), format!("{CAPTURED}."), format!(".{CAPTURED}"), CAPTURED.repeat(2)]
        {
            assert_eq!(key.open(&changed), None, "{changed}");
        }
        assert_eq!(key.open(&"a.".repeat(LONGEST_TOKEN)), None);
    }
}
