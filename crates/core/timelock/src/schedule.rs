//! When a commit is revealed: the chain's epoch clock, simulated, and the beacon round that falls into the right epoch.
//!
//! The chain opens timelocked commits in the one epoch that is `reveal_period` after the epoch of the commit, and drops
//! them after it. A round that is too late never opens; one that is too early gives the weights away. The choice
//! therefore follows the chain's block pipeline exactly: within a block, reveals run before epochs, so a reveal sees an
//! epoch that is due in that very block as already begun, and so does a commit.
//!
//! Two clocks exist: the stateful one ([`EpochClock`]) and the modular one of runtimes up to about spec 400
//! ([`ModularClock`]). Which one a chain has is told by its metadata, not by a number.
//!
//! Not modelled: the chain may defer an epoch by a block when many are due at once. The margin of
//! [`INGEST_MARGIN_BLOCKS`] covers that, as it does in the public SDKs.

use basilica_types::{Millis, Timestamp};

use crate::Round;

/// Blocks after which an epoch runs in any case.
pub const MAX_TEMPO: u64 = 50_400;
/// Blocks between the first reveal block and the target of the round, for the pulse to arrive on chain.
pub const INGEST_MARGIN_BLOCKS: u64 = 3;
/// Longest reveal period that the chain lets a subnet have.
pub const MAX_REVEAL_PERIOD: u64 = 100;

/// Why no reveal block can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The subnet runs no epochs.
    #[error("the subnet's tempo is 0: it runs no epochs, so nothing committed is ever revealed")]
    NoEpochs,
    /// Not a period that the chain lets a subnet have.
    #[error("a reveal period of {0} epochs is not within 1 to 100")]
    RevealPeriod(u64),
    /// The state that was read cannot be the chain's.
    #[error("no reveal block within {0} blocks: the epoch clock that was read cannot be right")]
    NotReached(u64),
}

/// A subnet's stateful epoch clock after some block, as its storage items have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochClock {
    /// `LastEpochBlock`.
    pub last_epoch_block: u64,
    /// `PendingEpochAt`; 0 is none.
    pub pending_epoch_at: u64,
    /// `SubnetEpochIndex`.
    pub epoch_index: u64,
    /// `BlocksSinceLastStep`.
    pub blocks_since_last_step: u64,
    /// `Tempo`; 0 is a subnet without epochs.
    pub tempo: u16,
}

impl EpochClock {
    /// Whether an epoch is due at `block`.
    #[must_use]
    pub const fn is_due(&self, block: u64) -> bool {
        self.tempo != 0
            && ((self.pending_epoch_at > 0 && block >= self.pending_epoch_at)
                || self.blocks_since_last_step > MAX_TEMPO
                || block.saturating_sub(self.last_epoch_block) >= self.tempo as u64)
    }

    /// The epoch to which commits and reveals at `block` belong; `self` is the clock after the block before.
    #[must_use]
    pub const fn epoch_at(&self, block: u64) -> u64 {
        self.epoch_index.saturating_add(self.is_due(block) as u64)
    }

    /// The clock after `block` has run.
    #[must_use]
    pub const fn after(mut self, block: u64) -> Self {
        self.blocks_since_last_step = self.blocks_since_last_step.saturating_add(1);
        if self.is_due(block) {
            self.last_epoch_block = block;
            self.pending_epoch_at = 0;
            self.epoch_index = self.epoch_index.saturating_add(1);
            self.blocks_since_last_step = 0;
        }
        self
    }

