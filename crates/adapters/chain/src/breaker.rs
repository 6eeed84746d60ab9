//! When an endpoint is worth a call: a circuit breaker as a pure state machine.
//!
//! Promises: an endpoint that failed more often than is tolerated rests for a while that doubles each time up to a
//! bound, of which a random half is left out so that many clients do not come back at once; after the rest one trial
//! decides; an endpoint that says itself how long to stay away is obeyed, up to a bound. There is no state from which
//! it is never tried again, not even when the result of a trial is lost with its task.
//!
//! Rejected: counting failures over a time window. A chain client calls so seldom that a window is mostly empty, and
//! one success says more than a rate.

use std::time::Duration;

use basilica_types::Millis;

/// How a breaker judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Failures in a row that change nothing.
    pub(crate) tolerated: u32,
    /// The first rest and the longest that doubling leads to.
    pub(crate) rest: (Millis, Millis),
    /// The longest rest that an endpoint can ask for.
    pub(crate) longest: Millis,
    /// After this time a trial without result is over.
    pub(crate) trial: Millis,
}

/// One endpoint's state. Moments are of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breaker {
    /// Calls go through.
    Closed {
        /// In a row, until now.
        failures: u32,
    },
    /// It rests.
    Open { failures: u32, until: Duration },
    /// One trial is under way; nobody else is let through until its result or this moment.
    HalfOpen { failures: u32, until: Duration },
}

/// What happened to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A call was let through.
    Tried,
    /// A call came to its end.
    Worked,
    /// A probe was answered, which says nothing of calls: it may be tried, and failures still count.
    Reached,
    /// It could not be reached, broke, lied about its chain or lagged.
    Failed,
    /// It said that it is asked too much, and perhaps for how long to stay away.
    Throttled {
        /// What it asked for.
        after: Option<Millis>,
    },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// When the next call may go through; `None` is at once.
    pub(crate) const fn free_at(self) -> Option<Duration> {
        match self {
            Self::Closed { .. } => None,
            Self::Open { until, .. } | Self::HalfOpen { until, .. } => Some(until),
        }
    }

    /// Whether a call may go through.
    pub(crate) fn admits(self, now: Duration) -> bool {
        self.free_at().is_none_or(|free| free <= now)
    }

    pub(crate) const fn failures(self) -> u32 {
        match self {
            Self::Closed { failures } | Self::Open { failures, .. } | Self::HalfOpen { failures, .. } => {
                failures
            }
        }
    }

    /// The state after `event`; `entropy` spreads the rests.
    pub(crate) fn after(self, event: Event, now: Duration, policy: &Policy, entropy: u64) -> Self {
        let failures = self.failures();
        match (self, event) {
            (_, Event::Worked) => Self::default(),
            (Self::Open { until, .. }, Event::Reached) if now < until => self,
            (_, Event::Reached) => Self::Closed { failures },
            (Self::Closed { .. }, Event::Tried) => self,
            (Self::Open { .. } | Self::HalfOpen { .. }, Event::Tried) if self.admits(now) => {
                Self::HalfOpen { failures, until: now.saturating_add(policy.trial.as_duration()) }
            }
            (Self::Open { .. } | Self::HalfOpen { .. }, Event::Tried) => self,
            // News of a call that was let through before: the rest has been decided.
            (Self::Open { until, .. }, Event::Failed) if now < until => self,
            (_, Event::Failed) => Self::failed(failures.saturating_add(1), now, policy, entropy),
            (_, Event::Throttled { after }) => {
                let failures = failures.saturating_add(1).max(policy.tolerated.saturating_add(1));
                let asked = after.unwrap_or(Millis(0)).min(policy.longest);
                let rest = Millis(rest(policy, failures, entropy).0.max(asked.0));
                let until = now.saturating_add(rest.as_duration());
                let running = match self {
                    Self::Open { until, .. } => until,
                    Self::Closed { .. } | Self::HalfOpen { .. } => Duration::ZERO,
                };
                Self::Open { failures, until: until.max(running) }
            }
        }
    }

    fn failed(failures: u32, now: Duration, policy: &Policy, entropy: u64) -> Self {
        if failures <= policy.tolerated {
            return Self::Closed { failures };
        }
        let rest = rest(policy, failures, entropy);
        Self::Open { failures, until: now.saturating_add(rest.as_duration()) }
    }
}

