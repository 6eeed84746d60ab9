//! Yuma against figures of the public chain's own tests, against a plain computation in floats, and in its laws.

use proptest::prelude::*;

use super::matrix::weighted_median;
use super::null::apportioned;
use super::{Fixed, Neuron, Rules, null, run};

fn rules() -> Rules {
    Rules {
        now: 2,
        bonds_lapse_from: u64::MAX,
        activity_cutoff: 5000,
        stake_threshold: 0,
        max_validators: 8,
        kappa: 32_767,
        bonds_moving_average: 900_000,
        bonds_penalty: u16::MAX,
        owner: None,
    }
}

const SERVED: [(u16, u16); 4] = [(4, 16_383), (5, 32_767), (6, 49_149), (7, 65_535)];

fn paid(shares: &[Fixed], emission: u64) -> Vec<u64> {
    shares.iter().map(|share| share.of(emission)).collect()
}

/// One epoch of the sequence: who sets which weights before it, and what it pays and stores.
struct Step {
    sets: Option<(usize, (u16, u16))>,
    validators: [u64; 4],
    servers: [u64; 4],
    /// The column of which `bonds` are the validators' entries.
    column: u16,
    bonds: [u16; 4],
}

const SHARED: [u64; 4] = [49_998_779, 100_000_610, 149_996_337, 200_004_272];
const ONE_SERVER: [u64; 4] = [0, 0, 0, 500_000_000];

/// The public chain's own test of bonds: four validators with stakes 1 to 4 and four servers. The validators withdraw one
/// after the other; the third comes back for the last server. Its printed emissions, to the rao, and its stored bonds.
#[rustfmt::skip]
const SEQUENCE: [Step; 8] = [
    Step { sets: None, validators: [49_999_998, 99_999_999, 150_000_000, 200_000_001], servers: SHARED, column: 4, bonds: [16_383, 32_767, 49_151, 65_535] },
    Step { sets: Some((0, (0, u16::MAX))), validators: [44_998_351, 101_110_561, 151_667_215, 202_223_870], servers: SHARED, column: 4, bonds: [14_582, 32_767, 49_151, 65_535] },
    Step { sets: Some((1, (1, u16::MAX))), validators: [40_496_805, 90_999_783, 157_929_636, 210_573_773], servers: SHARED, column: 4, bonds: [12_603, 28_321, 49_151, 65_535] },
    Step { sets: Some((2, (2, u16::MAX))), validators: [99_999_999, 199_999_999, 299_999_999, 399_999_999], servers: [0; 4], column: 7, bonds: [12_602, 28_320, 49_150, 65_535] },
    Step { sets: Some((2, (7, u16::MAX))), validators: [36_443_733, 81_898_628, 163_565_493, 218_092_144], servers: ONE_SERVER, column: 7, bonds: [10_951, 24_609, 49_150, 65_535] },
    Step { sets: None, validators: [32_799_427, 73_706_612, 168_638_129, 224_855_830], servers: ONE_SERVER, column: 7, bonds: [9_559, 21_482, 49_150, 65_535] },
    Step { sets: None, validators: [29_518_068, 66_336_137, 173_203_134, 230_942_659], servers: ONE_SERVER, column: 7, bonds: [8_376, 18_824, 49_150, 65_535] },
    Step { sets: None, validators: [26_565_175, 59_701_871, 177_311_856, 236_421_095], servers: ONE_SERVER, column: 7, bonds: [7_363, 16_549, 49_150, 65_535] },
];

fn four_validators_and_four_servers() -> Vec<Neuron> {
    (0..8u64)
        .map(|uid| Neuron {
            stake: if uid < 4 { uid + 1 } else { 0 },
            last_update: u64::from(uid < 4),
            permit: true,
            weights: if uid < 4 { SERVED.to_vec() } else { vec![] },
            ..Neuron::default()
        })
        .collect()
}

