//! The signed conclusion over a node (decision D5).
//!
//! A verdict says who judged whom, when, by which rules, with which result and on what evidence, and links to the verdict
//! before it on the same node, so that none can be taken out of the chain unseen. The bytes are SCALE under
//! `basilica/verdict/v3`; domain types go in as fixed arrays or canonical text, so the encoding is independent of
//! how this program stores them. Reading is fallible: a value that no such program writes is refused.
//!
//! Version 2 is version 1 with what was measured behind it, version 3 is version 2 with what the node's probes told behind
//! that. Earlier versions are read for ever ([`SignedVerdict`]) and no longer written: stored chains of verdicts hold all, and a
//! verdict's digest is that of its own version's bytes. Rejected: an optional tail under the old tag, which would give one
//! value two encodings.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the derive of codec casts the variant indexes that stand here"
)]

use basilica_types::{Digest, GpuUuid, HostKey, Hotkey, NodeId, Timestamp};
use basilica_wire::{Domain, EnvelopeError, Signed};
use codec::{Decode, Encode, Input, Output};

use crate::gpus::{category_by_name, class_by_name};
use crate::measured::{self, Measured};
use crate::{CheckKind, ClaimedGpu, CountUnproven, Fault, Probes, ProvenGpu, Reason};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Outcome {
    /// The node is as it must be.
    #[codec(index = 0)]
    Passed,
    /// It is not, or it could not be told.
    #[codec(index = 1)]
    Failed {
        /// What failed.
        reason: Reason,
        /// Whose fault it is.
        fault: Fault,
    },
}

impl Outcome {
    /// The reason's code, or `passed`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed { reason, .. } => reason.code(),
        }
    }
}

/// What the conclusion rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// SHA-256 of the host key of the connection, if one came about; what `ssh-keygen -l` shows in base64.
    pub host_key: Option<Digest>,
    /// How often the check was tried.
    pub tries: u8,
    /// What the node claims to have.
    pub claims: Vec<ClaimedGpu>,
    /// Hash of the transcript of the last proof.
    pub transcript: Option<Digest>,
    /// BLAKE3 of the prover that the validator uses.
    pub prover: Digest,
    /// What was measured besides; in verdicts of version 1, nothing.
    pub measured: Measured,
    /// What the node told of itself; in verdicts of versions 1 and 2, nothing.
    pub probes: Probes,
}

/// The digest by which verdicts name a host key: SHA-256 of its blob.
pub fn host_key_digest(key: &HostKey) -> Digest {
    blob_digest(key.blob())
}

pub(crate) fn blob_digest(blob: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest::from_bytes(sha2::Sha256::digest(blob).into())
}

/// One validator's conclusion about one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whose node it is.
    pub miner: Hotkey,
    /// Which.
    pub node: NodeId,
    /// Who judges: the signer.
    pub validator: Hotkey,
    /// Digest of this validator's verdict before on this node; none for the first.
    pub previous: Option<Digest>,
    /// How deep the check looked.
    pub kind: CheckKind,
    /// When the first try began.
    pub started: Timestamp,
    /// When the conclusion was reached.
    pub finished: Timestamp,
    /// The conclusion.
    pub outcome: Outcome,
    /// The GPUs that a passed full check stands for: all claimed ones, or fewer if their count is unproven.
    pub gpus: Vec<ProvenGpu>,
    /// Digest of the rules that applied.
    pub policy: Digest,
    /// What the conclusion rests on.
    pub evidence: Evidence,
}

impl Verdict {
    /// Whether it passed the node for fewer GPUs than it claimed (RULES R14).
    pub fn unproven(&self) -> Option<CountUnproven> {
        let (claimed, paid) = (self.evidence.claims.len(), self.gpus.len());
        let is_short = self.outcome == Outcome::Passed && paid < claimed;
        is_short.then_some(CountUnproven { claimed, paid })
    }
}

impl Domain for Verdict {
    const TAG: &'static str = "basilica/verdict/v3";
}

/// A verdict in the bytes of version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Second(Verdict);

