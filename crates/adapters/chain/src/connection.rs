//! One connection at a time to one of several endpoints.
//!
//! Reconnecting happens when somebody calls: the next call opens a new link, to the endpoint that is worth it most
//! ([`pool`]), while the others rest behind their breakers ([`crate::breaker`]). [`Connection::watch`] adds what only
//! time can do: it looks at the endpoints that are not in use, goes back to a preferred one that recovered, and leaves
//! one whose head stands still while another's moves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, OnceLock, PoisonError};

use basilica_ports::{BoxError, ChainError, Clock, Entropy};
use basilica_types::{BlockHash, BlockNumber, Millis};
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::ChainOptions;
use crate::breaker::{Event, Policy};
use crate::deadline::within;
use crate::dial;
use crate::link::{Link, Opening};
use crate::options::shown;
use crate::pool::{self, Endpoint, EndpointReport, Move};

/// The endpoint serves another chain than the one that this process began with.
#[derive(Debug, thiserror::Error)]
#[error(
    "endpoint serves the chain with genesis 0x{found}, not 0x{expected}; it is skipped until it serves that chain again"
)]
struct OtherChain {
    expected: BlockHash,
    found: BlockHash,
}

/// All endpoints asked to be left alone, or failed so often that they are.
#[derive(Debug, thiserror::Error)]
#[error("every endpoint rests for {} ms more after failures; last: {last}", .wait.0)]
struct AllRest {
    wait: Millis,
    last: String,
}

#[derive(Debug, thiserror::Error)]
#[error("its finalised head {height} is more than {max_lag} blocks behind another endpoint's")]
struct Lags {
    height: u64,
    max_lag: u64,
}

/// The endpoints and the one connection.
pub(crate) struct Connection {
    pub(crate) options: ChainOptions,
    pub(crate) clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    policy: Policy,
    /// Held while a link is opened, so that waiting callers share it.
    link: Mutex<Option<Arc<Link>>>,
    endpoints: SyncMutex<Vec<Endpoint>>,
    genesis: OnceLock<BlockHash>,
    opened: AtomicU64,
}

impl Connection {
    pub(crate) fn new(options: ChainOptions, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let policy = Policy {
            tolerated: 1,
            rest: options.backoff,
            longest: options.rest_max,
            trial: Millis(
                options.connect_deadline.0.saturating_add(options.request_deadline.0.saturating_mul(2)),
            ),
        };
        Self {
            clock,
            entropy,
            policy,
            link: Mutex::default(),
            endpoints: SyncMutex::new(options.endpoints.iter().cloned().map(Endpoint::new).collect()),
            genesis: options.genesis.map_or_else(OnceLock::new, OnceLock::from),
            opened: AtomicU64::new(0),
            options,
        }
    }

