//! `.env` files: their parts, their placeholders, and what a reader of such files takes from them.

/// What a plan leaves open, and what this run has in its place.
pub(super) struct Replacement {
    pub(super) placeholder: &'static str,
    pub(super) with: String,
    /// What is printed of it; a secret is not.
    pub(super) shown: String,
}

impl Replacement {
    pub(super) fn new(placeholder: &'static str, with: String) -> Self {
        Self { placeholder, shown: with.clone(), with }
    }

    pub(super) fn secret(placeholder: &'static str, with: &str) -> Self {
        let shown = format!("{} characters of `narthex secret`", with.len());
        Self { placeholder, with: with.to_owned(), shown }
    }
}

/// The lines below the comment `# <name>`, up to the next empty line.
pub(super) fn part(text: &str, name: &str) -> Option<String> {
    let mut lines = text.lines().skip_while(|line| line.strip_prefix('#').is_none_or(|it| it.trim() != name));
    lines.next()?;
    Some(lines.take_while(|line| !line.trim().is_empty()).flat_map(|line| [line, "\n"]).collect())
}

/// The same lines with what this run has in place of the placeholders, and what was replaced where. Names of variables and
/// comments stay.
pub(super) fn filled_in(text: &str, replacements: &[Replacement]) -> (String, Vec<String>) {
    let mut filled = String::new();
    let mut replaced = Vec::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        if let Some((name, value)) = line.split_once('=').filter(|_| !line.trim_start().starts_with('#')) {
            let (name, mut value) = (name.to_owned(), value.to_owned());
            for Replacement { placeholder, with, shown } in replacements {
                if value.contains(placeholder) {
                    value = value.replace(placeholder, with);
                    replaced.push(format!("{name}: {placeholder} is {shown}"));
                }
            }
            line = format!("{name}={value}");
        }
        filled.push_str(&line);
        filled.push('\n');
    }
    (filled, replaced)
}

/// The variables, without comments and quotes.
pub(super) fn variables(text: &str) -> Vec<(String, String)> {
    let entries = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    entries
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), unquoted(value.trim()).to_owned()))
        .collect()
}

/// A comment begins at a number sign after a space; within quotes there is none.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote));
        if let Some((inner, _)) = inner {
            return inner;
        }
    }
    let comment = value.char_indices().find(|(at, found)| {
        *found == '#'
            && value.get(..*at).is_some_and(|before| before.is_empty() || before.ends_with([' ', '\t']))
    });
    comment.and_then(|(at, _)| value.get(..at)).unwrap_or(value).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_what_stands_below_its_comment() {
        let text = "# One\nA=1\n# of one\nB=2\n\n# Two\nA=3\n";
        assert_eq!(part(text, "One").as_deref(), Some("A=1\n# of one\nB=2\n"));
        assert_eq!(part(text, "Two").as_deref(), Some("A=3\n"));
        assert_eq!(part(text, "Three"), None);
    }

    #[test]
    fn placeholders_are_replaced_in_values_only_and_secrets_are_not_shown() {
        let ours = [
            Replacement::new("here:1", "there:2".to_owned()),
            Replacement::secret("<secret>", "hunter2hunter2"),
        ];
        let (filled, replaced) =
            filled_in("# here:1\nhere:1=a://here:1/b\nS=<secret> # <secret>?\nC=\n", &ours);
        assert_eq!(filled, "# here:1\nhere:1=a://there:2/b\nS=hunter2hunter2 # hunter2hunter2?\nC=\n");
        assert_eq!(
            replaced,
            ["here:1: here:1 is there:2", "S: <secret> is 14 characters of `narthex secret`"]
        );
    }

    #[test]
    fn variables_are_read_as_dotenv_reads_them() {
        let text = "# comment\n\nA=1  # one\nB=https://a.example/?x=1#y\n C = \"a # b\" # c\nD='e'\nE=\nF=# none\nno entry\n";
        let read = variables(text);
        let read: Vec<(&str, &str)> =
            read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected =
            [("A", "1"), ("B", "https://a.example/?x=1#y"), ("C", "a # b"), ("D", "e"), ("E", ""), ("F", "")];
        assert_eq!(read, expected);
    }
}
