//! A handler that asks for something a request cannot give.

use narthex::prelude::*;

struct Example;

impl Plugin for Example {
    const ID: &'static str = "example";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.get("/example", Self::show);
    }
}

impl Example {
    async fn show(&self, _cx: &mut Ctx, _name: String) -> Result<Reply> {
        Ok(Reply::json(&true))
    }
}

fn main() {}
