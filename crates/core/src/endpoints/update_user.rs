//! Changing one's own name, picture and the fields that plugins and the operator add.
//!
//! Upstream: `api/routes/update-user.ts`.

use crate::{
    input::{At, Issues},
    model::{User, fields},
    prelude::*,
    store::{Patch, Value},
};
use ::http::StatusCode;
use serde_json::Value as Given;

pub(crate) struct UpdateUser;

impl Plugin for UpdateUser {
    const ID: &'static str = "update-user";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.post("/update-user", Self::update_user);
    }
}

output! {
    /// The user is changed.
    pub(crate) struct Updated {
        /// Always true.
        status: bool,
    }
}

impl UpdateUser {
    /// `POST /update-user`
    async fn update_user(
        &self,
        cx: &mut Ctx,
        Body(mut body): Body<Record>,
        Session(SignedIn { session, user }): Session,
    ) -> Result<Json<Updated>> {
        if body.get("email").is_some_and(fields::is_truthy) {
            return Err(Error::bad_request(Code::EMAIL_CAN_NOT_BE_UPDATED));
        }
        let (name, image) = (body.shift_remove("name"), body.shift_remove("image"));
        let others = fields::read::<User>(cx.store(), &mut body, fields::Action::Update)?;
        let mut patch = Patch::of(others);
        let mut issues = Issues::default();
        match name {
            Some(Given::String(name)) => patch = User::NAME.set(name).and(patch),
            None => {}
            other => issues.expected("string", other.as_ref(), &At::ROOT.member("name")),
        }
        match image {
            Some(Given::String(image)) => patch = patch.and(User::IMAGE.set(image)),
            Some(Given::Null) => patch = patch.and(User::IMAGE.set(Value::Null)),
            None => {}
            other => issues.expected("string", other.as_ref(), &At::ROOT.member("image")),
        }
        if !issues.is_empty() {
            return Err(fields::invalid(&issues));
        }
        if patch.is_empty() {
            return Err(nothing_to_update());
        }
        // Nothing is changed where somebody deleted the account meanwhile, and upstream says the same then.
        let updated = cx.transact(async |tx: &mut Tx| tx.users().update(&user.id, patch).await).await?;
        let signed_in = SignedIn { session, user: updated.unwrap_or(user) };
        cx.set_session(&signed_in, cx.remembers());
        Ok(Json(Updated { status: true }))
    }
}

pub(super) fn nothing_to_update() -> Error {
    Error::with(StatusCode::BAD_REQUEST, None, "No fields to update")
}
