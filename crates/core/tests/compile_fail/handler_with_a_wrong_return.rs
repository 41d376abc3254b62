//! A handler that answers with something that is no reply.

use narthex::prelude::*;

struct Example;

impl Plugin for Example {
    const ID: &'static str = "example";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.get("/example", Self::show);
    }
}

impl Example {
    async fn show(&self, _cx: &mut Ctx) -> String {
        String::new()
    }
}

fn main() {}
