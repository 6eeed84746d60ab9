//! One connection at a time to one of several endpoints.
//!
//! A [`Link`] is a connection with what was learnt on it (metadata by spec version, genesis). It is *lost* when its
//! transport failed or when a request missed its deadline; a lost link is never used again: the next call opens a new
//! one, to the next endpoint. There is no task of ours behind it: reconnecting happens when somebody calls. An answer
//! that is an error (a JSON-RPC error object) loses nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use basilica_ports::{BoxError, ChainError, Clock, Entropy};
use basilica_types::Millis;
use subxt::OnlineClient;
use subxt::backend::LegacyBackend;
use subxt::client::OnlineClientAtBlock;
use subxt::config::RpcConfigFor;
use subxt::config::substrate::{H256, SubstrateConfig};
use subxt::rpcs::client::{RawRpcFuture, RawRpcSubscription, RawValue, RpcClient, RpcClientT};
use subxt::rpcs::methods::legacy::LegacyRpcMethods;
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::ChainOptions;
use crate::deadline::within;
use crate::options::shown;

pub(crate) type Rpc = LegacyRpcMethods<RpcConfigFor<SubstrateConfig>>;
pub(crate) type AtBlock = OnlineClientAtBlock<SubstrateConfig>;

/// The endpoint serves another chain than the one that this process began with.
#[derive(Debug, thiserror::Error)]
#[error("endpoint serves the chain with genesis {found:?}, not {expected:?}")]
struct OtherChain {
    expected: H256,
    found: H256,
}

/// A transport that remembers whether it failed.
struct Watched {
    inner: RpcClient,
    clock: Arc<dyn Clock>,
    deadline: Millis,
    lost: Arc<AtomicBool>,
}

impl Watched {
    fn note<T>(&self, result: Result<T, subxt::rpcs::Error>) -> Result<T, subxt::rpcs::Error> {
        // Everything but an answer: the connection broke, or it can no longer be understood.
        if !matches!(result, Ok(_) | Err(subxt::rpcs::Error::User(_))) {
            self.lost.store(true, Ordering::Release);
        }
        result
    }
}

impl RpcClientT for Watched {
    fn request_raw<'a>(
        &'a self,
        method: &'a str,
        params: Option<Box<RawValue>>,
    ) -> RawRpcFuture<'a, Box<RawValue>> {
        Box::pin(async move {
            let answer = within(&*self.clock, self.deadline, self.inner.request_raw(method, params)).await;
            self.note(answer.unwrap_or_else(|late| Err(subxt::rpcs::Error::Client(Box::new(late)))))
        })
    }

    fn subscribe_raw<'a>(
        &'a self,
        sub: &'a str,
        params: Option<Box<RawValue>>,
        unsub: &'a str,
    ) -> RawRpcFuture<'a, RawRpcSubscription> {
        Box::pin(async move { self.note(self.inner.subscribe_raw(sub, params, unsub).await) })
    }
}

/// An open connection.
pub(crate) struct Link {
    /// Differs between the links of a [`Connection`].
    pub(crate) id: u64,
    /// As shown to people.
    endpoint: String,
    client: OnlineClient<SubstrateConfig>,
    pub(crate) rpc: Rpc,
    lost: Arc<AtomicBool>,
    /// The runtime version at the first look.
    spec_version: OnceLock<u32>,
    /// The runtime was upgraded: still good, but the next call takes a new link, which lets go of the old metadata.
    outdated: AtomicBool,
}

impl Link {
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    pub(crate) fn genesis(&self) -> H256 {
        self.client.genesis_hash()
    }

    /// The newest finalised block, with the metadata that holds there.
    pub(crate) async fn finalized(&self) -> Result<AtBlock, ChainError> {
        let at =
            Box::pin(self.client.at_current_block()).await.map_err(|e| self.fault("finalised block", e))?;
        let first = *self.spec_version.get_or_init(|| at.spec_version());
        if at.spec_version() != first && !self.outdated.swap(true, Ordering::AcqRel) {
            info!(chain.spec_version = at.spec_version(), "chain runtime upgraded");
        }
        Ok(at)
    }

    /// The block with this hash, with the metadata that holds there.
    pub(crate) async fn at(&self, block: H256) -> Result<AtBlock, ChainError> {
        Box::pin(self.client.at_block(block)).await.map_err(|e| self.fault("block", e))
    }

    /// What a failed call means: with a lost link the endpoint is at fault, else its answer.
    pub(crate) fn fault(&self, call: &'static str, source: impl Into<BoxError>) -> ChainError {
        if self.is_lost() {
            ChainError::Unreachable { endpoint: self.endpoint.clone(), source: source.into() }
        } else {
            ChainError::Call { call, source: source.into() }
        }
    }
}

#[derive(Default)]
struct State {
    link: Option<Arc<Link>>,
    /// Index of the endpoint to try first.
    next: usize,
    /// Rounds over all endpoints that failed, without a success in between.
    failed_rounds: u32,
    /// On the monotonic clock.
    not_before: Duration,
}

/// The endpoints and the one connection.
pub(crate) struct Connection {
    pub(crate) options: ChainOptions,
    pub(crate) clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    state: Mutex<State>,
    genesis: OnceLock<H256>,
    opened: AtomicU64,
}

