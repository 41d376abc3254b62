//! Guesses at one password from many connections, at two processes.

use super::{
    client::{sign_in, sign_up},
    database::Database,
    server::{Server, command},
};
use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

const GUESSES: usize = 1000;
const LIMIT: i64 = 100;

/// Cheap passwords and no delays: here it is about the limit.
const CONFIGURATION: &str = "[password]\nbcrypt-cost = 4\ndelay-after = 0\n";

#[test]
fn a_thousand_guesses_on_connections_cut_at_random_stay_within_the_limit() {
    let database = Database::chosen("guess");
    fs::write(database.folder().join("narthex.toml"), CONFIGURATION).unwrap();
    let start = || {
        let mut command = command(database.folder());
        command.args(["--database", &database.url()]);
        Server::launch(command, database.folder())
    };
    let servers = [start(), start()].map(Server::wait_for_banner);
    assert_eq!(servers[0].connect().exchange(&sign_up("ada@example.com")).status, 200);

    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % u64::try_from(below).unwrap()).unwrap()
    };
    let (mut refused, mut locked) = (0, 0);
    for number in 0..GUESSES {
        let request = sign_in("ada@example.com", &format!("guess {number}"));
        let mut client = servers[next(2)].connect();
        match next(4) {
            // Within the request, while it is worked on, or not at all.
            0 => client.send(&request[..next(request.len())]).unwrap(),
            1 | 2 => {
                client.send(&request).unwrap();
                sleep(Duration::from_micros(u64::try_from(next(3000)).unwrap()));
            }
            _ => match client.exchange(&request).status {
                401 => refused += 1,
                429 => locked += 1,
                status => panic!("{status} for guess {number}"),
            },
        }
        client.cut();
    }
    let failures = || database.number("select coalesce(max(failures), 0) from \"narthexGuess\"");
    let deadline = Instant::now() + Duration::from_secs(10);
    while failures() < LIMIT {
        assert!(Instant::now() < deadline, "{} failures after {GUESSES} guesses", failures());
        sleep(Duration::from_millis(10));
    }
    assert_eq!(failures(), LIMIT);
    assert!((1..=LIMIT).contains(&refused) && locked > 0, "{refused} answers 401, {locked} answers 429");
    for server in &servers {
        let reply = server.connect().exchange(&sign_in("ada@example.com", "correct horse"));
        assert_eq!(reply.status, 429, "also the right one");
        let seconds: u64 = reply.header("x-retry-after").unwrap().parse().unwrap();
        assert!((3500..=3600).contains(&seconds), "{seconds}");
    }
    assert_eq!(failures(), LIMIT);
}
