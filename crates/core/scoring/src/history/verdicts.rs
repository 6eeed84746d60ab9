//! Verdicts in scoring's words.

use basilica_types::Timestamp;
use basilica_verification as verification;
use basilica_verification::Outcome;

use super::{Check, CheckKind, Failure, Fault};

impl Check {
    /// A check whose first try began at `started` and that was concluded so at `finished`.
    pub fn concluded(
        kind: verification::CheckKind,
        started: Timestamp,
        finished: Timestamp,
        outcome: &Outcome,
    ) -> Self {
        let failure = match outcome {
            Outcome::Passed => None,
            Outcome::Failed { reason, fault } => Some((Failure::of(*reason), Fault::of(*fault))),
        };
        let kind = match kind {
            verification::CheckKind::Light => CheckKind::Light,
            verification::CheckKind::Full => CheckKind::Full,
        };
        Self { started, finished, kind, failure }
    }
}

impl Failure {
    fn of(reason: verification::Reason) -> Self {
        if reason.is_reachability() {
            Self::Reachability
        } else if reason.is_service() {
            Self::Service
        } else if reason.is_proof() {
            Self::Proof
        } else {
            Self::Hardware
        }
    }
}

impl Fault {
    const fn of(fault: verification::Fault) -> Self {
        match fault {
            verification::Fault::Node { confirmed: true } => Self::ConfirmedNode,
            verification::Fault::Node { confirmed: false } => Self::SuspectedNode,
            verification::Fault::Network => Self::Network,
            verification::Fault::Validator => Self::Validator,
            verification::Fault::Unknown => Self::Unknown,
        }
    }
}
