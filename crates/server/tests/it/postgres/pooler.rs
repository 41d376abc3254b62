//! PgBouncer in transaction mode: every transaction may have another session of the server's.

use super::{
    cluster::{Cluster, account, first_column, free_port, own, run_as},
    proxy::Proxy,
    refusal, serve, wait_until,
};
use crate::{
    client::{get, get_session, sign_in, sign_out, sign_up},
    server::Server,
};
use std::{
    env, fs,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
};
use tempfile::TempDir;
use tokio_postgres::NoTls;

/// Sessions that the pooler has for everybody.
const SESSIONS: usize = 5;
const LEARNT: &str = "PostgreSQL is behind a transaction pooler";

/// A running PgBouncer. Killed when dropped.
pub(super) struct Pooler {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Pooler {
    pub(super) fn before(cluster: &Cluster) -> Self {
        let account = account();
        let folder = TempDir::new().unwrap();
        own(folder.path(), account);
        let (users, file, log) =
            (folder.path().join("users"), folder.path().join("ini"), folder.path().join("log"));
        fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        let port = free_port();
        let configuration = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = {SESSIONS}\nmax_client_conn = 200\n",
            cluster.port,
            users.display(),
        );
        fs::write(&file, configuration).unwrap();
        for path in [&users, &file] {
            own(path, account);
        }
        let program = program().expect("PgBouncer is missing; install it: apt-get install pgbouncer");
        let mut command = run_as(&program, account);
        command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
        let pooler = Self { process, port, _folder: folder };
        wait_until("PgBouncer listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        pooler
    }

    pub(super) fn url(&self, parameters: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres{parameters}", self.port)
    }

    /// How many named statements there are in all sessions of the server's together.
    pub(super) fn named_statements(&self) -> usize {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut clients = Vec::new();
            let (mut backends, mut names) = (Vec::new(), Vec::new());
            for _ in 0..SESSIONS {
                let (client, connection) = tokio_postgres::connect(&self.url(""), NoTls).await.unwrap();
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the driver's connection has to be polled by someone"
                )]
                tokio::spawn(connection);
                // Whoever is in a transaction keeps its session, so the next one gets another.
                client.batch_execute("begin").await.unwrap();
                backends.extend(first_column(&client, "select pg_backend_pid()").await);
                names.extend(first_column(&client, "select name from pg_prepared_statements").await);
                clients.push(client);
            }
            backends.sort();
            backends.dedup();
            assert_eq!(backends.len(), SESSIONS, "each session was asked");
            names.len()
        })
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian has it where only root looks.
    let folders = env::split_paths(&path).chain([Path::new("/usr/sbin").to_owned()]);
    folders.map(|folder| folder.join("pgbouncer")).find(|file| file.is_file())
}

/// Four hundred requests by ten at once, each kind of work there is: how many succeeded.
fn successes_of_400(server: &Server, round: &str) -> usize {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..10)
            .map(|number| {
                scope.spawn(move || {
                    let mut client = server.connect();
                    let mut successes = 0;
                    let mut exchange = |request: &[u8]| {
                        let reply = client.exchange(request);
                        successes += usize::from(reply.status == 200);
                        reply
                    };
                    for turn in 0..5 {
                        let email = format!("user-{round}-{number}-{turn}@example.com");
                        exchange(&sign_up(&email));
                        let signed_in = exchange(&sign_in(&email, "correct horse"));
                        if signed_in.status != 200 {
                            continue;
                        }
                        let cookie = signed_in.cookie();
                        for _ in 0..4 {
                            // Renewed each time, so a read and a write.
                            exchange(&get_session(&cookie));
                        }
                        exchange(&get("/api/auth/list-sessions", &cookie));
                        exchange(&sign_out(&cookie));
                    }
                    successes
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

#[test]
fn four_hundred_requests_through_a_pooler_that_the_operator_names() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let pooler = Pooler::before(&cluster);
    let folder = TempDir::new().unwrap();
    let server = serve(&folder, &pooler.url("?pgbouncer=true"), "");
    assert_eq!(successes_of_400(&server, "named"), 400, "{}", server.log());
    assert_eq!(pooler.named_statements(), 0);
    assert!(!server.log().contains(LEARNT), "there was nothing to find out");
}

#[test]
fn four_hundred_requests_through_a_pooler_that_nobody_has_named() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let pooler = Pooler::before(&cluster);
    let folder = TempDir::new().unwrap();
    let server = serve(&folder, &pooler.url(""), "");
    assert_eq!(successes_of_400(&server, "found"), 400, "{}", server.log());
    assert_eq!(pooler.named_statements(), 0);
    assert_eq!(server.log().matches(LEARNT).count(), 1, "{}", server.log());
}

#[test]
fn tables_are_where_the_operator_says_behind_a_pooler_too() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let pooler = Pooler::before(&cluster);
    let folder = TempDir::new().unwrap();
    let server = serve(&folder, &pooler.url(""), "[database]\nschema = \"auth\"\npooler = true\n");
    assert_eq!(successes_of_400(&server, "schema"), 400, "{}", server.log());
    assert_eq!(cluster.ask("select count(*) from auth.\"user\""), ["50"]);
    assert!(cluster.ask("select tablename from pg_tables where schemaname = 'public'").is_empty());
}

#[test]
fn without_a_pooler_statements_keep_their_names() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let folder = TempDir::new().unwrap();
    let server = serve(&folder, &cluster.url(), "");
    assert_eq!(successes_of_400(&server, "direct"), 400, "{}", server.log());
    assert!(!server.log().contains(LEARNT), "{}", server.log());
    let last = "select query from pg_stat_activity where application_name = 'narthex' and query like '%\"session\"%'";
    assert!(!cluster.ask(last).is_empty(), "the sessions of Narthex can be seen");
}

#[test]
fn a_pooler_that_takes_no_options_is_told_from_a_server_that_is_not_there() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let pooler = Pooler::before(&cluster);
    let (said, code) = refusal(&pooler.url("?options=-c%20search_path%3Dauth"));
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("a pooler stands in between and takes no options; leave `options` out of the URL"),
        "{said}"
    );
}

/// A pooler that is put in between while Narthex runs.
#[test]
fn a_pooler_that_comes_later_is_noticed() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let pooler = Pooler::before(&cluster);
    let proxy = Proxy::to(cluster.port);
    let folder = TempDir::new().unwrap();
    let server = serve(&folder, &proxy.url(), "");
    assert_eq!(successes_of_400(&server, "direct"), 400, "{}", server.log());
    proxy.lead_to(pooler.port);
    // What fails meanwhile is told so; nothing is done wrongly and called done.
    let mut round = 0;
    wait_until("the pooler is noticed", || {
        round += 1;
        successes_of_400(&server, &format!("meanwhile-{round}"));
        server.log().contains(LEARNT)
    });
    assert_eq!(successes_of_400(&server, "after"), 400, "{}", server.log());
}
