use super::*;
use proptest::prelude::*;

/// A small generator for simulations: splitmix64 (Steele, Lea, Flood 2014).
struct Splitmix(u64);

impl Splitmix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn misses(&mut self, ppm: u32) -> bool {
        self.next() % PPM < u64::from(ppm)
    }
}

fn observed(missed: bool) -> Weighed {
    if missed { Weighed::Against(Control::Reachable) } else { Weighed::For }
}

#[test]
fn logarithms_are_right_to_a_thousandth_and_never_too_large() {
    let pairs = [(1, 1), (2, 1), (3, 2), (200_000, 1_000), (1_000_000, 1), (u64::MAX, 1), (999_000, 800_000)];
    let swept = (1..2_000u64).map(|i| (1_000_000 + i * 977 * i, 1_000_000 - i));
    for (over, under) in pairs.into_iter().chain(swept) {
        #[expect(clippy::cast_precision_loss, reason = "the reference is a float")]
        let exact = (over as f64 / under as f64).ln() * 1_000.0;
        let milli = f64::from(ln_milli(over, under));
        assert!(milli <= exact + 1e-6 && exact < milli + 1.0 + 1e-6, "ln({over}/{under}): {milli}, {exact}");
    }
}

#[test]
fn the_default_weights_are_these() {
    let weights = Weights::default();
    assert_eq!((weights.miss(), weights.met(), weights.reject()), (5_298, 223, 13_816));
    assert_eq!(weights.clear_after(), 31);
    let breaks = Tests::default().breaks;
    assert_eq!((breaks.miss(), breaks.met(), breaks.reject()), (3_688, 219, 13_816));
}

#[test]
fn rates_that_make_no_test_are_refused() {
    let good = Rates::default();
    for bad in [
        Rates { honest_miss_ppm: 0, ..good },
        Rates { honest_miss_ppm: 200_000, ..good },
        Rates { cheater_miss_ppm: 1_000_000, ..good },
    ] {
        assert!(matches!(bad.weights(), Err(RatesError::Misses { .. })), "{bad:?}");
    }
    for bad in [
        Rates { false_reject_ppb: 0, ..good },
        Rates { false_reject_ppb: 1_000_000_000, ..good },
        Rates { false_accept_ppm: 0, ..good },
        Rates { false_accept_ppm: 1_000_000, ..good },
    ] {
        assert!(matches!(bad.weights(), Err(RatesError::Errors { .. })), "{bad:?}");
    }
}

/// Ville's inequality needs that an honest observation does not raise the expected likelihood ratio.
fn assert_declared(rates: &Rates) {
    let weights = rates.weights().unwrap();
    let p0 = f64::from(rates.honest_miss_ppm) / 1e6;
    let p1 = f64::from(rates.cheater_miss_ppm) / 1e6;
    let nat = |milli: u32| f64::from(milli) / 1e3;
    let expected = p0 * nat(weights.miss()).exp() + (1.0 - p0) * (-nat(weights.met())).exp();
    assert!(expected <= 1.0, "{rates:?}: {expected}");
    assert!((-nat(weights.reject())).exp() <= f64::from(rates.false_reject_ppb) / 1e9);
    let cleared = (1.0 - p1).powi(i32::from(weights.clear_after()));
    assert!(cleared <= f64::from(rates.false_accept_ppm) / 1e6 || weights.clear_after() == u16::MAX);
}

#[test]
fn three_misses_beside_a_control_are_enough_whatever_passes_in_between() {
    let weights = Weights::default();
    let mut state = Punctuality::default();
    for check in 0..3 {
        assert_ne!(state.standing(&weights), Standing::Late, "after {check} misses");
        // A miss, then a retry that passes, as a shared card gives.
        state = state.after(observed(true), &weights);
        if check < 2 {
            state = state.after(observed(false), &weights);
        }
    }
    assert_eq!(state.standing(&weights), Standing::Late);
    assert_eq!(state.missed(), 3);
}

#[test]
fn a_miss_beside_nothing_that_works_is_counted_and_weighs_nothing() {
    let weights = Weights::default();
    for control in [Control::Silent, Control::Absent] {
        let mut state = Punctuality::default();
        for _ in 0..100 {
            state = state.after(Weighed::Against(control), &weights);
        }
        assert_eq!((state.evidence(), state.missed()), (0, 100));
        assert_eq!(state.standing(&weights), Standing::Suspected);
    }
}

