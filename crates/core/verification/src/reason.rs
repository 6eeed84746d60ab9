//! Why a check failed, in words that stay: dashboards, tickets and the documentation name them.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the derive of codec casts the variant indexes that stand here"
)]

use std::fmt;
use std::str::FromStr;

use basilica_proof::Rejection;
use basilica_proof::wire::RefusalCode;
use codec::{Decode, Encode};

use crate::Witness;

/// Where the blame for a failed try can lie, judged by that try alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The node's own bytes over its pinned channel prove the fault: confirmed at once (RULES R4).
    Proven,
    /// Node, network or we ourselves: only further tries beside a control target can tell.
    Suspected,
    /// Never the node's fault, however often it happens.
    Elsewhere(Fault),
}

/// Who caused a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Fault {
    /// The node or its operator.
    #[codec(index = 0)]
    Node {
        /// Shown by the evidence or by retries (RULES R4); only then it counts against the node.
        confirmed: bool,
    },
    /// Something between the validator and the node.
    #[codec(index = 1)]
    Network,
    /// The validator itself, or its uplink.
    #[codec(index = 2)]
    Validator,
    /// The evidence does not tell.
    #[codec(index = 3)]
    Unknown,
}

impl Fault {
    /// The word in JSON, logs and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node { confirmed: true } => "node",
            Self::Node { confirmed: false } => "node_unconfirmed",
            Self::Network => "network",
            Self::Validator => "validator",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no fault of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown fault {0:?}")]
pub struct UnknownFault(String);

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let all = [
            Self::Node { confirmed: true },
            Self::Node { confirmed: false },
            Self::Network,
            Self::Validator,
            Self::Unknown,
        ];
        all.into_iter().find(|fault| fault.as_str() == text).ok_or_else(|| UnknownFault(text.to_owned()))
    }
}

/// A text that is no reason code of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown reason code {0:?}")]
pub struct UnknownReason(String);

macro_rules! reasons {
    ($($index:literal $variant:ident $code:literal $blame:expr, $text:literal;)+) => {
        /// Why a check did not pass. Codes and their numbers in signed bytes are never reused or renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        pub enum Reason {
            $(
                #[doc = concat!("`", $code, "`: ", $text, ".")]
                #[codec(index = $index)]
                $variant,
            )+
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The stable code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// One sentence for a person, without a full stop.
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// What one try that ended so says about the blame.
            pub const fn blame(self) -> Blame {
                match self { $(Self::$variant => $blame),+ }
            }
        }
    };
}

