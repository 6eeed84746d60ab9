//! The fleet as the faces show it: all nodes and miners of one moment, read at most once a second however often it is asked for.
//!
//! Ten thousand nodes take a sixth of a second to read. Whoever asks gets the view of the last reading while the next one is made,
//! unless it is so old that the next one should have been made by then: nobody has asked for a while, and the question waits for a
//! new one. Ages go by the monotonic clock: whoever sets the wall clock back must not keep a view for ever. Rejected:
//! reading pages from the store for every question (a list of filters becomes a list of indices, and a thousand questions a
//! second would take the store from the checks), and reading on and on without being asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use basilica_ports::{
    BoxError, CategoryView, Listed, MinerFilter, MinerName, MinerRecord, MinerState, MinerView, NodeFilter,
    NodeKey, NodeRecord, NodeView, PaidGpu, StoreError,
};
use basilica_runtime_service::{ErrorChain, Stop};
use basilica_scoring::weights::Part;
use basilica_types::{BasisPoints, Category, Hotkey, Millis, NodeId, Ppm, Timestamp, Uid};
use tokio::sync::{Notify, watch};
use tracing::warn;

use crate::shared::Shared;

/// Between two readings, and ten times as long as one takes.
const PAUSE: Millis = Millis::from_secs(1);
/// A view of this age is shown, however quickly it was read. One that took long to read is shown for longer ([`Reading::made`]).
const FRESH: Millis = Millis::from_secs(3);
/// After this long without a verified discovery response a miner is offline.
const OFFLINE: Millis = Millis::from_secs(600);
/// Among so many windows of weights the last one that is on chain is looked for.
const WINDOWS: u32 = 4;
/// More parts than any vector of weights has: at most one for each uid and category.
const PARTS: u32 = 65_535;
/// Below this mean score a miner is suspended.
const SUSPENDED_BELOW: u16 = 5_000;

/// Holds the latest view. In memory only.
#[derive(Debug)]
pub(crate) struct FleetViews {
    /// The last reading; none before the first.
    latest: watch::Sender<Option<Reading>>,
    asked: Notify,
}

/// A view, or why there is none.
#[derive(Clone, Debug)]
struct Reading {
    outcome: Result<Arc<FleetView>, Arc<StoreError>>,
    /// By the monotonic clock.
    at: Duration,
    /// Until the next one.
    pause: Millis,
    /// So long it is shown.
    good_for: Millis,
}

impl Reading {
    /// The store gives a tenth of its time to views at most. What could not be read is tried again soon: the database may be back.
    fn made(outcome: Result<FleetView, StoreError>, at: Duration, took: Millis) -> Self {
        let pause = if outcome.is_ok() { PAUSE.max(Millis(took.0.saturating_mul(10))) } else { PAUSE };
        // The pause, and the next reading, which may take twice as long as this one.
        let until_next = pause.0.saturating_add(took.0.saturating_mul(2)).saturating_add(PAUSE.0);
        let outcome = outcome.map(Arc::new).map_err(Arc::new);
        Self { outcome, at, pause, good_for: FRESH.max(Millis(until_next)) }
    }

    fn age(&self, now: Duration) -> Millis {
        Millis::from(now.saturating_sub(self.at))
    }
}

impl Default for FleetViews {
    fn default() -> Self {
        let asked = Notify::new();
        // The first view is made before anybody asks: a restart keeps nobody waiting for it.
        asked.notify_one();
        Self { latest: watch::Sender::new(None), asked }
    }
}

impl FleetViews {
    /// The latest reading, if it is fresh enough to be shown; asks for the next where it is time for one.
    fn fresh(&self, now: Duration) -> Option<Result<Arc<FleetView>, StoreError>> {
        let reading = self.latest.borrow().clone();
        if reading.as_ref().is_none_or(|reading| reading.age(now) >= PAUSE) {
            self.asked.notify_one();
        }
        let reading = reading.filter(|reading| reading.age(now) < reading.good_for)?;
        let failed = |source: Arc<StoreError>| StoreError::Unavailable {
            operation: "read the fleet",
            source: source.into(),
        };
        Some(reading.outcome.map_err(failed))
    }
}

impl Shared {
    /// The last reading, however old, for those who cannot wait; asks for the next where it is time for one.
    pub(crate) fn latest_view(&self) -> Option<Arc<FleetView>> {
        // Only for what it asks.
        let _ = self.views.fresh(self.ports.clock.monotonic());
        let reading = self.views.latest.borrow();
        reading.as_ref().and_then(|reading| reading.outcome.as_ref().ok()).map(Arc::clone)
    }

    /// The fleet of now or of a few seconds ago.
    pub(crate) async fn fleet_view(&self) -> Result<Arc<FleetView>, StoreError> {
        let mut changes = self.views.latest.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(reading) = self.views.fresh(self.ports.clock.monotonic()) {
                return reading;
            }
            // The sender lives in `self`.
            changes.changed().await.expect("the views outlive who waits for one");
        }
    }
}

