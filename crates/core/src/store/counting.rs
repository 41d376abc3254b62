//! Counting in the database, so that no two processes allow the same request.

use super::{Result, Store, Tx, sql};
use crate::model::RateLimit;

/// Rows that one statement deletes at most, so that nobody waits long for it.
const DELETED_AT_ONCE: u32 = 1_000;

impl Store {
    /// Counts one request under `row.key`, and answers whether it is within its limit: at most `max` since the last
    /// pause, which began before `idle_since`. Guard and write are one statement.
    pub(crate) async fn count_request(&self, row: RateLimit, idle_since: i64, max: u32) -> Result<bool> {
        self.write(async |tx: &mut Tx| {
            let table = tx.table::<RateLimit>()?;
            let statement = sql::count_request(self.dialect(), &table, &row, idle_since, max);
            Ok(tx.one::<RateLimit>(&table, statement).await?.is_some())
        })
        .await
    }

    /// Deletes some of the counts that nobody has added to since `idle_since`.
    pub(crate) async fn forget_requests(&self, idle_since: i64) -> Result<u64> {
        self.write(async |tx: &mut Tx| {
            let table = tx.table::<RateLimit>()?;
            let statement = sql::delete_some(
                self.dialect(),
                &table,
                RateLimit::LAST_REQUEST.lt(idle_since).node,
                DELETED_AT_ONCE,
            );
            tx.execute(statement).await
        })
        .await
    }
}
