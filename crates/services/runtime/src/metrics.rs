use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// The metrics of the process, behind the admin endpoint's `/metrics`.
///
/// A component registers its own struct of metrics once, where it is built, and keeps the handles: counting takes no
/// lock here.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// Without any metric.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds metrics to the registry and returns what `register` returns, usually their handles.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All metrics as OpenMetrics text. Fails only where a collector does.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn registered_metrics_are_rendered_with_their_values() {
        let metrics = Metrics::new();
        let seen = metrics.register(|registry| {
            let seen = Counter::<u64>::default();
            registry.register("basilica_nodes_seen", "Nodes seen", seen.clone());
            seen
        });
        seen.inc_by(3);
        let text = metrics.render().expect("counters render");
        assert!(text.contains("\nbasilica_nodes_seen_total 3\n"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
