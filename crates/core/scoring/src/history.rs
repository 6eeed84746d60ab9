//! What a node's history says about it now: gate, score, ramp, ban.

use basilica_types::{BasisPoints, Millis, Ppm, Timestamp};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// How deep a check looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// Liveness over SSH.
    Light,
    /// Everything, with the GPU proof.
    Full,
}

/// Who caused a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The node, confirmed as RULES R4 demands.
    ConfirmedNode,
    /// Looks like the node, but is not confirmed.
    SuspectedNode,
    /// The way between us.
    Network,
    /// This validator.
    Validator,
    /// Nobody can tell.
    Unknown,
}

impl Fault {
    /// Whether an attempt with this fault says anything about the node's SSH success rate (R1).
    const fn counts_as_attempt(self) -> bool {
        !matches!(self, Self::Network | Self::Validator)
    }
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No login, or the login did not answer.
    Reachability,
    /// A proof that the verifier rejected.
    Proof,
    /// Logged in, but the machine is not what it must be.
    Hardware,
    /// A rental could not be started, or its container failed.
    Rental,
}

/// A finished check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// When its first attempt began.
    pub started: Timestamp,
    /// When its result was known; entries of a history are ordered by it.
    pub finished: Timestamp,
    /// How deep it looked.
    pub kind: CheckKind,
    /// None if it passed.
    pub failure: Option<(Failure, Fault)>,
}

/// Why a node is not available, as its miner says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Absence {
    /// The miner cannot reach it.
    Unreachable,
    /// The miner no longer lists it.
    Unlisted,
    /// Taken out by its operator.
    Maintenance,
    /// The validator's key is not confirmed on it.
    KeyPending,
}

impl Absence {
    /// Whether some of it is tolerated (R2): [`LEAVE`] in any [`LEAVE_WINDOW`]. The rest is downtime from its start; or
    /// a miner could dodge every reset by not listing a node that is down.
    const fn is_leave(self) -> bool {
        matches!(self, Self::Maintenance | Self::KeyPending)
    }
}

/// One thing that happened to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A check.
    Check(Check),
    /// Its miner reported it as not available (R6), or as not available for another reason than before: no event, no
    /// weight, the ramp waits.
    Unavailable(Timestamp, Absence),
    /// Its miner reports it as available again.
    Available(Timestamp),
}

/// The numbers of RULES R1–R3. Durations are configuration; the ban table is the seed's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Longest age of the last passed full check (default 12 h).
    pub full_max_age: Millis,
    /// Time to the full multiplier (default 14 d).
    pub ramp: Millis,
    /// Confirmed downtime above this resets the ramp (default 30 min).
    pub downtime_tolerance: Millis,
    /// Window of the SSH success rate (default 24 h).
    pub attempt_window: Millis,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            full_max_age: Millis(12 * HOUR),
            ramp: Millis(14 * DAY),
            downtime_tolerance: Millis(HOUR / 2),
            attempt_window: Millis(DAY),
        }
    }
}

/// Why a node's score is what it is. The codes are part of the user interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// Past the gate: the score counts.
    Open,
    /// No full check has passed yet.
    AwaitingFullCheck,
    /// The last full check failed by a confirmed fault of the node.
    FullCheckFailed,
    /// The last passed full check is too old.
    FullCheckStale,
    /// Banned; see [`Standing::banned_until`].
    Banned,
    /// Its miner says that it is not available.
    Unavailable,
}

impl Gate {
    /// Stable code for logs, JSON and documentation.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Open => "ok",
            Self::AwaitingFullCheck => "awaiting_full_check",
            Self::FullCheckFailed => "full_check_failed",
            Self::FullCheckStale => "full_check_stale",
            Self::Banned => "executor_banned",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What a history amounts to at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether and why not the node scores.
    pub gate: Gate,
    /// Zero unless the gate is open.
    pub score: BasisPoints,
    /// The uptime multiplier, whatever the gate says.
    pub multiplier: Ppm,
    /// End of the running ban.
    pub banned_until: Option<Timestamp>,
}

