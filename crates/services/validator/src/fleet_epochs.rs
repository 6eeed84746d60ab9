//! Reconciler: every finalised block is looked at once, and one that starts a fleet epoch is told to the checks.
//!
//! Which blocks start one says [`basilica_verification::fleet`]; who is challenged then, and the challenge itself, are
//! `verify_due_nodes`' and `meeting`'s. Only blocks that were finalised just now count: whoever reads the chain knows the older
//! ones, so that an epoch which a restart or a silent endpoint made late is left out, and the next one comes unforeseen.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use basilica_ports::{BoxError, ChainError, EpochView, EpochsView};
use basilica_runtime_service::{ErrorChain, Stop};
use basilica_types::BlockNumber;
use basilica_verification::fleet::Beacon;
use tracing::{debug, info};

use crate::meeting::Meeting;
use crate::shared::Shared;

/// Blocks looked at after a pause, the newest ones: a minute.
const CATCH_UP: u64 = 5;

/// What is known of epochs. In memory only: an epoch is over in a minute.
#[derive(Debug, Default)]
pub(crate) struct Epochs(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The newest block that was looked at.
    watched: Option<BlockNumber>,
    /// Starts an epoch that has not begun yet.
    due: Option<Beacon>,
    last: Option<(Beacon, Arc<Meeting>)>,
}

impl Epochs {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The beacon of an epoch that is to begin now. It is given once.
    pub(crate) fn take_due(&self) -> Option<Beacon> {
        self.lock().due.take()
    }

    /// An epoch has begun.
    pub(crate) fn begun(&self, beacon: Beacon, meeting: Arc<Meeting>) {
        self.lock().last = Some((beacon, meeting));
    }

    /// For those who ask. Of `mean_blocks` one starts an epoch; none ever if it is 0.
    pub(crate) fn view(&self, mean_blocks: u32) -> EpochsView {
        let known = self.lock();
        let count = |nodes: usize| u32::try_from(nodes).unwrap_or(u32::MAX);
        let last = known.last.as_ref().map(|(beacon, meeting)| {
            let went = meeting.attendance();
            EpochView {
                block: beacon.height,
                block_hash: beacon.hash,
                at: meeting.at,
                nodes: count(went.called),
                challenged: count(went.challenged),
                passed: count(went.passed),
                under_way: count(went.under_way),
            }
        });
        EpochsView { mean_blocks, watched: known.watched, last }
    }
}

/// The loop: runs until the stop.
pub(crate) async fn run(shared: Arc<Shared>, stop: Stop) -> Result<(), BoxError> {
    loop {
        if let Err(error) = look(&shared).await {
            debug!(target: "validator::verification", { error = %ErrorChain(&error) }, "blocks cannot be watched for fleet epochs");
        }
        tokio::select! {
            biased;
            () = stop.requested() => return Ok(()),
            () = shared.ports.clock.sleep(shared.settings.weights_poll) => {}
        }
    }
}

/// Looks at the blocks that are new.
pub(crate) async fn look(shared: &Shared) -> Result<(), ChainError> {
    let rules = &shared.settings.fleet;
    if rules.mean_blocks == 0 {
        return Ok(());
    }
    let head = shared.ports.chain.head().await?;
    let watched = shared.epochs.lock().watched;
    let oldest = BlockNumber(head.0.saturating_sub(CATCH_UP - 1));
    let first = watched.map_or(head, |watched| BlockNumber(watched.0 + 1)).max(oldest);
    for height in (first.0..=head.0).map(BlockNumber) {
        let beacon = Beacon { height, hash: shared.ports.chain.block_hash(height).await? };
        let mut known = shared.epochs.lock();
        known.watched = Some(height);
        if beacon.starts(rules) {
            info!(target: "validator::verification", { block = height.0 }, "this block starts a fleet epoch");
            known.due = Some(beacon);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set_weights::tests::World;

    /// The heights of epochs among these blocks.
    async fn starting(shared: &Shared, blocks: std::ops::RangeInclusive<u64>) -> Vec<u64> {
        let mut heights = Vec::new();
        for height in blocks.map(BlockNumber) {
            let hash = shared.ports.chain.block_hash(height).await.unwrap();
            heights.extend(Beacon { height, hash }.starts(&shared.settings.fleet).then_some(height.0));
        }
        heights
    }

    #[tokio::test]
    async fn every_finalised_block_is_looked_at_once_and_starts_its_epoch_once() {
        let world = World::new();
        let mut shared = world.boot().await;
        shared.settings.fleet.mean_blocks = 4;
        let mut seen = Vec::new();
        for _ in 0..60 {
            look(&shared).await.unwrap();
            look(&shared).await.unwrap();
            seen.extend(shared.epochs.take_due().map(|beacon| beacon.height.0));
            world.chain.advance();
        }
        assert_eq!(seen, starting(&shared, 100..=159).await);
        assert!(seen.len() > 5, "one in four");
    }

    #[tokio::test]
    async fn blocks_that_were_final_long_ago_start_nothing_and_a_mean_of_zero_starts_none() {
        let world = World::new();
        let mut shared = world.boot().await;
        shared.settings.fleet.mean_blocks = 1;
        look(&shared).await.unwrap();
        (0..1_000).for_each(|_| world.chain.advance());
        look(&shared).await.unwrap();
        assert_eq!(shared.epochs.take_due().unwrap().height, BlockNumber(1_100), "the newest alone begins");
        assert_eq!(shared.epochs.lock().watched, Some(BlockNumber(1_100)));
        shared.settings.fleet.mean_blocks = 0;
        world.chain.advance();
        look(&shared).await.unwrap();
        assert_eq!(shared.epochs.take_due(), None);
        assert_eq!(shared.epochs.view(0).last, None);
    }
}
