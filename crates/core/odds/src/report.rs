//! Counting lives.

use basilica_types::{Millis, Ppm, Timestamp};

use crate::bound;
use crate::chance::Chance;
use crate::life::{Life, Rules};
use crate::scenarios::{Scenario, Subject};
use crate::stats::{Interval, clopper_pearson};
use crate::weather::Weather;

const HOUR: Millis = Millis::from_secs(3_600);
/// A node-month.
const MONTH: Millis = Millis::from_secs(30 * 86_400);
/// An honest node has so much longer than the ramp for it (RULES R2).
const RAMP_GRACE: Millis = Millis(6 * HOUR.0);
/// Of questions that are not about rare events, so many lives tell enough.
const ENOUGH: u64 = 20_000;
/// Where time begins; no rule looks at the calendar.
const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// How many of how many.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Measure {
    /// Of what.
    pub what: &'static str,
    /// So many.
    pub hits: u64,
    /// Of so many.
    pub of: u64,
    /// Bounds of the rate, 95 %.
    pub interval: Interval,
    /// What the rate is to keep to; none if it only informs.
    pub limit: Option<Limit>,
    /// Whether it does, as far as the interval tells.
    pub holds: Option<bool>,
}

/// What is demanded of a rate.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// It is not above.
    AtMost(f64),
    /// It is not below.
    AtLeast(f64),
}

impl Limit {
    /// Whether a rate within the interval keeps to it; none if one may and another may not.
    fn holds(self, interval: Interval) -> Option<bool> {
        match self {
            Self::AtMost(most) if interval.high <= most => Some(true),
            Self::AtMost(most) if interval.low > most => Some(false),
            Self::AtLeast(least) if interval.low >= least => Some(true),
            Self::AtLeast(least) if interval.high < least => Some(false),
            Self::AtMost(_) | Self::AtLeast(_) => None,
        }
    }
}

/// What a scenario came to.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Report {
    /// Its name.
    pub scenario: &'static str,
    /// What happens in it.
    pub what: &'static str,
    /// Node-months that were lived.
    pub node_months: u64,
    /// What was counted.
    pub measures: Vec<Measure>,
    /// Most bans in a node-month that independent failures can cause, computed without chance; none where they are not
    /// all that happens.
    pub analytic_bans_per_node_month: Option<f64>,
}

/// Lives through a scenario so many times; `progress` hears how many are done, now and then.
pub fn simulate(
    scenario: &Scenario,
    rules: &Rules,
    node_months: u64,
    seed: u64,
    progress: &mut dyn FnMut(u64),
) -> Report {
    let node_months = if scenario.subject == Subject::Honest { node_months } else { node_months.min(ENOUGH) };
    let mut hits = [0u64; 4];
    for life in 0..node_months {
        if life % 1_024 == 0 {
            progress(life);
        }
        let mut chance = Chance::of(scenario.name, &[seed, life]);
        let climate = scenario.climate(&mut chance);
        let life = Life::new(rules, START, Weather::new(climate, START, chance));
        for (hit, counted) in count(scenario.subject, life, rules).into_iter().zip(&mut hits) {
            *counted += u64::from(hit);
        }
    }
    progress(node_months);
    let measures = questions(scenario.subject).iter().zip(hits).map(|((what, limit), hits)| {
        let interval = clopper_pearson(hits, node_months.max(1));
        let holds = limit.and_then(|limit| limit.holds(interval));
        Measure { what, hits, of: node_months, interval, limit: *limit, holds }
    });
    Report {
        scenario: scenario.name,
        what: scenario.what,
        node_months,
        measures: measures.collect(),
        analytic_bans_per_node_month: scenario.independent().map(|rate| bound::bans_per_month(rate, rules)),
    }
}

