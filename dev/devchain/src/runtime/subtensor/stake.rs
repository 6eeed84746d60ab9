//! Staking: TAO into a subnet's pool for alpha on a hotkey, and back; and moving alpha between hotkeys, coldkeys and subnets.
//!
//! TAO that is staked leaves the balances and is in the pool ([`SubnetTAO`]); alpha that is bought leaves the pool
//! ([`SubnetAlphaIn`]) and is outstanding ([`SubnetAlphaOut`]). The checks are in the public chain's order. The root network
//! and subnets of mechanism 0 trade one to one. Left out: conviction locks, child keys, and rate limits of staking (off on the
//! newest runtimes).

use frame_support::ensure;
use frame_support::pallet_prelude::DispatchResult;
use frame_support::traits::Get as _;
use frame_support::traits::fungible::{Inspect as _, Mutate as _};
use frame_support::traits::tokens::{Fortitude, Precision, Preservation};

use super::market::Market;
use super::pallet::*;
use crate::runtime::newtypes::{AlphaBalance, NetUid, TaoBalance};

/// The least that is worth staking, unstaking or moving, in rao.
pub const MIN_STAKE: u64 = 2_000_000;
/// How many times what a pool holds one purchase may be.
const MOST_OF_POOL: u64 = 1_000;

/// The worst price a trade may reach, and whether a part of the amount is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Rao for one alpha.
    pub price: u64,
    /// Whether to trade what is possible within the price.
    pub allow_partial: bool,
}

/// A position: what a coldkey has on a hotkey of a subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position<AccountId> {
    /// Whose.
    pub coldkey: AccountId,
    /// On whom.
    pub hotkey: AccountId,
    /// Where.
    pub netuid: NetUid,
}

impl<T: Config> Pallet<T> {
    /// The market of a subnet's alpha.
    #[must_use]
    pub fn market(netuid: NetUid) -> Market {
        let tao = SubnetTAO::<T>::get(netuid).0;
        if netuid.is_root() || SubnetMechanism::<T>::get(netuid) == 0 {
            Market::Stable { tao }
        } else {
            Market::Pool { tao, alpha: SubnetAlphaIn::<T>::get(netuid).0 }
        }
    }

    /// The amount to trade under a limit, out of what is wanted.
    fn limited(wanted: u64, most: u64, limit: Option<Limit>) -> Result<u64, Error<T>> {
        match limit {
            None => Ok(wanted),
            // An error of its own only in spec 365.
            Some(_) if most == 0 && T::ModularEpochs::get() => Err(Error::<T>::ZeroMaxStakeAmount),
            Some(Limit { allow_partial: true, .. }) if most > 0 => Ok(wanted.min(most)),
            Some(_) if most == 0 || wanted > most => Err(Error::<T>::SlippageTooHigh),
            Some(_) => Ok(wanted),
        }
    }

    pub(super) fn do_add_stake(
        to: &Position<T::AccountId>,
        wanted: TaoBalance,
        limit: Option<Limit>,
    ) -> DispatchResult {
        Self::stake_into(to, wanted, limit).map(|_| ())
    }

