//! `narthex audit`: what was written down of what happened.

use super::{Failure, block_on, database, print};
use crate::settings::{Flags, Settings};
use narthex::{
    Auth, Config, Env, Migrate, Store, Time, chain,
    model::{AuditEntry, AuditQuery, User},
    store::StoreError,
};
use narthex_plugins::Plugins;
use std::time::Duration;

/// Entries that are asked for at a time.
const PAGE: u32 = 1_000;

/// What `narthex audit` takes.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only what concerns this user, and who tried to be them: an id or an address.
    #[arg(long, value_name = "ID OR ADDRESS")]
    user: Option<String>,
    /// Only what has this name, such as sign-in.failed.
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Only what happened since then: a date, a date and a time, or so long ago (7d, 12h, 30m).
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Since>,
    /// How many, the newest first.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: u32,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

/// A beginning.
#[derive(Clone, Copy)]
enum Since {
    Then(Time),
    Ago(Duration),
}

fn since(text: &str) -> Result<Since, String> {
    let ago = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "d" => 86_400,
            "h" => 3_600,
            "m" => 60,
            _ => return None,
        };
        Some(Since::Ago(Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(seconds)?)))
    };
    ago()
        .or_else(|| Time::parse(text).map(Since::Then))
        .ok_or_else(|| "must be like 2026-11-01, 2026-11-01T12:30:00Z, 7d, 12h or 30m".to_owned())
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut settings = Settings::load(&arguments.flags).map_err(Failure::Usage)?;
    if !settings.config.audit.enabled {
        return Err(Failure::Usage(vec!["audit.enabled = false: nothing is written down".to_owned()]));
    }
    database::must_exist(&settings)?;
    if !settings.find_secret().map_err(Failure::Failed)? {
        if arguments.user.is_some() {
            return Err(Failure::Usage(vec![
                "--user: those who failed are written down by a keyed hash of their address, and there is no secret here; run \
                 it with the server's BETTER_AUTH_SECRET, or in the folder of its narthex.toml"
                    .to_owned(),
            ]));
        }
        settings.imagine_secret();
    }
    block_on(async {
        let store = database::inspect(&settings).await?;
        let auth = reader(settings.config, &settings.options.plugins, store).await?;
        let query = query(arguments, &auth).await.map_err(|error| failed(&error))?;
        show(query, arguments, auth.store()).await
    })
}

/// An engine that asks the database alone, and leaves its tables as they are.
async fn reader(mut config: Config, plugins: &Plugins, store: Store) -> Result<Auth, Failure> {
    config.database.migrate = Migrate::Off;
    config.secondary_storage.url = None;
    config.rate_limit.storage = None;
    let builder = plugins.install(Auth::builder(config));
    builder.build(store).await.map_err(|error| Failure::Usage(error.problems))
}

async fn query(arguments: &Arguments, auth: &Auth) -> Result<AuditQuery, StoreError> {
    let now = Env::system().clock.now();
    let since = arguments.since.map(|since| match since {
        Since::Then(time) => time,
        Since::Ago(duration) => now - duration,
    });
    let mut query = AuditQuery { event: arguments.event.clone(), since, ..AuditQuery::default() };
    if let Some(named) = &arguments.user {
        let store = auth.store();
        let user = match store.find(User::EMAIL.eq(named.to_lowercase())).await? {
            None => store.find(User::ID.eq(named)).await?,
            user => user,
        };
        // Who is gone is still in the log, under the id that they had.
        query.account = Some(auth.account_hash(user.as_ref().map_or(named, |user| &user.email)));
        query.user_id = Some(user.map_or_else(|| named.clone(), |user| user.id));
    }
    Ok(query)
}

async fn show(mut query: AuditQuery, arguments: &Arguments, store: &Store) -> Result<(), Failure> {
    let mut left = arguments.limit;
    let mut rows = Vec::new();
    while left > 0 {
        let page = left.min(PAGE);
        let entries = query.newest(store, page).await.map_err(|error| Failure::Failed(chain(&error)))?;
        let is_last = u32::try_from(entries.len()).is_ok_and(|found| found < page);
        query.before = entries.last().map(|entry| entry.id.clone());
        if arguments.json {
            let lines: Vec<_> = entries.iter().map(as_json).collect::<Result<_, _>>()?;
            if !lines.is_empty() {
                print(&lines.join("\n"))?;
            }
        } else {
            rows.extend(entries.iter().map(as_row));
        }
        if is_last {
            break;
        }
        left -= page;
    }
    if arguments.json {
        return Ok(());
    }
    if rows.is_empty() {
        return print("nothing of the kind is written down");
    }
    print(&aligned(&rows))
}

fn failed(error: &StoreError) -> Failure {
    Failure::Failed(format!("{}; `narthex migrate` adds what a database lacks", chain(error)))
}

fn as_json(entry: &AuditEntry) -> Result<String, Failure> {
    let line = serde_json::to_string(entry).map_err(Failure::failed)?;
    // Nothing outside of texts is a control character, so that these are written as JSON has them.
    Ok(plain(&line, |character| format!("\\u{:04x}", u32::from(character))))
}

fn as_row(entry: &AuditEntry) -> Vec<String> {
    let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let details = entry.details.as_ref().map(ToString::to_string);
    let cells = [
        entry.created_at.to_string(),
        entry.event.clone(),
        entry.outcome.clone(),
        text(entry.reason.as_deref()),
        format!("by {}", entry.actor.as_deref().unwrap_or("-")),
        format!("user {}", entry.user_id.as_deref().unwrap_or("-")),
        format!("from {}", entry.ip_address.as_deref().unwrap_or("-")),
        details.unwrap_or_default(),
    ];
    cells.iter().map(|cell| plain(cell, |character| character.escape_unicode().to_string())).collect()
}

/// What a terminal would take for a command is shown as what it is.
fn plain(text: &str, escaped: impl Fn(char) -> String) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            plain.push_str(&escaped(character));
        } else {
            plain.push(character);
        }
    }
    plain
}

fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_a_date_or_so_long_ago() {
        let ago = |text| match since(text) {
            Ok(Since::Ago(duration)) => duration.as_secs(),
            _ => 0,
        };
        assert_eq!([ago("7d"), ago("12h"), ago("30m")], [604_800, 43_200, 1_800]);
        let then = |text| matches!(since(text), Ok(Since::Then(_)));
        assert!(then("2026-11-01") && then("2026-11-01T12:30:00Z"));
        for text in ["", "d", "7", "7w", "ü", "-1d", "99999999999999999999d", "tomorrow"] {
            assert!(since(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_terminal_is_given_no_commands() {
        assert_eq!(plain("a\u{1b}[2Jb\u{9b}", |c| c.escape_unicode().to_string()), "a\\u{1b}[2Jb\\u{9b}");
        assert_eq!(plain("ü\u{7f}", |c| format!("\\u{:04x}", u32::from(c))), "ü\\u007f");
    }
}
