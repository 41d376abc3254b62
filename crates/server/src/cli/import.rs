//! `narthex import`: users of another system, with the hashes of their passwords.
//!
//! The file is read twice. The first time everything is checked and nothing written; the second time what was right is
//! written, so many users in a transaction. What is in memory does not grow with the file, but for eight bytes or so for
//! each address and id in it, which show that one is there twice.

mod entry;
mod lines;

use self::{
    entry::{Entry, Reading},
    lines::{Format, Line, Lines},
};
use super::{Failure, block_on, database::Access, people, print, terminal::progress};
use crate::settings::Flags;
use http::StatusCode;
use narthex::{
    Auth, Error, chain,
    model::{Account, User},
    store::{Column, Filter, Model, Select, Tx},
};
use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    hash::{BuildHasher as _, RandomState},
    path::PathBuf,
};

/// Users that are looked for, and written, at one time: others wait for whoever writes.
const AT_ONCE: usize = 100;
/// Bytes of lines that are kept until so many users are there.
const KEPT: usize = 8 << 20;
/// Mistakes that are told one by one.
const TOLD: usize = 50;

/// What `narthex import` takes.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The file.
    file: PathBuf,
    /// How the file is written; its name says so when it ends in .csv or .jsonl.
    #[arg(long)]
    format: Option<Format>,
    /// Check the file and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Leave users alone who are there already. So an import that was cut off can be repeated.
    #[arg(long)]
    skip_existing: bool,
    /// Import what is right, and tell what is not.
    #[arg(long)]
    skip_invalid: bool,
    /// Leave out a field of the file; as often as there are some.
    #[arg(long = "ignore", value_name = "FIELD")]
    ignored: Vec<String>,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.file.display();
    let Some(format) = arguments.format.or_else(|| Format::of(&arguments.file)) else {
        return Err(Failure::Usage(vec![format!("{path}: say --format csv or --format jsonl")]));
    };
    block_on(async {
        let access = if arguments.dry_run { Access::Read } else { Access::Write };
        let auth = people::open(&arguments.flags, access).await?;
        let first = Pass::new(&auth, arguments, format, false).run().await?;
        if first.mistakes.count > 0 && !arguments.skip_invalid {
            let text = first.mistakes.told();
            return Err(Failure::Failed(format!("{path}: nothing was written\n{text}")));
        }
        if arguments.dry_run {
            first.mistakes.report(&path.to_string());
            return print(&format!("would import {}", first.tally.told()));
        }
        let second = Pass::new(&auth, arguments, format, true).run().await?;
        second.mistakes.report(&path.to_string());
        print(&format!("imported {}", second.tally.told()))
    })
}

/// One reading of the file.
struct Pass<'a> {
    auth: &'a Auth,
    arguments: &'a Arguments,
    format: Format,
    writes: bool,
    seen: Seen,
    tally: Tally,
    mistakes: Mistakes,
    /// Lines that are written in one transaction.
    at_once: usize,
}

/// What the file has had so far, as hashes.
#[derive(Default)]
struct Seen {
    state: RandomState,
    emails: HashSet<u64>,
    /// The ids of users, and whether the database has or gets those very users under them. It does not where the id or
    /// the address is another's there.
    ids: HashMap<u64, bool>,
    passwords: HashSet<u64>,
}

/// What became of the lines.
#[derive(Default)]
struct Tally {
    users: u64,
    passwords: u64,
    existing: u64,
    others: u64,
}

impl Tally {
    fn told(&self) -> String {
        let mut text = format!("{} users and {} passwords", self.users, self.passwords);
        if self.existing > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "; {} were there already", self.existing);
        }
        if self.others > 0 {
            let _ = write!(text, "; {} rows are no users and no passwords", self.others);
        }
        text
    }
}

/// What is wrong with lines: so many, and the rest as a number.
#[derive(Default)]
struct Mistakes {
    count: u64,
    first: Vec<(u64, String)>,
}

impl Mistakes {
    fn add(&mut self, line: u64, problem: impl Into<String>) {
        self.count += 1;
        if self.first.len() < TOLD {
            self.first.push((line, problem.into()));
        }
    }

    fn told(mut self) -> String {
        self.first.sort_by_key(|(line, _)| *line);
        let rest = self.count.saturating_sub(u64::try_from(self.first.len()).unwrap_or(u64::MAX));
        let mut lines: Vec<String> =
            self.first.into_iter().map(|(line, problem)| format!("  line {line}: {problem}")).collect();
        if rest > 0 {
            lines.push(format!("  and {rest} more mistakes"));
        }
        lines.join("\n")
    }

    fn report(self, path: &str) {
        if self.count > 0 {
            super::note(&format!("{path}: left out what is wrong\n{}", self.told()));
        }
    }
}

