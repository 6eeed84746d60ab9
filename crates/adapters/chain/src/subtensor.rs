use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use basilica_ports::{
    Axon, AxonOutcome, Chain, ChainError, ChainIdentity, Clock, Entropy, FailureClass, HotkeySigner,
    Metagraph, PreparedWeights, WeightsOrder, WeightsOutcome,
};
use basilica_types::{BlockNumber, Hotkey, NetUid, Rao, Uid, Weight};
use subxt::ext::scale_value::{Value, ValueDef};
use tokio::sync::Mutex;

use crate::connection::{Connection, Link};
use crate::item::{
    AXONS, COMMIT_REVEAL, MAX_WEIGHTS_LIMIT, MECHANISM_COUNT, MIN_ALLOWED_WEIGHTS, NETWORKS_ADDED,
    STAKE_THRESHOLD, SUBNET_EPOCH_CONSENSUS, View, WEIGHTS, WEIGHTS_RATE_LIMIT, WEIGHTS_VERSION_KEY,
};
use crate::metagraph::{self, AxonInfo};
use crate::preflight::{self, Facts, OwnNeuron};
use crate::signing::{self, Call, SET_MECHANISM_WEIGHTS};
use crate::{ChainOptions, OptionsError, identity, inclusion};

/// A subtensor chain behind its RPC endpoints.
pub struct SubtensorChain {
    connection: Connection,
    signer: Option<Arc<dyn HotkeySigner>>,
    /// Held while a metagraph is fetched: the largest answer there is, never twice at once.
    metagraph: Mutex<()>,
}

impl SubtensorChain {
    /// A client that connects at its first call. Without a `signer` it only reads.
    ///
    /// # Errors
    /// The options cannot work, whatever the chain does.
    pub fn new(
        options: ChainOptions,
        signer: Option<Arc<dyn HotkeySigner>>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, OptionsError> {
        options.check()?;
        Ok(Self { connection: Connection::new(options, clock, entropy), signer, metagraph: Mutex::default() })
    }

    fn signer(&self) -> Result<&dyn HotkeySigner, ChainError> {
        self.signer.as_deref().ok_or_else(|| ChainError::Preflight {
            rule: "this client has no hotkey to sign with".to_owned(),
            class: FailureClass::Invalid,
        })
    }

    async fn prepare(&self, link: Arc<Link>, order: &WeightsOrder) -> Result<PreparedWeights, ChainError> {
        let signer = self.signer()?;
        let view = View::finalized(link).await?;
        preflight::check(&facts(&view, order.netuid, &signer.hotkey()).await?, order)?;
        let call = if view.has_call(SET_MECHANISM_WEIGHTS) {
            Call::set_mechanism_weights(order)
        } else {
            Call::set_weights(order)
        };
        signing::sign(&view, signer, call, self.connection.options.era_blocks).await
    }

    /// The extrinsic that serves `axon`, or nothing if the chain already says so.
    async fn prepare_axon(
        &self,
        link: Arc<Link>,
        netuid: NetUid,
        axon: Axon,
    ) -> Result<Option<PreparedWeights>, ChainError> {
        let signer = self.signer()?;
        let view = View::finalized(link).await?;
        let served: Option<AxonInfo> = view.storage(AXONS, (netuid.0, *signer.hotkey().as_bytes())).await?;
        if served.and_then(|served| served.axon()) == Some(axon) {
            return Ok(None);
        }
        let call = Call::serve_axon(netuid, axon);
        signing::sign(&view, signer, call, self.connection.options.era_blocks).await.map(Some)
    }
}

#[async_trait]
impl Chain for SubtensorChain {
    async fn identity(&self) -> Result<ChainIdentity, ChainError> {
        self.connection.call("identity", identity::fetch).await
    }

    async fn head(&self) -> Result<BlockNumber, ChainError> {
        let read = |link: Arc<Link>| async move { inclusion::finalized_number(&link).await };
        self.connection.call("head", read).await.map(BlockNumber)
    }

    async fn metagraph(&self, netuid: NetUid) -> Result<Metagraph, ChainError> {
        let read = |link| async move {
            let _only = self.metagraph.lock().await;
            metagraph::fetch(link, netuid).await
        };
        self.connection.call("metagraph", read).await
    }

