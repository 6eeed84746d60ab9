//! A day of checks of one adversary's nodes, decided by the product's own code.
//!
//! The loop here only keeps time. Which check is due says [`basilica_verification::schedule`], what a try found its state
//! machine ([`crate::tries`]), whether it is tried again or concluded [`basilica_verification::series`], what cut-off
//! openings amount to [`aborted`], what missed deadlines and broken-off proofs amount to [`basilica_verification::timing`],
//! who is retried together [`companions`]. It does what the validator's service does with their
//! answers. Light checks change nothing for an adversary that passes them and are left out.
//!
//! Cheating begins at a random moment between two scheduled full checks of an enrolled node.

use std::collections::BTreeSet;

use basilica_types::{BlockNumber, Digest, Hotkey, Millis, NodeId, NodeKey, Timestamp};
use basilica_verification::fleet::{Availability, Beacon, FleetRules, Member, companions};
use basilica_verification::series::{Next, RetryRules, Series, after_failure};
use basilica_verification::timing::{DeadlineRecord, Standing, Tests};
use basilica_verification::{
    Break, CheckKind, Control, Due, Fault, Finding, Intervals, Outcome, Reason, aborted,
};

use crate::adversary::{Meanwhile, Play, Serves};
use crate::chance::Chance;
use crate::timing_model::{BLOCK_MS, CONTROL_REACHABLE};
use crate::tries::{Tried, Tries, broken};

/// How long a day is.
pub const DAY: Millis = Millis::from_secs(24 * 3_600);
const START: Timestamp = Timestamp::from_secs(1_800_000_000);
/// From a try's beginning to its end, deadlines included: the model's tries all take as long.
const TRY: Millis = Millis(15_000);

/// Which decisions are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Fleet epochs start at public beacons, and retries of missed deadlines take companions along.
    pub fleet_epochs: bool,
    /// Missed deadlines enter the sequential test.
    pub sequential_test: bool,
    /// Unproven counts are not paid, and who shows what another node proved is put on hold.
    pub identities_and_counts: bool,
}

impl Rules {
    /// What the validator service runs today.
    pub const SERVICE: Self = Self { fleet_epochs: true, sequential_test: true, identities_and_counts: true };
    /// All that `basilica_verification` decides.
    pub const DESIGN: Self = Self { fleet_epochs: true, sequential_test: true, identities_and_counts: true };
}

/// How an adversary was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// After so long.
    pub after: Millis,
    /// By this reason code.
    pub reason: &'static str,
}

/// When epochs start on many days, by the real beacons of random blocks.
#[derive(Clone, Debug)]
pub struct Epochs(Vec<Vec<Millis>>);

impl Epochs {
    /// So many days of blocks.
    pub fn of_days(days: u64) -> Self {
        let rules = FleetRules::default();
        let blocks = DAY.0 / BLOCK_MS;
        let day = |day: u64| {
            let starts = |block: &u64| {
                let height = day * blocks + block;
                let hash = Digest::from_bytes(*blake3::hash(&height.to_le_bytes()).as_bytes());
                Beacon { height: BlockNumber(height), hash }.starts(&rules)
            };
            (0..blocks).filter(starts).map(|block| Millis(block * BLOCK_MS)).collect()
        };
        Self((0..days).map(day).collect())
    }

    /// A day's epochs.
    pub fn draw(&self, chance: &mut Chance) -> &[Millis] {
        let days = u64::try_from(self.0.len()).expect("days of memory");
        let day = usize::try_from(chance.below(days)).expect("below the number of days");
        &self.0[day]
    }
}

/// One registered node.
#[derive(Debug)]
struct Node {
    key: NodeKey,
    due: Due,
    retry: Option<(Series, Timestamp)>,
    /// The last try missed a deadline, or was broken off.
    missed: bool,
    record: DeadlineRecord,
    aborts: Vec<Timestamp>,
}

/// A day under way.
#[derive(Debug)]
pub struct Day<'a> {
    play: &'a Play,
    rules: Rules,
    nodes: Vec<Node>,
    epochs: &'a [Millis],
    chance: Chance,
    tests: Tests,
    retries: RetryRules,
    intervals: Intervals,
    /// Turns that a shared card took.
    turns: u64,
    /// When a card was ordered.
    ordered: Option<Timestamp>,
}

