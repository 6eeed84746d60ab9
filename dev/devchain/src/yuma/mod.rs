//! What an epoch computes, without the chain: permits, consensus, incentives, dividends, bonds and what each neuron is paid.
//!
//! [`run`] is Yuma consensus as the public chain computes it with its standard bonds: the stake-weighted median of what
//! validators say of a neuron is its consensus; what a validator says above that is clipped away; incentive follows what is left, and
//! dividends follow bonds, an average over epochs of what a validator bought of each neuron. Every number is a [`Fixed`] with 32
//! fractional bits that rounds down, in the public chain's order of operations, so that no float and no order of a
//! machine's threads can change a bit.
//! [`null::run`] is the newest runtimes' other form, in which the holder of most stake decides alone.
//!
//! Left out: liquid alpha and the third version of bonds (both are off by default on the public chain). A subnet's mechanisms
//! are an epoch each; the caller adds them up.

pub mod fixed;
mod matrix;
pub mod null;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use fixed::Fixed;
use matrix::{
    Row, divide_columns, fold_columns, join, normalise_rows, normalised, row_sums, scale_rows, shares_of,
    times_vector, weighted_medians,
};

/// What one neuron brings into an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Neuron {
    /// Stake weight in rao.
    pub stake: u64,
    /// The block of its last update; registration is one.
    pub last_update: u64,
    /// The block it was registered in.
    pub registered_at: u64,
    /// It may set weights since the last epoch.
    pub permit: bool,
    /// The earliest block of a commit of its weights that may still be revealed.
    pub committed_at: Option<u64>,
    /// The stored weights.
    pub weights: Vec<(u16, u16)>,
    /// The stored bonds.
    pub bonds: Vec<(u16, u16)>,
}

/// The numbers that rule an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The block the epoch runs in.
    pub now: u64,
    /// Bonds in neurons registered in this block or later lapse.
    pub bonds_lapse_from: u64,
    /// Blocks without an update after which a neuron is not active.
    pub activity_cutoff: u64,
    /// Least stake weight in rao that counts.
    pub stake_threshold: u64,
    /// Permits given.
    pub max_validators: u16,
    /// The share of stake, in parts of 65,535, that must support a weight.
    pub kappa: u16,
    /// How much of old bonds is kept, in parts of 1,000,000; more counts as all.
    pub bonds_moving_average: u64,
    /// How far bonds follow clipped weights instead of set ones, in parts of 65,535.
    pub bonds_penalty: u16,
    /// The owner's uid, if it has one: its weight on itself counts.
    pub owner: Option<u16>,
    /// The owner's stake counts below the threshold too, and it always has a permit: the newest runtimes' rule.
    pub exempts_owner: bool,
}

/// What an epoch leaves behind, one entry for each uid. Shares are of one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Updated its weights within the activity cutoff.
    pub active: Vec<bool>,
    /// May set weights until the next epoch.
    pub permits: Vec<bool>,
    /// Share of the stake that counts.
    pub stake: Vec<Fixed>,
    /// The weight that enough stake supports.
    pub consensus: Vec<Fixed>,
    /// Share of the miners' part.
    pub incentive: Vec<Fixed>,
    /// Share of the validators' part.
    pub dividends: Vec<Fixed>,
    /// How much of the validator's weights lies within the consensus.
    pub validator_trust: Vec<Fixed>,
    /// How much of what validators gave the neuron survived clipping.
    pub trust: Vec<Fixed>,
    /// The bonds to store: a row for those with a permit, an empty one for who lost it, `None` where nothing changes.
    pub bonds: Vec<Option<Vec<(u16, u16)>>>,
    /// Share of the epoch's emission earned as a miner.
    pub server_emission: Vec<Fixed>,
    /// Share of the epoch's emission earned as a validator.
    pub validator_emission: Vec<Fixed>,
    /// Both.
    pub emission: Vec<Fixed>,
}

/// The `limit` largest stakes that are not zero; of equal ones the higher uid, as the public chain sorts.
#[must_use]
pub fn top_stake(stakes: &[Fixed], limit: u16) -> Vec<bool> {
    let mut order: Vec<usize> = (0..stakes.len()).filter(|uid| stakes[*uid] > Fixed::ZERO).collect();
    order.sort_by(|a, b| stakes[*b].cmp(&stakes[*a]).then(b.cmp(a)));
    let mut permits = vec![false; stakes.len()];
    for uid in order.into_iter().take(usize::from(limit)) {
        permits[uid] = true;
    }
    permits
}

