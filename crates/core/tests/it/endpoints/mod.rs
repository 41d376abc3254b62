//! The endpoints every installation has, one file each, as in `src/endpoints`.

pub(crate) mod accounts;
mod additional_fields;
mod change_password;
mod cookie_cache;
mod error;
mod ok;
mod session;
mod session_lifetime;
mod sessions;
mod sign_in;
mod sign_out;
mod sign_up;
mod update_session;
mod update_user;
mod verify_password;
