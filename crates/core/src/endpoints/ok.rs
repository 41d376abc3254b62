//! Whether the endpoints can be reached at all.
//!
//! Upstream: `api/routes/ok.ts`.

use crate::prelude::*;

pub(crate) struct OkEndpoint;

impl Plugin for OkEndpoint {
    const ID: &'static str = "ok";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.get("/ok", Self::ok).summary("Tells whether the endpoints can be reached.");
    }
}

output! {
    /// The API is working.
    pub(crate) struct Working {
        /// Always true.
        ok: bool,
    }
}

impl OkEndpoint {
    /// `GET /ok`
    async fn ok(&self, _cx: &mut Ctx) -> Result<Json<Working>> {
        Ok(Json(Working { ok: true }))
    }
}
