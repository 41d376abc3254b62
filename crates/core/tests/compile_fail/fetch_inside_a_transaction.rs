//! Another server may take for ever to answer.

use narthex::prelude::*;

async fn ask(cx: &mut Ctx, request: http::Request<bytes::Bytes>) -> Result<()> {
    cx.transact(async |_tx: &mut Tx| {
        cx.fetch(request).await?;
        Ok(())
    })
    .await
}

fn main() {}
