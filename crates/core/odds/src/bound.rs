//! What independent failures can do at most, without simulation.
//!
//! A check whose tries fail independently with probability p is concluded against its node only after r retries: with
//! probability p^(r+1). A full check may be found to break off besides, by the sequential test: of k breaks among at most m
//! proofs that came to their end, for some k. That is bounded by a sum over k of C(k+m-1, k-1)·p^k for each proof
//! with which such a run can begin (each further break pays for so many more passes). Call e the expected number of events per check.
//! A ban takes two events within an hour or three within a week, so by Markov's inequality a month of n checks has at most
//! n·e·(h·e) + n·e·(w·e)²/2 bans, h and w being the checks of an hour and of a week, and the checks counted as often as they can be
//! made: at the pace of a failing node.

use basilica_types::Millis;

use crate::life::Rules;

const HOUR: f64 = 3_600_000.0;
const MONTH: f64 = 30.0 * 24.0 * HOUR;
/// Terms of the sum over breaks; they fall from about the fourth on.
const TERMS: u32 = 60;

/// Most bans in a node-month if each try fails independently at this rate.
pub fn bans_per_month(rate: f64, rules: &Rules) -> f64 {
    let intervals = &rules.intervals;
    let per = |interval: Millis, span: f64| span / ms(interval);
    let confirmed = rate.powi(i32::from(rules.retries.retries) + 1);
    let found = found_broken_off(rate, rules);
    let pace = intervals.light.min(intervals.while_failing);
    let events = |span: f64| {
        (per(pace, span) + per(intervals.full_after_fault, span)) * confirmed
            + per(intervals.full_after_fault, span) * found
    };
    let month = per(intervals.light, MONTH) * confirmed + per(intervals.full, MONTH) * (confirmed + found);
    let (hour, week) = (events(HOUR), events(7.0 * 24.0 * HOUR));
    month * hour + month * week * week / 2.0
}

/// Most findings that a node breaks its proofs off, per proof.
fn found_broken_off(rate: f64, rules: &Rules) -> f64 {
    let weights = &rules.tests.breaks;
    let (miss, met, reject) =
        (f64::from(weights.miss()), f64::from(weights.met()), f64::from(weights.reject()));
    let mut sum = 0.0;
    for breaks in 1..=TERMS {
        let k = f64::from(breaks);
        let spare = k * miss - reject;
        if spare < 0.0 {
            continue;
        }
        let passes = (spare / met).floor();
        // C(k + m - 1, k - 1) as a product, which stays within a float's range.
        let ways = (1..breaks).fold(1.0, |ways, i| ways * (passes + f64::from(i)) / f64::from(i));
        sum += ways * rate.powf(k);
    }
    sum
}

#[expect(clippy::cast_precision_loss, reason = "spans of a policy are below 2^52 ms")]
const fn ms(span: Millis) -> f64 {
    span.0 as f64
}
