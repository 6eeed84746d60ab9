//! Seeded chance: every trial draws from a stream of its own, so results do not depend on threads or order.
//!
//! The generator is xoshiro256++ (Blackman and Vigna 2019), seeded by BLAKE3: written here because the generators of
//! the usual crates are compiled without optimisation in development builds, and simulation is all that it is for.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Chance([u64; 4]);

impl Chance {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self::of("seed", &[seed])
    }

    /// The stream of a name and numbers.
    pub fn of(name: &str, numbers: &[u64]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(name.as_bytes());
        numbers.iter().for_each(|number| {
            hasher.update(&number.to_le_bytes());
        });
        let hash = *hasher.finalize().as_bytes();
        let words = hash.as_chunks::<8>().0;
        Self(std::array::from_fn(|word| u64::from_le_bytes(words[word])))
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let drawn = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        drawn
    }

    /// From 0 inclusive to 1 exclusive.
    pub fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        unit
    }

    /// True with this probability.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A whole number below `range`, which is at least 1.
    pub fn below(&mut self, range: u64) -> u64 {
        let scaled = (u128::from(self.next()) * u128::from(range.max(1))) >> 64;
        u64::try_from(scaled).expect("below a u64")
    }

    /// 32 random bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|word| *word = self.next().to_le_bytes());
        bytes
    }

    /// Exponentially distributed with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Normally distributed with mean 0 and deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (2.0 * std::f64::consts::PI * self.unit()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_xoshiro256_plus_plus() {
        // The first numbers from the state 1, 2, 3, 4, as in the reference implementation.
        let mut chance = Chance([1, 2, 3, 4]);
        let drawn: Vec<u64> = (0..3).map(|_| chance.next()).collect();
        assert_eq!(drawn, [41_943_041, 58_720_359, 3_588_806_011_781_223]);
    }

    #[test]
    fn draws_have_their_means() {
        let mut chance = Chance::new(3);
        let mean =
            |mut draw: Box<dyn FnMut() -> f64 + '_>| (0..100_000).map(|_| draw()).sum::<f64>() / 100_000.0;
        assert!((mean(Box::new(|| chance.unit())) - 0.5).abs() < 0.005);
        assert!((mean(Box::new(|| chance.exponential(5.0))) - 5.0).abs() < 0.1);
        assert!(mean(Box::new(|| chance.normal())).abs() < 0.02);
    }
}
