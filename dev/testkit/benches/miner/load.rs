//! Validators that authenticate and discover: as fast as they are answered, or at a pace.

use std::sync::Arc;
use std::time::Duration;

use basilica_ports::Clock as _;
use basilica_system::SystemClock;
use basilica_types::SessionToken;
use basilica_wire::discovery::{AuthRequest, DiscoverRequest};
use tokio::task::JoinSet;

use crate::site::Author;

/// A validator with its standing session.
pub(crate) type Validator = (Arc<Author>, SessionToken);

/// How long pairs took.
#[derive(Debug)]
pub(crate) struct Times {
    /// From the first to the last.
    pub(crate) spent: Duration,
    /// Of each, shortest first.
    each: Vec<Duration>,
}

impl Times {
    fn new(spent: Duration, mut each: Vec<Duration>) -> Self {
        each.sort_unstable();
        Self { spent, each }
    }

    /// The time that so many of a thousand did not exceed.
    pub(crate) fn of_thousand(&self, share: usize) -> Duration {
        self.each[(self.each.len() * share / 1000).min(self.each.len() - 1)]
    }

    pub(crate) fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.each.len()).expect("some thousands")) / self.spent.as_secs_f64()
    }
}

/// All in turn, until there are `pairs`; signed beforehand.
fn signed(validators: &[Validator], pairs: u64) -> Vec<Vec<(AuthRequest, DiscoverRequest)>> {
    let count = u64::try_from(validators.len()).expect("a few validators");
    let share = |at: u64| (pairs + count - 1 - at) / count;
    let requests = |(at, (author, session)): (u64, &Validator)| {
        (0..share(at)).map(|_| (author.authentication(), author.discovery(session))).collect()
    };
    (0u64..).zip(validators).map(requests).collect()
}

/// `pairs` pairs, each validator's next one as soon as its last is answered.
pub(crate) async fn at_once(validators: &[Validator], pairs: u64) -> Times {
    let signed = signed(validators, pairs);
    let clock = SystemClock::new();
    let began = clock.monotonic();
    let mut open = JoinSet::new();
    for ((author, _), requests) in validators.iter().zip(signed) {
        let client = Arc::clone(&author.client);
        open.spawn(async move {
            let clock = SystemClock::new();
            let mut each = Vec::with_capacity(requests.len());
            for (authentication, discovery) in requests {
                let began = clock.monotonic();
                client.authenticate(authentication).await.expect("a session");
                client.discover(discovery).await.expect("an answer");
                each.push(clock.monotonic() - began);
            }
            each
        });
    }
    let each = open.join_all().await.into_iter().flatten().collect();
    Times::new(clock.monotonic() - began, each)
}

/// `rate` pairs a second for `seconds`, whether the ones before are answered or not; each is timed from the moment at which
/// it was due, so that a miner that stands still is not spared.
pub(crate) async fn at_pace(validators: &[Validator], rate: u64, seconds: u64) -> Times {
    let signed = signed(validators, rate * seconds);
    let count = u32::try_from(validators.len()).expect("a few validators");
    let gap = Duration::from_secs(1) / u32::try_from(rate).expect("a few thousand");
    let began = tokio::time::Instant::now() + Duration::from_millis(20);
    let mut open = JoinSet::new();
    for (at, ((author, _), requests)) in (0u32..).zip(validators.iter().zip(signed)) {
        let client = Arc::clone(&author.client);
        open.spawn(async move {
            let mut each = Vec::with_capacity(requests.len());
            for (turn, (authentication, discovery)) in (0u32..).zip(requests) {
                let due = began + gap * (turn * count + at);
                tokio::time::sleep_until(due).await;
                client.authenticate(authentication).await.expect("a session");
                client.discover(discovery).await.expect("an answer");
                each.push(due.elapsed());
            }
            each
        });
    }
    let each = open.join_all().await.into_iter().flatten().collect();
    Times::new(began.elapsed(), each)
}
