//! Turns to write whose commits are not flushed.
//!
//! They take the writing connection as everybody does, and leave it idle: what they commit on one of their own outlives the process at once,
//! and a power cut with the next flush, which any other commit brings with it (the log is one file). **Rejected**: `PRAGMA synchronous` back
//! and forth on the writing connection, which SQLite obeys while it prepares a statement and not when a prepared one runs.

use std::fs::File;

use basilica_ports::{BoxError, StoreError};
use sqlx::Sqlite;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqliteConnection;

use super::{Database, unavailable};
use crate::new_file::beside;
use crate::sql::aside;

/// A turn to write. Whatever its transaction wrote is undone, together with the connection, unless the turn is said to be over.
#[derive(Debug)]
pub(crate) struct Turn {
    connection: PoolConnection<Sqlite>,
    is_over: bool,
    _alone: PoolConnection<Sqlite>,
}

impl Database {
    /// Waits for a turn. Its statements begin and end the transaction.
    pub(crate) async fn turn(&self, operation: &'static str) -> Result<Turn, StoreError> {
        let failed = unavailable(operation);
        let alone = self.writer.acquire().await.map_err(&failed)?;
        let connection = self.unflushed.acquire().await.map_err(&failed)?;
        Ok(Turn { connection, is_over: false, _alone: alone })
    }

    /// Returns when all that was committed before survives a power cut.
    ///
    /// # Errors
    /// The log cannot be flushed: what was committed is seen by everybody and may still be lost.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        let failed =
            |source: BoxError| StoreError::Unavailable { operation: "flush the write-ahead log", source };
        let options = self.writer.connect_options();
        let flushing = aside(move || {
            // SQLite follows links before it names the log. Of all its files this is the one that it puts no locks on, which closing
            // another handle would drop.
            let file = options.get_filename().canonicalize()?;
            File::open(beside(&file, "-wal"))?.sync_data()
        });
        flushing.await.map_err(|error: std::io::Error| failed(error.into()))
    }
}

impl Turn {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// The transaction is committed, or was never begun.
    pub(crate) fn over(mut self) {
        self.is_over = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_over {
            self.connection.close_on_drop();
        }
    }
}
