//! Reconciler: every day that has ended gets its record in the log of verdicts.
//!
//! What a record is of is decided by places in the store, not by clocks: all verdicts since the record before. So none is left out
//! by a validator that was down at midnight, nor by two whose clocks differ; days without any validator have no record. While our
//! clock is before the chain's newest block no day is ended: the record would bear the name of an earlier one.

use std::sync::Arc;

use basilica_ports::{BoxError, LogEnd, LogEntry, StoreError, ValidatorStore};
use basilica_runtime_service::{ErrorChain, Stop};
use basilica_types::{Digest, Millis};
use basilica_verification::verdict_log::{Day, DayRecord, DayTree, Inclusion, SignedDay};
use basilica_wire::EnvelopeError;
use codec::Encode as _;
use tracing::{info, warn};

use crate::shared::Shared;
use crate::sign::sign;

/// Between two looks at the calendar.
const PAUSE: Millis = Millis::from_secs(60);
/// Verdicts read at once.
const PAGE: u32 = 4_096;

/// Why a day has no record yet.
#[derive(Debug, thiserror::Error)]
enum EndError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("sign the record of {day}")]
    Sign {
        day: Day,
        #[source]
        source: EnvelopeError,
    },
}

/// The loop: runs until the stop.
pub(crate) async fn run(shared: Arc<Shared>, stop: Stop) -> Result<(), BoxError> {
    loop {
        match end_day(&shared).await {
            Ok(Some(day)) => {
                info!(target: "validator::verification", { day = %day.day(), verdicts = day.count(),
                root = %day.root() }, "a day of the verdict log has ended")
            }
            Ok(None) => {}
            Err(error) => warn!(target: "validator::verification", { error = %ErrorChain(&error) },
                "a day of the verdict log cannot be ended; tried again in a minute"),
        }
        tokio::select! {
            biased;
            () = stop.requested() => return Ok(()),
            () = shared.ports.clock.sleep(PAUSE) => {}
        }
    }
}

/// Ends yesterday, if that has no record yet.
async fn end_day(shared: &Shared) -> Result<Option<DayRecord>, EndError> {
    if shared.clock_is_behind() {
        return Ok(None);
    }
    let store = shared.ports.store.as_ref();
    let day = Day::of(shared.now()).before();
    let end = store.log_end().await?;
    if end.is_some_and(|end| end.day >= day) {
        return Ok(None);
    }
    let through = store.log_head().await?;
    let tree = grow(store, end.map_or(0, |end| end.through), through).await?;
    let previous = end.map(|end| end.digest);
    let record = DayRecord::new(shared.settings.netuid, day, &tree, previous);
    let signed = sign(shared.ports.signer.as_ref(), record.clone())
        .map_err(|source| EndError::Sign { day, source })?;
    let end = LogEnd { day, through, digest: signed.digest() };
    let entry = LogEntry { end, signed: signed.encode(), blocks: tree.blocks() };
    // If it does not follow the newest, another process was faster.
    Ok(store.end_day(&entry, previous).await?.then_some(record))
}

/// The tree over all verdicts after one place and up to another.
async fn grow(store: &dyn ValidatorStore, after: i64, through: i64) -> Result<DayTree, StoreError> {
    let (mut tree, mut after) = (DayTree::default(), after);
    loop {
        let leaves = store.log_leaves(after, through, PAGE).await?;
        for (place, verdict) in &leaves {
            tree.push(*place, verdict);
        }
        match leaves.last() {
            Some((last, _)) => after = *last,
            None => return Ok(tree),
        }
    }
}

/// What shows that a verdict is in its day's record.
pub(crate) async fn inclusion(
    store: &dyn ValidatorStore,
    verdict: Digest,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(logged) = store.logged(verdict).await? else { return Ok(None) };
    let Some(leaf) = logged.leaves.iter().position(|leaf| *leaf == verdict) else { return Ok(None) };
    // Our own, as stored: whoever gets it checks the signature.
    let day = SignedDay::decode_unverified(&logged.signed)
        .map_err(|source| StoreError::Corrupt { what: "verdict_days.bytes", source: source.into() })?;
    let found = Inclusion::new(day, &logged.blocks, logged.block, &logged.leaves, leaf);
    Ok(found.map(|found| found.encode()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set_weights::tests::World;

    const DAY: Millis = Millis::from_secs(86_400);

    #[tokio::test]
    async fn every_day_is_ended_once_and_links_to_the_one_before() {
        let world = World::new();
        world.clock.advance(DAY);
        let shared = world.boot().await;
        let store = shared.ports.store.as_ref();
        let first = end_day(&shared).await.unwrap().expect("it is ended");
        assert_eq!((first.count(), first.previous()), (0, None));
        assert_eq!(end_day(&shared).await.unwrap(), None, "the day goes on");
        let key = world.judge_a_node().await;
        let verdicts = store.log_leaves(0, i64::MAX, 10).await.unwrap();
        let (_, verdict) = verdicts[0];
        assert_eq!(inclusion(store, verdict).await.unwrap(), None, "its day goes on");

        world.clock.advance(Millis(3 * DAY.0));
        let second = end_day(&shared).await.unwrap().expect("it is ended");
        assert_eq!(second.count(), verdicts.len() as u64);
        assert_eq!(second.day().0, first.day().0 + 3, "days without a validator have no record");
        let kept = SignedDay::decode_verified(&store.day(first.day()).await.unwrap().unwrap()).unwrap();
        assert_eq!(second.previous(), Some(kept.digest()));
        let days = store.days(None, 10).await.unwrap();
        assert_eq!(days.len(), 2);
        assert_eq!(SignedDay::decode_verified(&days[0]).unwrap().content(), &second);
        assert_eq!(store.days(Some(second.day()), 10).await.unwrap(), [kept.encode()]);
        let shown = inclusion(store, verdict).await.unwrap().expect("it is in the record");
        let shown = Inclusion::decode_bounded(&shown).unwrap();
        assert_eq!(shown.verify(&verdict).unwrap().content(), &second);
        assert_eq!(shared.ports.store.node(key).await.unwrap().unwrap().key, key);
    }

    #[tokio::test]
    async fn no_day_ends_while_the_clock_is_before_the_chains_blocks() {
        let world = World::new();
        world.clock.advance(DAY);
        let shared = world.boot().await;
        world.clock.set_wall_clock(-86_400_000);
        assert_eq!(end_day(&shared).await.unwrap(), None, "its record would bear another day's name");
        world.clock.set_wall_clock(0);
        assert!(end_day(&shared).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_verdict_that_is_not_kept_is_in_no_record() {
        let world = World::new();
        let shared = world.boot().await;
        let store = shared.ports.store.as_ref();
        assert_eq!(inclusion(store, Digest::from_bytes([5; 32])).await.unwrap(), None);
    }
}
