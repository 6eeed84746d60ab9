//! From probes to evidence to an explained verdict, decided without I/O.
//!
//! What this crate promises: given the same events and times, any machine reaches the same conclusion about a node, with
//! a reason from a documented list ([`Reason`]) and with the blame where the evidence puts it ([`Fault`], RULES R4). One
//! try of a check is the state machine [`Check`]: the service performs its effects and feeds back what happened. Whether a
//! failed try is worth another one, and whose fault a run of failed tries is, decides [`series`]. When a node is checked
//! next decides [`schedule`], when all idle nodes are checked at once [`fleet`], and who may log in where without cost to others [`knocking`]. What a challenge asks follows from
//! [`classes`] ([`asked`]), how long a card may take from [`calibration`], what it is paid as from [`CardTable`], and what missed deadlines amount to decides [`timing`]. Whether the machine's clock can be right at all says [`wall_clock`]. What was
//! concluded becomes a [`Verdict`]: canonical bytes that the validator signs and that anyone can read back, and [`audit()`] compares with the
//! transcript that it rests on.
//!
//! Rejected: errors of the SSH client deciding blame where they occur. A timeout says that something was slow, not
//! who; the original banned honest nodes for its own bad network that way.

pub mod aborted;
pub mod asked;
mod audit;
pub mod calibration;
mod cards;
mod cause;
mod check;
pub mod classes;
mod control;
mod count;
pub mod engines;
pub mod fingerprint;
pub mod fleet;
mod gpus;
pub mod knocking;
pub mod measured;
mod policy;
pub mod probe;
pub mod reason;
pub mod registry;
pub mod rigs;
pub mod schedule;
pub mod series;
pub mod timing;
mod verdict;
pub mod verdict_log;
pub mod wall_clock;

pub use audit::{Discrepancy, Replay, audit};
pub use cards::{CARDS_MAX, CardError, CardRow, CardTable};
pub use cause::{Break, ProofEnd};
pub use check::{Check, CheckKind, Conclusion, Effect, Event, Finding, Plan, Rejected};
pub use control::{Control, HeadSeen, Surroundings, Witness};
pub use count::{CountUnproven, counted};
pub use gpus::{ClaimedGpu, GpuRules, Judged, ProvenGpu, UnacceptableGpu};
pub use measured::{Measured, MemoryRead, Transfer, TransferEnd};
pub use policy::Policy;
pub use probe::{Demand, ProbeRules, Probes};
pub use reason::{Blame, Fault, Reason};
pub use registry::ImageOffer;
pub use schedule::{Due, Intervals};
pub use series::{RetryRules, Series};
pub use verdict::{Evidence, Outcome, SignedVerdict, Verdict, host_key_digest};
pub use wall_clock::WrongClock;