reasons! {
    0 AddressUnresolved "address_unresolved" Blame::Suspected, "the node's host name has no address";
    1 AddressForbidden "address_forbidden" Blame::Elsewhere(Fault::Node { confirmed: false }),
        "the node's address is not public and verification.allow_private_hosts is off";
    2 ConnectionFailed "ssh_connection_failed" Blame::Suspected, "nobody accepts ssh connections at the node's address";
    3 ConnectionTimeout "ssh_connection_timeout" Blame::Suspected, "connecting and logging in took longer than allowed";
    4 ConnectionLost "ssh_connection_lost" Blame::Suspected, "the ssh connection broke while in use";
    5 LockedOut "ssh_locked_out" Blame::Elsewhere(Fault::Unknown),
        "the node's sshd shuts this address out for a while (PerSourcePenalties or MaxStartups)";
    6 HostKeyChanged "host_key_changed" Blame::Elsewhere(Fault::Unknown),
        "the node shows another host key than its miner's signed response; the operator must approve the change";
    7 LoginDenied "ssh_login_denied" Blame::Suspected,
        "the node denies the session's key although its miner reports it deployed";
    8 SessionExpired "session_expired" Blame::Elsewhere(Fault::Validator), "the session's key ran out before it was renewed";
    9 NoSession "miner_session_missing" Blame::Elsewhere(Fault::Network),
        "the node's miner gives no session: it is silent, refuses or answers something invalid";
    10 CommandTimeout "command_timeout" Blame::Suspected, "a command on the node took longer than allowed";
    11 OutputTooLarge "output_too_large" Blame::Suspected, "a command on the node printed more than its bound";
    12 NonceMismatch "nonce_challenge_failed" Blame::Suspected, "the node did not echo the nonce";
    13 CommandFailed "command_failed" Blame::Suspected, "a command that any node has did not succeed";
    14 ProverUploadFailed "prover_upload_failed" Blame::Suspected,
        "the prover could not be written to ~/.cache/basilica (disk full, read-only home or no sha256sum)";
    15 ProverAltered "prover_altered" Blame::Suspected, "the prover on the node does not have its hash, even after an upload";
    16 ProverFailed "prover_failed" Blame::Suspected, "the prover ended with an error before its answer was complete";
    17 ClaimsInvalid "claims_invalid" Blame::Suspected, "the prover's list of gpus is not one";
    18 NoGpu "no_gpu_claimed" Blame::Proven, "the node claims no gpu: is its driver loaded";
    19 SimulatedGpuRefused "simulated_gpu_refused" Blame::Elsewhere(Fault::Validator),
        "the node claims simulated gpus, which count only on a development chain with verification.allow_simulated_gpus";
    20 ProofWrongVersion "proof_wrong_version" Blame::Suspected, "the prover speaks another version of the protocol";
    21 ProofChallengeMismatch "proof_challenge_mismatch" Blame::Proven,
        "the prover answered another challenge: a replayed or misdirected answer";
    22 ProofTooLarge "proof_too_large" Blame::Suspected, "the prover sent more than may come";
    23 ProofMalformed "proof_malformed" Blame::Suspected, "the prover's answer is not of the protocol";
    24 ProofUnexpectedMessage "proof_unexpected_message" Blame::Suspected, "the prover sent a message that may not come then";
    25 ProofUnknownDevice "proof_unknown_device" Blame::Suspected, "the prover answered for a gpu that was not challenged";
    26 ProofRootOrder "proof_root_order" Blame::Suspected, "the prover committed to its rounds out of order";
    27 ProofRootCountMismatch "proof_root_count_mismatch" Blame::Proven,
        "the prover committed to another number of rounds than asked";
    28 ProofUnsolicitedBytes "proof_unsolicited_bytes" Blame::Suspected, "the prover sent bytes before it was asked to open";
    29 ProofTrailingBytes "proof_trailing_bytes" Blame::Suspected, "the prover sent bytes after its last opening";
    30 ProofOpeningOrder "proof_opening_order" Blame::Proven, "the prover opened other cells than it was asked for";
    31 ProofMerklePath "proof_merkle_path" Blame::Proven, "an opened leaf is not in the tree that was committed to";
    32 ProofOpeningMismatch "proof_opening_mismatch" Blame::Proven,
        "an opened cell is not the product that it must be: work was skipped or computed wrongly";
    33 ProofRefused "proof_refused" Blame::Suspected, "the prover said that it cannot do the asked work";
    34 ProofDeadlineMissed "proof_deadline_missed" Blame::Suspected, "the proof was not complete by its deadline";
    35 ProofIncomplete "proof_incomplete" Blame::Suspected, "the prover's answer ended before it was complete";
    36 GpuClaimedElsewhere "gpu_claimed_elsewhere" Blame::Elsewhere(Fault::Unknown),
        "another node proved one of these gpus before; on hold until both are challenged at once";
    37 KeyUnusable "validator_key_unusable" Blame::Elsewhere(Fault::Validator), "the validator's own ssh key cannot be used";
    38 Internal "validator_internal" Blame::Elsewhere(Fault::Validator), "the validator could not finish the check";
    39 GpuClassUncalibrated "gpu_class_uncalibrated" Blame::Elsewhere(Fault::Validator),
        "this version has no measured work size and deadline for the claimed gpu class; it cannot pass until it has";
    40 ProofIncompleteAfterNonce "proof_incomplete_after_nonce" Blame::Suspected,
        "asked to open what it had committed to, the prover several times did not answer completely";
    41 ProofFillRepeated "proof_fill_repeated" Blame::Suspected, "the prover reported a memory as filled that it had reported before";
    42 ProofSegmentOrder "proof_segment_order" Blame::Suspected, "the prover committed to the segments of a walk through memory out of order";
    43 ProofWalkPath "proof_walk_path" Blame::Proven, "an opened step is not in the tree that was committed to";
    44 ProofWalkMismatch "proof_walk_mismatch" Blame::Proven,
        "an opened step is not what the memory's items give: memory that was claimed was not there";
    45 ProofSignature "proof_signature" Blame::Proven, "the run is not signed by the key that the prover began it with";
    46 GpuClaimsContradictClass "gpu_claims_contradict_class" Blame::Elsewhere(Fault::Node { confirmed: false }),
        "what the node tells of a gpu (memory, sms, cache, compute capability) is not the card that it calls it";
    47 GpuFingerprintChanged "gpu_fingerprint_changed" Blame::Elsewhere(Fault::Unknown),
        "a gpu shows other hardware than under the same uuid before; on hold until it shows the first again";
    48 ProofBrokenOff "proof_broken_off" Blame::Suspected,
        "the prover ended or lost its line in the midst of its proofs far oftener than lines break, while everything else worked";
    49 ProofBusy "proof_busy" Blame::Elsewhere(Fault::Unknown),
        "the gpus were busy: another validator's proof, or a program that holds their memory";
    50 IdentityOnHold "identity_on_hold" Blame::Elsewhere(Fault::Unknown),
        "another node proved gpus behind this host key or on this machine before; on hold until both pass when challenged at once";
    51 ProbeOutputInvalid "probe_output_invalid" Blame::Elsewhere(Fault::Unknown),
        "what the node's tools printed to a probe is of no form that this version reads: damaged, or another tool's";
    52 GpuMissing "gpu_missing" Blame::Elsewhere(Fault::Node { confirmed: false }),
        "a gpu that the node proved is gone; a full check looks again at once";
    53 GpuAdditional "gpu_additional" Blame::Elsewhere(Fault::Unknown),
        "the node shows a gpu that it has not proved; a full check looks again at once";
    54 ContainerRuntimeMissing "container_runtime_missing" Blame::Suspected, "the node has neither docker nor podman";
    55 ContainerRuntimeDown "container_runtime_down" Blame::Suspected,
        "docker or podman is there and does not answer this user: is its service running, and is the user in its group";
    56 ImagePullFailed "image_pull_failed" Blame::Suspected,
        "the node has no verification.docker_validation.docker_image and could not pull it, while its registry offers it to the validator or nodes of others say that they pulled it";
    57 ContainerGpuDenied "container_gpu_unavailable" Blame::Suspected,
        "a container that was given all gpus did not see them: is the nvidia container toolkit set up";
    58 StorageTooSmall "storage_too_small" Blame::Elsewhere(Fault::Node { confirmed: false }),
        "less than verification.storage_validation.min_required_storage_bytes is free where the container engine keeps its images";
    59 GpuCapabilityTooLow "compute_capability_too_low" Blame::Elsewhere(Fault::Node { confirmed: false }),
        "a gpu has a lower compute capability than verification.probes.min_compute_capability";
    60 CudaTooOld "cuda_too_old" Blame::Elsewhere(Fault::Node { confirmed: false }),
        "the gpu driver runs an older cuda than verification.probes.min_cuda_version: it needs an update";
    61 GpuMigEnabled "gpu_mig_enabled" Blame::Elsewhere(Fault::Node { confirmed: false }),
        "a gpu is split (mig): nvidia-smi -mig 0 makes it whole";
    62 PortUnreachable "port_unreachable" Blame::Suspected,
        "a port that the node listened on did not answer the validator: a firewall, or an address behind nat";
    63 PortsTaken "ports_taken" Blame::Elsewhere(Fault::Unknown),
        "every port that was drawn for the node to listen on was taken by another program";
}

