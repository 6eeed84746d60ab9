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
//! * **A foreign hand** on each node edits `authorized_keys` as people and their tools do: appends in place; saves by renaming, or in place (cuts the file off and writes it
//!   anew); writes between, before and behind our lines; deletes, shortens and doubles them, breaks the markers; saves what it had read a while before.
//! * **A reader** looks at every file all the time, and judges every content that it finds (`page`). Disorder is excused only in a content that is byte for byte what a
//!   hand left in the file that it left it in.
//!
//! Each kind of blow falls once, in an order that is drawn, before any falls again; a run goes on until all have.
//!
//! **What counts as a life-cycle**: one key of one session that the reader saw on at least one node, and that was gone from
//! all of them in the end. Keys that were asked for and reached no node (a hung node, a killed miner, a validator that has no node) do not count.
//!
//! **What counts as a foreign line that was changed.** The hand's last content is known, and between two of its edits every content that
//! anybody sees must hold exactly its lines, in order. One thing cannot be had: the miner compares the file with what it has read and then renames its own over it,
//! and an edit that falls between these two system calls is overwritten; so it is with any two editors. Such an edit is told apart by its
//! result, the content before it, whole; the miner's other lines are not touched. It is counted (`edits_overwritten`), the hand goes on from what is there, and
//! nothing else is excused, but for a moment one thing: what was appended in that window the miner brings along right after its rename. A hand on a hung node rests, as everything on a hung machine does.
//!
//! **What is promised to who writes in place** is the same: the edit stays whole, or, made between comparison and rename, is gone whole. That nobody reads half of it cannot be
//! promised: between cutting off and writing, the file is empty for whoever looks, sshd too. The miner may read that, and must not act on it.
//!
//! **How late a key goes** that has to (`lateness`) is measured for each, and bounded by what follows from the miner's own intervals. Between blows there are
//! calms that last until all have gone, or until they are too late.
#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

mod dice;
mod fate;
mod hand;
mod lateness;
mod ledger;
mod miner;
mod page;
mod plan;
mod reader;
mod report;
mod run;
mod validator;
mod world;

pub use lateness::{Lateness, Why};
pub use plan::Plan;
pub use report::Report;
pub use run::run;
