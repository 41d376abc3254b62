//! What is asked of a person at a terminal.

use super::{
    super::{database::Database, server::narthex},
    PASSWORD, PLAIN, create, installed, serve, signs_in, users,
};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    process::{Output, Stdio},
};

/// Runs a command whose stdin is a terminal at which these lines are typed: its exit code, what it says, and what the
/// terminal shows of what is typed.
fn at_terminal(database: &Database, arguments: &[&str], lines: &[&str]) -> (Option<i32>, String, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = OpenOptions::new().read(true).write(true).open(name).unwrap();
    let mut master = File::from(master);
    let mut command = narthex(database.folder());
    command.args(arguments).args(["--database", &database.url()]);
    command.stdin(Stdio::from(terminal)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut stderr = child.stderr.take().unwrap();
    let mut said = Vec::new();
    for line in lines {
        // Typed once it is asked for, as a person does: what is typed before is shown.
        let asked = said.len();
        while !said[asked..].ends_with(b": ") && !said[asked..].ends_with(b"] ") {
            let mut byte = [0];
            assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&said));
            said.push(byte[0]);
        }
        master.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
    stderr.read_to_end(&mut said).unwrap();
    let Output { status, .. } = child.wait_with_output().unwrap();
    let mut shown = [0; 4096];
    let length = master.read(&mut shown).unwrap_or(0);
    let shown = String::from_utf8_lossy(&shown[..length]).into_owned();
    (status.code(), String::from_utf8(said).unwrap(), shown)
}

#[test]
fn a_password_is_asked_for_twice_and_not_shown() {
    let database = installed("terminal_password", PLAIN);
    let arguments = ["user", "create", "ada@example.com", "--name", "Ada"];
    let (code, said, shown) = at_terminal(&database, &arguments, &["correct horse", "correct hose"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the two passwords differ") && !said.contains("horse"), "{said}");
    assert!(!shown.contains("horse"), "{shown}");
    assert_eq!(users(&database), 0);
    let (code, said, shown) = at_terminal(&database, &arguments, &[PASSWORD, PASSWORD]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!shown.contains("horse"), "{shown}");
    assert_eq!(signs_in(&serve(&database), "ada@example.com", PASSWORD), 200);
}

#[test]
fn what_cannot_be_undone_is_asked_about() {
    let database = installed("terminal_delete", PLAIN);
    create(&database, "ada@example.com");
    let arguments = ["user", "delete", "ada@example.com"];
    let (code, said, _) = at_terminal(&database, &arguments, &[""]);
    assert_eq!(code, Some(1));
    assert!(said.contains("Delete ada@example.com (") && said.contains("nothing was deleted"), "{said}");
    assert_eq!(users(&database), 1);
    let (code, said, _) = at_terminal(&database, &["session", "revoke", "--all"], &["n"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("no session was ended"), "{said}");
    let (code, said, _) = at_terminal(&database, &arguments, &["y"]);
    assert_eq!((code, users(&database)), (Some(0), 0), "{said}");
}
