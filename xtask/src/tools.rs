//! Running other programs, and finding or installing the few that the steps need.
//!
//! Whatever is missing is installed when that is possible without asking (root and apt), and is
//! otherwise named in one line together with its package.

use std::{
    ffi::OsStr,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// What a step makes, or one line saying what to do about it.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// A program that steps need and that a plain machine lacks.
pub(crate) struct Need {
    pub(crate) name: &'static str,
    /// Debian's and Ubuntu's package.
    pub(crate) package: &'static str,
    pub(crate) present: fn() -> bool,
}

/// Traces system calls: tests count a commit's `fsync`s with it.
pub(crate) const STRACE: Need =
    Need { name: "strace", package: "strace", present: || on_path("strace").is_some() };

/// Moves a process's clock: scenarios age the sessions of a running server with it.
pub(crate) const FAKETIME: Need =
    Need { name: "faketime", package: "faketime", present: || on_path("faketime").is_some() };

/// Makes certificates for servers of a run's own.
pub(crate) const OPENSSL: Need =
    Need { name: "openssl", package: "openssl", present: || on_path("openssl").is_some() };

/// What guides ask servers with.
pub(crate) const CURL: Need = Need { name: "curl", package: "curl", present: || on_path("curl").is_some() };

/// What guides read answers with.
pub(crate) const JQ: Need = Need { name: "jq", package: "jq", present: || on_path("jq").is_some() };

/// A transaction pooler: tests put it between the server and PostgreSQL. Debian has it where only root looks.
pub(crate) const PGBOUNCER: Need = Need {
    name: "PgBouncer",
    package: "pgbouncer",
    present: || on_path("pgbouncer").is_some() || Path::new("/usr/sbin/pgbouncer").is_file(),
};

/// Installs what is missing of `needs`, or says what to install.
pub(crate) fn provide(needs: &[Need]) -> Outcome {
    let missing = || needs.iter().filter(|need| !(need.present)()).collect::<Vec<_>>();
    let wanted = missing();
    if wanted.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = wanted.iter().map(|need| need.package).collect();
    if is_root() && on_path("apt-get").is_some() {
        keep_packaged_postgres_off()?;
        let apt = || {
            let mut command = Command::new("apt-get");
            command.env("DEBIAN_FRONTEND", "noninteractive");
            command
        };
        run(apt().args(["update", "--quiet"]))?;
        run(apt().args(["install", "--yes", "--quiet", "--no-install-recommends"]).args(&packages))?;
    }
    match missing().first() {
        None => Ok(()),
        Some(need) => Err(format!(
            "{} is missing; install it, for example: apt-get install {}",
            need.name,
            packages.join(" ")
        )),
    }
}

/// Debian makes and starts a cluster when PostgreSQL is installed, unless this file says otherwise.
fn keep_packaged_postgres_off() -> Outcome {
    let folder = Path::new("/etc/postgresql-common/createcluster.d");
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(folder.join("no-main-cluster.conf"), "create_main_cluster = false\n"))
        .map_err(|error| format!("{}: {error}", folder.display()))
}

/// The first file of that name in `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The repository's top folder.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// Runs cargo in the repository.
pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// Whether a server on this port says that it can be used.
pub(crate) fn is_ready(port: u16) -> bool {
    let request = "GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answer = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    answer().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
}

/// Shows a command, runs it with this terminal, and fails when it does.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let shown = shown(command);
    println!("$ {shown}");
    let status = command.status().map_err(|error| format!("{shown}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown}: {status}")) }
}

/// Runs a command without showing it and gives back what it printed.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    let shown = shown(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{shown}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{shown}: {}", output.status))
    }
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_named_with_its_arguments() {
        let problem = run(Command::new("false").arg("--flag")).unwrap_err();
        assert!(problem.starts_with("false --flag: exit status"), "{problem}");
        let problem = output(&mut Command::new("no-such-program")).unwrap_err();
        assert!(problem.starts_with("no-such-program: "), "{problem}");
    }

    #[test]
    fn the_output_of_a_program_is_given_back() {
        assert_eq!(output(Command::new("echo").arg("hello")), Ok("hello\n".to_owned()));
    }
}
