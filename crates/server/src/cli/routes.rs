//! `narthex routes`: every endpoint.

use super::{Failure, print, text::columns};
use crate::settings::{Flags, Settings};
use narthex::{Auth, Route};
use serde_json::json;

/// What `narthex routes` takes.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let settings = Settings::load(&arguments.flags).map_err(Failure::Usage)?;
    let base_path = settings.config.path();
    let routes = settings.options.plugins.install(Auth::builder(settings.config)).routes();
    if arguments.json {
        let routes: Vec<_> = routes.iter().map(|route| as_json(&base_path, route)).collect();
        return print(&serde_json::to_string_pretty(&routes).map_err(Failure::failed)?);
    }
    let rows: Vec<[String; 4]> = routes.iter().map(|route| as_row(&base_path, route)).collect();
    print(&columns(&rows))
}

fn as_row(base_path: &str, route: &Route) -> [String; 4] {
    let limit = match route.limit {
        _ if route.is_disabled => "disabled".to_owned(),
        Some(rate) => format!("{} in {} s", rate.max, rate.window),
        None => "no limit".to_owned(),
    };
    [route.method.to_string(), format!("{base_path}{}", route.path), route.plugin.to_owned(), limit]
}

fn as_json(base_path: &str, route: &Route) -> serde_json::Value {
    let limit = route.limit.map(|rate| json!({ "max": rate.max, "window": rate.window }));
    json!({
        "method": route.method.as_str(),
        "path": format!("{base_path}{}", route.path),
        "plugin": route.plugin,
        "limit": limit,
        "disabled": route.is_disabled,
    })
}
