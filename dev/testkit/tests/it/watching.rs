//! Metrics, alerts and dashboards fit together: a real Prometheus reads a real validator, loads the alerts and is asked every
//! query of every dashboard. The miner's is asked where a whole miner runs (`quick_setup`).
#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use basilica_http::client;
use basilica_testkit::{Devchain, eventually_async, free_address};
use serde_json::{Value, json};

use crate::weights::Validator;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// The miner's dashboard; the others are the validator's.
const MINER: &str = "miner.json";
/// What the metrics of a validator's process begin with.
const FAMILIES: [&str; 5] = ["basilica_", "validator_executor_", "validator_node_", "chain_", "process_"];

fn deployed(path: &str) -> PathBuf {
    Path::new(ROOT).join("deploy").join(path)
}

/// A Prometheus of its own, with the alerts that we ship.
pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    pub(crate) fn watching(job: &str, rules: &str, server: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = json!({
            "global": { "scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms" },
            "rule_files": [deployed("prometheus").join(rules)],
            "scrape_configs": [{ "job_name": job, "static_configs": [{ "targets": [server] }] }],
        });
        // JSON is YAML.
        std::fs::write(directory.path().join("prometheus.yml"), config.to_string()).unwrap();
        let address = free_address();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", directory.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("`cargo xtask setup` installs prometheus");
        Self { child, address, _directory: directory }
    }

    /// What it answers; none while it starts.
    async fn get(&self, path: &str) -> Option<Value> {
        let (_, body) = client::get(self.address, path, None).await.ok()?;
        serde_json::from_slice(&body).ok()
    }

    /// The series that a query has now.
    async fn ask(&self, query: &str) -> Vec<Value> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={escaped}")).await.expect("it answers");
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().expect("a vector").clone()
    }

    /// Waits until it has read its server twice and evaluated every alert.
    pub(crate) async fn until_settled(&self) {
        eventually_async("Prometheus has read it twice and evaluated every alert", async || {
            let reads = self.get("/api/v1/query?query=min(count_over_time(up[1m]))").await;
            let reads = reads.and_then(|a| a["data"]["result"][0]["value"][1].as_str()?.parse::<f64>().ok());
            let alerts = self.alerts().await;
            reads.is_some_and(|reads| reads >= 2.0)
                && !alerts.is_empty()
                && alerts.values().all(|health| health == "ok")
        })
        .await;
    }

    /// Asks every query of the dashboards: none may ask for what is not `told`, and most have an answer.
    async fn ask_panels(&self, dashboards: BTreeMap<String, Vec<String>>, told: &BTreeSet<String>) {
        for (title, queries) in dashboards {
            let mut shown = 0;
            for query in &queries {
                let unknown: Vec<_> = named(query).difference(told).cloned().collect();
                assert!(unknown.is_empty(), "{title} asks for {unknown:?}, which nobody tells");
                shown += usize::from(!self.ask(query).await.is_empty());
            }
            assert!(
                2 * shown > queries.len(),
                "{title}: {shown} of {} queries have an answer",
                queries.len()
            );
        }
    }

    /// The alerts by name, and whether each could be evaluated.
    async fn alerts(&self) -> BTreeMap<String, String> {
        let Some(answer) = self.get("/api/v1/rules").await else { return BTreeMap::new() };
        let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
        let text = |rule: &Value, field: &str| rule[field].as_str().unwrap_or_default().to_owned();
        rules.map(|rule| (text(&rule, "name"), text(&rule, "health") + &text(&rule, "lastError"))).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The series that a scrape may have, by `# TYPE` lines.
fn series(scrape: &str) -> BTreeSet<String> {
    let families = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let suffixed = families.flat_map(|(name, kind)| {
        let suffixes: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        suffixes.iter().map(move |suffix| format!("{name}{suffix}"))
    });
    suffixed.collect()
}

/// The validator's metrics that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| FAMILIES.iter().any(|family| word.starts_with(family))).map(str::to_owned).collect()
}

/// Every query of these dashboards, with what Grafana puts in.
fn queries(is_asked: impl Fn(&str) -> bool) -> BTreeMap<String, Vec<String>> {
    let files = std::fs::read_dir(deployed("grafana")).unwrap().map(|entry| entry.unwrap().path());
    let asked = files.filter(|path| is_asked(&path.file_name().unwrap().to_string_lossy()));
    let read = asked.map(|path| {
        let page: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let panels = page["panels"].as_array().unwrap().clone();
        let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap().clone());
        let query = |target: Value| {
            target["expr"].as_str().unwrap().replace("$__rate_interval", "1m").replace("$instance", ".*")
        };
        (page["title"].as_str().unwrap().to_owned(), targets.map(query).collect())
    });
    read.collect()
}

