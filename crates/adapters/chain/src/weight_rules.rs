//! What the chain says about setting weights, at one block.

use basilica_ports::{ChainError, CommitReveal, Consensus, EpochClock, FailureClass, OwnNeuron, WeightRules};
use basilica_schedule::{Cure, Rule};
use basilica_types::{BlockNumber, Hotkey, MechanismId, Millis, NetUid, Rao, Uid};
use subxt::dynamic;
use subxt::ext::scale_value::{Value, ValueDef};

use crate::item::{
    BLOCKS_SINCE_LAST_STEP, COMMIT_REVEAL, COMMIT_REVEAL_VERSION, LAST_EPOCH_BLOCK, LAST_UPDATE,
    MAX_WEIGHTS_LIMIT, MECHANISM_COUNT, MIN_ALLOWED_WEIGHTS, NETWORKS_ADDED, PENDING_EPOCH_AT, REVEAL_PERIOD,
    STAKE_THRESHOLD, SUBNET_EPOCH_CONSENSUS, SUBNET_EPOCH_INDEX, TEMPO, View, WEIGHTS_RATE_LIMIT,
    WEIGHTS_VERSION_KEY,
};
use crate::signing::{COMMIT_HASH, COMMIT_TIMELOCKED, REVEAL};
use crate::{commits, metagraph};

/// Subnets below the first index of the second mechanism: the chain's `GLOBAL_MAX_SUBNET_COUNT`.
const SUBNETS: u16 = 4_096;

/// Where the chain keeps what belongs to one mechanism of a subnet.
pub(crate) fn index(netuid: NetUid, mechanism: MechanismId) -> u16 {
    u16::from(mechanism.0).saturating_mul(SUBNETS).saturating_add(netuid.0)
}

/// A broken rule as the port reports it.
pub(crate) fn refusal(rule: Rule) -> ChainError {
    let class = match rule.cure() {
        Cure::Time => FailureClass::Transient,
        Cure::Somebody => FailureClass::Permanent,
        Cure::OtherOrder => FailureClass::Invalid,
    };
    ChainError::Preflight { rule: rule.to_string(), class }
}

/// Reads the rules for `hotkey` at the block of `view`.
pub(crate) async fn read(
    view: &View,
    netuid: NetUid,
    mechanism: MechanismId,
    hotkey: &Hotkey,
) -> Result<WeightRules, ChainError> {
    let subnet = (netuid.0,);
    let added: bool = view.value(NETWORKS_ADDED, subnet).await?;
    let mechanisms: u8 =
        if view.has_entry(MECHANISM_COUNT) { view.value(MECHANISM_COUNT, subnet).await? } else { 1 };
    let mechanism_exists = added && mechanism.0 < mechanisms;
    let (neurons, own) =
        if mechanism_exists { neurons(view, netuid, mechanism, hotkey).await? } else { (0, None) };
    let epochs = epochs(view, netuid).await?;
    Ok(WeightRules {
        block: BlockNumber(view.at.block_number()),
        netuid,
        mechanism,
        mechanism_exists,
        neurons,
        own,
        stake_threshold: Rao(view.value(STAKE_THRESHOLD, ()).await?),
        version_key: view.value(WEIGHTS_VERSION_KEY, subnet).await?,
        rate_limit: view.value(WEIGHTS_RATE_LIMIT, subnet).await?,
        min_weights: view.value(MIN_ALLOWED_WEIGHTS, subnet).await?,
        max_weight: view.value(MAX_WEIGHTS_LIMIT, subnet).await?,
        consensus: consensus(view, netuid).await?,
        commit_reveal: commit_reveal(view, netuid).await?,
        reveal_period: view.value(REVEAL_PERIOD, subnet).await?,
        open_commits: commits::open(view, (netuid, mechanism), hotkey, &epochs).await?,
        epochs,
        beacon: commits::beacon(view).await?,
        block_time: block_time(view)?,
    })
}

async fn neurons(
    view: &View,
    netuid: NetUid,
    mechanism: MechanismId,
    hotkey: &Hotkey,
) -> Result<(u16, Option<OwnNeuron>), ChainError> {
    let metagraph = metagraph::read(view, netuid).await?;
    let count = u16::try_from(metagraph.neurons.len()).unwrap_or(u16::MAX);
    let Some(neuron) = metagraph.neuron(hotkey) else { return Ok((count, None)) };
    let last_update = last_update(view, netuid, mechanism, neuron.uid).await?;
    let own = OwnNeuron {
        uid: neuron.uid,
        stake: neuron.stake,
        is_owner: metagraph.owner_hotkey == Some(*hotkey),
        permit: neuron.validator_permit,
        last_update: last_update.unwrap_or(neuron.last_update),
    };
    Ok((count, Some(own)))
}

/// Of this mechanism, which the metagraph does not tell.
async fn last_update(
    view: &View,
    netuid: NetUid,
    mechanism: MechanismId,
    uid: Uid,
) -> Result<Option<BlockNumber>, ChainError> {
    let all: Vec<u64> = view.value(LAST_UPDATE, (index(netuid, mechanism),)).await?;
    Ok(all.get(usize::from(uid.0)).copied().map(BlockNumber))
}

/// Chains without the choice have only Yuma.
async fn consensus(view: &View, netuid: NetUid) -> Result<Consensus, ChainError> {
    if !view.has_entry(SUBNET_EPOCH_CONSENSUS) {
        return Ok(Consensus::Yuma);
    }
    let consensus: Value = view.value(SUBNET_EPOCH_CONSENSUS, (netuid.0,)).await?;
    match consensus.value {
        ValueDef::Variant(variant) if variant.name == "Null" => Ok(Consensus::Null),
        _ => Ok(Consensus::Yuma),
    }
}

async fn commit_reveal(view: &View, netuid: NetUid) -> Result<Option<CommitReveal>, ChainError> {
    if !view.value::<_, bool>(COMMIT_REVEAL, (netuid.0,)).await? {
        return Ok(None);
    }
    Ok(Some(CommitReveal {
        version: view.if_present(COMMIT_REVEAL_VERSION, ()).await?,
        by_hash: COMMIT_HASH.is_in(view) && REVEAL.is_in(view),
        timelocked: COMMIT_TIMELOCKED.is_in(view),
    }))
}

async fn epochs(view: &View, netuid: NetUid) -> Result<EpochClock, ChainError> {
    let subnet = (netuid.0,);
    let tempo = view.value(TEMPO, subnet).await?;
    if !view.has_entry(SUBNET_EPOCH_INDEX) {
        return Ok(EpochClock::Modular { tempo });
    }
    Ok(EpochClock::Stateful {
        last_epoch: BlockNumber(view.value(LAST_EPOCH_BLOCK, subnet).await?),
        pending_at: BlockNumber(view.value(PENDING_EPOCH_AT, subnet).await?),
        index: view.value(SUBNET_EPOCH_INDEX, subnet).await?,
        since_last_step: view.value(BLOCKS_SINCE_LAST_STEP, subnet).await?,
        tempo,
    })
}

fn block_time(view: &View) -> Result<Millis, ChainError> {
    let slot = view.at.constants().entry(dynamic::constant::<u64>("Aura", "SlotDuration"));
    slot.map(Millis).map_err(|error| view.unsupported("Aura.SlotDuration", &error))
}
