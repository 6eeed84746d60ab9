//! Collateral of miners: alpha that is staked like any other and cannot leave before what the neuron earns has released it.
//!
//! A subnet with a lock share takes that part of the price of registration as collateral in place of burning it. A position (a
//! coldkey on a hotkey of a subnet) can lock more of what it has staked, and can set a floor: above it every alpha
//! that the neuron earns releases [`CollateralDrainRatio`] of them, below it what is earned is locked instead. There is
//! no slashing and no other way out; a neuron that loses its uid keeps what it has locked, and pays less when it comes back.
//!
//! Where the public chain values what is locked at a moving average of the price, this chain takes the price of the block. Swaps of
//! keys, which carry collateral with them, are not here.

use frame_support::ensure;
use frame_support::pallet_prelude::DispatchResult;
use sp_core::U256;
use sp_runtime::DispatchError;

use super::info_types::{FixedU128, MinerCollateralState};
use super::market::UNIT;
use super::pallet::*;
use super::stake::{Limit, Position};
use crate::runtime::newtypes::{AlphaBalance, NetUid, TaoBalance};

/// The largest part of a registration's price that may become collateral, of 65,535: 95 %.
pub const MAX_LOCK_SHARE: u16 = 62_258;
/// The largest drain ratio: 10, with 64 fractional bits.
pub const MAX_DRAIN_RATIO: u128 = 10 << 64;
/// Hotkeys of a subnet on which one coldkey may have collateral.
pub const MAX_POSITIONS: u32 = 32;

/// `part` of `whole` times an amount, rounded down.
fn share(amount: u64, part: u64, whole: u64) -> u64 {
    let exact = u128::from(amount) * u128::from(part);
    u64::try_from(exact.checked_div(u128::from(whole)).unwrap_or(0)).unwrap_or(u64::MAX)
}

/// An amount times a ratio with 64 fractional bits, rounded down.
fn times(amount: u64, ratio: FixedU128) -> u64 {
    let exact = (U256::from(amount) * U256::from(ratio.bits)) >> 64;
    if exact > U256::from(u64::MAX) { u64::MAX } else { exact.low_u64() }
}

/// What earning `emission` makes of collateral, and how much of it is locked at once; at most `capturable`, the part that is
/// the owner's own.
#[must_use]
pub fn settled(
    mut state: MinerCollateralState,
    emission: AlphaBalance,
    capturable: AlphaBalance,
) -> (MinerCollateralState, AlphaBalance) {
    state.earned = state.earned.saturating_add(emission);
    if state.locked < state.min_locked {
        let captured = capturable.min(state.min_locked.saturating_sub(state.locked));
        state.locked = state.locked.saturating_add(captured);
        return (state, captured);
    }
    let release = AlphaBalance(times(emission.0, state.drain_ratio));
    let releasable = state.locked.saturating_sub(state.min_locked);
    state.locked = state.locked.saturating_sub(releasable.min(release));
    (state, AlphaBalance::ZERO)
}

/// What joining a subnet costs, in rao.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrationPrice {
    /// The part that is burnt.
    pub burnt: TaoBalance,
    /// The part that becomes collateral.
    pub locked: TaoBalance,
}

impl RegistrationPrice {
    /// Both parts.
    #[must_use]
    pub fn whole(self) -> TaoBalance {
        self.burnt.saturating_add(self.locked)
    }
}

impl<T: Config> Pallet<T> {
    fn collateral_at(at: &Position<T::AccountId>) -> Option<MinerCollateralState> {
        MinerCollateral::<T>::get((at.netuid, &at.hotkey, &at.coldkey))
    }

    /// Collateral before its first alpha, under the subnet's ratio of now.
    fn new_collateral(netuid: NetUid) -> MinerCollateralState {
        MinerCollateralState {
            drain_ratio: CollateralDrainRatio::<T>::get(netuid),
            ..MinerCollateralState::default()
        }
    }