/// The loop: reads the fleet when somebody asks for it; runs until the stop.
pub(crate) async fn keep_fresh(shared: Arc<Shared>, stop: Stop) -> Result<(), BoxError> {
    loop {
        tokio::select! {
            biased;
            () = stop.requested() => return Ok(()),
            () = shared.views.asked.notified() => {}
        }
        let clock = shared.ports.clock.as_ref();
        let began = clock.monotonic();
        let outcome = read(&shared).await;
        if let Err(error) = &outcome {
            warn!(error = %ErrorChain(error), "the fleet cannot be read for the API");
        }
        let now = clock.monotonic();
        let reading = Reading::made(outcome, now, Millis::from(now.saturating_sub(began)));
        let pause = reading.pause;
        shared.views.latest.send_replace(Some(reading));
        tokio::select! {
            biased;
            () = stop.requested() => return Ok(()),
            () = shared.ports.clock.sleep(pause) => {}
        }
    }
}

async fn read(shared: &Shared) -> Result<FleetView, StoreError> {
    let store = &shared.ports.shown;
    let (nodes, miners) = (store.nodes().await?, store.miners().await?);
    let sessions: BTreeSet<Hotkey> =
        miners.iter().map(|miner| miner.hotkey).filter(|miner| shared.access(miner).is_some()).collect();
    let weights = last_weights(shared).await?;
    let now = shared.now();
    // Putting ten thousand nodes in order must not keep the thread's other tasks waiting.
    let made = tokio::task::spawn_blocking(move || {
        let view = FleetView::new(nodes, miners, |miner| sessions.contains(miner), now);
        FleetView { weights, ..view }
    });
    made.await.map_err(|error| StoreError::Unavailable { operation: "read the fleet", source: error.into() })
}

/// The last vector of weights that the chain was seen to have; none if none of the newest windows came so far. Nobody is told
/// of one that waits for its reveal.
async fn last_weights(shared: &Shared) -> Result<Option<Arc<LastWeights>>, StoreError> {
    let store = &shared.ports.shown;
    let known = {
        let reading = shared.views.latest.borrow();
        let view = reading.as_ref().and_then(|reading| reading.outcome.as_ref().ok());
        view.and_then(|view| view.weights.as_ref().map(Arc::clone))
    };
    let windows = store.windows(WINDOWS).await?;
    let Some(window) = windows.iter().find(|window| window.read_back.is_some()).map(|window| window.id)
    else {
        return Ok(known);
    };
    if known.as_ref().is_some_and(|known| known.window == window) {
        return Ok(known);
    }
    let parts = store.emission(window, 0, PARTS).await?;
    Ok(Some(Arc::new(LastWeights { window, parts })))
}

/// Who got what of a vector of weights that is on chain.
#[derive(Debug)]
pub(crate) struct LastWeights {
    /// Which.
    window: i64,
    /// What is burnt among them.
    pub(crate) parts: Vec<Part>,
}

/// All nodes and miners of one moment.
#[derive(Debug)]
pub(crate) struct FleetView {
    /// By key.
    nodes: Vec<NodeView>,
    by_id: BTreeMap<NodeId, Vec<usize>>,
    /// By hotkey.
    miners: Vec<MinerView>,
    /// The miners' hotkeys as text, in their order: an SS58 address takes a hash, and a scrape shows each several times.
    miner_names: Vec<String>,
    by_uid: BTreeMap<Uid, usize>,
    weights: Option<Arc<LastWeights>>,
    as_of: Timestamp,
}

impl FleetView {
    pub(crate) fn new(
        mut nodes: Vec<NodeRecord>,
        mut miners: Vec<MinerRecord>,
        session: impl Fn(&Hotkey) -> bool,
        as_of: Timestamp,
    ) -> Self {
        nodes.sort_by_key(|node| node.key);
        miners.sort_by_key(|miner| miner.hotkey);
        let uids: BTreeMap<Hotkey, Uid> =
            miners.iter().filter_map(|miner| Some((miner.hotkey, miner.uid?))).collect();
        let nodes: Vec<NodeView> = nodes.into_iter().map(|node| view_of(node, &uids, as_of)).collect();
        let mut by_id: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        for (place, node) in nodes.iter().enumerate() {
            by_id.entry(node.record.key.node).or_default().push(place);
        }
        let miners: Vec<MinerView> = miners
            .into_iter()
            .map(|miner| {
                let session = session(&miner.hotkey);
                miner_view(of_miner(&nodes, miner.hotkey), miner, session, as_of)
            })
            .collect();
        let by_uid =
            miners.iter().enumerate().filter_map(|(place, miner)| Some((miner.record.uid?, place))).collect();
        let miner_names = miners.iter().map(|miner| miner.record.hotkey.to_string()).collect();
        Self { nodes, by_id, miners, miner_names, by_uid, weights: None, as_of }
    }