/// The stakes that reach the threshold, in rao; zero for others.
#[must_use]
pub fn counted_stakes(neurons: &[Neuron], rules: &Rules) -> Vec<u64> {
    neurons
        .iter()
        .enumerate()
        .map(|(uid, neuron)| {
            let counts = neuron.stake >= rules.stake_threshold || rules.exempted() == Some(uid);
            if counts { neuron.stake } else { 0 }
        })
        .collect()
}

/// The share of each stake in all of it.
#[must_use]
pub fn stake_shares(counted: &[u64]) -> Vec<Fixed> {
    let total: u128 = counted.iter().copied().map(u128::from).sum();
    counted.iter().map(|stake| Fixed::ratio(*stake, total)).collect()
}

impl Rules {
    /// The uid that needs neither stake nor rank for a permit.
    fn exempted(&self) -> Option<usize> {
        self.owner.filter(|_| self.exempts_owner).map(usize::from)
    }

    /// The permits with that of who always has one.
    fn with_exempted(&self, mut permits: Vec<bool>) -> Vec<bool> {
        if let Some(permit) = self.exempted().and_then(|uid| permits.get_mut(uid)) {
            *permit = true;
        }
        permits
    }

    /// The weights of a row that count: not its own (but the owner's), none on a neuron that came after it was last
    /// updated or after it was committed.
    fn counted_row(&self, uid: usize, neurons: &[Neuron]) -> Row {
        let neuron = &neurons[uid];
        neuron
            .weights
            .iter()
            .filter(|(target, _)| usize::from(*target) != uid || self.owner == Some(*target))
            .filter_map(|(target, weight)| {
                let registered = neurons.get(usize::from(*target))?.registered_at;
                let is_outdated = neuron.last_update <= registered
                    || neuron.committed_at.is_some_and(|committed| committed < registered);
                (!is_outdated).then_some((*target, Fixed::from_u16(*weight)))
            })
            .collect()
    }
}

/// Runs Yuma consensus over a subnet.
#[must_use]
pub fn run(neurons: &[Neuron], rules: &Rules) -> Outcome {
    let size = neurons.len();
    let stake = stake_shares(&counted_stakes(neurons, rules));
    let active: Vec<bool> = neurons
        .iter()
        .map(|neuron| neuron.last_update.saturating_add(rules.activity_cutoff) >= rules.now)
        .collect();
    let had_permit = rules.with_exempted(neurons.iter().map(|neuron| neuron.permit).collect());
    let permits = rules.with_exempted(top_stake(&stake, rules.max_validators));
    let voices: Vec<Fixed> =
        (0..size).map(|uid| if active[uid] && had_permit[uid] { stake[uid] } else { Fixed::ZERO }).collect();
    let voices = normalised(&voices);

    let mut weights: Vec<Row> = (0..size)
        .map(|uid| if had_permit[uid] { rules.counted_row(uid, neurons) } else { Row::new() })
        .collect();
    normalise_rows(&mut weights);
    let consensus = weighted_medians(&voices, &weights, size, Fixed::from_share(rules.kappa));
    let clipped = clip(&weights, &consensus);
    let before = fold_columns(&scale_rows(&weights, &voices), size, Fixed::plus);
    let ranks = fold_columns(&scale_rows(&clipped, &voices), size, Fixed::plus);
    let incentive = normalised(&ranks);
    let bought = interpolate(&weights, &clipped, size, Fixed::from_share(rules.bonds_penalty));
    let bonds = averaged_bonds(neurons, rules, &bought, &voices);
    let dividends = normalised(&times_vector(&bonds, &incentive));

    let mut outcome = Outcome {
        trust: ranks.iter().zip(&before).map(|(after, before)| after.over(*before)).collect(),
        validator_trust: row_sums(&clipped),
        bonds: stored_bonds(bonds, &permits, &had_permit),
        active,
        permits,
        consensus,
        incentive,
        dividends,
        ..Outcome::default()
    };
    split_emission(&mut outcome, &stake, &voices);
    outcome.stake = stake;
    outcome
}

