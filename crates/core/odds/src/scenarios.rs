//! What is asked of a policy.

use crate::chance::Chance;
use crate::weather::{Bursts, Climate};

const HOUR: f64 = 3_600.0;
const DAY: f64 = 24.0 * HOUR;

/// Whose lives are simulated, and what is counted in them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Subject {
    /// Nodes that do what they should: how many are banned, and how many complete their ramp in time.
    Honest,
    /// Nodes that are down once, for so many minutes: how many lose their ramp.
    Down(f64),
    /// Nodes whose prover begins to cheat: whether the next full check resets and whether the table's bans follow.
    Tampered,
    /// Nodes that come and go: how many are banned, and how many still hold any multiplier in the end.
    Flapping,
}

/// One question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happens, for people.
    pub what: &'static str,
    /// Whose lives.
    pub subject: Subject,
    spurious: f64,
    path: Option<(f64, f64)>,
    uplink: Option<(f64, f64)>,
}

const CALM: Scenario = Scenario {
    name: "calm",
    what: "nothing fails but what is said",
    subject: Subject::Honest,
    spurious: 0.0,
    path: None,
    uplink: None,
};

/// All questions, in the order of the report. Pairs are the share of bad time and the mean length of a bad spell in seconds.
pub const ALL: [Scenario; 11] = [
    Scenario {
        name: "independent",
        what: "honest; each try fails independently with 1 %",
        spurious: 0.01,
        ..CALM
    },
    Scenario {
        name: "bursts-short",
        what: "honest; the way to the node is cut 1 % of the time, in bursts of 10 s on average (lossy line)",
        path: Some((0.01, 10.0)),
        ..CALM
    },
    Scenario {
        name: "bursts-long",
        what: "honest; the way to the node is cut 0.1 % of the time, in bursts of 60 s on average (routes that move)",
        path: Some((0.001, 60.0)),
        ..CALM
    },
    Scenario {
        name: "bursts-and-failures",
        what: "honest; bursts of 30 s on average, 0.5 % of the time, beside 0.5 % independent failures",
        spurious: 0.005,
        path: Some((0.005, 30.0)),
        ..CALM
    },
    Scenario {
        name: "validator-outages",
        what: "honest; 1 % failures, and the validator's own uplink is cut every three days for 20 min on average",
        spurious: 0.01,
        uplink: Some((1_200.0 / (3.0 * DAY + 1_200.0), 1_200.0)),
        ..CALM
    },
    Scenario { name: "down-20", what: "down once for 20 min", subject: Subject::Down(20.0), ..CALM },
    Scenario {
        name: "down-30",
        what: "down once for 30 min, the tolerance",
        subject: Subject::Down(30.0),
        ..CALM
    },
    Scenario { name: "down-40", what: "down once for 40 min", subject: Subject::Down(40.0), ..CALM },
    Scenario { name: "down-60", what: "down once for 60 min", subject: Subject::Down(60.0), ..CALM },
    Scenario {
        name: "tampered",
        what: "the prover begins to cheat; the verifier rejects its transcripts",
        subject: Subject::Tampered,
        spurious: 0.01,
        ..CALM
    },
    Scenario {
        name: "flapping",
        what: "the node is up for 40 min and down for 20 min, on average",
        subject: Subject::Flapping,
        path: Some((1.0 / 3.0, 1_200.0)),
        ..CALM
    },
];

impl Scenario {
    /// The climate of one of its lives. What happens once happens at a moment of its own in each.
    pub(crate) fn climate(&self, chance: &mut Chance) -> Climate {
        let bursts = |(share, bad_secs): (f64, f64)| Bursts::of_share(share, bad_secs);
        let once = 2.0 * DAY + DAY * chance.unit();
        Climate {
            spurious: self.spurious,
            path: self.path.map(bursts),
            uplink: self.uplink.map(bursts),
            down: match self.subject {
                Subject::Down(minutes) => Some((once, minutes * 60.0)),
                _ => None,
            },
            tampered_from: (self.subject == Subject::Tampered).then_some(once),
        }
    }

    /// The probability with which a try fails by itself, if nothing else fails it.
    pub fn independent(&self) -> Option<f64> {
        let alone = self.path.is_none() && self.uplink.is_none() && self.subject == Subject::Honest;
        alone.then_some(self.spurious)
    }
}
