//! Publishes where the miner listens: once, and only if the chain says otherwise.

use std::sync::Arc;

use basilica_ports::{Axon, AxonOutcome, BoxError, Chain, ChainError, Clock, Entropy, FailureClass};
use basilica_runtime_service::{Backoff, Condition, ErrorChain, Stop};
use basilica_types::{Millis, NetUid};
use tracing::{info, warn};

use crate::metrics::MinerMetrics;

const RETRY_FIRST: Millis = Millis::from_secs(1);
const RETRY_MOST: Millis = Millis::from_secs(120);

/// The one who publishes.
pub(crate) struct AxonServer {
    pub(crate) chain: Arc<dyn Chain>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) netuid: NetUid,
    pub(crate) axon: Axon,
    pub(crate) readiness: Condition,
    pub(crate) metrics: Arc<MinerMetrics>,
}

impl AxonServer {
    /// Returns when the chain says what it should. gRPC is served meanwhile: validators that know the address may come.
    pub(crate) async fn run(&self, stop: Stop) -> Result<(), BoxError> {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
        loop {
            let served = tokio::select! {
                () = stop.requested() => return Ok(()),
                served = self.chain.serve_axon(self.netuid, self.axon) => served,
            };
            match served {
                Ok(outcome) => {
                    self.report(outcome);
                    return Ok(());
                }
                Err(error) => {
                    let pause = backoff.next(self.entropy.as_ref());
                    self.failed(&error, pause);
                    tokio::select! {
                        () = stop.requested() => return Ok(()),
                        () = self.clock.sleep(pause) => {}
                    }
                }
            }
        }
    }

    fn report(&self, outcome: AxonOutcome) {
        self.readiness.ready();
        match outcome {
            AxonOutcome::Unchanged => {
                info!(axon.address = %self.axon.address, "axon is on the chain already")
            }
            AxonOutcome::Served(block) => {
                self.metrics.axon_requests.inc();
                info!(axon.address = %self.axon.address, block = %block, "axon served");
            }
        }
    }

    fn failed(&self, error: &ChainError, pause: Millis) {
        self.metrics.chain_errors.inc();
        let reason = match error.class() {
            FailureClass::Transient => "the axon is not on the chain yet",
            FailureClass::Permanent | FailureClass::Invalid => "the chain refuses the axon; see the log",
        };
        self.readiness.not_ready(reason);
        warn!(error = %ErrorChain(error), retry_in = %pause, "Failed to register on network");
    }
}
