//! Keeps the copying of the write-ahead log out of the way of those who wait for a commit.
//!
//! Left to itself, SQLite copies the log within the commit that fills it: every 200 ms at 2,000 requests a second, for 10 to 20 ms in
//! which all of them wait. On a connection of its own the same copying goes on beside the commits. It is behind them as long as
//! they never pause, and the log begins anew only when it has caught up, so a few turns are made, each with less to do than the one
//! before. Where that is not enough, the commit that finds the log full does the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use basilica_types::ErrorChain;
use tracing::warn;

use crate::Database;

/// Requests between two copies: each changes about five pages, of which the log takes 4,000 before a commit has to copy them.
const REQUESTS: usize = 128;
/// Turns of one copy.
const TURNS: usize = 4;

#[derive(Debug)]
pub(super) struct LogCopier {
    database: Database,
    /// Requests since the last copy began.
    since: AtomicUsize,
    is_copying: AtomicBool,
}

/// A copy that is under way, until it is dropped.
struct Copy(Arc<LogCopier>);

impl Drop for Copy {
    fn drop(&mut self) {
        self.0.is_copying.store(false, Ordering::Relaxed);
    }
}

impl LogCopier {
    pub(super) const fn new(database: Database) -> Self {
        Self { database, since: AtomicUsize::new(0), is_copying: AtomicBool::new(false) }
    }

    /// So many requests more are in the log.
    pub(super) fn written(self: &Arc<Self>, requests: usize) {
        let since = self.since.fetch_add(requests, Ordering::Relaxed) + requests;
        if since < REQUESTS || self.is_copying.swap(true, Ordering::Relaxed) {
            return;
        }
        self.since.store(0, Ordering::Relaxed);
        #[expect(
            clippy::disallowed_methods,
            reason = "ends after a few turns, and nothing depends on its end"
        )]
        tokio::spawn(Copy(Arc::clone(self)).run());
    }
}

impl Copy {
    async fn run(self) {
        for _ in 0..TURNS {
            match self.0.database.copy_log().await {
                Ok(copied) if copied.is_all() => break,
                Ok(_) => {}
                Err(error) => {
                    let error = ErrorChain(&error);
                    warn!(%error, "the write-ahead log is not copied beside the commits, which now do it themselves");
                    break;
                }
            }
        }
    }
}
