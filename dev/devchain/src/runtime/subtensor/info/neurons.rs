//! Neurons one by one.

use codec::Compact;

use super::at;
use crate::runtime::newtypes::{MechId, NetUid};
use crate::runtime::subtensor::info_types::{NeuronInfo, NeuronInfoLite};
use crate::runtime::subtensor::pallet::*;
use crate::runtime::subtensor::weights::storage_index;

impl<T: Config> Pallet<T> {
    /// A neuron without its weights.
    #[must_use]
    pub fn neuron_lite(netuid: NetUid, uid: u16) -> Option<NeuronInfoLite<T::AccountId>> {
        if uid >= SubnetworkN::<T>::get(netuid) {
            return None;
        }
        let hotkey = Keys::<T>::get(netuid, uid);
        let coldkey = Owner::<T>::get(&hotkey);
        let index = storage_index(netuid, MechId::MAIN);
        let scores = Self::scores(netuid);
        Some(NeuronInfoLite {
            uid: Compact(uid),
            netuid: Compact(netuid),
            active: at(&Active::<T>::get(netuid), uid),
            axon_info: Axons::<T>::get(netuid, &hotkey).unwrap_or_default(),
            prometheus_info: Prometheus::<T>::get(netuid, &hotkey).unwrap_or_default(),
            stake: vec![(coldkey.clone(), Compact(TotalHotkeyAlpha::<T>::get(&hotkey, netuid)))],
            rank: Compact(at(&scores.rank, uid)),
            emission: Compact(at(&Emission::<T>::get(netuid), uid)),
            incentive: Compact(at(&Incentive::<T>::get(index), uid)),
            consensus: Compact(at(&Consensus::<T>::get(netuid), uid)),
            trust: Compact(at(&scores.trust, uid)),
            validator_trust: Compact(at(&ValidatorTrust::<T>::get(netuid), uid)),
            dividends: Compact(at(&Dividends::<T>::get(netuid), uid)),
            last_update: Compact(at(&LastUpdate::<T>::get(index), uid)),
            validator_permit: at(&ValidatorPermit::<T>::get(netuid), uid),
            pruning_score: Compact(at(&scores.pruning, uid)),
            hotkey,
            coldkey,
        })
    }

    /// A neuron with its weights.
    #[must_use]
    pub fn neuron(netuid: NetUid, uid: u16) -> Option<NeuronInfo<T::AccountId>> {
        let lite = Self::neuron_lite(netuid, uid)?;
        let index = storage_index(netuid, MechId::MAIN);
        let pairs = |row: Vec<(u16, u16)>| row.into_iter().map(|(a, b)| (Compact(a), Compact(b))).collect();
        Some(NeuronInfo {
            hotkey: lite.hotkey,
            coldkey: lite.coldkey,
            uid: lite.uid,
            netuid: lite.netuid,
            active: lite.active,
            axon_info: lite.axon_info,
            prometheus_info: lite.prometheus_info,
            stake: lite.stake,
            rank: lite.rank,
            emission: lite.emission,
            incentive: lite.incentive,
            consensus: lite.consensus,
            trust: lite.trust,
            validator_trust: lite.validator_trust,
            dividends: lite.dividends,
            last_update: lite.last_update,
            validator_permit: lite.validator_permit,
            weights: pairs(Weights::<T>::get(index, uid)),
            bonds: pairs(Bonds::<T>::get(index, uid)),
            pruning_score: lite.pruning_score,
        })
    }

    /// Every neuron without weights, by uid.
    #[must_use]
    pub fn neurons_lite(netuid: NetUid) -> Vec<NeuronInfoLite<T::AccountId>> {
        (0..SubnetworkN::<T>::get(netuid)).filter_map(|uid| Self::neuron_lite(netuid, uid)).collect()
    }

    /// Every neuron with weights, by uid.
    #[must_use]
    pub fn neurons(netuid: NetUid) -> Vec<NeuronInfo<T::AccountId>> {
        (0..SubnetworkN::<T>::get(netuid)).filter_map(|uid| Self::neuron(netuid, uid)).collect()
    }
}
