//! Scores from a real store: which nodes are read, and what an absence costs.

use basilica_ports::NodeKey;
use basilica_types::{BasisPoints, GpuUuid, Millis, Ppm};
use basilica_verification::ProvenGpu;
use basilica_wire::discovery::{NodeReport, NodeStatus};

use super::*;
use crate::set_weights::tests::{MINER, World};
use crate::settings::Minimum;

async fn standing(shared: &Shared, key: NodeKey) -> StoredStanding {
    shared.ports.store.node(key).await.unwrap().unwrap().standing.unwrap()
}

#[tokio::test]
async fn a_dropped_node_loses_its_score_and_is_not_read_again() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    assert_eq!(reconcile(&shared).await.unwrap().scored, 1);
    shared.ports.store.record_discovery(MINER, &[], shared.now()).await.unwrap();
    world.clock.advance(Millis(1));
    assert_eq!(reconcile(&shared).await.unwrap().scored, 0);
    let dropped = standing(&shared, key).await;
    assert_eq!(
        (dropped.gate.as_str(), dropped.score, dropped.at),
        ("unavailable", BasisPoints::ZERO, shared.now())
    );
    world.clock.advance(Millis(1));
    reconcile(&shared).await.unwrap();
    assert_eq!(standing(&shared, key).await, dropped, "nothing changes it any more");
}

#[tokio::test]
async fn a_dropped_node_is_read_while_its_ban_runs() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    shared.ports.store.record_discovery(MINER, &[], shared.now()).await.unwrap();
    let ban = StoredStanding {
        gate: "executor_banned".into(),
        score: BasisPoints::ZERO,
        multiplier: Ppm::ZERO,
        banned_until: Some(shared.now() + Millis(10)),
        at: shared.now(),
    };
    shared.ports.store.record_standings(&[(key, ban)]).await.unwrap();
    world.clock.advance(Millis(9));
    reconcile(&shared).await.unwrap();
    assert_eq!(standing(&shared, key).await.at, shared.now());
}

/// The multiplier of a node that is absent so for an hour, an hour after it passed.
async fn multiplier_after_an_hour(status: Option<NodeStatus>) -> Ppm {
    let hour = Millis::from_secs(3_600);
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    let node = shared.ports.store.node(key).await.unwrap().unwrap();
    world.clock.advance(hour);
    let reports = status.map(|status| NodeReport {
        node_id: key.node,
        address: node.address,
        status,
        hourly_rate_per_gpu: None,
        host_keys: node.host_keys,
    });
    let reports: Vec<NodeReport> = reports.into_iter().collect();
    shared.ports.store.record_discovery(MINER, &reports, shared.now()).await.unwrap();
    world.clock.advance(hour);
    reconcile(&shared).await.unwrap();
    standing(&shared, key).await.multiplier
}

#[tokio::test]
async fn an_unreachable_node_loses_its_ramp_and_one_in_maintenance_keeps_it() {
    for lost in [Some(NodeStatus::Unreachable), None] {
        assert_eq!(multiplier_after_an_hour(lost).await, Ppm::ZERO, "{lost:?}");
    }
    for kept in [NodeStatus::Maintenance, NodeStatus::KeyPending] {
        assert!(multiplier_after_an_hour(Some(kept)).await > Ppm::ZERO, "{kept:?}");
    }
}

#[tokio::test]
async fn scoring_is_stuck_when_no_pass_renews_what_is_listed() {
    let world = World::new();
    world.judge_a_node().await;
    let shared = world.boot().await;
    reconcile(&shared).await.unwrap();
    let now = shared.now();
    let late = now + Millis(shared.settings.score_max_age.0 + 1);
    let scores = shared.ports.store.scores().await.unwrap();
    let stuck = |scores: &Scores, at| is_stuck(scores, &shared.settings, at);
    assert!(!stuck(&scores, now + shared.settings.score_max_age));
    assert!(stuck(&scores, late));
    let unscored = Scores { last_pass: None, ..scores.clone() };
    assert!(stuck(&unscored, late), "none was ever scored");
    let newcomer = Scores { last_pass: None, waiting_since: Some(late), ..scores.clone() };
    assert!(!stuck(&newcomer, late));
    shared.ports.store.record_discovery(MINER, &[], shared.now()).await.unwrap();
    let nobody = shared.ports.store.scores().await.unwrap();
    assert_eq!(nobody, Scores::default());
    assert!(!stuck(&nobody, late), "nobody is listed, so nothing is to be scored");
}

#[tokio::test]
async fn too_few_gpus_or_too_little_memory_of_a_category_bring_nothing_in_it() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let mut settings = world.boot().await.settings;
    let gpu = |n, gb: Option<u64>| PaidGpu {
        gpu: ProvenGpu { uuid: GpuUuid::from_bytes([n; 16]), category: Category::H100 },
        memory_bytes: gb.map(|gb| gb * 1_000_000_000),
    };
    let gpus = vec![gpu(1, Some(85)), gpu(2, Some(40)), gpu(3, None)];
    let at = Timestamp(0);
    let node = NodeScore { key, score: BasisPoints::ONE, multiplier: Ppm::ONE, at, gpus };
    let uids = BTreeMap::from([(key.miner, Uid(5))]);
    let mut counted = |gpus, memory_gb: u64| {
        settings.minima.insert(Category::H100, Minimum { gpus, memory_bytes: memory_gb * 1_000_000_000 });
        let points = points(std::slice::from_ref(&node), &uids, &settings, at);
        points.first().map(|points| points.points / node_points(BasisPoints::ONE, 1, Ppm::ONE))
    };
    assert_eq!(counted(1, 0), Some(3));
    assert_eq!(counted(1, 80), Some(2), "the small one does not, and the unknown one does");
    assert_eq!(counted(2, 80), Some(2));
    assert_eq!(counted(3, 80), None);
}
