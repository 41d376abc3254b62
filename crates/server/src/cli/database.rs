//! Opens what the configuration names, with messages for whoever has to mend it.

use super::Failure;
use crate::settings::Settings;
use narthex::{Auth, AuthBuilder, Config, RedisStorage, Store, chain, store::StoreError};

/// The database.
pub(super) async fn open(settings: &Settings) -> Result<Store, Failure> {
    let url = &settings.database;
    Store::open(url).await.map_err(|error| {
        let problem = format!("database.url = \"{}\": {}", shown(url), chain(&error));
        match error {
            StoreError::Url(_) => Failure::Usage(vec![problem]),
            _ => Failure::Failed(problem),
        }
    })
}

/// The engine with all that is not the database.
pub(super) async fn engine(config: Config) -> Result<AuthBuilder, Failure> {
    let elsewhere = config.secondary_storage.clone();
    let builder = narthex_plugins::install(Auth::builder(config));
    let Some(url) = elsewhere.url else { return Ok(builder) };
    let storage = RedisStorage::open(&url, elsewhere.key_prefix).await.map_err(|error| {
        Failure::Failed(format!("secondary-storage.url = \"{}\": {}", shown(&url), chain(&*error)))
    })?;
    Ok(builder.secondary_storage(storage))
}

/// A URL without its password.
pub(super) fn shown(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() => {
            // Fails only for URLs that cannot have a password.
            let _ = parsed.set_password(Some("***"));
            parsed.into()
        }
        Ok(_) => url.to_owned(),
        // Wherever its password is, if it has one.
        Err(_) => url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, rest)| format!("***@{rest}")),
    }
}
