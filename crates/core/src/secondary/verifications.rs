//! Verifications outside the database: each under its identifier, as upstream writes it.

use super::{Secondary, away, seconds_until};
use crate::{
    error::Result,
    model::Verification,
    store::{Store, from_map},
    time::Time,
};
use serde_json::{Map, Value as Json};

impl Secondary {
    /// What waits under the first of these identifiers that something waits under, expired or not.
    pub(crate) async fn verification(
        &self,
        store: &Store,
        identifiers: &[String],
    ) -> Result<Option<Verification>> {
        for identifier in identifiers {
            let text = self.storage.get(&key(identifier)).await.map_err(away)?;
            if let Some(verification) = text.and_then(|text| read(store, &text)) {
                return Ok(Some(verification));
            }
        }
        Ok(None)
    }

    /// Takes what waits under the first of these identifiers that something waits under, and forgets the others.
    pub(crate) async fn take_verification(
        &self,
        store: &Store,
        identifiers: &[String],
    ) -> Result<Option<Verification>> {
        for (position, identifier) in identifiers.iter().enumerate() {
            let text = self.storage.get_and_delete(&key(identifier)).await.map_err(away)?;
            if let Some(verification) = text.and_then(|text| read(store, &text)) {
                self.redeemed(identifiers.get(position + 1..).unwrap_or_default()).await?;
                return Ok(Some(verification));
            }
        }
        Ok(None)
    }

    pub(super) async fn issued(
        &self,
        identifier: &str,
        value: Map<String, Json>,
        expires_at: Time,
        now: Time,
    ) -> Result<()> {
        match seconds_until(expires_at, now) {
            Some(seconds) => {
                let text = Json::from(value).to_string();
                self.storage.set(&key(identifier), &text, seconds).await.map_err(away)
            }
            None => Ok(()),
        }
    }

    pub(super) async fn redeemed(&self, identifiers: &[String]) -> Result<()> {
        for identifier in identifiers {
            self.storage.delete(&key(identifier)).await.map_err(away)?;
        }
        Ok(())
    }
}

fn key(identifier: &str) -> String {
    format!("verification:{identifier}")
}

/// Upstream's have no `id` here.
fn read(store: &Store, text: &str) -> Option<Verification> {
    let mut whole: Map<String, Json> = serde_json::from_str(text).ok()?;
    whole.entry("id").or_insert_with(|| "".into());
    from_map(store.resolved::<Verification>().ok()?, &whole)
}
