//! What all reconcilers share: the ports, the settings, and three small pieces of memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use basilica_ports::{
    Chain, Clock, Entropy, HotkeySigner, Metagraph, MinerDialer, NodeShell, ValidatorStore,
};
use basilica_runtime_service::{Condition, Readiness};
use basilica_types::{Hotkey, Timestamp};
use basilica_verification::{GpuRules, Policy};
use tokio::sync::Notify;

use crate::connections::Connections;
use crate::metrics::ValidatorMetrics;
use crate::prover::ProverFile;
use crate::sessions::Access;
use crate::settings::Settings;

/// The validator's world.
#[derive(Clone)]
pub struct Ports {
    /// Metagraph and weights.
    pub chain: Arc<dyn Chain>,
    /// Reaches miners.
    pub miners: Arc<dyn MinerDialer>,
    /// Reaches nodes.
    pub nodes: Arc<dyn NodeShell>,
    /// Remembers.
    pub store: Arc<dyn ValidatorStore>,
    /// The validator's hotkey.
    pub signer: Arc<dyn HotkeySigner>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").field("hotkey", &self.signer.hotkey()).finish_non_exhaustive()
    }
}

/// What the chain told, and when.
#[derive(Clone, Debug)]
pub(crate) struct ChainView {
    pub(crate) gpus: GpuRules,
    pub(crate) metagraph: Arc<Metagraph>,
}

/// Shared by the reconcilers; owns no task.
pub(crate) struct Shared {
    pub(crate) ports: Ports,
    pub(crate) settings: Settings,
    pub(crate) prover: ProverFile,
    pub(crate) metrics: ValidatorMetrics,
    pub(crate) connections: Connections,
    pub(crate) chain_ready: Condition,
    pub(crate) store_ready: Condition,
    pub(crate) weights_ready: Condition,
    /// Wakes discovery: a node denied a key that its miner reported, or a session ran out.
    pub(crate) discover_now: Notify,
    // Leaf caches: written by one reconciler each, never held across an await.
    chain_view: Mutex<Option<ChainView>>,
    access: Mutex<BTreeMap<Hotkey, Arc<Access>>>,
}

impl Shared {
    pub(crate) fn new(
        ports: Ports,
        settings: Settings,
        prover: ProverFile,
        metrics: ValidatorMetrics,
        readiness: &Readiness,
    ) -> Self {
        Self {
            connections: Connections::default(),
            chain_ready: readiness.condition("chain"),
            store_ready: readiness.condition("database"),
            weights_ready: readiness.condition("weights"),
            discover_now: Notify::new(),
            chain_view: Mutex::default(),
            access: Mutex::default(),
            ports,
            settings,
            prover,
            metrics,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    pub(crate) fn chain_view(&self) -> Option<ChainView> {
        self.chain_view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_chain_view(&self, view: ChainView) {
        *self.chain_view.lock().unwrap_or_else(PoisonError::into_inner) = Some(view);
    }

    /// The key that logs into a miner's nodes, while its session lasts.
    pub(crate) fn access(&self, miner: &Hotkey) -> Option<Arc<Access>> {
        let access = self.access.lock().unwrap_or_else(PoisonError::into_inner).get(miner).cloned();
        access.filter(|access| access.is_valid(self.now()))
    }

    pub(crate) fn set_access(&self, miner: Hotkey, access: Arc<Access>) {
        self.access.lock().unwrap_or_else(PoisonError::into_inner).insert(miner, access);
    }

    pub(crate) fn drop_access(&self, miner: &Hotkey) {
        self.access.lock().unwrap_or_else(PoisonError::into_inner).remove(miner);
    }

    /// The rules of verdicts reached now.
    pub(crate) fn policy(&self, gpus: GpuRules) -> Policy {
        let work = &self.settings.work;
        Policy {
            gpus,
            retries: self.settings.retries,
            intervals: self.settings.intervals,
            proof_deadline: self.settings.proof_deadline,
            work: [work.side(), work.inner(), work.rounds(), work.openings()],
        }
    }
}
