//! A prover that wants to cost the validator time and memory: at every part of the talk it falls silent, drips, never
//! stops, announces more than may come, or does not read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use basilica_ports::Clock;
use basilica_proof::wire::Kind;
use basilica_runtime_service::testing::VirtualClock;
use basilica_verification::asked::ANSWER_BYTES_OF_DEVICE;
use tokio::sync::Notify;

use super::*;

/// What one read of a flood gives.
const FLOOD: usize = 64 * 1024;
/// Between two bytes of a drip.
const DRIP: Millis = Millis::from_secs(1);

/// What the prover does once its part has come, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    Silence,
    /// One byte of what is due, every second.
    Drip,
    Flood(u8),
    DoesNotRead,
}

/// The parts of the talk, by the message that is due in each.
const PARTS: [Kind; 6] =
    [Kind::Accept, Kind::Echoed, Kind::Root, Kind::Filled, Kind::SegmentRoot, Kind::Opening];

struct Hostile {
    honest: Running,
    part: Kind,
    habit: Habit,
    clock: Arc<VirtualClock>,
    seen: Arc<Seen>,
    /// What was due when the part came.
    due: VecDeque<u8>,
    turned: bool,
}

#[derive(Default)]
struct Seen {
    started: Notify,
    bytes: AtomicUsize,
}

impl Hostile {
    /// The next message, until its part has come.
    fn next(&mut self) -> Option<Vec<u8>> {
        if self.turned {
            return None;
        }
        let bytes = self.honest.queue.pop_front();
        let kind = bytes.as_ref().map(|bytes| Message::decode(&bytes[FRAME_HEADER_BYTES..]).unwrap().kind());
        if kind == Some(self.part) || kind.is_none() {
            self.turned = true;
            self.due = bytes.unwrap_or_else(|| vec![200, 0, 0, 0, 5, 0, 0]).into();
            // Never the whole of it.
            self.due.pop_back();
            return None;
        }
        bytes
    }

    async fn misbehave(&mut self) -> Vec<u8> {
        match self.habit {
            Habit::Silence | Habit::DoesNotRead => std::future::pending().await,
            Habit::Drip => {
                self.clock.sleep(DRIP).await;
                match self.due.pop_front() {
                    Some(byte) => vec![byte],
                    None => std::future::pending().await,
                }
            }
            Habit::Flood(byte) => vec![byte; FLOOD],
        }
    }
}

#[async_trait]
impl Process for Hostile {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), ShellError> {
        let asks_for = match Message::decode(&bytes[FRAME_HEADER_BYTES..]).unwrap().kind() {
            Kind::Challenge => Kind::Accept,
            Kind::Echo => Kind::Echoed,
            Kind::StartNonce => Kind::Root,
            Kind::WalkNonce => Kind::SegmentRoot,
            _ => Kind::Opening,
        };
        if self.habit == Habit::DoesNotRead && asks_for == self.part {
            std::future::pending::<()>().await;
        }
        self.honest.send(bytes).await
    }

    async fn receive(&mut self) -> Result<Option<Vec<u8>>, ShellError> {
        let bytes = match self.next() {
            Some(bytes) => bytes,
            None => self.misbehave().await,
        };
        self.seen.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok(Some(bytes))
    }

    fn stderr(&self) -> &[u8] {
        b""
    }

    async fn finish(self: Box<Self>) -> Result<ExitStatus, ShellError> {
        std::future::pending().await
    }
}

struct HostileNode {
    host_key: HostKey,
    part: Kind,
    habit: Habit,
    clock: Arc<VirtualClock>,
    seen: Arc<Seen>,
}

#[async_trait]
impl Shell for HostileNode {
    fn host_key(&self) -> &HostKey {
        &self.host_key
    }

    fn is_open(&self) -> bool {
        true
    }

    async fn run(&self, _: &Argv, _: &[u8], _: OutputLimits) -> Result<Output, ShellError> {
        Err(lost())
    }

    async fn start(&self, _: &Argv) -> Result<Box<dyn Process>, ShellError> {
        self.seen.started.notify_one();
        let script = Script { commits: true, turn: Turn::Ends, exit: 0 };
        Ok(Box::new(Hostile {
            honest: Running { script, queue: VecDeque::new(), asked: None, memory: VecDeque::new() },
            part: self.part,
            habit: self.habit,
            clock: Arc::clone(&self.clock),
            seen: Arc::clone(&self.seen),
            due: VecDeque::new(),
            turned: false,
        }))
    }

