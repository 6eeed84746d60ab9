//! What is done for the database from time to time: what is over is forgotten, what is there is counted, and all of it is read, so that
//! damage is told before something stumbles over it. So is a disk that fills, while there is still room on it: a miner whom nobody asks
//! anything writes nothing that could fail.
//!
//! Reading all of it takes the longer the larger it is, and the machine is there for validators: it is done each minute where that takes
//! little, and never for more than a hundredth of the time, but at least each hour. **Rejected**: reading only what has failed (most of
//! what decides about requests is known by heart, so that nothing fails before the next start).

use std::sync::Arc;

use basilica_ports::{Clock, MinerStore, StoreError};
use basilica_runtime_service::{Condition, ErrorChain, Stop};
use basilica_status::Words;
use basilica_types::{Millis, Timestamp};
use tokio::sync::watch;

use crate::disk_watch::DiskWatch;
use crate::fleet::Fleet;
use crate::metrics::MinerMetrics;

/// The condition of readiness that the database works and is whole.
pub(crate) const DATABASE: &str = "database";

/// What is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DatabaseTrouble {
    pub(crate) words: Words,
    /// Whether these are about its disk, which is full.
    pub(crate) is_full: bool,
}

/// Counting is cheap and what operators watch; the rest can wait.
const COUNT_EVERY: Millis = Millis::from_secs(5);
/// Between two clean-ups, which write.
const PRUNE_EVERY: Millis = Millis::from_secs(60);
/// Between two readings of everything: this many times what the last one took, within these bounds.
const READ_SHARE: u64 = 100;
const READ_SOONEST: Millis = Millis::from_secs(60);
const READ_LATEST: Millis = Millis::from_secs(3_600);

pub(crate) struct Housekeeper {
    pub(crate) store: Arc<dyn MinerStore>,
    pub(crate) clock: Arc<dyn Clock>,
    /// [`DATABASE`].
    pub(crate) condition: Condition,
    /// Why it does not hold; none while it does.
    pub(crate) trouble: watch::Sender<Option<DatabaseTrouble>>,
    pub(crate) disks: DiskWatch,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) metrics: Arc<MinerMetrics>,
}

/// How long it is since each thing was done, and what was found.
struct Rounds {
    /// Sessions that ended before are counted.
    counted_until: Timestamp,
    since_pruning: Millis,
    since_reading: Millis,
    /// From one reading of everything to the next.
    read_after: Millis,
    /// Whether the other work of the last round was done.
    works: bool,
    /// What the last reading found.
    found: Option<String>,
}

impl Rounds {
    fn begin(now: Timestamp) -> Self {
        // Whoever starts a miner has read all of the file just before.
        Self {
            counted_until: now,
            since_pruning: PRUNE_EVERY,
            since_reading: Millis(0),
            read_after: READ_SOONEST,
            works: true,
            found: None,
        }
    }
}

impl Housekeeper {
    /// Until it is to stop.
    ///
    /// # Errors
    /// The sessions, where they are to end with the miner, could not be ended.
    pub(crate) async fn run(&self, stop: &Stop) -> Result<(), StoreError> {
        let mut rounds = Rounds::begin(self.clock.now());
        loop {
            self.round(&mut rounds, stop).await;
            tokio::select! {
                () = stop.requested() => break,
                () = self.clock.sleep(COUNT_EVERY) => {}
            }
            for since in [&mut rounds.since_pruning, &mut rounds.since_reading] {
                *since = Millis(since.0.saturating_add(COUNT_EVERY.0));
            }
        }
        if self.fleet.removes_keys_on_shutdown() {
            self.store.end_sessions(self.clock.now()).await?;
        }
        Ok(())
    }

    async fn round(&self, rounds: &mut Rounds, stop: &Stop) {
        self.fleet.count();
        let failed = self.tidy(rounds).await.err().map(|error| ErrorChain(&error).to_string());
        let worked = std::mem::replace(&mut rounds.works, failed.is_none());
        if failed.is_some() {
            self.metrics.store_errors.inc();
        }
        // What begins to fail may do so because the file is damaged, which says more than where it showed.
        if (worked && failed.is_some()) || rounds.since_reading >= rounds.read_after {
            tokio::select! {
                () = self.read(rounds) => {}
                // It changes nothing, and what comes after it does.
                () = stop.requested() => return,
            }
        }
        tokio::select! {
            () = self.disks.look() => {}
            () = stop.requested() => return,
        }
        let full = self.disks.full_database();
        // What fails on a full disk does so because it is full.
        let is_full = rounds.found.is_none() && full.is_some();
        let trouble = match (rounds.found.clone(), full, failed) {
            (Some(damage), ..) => Some(damage),
            (None, Some(full), Some(failed)) => Some(format!("{full}; {failed}")),
            (None, full, failed) => full.or(failed),
        };
        match &trouble {
            Some(trouble) => self.condition.not_ready(trouble.as_str()),
            None => self.condition.ready(),
        }
        self.trouble.send_replace(trouble.map(|words| DatabaseTrouble { words: words.into(), is_full }));
    }

    async fn tidy(&self, rounds: &mut Rounds) -> Result<(), StoreError> {
        let now = self.clock.now();
        let open = self.store.open_sessions(now).await?;
        self.metrics.sessions_active.set(i64::try_from(open).unwrap_or(i64::MAX));
        for life in self.store.session_lives(rounds.counted_until, now).await? {
            self.metrics.session_seconds.observe(life.as_duration().as_secs_f64());
        }
        rounds.counted_until = now;
        if rounds.since_pruning >= PRUNE_EVERY {
            self.store.prune(now).await?;
            rounds.since_pruning = Millis(0);
        }
        Ok(())
    }

    async fn read(&self, rounds: &mut Rounds) {
        let began = self.clock.monotonic();
        rounds.found = self.store.check_whole().await.err().map(|error| ErrorChain(&error).to_string());
        let took = self.clock.monotonic().saturating_sub(began).as_millis();
        let share = u64::try_from(took).unwrap_or(u64::MAX).saturating_mul(READ_SHARE);
        // What was found may be mended, or was the disk's bad moment.
        let latest = if rounds.found.is_some() { READ_SOONEST } else { READ_LATEST };
        rounds.read_after = Millis(share.clamp(READ_SOONEST.0, latest.0));
        rounds.since_reading = Millis(0);
    }
}
