//! What a command's exit code can and cannot say.

use basilica_types::Millis;

use super::*;
use crate::prove_node::tests::{Node, Script, Turn};
use crate::set_weights::tests::World;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

/// What an echo comes to on a node that ends it like the gate, under a session that lasts so long yet.
async fn echo(lasts: Millis) -> Result<Event, Break> {
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    let access = Arc::new(Access::of_test(KEY.parse().unwrap(), shared.now() + lasts));
    shared.set_access(key.miner, access);
    let node = shared.ports.store.node(key).await.unwrap().unwrap();
    let places = Places::new(1, 1);
    let script = Script { commits: false, turn: Turn::Ends, exit: GATE_CLOSED };
    let shell = Arc::new(Node { host_key: KEY.parse().unwrap(), script });
    let mut trial = Trial::new(&shared, &places, &node);
    trial.connection = Some(Connection { shell, at: "203.0.113.9:22".parse().unwrap(), reused: false });
    trial.look(&[0; 32], &ProbeRules::default()).await
}

#[tokio::test]
async fn a_command_that_ends_like_the_gate_failed_unless_the_session_can_be_over() {
    assert_eq!(echo(Millis::from_secs(3600)).await, Ok(Event::CommandFailed));
    assert_eq!(echo(Millis::from_secs(10)).await, Err(Break::SessionOver));
}

/// Which GPUs a light check wants to see.
async fn expected(shared: &Shared, key: NodeKey) -> Expected {
    let node = shared.ports.store.node(key).await.unwrap().unwrap();
    let places = Places::new(1, 1);
    match Trial::new(shared, &places, &node).recall_claims().await {
        Ok(Event::ClaimsRecalled(expected)) => expected,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_light_check_wants_the_claims_of_the_last_full_one_or_what_is_paid_for() {
    use crate::set_weights::tests::GPU;
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    // The verdict of this world is no verdict; what is paid for is still known.
    assert_eq!(expected(&shared, key).await, Expected::AtLeast([GPU].into()));
    let other = GpuUuid::from_bytes([2; 16]);
    crate::conclude_check::tests::passes_with_claims(&shared, key, &[GPU, other]).await;
    assert_eq!(expected(&shared, key).await, Expected::Exactly([GPU, other].into()));
}
