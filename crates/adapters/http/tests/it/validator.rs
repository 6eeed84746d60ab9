//! A validator that answers from memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use async_trait::async_trait;
use basilica_ports::{
    CategoryView, CheckUnderWay, EpochsView, HealthReport, KeptVerdict, Leader, LeadershipView, Listed,
    MinerFilter, MinerName, MinerRecord, MinerState, MinerView, NodeFilter, NodeRecord, NodeView, PaidGpu,
    StoreError, TranscriptPart, ValidatorQueries, VerdictPlace, VerdictSummary, VerdictsOf, WeightWindow,
    WeightsOutlook,
};
use basilica_scoring::weights::Part;
use basilica_types::{
    BasisPoints, Category, Digest, FencingToken, Hotkey, Millis, NetUid, NodeAddress, NodeId, NodeKey, Ppm,
    Timestamp, Uid, UsdMicros, Weight,
};
use basilica_verification::verdict_log::{Day, DayRecord, DayTree, SignedDay};
use basilica_verification::{
    CardTable, CheckKind, Due, Evidence, Fault, Measured, Outcome, Probes, ProvenGpu, Reason, Verdict,
};
use basilica_wire::discovery::NodeStatus;
use basilica_wire::{Keypair, Signed};
use codec::Encode as _;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// Bytes of its transcript.
pub(crate) const TRANSCRIPT: u64 = 12 * 1024 * 1024;

/// Knows three miners with two nodes each.
pub(crate) struct Remembering {
    pub own: Keypair,
    pub broken: AtomicBool,
    /// Parts of transcripts that were read.
    pub parts: AtomicUsize,
    /// Questions for windows that are being answered, and the most there were at once.
    pub running: AtomicUsize,
    pub most: AtomicUsize,
}

pub(crate) fn miner(index: u8) -> Hotkey {
    Keypair::from_seed(&[index; 32]).unwrap().hotkey()
}

pub(crate) fn node(miner: Hotkey, host: u8) -> NodeKey {
    NodeKey { miner, node: address(host).node_id() }
}

pub(crate) fn address(host: u8) -> NodeAddress {
    format!("root@198.51.100.{host}:22").parse().unwrap()
}

fn node_view(miner: Hotkey, uid: u16, host: u8) -> NodeView {
    let outcome = Outcome::Failed { reason: Reason::NonceMismatch, fault: Fault::Node { confirmed: true } };
    let summary = VerdictSummary {
        digest: Digest::from_bytes([host; 32]),
        kind: CheckKind::Light,
        outcome,
        finished: NOW,
    };
    let uuid = format!("GPU-00000000-0000-0000-0000-0000000000{host:02x}").parse().unwrap();
    let gpu = ProvenGpu { uuid, category: Category::H100 };
    let record = NodeRecord {
        key: node(miner, host),
        address: address(host),
        listed: Some(NodeStatus::Available),
        rate: Some(UsdMicros(2_500_000)),
        host_keys: Vec::new(),
        first_seen: NOW,
        due: Due { light: NOW, full: NOW },
        deadlines: Default::default(),
        series: None,
        last_verdict: Some(summary),
        last_full: None,
        last_proof: Some((NOW, vec![PaidGpu { gpu, memory_bytes: Some(85_520_809_984) }])),
        standing: None,
    };
    NodeView { record: Arc::new(record), uid: Some(Uid(uid)), available: true, banned_until: None }
}

impl Remembering {
    pub(crate) fn new() -> Self {
        let own = Keypair::from_seed(&[99; 32]).unwrap();
        Self { own, broken: false.into(), parts: 0.into(), running: 0.into(), most: 0.into() }
    }

    pub(crate) fn break_database(&self) {
        self.broken.store(true, Relaxed);
    }

