//! Null consensus: the holder of most stake decides alone, and has the only permit.
//!
//! Miners are paid by that one row of weights, equally where it says nothing that counts; validators by stake, active or
//! not. Bonds stay as they are, so that a subnet can go back. This follows the public chain's own tests of the
//! mode; amounts are whole rao handed out by largest remainder, so that nothing of an epoch's emission is lost.

use super::fixed::Fixed;
use super::matrix::{normalised, shares_of};
use super::{Neuron, Outcome, Rules, counted_stakes, stake_shares};

/// Runs an epoch of null consensus.
#[must_use]
pub fn run(neurons: &[Neuron], rules: &Rules) -> Outcome {
    let size = neurons.len();
    let counted = counted_stakes(neurons, rules);
    let winner = decider(&counted);
    let stake = stake_shares(&counted);
    let active: Vec<bool> = neurons
        .iter()
        .map(|neuron| neuron.last_update.saturating_add(rules.activity_cutoff) >= rules.now)
        .collect();
    let mut consensus = vec![Fixed::ZERO; size];
    if let Some(winner) = winner {
        for (target, weight) in rules.counted_row(winner, neurons) {
            if let Some(cell) = consensus.get_mut(usize::from(target)) {
                *cell = weight;
            }
        }
    }
    if consensus.iter().all(|weight| *weight == Fixed::ZERO) {
        consensus = vec![Fixed::ONE; size];
    }
    let consensus = normalised(&consensus);
    let halved = |shares: &[Fixed]| shares_of(shares, Fixed::from_u16(2));
    let has_stake = stake.iter().any(|share| *share > Fixed::ZERO);
    let (server_emission, validator_emission) =
        if has_stake { (halved(&consensus), halved(&stake)) } else { (consensus.clone(), stake.clone()) };
    let whole = vec![Fixed::ONE; size];
    Outcome {
        active,
        permits: (0..size).map(|uid| winner == Some(uid)).collect(),
        trust: whole,
        validator_trust: vec![Fixed::ZERO; size],
        bonds: vec![None; size],
        emission: server_emission.iter().zip(&validator_emission).map(|(a, b)| a.plus(*b)).collect(),
        server_emission,
        validator_emission,
        incentive: consensus.clone(),
        dividends: stake.clone(),
        consensus,
        stake,
    }
}

/// The uid with most stake, if there is any stake; of equal ones the lowest.
#[must_use]
pub fn decider(stakes: &[u64]) -> Option<usize> {
    let staked = stakes.iter().enumerate().filter(|(_, stake)| **stake > 0);
    staked.max_by_key(|(uid, stake)| (**stake, std::cmp::Reverse(*uid))).map(|(uid, _)| uid)
}

/// Hands out `budget` in whole units in proportion to `claims`: each its quotient rounded down, and what is left by
/// largest remainder, of equal ones to the lowest position. Nothing where the claims are all zero.
#[must_use]
pub fn apportioned(claims: &[u64], budget: u64) -> Vec<u64> {
    let total: u128 = claims.iter().copied().map(u128::from).sum();
    if total == 0 {
        return vec![0; claims.len()];
    }
    let exact = claims.iter().map(|claim| {
        let product = u128::from(*claim) * u128::from(budget);
        (u64::try_from(product / total).unwrap_or(u64::MAX), product % total)
    });
    let (mut parts, remainders): (Vec<u64>, Vec<u128>) = exact.unzip();
    let given: u128 = parts.iter().copied().map(u128::from).sum();
    let left = u128::from(budget).saturating_sub(given);
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by(|a, b| remainders[*b].cmp(&remainders[*a]).then(a.cmp(b)));
    for position in order.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        parts[position] = parts[position].saturating_add(1);
    }
    parts
}
