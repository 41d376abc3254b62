//! JSON Web Keys: what is read as one is written so that it is read as the same, and it signs what it verifies.

use crate::{texts, tokens::CAPTURED};
use narthex::crypto::jwk::{Algorithm, SigningKey, VerifyingKey, compact};

const ALL: [Algorithm; 5] =
    [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Es512, Algorithm::Ps256, Algorithm::Rs256];

/// The first byte says for which algorithm, the others are the key.
pub(crate) fn key(input: &[u8]) {
    let Some((first, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Some(algorithm) = ALL.get(usize::from(*first) % ALL.len()) else { return };
    let header = format!(r#"{{"alg":"{}"}}"#, algorithm.name());
    if let Ok(key) = VerifyingKey::from_jwk(text, *algorithm) {
        // No key takes nothing for a signature, whatever its numbers are.
        assert!(!key.verify(b"message", b""));
        assert!(!key.verify(b"message", &[0; 64]) && !key.verify(b"message", &[0; 256]));
    }
    let Ok(key) = SigningKey::from_jwk(text, *algorithm) else { return };
    let written = key.private_jwk().map(|text| text.to_string());
    let again = written.as_deref().ok().and_then(|text| SigningKey::from_jwk(text, *algorithm).ok());
    assert_eq!(again.map(|key| key.public_jwk()), Some(key.public_jwk()), "a key that is read once only");
    let verifying = VerifyingKey::from_jwk(&key.public_jwk(), *algorithm);
    let token = compact(&header, b"{}", |message| key.sign(message));
    let opened = verifying.ok().zip(token.ok()).and_then(|(key, token)| key.open(&token));
    assert_eq!(opened.as_deref(), Some(&b"{}"[..]), "a key that does not verify what it signs");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let keys: Vec<_> = texts(CAPTURED).into_iter().filter(|text| text.starts_with('{')).collect();
    let each = (0_u8..5).flat_map(|number| keys.iter().map(move |key| (number, key)));
    each.map(|(number, key)| [&[number], key.as_bytes()].concat()).collect()
}
