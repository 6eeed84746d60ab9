//! What the validator remembers of its log of verdicts (see [`basilica_verification::verdict_log`]).

use async_trait::async_trait;
use basilica_types::Digest;
use basilica_verification::verdict_log::{Block, Day};

use crate::StoreError;

/// Where a verdict stands among all that were stored, in their order. Gaps mean nothing.
pub type Place = i64;

/// The newest record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// Of this day.
    pub day: Day,
    /// Place of the last verdict in it, or in a record before it.
    pub through: Place,
    /// Of the signed record.
    pub digest: Digest,
}

/// A record to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The same of it.
    pub end: LogEnd,
    /// The signed record.
    pub signed: Vec<u8>,
    /// The blocks of its tree.
    pub blocks: Vec<Block>,
}

/// Where a verdict is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The signed record that it is in.
    pub signed: Vec<u8>,
    /// The blocks of that record's tree.
    pub blocks: Vec<Block>,
    /// In which of them it is.
    pub block: usize,
    /// Verdicts of that block that are still kept, in their order.
    pub leaves: Vec<Digest>,
}

/// Records of days, and the verdicts that they are of.
#[async_trait]
pub trait VerdictLogStore: Send + Sync + 'static {
    /// The newest record; none before the first.
    async fn log_end(&self) -> Result<Option<LogEnd>, StoreError>;

    /// The place of the newest verdict; 0 without any. No verdict is stored at or before it from then on.
    async fn log_head(&self) -> Result<Place, StoreError>;

    /// Verdicts after one place and up to another, in their order; at most `limit`.
    async fn log_leaves(
        &self,
        after: Place,
        through: Place,
        limit: u32,
    ) -> Result<Vec<(Place, Digest)>, StoreError>;

    /// Keeps a record if it is the first or follows the newest; whether it was.
    async fn end_day(&self, entry: &LogEntry, previous: Option<Digest>) -> Result<bool, StoreError>;

    /// Signed records of days before one (of all without), newest first; at most `limit`.
    async fn days(&self, before: Option<Day>, limit: u32) -> Result<Vec<Vec<u8>>, StoreError>;

    /// The signed record of a day.
    async fn day(&self, day: Day) -> Result<Option<Vec<u8>>, StoreError>;

    /// Where a verdict is in the log; none while its day goes on, or if it is not kept.
    async fn logged(&self, verdict: Digest) -> Result<Option<Logged>, StoreError>;
}
