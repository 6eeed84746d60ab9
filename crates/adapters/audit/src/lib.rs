//! The audit log of SSH: every login, every command and every question to a port of a node, in a file.
//!
//! What is promised: each line is one operation as JSON and holds the hash of the line before it, across files and restarts, so that
//! a line that is changed, left out or put in between shows ([`verify`]); whoever wrote down a later line's hash elsewhere also notices
//! a log that was written anew from some line on. Files are private, bounded in size and number. Nothing that a node sent is in it
//! but counts of bytes and the words of errors, cut short; commands are what we sent, and we send no secrets.
//!
//! One program writes a log. It puts full files aside itself; a file that somebody moves away or cuts off is followed all the same.
//!
//! A line that cannot be written is told, counted in the next one that can, and lost: checks go on, because a full disk must not make nodes look dead. Rejected: a
//! database table (a million rows a day that nobody queries), and syslog (it drops what comes too fast, and chains nothing).

mod chain;
mod file;
mod inspection;
mod lock;
mod log;
mod place;
mod shell;

pub use chain::{Broken, Summary, verify};
pub use file::{AuditRules, OpenError};
pub use inspection::{InspectError, Inspection};
pub use lock::holder;
pub use log::AuditLog;
pub use place::{PlaceError, check_place};
pub use shell::AuditedShell;
