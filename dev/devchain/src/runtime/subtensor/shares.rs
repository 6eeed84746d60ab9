//! Who owns how much of what is staked on a hotkey: every coldkey has shares, and what the hotkey earns raises what a share is
//! worth.
//!
//! Alpha is never made or lost here by rounding: the total on the hotkey changes by exactly the amount, and a coldkey's part
//! is rounded down when it is read. Shares have 64 fractional bits, as on the public chain before its newest form of them.

use sp_core::U256;

use super::info_types::FixedU128;
use super::pallet::*;
use crate::runtime::newtypes::{AlphaBalance, NetUid};

fn narrow(wide: U256) -> u128 {
    if wide > U256::from(u128::MAX) { u128::MAX } else { wide.low_u128() }
}

/// The worth of `shares` where `all` shares are worth `alpha`, rounded down.
#[must_use]
pub fn worth(shares: u128, all: u128, alpha: u64) -> u64 {
    if all == 0 {
        return 0;
    }
    let exact = U256::from(shares.min(all)) * U256::from(alpha) / U256::from(all);
    exact.low_u64()
}

/// The shares that `amount` of alpha buys where `all` shares are worth `alpha`. `None` if it buys none, or more than fit.
#[must_use]
pub fn bought(amount: u64, all: u128, alpha: u64) -> Option<u128> {
    let shares = if all == 0 || alpha == 0 {
        u128::from(amount) << 64
    } else {
        let exact = U256::from(amount) * U256::from(all) / U256::from(alpha);
        if exact > U256::from(u128::MAX) {
            return None;
        }
        exact.low_u128()
    };
    (shares > 0 && all.checked_add(shares).is_some()).then_some(shares)
}

/// The shares that taking `amount` of alpha costs their owner, rounded up.
#[must_use]
pub fn sold(amount: u64, all: u128, alpha: u64) -> u128 {
    if alpha == 0 {
        return all;
    }
    let product = U256::from(amount) * U256::from(all);
    let alpha = U256::from(alpha);
    narrow(product / alpha + U256::from(u8::from(!(product % alpha).is_zero())))
}

impl<T: Config> Pallet<T> {
    /// What a coldkey has staked on a hotkey.
    #[must_use]
    pub fn stake_of(hotkey: &T::AccountId, coldkey: &T::AccountId, netuid: NetUid) -> AlphaBalance {
        let shares = Alpha::<T>::get((hotkey, coldkey, netuid)).bits;
        let all = TotalHotkeyShares::<T>::get(hotkey, netuid).bits;
        AlphaBalance(worth(shares, all, TotalHotkeyAlpha::<T>::get(hotkey, netuid).0))
    }

    /// Adds to what a coldkey has staked on a hotkey.
    ///
    /// # Errors
    /// The amount is too small or too large for the shares that exist.
    pub(super) fn add_alpha(
        hotkey: &T::AccountId,
        coldkey: &T::AccountId,
        netuid: NetUid,
        amount: AlphaBalance,
    ) -> Result<(), Error<T>> {
        if amount == AlphaBalance::ZERO {
            return Ok(());
        }
        let alpha = TotalHotkeyAlpha::<T>::get(hotkey, netuid).0;
        let all = TotalHotkeyShares::<T>::get(hotkey, netuid).bits;
        let shares = bought(amount.0, all, alpha).ok_or(Error::<T>::InsufficientLiquidity)?;
        let grown = alpha.checked_add(amount.0).ok_or(Error::<T>::InsufficientLiquidity)?;
        Alpha::<T>::mutate((hotkey, coldkey, netuid), |own| own.bits = own.bits.saturating_add(shares));
        TotalHotkeyShares::<T>::insert(hotkey, netuid, FixedU128 { bits: all.saturating_add(shares) });
        TotalHotkeyAlpha::<T>::insert(hotkey, netuid, AlphaBalance(grown));
        StakingHotkeys::<T>::mutate(coldkey, |hotkeys| {
            if !hotkeys.contains(hotkey) {
                hotkeys.push(hotkey.clone());
            }
        });
        Ok(())
    }

    /// Takes from what a coldkey has staked on a hotkey.
    ///
    /// # Errors
    /// It has not that much.
    pub(super) fn take_alpha(
        hotkey: &T::AccountId,
        coldkey: &T::AccountId,
        netuid: NetUid,
        amount: AlphaBalance,
    ) -> Result<(), Error<T>> {
        let staked = Self::stake_of(hotkey, coldkey, netuid);
        if amount > staked {
            return Err(Error::<T>::NotEnoughStakeToWithdraw);
        }
        let own = Alpha::<T>::get((hotkey, coldkey, netuid)).bits;
        let all = TotalHotkeyShares::<T>::get(hotkey, netuid).bits;
        let alpha = TotalHotkeyAlpha::<T>::get(hotkey, netuid);
        let cost = if amount == staked { own } else { sold(amount.0, all, alpha.0).min(own) };
        let (own, all) = (own.saturating_sub(cost), all.saturating_sub(cost));
        match own {
            0 => Alpha::<T>::remove((hotkey, coldkey, netuid)),
            bits => Alpha::<T>::insert((hotkey, coldkey, netuid), FixedU128 { bits }),
        }
        TotalHotkeyShares::<T>::insert(hotkey, netuid, FixedU128 { bits: all });
        TotalHotkeyAlpha::<T>::insert(hotkey, netuid, alpha.saturating_sub(amount));
        Ok(())
    }

    /// Gives to everybody who has staked on a hotkey, by their shares; to its owner where nobody has. Says whether it
    /// could.
    pub(super) fn reward_stakers(hotkey: &T::AccountId, netuid: NetUid, amount: AlphaBalance) -> bool {
        if TotalHotkeyShares::<T>::get(hotkey, netuid).bits == 0 {
            return Self::add_alpha(hotkey, &Owner::<T>::get(hotkey), netuid, amount).is_ok();
        }
        let grown = TotalHotkeyAlpha::<T>::get(hotkey, netuid).0.checked_add(amount.0);
        if let Some(grown) = grown {
            TotalHotkeyAlpha::<T>::insert(hotkey, netuid, AlphaBalance(grown));
        }
        grown.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holders_never_own_more_than_there_is_and_a_deposit_is_worth_itself(
            deposits in proptest::collection::vec(1u64..1_000_000_000_000_000, 1..10),
            rewards in proptest::collection::vec(0u64..1_000_000_000_000_000, 10),
        ) {
            let (mut all, mut alpha, mut own) = (0u128, 0u64, Vec::new());
            for (deposit, reward) in deposits.iter().zip(&rewards) {
                let shares = bought(*deposit, all, alpha).expect("fits");
                all += shares;
                alpha += deposit;
                let back = worth(shares, all, alpha);
                prop_assert!(back <= *deposit && back + 1 >= *deposit, "{back} of {deposit}");
                own.push(shares);
                alpha += reward;
            }
            let owned: u128 = own.iter().map(|shares| u128::from(worth(*shares, all, alpha))).sum();
            prop_assert!(owned <= u128::from(alpha) && owned + own.len() as u128 >= u128::from(alpha));
            for shares in own {
                let part = worth(shares, all, alpha);
                let cost = sold(part / 2, all, alpha).min(shares);
                prop_assert!(worth(shares - cost, all - cost, alpha - part / 2) <= part - part / 2 + 1);
            }
        }
    }
}
