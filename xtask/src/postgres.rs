//! A PostgreSQL cluster of our own: made when a command needs one, gone when the command ends.
//!
//! It listens on a free loopback port and shares nothing with a cluster of the system. The server
//! runs as a child in the terminal's process group, so an interrupt stops it as well; what a killed
//! command leaves behind is swept by the next one. PostgreSQL refuses to run as root, so root runs
//! it as `postgres` or `nobody`.

use std::{
    fs::{self, File, Permissions},
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::tools::{Need, Outcome, is_root, on_path, target};

pub(crate) const NEED: Need =
    Need { name: "PostgreSQL", package: "postgresql", present: || binaries().is_some() };

/// What the cluster is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Nothing is written through to the disk.
    Tests,
    /// As durable as a real one, and on the second processor, beside the load generator.
    Measurement,
}

/// Who may connect to a cluster, and how.
#[derive(Clone, Copy)]
pub(crate) struct Access<'a> {
    pub(crate) user: &'a str,
    /// Everybody is believed to be that user where there is none.
    pub(crate) password: Option<&'a str>,
    /// A folder with `server.crt` and `server.key`: then nobody gets in without TLS.
    pub(crate) certificate: Option<&'a Path>,
}

const TRUST: Access<'static> = Access { user: "postgres", password: None, certificate: None };

/// A running cluster.
pub(crate) struct Postgres {
    server: Child,
    folder: PathBuf,
    binaries: PathBuf,
    account: Option<Account>,
    port: u16,
    user: String,
    password: Option<String>,
}

