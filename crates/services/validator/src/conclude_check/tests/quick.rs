//! What a check that is asked only what is quick leaves as it was.

use basilica_verification::ProbeRules;

use super::*;

/// A full check of a fleet epoch that passed now.
fn quick(shared: &Shared) -> Tried {
    let mut tried = tried(shared, CheckKind::Full, Finding::Passed);
    tried.conclusion.plan.probes = shared.settings.probes.quick();
    tried
}

async fn world() -> (World, Shared, NodeKey) {
    let world = World::new();
    let key = world.judge_a_node().await;
    let mut shared = world.boot().await;
    shared.settings.probes = ProbeRules::default();
    (world, shared, key)
}

/// The whole full check fails for this reason, once.
async fn fails(world: &World, shared: &Shared, key: NodeKey, reason: Reason) -> NodeRecord {
    let before = node(shared, key).await;
    world.clock.advance(before.due.full.since(shared.now()));
    world.chain.advance();
    conclude(shared, &before, tried(shared, CheckKind::Full, Finding::Failed(reason))).await.unwrap();
    node(shared, key).await
}

#[tokio::test]
async fn it_neither_opens_the_gate_that_another_failure_closed_nor_brings_an_event_of_its_own() {
    for reason in [Reason::PortUnreachable, Reason::StorageTooSmall, Reason::ContainerGpuDenied] {
        let (world, shared, key) = world().await;
        let mut failed = fails(&world, &shared, key, reason).await;
        while failed.series.is_some() {
            failed = fails(&world, &shared, key, reason).await;
        }
        assert!(
            matches!(failed.last_full.unwrap().outcome, Outcome::Failed { reason: now, .. } if now == reason)
        );
        let history = shared.ports.store.history(key, Timestamp(0)).await.unwrap();
        conclude(&shared, &failed, quick(&shared)).await.unwrap();
        let after = node(&shared, key).await;
        assert_eq!((after.last_full, after.due), (failed.last_full, failed.due), "{reason}");
        assert_eq!(shared.ports.store.history(key, Timestamp(0)).await.unwrap(), history);
    }
}

#[tokio::test]
async fn it_does_not_end_the_retries_of_what_it_does_not_ask() {
    let (world, shared, key) = world().await;
    let failed = fails(&world, &shared, key, Reason::ContainerGpuDenied).await;
    assert!(failed.series.is_some(), "it is tried again");
    conclude(&shared, &failed, quick(&shared)).await.unwrap();
    assert_eq!(node(&shared, key).await.series, failed.series);
}

#[tokio::test]
async fn it_ends_the_retries_of_a_proof_and_opens_what_a_proof_had_closed() {
    for reason in [Reason::ProofOpeningMismatch, Reason::ConnectionTimeout] {
        let (world, shared, key) = world().await;
        let failed = fails(&world, &shared, key, reason).await;
        conclude(&shared, &failed, quick(&shared)).await.unwrap();
        let after = node(&shared, key).await;
        assert_eq!((after.last_full.unwrap().outcome, after.series), (Outcome::Passed, None));
    }
}