impl<'a> Day<'a> {
    /// A day of an adversary.
    pub fn new(play: &'a Play, rules: Rules, epochs: &'a Epochs, chance: Chance) -> Self {
        let mut chance = chance;
        let miners: &[u8] = match play {
            Play::Shared { miners, .. } => miners,
            _ => &[1],
        };
        let intervals = Intervals::default();
        let node = |(id, miner): (u8, &u8)| {
            let full = START + Millis(chance.below(intervals.full.0));
            Node {
                key: NodeKey { miner: Hotkey::from_bytes([*miner; 32]), node: NodeId::from_bytes([id; 16]) },
                due: Due { light: START + DAY + DAY, full },
                retry: None,
                missed: false,
                record: DeadlineRecord::default(),
                aborts: Vec::new(),
            }
        };
        let nodes = (1u8..).zip(miners).map(node).collect();
        let epochs = if rules.fleet_epochs { epochs.draw(&mut chance) } else { &[] };
        Self {
            play,
            rules,
            nodes,
            epochs,
            chance,
            tests: Tests::default(),
            retries: RetryRules::default(),
            intervals,
            turns: 0,
            ordered: None,
        }
    }

    /// Runs until something is found or the day is over.
    pub fn run(mut self) -> Option<Found> {
        loop {
            let next = self.nodes.iter().map(|node| node.retry.map_or(node.due.full, |(_, at)| at)).min()?;
            let epoch = self.epochs.first().map(|at| START + *at);
            let (now, asked) = match epoch {
                Some(epoch) if epoch <= next => {
                    self.epochs = &self.epochs[1..];
                    (epoch, (0..self.nodes.len()).collect())
                }
                _ => (next, self.asked_at(next)),
            };
            if now.since(START) >= DAY {
                return None;
            }
            for node in &asked {
                if let Some(reason) = self.check(*node, &asked, now) {
                    return Some(Found { after: now.since(START), reason });
                }
            }
            self.turns += 1;
        }
    }

    /// Whoever is due, and whoever is taken along.
    fn asked_at(&self, now: Timestamp) -> BTreeSet<usize> {
        let due = |node: &Node| node.retry.map_or(node.due.full, |(_, at)| at) <= now;
        let asked: BTreeSet<usize> = (0..self.nodes.len()).filter(|i| due(&self.nodes[*i])).collect();
        let missed: BTreeSet<NodeKey> = asked
            .iter()
            .map(|i| &self.nodes[*i])
            .filter(|n| n.missed && n.retry.is_some())
            .map(|n| n.key)
            .collect();
        if !self.rules.fleet_epochs || missed.is_empty() {
            return asked;
        }
        let member = |node: &Node| Member {
            key: node.key,
            availability: Availability::Idle,
            suspected: node.record.standing(&self.tests, &self.retries, now) == Standing::Suspected,
            bytes: 0,
        };
        let fleet: Vec<Member> = self.nodes.iter().map(member).collect();
        let along = companions(&missed, &fleet);
        asked
            .into_iter()
            .chain((0..self.nodes.len()).filter(|i| along.contains(&self.nodes[*i].key)))
            .collect()
    }

