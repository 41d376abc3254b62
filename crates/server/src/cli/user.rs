//! `narthex user`: who can sign in.

use super::{
    Failure, block_on,
    database::Access,
    note, people, print, session,
    terminal::{self, confirms, new_password, piped_password},
    text::{columns, plain, printable},
};
use crate::settings::Flags;
use narthex::{
    Secret,
    input::Record,
    model::{Account, NewUser, User},
    store::{Filter, Order, Select},
};
use serde_json::{Value as Json, json};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Adds a user. The password is asked for, or read from stdin.
    Create(Create),
    /// Lists users, sorted by id.
    List(List),
    /// Shows a user with their accounts and sessions. Hashes and tokens are not shown.
    Show(Show),
    /// Gives a user another password, or a first one. Their sessions end, and wrong passwords are forgotten.
    SetPassword(SetPassword),
    /// Deletes a user with everything that hangs on them.
    Delete(Delete),
}

/// How a new password is given: never as an argument, which others on the machine can read.
#[derive(clap::Args)]
struct Password {
    /// Read the password from stdin.
    #[arg(long)]
    password_stdin: bool,
}

impl Password {
    fn read(&self) -> Result<Secret, Failure> {
        if self.password_stdin {
            piped_password()
        } else if terminal::is_there() {
            new_password()
        } else {
            Err(Failure::Usage(vec![
                "there is no terminal to ask for the password; pipe it in with --password-stdin".to_owned(),
            ]))
        }
    }
}

/// What `narthex user create` takes.
#[derive(clap::Args)]
pub(super) struct Create {
    /// Their address.
    email: String,
    /// What they are called.
    #[arg(long)]
    name: String,
    /// A field of your own, as often as there are some: `--field experienceLevel=beginner`
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = field)]
    fields: Vec<(String, String)>,
    /// They have shown already that the address is theirs.
    #[arg(long)]
    email_verified: bool,
    /// They have no password, and sign in some other way.
    #[arg(long, conflicts_with = "password_stdin")]
    without_password: bool,
    #[command(flatten)]
    password: Password,
    /// Print the user as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