#[derive(Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl Postgres {
    /// Makes and starts a cluster that lets everybody on this machine in.
    pub(crate) fn start(purpose: Purpose) -> Outcome<Self> {
        Self::start_for(purpose, TRUST)
    }

    /// Makes and starts a cluster.
    pub(crate) fn start_for(purpose: Purpose, access: Access<'_>) -> Outcome<Self> {
        let binaries =
            binaries().ok_or("PostgreSQL is missing; install it, for example: apt-get install postgresql")?;
        let account = if is_root() {
            Some(
                unprivileged()
                    .ok_or("PostgreSQL does not run as root, and there is no user postgres or nobody")?,
            )
        } else {
            None
        };
        let folder = make_folder(account, &binaries)?;
        initialise(access, &binaries, account, &folder)?;

        // Between choosing a free port and listening on it somebody else may take it.
        let mut problem = String::new();
        for _ in 0..5 {
            let port = free_port()?;
            let server = spawn(purpose, access, &binaries, account, &folder, port)?;
            let mut postgres = Self {
                server,
                folder: folder.clone(),
                binaries: binaries.clone(),
                account,
                port,
                user: access.user.to_owned(),
                password: access.password.map(str::to_owned),
            };
            match postgres.wait_until_ready() {
                Ok(()) => return Ok(postgres),
                Err(log) => problem = log,
            }
            postgres.stop();
        }
        Err(format!("PostgreSQL did not start: {problem}"))
    }

    /// The address of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{}@127.0.0.1:{}/{database}", self.user, self.port)
    }

    /// Where it listens on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database.
    pub(crate) fn create_database(&self, name: &str) -> Outcome {
        let mut createdb = Command::new(self.binaries.join("createdb"));
        createdb.args(["--host=127.0.0.1", "--username", &self.user, "--port"]).arg(self.port.to_string());
        if let Some(password) = &self.password {
            createdb.env("PGPASSWORD", password);
        }
        quietly(createdb.arg(name))
    }

    fn wait_until_ready(&mut self) -> Outcome {
        let start = Instant::now();
        loop {
            if let Ok(Some(status)) = self.server.try_wait() {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(format!("{status}: {}", log.lines().last().unwrap_or_default()));
            }
            let mut ready = Command::new(self.binaries.join("pg_isready"));
            ready.args(["--quiet", "--host=127.0.0.1", "--username=postgres", "--port"]);
            if ready.arg(self.port.to_string()).status().is_ok_and(|status| status.success()) {
                return Ok(());
            }
            if start.elapsed() > Duration::from_mins(1) {
                return Err("not ready after a minute".to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop(&mut self) {
        if matches!(self.server.try_wait(), Ok(None))
            && !stop_cluster(&self.binaries, self.account, &self.folder)
        {
            drop(self.server.kill());
        }
        drop(self.server.wait());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// The folder with PostgreSQL's programs: the one in `PATH`, else Debian's newest.
fn binaries() -> Option<PathBuf> {
    let complete = |folder: &PathBuf| {
        ["initdb", "postgres", "pg_ctl", "pg_isready", "createdb"]
            .iter()
            .all(|program| folder.join(program).is_file())
    };
    // A link in `PATH` leads to the folder that has the rest.
    let linked = on_path("initdb").and_then(|file| fs::canonicalize(file).ok()?.parent().map(Path::to_owned));
    if let Some(folder) = linked.filter(complete) {
        return Some(folder);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, folder)| complete(folder))
        .collect();
    versions.sort();
    versions.pop().map(|(_, folder)| folder)
}

fn unprivileged() -> Option<Account> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    ["postgres", "nobody"].iter().find_map(|name| account_of(&users, name))
}

fn account_of(users: &str, name: &str) -> Option<Account> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(Account { user: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
}

/// A folder for this command's cluster that its account can reach and whose socket path is short
/// enough for the system: in the target folder, or else among the temporary files.
fn make_folder(account: Option<Account>, binaries: &Path) -> Outcome<PathBuf> {
    let mut problem = String::new();
    for parent in [target().join("postgres"), std::env::temp_dir().join("narthex-postgres")] {
        sweep(&parent, account, binaries);
        let folder = parent.join(std::process::id().to_string());
        let made = fs::create_dir_all(&folder).and_then(|()| match account {
            Some(account) => chown(&folder, Some(account.user), Some(account.group)),
            None => Ok(()),
        });
        if let Err(error) = made {
            problem = format!("{}: {error}", folder.display());
            continue;
        }
        let reached = as_account(Path::new("test"), account).arg("-w").arg(&folder).status();
        if reached.is_ok_and(|status| status.success()) && folder.as_os_str().len() < 80 {
            return Ok(folder);
        }
        problem = format!("{}: the account that runs PostgreSQL cannot use this folder", folder.display());
        drop(fs::remove_dir_all(&folder));
    }
    Err(problem)
}

/// Stops and removes what commands left that did not end well; their process ids name the folders.
fn sweep(parent: &Path, account: Option<Account>, binaries: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let owner = entry.file_name();
        if !Path::new("/proc").join(&owner).exists() {
            if entry.path().join("data/postmaster.pid").exists() {
                stop_cluster(binaries, account, &entry.path());
            }
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

/// Makes the files of a cluster.
fn initialise(access: Access<'_>, binaries: &Path, account: Option<Account>, folder: &Path) -> Outcome {
    let data = folder.join("data");
    let failed = |path: &Path, error: &std::io::Error| format!("{}: {error}", path.display());
    // Written by this user, and read by PostgreSQL's only.
    let hand_over = |path: &Path, text: &[u8]| {
        fs::write(path, text)
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o600)))
            .and_then(|()| account.map_or(Ok(()), |it| chown(path, Some(it.user), Some(it.group))))
            .map_err(|error| failed(path, &error))
    };
    let mut initdb = as_account(&binaries.join("initdb"), account);
    initdb.args(["--encoding=UTF8", "--locale=C", "--no-sync", "--username", access.user]);
    if let Some(password) = access.password {
        let file = folder.join("password");
        hand_over(&file, password.as_bytes())?;
        initdb.arg("--auth=scram-sha-256").arg("--pwfile").arg(file);
    } else {
        initdb.arg("--auth=trust");
    }
    quietly(initdb.arg("--pgdata").arg(&data))?;
    let Some(certificate) = access.certificate else { return Ok(()) };
    for name in ["server.crt", "server.key"] {
        let file = certificate.join(name);
        hand_over(&data.join(name), &fs::read(&file).map_err(|error| failed(&file, &error))?)?;
    }
    hand_over(&data.join("pg_hba.conf"), b"hostssl all all 127.0.0.1/32 scram-sha-256\n")
}

fn spawn(
    purpose: Purpose,
    access: Access<'_>,
    binaries: &Path,
    account: Option<Account>,
    folder: &Path,
    port: u16,
) -> Outcome<Child> {
    let program = binaries.join("postgres");
    let mut command = match purpose {
        Purpose::Tests => as_account(&program, account),
        Purpose::Measurement => {
            let mut command = as_account(Path::new("taskset"), account);
            command.args(["--cpu-list", "1"]).arg(&program);
            command
        }
    };
    let data = folder.join("data");
    command.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p"]).arg(port.to_string()).arg("-k").arg(&data);
    command.args(["-c", "max_connections=300"]);
    if access.certificate.is_some() {
        command.args(["-c", "ssl=on"]);
    }
    if purpose == Purpose::Tests {
        command.args(["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]);
    }
    let log = folder.join("log");
    let log = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().map_err(|error| format!("postgres: {error}"))
}

/// Whether the cluster in `folder` was told to stop and did.
fn stop_cluster(binaries: &Path, account: Option<Account>, folder: &Path) -> bool {
    let mut command = as_account(&binaries.join("pg_ctl"), account);
    command.args(["stop", "--silent", "--mode=immediate", "--pgdata"]).arg(folder.join("data"));
    quietly(&mut command).is_ok()
}

fn as_account(program: &Path, account: Option<Account>) -> Command {
    let mut command = Command::new(program);
    // The account may be barred from the folder this command was started in.
    command.current_dir("/");
    if let Some(Account { user, group }) = account {
        command.uid(user).gid(group);
    }
    command
}

fn quietly(command: &mut Command) -> Outcome {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().display().to_string();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// A loopback port nobody listens on at this moment.
pub(crate) fn free_port() -> Outcome<u16> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let users = "postgresql:x:7:8::/:/bin/sh\npostgres:x:101:104:PostgreSQL:/var:/bin/sh\n";
        let account = account_of(users, "postgres").unwrap();
        assert_eq!((account.user, account.group), (101, 104));
        assert!(account_of(users, "nobody").is_none());
    }
}
