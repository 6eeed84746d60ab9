//! A database in memory that keeps the store's promises: each step is one transaction between two awaits.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use basilica_ports::{
    CheckEntry, FleetStore, HistoryEntry, Holds, KeptVerdict, LogEnd, LogEntry, Logged, MinerRecord,
    NewWindow, NodeChange, NodeConduct, NodeKey, NodeRecord, NodeScore, Opened, PaidGpu, Place,
    PreparedWeights, Pruned, Recorded, Scores, SeenMiner, StoreError, StoredStanding, TranscriptPart,
    VerdictLogStore, VerdictPlace, VerdictStore, VerdictsOf, WeightStore, WeightWindow, WindowEnd,
    WindowState,
};
use basilica_runtime_service::testing::VirtualClock;
use basilica_scoring::weights::Part;
use basilica_types::{
    BasisPoints, BlockNumber, Category, Digest, FencingToken, GpuUuid, Hotkey, NodeAddress, NodeId, Ppm,
    Timestamp, Uid, Weight,
};
use basilica_verification::fingerprint::Fingerprint;
use basilica_verification::fleet::{Claimant, Identity};
use basilica_verification::timing::DeadlineRecord;
use basilica_verification::verdict_log::Day;
use basilica_verification::{CheckKind, Due, ProvenGpu, Series};
use basilica_wire::discovery::{NodeReport, NodeStatus};

use super::yield_now;

pub(super) struct Memory {
    clock: Arc<VirtualClock>,
    pub(super) windows: Mutex<Vec<WeightWindow>>,
    nodes: Vec<NodeRecord>,
}

pub(super) fn miner(n: u8) -> Hotkey {
    Hotkey::from_bytes([n; 32])
}

fn node(n: u8) -> NodeRecord {
    let address: NodeAddress = format!("root@198.51.100.{n}:22").parse().unwrap();
    let gpu = ProvenGpu { uuid: GpuUuid::from_bytes([n; 16]), category: Category::H100 };
    let start = Timestamp(0);
    NodeRecord {
        key: NodeKey { miner: miner(n), node: address.node_id() },
        address,
        listed: Some(NodeStatus::Available),
        rate: None,
        host_keys: Vec::new(),
        first_seen: start,
        due: Due::at_once(start),
        deadlines: DeadlineRecord::default(),
        series: None,
        last_verdict: None,
        last_full: None,
        last_proof: Some((start, vec![PaidGpu { gpu, memory_bytes: None }])),
        standing: None,
    }
}

impl Memory {
    pub(super) fn new(clock: Arc<VirtualClock>) -> Self {
        Self { clock, windows: Mutex::default(), nodes: vec![node(2), node(3)] }
    }

    pub(super) fn all(&self) -> Vec<WeightWindow> {
        self.windows.lock().unwrap().clone()
    }

    /// Which window has just this call stored, and whether it is under way.
    pub(super) fn holder(&self, extrinsic: &[u8]) -> Option<(i64, bool)> {
        let windows = self.windows.lock().unwrap();
        let is = |prepared: &PreparedWeights| prepared.extrinsic == extrinsic;
        let holds = |w: &&WeightWindow| is(&w.opened.prepared) || w.reveal.as_ref().is_some_and(is);
        windows.iter().rev().find(holds).map(|w| (w.id, !matches!(w.state, WindowState::Ended(_))))
    }

    /// One transaction: a crash is before or after it.
    async fn step<T>(&self, act: impl FnOnce(&mut Vec<WeightWindow>) -> T + Send) -> T {
        yield_now().await;
        let result = act(&mut self.windows.lock().unwrap());
        yield_now().await;
        result
    }

    async fn change(&self, id: i64, act: impl FnOnce(&mut WeightWindow) + Send) -> Result<(), StoreError> {
        self.step(|windows| windows.iter_mut().find(|w| w.id == id).map(act)).await;
        Ok(())
    }
}

#[async_trait]
impl WeightStore for Memory {
    async fn fencing_token(&self) -> Result<FencingToken, StoreError> {
        yield_now().await;
        Ok(FencingToken(0))
    }

    async fn open_window(&self, window: &NewWindow, _: &[Part]) -> Result<Opened, StoreError> {
        self.step(|windows| {
            if let Some(busy) = windows.iter().find(|w| !matches!(w.state, WindowState::Ended(_))) {
                return Ok(Opened::Busy(busy.id));
            }
            let id = i64::try_from(windows.len()).unwrap() + 1;
            let (opened, state) = (window.clone(), WindowState::Prepared);
            windows.push(WeightWindow { id, opened, state, reveal: None, read_back: None });
            Ok(Opened::Window(id))
        })
        .await
    }

