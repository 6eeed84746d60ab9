//! What the validator remembers, by aggregate: the fleet it watches, the verdicts it reached, the weights it set.
//!
//! The methods are the reconcilers' use cases. Each that writes is one transaction, so a crash leaves either all
//! of it or nothing; what a reconciler needs to go on after a restart is in its rows and nowhere else.

use std::net::SocketAddr;

use std::collections::BTreeSet;

use async_trait::async_trait;
use basilica_scoring::history::{Entry, GpuRecord, Record};
use basilica_scoring::{history, weights};
pub use basilica_types::NodeKey;
use basilica_types::{
    BasisPoints, BlockNumber, Digest, FencingToken, GpuUuid, HostKey, Hotkey, MechanismId, NetUid,
    NodeAddress, NodeId, Ppm, Timestamp, Uid, UsdMicros, Weight,
};
use basilica_verification::fingerprint::Fingerprint;
use basilica_verification::fleet::{Claimant, Identity};
use basilica_verification::timing::DeadlineRecord;
use basilica_verification::{CheckKind, Due, Outcome, ProvenGpu, Series};
use basilica_wire::discovery::{NodeReport, NodeStatus};

use crate::{PreparedWeights, StoreError, VerdictLogStore, WindowEnd, WindowForm, WindowState};

/// A miner as the metagraph shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenMiner {
    /// Identity.
    pub hotkey: Hotkey,
    /// Slot at that block.
    pub uid: Uid,
    /// Where its gRPC service listens.
    pub axon: SocketAddr,
}

/// A miner as remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinerRecord {
    /// Identity.
    pub hotkey: Hotkey,
    /// Its slot; none once the metagraph no longer shows it with an axon.
    pub uid: Option<Uid>,
    /// Where its gRPC service listened last.
    pub axon: SocketAddr,
    /// When the metagraph showed it last.
    pub seen: Timestamp,
    /// Its last verified discovery response.
    pub discovered: Option<Timestamp>,
    /// Why the last discovery failed; none if it did not.
    pub failure: Option<String>,
}

/// A node's last verdict, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerdictSummary {
    /// Of the signed envelope.
    pub digest: Digest,
    /// How deep the check looked.
    pub kind: CheckKind,
    /// Its conclusion.
    pub outcome: Outcome,
    /// When.
    pub finished: Timestamp,
}

/// What a node's history amounted to when it was last scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredStanding {
    /// The gate's stable code; `ok` if the score counts.
    pub gate: String,
    /// Zero unless the gate is open.
    pub score: BasisPoints,
    /// Of the uptime ramp.
    pub multiplier: Ppm,
    /// End of the running ban.
    pub banned_until: Option<Timestamp>,
    /// When this was computed.
    pub at: Timestamp,
}

/// A node as remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Identity.
    pub key: NodeKey,
    /// Where to log in.
    pub address: NodeAddress,
    /// As its miner's last verified response says; none if that did not name it.
    pub listed: Option<NodeStatus>,
    /// Price per GPU and hour.
    pub rate: Option<UsdMicros>,
    /// The pinned host keys.
    pub host_keys: Vec<HostKey>,
    /// When it was first reported.
    pub first_seen: Timestamp,
    /// When its checks are due.
    pub due: Due,
    /// How punctual its proofs were, and how often they were broken off.
    pub deadlines: DeadlineRecord,
    /// The failed tries of the check under way.
    pub series: Option<(CheckKind, Series)>,
    /// The latest conclusion.
    pub last_verdict: Option<VerdictSummary>,
    /// The latest conclusion of a full check: what the gate goes by (RULES R1).
    pub last_full: Option<VerdictSummary>,
    /// When a full check passed last, and for which GPUs the node is paid.
    pub last_proof: Option<(Timestamp, Vec<PaidGpu>)>,
    /// The latest score.
    pub standing: Option<StoredStanding>,
}

impl NodeRecord {
    /// Whether its miner confirms the validator's key on it (RULES R6); only then it is checked and paid.
    pub const fn is_available(&self) -> bool {
        matches!(self.listed, Some(NodeStatus::Available))
    }
}

/// What a discovery response changed, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeChange {
    /// Reported for the first time.
    New(NodeKey),
    /// Available again, or no longer.
    Availability {
        /// Which node.
        node: NodeKey,
        /// As reported now; none if no longer named.
        listed: Option<NodeStatus>,
    },
    /// Reported with another host key: pinned, and a full check must pass before weight returns (RULES R7).
    HostKey {
        /// Which node.
        node: NodeKey,
        /// Fingerprints pinned before.
        before: Vec<String>,
        /// Fingerprints pinned from now on.
        after: Vec<String>,
    },
}

