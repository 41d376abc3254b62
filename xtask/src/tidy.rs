//! `cargo xtask tidy`: the rules of the code base that no other tool knows, each a function over
//! the repository's text files that names file, line and what to do.

mod evidence;

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use crate::tools::{Outcome, root};

const LONGEST_FILE: usize = 800;
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A text file of the repository; its path is relative and written with `/`.
struct Source {
    path: String,
    text: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Problem {
    path: String,
    line: usize,
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.message)
    }
}

impl Source {
    fn problem(&self, line: usize, message: impl Into<String>) -> Problem {
        Problem { path: self.path.clone(), line, message: message.into() }
    }

    fn has_extension(&self, extensions: &[&str]) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension))
    }

    /// Rust that users run, so neither tests nor tools.
    fn is_product(&self) -> bool {
        self.path.starts_with("crates/") && self.path.contains("/src/") && self.has_extension(&["rs"])
    }

    /// Its text up to the tests at its end.
    fn without_tests(&self) -> &str {
        let end = self.text.find("#[cfg(test)]\nmod ").unwrap_or(self.text.len());
        self.text.get(..end).unwrap_or_default()
    }

    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// Fails with every breach of every rule.
pub(crate) fn run() -> Outcome {
    let sources = sources(root()).map_err(|error| format!("reading the repository: {error}"))?;
    let checks = [
        routes_are_documented_once,
        files_are_short,
        shortcuts_are_absent,
        sql_is_in_the_store,
        core_knows_no_plugin,
        paths_are_relative,
        registries_are_not_named,
        decisions_are_numbered_and_listed,
        changelog_has_a_place_for_changes,
        evidence::requirements_have_tests_or_say_why_not,
    ];
    let problems: Vec<Problem> = checks.iter().flat_map(|check| check(&sources)).collect();
    for problem in &problems {
        println!("{problem}");
    }
    if problems.is_empty() { Ok(()) } else { Err(format!("breaches of the rules: {}", problems.len())) }
}

/// The repository's text files, without what is built, installed or private to a tool.
fn sources(top: &Path) -> std::io::Result<Vec<Source>> {
    let mut folders = vec![top.to_owned()];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let kind = entry.file_type()?;
            let skipped = match name.as_ref() {
                ".ci" | ".config" | ".cargo" | ".github" => false,
                "target" | "node_modules" | "__pycache__" => true,
                other => kind.is_dir() && other.starts_with('.'),
            };
            if skipped {
                continue;
            }
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    let mut sources = Vec::new();
    for file in files {
        // What is not UTF-8 is no text.
        if let Ok(text) = String::from_utf8(fs::read(&file)?) {
            let path = file.strip_prefix(top).unwrap_or(&file).to_string_lossy().into_owned();
            sources.push(Source { path, text });
        }
    }
    Ok(sources)
}

/// Searching for a route must lead to its handler, so each handler's documentation begins with its
/// route in backticks, and no two handlers claim the same one.
fn routes_are_documented_once(sources: &[Source]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut documented: BTreeMap<String, String> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.is_product()) {
        for (line, text) in source.lines() {
            let Some(route) = documented_route(text) else { continue };
            let here = format!("{}:{line}", source.path);
            if let Some(first) = documented.get(route) {
                problems.push(source.problem(line, format!("`{route}` is documented at {first} already")));
            } else {
                documented.insert(route.to_owned(), here);
            }
        }
    }
    for source in sources.iter().filter(|source| source.is_product()) {
        for (line, route) in registered_routes(source.without_tests()) {
            if !documented.contains_key(&route) {
                problems.push(source.problem(line, format!("no handler is documented with /// `{route}`")));
            }
        }
    }
    problems
}

/// `GET /ok` out of a documentation line that begins with it in backticks.
fn documented_route(line: &str) -> Option<&str> {
    let (route, _) = line.trim_start().strip_prefix("/// `")?.split_once('`')?;
    let (method, path) = route.split_once(' ')?;
    (METHODS.contains(&method) && path.starts_with('/') && !path.contains(' ')).then_some(route)
}