    /// One try of one node's full check, and what follows.
    fn check(&mut self, node: usize, asked: &BTreeSet<usize>, now: Timestamp) -> Option<&'static str> {
        let answer = self.answer(node, asked, now);
        let ended = now + TRY;
        let control =
            if self.chance.happens(CONTROL_REACHABLE) { Control::Reachable } else { Control::Absent };
        let observed = answer.observed(control);
        let Tried { finding, after_nonce, .. } = answer;
        self.nodes[node].missed = observed.is_some_and(|observed| observed.takes_companions());
        if let (true, Some(observed)) = (self.rules.sequential_test, observed) {
            let record = &mut self.nodes[node].record;
            *record = record.after(observed, &self.tests, ended);
            if let Some((reason, _)) = record.found(&self.tests, &self.retries, ended) {
                return Some(reason.code());
            }
        }
        match finding {
            Finding::Passed => {
                let state = &mut self.nodes[node];
                state.retry = None;
                state.due = state.due.after(CheckKind::Full, &Outcome::Passed, &self.intervals, ended);
                None
            }
            Finding::Failed(reason) => self.failed(node, reason, control, after_nonce, ended),
        }
    }

    fn failed(
        &mut self,
        node: usize,
        reason: Reason,
        control: Control,
        after_nonce: bool,
        now: Timestamp,
    ) -> Option<&'static str> {
        let state = &mut self.nodes[node];
        if after_nonce && control == Control::Reachable {
            state.aborts.push(now);
            if aborted::is_confirmed(&state.aborts, &self.retries, now) {
                return Some(Reason::ProofIncompleteAfterNonce.code());
            }
        }
        let before = state.retry.map(|(series, _)| series);
        let before = before.filter(|series| series.is_continued(now, &self.retries));
        match after_failure(before, reason, control, &self.retries, now) {
            Next::Retry { series, at } => {
                state.retry = Some((series, at));
                None
            }
            Next::Conclude { fault, .. } => {
                state.retry = None;
                let outcome = Outcome::Failed { reason, fault };
                state.due = state.due.after(CheckKind::Full, &outcome, &self.intervals, now);
                let told = reason.is_reachability() || reason.is_service();
                let confirmed = fault == Fault::Node { confirmed: true } && !told;
                // A changed host key is nobody's proven fault, and earns nothing until the operator approves it.
                (confirmed || reason == Reason::HostKeyChanged).then_some(reason.code())
            }
        }
    }

    fn answer(&mut self, node: usize, asked: &BTreeSet<usize>, now: Timestamp) -> Tried {
        match self.play {
            Play::Always(ends) => self.drawn(ends),
            Play::Lucky { passes, passed, caught } => {
                let lucky = self.chance.happens(*passes);
                self.drawn(if lucky { passed } else { caught })
            }
            Play::Shared { alone, busy, serves, .. } => {
                let served = match serves {
                    Serves::First => 0,
                    Serves::InTurn => usize::from(!self.turns.is_multiple_of(2)),
                };
                let free = asked.len() == 1 || node == served;
                self.drawn(if free { alone } else { busy })
            }
            Play::Rented { provisioning, meanwhile, ready } => {
                // The card is given back after the check: another one is ordered ten minutes later.
                let kept = self.ordered.filter(|at| now.since(*at) < Millis::from_secs(600));
                let ordered = kept.unwrap_or(now);
                self.ordered = Some(ordered);
                match meanwhile {
                    _ if now.since(ordered) >= *provisioning => self.drawn(ready),
                    Meanwhile::Answers(late) => self.drawn(late),
                    Meanwhile::Drops => broken(Break::Lost),
                }
            }
            Play::Breaks(cause) | Play::Victim(cause) => broken(*cause),
            Play::Decided { .. } | Play::Beyond => unreachable!("the scorecard asks only what plays"),
        }
    }

    fn drawn(&mut self, tries: &Tries) -> Tried {
        let count = u64::try_from(tries.len()).expect("a few");
        let at = usize::try_from(self.chance.below(count)).expect("below a few");
        tries[at].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn rejected(reason: Reason) -> Tries {
        Arc::new([Tried { finding: Finding::Failed(reason), proving: true, after_nonce: false }])
    }

    fn passed() -> Tries {
        Arc::new([Tried { finding: Finding::Passed, proving: true, after_nonce: false }])
    }

    fn day(play: &Play, rules: Rules, seed: u64) -> Option<Found> {
        Day::new(play, rules, &Epochs::of_days(20), Chance::new(seed)).run()
    }

    #[test]
    fn whoever_always_passes_is_never_found() {
        for rules in [Rules::SERVICE, Rules::DESIGN] {
            assert_eq!(day(&Play::Always(passed()), rules, 1), None);
        }
    }

    #[test]
    fn wrong_arithmetic_is_found_at_the_next_full_check() {
        let found = day(&Play::Always(rejected(Reason::ProofOpeningMismatch)), Rules::SERVICE, 2).unwrap();
        assert_eq!(found.reason, "proof_opening_mismatch");
        assert!(found.after < Intervals::default().full);
    }

    #[test]
    fn lateness_is_found_by_retries_and_a_lock_out_accuses_nobody() {
        let late = Play::Always(rejected(Reason::ProofDeadlineMissed));
        assert_eq!(day(&late, Rules::SERVICE, 3).unwrap().reason, "proof_deadline_missed");
        assert_eq!(day(&Play::Victim(Break::LockedOut), Rules::DESIGN, 4), None);
    }

    #[test]
    fn a_card_that_two_miners_share_in_turn_is_found_only_with_fleet_epochs() {
        let play = Play::Shared {
            miners: [1, 2],
            alone: passed(),
            busy: rejected(Reason::ProofDeadlineMissed),
            serves: Serves::InTurn,
        };
        for seed in 0..50 {
            let alone = Rules { fleet_epochs: false, ..Rules::SERVICE };
            assert_eq!(day(&play, alone, seed), None, "each is asked alone");
            assert_eq!(day(&play, Rules::SERVICE, seed).unwrap().reason, "proof_deadline_missed");
        }
    }

    #[test]
    fn hanging_up_instead_of_being_late_is_found_as_well() {
        for (miners, serves) in [([1, 1], Serves::InTurn), ([1, 2], Serves::First), ([1, 2], Serves::InTurn)]
        {
            let busy = rejected(Reason::ProofIncomplete);
            let play = Play::Shared { miners, alone: passed(), busy, serves };
            for seed in 0..50 {
                let found = day(&play, Rules::DESIGN, seed).unwrap().reason;
                assert!(["proof_broken_off", "proof_incomplete"].contains(&found), "{found}");
            }
        }
    }
}