/// Why a node is not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Absence {
    /// Its miner no longer names it.
    Unlisted,
    /// Its miner cannot reach it.
    Unreachable,
    /// Its operator took it out.
    Maintenance,
    /// The validator's key is not confirmed on it, or its host key has just changed.
    KeyPending,
}

impl Absence {
    /// Why a node with this status is absent; none if it is not. `listed` as in [`NodeRecord::listed`].
    pub const fn of(listed: Option<NodeStatus>) -> Option<Self> {
        match listed {
            None => Some(Self::Unlisted),
            Some(NodeStatus::Unreachable) => Some(Self::Unreachable),
            Some(NodeStatus::Maintenance) => Some(Self::Maintenance),
            Some(NodeStatus::KeyPending) => Some(Self::KeyPending),
            Some(NodeStatus::Available) => None,
        }
    }
}

/// One entry of a node's history, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryEntry {
    /// A concluded check.
    Check {
        /// When its first try began.
        started: Timestamp,
        /// When it was concluded.
        finished: Timestamp,
        /// How deep it looked.
        kind: CheckKind,
        /// Its conclusion.
        outcome: Outcome,
    },
    /// Not available as of this moment, or for another reason than before.
    Unavailable(Timestamp, Absence),
    /// Available as of this moment.
    Available(Timestamp),
    /// Its miner vouches for another host as of this moment.
    Moved(Timestamp),
}

impl From<&HistoryEntry> for Entry {
    fn from(entry: &HistoryEntry) -> Self {
        match entry {
            HistoryEntry::Check { started, finished, kind, outcome } => {
                Self::Check(history::Check::concluded(*kind, *started, *finished, outcome))
            }
            HistoryEntry::Unavailable(at, absence) => Self::Unavailable(*at, (*absence).into()),
            HistoryEntry::Available(at) => Self::Available(*at),
            HistoryEntry::Moved(at) => Self::Moved(*at),
        }
    }
}

impl From<Absence> for history::Absence {
    fn from(absence: Absence) -> Self {
        match absence {
            Absence::Unlisted => Self::Unlisted,
            Absence::Unreachable => Self::Unreachable,
            Absence::Maintenance => Self::Maintenance,
            Absence::KeyPending => Self::KeyPending,
        }
    }
}

/// What scoring goes by, of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConduct {
    /// Identity.
    pub key: NodeKey,
    /// Whether its miner's last verified response named it.
    pub listed: bool,
    /// As it was last scored.
    pub standing: Option<StoredStanding>,
    /// What its history comes to; none if that must be folded anew ([`FleetStore::refold`]).
    pub record: Option<Record>,
    /// The same of the GPUs that it is paid for.
    pub gpus: Vec<GpuRecord>,
}

/// A GPU that a node is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaidGpu {
    /// Which, and for what.
    pub gpu: ProvenGpu,
    /// As it showed when it was proved; none where that was before it was written down.
    pub memory_bytes: Option<u64>,
}

/// What weights go by, of one available node that was scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeScore {
    /// Identity.
    pub key: NodeKey,
    /// In basis points.
    pub score: BasisPoints,
    /// Of the uptime ramp.
    pub multiplier: Ppm,
    /// When it was scored.
    pub at: Timestamp,
    /// What it is paid for.
    pub gpus: Vec<PaidGpu>,
}

/// All scores, and how fresh they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scores {
    /// By key.
    pub nodes: Vec<NodeScore>,
    /// When any listed node was scored last.
    pub last_pass: Option<Timestamp>,
    /// When the listed node that is known longest was first reported.
    pub waiting_since: Option<Timestamp>,
}