    /// Runs one call of the port under its deadline: `work` on the present link, and again on another one each time
    /// the link is lost under it, at most once per endpoint more. `work` must be safe to repeat.
    pub(crate) async fn call<T, F, Fut>(&self, call: &'static str, work: F) -> Result<T, ChainError>
    where
        F: Fn(Arc<Link>) -> Fut + Send,
        Fut: Future<Output = Result<T, ChainError>> + Send,
    {
        within(&*self.clock, self.options.call_deadline, Box::pin(self.attempts(work)))
            .await
            .unwrap_or(Err(ChainError::Deadline { call }))
    }

    async fn attempts<T, F, Fut>(&self, work: F) -> Result<T, ChainError>
    where
        F: Fn(Arc<Link>) -> Fut + Send,
        Fut: Future<Output = Result<T, ChainError>> + Send,
    {
        let mut left = self.options.endpoints.len();
        loop {
            let link = self.link().await?;
            match work(Arc::clone(&link)).await {
                Err(error) if link.is_lost() => {
                    self.settle_lost(&link, &error);
                    if left == 0 {
                        return Err(error);
                    }
                    left -= 1;
                }
                done => {
                    self.note(link.index, Event::Worked);
                    self.seen(&link);
                    return done;
                }
            }
        }
    }

    async fn link(&self) -> Result<Arc<Link>, ChainError> {
        let mut slot = self.link.lock().await;
        let last = match &*slot {
            Some(link) if link.is_fresh() => return Ok(Arc::clone(link)),
            Some(link) if link.is_lost() => {
                // Its caller may have been dropped before it could tell.
                self.settle_lost(link, &ChainError::Deadline { call: "request" });
                None
            }
            outdated => outdated.as_ref().map(|link| link.index),
        };
        let link = Arc::new(self.connect(last).await?);
        *slot = Some(Arc::clone(&link));
        Ok(link)
    }

    /// A link to the best endpoint that answers.
    async fn connect(&self, last: Option<usize>) -> Result<Link, ChainError> {
        self.rest().await?;
        let order = pool::order(&self.endpoints(), self.clock.monotonic(), last);
        let mut behind: Option<Link> = None;
        let mut failed = None;
        for index in order {
            match self.open(index).await {
                Ok(link) if self.is_behind(&link) => {
                    if behind.as_ref().is_none_or(|best| best.height() < link.height()) {
                        behind = Some(link);
                    }
                }
                Ok(link) => return Ok(link),
                Err(error) => failed = Some(error),
            }
        }
        match (behind, failed) {
            (Some(link), _) => {
                warn!(
                    chain.endpoint = link.endpoint,
                    chain.head = link.height(),
                    "every endpoint that answers is behind; the most advanced one is used"
                );
                Ok(link)
            }
            (None, Some(error)) => Err(error),
            (None, None) => Err(self.all_rest()),
        }
    }

    /// Waits until an endpoint may be tried, unless that is longer than our own backoff ever takes.
    async fn rest(&self) -> Result<(), ChainError> {
        let wait = Millis::from(pool::wait(&self.endpoints(), self.clock.monotonic()));
        if wait.0 > self.options.backoff.1.0 {
            return Err(self.all_rest());
        }
        if wait.0 > 0 {
            self.clock.sleep(Millis(wait.0.saturating_add(1))).await;
        }
        Ok(())
    }

    fn all_rest(&self) -> ChainError {
        let endpoints = self.endpoints();
        let now = self.clock.monotonic();
        let first = endpoints.iter().min_by_key(|endpoint| endpoint.breaker.free_at());
        let last = first.and_then(|endpoint| endpoint.failure.clone()).unwrap_or_default();
        ChainError::Unreachable {
            endpoint: first.map(|endpoint| shown(&endpoint.url)).unwrap_or_default(),
            source: AllRest { wait: pool::wait(&endpoints, now).into(), last }.into(),
        }
    }

    /// Opens a link to one endpoint and notes how that went.
    async fn open(&self, index: usize) -> Result<Link, ChainError> {
        let url = self.options.endpoints[index].as_str();
        self.note(index, Event::Tried);
        let opening = Opening {
            id: self.opened.fetch_add(1, Ordering::Relaxed),
            index,
            clock: &self.clock,
            connect_deadline: self.options.connect_deadline,
            request_deadline: self.options.request_deadline,
        };
        let opened = match Box::pin(Link::open(url, opening)).await {
            Ok(link) => self.check_genesis(link),
            Err(error) => Err(error),
        };
        match opened {
            Ok(link) => {
                info!(chain.endpoint = link.endpoint, chain.head = link.height(), "chain connected");
                self.seen(&link);
                Ok(link)
            }
            Err(source) => {
                warn!(
                    chain.endpoint = shown(url),
                    error = &*source as &dyn std::error::Error,
                    "chain endpoint failed"
                );
                let event = match dial::throttled(&source) {
                    Some(after) => Event::Throttled { after },
                    None => Event::Failed,
                };
                self.failed(index, event, &*source);
                Err(ChainError::Unreachable { endpoint: shown(url), source })
            }
        }
    }

    fn check_genesis(&self, link: Link) -> Result<Link, BoxError> {
        let found = BlockHash::from_bytes(link.genesis().0);
        let expected = *self.genesis.get_or_init(|| found);
        if found == expected { Ok(link) } else { Err(OtherChain { expected, found }.into()) }
    }

    fn is_behind(&self, link: &Link) -> bool {
        let behind = pool::is_behind(&self.endpoints(), link.index, link.height(), self.options.max_lag);
        if behind {
            let lags = Lags { height: link.height(), max_lag: self.options.max_lag };
            warn!(chain.endpoint = link.endpoint, chain.head = link.height(), "chain endpoint lags");
            self.failed(link.index, Event::Failed, &lags);
        }
        behind
    }

    /// Notes once that a link was lost.
    fn settle_lost(&self, link: &Link, error: &(dyn std::error::Error + 'static)) {
        if link.settle() {
            warn!(chain.endpoint = link.endpoint, error, "chain connection lost");
            let event = if link.is_throttled() { Event::Throttled { after: None } } else { Event::Failed };
            self.failed(link.index, event, error);
        }
    }

    fn failed(&self, index: usize, event: Event, error: &dyn std::error::Error) {
        self.note(index, event);
        self.endpoints()[index].failure = Some(chain_of(error));
    }

    fn note(&self, index: usize, event: Event) {
        let entropy = u64::from_le_bytes(self.entropy.array());
        self.endpoints()[index].note(event, self.clock.monotonic(), &self.policy, entropy);
    }

    fn seen(&self, link: &Link) {
        self.endpoints()[link.index].height = Some(link.height());
    }

    fn endpoints(&self) -> MutexGuard<'_, Vec<Endpoint>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of each endpoint, in order of preference.
    pub(crate) async fn report(&self) -> Vec<EndpointReport> {
        let in_use = self.link.lock().await.as_ref().filter(|link| !link.is_lost()).map(|link| link.index);
        let now = self.clock.monotonic();
        let one = |(index, endpoint): (usize, &Endpoint)| EndpointReport {
            endpoint: shown(&endpoint.url),
            in_use: in_use == Some(index),
            state: endpoint.state(now),
            head: endpoint.height.map(BlockNumber),
            failure: endpoint.failure.clone(),
        };
        self.endpoints().iter().enumerate().map(one).collect()
    }

    /// Looks after the endpoints for as long as it is polled; with one endpoint there is nothing to choose.
    pub(crate) async fn watch(&self) {
        loop {
            self.clock.sleep(self.options.health_interval).await;
            if self.options.endpoints.len() > 1 {
                self.check_health().await;
            }
        }
    }

    /// One look at all endpoints.
    pub(crate) async fn check_health(&self) {
        let current = self.link.lock().await.as_ref().filter(|link| !link.is_lost()).map(Arc::clone);
        let Some(current) = current else { return };
        let order = pool::order(&self.endpoints(), self.clock.monotonic(), None);
        let mut others = Vec::new();
        for index in order.into_iter().filter(|index| *index != current.index) {
            if let Ok(link) = self.open(index).await {
                self.note(index, Event::Worked);
                others.push(link);
            }
        }
        match current.finalized_number().await {
            Ok(_) => self.seen(&current),
            // The next call finds the link lost, or asks itself.
            Err(_) => return,
        }
        let heads: Vec<_> = others.iter().map(|link| (link.index, link.height())).collect();
        let to = match pool::settle((current.index, current.height()), &heads, self.options.max_lag) {
            Move::Stay => return,
            Move::Home(to) => to,
            Move::Ahead(to) => {
                // Noted as a failure of the one that is left.
                self.is_behind(&current);
                to
            }
        };
        let Some(link) = others.into_iter().find(|link| link.index == to) else { return };
        let mut slot = self.link.lock().await;
        // Calls under way end on the link that they began with.
        if slot.as_ref().is_some_and(|present| present.id == current.id) {
            info!(chain.endpoint = link.endpoint, chain.left = current.endpoint, "chain endpoint changed");
            *slot = Some(Arc::new(link));
        }
    }
}

/// An error with its causes, in one line.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
