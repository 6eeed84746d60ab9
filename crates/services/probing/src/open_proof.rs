//! The last stage of a talk with the prover: its openings, checked beside the async threads.
//!
//! Checking the openings of a node takes a core for tenths of a second, in which other nodes' walks would be stamped late
//! by us. So it runs on threads of its own, as many as there are cores, in the order of arrival; what arrives meanwhile
//! is stamped when it comes, not when its turn does. What waits is bounded by the answer that was asked for, whose memory is
//! reserved; a node that sends it in tiny pieces is held back by the channel's window.

use std::time::Duration;

use basilica_ports::{Process, ShellError};
use basilica_proof::{Step, Verifier};
use basilica_runtime_service::within;
use basilica_types::Millis;
use basilica_verification::{Break, Measured};
use tokio::sync::{Semaphore, mpsc};

use crate::Probing;
use crate::prove_node::End;

/// Bytes of a piece that is not tiny: SSH sends 32 KiB at a time.
const PIECE: u64 = 4_096;
/// Pieces that may wait beyond those of the answer.
const SPARE: u64 = 16;

/// Bytes, and when they came after the talk began.
type Piece = (Vec<u8>, Duration);

/// How receiving ended.
enum Received {
    Deadline,
    Silent,
    Lost(ShellError),
}

/// Receives the openings and checks them; the verifier, and how the talk ended. `(started, deadline)` are the clock's reading at its
/// beginning, and when it must be over, counted from there.
///
/// # Errors
/// If checking panicked.
pub(crate) async fn receive(
    probing: Probing<'_>,
    process: &mut Box<dyn Process>,
    verifier: Box<Verifier>,
    (started, deadline): (Duration, Duration),
) -> Result<(Box<Verifier>, Result<End, ShellError>), Break> {
    // What comes beyond the answer is found by the first byte of it: nothing more is taken in then.
    let mut left = verifier.transcript().challenge().answer_bytes();
    let (pieces, arrived) = mpsc::channel(usize::try_from(left / PIECE + SPARE).unwrap_or(usize::MAX));
    let mut checking = std::pin::pin!(check(&probing.room.checkers, verifier, arrived));
    let receiving = async move {
        let clock = probing.clock;
        loop {
            let elapsed = clock.monotonic().saturating_sub(started);
            let limit = Millis::from(deadline.saturating_sub(elapsed));
            let bytes = match within(clock, limit, process.receive()).await {
                Err(_elapsed) => return Received::Deadline,
                Ok(Err(error)) => return Received::Lost(error),
                Ok(Ok(None)) => return Received::Silent,
                Ok(Ok(Some(bytes))) => bytes,
            };
            let came = clock.monotonic().saturating_sub(started);
            let within_answer = left.checked_sub(bytes.len() as u64);
            if pieces.send((bytes, came)).await.is_err() {
                return Received::Silent;
            }
            left = match within_answer {
                Some(left) => left,
                None => return Received::Silent,
            };
        }
    };
    let received = tokio::select! {
        biased;
        checked = &mut checking => {
            let (verifier, end) = checked?;
            return Ok((verifier, Ok(end.unwrap_or(End::Silent))));
        }
        received = receiving => received,
    };
    let (mut verifier, checked) = checking.await?;
    let end = match (checked, received) {
        (Some(end), _) => Ok(end),
        (None, Received::Deadline) => Ok(End::Rejected(verifier.on_deadline())),
        (None, Received::Silent) => Ok(End::Silent),
        (None, Received::Lost(error)) => Err(error),
    };
    Ok((verifier, end))
}

/// Checks what arrives until it decides or nothing more comes.
async fn check(
    checkers: &Semaphore,
    mut verifier: Box<Verifier>,
    mut arrived: mpsc::Receiver<Piece>,
) -> Result<(Box<Verifier>, Option<End>), Break> {
    while let Some(first) = arrived.recv().await {
        let mut pieces = vec![first];
        while let Ok(more) = arrived.try_recv() {
            pieces.push(more);
        }
        // Closed never; without a permit a check would still be right.
        let _core = checkers.acquire().await;
        let checked = tokio::task::spawn_blocking(move || {
            let end = pieces.iter().find_map(|piece| take(&mut verifier, piece));
            (verifier, end)
        });
        let end;
        (verifier, end) = checked.await.map_err(|_panicked| Break::Internal)?;
        if end.is_some() {
            return Ok((verifier, end));
        }
    }
    Ok((verifier, None))
}

fn take(verifier: &mut Verifier, (bytes, came): &Piece) -> Option<End> {
    match verifier.on_bytes(bytes, *came) {
        Err(rejection) => Some(End::Rejected(rejection)),
        Ok(Step::Done(outcome)) => Some(End::Verified(Box::new(Measured::of_proof(&outcome)))),
        // No nonce follows the one that openings are drawn from.
        Ok(Step::More | Step::DrawNonce(_)) => None,
    }
}
