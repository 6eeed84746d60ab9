//! Keeps where the miner listens on the chain: published at the start if the chain says otherwise, and looked at with every
//! metagraph from then on.
//!
//! The chain forgets it with the hotkey's place on the subnet, and another miner with the same hotkey publishes its own.
//! Validators then find nobody, or somebody else, so the service is not ready. What is missing is published at once; the
//! address of somebody else is replaced after 10 to 20 minutes, and later each time that it comes back, up to 2 hours: two
//! miners would take it from each other for ever (the chain allows a change every 50 blocks), and who moves a miner has time
//! to stop the old one. A start publishes at once.
//!
//! Rejected: leaving the other's address there. The other miner may be one that ran for a minute by mistake.

use std::sync::Arc;
use std::time::Duration;

use basilica_ports::{Axon, AxonOutcome, BoxError, Chain, ChainError, Clock, Entropy, FailureClass};
use basilica_runtime_service::{Backoff, Condition, ErrorChain, Stop};
use basilica_types::{BlockNumber, Hotkey, Millis, NetUid};
use tracing::{info, warn};

use crate::metrics::MinerMetrics;
use crate::subnet::{Snapshot, SubnetView};

const RETRY_FIRST: Millis = Millis::from_secs(1);
const RETRY_MOST: Millis = Millis::from_secs(120);
/// Pauses before another's address is replaced; the first is longer than the chain's own between two changes.
const RETAKE_FIRST: Millis = Millis::from_secs(1200);
const RETAKE_MOST: Millis = Millis::from_secs(7200);

/// The one who publishes.
pub(crate) struct AxonServer {
    pub(crate) chain: Arc<dyn Chain>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) netuid: NetUid,
    pub(crate) own: Hotkey,
    pub(crate) axon: Axon,
    pub(crate) subnet: SubnetView,
    pub(crate) readiness: Condition,
    pub(crate) metrics: Arc<MinerMetrics>,
}

/// What a metagraph says of the axon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is read too early to tell, or the hotkey is not registered: nothing can be published.
    Unknown,
    Own,
    Missing,
    Other(Axon),
}

/// Another's address in the place of the own.
#[derive(Clone, Copy, Debug)]
struct Taken {
    there: Axon,
    /// When it is replaced, by the monotonic clock.
    due: Duration,
}

impl AxonServer {
    /// Runs until the stop is requested. gRPC is served meanwhile: validators that know the address may come.
    pub(crate) async fn run(&self, stop: Stop) -> Result<(), BoxError> {
        tokio::select! {
            () = stop.requested() => Ok(()),
            never = self.keep() => never,
        }
    }

    async fn keep(&self) -> Result<(), BoxError> {
        let mut subnet = self.subnet.clone();
        let mut retake = Backoff::new(RETAKE_FIRST, RETAKE_MOST);
        loop {
            let served = self.serve().await;
            let since = self.clock.monotonic();
            self.until_lost(&mut subnet, (served, since), &mut retake).await?;
        }
    }

    /// Returns when the chain says what it should, with the block since which it does where that is known.
    async fn serve(&self) -> BlockNumber {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
        loop {
            match self.chain.serve_axon(self.netuid, self.axon).await {
                Ok(outcome) => return self.report(outcome),
                Err(error) => {
                    let pause = backoff.next(self.entropy.as_ref());
                    self.failed(&error, pause);
                    self.clock.sleep(pause).await;
                }
            }
        }
    }

    /// Returns when it is to be published again.
    async fn until_lost(
        &self,
        subnet: &mut SubnetView,
        served: (BlockNumber, Duration),
        retake: &mut Backoff,
    ) -> Result<(), BoxError> {
        let mut taken: Option<Taken> = None;
        loop {
            tokio::select! {
                () = self.until_due(taken) => return Ok(()),
                changed = subnet.changed() => changed?,
            }
            let standing = self.standing(subnet.borrow_and_update().as_ref(), served);
            taken = match (standing, taken) {
                (Standing::Unknown, taken) => taken,
                (Standing::Own, None) => None,
                (Standing::Own, Some(_)) => {
                    self.readiness.ready();
                    info!(axon.address = %self.axon.address, "axon is on the chain again");
                    None
                }
                (Standing::Missing, _) => {
                    self.readiness.not_ready("the axon is not on the chain any more");
                    warn!(axon.address = %self.axon.address, "the axon is not on the chain any more; it is published again");
                    return Ok(());
                }
                (Standing::Other(there), Some(before)) if there == before.there => Some(before),
                (Standing::Other(there), before) => {
                    let due = before.map_or_else(|| self.due(served.1, retake), |before| before.due);
                    self.tell_taken(there, due);
                    Some(Taken { there, due })
                }
            };
        }
    }

    /// When an address that has come in the place of the own is replaced, by the monotonic clock. `since`: when the own was there.
    fn due(&self, since: Duration, retake: &mut Backoff) -> Duration {
        let now = self.clock.monotonic();
        // It held for so long that this is another story.
        if now.saturating_sub(since) > RETAKE_MOST.as_duration().saturating_mul(2) {
            retake.reset();
        }
        now + retake.next(self.entropy.as_ref()).as_duration()
    }

    async fn until_due(&self, taken: Option<Taken>) {
        match taken {
            Some(Taken { due, .. }) => {
                self.clock.sleep(Millis::from(due.saturating_sub(self.clock.monotonic()))).await;
            }
            None => std::future::pending().await,
        }
    }

    fn standing(&self, snapshot: Option<&Snapshot>, (block, since): (BlockNumber, Duration)) -> Standing {
        let Some(snapshot) = snapshot.filter(|s| s.metagraph.block >= block && s.fetched >= since) else {
            return Standing::Unknown;
        };
        match snapshot.metagraph.neuron(&self.own).map(|neuron| neuron.axon) {
            None => Standing::Unknown,
            Some(None) => Standing::Missing,
            Some(Some(there)) if there == self.axon => Standing::Own,
            Some(Some(there)) => Standing::Other(there),
        }
    }

    fn report(&self, outcome: AxonOutcome) -> BlockNumber {
        self.readiness.ready();
        match outcome {
            AxonOutcome::Unchanged => {
                info!(axon.address = %self.axon.address, "axon is on the chain already");
                BlockNumber(0)
            }
            AxonOutcome::Served(block) => {
                self.metrics.axon_requests.inc();
                info!(axon.address = %self.axon.address, block = %block, "axon served");
                block
            }
        }
    }

    fn tell_taken(&self, there: Axon, due: Duration) {
        let (there, own) = (there.address, self.axon.address);
        let pause = Millis::from(due.saturating_sub(self.clock.monotonic()));
        let at = (self.clock.now() + pause).rfc3339();
        self.readiness.not_ready(format!(
            "the chain has {there} for this hotkey, not {own}: does another miner run with it? published again at {at}"
        ));
        warn!(
            axon.address = %own, axon.on_chain = %there, retry_in = %pause,
            "another address is on the chain for this hotkey: validators ask there; see that no other miner runs with it"
        );
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
mod tests;
