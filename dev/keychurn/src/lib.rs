//! Keys of validators come and go on real nodes by the thousand while much goes wrong, and what is left of them.
//!
//! The miner and the chain are the programs that ship (the chain: the development chain), the nodes are real OpenSSH servers. The validators
//! are of this process and speak the miner protocol over gRPC. Everything that happens is drawn from one seed, each actor with a sequence
//! of its own; when it happens is the machine's affair.
//!
//! * **Validators** open sessions, give them keys and replace these, log in and leave processes behind.
//! * **Fate** kills the miner (SIGKILL) or ends it (SIGTERM, by turns with `--revoke-on-exit`), starts it again with the same or another
//!   configuration (open access, highest stake, few sessions), changes stakes so that another validator gets the nodes, revokes sessions,
//!   takes nodes out and back, and hangs nodes.
//! * **A foreign hand** on each node edits `authorized_keys` as people and their tools do: appends in place; saves by renaming; writes between, before and behind
//!   our lines; deletes, shortens and doubles them, breaks the markers; saves what it had read a while before.
//! * **A reader** looks at every file all the time, and judges every content that it finds (`page`).
//!
//! **What counts as a life-cycle**: one key of one session that the reader saw on at least one node, and that was gone from
//! all of them in the end. Keys that were asked for and reached no node (a hung node, a killed miner, a validator that has no node) do not count.
//!
//! **What counts as a foreign line that was changed.** The hand's last content is known, and between two of its edits every content that
//! anybody sees must hold exactly its lines, in order. One thing cannot be had: the miner compares the file with what it has read and then renames its own over it,
//! and an edit that falls between these two system calls of different programs is overwritten; so it is with any two editors. Such an edit is told apart by its
//! result, the content before it, whole; the miner's other lines are not touched. It is counted (`edits_overwritten`), the hand goes on from what is there, and
//! nothing else is excused. A hand on a hung node rests, as everything on a hung machine does.
#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

mod dice;
mod fate;
mod hand;
mod ledger;
mod miner;
mod page;
mod plan;
mod reader;
mod report;
mod run;
mod validator;
mod world;

pub use plan::Plan;
pub use report::Report;
pub use run::run;
