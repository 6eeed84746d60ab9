//! The epoch clock of spec 365 and older: a function of the block number alone.
//!
//! Written here anew although products have it in `basilica-schedule`: this chain judges their predictions, and a judge
//! does not ask the judged.

/// The epochs of one subnet by block number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModularClock {
    /// The subnet; its number shifts the clock.
    pub netuid: u16,
    /// `Tempo`.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subnets_number_shifts_the_clock() {
        let clock = ModularClock { netuid: 39, tempo: 359 };
        assert_eq!([clock.epoch_at(319), clock.epoch_at(320)], [0, 1]);
        assert_eq!([clock.first_block_of(1), clock.first_block_of(2)], [320, 680]);
        let last = ModularClock { netuid: u16::MAX, tempo: u16::MAX };
        assert_eq!(last.epoch_at(u64::MAX), u64::MAX / 65_536);
        assert_eq!(last.first_block_of(u64::MAX), u64::MAX - 65_536);
    }
}
