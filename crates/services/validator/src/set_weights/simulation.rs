//! Ten thousand lives of the weights worker beside a chain that misbehaves.
//!
//! Each run is one seed: a subnet with its rules, a storm of faults, then calm. The worker is the product's own loop on
//! a virtual clock; only what it talks to is simulated. It is cut off at random awaits and started anew with what is
//! stored and nothing else. What it must keep is in [`lives`].

mod conformance;
mod judge;
mod ledger;
mod lives;
mod memory;
mod network;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use basilica_ports::{Beacon, Chain, Entropy, HotkeySigner as _, Metagraph, Neuron, WindowEnd, WindowState};
use basilica_probing_service::ProverFile;
use basilica_runtime_service::testing::{SeededEntropy, VirtualClock};
use basilica_runtime_service::{Metrics, Readiness};
use basilica_schedule::{CommitChoice, Policy};
use basilica_scoring::weights::same_weights;
use basilica_timelock::TimelockError;
use basilica_types::{
    BlockHash, BlockNumber, Coldkey, Hotkey, MechanismId, Millis, NetUid, Rao, Timestamp, Uid, Weight,
};
use basilica_verification::GpuRules;

use self::ledger::{Knobs, Ledger, OWN};
use self::memory::{Memory, miner};
use self::network::{BLOCK, Network};
use super::forever;
use super::tests::{Nobody, signer};
use crate::metrics::ValidatorMetrics;
use crate::settings::Settings;
use crate::shared::{ChainView, Ports, Shared};

