//! A handler that holds something across an await which cannot change threads.

use narthex::prelude::*;
use std::rc::Rc;

struct Example;

impl Plugin for Example {
    const ID: &'static str = "example";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.get("/example", Self::show);
    }
}

impl Example {
    async fn show(&self, cx: &mut Ctx) -> Result<Reply> {
        let held = Rc::new(1);
        cx.users().by_id("1").await?;
        Ok(Reply::json(&*held))
    }
}

fn main() {}
