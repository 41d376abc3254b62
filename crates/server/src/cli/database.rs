//! Opens what the configuration names, with messages for whoever has to mend it.

use super::Failure;
use crate::settings::Settings;
use narthex::{
    Auth, AuthBuilder, Config, Migrate, RedisStorage, Store, chain,
    store::{StoreError, without_password},
};
use narthex_plugins::Plugins;
use std::path::Path;

/// Refuses to make a database where something is to be done with one.
pub(super) fn must_exist(settings: &Settings) -> Result<(), Failure> {
    match settings.database.strip_prefix("sqlite://").filter(|path| !Path::new(path).exists()) {
        Some(path) => {
            Err(Failure::Failed(format!("there is no database {path}; `narthex migrate` makes one")))
        }
        None => Ok(()),
    }
}

/// The database.
pub(super) async fn open(settings: &Settings) -> Result<Store, Failure> {
    said(settings, Store::open_with(&settings.database, &settings.config.database).await)
}

/// The database, for a command that writes nothing.
pub(super) async fn inspect(settings: &Settings) -> Result<Store, Failure> {
    said(settings, Store::inspect(&settings.database, &settings.config.database).await)
}

fn said(settings: &Settings, opened: Result<Store, StoreError>) -> Result<Store, Failure> {
    opened.map_err(|error| {
        let url = &settings.database;
        let problem = format!("database.url = \"{}\": {}", without_password(url), chain(&error));
        match error {
            StoreError::Url(_) => Failure::Usage(vec![problem]),
            StoreError::Unavailable(_) if url.starts_with("sqlite:") => Failure::Failed(format!(
                "{problem}; set database.url, or data-dir, so that this user may write to the file and to its folder"
            )),
            _ => Failure::Failed(problem),
        }
    })
}

/// What a command does with a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// The engine on a database that is there and up to date: commands that work beside a server make no tables.
pub(super) async fn existing(mut settings: Settings, access: Access) -> Result<Auth, Failure> {
    must_exist(&settings)?;
    let store = match access {
        Access::Read => {
            settings.imagine_secret();
            inspect(&settings).await?
        }
        // With another secret it would forgive the wrong accounts, and write what the server cannot read.
        Access::Write if !settings.find_secret().map_err(Failure::Failed)? => {
            return Err(Failure::Usage(vec![
                "secret: none is set here, so this is not the configuration that the server has; run it with the server's \
                 BETTER_AUTH_SECRET, or in the folder of its narthex.toml"
                    .to_owned(),
            ]));
        }
        Access::Write => open(&settings).await?,
    };
    let mut config = settings.config;
    if config.database.migrate == Migrate::Auto {
        config.database.migrate = Migrate::Check;
    }
    let auth = engine(config, &settings.options.plugins).await?.operator("cli").build(store).await;
    auth.map_err(|error| Failure::Usage(error.problems))
}

/// The engine with all that is not the database.
pub(super) async fn engine(config: Config, plugins: &Plugins) -> Result<AuthBuilder, Failure> {
    let elsewhere = config.secondary_storage.clone();
    let builder = plugins.install(Auth::builder(config));
    let Some(url) = elsewhere.url else { return Ok(builder) };
    let storage = RedisStorage::open(&url, elsewhere.key_prefix).await.map_err(|error| {
        Failure::Failed(format!("secondary-storage.url = \"{}\": {}", without_password(&url), chain(&*error)))
    })?;
    Ok(builder.secondary_storage(storage))
}
