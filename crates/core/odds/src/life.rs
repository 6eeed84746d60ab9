//! One node from its first check on, judged by the product's own code.

use basilica_scoring::history::{Check, Conduct, Entry, Policy};
use basilica_types::{Ppm, Timestamp};
use basilica_verification::series::{self, Next};
use basilica_verification::timing::{DeadlineRecord, Observed, Tests};
use basilica_verification::{
    Blame, CheckKind, Control, Due, Fault, Intervals, Outcome, Reason, RetryRules, Series,
};

use crate::weather::Weather;

/// All rules that a life goes by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// When checks are due.
    pub intervals: Intervals,
    /// When a failure is confirmed.
    pub retries: RetryRules,
    /// What verdicts come to.
    pub scoring: Policy,
    /// What makes a node late, or one that breaks off.
    pub tests: Tests,
}

/// A node so far.
#[derive(Clone, Debug)]
pub struct Life<'r> {
    rules: &'r Rules,
    due: Due,
    series: Option<(CheckKind, Series)>,
    deadlines: DeadlineRecord,
    conduct: Conduct,
    /// The last pass of a run of passes that nothing else depends on yet: told when something does.
    run: Option<(CheckKind, Timestamp)>,
    /// A full check of this run has been told.
    full_told: bool,
    weather: Weather,
    /// What was counted.
    pub counts: Counts,
}

/// What happened in a life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bans that began while none ran.
    pub bans: u32,
    /// Ends of bans as they were imposed or extended, with the moment.
    pub ban_ends: Vec<(Timestamp, Timestamp)>,
    /// The ramp began anew, each time.
    pub resets: Vec<Timestamp>,
    /// Checks that were concluded against the node, by confirmed fault.
    pub confirmed: Vec<Timestamp>,
}

impl<'r> Life<'r> {
    /// A node that is seen for the first time at `start`.
    pub fn new(rules: &'r Rules, start: Timestamp, weather: Weather) -> Self {
        Self {
            rules,
            due: Due::at_once(start),
            series: None,
            deadlines: DeadlineRecord::default(),
            conduct: Conduct::default(),
            run: None,
            full_told: false,
            weather,
            counts: Counts::default(),
        }
    }

    /// Its uptime multiplier at a moment up to which it was lived.
    pub fn multiplier(&mut self, at: Timestamp) -> Ppm {
        self.tell_run();
        self.conduct.multiplier(&self.rules.scoring, at)
    }

    /// Lives until before `end`, skipping over what cannot fail.
    pub fn live_until(&mut self, end: Timestamp) {
        while self.due.next() < end {
            let at = self.due.next();
            let calm = self.weather.calm_until(at).min(end);
            let may_skip = self.series.is_none() && calm > at && self.weather.lucky_tries() > 0;
            if !(may_skip && self.skip(calm)) {
                self.try_once(at);
            }
        }
    }

    /// The same, check by check.
    pub fn live_through_until(&mut self, end: Timestamp) {
        while self.due.next() < end {
            self.try_once(self.due.next());
        }
    }

    /// All passes before `calm`, or before luck runs out, or before a full check whose pass completes what earlier ones are found
    /// for. Whether there were any.
    ///
    /// A pass after a pass changes nothing but the time up to which the ramp counts, so of a run only the first one, the
    /// first full one and the last one are told.
    fn skip(&mut self, calm: Timestamp) -> bool {
        let intervals = &self.rules.intervals;
        let mut left = self.weather.lucky_tries();
        let (mut first, mut first_full, mut last) = (None, None, None);
        while left > 0 && self.due.next() < calm {
            let at = self.due.next();
            let met = self.deadlines.after(Observed::Met, &self.rules.tests, at);
            if self.due.full <= at && met.found(&self.rules.tests, &self.rules.retries, at).is_some() {
                break;
            }
            first = first.or_else(|| self.due.kind(at).map(|kind| (kind, at)));
            if self.due.full <= at {
                self.due = self.due.after(CheckKind::Full, &Outcome::Passed, intervals, at);
                self.deadlines = met;
                first_full = first_full.or(Some((CheckKind::Full, at)));
                last = Some((CheckKind::Full, at));
                left -= 1;
                self.weather.skip(1);
            } else {
                let before = self.due.full.min(calm).since(at).0;
                let fit = before.div_ceil(intervals.light.0.max(1)).min(left);
                let at = Timestamp(at.0.saturating_add_unsigned((fit - 1).saturating_mul(intervals.light.0)));
                self.due = self.due.after(CheckKind::Light, &Outcome::Passed, intervals, at);
                last = Some((CheckKind::Light, at));
                left -= fit;
                self.weather.skip(fit);
            }
        }
        for (kind, at) in [first, first_full, last].into_iter().flatten() {
            self.pass(kind, at);
        }
        first.is_some()
    }

    /// A pass. After another one, with the ramp begun, it waits for the end of the run.
    fn pass(&mut self, kind: CheckKind, at: Timestamp) {
        if self.run.is_some_and(|(_, told)| told >= at) {
            return;
        }
        let changes_nothing = kind == CheckKind::Light || self.full_told;
        if self.run.is_some() && self.conduct.has_begun_ramp() && changes_nothing {
            self.run = Some((kind, at));
        } else {
            self.tell_run();
            self.tell(kind, at, at, Outcome::Passed);
            self.run = Some((kind, at));
            self.full_told |= kind == CheckKind::Full;
        }
    }