#[test]
fn a_sequence_of_epochs_pays_what_the_public_chain_prints() {
    let mut neurons = four_validators_and_four_servers();
    for (epoch, step) in SEQUENCE.into_iter().enumerate() {
        if let Some((uid, weight)) = step.sets {
            neurons[uid].weights = vec![weight];
        }
        let outcome = run(&neurons, &rules());
        let expected = [step.validators, step.servers].concat();
        assert_eq!(paid(&outcome.emission, 1_000_000_000), expected, "epoch {epoch}");
        for (neuron, row) in neurons.iter_mut().zip(outcome.bonds) {
            // Who has no stake has no permit any more, and no bonds.
            neuron.bonds = row.unwrap_or_default();
        }
        let bond =
            |neuron: &Neuron| neuron.bonds.iter().find(|(uid, _)| *uid == step.column).map(|(_, bond)| *bond);
        assert_eq!(neurons[..4].iter().filter_map(bond).collect::<Vec<_>>(), step.bonds, "epoch {epoch}");
        assert!(neurons.iter().all(|neuron| neuron.stake > 0 || neuron.bonds.is_empty()));
    }
}

#[test]
fn the_reported_scores_are_the_public_chains() {
    let neurons = four_validators_and_four_servers();
    let outcome = run(&neurons, &rules());
    let shown = |shares: &[Fixed]| -> Vec<String> {
        shares.iter().map(|share| format!("{:.10}", float(*share))).collect()
    };
    // Printed with ten digits, cut and not rounded in the source; the last digit may differ.
    for (share, printed) in outcome.incentive[4..].iter().zip([
        0.099_997_558_2,
        0.200_001_220_7,
        0.299_992_675_2,
        0.400_008_545_5,
    ]) {
        assert!((float(*share) - printed).abs() < 2e-10, "{:?}", shown(&outcome.incentive));
    }
    for (share, printed) in
        outcome.consensus[4..].iter().zip([0.099_997_558_4, 0.200_001_220_7, 0.299_992_675_4, 0.400_008_545])
    {
        assert!((float(*share) - printed).abs() < 2e-10, "{:?}", shown(&outcome.consensus));
    }
    assert_eq!(
        outcome.validator_trust.iter().map(|t| t.to_share()).collect::<Vec<_>>(),
        [65_534, 65_534, 65_534, 65_534, 0, 0, 0, 0]
    );
    assert_eq!(outcome.trust[4..], [Fixed::ONE; 4]);
}

#[test]
fn what_counts_is_masked() {
    let neuron = |stake, last_update, permit, weights: &[(u16, u16)]| Neuron {
        stake,
        last_update,
        registered_at: 1,
        permit,
        weights: weights.to_vec(),
        ..Neuron::default()
    };
    let base = [
        neuron(100, 10, true, &[(0, 65_535), (2, 65_535)]),
        neuron(1, 10, false, &[(3, 65_535)]),
        neuron(0, 1, false, &[]),
        neuron(0, 1, false, &[]),
    ];
    let of = |neurons: &[Neuron], rules: &Rules| -> Vec<u16> {
        run(neurons, rules).incentive.iter().map(|share| share.to_share()).collect()
    };
    let rules = Rules { now: 20, ..rules() };
    assert_eq!(
        of(&base, &rules),
        [0, 0, 65_535, 0],
        "its own weight and a row without a permit do not count"
    );
    let owner = Rules { owner: Some(0), ..rules };
    assert_eq!(of(&base, &owner), [32_767, 0, 32_767, 0], "the owner's own weight counts");
    let mut replaced = base.clone();
    replaced[2].registered_at = 10;
    assert_eq!(of(&replaced, &rules), [0; 4], "a weight on who came after it");
    let mut committed = base.clone();
    committed[0].committed_at = Some(5);
    committed[2].registered_at = 6;
    assert_eq!(of(&committed, &rules), [0; 4], "a commit older than who it is about");
    let late = Rules { now: 5011, ..rules };
    let outcome = run(&base, &late);
    assert_eq!((outcome.active[0], of(&base, &late)), (false, vec![0; 4]), "an inactive validator is silent");
    assert_eq!(outcome.validator_emission.iter().map(|s| s.to_share()).collect::<Vec<_>>()[0], 64_886);
}

