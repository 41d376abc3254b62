//! A PostgreSQL cluster for one test, which may stop it and start it again.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    env, fs,
    fs::File,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// The password of the user `postgres` of a cluster that asks for one.
pub(super) const PASSWORD: &str = "gEh3im-und-lang";

/// A cluster, and the way into it. Gone when dropped.
pub(super) struct Cluster {
    folder: TempDir,
    binaries: PathBuf,
    account: Option<(u32, u32)>,
    pub(super) port: u16,
    settings: Vec<String>,
    server: Option<Child>,
    runtime: Runtime,
}

impl Cluster {
    /// A running one that trusts everybody, where this run is about PostgreSQL.
    pub(super) fn start(settings: &[&str]) -> Option<Self> {
        Self::with_authentication("trust", settings, |_| {})
    }

    /// A running one that asks for [`PASSWORD`]; `prepare` puts files beside its data.
    pub(super) fn with_authentication(
        method: &str,
        settings: &[&str],
        prepare: impl FnOnce(&Path),
    ) -> Option<Self> {
        #[expect(clippy::disallowed_methods, reason = "this is how a test run chooses its database")]
        env::var("TEST_DATABASE").ok().filter(|url| url.starts_with("postgres"))?;
        let binaries = binaries().expect("PostgreSQL is there, for TEST_DATABASE names one");
        let account = account();
        let folder = TempDir::new().unwrap();
        own(folder.path(), account);
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        own(&password, account);
        let mut initdb = run_as(&binaries.join("initdb"), account);
        initdb.args(["--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "--auth", method]);
        initdb.arg("--pwfile").arg(&password).arg("--pgdata").arg(folder.path().join("data"));
        let output = initdb.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        prepare(&folder.path().join("data"));
        for entry in fs::read_dir(folder.path().join("data")).unwrap() {
            own(&entry.unwrap().path(), account);
        }
        let mut cluster = Self {
            folder,
            binaries,
            account,
            port: free_port(),
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            server: None,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        };
        cluster.resume();
        Some(cluster)
    }

    /// Starts it where it was stopped.
    pub(super) fn resume(&mut self) {
        let data = self.folder.path().join("data");
        let mut command = run_as(&self.binaries.join("postgres"), self.account);
        command.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p"]).arg(self.port.to_string());
        command.arg("-k").arg(&data).args(["-c", "fsync=off", "-c", "max_connections=60"]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let log = File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut server = command.spawn().unwrap();
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.runtime.block_on(self.config().connect(NoTls)).is_err() {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(server.try_wait().unwrap().is_none(), "PostgreSQL did not start: {}", log());
            assert!(Instant::now() < deadline, "PostgreSQL is not ready: {}", log());
            sleep(Duration::from_millis(50));
        }
        self.server = Some(server);
    }

    /// Ends every session and stops.
    pub(super) fn stop(&mut self) {
        self.end(Signal::INT);
    }

    fn end(&mut self, how: Signal) {
        let Some(mut server) = self.server.take() else { return };
        let _ = kill_process(Pid::from_child(&server), how);
        server.wait().unwrap();
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The folder of its Unix socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn config(&self) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).user("postgres").password(PASSWORD).dbname("postgres");
        config
    }

    /// The first column of what a query answers.
    pub(super) fn ask(&self, query: &str) -> Vec<String> {
        self.runtime.block_on(async {
            let (client, connection) = self.config().connect(NoTls).await.unwrap();
            tokio::select! {
                answer = first_column(&client, query) => answer,
                ended = connection => panic!("PostgreSQL ended the connection: {ended:?}"),
            }
        })
    }

    /// Begins a transaction with this in it, which lasts until what comes back is dropped.
    pub(super) fn hold(&self, statements: &str) -> Held {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = self.config().connect(NoTls).await.unwrap();
            #[expect(
                clippy::disallowed_methods,
                reason = "the driver's connection has to be polled by someone"
            )]
            tokio::spawn(connection);
            client.batch_execute(&format!("begin; {statements}")).await.unwrap();
            client
        });
        Held { _client: client, _runtime: runtime }
    }

    /// How many connections Narthex has.
    pub(super) fn connections(&self) -> usize {
        self.ask("select pid from pg_stat_activity where application_name = 'narthex'").len()
    }

    /// Ends them all from the other side; how many there were.
    pub(super) fn cut_connections(&self) -> usize {
        let cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'narthex'";
        self.ask(cut).len()
    }
}

/// A transaction of somebody else's.
pub(super) struct Held {
    _client: Client,
    _runtime: Runtime,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end(Signal::QUIT);
    }
}

pub(super) async fn first_column(client: &Client, query: &str) -> Vec<String> {
    let messages = client.simple_query(query).await.unwrap();
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    });
    rows.collect()
}

/// Where PostgreSQL's programs are: beside the one in `PATH`, else where Debian has the newest.
fn binaries() -> Option<PathBuf> {
    let has_all = |folder: &PathBuf| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file());
    let path = env::var_os("PATH").unwrap_or_default();
    let linked = env::split_paths(&path).find_map(|folder| fs::canonicalize(folder.join("initdb")).ok());
    if let Some(folder) = linked.and_then(|file| file.parent().map(Path::to_owned)).filter(has_all) {
        return Some(folder);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, folder)| has_all(folder))
        .collect();
    versions.sort();
    versions.pop().map(|(_, folder)| folder)
}

/// PostgreSQL and PgBouncer refuse to run as root.
pub(super) fn account() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let account = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(account("postgres").or_else(|| account("nobody")).expect("an account other than root"))
}

pub(super) fn own(path: &Path, account: Option<(u32, u32)>) {
    if let Some((user, group)) = account {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

pub(super) fn run_as(program: &Path, account: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    // The account may be barred from the folder of the test run.
    command.current_dir("/");
    if let Some((user, group)) = account {
        command.uid(user).gid(group);
    }
    command
}

/// A loopback port nobody listens on at this moment.
pub(super) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