/// A concluded check to be kept.
#[derive(Clone, Debug)]
pub struct CheckEntry {
    /// Which node.
    pub key: NodeKey,
    /// The signed verdict's bytes.
    pub verdict: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// The verdict before, as this one names it.
    pub previous: Option<Digest>,
    /// When its first try began.
    pub started: Timestamp,
    /// The host keys that were pinned when the check began.
    pub host_keys: Vec<HostKey>,
    /// BLAKE3 of the prover that the check was made with.
    pub prover: Digest,
    /// The conclusion, in short; `digest` repeats the above.
    pub summary: VerdictSummary,
    /// GPUs that a passed full check stands for.
    pub gpus: Vec<ProvenGpu>,
    /// What is to be remembered of the hardware of all that were claimed in it, those included that do not count.
    pub fingerprints: Vec<Fingerprint>,
    /// What belongs to one machine only, of the host that proved them.
    pub identities: BTreeSet<Identity>,
    /// Whom the node is on hold by from now on, nobody included; none if the check says nothing of that.
    pub held_by: Option<BTreeSet<NodeKey>>,
    /// Nodes that passed at once with this one: they are different machines.
    pub apart_from: BTreeSet<NodeKey>,
    /// A GPU whose owner has not proved it since then is given up by that owner.
    pub gpus_stale_before: Timestamp,
    /// How punctual its proofs are, this one included; none if it says nothing of that.
    pub deadlines: Option<DeadlineRecord>,
    /// The proof's transcript.
    pub transcript: Option<(Digest, Vec<u8>)>,
    /// When the next checks are due.
    pub due: Due,
}

/// Whose verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerdictsOf {
    /// Of all nodes with this id; several miners may name the same address.
    Node(NodeId),
    /// Of all nodes of this miner.
    Miner(Hotkey),
}

/// Where a verdict stands among others: by its time, and of one moment by when it was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VerdictPlace {
    /// When it was concluded.
    pub finished: Timestamp,
    /// Counts up as verdicts are stored.
    pub seq: i64,
}

/// A signed verdict as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptVerdict {
    /// Where it stands.
    pub place: VerdictPlace,
    /// The signed bytes.
    pub bytes: Vec<u8>,
}

/// A part of a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptPart {
    /// Bytes of the whole transcript.
    pub size: u64,
    /// The part's; none past the end.
    pub bytes: Vec<u8>,
}

/// What is known of a node beside others that show what it shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// By whom it is on hold.
    pub by: BTreeSet<NodeKey>,
    /// Whom it was shown to be another machine than.
    pub apart: BTreeSet<NodeKey>,
}

/// What became of a [`CheckEntry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is kept.
    Stored,
    /// Nothing was kept: another node owns one of its GPUs (RULES R10).
    GpuTaken {
        /// The owner.
        owner: NodeKey,
    },
    /// Nothing was kept: the node's last verdict is another than the one that this one follows, or its pinned host keys
    /// are no longer those that it was checked with.
    NotNext,
}

/// A window of weights to be opened (RULES R28).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWindow {
    /// On which subnet.
    pub netuid: NetUid,
    /// For which of its mechanisms.
    pub mechanism: MechanismId,
    /// Whoever opens it must still hold this token.
    pub fencing: FencingToken,
    /// When.
    pub created: Timestamp,
    /// The vector as submitted, or as committed.
    pub weights: Vec<(Uid, Weight)>,
    /// What the chain should store for it.
    pub expected: Vec<(Uid, Weight)>,
    /// Sent with the vector.
    pub version_key: u64,
    /// How it reaches the chain.
    pub form: WindowForm,
    /// The first call's signed bytes: the setting or the commit.
    pub prepared: PreparedWeights,
}

/// A window of weights as remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightWindow {
    /// Counts up.
    pub id: i64,
    /// As opened.
    pub opened: NewWindow,
    /// How far it has come.
    pub state: WindowState,
    /// The reveal's signed bytes, while it is [`WindowState::Revealing`] and after.
    pub reveal: Option<PreparedWeights>,
    /// What the chain stored, once read back.
    pub read_back: Option<Vec<(Uid, Weight)>>,
}

impl WeightWindow {
    /// Whether nobody is to be told its weights yet: committing hides them from those who would copy them.
    pub const fn hides_weights(&self) -> bool {
        !matches!(self.opened.form, WindowForm::Open) && !matches!(self.state, WindowState::Ended(_))
    }
}

/// Whether a window could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is stored; its bytes may be submitted.
    Window(i64),
    /// Another window is under way, or this one is not where the step begins.
    Busy(i64),
    /// The fencing token is no longer the current one: somebody else leads.
    Fenced {
        /// The current token.
        current: FencingToken,
    },
}

/// What a pruning removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Entries of history with their verdicts.
    pub history: u64,
    /// Transcripts.
    pub transcripts: u64,
    /// Windows of weights.
    pub windows: u64,
    /// Fingerprints of GPUs that were not proved for as long.
    pub fingerprints: u64,
}