#[test]
fn permits_go_to_most_stake_above_the_threshold() {
    let neurons: Vec<Neuron> =
        [0, 30, 10, 20, 30].into_iter().map(|stake| Neuron { stake, ..Neuron::default() }).collect();
    let rules = Rules { max_validators: 2, stake_threshold: 11, ..rules() };
    assert_eq!(run(&neurons, &rules).permits, [false, true, false, false, true]);
    let rules = Rules { max_validators: 1, ..rules };
    assert_eq!(run(&neurons, &rules).permits, [false, false, false, false, true], "of equals the higher uid");
}

#[test]
fn bonds_are_kept_while_a_permit_is_and_lapse_with_who_they_are_in() {
    let mut neurons = vec![
        Neuron {
            stake: 10,
            permit: true,
            last_update: 5,
            bonds: vec![(1, 65_535), (2, 65_535)],
            ..Neuron::default()
        },
        Neuron { registered_at: 4, ..Neuron::default() },
        Neuron::default(),
        Neuron { permit: true, bonds: vec![(2, 9)], ..Neuron::default() },
    ];
    let rules = Rules { bonds_lapse_from: 4, ..rules() };
    let bonds = run(&neurons, &rules).bonds;
    assert_eq!(bonds, [Some(vec![(2, 65_535)]), None, None, Some(vec![])]);
    neurons[1].registered_at = 3;
    assert_eq!(run(&neurons, &rules).bonds[0], Some(vec![(1, 65_535), (2, 65_535)]));
}

#[test]
fn null_consensus_lets_the_top_stake_decide_alone() {
    let neuron = |stake, weights: &[(u16, u16)]| Neuron {
        stake,
        last_update: 1,
        permit: stake > 0,
        weights: weights.to_vec(),
        ..Neuron::default()
    };
    let neurons = [
        neuron(300_000_000, &[(2, 3), (3, 1)]),
        neuron(100_000_000, &[(3, u16::MAX)]),
        neuron(0, &[]),
        neuron(0, &[]),
    ];
    let late = Rules { now: 6000, ..rules() };
    let outcome = null::run(&neurons, &late);
    assert_eq!(outcome.active, [false; 4]);
    assert_eq!(paid(&outcome.server_emission, 1_000_000), [0, 0, 375_000, 125_000]);
    assert_eq!(paid(&outcome.validator_emission, 1_000_000), [375_000, 125_000, 0, 0]);
    assert_eq!(outcome.bonds, [const { None }; 4]);
    let silent = [neuron(300_000_000, &[]), neurons[1].clone(), neurons[2].clone(), neurons[3].clone()];
    assert_eq!(paid(&null::run(&silent, &late).server_emission, 1_000_000), [125_000; 4], "all alike");
    let poor: Vec<Neuron> = (0..4).map(|_| neuron(0, &[])).collect();
    let outcome = null::run(&poor, &late);
    assert_eq!(paid(&outcome.server_emission, 1_000_000), [250_000; 4]);
    assert_eq!(paid(&outcome.validator_emission, 1_000_000), [0; 4]);
    assert_eq!(null::decider(&[neuron(5, &[]), neuron(5, &[])]), Some(0), "of equals the first");
    assert_eq!(null::run(&[], &late).incentive, []);
}

#[test]
fn an_empty_subnet_has_an_empty_outcome() {
    assert_eq!(run(&[], &rules()), super::Outcome::default());
}

#[expect(clippy::cast_precision_loss, reason = "the oracle computes in floats; 53 bits hold 33")]
fn float(share: Fixed) -> f64 {
    share.bits() as f64 / 4_294_967_296.0
}