type Question = (&'static str, Option<Limit>);

const fn questions(subject: Subject) -> &'static [Question] {
    match subject {
        Subject::Honest => &[
            ("node-months with a ban", Some(Limit::AtMost(1e-6))),
            ("ramps complete within the ramp and 6 h", Some(Limit::AtLeast(0.99))),
            ("node-months with a reset ramp", None),
            ("node-months with a confirmed fault", None),
        ],
        Subject::Down(_) => &[("ramps reset", None), ("nodes banned", None)],
        Subject::Tampered => &[
            ("ramps reset by the first full check of the cheating prover", Some(Limit::AtLeast(0.999))),
            ("banned for 30 min by the second within the hour", None),
            ("banned for 12 h by the third within 6 h", None),
        ],
        Subject::Flapping => &[("node-months with a ban", None), ("ramps above zero in the end", None)],
    }
}

/// The answers to [`questions`], of one life.
fn count(subject: Subject, mut life: Life<'_>, rules: &Rules) -> [bool; 4] {
    let end = START + MONTH;
    let ramp_due = START + rules.scoring.ramp + RAMP_GRACE;
    life.live_until(ramp_due.min(end));
    let complete = life.multiplier(ramp_due.min(end)) == Ppm::ONE;
    life.live_until(end);
    let counts = &life.counts;
    let (banned, reset) = (counts.bans > 0, !counts.resets.is_empty());
    match subject {
        Subject::Honest => [banned, complete, reset, !counts.confirmed.is_empty()],
        Subject::Down(_) => [reset, banned, false, false],
        Subject::Flapping => [banned, life.multiplier(end) > Ppm::ZERO, false, false],
        Subject::Tampered => {
            let ban_of = |event: usize| {
                let at = counts.confirmed.get(event)?;
                counts.ban_ends.iter().find(|(imposed, _)| imposed == at).map(|(_, until)| until.since(*at))
            };
            let at_once = counts.resets.first() == counts.confirmed.first() && reset;
            [at_once, ban_of(1) == Some(Millis(HOUR.0 / 2)), ban_of(2) == Some(Millis(12 * HOUR.0)), false]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios::ALL;

    fn report(name: &str, node_months: u64) -> Report {
        let scenario = ALL.iter().find(|scenario| scenario.name == name).unwrap();
        simulate(scenario, &Rules::default(), node_months, 1, &mut |_| {})
    }

    fn rate(report: &Report, place: usize) -> f64 {
        let Measure { hits, of, .. } = report.measures[place];
        #[expect(clippy::cast_precision_loss, reason = "small counts")]
        let rate = hits as f64 / of as f64;
        rate
    }

    #[test]
    fn honest_nodes_are_not_banned_and_complete_their_ramps() {
        for scenario in ALL.iter().filter(|scenario| scenario.subject == Subject::Honest) {
            let report = report(scenario.name, 300);
            assert_eq!(report.measures[0].hits, 0, "{report:?}");
            assert!(rate(&report, 1) >= 0.99, "{report:?}");
        }
    }

    #[test]
    fn the_analytic_bound_is_below_one_in_a_million() {
        let bound = report("independent", 1).analytic_bans_per_node_month.unwrap();
        assert!(bound > 0.0 && bound < 1e-6, "{bound}");
    }

    #[test]
    fn a_tampered_prover_is_reset_at_once_and_banned_by_the_table() {
        let report = report("tampered", 200);
        for place in 0..3 {
            assert!(rate(&report, place) > 0.9, "{report:?}");
        }
        assert_eq!(rate(&report, 0), 1.0, "{report:?}");
    }

    #[test]
    fn real_downtime_beyond_the_tolerance_resets_and_less_does_not() {
        assert_eq!(rate(&report("down-20", 200), 0), 0.0);
        assert_eq!(rate(&report("down-60", 200), 0), 1.0);
        assert_eq!(rate(&report("down-60", 200), 1), 0.0, "one outage is one event");
    }

    #[test]
    fn a_flapping_node_is_banned() {
        assert_eq!(rate(&report("flapping", 100), 0), 1.0);
    }

    #[test]
    fn a_seed_gives_one_report() {
        assert_eq!(report("bursts-short", 50), report("bursts-short", 50));
    }
}
