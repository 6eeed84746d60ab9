//! What all reconcilers share: the ports, the settings, and a few small pieces of memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use basilica_ports::{
    Chain, Clock, Entropy, HotkeySigner, ImageRegistry, Metagraph, MinerDialer, NodeKey, NodeShell,
    ValidatorStore,
};
use basilica_probing_service::{Beacons, Probing, ProverFile, Room};
use basilica_runtime_service::{Condition, Readiness};
use basilica_types::{BlockNumber, Hotkey, NodeId, Timestamp};
use basilica_verification::knocking::{Doors, Party};
use basilica_verification::{GpuRules, HeadSeen, Policy, WrongClock, calibration, classes};
use tokio::sync::Notify;

use crate::ask_registry::Asked;
use crate::check_node::PULLED_WITHIN;
use crate::connections::Connections;
use crate::fleet_epochs::Epochs;
use crate::leadership::Leading;
use crate::metrics::ValidatorMetrics;
use crate::queries::FleetViews;
use crate::seen_engines::SeenEngines;
use crate::sessions::Access;
use crate::set_weights::{Explanation, Pause, Seal, seal_with_timelock};
use crate::settings::Settings;
use crate::under_way::UnderWay;

/// One miner's word that an image can be pulled is not enough to hold another's node to it.
const PULLED_BY: usize = 2;
/// So many distinct nodes of a miner must refuse a session's key before the session is given up for all of them.
const REFUSED_BY: usize = 3;

/// The validator's world.
#[derive(Clone)]
pub struct Ports {
    /// Metagraph and weights.
    pub chain: Arc<dyn Chain>,
    /// Reaches miners.
    pub miners: Arc<dyn MinerDialer>,
    /// Reaches nodes.
    pub nodes: Arc<dyn NodeShell>,
    /// Has the image that nodes run.
    pub registry: Arc<dyn ImageRegistry>,
    /// Remembers.
    pub store: Arc<dyn ValidatorStore>,
    /// The same for the faces, on connections of its own: what strangers ask must not keep a check waiting for one.
    pub shown: Arc<dyn ValidatorStore>,
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
    /// Its blocks come by the time of day. Those of a development chain come when whoever runs it likes, and are dated so.
    pub(crate) keeps_time: bool,
}

impl ChainView {
    /// Compares our clock with the newest finalised block that was read.
    pub(crate) fn compare_clock(&self, now: Timestamp) -> Result<(), WrongClock> {
        if self.keeps_time { WrongClock::compare(now, self.metagraph.at) } else { Ok(()) }
    }
}

/// A session's key with what its nodes said of it.
struct Granted {
    access: Arc<Access>,
    /// The nodes that denied it.
    refused: BTreeSet<NodeId>,
    /// One of them did since the miner last deployed it.
    deploy_again: bool,
}

