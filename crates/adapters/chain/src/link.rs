//! One open connection to one endpoint, with what was learnt on it: genesis, and metadata by spec version.
//!
//! A link is *lost* when its transport failed, when a request missed its deadline or when the endpoint said that it is
//! asked too much; a lost link is never used again. An answer that is any other error (a JSON-RPC error object) loses
//! nothing: whether it speaks against the endpoint is seen by asking another one ([`crate::connection`]).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use basilica_ports::{BoxError, ChainError, Clock};
use basilica_types::{ChainUrl, Millis};
use subxt::OnlineClient;
use subxt::backend::LegacyBackend;
use subxt::client::OnlineClientAtBlock;
use subxt::config::RpcConfigFor;
use subxt::config::substrate::{H256, SubstrateConfig};
use subxt::rpcs::client::{RawRpcFuture, RawRpcSubscription, RawValue, RpcClient, RpcClientT};
use subxt::rpcs::methods::legacy::LegacyRpcMethods;
use tracing::info;

use crate::deadline::within;
use crate::dial::{self, dial};

pub(crate) type Rpc = LegacyRpcMethods<RpcConfigFor<SubstrateConfig>>;
pub(crate) type AtBlock = OnlineClientAtBlock<SubstrateConfig>;

/// JSON-RPC errors by which an endpoint says that it is asked too much: HTTP's number, the one that gateways took from
/// other chains, and those of Substrate's own limits for a server and for a connection.
const TOO_MUCH: [i32; 4] = [429, -32_005, -32_009, -32_999];

#[derive(Debug, thiserror::Error)]
#[error("the endpoint has no block with the hash that it called final")]
struct NoHeader;

/// What befell a transport.
#[derive(Debug, Default)]
struct Condition {
    lost: AtomicBool,
    throttled: AtomicBool,
}

/// A transport that remembers whether it failed.
struct Watched {
    inner: RpcClient,
    clock: Arc<dyn Clock>,
    deadline: Millis,
    condition: Arc<Condition>,
}

impl Watched {
    fn note<T>(&self, result: Result<T, subxt::rpcs::Error>) -> Result<T, subxt::rpcs::Error> {
        let throttled = match &result {
            Ok(_) => return result,
            Err(subxt::rpcs::Error::User(answer)) if TOO_MUCH.contains(&answer.code) => true,
            Err(subxt::rpcs::Error::User(_)) => return result,
            // The connection broke, or it can no longer be understood.
            Err(_) => false,
        };
        self.condition.throttled.fetch_or(throttled, Ordering::AcqRel);
        self.condition.lost.store(true, Ordering::Release);
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
        Box::pin(async move {
            let begin = self.inner.subscribe_raw(sub, params, unsub);
            let answer = within(&*self.clock, self.deadline, begin).await;
            self.note(answer.unwrap_or_else(|late| Err(subxt::rpcs::Error::Client(Box::new(late)))))
        })
    }
}

/// An open connection.
pub(crate) struct Link {
    /// Differs between the links of a pool.
    pub(crate) id: u64,
    /// Which of the configured endpoints.
    pub(crate) index: usize,
    /// As shown to people.
    pub(crate) endpoint: String,
    client: OnlineClient<SubstrateConfig>,
    pub(crate) rpc: Rpc,
    condition: Arc<Condition>,
    /// Its end has been noted.
    settled: AtomicBool,
    /// Newest finalised height seen here.
    height: AtomicU64,
    /// The runtime version at the first look.
    spec_version: OnceLock<u32>,
    /// Still good for the calls that have it, but the next takes a new link: the runtime was upgraded, and a new link lets
    /// go of the old metadata, or a call found the endpoint too slow.
    outdated: AtomicBool,
}

/// Why a link was not opened.
pub(crate) struct NotOpened {
    pub(crate) source: BoxError,
    /// It asked to be left alone, and perhaps for how long.
    pub(crate) throttled: Option<Option<Millis>>,
}

/// What opening a link needs besides its endpoint.
pub(crate) struct Opening<'a> {
    pub(crate) id: u64,
    pub(crate) index: usize,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) connect_deadline: Millis,
    pub(crate) request_deadline: Millis,
}

impl Link {
    /// Connects and reads genesis and height, which shows that the endpoint answers.
    pub(crate) async fn open(url: &ChainUrl, opening: Opening<'_>) -> Result<Self, NotOpened> {
        let condition = Arc::<Condition>::default();
        Self::greet(url, opening, &condition).await.map_err(|source| {
            let asked = condition.throttled.load(Ordering::Acquire).then_some(None);
            NotOpened { throttled: dial::throttled(&source).or(asked), source }
        })
    }

    async fn greet(
        url: &ChainUrl,
        opening: Opening<'_>,
        condition: &Arc<Condition>,
    ) -> Result<Self, BoxError> {
        let inner = within(&**opening.clock, opening.connect_deadline, dial(url.as_str())).await??;
        let watched = RpcClient::new(Watched {
            inner,
            clock: Arc::clone(opening.clock),
            deadline: opening.request_deadline,
            condition: Arc::clone(condition),
        });
        let backend = LegacyBackend::builder().build(watched.clone());
        // A configuration of its own for each link: metadata is cached in it by spec version, and a development chain
        // may come back with other metadata under the same number.
        let client =
            OnlineClient::from_backend_with_config(SubstrateConfig::new(), Arc::new(backend)).await?;
        let link = Self {
            id: opening.id,
            index: opening.index,
            endpoint: url.shown(),
            client,
            rpc: Rpc::new(watched),
            condition: Arc::clone(condition),
            settled: AtomicBool::new(false),
            height: AtomicU64::new(0),
            spec_version: OnceLock::new(),
            outdated: AtomicBool::new(false),
        };
        link.finalized_number().await?;
        Ok(link)
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.condition.lost.load(Ordering::Acquire)
    }

    pub(crate) fn is_throttled(&self) -> bool {
        self.condition.throttled.load(Ordering::Acquire)
    }

    /// It can be used for the next call.
    pub(crate) fn is_fresh(&self) -> bool {
        !self.is_lost() && !self.outdated.load(Ordering::Acquire)
    }

    /// Whether this is the first to ask so: the end of a link is noted once.
    pub(crate) fn settle(&self) -> bool {
        !self.settled.swap(true, Ordering::AcqRel)
    }

    /// From now on calls take a new link.
    pub(crate) fn retire(&self) {
        self.outdated.store(true, Ordering::Release);
    }

    pub(crate) fn genesis(&self) -> H256 {
        self.client.genesis_hash()
    }

    /// Newest finalised height seen on this link.
    pub(crate) fn height(&self) -> u64 {
        self.height.load(Ordering::Acquire)
    }

    /// Height of the newest finalised block.
    pub(crate) async fn finalized_number(&self) -> Result<u64, ChainError> {
        let call = "chain_getFinalizedHead";
        let hash = self.rpc.chain_get_finalized_head().await.map_err(|error| self.fault(call, error))?;
        let header = self.rpc.chain_get_header(Some(hash)).await.map_err(|error| self.fault(call, error))?;
        let number = header.ok_or_else(|| self.fault(call, NoHeader))?.number;
        self.height.fetch_max(number, Ordering::AcqRel);
        Ok(number)
    }

    /// The newest finalised block, with the metadata that holds there.
    pub(crate) async fn finalized(&self) -> Result<AtBlock, ChainError> {
        let at =
            Box::pin(self.client.at_current_block()).await.map_err(|e| self.fault("finalised block", e))?;
        self.height.fetch_max(at.block_number(), Ordering::AcqRel);
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
