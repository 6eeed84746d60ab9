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
            // It held for so long that this is another story.
            if self.clock.monotonic().saturating_sub(since) > RETAKE_MOST.as_duration().saturating_mul(2) {
                retake.reset();
            }
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
                    let now = self.clock.monotonic();
                    let due = before.map(|before| before.due);
                    let due = due.unwrap_or_else(|| now + retake.next(self.entropy.as_ref()).as_duration());
                    self.tell_taken(there, Millis::from(due.saturating_sub(now)));
                    Some(Taken { there, due })
                }
            };
        }
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

    fn tell_taken(&self, there: Axon, pause: Millis) {
        let (there, own) = (there.address, self.axon.address);
        self.readiness.not_ready(format!(
            "the chain has {there} for this hotkey, not {own}: does another miner run with it? published again in {pause}"
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
mod tests {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};
    use std::sync::Mutex;

    use async_trait::async_trait;
    use basilica_ports::{
        ChainIdentity, Metagraph, Neuron, PreparedWeights, WeightRules, WeightsOrder, WeightsOutcome,
    };
    use basilica_runtime_service::testing::{SeededEntropy, VirtualClock};
    use basilica_runtime_service::{Metrics, Readiness};
    use basilica_types::{BlockHash, Coldkey, MechanismId, Rao, Uid, Weight};
    use tokio::sync::watch;

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

    fn server(
        chain: Scripted,
        clock: &Arc<VirtualClock>,
        readiness: &Readiness,
    ) -> (AxonServer, watch::Sender<Option<Snapshot>>) {
        let (view, subnet) = watch::channel(None);
        let server = AxonServer {
            chain: Arc::new(chain),
            clock: clock.clone(),
            entropy: SeededEntropy::new(1),
            netuid: NetUid(39),
            own: Hotkey::from_bytes([1; 32]),
            axon: OWN,
            subnet,
            readiness: readiness.condition("axon"),
            metrics: Arc::new(MinerMetrics::register(&Metrics::new())),
        };
        (server, view)
    }

    const OWN: Axon = Axon { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)), 50051) };
    const OTHER: Axon = Axon { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 8)), 50051) };

    /// The subnet as of `block`, with the own hotkey if `axon` says what it has.
    fn read(clock: &VirtualClock, block: u64, axon: Option<Option<Axon>>) -> Option<Snapshot> {
        let neuron = |axon| Neuron {
            uid: Uid(0),
            hotkey: Hotkey::from_bytes([1; 32]),
            coldkey: Coldkey::from_bytes([2; 32]),
            stake: Rao(0),
            validator_permit: false,
            axon,
            last_update: BlockNumber(1),
        };
        let metagraph = Metagraph {
            netuid: NetUid(39),
            block: BlockNumber(block),
            at: clock.now(),
            tempo: 360,
            owner_hotkey: None,
            neurons: axon.map(neuron).into_iter().collect(),
        };
        Some(Snapshot {
            metagraph: Arc::new(metagraph),
            fetched_at: clock.now(),
            fetched: clock.monotonic(),
            assignment: Arc::default(),
        })
    }

    /// Lets the server do all that it can do now.
    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    fn problem(readiness: &Readiness) -> Option<String> {
        readiness.report().remove(0).1.err()
    }

    #[tokio::test]
    async fn the_axon_is_served_once_the_chain_answers_and_ready_only_then() {
        let (clock, readiness, stop) = (VirtualClock::new(), Readiness::new(), Stop::new());
        let served = Ok(AxonOutcome::Served(BlockNumber(7)));
        let refused = Err(ChainError::Dispatch { error: "SubtensorModule.InvalidIpAddress".to_owned() });
        let chain = Scripted(Mutex::new(vec![served, refused, Err(unreachable())]));
        let (server, _view) = server(chain, &clock, &readiness);
        let (ended, ()) = tokio::join!(server.run(stop.clone()), async {
            for reason in ["not on the chain yet", "refuses the axon"] {
                clock.sleepers(1).await;
                assert!(problem(&readiness).is_some_and(|told| told.contains(reason)), "{reason}");
                clock.advance_to_next();
                settle().await;
            }
            assert!(readiness.is_ready());
            stop.request();
        });
        ended.unwrap();
        assert_eq!(server.metrics.axon_requests.get(), 1);
        assert_eq!(server.metrics.chain_errors.get(), 2);
    }

    #[tokio::test]
    async fn an_axon_that_another_miner_took_is_told_and_taken_back_later_each_time() {
        let (clock, readiness, stop) = (VirtualClock::new(), Readiness::new(), Stop::new());
        let served = |block| Ok(AxonOutcome::Served(BlockNumber(block)));
        let chain = Scripted(Mutex::new(vec![served(300), served(200), served(100)]));
        let (server, view) = server(chain, &clock, &readiness);
        let (ended, ()) = tokio::join!(server.run(stop.clone()), async {
            settle().await;
            view.send_replace(read(&clock, 99, Some(Some(OTHER))));
            settle().await;
            assert!(readiness.is_ready(), "read before the axon was served");
            for (block, least) in [(100, 600), (200, 1200)] {
                view.send_replace(read(&clock, block, Some(Some(OTHER))));
                settle().await;
                let told = problem(&readiness).expect("told");
                assert!(told.contains("203.0.113.8:50051 for this hotkey, not 203.0.113.7:50051"), "{told}");
                // Later readings of the same put nothing off.
                clock.advance(Millis::from_secs(60));
                view.send_replace(read(&clock, block + 5, Some(Some(OTHER))));
                settle().await;
                let left = clock.next_sleep_ends_in().expect("it waits").0 + 60_000;
                assert!((least * 1000..=least * 2000).contains(&left), "{left}");
                clock.advance_to_next();
                settle().await;
                assert!(readiness.is_ready());
            }
            assert_eq!(server.metrics.axon_requests.get(), 3);
            // The other one gave it back by itself: nothing is published.
            view.send_replace(read(&clock, 300, Some(Some(OTHER))));
            settle().await;
            assert!(!readiness.is_ready());
            view.send_replace(read(&clock, 301, Some(Some(OWN))));
            settle().await;
            assert!(readiness.is_ready() && clock.next_sleep_ends_in().is_none());
            stop.request();
        });
        ended.unwrap();
    }

    #[tokio::test]
    async fn an_axon_that_went_with_the_place_on_the_subnet_is_published_with_the_next_place() {
        let (clock, readiness, stop) = (VirtualClock::new(), Readiness::new(), Stop::new());
        let answers = vec![Ok(AxonOutcome::Served(BlockNumber(200))), Ok(AxonOutcome::Unchanged)];
        let (server, view) = server(Scripted(Mutex::new(answers)), &clock, &readiness);
        let (ended, ()) = tokio::join!(server.run(stop.clone()), async {
            settle().await;
            view.send_replace(read(&clock, 150, None));
            settle().await;
            assert_eq!(server.metrics.axon_requests.get(), 0, "nothing can be published without a place");
            view.send_replace(read(&clock, 160, Some(None)));
            settle().await;
            assert_eq!(server.metrics.axon_requests.get(), 1);
            assert!(readiness.is_ready());
            stop.request();
        });
        ended.unwrap();
    }
}
