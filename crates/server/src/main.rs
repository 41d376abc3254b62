//! The server: configuration, command line, listener. Everything it can do comes from the library.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.

mod cli;
mod listener;
mod log;
mod metrics;
mod secret_file;
mod settings;
mod traces;

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// A session check is mostly small allocations, and the system's allocator is slow at those. Its pages are small ones
/// (`no_thp`): huge ones hold four times what a server that just started has.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
