//! Pages and filters over a fleet, and when it is read again.

use basilica_ports::VerdictSummary;
use basilica_types::{GpuUuid, NodeAddress};
use basilica_verification::{Due, ProvenGpu};
use basilica_wire::discovery::NodeStatus;
use proptest::prelude::*;

use super::*;
use crate::set_weights::tests::World;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn hotkey(miner: u8) -> Hotkey {
    Hotkey::from_bytes([miner; 32])
}

fn miner(of: u8) -> MinerRecord {
    MinerRecord {
        hotkey: hotkey(of),
        uid: Some(Uid(u16::from(of))),
        axon: "198.51.100.1:50051".parse().unwrap(),
        seen: NOW,
        discovered: Some(NOW),
        failure: None,
    }
}

/// A node of a miner with so many H100 and this score.
fn node(miner: u8, host: u8, gpus: u8, score: u16) -> NodeRecord {
    let address: NodeAddress = format!("root@198.51.100.{host}:22").parse().unwrap();
    let gpus = (0..gpus)
        .map(|gpu| {
            let uuid: GpuUuid =
                format!("GPU-000000{miner:02x}-{host:04x}-0000-0000-{gpu:012x}").parse().unwrap();
            let gpu = ProvenGpu { uuid, category: Category::H100 };
            PaidGpu { gpu, memory_bytes: host.is_multiple_of(2).then_some(85_520_809_984) }
        })
        .collect();
    NodeRecord {
        key: NodeKey { miner: hotkey(miner), node: address.node_id() },
        address,
        listed: Some(NodeStatus::Available),
        rate: None,
        host_keys: Vec::new(),
        first_seen: NOW,
        due: Due { light: NOW, full: NOW },
        deadlines: Default::default(),
        series: None,
        last_verdict: None::<VerdictSummary>,
        last_full: None,
        last_proof: Some((NOW, gpus)),
        standing: Some(basilica_ports::StoredStanding {
            gate: "ok".to_owned(),
            score: BasisPoints::new(score).unwrap(),
            multiplier: Ppm::ONE,
            banned_until: None,
            at: NOW,
        }),
    }
}

fn view(nodes: Vec<NodeRecord>, miners: Vec<MinerRecord>) -> FleetView {
    FleetView::new(nodes, miners, |_| false, NOW)
}

#[test]
fn a_miner_is_what_its_nodes_amount_to() {
    let mut banned = node(1, 2, 8, 0);
    banned.standing.as_mut().unwrap().banned_until = Some(NOW + Millis(1));
    let gone = NodeRecord { listed: None, ..node(1, 3, 8, 10_000) };
    let fleet = view(vec![node(1, 1, 2, 9_000), banned, gone], vec![miner(1)]);
    let found = fleet.miner(MinerName::Uid(Uid(1))).unwrap();
    assert_eq!(Some(&found), fleet.miner(MinerName::Hotkey(hotkey(1))).as_ref());
    assert_eq!((found.nodes, found.available, found.banned), (2, 1, 1));
    assert_eq!(found.gpus, BTreeMap::from([(Category::H100, 2)]), "what is banned or gone does not count");
    assert_eq!(found.score.value(), 4_500);
    assert_eq!(found.state, MinerState::Suspended);
    assert_eq!(fleet.miner(MinerName::Uid(Uid(9))), None);
}

#[test]
fn each_state_of_a_miner_has_its_cause() {
    let state = |miner: MinerRecord, nodes: Vec<NodeRecord>| {
        view(nodes, vec![miner]).miner(MinerName::Hotkey(hotkey(1))).unwrap().state
    };
    let good = || vec![node(1, 1, 1, 10_000)];
    assert_eq!(state(miner(1), good()), MinerState::Active);
    assert_eq!(state(MinerRecord { uid: None, ..miner(1) }, good()), MinerState::Gone);
    let silent = NOW - OFFLINE - Millis(1);
    assert_eq!(state(MinerRecord { discovered: Some(silent), ..miner(1) }, good()), MinerState::Offline);
    assert_eq!(state(MinerRecord { discovered: None, ..miner(1) }, good()), MinerState::Offline);
    assert_eq!(state(miner(1), vec![]), MinerState::Inactive);
    assert_eq!(state(miner(1), vec![node(1, 1, 1, 4_999)]), MinerState::Suspended);
}

#[test]
fn categories_are_filled_by_what_is_available() {
    let fleet =
        view(vec![node(1, 1, 2, 9_000), node(2, 2, 1, 0), node(2, 3, 4, 1)], vec![miner(1), miner(2)]);
    let h100 = fleet.categories().into_iter().find(|c| c.category == Category::H100).unwrap();
    assert_eq!((h100.miners, h100.nodes, h100.gpus), (2, 2, 6));
}