    async fn record_commit(&self, id: i64, block: BlockNumber) -> Result<(), StoreError> {
        self.change(id, |w| {
            if w.state == WindowState::Prepared {
                w.state = WindowState::Committed { block };
            }
        })
        .await
    }

    async fn open_reveal(
        &self,
        id: i64,
        _: FencingToken,
        reveal: &PreparedWeights,
    ) -> Result<Opened, StoreError> {
        self.step(|windows| match windows.iter_mut().find(|w| w.id == id) {
            Some(w) => match w.state {
                WindowState::Committed { block } => {
                    w.state = WindowState::Revealing { block };
                    w.reveal = Some(reveal.clone());
                    Ok(Opened::Window(id))
                }
                _ => Ok(Opened::Busy(id)),
            },
            None => Ok(Opened::Busy(id)),
        })
        .await
    }

    async fn drop_reveal(&self, id: i64) -> Result<(), StoreError> {
        self.change(id, |w| {
            if let WindowState::Revealing { block } = w.state {
                w.state = WindowState::Committed { block };
                w.reveal = None;
            }
        })
        .await
    }

    async fn end_window(&self, id: i64, end: &WindowEnd) -> Result<(), StoreError> {
        self.change(id, |w| {
            if !matches!(w.state, WindowState::Ended(_)) {
                w.state = WindowState::Ended(end.clone());
            }
        })
        .await
    }

    async fn record_read_back(&self, id: i64, weights: &[(Uid, Weight)]) -> Result<(), StoreError> {
        self.change(id, |w| w.read_back = Some(weights.to_vec())).await
    }

    async fn windows(&self, limit: u32) -> Result<Vec<WeightWindow>, StoreError> {
        self.step(|windows| {
            let limit = usize::try_from(limit).unwrap();
            Ok(windows.iter().rev().take(limit).cloned().collect())
        })
        .await
    }

    async fn emission(&self, _: i64, _: u32, _: u32) -> Result<Vec<Part>, StoreError> {
        unreachable!("only pages ask")
    }

    async fn last_set(&self) -> Result<Option<BlockNumber>, StoreError> {
        unreachable!("only pages ask")
    }
}

fn paid(node: &NodeRecord) -> Vec<PaidGpu> {
    node.last_proof.as_ref().unwrap().1.clone()
}

