//! What is made of an answer. Pure.

use std::collections::{BTreeMap, BTreeSet};

use basilica_ports::JudgedNode;
use basilica_status::{Judgement, LastVerdict};
use basilica_types::{Digest, Hotkey, NodeId, Timestamp};
use basilica_verification::{CheckKind, Outcome, SignedVerdict};
use basilica_wire::EnvelopeError;

/// Verdicts that are fetched for one answer; the rest with the next ones.
const FETCHED: usize = 64;

/// Whose verdict about what it must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub(super) validator: Hotkey,
    pub(super) miner: Hotkey,
    pub(super) node: NodeId,
}

/// Why bytes are not the verdict that they should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotIt {
    #[error("its signature does not hold")]
    Envelope(#[from] EnvelopeError),
    #[error("it is another one than was named")]
    Other,
    #[error("somebody else signed it")]
    Signer,
    #[error("it is about another node")]
    Node,
}

/// Verdicts that were read and hold, and digests of which nothing better is known than that they do not.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdicts(BTreeMap<(NodeId, Digest), Option<LastVerdict>>);

impl Verdicts {
    /// Those that are named and not known yet, not all at once.
    pub(super) fn missing(&self, named: &[(NodeId, Digest)]) -> Vec<(NodeId, Digest)> {
        let missing = named.iter().filter(|key| !self.0.contains_key(key)).copied();
        // A light check's node has two that may be one.
        missing.collect::<BTreeSet<_>>().into_iter().take(FETCHED).collect()
    }

    /// Reads a verdict. One that does not hold is not asked for again.
    pub(super) fn take(&mut self, digest: Digest, bytes: &[u8], about: &About) -> Result<(), NotIt> {
        let read = read(digest, bytes, about);
        self.0.insert((about.node, digest), read.as_ref().ok().cloned());
        read.map(|_| ())
    }

    /// Forgets all but these.
    pub(super) fn keep(&mut self, named: &[(NodeId, Digest)]) {
        let named: BTreeSet<_> = named.iter().collect();
        self.0.retain(|key, _| named.contains(key));
    }

    fn get(&self, node: NodeId, digest: Option<Digest>) -> Option<LastVerdict> {
        self.0.get(&(node, digest?)).cloned().flatten()
    }
}

/// The verdicts that an answer names, of full checks first: scores go by them.
pub(super) fn named(nodes: &[JudgedNode]) -> Vec<(NodeId, Digest)> {
    let full = nodes.iter().filter_map(|node| Some((node.node, node.last_full?)));
    let last = nodes.iter().filter_map(|node| Some((node.node, node.last?)));
    full.chain(last).collect()
}

fn read(digest: Digest, bytes: &[u8], about: &About) -> Result<LastVerdict, NotIt> {
    let signed = SignedVerdict::decode_verified(bytes)?;
    let verdict = signed.content();
    if signed.digest() != digest {
        return Err(NotIt::Other);
    }
    if signed.signer() != about.validator || verdict.validator != about.validator {
        return Err(NotIt::Signer);
    }
    if verdict.miner != about.miner || verdict.node != about.node {
        return Err(NotIt::Node);
    }
    let (explanation, fault) = match verdict.outcome {
        Outcome::Passed => ("every check passed", None),
        Outcome::Failed { reason, fault } => (reason.explanation(), Some(fault.as_str().into())),
    };
    let unproven = verdict.unproven().map(|count| count.to_string());
    Ok(LastVerdict {
        digest,
        full: verdict.kind == CheckKind::Full,
        finished: verdict.finished,
        passed: verdict.outcome == Outcome::Passed,
        reason: verdict.outcome.code().into(),
        explanation: unproven.as_deref().unwrap_or(explanation).into(),
        fault,
        gpus: u16::try_from(verdict.gpus.len()).unwrap_or(u16::MAX),
    })
}

pub(super) fn judgement(
    validator: Hotkey,
    at: Timestamp,
    node: &JudgedNode,
    verdicts: &Verdicts,
) -> Judgement {
    Judgement {
        validator,
        at,
        listed: node.listed.as_str().into(),
        gate: node.gate.as_deref().map(Into::into),
        gate_explanation: node.gate_explanation.as_deref().map(Into::into),
        score: node.score,
        ramp: node.ramp,
        banned_until: node.banned_until,
        next_check: node.next_check,
        last: verdicts.get(node.node, node.last),
        last_full: verdicts.get(node.node, node.last_full),
    }
}
