//! Authenticate and discover over real gRPC on loopback, SQLite on disk, eight nodes with real sshd (RULES R27).
//!
//! A pair is an `AuthenticateValidator` that opens a session and a `DiscoverNodes` on a standing session; nonce, order and
//! session are flushed to disk before each answer. Of the validators, one is assigned and its key is on the nodes already; the
//! others get their signed, empty list, as on the network. Each sends one request at a time, because a validator's discoveries
//! count in their order. Requests are signed beforehand, as that is the validators' work; client and server share the machine.
//! Bounds on nonces are off.
//!
//! Told first: how many pairs a second there are when each validator asks again as soon as it is answered; how long pairs take
//! at 2,000 a second, each from the moment at which it was due; and how long at 100 a second while strangers flood the
//! miner, with the time until a validator that was not connected before has its session; when keys are on 200 nodes of which five hang. Then criterion's figures: pairs in
//! batches, and one assigned validator that opens a session and has its key written to all eight nodes.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot run fails, and tells its figures"
)]

mod fleet;
mod flood;
mod load;
mod site;

use std::sync::atomic::Ordering;
use std::time::Duration;

use basilica_ports::MinerDialer as _;
use basilica_rpc::GrpcMinerDialer;
use criterion::{Criterion, Throughput};

use crate::flood::Flood;
use crate::load::Times;
use crate::site::{CONNECTIONS, Site, VALIDATORS};

const NODES: usize = 8;
/// Pairs in one iteration: enough that every validator is busy.
const BATCH: u64 = 640;
/// Pairs of the first measurement.
const FIRST: u64 = 6400;
/// Pairs a second that the miner is to keep up with, and for how long.
const PACE: (u64, u64) = (2_000, 10);
/// The same while it is flooded.
const FLOODED_PACE: (u64, u64) = (100, 10);
/// What a newcomer waits at most.
const PATIENCE: Duration = Duration::from_secs(20);

fn tell(what: &str, times: &Times) {
    println!(
        "{what}: {:.0} pairs/s by {VALIDATORS} validators on {CONNECTIONS} connections; p50 {:.1?}, p99 {:.1?}, longest {:.1?}",
        times.rate(),
        times.of_thousand(500),
        times.of_thousand(990),
        times.of_thousand(1000),
    );
}

/// Until a validator that connects now has a session, in a flood as long as another try helps.
async fn newcomer(site: &Site) -> Option<Duration> {
    let (author, _) = &site.authors[1];
    let began = tokio::time::Instant::now();
    while began.elapsed() < PATIENCE {
        if let Ok(miner) = GrpcMinerDialer::default().dial(site.address).await
            && miner.authenticate(author.authentication()).await.is_ok()
        {
            return Some(began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    None
}

async fn under_floods(site: &Site) {
    let (rate, seconds) = FLOODED_PACE;
    tell("unharmed", &load::at_pace(&site.authors, rate, seconds).await);
    let (author, _) = &site.authors[0];
    let replayed = author.authentication();
    author.client.authenticate(replayed.clone()).await.unwrap();
    for flood in
        [Flood::SlowLoris, Flood::Oversized, Flood::Garbage, Flood::Replay(flood::message(&replayed))]
    {
        let under_way = flood::begin(&flood, site.address);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = under_way.count.load(Ordering::Relaxed);
        let times = load::at_pace(&site.authors, rate, seconds).await;
        let after = under_way.count.load(Ordering::Relaxed);
        tell(&format!("{} ({before} to {after} calls or connections)", flood.name()), &times);
        match newcomer(site).await {
            Some(waited) => println!("  a newcomer has its session after {waited:.1?}"),
            None => println!("  a newcomer has no session after {PATIENCE:.0?}"),
        }
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let site = runtime.block_on(Site::start(NODES));
    tell("at once", &runtime.block_on(load::at_once(&site.authors, FIRST)));
    tell("at 2,000 a second", &runtime.block_on(load::at_pace(&site.authors, PACE.0, PACE.1)));
    runtime.block_on(under_floods(&site));
    runtime.block_on(fleet::run());
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let mut group = criterion.benchmark_group("miner");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("authenticate_and_discover", |bencher| {
        bencher.iter_custom(|batches| runtime.block_on(load::at_once(&site.authors, batches * BATCH)).spent);
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("authenticate_and_deploy_to_8_nodes", |bencher| {
        bencher.iter(|| runtime.block_on(site.deploy()));
    });
    group.finish();
    criterion.final_summary();
}
