//! The lines of a file of users, one at a time, whatever the file is like.
//!
//! No more than one line and a buffer is in memory.

use serde_json::{Map, Value as Json};
use std::{
    cell::Cell,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    rc::Rc,
};

/// The longest line of JSON: exports write long ones where users have documents.
const LONGEST_LINE: usize = 8 << 20;
/// The longest record of CSV, where a quote that nobody closes takes everything after it.
const LONGEST_RECORD: usize = 1 << 20;
/// The longest field of CSV.
const LONGEST_FIELD: usize = 64 << 10;
/// What a reader may have read ahead.
const BUFFER: usize = 64 << 10;

/// How a file of users is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Comma-separated values, the names of the fields in the first line.
    Csv,
    /// An object of JSON in each line.
    Jsonl,
}

impl Format {
    /// What the name of a file says.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" | "json" => Some(Self::Jsonl),
            _ => None,
        }
    }
}

/// What is on a line, or what is wrong with it.
pub(super) struct Line {
    pub(super) number: u64,
    /// Its length in bytes.
    pub(super) length: usize,
    pub(super) given: Result<Map<String, Json>, String>,
}

/// A file of users.
pub(super) enum Lines {
    Csv(Box<Csv>),
    Jsonl { input: BufReader<File>, number: u64 },
}

pub(super) struct Csv {
    reader: csv::Reader<Bounded>,
    left: Rc<Cell<usize>>,
    header: Vec<String>,
    record: csv::ByteRecord,
}

/// Reads no more for one record than a record may have.
pub(super) struct Bounded {
    input: BufReader<File>,
    left: Rc<Cell<usize>>,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 {
            return Err(io::Error::other(
                "is longer than 1048576 bytes; perhaps a quote is missing before it",
            ));
        }
        let read = self.input.read(buffer)?;
        self.left.set(self.left.get().saturating_sub(read));
        Ok(read)
    }
}

impl Lines {
    /// Opens a file; what is wrong with it as a whole is the error.
    pub(super) fn open(path: &Path, format: Format) -> Result<Self, String> {
        let input = File::open(path).map_err(|error| error.to_string())?;
        let mut input = BufReader::with_capacity(BUFFER, input);
        let beginning = input.fill_buf().map_err(|error| error.to_string())?;
        match beginning {
            [0xef, 0xbb, 0xbf, ..] => input.consume(3),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Err("is UTF-16; save it as UTF-8".to_owned()),
            _ => {}
        }
        match format {
            Format::Jsonl => Ok(Self::Jsonl { input, number: 0 }),
            Format::Csv => Csv::open(input).map(|csv| Self::Csv(Box::new(csv))),
        }
    }

    /// The names in the first line of CSV.
    pub(super) fn header(&self) -> &[String] {
        match self {
            Self::Csv(csv) => &csv.header,
            Self::Jsonl { .. } => &[],
        }
    }

    /// The next line that has something on it. After an error nothing more can be read.
    pub(super) fn next(&mut self) -> Result<Option<Line>, String> {
        match self {
            Self::Csv(csv) => csv.next(),
            Self::Jsonl { input, number } => next_json(input, number),
        }
    }
}

impl Csv {
    fn open(input: BufReader<File>) -> Result<Self, String> {
        let left = Rc::new(Cell::new(LONGEST_RECORD + BUFFER));
        let bounded = Bounded { input, left: Rc::clone(&left) };
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).buffer_capacity(BUFFER).from_reader(bounded);
        let header = reader.byte_headers().map_err(|error| format!("line 1: {}", told(error)))?.clone();
        let mut names: Vec<String> = Vec::new();
        for name in &header {
            let name = text(name).map_err(|problem| format!("line 1: the name of a column {problem}"))?;
            if names.contains(&name) {
                return Err(format!("line 1: the column {name:?} is there twice"));
            }
            names.push(name);
        }
        if names.is_empty() {
            return Err("is empty; the first line has the names of the columns".to_owned());
        }
        Ok(Self { reader, left, header: names, record: csv::ByteRecord::new() })
    }

    fn next(&mut self) -> Result<Option<Line>, String> {
        self.left.set(LONGEST_RECORD + BUFFER);
        let at = self.reader.position().line();
        match self.reader.read_byte_record(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Err(format!("line {at}: {}", told(error))),
        }
        let number = self.record.position().map_or(at, csv::Position::line);
        let length = self.record.as_slice().len();
        Ok(Some(Line { number, length, given: self.given() }))
    }

    fn given(&self) -> Result<Map<String, Json>, String> {
        let (there, named) = (self.record.len(), self.header.len());
        if there != named {
            return Err(format!(
                "has {there} fields and the first line names {named}; a field with a comma, a quote or an end of line in it stands in quotes"
            ));
        }
        let mut given = Map::new();
        for (name, bytes) in self.header.iter().zip(&self.record) {
            let text = text(bytes).map_err(|problem| format!("{name}: {problem}"))?;
            // CSV cannot tell an empty text from none.
            if !text.is_empty() {
                given.insert(name.clone(), Json::String(text));
            }
        }
        Ok(given)
    }
}

fn next_json(input: &mut BufReader<File>, number: &mut u64) -> Result<Option<Line>, String> {
    loop {
        let mut bytes = Vec::new();
        *number += 1;
        let most = u64::try_from(LONGEST_LINE).unwrap_or(u64::MAX);
        let read = input.take(most + 1).read_until(b'\n', &mut bytes);
        let failed = |error: io::Error| format!("line {number}: {error}");
        if read.map_err(failed)? == 0 {
            return Ok(None);
        }
        if bytes.len() > LONGEST_LINE {
            return Err(failed(io::Error::other("is longer than 8388608 bytes; each line is one object")));
        }
        let line = bytes.trim_ascii();
        if line.is_empty() {
            continue;
        }
        return Ok(Some(Line { number: *number, length: line.len(), given: object(line) }));
    }
}

fn object(line: &[u8]) -> Result<Map<String, Json>, String> {
    let line = std::str::from_utf8(line).map_err(|_| "is not UTF-8".to_owned())?;
    let object: Map<String, Json> = serde_json::from_str(line).map_err(|error| {
        // Where it is on the line, and not what is there: that may be a hash.
        format!("is no object of JSON (column {})", error.column())
    })?;
    for (name, value) in &object {
        check(value).map_err(|problem| format!("{}: {problem}", name.escape_debug()))?;
    }
    Ok(object)
}

/// Whether texts in a value can be kept.
fn check(value: &Json) -> Result<(), &'static str> {
    match value {
        Json::String(text) => check_text(text),
        Json::Array(items) => items.iter().try_for_each(check),
        Json::Object(members) => {
            members.iter().try_for_each(|(name, value)| check_text(name).and_then(|()| check(value)))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => Ok(()),
    }
}

fn check_text(text: &str) -> Result<(), &'static str> {
    if text.contains('\0') { Err("has a NUL in it, which PostgreSQL cannot keep") } else { Ok(()) }
}

fn text(bytes: &[u8]) -> Result<String, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?.trim();
    check_text(text)?;
    if text.len() > LONGEST_FIELD {
        return Err("is longer than 65536 bytes; perhaps a quote is missing before it");
    }
    Ok(text.to_owned())
}

fn told(error: csv::Error) -> String {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.to_string(),
        kind => format!("is no CSV: {kind:?}"),
    }
}
