//! The configuration before it has types: one table from the file, the environment and flags, that knows where each
//! entry comes from.

use std::{collections::BTreeMap, fmt, path::Path};
use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

/// Where an entry was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In this line of this file.
    Line(String, usize),
    /// In this environment variable.
    Variable(String),
    /// In this flag.
    Flag(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, line) => write!(f, "{file}:{line}"),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// Entries, and where each comes from by its key as a message spells it: `rate-limit.custom-rules."/ok".max`.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) table: Table,
    places: BTreeMap<String, Place>,
}

impl Document {
    /// Reads a file's text. Every mistake of spelling is told with its line.
    pub(crate) fn parse(file: &Path, text: &str) -> Result<Self, Vec<String>> {
        let file = file.display().to_string();
        let line = |byte: usize| 1 + text.bytes().take(byte).filter(|byte| *byte == b'\n').count();
        let (spanned, mistakes) = DeTable::parse_recoverable(text);
        if !mistakes.is_empty() {
            let mut told: Vec<(usize, String)> = Vec::new();
            for mistake in mistakes {
                let line = line(mistake.span().map_or(0, |span| span.start));
                // What follows in a line that could not be read says nothing more.
                if told.last().is_none_or(|(last, _)| *last != line) {
                    told.push((line, format!("{file}:{line}: {}", mistake.message().trim())));
                }
            }
            return Err(told.into_iter().map(|(_, mistake)| mistake).collect());
        }
        let mut document = Self::default();
        let place = |byte| Place::Line(file.clone(), line(byte));
        let mut open = vec![(String::new(), spanned.get_ref())];
        while let Some((section, table)) = open.pop() {
            for (key, value) in table {
                let path = joined(&section, key.get_ref());
                document.places.insert(path.clone(), place(key.span().start));
                let mut inside = vec![(path, value)];
                while let Some((path, value)) = inside.pop() {
                    match value.get_ref() {
                        DeValue::Table(table) => open.push((path, table)),
                        DeValue::Array(entries) => {
                            for (index, entry) in entries.iter().enumerate() {
                                let path = format!("{path}[{index}]");
                                document.places.insert(path.clone(), place(entry.span().start));
                                inside.push((path, entry));
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        document.table = text.parse().map_err(|error: toml::de::Error| vec![format!("{file}: {error}")])?;
        Ok(document)
    }

    /// Writes an entry over what is there.
    pub(crate) fn set(&mut self, path: &[&str], value: Value, place: Place) {
        let Some((last, sections)) = path.split_last() else { return };
        let mut table = &mut self.table;
        let mut spelled = String::new();
        for section in sections {
            spelled = joined(&spelled, section);
            self.places.entry(spelled.clone()).or_insert_with(|| place.clone());
            let entry = table.entry(*section).or_insert_with(|| Value::Table(Table::new()));
            // Where something else was written there is a mistake, which is to be told.
            let Value::Table(inner) = entry else { return };
            table = inner;
        }
        table.insert((*last).to_owned(), value);
        let path = joined(&spelled, last);
        // What was inside what was there is gone with it.
        self.places
            .retain(|entry, _| !entry.strip_prefix(&path).is_some_and(|rest| rest.starts_with(['.', '['])));
        self.places.insert(path, place);
    }

    /// Adds entries to a list.
    pub(crate) fn extend(&mut self, key: &str, entries: Vec<Value>, place: &Place) {
        let list = self.table.entry(key).or_insert_with(|| Value::Array(Vec::new()));
        let Value::Array(list) = list else { return };
        for entry in entries {
            self.places.insert(format!("{key}[{}]", list.len()), place.clone());
            list.push(entry);
        }
        self.places.entry(key.to_owned()).or_insert_with(|| place.clone());
    }

    /// Whether there is an entry at the top.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Where an entry was written; for one that is not there, where its section was.
    pub(crate) fn place(&self, path: &str) -> Option<&Place> {
        let is_end =
            |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || "-_".contains(next));
        let nearest = self.places.iter().filter(|(entry, _)| path.strip_prefix(*entry).is_some_and(is_end));
        nearest.max_by_key(|(entry, _)| entry.len()).map(|(_, place)| place)
    }

    /// Every entry that was written, with where.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.places.iter().map(|(path, place)| (path.as_str(), place))
    }
}

/// A section's key and one of its entries as one key.
pub(crate) fn joined(section: &str, key: &str) -> String {
    let is_bare = |key: &str| {
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let key = if is_bare(key) { key.to_owned() } else { format!("{key:?}") };
    if section.is_empty() { key } else { format!("{section}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Document, Vec<String>> {
        Document::parse(Path::new("narthex.toml"), text)
    }

    fn place(document: &Document, path: &str) -> String {
        document.place(path).map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn every_entry_knows_its_line() {
        let text = "base-url = \"x\"\n\n[session]\nexpires-in = 1\n[rate-limit.custom-rules]\n\"/ok\" = { window = 1,\n  max = 2 }\n[[secrets]]\nversion = 1\n[[secrets]]\nversion = 2\n";
        let document = parse(text).unwrap();
        for (path, line) in [
            ("base-url", 1),
            ("session", 3),
            ("session.expires-in = 1: must", 4),
            ("session.expires: no option", 3),
            ("rate-limit.custom-rules.\"/ok\".max", 7),
            ("secrets[1].version = 2", 11),
        ] {
            assert_eq!(place(&document, path), format!("narthex.toml:{line}"), "{path}");
        }
        assert_eq!(place(&document, "user.fields"), "");
        assert_eq!(place(&document, "base-url-of"), "");
    }

    #[test]
    fn what_cannot_be_read_is_told_line_by_line() {
        let mistakes = parse("a = = 1\nb = 2\nb = 3\nc = \"x\n").err().unwrap();
        let lines: Vec<&str> = mistakes.iter().filter_map(|mistake| mistake.split(' ').next()).collect();
        assert_eq!(lines, ["narthex.toml:1:", "narthex.toml:3:", "narthex.toml:4:"], "{mistakes:?}");
    }

    #[test]
    fn what_is_set_later_has_its_own_place() {
        let mut document = parse("trusted-origins = [\"http://a\"]\nsession = 5\n").unwrap();
        document.set(&["database", "url"], "sqlite://x".into(), Place::Flag("--database"));
        document.set(&["session", "expires-in"], 5.into(), Place::Variable("NARTHEX__X".to_owned()));
        document.extend("trusted-origins", vec!["http://b".into()], &Place::Variable("B".to_owned()));
        assert_eq!(place(&document, "database.url"), "--database");
        assert_eq!(place(&document, "session.expires-in"), "narthex.toml:2", "the mistake is in the file");
        assert_eq!(place(&document, "trusted-origins[0]"), "narthex.toml:1");
        assert_eq!(place(&document, "trusted-origins[1]"), "B");
        document.set(&["cors"], Value::Array(vec!["http://c".into()]), Place::Variable("C".to_owned()));
        document.set(&["cors"], Value::Array(Vec::new()), Place::Variable("D".to_owned()));
        assert_eq!(place(&document, "cors[0]"), "D");
        document.table.remove("cors");
        assert_eq!(
            document.table.to_string(),
            "trusted-origins = [\"http://a\", \"http://b\"]\nsession = 5\n\n[database]\nurl = \"sqlite://x\"\n"
        );
    }
}