/// Miners and their nodes.
#[async_trait]
pub trait FleetStore: Send + Sync + 'static {
    /// Takes over what the metagraph shows; miners that it no longer shows keep their rows without a uid.
    async fn observe_miners(&self, miners: &[SeenMiner], at: Timestamp) -> Result<(), StoreError>;

    /// All miners, by hotkey.
    async fn miners(&self) -> Result<Vec<MinerRecord>, StoreError>;

    /// Takes over a verified discovery response: addresses, pins, availability. A node that it does not name any more is
    /// no longer available.
    async fn record_discovery(
        &self,
        miner: Hotkey,
        nodes: &[NodeReport],
        at: Timestamp,
    ) -> Result<Vec<NodeChange>, StoreError>;

    /// Keeps why a miner could not be discovered. Its nodes stay as they were (RULES R6).
    async fn record_discovery_failure(&self, miner: Hotkey, why: &str) -> Result<(), StoreError>;

    /// All nodes, by key.
    async fn nodes(&self) -> Result<Vec<NodeRecord>, StoreError>;

    /// One node.
    async fn node(&self, key: NodeKey) -> Result<Option<NodeRecord>, StoreError>;

    /// Available nodes of known miners whose check of this kind is due, whether the other is or not: a backlog of one kind hides
    /// nothing of the other. Of each miner the most overdue first, miners by turns, so that a miner with a thousand nodes
    /// cannot starve one with two.
    async fn due_nodes(
        &self,
        kind: CheckKind,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<NodeRecord>, StoreError>;

    /// Which nodes of a miner are remembered, listed or not.
    async fn nodes_of(&self, miner: Hotkey) -> Result<Vec<NodeId>, StoreError>;

    /// Forgets nodes that their miners no longer name, with everything kept about them but verdicts, which go by their own
    /// age: those that were never judged, and those that have no ban running at `now` and no history since
    /// `before`. At most `limit` in one call; returns how many.
    async fn prune_nodes(&self, before: Timestamp, now: Timestamp, limit: u32) -> Result<u64, StoreError>;

    /// What every node's history comes to by now, by key.
    async fn conducts(&self) -> Result<Vec<NodeConduct>, StoreError>;

    /// Folds what is kept of history anew, in the order in which it was stored, for the nodes without a record: after a change of
    /// the fold or of the policy. Reads beside those who write, and writes a few hundred nodes at a time. Returns how many.
    async fn refold(&self) -> Result<u64, StoreError>;

    /// The scores of all available nodes.
    async fn scores(&self) -> Result<Scores, StoreError>;

    /// Keeps the scores.
    async fn record_standings(&self, standings: &[(NodeKey, StoredStanding)]) -> Result<(), StoreError>;
}

