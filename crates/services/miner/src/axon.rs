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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use basilica_ports::{
        ChainIdentity, Metagraph, PreparedWeights, WeightRules, WeightsOrder, WeightsOutcome,
    };
    use basilica_runtime_service::testing::{SeededEntropy, VirtualClock};
    use basilica_runtime_service::{Metrics, Readiness};
    use basilica_types::{BlockHash, BlockNumber, Hotkey, MechanismId, Uid, Weight};

    use super::*;

    /// Answers `serve_axon` from a list, last first; everything else is out of reach.
    struct Scripted(Mutex<Vec<Result<AxonOutcome, ChainError>>>);

    fn unreachable() -> ChainError {
        ChainError::Unreachable { endpoint: "test".to_owned(), source: "down".into() }
    }

    #[async_trait]
    impl Chain for Scripted {
        async fn identity(&self) -> Result<ChainIdentity, ChainError> {
            Err(unreachable())
        }
        async fn head(&self) -> Result<BlockNumber, ChainError> {
            Err(unreachable())
        }
        async fn block_hash(&self, _: BlockNumber) -> Result<BlockHash, ChainError> {
            Err(unreachable())
        }
        async fn metagraph(&self, _: NetUid) -> Result<Metagraph, ChainError> {
            Err(unreachable())
        }
        async fn serve_axon(&self, _: NetUid, _: Axon) -> Result<AxonOutcome, ChainError> {
            self.0.lock().unwrap().pop().expect("no call after the axon is served")
        }
        async fn weight_rules(&self, _: NetUid, _: MechanismId) -> Result<WeightRules, ChainError> {
            Err(unreachable())
        }
        async fn prepare_weights(&self, _: &WeightsOrder) -> Result<PreparedWeights, ChainError> {
            Err(unreachable())
        }
        async fn conclude_weights(&self, _: &PreparedWeights) -> Result<WeightsOutcome, ChainError> {
            Err(unreachable())
        }
        async fn weights_of(
            &self,
            _: NetUid,
            _: MechanismId,
            _: &Hotkey,
        ) -> Result<(BlockNumber, Option<Vec<(Uid, Weight)>>), ChainError> {
            Err(unreachable())
        }
    }

    #[tokio::test]
    async fn the_axon_is_served_once_the_chain_answers_and_ready_only_then() {
        let clock = VirtualClock::new();
        let readiness = Readiness::new();
        let served = Ok(AxonOutcome::Served(BlockNumber(7)));
        let refused = Err(ChainError::Dispatch { error: "SubtensorModule.InvalidIpAddress".to_owned() });
        let server = AxonServer {
            chain: Arc::new(Scripted(Mutex::new(vec![served, refused, Err(unreachable())]))),
            clock: clock.clone(),
            entropy: SeededEntropy::new(1),
            netuid: NetUid(39),
            axon: Axon { address: ([203, 0, 113, 7], 50051).into() },
            readiness: readiness.condition("axon"),
            metrics: Arc::new(MinerMetrics::register(&Metrics::new())),
        };
        let (ended, ()) = tokio::join!(server.run(Stop::new()), async {
            for reason in ["not on the chain yet", "refuses the axon"] {
                clock.sleepers(1).await;
                let report = readiness.report();
                assert!(report[0].1.as_ref().is_err_and(|told| told.contains(reason)), "{report:?}");
                clock.advance_to_next();
                tokio::task::yield_now().await;
            }
        });
        assert!(ended.is_ok() && readiness.is_ready());
        assert_eq!(server.metrics.axon_requests.get(), 1);
        assert_eq!(server.metrics.chain_errors.get(), 2);
    }
}