impl<'a> Pass<'a> {
    fn new(auth: &'a Auth, arguments: &'a Arguments, format: Format, writes: bool) -> Self {
        let (seen, tally, mistakes) = Default::default();
        Self { auth, arguments, format, writes, seen, tally, mistakes, at_once: AT_ONCE }
    }

    async fn run(mut self) -> Result<Self, Failure> {
        let (auth, arguments) = (self.auth, self.arguments);
        let failed = |problem: String| Failure::Failed(format!("{}: {problem}", arguments.file.display()));
        let mut lines = Lines::open(&arguments.file, self.format).map_err(failed)?;
        let has_texts_only = self.format == Format::Csv;
        let reading = Reading { auth, has_texts_only, ignored: &arguments.ignored };
        let unknown = reading.check_names(lines.header().iter());
        if !unknown.is_empty() {
            return Err(failed(format!("line 1: {}", unknown.join("\n  "))));
        }
        let mut batch: Vec<(u64, Entry)> = Vec::with_capacity(AT_ONCE);
        let mut kept = 0;
        loop {
            // What cannot be read any further is told with what was wrong before.
            let line = match lines.next() {
                Ok(line) => line,
                Err(problem) if self.mistakes.count == 0 => return Err(failed(problem)),
                Err(problem) => return Err(failed(format!("{problem}\n{}", self.mistakes.told()))),
            };
            let Some(Line { number, length, given }) = line else { break };
            match given.map_err(|problem| vec![problem]).and_then(|given| reading.entry(given)) {
                Ok(Entry::Other) => self.tally.others += 1,
                Ok(entry) => {
                    batch.push((number, entry));
                    kept += length;
                }
                Err(problems) => problems.into_iter().for_each(|problem| self.mistakes.add(number, problem)),
            }
            if batch.len() == AT_ONCE || kept >= KEPT {
                self.settle(&mut batch).await?;
                kept = 0;
                progress(Some(&format!(
                    "{} line {number}",
                    if self.writes { "writing" } else { "checking" }
                )));
            }
        }
        self.settle(&mut batch).await?;
        progress(None);
        Ok(self)
    }

    /// Decides about some lines, and writes what is to be written.
    async fn settle(&mut self, batch: &mut Vec<(u64, Entry)>) -> Result<(), Failure> {
        let there = There::look(self.auth, batch).await.map_err(|error| self.cut(&chain(&error)))?;
        let mut accepted = Vec::with_capacity(batch.len());
        for (line, entry) in batch.drain(..) {
            match self.decide(&there, &entry) {
                Decision::Add => accepted.push((line, entry)),
                Decision::Existing(_) if self.arguments.skip_existing => self.tally.existing += 1,
                Decision::Existing(what) => {
                    self.mistakes.add(line, format!("{what}; --skip-existing leaves such lines out"));
                }
                Decision::Refuse(problem) => self.mistakes.add(line, problem),
            }
        }
        if self.writes {
            if self.mistakes.count > 0 && !self.arguments.skip_invalid {
                let mistakes = std::mem::take(&mut self.mistakes).told();
                return Err(
                    self.cut(&format!("what was right when it was checked is not any more\n{mistakes}\n"))
                );
            }
            return self.write(&accepted).await;
        }
        self.count(&accepted);
        Ok(())
    }

    fn count(&mut self, entries: &[(u64, Entry)]) {
        for (_, entry) in entries {
            match entry {
                Entry::User { hash, .. } => {
                    self.tally.users += 1;
                    self.tally.passwords += u64::from(hash.is_some());
                }
                Entry::Password { .. } => self.tally.passwords += 1,
                Entry::Other => {}
            }
        }
    }

    fn decide(&mut self, there: &There, entry: &Entry) -> Decision {
        let seen = &mut self.seen;
        match entry {
            Entry::User { user, hash, has_id } => {
                let id = seen.state.hash_one(&user.id);
                let email_of_id = if *has_id { there.ids.get(&user.id) } else { None };
                let is_email_there = there.emails.contains(&user.email);
                if !seen.emails.insert(seen.state.hash_one(&user.email)) {
                    return Decision::Refuse("email: is in the file twice");
                }
                if *has_id {
                    if seen.ids.contains_key(&id) {
                        return Decision::Refuse("id: is in the file twice");
                    }
                    let is_same = email_of_id.map_or(!is_email_there, |email| *email == user.email);
                    seen.ids.insert(id, is_same);
                }
                if is_email_there {
                    return Decision::Existing("email: a user with this address is there already");
                }
                if email_of_id.is_some() {
                    return Decision::Existing("id: a user with this id is there already");
                }
                if hash.is_some() {
                    seen.passwords.insert(id);
                }
                Decision::Add
            }
            Entry::Password { user_id, .. } => {
                let id = seen.state.hash_one(user_id);
                if !seen.passwords.insert(id) {
                    return Decision::Refuse("userId: has a password in the file already");
                }
                // Elsewhere the same id may be another person's: only the user's own line says whose it is.
                match seen.ids.get(&id) {
                    None => Decision::Refuse(
                        "userId: no line before this one is of the user with this id; users come first, in the same file",
                    ),
                    Some(false) => {
                        Decision::Existing("userId: this user's id or address is somebody else's here")
                    }
                    Some(true) if there.with_password.contains(user_id) => {
                        Decision::Existing("userId: has a password already")
                    }
                    Some(true) => Decision::Add,
                }
            }
            Entry::Other => Decision::Add,
        }
    }

