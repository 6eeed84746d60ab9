//! What the chain says about setting weights, at one block.

use std::collections::BTreeMap;

use basilica_ports::{ChainError, CommitReveal, Consensus, EpochClock, FailureClass, OwnNeuron, WeightRules};
use basilica_schedule::{Cure, Rule};
use basilica_types::{BlockNumber, Hotkey, MechanismId, Millis, NetUid, Rao, Uid};
use subxt::dynamic;
use subxt::ext::scale_value::{Value, ValueDef};

use crate::flight::Metagraphs;
use crate::item::{
    BEACON_CONFIG, BLOCKS_SINCE_LAST_STEP, COMMIT_REVEAL, COMMIT_REVEAL_VERSION, Entry, LAST_EPOCH_BLOCK,
    LAST_STORED_ROUND, LAST_UPDATE, MAX_WEIGHTS_LIMIT, MECHANISM_COUNT, MIN_ALLOWED_WEIGHTS, NETWORKS_ADDED,
    PENDING_EPOCH_AT, REVEAL_PERIOD, STAKE_THRESHOLD, SUBNET_EPOCH_CONSENSUS, SUBNET_EPOCH_INDEX, TEMPO,
    View, WEIGHT_COMMITS, WEIGHTS_RATE_LIMIT, WEIGHTS_VERSION_KEY,
};
use crate::signing::{COMMIT_HASH, COMMIT_TIMELOCKED, REVEAL};
use crate::{commits, hyperparameters, metagraph};

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

/// Whose rules, and for what.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) netuid: NetUid,
    pub(crate) mechanism: MechanismId,
    pub(crate) hotkey: &'a Hotkey,
    /// Through which whole metagraphs are read.
    pub(crate) metagraphs: &'a Metagraphs,
}