#[async_trait]
impl FleetStore for Memory {
    async fn observe_miners(&self, _: &[SeenMiner], _: Timestamp) -> Result<(), StoreError> {
        unreachable!("weights observe nobody")
    }
    async fn miners(&self) -> Result<Vec<MinerRecord>, StoreError> {
        unreachable!("weights need scores only")
    }
    async fn record_discovery(
        &self,
        _: Hotkey,
        _: &[NodeReport],
        _: Timestamp,
    ) -> Result<Vec<NodeChange>, StoreError> {
        unreachable!("weights discover nobody")
    }
    async fn record_discovery_failure(&self, _: Hotkey, _: &str) -> Result<(), StoreError> {
        unreachable!("weights discover nobody")
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, StoreError> {
        unreachable!("weights need scores only")
    }

    /// The scores change with every look, so that two vectors are never equal by chance.
    async fn scores(&self) -> Result<Scores, StoreError> {
        yield_now().await;
        let now = basilica_ports::Clock::now(self.clock.as_ref());
        let elapsed = u64::try_from(now.0).unwrap() / 100;
        let score = |n: u64| BasisPoints::new(u16::try_from(1 + elapsed * n % 9_973).unwrap()).unwrap();
        let scored = (1u64..).zip(&self.nodes).map(|(n, node)| NodeScore {
            key: node.key,
            score: score(n),
            multiplier: Ppm::ONE,
            at: now,
            gpus: paid(node),
        });
        Ok(Scores { nodes: scored.collect(), last_pass: Some(now), waiting_since: Some(now) })
    }

    async fn conducts(&self) -> Result<Vec<NodeConduct>, StoreError> {
        unreachable!("weights score nothing")
    }
    async fn refold(&self) -> Result<u64, StoreError> {
        unreachable!("weights score nothing")
    }
    async fn node(&self, _: NodeKey) -> Result<Option<NodeRecord>, StoreError> {
        unreachable!("weights look at all nodes")
    }
    async fn due_nodes(&self, _: CheckKind, _: Timestamp, _: u32) -> Result<Vec<NodeRecord>, StoreError> {
        unreachable!("weights check nothing")
    }
    async fn nodes_of(&self, _: Hotkey) -> Result<Vec<NodeId>, StoreError> {
        unreachable!("weights look at all nodes")
    }
    async fn prune_nodes(&self, _: Timestamp, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        unreachable!("weights forget nothing")
    }
    async fn record_standings(&self, _: &[(NodeKey, StoredStanding)]) -> Result<(), StoreError> {
        unreachable!("weights score nothing")
    }
}

#[async_trait]
impl VerdictLogStore for Memory {
    async fn log_end(&self) -> Result<Option<LogEnd>, StoreError> {
        unreachable!("weights log nothing")
    }
    async fn log_head(&self) -> Result<Place, StoreError> {
        unreachable!("weights log nothing")
    }
    async fn log_leaves(&self, _: Place, _: Place, _: u32) -> Result<Vec<(Place, Digest)>, StoreError> {
        unreachable!("weights log nothing")
    }
    async fn end_day(&self, _: &LogEntry, _: Option<Digest>) -> Result<bool, StoreError> {
        unreachable!("weights log nothing")
    }
    async fn days(&self, _: Option<Day>, _: u32) -> Result<Vec<Vec<u8>>, StoreError> {
        unreachable!("only pages ask")
    }
    async fn day(&self, _: Day) -> Result<Option<Vec<u8>>, StoreError> {
        unreachable!("only pages ask")
    }
    async fn logged(&self, _: Digest) -> Result<Option<Logged>, StoreError> {
        unreachable!("only pages ask")
    }
}

#[async_trait]
impl VerdictStore for Memory {
    async fn record_try(&self, _: NodeKey, _: CheckKind, _: Series, _: Timestamp) -> Result<(), StoreError> {
        unreachable!("weights check nothing")
    }
    async fn record_deadlines(&self, _: NodeKey, _: DeadlineRecord) -> Result<(), StoreError> {
        unreachable!("weights check nothing")
    }
    async fn record_transcript(
        &self,
        _: NodeKey,
        _: Timestamp,
        _: Digest,
        _: &[u8],
    ) -> Result<(), StoreError> {
        unreachable!("weights check nothing")
    }
    async fn record_check(&self, _: &CheckEntry) -> Result<Recorded, StoreError> {
        unreachable!("weights check nothing")
    }
    async fn fingerprints(&self, _: NodeKey, _: &[GpuUuid]) -> Result<Vec<Fingerprint>, StoreError> {
        unreachable!("weights check nothing")
    }
    async fn claimants(&self, _: &BTreeSet<Identity>, _: Timestamp) -> Result<Vec<Claimant>, StoreError> {
        unreachable!("weights check nothing")
    }
    async fn holds(&self, _: NodeKey) -> Result<Holds, StoreError> {
        unreachable!("weights check nothing")
    }
    async fn history(&self, _: NodeKey, _: Timestamp) -> Result<Vec<HistoryEntry>, StoreError> {
        unreachable!("weights need scores only")
    }
    async fn verdict(&self, _: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        unreachable!("weights need scores only")
    }
    async fn verdict_page(
        &self,
        _: VerdictsOf,
        _: Option<VerdictPlace>,
        _: u32,
    ) -> Result<Vec<KeptVerdict>, StoreError> {
        unreachable!("weights need scores only")
    }
    async fn transcript(&self, _: Digest, _: u64, _: u32) -> Result<Option<TranscriptPart>, StoreError> {
        unreachable!("weights need scores only")
    }
    async fn record_aborted_opening(
        &self,
        _: NodeKey,
        _: Timestamp,
        _: Timestamp,
    ) -> Result<Vec<Timestamp>, StoreError> {
        unreachable!("weights check nothing")
    }
    async fn prover_passed_elsewhere(&self, _: Digest, _: NodeKey) -> Result<bool, StoreError> {
        unreachable!("weights check nothing")
    }
    async fn last_pass_elsewhere(&self, _: Hotkey) -> Result<Option<Timestamp>, StoreError> {
        unreachable!("weights check nothing")
    }
    async fn prune(&self, _: Timestamp, _: u32, _: u32) -> Result<Pruned, StoreError> {
        unreachable!("weights forget nothing")
    }
}