impl Reason {
    /// Whether the whole failure is that the node could not be reached or used (RULES R3: one event until the next
    /// success), not something that it did.
    pub const fn is_reachability(self) -> bool {
        matches!(
            self,
            Self::AddressUnresolved
                | Self::AddressForbidden
                | Self::LockedOut
                | Self::HostKeyChanged
                | Self::SessionExpired
                | Self::NoSession
                | Self::ConnectionFailed
                | Self::ConnectionTimeout
                | Self::ConnectionLost
                | Self::LoginDenied
                | Self::CommandTimeout
                | Self::CommandFailed
        )
    }

    /// Whether the node can be used, but not by tenants: one event until the next success (RULES R3), no failed login, and no
    /// downtime (R2).
    pub const fn is_service(self) -> bool {
        matches!(
            self,
            Self::ContainerRuntimeMissing
                | Self::ContainerRuntimeDown
                | Self::ImagePullFailed
                | Self::ContainerGpuDenied
                | Self::PortUnreachable
        )
    }

    /// Whether the failure is about the proof's content or timing, which resets the ramp at once when confirmed
    /// (RULES R2).
    pub fn is_proof(self) -> bool {
        self == Self::ProverAltered || self.code().starts_with("proof_")
    }

    /// Whether the answer to a full check tells that what the node proved before is not what it shows now: it is not
    /// paid for that any longer (RULES R10).
    pub const fn voids_proof(self) -> bool {
        matches!(
            self,
            Self::GpuClaimedElsewhere
                | Self::GpuClassUncalibrated
                | Self::SimulatedGpuRefused
                | Self::GpuClaimsContradictClass
                | Self::GpuFingerprintChanged
                | Self::IdentityOnHold
                | Self::StorageTooSmall
                | Self::GpuCapabilityTooLow
                | Self::CudaTooOld
                | Self::GpuMigEnabled
        )
    }

