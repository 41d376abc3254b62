//! Password hashes: three schemes to make them, and every common format to check them.
//!
//! A new hash is upstream's scrypt, bcrypt or Argon2id. A stored hash may also come from another system: bcrypt of
//! any maker, passlib's `bcrypt-sha256`, `scrypt` and `pbkdf2`, Django's `pbkdf2_sha256`, and Argon2 as a PHC
//! string. Guarantees: a stored hash cannot ask for more than some seconds or 1 GiB; no two passwords share a
//! bcrypt made here; comparison takes constant time; no error shows the hash or the password.
//! Mirrors `@better-auth/utils/password`.

use std::ops::RangeInclusive;

use argon2::{Algorithm, Version};
use base64::Engine as _;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::stored_hash::{
    ARGON2ID, Argon2Cost, BASE64, BASE64_BCRYPT, Stored, Wrapping, bcrypt_digest, hex, upstream_key,
};

/// The bcrypt costs that are made and checked: 16 takes some four seconds, and each step doubles that.
pub const BCRYPT_COSTS: RangeInclusive<u32> = 4..=16;

/// bcrypt reads 72 bytes, of which the last must be left for the terminating zero: without it a password of 72
/// bytes and all that begin with it are the same.
const BCRYPT_LONGEST: usize = 71;

/// Why a password could not be hashed or a stored hash not be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// The stored hash is in no format that is known here.
    #[error("the stored password hash has an unknown format")]
    UnknownFormat,
    /// The stored hash begins like a known format and does not continue so.
    #[error("the stored password hash is malformed")]
    Malformed,
    /// The cost that the stored hash or the configuration asks for is outside the bounds.
    #[error("the cost of the password hash is out of bounds")]
    Cost,
}

/// How new passwords are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// bcrypt as `$2b$`, or as `$bcrypt-sha256$` when the password is too long for it or holds a zero byte.
    Bcrypt {
        /// The logarithm of the number of rounds, within [`BCRYPT_COSTS`].
        cost: u32,
    },
    /// What Better Auth makes.
    Scrypt,
    /// Argon2id as a PHC string.
    Argon2id,
}

