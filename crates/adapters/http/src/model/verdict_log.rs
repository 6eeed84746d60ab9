//! The log of verdicts.

use basilica_verification::verdict_log::SignedDay;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A day's record.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DayRow {
    /// The day that it ended, in UTC.
    #[schema(format = Date)]
    pub day: String,
    /// On which subnet.
    pub netuid: u16,
    /// Who signed it.
    pub validator: String,
    /// Verdicts stored since the record before.
    pub verdicts: u64,
    /// Of the Merkle tree over their digests.
    pub root: String,
    /// Of the signed record.
    pub digest: String,
    /// Of the signed record before it; null for the first.
    pub previous: Option<String>,
}

impl From<&SignedDay> for DayRow {
    fn from(signed: &SignedDay) -> Self {
        let record = signed.content();
        Self {
            day: record.day().to_string(),
            netuid: record.netuid().0,
            validator: signed.signer().to_string(),
            verdicts: record.count(),
            root: record.root().to_string(),
            digest: signed.digest().to_string(),
            previous: record.previous().map(|digest| digest.to_string()),
        }
    }
}

/// Days, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DayPage {
    /// Of this page.
    pub days: Vec<DayRow>,
    /// For the next page; null on the last.
    pub next_cursor: Option<String>,
}
