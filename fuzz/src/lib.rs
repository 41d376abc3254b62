//! What has to hold for every input of a parser that is written by hand: one function for each, which panics when it does
//! not.
//!
//! `cargo xtask fuzz` lets libFuzzer look for such an input; the tests here only replay the seeds, which are the vectors of
//! the parsers' own tests, and what was ever found (`regressions/`).

mod addresses;
mod cookies;
mod keys;
mod origins;
mod stored;
mod tokens;
mod values;

/// One parser, or several that read the same.
#[derive(Debug)]
pub struct Target {
    /// What `cargo xtask fuzz` calls it.
    pub name: &'static str,
    /// Panics where an input shows that the parser is wrong.
    pub check: fn(&[u8]),
    /// Inputs that lead deep into the parser.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them, what guards sessions first.
pub const TARGETS: [Target; 15] = [
    Target { name: "token", check: tokens::token, seeds: tokens::token_seeds },
    Target { name: "token-edits", check: tokens::edits, seeds: tokens::edit_seeds },
    Target { name: "token-payload", check: tokens::payload, seeds: tokens::payload_seeds },
    Target { name: "key", check: keys::key, seeds: keys::seeds },
    Target { name: "cookies", check: cookies::cookies, seeds: cookies::seeds },
    Target { name: "set-cookie", check: cookies::set_cookie, seeds: cookies::set_cookie_seeds },
    Target { name: "origin", check: origins::origin, seeds: origins::origin_seeds },
    Target { name: "origin-pattern", check: origins::pattern, seeds: origins::pattern_seeds },
    Target { name: "client-address", check: addresses::client, seeds: addresses::client_seeds },
    Target { name: "database-url", check: addresses::database, seeds: addresses::database_seeds },
    Target { name: "json", check: values::json, seeds: values::json_seeds },
    Target { name: "form", check: values::form, seeds: values::form_seeds },
    Target { name: "text", check: values::text, seeds: values::text_seeds },
    Target { name: "at-rest", check: stored::at_rest, seeds: stored::at_rest_seeds },
    Target { name: "stored-hash", check: stored::hash, seeds: stored::hash_seeds },
];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    const ALL: &[Target] = &TARGETS;
    ALL.iter().find(|target| target.name == name)
}

/// The parts of an input, cut at its first line ends: at most `N`, the last one with all that is left.
fn lines<const N: usize>(input: &[u8]) -> [&str; N] {
    let mut rest = std::str::from_utf8(input).unwrap_or_default();
    let mut parts = [""; N];
    for (index, part) in parts.iter_mut().enumerate() {
        let is_last = index + 1 == N;
        (*part, rest) = if is_last { (rest, "") } else { rest.split_once('\n').unwrap_or((rest, "")) };
    }
    parts
}

/// The texts anywhere in a document of vectors.
fn texts(document: &str) -> Vec<String> {
    fn collect(value: serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::String(text) => found.push(text),
            serde_json::Value::Array(items) => items.into_iter().for_each(|item| collect(item, found)),
            serde_json::Value::Object(members) => {
                for (name, value) in members {
                    found.push(name);
                    collect(value, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    for value in serde_json::Deserializer::from_str(document).into_iter().flatten() {
        collect(value, &mut found);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashSet, fs, path::Path};

    #[test]
    fn what_holds_for_every_input_holds_for_the_seeds() {
        for target in &TARGETS {
            let seeds = (target.seeds)();
            assert!(seeds.len() > 3, "{}", target.name);
            for seed in seeds {
                (target.check)(&seed);
            }
            (target.check)(b"");
        }
    }

    #[test]
    fn what_was_found_once_is_right_now() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if !entry.file_type().unwrap().is_dir() {
                continue;
            }
            let name = entry.file_name().into_string().unwrap();
            let target = target(&name).unwrap_or_else(|| panic!("regressions/{name}: no such target"));
            for input in fs::read_dir(entry.path()).unwrap().map(Result::unwrap) {
                let bytes = fs::read(input.path()).unwrap();
                let outcome = std::panic::catch_unwind(|| (target.check)(&bytes));
                assert!(outcome.is_ok(), "{}", input.path().display());
            }
        }
    }

    #[test]
    fn targets_have_names_of_their_own() {
        let names: HashSet<_> = TARGETS.iter().map(|target| target.name).collect();
        assert_eq!(names.len(), TARGETS.len());
        assert!(target("token").is_some() && target("tokens").is_none());
    }

    #[test]
    fn an_input_is_cut_at_its_first_line_ends() {
        assert_eq!(lines(b"a\nb\nc"), ["a", "b\nc"]);
        assert_eq!(lines(b"a"), ["a", "", ""]);
        assert_eq!(lines(b"\xff\nb"), ["", ""]);
    }
}
