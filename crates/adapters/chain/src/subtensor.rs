use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use basilica_ports::{
    Aged, Axon, AxonOutcome, Chain, ChainError, ChainIdentity, Clock, Entropy, FailureClass, HotkeySigner,
    Metagraph, PreparedWeights, WeightRules, WeightsOrder, WeightsOutcome,
};
use basilica_types::{BlockHash, BlockNumber, Hotkey, MechanismId, Millis, NetUid, Rao, Uid, Weight};

use crate::axon::ServedAxon;
use crate::connection::Connection;
use crate::deadline::within;
use crate::flight::Metagraphs;
use crate::inclusion::Followed;
use crate::item::{AXONS, UIDS, View, WEIGHTS};
use crate::link::Link;
use crate::metagraph;
use crate::signing::{self, Call};
use crate::weight_rules::Asked;
use crate::{
    ChainOptions, EndpointReport, OptionsError, certificate, identity, inclusion, registration, serving,
    weight_rules,
};

/// A subtensor chain behind its RPC endpoints.
pub struct SubtensorChain {
    pub(crate) connection: Connection,
    signer: Option<Arc<dyn HotkeySigner>>,
    metagraphs: Metagraphs,
    followed: Followed,
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
        let metagraphs = Metagraphs::new(Arc::clone(&clock));
        let connection = Connection::new(options, clock, entropy);
        Ok(Self { connection, signer, metagraphs, followed: Followed::default() })
    }

    /// Looks after the endpoints for as long as it is polled: goes back to a preferred one that recovered, leaves one
    /// that lags. Run it as a task of its own; without it endpoints change only when one fails.
    pub async fn watch(&self) {
        self.connection.watch().await;
    }

    /// What is known of each endpoint, in order of preference. Waits for no endpoint.
    pub fn endpoints(&self) -> Vec<EndpointReport> {
        self.connection.report()
    }

    /// Age of the newest metagraph of a subnet that was read; none if there is none. Waits for no endpoint.
    pub fn metagraph_age(&self, netuid: NetUid) -> Option<Millis> {
        self.metagraphs.age(netuid)
    }

    fn signer(&self) -> Result<&dyn HotkeySigner, ChainError> {
        self.signer.as_deref().ok_or_else(|| ChainError::Preflight {
            rule: "this client has no hotkey to sign with".to_owned(),
            class: FailureClass::Invalid,
        })
    }

    async fn prepare(&self, link: Arc<Link>, order: &WeightsOrder) -> Result<PreparedWeights, ChainError> {
        let signer = self.signer()?;
        let mut view = View::finalized(link).await?;
        let hotkey = signer.hotkey();
        let rules = weight_rules::read(&mut view, self.asked(order.netuid, order.mechanism, &hotkey)).await?;
        rules.check(order).map_err(weight_rules::refusal)?;
        let call = Call::weights(&view, order)?;
        signing::sign(&view, signer, call, order.call.era(self.connection.options.era_blocks)).await
    }

    fn asked<'a>(&'a self, netuid: NetUid, mechanism: MechanismId, hotkey: &'a Hotkey) -> Asked<'a> {
        Asked { netuid, mechanism, hotkey, metagraphs: &self.metagraphs }
    }

    /// The extrinsic that serves `axon`, or nothing if the chain already says so.
    async fn prepare_axon(
        &self,
        link: Arc<Link>,
        netuid: NetUid,
        axon: Axon,
        certificate: Option<&[u8]>,
    ) -> Result<Option<PreparedWeights>, ChainError> {
        let signer = self.signer()?;
        let view = View::finalized(link).await?;
        let hotkey = signer.hotkey();
        let keys = (netuid.0, *hotkey.as_bytes());
        let served: Option<ServedAxon> = view.storage(AXONS, keys).await?;
        let same_key = match certificate {
            Some(certificate) => certificate::is_served(&view, keys, certificate).await?,
            None => true,
        };
        if same_key && served.as_ref().and_then(ServedAxon::axon) == Some(axon) {
            return Ok(None);
        }
        serving::check(&view, (netuid, &hotkey), axon, served.as_ref()).await?;
        let call = Call::serve_axon(netuid, axon, certificate);
        signing::sign(&view, signer, call, self.connection.options.era_blocks).await.map(Some)
    }

    async fn serve(
        &self,
        netuid: NetUid,
        axon: Axon,
        certificate: Option<&[u8]>,
    ) -> Result<AxonOutcome, ChainError> {
        let prepare = |link| self.prepare_axon(link, netuid, axon, certificate);
        let Some(prepared) = self.connection.call("serve_axon", prepare).await? else {
            return Ok(AxonOutcome::Unchanged);
        };
        self.finish(&prepared, self.signer()?.hotkey()).await.map(AxonOutcome::Served)
    }

    /// Publishes where the own hotkey listens and by which key it is known there, unless the chain already says so.
    ///
    /// `certificate` is the chain's form: one byte for the algorithm, then the public key, 65 bytes at most.
    ///
    /// # Errors
    /// As of the port; a certificate of another length is refused before anything is sent.
    pub async fn serve_axon_tls(
        &self,
        netuid: NetUid,
        axon: Axon,
        certificate: &[u8],
    ) -> Result<AxonOutcome, ChainError> {
        certificate::check(certificate)?;
        self.serve(netuid, axon, Some(certificate)).await
    }

    /// Registers `hotkey` on a subnet at the price that the chain asks now, at most `limit`, paid and signed by
    /// `coldkey`. For localnets and the command line: a service never holds a coldkey.
    ///
    /// # Errors
    /// As of the port; a price above the limit or the coldkey's balance, closed registration and a hotkey that is
    /// registered already are refused before anything is sent.
    pub async fn register(
        &self,
        coldkey: &dyn HotkeySigner,
        netuid: NetUid,
        hotkey: &Hotkey,
        limit: Rao,
    ) -> Result<BlockNumber, ChainError> {
        let prepare = |link| async move {
            let view = View::finalized(link).await?;
            registration::check(&view, &coldkey.hotkey(), (netuid, hotkey), limit).await?;
            let call = Call::register(&view, netuid, hotkey, limit)?;
            signing::sign(&view, coldkey, call, self.connection.options.era_blocks).await
        };
        let prepared = self.connection.call("register", prepare).await?;
        self.finish(&prepared, coldkey.hotkey()).await
    }

    /// Sees a call other than weights to its end.
    async fn finish(&self, prepared: &PreparedWeights, signer: Hotkey) -> Result<BlockNumber, ChainError> {
        match inclusion::conclude(&self.connection, &self.followed, prepared, signer).await? {
            WeightsOutcome::Set { block } => Ok(block),
            WeightsOutcome::Failed { error, .. } => Err(ChainError::Dispatch { error }),
            WeightsOutcome::Expired(expiry) => Err(ChainError::Pool {
                reason: format!("no block took it until {} ({expiry:?}); try again", prepared.dies),
                class: FailureClass::Transient,
            }),
        }
    }
}