    /// Whether a proof that was begun and ended so was broken off: it enters the sequential test over breaks
    /// ([`crate::timing`]). Being busy does too: it is said by the node alone.
    pub fn is_broken_off(self) -> bool {
        self == Self::ProofBusy || (self.blame() == Blame::Suspected && self != Self::ProofDeadlineMissed)
    }

    /// Whether a full check that is asked only what is quick ([`crate::ProbeRules::quick`]) says nothing of it when it passes.
    pub const fn is_beyond_quick(self) -> bool {
        self.is_service()
            || matches!(self, Self::StorageTooSmall | Self::ProbeOutputInvalid | Self::PortsTaken)
    }

    /// What else must have worked for a failed try to speak against the node.
    pub fn witness(self) -> Witness {
        match self {
            Self::AddressUnresolved => Witness::Resolving,
            Self::PortUnreachable => Witness::Reaching,
            Self::ImagePullFailed => Witness::Pulling,
            Self::ContainerGpuDenied => Witness::Containing,
            Self::ProverUploadFailed | Self::ProverAltered | Self::ProverFailed | Self::ClaimsInvalid => {
                Witness::Prover
            }
            reason if reason.is_proof() => Witness::Prover,
            _ => Witness::Network,
        }
    }

    /// Whether knocking again soon makes things worse: sshd counts failed logins against our address (RULES R10, R25).
    pub const fn needs_distance(self) -> bool {
        matches!(self, Self::LockedOut | Self::LoginDenied | Self::HostKeyChanged | Self::AddressForbidden)
    }

    /// The reason that a verdict gives for a rejected proof. The codes are the same.
    pub const fn of_rejection(rejection: &Rejection) -> Self {
        match rejection {
            Rejection::WrongVersion(_) => Self::ProofWrongVersion,
            Rejection::ChallengeMismatch => Self::ProofChallengeMismatch,
            Rejection::TooLarge(_) => Self::ProofTooLarge,
            Rejection::Malformed(_) => Self::ProofMalformed,
            Rejection::UnexpectedMessage(_) => Self::ProofUnexpectedMessage,
            Rejection::UnknownDevice(_) => Self::ProofUnknownDevice,
            Rejection::RootOrder { .. } => Self::ProofRootOrder,
            Rejection::RootCountMismatch { .. } => Self::ProofRootCountMismatch,
            Rejection::FillRepeated { .. } => Self::ProofFillRepeated,
            Rejection::SegmentOrder { .. } => Self::ProofSegmentOrder,
            Rejection::WalkPath { .. } => Self::ProofWalkPath,
            Rejection::WalkMismatch { .. } => Self::ProofWalkMismatch,
            Rejection::Signature => Self::ProofSignature,
            Rejection::UnsolicitedBytes => Self::ProofUnsolicitedBytes,
            Rejection::TrailingBytes => Self::ProofTrailingBytes,
            Rejection::OpeningOrder { .. } => Self::ProofOpeningOrder,
            Rejection::MerklePath { .. } => Self::ProofMerklePath,
            Rejection::OpeningMismatch { .. } => Self::ProofOpeningMismatch,
            Rejection::Refused(refusal) if matches!(refusal.code(), RefusalCode::Busy) => Self::ProofBusy,
            Rejection::Refused(_) => Self::ProofRefused,
            Rejection::DeadlineMissed { .. } => Self::ProofDeadlineMissed,
            Rejection::Incomplete { .. } => Self::ProofIncomplete,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(code: &str) -> Result<Self, UnknownReason> {
        let found = Self::ALL.iter().find(|reason| reason.code() == code);
        found.copied().ok_or_else(|| UnknownReason(code.to_owned()))
    }
}

/// The list of reasons as `docs/reasons.md` shows it.
#[cfg(test)]
fn table() -> String {
    let mut rows = String::from("| code | fault | what it says |\n|---|---|---|\n");
    for reason in Reason::ALL {
        let fault = match reason.blame() {
            Blame::Proven => "node".to_owned(),
            Blame::Suspected => "by retries".to_owned(),
            Blame::Elsewhere(fault) => fault.to_string(),
        };
        rows.push_str(&format!("| `{}` | {fault} | {} |\n", reason.code(), reason.explanation()));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use basilica_proof::residency::Space;
    use basilica_proof::wire::Refusal;
    use basilica_proof::{RejectionClass, Stage};
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_snake_case_and_read_back() {
        let codes: BTreeSet<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(reason.code().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            assert_eq!(reason.code().parse(), Ok(*reason));
        }
        assert!("ok".parse::<Reason>().is_err());
    }

    #[test]
    fn the_documentation_lists_every_reason() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/reasons.md");
        let text = std::fs::read_to_string(path).unwrap();
        let at = text.find("| code |").expect("the table");
        let head = &text[..at];
        if std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
            std::fs::write(path, format!("{head}{}", table())).unwrap();
            return;
        }
        assert_eq!(text[at..], table(), "UPDATE_DOCS=1 writes it anew");
    }

    #[test]
    fn numbers_in_signed_bytes_are_the_order_of_the_list() {
        for (position, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.encode(), [u8::try_from(position).unwrap()], "{reason}");
        }
    }

