//! Whether a node that misses deadlines is slow or unlucky: a sequential test (RULES R4).
//!
//! One missed deadline proves nothing, and a retry that passes must not erase it: a host that serves two registrations
//! with one card misses once, then passes its retry. So every observation of a node's full checks is weighed by Wald's
//! likelihood ratio: a miss speaks for a cheater by `ln(p1/p0)`, a deadline met for an honest node by
//! `ln((1-p0)/(1-p1))`, with p0 the honest and p1 the least cheating rate of misses. The evidence never falls below
//! zero (Page's form of the test: a new one begins whenever honesty is ahead), so nobody saves up passes to spend on
//! misses. At [`Weights::reject`] the node is found late; after [`Weights::clear_after`] deadlines met in a row, clear.
//!
//! # Error rates
//! - *False rejects.* While misses of an honest node come independently and no oftener than p0, each observation
//!   multiplies the expected likelihood ratio by at most 1, from wherever a test begins. By Ville's inequality one test
//!   ever reaches e^reject with probability at most e^-reject; one begins at each observation at most, so over n
//!   observations a false reject has probability at most n·e^-reject, which is the declared rate per observation.
//! - *False accepts.* A node that misses with rate p1 or more meets `clear_after` deadlines in a row with probability
//!   `(1-p1)^clear_after`, at most the declared rate.
//!
//! Both are tested by simulation. Weights are integers in thousandths of a nat, rounded against the finding: a miss weighs
//! too little, a pass too much, the bound lies too high, each by at most a thousandth.
//!
//! # Breaks
//! A prover that sees that it will be late can hang up instead: the connection breaks, the program ends, or says that it
//! cannot. Each such end looks like a glitch, and a retry passes. So every end of a proof that is neither a pass, nor a
//! missed deadline, nor wrong by its own bytes enters a second test of the same kind with rates of its own
//! ([`Rates::breaks`]): links break oftener than honest cards are late. A check that came to its end, by a pass or by
//! whatever else, is an observation against. No pass erases a break.
//!
//! A miss beside which nothing else was seen to work ([`Control`]) is counted and ends a run of passes, but weighs nothing:
//! our uplink would explain it. So is a break. Rejected: a test that banks credit below zero (a good year would buy a bad day), and
//! a count of misses per day (no declared error rates).

mod record;

use codec::{Decode, Encode};

pub use record::{DeadlineRecord, Tests};

use crate::Control;

const PPM: u64 = 1_000_000;

/// What a test assumes and promises. Where it counts breaks, read "breaks off" for "misses".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// p0: an honest node misses at most so often, in millionths.
    pub honest_miss_ppm: u32,
    /// p1: a cheater worth finding misses at least so often, in millionths.
    pub cheater_miss_ppm: u32,
    /// An honest node is found late at most so often per observation, in billionths.
    pub false_reject_ppb: u32,
    /// A cheater is cleared at most so often, in millionths.
    pub false_accept_ppm: u32,
}

impl Default for Rates {
    /// Honest 0.1 % (a deadline lies above the honest 99.9 %), cheating 20 %, false rejects 10⁻⁶, false accepts 10⁻³.
    fn default() -> Self {
        Self {
            honest_miss_ppm: 1_000,
            cheater_miss_ppm: 200_000,
            false_reject_ppb: 1_000,
            false_accept_ppm: 1_000,
        }
    }
}

impl Rates {
    /// Of breaks: honest 0.5 % (proofs whose line or host fails within their ten seconds, beside everything else working),
    /// cheating 20 %; errors as for misses. At 1 % it would take five breaks to find a cheater, at which a day with few
    /// fleet epochs ends too soon; at 0.5 % it takes four.
    pub const fn breaks() -> Self {
        Self {
            honest_miss_ppm: 5_000,
            cheater_miss_ppm: 200_000,
            false_reject_ppb: 1_000,
            false_accept_ppm: 1_000,
        }
    }
}

/// Rates that make no test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RatesError {
    /// The two kinds of node do not differ, or one always or never misses.
    #[error("miss rates of {honest} and {cheater} ppm are not rising strictly between 0 and 1,000,000")]
    Misses {
        /// p0.
        honest: u32,
        /// p1.
        cheater: u32,
    },
    /// An error rate is zero, or one and more.
    #[error("error rates of {reject} ppb and {accept} ppm are not strictly between 0 and 1")]
    Errors {
        /// False rejects.
        reject: u32,
        /// False accepts.
        accept: u32,
    },
}

/// What observations weigh, in thousandths of a nat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    miss: u32,
    met: u32,
    reject: u32,
    clear_after: u16,
}

