//! What the miner knows of its subnet, kept fresh beside the requests: no stranger's request costs a chain call.

use std::sync::Arc;

use basilica_ports::{Chain, Clock, Entropy, Metagraph};
use basilica_runtime_service::{Backoff, Condition, ErrorChain, Stop};
use basilica_types::{Hotkey, Millis, NetUid, Timestamp};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::assignment::AssignmentStrategy;
use crate::metrics::MinerMetrics;

/// First pause after the chain did not answer.
const RETRY_FIRST: Millis = Millis::from_secs(1);
/// Longest pause.
const RETRY_MOST: Millis = Millis::from_secs(60);

/// The subnet at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) metagraph: Arc<Metagraph>,
    pub(crate) fetched_at: Timestamp,
    /// Who gets the nodes.
    pub(crate) assigned: Option<Hotkey>,
}

impl Snapshot {
    pub(crate) fn permits(&self, hotkey: &Hotkey) -> bool {
        self.metagraph.neuron(hotkey).is_some_and(|neuron| neuron.validator_permit)
    }
}

/// The newest snapshot; none until the chain answered once.
pub(crate) type SubnetView = watch::Receiver<Option<Snapshot>>;

/// Fetches the metagraph again and again.
pub(crate) struct SubnetFollower {
    pub(crate) chain: Arc<dyn Chain>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) netuid: NetUid,
    pub(crate) own: Hotkey,
    pub(crate) strategy: AssignmentStrategy,
    pub(crate) interval: Millis,
    pub(crate) readiness: Condition,
    pub(crate) metrics: Arc<MinerMetrics>,
    pub(crate) view: watch::Sender<Option<Snapshot>>,
}

impl SubnetFollower {
    pub(crate) async fn run(&self, stop: Stop) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
        loop {
            // A chain that hangs must not hold up the stop.
            let answer = tokio::select! {
                () = stop.requested() => return,
                answer = self.chain.metagraph(self.netuid) => answer,
            };
            let pause = match answer {
                Ok(metagraph) => {
                    backoff.reset();
                    self.publish(metagraph);
                    self.interval
                }
                Err(error) => {
                    let pause = backoff.next(self.entropy.as_ref());
                    warn!(error = %ErrorChain(&error), retry_in = %pause, "chain does not answer");
                    self.metrics.chain_errors.inc();
                    self.readiness.not_ready("the chain does not answer");
                    pause
                }
            };
            tokio::select! {
                () = stop.requested() => return,
                () = self.clock.sleep(pause) => {}
            }
        }
    }

    fn publish(&self, metagraph: Metagraph) {
        if let Some(neuron) = metagraph.neuron(&self.own) {
            self.readiness.ready();
            self.metrics.uid.set(i64::from(neuron.uid.0));
        } else {
            warn!(hotkey = %self.own, netuid = %self.netuid, "own hotkey is not registered on the subnet; validators will not find this miner");
            self.readiness.not_ready("the hotkey is not registered on the subnet");
        }
        let assigned = self.strategy.assigned(&metagraph);
        let snapshot = Snapshot { metagraph: Arc::new(metagraph), fetched_at: self.clock.now(), assigned };
        let before = self.view.send_replace(Some(snapshot));
        let known = before.is_some();
        let before = before.and_then(|snapshot| snapshot.assigned);
        match assigned {
            Some(validator) if before != assigned => {
                info!(validator.hotkey = %validator, "Assigned nodes to validator")
            }
            None if !known || before.is_some() => warn!("No validators found matching criteria"),
            Some(_) | None => {}
        }
    }
}