    /// A signed verdict of a node.
    fn verdict(&self, node: NodeId, seq: i64) -> KeptVerdict {
        let verdict = Verdict {
            miner: miner(1),
            node,
            validator: self.own.hotkey(),
            previous: None,
            kind: CheckKind::Light,
            started: NOW,
            finished: NOW + Millis(seq.unsigned_abs()),
            outcome: Outcome::Passed,
            gpus: Vec::new(),
            policy: Digest::from_bytes([2; 32]),
            evidence: Evidence {
                host_key: None,
                tries: 1,
                claims: Vec::new(),
                transcript: None,
                prover: Digest::from_bytes([1; 32]),
                measured: Measured::default(),
                probes: Probes::default(),
            },
        };
        let place = VerdictPlace { finished: verdict.finished, seq };
        let signed = Signed::new(verdict, &self.own, ChaCha20Rng::seed_from_u64(seq.unsigned_abs()));
        KeptVerdict { place, bytes: signed.encode() }
    }

    fn working(&self) -> Result<(), StoreError> {
        if self.broken.load(Relaxed) {
            let source = "secret: the disk is gone".into();
            return Err(StoreError::Unavailable { operation: "read", source });
        }
        Ok(())
    }

    fn all_miners() -> Vec<MinerView> {
        let mut all: Vec<MinerView> = (1..=3)
            .map(|index| MinerView {
                record: MinerRecord {
                    hotkey: miner(index),
                    uid: Some(Uid(index.into())),
                    axon: "198.51.100.1:50051".parse().unwrap(),
                    seen: NOW,
                    discovered: Some(NOW),
                    failure: None,
                },
                state: if index == 3 { MinerState::Offline } else { MinerState::Active },
                session: true,
                nodes: 2,
                available: 2,
                banned: 0,
                gpus: BTreeMap::from([(Category::H100, 2)]),
                score: BasisPoints::ONE,
                multiplier: Ppm::ONE,
                last_proof: Some(NOW),
            })
            .collect();
        all.sort_by_key(|view| view.record.hotkey);
        all
    }

    fn record(&self, day: Day) -> SignedDay {
        let record = DayRecord::new(NetUid(39), day, &DayTree::default(), None);
        SignedDay::new(record, &self.own, ChaCha20Rng::seed_from_u64(1))
    }

    fn all_nodes() -> Vec<NodeView> {
        let mut all: Vec<NodeView> = (1..=3)
            .flat_map(|index| {
                [2 * index, 2 * index + 1].map(|host| node_view(miner(index), index.into(), host))
            })
            .collect();
        all.sort_by_key(|view| view.record.key);
        all
    }
}

fn page<T, K: Ord>(items: Vec<T>, key: impl Fn(&T) -> K, after: Option<K>, limit: usize) -> Listed<T> {
    let total = items.len();
    let mut rest: Vec<T> =
        items.into_iter().filter(|item| after.as_ref().is_none_or(|after| key(item) > *after)).collect();
    let more = rest.len() > limit;
    rest.truncate(limit);
    Listed { items: rest, total, more, as_of: NOW }
}

#[async_trait]
impl ValidatorQueries for Remembering {
    fn hotkey(&self) -> Hotkey {
        self.own.hotkey()
    }

    fn now(&self) -> Timestamp {
        NOW
    }

    fn health(&self) -> HealthReport {
        let chain = self.working().map_err(|_| "no endpoint answers".to_owned());
        let database = self.working().map_err(|_| "postgres://10.0.0.7: connection refused".to_owned());
        HealthReport { checks: vec![("chain", chain), ("database", database)], at: NOW }
    }

    async fn miners(
        &self,
        filter: MinerFilter,
        after: Option<Hotkey>,
        limit: usize,
    ) -> Result<Listed<MinerView>, StoreError> {
        self.working()?;
        let mut all = Self::all_miners();
        all.retain(|miner| filter.state.is_none_or(|state| miner.state == state));
        Ok(page(all, |miner| miner.record.hotkey, after, limit))
    }

    async fn miner(&self, name: MinerName) -> Result<Option<MinerView>, StoreError> {
        self.working()?;
        Ok(Self::all_miners().into_iter().find(|miner| match name {
            MinerName::Uid(uid) => miner.record.uid == Some(uid),
            MinerName::Hotkey(hotkey) => miner.record.hotkey == hotkey,
        }))
    }

    async fn nodes(
        &self,
        filter: &NodeFilter,
        after: Option<NodeKey>,
        limit: usize,
    ) -> Result<Listed<NodeView>, StoreError> {
        self.working()?;
        let mut all = Self::all_nodes();
        all.retain(|node| filter.miner.is_none_or(|miner| node.record.key.miner == miner));
        all.retain(|node| filter.node.is_none_or(|id| node.record.key.node == id));
        Ok(page(all, |node| node.record.key, after, limit))
    }

