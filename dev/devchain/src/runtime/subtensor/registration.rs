//! Joining a subnet: the price and how it moves, uids, and who makes room when the subnet is full.
//!
//! The price falls by half every [`BurnHalfLife`] blocks and is multiplied by [`BurnIncreaseMult`] at each registration, within
//! [`MinBurn`] and [`MaxBurn`]: the newest runtimes' rule, in both profiles. What is paid buys alpha from the subnet's
//! pool, which is burnt. As in spec 365 a block of the legacy profile takes [`MaxRegistrationsPerBlock`] registrations and an
//! interval three times [`TargetRegistrationsPerInterval`]; intervals set no price here.

use frame_support::ensure;
use frame_support::pallet_prelude::DispatchResult;
use frame_support::traits::Get as _;
use frame_support::traits::fungible::{Inspect as _, Mutate as _};
use frame_support::traits::tokens::{Fortitude, Precision, Preservation};
use sp_core::U256;

use super::collateral::RegistrationPrice;
use super::info_types::FixedU128;
use super::pallet::*;
use super::stake::Position;
use super::weights::storage_index;
use crate::runtime::newtypes::{AlphaBalance, MechId, NetUid, PerU16, TaoBalance};

/// Validators on the root network.
const MAX_ROOT_VALIDATORS: u16 = 64;

/// The longest half-life of the price, in blocks.
pub(crate) const MAX_BURN_HALF_LIFE: u16 = 36_100;
/// Bounds of what a registration multiplies the price with: one to three, with 64 fractional bits.
pub(crate) const BURN_INCREASES: core::ops::RangeInclusive<u128> = 1 << 64..=3 << 64;

fn set_at<V: Clone>(values: &mut Vec<V>, uid: u16, value: V, filler: V) {
    let position = usize::from(uid);
    if values.len() <= position {
        values.resize(position + 1, filler);
    }
    if let Some(slot) = values.get_mut(position) {
        *slot = value;
    }
}

/// `base` to the power `exponent`, both bases with 32 fractional bits and below one.
fn power_q32(mut base: u64, mut exponent: u16) -> u64 {
    let mut result: u64 = 1 << 32;
    let times = |a: u64, b: u64| u64::try_from((u128::from(a) * u128::from(b)) >> 32).unwrap_or(u64::MAX);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = times(result, base);
        }
        exponent >>= 1;
        if exponent > 0 {
            base = times(base, base);
        }
    }
    result
}

/// The largest factor with 32 fractional bits that halves in `half_life` blocks.
fn decay_q32(half_life: u16) -> u64 {
    const HALF: u64 = 1 << 31;
    let (mut low, mut high) = (0u64, 1u64 << 32);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if power_q32(middle, half_life) > HALF { high = middle - 1 } else { low = middle }
    }
    low
}

/// The price after one block without a registration; a half-life of 0 keeps it.
#[must_use]
pub fn decayed(burn: u64, half_life: u16) -> u64 {
    if half_life == 0 {
        return burn;
    }
    u64::try_from((u128::from(burn) * u128::from(decay_q32(half_life))) >> 32).unwrap_or(u64::MAX)
}

/// The price after a registration.
#[must_use]
pub fn bumped(burn: u64, factor: FixedU128) -> u64 {
    let exact = (U256::from(burn) * U256::from(factor.bits)) >> 64;
    if exact > U256::from(u64::MAX) { u64::MAX } else { exact.low_u64() }
}

impl<T: Config> Pallet<T> {
    /// Lets the price of every subnet fall by one block, and ends intervals of registration.
    pub(super) fn decay_burns(subnets: &[NetUid]) {
        for netuid in subnets.iter().copied() {
            RegistrationsThisBlock::<T>::remove(netuid);
            if T::ModularEpochs::get() {
                Self::end_registration_interval(netuid);
            }
            let burn = Burn::<T>::get(netuid);
            if Self::block_now() > 1 {
                Self::set_burn(netuid, decayed(burn.0, BurnHalfLife::<T>::get(netuid)));
            }
        }
    }

    fn end_registration_interval(netuid: NetUid) {
        let now = Self::block_now();
        let length = u64::from(AdjustmentInterval::<T>::get(netuid));
        if now.saturating_sub(LastAdjustmentBlock::<T>::get(netuid)) >= length {
            LastAdjustmentBlock::<T>::insert(netuid, now);
            RegistrationsThisInterval::<T>::remove(netuid);
            BurnRegistrationsThisInterval::<T>::remove(netuid);
        }
    }

