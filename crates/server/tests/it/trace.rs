//! Reads what `strace -f -y -ttt -s …` wrote, and says whether a reply left before its commit was on the disk.
//!
//! strace writes a line when a call begins and, if other threads came in between, another one when it ends. The
//! order of lines is the order of events for everything that depends on each other: a thread that another one wakes
//! goes on only after strace has let that one go.

use std::{collections::HashMap, ops::Range};

/// One system call; `lines` says when it began and ended. One that never ended, ends after the trace.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// The file or socket of its first argument.
    pub(crate) target: String,
    /// All its texts, joined.
    data: Vec<u8>,
    result: Option<i64>,
    lines: Range<usize>,
}

/// Every finished or interrupted call, in the order in which they began.
pub(crate) fn calls(trace: &str) -> Vec<Call> {
    let mut begun: HashMap<&str, (usize, String)> = HashMap::new();
    let mut calls = Vec::new();
    let end = trace.lines().count();
    for (number, line) in trace.lines().enumerate() {
        // Short thread ids are filled up with spaces.
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((_time, text)) = rest.trim_start().split_once(' ') else { continue };
        if let Some(rest) = text.strip_prefix("<... ") {
            let (Some((start, text)), Some((_, rest))) = (begun.remove(thread), rest.split_once(" resumed>"))
            else {
                continue;
            };
            calls.extend(Call::parse(&format!("{text}{rest}"), start..number));
        } else if let Some(text) = text.strip_suffix("<unfinished ...>") {
            begun.insert(thread, (number, text.to_owned()));
        } else {
            calls.extend(Call::parse(text, number..number));
        }
    }
    calls.extend(begun.into_values().filter_map(|(start, text)| Call::parse(&text, start..end)));
    calls.sort_by_key(|call| call.lines.start);
    calls
}

impl Call {
    /// `None` for signals and exits.
    fn parse(text: &str, lines: Range<usize>) -> Option<Self> {
        let (name, arguments) = text.split_once('(')?;
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return None;
        }
        let target =
            arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(path, _)| path);
        let result =
            arguments.rsplit_once(" = ").and_then(|(_, result)| result.split(' ').next()?.parse().ok());
        Some(Self { name: name.to_owned(), target: target.to_owned(), data: texts(arguments), result, lines })
    }

    pub(crate) fn is_sync(&self) -> bool {
        matches!(&*self.name, "fsync" | "fdatasync")
    }

    fn is_reply(&self) -> bool {
        self.target.starts_with("socket:")
    }
}

/// The quoted texts of a call's arguments, joined, with strace's escapes undone.
fn texts(arguments: &str) -> Vec<u8> {
    let mut data = Vec::new();
    let mut bytes = arguments.bytes().peekable();
    let mut is_inside = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => is_inside = !is_inside,
            b'\\' if is_inside => match bytes.next() {
                Some(digit @ b'0'..=b'7') => {
                    let mut value = u32::from(digit - b'0');
                    for _ in 0..2 {
                        let Some(digit) = bytes.next_if(|byte| (b'0'..=b'7').contains(byte)) else { break };
                        value = value * 8 + u32::from(digit - b'0');
                    }
                    data.push(u8::try_from(value).unwrap());
                }
                Some(b'n') => data.push(b'\n'),
                Some(b'r') => data.push(b'\r'),
                Some(b't') => data.push(b'\t'),
                Some(b'v') => data.push(0x0b),
                Some(b'f') => data.push(0x0c),
                Some(other) => data.push(other),
                None => {}
            },
            other if is_inside => data.push(other),
            _ => {}
        }
    }
    data
}

/// A commit in SQLite's write-ahead log: the pages it wrote, and when it wrote the last one.
#[derive(Default)]
struct Commit {
    pages: Vec<u8>,
    written: usize,
}

/// A reply that says 200 and shows somebody's address, and when its first byte left.
struct Answer {
    email: String,
    begun: usize,
}