    /// The first block whose reveals open a commit that is included in the block after `head`; `self` is the clock after
    /// `head`.
    ///
    /// # Errors
    /// A subnet without epochs, an impossible period, or a clock that leads nowhere.
    pub fn first_reveal_block(&self, head: u64, reveal_period: u64) -> Result<u64, ScheduleError> {
        if self.tempo == 0 {
            return Err(ScheduleError::NoEpochs);
        }
        if !(1..=MAX_REVEAL_PERIOD).contains(&reveal_period) {
            return Err(ScheduleError::RevealPeriod(reveal_period));
        }
        let included = head.saturating_add(1);
        let target = self.epoch_at(included).saturating_add(reveal_period);
        let limit = reveal_period.saturating_add(1).saturating_mul(MAX_TEMPO);
        let mut clock = *self;
        for block in included..=included.saturating_add(limit) {
            if clock.epoch_at(block) == target {
                return Ok(block);
            }
            clock = clock.after(block);
        }
        Err(ScheduleError::NotReached(limit))
    }
}

/// The epoch clock of older runtimes: a function of the block number alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModularClock {
    /// The subnet; its number shifts the clock.
    pub netuid: u16,
    /// `Tempo`; 0 is a subnet without epochs.
    pub tempo: u16,
}

impl ModularClock {
    /// The epoch of `block`.
    #[must_use]
    pub const fn epoch_at(&self, block: u64) -> u64 {
        block.saturating_add(self.netuid as u64 + 1) / (self.tempo as u64 + 1)
    }

    /// The first block of `epoch`.
    #[must_use]
    pub const fn first_block_of(&self, epoch: u64) -> u64 {
        epoch.saturating_mul(self.tempo as u64 + 1).saturating_sub(self.netuid as u64 + 1)
    }

    /// The first block of the epoch that reveals a commit made now.
    ///
    /// Older runtimes date a commit by the block that includes it, the older SDKs by the head they saw; at the seam of two
    /// epochs that differs. This takes the chain's view, with inclusion in the next block.
    ///
    /// # Errors
    /// A subnet without epochs or an impossible period.
    pub fn first_reveal_block(&self, head: u64, reveal_period: u64) -> Result<u64, ScheduleError> {
        if self.tempo == 0 {
            return Err(ScheduleError::NoEpochs);
        }
        if !(1..=MAX_REVEAL_PERIOD).contains(&reveal_period) {
            return Err(ScheduleError::RevealPeriod(reveal_period));
        }
        let epoch = self.epoch_at(head.saturating_add(1));
        Ok(self.first_block_of(epoch.saturating_add(reveal_period)))
    }
}

/// When a beacon publishes its rounds: round 1 at `genesis`, then one each `period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeaconClock {
    /// Publication of round 1.
    pub genesis: Timestamp,
    /// Time between two rounds; 0 counts as 1 ms.
    pub period: Millis,
}

impl BeaconClock {
    /// drand's quicknet.
    pub const QUICKNET: Self = Self { genesis: Timestamp(1_692_803_367_000), period: Millis(3_000) };

    const fn period_ms(&self) -> u64 {
        if self.period.0 == 0 { 1 } else { self.period.0 }
    }

    /// The latest round published at `at`; none before the genesis.
    #[must_use]
    pub fn latest(&self, at: Timestamp) -> Option<Round> {
        (at >= self.genesis).then(|| Round(at.since(self.genesis).0 / self.period_ms() + 1))
    }

    /// When `round` is published; saturates at the end of time.
    #[must_use]
    pub const fn published(&self, round: Round) -> Timestamp {
        let after = round.0.saturating_sub(1).saturating_mul(self.period_ms());
        self.genesis.saturating_add(Millis(after))
    }

    /// The round to encrypt to so that it is on chain shortly after `first_reveal_block`, seen from `head` at `now`.
    ///
    /// As the public SDKs choose it: the number of whole periods until [`INGEST_MARGIN_BLOCKS`] after that block, which is
    /// the round before the one published then; never 0.
    #[must_use]
    pub fn reveal_round(
        &self,
        now: Timestamp,
        head: u64,
        first_reveal_block: u64,
        block_time: Millis,
    ) -> Round {
        let target = first_reveal_block.saturating_add(INGEST_MARGIN_BLOCKS);
        let wait = Millis(target.saturating_sub(head).saturating_mul(block_time.0));
        Round((now.saturating_add(wait).since(self.genesis).0 / self.period_ms()).max(1))
    }
}
