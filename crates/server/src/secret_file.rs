//! The secret of a server that was started without one, for development: made once, readable by its owner only.

use narthex::Secret;
use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::Path,
    thread,
    time::Duration,
};

/// Its name in the data folder.
pub(crate) const NAME: &str = "narthex.secret";

/// Reads the secret, or makes one. Of two servers that start at once one makes it and both use it.
pub(crate) fn read_or_make(path: &Path) -> io::Result<Secret> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(mut file) => {
            let secret = new_secret()?;
            file.write_all(secret.as_bytes())?;
            file.sync_all()?;
            Ok(Secret::from(secret))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(error),
    }
}

/// Whoever makes the file fills it in the next moment.
fn read(path: &Path) -> io::Result<Secret> {
    for _ in 0..100 {
        let secret = fs::read_to_string(path)?;
        if !secret.is_empty() {
            return Ok(Secret::from(secret.trim().to_owned()));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(io::Error::other("the file is empty; delete it to have a new secret made"))
}

/// 32 random bytes, written as 64 hexadecimal digits.
#[expect(clippy::disallowed_methods, reason = "made once, before there is an `Env`")]
pub(crate) fn new_secret() -> io::Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    Ok(digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect())
}
