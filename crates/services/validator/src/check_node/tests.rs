//! What a command's exit code can and cannot say.

use async_trait::async_trait;
use basilica_ports::{Process, Shell};
use basilica_types::{HostKey, Millis};
use basilica_verification::ProbeRules;
use basilica_verification::probe::Reach;

use super::*;
use crate::set_weights::tests::World;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

/// A node where everything ends as the gate does.
struct Closed(HostKey);

#[async_trait]
impl Shell for Closed {
    fn host_key(&self) -> &HostKey {
        &self.0
    }

    fn is_open(&self) -> bool {
        true
    }

    async fn run(&self, _: &Argv, _: &[u8], _: OutputLimits) -> Result<Output, ShellError> {
        Ok(Output { status: ExitStatus::Code(GATE_CLOSED), stdout: Vec::new(), stderr: Vec::new() })
    }

    async fn start(&self, _: &Argv) -> Result<Box<dyn Process>, ShellError> {
        Err(ShellError::Lost { step: "start", source: "closed".into() })
    }

    async fn close(&self) {}
}

/// What an echo comes to on a node that ends it like the gate, under a session that lasts so long yet.
async fn echo(lasts: Millis) -> Result<Event, Break> {
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    let access = Arc::new(Access::of_test(KEY.parse().unwrap(), shared.now() + lasts));
    shared.set_access(key.miner, access);
    let node = shared.ports.store.node(key).await.unwrap().unwrap();
    let places = Places::new(1, 1);
    let shell = Arc::new(Closed(KEY.parse().unwrap()));
    let mut trial = Trial::new(&shared, &places, &node);
    trial.connection = Some(Connection { shell, at: "203.0.113.9:22".parse().unwrap(), reused: false });
    shared.probing().look(&mut trial, &[0; 32], &ProbeRules::default()).await
}

#[tokio::test]
async fn a_command_that_ends_like_the_gate_failed_unless_the_session_can_be_over() {
    assert_eq!(echo(Millis::from_secs(3600)).await, Ok(Event::CommandFailed));
    assert_eq!(echo(Millis::from_secs(10)).await, Err(Break::SessionOver));
}

#[tokio::test]
async fn only_an_answer_of_a_port_is_a_witness_and_none_for_its_own_miner() {
    use basilica_types::{Hotkey, NodeId};
    let (own, other) = (Hotkey::from_bytes([7; 32]), Hotkey::from_bytes([8; 32]));
    let node = NodeKey { miner: own, node: NodeId::from_bytes([1; 16]) };
    for end in [ReachEnd::Answered, ReachEnd::Refused, ReachEnd::Silent, ReachEnd::Wrong] {
        let shared = World::new().boot().await;
        note_answer(&shared, &node, &Event::Reached(Reach { port: 20_000, end }));
        assert_eq!(shared.reached_elsewhere(&other, shared.now()), end == ReachEnd::Answered, "{end:?}");
        assert!(!shared.reached_elsewhere(&own, shared.now()));
    }
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
