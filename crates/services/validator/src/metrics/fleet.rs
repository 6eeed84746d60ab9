//! The fleet as metrics: what each node and miner is worth, from the view that the API shows.
//!
//! Read when Prometheus asks, and never waiting for the database: what is told is at most as old as two scrapes. One series of each
//! kind for each listed node; what may be told to everybody only (no addresses).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use basilica_ports::{MinerView, NodeView};
use basilica_scoring::weights::{Part, node_points};
use basilica_types::{BasisPoints, Hotkey, Millis, Ppm, Timestamp, Uid};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::gauge::ConstGauge;

use crate::queries::FleetView;
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

const NODES: [NodeColumn; 7] = [
    ("basilica_node_uptime_multiplier", "of the uptime ramp, 0 to 1", |node| {
        Some(f64::from(node.record.standing.as_ref()?.multiplier.value()) / 1_000_000.0)
    }),
    ("validator_executor_ban_active_status", "1 while the node is banned, 0 otherwise", |node| {
        Some(if node.banned_until.is_some() { 1.0 } else { 0.0 })
    }),
    (
        "validator_node_ban_till",
        "end of the running ban in seconds since 1970; only while there is one",
        |node| node.banned_until.map(seconds),
    ),
    ("basilica_validator_validation_score", "of the node, 0 to 1", |node| {
        Some(f64::from(node.record.standing.as_ref()?.score.value()) / 10_000.0)
    }),
    ("basilica_validator_node_gpu_count", "GPUs that count", |node| {
        let (_, gpus) = node.record.last_proof.as_ref()?;
        Some(f64::from(u32::try_from(gpus.len()).unwrap_or(u32::MAX)))
    }),
    ("basilica_validator_node_health_status", "1 if available, scored and not banned, 0 otherwise", |node| {
        Some(if node.available { 1.0 } else { 0.0 })
    }),
    (
        "basilica_validator_node_last_validation_timestamp_seconds",
        "when a full check passed last, in seconds since 1970",
        |node| node.record.last_proof.as_ref().map(|(at, _)| seconds(*at)),
    ),
];

/// A number of each part of the weights.
type WeightColumn = (&'static str, &'static str, fn(&Part) -> f64);

const WEIGHTS: [WeightColumn; 2] = [
    ("basilica_validator_miner_weight", "of the 65,535 of the last vector on chain", |part| {
        f64::from(part.weight.0)
    }),
    (
        "basilica_validator_miner_gpu_weighted_score",
        "GPUs times score times multiplier, behind the last vector on chain",
        |part| gpus(part.points),
    ),
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

/// Exact for every moment of this and the next hundred thousand years.
#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^52")]
fn seconds(at: Timestamp) -> f64 {
    at.as_secs() as f64
}

/// Minutes of the ramp that a multiplier stands for.
#[expect(clippy::cast_precision_loss, reason = "a ramp has far fewer than 2^52 milliseconds")]
fn minutes(multiplier: Ppm, ramp: Millis) -> f64 {
    f64::from(multiplier.value()) / 1_000_000.0 * (ramp.0 as f64 / 60_000.0)
}

/// What as many GPUs bring with the full score and multiplier.
#[expect(clippy::cast_precision_loss, reason = "shown to people; what is paid is counted in integers")]
fn gpus(points: u128) -> f64 {
    points as f64 / node_points(BasisPoints::ONE, 1, Ppm::ONE) as f64
}

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
        let help = "minutes of the uptime ramp that count, at most its length";
        let mut family = encoder.encode_descriptor("basilica_node_uptime_minutes", help, None, kind)?;
        for (miner, id, node) in &nodes {
            let Some(standing) = &node.record.standing else { continue };
            let labels = [("miner_hotkey", *miner), ("node_id", id.as_str())];
            let value = minutes(standing.multiplier, self.0.settings.scoring.ramp);
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
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
        // Of the metagraph, where there is one: a neuron without an axon may hold weights, and is no miner here.
        let chain = self.0.chain_view();
        let name = |uid: Uid| {
            let neuron = chain.as_ref().and_then(|chain| chain.metagraph.neurons.get(usize::from(uid.0)));
            neuron.map(|neuron| neuron.hotkey.to_string()).or_else(|| view.name_of(uid).map(str::to_owned))
        };
        encode_weights(&view, name, &mut encoder)
    }
}

/// The last vector on chain, and what it went by. A part whose uid is nobody's any more is left out.
fn encode_weights(
    view: &FleetView,
    name_of: impl Fn(Uid) -> Option<String>,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    let parts = view.weights().map_or(&[][..], |weights| &weights.parts);
    let kind = ConstGauge::<f64>::new(0.0).metric_type();
    for (name, help, column) in WEIGHTS {
        let mut family = encoder.encode_descriptor(name, help, None, kind)?;
        for part in parts {
            let (Some(category), Some(miner)) = (part.category, name_of(part.uid)) else { continue };
            let labels = [("miner_hotkey", miner.as_str()), ("category", category.as_str())];
            ConstGauge::new(column(part)).encode(family.encode_family(&labels)?)?;
        }
    }
    let burnt = parts.iter().filter(|part| part.category.is_none());
    let burnt = burnt.fold(0.0, |sum, part| sum + f64::from(part.weight.0));
    let help = "of the 65,535 of the last vector on chain, burnt";
    let burnt_family = encoder.encode_descriptor("basilica_validator_burnt_weight", help, None, kind)?;
    if parts.is_empty() { Ok(()) } else { ConstGauge::new(burnt).encode(burnt_family) }
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
