//! libFuzzer with one target, which `FUZZ_TARGET` names: `cargo xtask fuzz` starts it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use narthex_fuzz::{Target, target};
use std::sync::LazyLock;

#[expect(clippy::disallowed_methods, reason = "libFuzzer's arguments are its own")]
#[expect(clippy::expect_used, reason = "there is nothing to do without a target")]
static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names the target");
    target(&name).expect("FUZZ_TARGET is the name of a target")
});

fuzz_target!(|input: &[u8]| (TARGET.check)(input));
