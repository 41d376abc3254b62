//! The audit log: what was done, by whom, to whom, from where, and what was refused.
//!
//! Rows are added and, once they are older than they are to be kept, deleted; nothing changes one. They refer to
//! nothing, so that they outlive the user and the session that they name. Their ids are digits that begin with the
//! time: in the order of the ids is the order of time, whatever the database's collation, and no other index is needed
//! for it.

use crate::{
    Result,
    env::Env,
    happening::{Happening, Outcome},
    model,
    store::{self, Filter, Order, Select, Store, StoreError},
    time::Time,
};
use serde_json::Value as Json;
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

model! {
    /// Something that happened.
    pub struct AuditEntry in "audit_log" {
        /// When.
        CREATED_AT created_at: Time = time("created_at");
        /// What: `session.created`.
        EVENT event: String = text("event");
        /// `success`, or `failure`.
        OUTCOME outcome: String = text("outcome");
        /// How it was done, or why it was refused.
        REASON reason: Option<String> = text("reason").optional();
        /// Who did it: the id of a user, `cli`, or nothing where nobody has shown who they are.
        ACTOR actor: Option<String> = text("actor").optional();
        /// The user whom it concerns.
        USER_ID user_id: Option<String> = text("user_id").optional().index();
        /// The session that it concerns; not its token.
        SESSION_ID session_id: Option<String> = text("session_id").optional();
        /// Whom somebody named who did not prove to be them: a keyed hash.
        ACCOUNT account: Option<String> = text("account").optional().index();
        /// From where.
        IP_ADDRESS ip_address: Option<String> = text("ip_address").optional();
        /// With what.
        USER_AGENT user_agent: Option<String> = text("user_agent").optional();
        /// The name that a proxy gave the request.
        REQUEST_ID request_id: Option<String> = text("request_id").optional();
        /// What else there is to know.
        DETAILS details: Option<Json> = json("details").optional();
    }
}

/// Characters of a browser's name that are kept: it says what it likes, at any length.
const USER_AGENT_CHARACTERS: usize = 256;
/// Bytes of details that are kept.
const DETAILS_BYTES: usize = 1024;
/// Entries of a millisecond that keep their order.
const SEQUENCE: u32 = 1_000_000;
const DIGITS: &[u8] = b"0123456789";

/// On whose behalf, and from where.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Who did it, where that is not the user whom it concerns.
    pub actor: Option<String>,
    /// From where.
    pub ip_address: Option<String>,
    /// With what.
    pub user_agent: Option<String>,
    /// The name that a proxy gave the request.
    pub request_id: Option<String>,
}

/// The time in which so many failures are written down.
const WINDOW: Duration = Duration::from_mins(1);

/// Makes entries, and sees to it that a flood of failures does not become a flood of entries.
pub(crate) struct AuditLog {
    sequence: AtomicU32,
    failures_per_minute: u32,
    window: Mutex<Window>,
}

/// A minute of failures.
struct Window {
    began: Time,
    written: u32,
    omitted: u64,
}

impl AuditLog {
    pub(crate) fn new(failures_per_minute: u32) -> Self {
        let window = Window { began: Time::from_millis(0), written: 0, omitted: 0 };
        Self { sequence: AtomicU32::new(0), failures_per_minute, window: Mutex::new(window) }
    }

    /// Writes down what no transaction does: with the first of a minute how many before were too many.
    pub(crate) async fn write(
        &self,
        store: &Store,
        happening: &Happening,
        origin: &Origin,
    ) -> Result<(), StoreError> {
        // Each lock has cost its hundred guesses, and is what a flood of other failures would hide.
        let is_rare = happening.name == Happening::ACCOUNT_LOCKED;
        let admitted = if is_rare { Some(0) } else { self.admit(store.now()) };
        let Some(omitted) = admitted else { return Ok(()) };
        let mut entries = Vec::new();
        if omitted > 0 {
            let missing = Happening::new(Happening::AUDIT_OMITTED).counting(Some(omitted));
            entries.push(self.entry(store.env(), &missing, &Origin::default()));
        }
        entries.push(self.entry(store.env(), happening, origin));
        store.insert_all(entries).await
    }