impl Rates {
    /// The weights that keep these rates.
    ///
    /// # Errors
    /// If a rate is out of bounds.
    pub fn weights(&self) -> Result<Weights, RatesError> {
        let Self { honest_miss_ppm: honest, cheater_miss_ppm: cheater, .. } = *self;
        let (reject, accept) = (self.false_reject_ppb, self.false_accept_ppm);
        let (p0, p1) = (u64::from(honest), u64::from(cheater));
        if p0 == 0 || p0 >= p1 || p1 >= PPM {
            return Err(RatesError::Misses { honest, cheater });
        }
        if reject == 0 || u64::from(reject) >= 1_000 * PPM || accept == 0 || u64::from(accept) >= PPM {
            return Err(RatesError::Errors { reject, accept });
        }
        let met = ln_milli(PPM - p0, PPM - p1) + 1;
        let clearing = (ln_milli(PPM, u64::from(accept)) + 1).div_ceil(ln_milli(PPM, PPM - p1).max(1));
        Ok(Weights {
            miss: ln_milli(p1, p0),
            met,
            reject: ln_milli(1_000 * PPM, u64::from(reject)) + 1,
            clear_after: u16::try_from(clearing).unwrap_or(u16::MAX),
        })
    }
}

impl Default for Weights {
    /// Those of [`Rates::default`].
    fn default() -> Self {
        Rates::default().weights().expect("the default rates are within bounds; a test holds them")
    }
}

impl Weights {
    /// What a missed deadline adds.
    pub const fn miss(&self) -> u32 {
        self.miss
    }

    /// What a deadline met takes away.
    pub const fn met(&self) -> u32 {
        self.met
    }

    /// The evidence at which a node is found late.
    pub const fn reject(&self) -> u32 {
        self.reject
    }

    /// So many deadlines met in a row clear a node.
    pub const fn clear_after(&self) -> u16 {
        self.clear_after
    }
}

/// One full check, as far as time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Every deadline was met.
    Met,
    /// One was missed, and this was seen beside it.
    Missed(Control),
    /// It ended before its end in another way, and this was seen beside it.
    Broken(Control),
}

impl Observed {
    /// Whether the retry takes others along ([`crate::fleet::companions`]): what a shared card cannot serve ends in one of
    /// these ways.
    pub const fn takes_companions(&self) -> bool {
        !matches!(self, Self::Met)
    }
}

/// What one check is to one of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weighed {
    For,
    Against(Control),
}

/// What is known about a node's punctuality. Stored with the node, so that a restart goes on where it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Punctuality {
    evidence: u32,
    met_in_a_row: u16,
    missed: u32,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As punctual as an honest node.
    Clear,
    /// Not decided: the next fleet epoch's retries take this node along ([`crate::fleet::companions`]).
    Suspected,
    /// Found late: a confirmed fault of the node.
    Late,
    /// Found to break its proofs off: likewise.
    BrokenOff,
}

impl Punctuality {
    /// Takes one more observation.
    #[must_use]
    fn after(self, weighed: Weighed, weights: &Weights) -> Self {
        match weighed {
            Weighed::For => Self {
                evidence: self.evidence.saturating_sub(weights.met),
                met_in_a_row: self.met_in_a_row.saturating_add(1),
                ..self
            },
            Weighed::Against(control) => Self {
                evidence: match control {
                    Control::Reachable => self.evidence.saturating_add(weights.miss),
                    Control::Silent | Control::Absent => self.evidence,
                },
                met_in_a_row: 0,
                missed: self.missed.saturating_add(1),
            },
        }
    }

    /// What follows.
    pub const fn standing(&self, weights: &Weights) -> Standing {
        if self.evidence >= weights.reject {
            Standing::Late
        } else if self.missed == 0 || self.met_in_a_row >= weights.clear_after {
            Standing::Clear
        } else {
            Standing::Suspected
        }
    }

    /// Evidence of cheating, in thousandths of a nat.
    pub const fn evidence(&self) -> u32 {
        self.evidence
    }

    /// Every miss since the node was enrolled or last found late; no pass takes one away.
    pub const fn missed(&self) -> u32 {
        self.missed
    }
}

/// `ln(over / under)` in thousandths, rounded down, for `over >= under > 0`; never above the true value, and less
/// than a thousandth below it.
///
/// The binary logarithm bit by bit: squaring a number between 1 and 2 doubles its logarithm. Every step rounds down.
fn ln_milli(over: u64, under: u64) -> u32 {
    const POINT: u32 = 62;
    const BITS: u32 = 40;
    // ln 2 · 2^40, rounded down.
    const LN2: u128 = 762_123_384_785;
    let whole = (over / under).ilog2();
    let mut mantissa = ((u128::from(over) << POINT) / u128::from(under)) >> whole;
    let mut log2 = u128::from(whole);
    for _ in 0..BITS {
        mantissa = (mantissa * mantissa) >> POINT;
        let doubled = mantissa >> (POINT + 1);
        mantissa >>= doubled;
        log2 = (log2 << 1) | doubled;
    }
    let milli = (log2 * LN2 * 1_000) >> (2 * BITS);
    u32::try_from(milli).expect("at most 64 · ln 2 · 1,000")
}

#[cfg(test)]
mod tests;
