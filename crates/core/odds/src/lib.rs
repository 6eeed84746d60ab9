//! What a policy does to honest and to cheating nodes: false bans, ramps, detection, with confidence.
//!
//! A node lives through simulated time ([`life`]) in an environment that fails it now and then ([`weather`]). Whatever is
//! decided on the way is decided by the product's own code: whether a failed try is repeated and whose fault a run of them is
//! (`basilica_verification::series`, `timing`), when the next check is due (`schedule`), what it all comes to
//! (`basilica_scoring::history`). Only what happens to the node is drawn by chance. Runs of passes are skipped over, which a
//! property test holds equal to living through each, so that millions of months take minutes on one core.
//!
//! [`scenarios`] says what is asked, [`simulate`] answers with counts and their 95 % intervals after Clopper and Pearson, and
//! [`bound`] says without chance what independent failures can do at most.
//!
//! **Invariant:** chance comes from a seed; the same seed gives the same report on every machine.

pub mod bound;
pub mod chance;
pub mod life;
mod report;
pub mod scenarios;
pub mod stats;
pub mod weather;

pub use report::{Limit, Measure, Report, simulate};
