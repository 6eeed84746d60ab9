//! The scorecard: every adversary under every scenario, and honest nodes beside them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::adversary::{Adversary, Play, World};
use crate::catalogue::ADVERSARIES;
use crate::chance::Chance;
use crate::day::{Day, Epochs, Found, Rules};
use crate::exhibits::Judge;
use crate::honest::{Honest, simulate};
use crate::open::Open;
use crate::stats::{Interval, clopper_pearson};
use crate::timing_model::{SCENARIOS, class};

/// An adversary is found if with 97.5 % confidence a day finds it at least so often, under every scenario.
pub const FOUND_AT_LEAST: f64 = 0.999;
/// An honest node is found at fault at most so often per check.
pub const FALSE_REJECTS_AT_MOST: f64 = 1e-6;

/// How much is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Effort {
    /// Days per adversary, scenario and set of rules.
    pub days: u64,
    /// Checks of honest nodes per scenario.
    pub honest_checks: u64,
    /// Of every stream of chance.
    pub seed: u64,
}

impl Effort {
    /// Enough for the verdicts.
    pub const QUICK: Self = Self { days: 8_000, honest_checks: 100_000, seed: 1 };
    /// Enough for 10⁻⁶ by counting: no false reject in 4·10⁶ checks bounds their rate at 9.3·10⁻⁷.
    pub const FULL: Self = Self { days: 20_000, honest_checks: 4_000_000, seed: 1 };
}

/// What the scorecard says of an adversary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Found within a day, by what the service runs.
    Detected,
    /// Not, or not under every scenario.
    Open,
}

/// Days of one adversary under one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Days {
    /// Days on which it was found; none where nothing of ours decides.
    pub found: u64,
    /// Days simulated; none where no chance is involved.
    pub days: u64,
    /// Of the probability that a day finds it.
    pub rate: Interval,
    /// Reasons, with how many days each ended.
    pub reasons: BTreeMap<&'static str, u64>,
    /// The middle time until it was found, in minutes.
    pub median_minutes: Option<u64>,
}

/// One row of the scorecard.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The adversary.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub does: &'static str,
    /// Why anybody would.
    pub gains: &'static str,
    /// See [`Verdict`].
    pub verdict: Verdict,
    /// It is found at some class speeds and not at others.
    pub flips: bool,
    /// It is found under every scenario by what is decided and the service does not act on yet.
    pub by_design: bool,
    /// By scenario, as the service decides.
    pub service: Vec<Days>,
    /// By scenario, with all that is decided.
    pub design: Vec<Days>,
}

/// The whole scorecard.
#[derive(Clone, Debug, Serialize)]
pub struct Scorecard {
    /// How much was simulated.
    pub effort: Effort,
    /// Every adversary.
    pub rows: Vec<Row>,
    /// Honest nodes, by scenario.
    pub honest: Vec<Honest>,
}

/// Simulates everything.
pub fn compute(effort: Effort) -> Scorecard {
    let judge = Judge::default();
    let epochs = Epochs::of_days(256);
    let row = |adversary: &Adversary| row(adversary, effort, &judge, &epochs);
    let h100 = class("h100-sxm");
    let honest = |scenario| simulate(h100, scenario, effort.honest_checks, effort.seed);
    let (half, rest) = ADVERSARIES.split_at(ADVERSARIES.len() / 2);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| half.iter().map(row).collect::<Vec<_>>());
        let honest = scope.spawn(|| SCENARIOS.iter().map(honest).collect::<Vec<_>>());
        let second: Vec<Row> = rest.iter().map(row).collect();
        let mut rows = first.join().expect("no simulation panics");
        rows.extend(second);
        Scorecard { effort, rows, honest: honest.join().expect("no simulation panics") }
    })
}

fn row(adversary: &Adversary, effort: Effort, judge: &Judge, epochs: &Epochs) -> Row {
    let days = |rules| -> Vec<Days> {
        let by_scenario = |(number, scenario)| {
            let play = (adversary.play)(&World { scenario, judge });
            let chance = |day| Chance::of(adversary.id, &[effort.seed, number, day]);
            simulated(&play, rules, effort.days, |day| Day::new(&play, rules, epochs, chance(day)).run())
        };
        (0u64..).zip(SCENARIOS).map(by_scenario).collect()
    };
    let (service, design) = (days(Rules::SERVICE), days(Rules::DESIGN));
    let is_found = |days: &Days| days.rate.low >= FOUND_AT_LEAST;
    let found = service.iter().filter(|days| is_found(days)).count();
    Row {
        id: adversary.id,
        name: adversary.name,
        does: adversary.does,
        gains: adversary.gains,
        verdict: if found == service.len() { Verdict::Detected } else { Verdict::Open },
        flips: found > 0 && found < service.len(),
        by_design: design.iter().all(is_found),
        service,
        design,
    }
}