/// The rest after this many failures: doubling between its bounds, of which a random half is left out.
fn rest(policy: &Policy, failures: u32, entropy: u64) -> Millis {
    let (first, longest) = policy.rest;
    let doublings = failures.saturating_sub(policy.tolerated).saturating_sub(1);
    let full = 1u64.checked_shl(doublings).map_or(longest.0, |n| first.0.saturating_mul(n)).min(longest.0);
    let half = full / 2;
    Millis(half + entropy % (full - half + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: Policy = Policy {
        tolerated: 1,
        rest: (Millis(250), Millis(10_000)),
        longest: Millis(600_000),
        trial: Millis(20_000),
    };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn run(events: &[(u64, Event)]) -> Breaker {
        events.iter().fold(Breaker::default(), |state, (at, event)| state.after(*event, ms(*at), &POLICY, 0))
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Tried),
            Just(Event::Worked),
            Just(Event::Reached),
            Just(Event::Failed),
            proptest::option::of(0u64..2_000_000)
                .prop_map(|after| Event::Throttled { after: after.map(Millis) }),
        ]
    }

    proptest! {
        #[test]
        fn an_endpoint_is_never_shut_out_for_longer_than_the_policy_says(
            events in proptest::collection::vec((0u64..30_000, event(), any::<u64>()), 0..60),
        ) {
            let (mut now, mut state) = (0, Breaker::default());
            for (pause, event, entropy) in events {
                now += pause;
                state = state.after(event, ms(now), &POLICY, entropy);
                let bound = ms(now + POLICY.longest.0.max(POLICY.trial.0));
                prop_assert!(state.admits(bound), "{state:?} at {now}");
            }
        }

        #[test]
        fn one_success_closes_whatever_was_before(
            events in proptest::collection::vec((0u64..30_000, event()), 0..60),
        ) {
            let mut all: Vec<_> = events;
            all.push((0, Event::Worked));
            prop_assert_eq!(run(&all), Breaker::Closed { failures: 0 });
        }

        #[test]
        fn while_one_trial_is_under_way_nobody_else_is_let_through(failures in 2u32..40, later in 0u64..19_999) {
            let open = Breaker::Open { failures, until: ms(1_000) };
            let trial = open.after(Event::Tried, ms(1_000), &POLICY, 0);
            prop_assert!(!trial.admits(ms(1_000 + later)));
            prop_assert_eq!(trial.after(Event::Tried, ms(1_000 + later), &POLICY, 0), trial);
            prop_assert!(trial.admits(ms(21_000)), "its result was lost");
        }

        #[test]
        fn rests_grow_to_their_bound_and_keep_at_least_half(failures in 2u32.., entropy: u64) {
            let pause = rest(&POLICY, failures, entropy).0;
            let full = 250u64.saturating_mul(1u64.checked_shl(failures - 2).unwrap_or(u64::MAX)).min(10_000);
            prop_assert!(pause >= full / 2 && pause <= full, "{} of {}", pause, full);
        }
    }

    #[test]
    fn one_failure_is_tolerated_the_second_rests_and_each_more_rests_longer() {
        assert_eq!(run(&[(0, Event::Failed)]), Breaker::Closed { failures: 1 });
        let twice = run(&[(0, Event::Failed), (0, Event::Failed)]);
        assert_eq!(twice, Breaker::Open { failures: 2, until: ms(125) });
        let thrice =
            run(&[(0, Event::Failed), (0, Event::Failed), (200, Event::Tried), (300, Event::Failed)]);
        assert_eq!(thrice, Breaker::Open { failures: 3, until: ms(550) });
    }

    #[test]
    fn a_probe_lets_calls_through_and_forgives_nothing() {
        let twice = [(0, Event::Failed), (0, Event::Failed)];
        let probed = run(&[&twice[..], &[(200, Event::Tried), (210, Event::Reached)]].concat());
        assert_eq!(probed, Breaker::Closed { failures: 2 });
        assert_eq!(
            probed.after(Event::Failed, ms(220), &POLICY, 0),
            Breaker::Open { failures: 3, until: ms(470) }
        );
        let early = run(&[&twice[..], &[(100, Event::Reached)]].concat());
        assert_eq!(early, run(&twice), "nor shortens a rest");
    }

    #[test]
    fn late_news_of_calls_before_the_rest_do_not_prolong_it() {
        let resting = run(&[(0, Event::Failed), (0, Event::Failed)]);
        assert_eq!(resting.after(Event::Failed, ms(100), &POLICY, 0), resting);
        assert_eq!(resting.after(Event::Tried, ms(100), &POLICY, 0), resting);
    }

    #[test]
    fn an_endpoint_is_left_alone_for_as_long_as_it_asks_within_reason() {
        let throttled = |after: Option<u64>| {
            run(&[(0, Event::Throttled { after: after.map(Millis) })]).free_at().unwrap()
        };
        assert_eq!(throttled(None), ms(125), "at least the usual rest");
        assert_eq!(throttled(Some(30_000)), ms(30_000));
        assert_eq!(throttled(Some(86_400_000)), ms(600_000));
        let shorter = run(&[
            (0, Event::Throttled { after: Some(Millis(30_000)) }),
            (10, Event::Throttled { after: Some(Millis(1_000)) }),
        ]);
        assert_eq!(shorter.free_at(), Some(ms(30_000)), "never shortened");
    }

    #[test]
    fn bounds_of_zero_mean_no_rest() {
        let none = Policy { rest: (Millis(0), Millis(0)), ..POLICY };
        assert_eq!(rest(&none, 2, 7), Millis(0));
        assert_eq!(rest(&POLICY, u32::MAX, 0), Millis(5_000));
    }
}
