//! What the rows of a validator's store say; [`crate::FleetStore`] and its like say what is done with them.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use basilica_scoring::history;
use basilica_scoring::history::{Entry, GpuRecord, Record};
use basilica_types::{
    BasisPoints, Digest, FencingToken, HostKey, Hotkey, MechanismId, NetUid, NodeAddress, NodeId, NodeKey,
    Ppm, Timestamp, Uid, UsdMicros, Weight,
};
use basilica_verification::fingerprint::Fingerprint;
use basilica_verification::fleet::Identity;
use basilica_verification::timing::DeadlineRecord;
use basilica_verification::{CheckKind, Due, Outcome, ProvenGpu, Series};
use basilica_wire::discovery::NodeStatus;

use crate::{PreparedWeights, WindowForm, WindowState};

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
    /// What its history comes to; none if that must be folded anew ([`crate::FleetStore::refold`]).
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
