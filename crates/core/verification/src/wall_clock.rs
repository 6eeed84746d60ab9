//! Whether this machine's wall clock can be right, by the time of the newest finalised block.
//!
//! The chain's authors date their blocks, and importers refuse one dated more than 30 s ahead of their own clocks. So a finalised
//! block is of the past for whoever has the right time, and a clock that is before it is wrong, whatever the chain does. The
//! other way round it is not known who is wrong: a chain that stands still, or an endpoint that no longer follows it, shows
//! old blocks to a clock that is right. Hence [`WrongClock::Behind`] stops what carries times, and [`WrongClock::Ahead`]
//! only tells.
//!
//! Rejected: asking servers of NTP. That is the system's to do, and a second opinion of the time would be a second clock.

use basilica_types::{Millis, Timestamp};

/// So far the newest finalised block may be ahead of our clock: twice what importers let an author's clock be ahead of theirs.
pub const BEHIND_MOST: Millis = Millis::from_secs(60);

/// So old the newest finalised block may be: it lags some blocks of 12 s when all is well, and minutes where finality stalls
/// for a while, which mends itself.
pub const AHEAD_MOST: Millis = Millis::from_secs(15 * 60);

/// Why our clock and the chain cannot both be right. The words are for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongClock {
    /// The newest finalised block is of our future.
    #[error(
        "this machine's clock says {}, before the newest finalised block ({}): set it by NTP. No check begins meanwhile",
        .ours.rfc3339(), .block.rfc3339()
    )]
    Behind {
        /// What our clock says.
        ours: Timestamp,
        /// The block's time.
        block: Timestamp,
    },
    /// The newest finalised block is too old.
    #[error(
        "this machine's clock says {}, the newest finalised block is of {}: set the clock by NTP; if it is right, the \
         chain or its endpoint stands still: name others in bittensor.fallback_endpoints",
        .ours.rfc3339(), .block.rfc3339()
    )]
    Ahead {
        /// What our clock says.
        ours: Timestamp,
        /// The block's time.
        block: Timestamp,
    },
}

impl WrongClock {
    /// Compares our clock with the time of the newest finalised block.
    ///
    /// # Errors
    ///
    /// Where they are more than [`BEHIND_MOST`] or [`AHEAD_MOST`] apart.
    pub fn compare(ours: Timestamp, block: Timestamp) -> Result<(), Self> {
        if block.since(ours) > BEHIND_MOST {
            Err(Self::Behind { ours, block })
        } else if ours.since(block) > AHEAD_MOST {
            Err(Self::Ahead { ours, block })
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BLOCK: Timestamp = Timestamp::from_secs(1_735_689_600);

    fn at(offset_ms: i64) -> Result<(), WrongClock> {
        WrongClock::compare(Timestamp(BLOCK.0 + offset_ms), BLOCK)
    }

    #[test]
    fn the_bounds_themselves_are_right() {
        for right in [-60_000, -1, 0, 36_000, 900_000] {
            assert_eq!(at(right), Ok(()), "{right}");
        }
        let ours = |offset: i64| Timestamp(BLOCK.0 + offset);
        assert_eq!(at(-60_001), Err(WrongClock::Behind { ours: ours(-60_001), block: BLOCK }));
        assert_eq!(at(900_001), Err(WrongClock::Ahead { ours: ours(900_001), block: BLOCK }));
    }

    #[test]
    fn the_words_have_both_times_and_what_to_do_and_are_not_cut() {
        // A readiness reason has room for 256 characters.
        let behind = at(-3_600_000).unwrap_err().to_string();
        assert!(behind.contains("2024-12-31T23:00:00.000Z, before") && behind.contains("NTP"), "{behind}");
        let ahead = at(3_600_000).unwrap_err().to_string();
        assert!(
            ahead.contains("fallback_endpoints") && ahead.contains("2025-01-01T01:00:00.000Z"),
            "{ahead}"
        );
        for words in [behind, ahead] {
            assert!(words.contains("2025-01-01T00:00:00.000Z") && words.chars().count() <= 256, "{words}");
        }
    }

    proptest! {
        #[test]
        fn any_two_times_are_compared_by_their_distance_alone(ours: i64, block: i64) {
            let ahead = i128::from(ours) - i128::from(block);
            let (ours, block) = (Timestamp(ours), Timestamp(block));
            let expected = match ahead {
                ..-60_000 => Err(WrongClock::Behind { ours, block }),
                900_001.. => Err(WrongClock::Ahead { ours, block }),
                _ => Ok(()),
            };
            prop_assert_eq!(WrongClock::compare(ours, block), expected);
        }

        #[test]
        fn near_times_are_compared_by_their_distance_alone(offset in -1_800_000_i64..1_800_000) {
            prop_assert_eq!(at(offset).is_ok(), (-60_000..=900_000).contains(&offset));
        }
    }
}
