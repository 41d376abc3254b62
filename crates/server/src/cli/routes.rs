//! `narthex routes`: every endpoint.

use super::{Failure, print};
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
    let routes = narthex_plugins::install(Auth::builder(settings.config)).routes();
    if arguments.json {
        let routes: Vec<_> = routes.iter().map(|route| as_json(&base_path, route)).collect();
        return print(&serde_json::to_string_pretty(&routes).map_err(Failure::failed)?);
    }
    let rows: Vec<[String; 4]> = routes.iter().map(|route| as_row(&base_path, route)).collect();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let lines = rows.iter().map(|[method, path, plugin, limit]| {
        format!("{method:0$}  {path:1$}  {plugin:2$}  {limit}", widths[0], widths[1], widths[2])
    });
    print(&lines.collect::<Vec<_>>().join("\n"))
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
