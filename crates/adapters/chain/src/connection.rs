//! One connection at a time to one of several endpoints.
//!
//! Reconnecting happens when somebody calls: the next call opens a new link, to the endpoint that is worth it most
//! ([`crate::pool`]), while the others rest behind their breakers ([`crate::breaker`]). [`Connection::watch`] adds what
//! only time can do: it looks at the endpoints that are not in use, goes back to a preferred one that recovered, and
//! leaves one whose head stands still while another's moves.
//!
//! An endpoint that answers with an error is not the chain saying no: each call is asked of every other endpoint once,
//! and if one of them serves it, those that did not are left. If none does, the question is at fault and nobody is
//! left for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, OnceLock, PoisonError};

use basilica_ports::{BoxError, ChainError, Clock, Entropy};
use basilica_types::{BlockHash, Millis};
use tokio::sync::Mutex;
use tracing::{debug, info, warn};

use crate::ChainOptions;
use crate::breaker::Event;
use crate::deadline::within;
use crate::endpoints::Endpoints;
use crate::link::{Link, NotOpened, Opening};
use crate::pool::{self, EndpointReport, Miss, Move};

/// The endpoint serves another chain than the one that is meant or that this process began with.
#[derive(Debug, thiserror::Error)]
#[error(
    "endpoint serves the chain with genesis 0x{found}, not 0x{expected}, and is skipped until it serves that; check the \
     endpoint, and the network's name if another chain is meant"
)]
struct OtherChain {
    expected: BlockHash,
    found: BlockHash,
}

#[derive(Debug, thiserror::Error)]
#[error("its finalised head {height} is more than {max_lag} blocks behind another endpoint's")]
struct Lags {
    height: u64,
    max_lag: u64,
}

/// The link that a call is on.
#[derive(Default)]
struct InUse(SyncMutex<Option<Arc<Link>>>);

impl InUse {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Link>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The endpoints and the one connection.
pub(crate) struct Connection {
    pub(crate) options: ChainOptions,
    pub(crate) clock: Arc<dyn Clock>,
    endpoints: Endpoints,
    link: InUse,
    /// Held while a link is opened, so that waiting callers share it.
    opening: Mutex<()>,
    genesis: OnceLock<BlockHash>,
    opened: AtomicU64,
}

impl Connection {
    pub(crate) fn new(options: ChainOptions, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            endpoints: Endpoints::new(&options, Arc::clone(&clock), entropy),
            clock,
            link: InUse::default(),
            opening: Mutex::default(),
            genesis: options.genesis.map_or_else(OnceLock::new, OnceLock::from),
            opened: AtomicU64::new(0),
            options,
        }
    }

