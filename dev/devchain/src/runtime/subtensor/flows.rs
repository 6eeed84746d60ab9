//! The TAO that stakers move into and out of subnets, and its moving average over blocks.

use sp_core::U256;

use super::info_types::FixedI128;
use super::pallet::*;
use crate::runtime::newtypes::NetUid;

/// One, with 64 fractional bits.
const ONE: u128 = 1 << 64;

/// `bits` times a factor with 64 fractional bits and at most one, rounded towards zero.
fn scaled(bits: i128, factor: u128) -> i128 {
    let magnitude = ((U256::from(bits.unsigned_abs()) * U256::from(factor.min(ONE))) >> 64).low_u128();
    let magnitude = i128::try_from(magnitude).unwrap_or(i128::MAX);
    if bits < 0 { -magnitude } else { magnitude }
}

/// The next average, with 64 fractional bits, where a block's flow weighs `smoothing` of `i64::MAX`.
#[must_use]
pub fn averaged(average: i128, flow: i64, smoothing: u64) -> i128 {
    let weight = (u128::from(smoothing) << 64) / u128::from(i64::MAX.unsigned_abs());
    let weight = weight.min(ONE);
    scaled(average, ONE.saturating_sub(weight)).saturating_add(scaled(i128::from(flow) << 64, weight))
}

impl<T: Config> Pallet<T> {
    /// Notes TAO that went into a subnet's pool, or out of it if below zero.
    pub(super) fn record_flow(netuid: NetUid, tao: i128) {
        SubnetTaoFlow::<T>::mutate(netuid, |flow| {
            let sum = i128::from(*flow).saturating_add(tao);
            *flow = i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX });
        });
    }

    /// Takes the last block's flows into the averages.
    pub(super) fn average_flows(subnets: &[NetUid]) {
        let now = Self::block_now();
        let smoothing = FlowEmaSmoothingFactor::<T>::get();
        for netuid in subnets {
            let average = SubnetEmaTaoFlow::<T>::get(netuid).map_or(0, |(_, average)| average.bits);
            let bits = averaged(average, SubnetTaoFlow::<T>::take(netuid), smoothing);
            SubnetEmaTaoFlow::<T>::insert(netuid, (now, FixedI128 { bits }));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_average_follows_the_flow_by_its_weight() {
        let half = i64::MAX.unsigned_abs() / 2;
        let near = |bits: i128, whole: i128| ((bits >> 32) - (whole << 32)).abs() <= 1 << 16;
        assert!(near(averaged(0, 100, half), 50));
        assert!(near(averaged(100 << 64, -100, half), 0));
        assert_eq!(averaged(7 << 64, 3, 0), 7 << 64, "no weight changes nothing");
        assert_eq!(averaged(7 << 64, -3, u64::MAX), -(3 << 64), "no more than all of it");
    }

    proptest! {
        #[test]
        fn an_average_stays_between_what_it_was_and_the_flow(
            whole in any::<i64>(), flow in any::<i64>(), smoothing in any::<u64>(),
        ) {
            let old = i128::from(whole) << 64;
            let new = averaged(old, flow, smoothing);
            let (low, high) = (whole.min(flow), whole.max(flow));
            prop_assert!(new >= (i128::from(low) << 64) - 2 && new <= (i128::from(high) << 64) + 2);
        }
    }
}