    async fn verdict(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.working()?;
        Ok((digest == Digest::from_bytes([7; 32])).then(|| vec![0, 255]))
    }

    async fn log_days(&self, before: Option<Day>, limit: u32) -> Result<Vec<Vec<u8>>, StoreError> {
        self.working()?;
        let days = (1..=3).rev().map(Day).filter(|day| before.is_none_or(|before| *day < before));
        Ok(days.take(limit as usize).map(|day| self.record(day).encode()).collect())
    }

    async fn log_day(&self, day: Day) -> Result<Option<Vec<u8>>, StoreError> {
        self.working()?;
        Ok((1..=3).contains(&day.0).then(|| self.record(day).encode()))
    }

    async fn inclusion(&self, verdict: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.working()?;
        Ok((verdict == Digest::from_bytes([7; 32])).then(|| vec![1, 2]))
    }

    async fn verdict_page(
        &self,
        of: VerdictsOf,
        after: Option<VerdictPlace>,
        limit: u32,
    ) -> Result<Vec<KeptVerdict>, StoreError> {
        self.working()?;
        // A miner's nodes are checked in turns.
        let node = |seq: i64| match of {
            VerdictsOf::Node(node) => node,
            VerdictsOf::Miner(_) => address(2 + u8::try_from(seq % 2).unwrap()).node_id(),
        };
        let mut kept: Vec<KeptVerdict> = (0..5).map(|seq| self.verdict(node(seq), seq)).collect();
        kept.retain(|kept| after.is_none_or(|after| kept.place < after));
        kept.reverse();
        kept.truncate(limit as usize);
        Ok(kept)
    }

    /// One of many megabytes, all zeros, and otherwise none that ever comes.
    async fn transcript(
        &self,
        digest: Digest,
        skip: u64,
        bytes: u32,
    ) -> Result<Option<TranscriptPart>, StoreError> {
        if digest != Digest::from_bytes([7; 32]) {
            return std::future::pending().await;
        }
        let left = TRANSCRIPT.saturating_sub(skip).min(bytes.into());
        self.parts.fetch_add(1, Relaxed);
        Ok(Some(TranscriptPart { size: TRANSCRIPT, bytes: vec![0; usize::try_from(left).unwrap()] }))
    }

    fn cards(&self) -> CardTable {
        CardTable::built_in()
    }

    async fn categories(&self) -> Result<Vec<CategoryView>, StoreError> {
        self.working().map(|()| Vec::new())
    }

    fn checks_under_way(&self) -> Vec<CheckUnderWay> {
        vec![CheckUnderWay { node: node(miner(1), 2), kind: CheckKind::Full, since: NOW }]
    }

    async fn windows(&self, _: u32) -> Result<Vec<WeightWindow>, StoreError> {
        let running = self.running.fetch_add(1, Relaxed) + 1;
        self.most.fetch_max(running, Relaxed);
        // Others have their turn meanwhile, if they may.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        self.running.fetch_sub(1, Relaxed);
        self.working().map(|()| Vec::new())
    }

    async fn emission(&self, window: i64, skip: u32, limit: u32) -> Result<Vec<Part>, StoreError> {
        self.working()?;
        let part = |uid| Part {
            uid: Uid(uid),
            category: (uid > 0).then_some(Category::H100),
            points: u128::MAX,
            total: u128::MAX,
            weight: Weight(uid),
        };
        let all = if window == 3 { 0..5 } else { 0..0 };
        Ok(all.map(part).skip(skip as usize).take(limit as usize).collect())
    }

    fn weights(&self) -> Option<WeightsOutlook> {
        None
    }

    fn epochs(&self) -> EpochsView {
        EpochsView { mean_blocks: 360, watched: None, last: None }
    }

    fn leadership(&self) -> LeadershipView {
        let (holder, token, lease_left) = (Some("vali-2:17".to_owned()), FencingToken(4), Millis(2_500));
        LeadershipView::Standby(Some(Leader { holder, token, lease_left }))
    }
}
