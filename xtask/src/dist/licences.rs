//! The licences of everything that is compiled into the binary, as one text: their texts have to go where the binary goes.
//!
//! Texts that several packages share stand once, below the names of all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::tools::{Outcome, cargo, output};

/// How deep licences are looked for: bundled C code has its own, some folders down.
const DEPTH: usize = 3;

const HEAD: &str = "\
Narthex contains the following packages. Each is under the licence that stands beside its name; the texts follow.
SQLite, which is in it too, is in the public domain.
";

/// What is compiled for `triple`.
pub(super) fn collect(triple: &str) -> Outcome<String> {
    let sources = sources()?;
    let tree = output(&mut cargo([
        "tree",
        "--locked",
        "--package",
        "narthex-server",
        "--edges",
        "normal",
        "--no-dedupe",
        "--prefix",
        "none",
        "--target",
        triple,
        "--format",
        "{p}|{l}",
    ]))?;
    let packages: BTreeSet<_> = tree.lines().filter_map(package).collect();
    let mut texts = Vec::new();
    for (name, licence) in &packages {
        let folder = sources.iter().map(|source| source.join(name)).find(|folder| folder.is_dir());
        let folder = folder.ok_or_else(|| format!("{name}: its source is not where cargo keeps sources"))?;
        let mut found = Vec::new();
        find(&folder, DEPTH, &mut found)?;
        texts.push((format!("{name}: {licence}"), found));
    }
    Ok(write(texts))
}

/// The folders in which cargo keeps what it has downloaded.
fn sources() -> Outcome<Vec<PathBuf>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let folder = home.ok_or("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    entries(&folder)
}

/// Folder and licence out of `name v1.2.3|MIT`; nothing for packages of this workspace, which have a path.
fn package(line: &str) -> Option<(String, String)> {
    let (package, licence) = line.split_once('|')?;
    let mut words = package.split(' ');
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    let is_ours = words.any(|word| word.starts_with("(/"));
    (!is_ours).then(|| (format!("{name}-{version}"), licence.to_owned()))
}

fn find(folder: &Path, depth: usize, found: &mut Vec<String>) -> Outcome {
    for entry in entries(folder)? {
        if entry.is_dir() && depth > 1 {
            find(&entry, depth - 1, found)?;
        } else if is_licence(&entry) {
            let bytes = fs::read(&entry).map_err(|error| format!("{}: {error}", entry.display()))?;
            found.push(String::from_utf8_lossy(&bytes).replace("\r\n", "\n").trim().to_owned());
        }
    }
    Ok(())
}

fn is_licence(file: &Path) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let is_text =
        Path::new(&name).extension().is_none_or(|extension| extension != "rs" && extension != "html");
    let begins = ["license", "licence", "copying", "copyright", "notice", "unlicense"];
    file.is_file() && is_text && begins.iter().any(|begin| name.starts_with(begin))
}

/// Sorted, so that the same packages make the same text.
fn entries(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let unreadable = |error| format!("{}: {error}", folder.display());
    let entries =
        fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(unreadable)?;
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

fn write(packages: Vec<(String, Vec<String>)>) -> String {
    let mut text = HEAD.to_owned();
    let mut shared: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (package, texts) in packages {
        text.push('\n');
        text.push_str(&package);
        for licence in texts.into_iter().filter(|licence| !licence.is_empty()) {
            let users = shared.entry(licence).or_default();
            if users.last() != Some(&package) {
                users.push(package.clone());
            }
        }
    }
    text.push('\n');
    let mut sections: Vec<_> = shared.into_iter().map(|(licence, users)| (users, licence)).collect();
    sections.sort();
    for (users, licence) in sections {
        text.extend(["\n", &"=".repeat(80), "\n", &users.join("\n"), "\n\n", &licence, "\n"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_the_workspace_are_left_out() {
        assert_eq!(package("axum v0.8.9|MIT"), Some(("axum-0.8.9".to_owned(), "MIT".to_owned())));
        let derived = package("serde_derive v1.0.2 (proc-macro)|MIT OR Apache-2.0");
        assert_eq!(derived.map(|(name, _)| name), Some("serde_derive-1.0.2".to_owned()));
        assert_eq!(package("narthex v0.1.0 (/somewhere/crates/core)|MIT"), None);
    }

    #[test]
    fn a_text_that_two_share_stands_once_below_both_names() {
        let mit = || vec!["Permission is granted".to_owned()];
        let text = write(vec![("a-1: MIT".to_owned(), mit()), ("b-2: MIT".to_owned(), mit())]);
        assert_eq!(text.matches("Permission is granted").count(), 1);
        assert!(text.ends_with("a-1: MIT\nb-2: MIT\n\nPermission is granted\n"), "{text}");
    }

    #[test]
    fn source_files_are_no_licences() {
        let folder = std::env::temp_dir().join(format!("narthex-licences-{}", std::process::id()));
        fs::create_dir_all(folder.join("c/mimalloc")).unwrap();
        for name in ["LICENSE-MIT", "license.rs", "README.md", "c/mimalloc/LICENSE"] {
            fs::write(folder.join(name), name).unwrap();
        }
        let mut found = Vec::new();
        find(&folder, DEPTH, &mut found).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, ["LICENSE-MIT", "c/mimalloc/LICENSE"]);
    }
}