/// The miner's dashboard and alerts, against a miner that has a node with GPUs and a validator.
pub(crate) async fn every_panel_asks_for_what_this_miner_tells(miner: SocketAddr) {
    let prometheus = Prometheus::watching("basilica-miner", "miner-alerts.yml", miner);
    prometheus.until_settled().await;
    eventually_async("its GPUs were read", async || !prometheus.ask("basilica_gpu_count").await.is_empty())
        .await;
    let (_, scrape) = client::get(miner, "/metrics", None).await.unwrap();
    let told = series(std::str::from_utf8(&scrape).unwrap());
    let alerts = std::fs::read_to_string(deployed("prometheus/miner-alerts.yml")).unwrap();
    let unknown: Vec<_> = named(&alerts).difference(&told).cloned().collect();
    assert!(unknown.is_empty(), "alerts ask for {unknown:?}, which no miner tells");
    prometheus.ask_panels(queries(|file| file == MINER), &told).await;
}

#[tokio::test]
async fn every_alert_and_every_panel_asks_for_what_a_validator_tells() {
    let chain = Devchain::start(&json!({ "profile": "newest", "block_time_ms": 100, "tempo": 30 }), &[]);
    let mut validator = Validator::start(&[&chain.url], "").await;
    let prometheus = Prometheus::watching("basilica-validator", "alerts.yml", validator.metrics);
    validator.until("weights", |window| window.read_back.is_some()).await;
    assert!(validator.readiness().contains("200 OK"), "one answer of the API is counted");
    prometheus.until_settled().await;
    eventually_async("what was set is told of the miner that it went to", async || {
        !prometheus.ask("basilica_validator_miner_weight > 0").await.is_empty()
    })
    .await;
    let (_, scrape) = client::get(validator.metrics, "/metrics", None).await.unwrap();
    let told = series(std::str::from_utf8(&scrape).unwrap());
    let alerts = std::fs::read_to_string(deployed("prometheus/alerts.yml")).unwrap();
    let unknown: Vec<_> = named(&alerts).difference(&told).cloned().collect();
    assert!(unknown.is_empty(), "alerts ask for {unknown:?}, which no validator tells");
    prometheus.ask_panels(queries(|file| file != MINER), &told).await;

    let manual = std::fs::read_to_string(Path::new(ROOT).join("docs/metrics.md")).unwrap();
    let rows = manual.lines().filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next());
    let explained: BTreeSet<String> = rows.map(str::to_owned).collect();
    let families: BTreeSet<String> = told
        .iter()
        .filter(|name| !name.ends_with("_sum") && !name.ends_with("_count") || name.ends_with("gpu_count"))
        .map(|name| name.strip_suffix("_bucket").unwrap_or(name).to_owned())
        .collect();
    assert_eq!(
        families.difference(&explained).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "docs/metrics.md lacks these"
    );
    assert_eq!(
        explained.difference(&families).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "no validator tells these"
    );
}

#[test]
fn every_alert_fires_for_what_it_is_for() {
    let check = |arguments: &[&str]| {
        let run = Command::new("promtool").args(arguments).current_dir(deployed("prometheus")).output();
        let run = run.expect("`cargo xtask setup` installs promtool");
        assert!(run.status.success(), "promtool {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    };
    check(&["check", "config", "prometheus.yml"]);
    for (rules, manual) in [("alerts", "docs/validator.md"), ("miner-alerts", "docs/miner-view.md")] {
        check(&["test", "rules", &format!("{rules}.test.yml")]);
        let read = |name: String| std::fs::read_to_string(deployed("prometheus").join(name)).unwrap();
        let (alerts, tests) = (read(format!("{rules}.yml")), read(format!("{rules}.test.yml")));
        let explained = std::fs::read_to_string(Path::new(ROOT).join(manual)).unwrap();
        for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
            let mentions = tests.matches(&format!("alertname=\"{alert}\"")).count();
            assert!(mentions >= 3, "{alert} is tested where it fires and where it does not");
            assert!(explained.contains(&format!("| `{alert}` |")), "{manual} says what to do about {alert}");
        }
    }
}