/// Line and route of each registration whose path is a literal.
fn registered_routes(text: &str) -> Vec<(usize, String)> {
    let mut routes = Vec::new();
    for (start, call) in text.match_indices("setup.") {
        let Some(line) = code_line(text, start) else { continue };
        let rest = text.get(start + call.len()..).unwrap_or_default();
        let Some((verb, arguments)) = rest.split_once('(') else { continue };
        let mut pieces = arguments.split('"');
        let (before, literal) = (pieces.next().unwrap_or_default().trim(), pieces.next().unwrap_or_default());
        match verb {
            "get" | "post" if before.is_empty() && literal.starts_with('/') => {
                routes.push((line, format!("{} {literal}", verb.to_uppercase())));
            }
            // The method is an argument: before the path or, as a literal, in its place.
            "route" => {
                let (method, path) = if METHODS.contains(&literal) {
                    (literal, pieces.nth(1).unwrap_or_default())
                } else {
                    let words = before.split(|c: char| !c.is_ascii_alphabetic());
                    let method = words
                        .map(str::to_uppercase)
                        .find_map(|word| METHODS.iter().find(|method| **method == word).copied());
                    (method.unwrap_or_default(), literal)
                };
                if path.starts_with('/') && !method.is_empty() {
                    routes.push((line, format!("{method} {path}")));
                }
            }
            _ => {}
        }
    }
    routes
}

/// A file is read in one sitting, unless it is a list, which its first lines then say.
fn files_are_short(sources: &[Source]) -> Vec<Problem> {
    let is_list = |source: &Source| source.text.lines().take(10).any(|line| line.contains("tidy: a list"));
    let code = sources.iter().filter(|source| source.has_extension(&["rs", "ts", "py"]));
    code.filter_map(|source| {
        let length = source.text.lines().count();
        (length > LONGEST_FILE && !is_list(source)).then(|| {
            let advice = "split it, or mark a table with `// tidy: a list` at its top";
            source.problem(length, format!("{length} lines, more than {LONGEST_FILE}: {advice}"))
        })
    })
    .collect()
}

/// What postpones or hides a problem.
fn shortcuts_are_absent(sources: &[Source]) -> Vec<Problem> {
    // Written in halves, because this file is checked as well.
    let shortcuts = [
        (concat!("#[", "allow("), "use #[expect(…, reason = \"…\")]"),
        (concat!("#![", "allow("), "use #![expect(…, reason = \"…\")]"),
        (concat!("todo", "!("), "finish it"),
        (concat!("unimplemented", "!("), "finish it"),
        (concat!("dbg", "!("), "remove it"),
        (concat!("#[", "ignore"), "a test that does not run proves nothing: repair or remove it"),
    ];
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| source.has_extension(&["rs"])) {
        for (line, text) in source.lines() {
            for (shortcut, advice) in shortcuts {
                if text.contains(shortcut) {
                    problems.push(source.problem(line, format!("{shortcut}…: {advice}")));
                }
            }
        }
    }
    problems
}

/// One generator writes the SQL of both databases.
fn sql_is_in_the_store(sources: &[Source]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| source.is_product()) {
        if ["crates/core/src/store/", "crates/testkit/"].iter().any(|folder| source.path.starts_with(folder))
        {
            continue;
        }
        let text = source.without_tests();
        for (start, _) in text.match_indices('"') {
            let literal = text.get(start + 1..).unwrap_or_default();
            if let Some(line) = code_line(text, start).filter(|_| begins_like_sql(literal)) {
                problems
                    .push(source.problem(line, "SQL outside crates/core/src/store: use the store's verbs"));
            }
        }
    }
    problems
}

fn begins_like_sql(literal: &str) -> bool {
    let start: String = literal.trim_start().chars().take(160).collect();
    let start = start.to_lowercase();
    ["select ", "insert into ", "delete from "].iter().any(|verb| start.starts_with(verb))
        // "Update " also begins sentences.
        || (start.starts_with("update ") && start.contains(" set "))
}

/// The number of the line at that offset, unless the line is a comment.
fn code_line(text: &str, offset: usize) -> Option<usize> {
    let before = text.get(..offset)?;
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let comment = before.get(start..)?.trim_start().starts_with("//");
    (!comment).then(|| before.matches('\n').count() + 1)
}

fn core_knows_no_plugin(sources: &[Source]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| source.path.starts_with("crates/core/src/")) {
        for (line, text) in source.lines().filter(|(_, text)| text.contains("narthex_plugins")) {
            let message = format!("the core knows no plugin: {}", text.trim());
            problems.push(source.problem(line, message));
        }
    }
    problems
}

/// A path that exists on one machine says nothing on another.
fn paths_are_relative(sources: &[Source]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| source.has_extension(&["md", "rs", "ts"])) {
        for (line, text) in source.lines() {
            if let Some(path) = absolute_path(text) {
                problems.push(source.problem(line, format!("{path} is a path of one machine")));
            }
        }
    }
    problems
}

