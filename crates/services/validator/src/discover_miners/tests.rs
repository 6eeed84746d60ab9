//! What a miner's list may cost, and what a failed or panicked discovery leaves behind.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use basilica_ports::{Clock as _, EntropyRng, MinerApi, MinerCallError, MinerDialer, RefusalCode};
use basilica_runtime_service::testing::{SeededEntropy, VirtualClock};
use basilica_types::{NodeAddress, RequestNonce, SessionToken, Uid};
use basilica_wire::Keypair;
use basilica_wire::discovery::{
    AuthGrant, AuthRequest, DiscoverRequest, DiscoverResponse, NodeStatus, SESSION_SECS,
};

use super::*;
use crate::scripted::{Nodes, over_time};
use crate::set_weights::tests::{MINER, World, metagraph};

fn reports(hosts: impl IntoIterator<Item = u16>) -> Vec<NodeReport> {
    let report = |host: u16| {
        let address: NodeAddress = format!("root@n{host}.example:22").parse().unwrap();
        NodeReport {
            node_id: address.node_id(),
            address,
            status: NodeStatus::Available,
            hourly_rate_per_gpu: None,
            host_keys: Vec::new(),
        }
    };
    hosts.into_iter().map(report).collect()
}

fn ids(reports: &[NodeReport]) -> Vec<NodeId> {
    reports.iter().map(|report| report.node_id).collect()
}

#[test]
fn new_nodes_beyond_the_bound_are_refused_and_known_ones_keep_their_place() {
    let known = ids(&reports(0..3));
    // The known ones come last, behind as many new ones as a response can hold.
    let (kept, refused) = bounded(reports((10..4_000).chain(0..3)), &known, 5);
    assert_eq!(ids(&kept), ids(&reports([10, 11, 0, 1, 2])));
    assert_eq!(refused, 3_988);
    let (kept, refused) = bounded(reports(0..3), &known, 1);
    assert_eq!((kept.len(), refused), (3, 0), "a lower bound throws nobody out");
    let (kept, refused) = bounded(reports([7, 7, 7]), &[], 1);
    assert_eq!((kept.len(), refused), (3, 0), "one node named thrice is one node");
}

#[tokio::test]
async fn names_without_end_do_not_fill_the_database() {
    let world = World::new();
    world.judge_a_node().await;
    let shared = world.boot().await;
    for round in 0..10u16 {
        let known = shared.ports.store.nodes_of(MINER).await.unwrap();
        let (kept, _) = bounded(reports(round * 100..round * 100 + 100), &known, 150);
        shared.ports.store.record_discovery(MINER, &kept, shared.now()).await.unwrap();
    }
    assert_eq!(shared.ports.store.nodes_of(MINER).await.unwrap().len(), 150);
}

fn discovery(shared: Shared) -> Discovery {
    // A public address, which nobody dials: making the session's key panics before.
    let axon = "8.8.8.8:50051".parse().unwrap();
    let seen = vec![SeenMiner { hotkey: MINER, uid: Uid(2), axon }];
    Discovery { shared: Arc::new(shared), miners: BTreeMap::new(), tasks: TaskSet::new(), seen }
}

/// Discovers the one miner, for whom making a key panics in this world.
async fn panic_once(discovery: &mut Discovery) {
    discovery.start_due();
    let done = discovery.tasks.next().await.unwrap().expect("the panic is not the loop's");
    assert!(done.result.is_err());
    discovery.finish(done).await;
}

#[tokio::test]
async fn a_discovery_that_panicked_is_repeated_after_a_pause() {
    let world = World::new();
    let mut discovery = discovery(world.boot().await);
    panic_once(&mut discovery).await;
    let miner = &discovery.miners[&MINER];
    assert!(!miner.busy && miner.next > discovery.shared.now());
    discovery.start_due();
    assert!(discovery.tasks.is_empty(), "not at once");
    let pause = miner_next(&discovery);
    world.clock.advance(pause);
    panic_once(&mut discovery).await;
}

