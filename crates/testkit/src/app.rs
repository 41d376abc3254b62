//! An engine for one test.

use crate::{
    browser::Browser,
    database::Database,
    probe::{HEADER, Job, Jobs, PATH, Probe},
    redact::Redactor,
    world::{FixedClock, Inbox, InstantTimer, ScriptedFetch, SeededEntropy},
};
use bytes::Bytes;
use http::Request;
use narthex::{
    Auth, AuthBuilder, BoxFuture, BuildError, Clock as _, Config, Ctx, Env, Plugin, SecondaryStorage, Store,
};
use serde_json::Value;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The secret of every test.
pub const SECRET: &str = "a-secret-for-tests-that-is-long-enough";

/// An engine on a database of its own. Dropping it fails the test when mail was left unread, an answer of another
/// server was not asked for, or a server error was not expected.
pub struct TestApp {
    auth: Auth,
    clock: FixedClock,
    inbox: Inbox,
    fetch: ScriptedFetch,
    jobs: Jobs,
    failures: Arc<Failures>,
    database: Arc<Database>,
    origin: String,
}

/// Says what an app is made of.
#[must_use = "an app is made by `build`"]
pub struct Builder {
    config: Config,
    plugins: Vec<Box<dyn FnOnce(AuthBuilder) -> AuthBuilder + Send>>,
    clock: FixedClock,
    timer: Option<InstantTimer>,
    database: Option<Arc<Database>>,
    seed: u64,
}

/// Server errors that nobody has expected.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<(u64, Vec<(u64, String)>)>);

impl Failures {
    pub(crate) fn add(&self, failure: String) -> u64 {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.0 += 1;
        let number = failures.0;
        failures.1.push((number, failure));
        number
    }

    pub(crate) fn forgive(&self, number: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.retain(|(other, _)| *other != number);
    }

    fn all(&self) -> Vec<String> {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.1.iter().map(|(_, failure)| failure.clone()).collect()
    }
}

impl Default for Builder {
    fn default() -> Self {
        let mut config = Config { secret: Some(SECRET.into()), ..Config::default() };
        // The lowest there is: a test hashes to see who wins, not to resist anyone.
        config.password.bcrypt_cost = 4;
        // A test asks as often as it needs; those about limits switch them on.
        config.rate_limit.enabled = Some(false);
        Self {
            config,
            plugins: Vec::new(),
            clock: FixedClock::default(),
            timer: None,
            database: None,
            seed: 1,
        }
    }
}

impl Builder {
    /// Changes the configuration.
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Adds a plugin.
    pub fn plugin<P: Plugin>(mut self, plugin: P) -> Self {
        self.plugins.push(Box::new(|builder| builder.plugin(plugin)));
        self
    }

    /// Adds whatever this adds, in its place among the plugins.
    pub fn install(mut self, add: impl FnOnce(AuthBuilder) -> AuthBuilder + Send + 'static) -> Self {
        self.plugins.push(Box::new(add));
        self
    }

    /// Has this timer in place of the system's.
    pub fn timer(mut self, timer: &InstantTimer) -> Self {
        self.timer = Some(timer.clone());
        self
    }

    /// Uses the database of another app, or one that the test has prepared.
    pub fn database(mut self, database: &Arc<Database>) -> Self {
        self.database = Some(Arc::clone(database));
        self
    }

    /// Keeps sessions and verifications there.
    pub fn secondary(mut self, storage: impl SecondaryStorage) -> Self {
        self.plugins.push(Box::new(|builder| builder.secondary_storage(storage)));
        self
    }

    /// Draws other identifiers: two apps on one database must not draw the same.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Makes the app.
    pub async fn build(self) -> TestApp {
        self.try_build().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes the app, or says everything that stands in the way.
    pub async fn try_build(self) -> Result<TestApp, BuildError> {
        let (inbox, fetch, jobs) = (Inbox::default(), ScriptedFetch::default(), Jobs::default());
        let database = match self.database {
            Some(database) => database,
            None => Arc::new(Database::fresh().await),
        };
        let mut env = Env {
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SeededEntropy::new(self.seed)),
            mailer: Arc::new(inbox.clone()),
            fetch: Arc::new(fetch.clone()),
            ..Env::system()
        };
        if let Some(timer) = self.timer {
            env.timer = Arc::new(timer);
        }
        let origin = url::Url::parse(&self.config.base_url).map(|url| url.origin().ascii_serialization());
        let builder = Auth::builder(self.config).env(env).plugin(Probe(jobs.clone()));
        let builder = self.plugins.into_iter().fold(builder, |builder, add| add(builder));
        let store = Store::open(database.url()).await.expect("the database opens");
        let auth = builder.build(store).await?;
        Ok(TestApp {
            auth,
            clock: self.clock,
            inbox,
            fetch,
            jobs,
            failures: Arc::default(),
            database,
            origin: origin.unwrap_or_default(),
        })
    }
}

impl TestApp {
    /// The endpoints every installation has, with their default options.
    pub async fn new() -> Self {
        Self::builder().build().await
    }

    /// With other options.
    pub async fn with_config(change: impl FnOnce(&mut Config)) -> Self {
        Self::builder().config(change).build().await
    }

    /// With a plugin.
    pub async fn with(plugin: impl Plugin) -> Self {
        Self::builder().plugin(plugin).build().await
    }

    /// With whatever the test needs.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A browser without cookies.
    pub fn browser(&self) -> Browser {
        Browser::new(self.auth.clone(), self.clock.clone(), Arc::clone(&self.failures), self.origin.clone())
    }

