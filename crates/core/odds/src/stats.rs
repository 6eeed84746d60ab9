//! Confidence intervals of a rate: Clopper and Pearson's, which never cover less than they say.

/// Bounds of a rate at 95 %, two-sided.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Interval {
    /// With probability 97.5 % the rate is not below.
    pub low: f64,
    /// With probability 97.5 % the rate is not above.
    pub high: f64,
}

const TAIL: f64 = 0.025;

/// The interval for `hits` of `trials`.
///
/// # Panics
/// If there are no trials, or more hits than trials.
pub fn clopper_pearson(hits: u64, trials: u64) -> Interval {
    assert!(trials > 0 && hits <= trials, "{hits} of {trials}");
    let low = if hits == 0 { 0.0 } else { solve(|p| at_least(hits, trials, p) < TAIL) };
    let high = if hits == trials { 1.0 } else { solve(|p| at_least(hits + 1, trials, p) < 1.0 - TAIL) };
    Interval { low, high }
}

/// Where a falling condition ends, from 0 to 1.
fn solve(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut below, mut above) = (0.0, 1.0);
    for _ in 0..200 {
        let middle = f64::midpoint(below, above);
        if holds(middle) { below = middle } else { above = middle }
    }
    f64::midpoint(below, above)
}

/// Probability of at least `hits` of `trials` at rate `p`: the regularised incomplete beta function I_p(hits, rest).
fn at_least(hits: u64, trials: u64, p: f64) -> f64 {
    let (a, b) = (to_f64(hits), to_f64(trials - hits + 1));
    if p <= 0.0 {
        return 0.0;
    }
    if p >= 1.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * p.ln() + b * (1.0 - p).ln()).exp();
    if p < (a + 1.0) / (a + b + 2.0) {
        front * fraction(a, b, p) / a
    } else {
        1.0 - front * fraction(b, a, 1.0 - p) / b
    }
}

/// The continued fraction of the incomplete beta function, by Lentz' method (DLMF 8.17.22).
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let guard = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut result = d;
    for step in 1..10_000u32 {
        let m = f64::from(step);
        for numerator in [
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        ] {
            d = 1.0 / guard(1.0 + numerator * d);
            c = guard(1.0 + numerator / c);
            result *= c * d;
        }
        if (c * d - 1.0).abs() < 1e-14 {
            break;
        }
    }
    result
}

/// Stirling's series after shifting the argument above 20; error below 10⁻¹³.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 20.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let series = inverse / 12.0 - inverse.powi(3) / 360.0 + inverse.powi(5) / 1_260.0;
    shift + (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

#[expect(clippy::cast_precision_loss, reason = "counts of trials are below 2^52")]
const fn to_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) -> bool {
        (value - expected).abs() <= 1e-6 * expected.abs().max(1e-6)
    }

    #[test]
    fn intervals_are_the_known_ones() {
        // No hit and all hits have closed forms.
        for trials in [1u64, 10, 4_000, 4_000_000] {
            let none = clopper_pearson(0, trials);
            assert!(near(none.high, 1.0 - TAIL.powf(1.0 / to_f64(trials))), "{none:?}");
            assert_eq!(none.low, 0.0);
            assert!(near(clopper_pearson(trials, trials).low, TAIL.powf(1.0 / to_f64(trials))));
        }
        // Clopper and Pearson (1934), and any table: 5 of 10 gives 0.1871 to 0.8129.
        let half = clopper_pearson(5, 10);
        assert!((half.low - 0.187_086).abs() < 1e-5 && (half.high - 0.812_914).abs() < 1e-5, "{half:?}");
        // 95 of 100: 0.8872 to 0.9836.
        let most = clopper_pearson(95, 100);
        assert!((most.low - 0.887_165).abs() < 1e-5 && (most.high - 0.983_569).abs() < 1e-5, "{most:?}");
    }

    #[test]
    fn more_trials_narrow_the_interval() {
        let width = |trials: u64| {
            let interval = clopper_pearson(trials / 10, trials);
            interval.high - interval.low
        };
        assert!(width(100) > width(1_000) && width(1_000) > width(100_000));
    }
}
