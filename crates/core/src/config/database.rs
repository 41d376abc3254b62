use crate::store::schema_problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[database]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DatabaseOptions {
    /// Where it is: `sqlite://path`, or `postgres://user:password@host/database`. Whoever builds the engine opens it.
    pub url: Option<String>,
    /// What to do about missing tables and columns at start.
    pub migrate: Migrate,
    /// PostgreSQL: how many connections at most. 20 when neither this nor the URL says.
    pub pool_size: Option<u32>,
    /// PostgreSQL: the schema that the tables are in, made at start where it is missing; else the connection's first.
    pub schema: Option<String>,
    /// PostgreSQL: whether a transaction pooler such as PgBouncer stands in between; found out when nothing is said.
    pub pooler: Option<bool>,
}

impl DatabaseOptions {
    pub(crate) fn check(&self, problems: &mut Vec<String>) {
        if let Some(size) = self.pool_size.filter(|size| !(1..=1000).contains(size)) {
            problems.push(format!("database.pool-size = {size}: must be a whole number from 1 to 1000"));
        }
        if let Some(schema) = &self.schema
            && let Some(problem) = schema_problem(schema)
        {
            problems.push(format!("database.schema = {schema:?}: must be {problem}"));
        }
    }
}

/// What to do about missing tables and columns at start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Migrate {
    /// Add them.
    #[default]
    Auto,
    /// Refuse to start.
    Check,
    /// Do not look.
    Off,
}