/// Checks, verdicts and what they rest on.
#[async_trait]
pub trait VerdictStore: Send + Sync + 'static {
    /// Keeps a failed try that decides nothing yet, and when the next one is due. Of a node that is no longer available
    /// nothing is kept: its series ended with that.
    async fn record_try(
        &self,
        key: NodeKey,
        kind: CheckKind,
        series: Series,
        retry_at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Keeps how punctual a node's proofs are, those that decided nothing included (RULES R4).
    async fn record_deadlines(&self, key: NodeKey, deadlines: DeadlineRecord) -> Result<(), StoreError>;

    /// Keeps the transcript of a try that decided nothing, as long as those of verdicts.
    async fn record_transcript(
        &self,
        key: NodeKey,
        at: Timestamp,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<(), StoreError>;

    /// Keeps a concluded check: verdict, history, transcript, proven GPUs and the next due times, or nothing.
    ///
    /// A GPU counts for one node at most, unless two were shown apart: whoever takes over one that its owner gave up takes it from the owner's proven
    /// ones, and a reason that [`voids`](basilica_verification::Reason::voids_proof) what was proved before empties the
    /// node's own. A light check never moves the full one further away: discovery may have asked for it meanwhile.
    async fn record_check(&self, entry: &CheckEntry) -> Result<Recorded, StoreError>;

    /// What this node showed of these GPUs when it first proved each; those that it never did are left out.
    async fn fingerprints(&self, key: NodeKey, uuids: &[GpuUuid]) -> Result<Vec<Fingerprint>, StoreError>;

    /// Which nodes proved GPUs with these identities, each since when, of those that did so not before `seen_since`: the first 64
    /// of each identity, one entry for each. Of a GPU its owner alone, since its last proof.
    async fn claimants(
        &self,
        identities: &BTreeSet<Identity>,
        seen_since: Timestamp,
    ) -> Result<Vec<Claimant>, StoreError>;

    /// By whom a node is on hold, and whom it was shown apart from.
    async fn holds(&self, key: NodeKey) -> Result<Holds, StoreError>;

    /// What happened to a node since then, oldest first.
    async fn history(&self, key: NodeKey, since: Timestamp) -> Result<Vec<HistoryEntry>, StoreError>;

    /// The bytes of a signed verdict by its digest, while it is kept.
    async fn verdict(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// A page of verdicts, newest first, after a place in that order; at most `limit`.
    async fn verdict_page(
        &self,
        of: VerdictsOf,
        after: Option<VerdictPlace>,
        limit: u32,
    ) -> Result<Vec<KeptVerdict>, StoreError>;

    /// A part of a transcript by its hash, while it is kept: at most `bytes` bytes after the first `skip`. A whole one may have many
    /// megabytes.
    async fn transcript(
        &self,
        digest: Digest,
        skip: u64,
        bytes: u32,
    ) -> Result<Option<TranscriptPart>, StoreError>;

    /// Keeps that a node cut an opening off, and forgets those before `since`. Returns the ones kept, oldest first; no
    /// passed check removes any (RULES R4).
    async fn record_aborted_opening(
        &self,
        key: NodeKey,
        at: Timestamp,
        since: Timestamp,
    ) -> Result<Vec<Timestamp>, StoreError>;

    /// Whether a full check of any node other than `node` passed with this prover, and none with another one since.
    async fn prover_passed_elsewhere(&self, prover: Digest, node: NodeKey) -> Result<bool, StoreError>;

    /// When any node passed a check last, other than the nodes of `miner`.
    async fn last_pass_elsewhere(&self, miner: Hotkey) -> Result<Option<Timestamp>, StoreError>;

    /// Removes what is older than `before` and all but the newest `transcripts` transcripts of each node; at most `limit`
    /// rows of each kind in one call.
    async fn prune(&self, before: Timestamp, transcripts: u32, limit: u32) -> Result<Pruned, StoreError>;
}

/// Weights.
#[async_trait]
pub trait WeightStore: Send + Sync + 'static {
    /// The token that this process leads with; 0 without high availability. Never somebody else's: what is marked with it
    /// is to be refused once another one leads.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if it does not lead.
    async fn fencing_token(&self) -> Result<FencingToken, StoreError>;

    /// Stores a window before anything of it is submitted, with who gets what of it and why, if its token is current and no
    /// other window is under way.
    async fn open_window(&self, window: &NewWindow, parts: &[weights::Part]) -> Result<Opened, StoreError>;

    /// Keeps that a window's commit is final: from prepared to committed.
    async fn record_commit(&self, id: i64, block: BlockNumber) -> Result<(), StoreError>;

    /// Stores a reveal before it is submitted, if the token is current: from committed to revealing.
    async fn open_reveal(
        &self,
        id: i64,
        fencing: FencingToken,
        reveal: &PreparedWeights,
    ) -> Result<Opened, StoreError>;

    /// Forgets a reveal that no block can take any more: from revealing to committed.
    async fn drop_reveal(&self, id: i64) -> Result<(), StoreError>;

    /// Keeps how a window ended. Of one that has ended nothing changes.
    async fn end_window(&self, id: i64, end: &WindowEnd) -> Result<(), StoreError>;

    /// Keeps what the chain stored.
    async fn record_read_back(&self, id: i64, weights: &[(Uid, Weight)]) -> Result<(), StoreError>;

    /// Who got what of a window's weights, and why. Of weights that are still hidden this would give them away. By place, from the `skip`th on, while it is kept.
    async fn emission(&self, id: i64, skip: u32, limit: u32) -> Result<Vec<weights::Part>, StoreError>;

    /// The latest windows, newest first.
    async fn windows(&self, limit: u32) -> Result<Vec<WeightWindow>, StoreError>;

    /// The block of the last weights that were set in the open or committed and revealed.
    async fn last_set(&self) -> Result<Option<BlockNumber>, StoreError>;
}

/// All that the validator remembers.
pub trait ValidatorStore: FleetStore + VerdictStore + VerdictLogStore + WeightStore {}

impl<T: FleetStore + VerdictStore + VerdictLogStore + WeightStore> ValidatorStore for T {}
