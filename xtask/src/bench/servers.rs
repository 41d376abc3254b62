//! The servers that are compared: each on the first processor with a database of its own, all of
//! them with the same rows.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{Bench, on_processor};
use crate::{
    postgres::{Postgres, free_port},
    tools::{Outcome, is_ready, run},
};

/// Signs the cookies of the measurements and nothing else.
const SECRET: &str = "k3Q9vX2mB7tY5wL8nC4pR6zD1fH0jS9a";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Narthex,
    Bare,
    NodeHttp,
    NodeHono,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Narthex => "narthex",
            Self::Bare => "bare",
            Self::NodeHttp => "node-http",
            Self::NodeHono => "node-hono",
        }
    }

    /// Upstream cannot verify bcrypt; the other two hash as Narthex does by default.
    fn password_scheme(self) -> &'static str {
        match self {
            Self::Narthex | Self::Bare => "bcrypt",
            Self::NodeHttp | Self::NodeHono => "scrypt",
        }
    }
}

/// A server that answers; it ends with this value.
pub(super) struct Server {
    pub(super) kind: Kind,
    pub(super) port: u16,
    process: Child,
    log: PathBuf,
}

impl Server {
    /// What the server is in the tables, however it is run.
    pub(super) fn role(&self) -> &'static str {
        match self.kind {
            Kind::Narthex => "narthex",
            Kind::Bare => "bare",
            Kind::NodeHttp | Kind::NodeHono => "node",
        }
    }

    pub(super) fn process_id(&self) -> u32 {
        self.process.id()
    }

    fn wait_until_ready(&mut self) -> Outcome {
        let start = Instant::now();
        while !is_ready(self.port) {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(format!("{} ended: {status}; see {}", self.kind.name(), self.log.display()));
            }
            if start.elapsed() > Duration::from_mins(1) {
                return Err(format!(
                    "{} is not ready after a minute; see {}",
                    self.kind.name(),
                    self.log.display()
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Bench {
    /// Prepares a database and starts a server on it.
    pub(super) fn start(&self, kind: Kind, postgres: Option<&Postgres>) -> Outcome<Server> {
        self.spawn(kind, &self.prepare(kind, postgres)?)
    }

    /// Makes a database, which has nothing in it yet; its URL.
    pub(super) fn database(&self, kind: Kind, postgres: Option<&Postgres>) -> Outcome<String> {
        let Some(postgres) = postgres else {
            return Ok(format!("sqlite://{}", self.folder.join(kind.name()).with_extension("db").display()));
        };
        let name = kind.name().replace('-', "_");
        postgres.create_database(&name)?;
        Ok(postgres.url(&name))
    }

    /// Makes a database with everybody in it; its URL.
    pub(super) fn prepare(&self, kind: Kind, postgres: Option<&Postgres>) -> Outcome<String> {
        let database = self.database(kind, postgres)?;
        if kind == Kind::Narthex {
            // Its first start makes its tables, some of which upstream does not have.
            drop(self.spawn(kind, &database)?);
        }
        let mut seed = Command::new(self.programs.join("seed"));
        seed.env("DATABASE_URL", &database).env("HASH", kind.password_scheme());
        run(seed.env("SECRET", SECRET).env("CREDENTIALS", &self.credentials))?;
        Ok(database)
    }

    /// Where the configuration of the last Narthex is that was started.
    pub(super) fn configuration_file(&self) -> PathBuf {
        self.folder.join("narthex.toml")
    }

    /// Starts a server on a database that is there, and waits until it answers.
    pub(super) fn spawn(&self, kind: Kind, database: &str) -> Outcome<Server> {
        self.spawn_with(kind, database, "")
    }

    /// The same with more in Narthex's configuration.
    pub(super) fn spawn_with(&self, kind: Kind, database: &str, more: &str) -> Outcome<Server> {
        let port = free_port()?;
        let mut command = match kind {
            Kind::Narthex => {
                let mut command = on_processor(0, &self.programs.join("narthex"));
                command.arg("serve").arg("--config").arg(self.configuration(database, port, more)?);
                only_the_file_counts(&mut command);
                command
            }
            Kind::Bare => on_processor(0, &self.programs.join("bare")),
            Kind::NodeHttp | Kind::NodeHono => {
                let mut command = on_processor(0, "node".as_ref());
                command.arg("server.mjs").current_dir(&self.node).env("NODE_ENV", "production");
                command.env("FRAMEWORK", if kind == Kind::NodeHono { "hono" } else { "http" });
                command
            }
        };
        if kind != Kind::Narthex {
            command.env("DATABASE_URL", database).env("PORT", port.to_string());
            command.env("HASH", kind.password_scheme()).env("SECRET", SECRET);
        }
        let log = self.folder.join(kind.name()).with_extension("log");
        let file = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|error| format!("{}: {error}", kind.name()))?;
        let mut server = Server { kind, port, process, log };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn configuration(&self, database: &str, port: u16, more: &str) -> Outcome<PathBuf> {
        let file = self.configuration_file();
        let text = format!(
            "base-url = \"http://localhost:3001\"\n\
             listen = \"127.0.0.1:{port}\"\n\
             secret = \"{SECRET}\"\n\
             data-dir = \"{}\"\n\
             [database]\nurl = \"{database}\"\n\
             [password]\nhash = \"bcrypt\"\n{more}",
            self.folder.display()
        );
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(file)
    }
}

/// Variables that Narthex would heed before its configuration.
pub(super) fn only_the_file_counts(command: &mut Command) {
    for variable in ["PORT", "DATABASE_URL", "BETTER_AUTH_SECRET", "BETTER_AUTH_URL"] {
        command.env_remove(variable);
    }
}
