//! What must not be possible, one file for each kind of attack.

mod blocklist;
mod cookies;
mod corpora;
mod endpoints;
mod enumeration;
mod fields;
mod guessing;
mod input;
mod origins;
mod others;
mod paths;
mod races;
mod rate_limits;
mod redirects;
mod secrets;