fn absolute_path(line: &str) -> Option<String> {
    let folders = ["work", "home", "tmp", "root", "Users"];
    line.match_indices('/').find_map(|(start, _)| {
        let joined = line.get(..start)?.chars().next_back().is_some_and(|before| {
            before.is_alphanumeric() || matches!(before, '/' | '.' | '_' | '-' | '}' | ')' | '>')
        });
        let rest = line.get(start + 1..)?;
        let folder = folders
            .iter()
            .find(|folder| rest.strip_prefix(**folder).is_some_and(|after| after.starts_with('/')))?;
        (!joined).then(|| format!("/{folder}/…"))
    })
}

/// Packages come from the registry that each user's tools are set to.
fn registries_are_not_named(sources: &[Source]) -> Vec<Problem> {
    // Written in halves, because this file is checked as well.
    let hosts = [
        concat!("registry.", "npmjs.org"),
        concat!("registry.", "yarnpkg.com"),
        concat!("index.", "crates.io"),
        concat!("static.", "crates.io"),
        concat!("pypi", ".org"),
        concat!("files.", "pythonhosted.org"),
    ];
    let mut problems = Vec::new();
    for source in sources {
        for (line, text) in source.lines() {
            for host in hosts.iter().filter(|host| text.contains(**host)) {
                let advice = "npm leaves it out with omit-lockfile-registry-resolved=true";
                problems.push(source.problem(line, format!("names the package registry {host}; {advice}")));
            }
        }
    }
    problems
}

/// Decisions are found by number and through their list.
fn decisions_are_numbered_and_listed(sources: &[Source]) -> Vec<Problem> {
    let folder = "docs/decisions/";
    let list = sources.iter().find(|source| source.path == "docs/decisions/README.md");
    let mut problems = Vec::new();
    let mut expected = 1;
    for source in sources {
        let Some(name) = source.path.strip_prefix(folder) else { continue };
        if name == "README.md" || !source.has_extension(&["md"]) {
            continue;
        }
        let number = name.split_once('-').filter(|(number, _)| number.len() == 4);
        match number.and_then(|(number, _)| number.parse::<u32>().ok()) {
            Some(number) if number == expected => {}
            _ => problems.push(source.problem(1, format!("the next decision is {expected:04}-…"))),
        }
        expected += 1;
        if !list.is_some_and(|list| list.text.contains(&format!("({name})"))) {
            problems.push(source.problem(1, "is not linked from docs/decisions/README.md"));
        }
    }
    problems
}

