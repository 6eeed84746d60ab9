//! Whose turn it is to write, and the connection whose commits are not flushed.
//!
//! One at a time writes, on either of two connections: what is committed on the one is flushed, what is committed on the other outlives the
//! process at once, and a power cut with the next flush, which any other commit brings with it (the log is one file). **Rejected**: `PRAGMA
//! synchronous` back and forth on one connection, which SQLite obeys while it prepares a statement and not when a prepared one runs; and taking
//! both from pools, for those whose turns follow each other a thousand times a second: a pool asks each connection that comes back whether
//! it is alive, in a task of its own and on SQLite's thread, and hands it on only then.

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use basilica_ports::{BoxError, StoreError};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Sqlite, Transaction};
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use super::{ACQUIRE_TIMEOUT, Database, unavailable};
use crate::new_file::beside;
use crate::sql::aside;

/// The connection whose commits are not flushed, opened when it is first needed.
#[derive(Debug)]
pub(super) struct Unflushed {
    /// None once it is closed for good.
    options: Option<SqliteConnectOptions>,
    connection: Option<SqliteConnection>,
    /// Whether the writer may still be ending a transaction that nobody waits for.
    is_writer_busy: bool,
}

impl Unflushed {
    /// One that else is as the writer.
    pub(super) fn new(writing: &SqliteConnectOptions) -> Self {
        let options = Some(writing.clone().synchronous(SqliteSynchronous::Normal));
        Self { options, connection: None, is_writer_busy: false }
    }

    /// Errors are of no use to who closes: all that was committed is in the file's log.
    pub(super) async fn close(&mut self) {
        self.options = None;
        if let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
    }
}

/// A transaction whose commit is flushed. Rolled back unless committed.
#[derive(Debug)]
pub(crate) struct Writing {
    transaction: Transaction<'static, Sqlite>,
    /// Goes after the transaction.
    turn: OwnedMutexGuard<Unflushed>,
}

/// A turn to write what is not flushed. Whatever its transaction wrote is undone, together with the connection, unless the turn is said to be
/// over.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Out of its place as long as it might have to be closed.
    connection: SqliteConnection,
    unflushed: OwnedMutexGuard<Unflushed>,
}

impl Database {
    /// Begins a transaction; waits for its turn. Rolled back unless committed.
    pub(crate) async fn begin(&self, operation: &'static str) -> Result<Writing, StoreError> {
        let mut turn = self.pen(operation).await?;
        turn.is_writer_busy = true;
        let failed = unavailable(operation);
        let transaction = match self.writer.begin_with("BEGIN IMMEDIATE").await {
            // On a full disk SQLite rolls back by itself, and the driver counts on a transaction that is not there any more: a connection that
            // would never begin another one.
            Err(sqlx::Error::InvalidSavePointStatement) => {
                self.writer.acquire().await.map_err(&failed)?.close().await.map_err(&failed)?;
                self.writer.begin_with("BEGIN IMMEDIATE").await
            }
            begun => begun,
        };
        Ok(Writing { transaction: transaction.map_err(failed)?, turn })
    }

    /// Waits for a turn. Its statements begin and end the transaction.
    pub(crate) async fn turn(&self, operation: &'static str) -> Result<Turn, StoreError> {
        let mut unflushed = self.pen(operation).await?;
        let failed = unavailable(operation);
        if unflushed.is_writer_busy {
            // It comes back when it has ended what was left, a long flush too, for which a statement would not wait.
            drop(self.writer.acquire().await.map_err(&failed)?);
            unflushed.is_writer_busy = false;
        }
        let connection = match (unflushed.connection.take(), &unflushed.options) {
            (Some(connection), _) => connection,
            (None, Some(options)) => options.connect().await.map_err(failed)?,
            (None, None) => return Err(failed(sqlx::Error::PoolClosed)),
        };
        Ok(Turn { connection, unflushed })
    }

    /// Whether anybody has a turn.
    pub(crate) fn is_being_written(&self) -> bool {
        self.pen.try_lock().is_err()
    }

    async fn pen(&self, operation: &'static str) -> Result<OwnedMutexGuard<Unflushed>, StoreError> {
        let waiting = timeout(ACQUIRE_TIMEOUT, Arc::clone(&self.pen).lock_owned());
        waiting.await.map_err(|_| unavailable(operation)(sqlx::Error::PoolTimedOut))
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

impl Writing {
    /// After this what was written is on disk.
    pub(crate) async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.transaction.commit().await?;
        self.turn.is_writer_busy = false;
        Ok(())
    }

    pub(crate) async fn rollback(mut self) -> Result<(), sqlx::Error> {
        self.transaction.rollback().await?;
        self.turn.is_writer_busy = false;
        Ok(())
    }
}

impl Deref for Writing {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

impl Turn {
    pub(crate) const fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// The transaction is committed, or was never begun.
    pub(crate) fn over(mut self) {
        self.unflushed.connection = Some(self.connection);
    }
}
