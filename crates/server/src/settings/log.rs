use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// `[log]`
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct LogOptions {
    /// `error`, `warn`, `info`, `debug`, `trace`, `off`, or a filter such as `"info,narthex=debug"`.
    pub(crate) level: String,
    /// How lines look.
    pub(crate) format: LogFormat,
    /// A file that the log is added to; its folder is made. The standard error output when absent. After SIGHUP it is
    /// opened anew, so that it can be moved away.
    pub(crate) file: Option<PathBuf>,
}

/// How lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For programs: one object a line.
    Json,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Auto, file: None }
    }
}

impl LogOptions {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if let Err(error) = EnvFilter::try_new(&self.level) {
            problems.push(format!(
                "log.level = {:?}: must be error, warn, info, debug, trace, off or a filter such as \"info,narthex=debug\": {error}",
                self.level
            ));
        }
    }
}