/// Yuma in floats over dense matrices, written from the description and sharing nothing with the code under test.
mod oracle {
    use super::super::{Neuron, Rules};

    pub(super) struct Scores {
        pub(super) consensus: Vec<f64>,
        pub(super) incentive: Vec<f64>,
        pub(super) dividends: Vec<f64>,
        pub(super) emission: Vec<f64>,
        /// How near a median was to falling on another score.
        pub(super) margin: f64,
    }

    fn unit(values: &[f64]) -> Vec<f64> {
        let sum: f64 = values.iter().sum();
        values.iter().map(|value| if sum > 0.0 { value / sum } else { *value }).collect()
    }

    fn columns_to_one(matrix: &mut [Vec<f64>]) {
        for column in 0..matrix.len() {
            let sum: f64 = matrix.iter().map(|row| row[column]).sum();
            if sum > 0.0 {
                matrix.iter_mut().for_each(|row| row[column] /= sum);
            }
        }
    }

    fn median(voices: &[f64], column: &[f64], minority: f64, margin: &mut f64) -> f64 {
        let mut scores: Vec<f64> =
            column.iter().zip(voices).filter(|(_, voice)| **voice > 0.0).map(|(score, _)| *score).collect();
        scores.sort_by(f64::total_cmp);
        scores.dedup();
        let mut answer = None;
        for score in &scores {
            let below: f64 =
                column.iter().zip(voices).filter(|(other, _)| *other <= score).map(|(_, voice)| voice).sum();
            *margin = margin.min((below - minority).abs());
            if answer.is_none() && below > minority {
                answer = Some(*score);
            }
        }
        answer.or(scores.last().copied()).unwrap_or(0.0)
    }

    #[expect(clippy::cast_precision_loss, reason = "stakes here are far below 2^53")]
    pub(super) fn scores(neurons: &[Neuron], rules: &Rules) -> Scores {
        let size = neurons.len();
        let stake: Vec<f64> = neurons
            .iter()
            .map(|neuron| if neuron.stake >= rules.stake_threshold { neuron.stake as f64 } else { 0.0 })
            .collect();
        let stake = unit(&stake);
        let heard =
            |uid: usize| neurons[uid].permit && neurons[uid].last_update + rules.activity_cutoff >= rules.now;
        let voices =
            unit(&(0..size).map(|uid| if heard(uid) { stake[uid] } else { 0.0 }).collect::<Vec<_>>());
        let mut weights = vec![vec![0.0; size]; size];
        for (uid, neuron) in neurons.iter().enumerate() {
            for (target, weight) in &neuron.weights {
                let target = usize::from(*target);
                if neuron.permit && target != uid && neuron.last_update > neurons[target].registered_at {
                    weights[uid][target] = f64::from(*weight);
                }
            }
            weights[uid] = unit(&weights[uid]);
        }
        let mut margin = 1.0;
        let minority = 1.0 - f64::from(rules.kappa) / 65_535.0;
        let consensus: Vec<f64> = (0..size)
            .map(|target| {
                let column: Vec<f64> = weights.iter().map(|row| row[target]).collect();
                median(&voices, &column, minority, &mut margin)
            })
            .collect();
        let clipped: Vec<Vec<f64>> =
            weights.iter().map(|row| row.iter().zip(&consensus).map(|(w, c)| w.min(*c)).collect()).collect();
        let ranks: Vec<f64> =
            (0..size).map(|target| (0..size).map(|uid| voices[uid] * clipped[uid][target]).sum()).collect();
        let incentive = unit(&ranks);
        let penalty = f64::from(rules.bonds_penalty) / 65_535.0;
        let mut bought: Vec<Vec<f64>> = (0..size)
            .map(|uid| {
                (0..size)
                    .map(|j| voices[uid] * (weights[uid][j] * (1.0 - penalty) + clipped[uid][j] * penalty))
                    .collect()
            })
            .collect();
        columns_to_one(&mut bought);
        let mut bonds = vec![vec![0.0; size]; size];
        for (uid, neuron) in neurons.iter().enumerate() {
            for (target, bond) in &neuron.bonds {
                if neurons[usize::from(*target)].registered_at < rules.bonds_lapse_from {
                    bonds[uid][usize::from(*target)] = f64::from(*bond);
                }
            }
        }
        columns_to_one(&mut bonds);
        let keep = rules.bonds_moving_average as f64 / 1e6;
        for (row, fresh) in bonds.iter_mut().zip(&bought) {
            row.iter_mut().zip(fresh).for_each(|(old, new)| *old = keep * *old + (1.0 - keep) * new);
        }
        columns_to_one(&mut bonds);
        let dividends: Vec<f64> =
            bonds.iter().map(|row| row.iter().zip(&incentive).map(|(b, i)| b * i).sum()).collect();
        let dividends = unit(&dividends);
        let combined: Vec<f64> = incentive.iter().zip(&dividends).map(|(a, b)| a + b).collect();
        let emission = match combined.iter().sum::<f64>() {
            sum if sum > 0.0 => unit(&combined),
            _ if voices.iter().any(|voice| *voice > 0.0) => voices,
            _ => stake,
        };
        Scores { consensus, incentive, dividends, emission, margin }
    }
}