    async fn write(&mut self, mut entries: &[(u64, Entry)]) -> Result<(), Failure> {
        while !entries.is_empty() {
            let (some, rest) = entries.split_at(self.at_once.min(entries.len()));
            match self.write_together(some).await {
                Ok(()) => {
                    self.count(some);
                    entries = rest;
                }
                // Far from the database fewer fit into the time that a transaction has.
                Err((_, error)) if error.status() == StatusCode::SERVICE_UNAVAILABLE && some.len() > 1 => {
                    self.at_once = some.len() / 2;
                }
                Err((line, error)) => {
                    return Err(match people::refused(self.auth, &error) {
                        Failure::Failed(problem) => self.cut(&format!("line {line}: {problem}")),
                        failure @ Failure::Usage(_) => failure,
                    });
                }
            }
        }
        Ok(())
    }

    /// Writes some lines in one transaction; where it failed, and why.
    async fn write_together(&self, entries: &[(u64, Entry)]) -> Result<(), (u64, Error)> {
        let mut at = 0;
        let written = self
            .auth
            .transact(async |tx: &mut Tx| {
                for (line, entry) in entries {
                    at = *line;
                    match entry {
                        Entry::User { user, hash, .. } => {
                            let user = tx.users().create(user).await?;
                            if let Some(hash) = hash {
                                tx.accounts().create_credential(&user.id, hash.clone()).await?;
                            }
                        }
                        Entry::Password { user_id, hash } => {
                            tx.accounts().create_credential(user_id, hash.clone()).await?;
                        }
                        Entry::Other => {}
                    }
                }
                Ok(())
            })
            .await;
        written.map_err(|error| (at, error))
    }

    /// What stopped the import, and how to go on.
    fn cut(&self, problem: &str) -> Failure {
        let path = self.arguments.file.display();
        let Tally { users, passwords, .. } = self.tally;
        Failure::Failed(if self.writes {
            format!(
                "{path}: {problem}; {users} users and {passwords} passwords are written: run it again with --skip-existing"
            )
        } else {
            format!("{path}: {problem}; nothing was written")
        })
    }
}

/// What is to become of a line.
enum Decision {
    Add,
    Existing(&'static str),
    Refuse(&'static str),
}

/// What the database has of what some lines name.
struct There {
    emails: HashSet<String>,
    /// Addresses by id.
    ids: HashMap<String, String>,
    with_password: HashSet<String>,
}

impl There {
    async fn look(auth: &Auth, batch: &[(u64, Entry)]) -> narthex::store::Result<Self> {
        let entries = || batch.iter().map(|(_, entry)| entry);
        let emails = entries().filter_map(|entry| match entry {
            Entry::User { user, .. } => Some(&user.email),
            _ => None,
        });
        let ids = entries().filter_map(|entry| match entry {
            Entry::User { user, has_id: true, .. } => Some(&user.id),
            _ => None,
        });
        let owners = entries().filter_map(|entry| match entry {
            Entry::Password { user_id, .. } => Some(user_id),
            _ => None,
        });
        let emails: Vec<User> = any(auth, User::EMAIL, emails).await?;
        let ids: Vec<User> = any(auth, User::ID, ids).await?;
        let accounts: Vec<Account> = any(auth, Account::USER_ID, owners).await?;
        let with_password = accounts.into_iter().filter(|account| account.provider_id == "credential");
        Ok(Self {
            emails: emails.into_iter().map(|user| user.email).collect(),
            ids: ids.into_iter().map(|user| (user.id, user.email)).collect(),
            with_password: with_password.map(|account| account.user_id).collect(),
        })
    }
}

/// The rows that have one of these texts in a column.
async fn any<M: Model>(
    auth: &Auth,
    column: Column<M, String>,
    texts: impl Iterator<Item = &String>,
) -> narthex::store::Result<Vec<M>> {
    let filter = texts.map(|text| column.eq(text)).reduce(Filter::or);
    match filter {
        Some(filter) => auth.store().list(Select::matching(filter)).await,
        None => Ok(Vec::new()),
    }
}
