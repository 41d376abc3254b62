//! The store: transactions, atomic verbs, shared commits, migrations.

mod concurrency;
mod copy;
mod ids;
mod migrations;
mod names;
mod postgres;
mod transactions;
mod verifications;

use narthex::{Plugin, Setup, store::Model as _};
use narthex_testkit::TestApp;

narthex::model! {
    /// Something that can run out.
    pub struct Ticket in "ticket" {
        /// What it is called; no two are called the same.
        NAME name: String = text("name").unique();
        /// How often it can still be used.
        USES uses: i64 = big_integer("uses");
    }
}

impl Ticket {
    pub(super) fn named(name: &str, uses: i64) -> Self {
        let (extra, hidden) = Default::default();
        Self { id: name.to_owned(), name: name.to_owned(), uses, extra, hidden }
    }
}

/// Brings the table.
pub(super) struct Tickets;

impl Plugin for Tickets {
    const ID: &'static str = "tickets";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.table(Ticket::table());
    }
}

/// An app with the table.
pub(super) async fn app() -> TestApp {
    TestApp::with(Tickets).await
}

/// The names of all tickets, as another program sees them.
pub(super) async fn names(app: &TestApp) -> Vec<String> {
    let rows = app.database().rows("ticket", None).await;
    let mut names: Vec<_> = rows.iter().filter_map(|row| row["name"].as_str().map(str::to_owned)).collect();
    names.sort();
    names
}
