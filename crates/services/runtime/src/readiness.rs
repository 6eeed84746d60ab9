use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::gauge::ConstGauge;
use tracing::{info, warn};

use crate::Metrics;

/// Longest reason that is kept, in bytes.
const REASON_LIMIT: usize = 512;

type Conditions = BTreeMap<&'static str, Result<(), String>>;

/// Whether the service can do its work, and if not, why: ready once every condition holds.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<Conditions>>,
}

impl Readiness {
    /// Without conditions, and therefore ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition that does not hold yet (`starting`). Asking again for the same name gives the same condition.
    pub fn condition(&self, name: &'static str) -> Condition {
        self.lock().entry(name).or_insert_with(|| Err("starting".to_owned()));
        Condition { name, readiness: self.clone() }
    }

    /// Every condition in order of name: it holds, or why it does not.
    pub fn report(&self) -> Vec<(&'static str, Result<(), String>)> {
        self.lock().iter().map(|(name, state)| (*name, state.clone())).collect()
    }

    /// Adds `{prefix}_condition{name}` to the metrics of the process: 1 for a condition that holds, 0 for one that does not.
    pub fn observe(&self, metrics: &Metrics, prefix: &str) {
        let collector = Box::new(Conditioned(self.clone()));
        metrics.register(|registry| registry.sub_registry_with_prefix(prefix).register_collector(collector));
    }

    /// Whether every condition holds.
    pub fn is_ready(&self) -> bool {
        self.lock().values().all(Result::is_ok)
    }

    /// The map is whole after every statement, so that a poisoned lock is no reason to stop.
    fn lock(&self) -> MutexGuard<'_, Conditions> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Conditioned(Readiness);

impl Collector for Conditioned {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let kind = ConstGauge::<i64>::new(0).metric_type();
        let help = "1 for a condition of readiness that holds, 0 for one that does not";
        let mut family = encoder.encode_descriptor("condition", help, None, kind)?;
        for (name, holds) in self.0.report() {
            ConstGauge::<i64>::new(holds.is_ok().into()).encode(family.encode_family(&[("name", name)])?)?;
        }
        Ok(())
    }
}

/// One thing that must hold, owned by the part that knows whether it does.
#[derive(Clone, Debug)]
pub struct Condition {
    name: &'static str,
    readiness: Readiness,
}

impl Condition {
    /// It holds.
    pub fn ready(&self) {
        let before = self.readiness.lock().insert(self.name, Ok(()));
        if before != Some(Ok(())) {
            info!(condition.name = self.name, "condition holds");
        }
    }

    /// It does not hold, for this reason: shown to operators, at most 512 bytes, never with a secret.
    pub fn not_ready(&self, reason: impl Into<String>) {
        let mut reason = reason.into();
        reason.truncate(reason.floor_char_boundary(REASON_LIMIT));
        let before = self.readiness.lock().insert(self.name, Err(reason.clone()));
        if before != Some(Err(reason.clone())) {
            warn!(condition.name = self.name, reason, "condition does not hold");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_every_condition_holds() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let (chain, store) = (readiness.condition("chain"), readiness.condition("store"));
        assert_eq!(readiness.report()[0], ("chain", Err("starting".to_owned())));
        chain.ready();
        assert!(!readiness.is_ready());
        store.ready();
        assert!(readiness.is_ready());
        chain.not_ready("no endpoint answers");
        assert_eq!(readiness.report(), [("chain", Err("no endpoint answers".to_owned())), ("store", Ok(()))]);
    }

    #[test]
    fn conditions_are_metrics() {
        let (readiness, metrics) = (Readiness::new(), Metrics::new());
        readiness.observe(&metrics, "basilica_x");
        readiness.condition("chain").ready();
        let _store = readiness.condition("store");
        let told = metrics.render().unwrap();
        assert!(told.contains("\nbasilica_x_condition{name=\"chain\"} 1\n"), "{told}");
        assert!(told.contains("\nbasilica_x_condition{name=\"store\"} 0\n"), "{told}");
    }

    #[test]
    fn asking_for_a_condition_again_does_not_reset_it() {
        let readiness = Readiness::new();
        readiness.condition("chain").ready();
        let _ = readiness.condition("chain");
        assert!(readiness.is_ready());
    }

    #[test]
    fn reasons_are_cut_at_a_character() {
        let readiness = Readiness::new();
        readiness.condition("chain").not_ready("é".repeat(400));
        assert_eq!(readiness.report()[0].1, Err("é".repeat(256)));
    }
}
