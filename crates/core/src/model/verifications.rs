//! Short-lived secrets: one table for everything that is issued once and redeemed once.

use crate::{
    Result,
    error::chain,
    housekeeping, model,
    secondary::{Secondary, Told},
    store::{self, Order, Select, Store, Tx, json, to_map},
    time::Time,
};
use serde_json::{Map, Value as Json};
use std::time::Duration;

model! {
    /// Something that waits to be redeemed.
    pub struct Verification in "verification" {
        /// What it is for and how it is found.
        IDENTIFIER identifier: String = text("identifier").index();
        /// What it is worth.
        [secret] VALUE value: String = text("value");
        /// When it ends.
        EXPIRES_AT expires_at: Time = time("expiresAt");
        /// When it was issued.
        CREATED_AT created_at: Time = time("createdAt").default_now();
        /// When this record last changed.
        UPDATED_AT updated_at: Time = time("updatedAt").default_now();
    }
}

/// The rules for verifications.
pub struct Verifications<D> {
    database: D,
}

impl<D> Verifications<D> {
    pub(crate) fn new(database: D) -> Self {
        Self { database }
    }
}

impl Verifications<&Store> {
    /// The newest of this identifier, expired or not. Now and then what has expired is deleted after it.
    pub async fn by_identifier(&self, identifier: &str) -> Result<Option<Verification>> {
        let identifiers = self.database.kept(identifier);
        if let Some(secondary) = self.database.secondary() {
            let there = secondary.verification(self.database, &identifiers).await?;
            if there.is_some() || !secondary.has_verifications_in_database() {
                return Ok(there);
            }
        }
        let mut found = None;
        for identifier in &identifiers {
            found = self.database.list(newest(identifier)).await?.into_iter().next();
            if found.is_some() {
                break;
            }
        }
        self.clean_up();
        Ok(found)
    }

    /// Deletes what has ended, beside the request, as often as upstream.
    fn clean_up(&self) {
        let Some(cleanup) = self.database.verification_cleanup() else { return };
        let (store, now) = (self.database.clone(), self.database.now());
        if !cleanup.is_now(now) {
            return;
        }
        self.database.env().spawn(async move {
            let deleted = housekeeping::delete(&store, &Verification::EXPIRES_AT.lt(now)).await;
            if let Err(error) = deleted {
                tracing::warn!(error = chain(&error), "expired verifications could not be deleted");
            }
        });
    }
}

fn newest(identifier: &str) -> Select<Verification> {
    let newest = Select::matching(Verification::IDENTIFIER.eq(identifier));
    newest.order_by(Verification::CREATED_AT, Order::Descending).limit(1)
}

impl Verifications<&mut Tx> {
    /// Issues a value under an identifier.
    pub async fn issue(&mut self, identifier: &str, value: &str, lifetime: Duration) -> Result<Verification> {
        let now = self.database.env().clock.now();
        let kept = self.database.store().kept(identifier).into_iter().next();
        let verification = Verification {
            id: self.database.new_id(),
            identifier: kept.unwrap_or_else(|| identifier.to_owned()),
            value: value.to_owned(),
            expires_at: now + lifetime,
            created_at: now,
            updated_at: now,
            extra: store::Record::default(),
            hidden: store::Record::default(),
        };
        let is_in_database = self.database.secondary().is_none_or(Secondary::has_verifications_in_database);
        if is_in_database {
            let verification = self.database.create(&verification).await?;
            if self.database.secondary().is_some() {
                let value = to_map(self.database.store().resolved::<Verification>()?, &verification);
                self.tell_issued(&verification, value);
            }
            return Ok(verification);
        }
        let columns = self.database.compose(&verification).await?;
        // Upstream: no `id` where no database has made a row of it.
        let columns = columns.into_iter().filter(|(name, _)| name != "id");
        let value = columns.map(|(name, value)| (name, json(&value))).collect();
        self.tell_issued(&verification, value);
        Ok(verification)
    }

    fn tell_issued(&mut self, verification: &Verification, value: Map<String, Json>) {
        let (identifier, expires_at) = (verification.identifier.clone(), verification.expires_at);
        self.database.tell(Told::Issued { identifier, value, expires_at });
    }

    /// Redeems the value under an identifier, as far as the database has it: once, whoever races for it. Older ones go
    /// with it, an expired one is gone and worth nothing. [`Ctx::redeem`](crate::Ctx::redeem) also knows those that
    /// are kept elsewhere.
    pub(crate) async fn consume(&mut self, identifier: &str) -> Result<Option<Verification>> {
        let now = self.database.env().clock.now();
        let identifiers = self.database.store().kept(identifier);
        let mut redeemed = None;
        for identifier in &identifiers {
            let Some(newest) = self.database.list(newest(identifier)).await?.into_iter().next() else {
                continue;
            };
            redeemed = self.database.take(Verification::ID.eq(&newest.id)).await?;
            if redeemed.is_some() {
                // What was issued since waits for its own turn, and whoever lost the race has nothing to end.
                let older = Verification::CREATED_AT.lte(newest.created_at);
                self.database.delete(Verification::IDENTIFIER.eq(identifier).and(older)).await?;
                break;
            }
        }
        if redeemed.is_some() && self.database.secondary().is_some() {
            self.database.tell(Told::Redeemed { identifiers });
        }
        Ok(redeemed.filter(|verification: &Verification| verification.expires_at >= now))
    }
}
