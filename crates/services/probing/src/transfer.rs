//! Times how fast a node sends, after its proof: the node makes a stream of bytes that it could not know before, and the
//! pure verifier compares them as they come (see `basilica_proof::stream`).
//!
//! The result is evidence in the verdict and decides nothing, so no end of it is an error. It has a deadline, a budget of bytes and few
//! places ([`TRANSFERS`]) of its own: a slow node holds one of them and its own check, and where none becomes free within a
//! deadline the node is not measured this time. Places also share the validator's link: what a node shows is at
//! least the figure, never at most.

use std::time::Duration;

use basilica_ports::{Process, Shell};
use basilica_proof::Binding;
use basilica_proof::stream::{StreamFault, StreamRequest, StreamStep, StreamVerifier};
use basilica_runtime_service::within;
use basilica_types::{Millis, NodeId};
use basilica_verification::measured::micros;
use basilica_verification::{Transfer, TransferEnd};
use tracing::debug;

use crate::{Probing, commands};

/// Transfers at a time.
pub(crate) const TRANSFERS: usize = 4;
/// Between the last byte and the end of the output: what comes then is too much.
const END_DEADLINE: Millis = Millis::from_secs(5);

impl Probing<'_> {
    /// Times one transfer from the node; nothing if transfers are off, or there is no place for one.
    pub async fn transfer(self, node: NodeId, shell: &dyn Shell) -> Option<Transfer> {
        transfer(self, node, shell).await
    }
}

async fn transfer(probing: Probing<'_>, node: NodeId, shell: &dyn Shell) -> Option<Transfer> {
    let (bytes, limit) = (probing.settings.network_bytes, probing.settings.network_deadline);
    if bytes == 0 {
        return None;
    }
    let clock = probing.clock;
    let Ok(Ok(_place)) = within(clock, limit, probing.room.transfers.acquire()).await else {
        debug!(target: "validator::verification", { node.id = %node }, "no place for a transfer");
        return None;
    };
    let beacon = probing.beacons.draw(None).await.ok()?.beacon;
    let nonce = probing.entropy.array();
    let host_key = shell.host_key().blob().to_vec();
    let binding = Binding { beacon, validator_nonce: nonce, node, host_key };
    let request = StreamRequest::new(&binding, bytes).ok()?;
    let mut timed = Timed { probing, verifier: StreamVerifier::new(&request), started: clock.monotonic() };
    let (end, took) = timed.run(shell, &request).await;
    let received = timed.verifier.received();
    let transfer = Transfer { asked: bytes, received, took_us: micros(took), end };
    debug!(target: "validator::verification", { node.id = %node, end = end.as_str(), received,
        bytes_per_second = ?transfer.bytes_per_second() }, "transfer ended");
    Some(transfer)
}

struct Timed<'a> {
    probing: Probing<'a>,
    verifier: StreamVerifier,
    /// Right before the request is sent.
    started: Duration,
}

impl Timed<'_> {
    fn elapsed(&self) -> Duration {
        self.probing.clock.monotonic().saturating_sub(self.started)
    }

    /// How it ended, and after what time.
    async fn run(&mut self, shell: &dyn Shell, request: &StreamRequest) -> (TransferEnd, Duration) {
        let (clock, settings) = (self.probing.clock, self.probing.settings);
        let argv = commands::stream(self.probing.prover);
        let Ok(Ok(mut process)) = within(clock, settings.command_deadline, shell.start(&argv)).await else {
            return (TransferEnd::Broken, Duration::ZERO);
        };
        // The node cannot send before it knows the seed; that its program was started first does not count.
        self.started = clock.monotonic();
        let received =
            within(clock, settings.network_deadline, self.receive(process.as_mut(), request)).await;
        let took = self.elapsed();
        let end = match received {
            Ok(TransferEnd::Complete) => self.ends(process.as_mut()).await,
            Ok(end) => end,
            Err(_elapsed) => TransferEnd::TooSlow,
        };
        (end, took)
    }

    async fn receive(&mut self, process: &mut dyn Process, request: &StreamRequest) -> TransferEnd {
        if process.send(&request.encode()).await.is_err() {
            return TransferEnd::Broken;
        }
        loop {
            let bytes = match process.receive().await {
                Err(_) => return TransferEnd::Broken,
                Ok(None) => return TransferEnd::CutShort,
                Ok(Some(bytes)) => bytes,
            };
            match self.verifier.on_bytes(&bytes) {
                Ok(StreamStep::More) => {}
                Ok(StreamStep::Complete) => return TransferEnd::Complete,
                Err(fault) => return end_of(fault),
            }
        }
    }

    /// Whether anything follows a complete stream. One that is left open for a while is complete as well.
    async fn ends(&mut self, process: &mut dyn Process) -> TransferEnd {
        let more = within(self.probing.clock, END_DEADLINE, process.receive()).await;
        match more {
            Ok(Ok(Some(bytes))) => match self.verifier.on_bytes(&bytes) {
                Err(fault) => end_of(fault),
                Ok(_) => TransferEnd::Complete,
            },
            _ => TransferEnd::Complete,
        }
    }
}

const fn end_of(fault: StreamFault) -> TransferEnd {
    match fault {
        StreamFault::WrongByte(_) => TransferEnd::WrongBytes,
        StreamFault::TooMuch(_) => TransferEnd::TooMany,
        StreamFault::TooLittle { .. } => TransferEnd::CutShort,
    }
}

#[cfg(test)]
mod tests;