    #[test]
    fn a_rejection_keeps_its_code_and_its_class_of_blame() {
        let rejections = [
            Rejection::ChallengeMismatch,
            Rejection::WrongVersion(9),
            Rejection::UnsolicitedBytes,
            Rejection::OpeningOrder { position: 1 },
            Rejection::MerklePath { device: 0, round: 0, leaf: 1 },
            Rejection::OpeningMismatch { device: 0, round: 0, row: 1, col: 2 },
            Rejection::FillRepeated { device: 0 },
            Rejection::SegmentOrder { device: 0, segment: 1, expected: 0 },
            Rejection::WalkPath { device: 0, space: Space::Device, step: 1, lane: 2 },
            Rejection::WalkMismatch { device: 0, space: Space::Device, step: 1, lane: 2 },
            Rejection::Signature,
            Rejection::Refused(Refusal::new(RefusalCode::Busy, "a lock")),
            Rejection::Refused(Refusal::new(RefusalCode::Device, "an error")),
            Rejection::Incomplete { stage: Stage::Roots, received: 1, expected: 4 },
        ];
        for rejection in rejections {
            let reason = Reason::of_rejection(&rejection);
            assert_eq!(reason.code(), rejection.code());
            assert_eq!(
                reason.blame() == Blame::Proven,
                rejection.class() == RejectionClass::Proof,
                "{reason}"
            );
        }
    }

    #[test]
    fn whatever_ends_a_proof_without_an_answer_is_a_break_and_nothing_that_bytes_prove_is() {
        for reason in
            [Reason::ConnectionLost, Reason::ProofIncomplete, Reason::ProofBusy, Reason::ProverAltered]
        {
            assert!(reason.is_broken_off(), "{reason}");
        }
        for reason in Reason::ALL {
            let elsewhere = matches!(reason.blame(), Blame::Elsewhere(_)) && *reason != Reason::ProofBusy;
            assert!(!(reason.is_broken_off() && (elsewhere || reason.blame() == Blame::Proven)), "{reason}");
        }
        assert!(!Reason::ProofDeadlineMissed.is_broken_off(), "a test of its own");
    }

    #[test]
    fn faults_read_back() {
        for word in ["node", "node_unconfirmed", "network", "validator", "unknown"] {
            assert_eq!(word.parse::<Fault>().unwrap().as_str(), word);
        }
        assert!("nobody".parse::<Fault>().is_err());
    }

    #[test]
    fn what_time_or_the_network_can_cause_is_never_proven_by_one_try() {
        for reason in Reason::ALL {
            let by_time = reason.code().contains("timeout")
                || reason.code().contains("deadline")
                || reason.code().contains("connection");
            assert!(!(by_time && reason.blame() == Blame::Proven), "{reason}");
        }
    }
}