fn miner_next(discovery: &Discovery) -> Millis {
    discovery.miners[&MINER].next.since(discovery.shared.now())
}

#[tokio::test]
async fn a_lost_session_does_not_cut_the_pause_after_failures() {
    let world = World::new();
    let mut discovery = discovery(world.boot().await);
    let mut longest = Millis(0);
    for _ in 0..8 {
        panic_once(&mut discovery).await;
        let pause = miner_next(&discovery);
        discovery.rediscover_lost();
        assert_eq!(miner_next(&discovery), pause, "whatever nodes without a session ask for");
        longest = longest.max(pause);
        world.clock.advance(pause);
    }
    assert!(longest > discovery.shared.settings.rediscovery_pause);
    // After a success the next one is far away, and a lost session brings it forward.
    let miner = discovery.miners.get_mut(&MINER).unwrap();
    miner.backing_off = false;
    miner.next = discovery.shared.now() + discovery.shared.settings.discovery_interval;
    discovery.rediscover_lost();
    assert_eq!(miner_next(&discovery), discovery.shared.settings.rediscovery_pause);
}

#[tokio::test]
async fn a_look_at_the_chain_tells_a_wrong_clock_and_a_right_one() {
    let world = World::new();
    let mut discovery = discovery(world.boot().await);
    let shared = Arc::clone(&discovery.shared);
    let block = shared.now();
    world.chain.date(block);
    let told = || world.readiness.report().into_iter().find(|(name, _)| *name == "clock").unwrap().1;
    assert_eq!(told(), Err("starting".to_owned()), "before the first look nothing is known");
    // Ours minus the block's, and what is said of it.
    for (offset, words) in [
        (0, None),
        (-60_000, None),
        (-60_001, Some("set it by NTP")),
        (36_500, None),
        (900_001, Some("fallback_endpoints")),
        (-3_600_000, Some("set it by NTP")),
        (900_000, None),
    ] {
        world.clock.set_wall_clock(offset);
        discovery.look_at_chain().await.unwrap();
        assert!((shared.metrics.clock_offset.get() - offset as f64 / 1_000.0).abs() < 1e-6, "{offset}");
        match (told(), words) {
            (Ok(()), None) => {}
            (Err(why), Some(words)) => {
                assert!(why.contains(words) && why.contains(&block.rfc3339()), "{offset}: {why}");
            }
            (told, _) => panic!("{offset}: {told:?}"),
        }
        assert_eq!(shared.clock_is_behind(), offset < -60_000, "{offset}");
    }
}

#[tokio::test]
async fn the_clock_is_behind_until_it_is_set_right_whenever_the_chain_is_looked_at() {
    let world = World::new();
    let shared = world.boot().await;
    assert!(!shared.clock_is_behind());
    world.clock.set_wall_clock(-3_600_000);
    assert!(shared.clock_is_behind());
    world.clock.set_wall_clock(0);
    assert!(!shared.clock_is_behind());
    // A development chain's blocks may be of any time.
    let gpus = shared.chain_view().unwrap().gpus;
    let future = Arc::new(metagraph(shared.now() + Millis::from_secs(86_400)));
    for (keeps_time, behind) in [(true, true), (false, false)] {
        let (gpus, metagraph) = (gpus.clone(), Arc::clone(&future));
        shared.set_chain_view(ChainView { gpus, metagraph, keeps_time });
        assert_eq!(shared.clock_is_behind(), behind);
    }
}

