//! The simulated chain as the worker meets it: endpoints that fail, a pool that forgets, blocks that are reorganised.

mod state;

pub(super) use self::state::epochs;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use basilica_ports::{
    Axon, AxonOutcome, Chain, ChainError, ChainIdentity, Clock as _, FailureClass, HotkeySigner as _,
    Metagraph, PreparedWeights, WeightRules, WeightsOrder, WeightsOutcome,
};
use basilica_runtime_service::testing::VirtualClock;
use basilica_types::{BlockHash, BlockNumber, Hotkey, MechanismId, Millis, NetUid, Uid, Weight};

use super::super::tests::signer;
use super::ledger::Ledger;
use super::memory::Memory;
use super::{Rng, yield_now};

pub(super) const BLOCK: Millis = Millis::from_secs(12);
/// The client gives up following a call after so long.
const CONCLUDE_DEADLINE: Millis = Millis::from_secs(300);

/// Who answers, and how badly.
pub(super) struct Network {
    pub(super) state: Mutex<State>,
    pub(super) clock: Arc<VirtualClock>,
    pub(super) store: Arc<Memory>,
    own: Hotkey,
}

pub(super) struct State {
    pub(super) rng: Rng,
    blocks: Vec<Ledger>,
    finalized: u64,
    /// Times of a block since the beginning.
    time: u64,
    /// Blocks between the head and the newest final one.
    lag: u64,
    era: u64,
    pool: Vec<Vec<u8>>,
    built: BTreeMap<Vec<u8>, Built>,
    /// Nothing was meddled with since this block.
    calm_from: u64,
    /// So often the rules were read.
    pub(super) reads: u64,
    /// Faults happen.
    pub(super) stormy: bool,
    /// Blocks are full: the pool holds calls back, and endpoints are slow.
    pub(super) busy: bool,
    /// The runtime lacks an item until this block.
    away_until: u64,
    /// No endpoint answers until this block.
    silent_until: u64,
    by_hash: bool,
    timelocked: bool,
    /// Promises that were broken.
    pub(super) broken: Vec<String>,
}

/// A signed call.
#[derive(Clone)]
pub(super) struct Built {
    prepared: PreparedWeights,
    order: WeightsOrder,
    /// Of the runtime that it was signed for: no other takes it.
    spec: u32,
}

/// What happens to one call of an endpoint.
enum Fate {
    Answers,
    /// It is not even asked.
    Lost(ChainError),
    /// It does what it is asked, and nobody hears of it.
    Unheard(ChainError),
}

impl Network {
    pub(super) fn new(
        mut rng: Rng,
        genesis: Ledger,
        (clock, store): (Arc<VirtualClock>, Arc<Memory>),
        own: Hotkey,
        (by_hash, timelocked): (bool, bool),
    ) -> Self {
        let (lag, era) = (2 + rng.below(3), 8 << rng.below(2));
        let state = State {
            rng,
            finalized: genesis.number,
            time: 0,
            blocks: vec![genesis],
            lag,
            era,
            pool: Vec::new(),
            built: BTreeMap::new(),
            calm_from: 0,
            reads: 0,
            stormy: false,
            busy: false,
            away_until: 0,
            silent_until: 0,
            by_hash,
            timelocked,
            broken: Vec::new(),
        };
        Self { state: Mutex::new(state), clock, store, own }
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    /// One more block.
    pub(super) fn tick(&self) {
        self.with(|state| state.tick(&self.own, &self.store));
    }

    async fn fate(&self) -> Fate {
        yield_now().await;
        let (fate, delay) = self.with(State::draw_fate);
        if let Some(delay) = delay {
            self.clock.sleep(delay).await;
        }
        fate
    }

    /// Answers as an endpoint does: from the newest final block that it knows.
    async fn read<T: Send>(
        &self,
        look: impl FnOnce(&mut State, &Ledger) -> Result<T, ChainError> + Send,
    ) -> Result<T, ChainError> {
        let fate = self.fate().await;
        if let Fate::Lost(error) = fate {
            return Err(error);
        }
        let answer = self.with(|state| {
            let at = state.seen_block();
            let ledger = state.at(at).clone();
            look(state, &ledger)
        });
        yield_now().await;
        if let Fate::Unheard(error) = fate { Err(error) } else { answer }
    }

    fn submit(&self, prepared: &PreparedWeights) -> Result<(), ChainError> {
        let holder = self.store.holder(&prepared.extrinsic);
        self.with(|state| {
            if !matches!(holder, Some((_, true))) {
                state.broken.push(format!("the pool saw bytes that no open window holds: {holder:?}"));
            }
            if state.stormy && state.rng.one_in(20) {
                let reason = "custom 6: RateLimitExceeded".to_owned();
                return Err(ChainError::Pool { reason, class: FailureClass::Transient });
            }
            if state.head().spec != state.built[&prepared.extrinsic].spec {
                let reason = "bad signature: the runtime was upgraded after signing".to_owned();
                return Err(ChainError::Pool { reason, class: FailureClass::Transient });
            }
            if let Some(code) =
                state.head().coming().refuses(&self.own, &state.built[&prepared.extrinsic].order)
            {
                let reason = format!("custom error {code}");
                return Err(ChainError::Pool { reason, class: FailureClass::Transient });
            }
            if !state.pool.contains(&prepared.extrinsic) {
                state.pool.push(prepared.extrinsic.clone());
            }
            Ok(())
        })
    }
}

fn unreachable_now() -> ChainError {
    ChainError::Unreachable { endpoint: "ws://simulated".into(), source: "connection refused".into() }
}

#[async_trait]
impl Chain for Network {
    async fn identity(&self) -> Result<ChainIdentity, ChainError> {
        unreachable!("weights do not ask for it")
    }

