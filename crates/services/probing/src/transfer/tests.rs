//! What a transfer comes to with an honest node, and with one that wants to look faster or to cost time.

use std::sync::Arc;

use async_trait::async_trait;
use basilica_ports::{Clock as _, ExitStatus, Output, OutputLimits, ShellError};
use basilica_proof::stream::StreamSource;
use basilica_runtime_service::testing::VirtualClock;
use basilica_types::{Argv, HostKey, NodeAddress};

use super::*;
use crate::scripted::{HOST_KEY, World};

const ASKED: u64 = 1_000_000;
const PIECE: usize = 10_000;
/// Between two pieces.
const PAUSE: Millis = Millis(10);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Habit {
    Honest,
    /// Ends complete, and leaves its output open.
    LeavesOpen,
    /// One byte of the thousandth piece is another.
    WrongByte,
    /// What it was asked for the last time.
    Replays,
    /// A byte a second.
    Drips,
    Endless,
    Stops,
    Drops,
    DoesNotRead,
}

struct Node {
    host_key: HostKey,
    habit: Habit,
    clock: Arc<VirtualClock>,
}

struct Sender {
    habit: Habit,
    clock: Arc<VirtualClock>,
    source: Option<StreamSource>,
    pieces: u32,
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
        Err(lost())
    }

    async fn start(&self, _: &Argv) -> Result<Box<dyn Process>, ShellError> {
        Ok(Box::new(Sender { habit: self.habit, clock: Arc::clone(&self.clock), source: None, pieces: 0 }))
    }

    async fn close(&self) {}
}

fn lost() -> ShellError {
    ShellError::Lost { step: "read", source: "reset by peer".into() }
}

#[async_trait]
impl Process for Sender {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), ShellError> {
        let request = match self.habit {
            Habit::DoesNotRead => return std::future::pending().await,
            Habit::Replays => {
                let host_key = vec![1; 51];
                let node = basilica_types::NodeId::from_bytes([3; 16]);
                let binding = Binding { beacon: [1; 32], validator_nonce: [2; 32], node, host_key };
                StreamRequest::new(&binding, ASKED)
            }
            _ => Ok(StreamRequest::decode(bytes).unwrap()),
        };
        self.source = Some(request.unwrap().source());
        Ok(())
    }

    async fn receive(&mut self) -> Result<Option<Vec<u8>>, ShellError> {
        let size = if self.habit == Habit::Drips { 1 } else { PIECE };
        self.clock.sleep(if self.habit == Habit::Drips { Millis::from_secs(1) } else { PAUSE }).await;
        self.pieces += 1;
        match self.habit {
            Habit::Stops if self.pieces > 30 => return Ok(None),
            Habit::Drops if self.pieces > 30 => return Err(lost()),
            _ => {}
        }
        let mut piece = vec![0; size];
        let made = self.source.as_mut().expect("asked before it is read").fill(&mut piece).len();
        match (made, self.habit) {
            (0, Habit::LeavesOpen) => return std::future::pending().await,
            (0, Habit::Endless) => return Ok(Some(piece)),
            (0, _) => return Ok(None),
            (_, Habit::WrongByte) if self.pieces == 50 => piece[77] ^= 1,
            _ => {}
        }
        piece.truncate(made);
        Ok(Some(piece))
    }

    fn stderr(&self) -> &[u8] {
        b""
    }

    async fn finish(self: Box<Self>) -> Result<ExitStatus, ShellError> {
        std::future::pending().await
    }
}

/// What it came to, and how long the validator was kept.
async fn measure(habit: Habit, asked: u64) -> (Option<Transfer>, Millis) {
    let mut world = World::new();
    world.settings.network_bytes = asked;
    let clock = Arc::clone(&world.clock);
    let node = Node { host_key: HOST_KEY.parse().unwrap(), habit, clock: Arc::clone(&clock) };
    let address: NodeAddress = "root@198.51.100.7:22".parse().unwrap();
    let began = clock.monotonic();
    let time_goes_on = async {
        loop {
            clock.sleepers(1).await;
            clock.advance_to_next();
            // Whoever was woken goes first.
            tokio::task::yield_now().await;
        }
    };
    let transfer = tokio::select! {
        biased;
        transfer = world.probing().transfer(address.node_id(), &node) => transfer,
        () = time_goes_on => unreachable!("time goes on for ever"),
    };
    assert_eq!(world.room.transfers.available_permits(), TRANSFERS, "{habit:?} keeps its place");
    (transfer, Millis::from(clock.monotonic() - began))
}

async fn measured(habit: Habit) -> Transfer {
    measure(habit, ASKED).await.0.expect("there is a place, and a transfer is wanted")
}

#[tokio::test]
async fn an_honest_node_is_measured_by_the_validators_clock() {
    let pieces = ASKED / PIECE as u64;
    for habit in [Habit::Honest, Habit::LeavesOpen] {
        let transfer = measured(habit).await;
        let took_us = pieces * PAUSE.0 * 1_000;
        assert_eq!(transfer, Transfer { asked: ASKED, received: ASKED, took_us, end: TransferEnd::Complete });
        assert_eq!(transfer.bytes_per_second(), Some(1_000_000));
    }
}

#[tokio::test]
async fn bytes_that_are_wrong_replayed_or_too_many_end_it_at_once() {
    let wrong = measured(Habit::WrongByte).await;
    assert_eq!((wrong.end, wrong.received), (TransferEnd::WrongBytes, 49 * PIECE as u64 + 77));
    let replayed = measured(Habit::Replays).await;
    assert_eq!(replayed.end, TransferEnd::WrongBytes);
    assert!(replayed.received < 16, "of another nonce: {}", replayed.received);
    let endless = measured(Habit::Endless).await;
    assert_eq!((endless.end, endless.received), (TransferEnd::TooMany, ASKED));
}

#[tokio::test]
async fn a_drip_and_a_node_that_does_not_read_cost_one_deadline_and_count_for_what_came() {
    for (habit, received) in [(Habit::Drips, 59..61), (Habit::DoesNotRead, 0..1)] {
        let (transfer, kept) = measure(habit, ASKED).await;
        let transfer = transfer.unwrap();
        assert_eq!(transfer.end, TransferEnd::TooSlow);
        assert!(received.contains(&transfer.received), "{habit:?}: {}", transfer.received);
        assert_eq!((kept, transfer.took_us), (Millis::from_secs(60), 60_000_000));
    }
}

#[tokio::test]
async fn a_stream_that_ends_early_says_how_far_it_came() {
    for (habit, end) in [(Habit::Stops, TransferEnd::CutShort), (Habit::Drops, TransferEnd::Broken)] {
        let transfer = measured(habit).await;
        assert_eq!((transfer.end, transfer.received), (end, 30 * PIECE as u64));
    }
}

#[tokio::test]
async fn nothing_is_asked_for_where_transfers_are_off() {
    assert_eq!(measure(Habit::Endless, 0).await, (None, Millis(0)));
}
