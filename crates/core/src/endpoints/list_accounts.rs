//! The ways in which somebody can sign in, without what opens the providers' doors.
//!
//! Upstream: `api/routes/account.ts`.

use crate::{
    input::{Described, Kind, Schema},
    model::Account,
    prelude::*,
};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

pub(crate) struct ListAccounts;

impl Plugin for ListAccounts {
    const ID: &'static str = "list-accounts";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup
            .get("/list-accounts", Self::list)
            .operation("listUserAccounts")
            .summary("Lists the ways in which somebody can sign in.");
    }
}

/// An account whose scopes are a list, behind everything else.
pub(crate) struct ListedAccount(Account);

impl Serialize for ListedAccount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(account) = self;
        let scopes: Vec<_> = account.scope.iter().flat_map(|scope| scope.split(',')).map(str::trim).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("accountId", &account.account_id)?;
        map.serialize_entry("providerId", &account.provider_id)?;
        map.serialize_entry("userId", &account.user_id)?;
        map.serialize_entry("createdAt", &account.created_at)?;
        map.serialize_entry("updatedAt", &account.updated_at)?;
        for (name, value) in account.extra.iter() {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("id", &account.id)?;
        map.serialize_entry(
            "scopes",
            &scopes.into_iter().filter(|scope| !scope.is_empty()).collect::<Vec<_>>(),
        )?;
        map.end()
    }
}

impl Described for ListedAccount {
    fn describe() -> Schema {
        let mut account = Account::describe();
        if let Kind::Object(object) = &mut account.kind {
            object.name = "ListedAccount";
            object.properties.retain(|property| property.name != "scope");
            let scopes = Schema::list(Schema::text()).described("What may be done with it over there.");
            object.property("scopes", "scopes", true, scopes);
        }
        account
    }
}

impl ListAccounts {
    /// `GET /list-accounts`
    async fn list(&self, cx: &mut Ctx, Session(signed_in): Session) -> Result<Json<Vec<ListedAccount>>> {
        let accounts = cx.accounts().of(&signed_in.user.id).await?;
        Ok(Json(accounts.into_iter().map(ListedAccount).collect()))
    }
}
