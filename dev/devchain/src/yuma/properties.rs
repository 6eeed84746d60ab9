//! Yuma's laws: it agrees with a plain computation in floats, does not depend on who has which uid, hands out the whole
//! or nothing, lets no minority pay a neuron, and survives whatever was stored.

use proptest::prelude::*;

use super::matrix::{Row, normalise_rows, weighted_median, weighted_medians};
use super::null::apportioned;
use super::oracle::{self, float};
use super::tests::rules;
use super::{Fixed, Neuron, Outcome, Rules, clip, null, run};

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
            exempts_owner: false,
        },
    )
}

/// How far the integers may be from the floats. Truncation loses below 2⁻³² a step; normalising small sums enlarges it.
const TOLERANCE: f64 = 1e-4;

/// What an attacker, an old runtime or a bug could have stored: numbers at their bounds, rows that name a uid twice or none
/// that exists.
fn hostile(size: usize) -> impl Strategy<Value = Neuron> {
    let bound = || prop::sample::select(vec![0, 1, 2, u64::MAX / 2, u64::MAX - 1, u64::MAX]);
    let last = u16::try_from(size).expect("small");
    let cell = (
        prop::sample::select(vec![0, last - 1, last, u16::MAX]),
        prop::sample::select(vec![0, 1, 32_767, u16::MAX]),
    );
    let row = proptest::collection::vec(cell, 0..12);
    (bound(), bound(), bound(), any::<bool>(), proptest::option::of(bound()), row.clone(), row).prop_map(
        |(stake, last_update, registered_at, permit, committed_at, weights, bonds)| Neuron {
            stake,
            last_update,
            registered_at,
            permit,
            committed_at,
            weights,
            bonds,
        },
    )
}

fn hostile_rules() -> impl Strategy<Value = Rules> {
    let wide = || prop::sample::select(vec![0, 1, 999_999, 1_000_000, u64::MAX - 1, u64::MAX]);
    let narrow = || prop::sample::select(vec![0, 1, 2, 32_767, u16::MAX]);
    let numbers = (wide(), wide(), wide(), wide(), wide());
    (numbers, (narrow(), narrow(), narrow()), proptest::option::of(narrow()), any::<bool>()).prop_map(
        |(numbers, (max_validators, kappa, bonds_penalty), owner, exempts_owner)| Rules {
            now: numbers.0,
            bonds_lapse_from: numbers.1,
            activity_cutoff: numbers.2,
            stake_threshold: numbers.3,
            bonds_moving_average: numbers.4,
            max_validators,
            kappa,
            bonds_penalty,
            owner,
            exempts_owner,
        },
    )
}

fn total(shares: &[Fixed]) -> u64 {
    shares.iter().map(|share| share.bits()).sum()
}

/// Shares of a whole that was divided `steps` times, each time losing less than a bit a neuron; or nothing at all.
fn is_whole_or_nothing(shares: &[Fixed], steps: u64) -> bool {
    let lost = Fixed::ONE.bits().checked_sub(total(shares));
    total(shares) == 0 || lost.is_some_and(|lost| lost <= steps * shares.len() as u64)
}

/// The neurons with other uids: `to[old]` is the new one.
fn renumbered(neurons: &[Neuron], to: &[u16]) -> Vec<Neuron> {
    let row = |row: &[(u16, u16)]| row.iter().map(|(uid, value)| (to[usize::from(*uid)], *value)).collect();
    let mut renumbered = vec![Neuron::default(); neurons.len()];
    for (neuron, to) in neurons.iter().zip(to) {
        renumbered[usize::from(*to)] =
            Neuron { weights: row(&neuron.weights), bonds: row(&neuron.bonds), ..neuron.clone() };
    }
    renumbered
}

/// The outcome with the new uids.
fn renumbered_outcome(outcome: &Outcome, to: &[u16]) -> Outcome {
    fn moved<V: Clone>(of: &[V], to: &[u16]) -> Vec<V> {
        let mut pairs: Vec<_> = to.iter().zip(of).collect();
        pairs.sort_by_key(|(to, _)| **to);
        pairs.into_iter().map(|(_, value)| value.clone()).collect()
    }
    let bonds = outcome.bonds.iter().map(|row| {
        let mut row: Vec<_> =
            row.as_ref()?.iter().map(|(uid, bond)| (to[usize::from(*uid)], *bond)).collect();
        row.sort_unstable();
        Some(row)
    });
    Outcome {
        active: moved(&outcome.active, to),
        permits: moved(&outcome.permits, to),
        stake: moved(&outcome.stake, to),
        consensus: moved(&outcome.consensus, to),
        incentive: moved(&outcome.incentive, to),
        dividends: moved(&outcome.dividends, to),
        validator_trust: moved(&outcome.validator_trust, to),
        trust: moved(&outcome.trust, to),
        bonds: moved(&bonds.collect::<Vec<_>>(), to),
        server_emission: moved(&outcome.server_emission, to),
        validator_emission: moved(&outcome.validator_emission, to),
        emission: moved(&outcome.emission, to),
    }
}

