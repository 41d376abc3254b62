//! A Redis of our own: made when a command needs one, gone when the command ends.
//!
//! It listens on a free loopback port, keeps everything in memory and shares nothing with a server of the system.
//! Valkey does as well. `TEST_REDIS` names one for the scenarios to use instead; tests that stop theirs have their own.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    postgres::free_port,
    tools::{Need, Outcome, on_path},
};

pub(crate) const NEED: Need =
    Need { name: "Redis or Valkey", package: "redis-server", present: || binary().is_some() };

/// A running server, or the address of one that somebody else runs.
pub(crate) struct Redis {
    server: Option<Child>,
    url: String,
}

impl Redis {
    /// Starts a server, unless one is given.
    pub(crate) fn start() -> Outcome<Self> {
        if let Some(url) = given() {
            return Ok(Self { server: None, url });
        }
        let binary = binary()
            .ok_or("Redis or Valkey is missing; install one, for example: apt-get install redis-server")?;
        // Between choosing a free port and listening on it somebody else may take it.
        let mut problem = String::new();
        for _ in 0..5 {
            let port = free_port()?;
            let mut redis =
                Self { server: Some(spawn(&binary, port)?), url: format!("redis://127.0.0.1:{port}") };
            match redis.wait_until_ready(port) {
                Ok(()) => return Ok(redis),
                Err(reason) => problem = reason,
            }
        }
        Err(format!("Redis did not start: {problem}"))
    }

    /// Its address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    fn wait_until_ready(&mut self, port: u16) -> Outcome {
        let start = Instant::now();
        loop {
            if let Some(Ok(Some(status))) = self.server.as_mut().map(Child::try_wait) {
                return Err(status.to_string());
            }
            if answers(port) {
                return Ok(());
            }
            if start.elapsed() > Duration::from_secs(20) {
                return Err("not ready after twenty seconds".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            drop(server.kill());
            drop(server.wait());
        }
    }
}

fn given() -> Option<String> {
    std::env::var_os("TEST_REDIS")?.into_string().ok().filter(|url| !url.is_empty())
}

fn binary() -> Option<PathBuf> {
    on_path("redis-server").or_else(|| on_path("valkey-server"))
}

/// Nothing is written to the disk, so there is nothing to remove afterwards.
fn spawn(binary: &PathBuf, port: u16) -> Outcome<Child> {
    let mut command = Command::new(binary);
    command.args(["--bind", "127.0.0.1", "--port"]).arg(port.to_string());
    command.args(["--save", "", "--appendonly", "no"]).current_dir(std::env::temp_dir());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|error| format!("{}: {error}", binary.display()))
}

fn answers(port: u16) -> bool {
    let ask = || {
        let mut connection = TcpStream::connect(("127.0.0.1", port))?;
        connection.set_read_timeout(Some(Duration::from_secs(1)))?;
        connection.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        connection.read_exact(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    ask().is_ok_and(|answer| &answer == b"+PONG")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_nobody_listens_on_does_not_answer() {
        assert!(!answers(free_port().unwrap()));
    }
}
