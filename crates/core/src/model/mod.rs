//! The records every installation has, and the rules for them, written once over the store.
//!
//! A repository made from a `Tx` writes; one made from the `Store` only reads.
//! Upstream: `db/internal-adapter.ts`.

mod accounts;
pub(crate) mod audit;
pub(crate) mod fields;
pub(crate) mod guesses;
mod rate_limits;
pub(crate) mod sessions;
pub(crate) mod users;
pub(crate) mod verifications;

pub use self::{
    accounts::{Account, Accounts},
    audit::{AuditEntry, AuditQuery, Origin},
    fields::NewFields,
    guesses::{Guess, Guesses},
    rate_limits::RateLimit,
    sessions::{Ended, Session, SessionCreated, Sessions},
    users::{NewUser, User, UserCreated, Users},
    verifications::{Verification, Verifications},
};

use crate::{
    auth::AuthBuilder,
    env::Env,
    plugin::{Plugin, Setup},
    store::{Model, Tx},
};

/// Letters and digits, in the order in which upstream counts them.
const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// An identifier, or a session token: 32 letters and digits.
pub(crate) fn new_id(env: &Env) -> String {
    env.random_text(32, ALPHABET)
}

/// The tables of core, through the door that plugins use.
struct Tables;

impl Plugin for Tables {
    const ID: &'static str = "core";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.table(User::table());
        setup.table(Session::table());
        setup.table(Account::table());
        setup.table(Verification::table());
    }
}

/// A table that upstream does not have, so that there is a way to do without it.
struct GuessTable;

impl Plugin for GuessTable {
    const ID: &'static str = "guesses";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.table(Guess::table().own_ids());
    }
}

/// Another.
struct AuditTable;

impl Plugin for AuditTable {
    const ID: &'static str = "audit";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.table(AuditEntry::table().own_ids());
    }
}

pub(crate) fn install(builder: AuthBuilder) -> AuthBuilder {
    let counts_guesses = builder.config().password.max_failures > 0;
    let audits = builder.config().audit.enabled;
    let builder = builder.plugin(Tables);
    let builder = if counts_guesses { builder.plugin(GuessTable) } else { builder };
    if audits { builder.plugin(AuditTable) } else { builder }
}

impl Tx {
    /// Users, inside this transaction.
    pub fn users(&mut self) -> Users<&mut Self> {
        Users::new(self)
    }

    /// Accounts, inside this transaction.
    pub fn accounts(&mut self) -> Accounts<&mut Self> {
        Accounts::new(self)
    }

    pub(crate) fn guesses(&mut self) -> Guesses<&mut Self> {
        Guesses::new(self)
    }

    /// Sessions, inside this transaction.
    pub fn sessions(&mut self) -> Sessions<&mut Self> {
        Sessions::new(self)
    }

    /// Verifications, inside this transaction.
    pub fn verifications(&mut self) -> Verifications<&mut Self> {
        Verifications::new(self)
    }
}
