//! Reading a metagraph of 256 neurons from the development chain, as often as a service could.
#![expect(
    clippy::unwrap_used,
    missing_docs,
    reason = "a fixture that fails is a failed bench; criterion makes the main function"
)]

use std::sync::Arc;

use basilica_chain::{ChainOptions, SubtensorChain};
use basilica_ports::Chain as _;
use basilica_system::{OsEntropy, SystemClock};
use basilica_types::Millis;
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;

#[path = "../tests/it/devchain.rs"]
#[expect(dead_code, reason = "not all of the fixture is used here")]
mod devchain;

use devchain::{Devchain, SUBNET};

const NEURONS: usize = 256;

fn read(criterion: &mut Criterion) {
    let validators: Vec<_> =
        (0..64).map(|n| json!({ "hotkey": format!("//V{n}"), "stake_rao": 2_000_000_000_000u64 })).collect();
    let miners: Vec<_> = (0..NEURONS - 65).map(|n| json!({ "hotkey": format!("//M{n}") })).collect();
    // Blocks far apart: what is measured is the reading.
    let devchain = Devchain::with(json!({
        "validators": validators, "miners": miners, "block_time_ms": 12_000, "tempo": 360,
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let chain = SubtensorChain::new(
        ChainOptions::new(vec![devchain.url.parse().unwrap()]),
        None,
        Arc::new(SystemClock::new()),
        Arc::new(OsEntropy),
    )
    .expect("usable options");
    let read = || runtime.block_on(chain.metagraph_within(SUBNET, Millis(0))).expect("a metagraph");
    assert_eq!(read().value.neurons.len(), NEURONS);
    criterion
        .bench_function("metagraph of 256 neurons, finalised head included", |bencher| bencher.iter(read));
    let kept = || runtime.block_on(chain.metagraph_within(SUBNET, Millis(60_000))).expect("a metagraph");
    criterion.bench_function("the same, kept and shared", |bencher| bencher.iter(kept));
}

criterion_group!(benches, read);
criterion_main!(benches);