/// What one ban rule says: `events` inside a closed window of this length.
struct BanRow {
    window: u64,
    ban: u64,
}

/// Seed 001's table for any misbehaviour, three events each (R3 b).
const BAN_ROWS: [BanRow; 4] = [
    BanRow { window: 6 * HOUR, ban: 12 * HOUR },
    BanRow { window: 12 * HOUR, ban: DAY },
    BanRow { window: 48 * HOUR, ban: 3 * DAY },
    BanRow { window: 7 * DAY, ban: 7 * DAY },
];
/// R3 a: two validation failures.
const VALIDATION_ROW: BanRow = BanRow { window: HOUR, ban: HOUR / 2 };

/// Maintenance and pending keys that count as nothing (R2)…
const LEAVE: u64 = 4 * HOUR;
/// …in any window of this length.
const LEAVE_WINDOW: u64 = 14 * DAY;
/// Longest time that the validator's or the network's failures stop the age of the last full check (R1).
const EXCUSED: u64 = DAY;

/// The fold's state.
struct Fold<'a> {
    policy: &'a Policy,
    /// Times of confirmed events and whether each was a validation failure; those of the last 7 d.
    events: Vec<(Timestamp, bool)>,
    banned_until: Option<Timestamp>,
    /// Confirmed reachability failures since the last success.
    down: Option<Down>,
    /// A full check failed by confirmed fault, and none has passed since.
    full_failed: bool,
    last_full_passed: Option<Timestamp>,
    /// Since then, how long others were at fault, and since when they are now.
    excused: u64,
    excused_since: Option<Timestamp>,
    ramp: Ramp,
    absent: Option<(Timestamp, Absence)>,
    /// Ended absences without leave since the last passed check: changing the reason saves nothing.
    missed: u64,
    /// Ended spans of maintenance and pending keys.
    leaves: Vec<(Timestamp, Timestamp)>,
    attempts: Vec<(Timestamp, bool)>,
}

/// An outage: its first failed attempt, and when it last was an event.
#[derive(Clone, Copy)]
struct Down {
    first: Timestamp,
    event: Timestamp,
}

/// The ramp's clock: accrues while running and not banned.
struct Ramp {
    accrued: u64,
    counted_to: Timestamp,
    started: bool,
    running: bool,
}

impl Ramp {
    fn advance(&mut self, to: Timestamp, banned_until: Option<Timestamp>) {
        if self.started && self.running {
            let from = banned_until.map_or(self.counted_to, |until| until.max(self.counted_to));
            self.accrued = self.accrued.saturating_add(to.since(from).0);
        }
        self.counted_to = self.counted_to.max(to);
    }

    fn reset(&mut self) {
        self.accrued = 0;
        self.started = false;
    }
}

/// The standing at `now` of a node with this history, oldest entry first.
///
/// Entries later than `now` are not looked at. An empty history stands at [`Gate::AwaitingFullCheck`].
pub fn standing(history: &[Entry], policy: &Policy, now: Timestamp) -> Standing {
    let mut fold = Fold {
        policy,
        events: Vec::new(),
        banned_until: None,
        down: None,
        full_failed: false,
        last_full_passed: None,
        excused: 0,
        excused_since: None,
        ramp: Ramp { accrued: 0, counted_to: Timestamp(i64::MIN), started: false, running: false },
        absent: None,
        missed: 0,
        leaves: Vec::new(),
        attempts: Vec::new(),
    };
    for entry in history {
        let at = match entry {
            Entry::Check(check) => check.finished,
            Entry::Unavailable(at, _) | Entry::Available(at) => *at,
        };
        if at > now {
            break;
        }
        match entry {
            Entry::Check(check) => fold.check(check),
            Entry::Unavailable(at, absence) => fold.unavailable(*at, *absence),
            Entry::Available(at) => fold.end_absence(*at),
        }
    }
    fold.conclude(now)
}