    async fn close(&self) {}
}

/// How a talk with such a prover ended.
struct Ended {
    reason: Reason,
    after_nonce: bool,
    /// By the validator's clock.
    took: Millis,
    limit: Millis,
    /// Read from the prover.
    bytes: usize,
    transcript: usize,
}

async fn talk(part: Kind, habit: Habit) -> Ended {
    let world = World::new();
    let seen = Arc::new(Seen::default());
    let address: NodeAddress = "root@198.51.100.7:22".parse().unwrap();
    let clock = Arc::clone(&world.clock);
    let host_key = HOST_KEY.parse().unwrap();
    let node = HostileNode { host_key, part, habit, clock: Arc::clone(&clock), seen: Arc::clone(&seen) };
    let time_goes_on = async {
        seen.started.notified().await;
        loop {
            clock.sleepers(1).await;
            clock.advance_to_next();
        }
    };
    let began = clock.monotonic();
    let claims = claims();
    let proof = tokio::select! {
        biased;
        proof = world.probing().prove(address.node_id(), &node, &claims, &|| false, None) => proof.unwrap_or_else(|_| panic!("{part:?} {habit:?}")),
        () = time_goes_on => unreachable!("time goes on for ever"),
    };
    let took = Millis::from(clock.monotonic() - began);
    let Proof { event, transcript, room } = proof;
    let all_of_it_is_there = async || {
        tokio::select! {
            biased;
            _ = world.room.reserve(u64::MAX) => true,
            () = std::future::ready(()) => false,
        }
    };
    assert!(!all_of_it_is_there().await, "{part:?} {habit:?}: the transcript is not stored yet");
    drop(room);
    assert!(all_of_it_is_there().await, "{part:?} {habit:?} keeps memory reserved");
    let Event::Proof(ProofEnd::Rejected { reason, after_nonce, .. }) = event else {
        panic!("{part:?} {habit:?}: {event:?}");
    };
    let transcript = transcript.map_or(0, |(_, bytes)| bytes.len());
    let bytes = seen.bytes.load(Ordering::Relaxed);
    Ended { reason, after_nonce, took, limit: world.settings.proof_deadline, bytes, transcript }
}

#[tokio::test]
async fn a_prover_that_falls_silent_or_does_not_read_costs_one_deadline() {
    for part in PARTS {
        for habit in [Habit::Silence, Habit::DoesNotRead] {
            let ended = talk(part, habit).await;
            assert_eq!(ended.reason.code(), "proof_deadline_missed", "{part:?} {habit:?}");
            assert!(
                ended.took > Millis(0) && ended.took <= ended.limit,
                "{part:?} {habit:?}: {}",
                ended.took
            );
            assert_eq!(ended.after_nonce, part == Kind::Opening, "{part:?} {habit:?}");
        }
    }
}

#[tokio::test]
async fn a_prover_that_drips_has_no_more_time_than_one_that_is_silent() {
    for part in PARTS {
        let (drip, silence) = (talk(part, Habit::Drip).await, talk(part, Habit::Silence).await);
        assert_eq!(drip.reason.code(), "proof_deadline_missed", "{part:?}");
        assert_eq!(drip.took, silence.took, "{part:?}");
        let seconds = usize::try_from(drip.limit.0 / DRIP.0).unwrap();
        assert!(
            drip.bytes > silence.bytes && drip.bytes <= silence.bytes + seconds,
            "{part:?}: {}",
            drip.bytes
        );
    }
}

#[tokio::test]
async fn a_prover_that_never_stops_is_cut_off_at_its_first_wrong_frame() {
    for part in PARTS {
        // Empty frames; a frame of four gigabytes.
        for (byte, reason) in [(0, "proof_malformed"), (0xff, "proof_too_large")] {
            let ended = talk(part, Habit::Flood(byte)).await;
            assert_eq!(ended.reason.code(), reason, "{part:?}");
            assert_eq!(ended.took, Millis(0), "{part:?}: at once");
            let honest = talk(part, Habit::Silence).await;
            // Openings are checked beside what arrives: no more waits than was asked for.
            let waiting = if part == Kind::Opening { ANSWER_BYTES_OF_DEVICE } else { 0 };
            let most = honest.bytes + usize::try_from(waiting).unwrap() + FLOOD;
            assert!(ended.bytes <= most, "{part:?}: {}", ended.bytes);
            assert!(
                ended.transcript <= honest.transcript + FRAME_HEADER_BYTES,
                "{part:?}: nothing of it is kept"
            );
        }
    }
}
