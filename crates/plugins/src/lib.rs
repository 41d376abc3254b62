//! The plugins that come with Narthex. The core knows none of them; the server installs what the configuration
//! names, through the same [`Plugin`](narthex::Plugin) door that is open to everyone.

mod bearer;
mod catalog;
pub mod jwt;
pub mod token_api;

pub use self::{bearer::Bearer, catalog::Plugins, jwt::Jwt, token_api::TokenApi};