    pub(crate) fn nodes(
        &self,
        filter: &NodeFilter,
        after: Option<NodeKey>,
        limit: usize,
    ) -> Listed<NodeView> {
        let passes = |node: &&NodeView| node_passes(filter, node);
        let key = |node: &NodeView| node.record.key;
        match (filter.node, filter.miner) {
            (Some(id), _) => {
                let places = self.by_id.get(&id).into_iter().flatten();
                page(
                    places.filter_map(|place| self.nodes.get(*place)).filter(passes),
                    key,
                    after,
                    limit,
                    self.as_of,
                )
            }
            (None, Some(miner)) => {
                page(of_miner(&self.nodes, miner).iter().filter(passes), key, after, limit, self.as_of)
            }
            (None, None) if *filter == NodeFilter::default() => {
                let first = after.map_or(0, |after| self.nodes.partition_point(|node| key(node) <= after));
                let items: Vec<NodeView> = self.nodes.iter().skip(first).take(limit).cloned().collect();
                let more = first.saturating_add(items.len()) < self.nodes.len();
                Listed { items, total: self.nodes.len(), more, as_of: self.as_of }
            }
            (None, None) => page(self.nodes.iter().filter(passes), key, after, limit, self.as_of),
        }
    }

    pub(crate) fn miners(
        &self,
        filter: MinerFilter,
        after: Option<Hotkey>,
        limit: usize,
    ) -> Listed<MinerView> {
        let passes = |miner: &&MinerView| miner_passes(filter, miner);
        page(self.miners.iter().filter(passes), |miner| miner.record.hotkey, after, limit, self.as_of)
    }

    pub(crate) fn miner(&self, name: MinerName) -> Option<MinerView> {
        let place = match name {
            MinerName::Uid(uid) => *self.by_uid.get(&uid)?,
            MinerName::Hotkey(hotkey) => {
                self.miners.binary_search_by_key(&hotkey, |miner| miner.record.hotkey).ok()?
            }
        };
        self.miners.get(place).cloned()
    }

    /// By key.
    pub(crate) fn all_nodes(&self) -> &[NodeView] {
        &self.nodes
    }

    /// By hotkey, each with that as text.
    pub(crate) fn all_miners(&self) -> impl Iterator<Item = (&str, &MinerView)> {
        self.miner_names.iter().map(String::as_str).zip(&self.miners)
    }

    /// The last vector of weights that is on chain.
    pub(crate) fn weights(&self) -> Option<&LastWeights> {
        self.weights.as_deref()
    }

    /// The hotkey, as text, of the miner that has a uid now.
    pub(crate) fn name_of(&self, uid: Uid) -> Option<&str> {
        self.by_uid.get(&uid).and_then(|place| self.miner_names.get(*place)).map(String::as_str)
    }

    /// How every category is filled; what the configuration says of it is left zero.
    pub(crate) fn categories(&self) -> Vec<CategoryView> {
        Category::ALL
            .into_iter()
            .map(|category| {
                let counts = |node: &&NodeView| node.available && gpus_of(node, Some(category), None) > 0;
                let nodes = self.nodes.iter().filter(counts);
                let miners = self.miners.iter().filter(|miner| miner.gpus.contains_key(&category)).count();
                let (nodes, gpus) = nodes.fold((0u32, 0u32), |(nodes, gpus), node| {
                    (nodes.saturating_add(1), gpus.saturating_add(gpus_of(node, Some(category), None)))
                });
                let miners = u32::try_from(miners).unwrap_or(u32::MAX);
                CategoryView { category, share: BasisPoints::ZERO, min_gpus: 0, miners, nodes, gpus }
            })
            .collect()
    }
}

/// The page of a list after a key. `items` is in order of `key`.
fn page<'a, T: Clone + 'a, K: Ord + Copy>(
    items: impl Iterator<Item = &'a T>,
    key: impl Fn(&T) -> K,
    after: Option<K>,
    limit: usize,
    as_of: Timestamp,
) -> Listed<T> {
    let (mut shown, mut total, mut more) = (Vec::new(), 0usize, false);
    for item in items {
        total = total.saturating_add(1);
        if after.is_some_and(|after| key(item) <= after) {
            continue;
        }
        if shown.len() < limit {
            shown.push(item.clone());
        } else {
            more = true;
        }
    }
    Listed { items: shown, total, more, as_of }
}

/// The nodes of one miner, of a list by key.
fn of_miner(nodes: &[NodeView], miner: Hotkey) -> &[NodeView] {
    let first = nodes.partition_point(|node| node.record.key.miner < miner);
    let after = nodes.partition_point(|node| node.record.key.miner <= miner);
    nodes.get(first..after).unwrap_or_default()
}

