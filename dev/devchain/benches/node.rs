//! The development chain under load, as clients meet it: signed extrinsics over WebSocket to their blocks, and what a
//! long chain costs.
//!
//! Not criterion's: an extrinsic is included once, a chain grows once. Every figure is of one run of the real binary in
//! a process of its own; client and chain share the machine. Arguments are parts of names, as with criterion.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench that cannot run fails, measures real time, and tells its figures"
)]

use std::time::{Duration, Instant};

use basilica_devchain::runtime::{Address, RuntimeCall};
use serde_json::json;
use sp_runtime::generic::Era;
use tokio::task::{JoinHandle, JoinSet};

#[path = "../tests/it/support.rs"]
#[expect(dead_code, reason = "not all of the fixture is used here")]
mod support;

use support::{Client, Devchain, account_of, sign};

const ACCOUNTS: usize = 20;
const EACH: u32 = 50;
/// Blocks in all, and at which of them the chain is looked at.
const MARKS: [u32; 5] = [1_000, 10_000, 25_000, 50_000, 100_000];
const STEP: u32 = 1_000;

/// How extrinsics come.
#[derive(Clone, Copy)]
enum Load {
    /// Each account submits its next one when the last one is in a block.
    InTurn,
    /// All at once.
    Burst,
}

fn wanted(name: &str) -> bool {
    let mut parts = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).peekable();
    parts.peek().is_none() || parts.any(|part| name.contains(&part))
}

fn sender(index: usize) -> String {
    format!("//Sender{index}")
}

/// A chain on which the senders own something.
fn chain(flags: &[&str]) -> (tempfile::TempDir, Devchain) {
    let directory = tempfile::tempdir().unwrap();
    let genesis = directory.path().join("genesis.json");
    let balances: Vec<_> =
        (0..ACCOUNTS).map(|n| json!({ "account": sender(n), "rao": 1_000_000_000_000u64 })).collect();
    std::fs::write(&genesis, json!({ "balances": balances }).to_string()).unwrap();
    let flags = [&["--genesis", genesis.to_str().unwrap()], flags].concat();
    let chain = Devchain::start(&flags);
    (directory, chain)
}

/// Submits one; how long until it is in a block, once it is.
async fn include(client: &Client, extrinsic: &str) -> JoinHandle<Duration> {
    let begun = Instant::now();
    let mut updates = client
        .subscribe("author_submitAndWatchExtrinsic", json!([extrinsic]), "author_unwatchExtrinsic")
        .await;
    tokio::spawn(async move {
        loop {
            let update = updates.next().await.expect("goes on").expect("a status");
            if update.get("inBlock").is_some() {
                return begun.elapsed();
            }
            assert!(update == "ready" || update == "future", "{update}");
        }
    })
}

/// Submits an account's extrinsics.
async fn submit(client: Client, extrinsics: Vec<String>, load: Load) -> Vec<Duration> {
    let mut latencies = Vec::new();
    let mut waiting = Vec::new();
    for extrinsic in extrinsics {
        let included = include(&client, &extrinsic).await;
        match load {
            Load::InTurn => latencies.push(included.await.unwrap()),
            Load::Burst => waiting.push(included),
        }
    }
    for included in waiting {
        latencies.push(included.await.unwrap());
    }
    latencies
}

async fn inclusion(name: &str, flags: &[&str], load: Load) {
    if !wanted(name) {
        return;
    }
    let (_directory, chain) = chain(flags);
    let first = chain.client().await;
    let genesis = first.genesis().await;
    let transfer = RuntimeCall::Balances(pallet_balances::Call::transfer_keep_alive {
        dest: Address::Id(account_of("//Bob")),
        value: 1_000,
    });
    let signed: Vec<Vec<String>> = (0..ACCOUNTS)
        .map(|n| {
            (0..EACH)
                .map(|nonce| sign(&sender(n), transfer.clone(), nonce, Era::Immortal, (genesis, None)))
                .collect()
        })
        .collect();
    let mut clients = Vec::new();
    for _ in 0..ACCOUNTS {
        clients.push(chain.client().await);
    }
    let before = first.number().await;
    let begun = Instant::now();
    let mut accounts = JoinSet::new();
    for (client, signed) in clients.into_iter().zip(signed) {
        accounts.spawn(submit(client, signed, load));
    }
    let mut latencies: Vec<Duration> = accounts.join_all().await.into_iter().flatten().collect();
    let taken = begun.elapsed();
    let blocks = first.number().await - before;
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() * percent / 100).min(latencies.len() - 1)];
    println!(
        "{name}: {} extrinsics in {taken:.2?} and {blocks} blocks, {:.0}/s; latency p50 {:.1?}, p99 {:.1?}, worst {:.1?}",
        latencies.len(),
        latencies.len() as f64 / taken.as_secs_f64(),
        at(50),
        at(99),
        at(100),
    );
}

/// A figure of a process in KiB.
fn kib(pid: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("no {key}"));
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn growth(name: &str, flags: &[&str]) {
    if !wanted(name) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("chain");
    let state = ["--state", file.to_str().unwrap()];
    let keeps = flags.contains(&"--state");
    let flags: Vec<&str> = flags.iter().copied().filter(|flag| *flag != "--state").collect();
    let flags = if keeps { [&flags[..], &state].concat() } else { flags };
    let chain = Devchain::start(&[&["--mining", "manual", "--tempo", "20"], &flags[..]].concat());
    let client = chain.client().await;
    let pid = chain.pid();
    println!("{name}: block 0, RSS {} MiB", kib(pid, "VmRSS") >> 10);
    let (mut made, begun) = (0, Instant::now());
    for mark in MARKS {
        let since = (made, Instant::now());
        while made < mark {
            client.call("dev_newBlock", json!([STEP])).await;
            made += STEP;
        }
        let kept = if keeps { std::fs::metadata(&file).unwrap().len() >> 20 } else { 0 };
        println!(
            "{name}: block {made}, RSS {} MiB, highest {} MiB, file {kept} MiB, {:.0} blocks/s",
            kib(pid, "VmRSS") >> 10,
            kib(pid, "VmHWM") >> 10,
            f64::from(made - since.0) / since.1.elapsed().as_secs_f64(),
        );
    }
    println!("{name}: {made} blocks in {:.0?}", begun.elapsed());
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        inclusion("devchain_inclusion_instant_in_turn", &["--mining", "instant"], Load::InTurn).await;
        inclusion("devchain_inclusion_instant_burst", &["--mining", "instant"], Load::Burst).await;
        let interval = ["--mining", "interval", "--block-time", "250ms"];
        inclusion("devchain_inclusion_interval_in_turn", &interval, Load::InTurn).await;
        inclusion("devchain_inclusion_interval_burst", &interval, Load::Burst).await;
        growth("devchain_growth", &[]).await;
        growth("devchain_growth_with_state_file", &["--state"]).await;
    });
}