    /// Writes a position's collateral, with the coldkey's sum and its list of positions.
    ///
    /// # Errors
    /// The coldkey has collateral on too many hotkeys of the subnet already.
    fn put_collateral(at: &Position<T::AccountId>, state: MinerCollateralState) -> Result<(), Error<T>> {
        let key = (at.netuid, &at.hotkey, &at.coldkey);
        let old = MinerCollateral::<T>::get(key);
        let before = old.as_ref().map_or(AlphaBalance::ZERO, |old| old.locked);
        let after = state.locked;
        if after == AlphaBalance::ZERO && state.min_locked == AlphaBalance::ZERO {
            MinerCollateral::<T>::remove(key);
            let mut hotkeys = ColdkeyCollateralHotkeys::<T>::get(at.netuid, &at.coldkey);
            hotkeys.retain(|hotkey| *hotkey != at.hotkey);
            match hotkeys.is_empty() {
                true => ColdkeyCollateralHotkeys::<T>::remove(at.netuid, &at.coldkey),
                false => ColdkeyCollateralHotkeys::<T>::insert(at.netuid, &at.coldkey, hotkeys),
            }
        } else {
            if old.is_none() {
                ColdkeyCollateralHotkeys::<T>::try_mutate(at.netuid, &at.coldkey, |hotkeys| {
                    hotkeys.try_push(at.hotkey.clone())
                })
                .map_err(|_| Error::<T>::ColdkeyCollateralPositionsFull)?;
            }
            MinerCollateral::<T>::insert(key, state);
        }
        let sum = ColdkeyMinerCollateral::<T>::get(at.netuid, &at.coldkey);
        match sum.saturating_sub(before).saturating_add(after) {
            AlphaBalance::ZERO => ColdkeyMinerCollateral::<T>::remove(at.netuid, &at.coldkey),
            sum => ColdkeyMinerCollateral::<T>::insert(at.netuid, &at.coldkey, sum),
        }
        Ok(())
    }

    /// What a position has staked and not locked.
    fn free_stake(at: &Position<T::AccountId>) -> AlphaBalance {
        let locked = Self::collateral_at(at).map_or(AlphaBalance::ZERO, |state| state.locked);
        Self::stake_of(&at.hotkey, &at.coldkey, at.netuid).saturating_sub(locked)
    }

    /// Refuses what would take locked alpha out of a position.
    pub(super) fn ensure_free(at: &Position<T::AccountId>, amount: AlphaBalance) -> Result<(), Error<T>> {
        ensure!(amount <= Self::free_stake(at), Error::<T>::StakeUnavailable);
        Ok(())
    }

    /// Locks alpha that the position has staked, and tells so.
    fn lock(at: &Position<T::AccountId>, locked: AlphaBalance, renew_ratio: bool) -> Result<(), Error<T>> {
        let fresh = Self::new_collateral(at.netuid);
        let mut state = Self::collateral_at(at).unwrap_or_else(|| fresh.clone());
        state.locked = state.locked.saturating_add(locked);
        if renew_ratio {
            state.drain_ratio = fresh.drain_ratio;
        }
        let total_locked = state.locked;
        Self::put_collateral(at, state)?;
        let (netuid, hotkey) = (at.netuid, at.hotkey.clone());
        Self::deposit_event(Event::CollateralLocked { netuid, hotkey, locked, total_locked });
        Ok(())
    }

    /// What registering this pair costs: what it has locked already counts.
    pub(super) fn registration_price(at: &Position<T::AccountId>, burn: TaoBalance) -> RegistrationPrice {
        let part = CollateralLockShare::<T>::get(at.netuid);
        let required = TaoBalance(share(burn.0, u64::from(part), u64::from(u16::MAX)));
        let locked = Self::collateral_at(at).map_or(AlphaBalance::ZERO, |state| state.locked);
        let worth = TaoBalance(share(locked.0, Self::alpha_price(at.netuid).0, UNIT));
        RegistrationPrice { burnt: burn.saturating_sub(required), locked: required.saturating_sub(worth) }
    }

    /// Locks what a registration bought for its collateral. The ratio of the subnet holds from now on.
    pub(super) fn lock_at_registration(
        at: &Position<T::AccountId>,
        locked: AlphaBalance,
    ) -> Result<(), Error<T>> {
        if locked > AlphaBalance::ZERO {
            return Self::lock(at, locked, true);
        }
        match Self::collateral_at(at) {
            Some(state) => {
                let drain_ratio = CollateralDrainRatio::<T>::get(at.netuid);
                Self::put_collateral(at, MinerCollateralState { drain_ratio, ..state })
            }
            None => Ok(()),
        }
    }

    /// Takes what a neuron earned into its owner's collateral. Returns what is staked and locked by this, which is to be
    /// taken off what the owner gets.
    pub(super) fn settle_collateral(
        netuid: NetUid,
        hotkey: &T::AccountId,
        emission: AlphaBalance,
        capturable: AlphaBalance,
    ) -> AlphaBalance {
        let at = Position { coldkey: Owner::<T>::get(hotkey), hotkey: hotkey.clone(), netuid };
        let Some(state) = Self::collateral_at(&at).filter(|_| emission > AlphaBalance::ZERO) else {
            return AlphaBalance::ZERO;
        };
        let (state, captured) = settled(state, emission, capturable);
        if Self::add_alpha(hotkey, &at.coldkey, netuid, captured).is_err() {
            return AlphaBalance::ZERO;
        }
        // Only a new position can be refused.
        let _ = Self::put_collateral(&at, state);
        captured
    }

