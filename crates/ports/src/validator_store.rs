//! What the validator remembers, by aggregate: the fleet it watches, the verdicts it reached, the weights it set.
//!
//! The methods are the reconcilers' use cases. Each that writes is one transaction, so a crash leaves either all
//! of it or nothing; what a reconciler needs to go on after a restart is in its rows and nowhere else.

use std::collections::BTreeSet;

use async_trait::async_trait;
use basilica_scoring::weights;
pub use basilica_types::NodeKey;
use basilica_types::{BlockNumber, Digest, FencingToken, GpuUuid, Hotkey, NodeId, Timestamp, Uid, Weight};
use basilica_verification::fingerprint::Fingerprint;
use basilica_verification::fleet::{Claimant, Identity};
use basilica_verification::timing::DeadlineRecord;
use basilica_verification::{CheckKind, Series};
use basilica_wire::discovery::NodeReport;

use crate::{
    CheckEntry, HistoryEntry, Holds, KeptVerdict, MinerRecord, NewWindow, NodeChange, NodeConduct,
    NodeRecord, Opened, PreparedWeights, Pruned, Recorded, Scores, SeenMiner, StoreError, StoredStanding,
    TranscriptPart, VerdictLogStore, VerdictPlace, VerdictsOf, WeightWindow, WindowEnd,
};

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
