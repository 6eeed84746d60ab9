//! Which endpoint to use: pure decisions over what is known of each.
//!
//! Endpoints are in order of preference. One that failed lately comes after those that did not, one that rests is not
//! used, and one whose finalised head is far behind another's is used only if nobody better answers: an old state is
//! worse than a new one, and better than none.
//!
//! Being reached and serving calls are two things. An endpoint that tells its head and fails at what is asked of it
//! looks well to every probe, so what calls found ([`Distrust`]) is only ever taken back by the same call, and until
//! then the endpoint comes last and is not gone back to for a time that doubles.

use std::time::Duration;

use basilica_types::{BlockNumber, ChainUrl, Millis};

use crate::breaker::{Breaker, Event, Policy};

/// What calls found is held against an endpoint for this part of the longest rest at first, and doubles from there.
const FIRST_DISTRUST: u64 = 8;

/// One endpoint, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointReport {
    /// Scheme and host of its URL.
    pub endpoint: String,
    /// Calls go here now.
    pub in_use: bool,
    /// What is known of it.
    pub state: EndpointState,
    /// Newest finalised height seen there, if it ever answered.
    pub head: Option<BlockNumber>,
    /// Why it failed last, if it did since it last worked.
    pub failure: Option<String>,
}

/// Whether an endpoint is worth a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointState {
    /// It answers, or was not tried yet.
    Healthy,
    /// It failed, and may be tried again at once.
    Suspect,
    /// It failed repeatedly or asked to be left alone: no call for so long.
    Resting(Millis),
    /// One call tries whether it is back.
    Trial,
}

impl EndpointState {
    /// A word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Suspect => "suspect",
            Self::Resting(_) => "resting",
            Self::Trial => "trial",
        }
    }
}

/// How an endpoint that could be reached failed a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// The connection ended. Once may be a restart.
    Broke,
    /// It answered with an error, or with something that cannot be understood, where another endpoint answered well.
    Refused,
    /// The call's deadline passed.
    Late,
}

impl Miss {
    /// Misses in a row that do not keep anybody from going back.
    const fn tolerated(self) -> u32 {
        match self {
            Self::Broke => 1,
            Self::Refused | Self::Late => 0,
        }
    }
}

/// A call that an endpoint does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Distrust {
    call: &'static str,
    /// In a row.
    misses: u32,
    /// It is not gone back to before.
    until: Duration,
}

/// What is known of one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) url: ChainUrl,
    pub(crate) breaker: Breaker,
    pub(crate) distrust: Option<Distrust>,
    /// Newest finalised height seen there.
    pub(crate) height: Option<u64>,
    /// Why it failed last.
    pub(crate) failure: Option<String>,
}

impl Endpoint {
    pub(crate) fn new(url: ChainUrl) -> Self {
        Self { url, breaker: Breaker::default(), distrust: None, height: None, failure: None }
    }

    pub(crate) fn note(&mut self, event: Event, now: Duration, policy: &Policy, entropy: u64) {
        self.breaker = self.breaker.after(event, now, policy, entropy);
        if event == Event::Worked && self.distrust.is_none() {
            self.failure = None;
        }
    }

    /// A call failed here; `policy.longest` bounds for how long that is held against the endpoint.
    pub(crate) fn missed(&mut self, call: &'static str, how: Miss, now: Duration, policy: &Policy) {
        let misses = self.distrust.map_or(0, |distrust| distrust.misses).saturating_add(1);
        let until = match misses.checked_sub(how.tolerated()) {
            None | Some(0) => now,
            Some(held) => {
                let first = policy.longest.0 / FIRST_DISTRUST;
                let span = 1u64.checked_shl(held - 1).map_or(u64::MAX, |n| first.saturating_mul(n));
                now.saturating_add(Millis(span.min(policy.longest.0)).as_duration())
            }
        };
        self.distrust = Some(Distrust { call, misses, until });
    }

    /// A call was served: takes back what the same call found before, and nothing else.
    pub(crate) fn served(&mut self, call: &'static str) {
        if self.distrust.is_some_and(|distrust| distrust.call == call) {
            self.distrust = None;
        }
    }