impl Fold<'_> {
    fn check(&mut self, check: &Check) {
        self.excuse(check);
        match check.failure {
            None => self.passed(check),
            Some((failure, fault)) => self.failed(check, failure, fault),
        }
    }

    /// Keeps the time that the validator or the network took from the node (R1): from the first attempt that failed by
    /// their fault to the next that did not.
    fn excuse(&mut self, check: &Check) {
        let others = matches!(check.failure, Some((_, Fault::Network | Fault::Validator)));
        if others {
            self.excused_since.get_or_insert(check.started);
        } else if let Some(since) = self.excused_since.take() {
            self.excused = self.excused.saturating_add(check.finished.since(since).0);
        }
    }

    fn passed(&mut self, check: &Check) {
        self.ramp.advance(check.finished, self.banned_until);
        self.down = None;
        self.missed = 0;
        self.attempts.push((check.finished, true));
        if check.kind == CheckKind::Full {
            self.full_failed = false;
            self.last_full_passed = Some(check.finished);
            self.excused = 0;
            self.ramp.started = true;
        }
        self.ramp.running = true;
    }

    fn failed(&mut self, check: &Check, failure: Failure, fault: Fault) {
        self.ramp.advance(check.started.max(self.ramp.counted_to), self.banned_until);
        self.ramp.running = false;
        self.ramp.counted_to = self.ramp.counted_to.max(check.finished);
        if fault.counts_as_attempt() {
            self.attempts.push((check.finished, failure != Failure::Reachability));
        }
        if fault != Fault::ConfirmedNode {
            return;
        }
        if check.kind == CheckKind::Full {
            self.full_failed = true;
        }
        match failure {
            Failure::Reachability => self.unreachable(check),
            Failure::Proof => {
                self.ramp.reset();
                self.event(check.finished, true);
            }
            Failure::Hardware => self.event(check.finished, true),
            Failure::Rental => self.event(check.finished, false),
        }
    }

    /// Reachability failures are one event until the next success, and one more after each ban that ends meanwhile (R3);
    /// downtime runs from the first to the last.
    fn unreachable(&mut self, check: &Check) {
        let at = check.finished;
        let ban_ended =
            |down: &Down| self.banned_until.is_some_and(|until| until <= at && down.event < until);
        let (first, is_event) = match &self.down {
            Some(down) => (down.first, ban_ended(down)),
            None => (check.started, true),
        };
        if is_event {
            self.event(at, true);
        }
        let event = match self.down {
            Some(down) if !is_event => down.event,
            _ => at,
        };
        self.down = Some(Down { first, event });
        if at.since(first) > self.policy.downtime_tolerance {
            self.ramp.reset();
        }
    }

    fn unavailable(&mut self, at: Timestamp, absence: Absence) {
        self.end_absence(at);
        self.ramp.advance(at, self.banned_until);
        self.ramp.running = false;
        self.absent = Some((at, absence));
        // Weight returns only after a passed full check (R2).
        self.last_full_passed = None;
    }

    fn end_absence(&mut self, at: Timestamp) {
        self.judge_absence(at);
        match self.absent.take() {
            Some((since, absence)) if absence.is_leave() => self.leaves.push((since, at)),
            Some((since, _)) => self.missed = self.missed.saturating_add(at.since(since).0),
            None => {}
        }
    }

    /// Resets the ramp if the running absence has by now brought more downtime than is tolerated.
    fn judge_absence(&mut self, at: Timestamp) {
        let Some((since, absence)) = self.absent else { return };
        let mut downtime = at.since(since).0;
        if absence.is_leave() {
            let window = Timestamp(at.0.saturating_sub_unsigned(LEAVE_WINDOW));
            let inside = |(from, to): &(Timestamp, Timestamp)| to.since(window.max(*from)).0;
            let taken = self.leaves.iter().map(inside).fold(downtime, u64::saturating_add);
            downtime = taken.saturating_sub(LEAVE).min(downtime);
        }
        if Millis(downtime.saturating_add(self.missed)) > self.policy.downtime_tolerance {
            self.ramp.reset();
        }
    }

    fn event(&mut self, at: Timestamp, validation: bool) {
        self.events.push((at, validation));
        let last_week = BAN_ROWS[BAN_ROWS.len().saturating_sub(1)].window;
        self.events.retain(|(event, _)| at.since(*event).0 <= last_week);
        let in_the_last_hour =
            self.events.iter().filter(|(event, v)| *v && at.since(*event).0 <= VALIDATION_ROW.window).count();
        let mut ban = 0;
        if in_the_last_hour >= 2 {
            ban = VALIDATION_ROW.ban;
        }
        if self.events.len() >= 3
            && let Some(oldest) = self.events.iter().map(|(event, _)| at.since(*event).0).max()
            && let Some(row) = BAN_ROWS.iter().find(|row| oldest <= row.window)
        {
            ban = ban.max(row.ban);
        }
        if ban > 0 {
            let until = at.saturating_add(Millis(ban));
            self.banned_until = Some(self.banned_until.map_or(until, |running| running.max(until)));
        }
    }

    fn conclude(mut self, now: Timestamp) -> Standing {
        self.judge_absence(now);
        self.ramp.advance(now, self.banned_until);
        let banned_until = self.banned_until.filter(|until| *until > now);
        let gate = if banned_until.is_some() {
            Gate::Banned
        } else if self.absent.is_some() {
            Gate::Unavailable
        } else if self.full_failed {
            Gate::FullCheckFailed
        } else {
            match self.last_full_passed {
                None => Gate::AwaitingFullCheck,
                Some(at) if self.age(at, now) > self.policy.full_max_age => Gate::FullCheckStale,
                Some(_) => Gate::Open,
            }
        };
        let score = if gate == Gate::Open { self.score(now) } else { BasisPoints::ZERO };
        let multiplier = self.multiplier();
        Standing { gate, score, multiplier, banned_until }
    }

    /// Age of the last full check, less the time that others took (R1).
    fn age(&self, passed: Timestamp, now: Timestamp) -> Millis {
        let running = self.excused_since.map_or(0, |since| now.since(since).0);
        let excused = self.excused.saturating_add(running).min(EXCUSED);
        now.since(passed).saturating_sub(Millis(excused))
    }

    /// Half the SSH success rate, half the passed full check.
    fn score(&self, now: Timestamp) -> BasisPoints {
        let window = self.policy.attempt_window;
        let recent = |end: Timestamp| {
            let inside = self.attempts.iter().filter(|(at, _)| end.since(*at) <= window);
            inside.fold((0u64, 0u64), |(ok, all), (_, passed)| {
                (ok.saturating_add(u64::from(*passed)), all.saturating_add(1))
            })
        };
        let (ok, all) = match recent(now) {
            (_, 0) => self.attempts.last().map_or((0, 0), |(at, _)| recent(*at)),
            counted => counted,
        };
        let rate = ok.saturating_mul(10_000).checked_div(all).unwrap_or(0);
        let half = rate.saturating_add(10_000) / 2;
        u16::try_from(half).ok().and_then(|bp| BasisPoints::new(bp).ok()).unwrap_or(BasisPoints::ONE)
    }

    fn multiplier(&self) -> Ppm {
        if !self.ramp.started {
            return Ppm::ZERO;
        }
        let whole = u128::from(Ppm::ONE.value());
        let share = u128::from(self.ramp.accrued).saturating_mul(whole);
        // A ramp of no length is complete as soon as it has started.
        let ppm = share.checked_div(u128::from(self.policy.ramp.0)).unwrap_or(whole).min(whole);
        u32::try_from(ppm).ok().and_then(|ppm| Ppm::new(ppm).ok()).unwrap_or(Ppm::ONE)
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "test arithmetic over small constants")]
mod tests;