/// Shared by the reconcilers; owns no task.
pub(crate) struct Shared {
    pub(crate) ports: Ports,
    pub(crate) settings: Settings,
    pub(crate) prover: ProverFile,
    pub(crate) metrics: ValidatorMetrics,
    pub(crate) connections: Connections,
    pub(crate) chain_ready: Condition,
    pub(crate) clock_ready: Condition,
    pub(crate) store_ready: Condition,
    pub(crate) weights_ready: Condition,
    /// Wakes discovery: a node denied a key that its miner reported, or a session ran out.
    pub(crate) discover_now: Notify,
    /// Whether this process leads.
    pub(crate) leading: Leading,
    pub(crate) asked_registry: Asked,
    pub(crate) seen_engines: SeenEngines,
    pub(crate) beacons: Beacons,
    pub(crate) epochs: Epochs,
    /// What the faces show.
    pub(crate) views: FleetViews,
    pub(crate) under_way: UnderWay,
    /// What all probes share.
    pub(crate) room: Room,
    // Leaf caches, never held across an await.
    chain_view: Mutex<Option<ChainView>>,
    access: Mutex<BTreeMap<Hotkey, Granted>>,
    head: Mutex<Option<HeadSeen>>,
    doors: Mutex<Doors>,
    /// When a node of each miner was last reached by name.
    named: Mutex<BTreeMap<Hotkey, Timestamp>>,
    /// When a port of a node of each miner last answered.
    reached: Mutex<BTreeMap<Hotkey, Timestamp>>,
    /// When each node last pulled the image, of those that did lately.
    pulled: Mutex<BTreeMap<NodeKey, Timestamp>>,
    /// Nodes whose last whole full try failed by what a quick one does not ask. After a restart a quick pass may end one series
    /// of such tries; the next whole one begins another.
    fails_survey: Mutex<BTreeSet<NodeKey>>,
    /// What the last look at the weights came to.
    weights: Mutex<Option<Explanation>>,
    /// Why the last window that was over put no weights on chain; none once one did.
    weights_failure: Mutex<Option<String>>,
    /// Until when the chain's rules are not read again.
    weights_pause: Mutex<Option<Pause>>,
    /// Encrypts timelocked commits.
    pub(crate) seal: Seal,
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
            connections: Connections::new(metrics.ssh_active.clone()),
            asked_registry: Asked::default(),
            seen_engines: SeenEngines::default(),
            beacons: Beacons::default(),
            epochs: Epochs::default(),
            views: FleetViews::default(),
            under_way: UnderWay::default(),
            chain_ready: readiness.condition("chain"),
            clock_ready: readiness.condition("clock"),
            store_ready: readiness.condition("database"),
            weights_ready: readiness.condition("weights"),
            discover_now: Notify::new(),
            leading: Leading::default(),
            chain_view: Mutex::default(),
            access: Mutex::default(),
            head: Mutex::default(),
            doors: Mutex::new(Doors::new(&settings.retries)),
            named: Mutex::default(),
            reached: Mutex::default(),
            pulled: Mutex::default(),
            fails_survey: Mutex::default(),
            weights: Mutex::default(),
            weights_failure: Mutex::default(),
            weights_pause: Mutex::default(),
            seal: seal_with_timelock,
            room: Room::default(),
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
        self.look_at_head(view.metagraph.block);
        *self.chain_view.lock().unwrap_or_else(PoisonError::into_inner) = Some(view);
    }

    /// Whether our clock is before the newest block that was read, so that what is dated now is dated wrongly. It ends with the
    /// clock's correction, not with the next look at the chain.
    pub(crate) fn clock_is_behind(&self) -> bool {
        let compared = self.chain_view().map(|view| view.compare_clock(self.now()));
        matches!(compared, Some(Err(WrongClock::Behind { .. })))
    }

    /// The key that logs into a miner's nodes, while its session lasts.
    pub(crate) fn access(&self, miner: &Hotkey) -> Option<Arc<Access>> {
        let all = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        let access = all.get(miner).map(|granted| Arc::clone(&granted.access));
        access.filter(|access| access.is_valid(self.now()))
    }

    /// The miner has just deployed this key on its nodes.
    pub(crate) fn set_access(&self, miner: Hotkey, access: Arc<Access>) {
        let granted = Granted { access, refused: BTreeSet::new(), deploy_again: false };
        self.access.lock().unwrap_or_else(PoisonError::into_inner).insert(miner, granted);
    }

    /// Forgets all session keys and closes the connections that they opened: a validator that does not lead has no business on
    /// nodes, and its keys die with its term. Doors and what was seen elsewhere are no secrets, and stay.
    pub(crate) fn end_sessions(&self) {
        self.access.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.connections.forget_all();
    }

    /// A node denied its miner's key. The miner is asked to deploy it again; its other nodes keep their connections, unless
    /// so many denied this very key that the session itself must be void. What is said of an earlier session's key
    /// changes nothing.
    pub(crate) fn refuse_access(&self, node: NodeKey, access: &Arc<Access>) {
        let mut all = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(granted) = all.get_mut(&node.miner) else { return };
        if !Arc::ptr_eq(&granted.access, access) {
            return;
        }
        granted.refused.insert(node.node);
        granted.deploy_again = true;
        if granted.refused.len() >= REFUSED_BY {
            all.remove(&node.miner);
        }
    }

    /// Whether a node of the miner denied the key since this was last asked, or since the miner deployed it.
    pub(crate) fn take_refusal(&self, miner: &Hotkey) -> bool {
        let mut all = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_mut(miner).is_some_and(|granted| std::mem::take(&mut granted.deploy_again))
    }

    /// Whether a node can be right that this key is no longer good. Only then its word is taken: anything that runs on the
    /// node can end with the gate's exit code.
    pub(crate) fn may_be_over(&self, miner: &Hotkey, access: &Arc<Access>) -> bool {
        access.may_be_over(self.now())
            || self.access(miner).is_none_or(|current| !Arc::ptr_eq(&current, access))
    }

    /// Takes note of the finalised head; whether it is advancing, seen over the retry interval.
    pub(crate) fn look_at_head(&self, head: BlockNumber) -> bool {
        let now = self.now();
        let mut seen = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let looked = HeadSeen::look(*seen, head, now);
        *seen = Some(looked);
        looked.is_advancing(self.settings.retries.interval, now)
    }

    /// What the last look at the weights came to; none before the first.
    pub(crate) fn weights_explained(&self) -> Option<Explanation> {
        self.weights.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn explain_weights(&self, explanation: Explanation) {
        *self.weights.lock().unwrap_or_else(PoisonError::into_inner) = Some(explanation);
    }

    /// Why the last window that was over put no weights on chain; none once one did.
    pub(crate) fn weights_failure(&self) -> Option<String> {
        self.weights_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn keep_weights_failure(&self, failure: Option<String>) {
        *self.weights_failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// What the last read of the chain's rules said to wait for.
    pub(crate) fn weights_pause(&self) -> Option<Pause> {
        self.weights_pause.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn pause_weights(&self, pause: Pause) {
        *self.weights_pause.lock().unwrap_or_else(PoisonError::into_inner) = Some(pause);
    }

    /// Whose turn a knock of this miner's nodes takes.
    pub(crate) fn party(&self, miner: &Hotkey) -> Party {
        let view = self.chain_view();
        let neuron =
            view.as_ref().and_then(|view| view.metagraph.neurons.iter().find(|n| n.hotkey == *miner));
        neuron.map_or(Party::Miner(*miner), |neuron| Party::Owner(neuron.coldkey))
    }

    /// Looks at who may log in where; nothing is awaited meanwhile.
    pub(crate) fn doors<T>(&self, look: impl FnOnce(&mut Doors) -> T) -> T {
        look(&mut self.doors.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A node of this miner was reached by name.
    pub(crate) fn note_resolved(&self, miner: Hotkey) {
        self.named.lock().unwrap_or_else(PoisonError::into_inner).insert(miner, self.now());
    }

    /// Whether a node of another miner was reached by name since then.
    pub(crate) fn resolved_elsewhere(&self, miner: &Hotkey, since: Timestamp) -> bool {
        elsewhere(&self.named, miner, since)
    }

    /// A port of a node of this miner answered.
    pub(crate) fn note_reached(&self, miner: Hotkey) {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).insert(miner, self.now());
    }

    /// Whether a port of a node of another miner answered since then.
    pub(crate) fn reached_elsewhere(&self, miner: &Hotkey, since: Timestamp) -> bool {
        elsewhere(&self.reached, miner, since)
    }

    /// How a whole full try of this node ended.
    pub(crate) fn note_survey(&self, node: NodeKey, failed: bool) {
        let mut all = self.fails_survey.lock().unwrap_or_else(PoisonError::into_inner);
        if failed {
            all.insert(node);
        } else {
            all.remove(&node);
        }
    }

    /// Whether the node's last whole full try failed by what a quick one does not ask.
    pub(crate) fn fails_survey(&self, node: NodeKey) -> bool {
        self.fails_survey.lock().unwrap_or_else(PoisonError::into_inner).contains(&node)
    }

    /// Forgets nodes that are no longer known.
    pub(crate) fn keep_surveys(&self, known: impl Fn(&NodeKey) -> bool) {
        self.fails_survey.lock().unwrap_or_else(PoisonError::into_inner).retain(known);
    }

    /// The node pulled the image.
    pub(crate) fn note_pulled(&self, node: NodeKey) {
        let now = self.now();
        let mut pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner);
        pulled.retain(|_, at| *at >= now - PULLED_WITHIN);
        pulled.insert(node, now);
    }

    /// Whether the node pulled the image since then.
    pub(crate) fn has_pulled(&self, node: NodeKey, since: Timestamp) -> bool {
        let pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner);
        pulled.get(&node).is_some_and(|at| *at >= since)
    }

    /// Whether nodes of at least [`PULLED_BY`] other miners say that they pulled the image since then.
    pub(crate) fn pulled_elsewhere(&self, miner: &Hotkey, since: Timestamp) -> bool {
        let pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner);
        let others = pulled.iter().filter(|(node, at)| node.miner != *miner && **at >= since);
        others.map(|(node, _)| node.miner).collect::<BTreeSet<_>>().len() >= PULLED_BY
    }

    /// What nodes are probed with.
    pub(crate) fn probing(&self) -> Probing<'_> {
        Probing {
            clock: self.ports.clock.as_ref(),
            entropy: self.ports.entropy.as_ref(),
            nodes: self.ports.nodes.as_ref(),
            beacons: self,
            prover: &self.prover,
            settings: &self.settings.probing,
            room: &self.room,
        }
    }

    /// The rules of verdicts reached now.
    pub(crate) fn policy(&self, gpus: &GpuRules) -> Policy {
        let work = &self.settings.probing.work;
        Policy {
            gpus: gpus.clone(),
            probes: self.settings.probes,
            retries: self.settings.retries,
            intervals: self.settings.intervals,
            proof_deadline: self.settings.probing.proof_deadline,
            work: [work.side(), work.inner(), work.rounds(), work.openings()],
            tables: [classes::TABLE_VERSION, calibration::TABLE_VERSION],
        }
    }
}

/// Whether it happened with another miner since then.
fn elsewhere(seen: &Mutex<BTreeMap<Hotkey, Timestamp>>, miner: &Hotkey, since: Timestamp) -> bool {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.iter().any(|(other, at)| other != miner && *at >= since)
}

#[cfg(test)]
mod tests;
