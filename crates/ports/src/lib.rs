//! What the services need from the world, as traits.
//!
//! A port speaks the domain's language and classifies its failures, so that retry and blame need no knowledge of the
//! technology behind it. Ports are called a few times a second and are therefore `dyn`; hot code is in `core` and
//! generic. Nothing here does anything: no I/O, no defaults, no buffering.

mod chain;
mod clock;
mod disks;
mod dispatch;
mod entropy;
mod failure;
mod leadership;
mod miner_api;
mod miner_operations;
mod miner_sessions;
mod miner_store;
mod queries;
mod registry;
mod shell;
mod signer;
mod store;
mod subnet;
mod validator_api;
mod validator_rows;
mod validator_store;
mod verdict_log;

pub use basilica_schedule::{
    Beacon, BeaconClock, CommitReveal, Consensus, EpochClock, Expiry, Lost, OpenCommit, OpenCommitForm,
    OwnNeuron, Salt, WeightRules, WeightsCall, WeightsOrder, WindowEnd, WindowForm, WindowState,
};
pub use chain::{
    Aged, Axon, AxonOutcome, Chain, ChainError, ChainIdentity, Effect, Metagraph, Neuron, PreparedWeights,
    WeightsOutcome,
};
pub use clock::Clock;
pub use disks::{Disks, FileSystem, Room};
pub use dispatch::{DispatchAdvice, dispatch_advice};
pub use entropy::{Entropy, EntropyRng};
pub use failure::{BoxError, FailureClass};
pub use leadership::{Campaign, Leader, Leadership};
pub use miner_api::{MinerApi, MinerCallError, MinerDialer, RefusalCode};
pub use miner_operations::{
    Drained, KnownNode, MaintenanceWindow, MinerOperations, NodeHold, OpenWindows, OrderedBy, Orders,
    Revision,
};
pub use miner_sessions::{MinerSessions, SessionChoice, SessionEnd, SessionView};
pub use miner_store::{
    Assignment, DiscoveryProof, DiscoveryUse, HostKeyApproval, HostKeyRecord, Inadmissible, MinerStore,
    NewSession, NonceUse, SessionRate, SessionRecord,
};
pub use queries::{
    CategoryView, CheckUnderWay, EpochView, EpochsView, HealthReport, LeadershipView, Listed, MinerFilter,
    MinerName, MinerState, MinerView, NodeFilter, NodeView, ValidatorQueries, WeightsOutlook,
};
pub use registry::{ImageRegistry, RegistryError};
pub use shell::{
    AddressPolicy, Ask, Dial, ExitStatus, HostKeyPolicy, Identity, NodeShell, Output, OutputLimits, Process,
    Shell, ShellError,
};
pub use signer::HotkeySigner;
pub use store::StoreError;
pub use subnet::{
    Collateral, Commitment, CommittedField, Hyperparameter, Hyperparameters, RegistrationTerms, SubnetReads,
};
pub use validator_api::{JudgedNode, JudgedNodes, ValidatorApi, ValidatorApiError, ValidatorPlace};
pub use validator_rows::{
    Absence, CheckEntry, HistoryEntry, Holds, KeptVerdict, MinerRecord, NewWindow, NodeChange, NodeConduct,
    NodeRecord, NodeScore, Opened, PaidGpu, Pruned, Recorded, Scores, SeenMiner, StoredStanding,
    TranscriptPart, VerdictPlace, VerdictSummary, VerdictsOf, WeightWindow,
};
pub use validator_store::{FleetStore, NodeKey, ValidatorStore, VerdictStore, WeightStore};
pub use verdict_log::{LogEnd, LogEntry, Logged, Place, VerdictLogStore};