    /// Checks how many registrations there were in this block and interval; the newest runtimes do not ask.
    fn ensure_registration_limits(netuid: NetUid) -> Result<(), Error<T>> {
        if !T::ModularEpochs::get() {
            return Ok(());
        }
        let this_block = RegistrationsThisBlock::<T>::get(netuid);
        let most = MaxRegistrationsPerBlock::<T>::get(netuid);
        ensure!(this_block < most, Error::<T>::TooManyRegistrationsThisBlock);
        let this_interval = RegistrationsThisInterval::<T>::get(netuid);
        let most = TargetRegistrationsPerInterval::<T>::get(netuid).saturating_mul(3);
        ensure!(this_interval < most, Error::<T>::TooManyRegistrationsThisInterval);
        Ok(())
    }

    fn count_registration(netuid: NetUid) {
        RegistrationsThisBlock::<T>::mutate(netuid, |count| *count = count.saturating_add(1));
        if T::ModularEpochs::get() {
            RegistrationsThisInterval::<T>::mutate(netuid, |count| *count = count.saturating_add(1));
            BurnRegistrationsThisInterval::<T>::mutate(netuid, |count| *count = count.saturating_add(1));
        }
    }

    fn set_burn(netuid: NetUid, burn: u64) {
        let least = MinBurn::<T>::get(netuid).0;
        let within = TaoBalance(burn.min(MaxBurn::<T>::get(netuid).0).max(least));
        if within != Burn::<T>::get(netuid) {
            Burn::<T>::insert(netuid, within);
        }
    }

    pub(super) fn do_burned_register(
        coldkey: &T::AccountId,
        netuid: NetUid,
        hotkey: &T::AccountId,
    ) -> DispatchResult {
        ensure!(!netuid.is_root(), Error::<T>::RegistrationNotPermittedOnRootSubnet);
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        ensure!(NetworkRegistrationAllowed::<T>::get(netuid), Error::<T>::SubNetRegistrationDisabled);
        Self::ensure_registration_limits(netuid)?;
        ensure!(!Uids::<T>::contains_key(netuid, hotkey), Error::<T>::HotKeyAlreadyRegisteredInSubNet);
        let burn = Burn::<T>::get(netuid);
        let spendable = T::Currency::reducible_balance(coldkey, Preservation::Preserve, Fortitude::Polite);
        let at = Position { coldkey: coldkey.clone(), hotkey: hotkey.clone(), netuid };
        let price = Self::registration_price(&at, burn);
        ensure!(spendable >= price.whole().0, Error::<T>::NotEnoughBalanceToStake);
        Self::associate(coldkey, hotkey)?;
        let uid = Self::free_uid(netuid)?;
        Self::pay_registration(&at, price)?;
        Self::install_neuron(netuid, uid, hotkey, coldkey);
        Self::set_burn(netuid, bumped(burn.0, BurnIncreaseMult::<T>::get(netuid)));
        Self::count_registration(netuid);
        Self::deposit_event(Event::NeuronRegistered(netuid, uid, hotkey.clone()));
        Ok(())
    }

    pub(super) fn do_register_limit(
        coldkey: &T::AccountId,
        netuid: NetUid,
        hotkey: &T::AccountId,
        limit_price: u64,
    ) -> DispatchResult {
        ensure!(!netuid.is_root(), Error::<T>::RegistrationNotPermittedOnRootSubnet);
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        ensure!(Burn::<T>::get(netuid).0 <= limit_price, Error::<T>::RegistrationPriceLimitExceeded);
        Self::do_burned_register(coldkey, netuid, hotkey)
    }

