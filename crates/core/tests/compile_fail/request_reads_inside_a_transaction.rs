//! What the request reads is not what the transaction has written, and may wait for its connection.

use narthex::prelude::*;

async fn look(cx: &mut Ctx) -> Result<bool> {
    cx.transact(async |_tx: &mut Tx| Ok(cx.users().by_email("ada@example.com").await?.is_some())).await
}

fn main() {}