const INTERVAL: u64 = 12;
/// SplitMix64, as the seeded entropy draws.
#[derive(Clone)]
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// An await that does nothing but be one.
async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// In place of a real timelock, whose pairing would cost more than all the rest; that one has tests of its own. Like it,
/// it never gives the same bytes twice.
fn sealed_with_nothing(
    _: &Beacon,
    _: u64,
    payload: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, TimelockError> {
    let nonce: [u8; 16] = entropy.array();
    Ok([payload, &nonce].concat())
}

/// Everything that outlives the worker, and what is checked.
struct World {
    rng: Rng,
    clock: Arc<VirtualClock>,
    store: Arc<Memory>,
    network: Arc<Network>,
    settings: Settings,
    boots: u64,
    /// Reasons that were given.
    reasons: BTreeSet<&'static str>,
    /// Time since the last block.
    since_block: Millis,
}

/// What a subnet may look like at first.
fn subnet(rng: &mut Rng) -> Ledger {
    let knobs = Knobs {
        commit_reveal: !rng.one_in(3),
        period: 1 + rng.below(2),
        tempo: u16::try_from(8 + rng.below(8)).unwrap(),
        rate_limit: rng.below(8),
        version_key: 0,
        permit: true,
        beacon_runs: true,
    };
    let stateful = !rng.one_in(4);
    let mechanism = MechanismId(u8::from(rng.one_in(3)));
    Ledger { mechanism, ..Ledger::genesis(knobs, stateful) }
}

impl World {
    fn new(seed: u64, settings: &Settings) -> Self {
        let mut rng = Rng(seed);
        let genesis = subnet(&mut rng);
        let forms = [(true, true), (true, false), (true, true), (false, true)];
        let forms = forms[usize::try_from(rng.below(4)).unwrap()];
        let choice = if forms.0 && rng.one_in(4) { CommitChoice::Hash } else { CommitChoice::Auto };
        Self::with(rng, settings, genesis, forms, choice)
    }

    fn with(
        mut rng: Rng,
        settings: &Settings,
        genesis: Ledger,
        forms: (bool, bool),
        commit: CommitChoice,
    ) -> Self {
        let clock = VirtualClock::new();
        let store = Arc::new(Memory::new(Arc::clone(&clock)));
        let shared = (Arc::clone(&clock), Arc::clone(&store));
        let mechanism = genesis.mechanism;
        let network = Network::new(Rng(rng.next()), genesis, shared, signer().hotkey(), forms);
        let mut settings = settings.clone();
        settings.weight_policy = Policy { interval: INTERVAL, version_key: 0, commit };
        settings.weights_poll = Millis::from_secs(24);
        settings.weight_mechanism = mechanism;
        Self {
            rng,
            clock,
            store,
            network: Arc::new(network),
            settings,
            boots: 0,
            reasons: BTreeSet::new(),
            since_block: Millis(0),
        }
    }

    /// A validator that knows nothing but what is stored.
    fn boot(&mut self) -> Shared {
        self.boots += 1;
        let ports = Ports {
            chain: Arc::clone(&self.network) as Arc<dyn Chain>,
            miners: Arc::new(Nobody),
            nodes: Arc::new(Nobody),
            registry: Arc::new(Nobody),
            store: Arc::clone(&self.store) as _,
            shown: Arc::clone(&self.store) as _,
            signer: Arc::new(signer()),
            clock: Arc::clone(&self.clock) as _,
            entropy: SeededEntropy::new(self.rng.next()),
        };
        let metrics = ValidatorMetrics::register(&Metrics::new());
        let readiness = Readiness::new();
        let mut shared =
            Shared::new(ports, self.settings.clone(), ProverFile::new(vec![1]), metrics, &readiness);
        shared.seal = sealed_with_nothing;
        shared.set_chain_view(chain_view());
        shared
    }

    fn number(&self) -> u64 {
        self.network.with(|state| state.head().number)
    }

    /// Blocks without a worker.
    fn sleep_through(&mut self, blocks: u64) {
        for _ in 0..blocks {
            self.clock.advance(BLOCK);
            self.network.tick();
        }
    }

    /// Goes to whatever comes first: the end of a sleep or the next block.
    fn pass_time(&mut self) {
        let to_block = Millis(BLOCK.0 - self.since_block.0);
        match self.clock.next_sleep_ends_in() {
            Some(span) if span < to_block => {
                self.clock.advance(span);
                self.since_block = Millis(self.since_block.0 + span.0);
            }
            _ => {
                self.clock.advance(to_block);
                self.since_block = Millis(0);
                self.network.tick();
            }
        }
    }

    /// Lets a worker live until `end` says so, or until it has been polled so often.
    fn live(&mut self, polls: &mut u64, end: &mut dyn FnMut(&mut Self) -> bool) -> bool {
        let shared = self.boot();
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut context = Context::from_waker(&waker);
        let mut worker = pin!(forever(&shared));
        loop {
            while flag.0.swap(false, Ordering::Relaxed) {
                if *polls == 0 {
                    return false;
                }
                *polls -= 1;
                let Poll::Pending = worker.as_mut().poll(&mut context);
            }
            self.note(&shared);
            if end(self) {
                return true;
            }
            self.pass_time();
        }
    }

    /// The reason given for the state of the weights must be one.
    fn note(&mut self, shared: &Shared) {
        let Some(why) = shared.weights_explained() else { return };
        assert!(why.text.len() > 10 && !why.code.is_empty(), "{why:?} explains nothing");
        self.reasons.insert(why.code);
    }

    fn storm(&mut self, blocks: u64) {
        self.network.with(|state| state.begin_storm());
        let end = self.number() + blocks;
        loop {
            // Cut off at a random await; sometimes down for longer than a call lives.
            let mut polls = 5 + self.rng.below(120);
            if self.live(&mut polls, &mut |world| world.number() >= end) {
                break;
            }
            let down = if self.rng.one_in(4) { self.rng.below(25) } else { 0 };
            self.sleep_through(down);
            if self.number() >= end {
                break;
            }
        }
        self.network.with(|state| state.calm());
    }

    /// Waits until weights that were decided on after now are on the chain; within two windows.
    fn settle(&mut self) -> Result<(), String> {
        let from = basilica_ports::Clock::now(self.clock.as_ref());
        let begin = self.number();
        let (life, knobs) = self.network.with(|state| (state.longest_life(), state.head().knobs.clone()));
        let window =
            INTERVAL + knobs.rate_limit + (knobs.period + 2) * (u64::from(knobs.tempo) + 1) + life + 8;
        let limit = begin + 2 * window;
        let mut settled = false;
        let mut polls = u64::MAX;
        self.live(&mut polls, &mut |world| {
            settled = world.is_settled(from);
            settled || world.number() > limit
        });
        if settled {
            return Ok(());
        }
        Err(format!(
            "no weights within two windows of {window} blocks since block {begin}: {:?}",
            self.last_states()
        ))
    }

    fn is_settled(&self, from: Timestamp) -> bool {
        let windows = self.store.windows.lock().unwrap();
        let Some(last) = windows.last() else { return false };
        let good =
            matches!(last.state, WindowState::Ended(WindowEnd::Set { .. } | WindowEnd::Revealed { .. }));
        let on_chain = self.network.with(|state| state.final_ledger().weights.clone());
        let holds = |weights: &[(Uid, Weight)]| same_weights(weights, &last.opened.expected);
        good && last.opened.created >= from
            && last.read_back.as_deref().is_some_and(holds)
            && holds(&on_chain)
    }

    fn last_states(&self) -> Vec<(i64, &'static str, WindowState)> {
        let windows = self.store.all();
        windows.iter().rev().take(4).map(|w| (w.id, w.opened.form.as_str(), w.state.clone())).collect()
    }
}

fn chain_view() -> ChainView {
    let neuron = |uid: u16, hotkey: Hotkey| Neuron {
        uid: Uid(uid),
        hotkey,
        coldkey: Coldkey::from_bytes([3; 32]),
        stake: Rao(1),
        validator_permit: Uid(uid) == OWN,
        axon: None,
        last_update: BlockNumber(0),
    };
    let metagraph = Metagraph {
        netuid: NetUid(39),
        block: BlockNumber(1),
        at: Timestamp(0),
        tempo: 10,
        owner_hotkey: None,
        neurons: vec![
            neuron(0, Hotkey::from_bytes([9; 32])),
            neuron(1, signer().hotkey()),
            neuron(2, miner(2)),
            neuron(3, miner(3)),
        ],
    };
    let gpus = GpuRules::new(true, true, &BlockHash::from_bytes([9; 32]));
    ChainView { gpus, metagraph: Arc::new(metagraph), keeps_time: false }
}
