//! Which endpoint to use: pure decisions over what is known of each.
//!
//! Endpoints are in order of preference. One that failed lately comes after those that did not, one that rests is not
//! used, and one whose finalised head is far behind another's is used only if nobody better answers: an old state is
//! worse than a new one, and better than none.

use std::time::Duration;

use basilica_types::{BlockNumber, Millis};

use crate::breaker::{Breaker, Event, Policy};

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

/// What is known of one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) breaker: Breaker,
    /// Newest finalised height seen there.
    pub(crate) height: Option<u64>,
    /// Why it failed last.
    pub(crate) failure: Option<String>,
}

impl Endpoint {
    pub(crate) fn new(url: String) -> Self {
        Self { url, breaker: Breaker::default(), height: None, failure: None }
    }

    pub(crate) fn note(&mut self, event: Event, now: Duration, policy: &Policy, entropy: u64) {
        self.breaker = self.breaker.after(event, now, policy, entropy);
        if event == Event::Worked {
            self.failure = None;
        }
    }

    pub(crate) fn state(&self, now: Duration) -> EndpointState {
        match self.breaker {
            Breaker::Closed { failures: 0 } => EndpointState::Healthy,
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
    admitted.sort_by_key(|index| (endpoints[*index].breaker.failures() > 0, last != Some(*index), *index));
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
    let best = others.iter().map(|(_, height)| *height).max().unwrap_or(0).max(height);
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
        let one = |breaker: &Breaker| Endpoint { breaker: *breaker, ..Endpoint::new("ws://x".to_owned()) };
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