    async fn serve_axon(&self, netuid: NetUid, axon: Axon) -> Result<AxonOutcome, ChainError> {
        let prepare = |link| self.prepare_axon(link, netuid, axon);
        let Some(prepared) = self.connection.call("serve_axon", prepare).await? else {
            return Ok(AxonOutcome::Unchanged);
        };
        match inclusion::conclude(&self.connection, &prepared, None).await? {
            WeightsOutcome::Set { block } => Ok(AxonOutcome::Served(block)),
            WeightsOutcome::Failed { error, .. } => Err(ChainError::Dispatch { error }),
            WeightsOutcome::Expired => Err(ChainError::Pool {
                reason: format!("no block took it until {}; try again", prepared.dies),
                class: FailureClass::Transient,
            }),
        }
    }

    async fn prepare_weights(&self, order: &WeightsOrder) -> Result<PreparedWeights, ChainError> {
        self.connection.call("prepare_weights", |link| self.prepare(link, order)).await
    }

    async fn conclude_weights(&self, prepared: &PreparedWeights) -> Result<WeightsOutcome, ChainError> {
        let own = self.signer()?.hotkey();
        inclusion::conclude(&self.connection, prepared, Some(own)).await
    }

    async fn weights(&self, netuid: NetUid, uid: Uid) -> Result<Vec<(Uid, Weight)>, ChainError> {
        let read = |link| async move {
            let view = View::finalized(link).await?;
            let pairs: Vec<(u16, u16)> = view.value(WEIGHTS, (netuid.0, uid.0)).await?;
            Ok(pairs.into_iter().map(|(uid, weight)| (Uid(uid), Weight(weight))).collect())
        };
        self.connection.call("weights", read).await
    }
}

/// What bears on setting weights, at the block of `view`.
async fn facts(view: &View, netuid: NetUid, hotkey: &Hotkey) -> Result<Facts, ChainError> {
    let subnet = (netuid.0,);
    let block = BlockNumber(view.at.block_number().saturating_add(1));
    let commit_reveal = view.value(COMMIT_REVEAL, subnet).await?;
    let added: bool = view.value(NETWORKS_ADDED, subnet).await?;
    let mechanisms: u8 =
        if view.has_entry(MECHANISM_COUNT) { view.value(MECHANISM_COUNT, subnet).await? } else { 1 };
    let mechanism_exists = added && mechanisms > 0;
    let neurons = if mechanism_exists { Some(metagraph::read(view, netuid).await?) } else { None };
    let own = neurons.as_ref().and_then(|metagraph| {
        metagraph.neuron(hotkey).map(|neuron| OwnNeuron {
            uid: neuron.uid,
            stake: neuron.stake,
            is_owner: metagraph.owner_hotkey == Some(*hotkey),
            permit: neuron.validator_permit,
            last_update: neuron.last_update,
        })
    });
    let count = neurons.map_or(0, |metagraph| metagraph.neurons.len());
    Ok(Facts {
        block,
        commit_reveal,
        mechanism_exists,
        neurons: u16::try_from(count).unwrap_or(u16::MAX),
        own,
        stake_threshold: Rao(view.value(STAKE_THRESHOLD, ()).await?),
        version_key: view.value(WEIGHTS_VERSION_KEY, subnet).await?,
        rate_limit: view.value(WEIGHTS_RATE_LIMIT, subnet).await?,
        permit_always_needed: is_null_consensus(view, netuid).await?,
        min_weights: view.value(MIN_ALLOWED_WEIGHTS, subnet).await?,
        max_weight: view.value(MAX_WEIGHTS_LIMIT, subnet).await?,
    })
}

/// Whether the subnet runs without consensus, where only a permit counts; chains without that choice never do.
async fn is_null_consensus(view: &View, netuid: NetUid) -> Result<bool, ChainError> {
    if !view.has_entry(SUBNET_EPOCH_CONSENSUS) {
        return Ok(false);
    }
    let consensus: Value = view.value(SUBNET_EPOCH_CONSENSUS, (netuid.0,)).await?;
    Ok(matches!(consensus.value, ValueDef::Variant(variant) if variant.name == "Null"))
}

impl fmt::Debug for SubtensorChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubtensorChain").field("options", &self.connection.options).finish_non_exhaustive()
    }
}
