//! The list of what tokens are no longer good for, so that whoever verifies them on their own hears of a sign-out.
//!
//! A row is written in the transaction that ends a session, and stays for as long as a token of it may be valid. The
//! list is a token itself, with a type and an audience that no other has. Its number only grows: it is a row that every
//! such transaction locks, so of two lists the one with the greater number knows all that the other does. Who has a list
//! may wait here for the next one.
//!
//! Nothing like it is in upstream.

use super::Jwt;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{
    HeaderValue, StatusCode,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, WWW_AUTHENTICATE},
};
use narthex::{
    crypto::constant_time_eq,
    input::CoercedNumber,
    model,
    model::Ended,
    prelude::*,
    store::{Filter, Order, Record, Select},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Notify, Semaphore};

const PATH: &str = "/revocations";
/// No token is of this type, and none for this audience.
const TYPE: &str = "revocations+jwt";
const AUDIENCE: &str = "urn:narthex:revocations";
const MEDIA_TYPE: &str = "application/jwt";
/// For how long a list is a list.
const VALID: Duration = Duration::from_mins(5);
/// A list that is shown again is at most so old.
const SHOWN_AGAIN: Duration = Duration::from_secs(30);
/// What is shown at most. Of more, the older ones become one entry for everybody.
const MOST_ENTRIES: usize = 20_000;
/// Sessions of one user that are listed one by one.
const MOST_SESSIONS: usize = 500;
/// Rows of one statement, which has room for so many values.
const ROWS_AT_ONCE: usize = 1_000;
/// Clocks that differ, and a token that was being signed while its session ended.
const SLACK: Duration = Duration::from_mins(1);
/// Requests that wait; each has a look at the number every second.
const MOST_WAITING: usize = 256;
const LONGEST_WAIT: f64 = 25.0;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// The key of the row that counts.
const NUMBER: &str = "number";

model! {
    /// What tokens are no longer good for, and the number of the newest list.
    pub struct Revocation in "narthexRevocation" {
        /// `number`, or the number of the first list that has it and the place among those that came with it.
        KEY key: String = text("key").unique();
        /// `s:` and the hash of a session's id, `u:` and the hash of a user's id, or `g`.
        SUBJECT subject: String = text("subject");
        /// The number of the first list that has it.
        NUMBER number: i64 = big_integer("number");
        /// When it was revoked.
        CREATED_AT created_at: Time = time("createdAt");
        /// When no token is left that it concerns.
        EXPIRES_AT expires_at: Option<Time> = time("expiresAt").optional().index();
    }
}

/// The list is another.
struct Revoked;

impl Event for Revoked {
    const NAME: &'static str = "jwt.revoked";
}

/// The list that was made last, and who waits for the next.
pub(super) struct Feed {
    newest: tokio::sync::Mutex<Option<Arc<List>>>,
    news: Notify,
    waiting: Semaphore,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            newest: tokio::sync::Mutex::default(),
            news: Notify::new(),
            waiting: Semaphore::new(MOST_WAITING),
        }
    }
}

/// A list is that of one database: another engine with the same options has its own.
impl Clone for Feed {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Feed").finish_non_exhaustive()
    }
}

impl Feed {
    /// Waits until the number is another than `after`, if there is room; a revocation of this process is noticed at
    /// once, one of another within a second.
    async fn wait(&self, cx: &Ctx, after: f64, seconds: f64) -> Result<()> {
        let Ok(_place) = self.waiting.try_acquire() else { return Ok(()) };
        let mut looks = seconds.clamp(0.0, LONGEST_WAIT);
        while looks > 0.0 {
            // Before the look, so that nothing that comes after it is missed.
            let news = self.news.notified();
            let mut news = std::pin::pin!(news);
            news.as_mut().enable();
            #[expect(
                clippy::cast_precision_loss,
                reason = "milliseconds are whole numbers of a double for long"
            )]
            let number = number(cx).await? as f64;
            // As exact as a double can be: only another number matters.
            if (number - after).abs() > 0.5 {
                break;
            }
            tokio::select! {
                () = news => {}
                goes_on = cx.sleep(BETWEEN_LOOKS) => if !goes_on { break },
            }
            looks -= 1.0;
        }
        Ok(())
    }
}

struct List {
    number: i64,
    signed_at: Time,
    text: String,
}

input! {
    /// What is known already.
    pub(crate) struct RevocationsQuery {
        /// Seconds to wait for a list of another number than `after`, 25 at most.
        wait: Option<CoercedNumber>,
        /// The number of the list that is known.
        after: Option<CoercedNumber>,
    }
}

impl Jwt {
    pub(super) fn install_revocation(&self, setup: &mut Setup<'_, Self>) {
        setup.table(Revocation::table());
        setup.clear(Revocation::EXPIRES_AT);
        setup.on_sessions_ended(Self::revoke);
        setup.on::<Revoked>(Self::spread);
        let list = setup
            .get(PATH, Self::revocations)
            .without_cookies()
            .operation("getRevocations")
            .summary("Lists the sessions and users whose tokens no longer count, as a signed token.")
            .sends(MEDIA_TYPE, "The list, in compact form.")
            .answers(StatusCode::NOT_MODIFIED, "The list is that of `If-None-Match`.")
            .refuses(StatusCode::SERVICE_UNAVAILABLE, [Code::SERVICE_UNAVAILABLE]);
        if self.revocation_secret.is_some() {
            list.refuses(StatusCode::UNAUTHORIZED, [Code::UNAUTHORIZED]);
        }
    }

