//! A backup back in its place.

use std::path::Path;

use basilica_ports::StoreError;
use basilica_types::{DatabasePath, Millis, Timestamp};

use super::admission::FRESH;
use super::{MINER_SCHEMA, MinerLock, admission, sessions};
use crate::database::{Restoring, unavailable};
use crate::{CopyError, Database};

/// For so long after the first start on a copy nobody is let in.
pub const RESTORE_WAIT: Millis = FRESH;

/// Puts a copy of a miner's database where none is, at the newest schema, and returns the schema that the copy has.
///
/// Sessions that were open when the copy was made are ended: what their validators asked for since, the copy does not know, so that a
/// request could be played to the miner a second time. Validators authenticate again, with requests that
/// are signed five minutes after the miner's start: until then any that is still fresh may have been answered after the copy was made.
///
/// # Errors
/// A miner runs on the place, something is there, or the copy is no whole database of a miner. Nothing is left behind.
pub async fn restore_miner(from: &Path, to: &DatabasePath, now: Timestamp) -> Result<i64, CopyError> {
    let _alone = MinerLock::take(to)?;
    let restoring = Restoring::begin(from, to, &MINER_SCHEMA).await?;
    if let Err(error) = end(&restoring.database, now).await {
        restoring.database.close().await;
        return Err(error.into());
    }
    restoring.finish().await
}

async fn end(copy: &Database, now: Timestamp) -> Result<(), StoreError> {
    let failed = unavailable("end what the copy has under way");
    let mut transaction = copy.begin("restore").await?;
    admission::interrupt(&mut transaction).await.map_err(&failed)?;
    transaction.commit().await.map_err(failed)?;
    sessions::end_all(copy, now).await
}
