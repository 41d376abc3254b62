//! Redis or Valkey, with upstream's keys.

use super::SecondaryStorage;
use crate::{env::BoxFuture, error::BoxError};
use redis::{
    Client, Cmd, FromRedisValue, Script, ScriptInvocation,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use std::{fmt, num::NonZeroU32, sync::LazyLock, time::Duration};

/// How long one command may take. Longer, and the client is better served with a 503.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a connection is tried anew before a command fails; the next command tries again.
const RETRIES: usize = 1;

/// `1` if the value was still the expected one, which an empty first argument says there is none of.
static REPLACE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"
        local there = redis.call("GET", KEYS[1])
        if ARGV[1] == "" then
            if there then return 0 end
        elseif there ~= ARGV[2] then
            return 0
        end
        if ARGV[3] == "" then
            redis.call("DEL", KEYS[1])
        else
            redis.call("SETEX", KEYS[1], ARGV[3], ARGV[4])
        end
        return 1
        "#,
    )
});

/// Upstream's: the count and the end of its window in one step, so that no count stays for ever.
static INCREMENT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"
        local count = redis.call("INCR", KEYS[1])
        if count == 1 or redis.call("TTL", KEYS[1]) < 0 then
            redis.call("EXPIRE", KEYS[1], ARGV[1])
        end
        return count
        "#,
    )
});

/// Redis or Valkey as secondary storage. Cheap to clone; it connects again by itself.
#[derive(Clone)]
pub struct RedisStorage {
    connection: ConnectionManager,
    prefix: String,
}

impl fmt::Debug for RedisStorage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RedisStorage").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl RedisStorage {
    /// Connects to `redis://…` or `unix://…`. Every key begins with `prefix`; upstream's is `better-auth:`.
    pub async fn open(url: &str, prefix: impl Into<String>) -> Result<Self, BoxError> {
        let client = Client::open(url)?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(RETRIES)
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = ConnectionManager::new_with_config(client, config).await?;
        Ok(Self { connection, prefix: prefix.into() })
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, BoxError> {
        command.query_async(&mut self.connection.clone()).await.map_err(BoxError::from)
    }

    async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, BoxError> {
        script.invoke_async(&mut self.connection.clone()).await.map_err(BoxError::from)
    }
}

impl SecondaryStorage for RedisStorage {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<String>, BoxError>> {
        Box::pin(async move { self.ask(&Cmd::get(self.key(key))).await })
    }

    fn set<'a>(
        &'a self,
        key: &'a str,
        value: &'a str,
        seconds: NonZeroU32,
    ) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move { self.ask(&Cmd::set_ex(self.key(key), value, seconds.get().into())).await })
    }

    fn replace<'a>(
        &'a self,
        key: &'a str,
        expected: Option<&'a str>,
        value: Option<(&'a str, NonZeroU32)>,
    ) -> BoxFuture<'a, Result<bool, BoxError>> {
        Box::pin(async move {
            let mut script = REPLACE.key(self.key(key));
            script.arg(if expected.is_some() { "1" } else { "" }).arg(expected.unwrap_or_default());
            match value {
                Some((value, seconds)) => script.arg(seconds.get()).arg(value),
                None => script.arg("").arg(""),
            };
            self.run(&script).await
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move { self.ask(&Cmd::del(self.key(key))).await })
    }

    fn get_and_delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<String>, BoxError>> {
        Box::pin(async move { self.ask(&Cmd::get_del(self.key(key))).await })
    }

    fn increment<'a>(&'a self, key: &'a str, seconds: NonZeroU32) -> BoxFuture<'a, Result<u64, BoxError>> {
        Box::pin(async move {
            let count: i64 = self.run(INCREMENT.key(self.key(key)).arg(seconds.get())).await?;
            // What somebody has put there may be less than nothing.
            Ok(u64::try_from(count).unwrap_or(0))
        })
    }
}
