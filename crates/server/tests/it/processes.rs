//! Two processes on one database: nothing is ever had twice.

use super::{
    client::sign_up,
    database::Database,
    server::{QUICK, Server, command},
};
use narthex::{Auth, Config, Plugin, Setup, Store, model, store::Model as _};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};
use tokio::runtime::Runtime;

/// Names the database of a worker, in its environment.
const WORKER: &str = "NARTHEX_TEST_WORKER";
/// Takers in each process.
const TAKERS: usize = 32;

model! {
    /// Something that one of many gets.
    pub struct Ticket in "ticket" {
        /// Whose it is to be.
        HOLDER holder: String = text("holder");
    }
}

struct Tickets;

impl Plugin for Tickets {
    const ID: &'static str = "tickets";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.table(Ticket::table());
    }
}

async fn open(url: &str) -> Auth {
    let config =
        Config { secret: Some("a secret that is long enough for it".to_owned().into()), ..Config::default() };
    Auth::builder(config).plugin(Tickets).build(Store::open(url).await.unwrap()).await.unwrap()
}

/// How many of [`TAKERS`] concurrent takers got the ticket.
async fn take(auth: &Auth, ticket: &str) -> usize {
    let takers = (0..TAKERS).map(|_| {
        let (auth, ticket) = (auth.clone(), ticket.to_owned());
        async move { auth.store().take(Ticket::ID.eq(ticket)).await.unwrap() }
    });
    let mut set = tokio::task::JoinSet::new();
    takers.for_each(|taker| drop(set.spawn(taker)));
    set.join_all().await.into_iter().flatten().count()
}

#[test]
fn sixty_four_takers_in_two_processes_make_one_winner() {
    let database = Database::chosen("take");
    let runtime = Runtime::new().unwrap();
    let auth = runtime.block_on(open(&database.url()));
    let mut worker = Worker::start(&database.url());
    for round in 0..20 {
        let ticket = Ticket {
            id: format!("ticket-{round}"),
            holder: "nobody".to_owned(),
            extra: narthex::store::Record::default(),
            hidden: narthex::store::Record::default(),
        };
        runtime.block_on(auth.store().insert(&ticket)).unwrap();
        worker.ask(&ticket.id);
        let ours = runtime.block_on(take(&auth, &ticket.id));
        let theirs = worker.answer();
        assert_eq!(ours + theirs, 1, "round {round}: {ours} here, {theirs} in the other process");
        let left = runtime.block_on(auth.store().count(Ticket::ID.eq(ticket.id))).unwrap();
        assert_eq!(left, 0);
    }
}

#[test]
fn sixty_four_sign_ups_with_one_address_in_two_processes_make_one_user() {
    let database = Database::chosen("sign_up");
    fs::write(database.folder().join("narthex.toml"), QUICK).unwrap();
    let start = || {
        let mut command = command(database.folder());
        command.args(["--database", &database.url()]);
        Server::launch(command, database.folder())
    };
    let servers = [start(), start()].map(Server::wait_for_banner);
    for round in 0..5 {
        let address = format!("user-{round}@example.com");
        let mut clients: Vec<_> = (0..64).map(|number| servers[number % 2].connect()).collect();
        for client in &mut clients {
            client.send(&sign_up(&address)).unwrap();
        }
        let mut statuses: Vec<_> =
            clients.iter_mut().map(|client| client.receive().unwrap().status).collect();
        statuses.sort_unstable();
        assert_eq!((statuses[0], &statuses[1..]), (200, &[422; 63][..]), "round {round}");
        for table in ["user", "account", "session"] {
            assert_eq!(database.number(&format!("select count(*) from \"{table}\"")), round + 1, "{table}");
        }
    }
}

#[test]
fn servers_that_start_at_once_in_an_empty_folder_share_database_and_secret() {
    for _ in 0..3 {
        let database = Database::sqlite();
        fs::write(database.folder().join("narthex.toml"), QUICK).unwrap();
        let launched = [(); 6].map(|()| Server::launch(command(database.folder()), database.folder()));
        let servers = launched.map(Server::wait_for_banner);
        let cookie = servers[0].connect().exchange(&sign_up("ada@example.com")).cookie();
        for server in &servers {
            let reply = server.connect().exchange(&super::client::get_session(&cookie));
            assert_eq!(reply.json()["user"]["email"], "ada@example.com");
        }
    }
}

/// The other process: this test binary, running nothing but the hidden test below.
struct Worker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    fn start(url: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::worker", "--nocapture"])
            .env(WORKER, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut worker = Self { child, input, output };
        assert_eq!(worker.answer(), 0, "the worker says when it is ready");
        worker
    }

    fn ask(&mut self, ticket: &str) {
        writeln!(self.input, "{ticket}").unwrap();
    }

    fn answer(&mut self) -> usize {
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the worker has ended");
            if let Some((_, number)) = line.split_once("worker: ") {
                return number.trim().parse().unwrap();
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other process of the tests above: without what they tell it, there is nothing to do.
#[test]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "how the two processes talk to each other"
)]
fn worker() {
    let Ok(url) = std::env::var(WORKER) else { return };
    let runtime = Runtime::new().unwrap();
    let auth = runtime.block_on(open(&url));
    println!("worker: 0");
    for ticket in std::io::stdin().lines() {
        println!("worker: {}", runtime.block_on(take(&auth, &ticket.unwrap())));
    }
}
