//! What a block creates, and who gets it at the epoch.
//!
//! Each block adds TAO and alpha to the pools of subnets that have started, in the pool's own ratio so that the price
//! stays, and alpha for the subnet's people, which waits for the epoch: the owner's cut, and half of the rest each
//! for miners and validators. At the epoch nothing of what waited is lost: amounts are handed out by largest remainder, and a part that
//! nobody earned waits on. What the weights give to the owner's own hotkey is burnt or recycled.
//!
//! Simpler than the public chain: TAO is split evenly between subnets instead of by price or flow, the alpha per block is a
//! value of the subnet instead of a curve, and stakers of the root network earn in the subnets' alpha like others.

use super::info_types::RecycleOrBurnEnum;
use super::market::Market;
use super::pallet::*;
use crate::runtime::newtypes::{AlphaBalance, NetUid, TaoBalance};
use crate::yuma::Fixed;
use crate::yuma::null::apportioned;

/// The most TAO there will be, in rao; also the most alpha a subnet makes.
pub const MAX_SUPPLY: u64 = 21_000_000_000_000_000;

/// `part` of 65,535 of an amount, rounded down.
fn part_of(amount: u64, part: u16) -> u64 {
    let exact = u128::from(amount) * u128::from(part) / u128::from(u16::MAX);
    u64::try_from(exact).unwrap_or(u64::MAX)
}

impl<T: Config> Pallet<T> {
    /// Creates what this block creates.
    pub(super) fn emit_block(subnets: &[NetUid]) {
        let now = Self::block_now();
        let started: Vec<NetUid> = subnets
            .iter()
            .copied()
            .filter(|netuid| FirstEmissionBlockNumber::<T>::get(netuid).is_some_and(|first| first <= now))
            .collect();
        let each = BlockEmission::<T>::get().checked_div(started.len() as u64).unwrap_or(0);
        for netuid in started {
            let alpha = Self::emit_alpha(netuid);
            Self::emit_tao(netuid, each, alpha);
        }
    }

    fn emit_alpha(netuid: NetUid) -> AlphaBalance {
        let made = SubnetAlphaOut::<T>::get(netuid).0.saturating_add(SubnetAlphaIn::<T>::get(netuid).0);
        let created = SubnetAlphaOutEmission::<T>::get(netuid).0.min(MAX_SUPPLY.saturating_sub(made));
        let owner = part_of(created, SubnetOwnerCut::<T>::get());
        let servers = created.saturating_sub(owner) / 2;
        let validators = created.saturating_sub(owner).saturating_sub(servers);
        SubnetAlphaOut::<T>::mutate(netuid, |out| *out = out.saturating_add(AlphaBalance(created)));
        PendingOwnerCut::<T>::mutate(netuid, |sum| *sum = sum.saturating_add(AlphaBalance(owner)));
        PendingServerEmission::<T>::mutate(netuid, |sum| *sum = sum.saturating_add(AlphaBalance(servers)));
        PendingValidatorEmission::<T>::mutate(netuid, |sum| {
            *sum = sum.saturating_add(AlphaBalance(validators));
        });
        AlphaBalance(created)
    }

    fn emit_tao(netuid: NetUid, share: u64, alpha_out: AlphaBalance) {
        let room = MAX_SUPPLY.saturating_sub(TotalIssuance::<T>::get().0);
        let (tao, alpha) = match Self::market(netuid) {
            // One to one: what is given out must be backed.
            Market::Stable { .. } => (alpha_out.0.min(room), 0),
            Market::Pool { tao: 0, .. } => (0, 0),
            Market::Pool { tao, alpha } => {
                let given = share.min(room);
                let beside = u128::from(given) * u128::from(alpha) / u128::from(tao);
                (given, u64::try_from(beside).unwrap_or(u64::MAX).min(MAX_SUPPLY.saturating_sub(alpha)))
            }
        };
        Self::grow_pool(netuid, TaoBalance(tao));
        SubnetAlphaIn::<T>::mutate(netuid, |held| *held = held.saturating_add(AlphaBalance(alpha)));
        SubnetTaoInEmission::<T>::insert(netuid, TaoBalance(tao));
        SubnetAlphaInEmission::<T>::insert(netuid, AlphaBalance(alpha));
    }