    /// Whether one more is written down, and how many were not before this minute.
    fn admit(&self, now: Time) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        // Before its beginning: a clock has been set back.
        let is_over = now >= window.began + WINDOW || now < window.began;
        if is_over {
            (window.began, window.written) = (now, 0);
        }
        if window.written >= self.failures_per_minute {
            window.omitted = window.omitted.saturating_add(1);
            return None;
        }
        window.written += 1;
        Some(if is_over { std::mem::take(&mut window.omitted) } else { 0 })
    }

    pub(crate) fn entry(&self, env: &Env, happening: &Happening, origin: &Origin) -> AuditEntry {
        let is_done = happening.outcome == Outcome::Success;
        // Whoever failed has not shown who they are.
        let themselves = happening.user_id.as_ref().filter(|_| is_done);
        let actor = happening.actor.as_ref().or(origin.actor.as_ref()).or(themselves);
        let created_at = env.clock.now();
        let number = self.sequence.fetch_add(1, Ordering::Relaxed) % SEQUENCE;
        AuditEntry {
            id: format!("{}{number:06}{}", id_of(created_at), env.random_text(6, DIGITS)),
            created_at,
            event: happening.name.to_owned(),
            outcome: if is_done { "success" } else { "failure" }.to_owned(),
            reason: happening.reason.map(str::to_owned),
            actor: actor.cloned(),
            user_id: happening.user_id.clone(),
            session_id: happening.session_id.clone(),
            account: happening.account.clone(),
            ip_address: origin.ip_address.clone(),
            user_agent: origin
                .user_agent
                .as_ref()
                .map(|agent| agent.chars().take(USER_AGENT_CHARACTERS).collect()),
            request_id: origin.request_id.clone(),
            details: details(happening),
            extra: store::Record::default(),
            hidden: store::Record::default(),
        }
    }
}

fn details(happening: &Happening) -> Option<Json> {
    let mut details = happening.details.clone();
    if let Some(count) = happening.count {
        details.insert("count".to_owned(), count.into());
    }
    if details.is_empty() {
        return None;
    }
    let details = Json::Object(details);
    Some(if details.to_string().len() > DETAILS_BYTES { "too long".into() } else { details })
}

/// What the id of an entry of that millisecond begins with; it is below all of them.
fn id_of(time: Time) -> String {
    format!("{:014}", time.millis().max(0))
}

/// Entries that were made before.
pub(crate) fn before(time: Time) -> Filter<AuditEntry> {
    AuditEntry::ID.lt(id_of(time))
}

/// Which entries somebody wants to see.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// What concerns this user.
    pub user_id: Option<String>,
    /// Of whoever was named so, as [`Auth::account_hash`](crate::Auth::account_hash) has it; with a user, of either.
    pub account: Option<String>,
    /// Of this name.
    pub event: Option<String>,
    /// From then on.
    pub since: Option<Time>,
    /// Before this entry.
    pub before: Option<String>,
}

impl AuditQuery {
    /// The newest of them first.
    pub async fn newest(&self, store: &Store, limit: u32) -> Result<Vec<AuditEntry>> {
        let newest = Select::matching(self.filter()).order_by(AuditEntry::ID, Order::Descending);
        Ok(store.list(newest.limit(limit)).await?)
    }

    fn filter(&self) -> Filter<AuditEntry> {
        let user = self.user_id.as_ref().map(|id| AuditEntry::USER_ID.eq(id));
        let account = self.account.as_ref().map(|hash| AuditEntry::ACCOUNT.eq(hash.clone()));
        let whom = match (user, account) {
            (Some(user), Some(account)) => Some(user.or(account)),
            (user, account) => user.or(account),
        };
        let event = self.event.as_ref().map(|event| AuditEntry::EVENT.eq(event));
        let since = self.since.map(|since| AuditEntry::ID.gte(id_of(since)));
        let before = self.before.as_ref().map(|id| AuditEntry::ID.lt(id));
        [whom, event, since, before].into_iter().flatten().fold(Filter::everything(), Filter::and)
    }
}
