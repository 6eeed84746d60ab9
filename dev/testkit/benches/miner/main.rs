//! Authenticate and discover over real gRPC on loopback, SQLite on disk, eight nodes with real sshd (RULES R27).
//!
//! A pair is an `AuthenticateValidator` that opens a session and a `DiscoverNodes` on a standing session; nonce, order and
//! session are written before each answer, so that it outlives the process (docs/decisions/0002-requests-are-not-flushed.md). Of the validators, one is assigned and its key is on the nodes already; the
//! others get their signed, empty list, as on the network. Each sends one request at a time, because a validator's discoveries
//! count in their order. Requests are signed beforehand, as that is the validators' work; client and server share the machine, each
//! with a runtime of its own, as they are different programs on the network. Bounds on nonces are off.
//!
//! In parts, of which `BASILICA_MINER_BENCH` names one to be done alone:
//!
//! * `pairs`: how many pairs a second there are when each validator asks again as soon as it is answered; how long pairs take at 2,000
//!   a second, each from the moment at which it was due; then criterion's figures: pairs in batches, and one assigned validator that
//!   opens a session and has its key written to all eight nodes.
//! * `floods`: how long pairs take at 100 a second while strangers flood the miner, and until a validator that was not connected before
//!   has its session.
//! * `fleet`: when keys are on 200 nodes, of which none or five hang.
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
use tokio::runtime::{Handle, Runtime};

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
const PACED_TURNS: usize = 3;
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

async fn under_floods(site: &Site, strangers: &Handle) {
    let (rate, seconds) = FLOODED_PACE;
    tell("unharmed", &load::at_pace(&site.authors, rate, seconds).await);
    let (author, _) = &site.authors[0];
    let replayed = author.authentication();
    author.client.authenticate(replayed.clone()).await.unwrap();
    for flood in
        [Flood::SlowLoris, Flood::Oversized, Flood::Garbage, Flood::Replay(flood::message(&replayed))]
    {
        let under_way = {
            let _theirs = strangers.enter();
            flood::begin(&flood, site.address)
        };
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

/// Its threads carry the name, for whoever asks the system what each side costs.
fn runtime(name: &str) -> Runtime {
    tokio::runtime::Builder::new_multi_thread().thread_name(name).enable_all().build().unwrap()
}

/// Whether this part is asked for; without a word, all are.
fn wants(part: &str) -> bool {
    std::env::var("BASILICA_MINER_BENCH").map_or(true, |only| only == part)
}

fn main() {
    let (miner, callers) = (runtime("miner"), runtime("callers"));
    if wants("pairs") || wants("floods") {
        let site = miner.block_on(Site::start(NODES, callers.handle()));
        if wants("pairs") {
            pairs(&callers, &site);
        }
        if wants("floods") {
            let strangers = runtime("strangers");
            callers.block_on(under_floods(&site, strangers.handle()));
        }
    }
    if wants("fleet") {
        miner.block_on(fleet::run(callers.handle()));
    }
}

/// What is told first, and criterion's figures.
fn pairs(callers: &Runtime, site: &Site) {
    tell("at once", &callers.block_on(load::at_once(&site.authors, FIRST)));
    for _ in 0..PACED_TURNS {
        tell("at 2,000 a second", &callers.block_on(load::at_pace(&site.authors, PACE.0, PACE.1)));
    }
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let mut group = criterion.benchmark_group("miner");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("authenticate_and_discover", |bencher| {
        bencher.iter_custom(|batches| callers.block_on(load::at_once(&site.authors, batches * BATCH)).spent);
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("authenticate_and_deploy_to_8_nodes", |bencher| {
        bencher.iter(|| callers.block_on(site.deploy()));
    });
    group.finish();
    criterion.final_summary();
}