    /// Takes the price from the coldkey. It buys alpha, of which the collateral's part is staked and locked and the rest is
    /// burnt. With collateral the purchase may move the price by 5 % at most.
    fn pay_registration(at: &Position<T::AccountId>, price: RegistrationPrice) -> DispatchResult {
        let paid = price.whole();
        RAORecycledForRegistration::<T>::mutate(at.netuid, |sum| *sum = sum.saturating_add(price.burnt));
        if paid == TaoBalance::ZERO {
            Self::lock_at_registration(at, AlphaBalance::ZERO)?;
            return Ok(());
        }
        if price.locked > TaoBalance::ZERO {
            let market = Self::market(at.netuid);
            let most = market.most_to_buy(market.price().saturating_mul(105) / 100);
            ensure!(paid.0 <= most, Error::<T>::SlippageTooHigh);
        }
        T::Currency::burn_from(
            &at.coldkey,
            paid.0,
            Preservation::Preserve,
            Precision::Exact,
            Fortitude::Polite,
        )?;
        // A price too small for any alpha still goes to the pool.
        let Ok((alpha, fee)) = Self::buy_alpha(at.netuid, paid.0) else {
            Self::grow_pool(at.netuid, paid);
            return Ok(());
        };
        let locked = u128::from(alpha.0) * u128::from(price.locked.0) / u128::from(paid.0);
        let locked = AlphaBalance(u64::try_from(locked).unwrap_or(u64::MAX));
        SubnetAlphaOut::<T>::mutate(at.netuid, |out| *out = out.saturating_sub(alpha.saturating_sub(locked)));
        if locked > AlphaBalance::ZERO {
            Self::add_alpha(&at.hotkey, &at.coldkey, at.netuid, locked)?;
            let (coldkey, hotkey) = (at.coldkey.clone(), at.hotkey.clone());
            Self::deposit_event(Event::StakeAdded(coldkey, hotkey, price.locked, locked, at.netuid, fee));
        }
        Self::lock_at_registration(at, locked)?;
        Ok(())
    }