#[async_trait]
impl Chain for SubtensorChain {
    async fn identity(&self) -> Result<ChainIdentity, ChainError> {
        self.connection.call("identity", identity::fetch).await
    }

    async fn head(&self) -> Result<BlockNumber, ChainError> {
        let read = |link: Arc<Link>| async move { link.finalized_number().await };
        self.connection.call("head", read).await.map(BlockNumber)
    }

    async fn block_hash(&self, number: BlockNumber) -> Result<BlockHash, ChainError> {
        let read = |link: Arc<Link>| async move {
            let found = inclusion::hash_at(&link, number.0).await?;
            found.ok_or_else(|| link.fault("chain_getBlockHash", inclusion::WitnessError::NoBlock(number.0)))
        };
        self.connection.call("block_hash", read).await.map(|hash| BlockHash::from_bytes(hash.0))
    }

    async fn metagraph(&self, netuid: NetUid) -> Result<Metagraph, ChainError> {
        self.metagraph_within(netuid, Millis(0)).await.map(|aged| Arc::unwrap_or_clone(aged.value))
    }

    async fn metagraph_within(&self, netuid: NetUid, max_age: Millis) -> Result<Aged<Metagraph>, ChainError> {
        let fetch = || self.connection.call("metagraph", |link| metagraph::fetch(link, netuid));
        let limit = self.connection.options.call_deadline;
        within(&*self.connection.clock, limit, self.metagraphs.within(netuid, max_age, fetch))
            .await
            .unwrap_or(Err(ChainError::Deadline { call: "metagraph" }))
    }

    async fn serve_axon(&self, netuid: NetUid, axon: Axon) -> Result<AxonOutcome, ChainError> {
        self.serve(netuid, axon, None).await
    }

    async fn weight_rules(&self, netuid: NetUid, mechanism: MechanismId) -> Result<WeightRules, ChainError> {
        let own = self.signer()?.hotkey();
        let own = &own;
        let read = |link| async move {
            weight_rules::read(&mut View::finalized(link).await?, self.asked(netuid, mechanism, own)).await
        };
        self.connection.call("weight_rules", read).await
    }

    async fn prepare_weights(&self, order: &WeightsOrder) -> Result<PreparedWeights, ChainError> {
        self.connection.call("prepare_weights", |link| self.prepare(link, order)).await
    }

    async fn conclude_weights(&self, prepared: &PreparedWeights) -> Result<WeightsOutcome, ChainError> {
        let own = self.signer()?.hotkey();
        inclusion::conclude(&self.connection, &self.followed, prepared, own).await
    }

    async fn weights_of(
        &self,
        netuid: NetUid,
        mechanism: MechanismId,
        hotkey: &Hotkey,
    ) -> Result<(BlockNumber, Option<Vec<(Uid, Weight)>>), ChainError> {
        let read = |link| async move {
            let view = View::finalized(link).await?;
            let block = BlockNumber(view.at.block_number());
            let uid: Option<u16> = view.storage(UIDS, (netuid.0, *hotkey.as_bytes())).await?;
            let Some(uid) = uid else {
                return Ok((block, None));
            };
            Ok((block, Some(stored_weights(&view, netuid, mechanism, Uid(uid)).await?)))
        };
        self.connection.call("weights", read).await
    }
}

async fn stored_weights(
    view: &View,
    netuid: NetUid,
    mechanism: MechanismId,
    uid: Uid,
) -> Result<Vec<(Uid, Weight)>, ChainError> {
    let pairs: Vec<(u16, u16)> = view.value(WEIGHTS, (weight_rules::index(netuid, mechanism), uid.0)).await?;
    Ok(pairs.into_iter().map(|(uid, weight)| (Uid(uid), Weight(weight))).collect())
}

impl fmt::Debug for SubtensorChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubtensorChain").field("options", &self.connection.options).finish_non_exhaustive()
    }
}