    /// The engine.
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// The database behind the store.
    pub fn store(&self) -> &Store {
        self.auth.store()
    }

    /// The database, as another program sees it.
    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// The messages that were sent.
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Other servers.
    pub fn fetch(&self) -> &ScriptedFetch {
        &self.fetch
    }

    /// The clock.
    pub fn clock(&self) -> &FixedClock {
        &self.clock
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Runs `work` inside a request, where transactions can be had.
    ///
    /// Dropping the future drops the request, and `work` with it.
    pub async fn inside<T: Send + 'static>(
        &self,
        work: impl for<'a> FnOnce(&'a mut Ctx) -> BoxFuture<'a, T> + Send + 'static,
    ) -> T {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let job: Job = Box::new(move |cx| {
            let working = work(cx);
            Box::pin(async move {
                // Whoever asked may have left.
                let _ = sender.send(working.await);
            })
        });
        let request =
            Request::get(format!("{}{PATH}", self.auth.base_path())).header(HEADER, self.jobs.add(job));
        let response = self.auth.handle(request.body(Bytes::new()).expect("a request")).await;
        assert_eq!(response.status(), 204, "the request ran to its end");
        receiver.await.expect("the job has answered")
    }

    /// All rows of a table as another program sees them, oldest first.
    pub async fn rows(&self, table: &str) -> Rows {
        let schema = self.store().schema().table(table).map(|table| &**table);
        let rows = self.database.rows(schema.map_or(table, |schema| &schema.relation), schema).await;
        Rows { rows, redactor: Redactor::new(self.clock.now(), SECRET) }
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let (failures, unread, unused) = (self.failures.all(), self.inbox.unread(), self.fetch.unused());
        assert!(failures.is_empty(), "unexpected server errors: {failures:#?}");
        assert!(unread.is_empty(), "unread mail: {unread:#?}");
        assert!(unused.is_empty(), "requests that were not made: {unused:#?}");
    }
}

/// Rows of a table. Shown redacted, one line each.
pub struct Rows {
    rows: Vec<Value>,
    redactor: Redactor,
}

impl std::ops::Deref for Rows {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.rows
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, row) in self.rows.iter().enumerate() {
            let mut row = row.clone();
            self.redactor.value("", &mut row);
            let separator = if position == 0 { "" } else { "\n" };
            write!(f, "{separator}{row}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use narthex::{Entropy as _, Mail, Mailer as _};
    use serde_json::json;
    use std::collections::HashSet;

    async fn broken() -> TestApp {
        let app = TestApp::new().await;
        app.database().execute("alter table account rename to gone").await;
        app
    }

    #[tokio::test]
    #[should_panic(expected = "unexpected server errors")]
    async fn a_server_error_that_nobody_expects_fails_the_test() {
        let app = broken().await;
        let _ = app.browser().post("/sign-in/email", json!({ "email": "a@b.co", "password": "x" })).await;
    }

    #[tokio::test]
    async fn a_server_error_that_is_expected_does_not() {
        let app = broken().await;
        let call = app.browser().post("/sign-in/email", json!({ "email": "a@b.co", "password": "x" }));
        let _ = call.await.expecting(500);
    }

    #[tokio::test]
    #[should_panic(expected = "unread mail: [\n    \"welcome ada@example.com\",\n]")]
    async fn mail_that_nobody_reads_fails_the_test() {
        let app = TestApp::new().await;
        app.inbox().send(Mail::new("welcome", "ada@example.com")).await.expect("an inbox takes everything");
    }

    #[tokio::test]
    #[should_panic(expected = "requests that were not made")]
    async fn an_answer_that_nobody_asks_for_fails_the_test() {
        let app = TestApp::new().await;
        app.fetch().answer("GET https://example.com/", http::Response::new(Bytes::new()));
    }

    #[tokio::test]
    async fn other_servers_answer_what_is_written_down_and_nothing_else() {
        let app = TestApp::new().await;
        app.fetch().answer("GET https://example.com/keys", http::Response::new(Bytes::from("{}")));
        let ask = |url: &'static str| {
            app.inside(move |cx| {
                Box::pin(
                    async move { cx.fetch(Request::get(url).body(Bytes::new()).expect("a request")).await },
                )
            })
        };
        assert_eq!(ask("https://example.com/keys").await.expect("it is written down").body(), "{}");
        assert!(ask("https://example.com/keys").await.is_err());
        assert_eq!(app.fetch().seen().len(), 2);
    }

    #[test]
    fn the_same_seed_draws_the_same_bytes_and_none_twice() {
        let draw = |seed| {
            let (entropy, mut bytes) = (SeededEntropy::new(seed), vec![0; 80_000]);
            entropy.fill(&mut bytes);
            bytes
        };
        assert_eq!(draw(1), draw(1));
        let (one, two) = (draw(1), draw(2));
        let distinct: HashSet<_> = one.chunks(8).chain(two.chunks(8)).collect();
        assert_eq!(distinct.len(), 20_000);
    }

    #[tokio::test]
    async fn both_databases_show_a_row_in_the_same_form() {
        let app = TestApp::new().await;
        let _ = app
            .browser()
            .post(
                "/sign-up/email",
                json!({ "name": "Ada", "email": "ada@example.com", "password": "correct horse" }),
            )
            .await;
        assert_eq!(
            app.rows("user").await.to_string(),
            r#"{"id":"[id]","name":"Ada","email":"ada@example.com","emailVerified":false,"image":null,"createdAt":"[now]","updatedAt":"[now]"}"#
        );
    }
}
