//! The auth service of a plan: the release binary with nothing but the variables of its `.env`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::failed;
use crate::tools::{Outcome, is_ready, run};

/// A running service; it ends with this value.
pub(super) struct Service {
    /// Its working directory, with its `.env` and its configuration.
    pub(super) folder: PathBuf,
    pub(super) port: u16,
    pub(super) variables: Vec<(String, String)>,
    binary: PathBuf,
    process: Child,
}

impl Service {
    /// Starts it and waits until it is ready.
    pub(super) fn start(
        binary: &Path,
        folder: PathBuf,
        port: u16,
        variables: Vec<(String, String)>,
    ) -> Outcome<Self> {
        let log = folder.join("log");
        let file = File::create(&log).map_err(|error| failed(&log, &error))?;
        let errors = file.try_clone().map_err(|error| failed(&log, &error))?;
        let mut command = narthex(binary, &folder, &variables);
        command.arg("serve").stdin(Stdio::null()).stdout(file).stderr(errors);
        let process = command.spawn().map_err(|error| failed(binary, &error))?;
        let mut service = Self { folder, port, variables, binary: binary.to_owned(), process };
        let said = || fs::read_to_string(&log).unwrap_or_default();
        service.wait_until_ready(said).map_err(|problem| format!("narthex serve: {problem}\n{}", said()))?;
        println!("narthex serve: ready on port {port}");
        Ok(service)
    }

    /// Runs another command of the binary with the same variables.
    pub(super) fn narthex(&self, command: &str) -> Outcome {
        run(narthex(&self.binary, &self.folder, &self.variables).arg(command))
    }

    /// Asks it to stop, as whoever runs services does.
    pub(super) fn stop(mut self) -> Outcome {
        run(Command::new("kill").arg(self.process.id().to_string()))?;
        let status = self.process.wait().map_err(|error| format!("narthex serve: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("narthex serve: {status}")) }
    }

    /// It has to say so itself: on its port somebody else may answer.
    fn wait_until_ready(&mut self, said: impl Fn() -> String) -> Outcome {
        let start = Instant::now();
        while !(said().contains(" is ready.") && is_ready(self.port)) {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(status.to_string());
            }
            if start.elapsed() > Duration::from_mins(1) {
                return Err("not ready after a minute".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Nothing of this process's environment configures it.
fn narthex(binary: &Path, folder: &Path, variables: &[(String, String)]) -> Command {
    let mut command = Command::new(binary);
    command.env_clear().envs(variables.iter().map(|(name, value)| (name, value))).current_dir(folder);
    command
}
