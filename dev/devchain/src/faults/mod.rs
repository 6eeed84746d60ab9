//! Faults on order: what goes wrong, how often, and when it ends.
//!
//! Each fault draws from a stream of its own, seeded by the chain's fault seed and its number, so a run with the same
//! seed, faults and requests goes wrong in the same places. This module only decides; the server, the pool and block
//! production do what it says.

mod kind;
mod random;

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

pub use kind::{Kind, Late, SpecError};
use random::SplitMix64;

/// Faults at a time.
pub const MAX_FAULTS: usize = 64;
/// One in a million.
const CERTAIN_PPM: u32 = 1_000_000;

/// Why a fault is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// It is not described as it should be.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A bound is reached.
    #[error("there are {MAX_FAULTS} faults already; clear some with dev_clearFaults")]
    Full,
    /// No fault has this number.
    #[error("there is no fault {0}; dev_faults lists them")]
    Unknown(u64),
}

#[derive(Debug)]
struct Fault {
    id: u64,
    kind: Kind,
    probability_ppm: u32,
    left: Option<u64>,
    hits: u64,
    random: SplitMix64,
}

impl Fault {
    /// Whether it strikes now, given that it could.
    fn strikes(&mut self) -> bool {
        if self.left == Some(0) || self.random.below(CERTAIN_PPM) >= self.probability_ppm {
            return false;
        }
        self.left = self.left.map(|left| left - 1);
        self.hits += 1;
        true
    }
}

#[derive(Debug)]
struct Inner {
    seed: u64,
    next: u64,
    faults: Vec<Fault>,
}

/// The faults that are on.
#[derive(Debug)]
pub struct Faults {
    inner: Mutex<Inner>,
}

impl Faults {
    /// None yet; chance follows from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { inner: Mutex::new(Inner { seed, next: 1, faults: Vec::new() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every step replaces whole values, so a panic elsewhere leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a fault as `dev_fault` describes it; its number.
    ///
    /// # Errors
    /// It is not described well, or there are too many.
    pub fn add(&self, spec: Value) -> Result<u64, FaultError> {
        self.add_if(spec, |_| Ok(()))
    }

    /// As [`Self::add`], if it can strike where it is to.
    ///
    /// # Errors
    /// Those of [`Self::add`] and of `can_strike`.
    pub fn add_if(
        &self,
        spec: Value,
        can_strike: impl FnOnce(&Kind) -> Result<(), SpecError>,
    ) -> Result<u64, FaultError> {
        let spec = kind::Spec::parse(spec)?;
        can_strike(&spec.kind)?;
        let mut inner = self.lock();
        if inner.faults.len() >= MAX_FAULTS {
            return Err(FaultError::Full);
        }
        let id = inner.next;
        inner.next += 1;
        let random = SplitMix64::new(spec.seed.unwrap_or(inner.seed), id);
        let (kind, probability_ppm) = (spec.kind, spec.probability_ppm);
        inner.faults.push(Fault { id, kind, probability_ppm, left: spec.count, hits: 0, random });
        Ok(id)
    }

    /// Ends one fault, or all.
    ///
    /// # Errors
    /// There is no such fault.
    pub fn clear(&self, id: Option<u64>) -> Result<usize, FaultError> {
        let mut inner = self.lock();
        let before = inner.faults.len();
        inner.faults.retain(|fault| id.is_some_and(|id| fault.id != id));
        match (before - inner.faults.len(), id) {
            (0, Some(id)) => Err(FaultError::Unknown(id)),
            (cleared, _) => Ok(cleared),
        }
    }

    /// All faults and how often each struck.
    #[must_use]
    pub fn list(&self) -> Value {
        let inner = self.lock();
        inner
            .faults
            .iter()
            .map(|fault| {
                json!({
                    "id": fault.id,
                    "fault": fault.kind.to_json(),
                    "probability_ppm": fault.probability_ppm,
                    "left": fault.left,
                    "hits": fault.hits,
                })
            })
            .collect()
    }

    /// Whether any fault is of a kind, without letting it strike.
    #[must_use]
    pub fn list_has(&self, wanted: impl Fn(&Kind) -> bool) -> bool {
        self.lock().faults.iter().any(|fault| wanted(&fault.kind))
    }

    /// The first fault that applies here and strikes, by what `wanted` makes of it.
    pub fn strike<T>(&self, wanted: impl Fn(&Kind) -> Option<T>) -> Option<T> {
        self.lock().faults.iter_mut().find_map(|fault| {
            let found = wanted(&fault.kind)?;
            fault.strikes().then_some(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hang(faults: &Faults, method: &str) -> bool {
        faults
            .strike(|kind| match kind {
                Kind::Hang { methods } => methods.cover(method).then_some(()),
                _ => None,
            })
            .is_some()
    }

    #[test]
    fn a_fault_strikes_as_often_as_told_and_only_where_told() {
        let faults = Faults::new(1);
        let id = faults.add(json!({"kind": "hang", "methods": ["state_*"], "count": 2})).expect("taken");
        assert!(!hang(&faults, "chain_getHead"));
        assert_eq!([(); 4].map(|()| hang(&faults, "state_call")), [true, true, false, false]);
        assert_eq!(faults.list()[0]["hits"], 2);
        assert_eq!(faults.clear(Some(id + 1)), Err(FaultError::Unknown(id + 1)));
        assert_eq!((faults.clear(Some(id)), faults.clear(None)), (Ok(1), Ok(0)));
    }

    #[test]
    fn chance_is_the_seeds_and_about_as_likely_as_asked() {
        let run = |seed: u64| -> Vec<bool> {
            let faults = Faults::new(seed);
            faults.add(json!({"kind": "hang", "probability": 0.25})).expect("taken");
            (0..4_000).map(|_| hang(&faults, "x")).collect()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let hits = run(7).into_iter().filter(|hit| *hit).count();
        assert!((850..1_150).contains(&hits), "{hits} of 4000");
    }

    #[test]
    fn the_number_of_faults_is_bounded() {
        let faults = Faults::new(0);
        for _ in 0..MAX_FAULTS {
            faults.add(json!({"kind": "stall_finality"})).expect("room");
        }
        assert_eq!(faults.add(json!({"kind": "stall_finality"})), Err(FaultError::Full));
    }
}
