//! Skipping 5 % of the work passes with a probability of at most 10⁻⁵: by the proof crate's bound, and by drawing real
//! openings.

use basilica_proof::ProofParams;
use basilica_proof::opening::{CellQuery, Query, queries};
use basilica_sim::chance::Chance;
use basilica_sim::exhibits::{challenge, is_skipped};
use basilica_sim::stats::clopper_pearson;
use basilica_sim::timing_model::class;
use basilica_types::Digest;
use basilica_verification::classes::CLASSES;

#[test]
fn skipping_a_twentieth_passes_with_at_most_one_in_100_000() {
    for class in CLASSES {
        let work = class.work(256).expect(class.name);
        assert!(work.evasion(0.05) <= 1e-5, "{}: {:e}", class.name, work.evasion(0.05));
    }
}

/// Real openings of a real challenge: of so many nonces, for how many is no skipped cell opened?
fn passing(one_in: u32, nonces: u64) -> u64 {
    let params = ProofParams::new(256, 64, 1, 256).expect("constants");
    let asked = challenge(1, params, false);
    let run = Digest::from_bytes([5; 32]);
    let mut chance = Chance::of("openings", &[u64::from(one_in)]);
    let mut passes = |_: &u64| {
        let hit = |query: &Query| match query {
            Query::Cell(CellQuery { leaf, cell, .. }) => is_skipped(one_in, *leaf, *cell),
            Query::Step(_) => false,
        };
        !queries(&asked, &run, &chance.bytes()).iter().any(hit)
    };
    (0..nonces).map(|nonce| u64::from(passes(&nonce))).sum()
}

#[test]
fn openings_miss_the_skipped_cells_as_seldom_as_the_bound_says() {
    // 5 %: two in a million are expected, so none or few of these.
    let nonces = 60_000;
    let interval = clopper_pearson(passing(20, nonces), nonces);
    assert!(interval.low <= 1e-5, "{interval:?}");
    // 1 %: common enough to hold the bound from both sides, to five standard deviations.
    let work = class("h100-sxm").work(256).expect("a row of the table");
    let (nonces, bound) = (20_000, work.evasion(0.01));
    let passed = passing(100, nonces);
    let expected = bound * 20_000.0;
    let off = (f64::from(u32::try_from(passed).expect("a count")) - expected).abs();
    assert!(off < 5.0 * (expected * (1.0 - bound)).sqrt(), "{passed} of {nonces}, and {expected} expected");
}