fn simulated(play: &Play, rules: Rules, days: u64, run: impl Fn(u64) -> Option<Found>) -> Days {
    let certain = |reason: Option<&'static str>| {
        let sure = if reason.is_some() { 1.0 } else { 0.0 };
        Days {
            found: 0,
            days: 0,
            rate: Interval { low: sure, high: sure },
            reasons: reason.into_iter().map(|reason| (reason, 0)).collect(),
            median_minutes: reason.map(|_| 0),
        }
    };
    match play {
        Play::Decided { reason, in_service } => {
            return certain(reason.filter(|_| *in_service || rules.identities_and_counts));
        }
        Play::Beyond => return certain(None),
        _ => {}
    }
    let mut times = Vec::new();
    let mut reasons = BTreeMap::new();
    for Found { after, reason } in (0..days).filter_map(run) {
        times.push(after.0 / 60_000);
        *reasons.entry(reason).or_insert(0) += 1;
    }
    times.sort_unstable();
    let found = u64::try_from(times.len()).expect("at most the days");
    // A victim's row counts the days on which nobody is accused.
    if matches!(play, Play::Victim(_)) {
        let rate = clopper_pearson(days - found, days);
        return Days {
            found: days - found,
            days,
            rate,
            reasons: BTreeMap::from([("not_accused", days - found)]),
            median_minutes: None,
        };
    }
    let median_minutes = times.get(times.len() / 2).copied();
    Days { found, days, rate: clopper_pearson(found, days), reasons, median_minutes }
}

impl Row {
    /// The lowest lower bound over all scenarios.
    fn worst(days: &[Days]) -> f64 {
        days.iter().map(|days| days.rate.low).fold(1.0, f64::min)
    }

    /// The reasons by which it is found, the most frequent first; a dash for none.
    pub fn reasons(&self) -> String {
        let mut all: BTreeMap<&str, u64> = BTreeMap::new();
        for days in if self.verdict == Verdict::Open { &self.design } else { &self.service } {
            for (reason, count) in &days.reasons {
                *all.entry(reason).or_default() += count;
            }
        }
        let mut all: Vec<(&str, u64)> = all.into_iter().collect();
        all.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
        match all.len() {
            0 => "-".to_owned(),
            _ => all.iter().map(|(reason, _)| *reason).collect::<Vec<_>>().join(" "),
        }
    }

    /// What the last column says.
    pub fn verdict_word(&self) -> &'static str {
        match (self.verdict, self.flips, self.by_design) {
            (Verdict::Detected, _, _) => "detected",
            (Verdict::Open, _, true) => "open (not in service)",
            (Verdict::Open, true, false) => "open (flips)",
            (Verdict::Open, false, false) => "open",
        }
    }
}

/// What is wrong with a scorecard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A row is open and not in the committed list.
    Undeclared(&'static str),
    /// A row of the committed list is detected.
    Stale(String),
    /// Honest nodes are rejected too often.
    FalseRejects,
}

impl Scorecard {
    /// Everything wrong with it.
    pub fn problems(&self, open: &[Open]) -> Vec<Problem> {
        let declared = |id: &str| open.iter().any(|row| row.id == id);
        let undeclared = self
            .rows
            .iter()
            .filter(|row| row.verdict == Verdict::Open && !declared(row.id))
            .map(|row| Problem::Undeclared(row.id));
        let detected =
            |id: &str| self.rows.iter().any(|row| row.id == id && row.verdict == Verdict::Detected);
        let stale = open.iter().filter(|row| detected(&row.id)).map(|row| Problem::Stale(row.id.clone()));
        // The model as it is, the first scenario, must show it where enough checks were counted; the harsher ones, and
        // fewer checks, must not speak against it.
        let counted = |scenario: usize, honest: &Honest| {
            let shows = scenario == 0 && honest.checks >= Effort::FULL.honest_checks;
            if shows { honest.rate.high } else { honest.rate.low }
        };
        let rejected = self.honest.iter().enumerate().any(|(scenario, honest)| {
            counted(scenario, honest) > FALSE_REJECTS_AT_MOST || honest.bound > FALSE_REJECTS_AT_MOST
        });
        undeclared.chain(stale).chain(rejected.then_some(Problem::FalseRejects)).collect()
    }

