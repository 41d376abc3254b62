//! The endpoints every installation has, one file each, as in `src/endpoints`.

mod accounts;
mod change_password;
mod error;
mod cookie_cache;
mod additional_fields;
mod ok;
mod session;
mod session_lifetime;
mod sessions;
mod sign_in;
mod sign_out;
mod sign_up;
mod verify_password;
mod update_session;
mod update_user;
