//! Giving up a way to sign in.
//!
//! Upstream: `api/routes/account.ts`.

use crate::prelude::*;
use ::http::StatusCode;

pub(crate) struct UnlinkAccount;

impl Plugin for UnlinkAccount {
    const ID: &'static str = "unlink-account";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup
            .post("/unlink-account", Self::unlink)
            .summary("Gives up a way to sign in.")
            .refuses(StatusCode::BAD_REQUEST, [Code::FAILED_TO_UNLINK_LAST_ACCOUNT, Code::ACCOUNT_NOT_FOUND]);
    }
}

input! {
    /// Which way.
    pub(crate) struct UnlinkAccountBody {
        /// The id of the account, as `/list-accounts` shows it.
        account_id: Text,
    }
}

output! {
    /// It is gone.
    pub(crate) struct Unlinked {
        /// Always true.
        status: bool,
    }
}

impl UnlinkAccount {
    /// `POST /unlink-account`
    async fn unlink(
        &self,
        cx: &mut Ctx,
        Body(body): Body<UnlinkAccountBody>,
        FreshSession(signed_in): FreshSession,
    ) -> Result<Json<Unlinked>> {
        let even_the_last = cx.config().account.account_linking.allow_unlinking_all;
        cx.transact(async |tx: &mut Tx| {
            tx.accounts().unlink(&signed_in.user.id, &body.account_id, even_the_last).await
        })
        .await?;
        Ok(Json(Unlinked { status: true }))
    }
}
