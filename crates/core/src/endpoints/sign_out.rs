//! Signing out: the session ends and the browser forgets it, whether or not there was one.
//!
//! Upstream: `api/routes/sign-out.ts`.

use crate::prelude::*;

pub(crate) struct SignOut;

impl Plugin for SignOut {
    const ID: &'static str = "sign-out";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.post("/sign-out", Self::sign_out).summary("Ends the session.").looks_for_session();
    }
}

input! {
    /// What to do at the provider the session came from.
    pub(crate) struct SignOutBody {
        /// Where the browser goes after the provider's own sign-out.
        callback_url: Option<Text>,
        /// Answer with the provider's address instead of going there.
        disable_redirect: Option<bool>,
        /// Handed to the provider.
        state: Option<Text>,
    }
}

output! {
    /// Signed out.
    pub(crate) struct SignedOut {
        /// Always true.
        success: bool,
    }
}

impl SignOut {
    /// `POST /sign-out`
    async fn sign_out(&self, cx: &mut Ctx, Body(_): Body<Option<SignOutBody>>) -> Result<Json<SignedOut>> {
        let token = cx.signed_cookie(&cx.engine.cookies.session_token);
        if let Some(token) = token {
            let elsewhere = cx.session_elsewhere(&token).await?;
            cx.transact(async |tx: &mut Tx| {
                tx.sessions().delete(&token, elsewhere.as_ref(), Happening::SIGN_OUT).await
            })
            .await?;
        }
        cx.forget_session();
        Ok(Json(SignedOut { success: true }))
    }
}
