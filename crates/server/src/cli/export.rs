//! `narthex export`: all that the configuration declares of the database, as JSON lines.

use super::{Failure, block_on, database::Access, note, people};
use crate::settings::Flags;
use narthex::{Auth, chain, store::Record};
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// Rows that are in memory at one time.
const PAGE: u32 = 200;

/// What `narthex export` takes.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only this table, by Better Auth's name; as often as there are some.
    #[arg(long = "table", value_name = "TABLE")]
    tables: Vec<String>,
    /// The file to write, which must not be there yet; `-` for stdout.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    flags: Flags,
}

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    table: &'a str,
    row: Row<'a>,
}

struct Row<'a>(&'a Record);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.0.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    block_on(async {
        let auth = people::open(&arguments.flags, Access::Read).await?;
        let tables = chosen(&auth, &arguments.tables)?;
        if arguments.output == Path::new("-") {
            let stdout = io::stdout().lock();
            return match write(&auth, &tables, BufWriter::new(stdout)).await {
                // A reader that has seen enough, such as `head`, is no failure.
                Err(Error::Written(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                outcome => outcome.map(drop).map_err(|error| error.told("stdout")),
            };
        }
        let path = arguments.output.display().to_string();
        let file = create(&arguments.output).map_err(|error| error.told(&path))?;
        match write(&auth, &tables, BufWriter::new(&file)).await.and_then(|rows| {
            file.sync_all()?;
            Ok(rows)
        }) {
            Ok(rows) => {
                note(&format!(
                    "{path} has {rows} rows of {}; it contains password hashes and tokens",
                    tables.join(", ")
                ));
                Ok(())
            }
            Err(error) => {
                // Part of an export is worse than none. That it cannot be deleted either changes nothing about what is
                // said.
                let _ = std::fs::remove_file(&arguments.output);
                Err(error.told(&path))
            }
        }
    })
}

/// The tables that were asked for, in the order in which they are made.
fn chosen(auth: &Auth, asked: &[String]) -> Result<Vec<&'static str>, Failure> {
    let all: Vec<&'static str> = auth.store().schema().tables().map(|table| table.name).collect();
    let unknown: Vec<String> = asked
        .iter()
        .filter(|name| !all.contains(&name.as_str()))
        .map(|name| format!("--table {name}: must be one of {}", all.join(", ")))
        .collect();
    if !unknown.is_empty() {
        return Err(Failure::Usage(unknown));
    }
    Ok(all.into_iter().filter(|name| asked.is_empty() || asked.iter().any(|asked| asked == name)).collect())
}

fn create(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    Ok(options.open(path)?)
}

/// Writes the lines, and answers how many.
async fn write(auth: &Auth, tables: &[&'static str], mut output: impl Write) -> Result<u64, Error> {
    let mut snapshot = auth.store().snapshot().await?;
    let mut rows = 0;
    for &table in tables {
        let mut after: Option<String> = None;
        loop {
            let page = snapshot.page(table, after.as_deref(), PAGE).await?;
            for row in &page {
                serde_json::to_writer(&mut output, &Line { table, row: Row(row) })
                    .map_err(io::Error::from)?;
                output.write_all(b"\n")?;
                rows += 1;
            }
            match page.last().and_then(|row| row.get("id")) {
                Some(narthex::store::Value::Text(id)) => after = Some(id.clone()),
                _ => break,
            }
        }
    }
    output.flush()?;
    Ok(rows)
}

enum Error {
    Read(narthex::store::StoreError),
    Written(io::Error),
}

impl From<narthex::store::StoreError> for Error {
    fn from(error: narthex::store::StoreError) -> Self {
        Self::Read(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Written(error)
    }
}

impl Error {
    fn told(&self, file: &str) -> Failure {
        Failure::Failed(match self {
            Self::Read(error) => chain(error),
            Self::Written(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                format!("{file} is there already; an export replaces nothing")
            }
            Self::Written(error) => format!("{file}: {error}"),
        })
    }
}
