//! The validator's memory.

mod columns;
mod fingerprints;
mod fleet;
mod holds;
mod identities;
mod verdicts;
mod weights;
mod window_row;

use crate::{Database, Schema};

/// The validator's file.
pub const VALIDATOR_SCHEMA: Schema = Schema {
    program: "basilica-validator",
    application_id: 0x6261_7376,
    migrations: &[
        include_str!("../migrations/validator/0001_start.sql"),
        include_str!("../migrations/validator/0002_commit_reveal.sql"),
        include_str!("../migrations/validator/0003_fingerprints.sql"),
        include_str!("../migrations/validator/0004_deadlines.sql"),
        include_str!("../migrations/validator/0005_machines.sql"),
        include_str!("../migrations/validator/0006_identities.sql"),
        include_str!("../migrations/validator/0007_breaks.sql"),
        include_str!("../migrations/validator/0008_holds.sql"),
    ],
};

/// The validator's store on SQLite.
#[derive(Clone, Debug)]
pub struct ValidatorDatabase(Database);

impl ValidatorDatabase {
    /// The store in an open database of [`VALIDATOR_SCHEMA`].
    pub const fn new(database: Database) -> Self {
        Self(database)
    }
}

#[cfg(test)]
mod tests;
