//! One run, from nothing to a report.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use basilica_localnet::nodes::{Isolation, NodeHosts, NodeSpec, Reach};
use basilica_ssh::create_key;
use basilica_system::OsEntropy;
use basilica_testkit::{Devchain, free_address, hotkey, keypair, write_wallet};
use basilica_types::Millis;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::dice::Dice;
use crate::fate::{Fate, STAKE_RAO, STAKER, validator};
use crate::hand::{Hand, OVERWRITTEN, Sheet};
use crate::lateness::BOUND;
use crate::miner::{Listed, Miner, Variant};
use crate::plan::Plan;
use crate::reader::{look, read};
use crate::report::Report;
use crate::validator::{Lane, Signer};
use crate::world::World;

const MINER: &str = "//Miner1";
/// For everything that is under way to come to its end.
const ENDING: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Lines that are an operator's business.
const FOREIGN: [&str; 2] = [
    "# keys of ours: validator-room, see wiki",
    "command=\"echo no\",no-pty ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4g backup",
];

fn genesis(plan: &Plan) -> Value {
    let validators: Vec<Value> = (0..usize::from(plan.validators))
        .map(|at| json!({ "hotkey": validator(at), "stake_rao": STAKE_RAO }))
        .collect();
    json!({ "profile": "newest", "block_time_ms": 250, "tempo": 10, "commit_reveal": false, "drand_period_s": 1,
        "validators": validators, "miners": [{ "hotkey": MINER }],
        "balances": [{ "account": STAKER, "rao": 10_000_000_000_000_000u64 }] })
}

/// Runs it with this program of the miner in this empty directory; the chain's is the testkit's. `progress` hears of the keys begun.
///
/// # Panics
/// If something cannot be started.
pub async fn run(plan: &Plan, program: &Path, home: &Path, mut progress: impl FnMut(usize)) -> Report {
    let key = create_key(&home.join("miner_node_key"), "operator", &OsEntropy).unwrap();
    write_wallet(home, "miner", MINER);
    let chain = Devchain::start(&genesis(plan), &[]);
    let spec = |at| {
        let mut spec = NodeSpec::new(format!("gpu-{at}"), &key);
        spec.authorized_keys.extend(FOREIGN.map(ToOwned::to_owned));
        spec
    };
    let specs = (1..=plan.nodes).map(spec).collect();
    let hosts = NodeHosts::start(Isolation::Shared, Reach::Entrants, specs).await.unwrap();
    let nodes = hosts.nodes().iter();
    let miner = Miner {
        program: program.to_owned(),
        home: home.to_owned(),
        chain: chain.url.clone(),
        axon: free_address(),
        health: free_address(),
        nodes: nodes
            .map(|node| Listed { address: node.address().clone(), host_key: node.host_key().clone() })
            .collect(),
        variant: Variant::Open,
        absent: None,
        child: None,
    };
    let endpoint = miner.axon;
    let sheets = hosts.nodes().iter().map(|node| Sheet::of(node.name(), node.home())).collect();
    let world = Arc::new(World::new(sheets));
    let began = world.now();
    let mut reader = JoinSet::new();
    reader.spawn(read(Arc::clone(&world)));
    let mut fate = Fate::new(&world, Dice::new(plan.seed, 1), (miner, chain, hosts), plan.validators);
    fate.start_again();
    let mut actors = JoinSet::new();
    for node in 0..plan.nodes {
        let dice = Dice::new(plan.seed, 1_000 + u64::try_from(node).unwrap());
        actors.spawn(Hand::new(Arc::clone(&world), node, dice).run());
    }
    for at in 0..plan.validators {
        let signer = Arc::new(Signer::new(keypair(&validator(usize::from(at))), hotkey(MINER), endpoint));
        for lane in 0..plan.lanes {
            let dice = Dice::new(plan.seed, 10_000 + 100 * u64::from(at) + u64::from(lane));
            actors.spawn(Lane { world: Arc::clone(&world), signer: Arc::clone(&signer), dice }.run());
        }
    }
    let limit = began + plan.patience.as_duration();
    fate.run(|| {
        let cycles = world.ledger.lock().unwrap().begun();
        progress(cycles);
        cycles >= plan.cycles || world.now() >= limit
    })
    .await;
    world.close();
    while let Some(ended) = actors.join_next().await {
        ended.unwrap();
    }
    fate.relent().await;
    let stale_records = until_clean(&world, &fate.miner).await;
    fate.end().await;
    reader.shutdown().await;
    let report = conclude(plan, &world, stale_records, began);
    fate.hosts.stop().await;
    report
}

/// Waits until the miner has taken everything off the nodes, as far as it says; what it has not.
async fn until_clean(world: &World, miner: &Miner) -> usize {
    let until = world.now() + ENDING;
    loop {
        let listed = miner.command(&["--json", "sessions", "list"]).output().await.unwrap();
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
        let left = listed.as_array().map_or(1, Vec::len);
        let open = world.ledger.lock().unwrap().open();
        if (left == 0 && open == 0) || world.now() >= until {
            return left;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn conclude(plan: &Plan, world: &World, stale_records: usize, began: Duration) -> Report {
    look(world, &mut vec![None; world.sheets.len()]);
    let (wrong, first_wrong) = world.wrongs();
    let ledger = world.ledger.lock().unwrap();
    let mut counts = world.counts();
    let edits_overwritten = counts.remove(OVERWRITTEN).unwrap_or_default();
    Report {
        seed: plan.seed,
        nodes: plan.nodes,
        cycles: ledger.begun(),
        placements: ledger.placements,
        stale_keys: ledger.open(),
        stale_processes: processes(&ledger.tags()),
        stale_records,
        edits_overwritten,
        left_behind: world.sheets.iter().flat_map(Sheet::strangers).collect(),
        wrong,
        first_wrong,
        longest_overdue_secs: ledger.longest_overdue,
        late: world.clerk().figures(),
        late_bound_ms: Millis::from(BOUND).0,
        counts,
        took_ms: Millis::from(world.now() - began).0,
    }
}

/// How many processes of this machine were started with one of these keys.
fn processes(tags: &BTreeSet<&str>) -> usize {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let started = |entry: &std::fs::DirEntry| {
        // Those of others, and what is no process, cannot be read.
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let mut values =
            environment.split(|byte| *byte == 0).filter_map(|pair| std::str::from_utf8(pair).ok());
        values.any(|pair| pair.strip_prefix("BASILICA_KEY=").is_some_and(|tag| tags.contains(tag)))
    };
    all.filter(started).count()
}
