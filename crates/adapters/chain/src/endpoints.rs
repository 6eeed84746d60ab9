//! What calls and probes found at each endpoint, kept for the next choice ([`crate::pool`]).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use basilica_ports::{ChainError, Clock, Entropy};
use basilica_types::{BlockNumber, ErrorChain, Millis};

use crate::ChainOptions;
use crate::breaker::{Event, Policy};
use crate::link::Link;
use crate::pool::{self, Endpoint, EndpointReport, EndpointState, Miss};

/// All endpoints asked to be left alone, or failed so often that they are.
#[derive(Debug, thiserror::Error)]
#[error(
    "every endpoint rests for {} ms more after failures; last: {}",
    .wait.0, .last.as_deref().unwrap_or("it asked to be left alone")
)]
struct AllRest {
    wait: Millis,
    /// What was wrong with the endpoint that is free again first.
    last: Option<String>,
}

/// All endpoints, in order of preference.
pub(crate) struct Endpoints {
    all: Mutex<Vec<Endpoint>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    policy: Policy,
    max_lag: u64,
}

impl Endpoints {
    pub(crate) fn new(options: &ChainOptions, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let trial = options.connect_deadline.0.saturating_add(options.request_deadline.0.saturating_mul(2));
        Self {
            all: Mutex::new(options.endpoints.iter().cloned().map(Endpoint::new).collect()),
            clock,
            entropy,
            policy: Policy {
                tolerated: 1,
                rest: options.backoff,
                longest: options.rest_max,
                trial: Millis(trial),
            },
            max_lag: options.max_lag,
        }
    }

    /// Those that may be tried now, best first; `last` is the one in use until now.
    pub(crate) fn order(&self, last: Option<usize>) -> Vec<usize> {
        pool::order(&self.all(), self.now(), last)
    }

    /// How long until one may be tried.
    pub(crate) fn wait(&self) -> Millis {
        pool::wait(&self.all(), self.now()).into()
    }

    /// The error of a call that nobody may be asked for.
    pub(crate) fn all_rest(&self) -> ChainError {
        let wait = self.wait();
        let endpoints = self.all();
        let first = endpoints.iter().min_by_key(|endpoint| endpoint.breaker.free_at());
        let first = first.expect("options without an endpoint are refused");
        let last = first.failure.clone();
        ChainError::Unreachable { endpoint: first.url.shown(), source: AllRest { wait, last }.into() }
    }

    pub(crate) fn note(&self, index: usize, event: Event) {
        let entropy = u64::from_le_bytes(self.entropy.array());
        let now = self.now();
        self.all()[index].note(event, now, &self.policy, entropy);
    }

    /// Whether that is news: it failed before in the same words, and was not good since.
    pub(crate) fn failed(&self, index: usize, event: Event, error: &dyn std::error::Error) -> bool {
        let now = self.now();
        let good = self.all()[index].state(now) == EndpointState::Healthy;
        self.note(index, event);
        let words = Some(ErrorChain(error).to_string());
        let before = std::mem::replace(&mut self.all()[index].failure, words.clone());
        good || before != words
    }

    /// An endpoint that could be reached failed a call.
    pub(crate) fn missed(&self, index: usize, call: &'static str, how: Miss, error: &dyn std::error::Error) {
        let now = self.now();
        self.all()[index].missed(call, how, now, &self.policy);
        if how != Miss::Broke {
            self.failed(index, Event::Failed, error);
        }
    }

    /// A call came to its end.
    pub(crate) fn served(&self, link: &Link, call: &'static str) {
        self.all()[link.index].served(call);
        self.note(link.index, Event::Worked);
        self.seen(link);
    }

    /// A probe was answered: enough for an endpoint that was only out of reach.
    pub(crate) fn probed(&self, index: usize) {
        let misses = self.all()[index].distrust.is_some();
        self.note(index, if misses { Event::Reached } else { Event::Worked });
    }

    /// Whether calls may be moved there.
    pub(crate) fn is_trusted(&self, index: usize) -> bool {
        let now = self.now();
        self.all()[index].is_trusted(now)
    }

    pub(crate) fn seen(&self, link: &Link) {
        self.all()[link.index].height = Some(link.height());
    }

    /// Whether the link's head is too far behind what another endpoint has shown.
    pub(crate) fn is_behind(&self, link: &Link) -> bool {
        pool::is_behind(&self.all(), link.index, link.height(), self.max_lag)
    }

    /// What is known of each.
    pub(crate) fn report(&self, in_use: Option<usize>) -> Vec<EndpointReport> {
        let now = self.now();
        let one = |(index, endpoint): (usize, &Endpoint)| EndpointReport {
            endpoint: endpoint.url.shown(),
            in_use: in_use == Some(index),
            state: endpoint.state(now),
            head: endpoint.height.map(BlockNumber),
            failure: endpoint.failure.clone(),
        };
        self.all().iter().enumerate().map(one).collect()
    }

    fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Endpoint>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use basilica_system::{OsEntropy, SystemClock};

    use super::*;

    #[test]
    fn a_failure_is_news_once_for_each_cause_and_again_after_it_was_gone() {
        let options = ChainOptions::new(vec!["ws://x".parse().unwrap()]);
        let endpoints = Endpoints::new(&options, Arc::new(SystemClock::new()), Arc::new(OsEntropy));
        let failed =
            |words: &str| endpoints.failed(0, Event::Failed, &std::io::Error::other(words.to_owned()));
        assert!(failed("refused") && !failed("refused") && failed("reset") && !failed("reset"));
        endpoints.note(0, Event::Worked);
        assert!(failed("reset"));
        let error = endpoints.all_rest();
        let words = ErrorChain(&error).to_string();
        assert!(words.contains("ws://x") && words.ends_with("; last: reset"), "{words}");
    }
}
