//! From scores to the weight vector, and to what the chain will make of it (RULES R5).

use std::collections::BTreeMap;

use basilica_types::{BasisPoints, Category, Ppm, Uid, Weight};

/// Sum of every weight vector.
pub const TOTAL: u16 = u16::MAX;

/// What one node brings: score × GPUs × multiplier. At most 10^10 per GPU.
pub fn node_points(score: BasisPoints, gpus: u32, multiplier: Ppm) -> u128 {
    u128::from(score.value()).saturating_mul(u128::from(gpus)).saturating_mul(u128::from(multiplier.value()))
}

/// What one miner's nodes of one category bring together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinerPoints {
    /// The miner.
    pub uid: Uid,
    /// Of which nodes.
    pub category: Category,
    /// Sum of [`node_points`]; may be zero.
    pub points: u128,
}

/// Why a configured split is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    /// The shares must add up to the whole.
    #[error("category shares sum to {0} basis points, expected 10000")]
    Sum(u32),
    /// A category may stand only once.
    #[error("category {0} is listed twice")]
    Duplicate(Category),
}

/// How the emission is split before anybody scores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    burn_uid: Uid,
    burn: Ppm,
    shares: BTreeMap<Category, BasisPoints>,
}

impl Allocation {
    /// A split: `burn` goes to `burn_uid`, the rest to the categories by share.
    pub fn new(
        burn_uid: Uid,
        burn: Ppm,
        shares: &[(Category, BasisPoints)],
    ) -> Result<Self, AllocationError> {
        let mut table = BTreeMap::new();
        for (category, share) in shares {
            if table.insert(*category, *share).is_some() {
                return Err(AllocationError::Duplicate(*category));
            }
        }
        let sum = table.values().fold(0u32, |sum, share| sum.saturating_add(u32::from(share.value())));
        if sum == 10_000 {
            Ok(Self { burn_uid, burn, shares: table })
        } else {
            Err(AllocationError::Sum(sum))
        }
    }

    /// Of what is not burnt; zero for a category that is not listed.
    pub fn share(&self, category: Category) -> BasisPoints {
        self.shares.get(&category).copied().unwrap_or(BasisPoints::ZERO)
    }
}

/// What somebody gets of the emission, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Who.
    pub uid: Uid,
    /// For nodes of which category; none: it is burnt.
    pub category: Option<Category>,
    /// What those nodes brought together; 0 of what is burnt.
    pub points: u128,
    /// What the nodes of all miners brought in this category.
    pub total: u128,
    /// Its share of the 65,535.
    pub weight: Weight,
}

/// The weight vector of these parts: in order of uid, no zeros.
pub fn vector(parts: &[Part]) -> Vec<(Uid, Weight)> {
    let mut weights: BTreeMap<Uid, u16> = BTreeMap::new();
    for part in parts {
        let weight = weights.entry(part.uid).or_insert(0);
        // The parts sum to the total, which is the greatest number of its type.
        *weight = weight.saturating_add(part.weight.0);
    }
    weights.into_iter().filter(|(_, weight)| *weight > 0).map(|(uid, weight)| (uid, Weight(weight))).collect()
}

/// The weight vector: in order of uid, no zeros, summing to 65,535 exactly. See [`divide`].
pub fn allocate(scores: &[MinerPoints], allocation: &Allocation) -> Vec<(Uid, Weight)> {
    vector(&divide(scores, allocation))
}