#[test]
fn a_node_is_found_by_how_many_of_which_gpus_it_has() {
    // Of even hosts the memory is known.
    let mut mixed = node(1, 4, 2, 10_000);
    mixed.last_proof.as_mut().unwrap().1[1].gpu.category = Category::A100;
    let fleet = view(vec![node(1, 1, 8, 10_000), node(1, 2, 8, 10_000), mixed], vec![miner(1)]);
    let found = |filter: NodeFilter| fleet.nodes(&filter, None, 9).total;
    let h100 = NodeFilter { category: Some(Category::H100), ..NodeFilter::default() };
    assert_eq!(found(h100.clone()), 3);
    assert_eq!(found(NodeFilter { min_gpus: Some(2), ..h100 }), 2, "two of them, not two of any");
    assert_eq!(found(NodeFilter { min_gpus: Some(2), ..NodeFilter::default() }), 3);
    let large = |bytes| NodeFilter { min_gpu_memory: Some(bytes), ..NodeFilter::default() };
    assert_eq!(found(large(80_000_000_000)), 2, "what is not known is not promised");
    assert_eq!(found(large(90_000_000_000)), 0);
    assert_eq!(found(NodeFilter { min_gpus: Some(8), ..large(80_000_000_000) }), 1);
}

fn any_filter() -> impl Strategy<Value = NodeFilter> {
    let (miner, available) = (proptest::option::of(0u8..4), proptest::option::of(any::<bool>()));
    let (host, min_gpus) = (proptest::option::of(0u8..40), proptest::option::of(0u32..4));
    (miner, available, host, min_gpus).prop_map(|(miner, available, host, min_gpus)| NodeFilter {
        miner: miner.map(hotkey),
        node: host.map(|host| node(0, host, 0, 0).key.node),
        available,
        min_gpus,
        min_gpu_memory: None,
        ..NodeFilter::default()
    })
}

proptest! {
    #[test]
    fn pages_of_any_size_show_every_node_that_passes_once(
        fleet in proptest::collection::btree_set((0u8..4, 0u8..40), 0..60),
        filter in any_filter(),
        limit in 1usize..7,
    ) {
        let nodes: Vec<_> =
            fleet.iter().map(|(m, h)| node(*m, *h, h % 4, u16::from(h % 3) * 5_000)).collect();
        let fleet = view(nodes, (0..4).map(miner).collect());
        let mut expected: Vec<NodeKey> = fleet.nodes.iter().filter(|n| node_passes(&filter, n))
            .filter(|n| filter.node.is_none_or(|id| n.record.key.node == id)).map(|n| n.record.key).collect();
        expected.sort();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = fleet.nodes(&filter, after, limit);
            prop_assert_eq!(page.total, expected.len());
            prop_assert!(page.items.len() <= limit);
            seen.extend(page.items.iter().map(|n| n.record.key));
            after = seen.last().copied();
            if !page.more {
                break;
            }
            prop_assert!(!page.items.is_empty());
        }
        prop_assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn the_fleet_is_read_once_for_all_who_ask_within_a_second() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    let stop = Stop::new();
    let shared = Arc::new(shared);
    let reader = keep_fresh(Arc::clone(&shared), stop.clone());
    let ask = async {
        let first = shared.fleet_view().await.unwrap();
        assert_eq!(first.nodes.first().map(|n| n.record.key), Some(key));
        let second = shared.fleet_view().await.unwrap();
        assert!(Arc::ptr_eq(&first, &second), "nobody reads again within a second");
        world.clock.advance(FRESH);
        let third = shared.fleet_view().await.unwrap();
        assert!(!Arc::ptr_eq(&first, &third), "what is too old is not shown");
        stop.request();
    };
    let (ended, ()) = tokio::join!(reader, ask);
    ended.unwrap();
}

#[test]
fn a_view_is_shown_until_the_next_one_can_be_there() {
    let fleet = || view(Vec::new(), Vec::new());
    for took in [0, 10, 160, 1_000, 12_000].map(Millis) {
        let reading = Reading::made(Ok(fleet()), Duration::ZERO, took);
        assert!(reading.pause.0 >= took.0 * 10, "the store has other work");
        assert!(reading.good_for.0 >= reading.pause.0 + took.0, "{took:?}");
    }
    let error = StoreError::Unavailable { operation: "test", source: "gone".into() };
    let failed = Reading::made(Err(error), Duration::ZERO, Millis::from_secs(12));
    assert_eq!(failed.pause, PAUSE, "a database that is back is noticed soon");
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_keeps_no_view() {
    let world = World::new();
    world.judge_a_node().await;
    let shared = Arc::new(world.boot().await);
    let stop = Stop::new();
    let reader = keep_fresh(Arc::clone(&shared), stop.clone());
    let ask = async {
        let first = shared.fleet_view().await.unwrap();
        world.clock.set_wall_clock(-3_600_000);
        world.clock.advance(FRESH);
        assert!(!Arc::ptr_eq(&first, &shared.fleet_view().await.unwrap()));
        stop.request();
    };
    let (ended, ()) = tokio::join!(reader, ask);
    ended.unwrap();
}
