//! Whether a kept transcript bears a verdict out: what anyone can check later, without the node, the validator or a GPU.
//!
//! Replaying shows what the prover's bytes are worth, not when they came: that a proof was late, and that a stream ended
//! there and not later, stays the validator's word. So a verdict that says so is not contradicted by its transcript. Of what
//! it measured, the bytes that a device read are those that the transcript's challenge asks for; the time is its word. How
//! much work a class must be asked for is the validator's choice as well; the transcript shows what was asked.

use std::collections::BTreeSet;

use basilica_proof::residency::{ResidencyParams, Space};
use basilica_proof::{ClassName, ProvenDevice, Rejection, RejectionClass, Transcript};
use basilica_types::{Category, Digest, GpuUuid, NodeId};

use crate::CardTable;
use crate::verdict::blob_digest;
use crate::{ClaimedGpu, MemoryRead, Outcome, ProvenGpu, Reason, Verdict};

/// How transcript and verdict contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discrepancy {
    /// Light checks, and full ones that never reached the prover, keep none.
    #[error("the verdict rests on no transcript")]
    NoTranscript,
    /// These are other bytes.
    #[error("the verdict rests on transcript {expected}, and this is {found}")]
    OtherTranscript {
        /// Named by the verdict.
        expected: Digest,
        /// Of the bytes at hand.
        found: Digest,
    },
    /// The challenge was another node's.
    #[error("the verdict is about node {expected}, and the transcript's challenge was for {found}")]
    OtherNode {
        /// Judged.
        expected: NodeId,
        /// Challenged.
        found: NodeId,
    },
    /// The challenge was bound to another host key than the connection had.
    #[error("the transcript's challenge is bound to another ssh host key than the verdict names")]
    OtherHostKey,
    /// A device was challenged that the node did not claim.
    #[error("gpu {0} was challenged, and the verdict lists no such claim")]
    NotClaimed(GpuUuid),
    /// The verdict counts a device that proved nothing.
    #[error("the verdict counts gpu {0}, which the transcript does not prove")]
    NotProven(GpuUuid),
    /// The verdict counts a device more than once.
    #[error("the verdict counts gpu {0} twice")]
    CountedTwice(GpuUuid),
    /// The verdict puts a device into another category than its class belongs to.
    #[error(
        "the verdict counts gpu {uuid} as {said}, and its class {class} is {category} in the table of cards at hand"
    )]
    OtherCategory {
        /// The device.
        uuid: GpuUuid,
        /// By the verdict.
        said: Category,
        /// As challenged.
        class: ClassName,
        /// What that class is by the table.
        category: Category,
    },
    /// The verdict has measured walks, and the transcript holds none that were finished.
    #[error("the verdict tells how fast memory was read, and the transcript does not hold")]
    MeasuredUnproven,
    /// The verdict counts a device's walk through a space otherwise than the challenge asks for it, or twice.
    #[error(
        "the verdict says that gpu {uuid} read {said} bytes of its {space} memory, and {asked} were asked for"
    )]
    OtherBytes {
        /// The device.
        uuid: GpuUuid,
        /// Where.
        space: Space,
        /// By the verdict, all entries together.
        said: u64,
        /// By the challenge; 0 if it asks for none.
        asked: u64,
    },
    /// Passed, on bytes that show the opposite.
    #[error("the verdict says that the node passed, and the transcript does not hold")]
    Passed(#[source] Rejection),
    /// Failed, on bytes that do not show it.
    #[error("the verdict says `{said}`, and the transcript shows `{shown}`", said = .said.code(), shown = .shown)]
    OtherReason {
        /// By the verdict.
        said: Reason,
        /// By the replay: a reason's code, or `a proof that holds`.
        shown: &'static str,
    },
}

/// What the prover's bytes are worth: the devices proven, or why they do not hold.
pub type Replay = Result<Vec<ProvenDevice>, Rejection>;

