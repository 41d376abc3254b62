//! A handler that forgets the request.

use narthex::prelude::*;

struct Example;

impl Plugin for Example {
    const ID: &'static str = "example";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.get("/example", Self::show);
    }
}

impl Example {
    async fn show(&self) -> Result<Reply> {
        Ok(Reply::json(&true))
    }
}

fn main() {}