    /// Hands out what waited for the epoch, by each uid's share as a miner and as a validator. Returns what waited for
    /// miners and validators together.
    pub(super) fn distribute(
        netuid: NetUid,
        hotkeys: &[T::AccountId],
        miners: &[Fixed],
        validators: &[Fixed],
    ) -> AlphaBalance {
        let owner_cut = PendingOwnerCut::<T>::take(netuid);
        let for_miners = PendingServerEmission::<T>::take(netuid);
        let for_validators = PendingValidatorEmission::<T>::take(netuid);
        let total = for_miners.saturating_add(for_validators);
        let owner = SubnetOwnerHotkey::<T>::get(netuid);
        if Self::add_alpha(&owner, &SubnetOwner::<T>::get(netuid), netuid, owner_cut).is_err() {
            PendingOwnerCut::<T>::insert(netuid, owner_cut);
        }
        let earned = |shares: &[Fixed]| shares.iter().any(|share| *share > Fixed::ZERO);
        // Where no miner earns, validators get all.
        let (for_miners, for_validators) =
            if earned(miners) { (for_miners, for_validators) } else { (AlphaBalance::ZERO, total) };
        let mut kept = AlphaBalance::ZERO;
        for (hotkey, amount) in hotkeys.iter().zip(apportioned(miners, for_miners.0)) {
            kept = kept.saturating_add(Self::pay_miner(netuid, hotkey, &owner, AlphaBalance(amount)));
        }
        for (hotkey, amount) in hotkeys.iter().zip(apportioned(validators, for_validators.0)) {
            kept = kept.saturating_add(Self::pay_validator(netuid, hotkey, AlphaBalance(amount)));
        }
        if !earned(validators) {
            kept = kept.saturating_add(for_validators);
        }
        PendingValidatorEmission::<T>::insert(netuid, kept);
        total
    }

    /// Pays a miner's incentive, or destroys it where it went to the owner. Returns what it could not pay.
    fn pay_miner(
        netuid: NetUid,
        hotkey: &T::AccountId,
        owner: &T::AccountId,
        amount: AlphaBalance,
    ) -> AlphaBalance {
        if hotkey != owner {
            let rest = amount.saturating_sub(Self::settle_collateral(netuid, hotkey, amount, amount));
            let paid = Self::reward_miner(netuid, hotkey, rest).is_ok();
            return if paid { AlphaBalance::ZERO } else { rest };
        }
        // Burnt alpha stays outstanding with nobody, so that it is never made again; recycled alpha may be.
        if RecycleOrBurn::<T>::get(netuid) == RecycleOrBurnEnum::Recycle {
            SubnetAlphaOut::<T>::mutate(netuid, |out| *out = out.saturating_sub(amount));
        }
        AlphaBalance::ZERO
    }

    /// Pays a validator's dividends: the take to its owner, the rest to who has staked on it. Returns what it could not pay.
    fn pay_validator(netuid: NetUid, hotkey: &T::AccountId, amount: AlphaBalance) -> AlphaBalance {
        let take = AlphaBalance(part_of(amount.0, Delegates::<T>::get(hotkey).deconstruct()));
        let rest = amount.saturating_sub(take);
        let take = take.saturating_sub(Self::settle_collateral(netuid, hotkey, amount, take));
        let mut kept = AlphaBalance::ZERO;
        if Self::add_alpha(hotkey, &Owner::<T>::get(hotkey), netuid, take).is_err() {
            kept = kept.saturating_add(take);
        }
        if !Self::reward_stakers(hotkey, netuid, rest) {
            kept = kept.saturating_add(rest);
        }
        kept
    }
}