/// Replays `transcript` and compares it with everything that `verdict` says of it.
///
/// The verdict's signature is not looked at here; a [`basilica_wire::Signed`] has seen to that. Which card belongs where, says
/// `cards`: the validator's own table where it is not the built-in one.
///
/// # Errors
/// The first contradiction.
pub fn audit(verdict: &Verdict, transcript: &Transcript, cards: &CardTable) -> Result<Replay, Discrepancy> {
    let evidence = &verdict.evidence;
    let expected = evidence.transcript.ok_or(Discrepancy::NoTranscript)?;
    let found = transcript.hash();
    if expected != found {
        return Err(Discrepancy::OtherTranscript { expected, found });
    }
    let challenge = transcript.challenge();
    let binding = challenge.binding();
    if binding.node != verdict.node {
        return Err(Discrepancy::OtherNode { expected: verdict.node, found: binding.node });
    }
    if evidence.host_key != Some(blob_digest(&binding.host_key)) {
        return Err(Discrepancy::OtherHostKey);
    }
    for device in challenge.devices() {
        let claim = &device.claim;
        let claimed =
            |gpu: &ClaimedGpu| (gpu.index, gpu.uuid, &gpu.class) == (claim.index, claim.uuid, &claim.class);
        if !evidence.claims.iter().any(claimed) {
            return Err(Discrepancy::NotClaimed(claim.uuid));
        }
    }
    let replay = transcript.verify();
    compare(verdict, &replay, cards)?;
    match &replay {
        Ok(devices) => measured(verdict, devices)?,
        Err(_) if verdict.evidence.measured.memory.is_empty() => {}
        Err(_) => return Err(Discrepancy::MeasuredUnproven),
    }
    Ok(replay)
}

/// Whether the bytes of every measured walk are those of the walk that was asked for.
fn measured(verdict: &Verdict, devices: &[ProvenDevice]) -> Result<(), Discrepancy> {
    let memory = &verdict.evidence.measured.memory;
    for MemoryRead { uuid, space, .. } in memory.iter().copied() {
        let same = |read: &&MemoryRead| (read.uuid, read.space) == (uuid, space);
        let said = memory.iter().filter(same).fold(0_u64, |sum, read| sum.saturating_add(read.bytes));
        let device = devices.iter().find(|device| device.claim.uuid == uuid);
        let region = device.and_then(|d| d.residency.iter().find(|region| region.space() == space));
        let asked = region.map_or(0, ResidencyParams::bytes_read);
        if said != asked || asked == 0 {
            return Err(Discrepancy::OtherBytes { uuid, space, said, asked });
        }
    }
    Ok(())
}

fn compare(verdict: &Verdict, replay: &Replay, cards: &CardTable) -> Result<(), Discrepancy> {
    match (verdict.outcome, replay) {
        (Outcome::Passed, Err(rejection)) => Err(Discrepancy::Passed(rejection.clone())),
        (Outcome::Passed, Ok(devices)) => count(&verdict.gpus, devices, cards),
        (Outcome::Failed { reason, .. }, Ok(_)) if is_shown_by_bytes(reason) => {
            Err(Discrepancy::OtherReason { said: reason, shown: "a proof that holds" })
        }
        // The last of them may have ended in any way but by wrong arithmetic.
        (Outcome::Failed { reason, .. }, Err(rejection))
            if is_said_of_several_tries(reason) && rejection.class() != RejectionClass::Proof =>
        {
            Ok(())
        }
        (Outcome::Failed { reason, .. }, Err(rejection))
            if rejection.class() != RejectionClass::Incomplete
                && reason.code().starts_with("proof_")
                && reason != Reason::of_rejection(rejection) =>
        {
            Err(Discrepancy::OtherReason { said: reason, shown: rejection.code() })
        }
        (Outcome::Failed { .. }, _) => Ok(()),
    }
}

/// Whether each GPU is counted once, as what it was proven to be.
fn count(gpus: &[ProvenGpu], devices: &[ProvenDevice], cards: &CardTable) -> Result<(), Discrepancy> {
    let mut counted = BTreeSet::new();
    for ProvenGpu { uuid, category: said } in gpus.iter().copied() {
        let device = devices.iter().find(|device| device.claim.uuid == uuid);
        let class = &device.ok_or(Discrepancy::NotProven(uuid))?.claim.class;
        let (category, or_other) = cards.possible(class);
        if said != category && !(or_other && said == Category::Other) {
            return Err(Discrepancy::OtherCategory { uuid, said, class: class.clone(), category });
        }
        if !counted.insert(uuid) {
            return Err(Discrepancy::CountedTwice(uuid));
        }
    }
    Ok(())
}

/// Whether the prover's bytes decide it, and no clock and no other try.
fn is_shown_by_bytes(reason: Reason) -> bool {
    let elsewhere = matches!(reason, Reason::ProofDeadlineMissed | Reason::ProofBrokenOff);
    reason.code().starts_with("proof_") && !elsewhere
}

/// Whether several tries together may have been found so ([`crate::timing`], [`crate::aborted`]).
fn is_said_of_several_tries(reason: Reason) -> bool {
    matches!(reason, Reason::ProofIncompleteAfterNonce | Reason::ProofDeadlineMissed | Reason::ProofBrokenOff)
}

#[cfg(test)]
mod tests;
