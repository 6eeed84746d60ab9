//! Openings that were cut off after the nonce was known (RULES R4: a later pass never erases them).
//!
//! Once a prover has committed to its work and reads the nonce, it knows which cells it must show. One that skipped work
//! and sees that it will be caught can end, fall silent, send rubbish or drop the connection, and try its luck with
//! the next challenge; each such end looks like a glitch, and a pass ends the series of failed tries. So every
//! one of them is kept for [`WINDOW`], whatever passes in between, and [`CONFIRMED_BY`] of them are a confirmed fault.
//! An honest node meets this only if its connection breaks within the moment of the opening, so often, while
//! everything else is seen to work. Only cut-offs beside a reachable control are kept.
//!
//! Rejected: to judge one cut-off as proven, because one broken connection at the wrong moment is no fraud.

use basilica_types::{Millis, Timestamp};

use crate::RetryRules;

/// How long a cut-off opening counts.
pub const WINDOW: Millis = Millis::from_secs(24 * 3600);
/// So many within [`WINDOW`] confirm a fault.
pub const CONFIRMED_BY: usize = 3;

/// Whether the cut-off openings up to now, in any order, confirm a fault: enough of them, and spread over at least the
/// span that any confirmation takes, so that one short outage is not enough.
pub fn is_confirmed(openings: &[Timestamp], rules: &RetryRules, now: Timestamp) -> bool {
    let counted = || openings.iter().filter(|at| **at <= now && now.since(**at) <= WINDOW);
    let (Some(first), Some(last)) = (counted().min(), counted().max()) else { return false };
    counted().count() >= CONFIRMED_BY && last.since(*first) >= rules.span
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const HOUR: u64 = 3600;

    fn ago(seconds: u64) -> Timestamp {
        NOW - Millis::from_secs(seconds)
    }

    #[test]
    fn three_cut_off_openings_within_a_day_confirm_whatever_passed_in_between() {
        let rules = RetryRules::default();
        assert!(is_confirmed(&[ago(12 * HOUR), ago(6 * HOUR), NOW], &rules, NOW));
        assert!(!is_confirmed(&[ago(6 * HOUR), NOW], &rules, NOW));
        assert!(!is_confirmed(&[ago(25 * HOUR), ago(6 * HOUR), NOW], &rules, NOW));
    }

    #[test]
    fn one_short_outage_confirms_nothing() {
        let rules = RetryRules::default();
        let span = rules.span.0 / 1_000;
        assert!(!is_confirmed(&[ago(span - 1), ago(40), NOW], &rules, NOW));
        assert!(is_confirmed(&[ago(span), ago(40), NOW], &rules, NOW));
        assert!(!is_confirmed(&[], &rules, NOW));
    }
}
