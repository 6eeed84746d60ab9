//! What subnets and coldkeys say of themselves.

use frame_support::ensure;
use frame_support::pallet_prelude::DispatchResult;

use super::info_types::{ChainIdentityV2, SubnetIdentityV3};
use super::pallet::*;
use crate::runtime::newtypes::NetUid;

/// The longest name, in bytes.
const NAME_MAX: usize = 256;
/// The longest text of another field, in bytes.
const TEXT_MAX: usize = 1024;

fn fit(fields: &[&Vec<u8>], most: usize) -> bool {
    fields.iter().all(|field| field.len() <= most)
}

/// Whether the public chain takes this identity of a subnet.
fn is_subnet_identity(identity: &SubnetIdentityV3) -> bool {
    let SubnetIdentityV3 {
        subnet_name,
        github_repo,
        subnet_contact,
        subnet_url,
        discord,
        description,
        logo_url,
        additional,
    } = identity;
    let texts = [github_repo, subnet_contact, subnet_url, description, logo_url, additional];
    fit(&[subnet_name, discord], NAME_MAX) && fit(&texts, TEXT_MAX)
}

/// Whether the public chain takes this identity of a coldkey.
fn is_coldkey_identity(identity: &ChainIdentityV2) -> bool {
    let ChainIdentityV2 { name, url, github_repo, image, discord, description, additional } = identity;
    fit(&[name, url, github_repo, discord], NAME_MAX) && fit(&[image, description, additional], TEXT_MAX)
}

impl<T: Config> Pallet<T> {
    pub(super) fn do_set_subnet_identity(
        coldkey: &T::AccountId,
        netuid: NetUid,
        identity: SubnetIdentityV3,
    ) -> DispatchResult {
        ensure!(SubnetOwner::<T>::get(netuid) == *coldkey, Error::<T>::NotSubnetOwner);
        ensure!(is_subnet_identity(&identity), Error::<T>::InvalidIdentity);
        SubnetIdentitiesV3::<T>::insert(netuid, identity);
        Self::deposit_event(Event::SubnetIdentitySet(netuid));
        Ok(())
    }

    pub(super) fn do_set_identity(coldkey: &T::AccountId, identity: ChainIdentityV2) -> DispatchResult {
        let is_registered = |hotkey: &T::AccountId| {
            Self::netuids().into_iter().any(|netuid| Uids::<T>::contains_key(netuid, hotkey))
        };
        ensure!(
            OwnedHotkeys::<T>::get(coldkey).iter().any(is_registered),
            Error::<T>::HotKeyNotRegisteredInNetwork
        );
        ensure!(is_coldkey_identity(&identity), Error::<T>::InvalidIdentity);
        IdentitiesV2::<T>::insert(coldkey, identity);
        Self::deposit_event(Event::ChainIdentitySet(coldkey.clone()));
        Ok(())
    }
}
