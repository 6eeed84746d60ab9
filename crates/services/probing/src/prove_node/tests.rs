//! How a talk ends when the prover does not want to go on, over a scripted process.

mod hostile;

use std::collections::VecDeque;

use async_trait::async_trait;
use basilica_ports::{Output, OutputLimits};
use basilica_proof::residency::ResidencyParams;
use basilica_proof::wire::{Accept, FRAME_HEADER_BYTES, Message, Root, SegmentRoot, frame};
use basilica_proof::{ClassName, DeviceFacts, DeviceReport};
use basilica_types::{Argv, HostKey, NodeAddress};

use super::*;
use crate::scripted::{HOST_KEY, World};

fn claims() -> ClaimReport {
    let class: ClassName = "simulated-H100".parse().unwrap();
    let facts = DeviceFacts::simulated(&class, 0);
    let uuid = "GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5b".parse().unwrap();
    ClaimReport::new(None, vec![DeviceReport { index: 0, uuid, class, facts }]).unwrap()
}

/// What a prover does instead of an honest answer.
#[derive(Clone, Copy)]
enum Turn {
    Ends,
    Drops,
    TalksRubbish,
}

/// A prover that commits to made-up roots if `commits`, and then takes its turn.
#[derive(Clone, Copy)]
struct Script {
    commits: bool,
    turn: Turn,
    exit: u32,
}

/// A node where everything ends with the script's exit code.
struct Node {
    host_key: HostKey,
    script: Script,
}

struct Running {
    script: Script,
    queue: VecDeque<Vec<u8>>,
    asked: Option<Challenge>,
    /// What is asked of the memory of the spaces that were not walked through yet.
    memory: VecDeque<ResidencyParams>,
}

impl Running {
    fn say(&mut self, message: &Message) {
        self.queue.push_back(frame(&message.encode()));
    }

    fn accept(&mut self, challenge: Challenge) {
        let version = basilica_proof::PROTOCOL_VERSION;
        self.say(&Message::Accept(Accept { version, challenge: challenge.digest(), key: [2; 33] }));
        self.asked = Some(challenge);
    }

    fn commit(&mut self) {
        let device =
            self.asked.take().expect("a nonce for a challenge that was accepted").devices()[0].clone();
        for round in 0..device.params.rounds() {
            self.say(&Message::Root(Root { device: 0, round, root: Digest::from_bytes([7; 32]) }));
        }
        if !device.residency.is_empty() {
            self.say(&Message::Filled(0));
        }
        self.memory = device.residency.into();
    }

    fn walk(&mut self) {
        let region = self.memory.pop_back().expect("a nonce for memory that was asked for");
        for segment in 0..region.walk().segments() {
            let root = Digest::from_bytes([8; 32]);
            self.say(&Message::SegmentRoot(SegmentRoot { device: 0, segment, root }));
        }
    }
}

fn lost() -> ShellError {
    ShellError::Lost { step: "read", source: "reset by peer".into() }
}

#[async_trait]
impl Shell for Node {
    fn host_key(&self) -> &HostKey {
        &self.host_key
    }

    fn is_open(&self) -> bool {
        true
    }

    async fn run(&self, _: &Argv, _: &[u8], _: OutputLimits) -> Result<Output, ShellError> {
        let status = ExitStatus::Code(self.script.exit);
        Ok(Output { status, stdout: Vec::new(), stderr: Vec::new() })
    }

    async fn start(&self, _: &Argv) -> Result<Box<dyn Process>, ShellError> {
        Ok(Box::new(Running {
            script: self.script,
            queue: VecDeque::new(),
            asked: None,
            memory: VecDeque::new(),
        }))
    }

    async fn close(&self) {}
}

