//! Keeps the copying of the write-ahead log out of the way of those who wait for a commit.
//!
//! Left to itself, SQLite copies the log within the commit that fills it: some times a second at thousands of requests, for 10 to 20 ms
//! (measured while rows stood at random places) in which all of them wait. On a connection of its own the same copying goes on beside the commits. It is behind them as long as
//! they never pause, and the log begins anew only when it has caught up, so a few turns are made, each with less to do than the one
//! before. Where that is not enough, the commit that finds the log full does the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use basilica_types::ErrorChain;
use tracing::warn;

use crate::Database;

/// Pages between two copies, of the 20,000 that the log takes before a commit has to copy them. Many are the same pages again, which a
/// copy writes once: rarer copies write less.
const PAGES: usize = 3_000;
/// Pages that a group changes, about, beside those of its requests: at the ends of tables and indexes, and what the validators are in.
const PAGES_OF_GROUP: usize = 8;
/// Turns of one copy.
const TURNS: usize = 4;

#[derive(Debug)]
pub(super) struct LogCopier {
    database: Database,
    /// Pages since the last copy began, about.
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

    /// A group of so many requests more is in the log.
    pub(super) fn written(self: &Arc<Self>, requests: usize) {
        // Of its own each has hardly more than one, in the index by validator or where its session stands.
        let pages = PAGES_OF_GROUP + requests;
        let since = self.since.fetch_add(pages, Ordering::Relaxed) + pages;
        if since < PAGES || self.is_copying.swap(true, Ordering::Relaxed) {
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
