//! New subnets: what registering one costs, what it begins with, and its start.
//!
//! The cost doubles with each registration and falls back over [`NetworkLockReductionInterval`] blocks, not below
//! [`NetworkMinLockCost`], which is also what the new pool begins with; what was paid beyond is burnt. Left out:
//! the newest runtimes' queue, and pruning a subnet to make room at the limit, where this chain refuses.

use frame_support::ensure;
use frame_support::pallet_prelude::DispatchResult;
use frame_support::traits::Get as _;
use frame_support::traits::fungible::{Inspect as _, Mutate as _};
use frame_support::traits::tokens::{Fortitude, Precision, Preservation};

use super::GLOBAL_MAX_SUBNET_COUNT;
use super::pallet::*;
use crate::runtime::newtypes::{AlphaBalance, NetUid, TaoBalance};

/// What registering a subnet costs in block `now`, after one for `last` in block `last_block` (0: none yet).
#[must_use]
pub fn lock_cost(last: u64, last_block: u64, least: u64, interval: u64, now: u64) -> u64 {
    let first = if last_block == 0 { last } else { last.saturating_mul(2) };
    let fallen = last.checked_div(interval).unwrap_or(0).saturating_mul(now.saturating_sub(last_block));
    first.saturating_sub(fallen).max(least)
}

/// A Greek letter for each subnet; after the last they repeat.
pub(super) fn symbol_of(netuid: NetUid) -> Vec<u8> {
    const LETTERS: [&str; 24] = [
        "α", "β", "γ", "δ", "ε", "ζ", "η", "θ", "ι", "κ", "λ", "μ", "ν", "ξ", "ο", "π", "ρ", "σ", "τ", "υ",
        "φ", "χ", "ψ", "ω",
    ];
    let position = usize::from(netuid.0.saturating_sub(1)) % LETTERS.len();
    LETTERS.get(position).map_or_else(Vec::new, |letter| letter.as_bytes().to_vec())
}

impl<T: Config> Pallet<T> {
    /// What registering a subnet costs now.
    #[must_use]
    pub fn network_lock_cost() -> TaoBalance {
        TaoBalance(lock_cost(
            NetworkLastLockCost::<T>::get().0,
            Self::last_network_block(),
            NetworkMinLockCost::<T>::get().0,
            NetworkLockReductionInterval::<T>::get(),
            Self::block_now(),
        ))
    }

    /// The block of the last registration of a subnet; 0 if all began with the chain.
    fn last_network_block() -> u64 {
        NetworkRegisteredAt::<T>::iter().map(|(_, block)| block).max().unwrap_or(0)
    }

    /// Whether enough blocks have passed since a subnet was registered.
    #[must_use]
    pub fn may_register_network() -> bool {
        let last = Self::last_network_block();
        last == 0 || Self::block_now().saturating_sub(last) >= NetworkRateLimit::<T>::get()
    }

    pub(super) fn do_register_network(coldkey: &T::AccountId, hotkey: &T::AccountId) -> DispatchResult {
        let is_others = Owner::<T>::contains_key(hotkey) && Owner::<T>::get(hotkey) != *coldkey;
        ensure!(!is_others, Error::<T>::NonAssociatedColdKey);
        let now = Self::block_now();
        ensure!(Self::may_register_network(), Error::<T>::NetworkTxRateLimitExceeded);
        let netuids = Self::netuids();
        let count = netuids.iter().filter(|netuid| !netuid.is_root()).count();
        ensure!(count < usize::from(SubnetLimit::<T>::get()), Error::<T>::SubnetLimitReached);
        let cost = Self::network_lock_cost();
        let spendable = T::Currency::reducible_balance(coldkey, Preservation::Preserve, Fortitude::Polite);
        ensure!(spendable >= cost.0, Error::<T>::CannotAffordLockCost);
        let netuid = (1..GLOBAL_MAX_SUBNET_COUNT)
            .map(NetUid)
            .find(|netuid| !netuids.contains(netuid))
            .ok_or(Error::<T>::SubnetLimitReached)?;
        T::Currency::burn_from(coldkey, cost.0, Preservation::Preserve, Precision::Exact, Fortitude::Polite)?;
        NetworkLastLockCost::<T>::put(cost);
        NetworkRegisteredAt::<T>::insert(netuid, now);
        Self::open_subnet(netuid, coldkey, hotkey, cost);
        Self::deposit_event(Event::NetworkAdded(netuid, 1));
        Ok(())
    }

    /// Writes a new subnet: its pool, its owner as uid 0, and what differs from a default.
    fn open_subnet(netuid: NetUid, coldkey: &T::AccountId, hotkey: &T::AccountId, cost: TaoBalance) {
        NetworksAdded::<T>::insert(netuid, true);
        TotalNetworks::<T>::mutate(|count| *count = count.saturating_add(1));
        SubnetworkN::<T>::insert(netuid, 0);
        Tempo::<T>::insert(netuid, T::InitialTempo::get());
        MaxAllowedUids::<T>::insert(netuid, 256);
        SubnetMechanism::<T>::insert(netuid, 1);
        SubnetOwner::<T>::insert(netuid, coldkey);
        SubnetOwnerHotkey::<T>::insert(netuid, hotkey);
        SubnetLocked::<T>::insert(netuid, cost);
        TokenSymbol::<T>::insert(netuid, symbol_of(netuid));
        LastEpochBlock::<T>::insert(netuid, Self::block_now());
        let pool = cost.0.min(NetworkMinLockCost::<T>::get().0);
        Self::grow_pool(netuid, TaoBalance(pool));
        SubnetAlphaIn::<T>::insert(netuid, AlphaBalance(pool));
        Self::install_neuron(netuid, 0, hotkey, coldkey);
    }

    pub(super) fn do_start_call(coldkey: &T::AccountId, netuid: NetUid) -> DispatchResult {
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        ensure!(SubnetOwner::<T>::get(netuid) == *coldkey, Error::<T>::NotSubnetOwner);
        let has_started = FirstEmissionBlockNumber::<T>::contains_key(netuid);
        ensure!(!has_started, Error::<T>::FirstEmissionBlockNumberAlreadySet);
        let now = Self::block_now();
        let opens = NetworkRegisteredAt::<T>::get(netuid).saturating_add(T::InitialStartCallDelay::get());
        ensure!(now >= opens, Error::<T>::NeedWaitingMoreBlocksToStarCall);
        let first = now.saturating_add(1);
        FirstEmissionBlockNumber::<T>::insert(netuid, first);
        SubtokenEnabled::<T>::insert(netuid, true);
        SubnetAlphaOutEmission::<T>::insert(netuid, AlphaBalance(BlockEmission::<T>::get()));
        Self::deposit_event(Event::FirstEmissionBlockNumberSet(netuid, first));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::lock_cost;

    #[test]
    fn the_cost_doubles_and_falls_back_over_the_interval() {
        let cost = |last_block, now| lock_cost(1_000, last_block, 1_000, 100, now);
        assert_eq!(cost(0, 50), 1_000, "the first pays the least");
        assert_eq!([cost(10, 10), cost(10, 60), cost(10, 110), cost(10, 900)], [2_000, 1_500, 1_000, 1_000]);
        assert_eq!(lock_cost(u64::MAX, 5, 0, 0, u64::MAX), u64::MAX);
    }
}