fn changelog_has_a_place_for_changes(sources: &[Source]) -> Vec<Problem> {
    let has_section = |source: &Source| {
        source.text.lines().any(|line| matches!(line.trim_end(), "## Unreleased" | "## [Unreleased]"))
    };
    match sources.iter().find(|source| source.path == "CHANGELOG.md") {
        Some(changelog) if has_section(changelog) => Vec::new(),
        Some(changelog) => vec![changelog.problem(1, "has no section `## Unreleased`")],
        None => vec![Problem { path: "CHANGELOG.md".to_owned(), line: 1, message: "is missing".to_owned() }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    fn lines(problems: &[Problem]) -> Vec<usize> {
        problems.iter().map(|problem| problem.line).collect()
    }

    const HANDLER: &str = "/// `POST /sign-in/email`: signs in.\nasync fn email() {}\n";

    #[test]
    fn a_documented_route_passes() {
        let text =
            format!("fn install() {{\n    setup.post(\n        \"/sign-in/email\", email);\n}}\n{HANDLER}");
        assert_eq!(routes_are_documented_once(&[source("crates/core/src/a.rs", &text)]), []);
    }

    #[test]
    fn a_route_documented_twice_is_found_with_the_first_place() {
        let sources = [source("crates/core/src/a.rs", HANDLER), source("crates/plugins/src/b.rs", HANDLER)];
        let problems = routes_are_documented_once(&sources);
        assert_eq!(lines(&problems), [1]);
        assert_eq!(
            problems[0].to_string(),
            "crates/plugins/src/b.rs:1: `POST /sign-in/email` is documented at crates/core/src/a.rs:1 already"
        );
    }

    #[test]
    fn a_registered_route_without_documentation_is_found() {
        let text = format!("{HANDLER}\nsetup.get(\"/sign-in/email\", email);\n");
        assert_eq!(lines(&routes_are_documented_once(&[source("crates/core/src/a.rs", &text)])), [4]);
    }

    #[test]
    fn the_method_of_a_route_call_is_read_wherever_it_stands() {
        for call in ["setup.route(Method::DELETE, \"/x\", h)", "setup.route(\"DELETE\", \"/x\", h)"] {
            assert_eq!(registered_routes(call), [(1, "DELETE /x".to_owned())], "{call}");
        }
        assert_eq!(registered_routes("setup.get(path, h); setup.codes(\"/no\")"), []);
        assert_eq!(registered_routes("//! setup.get(\"/example\", h)"), []);
    }

    #[test]
    fn a_long_file_is_found_unless_it_is_marked_as_a_list() {
        let long = "x\n".repeat(801);
        assert_eq!(lines(&files_are_short(&[source("a.ts", &long)])), [801]);
        assert_eq!(files_are_short(&[source("a.ts", &format!("// tidy: a list\n{long}"))]), []);
        assert_eq!(files_are_short(&[source("a.md", &long)]), []);
        assert_eq!(files_are_short(&[source("a.rs", &"x\n".repeat(800))]), []);
    }

    #[test]
    fn every_shortcut_is_found() {
        let halves = [("#[", "allow(x)]"), ("#![", "allow(x)]"), ("todo", "!()"), ("dbg", "!(x)")];
        let more = [("unimplemented", "!()"), ("#[", "ignore]"), ("#[", "ignore = \"slow\"]")];
        for (left, right) in halves.into_iter().chain(more) {
            let problems = shortcuts_are_absent(&[source("a.rs", &format!("\n{left}{right}"))]);
            assert_eq!(lines(&problems), [2], "{left}{right}");
        }
        assert_eq!(shortcuts_are_absent(&[source("a.rs", "#[expect(x, reason = \"y\")]")]), []);
    }

    #[test]
    fn sql_is_found_outside_the_store_only() {
        let statements = [
            "\nquery(\"SELECT 1\")",
            "\nquery(\"insert into t values\")",
            "\nquery(\"Update t set x\")",
            "\nquery(\"delete from t\")",
        ];
        for statement in statements {
            assert_eq!(
                lines(&sql_is_in_the_store(&[source("crates/core/src/a.rs", statement)])),
                [2],
                "{statement}"
            );
            assert_eq!(sql_is_in_the_store(&[source("crates/core/src/store/a.rs", statement)]), []);
            assert_eq!(sql_is_in_the_store(&[source("crates/core/tests/it/a.rs", statement)]), []);
            let tested = format!("#[cfg(test)]\nmod tests {{{statement}}}");
            assert_eq!(sql_is_in_the_store(&[source("crates/core/src/a.rs", &tested)]), []);
        }
        assert_eq!(sql_is_in_the_store(&[source("crates/core/src/a.rs", "\"Update your password\"")]), []);
    }

    #[test]
    fn a_plugin_named_in_the_core_is_found() {
        let text = "use std::fmt;\nuse narthex_plugins::Bearer;\n";
        assert_eq!(lines(&core_knows_no_plugin(&[source("crates/core/src/a.rs", text)])), [2]);
        assert_eq!(core_knows_no_plugin(&[source("crates/server/src/a.rs", text)]), []);
    }

    #[test]
    fn a_path_of_one_machine_is_found_and_a_url_is_not() {
        for folder in ["work", "home", "tmp", "root", "Users"] {
            let text = format!("\nsee `/{folder}/x`\n");
            assert_eq!(lines(&paths_are_relative(&[source("a.md", &text)])), [2], "{folder}");
            let text = format!("https://example.com/{folder}/x and ./{folder}/x");
            assert_eq!(paths_are_relative(&[source("a.md", &text)]), [], "{folder}");
        }
    }

    #[test]
    fn a_registry_in_a_lock_file_is_found() {
        let text = format!("{{\n\"resolved\": \"https://registry.{}/x.tgz\"", "npmjs.org");
        assert_eq!(lines(&registries_are_not_named(&[source("a/package-lock.json", &text)])), [2]);
    }

    #[test]
    fn a_gap_or_an_unlisted_decision_is_found() {
        let list = source("docs/decisions/README.md", "[one](0001-one.md) [two](0002-two.md)");
        let one = || source("docs/decisions/0001-one.md", "");
        let found = |second: &str| {
            let sources = [one(), source(second, ""), source(&list.path, &list.text)];
            decisions_are_numbered_and_listed(&sources).len()
        };
        assert_eq!(found("docs/decisions/0002-two.md"), 0);
        assert_eq!(found("docs/decisions/0002-unlisted.md"), 1);
        assert_eq!(found("docs/decisions/0003-gap.md"), 2);
    }

    #[test]
    fn a_changelog_without_a_place_for_changes_is_found() {
        assert_eq!(changelog_has_a_place_for_changes(&[]).len(), 1);
        assert_eq!(changelog_has_a_place_for_changes(&[source("CHANGELOG.md", "# Changes\n")]).len(), 1);
        assert_eq!(changelog_has_a_place_for_changes(&[source("CHANGELOG.md", "## Unreleased\n")]), []);
    }
}