/// How many replies to sign-ups left, each after its commit was synced; or what is wrong with one of them.
///
/// The commit of a reply is the first one whose pages hold the address that the reply shows. It counts as durable
/// once a sync of the log has succeeded that began after the commit's last page was written.
pub(crate) fn check(trace: &str) -> Result<usize, String> {
    let calls = calls(trace);
    let commits = commits(&calls);
    let answers = answers(&calls);
    for Answer { email, begun } in &answers {
        let commit = commits.iter().find(|commit| contains(&commit.pages, email.as_bytes()));
        let commit =
            commit.ok_or_else(|| format!("no commit holds {email}, which was answered in line {begun}"))?;
        let is_durable = calls.iter().any(|call| {
            call.is_sync()
                && call.target.ends_with("-wal")
                && call.result == Some(0)
                && call.lines.start > commit.written
                && call.lines.end < *begun
        });
        if !is_durable {
            return Err(format!(
                "{email} was answered in line {begun}, and no sync of the log lies between that and line {}",
                commit.written
            ));
        }
    }
    Ok(answers.len())
}

/// A frame of the log is a header of 24 bytes and a page; the header of a commit's last frame holds the database's
/// size in its second word, every other one holds zero there.
fn commits(calls: &[Call]) -> Vec<Commit> {
    const HEADER: usize = 24;
    let mut commits = Vec::new();
    let mut current = Commit::default();
    let mut is_last = false;
    for call in calls.iter().filter(|call| call.name == "pwrite64" && call.target.ends_with("-wal")) {
        if call.data.len() == HEADER {
            is_last = call.data[4..8] != [0; 4];
        } else {
            current.pages.extend_from_slice(&call.data);
            current.written = call.lines.end;
            if is_last {
                commits.push(std::mem::take(&mut current));
                is_last = false;
            }
        }
    }
    commits
}

fn answers(calls: &[Call]) -> Vec<Answer> {
    // What was written on a socket since its last status line.
    let mut replies: Vec<(&str, Vec<u8>, usize)> = Vec::new();
    for call in calls.iter().filter(|call| call.is_reply()) {
        if call.data.starts_with(b"HTTP/1.1 200") {
            replies.push((&call.target, call.data.clone(), call.lines.start));
        } else if let Some((_, data, _)) =
            replies.iter_mut().rev().find(|(target, ..)| *target == call.target)
        {
            data.extend_from_slice(&call.data);
        }
    }
    let email = |data: &[u8]| {
        let text = String::from_utf8_lossy(data).into_owned();
        let (_, rest) = text.split_once("\"email\":\"")?;
        rest.split_once('"').map(|(email, _)| email.to_owned())
    };
    replies
        .iter()
        .filter_map(|(_, data, begun)| Some(Answer { email: email(data)?, begun: *begun }))
        .collect()
}

