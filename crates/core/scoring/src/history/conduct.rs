//! Bans and uptime ramp: what follows a node, or a GPU, from entry to entry (RULES R2, R3).

use basilica_types::{Millis, Ppm, Timestamp};

use super::marks::Marks;
use super::{Absence, Check, CheckKind, DAY, Entry, Failure, Fault, HOUR, Policy};

/// What one ban rule says: events inside a closed window of this length.
struct BanRow {
    window: u64,
    ban: u64,
}

/// Seed 001's table for any misbehaviour, three events each (R3 b).
const BAN_ROWS: [BanRow; 4] = [
    BanRow { window: 6 * HOUR, ban: 12 * HOUR },
    BanRow { window: 12 * HOUR, ban: DAY },
    BanRow { window: 48 * HOUR, ban: 3 * DAY },
    BanRow { window: LONGEST_WINDOW, ban: 7 * DAY },
];
/// R3 a: two validation failures.
const VALIDATION_ROW: BanRow = BanRow { window: HOUR, ban: HOUR / 2 };
/// No rule looks back further.
const LONGEST_WINDOW: u64 = 7 * DAY;
/// Events kept of the longest window. A node that fails every full check of a week has 336; of more, those that stand
/// closest to another go first, which no rule can tell but by minutes.
pub(super) const EVENTS: usize = 512;

/// Maintenance and pending keys that count as nothing (R2)…
const LEAVE: u64 = 4 * HOUR;
/// …in any window of this length.
const LEAVE_WINDOW: u64 = 14 * DAY;
/// Spans of leave kept. Of more, the two that stand closest to each other become one: whoever comes and goes hundreds of times pays
/// for the gaps.
pub(super) const LEAVES: usize = 64;

/// What an event was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A failed rental: no validation failure.
    Rental,
    /// A validation failure: reachability, a service or hardware.
    Validation,
    /// A rejected proof, which is a validation failure too.
    Proof,
}

/// An outage, or a service that does not work: its first failed attempt, when it last was an event, and whether a full check found
/// it.
///
/// What a full check alone sees (GPUs that containers do not get, a port that nobody reaches) passed light checks do not end: they
/// ask for less, and each half hour would be an event of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Down {
    pub(super) first: Timestamp,
    pub(super) event: Timestamp,
    pub(super) full: bool,
}

/// The ramp's clock: accrues while running and not banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ramp {
    pub(super) accrued: u64,
    pub(super) counted_to: Timestamp,
    pub(super) started: bool,
    pub(super) running: bool,
}

impl Ramp {
    const NEW: Self = Self { accrued: 0, counted_to: Timestamp(i64::MIN), started: false, running: false };

    fn advance(&mut self, to: Timestamp, banned_until: Option<Timestamp>) {
        if self.started && self.running {
            let from = banned_until.map_or(self.counted_to, |until| until.max(self.counted_to));
            self.accrued = self.accrued.saturating_add(to.since(from).0);
        }
        self.counted_to = self.counted_to.max(to);
    }

    const fn reset(&mut self) {
        self.accrued = 0;
        self.started = false;
    }
}

/// Bans and ramp of one node or GPU. Empty before its first entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conduct {
    /// Confirmed events of the longest window.
    pub(super) events: Marks<Event, EVENTS>,
    pub(super) banned_until: Option<Timestamp>,
    /// The longest ban to which a rejected proof contributed.
    pub(super) proof_banned_until: Option<Timestamp>,
    /// Confirmed reachability failures since the last success.
    pub(super) down: Option<Down>,
    /// The same of services.
    pub(super) out_of_service: Option<Down>,
    pub(super) ramp: Ramp,
    pub(super) absent: Option<(Timestamp, Absence)>,
    /// Ended absences without leave since the last passed check: changing the reason saves nothing.
    pub(super) missed: u64,
    /// Ended spans of maintenance and pending keys.
    pub(super) leaves: Vec<(Timestamp, Timestamp)>,
}