impl Domain for Second {
    const TAG: &'static str = "basilica/verdict/v2";
}

/// A verdict in the bytes of version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
struct First(Verdict);

impl Domain for First {
    const TAG: &'static str = "basilica/verdict/v1";
}

/// A verdict of any version, signed by whom it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedVerdict {
    content: Verdict,
    signer: Hotkey,
    digest: Digest,
}

impl SignedVerdict {
    /// Reads an envelope of any version, as strictly as [`Signed::decode_verified`] does.
    pub fn decode_verified(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        match Signed::<Verdict>::decode_verified(bytes) {
            Err(EnvelopeError::Domain { found, .. }) if found == First::TAG => {
                Signed::<First>::decode_verified(bytes).map(|signed| Self::of(&signed, |first| &first.0))
            }
            Err(EnvelopeError::Domain { found, .. }) if found == Second::TAG => {
                Signed::<Second>::decode_verified(bytes).map(|signed| Self::of(&signed, |second| &second.0))
            }
            read => read.map(Self::from),
        }
    }

    /// The same of an envelope that this validator stored itself: signatures cost more to check than all else of a page, and
    /// whoever doubts the page checks the file.
    pub fn decode_stored(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        match Signed::<Verdict>::decode_unverified(bytes) {
            Err(EnvelopeError::Domain { found, .. }) if found == First::TAG => {
                Signed::<First>::decode_unverified(bytes).map(|signed| Self::of(&signed, |first| &first.0))
            }
            Err(EnvelopeError::Domain { found, .. }) if found == Second::TAG => {
                Signed::<Second>::decode_unverified(bytes).map(|signed| Self::of(&signed, |second| &second.0))
            }
            read => read.map(Self::from),
        }
    }

    fn of<T: Domain>(signed: &Signed<T>, verdict: fn(&T) -> &Verdict) -> Self {
        let content = verdict(signed.content()).clone();
        Self { content, signer: signed.signer(), digest: signed.digest() }
    }

    /// What was signed.
    pub const fn content(&self) -> &Verdict {
        &self.content
    }

    /// Who signed it.
    pub const fn signer(&self) -> Hotkey {
        self.signer
    }

    /// Hash of the whole envelope as it was written; links the next verdict to this one.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

impl From<Signed<Verdict>> for SignedVerdict {
    fn from(signed: Signed<Verdict>) -> Self {
        Self { content: signed.content().clone(), signer: signed.signer(), digest: signed.digest() }
    }
}

/// The layout on the wire.
#[derive(Encode, Decode)]
struct Layout {
    second: SecondLayout,
    probes: Probes,
}

/// The layout of version 2.
#[derive(Encode, Decode)]
struct SecondLayout {
    first: FirstLayout,
    measured: measured::Layout,
}

/// The layout of version 1.
#[derive(Encode, Decode)]
struct FirstLayout {
    miner: [u8; 32],
    node: [u8; 16],
    validator: [u8; 32],
    previous: Option<[u8; 32]>,
    kind: CheckKind,
    started: i64,
    finished: i64,
    outcome: Outcome,
    gpus: Vec<([u8; 16], String)>,
    policy: [u8; 32],
    host_key: Option<[u8; 32]>,
    tries: u8,
    claims: Vec<(u16, [u8; 16], String)>,
    transcript: Option<[u8; 32]>,
    prover: [u8; 32],
}

impl From<&Verdict> for FirstLayout {
    fn from(v: &Verdict) -> Self {
        let e = &v.evidence;
        Self {
            miner: *v.miner.as_bytes(),
            node: *v.node.as_bytes(),
            validator: *v.validator.as_bytes(),
            previous: v.previous.map(|d| *d.as_bytes()),
            kind: v.kind,
            started: v.started.0,
            finished: v.finished.0,
            outcome: v.outcome,
            gpus: v.gpus.iter().map(|g| (*g.uuid.as_bytes(), g.category.as_str().to_owned())).collect(),
            policy: *v.policy.as_bytes(),
            host_key: e.host_key.map(|d| *d.as_bytes()),
            tries: e.tries,
            claims: e
                .claims
                .iter()
                .map(|c| (c.index, *c.uuid.as_bytes(), c.class.as_str().to_owned()))
                .collect(),
            transcript: e.transcript.map(|d| *d.as_bytes()),
            prover: *e.prover.as_bytes(),
        }
    }
}

impl TryFrom<FirstLayout> for Verdict {
    type Error = codec::Error;

