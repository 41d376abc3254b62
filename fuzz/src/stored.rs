//! What is kept encrypted, and hashes of passwords that other systems made.

use narthex::{
    Secret,
    crypto::{at_rest::Secrets, password},
};
use std::sync::LazyLock;

const TEXT: &str = r#"{"crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#;

static SECRETS: LazyLock<Secrets> = LazyLock::new(|| {
    let [current, former, legacy] = ["one", "another", "the first"].map(Secret::from);
    Secrets::versioned((2, current), vec![(1, former)], Some(legacy))
});
static SINGLE: LazyLock<Secrets> = LazyLock::new(|| Secrets::single("the first".into()));
static KNOWN: LazyLock<Vec<String>> = LazyLock::new(|| {
    [&*SECRETS, &*SINGLE].map(|secrets| secrets.encrypt(TEXT, [7; 24]).unwrap_or_default()).into()
});

/// Any stored text, and the input encrypted.
pub(crate) fn at_rest(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(opened) = SECRETS.decrypt(text) {
        assert_eq!(opened.expose(), TEXT, "something that nobody encrypted");
        // Hexadecimal digits in capitals are the same digits, and so are zeros before a version.
        let known = KNOWN.iter().map(|known| known.rsplit('$').next().unwrap_or_default());
        let digits = text.rsplit('$').next().unwrap_or_default().to_ascii_lowercase();
        assert!(known.into_iter().any(|known| known == digits), "{text}");
    }
    let sealed = SECRETS.encrypt(text, [9; 24]);
    let opened = sealed.ok().and_then(|sealed| SECRETS.decrypt(&sealed).ok());
    assert_eq!(opened.as_ref().map(Secret::expose), Some(text));
}

/// Any stored hash: what can be checked is whole, and made of what such hashes are made of.
pub(crate) fn hash(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if password::check_stored(text).is_err() || !text.starts_with('$') {
        return;
    }
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
    let (cut, longer) = (text.get(..text.len() - 1).unwrap_or_default(), format!("{text}A"));
    let is_bcrypt = ["$2a$", "$2b$", "$2y$", "$bcrypt-sha256$"].iter().any(|prefix| text.starts_with(prefix));
    // Some systems write padding, which may be missing.
    if is_bcrypt && !text.ends_with('=') {
        assert!(password::check_stored(cut).is_err(), "{text} has no end");
        assert!(password::check_stored(&longer).is_err(), "{text} has two ends");
    }
}

pub(crate) fn at_rest_seeds() -> Vec<Vec<u8>> {
    let digits = KNOWN.iter().map(|known| known.rsplit('$').next().unwrap_or_default());
    let others =
        digits.flat_map(|digits| [format!("$ba$1${digits}"), format!("$ba$x${digits}"), digits.to_owned()]);
    KNOWN.iter().cloned().chain(others).map(String::into_bytes).collect()
}

pub(crate) fn hash_seeds() -> Vec<Vec<u8>> {
    let scrypt = format!("{:0<32}:{:0<128}", "", "");
    let bcrypt = format!("$2b$10${:.<53}", "");
    let others = [
        "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$argon2i$m=65536,t=3,p=4$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
        "$pbkdf2-sha256$29000$9h5jzPlfa82ZEwKglFJKSQ$NI8hUzKVDhHDIyVJXNnPXyBvXpwlp0DzPKUp1GSKyjU",
        "$pbkdf2-sha512$i=210000,l=16$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
        "$bcrypt-sha256$v=2,t=2b,r=12$n79VH.0Q2TMWmt3Oqt9uku$Kq4Noyk3094Y2QlB8NdRT8SvGiI4ft2",
        "pbkdf2_sha256$260000$salt$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "$2b$99$short",
    ];
    [scrypt, bcrypt].into_iter().chain(others.map(str::to_owned)).map(String::into_bytes).collect()
}
