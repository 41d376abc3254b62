//! Asking the person at the terminal, and reading what a program pipes in.

use super::Failure;
use narthex::Secret;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

/// No password is longer, whatever the configuration says.
const LONGEST_LINE: u64 = 64 << 10;

/// Whether there is somebody to ask.
pub(super) fn is_there() -> bool {
    io::stdin().is_terminal()
}

/// A new password, typed twice and not shown.
pub(super) fn new_password() -> Result<Secret, Failure> {
    let password = hidden("Password: ")?;
    let again = hidden("The same again: ")?;
    if password.expose() == again.expose() {
        Ok(password)
    } else {
        Err(Failure::failed("the two passwords differ; nothing was changed"))
    }
}

/// A password that a program pipes in: everything up to the end, but one end of line.
pub(super) fn piped_password() -> Result<Secret, Failure> {
    let mut text = String::new();
    io::stdin()
        .lock()
        .take(LONGEST_LINE + 1)
        .read_to_string(&mut text)
        .map_err(|error| unreadable(&error))?;
    finished(text)
}

/// Whether the answer is yes.
pub(super) fn confirms(question: &str) -> Result<bool, Failure> {
    let answer = asked(&format!("{question} [y/N] "))?;
    Ok(matches!(answer.expose().trim(), "y" | "Y" | "yes" | "Yes" | "YES"))
}

/// Says how far something is that takes long, where somebody watches; `None` when it is done.
pub(super) fn progress(text: Option<&str>) {
    let mut stderr = io::stderr().lock();
    if stderr.is_terminal() {
        // Back to the beginning of the line, and what was there is gone. Nobody has to see it.
        let _ = write!(stderr, "\r\x1b[K{}", text.unwrap_or_default()).and_then(|()| stderr.flush());
    }
}

fn asked(question: &str) -> Result<Secret, Failure> {
    // Results go to stdout, and somebody may have redirected it.
    let mut stderr = io::stderr().lock();
    stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush()).map_err(Failure::failed)?;
    let mut line = String::new();
    io::stdin().lock().take(LONGEST_LINE + 1).read_line(&mut line).map_err(|error| unreadable(&error))?;
    finished(line)
}

fn finished(text: String) -> Result<Secret, Failure> {
    let whole = Secret::from(text);
    if whole.expose().len() > usize::try_from(LONGEST_LINE).unwrap_or(usize::MAX) {
        return Err(Failure::Usage(vec![format!("stdin: more than {LONGEST_LINE} bytes are no password")]));
    }
    let line = whole.expose().strip_suffix('\n').unwrap_or(whole.expose());
    Ok(Secret::from(line.strip_suffix('\r').unwrap_or(line)))
}

fn unreadable(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::InvalidData => Failure::Usage(vec!["stdin: a password is UTF-8 text".to_owned()]),
        _ => Failure::Failed(format!("stdin: {error}")),
    }
}

#[cfg(unix)]
fn hidden(question: &str) -> Result<Secret, Failure> {
    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

    /// Shows again what is typed, whatever happens.
    struct Shown(Termios);

    impl Drop for Shown {
        fn drop(&mut self) {
            // What cannot be set back now could not be set before either.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
        }
    }

    let before = tcgetattr(io::stdin()).map_err(Failure::failed)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    // The end of the line is shown, so that the next question has a line of its own.
    silent.local_modes.insert(LocalModes::ECHONL);
    let _shown = Shown(before);
    tcsetattr(io::stdin(), OptionalActions::Now, &silent).map_err(Failure::failed)?;
    asked(question)
}

#[cfg(not(unix))]
fn hidden(_: &str) -> Result<Secret, Failure> {
    Err(Failure::Usage(vec!["--password-stdin: is needed here; what is typed would be shown".to_owned()]))
}
