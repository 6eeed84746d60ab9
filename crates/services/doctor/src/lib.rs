//! The doctor: finds what is wrong with a miner's nodes before a validator does, and says what to do about it.
//!
//! It logs in as the miner does, has each node tell of itself (one constant script), runs the validators' own check over the same
//! login ([`basilica_probing_service`]), and judges what it saw: [`judge()`] is pure, so that the same observations always give the same
//! findings, and every cause has a code that stays ([`Code`], docs/doctor.md). Of causes and their consequences it shows the causes.
//!
//! What it changes on a node it changes when asked to, by the constant scripts of `fix`, each of which says what was before and
//! what is now; whatever else it writes it removes again, except the prover, which a validator would put there too.
//!
//! Where the miner's own login fails, a node tells nothing, and sshd tells its clients no reason on purpose. Another login that the
//! operator names is then used to look at the account from inside. Rejected: guessing from the denial.

mod check;
pub mod examine;
pub mod finding;
mod fix;
mod here;
mod judge;
mod login;
mod node;
mod shell;
mod sshd;
mod words;

pub use finding::{Code, Finding, Remedy, Severity, Stage, root_causes};
pub use fix::Change;
pub use here::{DatabaseFault, HereSeen, KeyFault, OnChain, Presence, Reached, judge_here};
pub use judge::{Checked, Inside, NodeSeen, docker_denies, judge};
pub use login::NoLogin;
pub use node::{Doctor, Fixed, OtherLogin, Patience, Proving};
pub use shell::Commands;
