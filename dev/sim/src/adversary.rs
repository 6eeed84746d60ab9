//! What an adversary is, and what it does when it is asked.

use basilica_proof::ProofParams;
use basilica_types::Millis;
use basilica_verification::calibration::StageTimes;
use basilica_verification::classes::{GpuClass, Limits, WALKS};
use basilica_verification::rigs::{Count, count};
use basilica_verification::{Break, CountUnproven, Finding};

use crate::exhibits::{Exhibit, Judge, Late, Times, late};
use crate::timing_model::{Rig, Scenario, latest_deadlines, to_millis};
use crate::tries::Tries;

/// One row of the scorecard.
#[derive(Clone, Copy)]
pub struct Adversary {
    /// Row of the attack catalogue and, where it has several variants, a letter: `4b`.
    pub id: &'static str,
    /// Short name.
    pub name: &'static str,
    /// What it does.
    pub does: &'static str,
    /// Why anybody would.
    pub gains: &'static str,
    /// How it plays under a scenario.
    pub play: fn(&World<'_>) -> Play,
}

impl std::fmt::Debug for Adversary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.id, self.name)
    }
}

impl Adversary {
    /// The row of the catalogue.
    pub fn row(&self) -> u8 {
        let digits = self.id.trim_end_matches(|c: char| c.is_ascii_lowercase());
        digits.parse().expect("ids are constants of this crate; a test reads them all")
    }
}

/// What a play is made in.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// How the model may be wrong.
    pub scenario: Scenario,
    /// The real verifier.
    pub judge: &'a Judge,
}

/// How an adversary answers full checks. Light checks it always passes.
#[derive(Clone, Debug)]
pub enum Play {
    /// The same at every try.
    Always(Tries),
    /// Now and then it passes by luck.
    Lucky {
        /// With this probability per run.
        passes: f64,
        /// What the verifier says then.
        passed: Tries,
        /// What it says otherwise.
        caught: Tries,
    },
    /// Two registrations of one card, of these miners.
    Shared {
        /// The miner of each.
        miners: [u8; 2],
        /// Asked alone.
        alone: Tries,
        /// Asked while the card works for the other one.
        busy: Tries,
        /// Which of them is served when both are asked.
        serves: Serves,
    },
    /// A card is ordered when a check comes, and kept for the check's retries.
    Rented {
        /// Until it is there.
        provisioning: Millis,
        /// What happens until then.
        meanwhile: Meanwhile,
        /// When it is there.
        ready: Tries,
    },
    /// Connecting or using the connection fails.
    Breaks(Break),
    /// The victim of a competitor, who must not be found at fault.
    Victim(Break),
    /// Decided without chance, by the product's own code.
    Decided {
        /// The reason by which it gains nothing, if there is one.
        reason: Option<&'static str>,
        /// The service acts on that decision.
        in_service: bool,
    },
    /// Nothing of ours decides it.
    Beyond,
}

/// Whom a shared card serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// The first of the two, always.
    First,
    /// Each in turn.
    InTurn,
}

/// What a cheater without a card does about a check.
#[derive(Clone, Debug)]
pub enum Meanwhile {
    /// Takes the challenge, and is late or hangs up.
    Answers(Tries),
    /// Drops the connection before the challenge, as if by accident.
    Drops,
}

/// What the proof's openings take, in ms; their deadline is loose.
const OPENINGS_MS: u64 = 100;

impl World<'_> {
    /// What a rig needs at least for the claim of several cards.
    pub fn times(class: &GpuClass, claims: f64, rig: &Rig) -> StageTimes {
        StageTimes {
            work: to_millis(rig.work_ms(class, claims)),
            fill: Millis(0),
            walk: to_millis(rig.walk_ms(class, claims, WALKS)),
            openings: Millis(OPENINGS_MS),
        }
    }

    /// What the verifier says to an exhibit made in these times.
    pub fn ends_in(&self, class: &GpuClass, exhibit: Exhibit, times: impl Into<Times>) -> Tries {
        self.judge.tries(exhibit, &times.into(), &latest_deadlines(class, &self.scenario))
    }

    /// What the verifier says to right answers that a rig makes for the claim of several cards.
    pub fn ends(&self, class: &GpuClass, claims: f64, rig: &Rig) -> Tries {
        self.ends_in(class, Exhibit::Honest, Self::times(class, claims, rig))
    }

    /// What the verifier says to an exhibit that is made as fast as an honest answer at the peak.
    pub fn swift(&self, class: &GpuClass, exhibit: Exhibit) -> Tries {
        self.ends_in(class, exhibit, Self::times(class, 1.0, &Rig::of(class, 1.0)))
    }

    /// N claims on fewer cards: too late, or in time and paid for no more than are there, or neither.
    pub fn counted(&self, class: &'static GpuClass, claims: u16, cards: u16) -> Play {
        self.counted_on(class, claims, class, cards)
    }

    /// The same on cards of another class.
    pub fn counted_on(
        &self,
        claimed: &'static GpuClass,
        claims: u16,
        played_on: &GpuClass,
        cards: u16,
    ) -> Play {
        let rig = Rig::of(played_on, f64::from(cards));
        let times = Times::from(Self::times(claimed, f64::from(claims), &rig));
        let deadlines = latest_deadlines(claimed, &self.scenario);
        if late(&times, &deadlines) != Late::Never {
            return Play::Always(self.judge.tries(Exhibit::Honest, &times, &deadlines));
        }
        let limits = Limits { work: deadlines.work, walk: Some(deadlines.walk) };
        let reason = match count(&vec![claimed; usize::from(claims)], &limits, WALKS) {
            Count::Unproven { paid } if paid <= cards => Some(CountUnproven::CODE),
            Count::Unproven { .. } | Count::Proven { .. } => None,
        };
        Play::Decided { reason, in_service: true }
    }

    /// Leaves a share of the cells of a class's work to a guess.
    pub fn skipping(&self, class: &GpuClass, share: f64, caught: Exhibit) -> Play {
        let work: ProofParams =
            class.work(basilica_proof::OPENINGS_DEFAULT).expect("a test holds every class");
        Play::Lucky {
            passes: work.evasion(share),
            passed: self.swift(class, Exhibit::Honest),
            // Some of the real runs passed by that luck.
            caught: self
                .swift(class, caught)
                .iter()
                .filter(|tried| tried.finding != Finding::Passed)
                .cloned()
                .collect(),
        }
    }
}
