//! Two processes on one database: nothing is ever had twice.

use super::{
    client::{get, get_session, post, sign_up},
    database::Database,
    server::{QUICK, Server, command},
};
use axum::{
    body::Bytes,
    http::{Request, StatusCode},
};
use narthex::{Auth, Config, Store, model, prelude::*};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
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
        setup.post("/issue/:link", Self::issue).without_body();
        setup.post("/redeem/:link", Self::redeem).without_body();
    }
}

impl Tickets {
    async fn issue(&self, cx: &mut Ctx) -> Result<Reply> {
        let link = cx.parameter("link").unwrap_or_default().to_owned();
        cx.transact(async |tx: &mut Tx| {
            tx.verifications().issue(&link, "a-user", Duration::from_mins(10)).await.map(drop)
        })
        .await?;
        Ok(Reply::empty(StatusCode::OK))
    }

    async fn redeem(&self, cx: &mut Ctx) -> Result<Reply> {
        let link = cx.parameter("link").unwrap_or_default().to_owned();
        let redeemed = cx.redeem(&link, async |_: &mut Tx, _| Ok(())).await?;
        Ok(Reply::empty(if redeemed.is_some() { StatusCode::OK } else { StatusCode::GONE }))
    }
}

async fn open(url: &str) -> Auth {
    let mut config =
        Config { secret: Some("a secret that is long enough for it".to_owned().into()), ..Config::default() };
    config.rate_limit.enabled = Some(false);
    Auth::builder(config).plugin(Tickets).build(Store::open(url).await.unwrap()).await.unwrap()
}

/// How many of [`TAKERS`] who try at once to `take` a ticket, or to `redeem` a link, got it.
async fn attempt(auth: &Auth, verb: &str, name: &str) -> usize {
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..TAKERS {
        let (auth, name) = (auth.clone(), name.to_owned());
        match verb {
            "take" => {
                set.spawn(async move { auth.store().take(Ticket::ID.eq(name)).await.unwrap().is_some() })
            }
            "redeem" => set.spawn(async move {
                match request(&auth, &format!("/redeem/{name}")).await {
                    StatusCode::OK => true,
                    StatusCode::GONE => false,
                    status => panic!("{status}"),
                }
            }),
            verb => panic!("{verb}"),
        };
    }
    set.join_all().await.into_iter().filter(|got_it| *got_it).count()
}

async fn request(auth: &Auth, path: &str) -> StatusCode {
    let request = Request::post(format!("{}{path}", auth.base_path())).body(Bytes::new()).unwrap();
    auth.handle(request).await.status()
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
        worker.ask("take", &ticket.id);
        let ours = runtime.block_on(attempt(&auth, "take", &ticket.id));
        let theirs = worker.answer();
        assert_eq!(ours + theirs, 1, "round {round}: {ours} here, {theirs} in the other process");
        let left = runtime.block_on(auth.store().count(Ticket::ID.eq(ticket.id))).unwrap();
        assert_eq!(left, 0);
    }
}

#[test]
fn of_sixty_four_in_two_processes_who_redeem_a_verification_one_gets_it() {
    let database = Database::chosen("redeem");
    let runtime = Runtime::new().unwrap();
    let auth = runtime.block_on(open(&database.url()));
    let mut worker = Worker::start(&database.url());
    for round in 0..20 {
        let link = format!("link-{round}");
        // Older ones go with the newest.
        for _ in 0..3 {
            assert_eq!(runtime.block_on(request(&auth, &format!("/issue/{link}"))), StatusCode::OK);
            std::thread::sleep(Duration::from_millis(2));
        }
        worker.ask("redeem", &link);
        let ours = runtime.block_on(attempt(&auth, "redeem", &link));
        let theirs = worker.answer();
        assert_eq!(ours + theirs, 1, "round {round}: {ours} here, {theirs} in the other process");
        assert_eq!(database.number("select count(*) from \"verification\""), 0);
    }
}

/// Two servers on one database, and nobody in it.
fn two_servers(database: &Database) -> [Server; 2] {
    two_servers_with(database, QUICK)
}

fn two_servers_with(database: &Database, configuration: &str) -> [Server; 2] {
    fs::write(database.folder().join("narthex.toml"), configuration).unwrap();
    let start = || {
        let mut command = command(database.folder());
        command.args(["--database", &database.url()]);
        Server::launch(command, database.folder())
    };
    [start(), start()].map(Server::wait_for_banner)
}