#[async_trait]
impl Process for Running {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), ShellError> {
        match Message::decode(&bytes[FRAME_HEADER_BYTES..]) {
            Ok(Message::Challenge(challenge)) if self.script.commits => self.accept(challenge),
            Ok(Message::Echo(nonce)) => self.say(&Message::Echoed(nonce)),
            Ok(Message::StartNonce(_)) => self.commit(),
            Ok(Message::WalkNonce(_)) => self.walk(),
            _ => {}
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Option<Vec<u8>>, ShellError> {
        match (self.queue.pop_front(), self.script.turn) {
            (Some(bytes), _) => Ok(Some(bytes)),
            (None, Turn::Ends) => Ok(None),
            (None, Turn::Drops) => Err(lost()),
            (None, Turn::TalksRubbish) => Ok(Some(frame(b"\xff\xffrubbish"))),
        }
    }

    fn stderr(&self) -> &[u8] {
        b""
    }

    async fn finish(self: Box<Self>) -> Result<ExitStatus, ShellError> {
        Ok(ExitStatus::Code(self.script.exit))
    }
}

/// Challenges a node with this prover under a session that may or may not be over.
async fn challenge(script: Script, may_be_over: bool) -> Result<Proof, Break> {
    let world = World::new();
    let address: NodeAddress = "root@198.51.100.7:22".parse().unwrap();
    let node = Node { host_key: HOST_KEY.parse().unwrap(), script };
    world.probing().prove(address.node_id(), &node, &claims(), &|| may_be_over, None).await
}

#[tokio::test]
async fn no_exit_code_and_no_broken_connection_hides_that_the_answer_ended_after_the_nonce() {
    for (turn, expected) in [
        (Turn::Ends, Reason::ProofIncomplete),
        (Turn::Drops, Reason::ConnectionLost),
        (Turn::TalksRubbish, Reason::ProofMalformed),
    ] {
        for exit in [0, 1, PROVER_MISSING, GATE_CLOSED] {
            let proof = challenge(Script { commits: true, turn, exit }, false).await.unwrap();
            let Event::Proof(ProofEnd::Rejected { reason, after_nonce, transcript }) = proof.event else {
                panic!("a cut-off answer is a rejected proof: {:?}", proof.event);
            };
            assert_eq!((reason, after_nonce), (expected, true));
            assert_eq!(proof.transcript.map(|(digest, _)| digest), Some(transcript));
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_nonce_keeps_its_transcript_too() {
    for commits in [false, true] {
        let script = Script { commits, turn: Turn::Drops, exit: 0 };
        let proof = challenge(script, false).await.unwrap();
        let reason = Reason::ConnectionLost;
        assert!(
            matches!(proof.event, Event::Proof(ProofEnd::Rejected { reason: said, .. }) if said == reason)
        );
        assert!(proof.transcript.is_some());
    }
}

#[tokio::test]
async fn a_prover_that_began_to_answer_does_not_end_as_the_gate_does() {
    let script = Script { commits: true, turn: Turn::Ends, exit: GATE_CLOSED };
    let proof = challenge(script, true).await.unwrap();
    assert!(matches!(proof.event, Event::Proof(ProofEnd::Rejected { reason: Reason::ProofIncomplete, .. })));
}

#[tokio::test]
async fn the_gates_exit_code_is_believed_only_when_the_session_can_be_over() {
    let script = Script { commits: false, turn: Turn::Ends, exit: GATE_CLOSED };
    let proof = challenge(script, false).await.unwrap();
    assert!(matches!(
        proof.event,
        Event::Proof(ProofEnd::Rejected { reason: Reason::ProofIncomplete, after_nonce: false, .. })
    ));
    let over = challenge(script, true).await;
    assert!(matches!(over, Err(Break::SessionOver)));
}

#[tokio::test]
async fn a_prover_that_is_gone_is_said_to_be_missing_only_if_it_never_answered() {
    let script = Script { commits: false, turn: Turn::Ends, exit: PROVER_MISSING };
    assert_eq!(challenge(script, false).await.unwrap().event, Event::ProverMissing);
}
