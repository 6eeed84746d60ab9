//! How likely a prover that does less than it was asked is to pass, as a function of the openings.

use crate::params::ProofParams;
use crate::residency::ResidencyParams;

/// Greatest density of a sum of k products of two uniform int8 cells, times √k. One product's standard deviation is
/// 5,461.5, and a sum of many is normal: 1 / (5,461.5 · √(2π)).
const PEAK: f64 = 7.304_6e-5;

impl ProofParams {
    /// The greatest probability with which a device passes that leaves a share `skipped` (0 to 1) of its cells to a guess.
    ///
    /// Openings are drawn uniformly, with replacement, after the commitment, so it is f^t, with f the share of cells that
    /// are right; a guess is right with the probability of the likeliest value of a sum. For one device: others of the
    /// same node are opened on their own.
    ///
    /// # Panics
    /// If `skipped` is no share.
    pub fn evasion(&self, skipped: f64) -> f64 {
        assert!((0.0..=1.0).contains(&skipped), "{skipped} is not a share");
        let guess = PEAK / f64::from(self.inner()).sqrt();
        (1.0 - skipped + skipped * guess).powf(f64::from(self.openings()))
    }
}

impl ResidencyParams {
    /// The greatest probability with which a walk passes whose reads of a share `missing` (0 to 1) of the items are guessed:
    /// an opened step is right only if all its reads hit what is there.
    ///
    /// # Panics
    /// If `missing` is no share.
    pub fn evasion(&self, missing: f64) -> f64 {
        assert!((0.0..=1.0).contains(&missing), "{missing} is not a share");
        let reads = f64::from(self.openings()) * f64::from(self.walk().reads);
        (1.0 - missing).powf(reads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evasion(openings: u32, skipped: f64) -> f64 {
        ProofParams::new(32_768, 32_768, 1, openings).unwrap().evasion(skipped)
    }

    #[test]
    fn skipped_work_passes_as_seldom_as_the_design_says() {
        let near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.01;
        assert!(near(evasion(256, 0.05), 1.98e-6), "{:e}", evasion(256, 0.05));
        assert!(near(evasion(1_024, 0.01), 3.39e-5), "{:e}", evasion(1_024, 0.01));
        assert_eq!(evasion(256, 0.0), 1.0);
        // All of it guessed: 256 guesses at 4·10⁻⁷ each.
        assert_eq!(evasion(256, 1.0), 0.0);
        assert!(near(evasion(1, 1.0), 4.035e-7), "{:e}", evasion(1, 1.0));
    }

    #[test]
    fn more_openings_and_more_skipping_pass_less() {
        for pair in [64u32, 256, 1_024, 4_096].windows(2) {
            assert!(evasion(pair[1], 0.01) < evasion(pair[0], 0.01));
        }
        for step in 0..100u32 {
            let share = |step: u32| f64::from(step) / 100.0;
            assert!(evasion(16, share(step + 1)) < evasion(16, share(step)));
        }
    }

    #[test]
    fn missing_memory_passes_as_seldom_as_the_design_says() {
        use crate::residency::{PARENTS_DEFAULT, READS_DEFAULT, Space, WalkParams};
        let walk = WalkParams {
            lanes: 1 << 17,
            steps: 19_000,
            reads: READS_DEFAULT,
            windows: 3,
            barriers: 40,
            picks: 32,
            lanes_per_pick: 16,
        };
        let params = ResidencyParams::new(Space::Device, 1 << 30, PARENTS_DEFAULT, walk).unwrap();
        assert!(params.evasion(0.01) < 1e-35, "{:e}", params.evasion(0.01));
        assert!(params.evasion(0.002) < 1e-7, "{:e}", params.evasion(0.002));
    }

    #[test]
    fn a_guess_is_right_as_often_as_the_likeliest_value() {
        // The exact distribution of one product, by counting.
        let mut sum = 0.0;
        for x in -128i32..=127 {
            for y in -128i32..=127 {
                sum += f64::from(x * y).powi(2);
            }
        }
        let deviation = (sum / 65_536.0).sqrt();
        let peak = 1.0 / (deviation * (2.0 * std::f64::consts::PI).sqrt());
        assert!((peak / PEAK - 1.0).abs() < 1e-4, "{peak:e}");
    }
}