fn view_of(node: NodeRecord, uids: &BTreeMap<Hotkey, Uid>, now: Timestamp) -> NodeView {
    let banned_until = node.standing.as_ref().and_then(|s| s.banned_until).filter(|until| *until > now);
    let scores = node.standing.as_ref().is_some_and(|standing| standing.score.value() > 0);
    NodeView {
        available: node.is_available() && scores && banned_until.is_none(),
        uid: uids.get(&node.key.miner).copied(),
        banned_until,
        record: Arc::new(node),
    }
}

/// GPUs that count, of one category or of all, with at least so much memory.
fn gpus_of(node: &NodeView, category: Option<Category>, memory_bytes: Option<u64>) -> u32 {
    let paid = node.record.last_proof.as_ref().map_or(&[][..], |(_, gpus)| gpus);
    let counts = |paid: &&PaidGpu| {
        category.is_none_or(|category| paid.gpu.category == category)
            && memory_bytes.is_none_or(|least| paid.memory_bytes.is_some_and(|bytes| bytes >= least))
    };
    u32::try_from(paid.iter().filter(counts).count()).unwrap_or(u32::MAX)
}

fn node_passes(filter: &NodeFilter, node: &NodeView) -> bool {
    filter.miner.is_none_or(|miner| node.record.key.miner == miner)
        && filter.available.is_none_or(|wanted| node.available == wanted)
        && filter.banned.is_none_or(|wanted| node.banned_until.is_some() == wanted)
        && gpus_of(node, filter.category, filter.min_gpu_memory) >= filter.least_gpus()
}

fn miner_passes(filter: MinerFilter, miner: &MinerView) -> bool {
    let gpus = || miner.gpus.values().fold(0u32, |sum, gpus| sum.saturating_add(*gpus));
    filter.state.is_none_or(|state| miner.state == state)
        && filter.category.is_none_or(|category| miner.gpus.contains_key(&category))
        && filter.min_gpus.is_none_or(|least| gpus() >= least)
        && filter.min_score.is_none_or(|least| miner.score >= least)
}

fn miner_view(nodes: &[NodeView], record: MinerRecord, session: bool, now: Timestamp) -> MinerView {
    let listed: Vec<&NodeView> = nodes.iter().filter(|node| node.record.listed.is_some()).collect();
    let count = |passes: fn(&NodeView) -> bool| {
        u32::try_from(listed.iter().filter(|node| passes(node)).count()).unwrap_or(u32::MAX)
    };
    let mut gpus = BTreeMap::new();
    for node in listed.iter().filter(|node| node.available) {
        for paid in node.record.last_proof.iter().flat_map(|(_, gpus)| gpus) {
            let known: &mut u32 = gpus.entry(paid.gpu.category).or_default();
            *known = known.saturating_add(1);
        }
    }
    let standings = || listed.iter().filter_map(|node| node.record.standing.as_ref());
    let score = mean(standings().map(|standing| u32::from(standing.score.value())), listed.len());
    let multiplier = mean(standings().map(|standing| standing.multiplier.value()), listed.len());
    let score =
        u16::try_from(score).ok().and_then(|bp| BasisPoints::new(bp).ok()).unwrap_or(BasisPoints::ZERO);
    let available = count(|node| node.available);
    MinerView {
        state: state_of(&record, available, score, now),
        session,
        nodes: u32::try_from(listed.len()).unwrap_or(u32::MAX),
        available,
        banned: count(|node| node.banned_until.is_some()),
        gpus,
        score,
        multiplier: Ppm::new(multiplier).unwrap_or(Ppm::ZERO),
        last_proof: listed.iter().filter_map(|node| Some(node.record.last_proof.as_ref()?.0)).max(),
        record,
    }
}

/// Of `count` values, those that are not there counting as zero.
fn mean(values: impl Iterator<Item = u32>, count: usize) -> u32 {
    let sum = values.fold(0u64, |sum, value| sum.saturating_add(u64::from(value)));
    u64::try_from(count)
        .ok()
        .and_then(|count| sum.checked_div(count))
        .and_then(|m| m.try_into().ok())
        .unwrap_or(0)
}

fn state_of(record: &MinerRecord, available: u32, score: BasisPoints, now: Timestamp) -> MinerState {
    if record.uid.is_none() {
        MinerState::Gone
    } else if record.discovered.is_none_or(|at| now.since(at) > OFFLINE) {
        MinerState::Offline
    } else if available == 0 {
        MinerState::Inactive
    } else if score.value() < SUSPENDED_BELOW {
        MinerState::Suspended
    } else {
        MinerState::Active
    }
}

#[cfg(test)]
mod tests;
