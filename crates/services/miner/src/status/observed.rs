//! What the newest snapshot says, as metrics.
//!
//! Collected when they are read, so that a GPU that is gone has no series any more, and nodes that call their cards something else each
//! time leave none behind: as many series as there are cards of different names now, at most [`MODELS`] names of a node.

use std::collections::BTreeMap;
use std::fmt;

use basilica_status::{AlertCode, GpuReading, MinerStatus, NodeStatus, Severity};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::gauge::ConstGauge;

use super::StatusView;

/// Names of cards of one node that have series of their own; further ones share one.
const MODELS: usize = 8;
const OTHERS: &str = "others";

/// One number of the cards of one name on one node.
type Measure = fn(&[&GpuReading]) -> Option<i64>;

const MEASURES: [(&str, &str, Measure); 6] = [
    ("basilica_gpu_count", "GPUs that nvidia-smi shows", |cards| i64::try_from(cards.len()).ok()),
    ("basilica_gpu_utilization", "Mean share of time in which the GPUs work, in percent", |cards| {
        let busy: Vec<i64> =
            cards.iter().filter_map(|card| card.utilization_percent.map(i64::from)).collect();
        busy.iter().sum::<i64>().checked_div(i64::try_from(busy.len()).ok()?)
    }),
    ("basilica_gpu_temperature_celsius", "Temperature of the hottest GPU", |cards| {
        cards.iter().filter_map(|card| card.temperature_celsius.map(i64::from)).max()
    }),
    ("basilica_gpu_memory_used_bytes", "GPU memory in use", |cards| {
        summed(cards, |card| card.memory_used_mib?.checked_mul(1 << 20))
    }),
    ("basilica_gpu_memory_total_bytes", "GPU memory", |cards| {
        summed(cards, |card| card.memory_total_mib?.checked_mul(1 << 20))
    }),
    ("basilica_gpu_power_milliwatts", "Power that the GPUs draw", |cards| {
        summed(cards, |card| card.power_milliwatts)
    }),
];

fn summed(cards: &[&GpuReading], of: fn(&GpuReading) -> Option<u64>) -> Option<i64> {
    let told = cards.iter().filter_map(|card| of(card)).reduce(u64::saturating_add)?;
    i64::try_from(told).ok()
}

#[derive(Debug)]
pub(super) struct Observed(pub(super) StatusView);

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(status) = self.0.newest() else { return Ok(()) };
        let kind = || ConstGauge::<i64>::new(0).metric_type();
        let by_model: Vec<_> =
            status.nodes.iter().map(|node| (node.id.to_string(), by_model(node))).collect();
        for (name, help, measure) in MEASURES {
            let mut family = encoder.encode_descriptor(name, help, None, kind())?;
            for (node, models) in &by_model {
                for (model, cards) in models {
                    let labels = [("node_id", node.as_str()), ("gpu_model", *model)];
                    if let Some(value) = measure(cards) {
                        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
                    }
                }
            }
        }
        let help = "What somebody must look at, see docs/miner-view.md";
        let mut family = encoder.encode_descriptor("basilica_miner_alerts", help, None, kind())?;
        for (code, severity, count) in alerts(&status) {
            let labels = [("code", code.as_str()), ("severity", severity.as_str())];
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The cards of a node by what they are called.
fn by_model(node: &NodeStatus) -> BTreeMap<&str, Vec<&GpuReading>> {
    let mut models: BTreeMap<&str, Vec<&GpuReading>> = BTreeMap::new();
    for card in node.gpus.cards() {
        let model = card.model.as_str();
        let model = if models.contains_key(model) || models.len() < MODELS { model } else { OTHERS };
        models.entry(model).or_default().push(card);
    }
    models
}

/// How many there are of each kind, none included.
fn alerts(status: &MinerStatus) -> impl Iterator<Item = (AlertCode, Severity, i64)> {
    let kinds = AlertCode::ALL
        .into_iter()
        .flat_map(|code| [Severity::Critical, Severity::Warning].map(|severity| (code, severity)));
    kinds.map(|(code, severity)| {
        let found = status.alerts.iter().filter(|alert| (alert.code, alert.severity) == (code, severity));
        (code, severity, i64::try_from(found.count()).unwrap_or(i64::MAX))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use basilica_runtime_service::Metrics;
    use basilica_status::testing::{gpus, well};
    use basilica_status::{Gpus, Registration};
    use tokio::sync::watch;

    use super::*;

    fn rendered(status: MinerStatus) -> String {
        let metrics = Metrics::new();
        let (_sender, view) = watch::channel(Some(Arc::new(status)));
        metrics.register(|registry| registry.register_collector(Box::new(Observed(StatusView(view)))));
        metrics.render().unwrap()
    }

    #[test]
    fn gpus_and_alerts_have_series() {
        let mut status = well();
        status.nodes[0].gpus = gpus("NVIDIA H100 80GB HBM3");
        status.miner.registration = Registration::Absent;
        status.alerts = basilica_status::alerts(&status);
        let id = status.nodes[0].id;
        let text = rendered(status);
        for (name, value) in [
            ("count", "8"),
            ("utilization", "93"),
            ("temperature_celsius", "67"),
            ("memory_used_bytes", "587202560000"),
            ("power_milliwatts", "5204000"),
        ] {
            let line = format!(
                "\nbasilica_gpu_{name}{{node_id=\"{id}\",gpu_model=\"NVIDIA H100 80GB HBM3\"}} {value}\n"
            );
            assert!(text.contains(&line), "{line}\n{text}");
        }
        assert!(
            text.contains("\nbasilica_miner_alerts{code=\"not_registered\",severity=\"critical\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("\nbasilica_miner_alerts{code=\"clock_off\",severity=\"critical\"} 0\n"),
            "{text}"
        );
    }

    #[test]
    fn a_node_that_invents_cards_adds_few_series() {
        let mut status = well();
        if let Gpus::Read { at, driver, cards } = gpus("x") {
            let cards =
                (0..64).map(|n| GpuReading { model: format!("\"card\\{n}").into(), ..cards[0].clone() });
            status.nodes[0].gpus = Gpus::Read { at, driver, cards: cards.collect() };
        }
        let text = rendered(status);
        assert_eq!(text.lines().filter(|line| line.starts_with("basilica_gpu_count{")).count(), MODELS + 1);
        assert!(text.contains("gpu_model=\"others\"} 56\n"), "{text}");
    }
}
