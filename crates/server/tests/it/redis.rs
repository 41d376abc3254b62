//! A Redis, or Valkey, of a test's own.

use super::server::wait_for;
use std::{
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
};

/// One that keeps what it was told on disk. Killed when dropped.
pub(crate) struct Redis(Child);

impl Redis {
    pub(crate) fn start(folder: &Path) -> Self {
        let started = ["redis-server", "valkey-server"].iter().find_map(|program| {
            let options = ["--port", "0", "--save", "", "--appendonly", "yes", "--unixsocket", "socket"];
            Command::new(program).args(options).current_dir(folder).stdout(Stdio::null()).spawn().ok()
        });
        let redis = Self(started.expect("redis-server or valkey-server is installed"));
        wait_for(|| UnixStream::connect(folder.join("socket")).is_ok());
        redis
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
