//! The page on OWASP's ASVS says of each requirement which test shows it, or why none does.

use super::{Problem, Source};

const PAGE: &str = "docs/security/asvs.md";

/// Each row of the page ends with names of tests that exist, or says that there is none and why.
pub(super) fn requirements_have_tests_or_say_why_not(sources: &[Source]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let Some(page) = sources.iter().find(|source| source.path == PAGE) else { return problems };
    for (line, text) in page.lines() {
        let names: Vec<&str> = quoted(text).filter(|name| is_test_name(name)).collect();
        for name in names.iter().filter(|name| !sources.iter().any(|source| has_test(source, name))) {
            problems.push(page.problem(line, format!("there is no test {name}")));
        }
        let says_why_not = ["not yet: ", "not ours: "].iter().any(|words| text.contains(words));
        if is_requirement(text) && names.is_empty() && !says_why_not {
            let advice = "name a test, or say `not yet: …` or `not ours: …`";
            problems.push(page.problem(line, format!("shows nothing for this requirement: {advice}")));
        }
    }
    problems
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Modules and a function, as the test runner prints them.
fn is_test_name(text: &str) -> bool {
    let is_word = |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    text.contains("::") && text.split("::").all(|word| !word.is_empty() && is_word(word))
}

/// A row of a table whose first cell is a requirement's number.
fn is_requirement(line: &str) -> bool {
    line.strip_prefix("| ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Whether this is the file of the test's modules and has its function.
fn has_test(source: &Source, name: &str) -> bool {
    let Some((modules, function)) = name.rsplit_once("::") else { return false };
    let Some(path) = source.path.strip_suffix(".rs").filter(|path| path.starts_with("crates/")) else {
        return false;
    };
    let path = path.strip_suffix("/mod").unwrap_or(path);
    // A module of that name is a file, or stands at the end of what it tests.
    let beside = modules.strip_suffix("::tests").unwrap_or(modules);
    let is_its_file =
        [modules, beside].iter().any(|modules| path.ends_with(&format!("/{}", modules.replace("::", "/"))));
    is_its_file && source.text.contains(&format!("fn {function}("))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(row: &str) -> Vec<String> {
        let sources = [
            (PAGE, row),
            ("crates/core/tests/it/security/guessing.rs", "#[test]\nfn a_guess_is_counted() {}"),
            ("crates/core/src/crypto/jws.rs", "mod tests {\nfn no_change_is_overlooked() {}"),
            ("crates/core/src/input/tests.rs", "fn a_form_is_read() {}"),
        ];
        let sources = sources.map(|(path, text)| Source { path: path.to_owned(), text: text.to_owned() });
        requirements_have_tests_or_say_why_not(&sources).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_named_test_must_exist_in_the_file_of_its_modules() {
        for name in [
            "security::guessing::a_guess_is_counted",
            "crypto::jws::tests::no_change_is_overlooked",
            "input::tests::a_form_is_read",
        ] {
            assert_eq!(found(&format!("| 6.1.1 | 1 | limits | `{name}` |")), [""; 0], "{name}");
        }
        for name in [
            "security::guessing::a_guess_is",
            "security::races::a_guess_is_counted",
            "guess::a_guess_is_counted",
        ] {
            let expected = format!("{PAGE}:1: there is no test {name}");
            assert_eq!(found(&format!("| 6.1.1 | 1 | limits | `{name}` |")), [expected], "{name}");
        }
    }

    #[test]
    fn a_row_without_a_test_says_why() {
        assert_eq!(found("| 6.1.1 | 1 | limits | not yet: no mail |"), [""; 0]);
        assert_eq!(found("| 6.1.1 | 1 | limits | not ours: the page's |"), [""; 0]);
        assert_eq!(found("| number | level | asks |\n|-|-|-|"), [""; 0]);
        for row in ["| 6.1.1 | 1 | limits | surely |", "| 6.1.1 | 1 | limits | `password.hash` |"] {
            assert_eq!(found(row).len(), 1, "{row}");
        }
    }
}