/// Who gets what: by category, then uid, what is burnt last. The weights sum to 65,535 exactly.
///
/// Burn first (rounded down), then categories by share, then miners inside a category by points, each by largest
/// remainder with ties to the earlier category and the lower uid. A category in which nobody has points burns.
pub fn divide(scores: &[MinerPoints], allocation: &Allocation) -> Vec<Part> {
    let total = u128::from(TOTAL);
    let burn_ppm = u128::from(allocation.burn.value());
    let burn_share =
        burn_ppm.saturating_mul(total).checked_div(u128::from(Ppm::ONE.value())).unwrap_or(total);
    let mut burnt = burn_share;
    let shares: Vec<u128> = allocation.shares.values().map(|s| u128::from(s.value())).collect();
    let per_category = largest_remainder(total.saturating_sub(burn_share), &shares);
    // Every part is at most the total, so the conversion cannot fail.
    let weight = |amount: u128| Weight(u16::try_from(amount).unwrap_or(TOTAL));
    let mut parts = Vec::new();
    for (category, amount) in allocation.shares.keys().zip(per_category) {
        let members = members_of(scores, *category);
        if members.is_empty() {
            burnt = burnt.saturating_add(amount);
            continue;
        }
        let points: Vec<u128> = members.values().copied().collect();
        let total = points.iter().fold(0u128, |sum, points| sum.saturating_add(*points));
        for ((uid, points), part) in members.into_iter().zip(largest_remainder(amount, &points)) {
            parts.push(Part { uid, category: Some(*category), points, total, weight: weight(part) });
        }
    }
    let burn = Part { uid: allocation.burn_uid, category: None, points: 0, total: 0, weight: weight(burnt) };
    parts.push(burn);
    parts
}

/// Points by uid of all miners with any in this category.
fn members_of(scores: &[MinerPoints], category: Category) -> BTreeMap<Uid, u128> {
    let mut members: BTreeMap<Uid, u128> = BTreeMap::new();
    for score in scores.iter().filter(|s| s.category == category && s.points > 0) {
        let points = members.entry(score.uid).or_insert(0);
        *points = points.saturating_add(score.points);
    }
    members
}

/// Splits `amount` in proportion to `parts` (Hare quota, largest remainder, ties to the earlier part).
///
/// The results sum to `amount`, unless all parts are zero: then all results are.
fn largest_remainder(amount: u128, parts: &[u128]) -> Vec<u128> {
    let whole = parts.iter().fold(0u128, |sum, part| sum.saturating_add(*part));
    if whole == 0 {
        return vec![0; parts.len()];
    }
    // `amount` is at most 65,535: products stay far below 2^128 for any sum of points that can occur (10^10 per GPU).
    let divided: Vec<(u128, u128)> = parts
        .iter()
        .map(|part| {
            let product = amount.saturating_mul(*part);
            (product.checked_div(whole).unwrap_or(0), product.checked_rem(whole).unwrap_or(0))
        })
        .collect();
    let given = divided.iter().fold(0u128, |sum, (quotient, _)| sum.saturating_add(*quotient));
    let left = usize::try_from(amount.saturating_sub(given)).unwrap_or(usize::MAX);
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(divided[*i].1), *i));
    let mut result: Vec<u128> = divided.into_iter().map(|(quotient, _)| quotient).collect();
    for i in order.into_iter().take(left) {
        result[i] = result[i].saturating_add(1);
    }
    result
}

/// Whether two vectors give everybody the same: order and zeros do not matter.
pub fn same_weights(a: &[(Uid, Weight)], b: &[(Uid, Weight)]) -> bool {
    let nonzero = |weights: &[(Uid, Weight)]| -> BTreeMap<Uid, Weight> {
        weights.iter().filter(|(_, weight)| weight.0 > 0).copied().collect()
    };
    nonzero(a) == nonzero(b)
}

/// What the chain stores for a submitted vector: scaled so that the greatest weight is 65,535, in the chain's truncated
/// 32-bit fixed point (RULES R5).
pub fn upscale(weights: &[(Uid, Weight)]) -> Vec<(Uid, Weight)> {
    let max = weights.iter().map(|(_, w)| w.0).max().unwrap_or(0);
    weights.iter().map(|(uid, weight)| (*uid, Weight(upscale_one(weight.0, max)))).collect()
}

