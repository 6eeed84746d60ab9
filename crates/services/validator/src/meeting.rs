//! A meeting: nodes whose full checks wait for each other, so that they are challenged at once.
//!
//! # Gates
//! A check waits three times: before its work ([`Company::before_work`]), with its prover ready, so that all works overlap; before its first walk
//! ([`Company::before_walk`]), so that all walks begin at one moment, when every node that is in time has filled its memory; and before it is
//! concluded ([`Seat::answer`]), because what it means depends on how the others did.
//! A gate opens when everybody who is still expected is there, and at its deadline at the latest: whoever is not there by then is
//! no longer expected, and a check that ends, fails or panics gives its seat up. So one dead node holds up nobody, and a
//! slow one no longer than it may take anyway.
//!
//! # Who comes too late
//! A node whose prover is not ready when the works begin is not given its start: its try ends as any command that took too long, and
//! the retry takes companions along. Rejected: asking it alone afterwards, with which a registration without a card of its own
//! is late whenever it would have to meet the one that it shares with.
//!
//! Memory is bounded by whoever picks the members ([`basilica_verification::fleet::Room`]); nothing here grows with time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use basilica_ports::{Clock, NodeKey};
use basilica_probing_service::{Company, TooLate};
use basilica_runtime_service::within;
use basilica_types::{Millis, Timestamp};
use basilica_verification::fleet::{Answer, FleetRules, passed_with, walks_start};
use tokio::sync::watch;

/// Longest wait for the walks from the beginning of the works on: a class without calibration is given minutes for each stage, and
/// memory that is filled is not to stand still for it so long.
const WALKS_WITHIN: Millis = Millis::from_secs(90);

/// Where checks wait, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Gate {
    Work,
    Walk,
    End,
}

impl Gate {
    const ALL: [Self; 3] = [Self::Work, Self::Walk, Self::End];
}

/// How long checks wait at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// From the beginning of the meeting until the works begin.
    pub(crate) gather: Millis,
    /// From the end of one check to that of the last.
    pub(crate) end: Millis,
}

/// How a meeting went so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attendance {
    /// How many were called.
    pub(crate) called: usize,
    /// How many began at once.
    pub(crate) challenged: usize,
    /// How many of these passed.
    pub(crate) passed: usize,
    /// How many are still under way.
    pub(crate) under_way: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Who is still waited for.
    expected: BTreeSet<NodeKey>,
    /// How far each one has come.
    arrived: BTreeMap<NodeKey, Gate>,
    opened: BTreeMap<Gate, Millis>,
    /// The longest that work and filling may take, of those that are there.
    stages: (Millis, Millis),
    challenged: BTreeSet<NodeKey>,
    answers: BTreeMap<NodeKey, Answer>,
}

impl State {
    fn arrive(&mut self, node: NodeKey, gate: Gate, now: Millis) {
        self.arrived.insert(node, gate);
        self.settle(now);
    }

    fn leave(&mut self, node: NodeKey, now: Millis) {
        self.expected.remove(&node);
        self.settle(now);
    }

    /// Opens every gate at which all that are expected have arrived.
    fn settle(&mut self, now: Millis) {
        for gate in Gate::ALL {
            let is_there = |node: &NodeKey| self.arrived.get(node).is_some_and(|at| *at >= gate);
            if !self.opened.contains_key(&gate) && self.expected.iter().all(is_there) {
                self.open(gate, now);
            }
        }
    }

    /// Opens a gate; who is not there is no longer expected.
    fn open(&mut self, gate: Gate, now: Millis) {
        if self.opened.contains_key(&gate) {
            return;
        }
        self.opened.insert(gate, now);
        let arrived = &self.arrived;
        self.expected.retain(|node| arrived.get(node).is_some_and(|at| *at >= gate));
        if gate == Gate::Work {
            // Who has ended already did not begin.
            let waits = |node: &&NodeKey| arrived.get(node) == Some(&Gate::Work);
            self.challenged = self.expected.iter().filter(waits).copied().collect();
        }
    }
}

/// Nodes that are challenged at once.
pub(crate) struct Meeting {
    state: watch::Sender<State>,
    clock: Arc<dyn Clock>,
    rules: FleetRules,
    patience: Patience,
    members: BTreeSet<NodeKey>,
    began: Millis,
    /// When it began, for people.
    pub(crate) at: Timestamp,
}

impl std::fmt::Debug for Meeting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meeting")
            .field("at", &self.at)
            .field("attendance", &self.attendance())
            .finish_non_exhaustive()
    }
}

fn monotonic(clock: &dyn Clock) -> Millis {
    Millis::from(clock.monotonic())
}