/// Rows of weights that each sum to one, with the voices of who set them.
fn voiced_rows() -> impl Strategy<Value = (Vec<Fixed>, Vec<Row>)> {
    let row = proptest::collection::vec(0u16..1_000, COLUMNS);
    proptest::collection::vec((1u64..1_000, row), 1..8).prop_map(|validators| {
        let voices = validators.iter().map(|(stake, _)| Fixed::from_bits(*stake)).collect();
        let cells =
            |row: &[u16]| (0u16..).zip(row).map(|(uid, value)| (uid, Fixed::from_u16(*value))).collect();
        let mut rows: Vec<Row> = validators.iter().map(|(_, row)| cells(row)).collect();
        normalise_rows(&mut rows);
        (voices, rows)
    })
}

const COLUMNS: usize = 5;

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
        }
        let permits = |outcome: &Outcome| outcome.permits.iter().filter(|permit| **permit).count();
        prop_assert!(permits(&null::run(&neurons, &rules)) <= 1);
        let outcome = run(&neurons, &rules);
        prop_assert!(permits(&outcome) <= usize::from(rules.max_validators));
        for (uid, neuron) in neurons.iter().enumerate() {
            prop_assert!(outcome.validator_trust[uid] == Fixed::ZERO || neuron.permit);
            prop_assert!(outcome.validator_trust[uid] <= Fixed::ONE);
        }
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
        claims in proptest::collection::vec(prop_oneof![any::<u32>().prop_map(u64::from), any::<u64>()], 1..40),
        budget in any::<u64>(),
    ) {
        let parts = apportioned(&claims, budget);
        let total: u128 = claims.iter().copied().map(u128::from).sum();
        let given: u128 = parts.iter().copied().map(u128::from).sum();
        prop_assert_eq!(given, if total == 0 { 0 } else { u128::from(budget) });
        for (claim, part) in claims.iter().zip(&parts) {
            let quotient = (u128::from(*claim) * u128::from(budget)).checked_div(total).unwrap_or(0);
            prop_assert!((quotient..=quotient + 1).contains(&u128::from(*part)));
        }
    }

    #[test]
    fn nobodys_share_hangs_on_uids(
        (neurons, to) in subnets().prop_flat_map(|neurons| {
            let uids: Vec<u16> = (0..u16::try_from(neurons.len()).expect("small")).collect();
            (Just(neurons), Just(uids).prop_shuffle())
        }),
        rules in ruled(),
        owner in proptest::option::of(any::<prop::sample::Index>()),
        exempts_owner in any::<bool>(),
    ) {
        let mut stakes: Vec<u64> = neurons.iter().map(|neuron| neuron.stake).filter(|stake| *stake > 0).collect();
        stakes.sort_unstable();
        // Of equal stakes the uid decides who has a permit.
        prop_assume!(stakes.windows(2).all(|pair| pair[0] < pair[1]));
        let owner = owner.map(|owner| u16::try_from(owner.index(neurons.len())).expect("small"));
        let rules = Rules { owner, exempts_owner, ..rules };
        let renamed = Rules { owner: owner.map(|owner| to[usize::from(owner)]), ..rules };
        let moved = renumbered(&neurons, &to);
        prop_assert_eq!(run(&moved, &renamed), renumbered_outcome(&run(&neurons, &rules), &to));
        prop_assert_eq!(null::run(&moved, &renamed), renumbered_outcome(&null::run(&neurons, &rules), &to));
    }

    #[test]
    fn shares_are_of_the_whole_or_nothing(neurons in subnets(), rules in ruled()) {
        for outcome in [run(&neurons, &rules), null::run(&neurons, &rules)] {
            for (name, shares, steps) in [
                ("stake", &outcome.stake, 1),
                ("incentive", &outcome.incentive, 1),
                ("dividends", &outcome.dividends, 1),
                ("emission", &outcome.emission, 4),
            ] {
                prop_assert!(is_whole_or_nothing(shares, steps), "{name}: {shares:?}");
            }
            let has_stake = total(&outcome.stake) > 0;
            prop_assert!(!has_stake || total(&outcome.emission) > 0, "where there is stake all is paid");
            let parts = total(&outcome.server_emission) + total(&outcome.validator_emission);
            prop_assert!(total(&outcome.emission).abs_diff(parts) <= 2 * neurons.len() as u64);
        }
    }

    #[test]
    fn a_minority_cannot_pay_whom_nobody_else_names_and_a_majority_can(
        stakes in proptest::collection::vec(1_000u64..1_000_000, 1..8), kappa in 1_000u16..64_000,
    ) {
        let target = u16::try_from(stakes.len()).expect("small");
        let friend = target + 1;
        let mut neurons: Vec<Neuron> = stakes
            .iter()
            .map(|stake| Neuron {
                stake: *stake,
                last_update: 2,
                permit: true,
                weights: vec![(target, 1)],
                ..Neuron::default()
            })
            .collect();
        neurons[0].weights = vec![(friend, u16::MAX)];
        neurons.extend([Neuron::default(), Neuron::default()]);
        let outcome = run(&neurons, &Rules { kappa, ..rules() });
        let (own, all) = (u128::from(stakes[0]), stakes.iter().copied().map(u128::from).sum::<u128>());
        let (voice, needed) = (own * 65_535 * 1_000_000, u128::from(kappa) * all * 1_000_000);
        // Nearer than a millionth the last bits of the shares decide.
        prop_assume!(voice.abs_diff(needed) > all * 65_535);
        let paid = outcome.incentive[usize::from(friend)] > Fixed::ZERO;
        prop_assert_eq!(paid, voice > needed);
        prop_assert_eq!(outcome.validator_trust[0] > Fixed::ZERO, paid, "and who tries it loses its trust");
    }

    #[test]
    fn who_asks_for_more_agreement_clips_more((voices, rows) in voiced_rows(), kappas in any::<(u16, u16)>()) {
        let agreed = |kappa| weighted_medians(&voices, &rows, COLUMNS, Fixed::from_share(kappa));
        let (loose, strict) = (agreed(kappas.0.min(kappas.1)), agreed(kappas.0.max(kappas.1)));
        prop_assert!(loose.iter().zip(&strict).all(|(loose, strict)| strict <= loose));
        let (loose, strict) = (clip(&rows, &loose), clip(&rows, &strict));
        for ((set, loose), strict) in rows.iter().zip(&loose).zip(&strict) {
            let of = |row: &Row, uid| row.iter().find(|(of, _)| *of == uid).map_or(Fixed::ZERO, |cell| cell.1);
            for (uid, set) in set {
                prop_assert!(of(strict, *uid) <= of(loose, *uid) && of(loose, *uid) <= *set);
            }
        }
    }

    #[test]
    fn a_higher_score_never_lowers_a_consensus_nor_moves_another(
        (voices, rows) in voiced_rows(), kappa in any::<u16>(), who in any::<prop::sample::Index>(),
        column in 0..COLUMNS, more in any::<u32>(),
    ) {
        let mut raised = rows.clone();
        let cell = &mut raised[who.index(rows.len())][column].1;
        *cell = cell.plus(Fixed::from_bits(more.into()));
        let of = |rows: &[Row]| weighted_medians(&voices, rows, COLUMNS, Fixed::from_share(kappa));
        let (before, mut after) = (of(&rows), of(&raised));
        prop_assert!(after[column] >= before[column]);
        after[column] = before[column];
        prop_assert_eq!(after, before);
    }

    #[test]
    fn whatever_is_stored_is_computed_without_a_panic_and_pays_no_more_than_there_is(
        neurons in (1usize..10).prop_flat_map(|size| proptest::collection::vec(hostile(size), size)),
        rules in hostile_rules(),
        emission in any::<u64>(),
    ) {
        for outcome in [run(&neurons, &rules), null::run(&neurons, &rules)] {
            for shares in [
                &outcome.stake,
                &outcome.incentive,
                &outcome.dividends,
                &outcome.emission,
                &outcome.server_emission,
                &outcome.validator_emission,
            ] {
                prop_assert_eq!(shares.len(), neurons.len());
                prop_assert!(total(shares) <= Fixed::ONE.bits());
            }
            prop_assert!(outcome.validator_trust.iter().all(|trust| *trust <= Fixed::ONE));
            let parts = [outcome.server_emission, outcome.validator_emission].concat();
            let claims: Vec<u64> = parts.iter().map(|share| share.bits()).collect();
            let given: u128 = apportioned(&claims, emission).into_iter().map(u128::from).sum();
            prop_assert!(given == 0 || given == u128::from(emission));
        }
    }
}
