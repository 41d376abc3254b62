//! A Redis of a test's own, on a socket in a folder of its own, gone with the test.

use narthex::RedisStorage;
use redis::{AsyncTypedCommands as _, aio::MultiplexedConnection};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// What every key begins with, as upstream has it.
const PREFIX: &str = "better-auth:";

/// A running server. Valkey will do.
pub struct Redis {
    server: Child,
    folder: TempDir,
}

impl Redis {
    /// Starts a server.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = spawn(&folder);
        let redis = Self { server, folder };
        redis.answers().await;
        redis
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("unix://{}", self.folder.path().join("socket").display())
    }

    /// As secondary storage.
    pub async fn storage(&self) -> RedisStorage {
        RedisStorage::open(&self.url(), PREFIX).await.expect("the server answers")
    }

    /// Everything in it, by key, without the prefix.
    pub async fn all(&self) -> BTreeMap<String, String> {
        let mut connection = self.connection().await;
        let mut all = BTreeMap::new();
        for key in connection.keys("*").await.expect("keys") {
            let value = connection.get(&key).await.expect("a value").expect("it is there");
            all.insert(key.strip_prefix(PREFIX).expect("the prefix").to_owned(), value);
        }
        all
    }

    /// The JSON under a key.
    pub async fn json(&self, key: &str) -> Value {
        let text = self.connection().await.get(format!("{PREFIX}{key}")).await.expect("an answer");
        serde_json::from_str(&text.unwrap_or_else(|| panic!("nothing is under {key}"))).expect("JSON")
    }

    /// Seconds until a key is gone.
    pub async fn seconds_left(&self, key: &str) -> i64 {
        let mut command = redis::cmd("TTL");
        command.arg(format!("{PREFIX}{key}"));
        command.query_async(&mut self.connection().await).await.expect("a number")
    }

    /// Puts a text under a key, as another program would.
    pub async fn put(&self, key: &str, value: &str) {
        self.connection().await.set(format!("{PREFIX}{key}"), value).await.expect("it takes the value");
    }

    /// Forgets everything.
    pub async fn clear(&self) {
        redis::cmd("FLUSHALL").exec_async(&mut self.connection().await).await.expect("it forgets");
    }

    /// Is gone, as after a failure.
    pub fn stop(&mut self) {
        self.server.kill().and_then(|()| self.server.wait()).expect("the server stops");
    }

    /// Is there again, empty.
    pub async fn restart(&mut self) {
        self.server = spawn(&self.folder);
        self.answers().await;
    }

    async fn connection(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).expect("a good URL");
        client.get_multiplexed_async_connection().await.expect("the server answers")
    }

    async fn answers(&self) {
        let client = redis::Client::open(self.url()).expect("a good URL");
        for _ in 0..1_000 {
            if client.get_multiplexed_async_connection().await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the Redis server that was started does not answer");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn spawn(folder: &TempDir) -> Child {
    let programs = ["redis-server", "valkey-server"];
    let mut started = programs.iter().map(|program| {
        Command::new(program)
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", "socket"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
    });
    started.find_map(Result::ok).expect("redis-server or valkey-server is installed")
}