    fn tell_run(&mut self) {
        if let Some((kind, at)) = self.run {
            self.tell(kind, at, at, Outcome::Passed);
        }
    }

    /// One try, and what follows from it: as the service concludes it.
    fn try_once(&mut self, at: Timestamp) {
        let Some(kind) = self.due.kind(at) else { return };
        let retries = &self.rules.retries;
        let before = self.series.filter(|(of, _)| *of == kind).map(|(_, series)| series);
        let before = before.filter(|series| series.is_continued(at, retries));
        let started = before.map_or(at, |series| series.since);
        let failure = self.weather.try_at(at, kind == CheckKind::Full, retries.interval);
        if kind == CheckKind::Full
            && let Some(observed) = observed(failure)
        {
            self.deadlines = self.deadlines.after(observed, &self.rules.tests, at);
        }
        let is_proven = failure.is_some_and(|(reason, _)| reason.blame() == Blame::Proven);
        if kind == CheckKind::Full
            && !is_proven
            && let Some((reason, anew)) = self.deadlines.found(&self.rules.tests, retries, at)
        {
            self.deadlines = anew;
            let outcome = Outcome::Failed { reason, fault: Fault::Node { confirmed: true } };
            return self.conclude(kind, started, at, outcome);
        }
        let Some((reason, control)) = failure else {
            return self.conclude(kind, started, at, Outcome::Passed);
        };
        match series::after_failure(before, reason, control, retries, at) {
            Next::Conclude { fault, .. } => {
                self.conclude(kind, started, at, Outcome::Failed { reason, fault });
            }
            Next::Retry { series, at } => {
                let at = at + retries.jitter(self.weather.number());
                self.series = Some((kind, series));
                // As the store keeps a try: no light check runs while a full one is retried.
                self.due.light = at;
                if kind == CheckKind::Full {
                    self.due.full = at;
                }
            }
        }
    }

    fn conclude(&mut self, kind: CheckKind, started: Timestamp, at: Timestamp, outcome: Outcome) {
        let due = self.due.after(kind, &outcome, &self.rules.intervals, at);
        // As the store keeps it: a light check never moves the full one.
        self.due = if kind == CheckKind::Light { Due { full: self.due.full, ..due } } else { due };
        self.series = None;
        if outcome == Outcome::Passed {
            return self.pass(kind, at);
        }
        self.tell_run();
        (self.run, self.full_told) = (None, false);
        let (had_begun, banned) = (self.conduct.has_begun_ramp(), self.conduct.banned_until(at));
        self.tell(kind, started, at, outcome);
        if had_begun && !self.conduct.has_begun_ramp() {
            self.counts.resets.push(at);
        }
        if let (now, Some(until)) = (banned, self.conduct.banned_until(at))
            && Some(until) > now
        {
            self.counts.bans += u32::from(now.is_none());
            self.counts.ban_ends.push((at, until));
        }
        if let Outcome::Failed { fault: Fault::Node { confirmed: true }, .. } = outcome {
            self.counts.confirmed.push(at);
        }
    }

    fn tell(&mut self, kind: CheckKind, started: Timestamp, at: Timestamp, outcome: Outcome) {
        let check = Check::concluded(kind, started, at, &outcome);
        self.conduct.apply(&Entry::Check(check), &self.rules.scoring);
    }
}

/// What a full check is to the tests over time: a line that broke in its midst is a break, one that never came about is
/// nothing, and whatever came to its end met its deadlines.
const fn observed(failure: Option<(Reason, Control)>) -> Option<Observed> {
    match failure {
        None | Some((Reason::ProofOpeningMismatch, _)) => Some(Observed::Met),
        Some((Reason::ConnectionLost, control)) => Some(Observed::Broken(control)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use crate::weather::{Bursts, Climate};
    use basilica_types::Millis;
    use proptest::prelude::*;

    const START: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn climate() -> impl Strategy<Value = Climate> {
        let bursts = || {
            prop_oneof![
                Just(None),
                (600.0..200_000.0, 10.0..4_000.0)
                    .prop_map(|(good_secs, bad_secs)| Some(Bursts { good_secs, bad_secs })),
            ]
        };
        let spurious = prop_oneof![Just(0.0), 0.001..0.5f64];
        (spurious, bursts(), bursts(), prop::option::of((0.0..400_000.0, 0.0..9_000.0))).prop_map(
            |(spurious, path, uplink, down)| Climate { spurious, path, uplink, down, tampered_from: None },
        )
    }

    proptest! {
        #[test]
        fn skipping_over_passes_changes_nothing(climate in climate(), seed: u64) {
            let rules = Rules::default();
            let end = START + Millis::from_secs(8 * 86_400);
            let life = |skips: bool| {
                let mut life = Life::new(&rules, START, Weather::new(climate, START, Chance::new(seed)));
                if skips { life.live_until(end) } else { life.live_through_until(end) }
                life
            };
            let (mut skipped, mut lived) = (life(true), life(false));
            prop_assert_eq!(&skipped.counts, &lived.counts);
            prop_assert_eq!(skipped.due, lived.due);
            prop_assert_eq!(skipped.deadlines.found(&rules.tests, &rules.retries, end), lived.deadlines.found(&rules.tests, &rules.retries, end));
            prop_assert_eq!(skipped.multiplier(end), lived.multiplier(end));
            prop_assert_eq!(&skipped.conduct, &lived.conduct);
        }
    }
}
