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
        // After a long peace it is another story.
        clock.advance(Millis::from_secs(5 * 3_600));
        // The other one gave it back by itself: nothing is published.
        view.send_replace(read(&clock, 300, Some(Some(OTHER))));
        settle().await;
        assert!(!readiness.is_ready());
        assert!(clock.next_sleep_ends_in().is_some_and(|left| left <= RETAKE_FIRST));
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
    let served = Ok(AxonOutcome::Served(BlockNumber(200)));
    let answers = vec![served, Ok(AxonOutcome::Unchanged), Err(unreachable())];
    let (server, view) = server(Scripted(Mutex::new(answers)), &clock, &readiness);
    let (ended, ()) = tokio::join!(server.run(stop.clone()), async {
        settle().await;
        let before = read(&clock, 100, Some(None));
        clock.advance_to_next();
        settle().await;
        view.send_replace(before);
        settle().await;
        assert!(readiness.is_ready(), "read before the chain said that the axon is there");
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