    fn try_from(l: FirstLayout) -> Result<Self, codec::Error> {
        let gpu = |(uuid, name): ([u8; 16], String)| {
            let category = category_by_name(&name).ok_or("verdict names an unknown gpu category")?;
            Ok::<_, codec::Error>(ProvenGpu { uuid: GpuUuid::from_bytes(uuid), category })
        };
        let claim = |(index, uuid, class): (u16, [u8; 16], String)| {
            let class = class_by_name(&class).ok_or("verdict holds an invalid gpu class")?;
            Ok::<_, codec::Error>(ClaimedGpu { index, uuid: GpuUuid::from_bytes(uuid), class })
        };
        Ok(Self {
            miner: Hotkey::from_bytes(l.miner),
            node: NodeId::from_bytes(l.node),
            validator: Hotkey::from_bytes(l.validator),
            previous: l.previous.map(Digest::from_bytes),
            kind: l.kind,
            started: Timestamp(l.started),
            finished: Timestamp(l.finished),
            outcome: l.outcome,
            gpus: l.gpus.into_iter().map(gpu).collect::<Result<_, _>>()?,
            policy: Digest::from_bytes(l.policy),
            evidence: Evidence {
                host_key: l.host_key.map(Digest::from_bytes),
                tries: l.tries,
                claims: l.claims.into_iter().map(claim).collect::<Result<_, _>>()?,
                transcript: l.transcript.map(Digest::from_bytes),
                prover: Digest::from_bytes(l.prover),
                measured: Measured::default(),
                probes: Probes::default(),
            },
        })
    }
}

impl Encode for Verdict {
    fn encode_to<T: Output + ?Sized>(&self, dest: &mut T) {
        let second = SecondLayout::from(self);
        Layout { second, probes: self.evidence.probes.clone() }.encode_to(dest);
    }
}

impl From<&Verdict> for SecondLayout {
    fn from(verdict: &Verdict) -> Self {
        let measured = measured::Layout::from(&verdict.evidence.measured);
        Self { first: FirstLayout::from(verdict), measured }
    }
}

impl TryFrom<SecondLayout> for Verdict {
    type Error = codec::Error;

    fn try_from(SecondLayout { first, measured }: SecondLayout) -> Result<Self, codec::Error> {
        let mut verdict = Self::try_from(first)?;
        verdict.evidence.measured = measured.try_into()?;
        Ok(verdict)
    }
}

impl codec::EncodeLike for Verdict {}

impl Decode for Verdict {
    fn decode<I: Input>(input: &mut I) -> Result<Self, codec::Error> {
        let Layout { second, probes } = Layout::decode(input)?;
        let mut verdict = Self::try_from(second)?;
        verdict.evidence.probes = probes;
        Ok(verdict)
    }
}

impl Encode for Second {
    fn encode_to<T: Output + ?Sized>(&self, dest: &mut T) {
        SecondLayout::from(&self.0).encode_to(dest);
    }
}

impl codec::EncodeLike for Second {}

impl Decode for Second {
    fn decode<I: Input>(input: &mut I) -> Result<Self, codec::Error> {
        Ok(Self(SecondLayout::decode(input)?.try_into()?))
    }
}

impl Encode for First {
    fn encode_to<T: Output + ?Sized>(&self, dest: &mut T) {
        FirstLayout::from(&self.0).encode_to(dest);
    }
}

impl codec::EncodeLike for First {}

impl Decode for First {
    fn decode<I: Input>(input: &mut I) -> Result<Self, codec::Error> {
        Ok(Self(FirstLayout::decode(input)?.try_into()?))
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
pub(crate) mod tests;
