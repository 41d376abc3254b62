//! Changing the fields that plugins and the operator add to one's own session. Core's own are not among them.
//!
//! Upstream: `api/routes/update-session.ts`.

use super::update_user::nothing_to_update;
use crate::{
    model::{self, fields},
    prelude::*,
    store::Patch,
};

pub(crate) struct UpdateSession;

impl Plugin for UpdateSession {
    const ID: &'static str = "update-session";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.post("/update-session", Self::update_session);
    }
}

output! {
    /// The session is changed.
    pub(crate) struct UpdatedSession {
        /// What it is now.
        session: model::Session,
    }
}

impl UpdateSession {
    /// `POST /update-session`
    async fn update_session(
        &self,
        cx: &mut Ctx,
        Body(mut body): Body<Record>,
        Session(SignedIn { session, user }): Session,
    ) -> Result<Json<UpdatedSession>> {
        let others = fields::read::<model::Session>(cx.store(), &mut body, fields::Action::Update)?;
        if others.is_empty() {
            return Err(nothing_to_update());
        }
        let patch = Patch::of(others);
        let updated = cx.update_session(&session.token, patch).await?;
        let Some(mut session) = updated else {
            // Signed out elsewhere since we looked.
            cx.forget_session();
            return Err(Error::unauthorized(Code::FAILED_TO_GET_SESSION));
        };
        session.expires_at = cx.resolved().max_lifetime.end(session.created_at, session.expires_at);
        let signed_in = SignedIn { session, user };
        cx.set_session(&signed_in, cx.remembers());
        Ok(Json(UpdatedSession { session: signed_in.session }))
    }
}
