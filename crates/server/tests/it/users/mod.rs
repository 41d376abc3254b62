//! The commands about users: `user`, `session`, `import` and `export`.

mod export;
mod import;
mod people;
mod sessions;
mod terminal;

use super::{
    client::sign_in,
    database::Database,
    server::{Server, command, narthex},
};
use serde_json::Value;
use std::{
    fs,
    io::Write as _,
    process::{Output, Stdio},
};

/// Passwords that cost a millisecond, and no delays after wrong ones.
const PLAIN: &str = "[password]\nbcrypt-cost = 4\ndelay-after = 0\n";
/// A field of the operator's, and one that is not for clients.
const FIELDS: &str = "[user.additional-fields.level]\ntype = [\"beginner\", \"expert\"]\n[user.additional-fields.rank]\ntype = \"number\"\nrequired = false\ninput = false\n";
const PASSWORD: &str = "correct horse";
const HASH: &str = "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG";
/// What [`HASH`] is of.
const PHRASE: &str = "correct horse battery staple";

/// What a command answered.
struct Answer {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Answer {
    /// Its result, which must be one.
    #[track_caller]
    fn result(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.result()).unwrap()
    }

    /// What it says, having failed.
    #[track_caller]
    fn failure(self, code: i32) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{}", self.stderr);
        self.stderr
    }
}

/// A database with its tables and this configuration.
fn installed(name: &str, configuration: &str) -> Database {
    let database = Database::chosen(name);
    configure(&database, configuration);
    run(&database, &["migrate"], "").result();
    database
}

fn configure(database: &Database, configuration: &str) {
    fs::write(database.folder().join("narthex.toml"), configuration).unwrap();
}

/// Runs a command, with a text piped into it.
fn run(database: &Database, arguments: &[&str], stdin: &str) -> Answer {
    let mut command = narthex(database.folder());
    command.args(arguments).args(["--database", &database.url()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that does not read has ended by now, maybe.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Answer { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// A server on the same database.
fn serve(database: &Database) -> Server {
    let mut command = command(database.folder());
    command.args(["--database", &database.url()]);
    Server::spawn(command, database.folder())
}

/// Adds a user with [`PASSWORD`]; their id.
fn create(database: &Database, email: &str) -> String {
    let arguments = ["user", "create", email, "--name", "Ada", "--password-stdin", "--json"];
    let user = run(database, &arguments, PASSWORD).json();
    user["id"].as_str().unwrap().to_owned()
}

fn signs_in(server: &Server, email: &str, password: &str) -> u16 {
    server.connect().exchange(&sign_in(email, password)).status
}

fn users(database: &Database) -> i64 {
    database.number("select count(*) from \"user\"")
}