    /// Takes TAO of the coldkey for alpha in the position. Returns the alpha.
    pub(super) fn stake_into(
        to: &Position<T::AccountId>,
        wanted: TaoBalance,
        limit: Option<Limit>,
    ) -> Result<AlphaBalance, sp_runtime::DispatchError> {
        let market = Self::market(to.netuid);
        ensure!(NetworksAdded::<T>::get(to.netuid), Error::<T>::SubnetNotExists);
        ensure!(Self::is_staking_open(to.netuid), Error::<T>::SubtokenDisabled);
        ensure!(wanted.0 >= MIN_STAKE, Error::<T>::AmountTooLow);
        let most = limit.map_or(u64::MAX, |limit| market.most_to_buy(limit.price));
        let amount = Self::limited(wanted.0, most, limit)?;
        let spendable =
            T::Currency::reducible_balance(&to.coldkey, Preservation::Preserve, Fortitude::Polite);
        ensure!(spendable >= amount, Error::<T>::NotEnoughBalanceToStake);
        ensure!(Owner::<T>::contains_key(&to.hotkey), Error::<T>::HotKeyAccountNotExists);
        ensure!(amount >= MIN_STAKE, Error::<T>::AmountTooLow);
        T::Currency::burn_from(
            &to.coldkey,
            amount,
            Preservation::Preserve,
            Precision::Exact,
            Fortitude::Polite,
        )?;
        let (alpha, fee) = Self::buy_alpha(to.netuid, amount)?;
        Self::add_alpha(&to.hotkey, &to.coldkey, to.netuid, alpha)?;
        Self::deposit_event(Event::StakeAdded(
            to.coldkey.clone(),
            to.hotkey.clone(),
            TaoBalance(amount),
            alpha,
            to.netuid,
            fee,
        ));
        Ok(alpha)
    }

    pub(super) fn do_remove_stake(
        from: &Position<T::AccountId>,
        wanted: AlphaBalance,
        limit: Option<Limit>,
    ) -> DispatchResult {
        let market = Self::market(from.netuid);
        ensure!(NetworksAdded::<T>::get(from.netuid), Error::<T>::SubnetNotExists);
        ensure!(wanted > AlphaBalance::ZERO, Error::<T>::AmountTooLow);
        let staked = Self::stake_of(&from.hotkey, &from.coldkey, from.netuid);
        ensure!(wanted <= staked, Error::<T>::NotEnoughStakeToWithdraw);
        Self::ensure_free(from, wanted)?;
        let most = limit.map_or(u64::MAX, |limit| market.most_to_sell(limit.price));
        let amount = AlphaBalance(Self::limited(wanted.0, most, limit)?);
        let worth = market.sell(amount.0).ok_or(Error::<T>::InsufficientLiquidity)?.out;
        ensure!(amount == staked || worth >= MIN_STAKE, Error::<T>::AmountTooLow);
        ensure!(Owner::<T>::contains_key(&from.hotkey), Error::<T>::HotKeyAccountNotExists);
        Self::take_alpha(&from.hotkey, &from.coldkey, from.netuid, amount)?;
        let (tao, fee) = Self::sell_alpha(from.netuid, amount)?;
        T::Currency::mint_into(&from.coldkey, tao.0)?;
        Self::deposit_event(Event::StakeRemoved(
            from.coldkey.clone(),
            from.hotkey.clone(),
            tao,
            amount,
            from.netuid,
            fee,
        ));
        Ok(())
    }

    /// Moves alpha from one position to another, through both pools where the subnets differ. Returns its worth in TAO.
    pub(super) fn do_move_stake(
        from: &Position<T::AccountId>,
        to: &Position<T::AccountId>,
        amount: AlphaBalance,
    ) -> Result<TaoBalance, sp_runtime::DispatchError> {
        ensure!(from != to, Error::<T>::SameNetuid);
        for netuid in [from.netuid, to.netuid] {
            ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        }
        for netuid in [from.netuid, to.netuid] {
            ensure!(Self::is_staking_open(netuid), Error::<T>::SubtokenDisabled);
        }
        for hotkey in [&from.hotkey, &to.hotkey] {
            ensure!(Owner::<T>::contains_key(hotkey), Error::<T>::HotKeyAccountNotExists);
        }
        ensure!(amount > AlphaBalance::ZERO, Error::<T>::AmountTooLow);
        let staked = Self::stake_of(&from.hotkey, &from.coldkey, from.netuid);
        ensure!(amount <= staked, Error::<T>::NotEnoughStakeToWithdraw);
        Self::ensure_free(from, amount)?;
        let worth = Self::market(from.netuid).sell(amount.0).ok_or(Error::<T>::InsufficientLiquidity)?.out;
        ensure!(from.netuid == to.netuid || worth >= MIN_STAKE, Error::<T>::AmountTooLow);
        if from.coldkey != to.coldkey {
            for netuid in [from.netuid, to.netuid] {
                ensure!(TransferToggle::<T>::get(netuid), Error::<T>::TransferDisallowed);
            }
        }
        Self::take_alpha(&from.hotkey, &from.coldkey, from.netuid, amount)?;
        if from.netuid == to.netuid {
            Self::add_alpha(&to.hotkey, &to.coldkey, to.netuid, amount)?;
            return Ok(TaoBalance(worth));
        }
        let (tao, _) = Self::sell_alpha(from.netuid, amount)?;
        let (alpha, _) = Self::buy_alpha(to.netuid, tao.0)?;
        Self::add_alpha(&to.hotkey, &to.coldkey, to.netuid, alpha)?;
        Ok(tao)
    }