    async fn head(&self) -> Result<BlockNumber, ChainError> {
        self.read(|_, ledger| Ok(BlockNumber(ledger.number))).await
    }

    async fn block_hash(&self, _: BlockNumber) -> Result<BlockHash, ChainError> {
        unreachable!("weights do not ask for it")
    }

    async fn metagraph(&self, _: NetUid) -> Result<Metagraph, ChainError> {
        unreachable!("weights use the shared view")
    }

    async fn serve_axon(&self, _: NetUid, _: Axon) -> Result<AxonOutcome, ChainError> {
        unreachable!("a validator serves no axon")
    }

    async fn weight_rules(&self, _: NetUid, mechanism: MechanismId) -> Result<WeightRules, ChainError> {
        self.read(|state, ledger| {
            state.reads += 1;
            assert_eq!(mechanism, ledger.mechanism);
            Ok(state.rules(ledger))
        })
        .await
    }

    async fn prepare_weights(&self, order: &WeightsOrder) -> Result<PreparedWeights, ChainError> {
        self.read(|state, ledger| state.build(ledger, order)).await
    }

    async fn conclude_weights(&self, prepared: &PreparedWeights) -> Result<WeightsOutcome, ChainError> {
        let started = self.clock.monotonic();
        let mut submitted = false;
        loop {
            let fate = self.fate().await;
            if let Fate::Lost(error) = fate {
                return Err(error);
            }
            if let Some(outcome) = self.with(|state| state.outcome(prepared)) {
                yield_now().await;
                return if let Fate::Unheard(error) = fate { Err(error) } else { Ok(outcome) };
            }
            if !submitted || self.with(|state| state.rng.one_in(4)) {
                self.submit(prepared)?;
                submitted = true;
            }
            if let Fate::Unheard(error) = fate {
                return Err(error);
            }
            if self.clock.monotonic() - started > CONCLUDE_DEADLINE.as_duration() {
                return Err(ChainError::Deadline { call: "conclude" });
            }
            self.clock.sleep(BLOCK).await;
        }
    }

    async fn weights_of(
        &self,
        _: NetUid,
        mechanism: MechanismId,
        hotkey: &Hotkey,
    ) -> Result<(BlockNumber, Option<Vec<(Uid, Weight)>>), ChainError> {
        assert_eq!(*hotkey, signer().hotkey());
        self.read(|_, ledger| {
            assert_eq!(mechanism, ledger.mechanism);
            Ok((BlockNumber(ledger.number), Some(ledger.weights.clone())))
        })
        .await
    }
}
