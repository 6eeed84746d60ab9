//! Yuma against figures of the public chain's own tests.

use super::oracle::float;
use super::{Fixed, Neuron, Rules, null, run};

pub(super) fn rules() -> Rules {
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
        exempts_owner: false,
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
    assert_eq!(outcome.permits, [true, false, false, false]);
    assert_eq!(paid(&outcome.server_emission, 1_000_000), [0, 0, 375_000, 125_000]);
    assert_eq!(paid(&outcome.validator_emission, 1_000_000), [375_000, 125_000, 0, 0]);
    assert_eq!(outcome.bonds, [const { None }; 4]);
    let silent = [neuron(300_000_000, &[]), neurons[1].clone(), neurons[2].clone(), neurons[3].clone()];
    assert_eq!(paid(&null::run(&silent, &late).server_emission, 1_000_000), [125_000; 4], "all alike");
    let poor: Vec<Neuron> = (0..4).map(|_| neuron(0, &[])).collect();
    let outcome = null::run(&poor, &late);
    assert_eq!(paid(&outcome.server_emission, 1_000_000), [250_000; 4]);
    assert_eq!(paid(&outcome.validator_emission, 1_000_000), [0; 4]);
    assert_eq!(null::decider(&[5, 5]), Some(0), "of equals the first");
    assert_eq!(outcome.permits, [false; 4], "nobody has most of nothing");
    assert_eq!(null::run(&[], &late).incentive, []);
    let overtaken = [neuron(300_000_000, &[]), neuron(400_000_000, &[(3, 1)])];
    let overtaken = [&overtaken[..], &neurons[2..]].concat();
    let outcome = null::run(&overtaken, &late);
    assert_eq!(outcome.permits, [false, true, false, false], "whoever has most now");
    assert_eq!(paid(&outcome.server_emission, 1_000_000), [0, 0, 0, 500_000]);
}

#[test]
fn the_newest_rule_counts_the_owners_stake_and_weights_whatever_it_has() {
    let neuron = |stake, permit, weights: &[(u16, u16)]| Neuron {
        stake,
        last_update: 1,
        permit,
        weights: weights.to_vec(),
        ..Neuron::default()
    };
    let neurons = [
        neuron(30, false, &[(2, 1)]),
        neuron(10, true, &[(3, 1)]),
        neuron(0, false, &[]),
        neuron(0, false, &[]),
    ];
    let older = Rules { owner: Some(0), stake_threshold: 10, max_validators: 1, ..rules() };
    let newest = Rules { exempts_owner: true, ..older };
    let shown = |outcome: &super::Outcome| -> (Vec<u16>, Vec<bool>) {
        (outcome.incentive.iter().map(|share| share.to_share()).collect(), outcome.permits.clone())
    };
    assert_eq!(shown(&run(&neurons, &older)), (vec![0, 0, 0, 65_535], vec![true, false, false, false]));
    assert_eq!(shown(&run(&neurons, &newest)), (vec![0, 0, 65_535, 0], vec![true, false, false, false]));
    let richer = Rules { stake_threshold: 31, ..newest };
    assert_eq!(run(&neurons, &Rules { stake_threshold: 31, ..older }).stake, [Fixed::ZERO; 4]);
    assert_eq!(run(&neurons, &richer).stake[0], Fixed::ONE, "below the threshold it counts");
    let mut poor = neurons;
    poor[0].stake = 0;
    assert_eq!(run(&poor, &newest).permits, [true, true, false, false], "a permit beside the others'");
    assert_eq!(
        null::run(&poor, &newest).permits,
        [false, true, false, false],
        "where there is one it is another's"
    );
}

#[test]
fn an_empty_subnet_has_an_empty_outcome() {
    assert_eq!(run(&[], &rules()), super::Outcome::default());
}
