//! What part of the miners' emission the weights on chain give to a uid: an estimate, in integers.
//!
//! Each validator's weights are taken as parts of their sum and weighted by its stake. The chain's consensus clips weights that most
//! stake does not share, and bonds follow with delay; where validators agree the estimate is what is paid.

use basilica_ports::{Metagraph, Neuron};
use basilica_types::{MechanismId, Ppm, Rao, Uid, Weight};

/// The first, and on most subnets the only one.
pub(super) const MECHANISM: MechanismId = MechanismId(0);
/// Validators that are read; those behind them have little to say.
const READ: usize = 16;

/// The validators with the most stake.
pub(super) fn heaviest(metagraph: &Metagraph) -> Vec<&Neuron> {
    let mut permitted: Vec<&Neuron> =
        metagraph.neurons.iter().filter(|neuron| neuron.validator_permit).collect();
    permitted.sort_by(|a, b| b.stake.cmp(&a.stake).then(a.uid.cmp(&b.uid)));
    permitted.truncate(READ);
    permitted
}

/// The share of `uid`, and how many validators it rests on; none if none of them has set weights.
pub(super) fn estimate(uid: Uid, rows: &[(Rao, Vec<(Uid, Weight)>)]) -> Option<(Ppm, u16)> {
    let (mut own, mut all, mut validators) = (0_u128, 0_u128, 0_u16);
    for (stake, weights) in rows {
        let sum: u128 = weights.iter().map(|(_, weight)| u128::from(weight.0)).sum();
        let given: u128 =
            weights.iter().filter(|(other, _)| *other == uid).map(|(_, weight)| u128::from(weight.0)).sum();
        let stake = u128::from(stake.0);
        if let Some(part) = (stake * given).checked_mul(1_000_000).and_then(|part| part.checked_div(sum)) {
            (own, all, validators) = (own + part, all + stake, validators.saturating_add(1));
        }
    }
    let share = own.checked_div(all)?;
    Ppm::new(u32::try_from(share).ok()?).ok().map(|share| (share, validators))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(stake: u64, weights: &[(u16, u16)]) -> (Rao, Vec<(Uid, Weight)>) {
        (Rao(stake), weights.iter().map(|(uid, weight)| (Uid(*uid), Weight(*weight))).collect())
    }

    fn share(rows: &[(Rao, Vec<(Uid, Weight)>)]) -> Option<(u32, u16)> {
        estimate(Uid(5), rows).map(|(share, validators)| (share.value(), validators))
    }

    #[test]
    fn weights_count_by_stake_and_as_parts_of_their_sum() {
        assert_eq!(share(&[row(1, &[(5, 65_535)])]), Some((1_000_000, 1)));
        assert_eq!(share(&[row(1, &[(5, 1), (6, 3)])]), Some((250_000, 1)));
        assert_eq!(share(&[row(3, &[(5, 1), (6, 3)]), row(1, &[(6, 9)])]), Some((187_500, 2)));
        assert_eq!(share(&[row(u64::MAX, &[(5, 65_535), (6, 65_535)])]), Some((500_000, 1)));
    }

    #[test]
    fn without_weights_there_is_no_estimate() {
        assert_eq!(share(&[]), None);
        assert_eq!(share(&[row(1, &[]), row(7, &[(5, 0)])]), None);
        assert_eq!(share(&[row(0, &[(5, 1)])]), None);
    }
}