impl Connection {
    pub(crate) fn new(options: ChainOptions, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            options,
            clock,
            entropy,
            state: Mutex::default(),
            genesis: OnceLock::new(),
            opened: AtomicU64::new(0),
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
                Err(error) if link.is_lost() && left > 0 => {
                    left -= 1;
                    warn!(
                        chain.endpoint = link.endpoint,
                        error = &error as &dyn std::error::Error,
                        "chain connection lost"
                    );
                }
                done => return done,
            }
        }
    }

    async fn link(&self) -> Result<Arc<Link>, ChainError> {
        let mut state = self.state.lock().await;
        let endpoints = &self.options.endpoints;
        if let Some(link) = state.link.take() {
            if link.is_lost() {
                state.next = (state.next + 1) % endpoints.len();
            } else if !link.outdated.load(Ordering::Acquire) {
                state.link = Some(Arc::clone(&link));
                return Ok(link);
            }
        }
        let wait = state.not_before.saturating_sub(self.clock.monotonic());
        if !wait.is_zero() {
            self.clock.sleep(wait.into()).await;
        }
        let mut last = None;
        for offset in 0..endpoints.len() {
            let index = (state.next + offset) % endpoints.len();
            match Box::pin(self.open(&endpoints[index])).await {
                Ok(link) => {
                    info!(chain.endpoint = link.endpoint, "chain connected");
                    let link = Arc::new(link);
                    *state = State { link: Some(Arc::clone(&link)), next: index, ..State::default() };
                    return Ok(link);
                }
                Err(error) => {
                    warn!(
                        chain.endpoint = shown(&endpoints[index]),
                        error = &error as &dyn std::error::Error,
                        "chain endpoint failed"
                    );
                    last = Some(error);
                }
            }
        }
        state.failed_rounds = state.failed_rounds.saturating_add(1);
        let entropy = u64::from_le_bytes(self.entropy.array());
        let pause = backoff(self.options.backoff, state.failed_rounds, entropy);
        state.not_before = self.clock.monotonic() + pause.as_duration();
        Err(last.expect("options are checked to have an endpoint, so the loop ran"))
    }

    async fn open(&self, endpoint: &str) -> Result<Link, ChainError> {
        let unreachable = |source: BoxError| ChainError::Unreachable { endpoint: shown(endpoint), source };
        let limit = self.options.connect_deadline;
        let inner = within(&*self.clock, limit, RpcClient::from_insecure_url(endpoint))
            .await
            .map_err(|late| unreachable(late.into()))?
            .map_err(|error| unreachable(error.into()))?;
        let lost = Arc::new(AtomicBool::new(false));
        let watched = RpcClient::new(Watched {
            inner,
            clock: Arc::clone(&self.clock),
            deadline: self.options.request_deadline,
            lost: Arc::clone(&lost),
        });
        let backend = LegacyBackend::builder().build(watched.clone());
        // A configuration of its own for each link: metadata is cached in it by spec version, and a development chain
        // may come back with other metadata under the same number.
        let client = OnlineClient::from_backend_with_config(SubstrateConfig::new(), Arc::new(backend))
            .await
            .map_err(|error| unreachable(error.into()))?;
        let found = client.genesis_hash();
        let expected = *self.genesis.get_or_init(|| found);
        if found != expected {
            return Err(unreachable(OtherChain { expected, found }.into()));
        }
        let id = self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Link {
            id,
            endpoint: shown(endpoint),
            client,
            rpc: Rpc::new(watched),
            lost,
            spec_version: OnceLock::new(),
            outdated: AtomicBool::new(false),
        })
    }
}

/// The pause after `rounds` failed rounds (from 1): doubling from the first to the second bound, of which a random
/// half is left out so that many clients do not come back at once.
fn backoff((initial, max): (Millis, Millis), rounds: u32, entropy: u64) -> Millis {
    let doubled = 1u64.checked_shl(rounds.saturating_sub(1)).map_or(max.0, |n| initial.0.saturating_mul(n));
    let full = doubled.min(max.0);
    let half = full / 2;
    Millis(half + entropy % (full - half + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: (Millis, Millis) = (Millis(250), Millis(10_000));

    proptest! {
        #[test]
        fn backoff_grows_to_its_bound_and_keeps_at_least_half(rounds in 1u32.., entropy: u64) {
            let pause = backoff(BOUNDS, rounds, entropy).0;
            let full = 250u64.saturating_mul(1u64.checked_shl(rounds - 1).unwrap_or(u64::MAX)).min(10_000);
            prop_assert!(pause >= full / 2 && pause <= full, "{} of {}", pause, full);
        }
    }

    #[test]
    fn the_first_pauses_are_short() {
        assert_eq!(backoff(BOUNDS, 1, 0), Millis(125));
        assert_eq!(backoff(BOUNDS, 1, 125), Millis(250));
        assert_eq!(backoff(BOUNDS, 6, 0), Millis(4_000));
        assert_eq!(backoff(BOUNDS, 7, 0), Millis(5_000));
        assert_eq!(backoff(BOUNDS, u32::MAX, 0), Millis(5_000));
        assert_eq!(backoff((Millis(0), Millis(0)), 1, 7), Millis(0));
    }
}
