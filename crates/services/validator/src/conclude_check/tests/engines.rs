//! Nodes whose containers see no GPUs, and who is at fault.

use basilica_verification::probe::{ContainerHost, ContainerRun, Engine, EngineState, Found};

use super::*;
use crate::seen_engines;

/// What a full check found of a container.
fn probes(engine: Engine, run: ContainerRun) -> Probes {
    let host = ContainerHost::none(EngineState::Answers(engine));
    Probes { containers: Some(Found::Read(host)), container_run: Some(run), ..Probes::default() }
}

/// A further miner with one node.
async fn add_node_of(shared: &Shared, number: u8) -> NodeKey {
    let (store, hotkey) = (&shared.ports.store, Hotkey::from_bytes([number; 32]));
    let axon = "198.51.100.1:50051".parse().unwrap();
    let seen = SeenMiner { hotkey, uid: Uid(number.into()), axon };
    store.observe_miners(&[seen], shared.now()).await.unwrap();
    let address: NodeAddress = format!("root@198.51.100.{}:22", 100 + number).parse().unwrap();
    let key = NodeKey { miner: hotkey, node: address.node_id() };
    let report = NodeReport {
        node_id: key.node,
        address,
        status: NodeStatus::Available,
        hourly_rate_per_gpu: None,
        host_keys: Vec::new(),
    };
    store.record_discovery(hotkey, &[report], shared.now()).await.unwrap();
    key
}

/// Has nodes of these miners pass full checks by this engine.
async fn pass(shared: &Shared, miners: &[u8], engine: Engine) {
    pass_with(shared, miners, &probes(engine, ContainerRun::SawAll)).await;
}

async fn pass_with(shared: &Shared, miners: &[u8], probes: &Probes) {
    for number in miners {
        let key = add_node_of(shared, *number).await;
        let mut tried = tried(shared, CheckKind::Full, Finding::Passed);
        tried.conclusion.probes = probes.clone();
        conclude(shared, &node(shared, key).await, tried).await.unwrap();
        assert_eq!(node(shared, key).await.last_full.unwrap().outcome, Outcome::Passed);
    }
}

/// Fails full checks of a node by containers without GPUs, as they come due, until there is a verdict: its fault.
async fn fails(world: &World, shared: &Shared, key: NodeKey) -> Fault {
    let before = node(shared, key).await.last_full;
    for _ in 0..10 {
        let now = node(shared, key).await;
        if now.last_full != before {
            let Outcome::Failed { reason, fault } = now.last_full.unwrap().outcome else {
                panic!("it passed")
            };
            assert_eq!(reason, Reason::ContainerGpuDenied);
            return fault;
        }
        world.clock.advance(now.due.full.since(shared.now()));
        world.chain.advance();
        let mut tried = tried(shared, CheckKind::Full, Finding::Failed(Reason::ContainerGpuDenied));
        tried.conclusion.probes = probes(Engine::Podman, ContainerRun::Failed);
        conclude(shared, &now, tried).await.unwrap();
    }
    panic!("no verdict");
}

#[tokio::test]
async fn containers_without_gpus_are_the_nodes_fault_only_where_others_pass_with_the_same_engine() {
    let confirmed = Fault::Node { confirmed: true };
    for (miners, engine, fault) in [
        (&[3, 4][..], Engine::Podman, confirmed),
        (&[3, 4], Engine::Docker, Fault::Unknown),
        (&[3], Engine::Podman, Fault::Unknown),
        (&[], Engine::Podman, Fault::Unknown),
    ] {
        let world = World::new();
        let key = world.judge_a_node().await;
        let shared = world.boot().await;
        pass(&shared, miners, engine).await;
        assert_eq!(fails(&world, &shared, key).await, fault, "{miners:?} {engine:?}");
    }
}

#[tokio::test]
async fn a_restart_knows_the_witnesses_and_what_is_too_old_to_be_paid_for_is_none() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    assert_eq!(fails(&world, &shared, key).await, Fault::Unknown);
    pass(&shared, &[3, 4], Engine::Podman).await;
    let interval = shared.settings.retries.interval;
    world.clock.advance(interval);
    assert_eq!(fails(&world, &shared, key).await, Fault::Node { confirmed: true }, "they are seen anew");
    drop(shared);
    let shared = world.boot().await;
    assert_eq!(fails(&world, &shared, key).await, Fault::Node { confirmed: true });
    world.clock.advance(shared.settings.scoring.full_max_age);
    assert_eq!(fails(&world, &shared, key).await, Fault::Unknown);
}

/// Whether a node of another miner would be at fault.
async fn is_witnessed(shared: &Shared, key: NodeKey) -> bool {
    seen_engines::gave_gpus_elsewhere(shared, &key.miner, Engine::Podman).await.unwrap()
}

#[tokio::test]
async fn a_quick_check_which_asks_no_container_takes_no_witness_away() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    let interval = shared.settings.retries.interval;
    pass(&shared, &[3, 4], Engine::Podman).await;
    assert!(is_witnessed(&shared, key).await);
    // The last full verdict of both is now one that says nothing of containers, and then one that says other than before.
    world.clock.advance(interval);
    pass_with(&shared, &[3, 4], &Probes::default()).await;
    assert!(is_witnessed(&shared, key).await);
    world.clock.advance(interval);
    pass_with(&shared, &[3, 4], &Probes::default()).await;
    assert!(is_witnessed(&shared, key).await, "nor does another one");
    world.clock.advance(interval);
    pass(&shared, &[4], Engine::Docker).await;
    assert!(!is_witnessed(&shared, key).await, "one is not enough");
    // Who starts now has only the last verdicts, and knows nothing rather than something wrong.
    world.clock.advance(interval);
    pass(&shared, &[4], Engine::Podman).await;
    assert!(is_witnessed(&shared, key).await);
    assert!(!is_witnessed(&world.boot().await, key).await);
}

#[tokio::test]
async fn witnesses_are_read_anew_whatever_becomes_of_the_clock() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    assert!(!is_witnessed(&shared, key).await);
    pass(&shared, &[3, 4], Engine::Podman).await;
    for minutes in [30, -30] {
        world.clock.set_wall_clock(minutes * 60_000);
        assert!(!is_witnessed(&shared, key).await, "they are read once in an interval");
    }
    world.clock.advance(shared.settings.retries.interval);
    assert!(is_witnessed(&shared, key).await, "though the clock shows an earlier time");
}
