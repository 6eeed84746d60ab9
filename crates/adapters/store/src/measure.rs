//! What the database is asked for, how long it takes and how busy its connections are, as metrics.
//!
//! By pool of connections. The miner's are `reads` and `writes`. The validator's: `checks` read what the reconcilers ask, `faces` what the API and the metrics ask, `writes` one transaction after
//! the other, and on Postgres `leadership` renews the lease. What is counted is what a caller waits for: a read from asking for a connection to the answer, a
//! transaction from waiting for its turn to its end. A read that nobody waits for any more is not counted. Rejected: a label for each
//! statement, which tells developers more than operators and makes a hundred series.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use sqlx::sqlite::SqlitePool;
use tokio::time::Instant;

use crate::postgres::Slots;

/// All reads of the miner.
pub(crate) const READS: &str = "reads";
/// The reconcilers' reads.
pub(crate) const CHECKS: &str = "checks";
/// Reads of the API and the metrics.
pub(crate) const FACES: &str = "faces";
/// Campaigns and renewals of the lease, beside the writes.
pub(crate) const LEADING: &str = "leadership";
/// Transactions that write.
pub(crate) const WRITES: &str = "writes";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabel {
    pool: &'static str,
}

/// Of all pools.
#[derive(Clone, Debug)]
pub(crate) struct Meters {
    operations: Family<PoolLabel, Counter>,
    errors: Family<PoolLabel, Counter>,
    durations: Family<PoolLabel, Histogram>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            operations: Family::default(),
            errors: Family::default(),
            // Half a millisecond to 16 s, more than a statement's deadline.
            durations: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.0005, 2.0, 16))),
        }
    }
}

impl Meters {
    pub(crate) fn of(&self, pool: &'static str) -> Meter {
        let label = PoolLabel { pool };
        Meter {
            operations: self.operations.get_or_create(&label).clone(),
            errors: self.errors.get_or_create(&label).clone(),
            durations: self.durations.get_or_create(&label).clone(),
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry, prefix: &str) {
        self.register_work(registry, prefix);
        let r = registry.sub_registry_with_prefix(prefix);
        r.register("database_errors", "of these, failed by the database", self.errors.clone());
    }

    /// All but the errors, where whoever handles them counts them.
    pub(crate) fn register_work(&self, registry: &mut Registry, prefix: &str) {
        let r = registry.sub_registry_with_prefix(prefix);
        let help = "reads, and transactions that write, by pool of connections";
        r.register("database_operations", help, self.operations.clone());
        let help = "from asking for a connection to the answer, or to the end of the transaction";
        r.register_with_unit("database_query_duration", help, Unit::Seconds, self.durations.clone());
    }
}

/// Of one pool.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    operations: Counter,
    errors: Counter,
    durations: Histogram,
}

impl Meter {
    fn ended(&self, began: Instant, well: bool) {
        self.operations.inc();
        if !well {
            self.errors.inc();
        }
        self.durations.observe(began.elapsed().as_secs_f64());
    }

    /// Counts what came to this. Not a wrapper of its future: it would be kept twice, and futures of the store are large
    /// enough.
    pub(crate) fn outcome<T, E>(&self, began: Instant, outcome: Result<T, E>) -> Result<T, E> {
        self.ended(began, outcome.is_ok());
        outcome
    }

    /// Counts a transaction when it ends.
    pub(crate) fn begins(&self) -> UnderWay {
        UnderWay { meter: self.clone(), began: Instant::now(), well: false }
    }
}

/// A transaction, which failed unless it is said to have ended well.
#[derive(Debug)]
pub(crate) struct UnderWay {
    meter: Meter,
    began: Instant,
    well: bool,
}

impl UnderWay {
    /// The database did as it was told.
    pub(crate) fn ends_well(mut self) {
        self.well = true;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.meter.ended(self.began, self.well);
    }
}

/// Connections of one kind.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    Sqlite(SqlitePool),
    /// Those by which one at a time writes.
    Writer(crate::Database),
    Postgres(Arc<Slots>),
}

impl Pool {
    /// In use, open and unused, and most.
    fn connections(&self) -> [usize; 3] {
        match self {
            Self::Sqlite(pool) => {
                let (open, idle) = (usize::try_from(pool.size()).unwrap_or(usize::MAX), pool.num_idle());
                let most = usize::try_from(pool.options().get_max_connections()).unwrap_or(usize::MAX);
                [open.saturating_sub(idle), idle, most]
            }
            Self::Writer(database) => {
                let active = usize::from(database.is_being_written());
                [active, 1 - active, 1]
            }
            Self::Postgres(slots) => slots.connections(),
        }
    }
}

/// Looks at the connections when Prometheus asks.
pub(crate) struct Connections {
    pub(crate) prefix: String,
    pub(crate) pools: Vec<(&'static str, Pool)>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let kind = ConstGauge::<i64>::new(0).metric_type();
        let columns = [
            ("active", "connections in use"),
            ("idle", "open connections that nobody uses"),
            ("max", "connections that there may be"),
        ];
        for (place, (column, help)) in columns.into_iter().enumerate() {
            let name = format!("{}_database_connections_{column}", self.prefix);
            let mut family = encoder.encode_descriptor(&name, help, None, kind)?;
            for (label, pool) in &self.pools {
                let count = i64::try_from(pool.connections()[place]).unwrap_or(i64::MAX);
                ConstGauge::new(count).encode(family.encode_family(&[("pool", *label)])?)?;
            }
        }
        Ok(())
    }
}
