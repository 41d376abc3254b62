//! What a handler asks for in its signature: inputs and guards.
//!
//! A request that cannot provide one is answered here and never reaches the handler, so protection is visible in
//! the signature and cannot be forgotten inside.

use super::origin;
use crate::{
    context::Ctx,
    error::{Code, Error, Result},
    input::{ColumnUse, Input, Kind, from_query},
    plugin::Description,
};
use http::StatusCode;
use std::future::Future;

/// Something a handler asks for in its signature.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a handler",
    note = "arguments after `cx` are extractors: `Body(body): Body<MyBody>`, `Query(query): Query<MyQuery>`, a guard \
            such as `FormCsrf`, or a type of yours that implements `Extract`"
)]
pub trait Extract: Sized + Send {
    /// Takes it from the request, or refuses the request.
    fn extract(cx: &mut Ctx) -> impl Future<Output = Result<Self>> + Send;

    /// Adds what it says about the endpoint.
    fn describe(_description: &mut Description) {}
}

/// The JSON body.
pub struct Body<T>(pub T);

/// The body, as JSON or as a form.
pub struct FormBody<T>(pub T);

/// The query.
pub struct Query<T>(pub T);

impl<T: Input + Send> Extract for Body<T> {
    async fn extract(cx: &mut Ctx) -> Result<Self> {
        T::from_value(cx.take_body()).map(Self).map_err(|issues| invalid(issues.message("body")))
    }

    fn describe(description: &mut Description) {
        let schema = T::describe();
        description.requires_body = !T::OMITTABLE;
        description.refuse(StatusCode::BAD_REQUEST, Code::VALIDATION_ERROR);
        if let Kind::Object(object) = &schema.kind
            && let Some(columns) = &object.columns
        {
            description.refuse(StatusCode::BAD_REQUEST, Code::FIELD_NOT_ALLOWED);
            if columns.usage == ColumnUse::Given {
                description.refuse(StatusCode::BAD_REQUEST, Code::MISSING_FIELD);
            }
        }
        description.body = Some(schema);
    }
}

impl<T: Input + Send> Extract for FormBody<T> {
    async fn extract(cx: &mut Ctx) -> Result<Self> {
        Body::extract(cx).await.map(|Body(body)| Self(body))
    }

    fn describe(description: &mut Description) {
        Body::<T>::describe(description);
        description.accepts_form = true;
    }
}

impl<T: Input + Send> Extract for Query<T> {
    async fn extract(cx: &mut Ctx) -> Result<Self> {
        // An empty object is what upstream makes of a request without a query.
        let query = from_query(cx.query_text());
        T::from_value(Some(query.into())).map(Self).map_err(|issues| invalid(issues.message("query")))
    }

    fn describe(description: &mut Description) {
        description.query = Some(T::describe());
        description.refuse(StatusCode::BAD_REQUEST, Code::VALIDATION_ERROR);
    }
}

/// Guard of the endpoints that sign in: another site's form cannot sign the browser in to an account of its own.
pub struct FormCsrf;

impl Extract for FormCsrf {
    async fn extract(cx: &mut Ctx) -> Result<Self> {
        origin::check_form(cx).map(|()| Self)
    }

    fn describe(description: &mut Description) {
        description.refuse(StatusCode::FORBIDDEN, Code::CROSS_SITE_NAVIGATION_LOGIN_BLOCKED);
    }
}

fn invalid(message: String) -> Error {
    Error::with(StatusCode::BAD_REQUEST, Some(Code::VALIDATION_ERROR.code), message)
}