#[test]
fn the_state_survives_a_restart() {
    let state = Punctuality::default().after(observed(true), &Weights::default());
    assert_eq!(Punctuality::decode(&mut &state.encode()[..]).unwrap(), state);
}

#[test]
fn honest_nodes_are_found_late_no_oftener_than_declared() {
    // A rate that simulation can see: 10⁻³ per observation at 1 % misses.
    let rates = Rates { honest_miss_ppm: 10_000, false_reject_ppb: 1_000_000, ..Rates::default() };
    let weights = rates.weights().unwrap();
    let mut random = Splitmix(7);
    let (mut found, observations) = (0u32, 2_000_000u32);
    let mut state = Punctuality::default();
    for _ in 0..observations {
        state = state.after(observed(random.misses(rates.honest_miss_ppm)), &weights);
        if state.standing(&weights) == Standing::Late {
            (found, state) = (found + 1, Punctuality::default());
        }
    }
    let rate = f64::from(found) / f64::from(observations);
    assert!(found > 0, "the simulation sees something");
    assert!(rate <= f64::from(rates.false_reject_ppb) / 1e9, "{rate:e}");
}

#[test]
fn cheaters_are_cleared_no_oftener_than_declared_and_found_as_fast_as_wald_says() {
    let rates = Rates { false_accept_ppm: 10_000, ..Rates::default() };
    let weights = rates.weights().unwrap();
    let mut random = Splitmix(11);
    let (trials, mut cleared, mut steps) = (20_000u32, 0u32, 0u64);
    for _ in 0..trials {
        // The run of passes begins at a miss.
        let mut state = Punctuality::default().after(observed(true), &weights);
        let mut was_cleared = false;
        while state.standing(&weights) != Standing::Late {
            state = state.after(observed(random.misses(rates.cheater_miss_ppm)), &weights);
            steps += 1;
            was_cleared |= steps > 0 && state.standing(&weights) == Standing::Clear;
        }
        cleared += u32::from(was_cleared);
    }
    // A cheater may be cleared in any of the few runs between its misses before it is found.
    let rate = f64::from(cleared) / f64::from(trials);
    assert!(rate <= 5.0 * f64::from(rates.false_accept_ppm) / 1e6, "{rate}");
    // Wald's expected number of observations, without the overshoot: reject / drift.
    let drift = 0.2 * f64::from(weights.miss()) - 0.8 * f64::from(weights.met());
    let expected = f64::from(weights.reject()) / drift;
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    let mean = steps as f64 / f64::from(trials);
    assert!(mean < expected * 1.5, "{mean} observations, Wald says {expected}");
}

proptest! {
    #[test]
    fn weights_keep_the_declared_rates(
        p0 in 1u32..400_000, p1 in 1u32..999_999, reject in 1u32..999_999_999, accept in 1u32..999_999,
    ) {
        prop_assume!(p0 < p1);
        assert_declared(&Rates {
            honest_miss_ppm: p0, cheater_miss_ppm: p1, false_reject_ppb: reject, false_accept_ppm: accept,
        });
    }

    /// RULES R4: one more miss anywhere never lowers what is known later, whatever follows.
    #[test]
    fn a_later_pass_never_erases_a_miss(
        misses in proptest::collection::vec(any::<bool>(), 0..60), at in 0usize..60,
    ) {
        let weights = Weights::default();
        let at = at.min(misses.len());
        let (mut with, mut without) = (Punctuality::default(), Punctuality::default());
        for (position, missed) in misses.iter().enumerate() {
            if position == at {
                with = with.after(observed(true), &weights);
            }
            with = with.after(observed(*missed), &weights);
            without = without.after(observed(*missed), &weights);
            prop_assert!(with.evidence() >= without.evidence());
            prop_assert!(with.missed() >= without.missed());
        }
    }

    /// Passes before a miss buy nothing.
    #[test]
    fn passes_are_not_saved_up(passes in 0u32..5_000) {
        let weights = Weights::default();
        let mut state = Punctuality::default();
        for _ in 0..passes {
            state = state.after(observed(false), &weights);
        }
        prop_assert_eq!(state.after(observed(true), &weights).evidence(), weights.miss());
    }
}
