//! Signed and sealed tokens, and signed cookies: nothing opens but what our keys have made.

use crate::texts;
use narthex::crypto::{
    jwe::Keyring,
    jwk::{Algorithm, Parts, SigningKey, VerifyingKey, compact},
    jws::Hs256,
    signed::Signer,
};
use serde_json::Value;
use std::sync::LazyLock;

/// A key of each algorithm and a token that it signed, as upstream's runtime wrote them.
pub(crate) const CAPTURED: &str = include_str!("../../crates/core/src/crypto/jwk/captured.json");

const SECRET: &str = "better-auth-secret-that-is-long-enough-for-validation";
const PAYLOAD: &[u8] = br#"{"iat":1700000000,"exp":1700000900}"#;

/// Every way in which the server knows a token of its own again, and one token for each.
struct Keys {
    verifying: Vec<VerifyingKey>,
    signing: Vec<(Algorithm, SigningKey)>,
    secret: Hs256,
    ring: Keyring,
    signer: Signer,
    known: Vec<String>,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let (mut verifying, mut signing, mut known) = (Vec::new(), Vec::new(), Vec::new());
    let captured: Vec<Value> = serde_json::from_str(CAPTURED).unwrap_or_default();
    for entry in &captured {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let Some(algorithm) = Algorithm::named(text("alg")) else { continue };
        verifying.extend(VerifyingKey::from_jwk(text("public"), algorithm));
        signing.extend(SigningKey::from_jwk(text("private"), algorithm).map(|key| (algorithm, key)));
        known.push(text("token").to_owned());
    }
    let (secret, signer) = (Hs256::new(SECRET), Signer::new(SECRET));
    let ring = Keyring::derive([SECRET, "an-older-secret-that-is-also-long-enough-0123456789"], "fuzzing");
    known.push(secret.sign(PAYLOAD));
    known.extend(ring.seal(PAYLOAD, [7; 16]));
    known.push(signer.sign("Zk3qW9XhT2mC8vB1nL6sD4fG7jK0pQ5r"));
    assert_eq!((verifying.len(), signing.len(), known.len()), (5, 5, 8));
    Keys { verifying, signing, secret, ring, signer, known }
});

impl Keys {
    /// What any key takes a token for.
    fn opened(&self, token: &str) -> Vec<Vec<u8>> {
        let verified = self.verifying.iter().filter_map(|key| key.open(token));
        verified.chain(self.secret.open(token)).chain(self.ring.open(token)).collect()
    }
}

/// Any text as a token.
pub(crate) fn token(input: &[u8]) {
    let Ok(token) = std::str::from_utf8(input) else { return };
    let keys = &*KEYS;
    if let Some(parts) = Parts::of(token) {
        assert_eq!(token.split('.').count(), 3, "a token has three parts");
        // Neither may panic on what is not believed yet.
        let _ = (parts.algorithm(), parts.key_id());
    }
    let is_known = keys.known.iter().any(|known| known == token);
    assert!(is_known || keys.opened(token).is_empty(), "a token that nobody signed");
    // Four spellings of its last character are the same signature.
    if let Some(value) = keys.signer.open(token) {
        assert!(keys.known.iter().any(|known| known.starts_with(value)), "a cookie that nobody signed");
    }
    if keys.signer.is_ours(token) {
        let value = token.split('.').next().unwrap_or_default();
        assert!(keys.known.iter().any(|known| known.starts_with(value)), "a session that nobody signed");
    }
}

/// A token, changed: the first byte says which, and each three that follow change a character.
pub(crate) fn edits(input: &[u8]) {
    let keys = &*KEYS;
    let Some((first, edits)) = input.split_first() else { return };
    let Some(known) = keys.known.get(usize::from(*first) % keys.known.len()) else { return };
    let mut bytes = known.clone().into_bytes();
    let (edits, _) = edits.as_chunks::<3>();
    for [high, low, change] in edits {
        let position = usize::from(u16::from_be_bytes([*high, *low])) % bytes.len().max(1);
        match change {
            // Another character, or one too many, or one too few.
            0..0x80 => bytes.iter_mut().skip(position).take(1).for_each(|byte| *byte = *change),
            0x80..0xfe => bytes.insert(position, change & 0x7f),
            _ => drop((position < bytes.len()).then(|| bytes.remove(position))),
        }
    }
    token(&bytes);
}

/// Any header and any payload, signed and sealed by us: what opens is what went in.
pub(crate) fn payload(input: &[u8]) {
    let keys = &*KEYS;
    let Some((first, rest)) = input.split_first() else { return };
    let cut = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (header, payload) = rest.split_at(cut);
    let header = String::from_utf8_lossy(header);
    if let Some((algorithm, key)) = keys.signing.get(usize::from(*first) % keys.signing.len())
        && let Ok(token) = compact(&header, payload, |message| key.sign(message))
    {
        let expected = serde_json::from_str::<Value>(&header).is_ok_and(|header| {
            header.is_object()
                && header.get("alg").and_then(Value::as_str) == Some(algorithm.name())
                && header.get("crit").is_none()
                && header.get("b64").is_none()
        });
        let opened = keys.opened(&token);
        assert_eq!(opened, if expected { vec![payload.to_vec()] } else { Vec::new() }, "{header}");
    }
    assert_eq!(keys.secret.open(&keys.secret.sign(payload)).as_deref(), Some(payload));
    let sealed = keys.ring.seal(payload, [*first; 16]);
    assert_eq!(sealed.and_then(|sealed| keys.ring.open(&sealed)).as_deref(), Some(payload));
    let value = String::from_utf8_lossy(payload);
    let signed = keys.signer.sign(&value);
    assert_eq!(keys.signer.open(&signed), (!value.is_empty()).then_some(&*value));
}

pub(crate) fn token_seeds() -> Vec<Vec<u8>> {
    let known = KEYS.known.iter().cloned();
    known.chain(texts(CAPTURED)).map(String::into_bytes).collect()
}

pub(crate) fn edit_seeds() -> Vec<Vec<u8>> {
    let all = (0_u8..8).flat_map(|token| {
        [vec![token], vec![token, 0, 4, b'A'], vec![token, 0, 40, 0xff], vec![token, 0, 90, 0x80 | b'.']]
    });
    all.collect()
}

pub(crate) fn payload_seeds() -> Vec<Vec<u8>> {
    let headers = [
        r#""typ":"JWT","kid":"key-1""#,
        r#""jwk":{},"jku":"https://evil.example""#,
        r#""crit":["exp"]"#,
        r#""b64":false"#,
        r#""alg":"none""#,
    ];
    let mut seeds = Vec::new();
    for (number, (algorithm, _)) in (0_u8..).zip(&KEYS.signing) {
        for header in headers {
            let header = format!(r#"{{"alg":"{}",{header}}}"#, algorithm.name());
            seeds.push([&[number], header.as_bytes(), b"\n", PAYLOAD].concat());
        }
    }
    seeds
}