    /// Whether calls may be moved here from an endpoint that serves them.
    pub(crate) fn is_trusted(&self, now: Duration) -> bool {
        self.distrust.is_none_or(|distrust| distrust.until <= now)
    }

    /// Nothing but good is known.
    fn is_well(&self) -> bool {
        self.breaker.failures() == 0 && self.distrust.is_none()
    }

    pub(crate) fn state(&self, now: Duration) -> EndpointState {
        match self.breaker {
            Breaker::Closed { failures: 0 } if self.distrust.is_none() => EndpointState::Healthy,
            Breaker::Open { until, .. } if until > now => {
                EndpointState::Resting(Millis::from(until.saturating_sub(now)))
            }
            Breaker::Closed { .. } | Breaker::Open { .. } => EndpointState::Suspect,
            Breaker::HalfOpen { .. } => EndpointState::Trial,
        }
    }
}

/// The endpoints that may be tried now, best first; `last` is the one in use until now.
pub(crate) fn order(endpoints: &[Endpoint], now: Duration, last: Option<usize>) -> Vec<usize> {
    let mut admitted: Vec<usize> =
        (0..endpoints.len()).filter(|index| endpoints[*index].breaker.admits(now)).collect();
    admitted.sort_by_key(|index| (!endpoints[*index].is_well(), last != Some(*index), *index));
    admitted
}

/// How long until an endpoint may be tried.
pub(crate) fn wait(endpoints: &[Endpoint], now: Duration) -> Duration {
    let free = endpoints.iter().map(|endpoint| endpoint.breaker.free_at().unwrap_or(Duration::ZERO)).min();
    free.unwrap_or(Duration::ZERO).saturating_sub(now)
}

/// Whether an endpoint with this head is too far behind what another one has shown.
pub(crate) fn is_behind(endpoints: &[Endpoint], index: usize, height: u64, max_lag: u64) -> bool {
    let others = endpoints.iter().enumerate().filter(|(other, _)| *other != index);
    let best = others.filter_map(|(_, endpoint)| endpoint.height).max();
    best.is_some_and(|best| height.saturating_add(max_lag) < best)
}

/// What a look at all endpoints leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Stay,
    /// A preferred endpoint is back.
    Home(usize),
    /// The one in use is too far behind.
    Ahead(usize),
}

