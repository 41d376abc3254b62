//! A server on a Unix socket: who may connect, whom they speak for, and what becomes of the file.

use super::{
    binary::refused,
    client::{Client, get, sign_up},
    database::Database,
    server::{QUICK, command, narthex, wait_for},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
};

/// A server that listens on a socket in its folder. Killed when dropped.
struct Local {
    child: Child,
    path: PathBuf,
    /// What it has said once it was ready.
    said: Vec<String>,
    _stdout: BufReader<ChildStdout>,
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Local {
    fn start(folder: &Path, configuration: &str) -> Self {
        fs::write(folder.join("narthex.toml"), configuration).unwrap();
        Self::spawn(command(folder), folder)
    }

    fn spawn(mut command: Command, folder: &Path) -> Self {
        let path = folder.join("narthex.sock");
        command.args(["--listen", &format!("unix:{}", path.display())]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said: Vec<String> = Vec::new();
        while !said.iter().any(|line| line.starts_with("  database") || line.starts_with('{')) {
            let mut line = String::new();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it did not start: {:?}", child.wait());
            said.push(line.trim_end().to_owned());
        }
        Self { child, path, said, _stdout: stdout }
    }

    fn connect(&self) -> Client {
        Client::connect_unix(&self.path).unwrap()
    }

    fn stop(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }

    fn says(&self, line: &str) -> bool {
        self.said.iter().any(|said| said == line)
    }
}

/// What is in the folder besides database, secret and configuration.
fn sockets(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("sock")).collect()
}

/// A sign-up that comes by proxies.
fn forwarded(email: &str, header: &str) -> Vec<u8> {
    let request = String::from_utf8(sign_up(email)).unwrap();
    request.replacen("\r\n", &format!("\r\nx-forwarded-for: {header}\r\n"), 1).into_bytes()
}

#[test]
fn it_is_served_to_its_own_user_and_removed_at_the_end() {
    let database = Database::sqlite();
    let server = Local::start(database.folder(), QUICK);
    let mode = fs::metadata(&server.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(sockets(database.folder()), ["narthex.sock"]);
    let path = server.path.display();
    assert!(server.says(&format!("  listening  unix:{path}")), "{:?}", server.said);
    let attempt = format!("  try        curl --unix-socket {path} http://localhost/api/auth/ok");
    assert!(server.says(&attempt), "{:?}", server.said);
    let client = "  client     createAuthClient({ baseURL: \"http://localhost\" })";
    assert!(server.says(client), "{:?}", server.said);
    let mut client = server.connect();
    for answered in ["/health", "/ready", "/api/auth/ok"] {
        assert_eq!(client.exchange(&get(answered, "")).status, 200, "{answered}");
    }
    assert_eq!(client.exchange(&get("/metrics", "")).status, 404);
    assert_eq!(client.exchange(&sign_up("ada@example.com")).status, 200);
    assert!(server.stop().success());
    assert_eq!(sockets(database.folder()), [""; 0]);
}

#[test]
fn whoever_connects_is_believed_whom_it_speaks_for() {
    let database = Database::sqlite();
    let configuration = format!("{QUICK}[advanced]\ntrusted-proxies = [\"10.0.0.0/8\"]\n");
    let server = Local::start(database.folder(), &configuration);
    for (email, header, address) in [
        ("a@example.com", "203.0.113.7", "203.0.113.7"),
        ("b@example.com", "6.6.6.6, 203.0.113.8, 10.0.0.1", "203.0.113.8"),
        ("c@example.com", "nobody", "127.0.0.1"),
    ] {
        assert_eq!(server.connect().exchange(&forwarded(email, header)).status, 200, "{email}");
        let stored = format!(
            "select count(*) from session join user on user.id = userId where email = '{email}' and ipAddress = '{address}'"
        );
        assert_eq!(database.number(&stored), 1, "{email}");
    }
    assert_eq!(server.connect().exchange(&sign_up("d@example.com")).status, 200);
    assert_eq!(database.number("select count(*) from session where ipAddress = '127.0.0.1'"), 2);
}

#[test]
fn clients_have_limits_of_their_own() {
    let database = Database::sqlite();
    let configuration = format!(
        "{QUICK}[rate-limit]\nenabled = true\n[rate-limit.custom-rules]\n\"/sign-up/*\" = {{ window = 60, max = 1 }}\n"
    );
    let server = Local::start(database.folder(), &configuration);
    let mut client = server.connect();
    let mut status = |email: &str, header: &str| client.exchange(&forwarded(email, header)).status;
    assert_eq!(status("a@example.com", "203.0.113.7"), 200);
    assert_eq!(status("b@example.com", "203.0.113.7"), 429);
    assert_eq!(status("c@example.com", "203.0.113.8"), 200);
}

#[test]
fn the_socket_of_a_dead_server_is_replaced() {
    let database = Database::sqlite();
    let mut server = Local::start(database.folder(), QUICK);
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    assert_eq!(sockets(database.folder()), ["narthex.sock"], "nobody has removed it");
    let server = Local::start(database.folder(), QUICK);
    assert_eq!(server.connect().exchange(&get("/ready", "")).status, 200);
}

#[test]
fn a_living_server_keeps_its_socket() {
    let database = Database::sqlite();
    let server = Local::start(database.folder(), QUICK);
    let listen = format!("unix:{}", server.path.display());
    let line = refused(command(database.folder()).args(["--listen", &listen]), 1);
    let expected = format!(
        "narthex: cannot listen on {listen}: another server answers there; stop it, or set listen to another path\n"
    );
    assert_eq!(line, expected);
    assert_eq!(server.connect().exchange(&get("/ready", "")).status, 200);
}

#[test]
fn of_several_that_start_at_once_one_has_it() {
    let database = Database::sqlite();
    let path = database.folder().join("narthex.sock");
    // Left by a dead server, so that each wants to replace it.
    drop(UnixListener::bind(&path).unwrap());
    let listen = format!("unix:{}", path.display());
    let start = || {
        let mut command = command(database.folder());
        command.args(["--listen", &listen, "--for-parent"]).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut children: Vec<Child> = (0..6).map(|_| start()).collect();
    wait_for(|| children.iter_mut().filter_map(|child| child.try_wait().unwrap()).count() == 5);
    let mut client = Client::connect_unix(&path).unwrap();
    assert_eq!(client.exchange(&get("/ready", "")).status, 200);
    assert_eq!(sockets(database.folder()), ["narthex.sock"]);
    let outputs = children.into_iter().map(|child| child.wait_with_output().unwrap());
    let outputs: Vec<_> = outputs.collect();
    let lost: Vec<_> = outputs.iter().filter(|output| !output.status.success()).collect();
    assert_eq!(lost.len(), 5);
    for output in lost {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("another server"), "{said}");
    }
}

#[test]
fn who_else_may_connect_is_said() {
    let database = Database::sqlite();
    for (mode, bits) in [("0660", 0o660), ("0666", 0o666)] {
        let server = Local::start(database.folder(), &format!("socket-mode = \"{mode}\"\n{QUICK}"));
        assert_eq!(fs::metadata(&server.path).unwrap().permissions().mode() & 0o777, bits);
    }
    fs::write(database.folder().join("narthex.toml"), "socket-mode = \"0777\"\n").unwrap();
    let line = refused(&mut command(database.folder()), 2);
    let expected =
        "narthex: narthex.toml:1: socket-mode = \"0777\": must be \"0600\", \"0660\" or \"0666\"\n";
    assert_eq!(line, expected);
    fs::write(database.folder().join("narthex.toml"), "").unwrap();
    let mut by_variable = command(database.folder());
    by_variable.env("NARTHEX__SOCKET_MODE", "0660");
    let server = Local::spawn(by_variable, database.folder());
    assert_eq!(fs::metadata(&server.path).unwrap().permissions().mode() & 0o777, 0o660);
}

#[test]
fn places_where_there_can_be_no_socket_are_refused() {
    let database = Database::sqlite();
    let folder = database.folder();
    fs::write(folder.join("file"), "kept").unwrap();
    let long = format!("unix:{}/{}", folder.display(), "x".repeat(108));
    for (listen, code, problem) in [
        (
            "unix:no/such/narthex.sock",
            1,
            "there is no folder no/such; make it, or set listen to another path",
        ),
        ("unix:file", 1, "there is a file that is no socket; remove it, or set listen to another path"),
        ("unix:", 2, "must name the socket's file"),
        (&long, 2, "must be a shorter path: a Unix socket's has at most 107 bytes"),
    ] {
        let line = refused(command(folder).args(["--listen", listen]), code);
        assert!(line.contains(problem), "{listen}: {line}");
    }
    assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "kept");
    let configuration = "listen = \"unix:narthex.sock\"\n[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";
    fs::write(folder.join("narthex.toml"), configuration).unwrap();
    let lines = refused(&mut command(folder), 2);
    assert!(lines.contains("narthex.toml:3: tls.cert = \"cert.pem\": must be left out"), "{lines}");
}

#[test]
fn it_opens_no_port_that_nobody_asked_for() {
    let database = Database::sqlite();
    let start = |configuration: &str| {
        fs::write(database.folder().join("narthex.toml"), configuration).unwrap();
        let mut command = command(database.folder());
        command.env_remove("NARTHEX__METRICS__ENABLED");
        Local::spawn(command, database.folder())
    };
    let metrics = |server: &Local| server.said.iter().any(|line| line.starts_with("  metrics"));
    let server = start("");
    assert!(!metrics(&server), "{:?}", server.said);
    let sockets = fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap();
    let inodes: Vec<String> = sockets
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()?.to_str().map(str::to_owned))
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()))
        .collect();
    let ports = ["/proc/net/tcp", "/proc/net/tcp6"].map(|file| fs::read_to_string(file).unwrap_or_default());
    let is_port =
        |inode: &String| ports.iter().any(|table| table.split_whitespace().any(|word| word == inode));
    assert!(!inodes.iter().any(is_port), "{inodes:?}");
    assert!(server.stop().success());
    assert!(metrics(&start("[metrics]\nlisten = \"127.0.0.1:0\"\n")));
}