    fn is_staking_open(netuid: NetUid) -> bool {
        netuid.is_root() || SubtokenEnabled::<T>::get(netuid)
    }

    /// Puts TAO that has left the balances into the pool, for alpha. Returns the alpha and the fee in TAO.
    pub(super) fn buy_alpha(netuid: NetUid, tao: u64) -> Result<(AlphaBalance, u64), Error<T>> {
        let market = Self::market(netuid);
        let trade = market.buy(tao).ok_or(Error::<T>::InsufficientLiquidity)?;
        if let Market::Pool { tao: held, .. } = market {
            ensure!(tao <= held.saturating_mul(MOST_OF_POOL), Error::<T>::InsufficientLiquidity);
            SubnetAlphaIn::<T>::mutate(netuid, |alpha| {
                *alpha = alpha.saturating_sub(AlphaBalance(trade.out))
            });
        }
        SubnetAlphaOut::<T>::mutate(netuid, |out| *out = out.saturating_add(AlphaBalance(trade.out)));
        Self::grow_pool(netuid, TaoBalance(tao));
        SubnetVolume::<T>::mutate(netuid, |volume| *volume = volume.saturating_add(u128::from(tao)));
        Self::record_flow(netuid, i128::from(tao));
        Ok((AlphaBalance(trade.out), trade.fee))
    }

    /// Puts alpha that has left its position into the pool. Returns the TAO that left the pool, which the caller must
    /// put somewhere, and the fee in alpha.
    fn sell_alpha(netuid: NetUid, alpha: AlphaBalance) -> Result<(TaoBalance, u64), Error<T>> {
        let market = Self::market(netuid);
        let trade = market.sell(alpha.0).ok_or(Error::<T>::InsufficientLiquidity)?;
        if let Market::Pool { .. } = market {
            SubnetAlphaIn::<T>::mutate(netuid, |held| *held = held.saturating_add(alpha));
        }
        SubnetAlphaOut::<T>::mutate(netuid, |out| *out = out.saturating_sub(alpha));
        let tao = TaoBalance(trade.out);
        SubnetTAO::<T>::mutate(netuid, |held| *held = held.saturating_sub(tao));
        TotalStake::<T>::mutate(|total| *total = total.saturating_sub(tao));
        SubnetVolume::<T>::mutate(netuid, |volume| *volume = volume.saturating_add(u128::from(trade.out)));
        Self::record_flow(netuid, -i128::from(trade.out));
        Ok((tao, trade.fee))
    }

    /// Adds TAO to a pool and to the total.
    pub(super) fn grow_pool(netuid: NetUid, tao: TaoBalance) {
        SubnetTAO::<T>::mutate(netuid, |held| *held = held.saturating_add(tao));
        TotalStake::<T>::mutate(|total| *total = total.saturating_add(tao));
    }

    /// Writes down what all TAO amounts to.
    pub fn settle_issuance() {
        let issuance = TaoBalance(T::Currency::total_issuance()).saturating_add(TotalStake::<T>::get());
        if TotalIssuance::<T>::get() != issuance {
            TotalIssuance::<T>::put(issuance);
        }
    }
}
