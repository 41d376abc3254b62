use super::*;
use serde_json::Value;

/// A key of each algorithm, as upstream's runtime writes it, and a token that it signed.
const CAPTURED: &str = include_str!("captured.json");

struct Captured {
    algorithm: Algorithm,
    public: String,
    private: String,
    token: String,
}

fn captured() -> Vec<Captured> {
    let all: Vec<Value> = serde_json::from_str(CAPTURED).unwrap();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    all.iter()
        .map(|entry| Captured {
            algorithm: Algorithm::named(&text(entry, "alg")).unwrap(),
            public: text(entry, "public"),
            private: text(entry, "private"),
            token: text(entry, "token"),
        })
        .collect()
}

fn token(key: &SigningKey, header: &str, payload: &str) -> String {
    compact(header, payload.as_bytes(), |message| key.sign(message)).unwrap()
}

#[test]
fn keys_are_written_as_upstreams_runtime_writes_them() {
    for Captured { algorithm, public, private, .. } in captured() {
        let key = SigningKey::from_jwk(&private, algorithm).unwrap();
        assert_eq!(key.public_jwk(), public, "{algorithm:?}");
        assert_eq!(*key.private_jwk().unwrap(), private, "{algorithm:?}");
    }
}

#[test]
fn what_upstreams_runtime_signed_is_opened_and_what_is_signed_here_too() {
    for Captured { algorithm, public, private, token: signed } in captured() {
        let (signing, verifying) = (
            SigningKey::from_jwk(&private, algorithm).unwrap(),
            VerifyingKey::from_jwk(&public, algorithm).unwrap(),
        );
        let payload = verifying.open(&signed).unwrap();
        assert_eq!(payload, "{\"iat\":1700000000,\"name\":\"Ünï\",\"exp\":1700000900}".as_bytes());
        assert_eq!(Parts::of(&signed).unwrap().key_id(), Some("key-1"));

        let header = format!(r#"{{"alg":"{}","kid":"key-1"}}"#, algorithm.name());
        let ours = token(&signing, &header, std::str::from_utf8(&payload).unwrap());
        assert_eq!(verifying.open(&ours).unwrap(), payload, "{algorithm:?}");
        if matches!(algorithm, Algorithm::EdDsa | Algorithm::Rs256) {
            assert_eq!(ours, signed, "no chance is in it");
        }
    }
}

/// RFC 8037, appendix A.4.
#[test]
fn the_example_of_rfc_8037_is_signed() {
    let private = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let key = SigningKey::from_jwk(private, Algorithm::EdDsa).unwrap();
    assert_eq!(
        token(&key, r#"{"alg":"EdDSA"}"#, "Example of Ed25519 signing"),
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
}

/// RFC 7515, appendices A.3 and A.4.
#[test]
fn the_examples_of_rfc_7515_are_opened() {
    for (algorithm, public, signed) in [
        (
            Algorithm::Es256,
            r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            Algorithm::Es512,
            r#"{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}"#,
            "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
        ),
    ] {
        let key = VerifyingKey::from_jwk(public, algorithm).unwrap();
        assert!(key.open(signed).is_some(), "{algorithm:?}");
    }
}

#[test]
fn a_new_key_is_one_that_can_be_read_again() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Es512, Algorithm::Rs256] {
        let key = SigningKey::generate(algorithm, None).unwrap();
        let again = SigningKey::from_jwk(&key.private_jwk().unwrap(), algorithm).unwrap();
        assert_eq!(again.public_jwk(), key.public_jwk());
        let verifying = VerifyingKey::from_jwk(&key.public_jwk(), algorithm).unwrap();
        let signed = token(&again, &format!(r#"{{"alg":"{}"}}"#, algorithm.name()), "{}");
        assert_eq!(verifying.open(&signed).unwrap(), b"{}");
        let other = SigningKey::generate(algorithm, None).unwrap();
        assert_ne!(other.public_jwk(), key.public_jwk());
        assert!(VerifyingKey::from_jwk(&other.public_jwk(), algorithm).unwrap().open(&signed).is_none());
    }
    assert_eq!(
        SigningKey::generate(Algorithm::Rs256, Some(1024)).unwrap_err(),
        KeyError::NotMade(Algorithm::Rs256)
    );
}

#[test]
fn a_key_is_of_use_for_its_own_algorithm_alone() {
    let all = captured();
    for Captured { algorithm, public, private, token } in &all {
        let key = VerifyingKey::from_jwk(public, *algorithm).unwrap();
        for other in &all {
            assert_eq!(key.open(&other.token).is_some(), token == &other.token);
            let is_same_kind = algorithm.rsa().is_some() && other.algorithm.rsa().is_some();
            if other.algorithm != *algorithm && !is_same_kind {
                assert_eq!(
                    SigningKey::from_jwk(private, other.algorithm).unwrap_err(),
                    KeyError::Malformed(other.algorithm)
                );
                assert!(VerifyingKey::from_jwk(public, other.algorithm).is_err());
            }
        }
    }
}

#[test]
fn no_header_talks_a_key_into_anything() {
    let key = SigningKey::generate(Algorithm::EdDsa, None).unwrap();
    let verifying = VerifyingKey::from_jwk(&key.public_jwk(), Algorithm::EdDsa).unwrap();
    for (header, expected) in [
        (r#"{"alg":"EdDSA"}"#, true),
        (r#"{"typ":"JWT","alg":"EdDSA","kid":"x","jwk":{},"jku":"https://evil.example"}"#, true),
        (r#"{"alg":"none"}"#, false),
        (r#"{"alg":"HS256"}"#, false),
        (r#"{"alg":"eddsa"}"#, false),
        (r#"{"alg":"Ed25519"}"#, false),
        (r#"{"alg":["EdDSA"]}"#, false),
        (r#"{"alg":"EdDSA","crit":["exp"]}"#, false),
        (r#"{"alg":"EdDSA","crit":[]}"#, false),
        (r#"{"alg":"EdDSA","b64":false}"#, false),
        (r"{}", false),
        ("[]", false),
        ("", false),
    ] {
        assert_eq!(verifying.open(&token(&key, header, "{}")).is_some(), expected, "{header}");
    }
}

#[test]
fn no_change_of_a_character_is_overlooked() {
    for Captured { algorithm, public, token, .. } in captured() {
        let key = VerifyingKey::from_jwk(&public, algorithm).unwrap();
        for position in 0..token.len() {
            for replacement in ["A", "_", ".", "="] {
                let changed = [&token[..position], replacement, &token[position + 1..]].concat();
                assert!(changed == token || key.open(&changed).is_none(), "{algorithm:?}: {changed}");
            }
        }
        for changed in [format!("{token}="), format!("{token}."), format!(".{token}"), token.repeat(2)] {
            assert_eq!(key.open(&changed), None, "{changed}");
        }
        assert_eq!(key.open(&"a.".repeat(LONGEST_TOKEN)), None);
    }
}

#[test]
fn halves_that_do_not_belong_together_are_refused() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Es512, Algorithm::Rs256] {
        let [one, other] = [0; 2].map(|_| {
            let key = SigningKey::generate(algorithm, None).unwrap();
            serde_json::from_str::<Value>(&key.private_jwk().unwrap()).unwrap()
        });
        let mut mixed = one;
        mixed["d"] = other["d"].clone();
        let refused = SigningKey::from_jwk(&mixed.to_string(), algorithm).unwrap_err();
        assert_eq!(refused, KeyError::Rejected(algorithm));
    }
}

#[test]
fn what_is_no_key_is_refused_with_the_algorithm_that_was_wanted() {
    for text in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"kty":"oct","k":"AAAA"}"#,
        r#"{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#,
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="}"#,
        r#"{"kty":"OKP","crv":"Ed25519","x":7}"#,
    ] {
        let refused = VerifyingKey::from_jwk(text, Algorithm::EdDsa).err();
        assert_eq!(refused, Some(KeyError::Malformed(Algorithm::EdDsa)), "{text}");
        let refused = SigningKey::from_jwk(text, Algorithm::EdDsa).err();
        assert_eq!(refused, Some(KeyError::Malformed(Algorithm::EdDsa)), "{text}");
    }
}

#[test]
fn debug_shows_nothing_of_the_key() {
    let key = SigningKey::generate(Algorithm::EdDsa, None).unwrap();
    assert_eq!(format!("{key:?}"), "SigningKey { algorithm: EdDsa, .. }");
}