/// Sends all requests, each to one of the servers in turn, before it waits for the first answer.
fn at_once(servers: &[Server; 2], requests: &[Vec<u8>]) -> Vec<u16> {
    let mut clients: Vec<_> = (0..requests.len()).map(|number| servers[number % 2].connect()).collect();
    for (client, request) in clients.iter_mut().zip(requests) {
        client.send(request).unwrap();
    }
    clients.iter_mut().map(|client| client.receive().unwrap().status).collect()
}

#[test]
fn of_two_processes_that_each_unlink_another_account_one_leaves_the_last() {
    let database = Database::chosen("unlink");
    let servers = two_servers(&database);
    for round in 0..10 {
        let address = format!("user-{round}@example.com");
        let cookie = servers[0].connect().exchange(&sign_up(&address)).cookie();
        database.execute(&format!(
            r#"insert into "account" ("id", "accountId", "providerId", "userId", "createdAt", "updatedAt")
            select 'second-{round}', '{round}', 'github', "id", "createdAt", "updatedAt" from "user" where "email" = '{address}'"#
        ));
        let accounts = servers[1].connect().exchange(&get("/api/auth/list-accounts", &cookie)).json();
        let ids: Vec<_> = accounts.as_array().unwrap().iter().map(|account| account["id"].clone()).collect();
        assert_eq!(ids.len(), 2);
        let requests: Vec<_> = (0..32)
            .map(|number| post("/api/auth/unlink-account", &cookie, &json!({ "accountId": ids[number % 2] })))
            .collect();
        let mut statuses = at_once(&servers, &requests);
        statuses.sort_unstable();
        assert_eq!((statuses[0], &statuses[1..]), (200, &[400; 31][..]), "round {round}");
        assert_eq!(database.number("select count(*) from \"account\""), round + 1);
    }
}

#[test]
fn a_session_that_one_process_ends_while_the_other_renews_it_has_ended() {
    let database = Database::chosen("renew");
    let servers = two_servers(&database);
    for round in 0..10 {
        let signed_up = servers[0].connect().exchange(&sign_up(&format!("user-{round}@example.com")));
        let (cookie, token) = (signed_up.cookie(), signed_up.json()["token"].clone());
        let mut requests = vec![get_session(&cookie); 40];
        requests[20 + round % 2] = post("/api/auth/revoke-session", &cookie, &json!({ "token": token }));
        let mut statuses = at_once(&servers, &requests);
        assert_eq!(statuses.remove(20 + round % 2), 200, "round {round}");
        // Overtaken between looking and renewing.
        assert!(statuses.iter().all(|status| matches!(status, 200 | 401)), "round {round}: {statuses:?}");
        assert_eq!(database.number("select count(*) from \"session\""), 0, "round {round}");
        for server in &servers {
            assert_eq!(server.connect().exchange(&get_session(&cookie)).json(), Value::Null, "round {round}");
        }
    }
}

#[test]
fn sixty_four_sign_ups_with_one_address_in_two_processes_make_one_user() {
    let database = Database::chosen("sign_up");
    let servers = two_servers(&database);
    for round in 0..5 {
        let address = format!("user-{round}@example.com");
        let mut statuses = at_once(&servers, &vec![sign_up(&address); 64]);
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

#[test]
fn servers_that_want_the_first_key_at_once_sign_with_the_same() {
    for round in 0..5 {
        let database = Database::sqlite();
        let servers = two_servers_with(&database, &format!("{QUICK}[plugins.jwt]\n"));
        let statuses = at_once(&servers, &vec![get("/api/auth/jwks", ""); 8]);
        assert_eq!(statuses, [200; 8]);
        let cookie = servers[0].connect().exchange(&sign_up("ada@example.com")).cookie();
        let signed_with = |server: &Server| {
            let reply = server.connect().exchange(&get("/api/auth/token", &cookie)).json();
            reply["token"].as_str().unwrap().split('.').next().unwrap().to_owned()
        };
        let [first, second] = [signed_with(&servers[0]), signed_with(&servers[1])];
        assert_eq!(first, second, "round {round}");
        assert_eq!(database.number("select count(*) from jwks"), 1, "round {round}");
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

    fn ask(&mut self, verb: &str, name: &str) {
        writeln!(self.input, "{verb} {name}").unwrap();
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
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (verb, name) = line.split_once(' ').unwrap();
        println!("worker: {}", runtime.block_on(attempt(&auth, verb, name)));
    }
}
