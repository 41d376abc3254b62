//! What the names `/user` and `/session/refresh` mean to somebody whose session is in a cookie.

use super::TokenApi;
use narthex::{
    model::{self, User},
    prelude::*,
};

output! {
    /// Who is signed in.
    pub(crate) struct Current {
        /// The session.
        session: model::Session,
        /// Whose it is.
        user: User,
    }
}

impl TokenApi {
    /// `GET /user`
    pub(super) async fn user(&self, _: &mut Ctx, Session(signed_in): Session) -> Result<Json<User>> {
        Ok(Json(signed_in.user))
    }

    /// `POST /session/refresh`
    pub(super) async fn refresh_session(&self, cx: &mut Ctx) -> Result<Json<Option<Current>>> {
        let current = cx.renew_current_session().await?;
        Ok(Json(current.map(|SignedIn { session, user }| Current { session, user })))
    }
}