#[test]
fn commands_find_it() {
    let database = Database::sqlite();
    let listen = format!("unix:{}", database.folder().join("narthex.sock").display());
    let said = |words: &[&str]| {
        let output = narthex(database.folder()).args(words).args(["--listen", &listen]).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    };
    let (code, text) = said(&["health"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.starts_with(&format!("narthex: {listen} does not answer: ")), "{text}");
    let server = Local::start(database.folder(), QUICK);
    assert_eq!(said(&["health"]), (0, "ok\n".to_owned()));
    let (_, text) = said(&["config", "show"]);
    assert!(text.contains(&format!("listen = \"{listen}\"\n")), "{text}");
    let (code, text) = said(&["doctor"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(&format!("{listen}: this user may connect, and name the clients")), "{text}");
    assert!(server.stop().success());

    let output =
        narthex(database.folder()).args(["doctor", "--listen", "unix:no/such.sock"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("FAIL  listen             unix:no/such.sock: there is no folder no"), "{text}");
}

/// A server as a program starts it, and the end of it that the program keeps.
fn child_of_ours(folder: &Path) -> (Local, ChildStdin) {
    let mut command = command(folder);
    command.arg("--for-parent").stdin(Stdio::piped());
    let mut server = Local::spawn(command, folder);
    let stdin = server.child.stdin.take().unwrap();
    (server, stdin)
}

#[test]
fn a_program_that_starts_it_is_told_in_json_and_not_outlived() {
    let database = Database::sqlite();
    fs::write(
        database.folder().join("narthex.toml"),
        "base-url = \"https://app.example/auth\"\nsecret = \"a secret that is long enough for everybody\"\n",
    )
    .unwrap();
    let (mut server, stdin) = child_of_ours(database.folder());
    let said: Value = serde_json::from_str(&server.said[0]).unwrap();
    let listen = format!("unix:{}", server.path.display());
    let expected = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "baseURL": "https://app.example/auth",
        "basePath": "/auth",
        "listen": listen,
    });
    assert_eq!((said, server.said.len()), (expected, 1));
    assert_eq!(server.connect().exchange(&get("/ready", "")).status, 200);
    assert!(server.child.try_wait().unwrap().is_none(), "the program lives");
    drop(stdin);
    assert!(server.child.wait().unwrap().success());
    assert!(!server.path.exists());
}
