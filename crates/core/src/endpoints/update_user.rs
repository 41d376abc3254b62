//! Changing one's own name, picture and the fields that plugins and the operator add.
//!
//! Upstream: `api/routes/update-user.ts`.

use crate::{
    input::{At, ColumnUse, Columns, Described, Field, Issues, Kind, ObjectSchema, Others, Schema},
    model::{User, fields},
    prelude::*,
    store::Patch,
};
use ::http::StatusCode;
use serde_json::Value as Given;

pub(crate) struct UpdateUser;

impl Plugin for UpdateUser {
    const ID: &'static str = "update-user";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup
            .post("/update-user", Self::update_user)
            .summary("Changes the name, the picture and the additional fields of whoever is signed in.")
            .refuses(StatusCode::BAD_REQUEST, [Code::EMAIL_CAN_NOT_BE_UPDATED])
            .refuses(StatusCode::UNPROCESSABLE_ENTITY, [Code::FAILED_TO_UPDATE_USER]);
    }
}

/// The fields that are to change. Any object is read: what is in it is checked by the handler, in its order.
pub(crate) struct UpdateUserBody(Record);

impl Described for UpdateUserBody {
    fn describe() -> Schema {
        let mut object = ObjectSchema::new("UpdateUserBody", Others::Kept);
        object.property("name", "name", false, Schema::text().described("What to call them."));
        let image = Schema::nullable(Schema::text()).described("Where there is a picture of them.");
        object.property("image", "image", false, image);
        object.columns = Some(Columns { table: User::TABLE, usage: ColumnUse::Changed });
        Schema::new(Kind::Object(object)).described("What is to change in the user.")
    }
}

impl Field for UpdateUserBody {
    fn decode(value: Option<Given>, at: &At<'_>, issues: &mut Issues) -> Option<Self> {
        Record::decode(value, at, issues).map(Self)
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
        Body(UpdateUserBody(mut body)): Body<UpdateUserBody>,
        Session(SignedIn { session, user }): Session,
    ) -> Result<Json<Updated>> {
        if body.get("email").is_some_and(fields::is_truthy) {
            return Err(Error::bad_request(Code::EMAIL_CAN_NOT_BE_UPDATED));
        }
        let (name, image) = (body.shift_remove("name"), body.shift_remove("image"));
        let others = fields::read::<User>(cx.store(), &mut body, fields::Action::Update)?;
        let mut issues = Issues::default();
        let name = text(name, "name", &mut issues);
        let image = match image {
            Some(Given::Null) => Some(None),
            image => text(image, "image", &mut issues).map(Some),
        };
        if !issues.is_empty() {
            return Err(fields::invalid(&issues));
        }
        let mut patch = Patch::of(others.clone());
        if let Some(name) = &name {
            patch = User::NAME.set(name).and(patch);
        }
        if let Some(image) = &image {
            patch = patch.and(User::IMAGE.set(image.clone()));
        }
        if patch.is_empty() {
            return Err(nothing_to_update());
        }
        let updated = cx.transact(async |tx: &mut Tx| tx.users().update(&user.id, patch).await).await?;
        let user = if let Some(user) = updated {
            user
        } else {
            // Somebody deleted the account meanwhile: there is nothing to change but what the browser remembers.
            let (name, image) = (name.unwrap_or(user.name), image.unwrap_or(user.image));
            let mut user = User { name, image, ..user };
            user.give(cx.store(), others)?;
            user
        };
        let signed_in = SignedIn { session, user };
        cx.set_session(&signed_in, cx.remembers()).await;
        Ok(Json(Updated { status: true }))
    }
}

fn text(given: Option<Given>, member: &'static str, issues: &mut Issues) -> Option<String> {
    match given {
        Some(Given::String(text)) => Some(text),
        None => None,
        other => {
            issues.expected("string", other.as_ref(), &At::ROOT.member(member));
            None
        }
    }
}

pub(super) fn nothing_to_update() -> Error {
    Error::with(StatusCode::BAD_REQUEST, None, "No fields to update")
}