fn contains(data: &[u8], part: &[u8]) -> bool {
    data.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::check;

    const HEADER: &str = r#"7 1.1 pwrite64(14</d/n.db-wal>, "\0\0\0\2\0\0\0\0\336\201x)a\363\262\203\353E\310$-b\342\233", 24, 32) = 24"#;
    const PAGE: &str =
        r#"7 1.2 pwrite64(14</d/n.db-wal>, "\r\0\0\0\1ada@example.com\17\0", 4096, 56) = 4096"#;
    const LAST_HEADER: &str = r#"7 1.3 pwrite64(14</d/n.db-wal>, "\0\0\0\r\0\0\0\16\336\201x)a\363\262\203\302\273\2628'z-\314", 24, 4152) = 24"#;
    const LAST_PAGE: &str = r#"7 1.4 pwrite64(14</d/n.db-wal>, "\n\0\0\0", 4096, 4176) = 4096"#;
    const SYNC: &str = "7     1.5 fsync(14</d/n.db-wal>) = 0";
    const REPLY: &str = r#"8 1.6 writev(18<socket:[200]>, [{iov_base="HTTP/1.1 200 OK\r\n\r\n", iov_len=19}, {iov_base="{\"user\":{\"email\":\"ada@example.com\"}}", iov_len=37}], 2) = 56"#;

    fn checked(lines: &[&str]) -> Result<usize, String> {
        check(&lines.join("\n"))
    }

    #[test]
    fn a_reply_after_its_sync_is_right() {
        assert_eq!(checked(&[HEADER, PAGE, LAST_HEADER, LAST_PAGE, SYNC, REPLY]), Ok(1));
    }

    #[test]
    fn a_reply_in_two_pieces_counts_from_its_first_byte() {
        let head =
            r#"8 1.6 sendto(18<socket:[200]>, "HTTP/1.1 200 OK\r\n\r\n", 19, MSG_NOSIGNAL, NULL, 0) = 19"#;
        let body = r#"8 1.7 sendto(18<socket:[200]>, "{\"user\":{\"email\":\"ada@example.com\"}}", 37, MSG_NOSIGNAL, NULL, 0) = 37"#;
        assert_eq!(checked(&[HEADER, PAGE, LAST_HEADER, LAST_PAGE, SYNC, head, body]), Ok(1));
        checked(&[HEADER, PAGE, LAST_HEADER, LAST_PAGE, head, SYNC, body]).unwrap_err();
    }

    #[test]
    fn a_reply_before_any_sync_is_found() {
        checked(&[HEADER, PAGE, LAST_HEADER, LAST_PAGE, REPLY, SYNC]).unwrap_err();
        checked(&[HEADER, PAGE, LAST_HEADER, LAST_PAGE, REPLY]).unwrap_err();
    }

    #[test]
    fn a_sync_that_began_before_the_last_page_does_not_count() {
        checked(&[HEADER, PAGE, SYNC, LAST_HEADER, LAST_PAGE, REPLY]).unwrap_err();
        let begun = "9 1.35 fsync(14</d/n.db-wal> <unfinished ...>";
        let ended = "9 1.45 <... fsync resumed>) = 0";
        checked(&[HEADER, PAGE, LAST_HEADER, begun, LAST_PAGE, ended, REPLY]).unwrap_err();
    }

    #[test]
    fn a_sync_that_ends_after_the_reply_began_does_not_count() {
        let begun = "7 1.5 fdatasync(14</d/n.db-wal> <unfinished ...>";
        let ended = "7 1.7 <... fdatasync resumed>) = 0";
        checked(&[HEADER, PAGE, LAST_HEADER, LAST_PAGE, begun, REPLY, ended]).unwrap_err();
        assert_eq!(checked(&[HEADER, PAGE, LAST_HEADER, LAST_PAGE, begun, ended, REPLY]), Ok(1));
    }

    #[test]
    fn a_sync_that_failed_or_was_of_another_file_does_not_count() {
        let failed = "7 1.5 fsync(14</d/n.db-wal>) = -1 EIO (Input/output error)";
        checked(&[HEADER, PAGE, LAST_HEADER, LAST_PAGE, failed, REPLY]).unwrap_err();
        let other = "7 1.5 fsync(9</d/n.db>) = 0";
        checked(&[HEADER, PAGE, LAST_HEADER, LAST_PAGE, other, REPLY]).unwrap_err();
    }

    #[test]
    fn a_reply_without_a_commit_is_found() {
        checked(&[SYNC, REPLY]).unwrap_err();
        // Pages without a last frame are no commit.
        checked(&[HEADER, PAGE, SYNC, REPLY]).unwrap_err();
    }

    #[test]
    fn the_sync_of_an_earlier_commit_does_not_cover_a_later_one() {
        let earlier = PAGE.replace("ada", "bob");
        checked(&[
            HEADER,
            &earlier,
            LAST_HEADER,
            LAST_PAGE,
            SYNC,
            HEADER,
            PAGE,
            LAST_HEADER,
            LAST_PAGE,
            REPLY,
        ])
        .unwrap_err();
    }
}
