//! Short-lived secrets: one table for everything that is issued once and redeemed once.

use crate::{
    Result, model,
    store::{self, Order, Reader, Select, Tx},
    time::Time,
};
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

impl<D: Reader> Verifications<D> {
    pub(crate) fn new(database: D) -> Self {
        Self { database }
    }

    /// The newest of this identifier, expired or not.
    pub async fn by_identifier(&mut self, identifier: &str) -> Result<Option<Verification>> {
        let newest = Select::matching(Verification::IDENTIFIER.eq(identifier));
        let newest = newest.order_by(Verification::CREATED_AT, Order::Descending).limit(1);
        Ok(self.database.list(newest).await?.into_iter().next())
    }
}

impl Verifications<&mut Tx> {
    /// Issues a value under an identifier.
    pub async fn issue(&mut self, identifier: &str, value: &str, lifetime: Duration) -> Result<Verification> {
        let now = self.database.env().clock.now();
        let verification = Verification {
            id: self.database.new_id(),
            identifier: identifier.to_owned(),
            value: value.to_owned(),
            expires_at: now + lifetime,
            created_at: now,
            updated_at: now,
            extra: store::Record::default(),
            hidden: store::Record::default(),
        };
        self.database.create(&verification).await
    }

    /// Redeems the value under an identifier: once, whoever races for it. Older ones go with it, an expired one is
    /// gone and worth nothing.
    pub async fn consume(&mut self, identifier: &str) -> Result<Option<Verification>> {
        let now = self.database.env().clock.now();
        let Some(newest) = self.by_identifier(identifier).await? else { return Ok(None) };
        let taken = self.database.take(Verification::ID.eq(&newest.id)).await?;
        self.database.delete(Verification::IDENTIFIER.eq(identifier)).await?;
        Ok(taken.filter(|verification| verification.expires_at > now))
    }
}