/// Which endpoint to use, by the heads `(index, height)` of the one in use and of the others that answer.
pub(crate) fn settle(current: (usize, u64), others: &[(usize, u64)], max_lag: u64) -> Move {
    let (index, height) = current;
    let best = others.iter().map(|(_, height)| *height).fold(height, u64::max);
    let near = |height: u64| height.saturating_add(max_lag) >= best;
    let preferred = others.iter().filter(|(_, height)| near(*height)).map(|(index, _)| *index).min();
    match preferred {
        Some(other) if !near(height) => Move::Ahead(other),
        Some(other) if other < index => Move::Home(other),
        _ => Move::Stay,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn endpoints(breakers: &[Breaker]) -> Vec<Endpoint> {
        let one =
            |breaker: &Breaker| Endpoint { breaker: *breaker, ..Endpoint::new("ws://x".parse().unwrap()) };
        breakers.iter().map(one).collect()
    }

    const GOOD: Breaker = Breaker::Closed { failures: 0 };
    const SUSPECT: Breaker = Breaker::Closed { failures: 1 };

    fn resting(until: u64) -> Breaker {
        Breaker::Open { failures: 2, until: Duration::from_secs(until) }
    }

    #[test]
    fn the_order_is_health_then_habit_then_preference() {
        let now = Duration::from_secs(5);
        assert_eq!(order(&endpoints(&[GOOD, GOOD, GOOD]), now, None), [0, 1, 2]);
        assert_eq!(order(&endpoints(&[GOOD, GOOD, GOOD]), now, Some(2)), [2, 0, 1]);
        assert_eq!(order(&endpoints(&[SUSPECT, GOOD]), now, Some(0)), [1, 0]);
        assert_eq!(order(&endpoints(&[resting(6), resting(5), GOOD]), now, None), [2, 1]);
        assert_eq!(order(&endpoints(&[resting(6), resting(7)]), now, None), [0usize; 0]);
        assert_eq!(wait(&endpoints(&[resting(6), resting(7)]), now), Duration::from_secs(1));
        assert_eq!(wait(&endpoints(&[resting(6), GOOD]), now), Duration::ZERO);
    }

    #[test]
    fn what_a_call_found_is_taken_back_by_that_call_only() {
        let policy = Policy {
            tolerated: 1,
            rest: (Millis(1), Millis(2)),
            longest: Millis::from_secs(800),
            trial: Millis(1),
        };
        let at = Duration::from_secs;
        let mut one = Endpoint::new("ws://x".parse().unwrap());
        one.missed("metagraph", Miss::Refused, at(0), &policy);
        for event in [Event::Tried, Event::Reached, Event::Worked] {
            one.note(event, at(1), &policy, 0);
        }
        one.served("head");
        assert!(!one.is_trusted(at(99)) && one.is_trusted(at(100)));
        assert_eq!(one.state(at(99)), EndpointState::Suspect);
        one.missed("metagraph", Miss::Late, at(100), &policy);
        assert!(!one.is_trusted(at(299)) && one.is_trusted(at(300)), "twice as long");
        for _ in 0..70 {
            one.missed("metagraph", Miss::Broke, at(300), &policy);
        }
        assert!(!one.is_trusted(at(1_099)) && one.is_trusted(at(1_100)), "bounded");
        one.served("metagraph");
        assert_eq!((one.is_trusted(at(0)), one.state(at(0))), (true, EndpointState::Healthy));
        one.missed("metagraph", Miss::Broke, at(0), &policy);
        assert!(one.is_trusted(at(0)), "one broken connection may be a restart");
        let mut all = endpoints(&[GOOD, GOOD]);
        all[0].distrust = one.distrust;
        assert_eq!(order(&all, at(0), Some(0)), [1, 0]);
    }

    #[test]
    fn an_endpoint_is_behind_only_by_what_another_has_shown() {
        let mut all = endpoints(&[GOOD, GOOD]);
        assert!(!is_behind(&all, 0, 5, 10), "nothing known");
        all[0].height = Some(100);
        assert!(!is_behind(&all, 0, 5, 10), "its own past says nothing");
        assert!(is_behind(&all, 1, 89, 10));
        assert!(!is_behind(&all, 1, 90, 10));
    }

    #[test]
    fn a_lagging_endpoint_is_left_and_a_preferred_one_returned_to() {
        assert_eq!(settle((0, 100), &[(1, 110)], 10), Move::Stay);
        assert_eq!(settle((0, 99), &[(1, 110)], 10), Move::Ahead(1));
        assert_eq!(settle((1, 110), &[(0, 100)], 10), Move::Home(0));
        assert_eq!(settle((1, 110), &[(0, 99)], 10), Move::Stay, "it lags still");
        assert_eq!(settle((2, 50), &[(0, 60), (1, 100)], 10), Move::Ahead(1));
        assert_eq!(settle((1, 7), &[], 10), Move::Stay);
    }

    proptest! {
        #[test]
        fn after_moving_there_is_nowhere_better_to_go(
            heads in proptest::collection::vec(0u64..60, 1..6), at in any::<prop::sample::Index>(),
        ) {
            let all: Vec<_> = heads.iter().copied().enumerate().collect();
            let step = |from: usize| {
                let others: Vec<_> = all.iter().copied().filter(|(index, _)| *index != from).collect();
                settle(all[from], &others, 10)
            };
            let start = at.index(all.len());
            let end = match step(start) {
                Move::Stay => start,
                Move::Home(to) | Move::Ahead(to) => to,
            };
            prop_assert_eq!(step(end), Move::Stay);
            prop_assert!(all[end].1 + 10 >= heads.iter().copied().max().unwrap());
        }
    }
}
