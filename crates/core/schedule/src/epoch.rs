//! Which epoch a block belongs to, and when an epoch begins.
//!
//! The epoch of a block is the one that its calls see: the chain's hooks run first, so the block in which an epoch's step
//! runs already belongs to the new one. The chain's own reveal of timelocked commits looks one step ahead and so sees
//! the same number.
//!
//! Predictions hold while nobody changes the tempo, asks for an epoch, or has so many epochs fall due in one block that
//! some are put off; whoever goes by them reads the clock again at every look. Legacy chains count modulo the block
//! height; that formula is wrong wherever the stored clock exists, which is why the two are never mixed.

use basilica_types::{BlockNumber, NetUid};

use crate::rules::EpochClock;

/// An epoch runs at the latest after so many blocks, whatever the tempo: the chain's `MAX_TEMPO`.
const MAX_TEMPO: u64 = 50_400;

impl EpochClock {
    /// The epoch of block `at`, by the clock as read at block `now`; blocks before `now` count as `now` where the chain
    /// keeps no history of its clock.
    pub fn epoch_of(&self, at: BlockNumber, now: BlockNumber, netuid: NetUid) -> u64 {
        match *self {
            Self::Modular { tempo } => {
                let shifted = at.0.saturating_add(u64::from(netuid.0)).saturating_add(1);
                shifted.checked_div(u64::from(tempo).saturating_add(1)).unwrap_or(0)
            }
            Self::Stateful { index, tempo, .. } => match self.next_step(now) {
                Some(first) if at >= first => {
                    let after = at.0.saturating_sub(first.0);
                    let whole = after.checked_div(u64::from(tempo).min(MAX_TEMPO)).unwrap_or(0);
                    index.saturating_add(1).saturating_add(whole)
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
            Self::Stateful { index, tempo, .. } => {
                let further = epoch.checked_sub(index.saturating_add(1))?;
                let whole = further.checked_mul(u64::from(tempo).min(MAX_TEMPO))?;
                self.next_step(now)?.0.checked_add(whole).map(BlockNumber)
            }
        }
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

    /// The block in which the stored clock goes on next.
    fn next_step(&self, now: BlockNumber) -> Option<BlockNumber> {
        let Self::Stateful { last_epoch, pending_at, since_last_step, tempo, .. } = *self else {
            return None;
        };
        if tempo == 0 {
            return None;
        }
        let by_tempo = last_epoch.0.saturating_add(u64::from(tempo));
        // The count is compared before the block adds to it.
        let overdue = now.0.saturating_add(MAX_TEMPO.saturating_add(2).saturating_sub(since_last_step));
        let asked = if pending_at.0 == 0 { u64::MAX } else { pending_at.0 };
        let soonest = now.0.saturating_add(1);
        Some(BlockNumber(by_tempo.min(overdue).min(asked).max(soonest)))
    }
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
        fn step(&mut self) {
            self.block += 1;
            let due = self.tempo != 0
                && ((self.pending > 0 && self.block >= self.pending)
                    || self.since > MAX_TEMPO
                    || self.block - self.last >= u64::from(self.tempo));
            if due {
                (self.last, self.pending, self.since) = (self.block, 0, 0);
                self.index += 1;
            } else {
                self.since += 1;
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

    proptest! {
        #[test]
        fn the_stored_clock_is_predicted_as_the_chain_steps_it(
            tempo in 0u16..30,
            age in 0u64..60,
            pending in prop_oneof![Just(0u64), 900u64..1_100],
            since in prop_oneof![0u64..60, MAX_TEMPO - 20..MAX_TEMPO + 5],
        ) {
            let mut chain = Chain { block: 1_000, last: 1_000 - age, pending, index: 5, since, tempo };
            let (clock, now) = (chain.clock(), BlockNumber(1_000));
            let mut index = chain.index;
            for _ in 0..200 {
                chain.step();
                let at = BlockNumber(chain.block);
                prop_assert_eq!(clock.epoch_of(at, now, SUBNET), chain.index, "block {}", at);
                if chain.index > index {
                    index = chain.index;
                    prop_assert_eq!(clock.first_block_of(index, now, SUBNET), Some(at));
                }
            }
            prop_assert_eq!(clock.first_block_of(5, now, SUBNET), None);
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
