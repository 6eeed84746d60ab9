//! The miner's memory.

use crate::{Database, Schema};

/// The miner's file.
pub const MINER_SCHEMA: Schema = Schema {
    program: "basilica-miner",
    application_id: 0x6261_736d,
    migrations: &[include_str!("../migrations/miner/0001_start.sql")],
};

/// The miner's store on SQLite.
#[derive(Clone, Debug)]
pub struct MinerDatabase(Database);

impl MinerDatabase {
    /// The store in an open database of [`MINER_SCHEMA`].
    pub const fn new(database: Database) -> Self {
        Self(database)
    }
}