impl Default for Conduct {
    fn default() -> Self {
        Self {
            events: Marks::default(),
            banned_until: None,
            proof_banned_until: None,
            down: None,
            out_of_service: None,
            ramp: Ramp::NEW,
            absent: None,
            missed: 0,
            leaves: Vec::new(),
        }
    }
}

impl Conduct {
    /// Takes one more entry.
    pub fn apply(&mut self, entry: &Entry, policy: &Policy) {
        match entry {
            Entry::Check(check) => match check.failure {
                None => self.passed(check),
                Some((failure, fault)) => self.failed(check, failure, fault, policy),
            },
            Entry::Unavailable(at, absence) => self.unavailable(*at, *absence, policy),
            Entry::Available(at) => self.end_absence(*at, policy),
            Entry::Moved(_) => {}
        }
    }

    /// The same bans, and a ramp that has not begun: of a GPU that is first proved where a fault was found before any was.
    pub(super) fn bans_alone(&self) -> Self {
        Self {
            events: self.events.clone(),
            banned_until: self.banned_until,
            proof_banned_until: self.proof_banned_until,
            ..Self::default()
        }
    }

    /// End of the ban that runs at `now`.
    pub fn banned_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.banned_until.filter(|until| *until > now)
    }

    /// End of the running ban, if a rejected proof contributed to it: a new host of the same miner serves it as well (RULES R10).
    pub fn proof_banned_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.proof_banned_until.filter(|until| *until > now)
    }

    /// The uptime multiplier at `now`.
    pub fn multiplier(&self, policy: &Policy, now: Timestamp) -> Ppm {
        let mut ramp = self.ramp;
        if self.has_missed_too_much(now, policy) {
            ramp.reset();
        }
        ramp.advance(now, self.banned_until);
        if !ramp.started {
            return Ppm::ZERO;
        }
        let whole = u128::from(Ppm::ONE.value());
        let share = u128::from(ramp.accrued).saturating_mul(whole);
        // A ramp of no length is complete as soon as it has started.
        let ppm = share.checked_div(u128::from(policy.ramp.0)).unwrap_or(whole).min(whole);
        u32::try_from(ppm).ok().and_then(|ppm| Ppm::new(ppm).ok()).unwrap_or(Ppm::ONE)
    }

    /// Whether a full check has passed since the ramp last began anew.
    pub const fn has_begun_ramp(&self) -> bool {
        self.ramp.started
    }

    pub(super) const fn is_absent(&self) -> bool {
        self.absent.is_some()
    }

    fn passed(&mut self, check: &Check) {
        self.ramp.advance(check.finished, self.banned_until);
        let full = check.kind == CheckKind::Full;
        let ends = |down: &Down| full || !down.full;
        self.down = self.down.filter(|down| !ends(down));
        self.out_of_service = self.out_of_service.filter(|down| !ends(down));
        self.missed = 0;
        if full {
            self.ramp.started = true;
        }
        // Nobody can use it meanwhile: it loses nothing, and gains nothing.
        self.ramp.running = self.out_of_service.is_none();
    }

    fn failed(&mut self, check: &Check, failure: Failure, fault: Fault, policy: &Policy) {
        self.ramp.advance(check.started.max(self.ramp.counted_to), self.banned_until);
        self.ramp.running = false;
        self.ramp.counted_to = self.ramp.counted_to.max(check.finished);
        if fault != Fault::ConfirmedNode {
            return;
        }
        match failure {
            Failure::Reachability => self.unreachable(check, policy),
            Failure::Service => self.out_of_service = Some(self.fails_on(self.out_of_service, check)),
            Failure::Proof => {
                self.ramp.reset();
                self.event(check.finished, Event::Proof);
            }
            Failure::Hardware => self.event(check.finished, Event::Validation),
            Failure::Rental => self.event(check.finished, Event::Rental),
        }
    }

    /// Reachability failures are one event until the next success, and one more after each ban that ends meanwhile (R3);
    /// downtime runs from the first to the last.
    fn unreachable(&mut self, check: &Check, policy: &Policy) {
        let down = self.fails_on(self.down, check);
        self.down = Some(down);
        if check.finished.since(down.first) > policy.downtime_tolerance {
            self.ramp.reset();
        }
    }

    /// What failed before, or did not, fails now: an event if it is the first time, or after a ban.
    fn fails_on(&mut self, before: Option<Down>, check: &Check) -> Down {
        let at = check.finished;
        let ban_ended =
            |down: &Down| self.banned_until.is_some_and(|until| until <= at && down.event < until);
        let is_event = before.as_ref().is_none_or(ban_ended);
        if is_event {
            self.event(at, Event::Validation);
        }
        Down {
            first: before.map_or(check.started, |down| down.first),
            event: before.filter(|_| !is_event).map_or(at, |down| down.event),
            full: check.kind == CheckKind::Full || before.is_some_and(|down| down.full),
        }
    }

    pub(super) fn unavailable(&mut self, at: Timestamp, absence: Absence, policy: &Policy) {
        self.end_absence(at, policy);
        self.ramp.advance(at, self.banned_until);
        self.ramp.running = false;
        self.absent = Some((at, absence));
    }

    pub(super) fn end_absence(&mut self, at: Timestamp, policy: &Policy) {
        if self.has_missed_too_much(at, policy) {
            self.ramp.reset();
        }
        match self.absent.take() {
            Some((since, absence)) if absence.is_leave() => self.take_leave(since, at),
            Some((since, _)) => self.missed = self.missed.saturating_add(at.since(since).0),
            None => {}
        }
    }

    fn take_leave(&mut self, since: Timestamp, until: Timestamp) {
        self.leaves.retain(|(_, to)| until.since(*to).0 <= LEAVE_WINDOW);
        self.leaves.push((since, until));
        while self.leaves.len() > LEAVES {
            let gaps = self.leaves.windows(2).map(|pair| pair[1].0.since(pair[0].1)).enumerate();
            let Some((closest, _)) = gaps.min_by_key(|(_, gap)| *gap) else { return };
            let (_, to) = self.leaves.remove(closest.saturating_add(1));
            self.leaves[closest].1 = to;
        }
    }

    /// Whether the running absence has by now brought more downtime than is tolerated.
    fn has_missed_too_much(&self, at: Timestamp, policy: &Policy) -> bool {
        let Some((since, absence)) = self.absent else { return false };
        let mut downtime = at.since(since).0;
        if absence.is_leave() {
            let window = Timestamp(at.0.saturating_sub_unsigned(LEAVE_WINDOW));
            let inside = |(from, to): &(Timestamp, Timestamp)| to.since(window.max(*from)).0;
            let taken = self.leaves.iter().map(inside).fold(downtime, u64::saturating_add);
            downtime = taken.saturating_sub(LEAVE).min(downtime);
        }
        Millis(downtime.saturating_add(self.missed)) > policy.downtime_tolerance
    }

    fn event(&mut self, at: Timestamp, event: Event) {
        self.events.push(at, event);
        self.events.forget_beyond(Millis(LONGEST_WINDOW));
        let events = self.events.as_slice();
        let proof = |event: &Event| *event == Event::Proof;
        let in_the_last_hour = events
            .iter()
            .filter(|(moment, e)| *e != Event::Rental && at.since(*moment).0 <= VALIDATION_ROW.window);
        let (mut ban, mut proof_ban) = (0, 0);
        if in_the_last_hour.clone().count() >= 2 {
            ban = VALIDATION_ROW.ban;
            proof_ban = if in_the_last_hour.clone().any(|(_, e)| proof(e)) { ban } else { 0 };
        }
        if events.len() >= 3
            && let Some(oldest) = events.first().map(|(moment, _)| at.since(*moment).0)
            && let Some(row) = BAN_ROWS.iter().find(|row| oldest <= row.window)
        {
            ban = ban.max(row.ban);
            proof_ban = if events.iter().any(|(_, e)| proof(e)) { proof_ban.max(row.ban) } else { proof_ban };
        }
        self.events.thin_out();
        let until = |span: u64| (span > 0).then(|| at.saturating_add(Millis(span)));
        self.banned_until = self.banned_until.max(until(ban));
        self.proof_banned_until = self.proof_banned_until.max(until(proof_ban));
    }
}