    /// Writes down what ends with these sessions, and that there is another list.
    async fn revoke(&self, tx: &mut Tx, ended: &[Ended]) -> Result<()> {
        let now = tx.now();
        let number = next_number(tx).await?;
        let ends = now + self.lifetime() + tx.remembered_for() + SLACK;
        let mut rows = Vec::new();
        for (place, subject) in subjects(ended).into_iter().enumerate() {
            rows.push(Revocation::new(tx, format!("{number}-{place}"), subject, number, Some(ends)));
        }
        for some in rows.chunks(ROWS_AT_ONCE) {
            tx.insert_all(some).await?;
        }
        tx.emit(Revoked);
        Ok(())
    }

    async fn spread(&self, _: &Ctx, _: &Revoked) {
        self.feed.news.notify_waiters();
    }

    /// `GET /revocations`
    async fn revocations(&self, cx: &mut Ctx, Query(query): Query<RevocationsQuery>) -> Result<Reply> {
        self.admit(cx)?;
        if let (Some(CoercedNumber(wait)), Some(CoercedNumber(after))) = (query.wait, query.after) {
            self.feed.wait(cx, after, wait).await?;
        }
        let list = self.list(cx).await?;
        let tag = format!("\"{}\"", list.number);
        let mut reply = Reply::empty(StatusCode::OK);
        if super::is_known(cx.headers(), &tag) {
            reply = Reply::empty(StatusCode::NOT_MODIFIED);
        } else {
            reply.set_body(list.text.clone());
            reply.set_header(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        }
        reply.set_header(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        // A number in quotes.
        if let Ok(tag) = HeaderValue::try_from(tag) {
            reply.set_header(ETAG, tag);
        }
        Ok(reply)
    }

    /// Only backends are told, unless everybody may know.
    fn admit(&self, cx: &Ctx) -> Result<()> {
        let Some(secret) = &self.revocation_secret else { return Ok(()) };
        let given = cx.headers().get(AUTHORIZATION).and_then(|given| given.to_str().ok());
        let given = given.and_then(crate::bearer::bearer).map(Sha256::digest);
        if given.is_some_and(|given| constant_time_eq(&given, &Sha256::digest(secret.expose()))) {
            return Ok(());
        }
        let challenge = HeaderValue::from_static("Bearer");
        Err(Error::unauthorized(Code::UNAUTHORIZED).header(WWW_AUTHENTICATE, challenge))
    }

    /// The newest list. One request at a time makes it.
    async fn list(&self, cx: &mut Ctx) -> Result<Arc<List>> {
        let mut newest = self.feed.newest.lock().await;
        // Before the rows are read: they may be newer than the number says, and never older.
        let number = number(cx).await?;
        let now = cx.now();
        let is_fresh = |list: &&Arc<List>| {
            list.number == number && list.signed_at <= now && now < list.signed_at + SHOWN_AGAIN
        };
        if let Some(list) = newest.as_ref().filter(is_fresh) {
            return Ok(Arc::clone(list));
        }
        let entries = entries(&self.rows(cx, now).await?);
        let seconds = now.millis().div_euclid(1000);
        let valid = i64::try_from(VALID.as_secs()).unwrap_or(i64::MAX);
        let payload = json!({
            "iss": self.issuer(cx),
            "aud": AUDIENCE,
            "iat": seconds,
            "exp": seconds.saturating_add(valid),
            "seq": number,
            "entries": entries,
        });
        let text = self.sign_list(cx, payload.to_string().into_bytes()).await?;
        let list = Arc::new(List { number, signed_at: now, text });
        *newest = Some(Arc::clone(&list));
        Ok(list)
    }

    async fn rows(&self, cx: &Ctx, now: Time) -> Result<Vec<Revocation>> {
        let current = Select::matching(Revocation::EXPIRES_AT.gt(now));
        let one_more = u32::try_from(MOST_ENTRIES).unwrap_or(u32::MAX).saturating_add(1);
        let newest_first = current.order_by(Revocation::CREATED_AT, Order::Descending).limit(one_more);
        Ok(cx.store().list(newest_first).await?)
    }

    async fn sign_list(&self, cx: &mut Ctx, payload: Vec<u8>) -> Result<String> {
        if let Some(shared) = self.shared() {
            return Ok(shared.sign_under(&format!(r#"{{"alg":"HS256","typ":"{TYPE}"}}"#), &payload));
        }
        let ready = self.ready(cx, self.jwks.key_pair_config.alg).await?;
        ready.sign(cx, Some(TYPE), payload).await
    }
}

impl Revocation {
    fn new(tx: &Tx, key: String, subject: String, number: i64, expires_at: Option<Time>) -> Self {
        Self {
            id: tx.new_id(),
            key,
            subject,
            number,
            created_at: tx.now(),
            expires_at,
            extra: Record::default(),
            hidden: Record::default(),
        }
    }

    /// As the list has it.
    fn entry(&self) -> Value {
        match self.subject.split_once(':') {
            Some(("s", hash)) => json!(["s", hash]),
            Some((_, hash)) => json!(["u", hash, after(self.created_at)]),
            None => json!(["g", after(self.created_at)]),
        }
    }
}

/// Of sessions and users only hashes are shown: whoever has an id can see whether it is meant.
fn hash(id: &str) -> String {
    let digest = Sha256::digest(id);
    URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default())
}

/// What is written down of it, each once. A user with very many sessions is one entry.
fn subjects(ended: &[Ended]) -> BTreeSet<String> {
    let mut sessions_of: HashMap<&str, usize> = HashMap::new();
    for ended in ended {
        if let Ended::Session { user_id, .. } = ended {
            *sessions_of.entry(user_id).or_default() += 1;
        }
    }
    let has_many = |user: &str| sessions_of.get(user).is_some_and(|count| *count > MOST_SESSIONS);
    let subject = |ended: &Ended| match ended {
        Ended::Session { user_id, .. } if has_many(user_id) => {
            format!("u:{}", hash(user_id))
        }
        Ended::Session { id, .. } => format!("s:{}", hash(id)),
        Ended::User { id } => format!("u:{}", hash(id)),
        Ended::Everybody => "g".to_owned(),
    };
    ended.iter().map(subject).collect()
}

/// The first second whose tokens were surely not made before this moment. Tokens say no more than the second in which
/// they were made, and one may be made between this moment and the commit.
fn after(moment: Time) -> i64 {
    moment.millis().div_euclid(1000).saturating_add(2)
}

/// Of more than can be shown, which the oldest are, all tokens of their time and before are refused: whoever is signed
/// in gets another.
fn entries(newest_first: &[Revocation]) -> Vec<Value> {
    let shown = newest_first.iter().take(MOST_ENTRIES).map(Revocation::entry);
    let rest = newest_first.get(MOST_ENTRIES).map(|first| json!(["g", after(first.created_at)]));
    rest.into_iter().chain(shown).collect()
}

/// Counts on, and locks the number until the commit: what is counted later is committed later. A database that was put
/// back to an older state counts on from the time.
async fn next_number(tx: &mut Tx) -> Result<i64> {
    let (now, nothing) = (tx.now().millis(), Revocation::KEY.eq(String::new()));
    let one = Revocation::new(tx, NUMBER.to_owned(), String::new(), 1, None);
    let counted = tx.tally(&one, Revocation::KEY, Revocation::NUMBER, nothing, Filter::everything()).await?;
    let number = counted.ok_or_else(|| Error::internal("the number of the list was not counted"))?.number;
    if number >= now {
        return Ok(number);
    }
    tx.update(Revocation::KEY.eq(NUMBER), Revocation::NUMBER.set(now)).await?;
    Ok(now)
}

/// The number of the newest list; 0 where nothing was revoked yet.
async fn number(cx: &Ctx) -> Result<i64> {
    let row = cx.store().find(Revocation::KEY.eq(NUMBER)).await?;
    Ok(row.map_or(0, |row| row.number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(user: &str, id: usize) -> Ended {
        Ended::Session { id: id.to_string(), user_id: user.to_owned() }
    }

    #[test]
    fn a_user_with_very_many_sessions_is_one_entry() {
        let mut ended: Vec<_> = (0..=MOST_SESSIONS).map(|id| session("many", id)).collect();
        ended.push(session("few", MOST_SESSIONS + 1));
        let few = format!("s:{}", hash(&(MOST_SESSIONS + 1).to_string()));
        assert_eq!(Vec::from_iter(subjects(&ended)), [few, format!("u:{}", hash("many"))]);
        ended.remove(0);
        assert_eq!(subjects(&ended).len(), MOST_SESSIONS + 1, "each by itself");
    }

    #[test]
    fn what_is_revoked_twice_is_there_once() {
        assert_eq!(subjects(&[session("ada", 1), session("ada", 1)]).len(), 1);
    }

    #[test]
    fn of_too_many_the_older_ones_are_one_entry_for_everybody() {
        let row = |moment: i64| Revocation {
            id: String::new(),
            key: String::new(),
            subject: format!("s:{moment}"),
            number: 0,
            created_at: Time::from_millis(moment * 1_000 + 999),
            expires_at: None,
            extra: Record::default(),
            hidden: Record::default(),
        };
        let rows: Vec<_> = (0..=i64::try_from(MOST_ENTRIES).expect("a number")).rev().map(row).collect();
        let shown = entries(rows.get(..MOST_ENTRIES).expect("so many"));
        assert_eq!(shown.len(), MOST_ENTRIES);
        assert_eq!(shown.first(), Some(&json!(["s", MOST_ENTRIES.to_string()])));
        let shown = entries(&rows);
        assert_eq!(shown.len(), MOST_ENTRIES + 1);
        assert_eq!(shown.first(), Some(&json!(["g", 2])), "the oldest is of the second before");
    }
}
