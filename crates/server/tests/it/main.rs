//! The `narthex` binary as its users meet it: a process, a socket, a database, and everything that can cut them off.
//!
//! `TEST_DATABASE=postgres://…` makes the tests that concern both databases use PostgreSQL, each one a database of
//! its own in that cluster, and runs those that concern PostgreSQL alone; without it everything runs on SQLite.
#![cfg(target_os = "linux")]

#[cfg(test)]
mod audit;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod bodies;
#[cfg(test)]
mod client;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod config;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod copy;
#[cfg(test)]
mod cors;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod database;
#[cfg(test)]
mod disconnect;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod guessing;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod log;
#[cfg(test)]
mod lost_connection;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod server;
#[cfg(test)]
mod stopping;
#[cfg(test)]
mod systemd;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod trace;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod unix_socket;
#[cfg(test)]
mod users;
