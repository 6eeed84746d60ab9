//! The embedded store: SQLite behind the store traits of `basilica-ports`.
//!
//! One file per program. [`Database`] opens it, refuses what it must not touch and brings it to the newest schema;
//! each aggregate has its own module with its own SQL, and no SQL stands anywhere else in the workspace. Times are
//! integer milliseconds, identities their canonical text, so that `sqlite3` on the command line shows what is meant.

mod database;
mod miner;
mod validator;

pub use database::{Database, OpenError, OpenOptions, Schema};
pub use miner::{MINER_SCHEMA, MinerDatabase};
pub use validator::{VALIDATOR_SCHEMA, ValidatorDatabase};
