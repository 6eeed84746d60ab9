//! What is remembered of a node: the entries of its history folded into as much as any later question needs.

use basilica_types::{BasisPoints, Millis, Timestamp};

use super::conduct::Conduct;
use super::gpu::{GpuRecord, mean_multiplier};
use super::marks::Marks;
use super::{Check, CheckKind, DAY, Entry, Failure, Fault, Gate, Policy, Standing};

/// Attempts kept of the window of the success rate. At the default pace a failing node makes 720 in a day; where checks come
/// faster, the newest count.
pub(super) const ATTEMPTS: usize = 1_024;
/// Longest time that the validator's or the network's failures stop the age of the last full check (R1).
const EXCUSED: u64 = DAY;

/// A node's history as far as anything can still depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The node's own bans and ramp; where it proved GPUs, theirs count.
    pub(super) conduct: Conduct,
    /// A full check failed by confirmed fault, and none has passed since.
    pub(super) full_failed: bool,
    pub(super) last_full_passed: Option<Timestamp>,
    /// Since then, how long others were at fault, and since when they are now.
    pub(super) excused: u64,
    pub(super) excused_since: Option<Timestamp>,
    /// Whether each attempt passed.
    pub(super) attempts: Marks<bool, ATTEMPTS>,
    /// A login with the validator's key on the host that the miner vouches for now (R10).
    pub(super) logged_in: bool,
    /// Ban of a former host of the same miner, served from the first passed full check.
    pub(super) served_until: Option<Timestamp>,
    /// No standing looks further back than this.
    pub(super) last: Option<Timestamp>,
}

/// The standing at `now` of a node with this history, oldest entry first, whose GPUs are not told apart.
///
/// Entries later than `now` are not looked at. An empty history stands at [`Gate::AwaitingFullCheck`].
pub fn standing(history: &[Entry], policy: &Policy, now: Timestamp) -> Standing {
    let mut record = Record::default();
    history.iter().take_while(|entry| entry.at() <= now).for_each(|entry| record.apply(entry, policy));
    record.standing([], policy, now)
}

impl Record {
    /// Takes one more entry.
    pub fn apply(&mut self, entry: &Entry, policy: &Policy) {
        self.conduct.apply(entry, policy);
        self.last = self.last.max(Some(entry.at()));
        match entry {
            Entry::Check(check) => self.check(check, policy),
            // Weight returns only after a passed full check (R2).
            Entry::Unavailable(..) => self.last_full_passed = None,
            Entry::Available(_) => {}
            Entry::Moved(_) => {
                self.logged_in = false;
                self.last_full_passed = None;
            }
        }
    }

    /// A node that was never seen before serves a ban of a host of its miner that is gone (R10). Its GPUs do not take it along.
    pub fn serve(&mut self, until: Timestamp) {
        self.served_until = self.served_until.max(Some(until));
    }

    /// Whether it ever passed a full check since it was first seen, or since its record was last made anew.
    pub const fn has_proved(&self) -> bool {
        self.last_full_passed.is_some() || self.conduct.has_begun_ramp()
    }

    /// Whether this validator has logged in on the host that the miner vouches for now: only then a fault is that host's (R10).
    pub const fn has_logged_in(&self) -> bool {
        self.logged_in
    }

    /// The node's own bans and ramp.
    pub const fn conduct(&self) -> &Conduct {
        &self.conduct
    }

    /// What the node's history amounts to at `now`, with the records of the GPUs that it is paid for.
    ///
    /// Of a moment before the last entry nothing is known any more: it is answered as of that entry.
    pub fn standing<'g>(
        &self,
        gpus: impl IntoIterator<Item = &'g GpuRecord>,
        policy: &Policy,
        now: Timestamp,
    ) -> Standing {
        let now = self.last.map_or(now, |last| now.max(last));
        let mut banned_until = None;
        let mut multipliers = Vec::new();
        for gpu in gpus {
            banned_until = banned_until.max(gpu.conduct().banned_until(now));
            multipliers.push(gpu.conduct().multiplier(policy, now));
        }
        let multiplier = mean_multiplier(&multipliers).unwrap_or_else(|| {
            banned_until = self.conduct.banned_until(now);
            self.conduct.multiplier(policy, now)
        });
        let banned_until = banned_until.max(self.served_until.filter(|until| *until > now));
        let gate = self.gate(banned_until.is_some(), policy, now);
        let score = if gate == Gate::Open { self.score(policy, now) } else { BasisPoints::ZERO };
        Standing { gate, score, multiplier, banned_until }
    }

    fn gate(&self, banned: bool, policy: &Policy, now: Timestamp) -> Gate {
        if banned {
            return Gate::Banned;
        }
        if self.conduct.is_absent() {
            return Gate::Unavailable;
        }
        if self.full_failed {
            return Gate::FullCheckFailed;
        }
        match self.last_full_passed {
            None => Gate::AwaitingFullCheck,
            Some(at) if self.age(at, now) > policy.full_max_age => Gate::FullCheckStale,
            Some(_) => Gate::Open,
        }
    }

    fn check(&mut self, check: &Check, policy: &Policy) {
        self.excuse(check);
        match check.failure {
            None => {
                self.attempt(check.finished, true, policy);
                self.logged_in = true;
                if check.kind == CheckKind::Full {
                    self.full_failed = false;
                    self.last_full_passed = Some(check.finished);
                    self.excused = 0;
                }
            }
            Some((failure, fault)) => {
                // Whatever else failed was seen over a login.
                self.logged_in |= failure != Failure::Reachability;
                if fault.counts_as_attempt() {
                    self.attempt(check.finished, failure != Failure::Reachability, policy);
                }
                if fault == Fault::ConfirmedNode && check.kind == CheckKind::Full {
                    self.full_failed = true;
                }
            }
        }
    }

    fn attempt(&mut self, at: Timestamp, passed: bool, policy: &Policy) {
        self.attempts.push(at, passed);
        self.attempts.forget_beyond(policy.attempt_window);
        self.attempts.keep_newest();
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

    /// Age of the last full check, less the time that others took (R1).
    fn age(&self, passed: Timestamp, now: Timestamp) -> Millis {
        let running = self.excused_since.map_or(0, |since| now.since(since).0);
        let excused = self.excused.saturating_add(running).min(EXCUSED);
        now.since(passed).saturating_sub(Millis(excused))
    }

    /// Half the SSH success rate, half the passed full check.
    fn score(&self, policy: &Policy, now: Timestamp) -> BasisPoints {
        let rate = |since: Timestamp| {
            let inside = self.attempts.as_slice().iter().filter(|(at, _)| *at >= since);
            let (ok, all) = inside.fold((0u64, 0u64), |(ok, all), (_, passed)| {
                (ok.saturating_add(u64::from(*passed)), all.saturating_add(1))
            });
            ok.saturating_mul(10_000).checked_div(all)
        };
        // With no attempt in the window, the last known rate: of the window before the last attempt.
        let begin = Timestamp(now.0.saturating_sub_unsigned(policy.attempt_window.0));
        let rate = rate(begin).or_else(|| rate(Timestamp(i64::MIN))).unwrap_or(0);
        let half = rate.saturating_add(10_000) / 2;
        u16::try_from(half).ok().and_then(|bp| BasisPoints::new(bp).ok()).unwrap_or(BasisPoints::ONE)
    }
}
