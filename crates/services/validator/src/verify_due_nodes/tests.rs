//! When a check may begin, and what its panic leaves behind.

use super::*;
use crate::set_weights::tests::{MINER, World};

fn checks(shared: Shared) -> Checks {
    Checks::new(Arc::new(shared), Arc::new(Semaphore::new(1)))
}

#[tokio::test]
async fn after_a_restart_a_long_due_node_waits_for_its_miners_session() {
    let world = World::new();
    let key = world.judge_a_node().await;
    // The validator is off for a day; the node has been due all the time.
    world.clock.advance(Millis::from_secs(86_400));
    let mut checks = checks(world.boot().await);
    let grace = checks.shared.settings.session_grace;
    checks.start_due().await.unwrap();
    assert!(checks.running.is_empty(), "the missing session is not the miner's doing yet");
    world.clock.advance(Millis(grace.0 - 1));
    checks.start_due().await.unwrap();
    assert!(checks.running.is_empty());
    world.clock.advance(Millis(1));
    checks.start_due().await.unwrap();
    assert_eq!(checks.running.keys().copied().collect::<Vec<_>>(), [key], "now its absence is");
}

#[tokio::test]
async fn grace_runs_from_the_loss_of_the_last_session() {
    let world = World::new();
    let mut checks = checks(world.boot().await);
    let grace = checks.shared.settings.session_grace;
    assert!(!checks.may_begin(&MINER, checks.shared.now()));
    world.clock.advance(grace);
    assert!(checks.may_begin(&MINER, checks.shared.now()));
    let expires = checks.shared.now() + Millis(1_000);
    checks.shared.set_access(MINER, Arc::new(crate::sessions::Access::until(expires)));
    checks.start_due().await.unwrap();
    assert!(checks.may_begin(&MINER, checks.shared.now()));
    world.clock.advance(Millis(1_000));
    assert!(!checks.may_begin(&MINER, checks.shared.now()), "the session was lost only now");
    world.clock.advance(grace);
    assert!(checks.may_begin(&MINER, checks.shared.now()));
}

#[tokio::test]
async fn a_check_that_panicked_frees_its_node_and_its_slot() {
    let world = World::new();
    world.judge_a_node().await;
    let mut checks = checks(world.boot().await);
    let gauge = checks.shared.metrics.in_flight.get_or_create(&type_of(CheckKind::Full)).clone();
    // Logging in anywhere panics in this world; a session lets the check get that far.
    let expires = checks.shared.now() + Millis::from_secs(3_600);
    checks.shared.set_access(MINER, Arc::new(crate::sessions::Access::until(expires)));
    checks.start_due().await.unwrap();
    assert_eq!((checks.running.len(), gauge.get()), (1, 1));
    let ended = checks.tasks.next().await.unwrap().expect("the panic is not the loop's");
    assert!(ended.result.is_err());
    checks.ended(ended);
    assert_eq!((checks.running.len(), gauge.get()), (0, 0));
    checks.start_due().await.unwrap();
    assert!(checks.running.is_empty(), "not at once");
    world.clock.advance(AFTER_PANIC);
    checks.start_due().await.unwrap();
    assert_eq!(checks.running.len(), 1, "it is due still");
}