    /// Runs one call of the port under its deadline: `work` on the present link; again on another one each time the link
    /// is lost under it, at most once per endpoint more; and once on each other endpoint while the answer is an error.
    /// `work` must be safe to repeat.
    pub(crate) async fn call<T, F, Fut>(&self, call: &'static str, work: F) -> Result<T, ChainError>
    where
        F: Fn(Arc<Link>) -> Fut + Send,
        Fut: Future<Output = Result<T, ChainError>> + Send,
    {
        let on = InUse::default();
        let attempts = Box::pin(self.attempts(call, &on, work));
        within(&*self.clock, self.options.call_deadline, attempts).await.unwrap_or_else(|late| {
            if let Some(link) = on.lock().take() {
                warn!(chain.endpoint = link.endpoint, chain.call = call, "chain endpoint is too slow");
                self.endpoints.missed(link.index, call, Miss::Late, &late);
                link.retire();
            }
            Err(ChainError::Deadline { call })
        })
    }

    async fn attempts<T, F, Fut>(&self, call: &'static str, on: &InUse, work: F) -> Result<T, ChainError>
    where
        F: Fn(Arc<Link>) -> Fut + Send,
        Fut: Future<Output = Result<T, ChainError>> + Send,
    {
        let mut left = self.options.endpoints.len();
        let mut refused: Vec<(usize, ChainError)> = Vec::new();
        loop {
            *on.lock() = None;
            let asked: Vec<usize> = refused.iter().map(|(index, _)| *index).collect();
            let link = match self.link(&asked).await {
                Ok(link) => link,
                Err(error) => return Err(refused.pop().map_or(error, |(_, answer)| answer)),
            };
            *on.lock() = Some(Arc::clone(&link));
            match work(Arc::clone(&link)).await {
                Err(error) if link.is_lost() => {
                    self.settle_lost(&link, Some(call), &error);
                    if left == 0 {
                        return Err(error);
                    }
                    left -= 1;
                }
                Err(error @ ChainError::Call { .. }) => {
                    warn!(
                        chain.endpoint = link.endpoint,
                        error = &error as &dyn std::error::Error,
                        "chain endpoint answers with an error"
                    );
                    refused.push((link.index, error));
                }
                done => {
                    for (index, error) in refused {
                        self.endpoints.missed(index, call, Miss::Refused, &error);
                    }
                    self.endpoints.served(&link, call);
                    return done;
                }
            }
        }
    }

    /// The present link, or a new one; to none of the endpoints that were `asked` already.
    async fn link(&self, asked: &[usize]) -> Result<Arc<Link>, ChainError> {
        let _opening = self.opening.lock().await;
        let present = self.link.lock().clone();
        let last = match present {
            Some(link) if asked.contains(&link.index) => None,
            Some(link) if link.is_fresh() => return Ok(link),
            Some(link) if link.is_lost() => {
                // Its caller may have been dropped before it could tell.
                self.settle_lost(&link, None, &ChainError::Deadline { call: "request" });
                None
            }
            outdated => outdated.map(|link| link.index),
        };
        let link = Arc::new(self.connect(last, asked).await?);
        *self.link.lock() = Some(Arc::clone(&link));
        Ok(link)
    }

    /// A link to the best endpoint that answers.
    async fn connect(&self, last: Option<usize>, asked: &[usize]) -> Result<Link, ChainError> {
        self.rest().await?;
        let order = self.endpoints.order(last).into_iter().filter(|index| !asked.contains(index));
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
            (None, None) => Err(self.endpoints.all_rest()),
        }
    }

    /// Waits until an endpoint may be tried, unless that is longer than our own backoff ever takes.
    async fn rest(&self) -> Result<(), ChainError> {
        let wait = self.endpoints.wait();
        if wait.0 > self.options.backoff.1.0 {
            return Err(self.endpoints.all_rest());
        }
        if wait.0 > 0 {
            self.clock.sleep(Millis(wait.0.saturating_add(1))).await;
        }
        Ok(())
    }

    /// Opens a link to one endpoint and notes how that went.
    async fn open(&self, index: usize) -> Result<Link, ChainError> {
        let url = &self.options.endpoints[index];
        self.endpoints.note(index, Event::Tried);
        let opening = Opening {
            id: self.opened.fetch_add(1, Ordering::Relaxed),
            index,
            clock: &self.clock,
            connect_deadline: self.options.connect_deadline,
            request_deadline: self.options.request_deadline,
        };
        let opened = match Box::pin(Link::open(url, opening)).await {
            Ok(link) => self.check_genesis(link).map_err(|source| NotOpened { source, throttled: None }),
            Err(error) => Err(error),
        };
        match opened {
            Ok(link) => {
                info!(chain.endpoint = link.endpoint, chain.head = link.height(), "chain connected");
                self.endpoints.seen(&link);
                Ok(link)
            }
            Err(NotOpened { source, throttled }) => {
                let event = throttled.map_or(Event::Failed, |after| Event::Throttled { after });
                let error = &*source as &dyn std::error::Error;
                // Whoever made the call says each time that it failed; here it is said once for each cause.
                if self.endpoints.failed(index, event, &*source) {
                    warn!(chain.endpoint = url.shown(), error, "chain endpoint failed");
                } else {
                    debug!(chain.endpoint = url.shown(), error, "chain endpoint failed again");
                }
                Err(ChainError::Unreachable { endpoint: url.shown(), source })
            }
        }
    }

    fn check_genesis(&self, link: Link) -> Result<Link, BoxError> {
        let found = BlockHash::from_bytes(link.genesis().0);
        let expected = *self.genesis.get_or_init(|| found);
        if found == expected { Ok(link) } else { Err(OtherChain { expected, found }.into()) }
    }

    fn is_behind(&self, link: &Link) -> bool {
        let behind = self.endpoints.is_behind(link);
        if behind {
            let lags = Lags { height: link.height(), max_lag: self.options.max_lag };
            warn!(chain.endpoint = link.endpoint, chain.head = link.height(), "chain endpoint lags");
            self.endpoints.failed(link.index, Event::Failed, &lags);
        }
        behind
    }

    /// Notes once that a link was lost, and by which call if it is known.
    fn settle_lost(
        &self,
        link: &Link,
        call: Option<&'static str>,
        error: &(dyn std::error::Error + 'static),
    ) {
        if link.settle() {
            if let Some(call) = call {
                self.endpoints.missed(link.index, call, Miss::Broke, error);
            }
            warn!(chain.endpoint = link.endpoint, error, "chain connection lost");
            let event = if link.is_throttled() { Event::Throttled { after: None } } else { Event::Failed };
            self.endpoints.failed(link.index, event, error);
        }
    }

    fn present(&self) -> Option<Arc<Link>> {
        self.link.lock().as_ref().filter(|link| !link.is_lost()).map(Arc::clone)
    }

    /// What is known of each endpoint, in order of preference. Waits for nobody.
    pub(crate) fn report(&self) -> Vec<EndpointReport> {
        self.endpoints.report(self.present().map(|link| link.index))
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
        let Some(current) = self.present() else { return };
        let mut others = Vec::new();
        for index in self.endpoints.order(None).into_iter().filter(|index| *index != current.index) {
            if let Ok(link) = self.open(index).await {
                self.endpoints.probed(index);
                others.push(link);
            }
        }
        match current.finalized_number().await {
            Ok(_) => self.endpoints.seen(&current),
            // The next call finds the link lost, or asks itself.
            Err(_) => return,
        }
        others.retain(|link| self.endpoints.is_trusted(link.index));
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
        let mut slot = self.link.lock();
        // Calls under way end on the link that they began with.
        if slot.as_ref().is_some_and(|present| present.id == current.id) {
            info!(chain.endpoint = link.endpoint, chain.left = current.endpoint, "chain endpoint changed");
            *slot = Some(Arc::new(link));
        }
    }
}
