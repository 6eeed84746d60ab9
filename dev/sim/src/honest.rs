//! Honest nodes: how often one is found at fault.
//!
//! Times are drawn from the model (a card's own deviation, jitter, 1 % packet loss, spells of 10 %), compared with the
//! deadlines that the calibration and the round trips measured on the same channel give, and judged by retries and
//! sequential test as a cheater's are. A right answer in time always passes: that depends on no chance and is
//! shown once by the real verifier ([`crate::exhibits`]).

use basilica_proof::ECHOES;
use basilica_types::{Millis, Timestamp};
use basilica_verification::calibration::{Margins, RoundTrips};
use basilica_verification::classes::{BARRIERS, GpuClass};
use basilica_verification::series::{Next, RetryRules, after_failure};
use basilica_verification::timing::{DeadlineRecord, Observed, Rates, Tests};
use basilica_verification::{Control, Fault, Intervals, Reason};

use crate::chance::Chance;
use crate::stats::{Interval, clopper_pearson};
use crate::timing_model::{
    BREAKS, BREAKS_IN_SPELL, CONTROL_REACHABLE, LOSS, LOSS_IN_SPELL, RUN_DEVIATION, SPELLS, Scenario,
    calibrated, honest_means, lone_ms, network_ms, segment_ms, to_f64, to_millis,
};

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Honest {
    /// Checks, each with its retries.
    pub checks: u64,
    /// Tries that missed a deadline.
    pub misses: u64,
    /// Tries whose connection broke after the challenge.
    pub breaks: u64,
    /// Tries.
    pub tries: u64,
    /// Checks after which the node was found at fault.
    pub false_rejects: u64,
    /// Of false rejects per check, at 95 %.
    pub rate: Interval,
    /// Analytic bound per observation by Ville's inequality, if honest misses come no oftener than assumed.
    pub bound: f64,
}

/// Checks so many times, as one node after another for a day of full checks each.
pub fn simulate(class: &GpuClass, scenario: &Scenario, checks: u64, seed: u64) -> Honest {
    let per_node = 16;
    let mut counted = Counted::default();
    let mut chance = Chance::of("honest", &[seed, scenario_number(scenario)]);
    while counted.checks < checks {
        let mut node = Node { record: DeadlineRecord::default(), now: Timestamp::from_secs(1_800_000_000) };
        for _ in 0..per_node.min(checks - counted.checks) {
            counted.checks += 1;
            if node.is_rejected(class, scenario, &mut counted, &mut chance) {
                counted.rejects += 1;
                node.record = DeadlineRecord::default();
            }
            node.now = node.now + Intervals::default().full;
        }
    }
    Honest {
        checks: counted.checks,
        misses: counted.misses,
        breaks: counted.breaks,
        tries: counted.tries,
        false_rejects: counted.rejects,
        rate: clopper_pearson(counted.rejects, counted.checks),
        bound: f64::from(Rates::default().false_reject_ppb) / 1e9,
    }
}

fn scenario_number(scenario: &Scenario) -> u64 {
    to_millis(scenario.speed * 100.0).0 * 1_000 + to_millis(scenario.jitter * 10.0).0
}

#[derive(Default)]
struct Counted {
    checks: u64,
    tries: u64,
    misses: u64,
    breaks: u64,
    rejects: u64,
}

/// An honest node between its checks.
struct Node {
    record: DeadlineRecord,
    now: Timestamp,
}

impl Node {
    /// One check with its retries; true if the node is found at fault.
    fn is_rejected(
        &mut self,
        class: &GpuClass,
        scenario: &Scenario,
        counted: &mut Counted,
        chance: &mut Chance,
    ) -> bool {
        let (tests, retries) = (Tests::default(), RetryRules::default());
        // A spell outlasts the retries of a check: misses and breaks cluster.
        let spell = chance.happens(SPELLS);
        let (loss, breaks) = if spell { (LOSS_IN_SPELL, BREAKS_IN_SPELL) } else { (LOSS, BREAKS) };
        let mut series = None;
        loop {
            counted.tries += 1;
            let broken = chance.happens(breaks);
            let missed = !broken && misses(class, scenario, loss, chance);
            counted.breaks += u64::from(broken);
            counted.misses += u64::from(missed);
            let control =
                if chance.happens(CONTROL_REACHABLE) { Control::Reachable } else { Control::Absent };
            let (observed, reason) = match (broken, missed) {
                (true, _) => (Observed::Broken(control), Reason::ConnectionLost),
                (false, true) => (Observed::Missed(control), Reason::ProofDeadlineMissed),
                (false, false) => (Observed::Met, Reason::Internal),
            };
            self.record = self.record.after(observed, &tests, self.now);
            if self.record.found(&tests, &retries, self.now).is_some() {
                return true;
            }
            if observed == Observed::Met {
                return false;
            }
            match after_failure(series, reason, control, &retries, self.now) {
                Next::Retry { series: next, at } => (series, self.now) = (Some(next), at),
                Next::Conclude { fault, .. } => return fault == Fault::Node { confirmed: true },
            }
        }
    }
}

/// Whether one honest try misses a deadline.
fn misses(class: &GpuClass, scenario: &Scenario, loss: f64, chance: &mut Chance) -> bool {
    let (work, walk) = honest_means(class, scenario);
    // As the service gives them, after the echoes.
    let mut trip = || to_millis(network_ms(chance, scenario, loss));
    let trips = RoundTrips::of(&std::array::from_fn::<_, { ECHOES as usize }, _>(|_| trip()));
    let deadlines = Margins::default().deadlines(&calibrated(class, scenario), trips);
    let slack = Margins::default().deadline(Millis(0), trips);
    let work = work * (1.0 + RUN_DEVIATION * chance.normal()) + network_ms(chance, scenario, loss);
    let walk = walk * (1.0 + RUN_DEVIATION * chance.normal());
    let late = walks_late(walk, (deadlines.walk, slack), (scenario, loss), chance);
    late || to_millis(work) > deadlines.work
}

/// Whether the root of any segment of a walk that takes so many ms comes behind its pace.
fn walks_late(
    walk: f64,
    (deadline, slack): (Millis, Millis),
    (scenario, loss): (&Scenario, f64),
    chance: &mut Chance,
) -> bool {
    let slack = to_f64(slack.0);
    let (segments, even) = (f64::from(BARRIERS) + 1.0, to_f64(deadline.0) - slack);
    // The nonce travels alone.
    let begun = lone_ms(chance, scenario, loss);
    (1..=BARRIERS + 1).any(|segment| {
        let share = f64::from(segment) / segments;
        let arrived = begun + walk * share + segment_ms(chance, scenario, loss, walk / segments);
        arrived > slack + even * share
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timing_model::{SCENARIOS, class};

    #[test]
    fn honest_nodes_miss_and_break_less_often_than_the_sequential_tests_assume() {
        for scenario in &SCENARIOS {
            let honest = simulate(class("h100-sxm"), scenario, 60_000, 1);
            let assumed = u64::from(Rates::default().honest_miss_ppm);
            assert!(honest.misses * 1_000_000 < honest.tries * assumed, "{scenario:?}: {honest:?}");
            let assumed = u64::from(Rates::breaks().honest_miss_ppm);
            assert!(honest.breaks * 1_000_000 < honest.tries * assumed, "{scenario:?}: {honest:?}");
            assert_eq!(honest.false_rejects, 0, "{scenario:?}");
        }
    }
}
