//! The code blocks of a folder's Markdown files, and how one of them is found.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use crate::tools::Outcome;

/// All code blocks of a folder's Markdown files.
pub(super) struct Plans {
    folder: PathBuf,
    blocks: Vec<Block>,
}

/// A fenced block, and where it stands.
#[derive(Debug)]
pub(super) struct Block {
    file: String,
    line: usize,
    language: String,
    /// The last line with text before it.
    introduction: String,
    pub(super) code: String,
}

impl fmt::Display for Block {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file, self.line)
    }
}

impl Plans {
    /// Reads every `.md` file of the folder.
    pub(super) fn read(folder: &Path) -> Outcome<Self> {
        let failed = |path: &Path, error: &std::io::Error| format!("{}: {error}", path.display());
        let entries = fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
        files.sort();
        let mut blocks = Vec::new();
        for file in &files {
            let text = fs::read_to_string(file).map_err(|error| failed(file, &error))?;
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            blocks.extend(blocks_of(&name, &text));
        }
        Ok(Self { folder: folder.to_owned(), blocks })
    }

    /// The block whose first line is a comment with this path.
    pub(super) fn file(&self, language: &str, path: &str) -> Outcome<&Block> {
        self.only(language, &format!("whose first line is the comment {path}"), |block| {
            let first = block.code.lines().next().unwrap_or_default().trim();
            first.strip_prefix('#').or(first.strip_prefix("//")).is_some_and(|rest| rest.trim() == path)
        })
    }

    /// The block that follows a line with this text.
    pub(super) fn below(&self, language: &str, text: &str) -> Outcome<&Block> {
        self.only(language, &format!("below a line with {text}"), |block| block.introduction.contains(text))
    }

    /// The block that has this text in it.
    pub(super) fn with(&self, language: &str, text: &str) -> Outcome<&Block> {
        self.only(language, &format!("with {text} in it"), |block| block.code.contains(text))
    }

    fn only(&self, language: &str, what: &str, matches: impl Fn(&Block) -> bool) -> Outcome<&Block> {
        let found: Vec<&Block> =
            self.blocks.iter().filter(|block| block.language == language && matches(block)).collect();
        match found.as_slice() {
            [one] => Ok(one),
            [] => Err(format!("no ```{language} block {what} in the .md files of {}", self.folder.display())),
            several => {
                let places: Vec<String> = several.iter().map(ToString::to_string).collect();
                Err(format!("several ```{language} blocks {what}: {}", places.join(", ")))
            }
        }
    }
}

/// A block in a list is indented; its code is not.
fn blocks_of(file: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut introduction = "";
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            if !line.trim().is_empty() {
                introduction = line;
            }
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let mut code = String::new();
        for (_, line) in lines.by_ref().take_while(|(_, line)| line.trim() != "```") {
            let spaces = line.bytes().take(indent).take_while(|byte| *byte == b' ').count();
            code.push_str(line.get(spaces..).unwrap_or_default());
            code.push('\n');
        }
        blocks.push(Block {
            file: file.to_owned(),
            line: number + 1,
            language: language.trim().to_owned(),
            introduction: introduction.trim().to_owned(),
            code,
        });
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# Plan

```python
# tests/test_one.py
import one

if one:
    two()
```

1. **Settings** (`.env`):

   ```env
   A=1
     B=2
   ```

```ts
// tests/one.test.ts
```
```python
one = 1
```
";

    fn plans() -> Plans {
        Plans { folder: "plans".into(), blocks: blocks_of("plan.md", TEXT) }
    }

    #[test]
    fn a_block_is_found_by_its_file_by_what_is_above_it_or_by_what_is_in_it() {
        let plans = plans();
        let one = plans.file("python", "tests/test_one.py").unwrap();
        assert_eq!(one.code, "# tests/test_one.py\nimport one\n\nif one:\n    two()\n");
        assert_eq!(one.to_string(), "plan.md:3");
        assert_eq!(plans.file("ts", "tests/one.test.ts").unwrap().code, "// tests/one.test.ts\n");
        assert_eq!(plans.below("env", "**Settings** (`.env`)").unwrap().code, "A=1\n  B=2\n");
        assert_eq!(plans.with("python", "one = 1").unwrap().to_string(), "plan.md:21");
    }

    #[test]
    fn what_is_not_there_or_there_twice_is_named() {
        let plans = plans();
        assert_eq!(
            plans.file("python", "tests/test_two.py").unwrap_err(),
            "no ```python block whose first line is the comment tests/test_two.py in the .md files of plans"
        );
        assert_eq!(
            plans.with("python", "one").unwrap_err(),
            "several ```python blocks with one in it: plan.md:3, plan.md:21"
        );
        assert!(plans.file("ts", "tests/test_one.py").is_err());
    }
}
