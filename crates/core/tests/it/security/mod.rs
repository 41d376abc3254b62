//! What must not be possible, one file for each kind of attack.

mod blocklist;
mod corpora;
mod cookies;
mod enumeration;
mod guessing;
mod fields;
mod input;
mod origins;
mod others;
mod paths;
mod rate_limits;
mod redirects;
mod secrets;
