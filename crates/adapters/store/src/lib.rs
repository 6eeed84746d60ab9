//! The store: SQLite and Postgres behind the store traits of `basilica-ports`.
//!
//! One file per program. [`Database`] opens it, refuses what it must not touch and brings it to the newest schema;
//! each aggregate has its own module with its own SQL, and no SQL stands anywhere else in the workspace. Times are
//! integer milliseconds, identities their canonical text, so that `sqlite3` on the command line shows what is meant.
//! The validator's tables may stand on a Postgres instead, which several validators share (decision D11): every
//! statement of its store is written once for both engines (`sql`), and only opening, leading and backing up know which one it is.

mod batch;
mod cluster;
mod database;
mod measure;
mod miner;
mod new_file;
mod postgres;
mod sql;
mod validator;

pub use database::{CopyError, Database, FileHealth, OpenError, OpenOptions, Schema};
pub use miner::{LockHolder, MINER_SCHEMA, MinerDatabase, MinerLock, RESTORE_WAIT, restore_miner};
pub use new_file::NewFile;
pub use validator::{
    BackupError, BackupSummary, DatabaseHealth, DatabaseStats, TOKENS_SKIPPED, VALIDATOR_SCHEMA,
    ValidatorDatabase,
};
