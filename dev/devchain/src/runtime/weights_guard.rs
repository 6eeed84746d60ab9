//! What is refused before the pool of calls about weights: batch shapes, stake, reveals out of turn, rounds of the past and
//! what comes too soon, in the public chain's order. Such calls are free, so they must not fill blocks with failures.

use super::extensions::CustomError;
use super::newtypes::{MechId, NetUid};
use super::subtensor::commits::Reveal;
use super::subtensor::weights::storage_index;
use super::subtensor::{Call, CommitRevealWeightsEnabled, Pallet, Uids, WeightCommits};
use super::{AccountId, ModularEpochs, Runtime, drand};
use frame_support::traits::Get as _;

type Subtensor = Pallet<Runtime>;

/// The rule that the call breaks right now, if it breaks one.
pub(super) fn broken_rule(who: &AccountId, call: &Call<Runtime>) -> Option<CustomError> {
    if !lengths_match(call) {
        return Some(CustomError::InputLengthsUnequal);
    }
    let poor = |netuid: &NetUid| !Subtensor::has_stake_for_weights(who, *netuid);
    if netuids(call).iter().any(poor) {
        return Some(CustomError::StakeAmountTooLow);
    }
    broken_reveal(who, call).or_else(|| too_soon(who, call))
}

fn lengths_match(call: &Call<Runtime>) -> bool {
    match call {
        Call::batch_commit_weights { netuids, commit_hashes } => netuids.len() == commit_hashes.len(),
        Call::batch_set_weights { netuids, weights, version_keys } => {
            netuids.len() == weights.len() && netuids.len() == version_keys.len()
        }
        Call::batch_reveal_weights { uids_list, values_list, salts_list, version_keys, .. } => {
            let length = uids_list.len();
            [values_list.len(), salts_list.len(), version_keys.len()].iter().all(|other| *other == length)
        }
        _ => true,
    }
}

/// The subnets for whose weights the call is.
fn netuids(call: &Call<Runtime>) -> Vec<NetUid> {
    match call {
        Call::set_weights { netuid, .. }
        | Call::set_mechanism_weights { netuid, .. }
        | Call::commit_weights { netuid, .. }
        | Call::commit_mechanism_weights { netuid, .. }
        | Call::reveal_weights { netuid, .. }
        | Call::reveal_mechanism_weights { netuid, .. }
        | Call::batch_reveal_weights { netuid, .. }
        | Call::commit_timelocked_weights { netuid, .. }
        | Call::commit_timelocked_mechanism_weights { netuid, .. }
        | Call::commit_crv3_mechanism_weights { netuid, .. } => vec![*netuid],
        Call::batch_commit_weights { netuids, .. } | Call::batch_set_weights { netuids, .. } => {
            netuids.iter().map(|netuid| netuid.0).collect()
        }
        _ => Vec::new(),
    }
}

fn broken_reveal(who: &AccountId, call: &Call<Runtime>) -> Option<CustomError> {
    let (netuid, mecid, reveals) = match call {
        Call::reveal_weights { netuid, uids, values, salt, version_key } => {
            (*netuid, MechId::MAIN, vec![reveal(uids, values, salt, *version_key)])
        }
        Call::reveal_mechanism_weights { netuid, mecid, uids, values, salt, version_key } => {
            (*netuid, *mecid, vec![reveal(uids, values, salt, *version_key)])
        }
        Call::batch_reveal_weights { netuid, uids_list, values_list, salts_list, version_keys } => {
            let lists = (uids_list.clone(), values_list.clone(), salts_list.clone(), version_keys.clone());
            (*netuid, MechId::MAIN, Reveal::zip(lists.0, lists.1, lists.2, lists.3).unwrap_or_default())
        }
        Call::commit_timelocked_weights { reveal_round, .. }
        | Call::commit_timelocked_mechanism_weights { reveal_round, .. }
        | Call::commit_crv3_mechanism_weights { reveal_round, .. } => {
            let published = *reveal_round < drand::LastStoredRound::<Runtime>::get();
            return published.then_some(CustomError::InvalidRevealRound);
        }
        _ => return None,
    };
    let index = storage_index(netuid, mecid);
    let Some(commits) = WeightCommits::<Runtime>::get(index, who) else {
        return Some(CustomError::CommitNotFound);
    };
    reveals.iter().find_map(|reveal| {
        let hash = reveal.hash::<Runtime>(who, index);
        match commits.iter().find(|commit| commit.0 == hash) {
            None => Some(CustomError::CommitNotFound),
            Some(commit) if Subtensor::is_reveal_epoch(netuid, commit.1) => None,
            Some(_) => Some(CustomError::CommitBlockNotInRevealRange),
        }
    })
}

fn reveal(uids: &[u16], values: &[u16], salt: &[u16], version_key: u64) -> Reveal {
    Reveal { uids: uids.to_vec(), values: values.to_vec(), salt: salt.to_vec(), version_key }
}

fn too_soon(who: &AccountId, call: &Call<Runtime>) -> Option<CustomError> {
    if ModularEpochs::get() {
        // The generation of the legacy profile takes these into the pool and fails them at dispatch.
        return None;
    }
    let (netuid, mecid) = match call {
        Call::commit_weights { netuid, .. } | Call::commit_timelocked_weights { netuid, .. } => {
            (*netuid, MechId::MAIN)
        }
        Call::commit_mechanism_weights { netuid, mecid, .. }
        | Call::commit_timelocked_mechanism_weights { netuid, mecid, .. }
        | Call::commit_crv3_mechanism_weights { netuid, mecid, .. } => (*netuid, *mecid),
        Call::set_weights { netuid, .. } if !CommitRevealWeightsEnabled::<Runtime>::get(netuid) => {
            (*netuid, MechId::MAIN)
        }
        Call::set_mechanism_weights { netuid, mecid, .. }
            if !CommitRevealWeightsEnabled::<Runtime>::get(netuid) =>
        {
            (*netuid, *mecid)
        }
        _ => return None,
    };
    // A hotkey without a neuron fails at dispatch, which says so.
    let uid = Uids::<Runtime>::get(netuid, who)?;
    if Subtensor::ensure_mechanism_exists(netuid, mecid).is_err() {
        return Some(CustomError::RateLimitExceeded);
    }
    let passed = Subtensor::weights_rate_limit_passed(netuid, storage_index(netuid, mecid), uid);
    (!passed).then_some(CustomError::RateLimitExceeded)
}
