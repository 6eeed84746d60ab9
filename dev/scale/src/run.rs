//! One run, from nothing to a report.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use basilica_ports::Clock as _;
use basilica_system::SystemClock;
use basilica_testkit::{Devchain, hotkey, keypair, write_wallet};
use basilica_types::{Millis, Timestamp, Uid};
use codec::Encode as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::events::Finding;
use crate::nodes::{Listed, Prover};
use crate::operator::{OperatorKey, Running, start_miner};
use crate::plan::Plan;
use crate::report::Report;
use crate::seed::{Operator, Past, fill};
use crate::validator::ValidatorProcess;
use crate::{miner, nodes};

const SUBNET: u16 = 39;
/// `SubtensorModule.serve_axon`.
const SERVE_AXON: [u8; 2] = [7, 4];
const VALIDATOR: &str = "//Validator1";
/// The real one, whose program publishes its axon itself; the simulated one; and the one that claims what is not its own.
const MINERS: [&str; 3] = ["//Miner1", "//Miner2", "//Miner3"];
/// The slot of the first of them: the owner and three validators come before.
const FIRST_MINER: u16 = 4;
/// For everything to have started, and for the last verdict of a round to come.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs it with the programs of that directory; the chain's is the testkit's.
///
/// # Panics
/// If something cannot be started, or does not happen within some minutes.
pub async fn run(plan: &Plan, programs: &Path) -> Report {
    // Two pipes of each real node, a listener and a connection of each simulated one.
    basilica_system::raise_file_limit().unwrap();
    let home = tempfile::tempdir().unwrap();
    let chain = Devchain::start(
        &json!({ "profile": "newest", "block_time_ms": 250, "tempo": 20, "weights_rate_limit": 10,
            "commit_reveal": false, "drand_period_s": 1,
            "miners": MINERS.map(|uri| json!({ "hotkey": uri })) }),
        &[],
    );
    write_wallet(home.path(), "miner", MINERS[0]);
    let prover = Prover::at(programs.join("basilica-prover"));
    let key = OperatorKey::create(home.path());
    let real = nodes::real(plan, &key.public, &prover).await;
    let simulated = nodes::simulated(plan).await;
    let (mut miner_process, real_axon) =
        start_miner(&programs.join("basilica-miner"), home.path(), &chain.url, &key, &real.listed);
    let mut serving = JoinSet::new();
    let mut axons = vec![real_axon];
    for (uri, listed) in MINERS[1..].iter().zip([&simulated.listed, &simulated.strangers]) {
        let reports = listed.iter().map(Listed::report).collect();
        let axon = miner::serve(keypair(uri), reports, simulated.servers.clone(), &mut serving).await;
        let std::net::IpAddr::V4(ip) = axon.ip() else { unreachable!("it was bound so") };
        let call = (SUBNET, 1u32, u128::from(u32::from(ip)), axon.port(), 4u8, 4u8, 0u8, 0u8).encode();
        chain.submit(uri, &[&SERVE_AXON[..], &call].concat());
        axons.push(axon);
    }
    let now = SystemClock::new().now();
    let due = now + Millis(u64::try_from(plan.lead.as_millis()).unwrap());
    let lists = [&real.listed, &simulated.listed, &simulated.strangers];
    let operators: Vec<Operator<'_>> = (FIRST_MINER..)
        .zip(MINERS)
        .zip(axons)
        .zip(lists)
        .map(|(((uid, uri), axon), nodes)| Operator { hotkey: hotkey(uri), uid: Uid(uid), axon, nodes })
        .collect();
    let validator = keypair(VALIDATOR);
    let past = Past { validator: &validator, prover: prover.file.name(), at: now, light: due };
    fill(&home.path().join("validator.db"), &operators, &past).await;
    let program = programs.join("basilica-validator");
    let mut process = ValidatorProcess::start(&program, home.path(), &chain.url, &prover.path, plan);
    let listed: Vec<Listed> = lists.into_iter().flatten().cloned().collect();
    let pages = follow((&mut process, &mut miner_process), plan, &listed, due).await;
    let report = Report::new(plan, &listed, due, &pages, &process, &simulated.servers).await;
    drop(process);
    real.hosts.stop().await;
    report
}

/// Waits until every node has a verdict of the first round, and those that pass have had the later rounds too. Returns what
/// `GET /nodes` says then.
async fn follow(
    (process, miner): (&mut ValidatorProcess, &mut Running),
    plan: &Plan,
    listed: &[Listed],
    due: Timestamp,
) -> Vec<Value> {
    let wait = async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            process.running.must_run();
            miner.must_run();
            if !all_rounds(&process.findings(), plan, listed, due) {
                continue;
            }
            let pages = process.nodes().await.unwrap_or_default();
            if pages.len() == listed.len() && pages.iter().all(|node| judged_in_the_run(node, due)) {
                return pages;
            }
        }
    };
    let limit = PATIENCE + plan.interval * u32::try_from(plan.warm_rounds).unwrap();
    let pages = tokio::time::timeout(limit, wait).await;
    pages.unwrap_or_else(|_| {
        panic!(
            "not every node was judged within {limit:?}: {}",
            missing(&process.findings(), plan, listed, due)
        )
    })
}

fn rounds(findings: &BTreeMap<String, Vec<Finding>>, node: &Listed, due: Timestamp) -> usize {
    let id = node.address.node_id().to_string();
    findings.get(&id).map_or(0, |all| all.iter().filter(|finding| finding.at >= due && !finding.full).count())
}

fn wanted(node: &Listed, plan: &Plan) -> usize {
    if node.kind.passes() { 1 + plan.warm_rounds } else { 0 }
}

fn all_rounds(
    findings: &BTreeMap<String, Vec<Finding>>,
    plan: &Plan,
    listed: &[Listed],
    due: Timestamp,
) -> bool {
    listed.iter().all(|node| rounds(findings, node, due) >= wanted(node, plan))
}

fn missing(
    findings: &BTreeMap<String, Vec<Finding>>,
    plan: &Plan,
    listed: &[Listed],
    due: Timestamp,
) -> String {
    let lacks = |node: &&Listed| rounds(findings, node, due) < wanted(node, plan).max(1);
    let lacking = listed.iter().filter(lacks).take(10);
    lacking.map(|node| format!("\n  {:?} {}", node.kind, node.address)).collect()
}

/// Its last verdict is not the one that it was started with.
fn judged_in_the_run(node: &Value, due: Timestamp) -> bool {
    let finished = node["last_verdict"]["finished"].as_str().and_then(crate::events::moment);
    let kind = node["last_verdict"]["kind"].as_str();
    // Who never passed is asked for everything.
    finished.is_some_and(|at| at >= due || (kind == Some("full") && node["last_full_passed"].is_null()))
}
