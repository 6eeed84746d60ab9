//! What is known of the chain's endpoints, as metrics: read when they are asked for, and never waiting for the chain.

use std::fmt;
use std::sync::Arc;

use basilica_chain::{EndpointState, SubtensorChain};
use basilica_runtime_service::Metrics;
use basilica_types::{BlockNumber, NetUid};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::gauge::ConstGauge;

/// Registers the metrics of the endpoints and of the metagraph's age.
pub(crate) fn observe(chain: &Arc<SubtensorChain>, netuid: NetUid, metrics: &Metrics) {
    let collector = Box::new(Endpoints { chain: Arc::clone(chain), netuid });
    metrics.register(|registry| registry.register_collector(collector));
}

#[derive(Debug)]
struct Endpoints {
    chain: Arc<SubtensorChain>,
    netuid: NetUid,
}

/// One number of each endpoint; none: it has none.
type Column = fn(&basilica_chain::EndpointReport) -> Option<i64>;

const COLUMNS: [(&str, &str, Column); 3] = [
    ("chain_endpoint_up", "1 where nothing but good is known of the endpoint", |report| {
        Some((report.state == EndpointState::Healthy).into())
    }),
    ("chain_endpoint_in_use", "1 where calls go to", |report| Some(report.in_use.into())),
    ("chain_endpoint_head", "Newest finalised block seen at the endpoint", |report| {
        let BlockNumber(head) = report.head?;
        i64::try_from(head).ok()
    }),
];

impl Collector for Endpoints {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let reports = self.chain.endpoints();
        // Two endpoints of one host differ in what is not shown, so their place tells them apart.
        let places: Vec<String> = (0..reports.len()).map(|place| place.to_string()).collect();
        for (name, help, column) in COLUMNS {
            let gauge = ConstGauge::<i64>::new(0);
            let mut family = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            for (report, place) in reports.iter().zip(&places) {
                let labels = [("endpoint", report.endpoint.as_str()), ("place", place)];
                if let Some(value) = column(report) {
                    ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        let one = ConstGauge::<i64>::new(1);
        let help = "1 for the state that the endpoint is in";
        let mut family = encoder.encode_descriptor("chain_endpoint_state", help, None, one.metric_type())?;
        for (report, place) in reports.iter().zip(&places) {
            let state = report.state.as_str();
            let labels = [("endpoint", report.endpoint.as_str()), ("place", place), ("state", state)];
            one.encode(family.encode_family(&labels)?)?;
        }
        if let Some(age) = self.chain.metagraph_age(self.netuid) {
            let age = ConstGauge::new(age.as_duration().as_secs_f64());
            let help = "Since the newest metagraph was read";
            let name = "chain_metagraph_age_seconds";
            age.encode(encoder.encode_descriptor(name, help, None, age.metric_type())?)?;
        }
        Ok(())
    }
}