#[tokio::test]
async fn a_clock_that_was_ahead_puts_no_look_off() {
    let world = World::new();
    let shared = Arc::new(world.boot().await);
    let right = shared.now();
    world.chain.date(right);
    world.clock.set_wall_clock(86_400_000);
    let stop = Stop::new();
    let mut tasks = TaskSet::new();
    tasks.spawn("discover-miners", run(Arc::clone(&shared), stop.clone()));
    let told = || world.readiness.report().into_iter().find(|(name, _)| *name == "clock").unwrap().1;
    world.clock.sleepers(1).await;
    assert!(told().unwrap_err().contains("fallback_endpoints"));
    world.clock.set_wall_clock(0);
    let longest = shared.settings.metagraph_ttl.max(CHAIN_PAUSE);
    // The loop wakes within a minute, and looks one longest pause later.
    for _ in 0..2 + longest.0.div_ceil(60_000) {
        world.clock.advance(Millis::from_secs(60));
        world.clock.sleepers(1).await;
    }
    assert_eq!(told(), Ok(()));
    stop.request();
    tasks.next().await.unwrap().expect("no panic").unwrap();
}

/// A miner that opens sessions and then fails at every discovery; at the fourth it says that it knows no session.
struct Failing {
    keypair: Keypair,
    clock: Arc<VirtualClock>,
    opened: AtomicU32,
    discovered: AtomicU32,
}

struct Dialer(Arc<Failing>);

#[async_trait]
impl MinerDialer for Dialer {
    async fn dial(&self, _: SocketAddr) -> Result<Arc<dyn MinerApi>, MinerCallError> {
        Ok(Arc::<Failing>::clone(&self.0))
    }
}

#[async_trait]
impl MinerApi for Failing {
    async fn authenticate(&self, request: AuthRequest) -> Result<AuthGrant, MinerCallError> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        let session_token = SessionToken::from_random([4; 32]);
        let response_nonce = RequestNonce::from_random([5; 16]);
        let expires_at_secs = self.clock.now().as_secs() + SESSION_SECS;
        let (validator, nonce) = (&request.validator, &request.nonce);
        let v1 = AuthGrant::payload(validator, &response_nonce, &session_token);
        let v2 = AuthGrant::payload_v2(validator, nonce, &response_nonce, expires_at_secs, &session_token);
        let entropy = SeededEntropy::new(1);
        let sign = |payload: &[u8]| self.keypair.sign(payload, EntropyRng(entropy.as_ref()));
        let (signature, signature_v2) = (sign(&v1), sign(&v2));
        let miner = self.keypair.hotkey();
        Ok(AuthGrant { miner, session_token, expires_at_secs, response_nonce, signature, signature_v2 })
    }

    async fn discover(&self, _: DiscoverRequest) -> Result<DiscoverResponse, MinerCallError> {
        let lost = self.discovered.fetch_add(1, Ordering::SeqCst) == 3;
        let code = if lost { RefusalCode::Unauthenticated } else { RefusalCode::Unavailable };
        Err(MinerCallError::Refused { code, message: "not now".to_owned() })
    }
}

#[tokio::test]
async fn a_session_outlives_failed_discoveries_until_the_miner_no_longer_knows_it() {
    let world = World::new();
    let mut shared = world.boot().await;
    let failing = Arc::new(Failing {
        keypair: Keypair::from_seed(&[7; 32]).unwrap(),
        clock: Arc::clone(&world.clock),
        opened: AtomicU32::new(0),
        discovered: AtomicU32::new(0),
    });
    shared.ports.miners = Arc::new(Dialer(Arc::clone(&failing)));
    shared.ports.nodes = Nodes::new(&world.clock, BTreeMap::new());
    let mut discovery = discovery(shared);
    let hotkey = failing.keypair.hotkey();
    discovery.seen[0].hotkey = hotkey;
    let counts = || (failing.opened.load(Ordering::SeqCst), failing.discovered.load(Ordering::SeqCst));
    for expected in [(1, 1), (1, 2), (1, 3), (2, 5), (2, 6)] {
        discovery.start_due();
        let done = over_time(&world.clock, discovery.tasks.next()).await.unwrap().unwrap();
        discovery.finish(done).await;
        assert_eq!(counts(), expected);
        discovery.rediscover_lost();
        let pause = discovery.miners[&hotkey].next.since(discovery.shared.now());
        world.clock.advance(pause);
    }
}