fn upscale_one(value: u16, max: u16) -> u16 {
    const ONE: u64 = 1 << 32;
    const HALF: u64 = 1 << 31;
    if max == 0 {
        return value;
    }
    let (value, max, full) = (u64::from(value), u64::from(max), u64::from(u16::MAX));
    let fixed = if max > 32_768 {
        let ratio = full.saturating_mul(ONE).checked_div(max).unwrap_or(0);
        value.saturating_mul(ratio)
    } else {
        value.saturating_mul(full).saturating_mul(ONE).checked_div(max).unwrap_or(0)
    };
    u16::try_from(fixed.saturating_add(HALF) >> 32).unwrap_or(u16::MAX)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "test arithmetic over small constants")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(bp: u16) -> BasisPoints {
        BasisPoints::new(bp).unwrap()
    }

    fn split(burn_percent: u32, shares: &[(Category, u16)]) -> Allocation {
        let shares: Vec<_> = shares.iter().map(|(c, s)| (*c, share(*s))).collect();
        Allocation::new(Uid(204), Ppm::new(burn_percent * 10_000).unwrap(), &shares).unwrap()
    }

    fn miner(uid: u16, category: Category, points: u128) -> MinerPoints {
        MinerPoints { uid: Uid(uid), category, points }
    }

    fn sum(weights: &[(Uid, Weight)]) -> u32 {
        weights.iter().map(|(_, w)| u32::from(w.0)).sum()
    }

    #[test]
    fn the_seeds_example_burns_ninety_five_percent() {
        let weights = allocate(&[miner(1, Category::A100, 7)], &split(95, &[(Category::A100, 10_000)]));
        assert_eq!(weights, [(Uid(1), Weight(3_277)), (Uid(204), Weight(62_258))]);
    }

    #[test]
    fn empty_categories_burn_and_ties_go_to_the_lower_uid() {
        let shares = [(Category::H100, 5_000), (Category::B200, 5_000)];
        let scores = [miner(9, Category::H100, 5), miner(3, Category::H100, 5), miner(4, Category::B200, 0)];
        let weights = allocate(&scores, &split(0, &shares));
        // 65,535 splits into 32,768 (earlier category) and 32,767 (empty, burns).
        assert_eq!(weights, [(Uid(3), Weight(16_384)), (Uid(9), Weight(16_384)), (Uid(204), Weight(32_767))]);
    }

    #[test]
    fn a_burn_uid_that_also_mines_keeps_both() {
        let weights = allocate(&[miner(204, Category::H100, 1)], &split(50, &[(Category::H100, 10_000)]));
        assert_eq!(weights, [(Uid(204), Weight(65_535))]);
    }

    #[test]
    fn wrong_splits_are_refused() {
        let h100 = (Category::H100, share(10_000));
        assert_eq!(Allocation::new(Uid(0), Ppm::ZERO, &[]), Err(AllocationError::Sum(0)));
        assert_eq!(
            Allocation::new(Uid(0), Ppm::ZERO, &[h100, h100]),
            Err(AllocationError::Duplicate(Category::H100))
        );
    }

    #[test]
    fn upscaling_matches_values_worked_by_hand() {
        let up = |v: u16, max: u16| upscale_one(v, max);
        assert_eq!(up(65_535, 65_535), 65_535);
        assert_eq!(up(0, 65_535), 0);
        assert_eq!(up(1, 2), 32_768);
        assert_eq!(up(1, 3), 21_845);
        assert_eq!(up(3_277, 62_258), 3_449);
        // Truncation bites: r = floor(65535 * 2^32 / 40000) loses less than half a unit of the product.
        assert_eq!(up(40_000, 40_000), 65_535);
        assert_eq!(upscale(&[(Uid(1), Weight(0))]), [(Uid(1), Weight(0))]);
    }

    fn any_scores() -> impl Strategy<Value = Vec<MinerPoints>> {
        let one = (0u16..256, 0usize..5, prop_oneof![Just(0u128), 1u128..1_000_000_000_000_000])
            .prop_map(|(uid, category, points)| miner(uid, Category::ALL[category], points));
        proptest::collection::vec(one, 0..64)
    }

    fn any_split() -> impl Strategy<Value = Allocation> {
        (0u32..=100, 0u16..=10_000).prop_map(|(burn, first)| {
            split(burn, &[(Category::H100, first), (Category::A100, 10_000 - first)])
        })
    }

    proptest! {
        #[test]
        fn every_vector_sums_exactly_and_is_sorted(scores in any_scores(), split in any_split()) {
            let weights = allocate(&scores, &split);
            prop_assert_eq!(sum(&weights), 65_535);
            prop_assert!(weights.is_sorted_by(|a, b| a.0 < b.0));
            prop_assert!(weights.iter().all(|(_, w)| w.0 > 0));
        }

        #[test]
        fn what_is_burnt_is_the_burn_and_the_empty_categories_exactly(scores in any_scores(), burn in 0u32..=100, first in 0u16..=10_000) {
            let split = split(burn, &[(Category::H100, first), (Category::A100, 10_000 - first)]);
            let parts = divide(&scores, &split);
            prop_assert_eq!(parts.iter().map(|part| u32::from(part.weight.0)).sum::<u32>(), 65_535);
            let burnt = u32::from(parts.last().unwrap().weight.0);
            let floor = 65_535 * burn / 100;
            let earned = |category| scores.iter().any(|s| s.category == category && s.points > 0);
            let of = |category| parts.iter().filter(|p| p.category == Some(category)).map(|p| u32::from(p.weight.0)).sum::<u32>();
            for (category, share) in [(Category::H100, first), (Category::A100, 10_000 - first)] {
                let quota = (65_535 - floor) * u32::from(share);
                let got = if earned(category) { of(category) } else { 0 };
                prop_assert!(!earned(category) || got.abs_diff(quota / 10_000) <= 1, "{got} of a quota of {quota}/10000");
            }
            if earned(Category::H100) && earned(Category::A100) {
                prop_assert_eq!(burnt, floor, "exactly the burn");
            }
            if !earned(Category::H100) && !earned(Category::A100) {
                prop_assert_eq!(burnt, 65_535);
            }
            prop_assert_eq!(vector(&parts), allocate(&scores, &split));
        }

        #[test]
        fn a_part_tells_what_it_was_given_for(scores in any_scores(), split in any_split()) {
            for part in divide(&scores, &split) {
                let Some(category) = part.category else { continue };
                let of = |uid: Option<Uid>| scores.iter().filter(|s| s.category == category && uid.is_none_or(|uid| s.uid == uid)).map(|s| s.points).sum::<u128>();
                prop_assert_eq!((part.points, part.total), (of(Some(part.uid)), of(None)));
            }
        }

        #[test]
        fn order_of_scores_does_not_matter(scores in any_scores(), split in any_split(), seed: u64) {
            let mut shuffled = scores.clone();
            shuffled.sort_by_key(|s| (u64::from(s.uid.0) ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            prop_assert_eq!(allocate(&scores, &split), allocate(&shuffled, &split));
        }

        #[test]
        fn more_points_never_mean_less_weight(scores in any_scores(), split in any_split(), gain in 1u128..1_000_000) {
            prop_assume!(!scores.is_empty() && scores[0].uid != Uid(204));
            let weight_of = |weights: &[(Uid, Weight)]| {
                weights.iter().find(|(uid, _)| *uid == scores[0].uid).map_or(0, |(_, w)| w.0)
            };
            let mut more = scores.clone();
            more[0].points += gain;
            prop_assert!(weight_of(&allocate(&more, &split)) >= weight_of(&allocate(&scores, &split)));
        }

        #[test]
        fn upscaling_keeps_order_and_reaches_the_top(values in proptest::collection::vec(0u16.., 1..20)) {
            let weights: Vec<_> = (0u16..).map(Uid).zip(values.iter().copied().map(Weight)).collect();
            let up = upscale(&weights);
            if values.iter().any(|v| *v > 0) {
                prop_assert_eq!(up.iter().map(|(_, w)| w.0).max(), Some(65_535));
            }
            for (a, b) in weights.iter().zip(&up) {
                for (c, d) in weights.iter().zip(&up) {
                    prop_assert!(a.1 > c.1 || b.1 <= d.1);
                }
            }
        }
    }
}
