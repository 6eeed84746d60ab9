//! Which epoch a block belongs to, and when an epoch begins.
//!
//! The epoch of a block is the one that its calls see: the chain's hooks run first, so the block in which an epoch's step
//! runs already belongs to the new one. The chain's own reveal of timelocked commits runs before that step and looks one
//! step ahead, so it sees the same number; an epoch that runs only because it is overdue is the exception, which reveals
//! see one block later.
//!
//! Predictions hold while nobody changes the tempo, asks for an epoch, or has so many epochs fall due in one block that
//! some are put off; whoever goes by them reads the clock again at every look. Legacy chains count modulo the block
//! height; that formula is wrong wherever the stored clock exists, which is why the two are never mixed.

use std::num::NonZeroU64;

use basilica_types::{BlockNumber, NetUid};

use crate::rules::EpochClock;

/// An epoch runs in the block that counts so many since the one before, whatever the tempo: one more than the chain's
/// `MAX_TEMPO`.
const OVERDUE: NonZeroU64 = NonZeroU64::new(50_401).unwrap();

impl EpochClock {
    /// The epoch of block `at`, by the clock as read at block `now`; blocks before `now` count as `now` where the chain
    /// keeps no history of its clock.
    pub fn epoch_of(&self, at: BlockNumber, now: BlockNumber, netuid: NetUid) -> u64 {
        match *self {
            Self::Modular { tempo } => {
                let shifted = at.0.saturating_add(u64::from(netuid.0)).saturating_add(1);
                shifted / NonZeroU64::MIN.saturating_add(tempo.into())
            }
            Self::Stateful { index, .. } => match self.steps(now) {
                Some(steps) if at.0 >= steps.next => {
                    let further = at.0.saturating_sub(steps.next) / steps.apart;
                    index.saturating_add(1).saturating_add(further)
                }
                _ => index,
            },
        }
    }

    /// The first block of `epoch`, if that is still ahead of block `now`; none if epochs do not run or it has begun.
    pub fn first_block_of(&self, epoch: u64, now: BlockNumber, netuid: NetUid) -> Option<BlockNumber> {
        match *self {
            Self::Modular { tempo } => {
                let start = epoch.checked_mul(u64::from(tempo).saturating_add(1))?;
                let first = BlockNumber(start.checked_sub(u64::from(netuid.0).saturating_add(1))?);
                (first > now).then_some(first)
            }
            Self::Stateful { index, .. } => {
                let steps = self.steps(now)?;
                let further = epoch.checked_sub(index.saturating_add(1))?.checked_mul(steps.apart.get())?;
                steps.next.checked_add(further).map(BlockNumber)
            }
        }
    }

    /// The first block whose reveals take up what is committed in the block after `now`; none if that never comes.
    pub fn first_reveal_block(
        &self,
        now: BlockNumber,
        netuid: NetUid,
        reveal_period: u64,
    ) -> Option<BlockNumber> {
        let committed = self.epoch_of(BlockNumber(now.0.saturating_add(1)), now, netuid);
        let epoch = committed.checked_add(reveal_period)?;
        let begins = self.first_block_of(epoch, now, netuid)?;
        let late = match (*self, self.steps(now)) {
            (Self::Stateful { index, .. }, Some(steps)) if epoch == index.saturating_add(1) => {
                steps.next_late
            }
            (_, Some(steps)) => steps.late,
            (_, None) => false,
        };
        begins.0.checked_add(u64::from(late)).map(BlockNumber)
    }

    /// Blocks of an epoch; 0 where none runs.
    pub const fn length(&self) -> u64 {
        match self {
            Self::Modular { tempo } => (*tempo as u64).saturating_add(1),
            Self::Stateful { tempo, .. } => *tempo as u64,
        }
    }

    /// Whether epochs run at all.
    pub const fn runs(&self) -> bool {
        match self {
            Self::Modular { tempo } | Self::Stateful { tempo, .. } => *tempo != 0,
        }
    }

    /// The coming steps of the stored clock.
    fn steps(&self, now: BlockNumber) -> Option<Steps> {
        let Self::Stateful { last_epoch, pending_at, since_last_step, tempo, .. } = *self else {
            return None;
        };
        let tempo = NonZeroU64::new(tempo.into())?;
        let by_tempo = last_epoch.0.saturating_add(tempo.get());
        let asked = if pending_at.0 == 0 { u64::MAX } else { pending_at.0 };
        let scheduled = by_tempo.min(asked);
        // A block adds to the count before it asks for its own step, but its reveals look before that.
        let overdue = now.0.saturating_add(OVERDUE.get().saturating_sub(since_last_step));
        let soonest = now.0.saturating_add(1);
        let next = scheduled.min(overdue).max(soonest);
        Some(Steps {
            next,
            next_late: scheduled.min(overdue.saturating_add(1)).max(soonest) > next,
            apart: tempo.min(OVERDUE),
            late: tempo > OVERDUE,
        })
    }
}