    /// For people: a table, what is open, and honest nodes.
    pub fn table(&self, open: &[Open]) -> String {
        let mut lines = vec![
            ["row", "adversary", "found in a day", "by design", "after", "by", "verdict"].map(str::to_owned),
        ];
        for row in &self.rows {
            let share = |days: &[Days]| match Row::worst(days) {
                1.0 => "always".to_owned(),
                0.0 => "-".to_owned(),
                low => format!(">= {:.3} %", (low * 100_000.0).floor() / 1_000.0),
            };
            let shown = if row.verdict == Verdict::Open { &row.design } else { &row.service };
            let after = match shown[0].median_minutes {
                None => "-".to_owned(),
                Some(0) => "at once".to_owned(),
                Some(minutes) => format!("{} h {:02}", minutes / 60, minutes % 60),
            };
            lines.push([
                row.id.to_owned(),
                row.name.to_owned(),
                share(&row.service),
                share(&row.design),
                after,
                row.reasons(),
                row.verdict_word().to_owned(),
            ]);
        }
        let mut text = aligned(&lines);
        text.push_str("\nOpen:\n");
        for row in open {
            let _ = writeln!(text, "  {:<4} {}\n       costs: {}", row.id, row.reason, row.cost);
        }
        text.push_str("\nHonest nodes (class speed, jitter; false rejects per check with its retries):\n");
        for (scenario, honest) in SCENARIOS.iter().zip(&self.honest) {
            let _ = writeln!(
                text,
                "  x{:<4} x{:<2} {} of {} checks, rate <= {:.1e} (95 %); of {} tries {} missed a deadline and {} broke off; analytic bound {:.0e}",
                scenario.speed,
                scenario.jitter,
                honest.false_rejects,
                honest.checks,
                honest.rate.high,
                honest.tries,
                honest.misses,
                honest.breaks,
                honest.bound,
            );
        }
        text
    }
}

fn aligned<const N: usize>(lines: &[[String; N]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row_of(id: &'static str, low: f64) -> Row {
        let days = Days {
            found: 0,
            days: 0,
            rate: Interval { low, high: 1.0 },
            reasons: BTreeMap::new(),
            median_minutes: None,
        };
        let verdict = if low >= FOUND_AT_LEAST { Verdict::Detected } else { Verdict::Open };
        Row {
            id,
            name: "",
            does: "",
            gains: "",
            verdict,
            flips: false,
            by_design: false,
            service: vec![days.clone()],
            design: vec![days],
        }
    }

    fn open_row(id: &str) -> Open {
        Open { id: id.to_owned(), reason: String::new(), cost: String::new() }
    }

    #[test]
    fn what_is_open_must_be_declared_and_what_is_declared_must_be_open() {
        let rows = vec![row_of("1", 1.0), row_of("2", 0.5)];
        let card = Scorecard { effort: Effort::QUICK, rows, honest: Vec::new() };
        assert_eq!(card.problems(&[open_row("2")]), []);
        assert_eq!(card.problems(&[]), [Problem::Undeclared("2")]);
        let stale = card.problems(&[open_row("1"), open_row("2")]);
        assert_eq!(stale, [Problem::Stale("1".to_owned())]);
    }

    #[test]
    fn false_rejects_are_a_problem() {
        let honest = |checks, false_rejects| Honest {
            checks,
            misses: 0,
            breaks: 0,
            tries: checks,
            false_rejects,
            rate: clopper_pearson(false_rejects, checks),
            bound: 1e-6,
        };
        let card = |checks, rejects| Scorecard {
            effort: Effort::QUICK,
            rows: Vec::new(),
            honest: vec![honest(checks, rejects)],
        };
        assert_eq!(card(1_000_000, 0).problems(&[]), []);
        assert_eq!(card(1_000_000, 20).problems(&[]), [Problem::FalseRejects]);
        assert_eq!(card(4_000_000, 0).problems(&[]), []);
        assert_eq!(card(4_000_000, 2).problems(&[]), [Problem::FalseRejects], "not shown by counting");
    }
}
