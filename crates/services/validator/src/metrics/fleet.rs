//! The fleet as metrics: what each node and miner is worth, from the view that the API shows.
//!
//! Read when Prometheus asks, and never waiting for the database: what is told is at most as old as two scrapes. One series of each
//! kind for each listed node; what may be told to everybody only (no addresses).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use basilica_ports::{MinerView, NodeView};
use basilica_types::Hotkey;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::gauge::ConstGauge;

use crate::shared::Shared;

/// Collects from the latest view.
pub(crate) struct FleetMetrics(pub(crate) Arc<Shared>);

impl fmt::Debug for FleetMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetMetrics")
    }
}

/// A number of each node; none: it has none.
type NodeColumn = (&'static str, &'static str, fn(&NodeView) -> Option<f64>);
/// A number of each miner.
type MinerColumn = (&'static str, &'static str, fn(&MinerView) -> f64);

const NODES: [NodeColumn; 5] = [
    ("basilica_node_uptime_multiplier", "of the uptime ramp, 0 to 1", |node| {
        Some(f64::from(node.record.standing.as_ref()?.multiplier.value()) / 1_000_000.0)
    }),
    ("validator_executor_ban_active_status", "1 while the node is banned, 0 otherwise", |node| {
        Some(if node.banned_until.is_some() { 1.0 } else { 0.0 })
    }),
    (
        "validator_node_ban_till",
        "end of the running ban in seconds since 1970; only while there is one",
        |node| {
            // Exact for every moment of this and the next hundred thousand years.
            #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^52")]
            node.banned_until.map(|until| until.as_secs() as f64)
        },
    ),
    ("basilica_validator_validation_score", "of the node, 0 to 1", |node| {
        Some(f64::from(node.record.standing.as_ref()?.score.value()) / 10_000.0)
    }),
    ("basilica_validator_node_gpu_count", "GPUs that count", |node| {
        let (_, gpus) = node.record.last_proof.as_ref()?;
        Some(f64::from(u32::try_from(gpus.len()).unwrap_or(u32::MAX)))
    }),
];

const MINERS: [MinerColumn; 3] = [
    ("basilica_validator_miner_nodes", "nodes that the miner lists", |miner| f64::from(miner.nodes)),
    ("basilica_validator_miner_available_nodes", "listed nodes that are scored and not banned", |miner| {
        f64::from(miner.available)
    }),
    ("basilica_validator_miner_score", "mean of the miner's nodes, 0 to 1", |miner| {
        f64::from(miner.score.value()) / 10_000.0
    }),
];

impl Collector for FleetMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(view) = self.0.latest_view() else { return Ok(()) };
        let kind = ConstGauge::<f64>::new(0.0).metric_type();
        let miners: BTreeMap<&Hotkey, &str> =
            view.all_miners().map(|(name, miner)| (&miner.record.hotkey, name)).collect();
        let mut nodes: Vec<(&str, String, &NodeView)> = Vec::new();
        for node in view.all_nodes().iter().filter(|node| node.record.listed.is_some()) {
            let key = &node.record.key;
            // The database lets no node be without its miner.
            let Some(miner) = miners.get(&key.miner) else { continue };
            nodes.push((miner, key.node.to_string(), node));
        }
        for (name, help, column) in NODES {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (miner, id, node) in &nodes {
                let Some(value) = column(node) else { continue };
                let labels = [("miner_hotkey", *miner), ("node_id", id.as_str())];
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        for (name, help, column) in MINERS {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (hotkey, miner) in view.all_miners() {
                ConstGauge::new(column(miner)).encode(family.encode_family(&[("miner_hotkey", hotkey)])?)?;
            }
        }
        let help = "GPUs of the miner that count, by category";
        let mut family = encoder.encode_descriptor("basilica_validator_miner_gpu_count", help, None, kind)?;
        for (hotkey, miner) in view.all_miners() {
            for (category, count) in &miner.gpus {
                let labels = [("miner_hotkey", hotkey), ("category", category.as_str())];
                ConstGauge::new(f64::from(*count)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use basilica_runtime_service::{Metrics, Stop};

    use super::*;
    use crate::queries::keep_fresh;
    use crate::set_weights::tests::World;

    #[tokio::test]
    async fn what_a_node_is_worth_is_told_once_it_was_read() {
        let world = World::new();
        let key = world.judge_a_node().await;
        let shared = Arc::new(world.boot().await);
        crate::score::reconcile(&shared).await.unwrap();
        let metrics = Metrics::new();
        let collector = Box::new(FleetMetrics(Arc::clone(&shared)));
        metrics.register(|registry| registry.register_collector(collector));
        assert!(!metrics.render().unwrap().contains("basilica_node"), "nothing was read yet");
        let stop = Stop::new();
        let reader = keep_fresh(Arc::clone(&shared), stop.clone());
        let ask = async {
            shared.fleet_view().await.unwrap();
            stop.request();
        };
        tokio::join!(reader, ask).0.unwrap();
        let text = metrics.render().unwrap();
        let labels = format!("{{miner_hotkey=\"{}\",node_id=\"{}\"}}", key.miner, key.node);
        for expected in [
            format!("validator_executor_ban_active_status{labels} 0.0"),
            format!("basilica_validator_validation_score{labels} 1.0"),
            format!("basilica_validator_miner_nodes{{miner_hotkey=\"{}\"}} 1.0", key.miner),
        ] {
            assert!(text.contains(&expected), "{expected} in {text}");
        }
        assert!(!text.contains("validator_node_ban_till{"), "no ban runs");
    }
}