/// When the coming epochs of a stored clock run.
struct Steps {
    /// The block of the next epoch.
    next: u64,
    /// Whether reveals see that epoch only in the block after.
    next_late: bool,
    /// Blocks between the epochs after it.
    apart: NonZeroU64,
    /// Whether reveals see those only in the block after.
    late: bool,
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "test arithmetic over small numbers")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SUBNET: NetUid = NetUid(39);

    /// The chain's own block hook, one block at a time.
    #[derive(Clone, Copy)]
    struct Chain {
        block: u64,
        last: u64,
        pending: u64,
        index: u64,
        since: u64,
        tempo: u16,
    }

    impl Chain {
        fn is_due(&self, block: u64) -> bool {
            self.tempo != 0
                && ((self.pending > 0 && block >= self.pending)
                    || self.since > 50_400
                    || block - self.last >= u64::from(self.tempo))
        }

        /// The epoch that the reveals of the next block see.
        fn epoch_of_reveals(&self) -> u64 {
            self.index + u64::from(self.is_due(self.block + 1))
        }

        fn step(&mut self) {
            self.block += 1;
            self.since += 1;
            if self.is_due(self.block) {
                (self.last, self.pending, self.since) = (self.block, 0, 0);
                self.index += 1;
            }
        }

        fn clock(&self) -> EpochClock {
            EpochClock::Stateful {
                last_epoch: BlockNumber(self.last),
                pending_at: BlockNumber(self.pending),
                index: self.index,
                since_last_step: self.since,
                tempo: self.tempo,
            }
        }
    }

    const fn stored(last: u64, pending: u64, since_last_step: u64, tempo: u16) -> EpochClock {
        EpochClock::Stateful {
            last_epoch: BlockNumber(last),
            pending_at: BlockNumber(pending),
            index: 0,
            since_last_step,
            tempo,
        }
    }

    #[test]
    fn reveal_blocks_of_known_clocks() {
        let first = |clock: EpochClock, head, period| {
            clock.first_reveal_block(BlockNumber(head), SUBNET, period).map(|block| block.0)
        };
        assert_eq!(first(stored(10, 0, 0, 50), 10, 1), Some(60));
        assert_eq!(first(stored(80, 95, 0, 20), 91, 1), Some(95));
        assert_eq!(first(stored(100, 0, 0, 50), 148, 1), Some(150), "committed in 149");
        assert_eq!(first(stored(100, 0, 0, 50), 149, 1), Some(200), "committed in 150, the next epoch's");
        assert_eq!(first(stored(0, 0, 0, 360), 0, 100), Some(36_000));
        assert_eq!(first(stored(0, 0, 0, 0), 0, 1), None, "no epochs");
        assert_eq!(first(stored(0, 0, 50_390, u16::MAX), 0, 1), Some(12), "runs in 11, seen a block later");
        assert_eq!(first(stored(0, 0, 50_390, u16::MAX), 10, 1), Some(22), "the count is of block 10 then");
        let modular = EpochClock::Modular { tempo: 359 };
        assert_eq!(modular.epoch_of(BlockNumber(319), BlockNumber(1), SUBNET), 0);
        assert_eq!(modular.epoch_of(BlockNumber(320), BlockNumber(1), SUBNET), 1);
        assert_eq!(first(modular, 100, 1), Some(320));
        assert_eq!(first(modular, 319, 1), Some(680), "included in 320");
    }

    proptest! {
        #[test]
        fn no_clock_makes_it_panic(
            last in any::<u64>(), pending in any::<u64>(), index in any::<u64>(), since in any::<u64>(),
            tempo in any::<u16>(), now in any::<u64>(), at in any::<u64>(), period in any::<u64>(),
        ) {
            let stored = EpochClock::Stateful {
                last_epoch: BlockNumber(last),
                pending_at: BlockNumber(pending),
                index,
                since_last_step: since,
                tempo,
            };
            for clock in [stored, EpochClock::Modular { tempo }] {
                let _ = clock.epoch_of(BlockNumber(at), BlockNumber(now), SUBNET);
                let _ = clock.first_reveal_block(BlockNumber(now), SUBNET, period);
            }
        }

        #[test]
        fn the_stored_clock_is_predicted_as_the_chain_steps_it(
            tempo in prop_oneof![0u16..30, 50_399u16..50_404, Just(u16::MAX)],
            age in 0u64..60,
            pending in prop_oneof![Just(0u64), 900u64..1_100],
            since in prop_oneof![0u64..60, OVERDUE.get() - 20..OVERDUE.get() + 5],
            period in 1u64..4,
        ) {
            let mut chain = Chain { block: 1_000, last: 1_000 - age, pending, index: 5, since, tempo };
            let (clock, now) = (chain.clock(), BlockNumber(1_000));
            let mut index = chain.index;
            let (mut committed, mut revealed) = (None, None);
            for _ in 0..3 * u64::from(tempo) + 200 {
                let seen = chain.epoch_of_reveals();
                chain.step();
                if revealed.is_none() && committed.is_some_and(|epoch: u64| epoch + period == seen) {
                    revealed = Some(BlockNumber(chain.block));
                }
                committed = committed.or(Some(chain.index));
                let at = BlockNumber(chain.block);
                prop_assert_eq!(clock.epoch_of(at, now, SUBNET), chain.index, "block {}", at);
                if chain.index > index {
                    index = chain.index;
                    prop_assert_eq!(clock.first_block_of(index, now, SUBNET), Some(at));
                }
            }
            prop_assert_eq!(clock.first_block_of(5, now, SUBNET), None);
            prop_assert_eq!(clock.first_reveal_block(now, SUBNET, period), revealed);
        }

        #[test]
        fn the_modular_clock_begins_its_epochs_where_the_number_changes(tempo in 0u16..30, epoch in 100u64..200) {
            let clock = EpochClock::Modular { tempo };
            let now = BlockNumber(1);
            let Some(first) = clock.first_block_of(epoch, now, SUBNET) else { return Ok(()) };
            prop_assert_eq!(clock.epoch_of(first, now, SUBNET), epoch);
            prop_assert_eq!(clock.epoch_of(BlockNumber(first.0 - 1), now, SUBNET), epoch - 1);
            // The block in which the old formula says that the epoch runs.
            prop_assert_eq!((first.0 + u64::from(SUBNET.0) + 1) % (u64::from(tempo) + 1), 0);
        }
    }
}