/// Reads the rules at the newest finalised block: everything of one block, in three requests and those of opening it.
pub(crate) async fn read(view: &mut View, asked: Asked<'_>) -> Result<WeightRules, ChainError> {
    let Asked { netuid, mechanism, hotkey, .. } = asked;
    view.fetch(keys(view, asked)?).await?;
    let epochs = epochs(view, netuid).await?;
    view.fetch(commits::keys(view, (netuid, mechanism), &epochs).await?).await?;
    let view = &*view;
    let subnet = (netuid.0,);
    let added: bool = view.value(NETWORKS_ADDED, subnet).await?;
    let mechanisms: u8 =
        if view.has_entry(MECHANISM_COUNT) { view.value(MECHANISM_COUNT, subnet).await? } else { 1 };
    let mechanism_exists = added && mechanism.0 < mechanisms;
    let (uids, own) = if mechanism_exists { neurons(view, asked).await? } else { (BTreeMap::new(), None) };
    Ok(WeightRules {
        block: BlockNumber(view.at.block_number()),
        netuid,
        mechanism,
        mechanism_exists,
        neurons: u16::try_from(uids.len()).unwrap_or(u16::MAX),
        uids,
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

/// The keys of all single values, as far as the runtime has them.
fn keys(view: &View, Asked { netuid, mechanism, hotkey, .. }: Asked<'_>) -> Result<Vec<Vec<u8>>, ChainError> {
    let (subnet, index) = ((netuid.0,), index(netuid, mechanism));
    let of_subnet = OF_SUBNET.into_iter().map(|entry| view.key(entry, subnet));
    let of_chain = OF_CHAIN.into_iter().map(|entry| view.key(entry, ()));
    let own = [view.key(LAST_UPDATE, (index,)), view.key(WEIGHT_COMMITS, (index, *hotkey.as_bytes()))];
    of_subnet.chain(of_chain).chain(own).filter_map(Result::transpose).collect()
}

const OF_SUBNET: [Entry; 14] = [
    BLOCKS_SINCE_LAST_STEP,
    COMMIT_REVEAL,
    LAST_EPOCH_BLOCK,
    MAX_WEIGHTS_LIMIT,
    MECHANISM_COUNT,
    MIN_ALLOWED_WEIGHTS,
    NETWORKS_ADDED,
    PENDING_EPOCH_AT,
    REVEAL_PERIOD,
    SUBNET_EPOCH_CONSENSUS,
    SUBNET_EPOCH_INDEX,
    TEMPO,
    WEIGHTS_RATE_LIMIT,
    WEIGHTS_VERSION_KEY,
];
const OF_CHAIN: [Entry; 4] = [BEACON_CONFIG, COMMIT_REVEAL_VERSION, LAST_STORED_ROUND, STAKE_THRESHOLD];

async fn neurons(
    view: &View,
    asked: Asked<'_>,
) -> Result<(BTreeMap<Hotkey, Uid>, Option<OwnNeuron>), ChainError> {
    let Asked { netuid, mechanism, hotkey, metagraphs } = asked;
    let block = BlockNumber(view.at.block_number());
    let metagraph = metagraphs.at(netuid, block, || metagraph::read(view, netuid)).await?;
    let uids = metagraph.neurons.iter().map(|neuron| (neuron.hotkey, neuron.uid)).collect();
    let Some(neuron) = metagraph.neuron(hotkey) else { return Ok((uids, None)) };
    let own = OwnNeuron {
        uid: neuron.uid,
        stake: metagraph::tells_stake(view).then_some(neuron.stake),
        is_owner: metagraph.owner_hotkey == Some(*hotkey),
        permit: neuron.validator_permit,
        last_update: last_update(view, index(netuid, mechanism), neuron.uid).await?,
    };
    Ok((uids, Some(own)))
}

/// Block of the last weights or commit of a neuron for one mechanism, or of its registration; 0 is never, also where the
/// chain holds nothing: the metagraph's is that of the first mechanism and says nothing of another.
pub(crate) async fn last_update(view: &View, index: u16, uid: Uid) -> Result<BlockNumber, ChainError> {
    let all: Vec<u64> = view.value(LAST_UPDATE, (index,)).await?;
    Ok(BlockNumber(all.get(usize::from(uid.0)).copied().unwrap_or(0)))
}

/// Chains without the choice have only Yuma.
async fn consensus(view: &View, netuid: NetUid) -> Result<Consensus, ChainError> {
    if !view.has_entry(SUBNET_EPOCH_CONSENSUS) {
        return Ok(Consensus::Yuma);
    }
    let consensus: Value = view.value(SUBNET_EPOCH_CONSENSUS, (netuid.0,)).await?;
    known(&consensus).ok_or_else(|| view.unsupported(SUBNET_EPOCH_CONSENSUS.full, &UnknownConsensus))
}

/// A consensus with other exceptions than those we know would make every check of ours a guess.
#[derive(Debug, thiserror::Error)]
#[error("the subnet's consensus is neither Yuma nor Null")]
struct UnknownConsensus;

fn known(consensus: &Value) -> Option<Consensus> {
    match &consensus.value {
        ValueDef::Composite(newtype) => hyperparameters::only(newtype).and_then(known),
        ValueDef::Variant(variant) => match variant.name.as_str() {
            "Yuma" => Some(Consensus::Yuma),
            "Null" => Some(Consensus::Null),
            _ => None,
        },
        _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consensus_that_we_do_not_know_is_none() {
        let variant = |name: &str| Value::unnamed_variant(name, []);
        assert_eq!(known(&variant("Yuma")), Some(Consensus::Yuma));
        assert_eq!(known(&Value::unnamed_composite([variant("Null")])), Some(Consensus::Null));
        assert_eq!(known(&variant("Yuma4")), None);
        assert_eq!(known(&Value::u128(0)), None);
    }

    #[test]
    fn each_mechanism_has_its_own_place() {
        assert_eq!(index(NetUid(39), MechanismId(0)), 39);
        assert_eq!(index(NetUid(39), MechanismId(1)), 4_135);
    }
}
