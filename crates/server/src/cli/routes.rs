//! `narthex routes`: every endpoint, as a list or as OpenAPI.

use super::{Failure, print, text::columns, yaml};
use crate::settings::{Flags, Settings};
use narthex::{Auth, Route};
use serde_json::json;

/// What `narthex routes` takes.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// As OpenAPI 3.1, with what each takes and answers under this configuration.
    #[arg(long, conflicts_with = "json")]
    openapi: bool,
    /// OpenAPI as YAML in place of JSON.
    #[arg(long, requires = "openapi", conflicts_with = "json")]
    yaml: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let settings = Settings::load(&arguments.flags).map_err(Failure::Usage)?;
    let base_path = settings.config.path();
    let builder = settings.options.plugins.install(Auth::builder(settings.config));
    if arguments.openapi {
        let document = builder.openapi().map_err(|error| Failure::Usage(error.problems))?;
        if arguments.yaml {
            return print(&yaml::write(&document));
        }
        return print(&serde_json::to_string_pretty(&document).map_err(Failure::failed)?);
    }
    let routes = builder.routes();
    if arguments.json {
        let routes: Vec<_> = routes.iter().map(|route| as_json(&base_path, route)).collect();
        return print(&serde_json::to_string_pretty(&routes).map_err(Failure::failed)?);
    }
    let rows: Vec<[String; 4]> = routes.iter().flat_map(|route| as_rows(&base_path, route)).collect();
    print(&columns(&rows))
}

/// An endpoint, and below it its other paths.
fn as_rows(base_path: &str, route: &Route) -> Vec<[String; 4]> {
    let limit = match route.limit {
        _ if route.is_disabled => "disabled".to_owned(),
        Some(rate) => format!("{} in {} s", rate.max, rate.window),
        None => "no limit".to_owned(),
    };
    let row =
        |path: String, plugin: &str, rest: String| [route.method.to_string(), path, plugin.to_owned(), rest];
    let path = format!("{base_path}{}", route.path);
    let aliases = route.aliases.iter();
    let aliases =
        aliases.map(|alias| row(alias.path(base_path).into_owned(), alias.plugin, format!("is {path}")));
    std::iter::once(row(path.clone(), route.plugin, limit)).chain(aliases).collect()
}

fn as_json(base_path: &str, route: &Route) -> serde_json::Value {
    let limit = route.limit.map(|rate| json!({ "max": rate.max, "window": rate.window }));
    json!({
        "method": route.method.as_str(),
        "path": format!("{base_path}{}", route.path),
        "plugin": route.plugin,
        "limit": limit,
        "disabled": route.is_disabled,
        "aliases": route.aliases.iter().map(|alias| alias.path(base_path)).collect::<Vec<_>>(),
    })
}
