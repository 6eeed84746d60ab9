//! What a block creates, and who gets it at the epoch.
//!
//! Each block adds TAO and alpha to the pools of subnets that have started, in the pool's own ratio so that the price
//! stays, and alpha for the subnet's people, which waits for the epoch: the owner's cut, and half of the rest each
//! for miners and validators. At the epoch each mechanism has its part of it, handed out by largest remainder. What no validator
//! of any mechanism earned waits on; what the miners of one mechanism did not earn, while others' did, stays outstanding
//! with nobody, as on the public chain. What the weights give to a hotkey of the owner's coldkey is burnt or recycled.
//!
//! Simpler than the public chain: TAO is split evenly between subnets instead of by price or flow, the alpha per block is a
//! value of the subnet instead of a curve, and stakers of the root network earn in the subnets' alpha like others.

use super::info_types::RecycleOrBurnEnum;
use super::market::Market;
use super::pallet::*;
use crate::runtime::newtypes::{AlphaBalance, NetUid, TaoBalance};
use crate::yuma::null::apportioned;
use crate::yuma::{Fixed, Outcome};

/// The most TAO there will be, in rao; also the most alpha a subnet makes.
pub const MAX_SUPPLY: u64 = 21_000_000_000_000_000;

/// `part` of 65,535 of an amount, rounded down.
fn part_of(amount: u64, part: u16) -> u64 {
    let exact = u128::from(amount) * u128::from(part) / u128::from(u16::MAX);
    u64::try_from(exact).unwrap_or(u64::MAX)
}

/// What waited for an epoch, in rao of alpha.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pot {
    pub(super) owner: AlphaBalance,
    pub(super) miners: AlphaBalance,
    pub(super) validators: AlphaBalance,
}

/// What each uid earned over all mechanisms, in rao of alpha: miners amounts, validators claims on the validators' part.
#[derive(Debug, Default)]
pub(super) struct Earned {
    pub(super) miners: Vec<u64>,
    pub(super) validators: Vec<u64>,
}

impl Earned {
    /// Adds a mechanism with its part of the emission, of which `for_miners` is its miners'. What it gives each of them.
    pub(super) fn add(
        &mut self,
        outcome: &Outcome,
        part: AlphaBalance,
        for_miners: AlphaBalance,
    ) -> Vec<AlphaBalance> {
        let earns = |shares: &[Fixed]| shares.iter().any(|share| *share > Fixed::ZERO);
        let budget = if earns(&outcome.validator_emission) { for_miners } else { part };
        let shares: Vec<u64> = outcome.server_emission.iter().map(|share| share.bits()).collect();
        let amounts = apportioned(&shares, budget.0);
        add_amounts(&mut self.miners, amounts.iter().copied());
        add_amounts(&mut self.validators, outcome.validator_emission.iter().map(|share| share.of(part.0)));
        amounts.into_iter().map(AlphaBalance).collect()
    }
}

fn add_amounts(sums: &mut Vec<u64>, amounts: impl IntoIterator<Item = u64>) {
    for (position, amount) in amounts.into_iter().enumerate() {
        match sums.get_mut(position) {
            Some(sum) => *sum = sum.saturating_add(amount),
            None => sums.push(amount),
        }
    }
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

    /// Takes what waits for the epoch.
    pub(super) fn take_pot(netuid: NetUid) -> Pot {
        Pot {
            owner: PendingOwnerCut::<T>::take(netuid),
            miners: PendingServerEmission::<T>::take(netuid),
            validators: PendingValidatorEmission::<T>::take(netuid),
        }
    }

    /// Hands out what waited for the epoch: miners get what they earned, validators their part by what they earned, all
    /// of it where no miner earned.
    pub(super) fn pay(netuid: NetUid, hotkeys: &[T::AccountId], pot: Pot, earned: &Earned) {
        let owner = SubnetOwnerHotkey::<T>::get(netuid);
        if Self::add_alpha(&owner, &SubnetOwner::<T>::get(netuid), netuid, pot.owner).is_err() {
            PendingOwnerCut::<T>::insert(netuid, pot.owner);
        }
        let whole = pot.miners.saturating_add(pot.validators);
        let to_miners = earned.miners.iter().fold(0u64, |sum, amount| sum.saturating_add(*amount));
        // Miners get more than their part where a mechanism has no validator that earns.
        let left = whole.0.saturating_sub(to_miners);
        let to_validators = if to_miners == 0 { left } else { left.min(pot.validators.0) };
        let mut kept = AlphaBalance::ZERO;
        for (hotkey, amount) in hotkeys.iter().zip(&earned.miners) {
            kept = kept.saturating_add(Self::pay_miner(netuid, hotkey, AlphaBalance(*amount)));
        }
        // The cursor is of no use: nothing limits the removal.
        let _ = AlphaDividendsPerSubnet::<T>::clear_prefix(netuid, u32::MAX, None);
        let paid = hotkeys.iter().zip(apportioned(&earned.validators, to_validators));
        for (hotkey, amount) in paid.filter(|(_, amount)| *amount > 0) {
            kept = kept.saturating_add(Self::pay_validator(netuid, hotkey, AlphaBalance(amount)));
        }
        if earned.validators.iter().all(|claim| *claim == 0) {
            kept = kept.saturating_add(AlphaBalance(to_validators));
        }
        PendingValidatorEmission::<T>::insert(netuid, kept);
    }

    /// Whether what the weights give to a hotkey is withheld: the owner's, and every other of the owner's coldkey.
    fn is_withheld(netuid: NetUid, hotkey: &T::AccountId) -> bool {
        *hotkey == SubnetOwnerHotkey::<T>::get(netuid)
            || Owner::<T>::get(hotkey) == SubnetOwner::<T>::get(netuid)
    }

    /// Pays a miner's incentive, or destroys it where it went to the owner. Returns what it could not pay.
    fn pay_miner(netuid: NetUid, hotkey: &T::AccountId, amount: AlphaBalance) -> AlphaBalance {
        if !Self::is_withheld(netuid, hotkey) {
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
        if Self::reward_stakers(hotkey, netuid, rest) {
            AlphaDividendsPerSubnet::<T>::insert(netuid, hotkey, rest);
        } else {
            kept = kept.saturating_add(rest);
        }
        TotalHotkeyAlphaLastEpoch::<T>::insert(hotkey, netuid, TotalHotkeyAlpha::<T>::get(hotkey, netuid));
        kept
    }
}
