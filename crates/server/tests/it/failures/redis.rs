//! Redis, or Valkey, goes and comes back.

use super::{
    super::{
        client::{get_session, sign_in, sign_out, sign_up},
        database::Database,
        metrics::{Scraped, measured},
        redis::Redis,
        server::{Server, command},
    },
    PLAIN, assert_busy, logged, new_user, serve, signed_in,
};
use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

#[test]
fn metrics_count_what_a_redis_that_is_gone_does_not_answer() {
    const FAILED: &str = "narthex_secondary_storage_errors_total";
    let database = Database::sqlite();
    let redis = Redis::start(database.folder());
    let url = format!("unix://{}", database.folder().join("socket").display());
    let configuration = format!("{PLAIN}[secondary-storage]\nurl = {url:?}\n");
    fs::write(database.folder().join("narthex.toml"), configuration).unwrap();
    let server = Server::spawn(measured(command(database.folder())), database.folder());
    let cookie = new_user(&server, "ada@example.com");
    assert_eq!(Scraped::of(&server).get(FAILED), Some(0.0));
    drop(redis);
    assert_busy(&server.connect().exchange(&get_session(&cookie)));
    assert_eq!(server.status_of("/ready"), 503);
    assert_eq!(Scraped::of(&server).get(FAILED), Some(2.0));
    assert_eq!(Scraped::of(&server).get("narthex_database_reachable"), Some(1.0));
}

#[test]
fn a_redis_that_is_gone_is_a_503_and_not_ready_until_it_is_back_with_what_it_kept() {
    let database = Database::chosen("redis");
    let redis = Redis::start(database.folder());
    let url = format!("unix://{}", database.folder().join("socket").display());
    let server = serve(&database, &format!("{PLAIN}[secondary-storage]\nurl = {url:?}\n"));
    let cookie = new_user(&server, "ada@example.com");
    let ended = new_user(&server, "bob@example.com");
    assert_eq!(server.status_of("/ready"), 200);
    assert_eq!(database.number("select count(*) from \"user\""), 2);

    drop(redis);
    assert_eq!(server.status_of("/ready"), 503);
    assert_eq!(server.status_of("/health"), 200);
    assert_eq!(server.status_of("/api/auth/ok"), 200);
    for request in [
        get_session(&cookie),
        sign_in("ada@example.com", "correct horse"),
        sign_up("eve@example.com"),
        sign_out(&ended),
    ] {
        assert_busy(&server.connect().exchange(&request));
    }
    logged(&server, "a request failed");

    let _redis = Redis::start(database.folder());
    let deadline = Instant::now() + Duration::from_secs(20);
    // It reads what it kept first.
    while server.status_of("/ready") != 200 {
        assert!(Instant::now() < deadline, "{}", server.log());
        sleep(Duration::from_millis(10));
    }
    assert_eq!(signed_in(&server, &cookie).as_deref(), Some("ada@example.com"));
    // Whoever was told that it had failed is asked to try again, and succeeds.
    let mut client = server.connect();
    assert_eq!(client.exchange(&sign_out(&ended)).status, 200);
    assert_eq!(signed_in(&server, &ended), None);
    assert_eq!(client.exchange(&sign_in("ada@example.com", "correct horse")).status, 200);
}