fn pairs(size: usize) -> impl Strategy<Value = Vec<(u16, u16)>> {
    proptest::collection::btree_map(0..u16::try_from(size).expect("small"), any::<u16>(), 0..=size)
        .prop_map(|pairs| pairs.into_iter().collect())
}

fn neuron(size: usize) -> impl Strategy<Value = Neuron> {
    // Shares below 2⁻³² are nothing to the integers, so no stake here is that small beside another.
    let stake = prop_oneof![Just(0), 1_000u64..1_000_000];
    (stake, 0u64..40, 0u64..40, prop::bool::weighted(0.8), pairs(size), pairs(size)).prop_map(
        |(stake, last_update, registered_at, permit, weights, bonds)| Neuron {
            stake,
            last_update,
            registered_at,
            permit,
            committed_at: None,
            weights,
            bonds,
        },
    )
}

fn subnets() -> impl Strategy<Value = Vec<Neuron>> {
    (1usize..16).prop_flat_map(|size| proptest::collection::vec(neuron(size), size))
}

fn ruled() -> impl Strategy<Value = Rules> {
    let bonds = (0u64..40, 0u64..=1_000_000, any::<u16>());
    (30u64..50, 0u64..40, 0u64..1_000, 0u16..10, 0u16..=65_000, bonds).prop_map(
        |(now, activity_cutoff, stake_threshold, max_validators, kappa, bonds)| Rules {
            now,
            bonds_lapse_from: bonds.0,
            activity_cutoff,
            stake_threshold,
            max_validators,
            kappa,
            bonds_moving_average: bonds.1,
            bonds_penalty: bonds.2,
            owner: None,
        },
    )
}

