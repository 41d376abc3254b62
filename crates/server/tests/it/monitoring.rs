//! What is published for those who watch a server speaks of metrics that there are.

use super::metrics::{documented, repository};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs};

/// The names of metrics in a query.
fn names_in(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("narthex_") || word.starts_with("process_"))
}

fn assert_known(query: &str) {
    let documented = documented();
    let mut names = names_in(query).peekable();
    assert!(names.peek().is_some() || query.contains("up{"), "{query} is about nothing of ours");
    for name in names {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        let is_part =
            base.is_some_and(|base| documented.get(base).is_some_and(|[kind, ..]| kind == "histogram"));
        let is_whole = documented.get(name).is_some_and(|[kind, ..]| kind != "histogram");
        assert!(is_part || is_whole, "{name} in {query} is no metric");
    }
    // What is selected and what is summed by has to be a label of it.
    let (names, labels): (BTreeSet<_>, BTreeSet<_>) = (names_in(query).collect(), labels_in(query));
    for label in labels {
        let has = |name: &&str| {
            let base =
                ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
            let row = documented.get(*name).or_else(|| documented.get(base));
            row.is_some_and(|[_, labels, _]| labels.split(", ").any(|known| known == label))
        };
        let is_prometheus_own = ["le", "job", "instance"].contains(&&*label);
        assert!(is_prometheus_own || names.iter().any(has), "nothing in {query} has the label {label}");
    }
}

fn labels_in(query: &str) -> BTreeSet<String> {
    let selected = query.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(inside, _)| inside);
    let selected =
        selected.flat_map(|inside| inside.split(',').filter_map(|pair| pair.split_once(['=', '!'])));
    let grouped =
        query.split("by (").skip(1).filter_map(|rest| rest.split_once(')')).map(|(inside, _)| inside);
    let grouped = grouped.flat_map(|inside| inside.split(','));
    selected.map(|(label, _)| label).chain(grouped).map(|label| label.trim().to_owned()).collect()
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let text = fs::read_to_string(repository().join("packaging/grafana/narthex.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&dashboard["uid"], &dashboard["id"]), (&json!("narthex"), &Value::Null));
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36));
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: another panel has its id");
        let [x, y, width, height] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + width <= 24 && height > 0, "{title}: is beside the grid");
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(places.insert(cell), "{title}: is over another panel");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{title}");
        for target in panel["targets"].as_array().unwrap() {
            assert_known(target["expr"].as_str().unwrap());
        }
    }
    assert!(panels.len() > 15);
    for variable in
        dashboard["templating"]["list"].as_array().unwrap().iter().filter(|one| one["type"] == "query")
    {
        assert_known(variable["query"]["query"].as_str().unwrap());
    }
}

#[test]
fn the_alert_rules_ask_for_what_there_is_and_say_what_to_do() {
    let text = fs::read_to_string(repository().join("packaging/prometheus/alerts.yml")).unwrap();
    let alerts: Vec<_> = text.split("\n      - alert: ").skip(1).collect();
    let mut names = BTreeSet::new();
    for alert in &alerts {
        let name = alert.lines().next().unwrap();
        assert!(name.starts_with("Narthex") && names.insert(name), "{name}");
        let value = |key: &str| {
            let start =
                alert.find(&format!("\n{key}: ")).unwrap_or_else(|| panic!("{name} has no {}", key.trim()));
            &alert[start + key.len() + 3..]
        };
        let query = value("        expr").split("\n        for:").next().unwrap();
        assert_known(query);
        for key in ["        for", "          severity", "          summary", "          description"] {
            assert!(!value(key).lines().next().unwrap().trim().is_empty(), "{name}: {key}");
        }
    }
    assert_eq!(alerts.len(), 10, "{names:?}");
}
