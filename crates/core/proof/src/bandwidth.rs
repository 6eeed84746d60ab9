//! Tier T4: how fast bytes were moved, as a lower bound in bytes per second.
//!
//! # What it bounds
//! Both ends of the time are events at the validator: it sent what nobody could know before (a walk's nonce, a stream's
//! seed), and it received what cannot be made without the bytes (the last step's root, the stream's last byte). All of the bytes
//! were moved in between, so the true rate is not below the quotient. Everything else that happened meanwhile (the
//! network's way there and back, starting, hashing, the other devices' barriers) makes the quotient smaller, never larger. It is
//! rounded down.
//!
//! # What it does not
//! - *From above.* A node can always be slow. The quotient is neither the peak nor what a device streams: a walk
//!   reads 64 bytes at random places.
//! - *Where the bytes were.* A region that fits into a cache is read from it: a simulated device's 2 MiB say nothing about
//!   memory. Of another space the walk shows that it is no slower than the figure, not that it is that space; a file's
//!   items come from the page cache if the node has the memory for them.
//! - *Steps that were skipped.* A prover that skips a share e of the steps in all lanes passes with (1 − e)^picks, and its
//!   figure is too high by that share: 10 % with a probability of 0.1 % at 64 picks. Failing the rest of the time, which convicts it, is the
//!   price.
//! - *A stream's way.* It ends in whoever holds the SSH host key, which may be a front that stands nearer than the node.
//!   The validator's own link is part of the way, and all that share it.

use std::time::Duration;

use crate::verifier::WalkTime;

/// Whole bytes per second, rounded down; nothing for no time at all, which a replayed transcript has.
pub fn bytes_per_second(bytes: u64, took: Duration) -> Option<u64> {
    const NANOS: u128 = 1_000_000_000;
    let rate = (u128::from(bytes) * NANOS).checked_div(took.as_nanos())?;
    Some(u64::try_from(rate).unwrap_or(u64::MAX))
}

impl WalkTime {
    /// What the device read of this space per second at least: see the module for what that bounds.
    pub fn bytes_per_second(&self) -> Option<u64> {
        bytes_per_second(self.params.bytes_read(), self.took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_rate_is_whole_bytes_rounded_down() {
        assert_eq!(bytes_per_second(6_700_000_000_000, Duration::from_secs(2)), Some(3_350_000_000_000));
        assert_eq!(bytes_per_second(10, Duration::from_secs(3)), Some(3));
        assert_eq!(bytes_per_second(0, Duration::from_nanos(1)), Some(0));
        assert_eq!(bytes_per_second(1, Duration::ZERO), None);
        assert_eq!(bytes_per_second(u64::MAX, Duration::from_nanos(1)), Some(u64::MAX));
        assert_eq!(bytes_per_second(u64::MAX, Duration::MAX), Some(0));
    }

    proptest! {
        #[test]
        fn a_rate_never_claims_more_than_was_moved(bytes in 0..1u64 << 50, nanos in 1..1u64 << 42) {
            let rate = bytes_per_second(bytes, Duration::from_nanos(nanos)).unwrap();
            let moved = u128::from(rate) * u128::from(nanos);
            prop_assert!(moved <= u128::from(bytes) * 1_000_000_000);
            prop_assert!(moved + u128::from(nanos) > u128::from(bytes) * 1_000_000_000);
        }

        #[test]
        fn taking_longer_never_raises_it(bytes: u64, nanos in 1..1u64 << 60, more in 0..1u64 << 60) {
            let rate = |nanos| bytes_per_second(bytes, Duration::from_nanos(nanos)).unwrap();
            prop_assert!(rate(nanos + more) <= rate(nanos));
        }
    }
}