/// What `narthex user list` takes.
#[derive(clap::Args)]
pub(super) struct List {
    /// Only those whose name or address has this text in it.
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Those that come after the one with this id.
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

/// What `narthex user show` takes.
#[derive(clap::Args)]
pub(super) struct Show {
    /// Their id or address.
    user: String,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

/// What `narthex user set-password` takes.
#[derive(clap::Args)]
pub(super) struct SetPassword {
    /// Their id or address.
    user: String,
    #[command(flatten)]
    password: Password,
    /// Let them stay signed in where they are.
    #[arg(long)]
    keep_sessions: bool,
    #[command(flatten)]
    flags: Flags,
}

/// What `narthex user delete` takes.
#[derive(clap::Args)]
pub(super) struct Delete {
    /// Their id or address.
    user: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Create(arguments) => create(arguments),
        Command::List(arguments) => block_on(list(arguments)),
        Command::Show(arguments) => block_on(show(arguments)),
        Command::SetPassword(arguments) => set_password(arguments),
        Command::Delete(arguments) => delete(arguments),
    }
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn create(arguments: &Create) -> Result<(), Failure> {
    block_on(async {
        let auth = people::open(&arguments.flags, Access::Write).await?;
        let refused = |error| people::refused(&auth, &error);
        let mut fields = Record::new();
        for (name, value) in &arguments.fields {
            if fields.insert(name.clone(), value.as_str().into()).is_some() {
                return Err(Failure::Usage(vec![format!("--field {name}: is given twice")]));
            }
        }
        auth.read_texts(&mut fields).map_err(refused)?;
        let new = NewUser {
            name: arguments.name.clone(),
            email: arguments.email.clone(),
            email_verified: arguments.email_verified,
            image: None,
        };
        let user = auth.new_user(new, fields).map_err(refused)?;
        // Not asked for what would be thrown away.
        if auth.find_user(&user.email).await.map_err(refused)?.is_some() {
            return Err(Failure::failed("somebody has this address already"));
        }
        let password = if arguments.without_password { None } else { Some(arguments.password.read()?) };
        let user = auth.create_user(&user, password.as_ref()).await.map_err(refused)?;
        if arguments.json {
            return print_json(&user);
        }
        print(&format!("created {} with the id {}", printable(&user.email), printable(&user.id)))
    })
}

async fn list(arguments: &List) -> Result<(), Failure> {
    let auth = people::open(&arguments.flags, Access::Read).await?;
    let mut filter = match &arguments.after {
        Some(id) => User::ID.gt(id),
        None => Filter::everything(),
    };
    if let Some(text) = &arguments.search {
        filter = filter.and(User::EMAIL.contains(text).or(User::NAME.contains(text)));
    }
    // One more says whether there are more.
    let page = Select::matching(filter).order_by(User::ID, Order::Ascending).limit(arguments.limit + 1);
    let mut users = auth.store().list(page).await.map_err(|error| people::refused(&auth, &error.into()))?;
    let limit = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let has_more = users.len() > limit;
    users.truncate(limit);
    if arguments.json {
        print_json(&users)?;
    } else if !users.is_empty() {
        let rows: Vec<[String; 5]> = users.iter().map(as_row).collect();
        print(&columns(&rows))?;
    }
    if let Some(last) = users.last().filter(|_| has_more) {
        note(&format!("there are more: --after {}", printable(&last.id)));
    }
    Ok(())
}

fn as_row(user: &User) -> [String; 5] {
    let verified = if user.email_verified { "verified" } else { "not verified" };
    [
        printable(&user.id),
        printable(&user.email),
        verified.to_owned(),
        user.created_at.to_string(),
        printable(&user.name),
    ]
}

async fn show(arguments: &Show) -> Result<(), Failure> {
    let auth = people::open(&arguments.flags, Access::Read).await?;
    let refused = |error| people::refused(&auth, &error);
    let user = people::find(&auth, &arguments.user).await?;
    let accounts = auth.ctx().accounts().of(&user.id).await.map_err(refused)?;
    let sessions = auth.sessions_of(&user.id).await.map_err(refused)?;
    if arguments.json {
        let sessions: Vec<Json> = sessions.iter().map(session::as_json).collect();
        return print_json(&json!({ "user": user, "accounts": accounts, "sessions": sessions }));
    }
    let record = serde_json::to_value(&user).map_err(Failure::failed)?;
    let row = |name: &str, value: String| [printable(name), value];
    let mut rows = vec![row("id", printable(&user.id))];
    let members = record.as_object().into_iter().flatten().filter(|(name, _)| *name != "id");
    rows.extend(members.map(|(name, value)| row(name, plain(value))));
    rows.extend(accounts.iter().map(|account| row("account", describe(account))));
    rows.extend(sessions.iter().map(|session| row("session", session::describe(session))));
    print(&columns(&rows))
}

fn describe(account: &Account) -> String {
    let what = match &account.password {
        Some(_) => "with a password".to_owned(),
        None => printable(&account.account_id),
    };
    format!("{}, {what}, since {}", printable(&account.provider_id), account.created_at)
}

fn set_password(arguments: &SetPassword) -> Result<(), Failure> {
    block_on(async {
        let auth = people::open(&arguments.flags, Access::Write).await?;
        let user = people::find(&auth, &arguments.user).await?;
        let password = arguments.password.read()?;
        let set = auth.set_password(&user, &password, arguments.keep_sessions).await;
        set.map_err(|error| match people::refused(&auth, &error) {
            Failure::Failed(problem) if error.status().is_server_error() && auth.has_secondary_storage() => {
                Failure::Failed(format!(
                    "{problem}; the password may be set already, and sessions in the secondary storage go on: say it again"
                ))
            }
            failure => failure,
        })?;
        let email = printable(&user.email);
        if arguments.keep_sessions {
            return print(&format!("{email} has a new password and stays signed in"));
        }
        print(&format!("{email} has a new password and is signed out everywhere"))?;
        people::warn_of_cookies(&auth);
        Ok(())
    })
}

fn delete(arguments: &Delete) -> Result<(), Failure> {
    if !arguments.yes && !terminal::is_there() {
        return Err(Failure::Usage(vec![
            "there is no terminal to ask whether this is meant; say --yes".to_owned(),
        ]));
    }
    block_on(async {
        let auth = people::open(&arguments.flags, Access::Write).await?;
        let user = people::find(&auth, &arguments.user).await?;
        let email = printable(&user.email);
        let question = format!("Delete {email} ({}) with all accounts and sessions?", printable(&user.id));
        if !arguments.yes && !confirms(&question)? {
            return Err(Failure::failed("nothing was deleted"));
        }
        match auth.delete_user(&user).await {
            Ok(Some(_)) => {
                print(&format!("deleted {email}"))?;
                people::warn_of_cookies(&auth);
                Ok(())
            }
            Ok(None) => Err(Failure::Failed(format!("{email} has just been deleted by somebody else"))),
            Err(error) => Err(people::refused(&auth, &error)),
        }
    })
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    print(&serde_json::to_string_pretty(value).map_err(Failure::failed)?)
}
