//! A running `narthex`, and what the kernel tells about it.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use super::client::{Client, get};

/// A page on another origin that the configuration of [`QUICK`] trusts.
pub(crate) const TRUSTED_ORIGIN: &str = "http://app.example";

/// Passwords that cost a millisecond, and a session that is renewed whenever it is looked at.
pub(crate) const QUICK: &str = r#"
trusted-origins = ["http://app.example"]
[password]
bcrypt-cost = 4
[session]
update-age = 0
"#;

/// Hundreds are started, and one of them could have the address of metrics.
const UNMEASURED: (&str, &str) = ("NARTHEX__METRICS__ENABLED", "false");

/// The command line of a server in `folder`, with nothing in its environment that says how to run.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = narthex(folder);
    command.arg("serve").envs([UNMEASURED]);
    command
}

/// The same for any of its commands.
pub(crate) fn narthex(folder: &Path) -> Command {
    in_folder(Command::new(env!("CARGO_BIN_EXE_narthex")), folder)
}

/// The same under strace, which writes the system calls named in `calls` to `folder/trace`.
pub(crate) fn traced_command(folder: &Path, calls: &str) -> Command {
    traced(folder, calls, &[])
}

/// The same, and strace makes some of them fail: `faults` are further options of its command line.
pub(crate) fn failing_command(folder: &Path, calls: &str, faults: &[&str]) -> Command {
    traced(folder, calls, faults)
}

/// The same server, started through another program: `prefix` is that program with its arguments.
pub(crate) fn through(prefix: &[&str], command: &Command) -> Command {
    let mut words = prefix.iter().map(OsStr::new).chain([command.get_program()]).chain(command.get_args());
    let mut through = Command::new(words.next().unwrap());
    through.args(words).stdin(Stdio::null());
    if let Some(folder) = command.get_current_dir() {
        through.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => through.env(name, value),
            None => through.env_remove(name),
        };
    }
    through
}

fn traced(folder: &Path, calls: &str, faults: &[&str]) -> Command {
    let is_there = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(is_there.is_ok(), "strace is missing; install it: apt-get install strace");
    let mut command = Command::new("strace");
    // Whole strings, names of files beside their numbers, and no stop at calls nobody asked for.
    command.args([
        "-f",
        "-y",
        "-ttt",
        "-s",
        "8192",
        "--seccomp-bpf",
        "-e",
        &format!("trace={calls}"),
        "-o",
        "trace",
    ]);
    command.args(faults);
    command.args([env!("CARGO_BIN_EXE_narthex"), "serve"]).envs([UNMEASURED]);
    in_folder(command, folder)
}