impl Meeting {
    /// A meeting of these nodes that begins now.
    pub(crate) fn new(
        clock: &Arc<dyn Clock>,
        rules: FleetRules,
        patience: Patience,
        members: BTreeSet<NodeKey>,
    ) -> Arc<Self> {
        let state = State { expected: members.clone(), ..State::default() };
        let (began, at) = (monotonic(clock.as_ref()), clock.now());
        let (state, _) = watch::channel(state);
        Arc::new(Self { state, clock: Arc::clone(clock), rules, patience, members, began, at })
    }

    /// The seat of a member; none for anybody else.
    pub(crate) fn seat(self: &Arc<Self>, node: NodeKey) -> Option<Seat> {
        self.members.contains(&node).then(|| Seat { meeting: Arc::clone(self), node, began: None })
    }

    /// How it went so far.
    pub(crate) fn attendance(&self) -> Attendance {
        let state = self.state.borrow();
        let passed = |node: &&NodeKey| state.answers.get(node).is_some_and(|answer| answer.passed);
        Attendance {
            called: self.members.len(),
            challenged: state.challenged.len(),
            passed: state.challenged.iter().filter(passed).count(),
            under_way: state.expected.iter().filter(|node| !state.answers.contains_key(node)).count(),
        }
    }

    fn now(&self) -> Millis {
        monotonic(self.clock.as_ref())
    }

    /// Waits until the gate is open, at the most until `deadline`.
    async fn pass(&self, node: NodeKey, gate: Gate, deadline: Millis) {
        let now = self.now();
        self.state.send_modify(|state| state.arrive(node, gate, now));
        let mut watched = self.state.subscribe();
        let left = Millis(deadline.0.saturating_sub(now.0));
        let is_open = watched.wait_for(|state| state.opened.contains_key(&gate));
        if within(self.clock.as_ref(), left, is_open).await.is_err() {
            self.state.send_modify(|state| state.open(gate, deadline));
        }
    }
}

/// One node's place in a meeting. Dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Seat {
    meeting: Arc<Meeting>,
    node: NodeKey,
    /// When its walk began, or its work.
    began: Option<Millis>,
}

impl Seat {
    fn work_at(&self) -> Millis {
        Millis(self.meeting.began.0.saturating_add(self.meeting.patience.gather.0))
    }

    /// Tells how this node did and waits for the others: who passed at once with it.
    pub(crate) async fn answer(self, passed: bool) -> BTreeSet<NodeKey> {
        let meeting = &self.meeting;
        let Some(began) = self.began else { return BTreeSet::new() };
        meeting.state.send_modify(|state| {
            state.answers.insert(self.node, Answer { began, passed });
        });
        if !passed {
            return BTreeSet::new();
        }
        let deadline = Millis(meeting.now().0.saturating_add(meeting.patience.end.0));
        meeting.pass(self.node, Gate::End, deadline).await;
        let answers = meeting.state.borrow().answers.clone();
        passed_with(self.node, &answers, meeting.rules.spread)
    }
}

#[async_trait]
impl Company for Seat {
    fn gathering_left(&self) -> Millis {
        Millis(self.work_at().0.saturating_sub(self.meeting.now().0))
    }

    async fn before_work(&mut self, (work, fill): (Duration, Duration)) -> Result<(), TooLate> {
        let meeting = &self.meeting;
        if meeting.state.borrow().opened.contains_key(&Gate::Work) {
            return Err(TooLate);
        }
        meeting.state.send_modify(|state| {
            let (longest_work, longest_fill) = &mut state.stages;
            *longest_work = (*longest_work).max(Millis::from(work));
            *longest_fill = (*longest_fill).max(Millis::from(fill));
        });
        meeting.pass(self.node, Gate::Work, self.work_at()).await;
        if !meeting.state.borrow().challenged.contains(&self.node) {
            return Err(TooLate);
        }
        self.began = Some(meeting.now());
        Ok(())
    }

    async fn before_walk(&mut self) {
        let meeting = &self.meeting;
        let deadline = {
            let state = meeting.state.borrow();
            let opened = state.opened.get(&Gate::Work).copied().unwrap_or(meeting.began);
            walks_start(opened, state.stages.0, state.stages.1, &meeting.rules)
                .min(Millis(opened.0.saturating_add(WALKS_WITHIN.0)))
        };
        meeting.pass(self.node, Gate::Walk, deadline).await;
        self.began = Some(meeting.now());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let now = self.meeting.now();
        self.meeting.state.send_modify(|state| state.leave(self.node, now));
    }
}

#[cfg(test)]
mod tests;
