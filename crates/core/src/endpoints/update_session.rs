//! Changing the fields that plugins and the operator add to one's own session. Core's own are not among them.
//!
//! Upstream: `api/routes/update-session.ts`.

use super::update_user::nothing_to_update;
use crate::{
    input::{
        At, ColumnUse, Columns, Described, Field, Issues, Json as Given, Kind, ObjectSchema, Others, Schema,
    },
    model::{self, fields},
    prelude::*,
    store::Patch,
};
use ::http::StatusCode;

pub(crate) struct UpdateSession;

impl Plugin for UpdateSession {
    const ID: &'static str = "update-session";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup
            .post("/update-session", Self::update_session)
            .summary("Changes the additional fields of the session that asks.")
            .refuses(StatusCode::UNAUTHORIZED, [Code::FAILED_TO_GET_SESSION])
            .refuses(StatusCode::UNPROCESSABLE_ENTITY, [Code::FAILED_TO_UPDATE_SESSION]);
    }
}

/// The fields that are to change. Any object is read: what is in it is checked by the handler.
pub(crate) struct UpdateSessionBody(Record);

impl Described for UpdateSessionBody {
    fn describe() -> Schema {
        let mut object = ObjectSchema::new("UpdateSessionBody", Others::Kept);
        object.columns = Some(Columns { table: model::Session::TABLE, usage: ColumnUse::Changed });
        Schema::new(Kind::Object(object)).described("What is to change in the session.")
    }
}

impl Field for UpdateSessionBody {
    fn decode(value: Option<Given>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        Record::decode(value, at, issues).map(Self)
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
        Body(UpdateSessionBody(mut body)): Body<UpdateSessionBody>,
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
        cx.set_session(&signed_in, cx.remembers()).await;
        Ok(Json(UpdatedSession { session: signed_in.session }))
    }
}
