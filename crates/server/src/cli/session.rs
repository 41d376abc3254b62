//! `narthex session`: where users are signed in.

use super::{
    Failure, block_on,
    database::Access,
    note, people, print,
    terminal::{self, confirms},
    text::{columns, printable},
};
use crate::settings::Flags;
use narthex::model::Session;
use serde_json::Value as Json;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Lists the sessions of a user that have not ended.
    List(List),
    /// Ends sessions: one, all of a user, or all there are.
    Revoke(Revoke),
}

/// What `narthex session list` takes.
#[derive(clap::Args)]
pub(super) struct List {
    /// The user's id or address.
    user: String,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

/// What `narthex session revoke` takes.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true).args(["session", "user", "all"])))]
pub(super) struct Revoke {
    /// The session's id, as `narthex session list` shows it.
    session: Option<String>,
    /// All sessions of this user, or the named one of theirs: their id or address.
    #[arg(long, value_name = "ID OR EMAIL")]
    user: Option<String>,
    /// All sessions of everybody.
    #[arg(long, conflicts_with_all = ["session", "user"])]
    all: bool,
    /// Do not ask before all sessions of everybody are ended.
    #[arg(long, requires = "all")]
    yes: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::List(arguments) => block_on(list(arguments)),
        Command::Revoke(arguments) => {
            if arguments.all && !arguments.yes && !terminal::is_there() {
                return Err(Failure::Usage(vec![
                    "there is no terminal to ask whether this is meant; say --yes".to_owned(),
                ]));
            }
            block_on(revoke(arguments))
        }
    }
}

async fn list(arguments: &List) -> Result<(), Failure> {
    let auth = people::open(&arguments.flags, Access::Read).await?;
    let user = people::find(&auth, &arguments.user).await?;
    let sessions = auth.sessions_of(&user.id).await.map_err(|error| people::refused(&auth, &error))?;
    if arguments.json {
        let sessions: Vec<Json> = sessions.iter().map(as_json).collect();
        return print(&serde_json::to_string_pretty(&sessions).map_err(Failure::failed)?);
    }
    if sessions.is_empty() {
        note("no session");
        return Ok(());
    }
    let rows: Vec<[String; 5]> = sessions.iter().map(as_row).collect();
    print(&columns(&rows))
}

async fn revoke(arguments: &Revoke) -> Result<(), Failure> {
    let auth = people::open(&arguments.flags, Access::Write).await?;
    let refused = |error| people::refused(&auth, &error);
    let user = match &arguments.user {
        // Whoever is deleted may have left sessions there, which only their id finds.
        Some(id) if auth.has_secondary_storage() => {
            let user = auth.find_user(id).await.map_err(refused)?;
            Some(user.map_or_else(|| (id.clone(), id.clone()), |user| (user.id, user.email)))
        }
        Some(user) => Some(people::find(&auth, user).await.map(|user| (user.id, user.email))?),
        None => None,
    };
    let done = match (&arguments.session, &user) {
        (Some(id), user) => {
            if user.is_none() && !auth.has_sessions_in_database() {
                return Err(Failure::Usage(vec![
                    "sessions are in the secondary storage, which finds them by their user: name the user with --user"
                        .to_owned(),
                ]));
            }
            let user_id = user.as_ref().map(|(id, _)| id.as_str());
            if auth.revoke_session(id, user_id).await.map_err(refused)?.is_none() {
                return Err(Failure::Failed(format!("there is no session with the id {id:?}")));
            }
            format!("ended the session {}", printable(id))
        }
        (None, Some((id, name))) => {
            auth.revoke_sessions(id).await.map_err(refused)?;
            format!("ended all sessions of {}", printable(name))
        }
        (None, None) => {
            if !arguments.yes && !confirms("End all sessions of everybody?")? {
                return Err(Failure::failed("no session was ended"));
            }
            auth.revoke_all_sessions().await.map_err(refused)?;
            "ended all sessions".to_owned()
        }
    };
    print(&done)?;
    people::warn_of_cookies(&auth);
    Ok(())
}

/// A session without its token, with which anybody could have it.
pub(super) fn as_json(session: &Session) -> Json {
    let mut json = serde_json::to_value(session).unwrap_or_default();
    if let Some(members) = json.as_object_mut() {
        members.shift_remove("token");
    }
    json
}

/// A session in one line.
pub(super) fn describe(session: &Session) -> String {
    as_row(session).map(|cell| cell.trim().to_owned()).join(", ")
}

fn as_row(session: &Session) -> [String; 5] {
    let told = |text: &Option<String>, nothing: &str| match text.as_deref() {
        None | Some("") => nothing.to_owned(),
        Some(text) => printable(text),
    };
    [
        printable(&session.id),
        format!("since {}", session.created_at),
        format!("until {}", session.expires_at),
        told(&session.ip_address, "no address"),
        told(&session.user_agent, "no user agent"),
    ]
}
