//! What a running miner tells people of itself: one snapshot, and the alerts that follow from it.
//!
//! Promises: whoever looks (the health port's page and its JSON, `basilica-miner top`, `basilica-miner status`) looks at the same
//! [`MinerStatus`], so that no two views can disagree; alerts are a pure function of the snapshot ([`alerts()`]), so that each can
//! be tested with a value; every alert names its cause and the next command. The form of the JSON is numbered ([`FORM`]): a
//! reader of another number says so instead of guessing.
//!
//! In JSON, moments are milliseconds since 1970 UTC, spans are milliseconds, shares are millionths and basis points as their names
//! say. Words of strangers (a GPU's name, a validator's explanation) are in it as [`Words`]: bounded, one line, without control characters
//! or characters that reorder a line, so that neither a terminal nor a page can be led astray by one. Who prints them as HTML still escapes them.
//!
//! Rejected: views that ask the database themselves (they would stand still with it, just when they are needed), and a stream
//! of changes (a snapshot of 200 nodes is smaller than the bookkeeping).

mod alerts;
mod judged;
mod model;
mod node;
mod room;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod words;

pub use alerts::{Alert, AlertCode, Severity, Subject, alerts};
pub use judged::{Judgement, LastVerdict, Share, ValidatorStatus};
pub use model::{
    Activity, Assigned, Assignment, Axon, Chain, Condition, FORM, MinerPart, MinerStatus, Registration,
    SessionStatus,
};
pub use node::{Allowance, Containers, GpuReading, Gpus, HostKeys, NodeState, NodeStatus};
pub use room::LittleRoom;
pub use words::{Words, counted, dollars, is_shown, percent, span};