fn in_folder(mut command: Command, folder: &Path) -> Command {
    let decided = [
        "NARTHEX_",
        "BETTER_AUTH_",
        "AUTH_SECRET",
        "AUTH_URL",
        "DATABASE_URL",
        "PORT",
        "NODE_ENV",
        "CORS_ORIGINS",
        "LISTEN_",
        "NOTIFY_SOCKET",
        "WATCHDOG_",
    ];
    for (name, _) in std::env::vars_os() {
        if decided.iter().any(|part| name.to_string_lossy().contains(part)) {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// A server that was started and has said nothing yet. Killed when dropped.
pub(crate) struct Launched {
    child: Option<Child>,
    log: PathBuf,
}

impl Drop for Launched {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A server that is ready. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(super) pid: Pid,
    pub(crate) address: SocketAddr,
    pub(crate) banner: Vec<String>,
    log: PathBuf,
    // Whoever closes it makes the server's next line fail.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// With this configuration on a database of `folder`.
    pub(crate) fn start(folder: &Path, configuration: &str) -> Self {
        fs::write(folder.join("narthex.toml"), configuration).unwrap();
        Self::spawn(command(folder), folder)
    }

    /// Starts it on a free port and waits for its banner.
    pub(crate) fn spawn(command: Command, folder: &Path) -> Self {
        Self::wait_for_banner(Self::launch(command, folder))
    }

    /// Starts it on a free port; its log, named after nobody else's, is in `folder`.
    pub(crate) fn launch(mut command: Command, folder: &Path) -> Launched {
        let mut logs = (0..100).map(|number| folder.join(format!("log-{number}")));
        let log = logs.find(|log| !log.exists()).unwrap();
        command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        Launched { child: Some(command.spawn().unwrap()), log }
    }

    pub(crate) fn wait_for_banner(mut launched: Launched) -> Self {
        let child = launched.child.as_mut().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut banner: Vec<String> = Vec::new();
        while !banner.iter().any(|line| line.starts_with("  database")) {
            let mut line = String::new();
            if stdout.read_line(&mut line).unwrap() == 0 {
                let status = child.wait().unwrap();
                panic!("the server did not start: {status}\n{}", fs::read_to_string(&launched.log).unwrap());
            }
            banner.push(line.trim_end().to_owned());
        }
        let address = banner.iter().find_map(|line| line.strip_prefix("  listening")?.trim().parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address in the banner {banner:?}"));
        let own = child.id();
        // strace is the parent of what it watches.
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        let pid = children.split_whitespace().next().map_or(own, |pid| pid.parse().unwrap());
        let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
        let (child, log) = (launched.child.take().unwrap(), launched.log.clone());
        Self { child, pid, address, banner, log, _stdout: stdout }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn status_of(&self, path: &str) -> u16 {
        self.connect().exchange(&get(path, "")).status
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Ends it and reads all it has logged: what it logs while it runs is written a little later.
    pub(crate) fn log_at_end(self) -> String {
        let log = self.log.clone();
        assert_eq!(self.status_of("/health"), 200);
        assert!(self.stop().success());
        fs::read_to_string(log).unwrap()
    }

    pub(crate) fn process(&self) -> Pid {
        self.pid
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Ends it as a service manager does, but not in the moment between its banner and its listening for that.
    pub(crate) fn stop(self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.hears(Signal::TERM) {
            assert!(Instant::now() < deadline, "it does not listen for being told to stop");
            sleep(Duration::from_millis(1));
        }
        self.signal(Signal::TERM);
        self.wait()
    }

    fn hears(&self, signal: Signal) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid.as_raw_nonzero())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
        caught & (1 << (signal.as_raw() - 1)) != 0
    }

    /// Whether a password that costs much is being hashed: more time has gone into it than starting a thread takes.
    pub(crate) fn is_hashing(&self) -> bool {
        const HUNDREDTHS: u64 = 3;
        let spent = |stat: String| {
            let (name, rest) = stat.rsplit_once(") ")?;
            let user_time = rest.split(' ').nth(11)?.parse().ok()?;
            name.contains("(hash-").then_some(user_time)
        };
        self.threads("stat").filter_map(spent).any(|time: u64| time >= HUNDREDTHS)
    }

    /// Waits until every password that was sent is hashed: the threads have worked, and now nothing moves them.
    pub(crate) fn wait_until_hashed(&self, before: u64) {
        let mut still = 0;
        let mut last = before;
        let deadline = Instant::now() + Duration::from_secs(30);
        while still < 4 {
            assert!(Instant::now() < deadline, "the passwords were not hashed in time");
            sleep(Duration::from_millis(25));
            let threads = self.hash_threads();
            let woken = threads.iter().map(|(_, woken)| woken).sum();
            let is_still = woken == last && woken > before && threads.iter().all(|(state, _)| *state == 'S');
            still = if is_still { still + 1 } else { 0 };
            last = woken;
        }
    }

    /// How often the threads that hash passwords have gone to sleep; [`Self::wait_until_hashed`] needs it.
    pub(crate) fn hashing_so_far(&self) -> u64 {
        self.hash_threads().iter().map(|(_, woken)| woken).sum()
    }

    /// State and context switches of each.
    fn hash_threads(&self) -> Vec<(char, u64)> {
        let field = |status: &str, name: &str| {
            status
                .lines()
                .find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
                .unwrap_or_default()
        };
        self.threads("status")
            .filter(|status| field(status, "Name:").starts_with("hash-"))
            .map(|status| {
                let switches = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"];
                let switches = switches.iter().map(|name| field(&status, name).parse().unwrap_or(0)).sum();
                (field(&status, "State:").chars().next().unwrap_or('?'), switches)
            })
            .collect()
    }

    /// What the kernel says of each thread.
    fn threads(&self, file: &'static str) -> impl Iterator<Item = String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid.as_raw_nonzero())).unwrap();
        tasks.filter_map(move |task| fs::read_to_string(task.ok()?.path().join(file)).ok())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone in most tests. What strace watches does not end with strace.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(self.pid, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Waits for what somebody else does.
pub(crate) fn wait_for(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "it did not happen within twenty seconds");
        sleep(Duration::from_millis(10));
    }
}
