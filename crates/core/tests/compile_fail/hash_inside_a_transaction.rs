//! A password hash takes tens of milliseconds; a transaction is never held that long.

use narthex::prelude::*;

async fn change(cx: &mut Ctx, password: Secret) -> Result<String> {
    cx.transact(async |_tx: &mut Tx| cx.hash(&password).await).await
}

fn main() {}