/// The weights cut down to the consensus of the neuron they are about.
fn clip(weights: &[Row], consensus: &[Fixed]) -> Vec<Row> {
    weights
        .iter()
        .map(|row| {
            row.iter()
                .map(|(column, value)| {
                    (*column, (*value).min(consensus.get(usize::from(*column)).copied().unwrap_or_default()))
                })
                .filter(|(_, value)| *value > Fixed::ZERO)
                .collect()
        })
        .collect()
}

/// From the weights toward the clipped ones by `ratio`.
fn interpolate(weights: &[Row], clipped: &[Row], columns: usize, ratio: Fixed) -> Vec<Row> {
    match ratio {
        Fixed::ZERO => weights.to_vec(),
        Fixed::ONE => clipped.to_vec(),
        // Clipped weights are never above the set ones. The product of a negative difference rounds down on the public chain,
        // away from zero: so does this one.
        ratio => join(weights, clipped, columns, |set, clipped| {
            let exact = u128::from(set.minus(clipped).bits()) * u128::from(ratio.bits());
            set.minus(Fixed::from_bits(u64::try_from(exact.div_ceil(1 << 32)).unwrap_or(u64::MAX)))
        }),
    }
}

/// This epoch's bonds: of the old ones, those that did not lapse, averaged with what was bought now; columns sum to one.
fn averaged_bonds(neurons: &[Neuron], rules: &Rules, bought: &[Row], voices: &[Fixed]) -> Vec<Row> {
    let size = neurons.len();
    let mut old: Vec<Row> = neurons
        .iter()
        .map(|neuron| {
            neuron
                .bonds
                .iter()
                .filter(|(target, _)| {
                    let registered =
                        neurons.get(usize::from(*target)).map_or(0, |target| target.registered_at);
                    registered < rules.bonds_lapse_from
                })
                .map(|(target, bond)| (*target, Fixed::from_u16(*bond)))
                .collect()
        })
        .collect();
    normalise_columns(&mut old, size);
    let mut fresh = scale_rows(bought, voices);
    normalise_columns(&mut fresh, size);
    let keep = Fixed::ratio(rules.bonds_moving_average.min(1_000_000), 1_000_000);
    let take = Fixed::ONE.minus(keep);
    let mut averaged =
        join(&fresh, &old, size, |fresh, old| take.times(fresh).plus(Fixed::ONE.minus(take).times(old)));
    normalise_columns(&mut averaged, size);
    averaged
}

fn normalise_columns(rows: &mut [Row], columns: usize) {
    let sums = fold_columns(rows, columns, Fixed::plus);
    divide_columns(rows, &sums);
}

/// The bonds as they are stored: each column scaled so that its largest is the whole.
fn stored_bonds(mut bonds: Vec<Row>, permits: &[bool], had_permit: &[bool]) -> Vec<Option<Vec<(u16, u16)>>> {
    let largest = fold_columns(&bonds, permits.len(), Fixed::max);
    divide_columns(&mut bonds, &largest);
    bonds
        .into_iter()
        .zip(permits.iter().zip(had_permit))
        .map(|(row, (has, had))| match (has, had) {
            (true, _) => Some(row.into_iter().map(|(column, bond)| (column, bond.to_share())).collect()),
            (false, true) => Some(Vec::new()),
            (false, false) => None,
        })
        .collect()
}

/// Splits the epoch's emission by incentive and dividends; where there is neither, by the stake of who is active, or of all.
fn split_emission(outcome: &mut Outcome, stake: &[Fixed], voices: &[Fixed]) {
    let combined: Vec<Fixed> = outcome
        .incentive
        .iter()
        .zip(&outcome.dividends)
        .map(|(miner, validator)| miner.plus(*validator))
        .collect();
    let sum: Fixed = combined.iter().copied().sum();
    outcome.server_emission = shares_of(&outcome.incentive, sum);
    outcome.validator_emission = shares_of(&outcome.dividends, sum);
    outcome.emission = shares_of(&combined, sum);
    if sum == Fixed::ZERO {
        let has_voice = voices.iter().any(|voice| *voice > Fixed::ZERO);
        outcome.validator_emission = if has_voice { voices.to_vec() } else { stake.to_vec() };
        outcome.emission.clone_from(&outcome.validator_emission);
    }
}