    fn ensure_own_miner(at: &Position<T::AccountId>) -> Result<(), Error<T>> {
        ensure!(Owner::<T>::contains_key(&at.hotkey), Error::<T>::HotKeyAccountNotExists);
        ensure!(Owner::<T>::get(&at.hotkey) == at.coldkey, Error::<T>::NonAssociatedColdKey);
        Ok(())
    }

    pub(super) fn do_add_collateral(
        at: &Position<T::AccountId>,
        alpha: AlphaBalance,
        limit_price: TaoBalance,
    ) -> DispatchResult {
        ensure!(!at.netuid.is_root(), Error::<T>::RegistrationNotPermittedOnRootSubnet);
        ensure!(NetworksAdded::<T>::get(at.netuid), Error::<T>::SubnetNotExists);
        ensure!(SubtokenEnabled::<T>::get(at.netuid), Error::<T>::SubtokenDisabled);
        Self::ensure_own_miner(at)?;
        ensure!(alpha > AlphaBalance::ZERO, Error::<T>::AmountTooLow);
        let from_stake = Self::free_stake(at).min(alpha);
        let bought = Self::buy_collateral(at, alpha.saturating_sub(from_stake), limit_price)?;
        Self::lock(at, from_stake.saturating_add(bought), false)?;
        Ok(())
    }

    /// Stakes TAO for alpha that is missing, at the price of now; what it gets is less by the fee and the slippage.
    fn buy_collateral(
        at: &Position<T::AccountId>,
        missing: AlphaBalance,
        limit_price: TaoBalance,
    ) -> Result<AlphaBalance, DispatchError> {
        if missing == AlphaBalance::ZERO {
            return Ok(AlphaBalance::ZERO);
        }
        let price = Self::alpha_price(at.netuid);
        ensure!(price > TaoBalance::ZERO, Error::<T>::InsufficientLiquidity);
        let tao = TaoBalance(share(missing.0, price.0, UNIT));
        let limit = Limit { price: limit_price.0, allow_partial: false };
        Self::stake_into(at, tao, Some(limit))
    }

    pub(super) fn do_set_min_collateral(
        at: &Position<T::AccountId>,
        min_locked: AlphaBalance,
    ) -> DispatchResult {
        ensure!(!at.netuid.is_root(), Error::<T>::RegistrationNotPermittedOnRootSubnet);
        ensure!(NetworksAdded::<T>::get(at.netuid), Error::<T>::SubnetNotExists);
        Self::ensure_own_miner(at)?;
        let state = Self::collateral_at(at).unwrap_or_else(|| Self::new_collateral(at.netuid));
        Self::put_collateral(at, MinerCollateralState { min_locked, ..state })?;
        let (netuid, hotkey) = (at.netuid, at.hotkey.clone());
        Self::deposit_event(Event::MinCollateralSet { netuid, hotkey, min_locked });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn collateral(locked: u64, min_locked: u64, drain_ratio: u128) -> MinerCollateralState {
        MinerCollateralState {
            locked: AlphaBalance(locked),
            min_locked: AlphaBalance(min_locked),
            drain_ratio: FixedU128 { bits: drain_ratio },
            earned: AlphaBalance(7),
        }
    }

    fn after(state: MinerCollateralState, emission: u64, capturable: u64) -> (u64, u64, u64) {
        let (state, captured) = settled(state, AlphaBalance(emission), AlphaBalance(capturable));
        (state.locked.0, captured.0, state.earned.0)
    }

    #[test]
    fn earning_releases_by_the_ratio_down_to_the_floor_and_fills_up_to_it() {
        let half = 1 << 63;
        assert_eq!(after(collateral(100, 0, half), 40, 40), (80, 0, 47), "half of what was earned");
        assert_eq!(after(collateral(100, 95, half), 40, 40), (95, 0, 47), "not below the floor");
        assert_eq!(after(collateral(100, 120, half), 40, 40), (120, 20, 47), "up to the floor");
        assert_eq!(after(collateral(100, 120, half), 40, 5), (105, 5, 47), "no more than the owner's own");
        assert_eq!(after(collateral(100, 0, u128::MAX), u64::MAX, 0), (0, 0, u64::MAX));
    }

    proptest! {
        #[test]
        fn what_is_captured_is_the_owners_and_a_floor_is_never_crossed(
            locked in any::<u64>(), floor in any::<u64>(), ratio in 1..=MAX_DRAIN_RATIO,
            emission in any::<u64>(), capturable in any::<u64>(),
        ) {
            let capturable = capturable.min(emission);
            let (now, captured, _) = after(collateral(locked, floor, ratio), emission, capturable);
            prop_assert!(captured <= capturable);
            if locked < floor {
                prop_assert_eq!(now, locked + captured);
                prop_assert!(now <= floor);
            } else {
                prop_assert!(captured == 0 && now <= locked && now >= floor);
            }
        }
    }
}