/// How far the integers may be from the floats. Truncation loses below 2⁻³² a step; normalising small sums enlarges it.
const TOLERANCE: f64 = 1e-4;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn integers_agree_with_floats(neurons in subnets(), rules in ruled()) {
        let expected = oracle::scores(&neurons, &rules);
        // Where a median hangs on the last bits of a sum of stakes, both answers are right.
        prop_assume!(expected.margin > 1e-6);
        let outcome = run(&neurons, &rules);
        for (name, shares, floats) in [
            ("consensus", &outcome.consensus, &expected.consensus),
            ("incentive", &outcome.incentive, &expected.incentive),
            ("dividends", &outcome.dividends, &expected.dividends),
            ("emission", &outcome.emission, &expected.emission),
        ] {
            for (uid, (share, expected)) in shares.iter().zip(floats).enumerate() {
                let difference = (float(*share) - expected).abs();
                prop_assert!(difference < TOLERANCE, "{name} of {uid}: {} not {expected}", float(*share));
            }
        }
    }

    #[test]
    fn nothing_is_paid_twice_and_only_permitted_validators_earn_dividends(
        neurons in subnets(), rules in ruled(), emission in any::<u64>(),
    ) {
        for outcome in [run(&neurons, &rules), null::run(&neurons, &rules)] {
            let total: u128 = outcome.emission.iter().map(|share| u128::from(share.of(emission))).sum();
            prop_assert!(total <= u128::from(emission));
            for lengths in [outcome.permits.len(), outcome.bonds.len(), outcome.validator_trust.len(), outcome.trust.len()] {
                prop_assert_eq!(lengths, neurons.len());
            }
            prop_assert!(outcome.permits.iter().filter(|permit| **permit).count() <= usize::from(rules.max_validators));
        }
        let outcome = run(&neurons, &rules);
        for (uid, neuron) in neurons.iter().enumerate() {
            prop_assert!(outcome.validator_trust[uid] == Fixed::ZERO || neuron.permit);
            prop_assert!(outcome.validator_trust[uid] <= Fixed::ONE);
        }
    }

    #[test]
    fn extremes_neither_overflow_nor_panic(
        mut neurons in subnets(), extreme in prop::sample::select(vec![0, 1, u64::MAX / 2, u64::MAX]),
    ) {
        for neuron in &mut neurons {
            (neuron.stake, neuron.last_update, neuron.registered_at) = (extreme, extreme, extreme.wrapping_add(1));
            neuron.weights.push((u16::MAX, u16::MAX));
            neuron.bonds.push((u16::MAX, u16::MAX));
        }
        let rules = Rules {
            now: extreme,
            bonds_lapse_from: extreme,
            activity_cutoff: extreme,
            stake_threshold: extreme,
            bonds_moving_average: extreme,
            kappa: u16::MAX,
            owner: Some(u16::MAX),
            ..rules()
        };
        prop_assert_eq!(run(&neurons, &rules).emission.len(), neurons.len());
        prop_assert_eq!(null::run(&neurons, &rules).emission.len(), neurons.len());
    }

    #[test]
    fn a_median_has_at_most_the_minority_below_it_and_more_than_it_up_to_it(
        entries in proptest::collection::vec((1u64..1_000, 0u64..20), 1..12), minority in 0u64..4_000,
    ) {
        let fixed = |(stake, score): &(u64, u64)| (Fixed::from_bits(*stake), Fixed::from_bits(*score));
        let mut given: Vec<_> = entries.iter().map(fixed).collect();
        let median = weighted_median(&mut given, Fixed::from_bits(minority)).bits();
        let stake_of = |belongs: &dyn Fn(u64) -> bool| -> u64 {
            entries.iter().filter(|(_, score)| belongs(*score)).map(|(stake, _)| stake).sum()
        };
        let largest = entries.iter().map(|(_, score)| *score).max();
        prop_assert!(stake_of(&|score| score < median) <= minority);
        prop_assert!(stake_of(&|score| score <= median) > minority || Some(median) == largest);
    }

    #[test]
    fn apportioning_gives_all_of_the_budget_and_each_its_quotient(
        shares in proptest::collection::vec(any::<u32>(), 1..40), budget in any::<u64>(),
    ) {
        let fixed: Vec<Fixed> = shares.iter().map(|share| Fixed::from_bits(u64::from(*share))).collect();
        let parts = apportioned(&fixed, budget);
        let total: u128 = shares.iter().copied().map(u128::from).sum();
        let given: u128 = parts.iter().copied().map(u128::from).sum();
        prop_assert_eq!(given, if total == 0 { 0 } else { u128::from(budget) });
        for (share, part) in shares.iter().zip(&parts) {
            let quotient = (u128::from(*share) * u128::from(budget)).checked_div(total).unwrap_or(0);
            prop_assert!((quotient..=quotient + 1).contains(&u128::from(*part)));
        }
    }
}
