//! Joining a subnet: burned registration, uids, and who makes room when the subnet is full.
//!
//! The burn is a fixed hyperparameter here; the public chain's price moves with demand. SDK 11's `BurnedRegister` intent
//! insists on an encrypted submission, which needs the MevShield pallet; the plain call is what works here.

use frame_support::ensure;
use frame_support::pallet_prelude::DispatchResult;
use frame_support::traits::fungible::{Inspect as _, Mutate as _};
use frame_support::traits::tokens::{Fortitude, Precision, Preservation};

use super::pallet::*;
use super::weights::storage_index;
use crate::runtime::newtypes::{AlphaBalance, MechId, NetUid, PerU16};

fn set_at<V: Clone>(values: &mut Vec<V>, uid: u16, value: V, filler: V) {
    let position = usize::from(uid);
    if values.len() <= position {
        values.resize(position + 1, filler);
    }
    if let Some(slot) = values.get_mut(position) {
        *slot = value;
    }
}

impl<T: Config> Pallet<T> {
    pub(super) fn do_burned_register(
        coldkey: &T::AccountId,
        netuid: NetUid,
        hotkey: &T::AccountId,
    ) -> DispatchResult {
        ensure!(!netuid.is_root(), Error::<T>::RegistrationNotPermittedOnRootSubnet);
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        ensure!(NetworkRegistrationAllowed::<T>::get(netuid), Error::<T>::SubNetRegistrationDisabled);
        ensure!(!Uids::<T>::contains_key(netuid, hotkey), Error::<T>::HotKeyAlreadyRegisteredInSubNet);
        let free_to_take = !Owner::<T>::contains_key(hotkey) || Owner::<T>::get(hotkey) == *coldkey;
        ensure!(free_to_take, Error::<T>::NonAssociatedColdKey);
        let burn = Burn::<T>::get(netuid).0;
        let spendable = T::Currency::reducible_balance(coldkey, Preservation::Preserve, Fortitude::Polite);
        ensure!(spendable >= burn, Error::<T>::NotEnoughBalanceToStake);
        let uid = Self::free_uid(netuid)?;
        T::Currency::burn_from(coldkey, burn, Preservation::Preserve, Precision::Exact, Fortitude::Polite)?;
        Self::install_neuron(netuid, uid, hotkey, coldkey);
        Self::deposit_event(Event::NeuronRegistered(netuid, uid, hotkey.clone()));
        Ok(())
    }

    /// The next uid, or that of the neuron with the lowest emission that is neither immune nor the owner's.
    fn free_uid(netuid: NetUid) -> Result<u16, Error<T>> {
        let neurons = SubnetworkN::<T>::get(netuid);
        if neurons < MaxAllowedUids::<T>::get(netuid) {
            return Ok(neurons);
        }
        let now = Self::block_now();
        let immunity = u64::from(ImmunityPeriod::<T>::get(netuid));
        let emission = Emission::<T>::get(netuid);
        let owner = SubnetOwnerHotkey::<T>::get(netuid);
        (0..neurons)
            .filter(|uid| Keys::<T>::get(netuid, uid) != owner)
            .map(|uid| {
                let earned = emission.get(usize::from(uid)).copied().unwrap_or_default();
                (earned, BlockAtRegistration::<T>::get(netuid, uid), uid)
            })
            .filter(|(_, registered, _)| now.saturating_sub(*registered) >= immunity)
            .min()
            .map(|(_, _, uid)| uid)
            .ok_or(Error::<T>::NoNeuronIdAvailable)
    }

    /// Gives the uid to the hotkey, removing whoever held it. Registration counts as the uid's last update.
    pub(super) fn install_neuron(netuid: NetUid, uid: u16, hotkey: &T::AccountId, coldkey: &T::AccountId) {
        let now = Self::block_now();
        if uid < SubnetworkN::<T>::get(netuid) {
            Self::evict(netuid, uid);
        } else {
            SubnetworkN::<T>::insert(netuid, uid.saturating_add(1));
        }
        Uids::<T>::insert(netuid, hotkey, uid);
        Keys::<T>::insert(netuid, uid, hotkey);
        IsNetworkMember::<T>::insert(hotkey, netuid, true);
        BlockAtRegistration::<T>::insert(netuid, uid, now);
        if !Owner::<T>::contains_key(hotkey) {
            // A hotkey needs no balance of its own to sign free calls; this is what keeps its nonce alive.
            frame_system::Pallet::<T>::inc_sufficients(hotkey);
            Owner::<T>::insert(hotkey, coldkey);
            OwnedHotkeys::<T>::mutate(coldkey, |owned| owned.push(hotkey.clone()));
        }
        Active::<T>::mutate(netuid, |values| set_at(values, uid, true, false));
        ValidatorPermit::<T>::mutate(netuid, |values| set_at(values, uid, false, false));
        Consensus::<T>::mutate(netuid, |values| set_at(values, uid, PerU16::zero(), PerU16::zero()));
        Incentive::<T>::mutate(storage_index(netuid, MechId::MAIN), |values| {
            set_at(values, uid, PerU16::zero(), PerU16::zero())
        });
        Dividends::<T>::mutate(netuid, |values| set_at(values, uid, PerU16::zero(), PerU16::zero()));
        ValidatorTrust::<T>::mutate(netuid, |values| set_at(values, uid, PerU16::zero(), PerU16::zero()));
        Emission::<T>::mutate(netuid, |values| set_at(values, uid, AlphaBalance::ZERO, AlphaBalance::ZERO));
        for mecid in (0..MechanismCountCurrent::<T>::get(netuid).0).map(MechId) {
            let index = storage_index(netuid, mecid);
            Self::touch_last_update(index, uid);
            Weights::<T>::remove(index, uid);
            Bonds::<T>::remove(index, uid);
        }
    }

    fn evict(netuid: NetUid, uid: u16) {
        let hotkey = Keys::<T>::get(netuid, uid);
        Uids::<T>::remove(netuid, &hotkey);
        IsNetworkMember::<T>::remove(&hotkey, netuid);
        Axons::<T>::remove(netuid, &hotkey);
        NeuronCertificates::<T>::remove(netuid, &hotkey);
        Prometheus::<T>::remove(netuid, &hotkey);
    }
}
