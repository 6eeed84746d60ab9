//! What coldkeys say once about everything they will earn.
//!
//! Left out: claims of root stakers, which spec 365 pays by what they said here; on this chain they earn like others, so the
//! entry is kept and read, and changes nothing.

use frame_support::ensure;
use frame_support::pallet_prelude::DispatchResult;

use super::info_types::RootClaimTypeEnum;
use super::pallet::*;
use crate::runtime::newtypes::{AlphaBalance, NetUid};

impl<T: Config> Pallet<T> {
    pub(super) fn do_set_auto_stake(
        coldkey: &T::AccountId,
        netuid: NetUid,
        hotkey: &T::AccountId,
    ) -> DispatchResult {
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        ensure!(Uids::<T>::contains_key(netuid, hotkey), Error::<T>::HotKeyNotRegisteredInSubNet);
        let previous = AutoStakeDestination::<T>::get(coldkey, netuid);
        ensure!(previous.as_ref() != Some(hotkey), Error::<T>::SameAutoStakeHotkeyAlreadySet);
        if let Some(previous) = previous {
            AutoStakeDestinationColdkeys::<T>::mutate(previous, netuid, |coldkeys| {
                coldkeys.retain(|other| other != coldkey);
            });
        }
        AutoStakeDestination::<T>::insert(coldkey, netuid, hotkey);
        AutoStakeDestinationColdkeys::<T>::mutate(hotkey, netuid, |coldkeys| coldkeys.push(coldkey.clone()));
        let (coldkey, hotkey) = (coldkey.clone(), hotkey.clone());
        Self::deposit_event(Event::AutoStakeDestinationSet { coldkey, netuid, hotkey });
        Ok(())
    }

    /// Stakes what a miner earned on it, or where its coldkey wants it.
    ///
    /// # Errors
    /// The amount is too small or too large for the shares that exist.
    pub(super) fn reward_miner(
        netuid: NetUid,
        hotkey: &T::AccountId,
        incentive: AlphaBalance,
    ) -> Result<(), Error<T>> {
        let owner = Owner::<T>::get(hotkey);
        let Some(destination) = AutoStakeDestination::<T>::get(&owner, netuid) else {
            return Self::add_alpha(hotkey, &owner, netuid, incentive);
        };
        Self::add_alpha(&destination, &owner, netuid, incentive)?;
        let hotkey = hotkey.clone();
        Self::deposit_event(Event::AutoStakeAdded { netuid, destination, hotkey, owner, incentive });
        Ok(())
    }

    pub(super) fn do_set_root_claim_type(
        coldkey: T::AccountId,
        root_claim_type: RootClaimTypeEnum,
    ) -> DispatchResult {
        if let RootClaimTypeEnum::KeepSubnets { subnets } = &root_claim_type {
            ensure!(!subnets.is_empty(), Error::<T>::InvalidSubnetNumber);
        }
        RootClaimType::<T>::insert(&coldkey, &root_claim_type);
        Self::deposit_event(Event::RootClaimTypeSet { coldkey, root_claim_type });
        Ok(())
    }
}
