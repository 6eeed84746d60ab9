//! Which process is the miner of a database.

use basilica_types::DatabasePath;

use super::MINER_SCHEMA;
use crate::OpenError;
use crate::database::FileLock;

/// The right to be the one miner that runs on a database: two would undo each other's keys. Ends with this value or its process.
///
/// Commands do not need it; they look whether it is taken, to say if a miner runs.
#[derive(Debug)]
pub struct MinerLock {
    _lock: FileLock,
}

impl MinerLock {
    /// Takes the right, if it is free at this moment.
    ///
    /// # Errors
    /// [`OpenError::InUse`] where another process has it, others where the file beside the database cannot be made.
    pub fn take(database: &DatabasePath) -> Result<Self, OpenError> {
        Ok(Self { _lock: FileLock::take(database, &MINER_SCHEMA)? })
    }
}
