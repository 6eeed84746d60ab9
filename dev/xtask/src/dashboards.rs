//! Grafana's dashboards (`deploy/grafana`), made from the short tables in [`specs`].
//!
//! A dashboard of a dozen panels is a thousand lines of JSON that differ in twelve titles and queries; nobody reviews those.
//! Rejected: grafonnet, which wants a Jsonnet toolchain for the same thing.

mod specs;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::command::Failure;
use crate::workspace::Workspace;

/// Of Grafana 10 and later.
const SCHEMA: u32 = 39;
/// Width of the whole page, in Grafana's units.
const PAGE: u32 = 24;
const HEIGHT: u32 = 8;

/// A page of panels.
struct Dashboard {
    /// Its file's name, and its name in Grafana's URLs.
    uid: &'static str,
    title: &'static str,
    panels: &'static [Panel],
}

/// One query or a few, drawn.
struct Panel {
    title: &'static str,
    kind: Kind,
    unit: Unit,
    /// PromQL and the legend of each of its series. `$I` stands for the chosen validators' label.
    queries: &'static [(&'static str, &'static str)],
}

/// How it is drawn.
#[derive(Clone, Copy)]
enum Kind {
    /// Over time.
    Lines,
    /// Over time, on top of each other.
    Areas,
    /// The latest number, large.
    Number,
    /// The latest numbers, a row each.
    Rows,
}

/// What the numbers are.
#[derive(Clone, Copy)]
enum Unit {
    Count,
    PerSecond,
    Seconds,
    Bytes,
    /// From 0 to 1.
    Share,
    /// Seconds since 1970, shown as how far away that is.
    Moment,
}

impl Kind {
    const fn width(self) -> u32 {
        match self {
            Self::Number => PAGE / 4,
            Self::Lines | Self::Areas | Self::Rows => PAGE / 2,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Lines | Self::Areas => "timeseries",
            Self::Number => "stat",
            Self::Rows => "table",
        }
    }
}

impl Unit {
    /// Grafana's name of it.
    const fn name(self) -> &'static str {
        match self {
            Self::Count => "short",
            Self::PerSecond => "ops",
            Self::Seconds => "s",
            Self::Bytes => "bytes",
            Self::Share => "percentunit",
            Self::Moment => "dateTimeFromNow",
        }
    }

    /// Moments are in milliseconds there.
    fn expression(self, query: &str) -> String {
        let query = query.replace("$I", r#"instance=~"$instance""#);
        match self {
            Self::Moment => format!("1000 * ({query})"),
            _ => query,
        }
    }
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn panel(id: usize, at: (u32, u32), panel: &Panel) -> Value {
    let is_latest = matches!(panel.kind, Kind::Number | Kind::Rows);
    let letters = ('A'..='Z').map(String::from);
    let target = |((query, legend), letter): (&(&str, &str), String)| {
        let format = if matches!(panel.kind, Kind::Rows) { "table" } else { "time_series" };
        json!({
            "refId": letter, "datasource": source(), "expr": panel.unit.expression(query),
            "legendFormat": legend, "instant": is_latest, "range": !is_latest, "format": format,
        })
    };
    let targets: Vec<Value> = panel.queries.iter().zip(letters).map(target).collect();
    let custom = match panel.kind {
        Kind::Areas => json!({ "fillOpacity": 40, "stacking": { "mode": "normal" } }),
        _ => json!({}),
    };
    json!({
        "id": id, "type": panel.kind.name(), "title": panel.title, "datasource": source(), "targets": targets,
        "gridPos": { "x": at.0, "y": at.1, "w": panel.kind.width(), "h": HEIGHT },
        "fieldConfig": { "defaults": { "unit": panel.unit.name(), "min": 0, "custom": custom }, "overrides": [] },
        "options": {},
    })
}

/// Places panels from left to right, and below where no room is left.
fn panels(specs: &[Panel]) -> Vec<Value> {
    let (mut x, mut y) = (0, 0);
    let place = |(index, spec): (usize, &Panel)| {
        if x + spec.kind.width() > PAGE {
            (x, y) = (0, y + HEIGHT);
        }
        let at = (x, y);
        x += spec.kind.width();
        panel(index + 1, at, spec)
    };
    specs.iter().enumerate().map(place).collect()
}

fn render(dashboard: &Dashboard) -> String {
    let variables = json!([
        { "name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus" },
        {
            "name": "instance", "type": "query", "label": "Validator", "datasource": source(), "multi": true,
            "includeAll": true, "allValue": ".*", "refresh": 2, "current": { "text": "All", "value": "$__all" },
            "query": "label_values(basilica_validator_uptime_seconds, instance)",
        },
    ]);
    let page = json!({
        "uid": dashboard.uid, "title": dashboard.title, "tags": ["basilica"], "schemaVersion": SCHEMA, "editable": true,
        "refresh": "30s", "time": { "from": "now-6h", "to": "now" }, "templating": { "list": variables },
        "panels": panels(dashboard.panels),
    });
    format!("{page:#}\n")
}

fn files(workspace: &Workspace) -> impl Iterator<Item = (PathBuf, String)> {
    let folder = workspace.root.join("deploy/grafana");
    specs::ALL
        .iter()
        .map(move |dashboard| (folder.join(format!("{}.json", dashboard.uid)), render(dashboard)))
}

/// Writes the files.
pub(crate) fn write(workspace: &Workspace) -> Result<(), Failure> {
    for (path, text) in files(workspace) {
        std::fs::write(&path, text)
            .map_err(|error| Failure::Broken(format!("write {}: {error}", path.display())))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_what_the_tables_say() {
        for (path, text) in files(&Workspace::find().unwrap()) {
            let kept = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                kept == text,
                "{} is not what the tables say; run `cargo xtask dashboards`",
                path.display()
            );
        }
    }

    #[test]
    fn panels_lie_side_by_side_and_never_on_each_other() {
        for dashboard in specs::ALL {
            let places: Vec<[u64; 4]> = panels(dashboard.panels)
                .iter()
                .map(|panel| ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap()))
                .collect();
            for (index, [x, y, w, h]) in places.iter().enumerate() {
                assert!(x + w <= u64::from(PAGE));
                let apart =
                    |o: &[u64; 4]| o[0] >= x + w || o[0] + o[2] <= *x || o[1] >= y + h || o[1] + o[3] <= *y;
                assert!(places[..index].iter().all(apart), "{}: panel {index}", dashboard.title);
            }
        }
    }
}