impl Scheme {
    /// Hashes `password`; `salt` is 16 bytes of fresh entropy.
    pub fn hash(self, password: &str, salt: [u8; 16]) -> Result<String, PasswordError> {
        let password = normalise(password);
        let password = password.as_bytes();
        match self {
            Self::Bcrypt { cost } => {
                let wrapping = if password.len() > BCRYPT_LONGEST || password.contains(&0) {
                    Wrapping::HmacSha256
                } else {
                    Wrapping::None
                };
                let salt_text = BASE64_BCRYPT.encode(salt);
                let digest = bcrypt_digest(wrapping, cost, salt, &salt_text, password)?;
                let digest = BASE64_BCRYPT.encode(digest);
                Ok(match wrapping {
                    Wrapping::None => format!("$2b${cost:02}${salt_text}{digest}"),
                    _ => format!("$bcrypt-sha256$v=2,t=2b,r={cost}${salt_text}${digest}"),
                })
            }
            Self::Scrypt => {
                let salt = hex(&salt);
                let key = upstream_key(password, &salt)?;
                Ok(format!("{}:{}", *salt, *key))
            }
            Self::Argon2id => {
                let mut digest = Zeroizing::new([0; 32]);
                ARGON2ID.derive(Algorithm::Argon2id, Version::V0x13, password, &salt, &mut *digest)?;
                let Argon2Cost { memory, passes, lanes } = ARGON2ID;
                let (salt, digest) = (BASE64.encode(salt), BASE64.encode(*digest));
                Ok(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${digest}"))
            }
        }
    }

    /// Whether `stored` was made by another scheme, or at a lower cost than `self` would use now.
    pub fn is_outdated(self, stored: &str) -> bool {
        match (self, Stored::parse(stored)) {
            (Self::Bcrypt { cost }, Ok(Stored::Bcrypt(stored))) => stored.cost < cost,
            (Self::Argon2id, Ok(Stored::Argon2 { algorithm, version, cost, .. })) => {
                algorithm != Algorithm::Argon2id || version != Version::V0x13 || cost.work() < ARGON2ID.work()
            }
            // A PHC string of scrypt is another format: upstream cannot read it.
            (Self::Scrypt, Ok(Stored::Upstream { .. })) => false,
            _ => true,
        }
    }

    /// A stored hash that no password matches: checking it takes as long as a wrong password does.
    ///
    /// For the sign-in of a user who does not exist, or has no password. Hashing the password instead would not
    /// do, since [`verify`] works twice when the normal form of a password is another text.
    pub fn decoy(self) -> String {
        match self {
            Self::Bcrypt { cost } => format!("$2b${cost:02}${:.<53}", ""),
            Self::Scrypt => format!("{:0<32}:{:0<128}", "", ""),
            Self::Argon2id => {
                let Argon2Cost { memory, passes, lanes } = ARGON2ID;
                format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${:A<22}${:A<43}", "", "")
            }
        }
    }
}

/// Checks `password` against a stored hash of any known format.
///
/// Passwords are compared in normal form (NFKC). A hash that another system made of the text as it was typed is
/// found too, at twice the work, and only for a password whose normal form is another text.
pub fn verify(stored: &str, password: &str) -> Result<bool, PasswordError> {
    let stored = Stored::parse(stored)?;
    let normal = normalise(password);
    if stored.matches(normal.as_bytes())? {
        return Ok(true);
    }
    if *normal == password || matches!(stored, Stored::Upstream { .. }) {
        return Ok(false);
    }
    stored.matches(password.as_bytes())
}

/// The formats of stored hashes that [`verify`] knows, as somebody is told who has another.
pub const KNOWN_FORMATS: &str = "bcrypt ($2a$, $2b$, $2y$), Better Auth's scrypt (salt:key), Argon2 ($argon2id$, $argon2i$, $argon2d$), $scrypt$, $pbkdf2-sha256$, $pbkdf2-sha512$, $bcrypt-sha256$ and Django's pbkdf2_sha256$";

/// Whether [`verify`] can compare a password with this hash, or why not.
pub fn check_stored(stored: &str) -> Result<(), PasswordError> {
    Stored::parse(stored).map(drop)
}

/// Whether upstream made this hash: no other system can read it, and it can read no other.
pub(crate) fn is_upstream_hash(stored: &str) -> bool {
    matches!(Stored::parse(stored), Ok(Stored::Upstream { .. }))
}

fn normalise(password: &str) -> Zeroizing<String> {
    Zeroizing::new(if password.is_ascii() { password.to_owned() } else { password.nfkc().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHRASE: &str = "correct horse battery staple";
    const SALT: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    /// The one-character ligature and the Roman numeral become `fi` and `VIII` in normal form.
    const ABNORMAL: &str = "p\u{e4}ssw\u{f6}rd \u{fb01} \u{2167}";

    fn bcrypt(cost: u32) -> Scheme {
        Scheme::Bcrypt { cost }
    }

    /// Made by upstream's `hashPassword`.
    #[test]
    fn a_hash_of_upstream_verifies() {
        let plain = "eb167fac46db18813cb10631e03df4ea:2f4d05ff8e31e4ed3826396a87c871702b6ae4064d7f9406aee74f2ec79436ff\
                     dc2880534e66c5869185d5e141b2fa2d44ccc485615c6709b3f2cb418158cb0c";
        assert_eq!(verify(plain, PHRASE), Ok(true));
        assert_eq!(verify(plain, "correct horse battery stapl"), Ok(false));
        let abnormal = "0eef5634c99dbe30c420b10b8a35bfbd:8bdaeff42519533d87c2c68e32a8c4928d436a4bcdb152653c883f78c0d3ecb9\
                        2c4d8f60c23e0dfaf0107056cdc8e2d1ef8d0d7662b5a6c547460257d8cdba89";
        assert_eq!(verify(abnormal, ABNORMAL), Ok(true));
        assert_eq!(verify(abnormal, "pa\u{308}sswo\u{308}rd fi VIII"), Ok(true));
    }

    /// The expected text is what Node's `scrypt` gives for the same salt, and upstream's `verifyPassword` accepts
    /// both. Decoding the salt gives another key.
    #[test]
    fn a_scrypt_hash_made_here_is_the_one_upstream_would_make() {
        assert_eq!(
            Scheme::Scrypt.hash(PHRASE, SALT).unwrap(),
            "000102030405060708090a0b0c0d0e0f:7034425e783148ac6ce2c4521177f6fc8ba611950b64145053bf3c4fbf26457\
             865bbf1ea8164754187636d431114bca7374e96cf91409d23fbc0b086580d2442"
        );
        assert_eq!(
            Scheme::Scrypt.hash(ABNORMAL, SALT).unwrap(),
            "000102030405060708090a0b0c0d0e0f:06de0c0aa1e02c66a17a0c1d667b042b5986dd01e37390e0dec17c2400f6bf6\
             baec8318f65db91f11e1b0a31759527c8b35fca35770f64ab3362d7e5985e1ab4"
        );
    }

    /// Made by Python's bcrypt 4.0.1, the long one by cutting it off.
    #[test]
    fn bcrypt_of_every_maker_verifies() {
        for version in ["2a", "2b", "2y"] {
            let stored = format!("${version}$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG");
            assert_eq!(verify(&stored, PHRASE), Ok(true), "{version}");
            assert_eq!(verify(&stored, "correct horse"), Ok(false), "{version}");
        }
        let longest = "$2b$04$abcdefghijklmnopqrstuu.gc7UY/21CSNJGJg21jJzx9QiOpJ9bO";
        assert_eq!(verify(longest, &"x".repeat(71)), Ok(true));
        assert_eq!(verify(longest, &"x".repeat(72)), Ok(false));
        let cut_off = "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i";
        assert_eq!(verify(cut_off, &"x".repeat(80)), Ok(true));
        assert_eq!(verify(cut_off, &"x".repeat(71)), Ok(false));
    }

    /// The expected texts are those of Python's bcrypt 4.0.1 and passlib 1.7.4 for the same salt.
    #[test]
    fn bcrypt_is_made_plain_or_wrapped_but_never_cut_off() {
        let made = |password: &str| bcrypt(10).hash(password, SALT).unwrap();
        assert_eq!(made(PHRASE), "$2b$10$..CA.uOD/eaGAOmJB.yMBubRoslBHnMTNf7r5vXwx5UX9sWYt/FHi");
        assert!(made(&"x".repeat(71)).starts_with("$2b$10$"));
        assert_eq!(
            made(&"x".repeat(72)),
            "$bcrypt-sha256$v=2,t=2b,r=10$..CA.uOD/eaGAOmJB.yMBu$L5xjTT6LDoNCeQVf4Q3TBAvI7av3Sd2"
        );
        assert_eq!(
            made(&"x".repeat(80)),
            "$bcrypt-sha256$v=2,t=2b,r=10$..CA.uOD/eaGAOmJB.yMBu$tpH9lBfSbOidx8vZeBKAqiiA1xj2pr6"
        );
        assert_eq!(
            made("a\0b"),
            "$bcrypt-sha256$v=2,t=2b,r=10$..CA.uOD/eaGAOmJB.yMBu$udKFzSlx9un3.rdl6WjEwJgZFNCjdPa"
        );
    }

    #[test]
    fn passwords_that_bcrypt_takes_for_one_are_told_apart() {
        let short = bcrypt(4).hash("a", SALT).unwrap();
        assert_eq!(verify(&short, "a"), Ok(true));
        assert_eq!(verify(&short, "a\0"), Ok(false));
        assert_eq!(verify(&short, "a\0a"), Ok(false));
        for length in [71, 72, 73, 100] {
            let password = "x".repeat(length);
            let stored = bcrypt(4).hash(&password, SALT).unwrap();
            assert_eq!(verify(&stored, &password), Ok(true), "{length}");
            assert_eq!(verify(&stored, &format!("{password}x")), Ok(false), "{length}");
            assert_eq!(verify(&stored, &format!("{password}\0")), Ok(false), "{length}");
        }
    }

    /// Made by passlib 1.7.4, the second version also by hand from Python's `hmac` and bcrypt.
    #[test]
    fn both_versions_of_bcrypt_sha256_verify() {
        let long = "x".repeat(80);
        let long_umlauts = "p\u{e4}ssw\u{f6}rd ".repeat(10);
        for (password, stored) in [
            (PHRASE, "v=2,t=2b,r=4$abcdefghijklmnopqrstuu$h8GCYhBqatMGV8VIjRD4nhRxM87r3yu"),
            (PHRASE, "2b,4$abcdefghijklmnopqrstuu$QFUZDSoSe.wmA0ORk2X1IjnANOtYIqu"),
            (&long, "v=2,t=2b,r=4$abcdefghijklmnopqrstuu$69IQxYBwULUTPeJATVIEN4pbcQ5V17S"),
            (&long, "2b,4$abcdefghijklmnopqrstuu$2gme4qJAJZA/yPKsowK7Fi97byco2Oi"),
            ("a\0b", "v=2,t=2b,r=4$abcdefghijklmnopqrstuu$1esrCly2Qqr0McAuXNgjR3brYc9GUzS"),
            ("a\0b", "2b,4$abcdefghijklmnopqrstuu$2X0FcrbQfE7fdn2w/LQX6oynRxOq9qy"),
            (&long_umlauts, "v=2,t=2b,r=4$abcdefghijklmnopqrstuu$ZsCKMeHSsqfKxj.fefDtDWSSGHSinHi"),
            (&long_umlauts, "2b,4$abcdefghijklmnopqrstuu$N3yQxb1RbGDyuAKuGUBmlPqld65ktrO"),
        ] {
            let stored = format!("$bcrypt-sha256${stored}");
            assert_eq!(verify(&stored, password), Ok(true), "{stored}");
            assert_eq!(verify(&stored, &format!("{password}x")), Ok(false), "{stored}");
        }
    }

    /// The expected text is argon2-cffi's for the same salt.
    #[test]
    fn argon2id_is_made_as_a_phc_string() {
        assert_eq!(
            Scheme::Argon2id.hash(PHRASE, SALT).unwrap(),
            "$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$gYJZtjEAJqjg26xdLmknq8/bB7MiWPrE9hsYuA+SkIU"
        );
    }

    /// Made by argon2-cffi, passlib 1.7.4 and its Django hasher; the last but one is passlib's in PHC spelling.
    #[test]
    fn the_formats_of_other_systems_verify() {
        for stored in [
            "$argon2id$v=19$m=1024,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$1G06hvLNVYYOip8xNneh7BSEw9mz3/2HyKr1gHMPrPg",
            "$argon2id$v=16$m=1024,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$cRnYu3TMoY6lrLHKxgaA2IwE/oUhA6uhBWewk3VWJtU",
            "$argon2id$m=1024,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$cRnYu3TMoY6lrLHKxgaA2IwE/oUhA6uhBWewk3VWJtU",
            "$argon2i$v=19$m=1024,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$npc+DxKV2aFAYE2CysNW/FRsvGLFX9ABqsyRqwU9Z90",
            "$argon2d$v=19$m=1024,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$ffyeBWZJygnQrD1JhgCFPhohv0eRNyS87sj8RyPtPkk",
            "$scrypt$ln=10,r=8,p=2$MDEyMzQ1Njc4OWFiY2RlZg$KhW5KLACpfR1HRqSPdg8ODHC9nzhpv0EHEqfwm5GJX4",
            "$pbkdf2-sha256$1000$MDEyMzQ1Njc4OWFiY2RlZg$yqSq2SygY1sB4EcH9f2FG0JTMES.wqLsOT5YmiRBplI",
            "$pbkdf2-sha512$1000$MDEyMzQ1Njc4OfvvvmVm$/RR1FansnMsh.l8YmtFViPLvASRQmvVzLXjpqSt3exdmk5giSajMbJGx8XVBVRwKM\
             LHQh3bNXNrv52CmlyxonQ",
            "$pbkdf2-sha256$i=1000,l=32$MDEyMzQ1Njc4OWFiY2RlZg$yqSq2SygY1sB4EcH9f2FG0JTMES+wqLsOT5YmiRBplI",
            "pbkdf2_sha256$1000$seasalt$3xmXbyk2QpiyNcnoBbzRPwEBsYPTbDlRdtmLyBvQltA=",
        ] {
            assert_eq!(verify(stored, PHRASE), Ok(true), "{stored}");
            assert_eq!(verify(stored, "Correct horse battery staple"), Ok(false), "{stored}");
        }
    }

    /// Made by Python's bcrypt of a decomposed `ä`, and of the composed one.
    #[test]
    fn a_foreign_hash_of_the_text_as_typed_verifies_and_so_does_one_of_its_normal_form() {
        let as_typed = "$2b$04$abcdefghijklmnopqrstuuTNWzNSKikSjaCS4YOaxzq43uxdLGfqy";
        let normal = "$2b$04$abcdefghijklmnopqrstuuF7KK/SfP9IRGj0pPJMr8GdtCS8xpmpC";
        assert_eq!(verify(as_typed, "pa\u{308}ss"), Ok(true));
        assert_eq!(verify(as_typed, "p\u{e4}ss"), Ok(false));
        assert_eq!(verify(normal, "pa\u{308}ss"), Ok(true));
        assert_eq!(verify(normal, "p\u{e4}ss"), Ok(true));
    }

    /// A key of the decomposed text, which upstream's `verifyPassword` refuses as well.
    #[test]
    fn upstreams_format_knows_only_the_normal_form() {
        let as_typed = "000102030405060708090a0b0c0d0e0f:da4cf1801a12412e2dc1dfd97927f484f0a43\
                        6fffcb7f478477442d4d5e995f566fc9f98fe5885d309eaa3612c26761c4ba2de80bde9dd3f3ac75384fc5658e3";
        assert_eq!(verify(as_typed, "pa\u{308}ss"), Ok(false));
    }

    #[test]
    fn every_scheme_verifies_its_own_in_any_normal_form() {
        for scheme in [bcrypt(4), Scheme::Scrypt, Scheme::Argon2id] {
            let stored = scheme.hash(ABNORMAL, SALT).unwrap();
            assert_eq!(verify(&stored, ABNORMAL), Ok(true), "{scheme:?}");
            assert_eq!(verify(&stored, "pa\u{308}sswo\u{308}rd fi VIII"), Ok(true), "{scheme:?}");
            assert_eq!(verify(&stored, "p\u{e4}ssw\u{f6}rd fi VII"), Ok(false), "{scheme:?}");
            assert!(!scheme.is_outdated(&stored), "{scheme:?}");
        }
    }

    #[test]
    fn the_salt_changes_the_hash() {
        for scheme in [bcrypt(4), Scheme::Scrypt, Scheme::Argon2id] {
            assert_ne!(scheme.hash(PHRASE, SALT), scheme.hash(PHRASE, [7; 16]), "{scheme:?}");
        }
    }

    #[test]
    fn no_password_opens_a_decoy_and_it_is_no_reason_to_hash_again() {
        for scheme in [bcrypt(4), Scheme::Scrypt, Scheme::Argon2id] {
            assert_eq!(verify(&scheme.decoy(), PHRASE), Ok(false), "{scheme:?}");
            assert_eq!(verify(&scheme.decoy(), ""), Ok(false), "{scheme:?}");
            assert!(!scheme.is_outdated(&scheme.decoy()), "{scheme:?}");
        }
    }

    #[test]
    fn only_another_scheme_or_a_lower_cost_is_outdated() {
        let plain = "$2b$10$..CA.uOD/eaGAOmJB.yMBubRoslBHnMTNf7r5vXwx5UX9sWYt/FHi";
        let wrapped = "$bcrypt-sha256$v=2,t=2b,r=10$..CA.uOD/eaGAOmJB.yMBu$L5xjTT6LDoNCeQVf4Q3TBAvI7av3Sd2";
        let argon2 = |start: &str| format!("{start}$AAECAwQFBgcICQoLDA0ODw${:A<43}", "");
        let standard = argon2("$argon2id$v=19$m=19456,t=2,p=1");
        for stored in [plain, wrapped, &plain.replace("2b", "2a"), &plain.replace("2b", "2y")] {
            assert!(bcrypt(11).is_outdated(stored), "{stored}");
            assert!(!bcrypt(10).is_outdated(stored), "{stored}");
            assert!(!bcrypt(9).is_outdated(stored), "{stored}");
            assert!(Scheme::Scrypt.is_outdated(stored) && Scheme::Argon2id.is_outdated(stored), "{stored}");
        }
        let (salt, key) = ("0".repeat(32), "0".repeat(128));
        assert!(!Scheme::Scrypt.is_outdated(&format!("{salt}:{key}")));
        assert!(bcrypt(4).is_outdated(&format!("{salt}:{key}")));
        assert!(Scheme::Scrypt.is_outdated(&format!("$scrypt$ln=14,r=16,p=1$AAECAwQFBgc${:A<43}", "")));
        assert!(!Scheme::Argon2id.is_outdated(&standard));
        assert!(!Scheme::Argon2id.is_outdated(&argon2("$argon2id$v=19$m=65536,t=3,p=4")));
        assert!(bcrypt(4).is_outdated(&standard));
        for lower in [
            "id$v=19$m=19455,t=2,p=1",
            "id$v=19$m=19456,t=1,p=1",
            "id$m=19456,t=2,p=1",
            "i$v=19$m=19456,t=2,p=1",
        ] {
            assert!(Scheme::Argon2id.is_outdated(&argon2(&format!("$argon2{lower}"))), "{lower}");
        }
    }

    #[test]
    fn an_unknown_format_is_an_error_and_not_a_wrong_password() {
        for stored in [
            "",
            "x",
            ":",
            "$",
            "$$",
            "plain text",
            "$2x$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
            "$1$salt$hash",
            "$6$salt$hash",
            "md5:0123",
            "{SHA}abc",
            "$argon2$v=19$",
            ":0123",
            "0123:",
            "scrypt:32768:8:1$salt$00",
        ] {
            assert_eq!(verify(stored, PHRASE), Err(PasswordError::UnknownFormat), "{stored:?}");
        }
        let key = "0".repeat(128);
        for stored in [
            format!(":{key}"),
            format!("salt:{}", &key[1..]),
            format!("salt:{key}0"),
            format!("salt:{}A", &key[1..]),
        ] {
            assert_eq!(verify(&stored, PHRASE), Err(PasswordError::UnknownFormat), "{stored:?}");
        }
    }

    #[test]
    fn a_damaged_hash_is_an_error_and_never_matches() {
        for stored in [
            "$2b$",
            "$2b$04",
            "$2b$04$",
            "$2b$04$abcdefghijklmnopqrstuu",
            "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6C",
            "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CGG",
            "$2b$04$abcdefghijklmnopqrstu\u{e9}7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
            "$2b$+4$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
            "$bcrypt-sha256$v=3,t=2b,r=4$abcdefghijklmnopqrstuu$h8GCYhBqatMGV8VIjRD4nhRxM87r3yu",
            "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu",
            "$argon2id$v=19$m=1024,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$",
            "$argon2id$v=19$m=1024,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$AAAA",
            "$argon2id$v=18$m=1024,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$1G06hvLNVYYOip8xNneh7BSEw9mz3/2HyKr1gHMPrPg",
            "$argon2id$v=19$m=1024,t=2,p=2$$1G06hvLNVYYOip8xNneh7BSEw9mz3/2HyKr1gHMPrPg",
            "$argon2id$v=19$m=1024,t=2$MDEyMzQ1Njc4OWFiY2RlZg$1G06hvLNVYYOip8xNneh7BSEw9mz3/2HyKr1gHMPrPg",
            "$argon2id$v=19$m=1024,t=2,p=2,data=AA$MDEyMzQ1Njc4OWFiY2RlZg$1G06hvLNVYYOip8xNneh7BSEw9mz3/2HyKr1gHMPrPg",
            "$argon2id$v=19$m=8,t=1,p=2$MDEyMzQ1Njc4OWFiY2RlZg$1G06hvLNVYYOip8xNneh7BSEw9mz3/2HyKr1gHMPrPg",
            "$scrypt$ln=10,r=8$MDEyMzQ1Njc4OWFiY2RlZg$KhW5KLACpfR1HRqSPdg8ODHC9nzhpv0EHEqfwm5GJX4",
            "$pbkdf2-sha256$1000$MDEyMzQ1Njc4OWFiY2RlZg$",
            "$pbkdf2-sha256$ten$MDEyMzQ1Njc4OWFiY2RlZg$yqSq2SygY1sB4EcH9f2FG0JTMES.wqLsOT5YmiRBplI",
            "$pbkdf2-sha256$i=1000,l=31$MDEyMzQ1Njc4OWFiY2RlZg$yqSq2SygY1sB4EcH9f2FG0JTMES+wqLsOT5YmiRBplI",
            "$pbkdf2-sha256$i=1000,l=\u{7}$MDEyMzQ1Njc4OWFiY2RlZg$yqSq2SygY1sB4EcH9f2FG0JTMES+wqLsOT5YmiRBplI",
            "$pbkdf2-sha256$i=1000,l=$MDEyMzQ1Njc4OWFiY2RlZg$yqSq2SygY1sB4EcH9f2FG0JTMES+wqLsOT5YmiRBplI",
            "pbkdf2_sha256$1000$$3xmXbyk2QpiyNcnoBbzRPwEBsYPTbDlRdtmLyBvQltA=",
            "pbkdf2_sha256$1000$seasalt$",
        ] {
            assert_eq!(verify(stored, PHRASE), Err(PasswordError::Malformed), "{stored:?}");
        }
    }

    #[test]
    fn a_hash_that_would_take_too_long_is_refused_before_any_work() {
        let tail = "MDEyMzQ1Njc4OWFiY2RlZg$1G06hvLNVYYOip8xNneh7BSEw9mz3/2HyKr1gHMPrPg";
        for head in [
            "$argon2id$v=19$m=1048577,t=1,p=1",
            "$argon2id$v=19$m=1048576,t=5,p=1",
            "$argon2id$v=19$m=64,t=101,p=1",
            "$argon2id$v=19$m=1024,t=1,p=65",
            "$argon2id$v=19$m=99999999999,t=1,p=1",
            "$argon2id$v=19$m=1024,t=0,p=1",
            "$scrypt$ln=20,r=9,p=1",
            "$scrypt$ln=20,r=8,p=3",
            "$scrypt$ln=63,r=8,p=1",
            "$scrypt$ln=300,r=8,p=1",
            "$scrypt$ln=1,r=1,p=4294967295",
            "$scrypt$ln=1,r=4294967295,p=1",
            "$scrypt$ln=0,r=8,p=1",
            "$pbkdf2-sha256$5000001",
            "$pbkdf2-sha256$0",
            "pbkdf2_sha256$5000001",
        ] {
            assert_eq!(verify(&format!("{head}${tail}"), PHRASE), Err(PasswordError::Cost), "{head}");
        }
        for cost in ["03", "17", "31", "99"] {
            let stored = format!("$2b${cost}$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG");
            assert_eq!(verify(&stored, PHRASE), Err(PasswordError::Cost), "{cost}");
            let cost = cost.parse().unwrap();
            assert_eq!(bcrypt(cost).hash(PHRASE, SALT), Err(PasswordError::Cost), "{cost}");
        }
    }
}
