//! `narthex config`: what is in force, and what there is.

use super::{Failure, print, tables};
use crate::settings::{self, Flags, Settings};
use narthex::store::without_password;
use std::fmt::Write as _;
use toml::{Table, Value};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Prints every option as it is in force, secrets as ***, and where each was written.
    Show(Flags),
    /// Prints the JSON schema of narthex.toml, for editors.
    Schema,
    /// Prints the reference of all options as Markdown.
    #[command(hide = true)]
    Reference,
    /// Prints the tables of the database as Markdown.
    #[command(hide = true)]
    Tables,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Show(flags) => print(&show(&Settings::load(flags).map_err(Failure::Usage)?)?),
        Command::Schema => {
            print(&serde_json::to_string_pretty(&settings::schema()).map_err(Failure::failed)?)
        }
        Command::Reference => print(&settings::reference()),
        Command::Tables => print(&tables::write()),
    }
}

fn show(settings: &Settings) -> Result<String, Failure> {
    let mut table = Table::try_from(&settings.options).map_err(Failure::failed)?;
    table.insert("listen".to_owned(), settings.listen.to_string().into());
    let mut config = settings.config.clone();
    config.database.url = Some(settings.database.clone());
    table.extend(Table::try_from(&config).map_err(Failure::failed)?);
    let mut text = String::new();
    let mut written: Vec<(&str, &str)> =
        settings.written.iter().map(|(key, place)| (key.as_str(), place.as_str())).collect();
    written.retain(|(key, _)| !settings.written.iter().any(|(other, _)| is_inside(other, key)));
    for (key, place) in written {
        writeln!(text, "# {place}: {key}").map_err(Failure::failed)?;
    }
    if !text.is_empty() {
        text.push('\n');
    }
    hide(&mut table);
    text.push_str(&toml::to_string(&table).map_err(Failure::failed)?);
    Ok(text)
}

fn is_inside(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.starts_with(['.', '[']))
}

/// Passwords in URLs. Secrets hide themselves.
fn hide(table: &mut Table) {
    for (key, value) in table.iter_mut() {
        match value {
            Value::Table(inner) => hide(inner),
            Value::String(text) if key == "url" || key == "endpoint" => *text = without_password(text),
            _ => {}
        }
    }
}
