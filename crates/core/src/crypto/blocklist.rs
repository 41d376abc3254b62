//! Passwords that everybody tries first: a list that comes with the program, and one of the operator's.
//!
//! Both are sorted lines, searched where they are: no table is built and nothing is allocated but the normalised
//! password. Compared in lower case and in the normal form in which hashes are made (NFKC).

use crate::config::PasswordOptions;
use std::{fmt, fs::File, io::Read as _, path::Path};
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfkc_quick};
use zeroize::Zeroizing;

/// A head with the licence, an empty line, then one password a line.
const COMMON: &str = include_str!("common_passwords.txt");
/// The largest list that is read: what is larger is no list of common passwords.
const LARGEST: u64 = 64 << 20;

/// Which passwords are refused.
#[derive(Default)]
pub(crate) struct Blocklist {
    common: &'static str,
    own: String,
}

impl Blocklist {
    /// Reads the operator's list, if there is one.
    pub(crate) fn load(options: &PasswordOptions, problems: &mut Vec<String>) -> Self {
        let own = options.blocklist_file.as_deref().map(|path| {
            read(path).map_err(|error| {
                problems.push(format!("password.blocklist-file = {:?}: {error}", path.display()));
            })
        });
        Self {
            common: if options.blocklist { sorted_part(COMMON) } else { "" },
            own: own.and_then(Result::ok).unwrap_or_default(),
        }
    }

    /// Whether this password is refused, in any spelling.
    pub(crate) fn contains(&self, password: &str) -> bool {
        if self.common.is_empty() && self.own.is_empty() {
            return false;
        }
        let password = Zeroizing::new(normalise(password));
        has_line(self.common, &password) || has_line(&self.own, &password)
    }
}

impl fmt::Debug for Blocklist {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Blocklist").finish_non_exhaustive()
    }
}

fn sorted_part(list: &'static str) -> &'static str {
    list.split_once("\n\n").map_or("", |(_, passwords)| passwords)
}

fn normalise(password: &str) -> String {
    if is_nfkc_quick(password.chars()) == IsNormalized::Yes {
        return password.to_lowercase();
    }
    let normal = Zeroizing::new(password.nfkc().collect::<String>());
    normal.to_lowercase()
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(LARGEST + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if u64::try_from(read).is_ok_and(|read| read > LARGEST) {
        return Err(format!("is larger than {} MiB; it holds one password a line", LARGEST >> 20));
    }
    let mut lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).map(normalise).collect();
    lines.sort_unstable();
    lines.dedup();
    Ok(lines.join("\n"))
}

/// Whether one of the sorted lines is `wanted`: halves the text until the line is found or nothing is left.
fn has_line(sorted: &str, wanted: &str) -> bool {
    let (mut rest, wanted) = (sorted.as_bytes(), wanted.as_bytes());
    if wanted.is_empty() || wanted.contains(&b'\n') {
        return false;
    }
    while !rest.is_empty() {
        let (before, after) = rest.split_at(rest.len() / 2);
        // The line in which the middle is, and what stands before and after it.
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let (smaller, from_start) = rest.split_at(start);
        let length = after.iter().position(|byte| *byte == b'\n').map_or(after.len(), |end| end);
        let (line, greater) = from_start.split_at(before.len() - start + length);
        rest = match line.cmp(wanted) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => greater.get(1..).unwrap_or_default(),
            std::cmp::Ordering::Greater => smaller,
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write as _, path::PathBuf};

    fn common() -> Blocklist {
        Blocklist { common: sorted_part(COMMON), own: String::new() }
    }

    #[test]
    fn the_list_is_sorted_in_normal_form_and_large() {
        let lines: Vec<_> = sorted_part(COMMON).lines().collect();
        assert_eq!(lines.len(), 30_000);
        assert!(lines.is_sorted_by(|a, b| a < b), "sorted, and nothing twice");
        assert!(lines.iter().all(|line| !line.is_empty() && normalise(line) == **line));
    }

    #[test]
    fn every_line_is_found_and_nothing_between_the_lines() {
        let list = common();
        for line in list.common.lines() {
            assert!(list.contains(line), "{line:?}");
        }
        let lines: std::collections::HashSet<_> = list.common.lines().collect();
        for line in list.common.lines() {
            for other in [format!("{line}~"), format!("{line}\n"), format!("\n{line}"), line[1..].to_owned()]
            {
                assert_eq!(list.contains(&other), lines.contains(&*other), "{other:?}");
            }
        }
        for refused in ["", "\n", "#", "Copyright (c) 2012-2016 Dan Wheeler and Dropbox, Inc."] {
            assert!(!list.contains(refused), "{refused:?}");
        }
    }

    #[test]
    fn spellings_of_one_password_are_one() {
        let list = common();
        for spelling in
            ["password", "PASSWORD", "PassWord", "ｐａｓｓｗｏｒｄ", "ＰＡＳＳｗｏｒｄ", "paſſword"]
        {
            assert!(list.contains(spelling), "{spelling}");
        }
        for other in ["pässword", "password ", "correct horse", "passwоrd"] {
            assert!(!list.contains(other), "{other}");
        }
    }

    #[test]
    fn an_own_list_is_read_in_any_order_and_spelling() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all("Zürich 2026\r\n\nacme corp\nACME corp\nﬁrst\n".as_bytes()).expect("written");
        let options =
            PasswordOptions { blocklist_file: Some(file.path().to_owned()), ..PasswordOptions::default() };
        let mut problems = Vec::new();
        let list = Blocklist::load(&options, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        for refused in ["zürich 2026", "Acme Corp", "first", "FIRST"] {
            assert!(list.contains(refused), "{refused}");
        }
        assert!(!list.contains("password"), "the common ones are another option");
        assert!(!list.contains("acme") && !list.contains(""));
    }

    #[test]
    fn a_list_that_cannot_be_read_is_a_mistake_with_its_name() {
        let options = PasswordOptions {
            blocklist_file: Some(PathBuf::from("/nowhere/list.txt")),
            ..PasswordOptions::default()
        };
        let mut problems = Vec::new();
        let _ = Blocklist::load(&options, &mut problems);
        assert_eq!(
            problems,
            ["password.blocklist-file = \"/nowhere/list.txt\": No such file or directory (os error 2)"]
        );
    }
}