    pub(super) fn do_root_register(coldkey: &T::AccountId, hotkey: &T::AccountId) -> DispatchResult {
        let netuid = NetUid::ROOT;
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::RootNetworkDoesNotExist);
        ensure!(!Uids::<T>::contains_key(netuid, hotkey), Error::<T>::HotKeyAlreadyRegisteredInSubNet);
        Self::associate(coldkey, hotkey)?;
        let neurons = SubnetworkN::<T>::get(netuid);
        let uid = if neurons < MAX_ROOT_VALIDATORS {
            neurons
        } else {
            let stake = |uid: &u16| TotalHotkeyAlpha::<T>::get(Keys::<T>::get(netuid, uid), netuid);
            let lowest = (0..neurons).min_by_key(stake).ok_or(Error::<T>::NoNeuronIdAvailable)?;
            let stakes_more = TotalHotkeyAlpha::<T>::get(hotkey, netuid) > stake(&lowest);
            ensure!(stakes_more, Error::<T>::StakeTooLowForRoot);
            lowest
        };
        Self::install_neuron(netuid, uid, hotkey, coldkey);
        let take = Delegates::<T>::get(hotkey);
        Delegates::<T>::insert(hotkey, take);
        Self::deposit_event(Event::NeuronRegistered(netuid, uid, hotkey.clone()));
        Ok(())
    }

    /// The next uid, or that of who must make room: the lowest emission, of equal ones the oldest registration, then the
    /// lowest uid. Immune neurons go only where too few others are left; the owner's never.
    fn free_uid(netuid: NetUid) -> Result<u16, Error<T>> {
        let neurons = SubnetworkN::<T>::get(netuid);
        let most = MaxAllowedUids::<T>::get(netuid);
        ensure!(most != 0, Error::<T>::NoNeuronIdAvailable);
        if neurons < most {
            return Ok(neurons);
        }
        let now = Self::block_now();
        let immunity = u64::from(ImmunityPeriod::<T>::get(netuid));
        let emission = Emission::<T>::get(netuid);
        let immortal = Self::immortal_uids(netuid);
        let (immune, others): (Vec<_>, Vec<_>) = (0..neurons)
            .filter(|uid| !immortal.contains(uid))
            .map(|uid| {
                let earned = emission.get(usize::from(uid)).copied().unwrap_or(AlphaBalance::ZERO);
                (earned, BlockAtRegistration::<T>::get(netuid, uid), uid)
            })
            .partition(|(_, registered, _)| now.saturating_sub(*registered) < immunity);
        let enough_others = others.len() > usize::from(MinNonImmuneUids::<T>::get(netuid));
        let candidate = others.into_iter().min().filter(|_| enough_others).or(immune.into_iter().min());
        candidate.map(|(_, _, uid)| uid).ok_or(Error::<T>::NoNeuronIdAvailable)
    }

    /// The uids that are never replaced: the owner's hotkey, then the owner coldkey's oldest, up to the limit; the
    /// owner's hotkey always.
    fn immortal_uids(netuid: NetUid) -> Vec<u16> {
        let owner = SubnetOwnerHotkey::<T>::get(netuid);
        let owned = OwnedHotkeys::<T>::get(SubnetOwner::<T>::get(netuid));
        let mut uids: Vec<(bool, u64, u16)> = owned
            .iter()
            .chain(std::iter::once(&owner))
            .filter_map(|hotkey| {
                let uid = Uids::<T>::get(netuid, hotkey)?;
                Some((*hotkey != owner, BlockAtRegistration::<T>::get(netuid, uid), uid))
            })
            .collect();
        uids.sort_unstable();
        uids.dedup();
        uids.truncate(usize::from(ImmuneOwnerUidsLimit::<T>::get(netuid)).max(1));
        uids.into_iter().map(|(_, _, uid)| uid).collect()
    }

    /// Makes the coldkey the hotkey's owner, if it has none.
    ///
    /// # Errors
    /// It has another one.
    pub(super) fn associate(coldkey: &T::AccountId, hotkey: &T::AccountId) -> Result<(), Error<T>> {
        if Owner::<T>::contains_key(hotkey) {
            ensure!(Owner::<T>::get(hotkey) == *coldkey, Error::<T>::NonAssociatedColdKey);
            return Ok(());
        }
        // A hotkey needs no balance of its own to sign free calls; this is what keeps its nonce alive.
        frame_system::Pallet::<T>::inc_sufficients(hotkey);
        Owner::<T>::insert(hotkey, coldkey);
        OwnedHotkeys::<T>::mutate(coldkey, |owned| owned.push(hotkey.clone()));
        StakingHotkeys::<T>::mutate(coldkey, |hotkeys| {
            if !hotkeys.contains(hotkey) {
                hotkeys.push(hotkey.clone());
            }
        });
        Ok(())
    }

    /// Gives the uid to the hotkey, removing whoever held it. Registration counts as the uid's last update.
    pub(super) fn install_neuron(netuid: NetUid, uid: u16, hotkey: &T::AccountId, coldkey: &T::AccountId) {
        let now = Self::block_now();
        if uid < SubnetworkN::<T>::get(netuid) {
            Self::evict(netuid, uid);
        } else {
            SubnetworkN::<T>::insert(netuid, uid.saturating_add(1));
        }
        // Whoever calls has checked that the pair fits.
        let _ = Self::associate(coldkey, hotkey);
        Uids::<T>::insert(netuid, hotkey, uid);
        Keys::<T>::insert(netuid, uid, hotkey);
        IsNetworkMember::<T>::insert(hotkey, netuid, true);
        BlockAtRegistration::<T>::insert(netuid, uid, now);
        Active::<T>::mutate(netuid, |values| set_at(values, uid, true, false));
        ValidatorPermit::<T>::mutate(netuid, |values| set_at(values, uid, false, false));
        let nothing = PerU16::from_parts(0);
        Consensus::<T>::mutate(netuid, |values| set_at(values, uid, nothing, nothing));
        Dividends::<T>::mutate(netuid, |values| set_at(values, uid, nothing, nothing));
        ValidatorTrust::<T>::mutate(netuid, |values| set_at(values, uid, nothing, nothing));
        StakeWeight::<T>::mutate(netuid, |values| set_at(values, uid, 0, 0));
        Emission::<T>::mutate(netuid, |values| set_at(values, uid, AlphaBalance::ZERO, AlphaBalance::ZERO));
        if T::ModularEpochs::get() {
            Rank::<T>::mutate(netuid, |values| set_at(values, uid, 0, 0));
            Trust::<T>::mutate(netuid, |values| set_at(values, uid, 0, 0));
            PruningScores::<T>::mutate(netuid, |values| set_at(values, uid, 0, 0));
        }
        for mecid in 0..MechanismCountCurrent::<T>::get(netuid).0 {
            let index = storage_index(netuid, MechId(mecid));
            Incentive::<T>::mutate(index, |values| set_at(values, uid, nothing, nothing));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_halves_in_its_half_life_and_grows_by_its_factor() {
        for half_life in [1u16, 7, 360, 36_100] {
            let mut burn = 1_000_000_000_000u64;
            for _ in 0..half_life {
                burn = decayed(burn, half_life);
            }
            let error = burn.abs_diff(500_000_000_000);
            assert!(error < 500_000_000_000 / 1_000, "{burn} after {half_life} blocks");
        }
        assert_eq!(decayed(77, 0), 77);
        assert_eq!(bumped(1_000, FixedU128 { bits: 3 << 64 }), 3_000);
        assert_eq!(bumped(1_000_000, FixedU128 { bits: 23_242_897_532_874_035_200 }), 1_260_000);
        assert_eq!(bumped(u64::MAX, FixedU128 { bits: u128::MAX }), u64::MAX);
    }
}
