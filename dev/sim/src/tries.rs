//! One try of a full check, by the product's own state machine.
//!
//! What a try finds depends on nothing but its events, so it is found once for each of them and kept ([`Tried`]).

use std::sync::Arc;

use basilica_proof::{ClaimReport, ClassName, DeviceFacts, DeviceReport};
use basilica_types::{Digest, GpuUuid, Timestamp};
use basilica_verification::timing::Observed;
use basilica_verification::{
    Break, Check, CheckKind, Conclusion, Control, Effect, Event, Finding, GpuRules, Plan, ProbeRules,
    ProofEnd,
};

/// What one try found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The finding.
    pub finding: Finding,
    /// A proof was begun.
    pub proving: bool,
    /// The answer was cut off after the prover knew what to open.
    pub after_nonce: bool,
}

impl Tried {
    /// What it says of the node's punctuality, beside this control.
    pub fn observed(&self, control: Control) -> Option<Observed> {
        self.finding.observed(control).filter(|_| self.proving)
    }
}

/// What tries found under several nonces; never empty.
pub type Tries = Arc<[Tried]>;

/// A try in which the talk with the prover ended so.
pub fn proved(end: ProofEnd) -> Tried {
    tried(Some(end), None)
}

/// A try whose connection failed.
pub fn broken(cause: Break) -> Tried {
    tried(None, Some(cause))
}

fn tried(mut proof: Option<ProofEnd>, broken: Option<Break>) -> Tried {
    let now = Timestamp::from_secs(1_800_000_000);
    let gpus = GpuRules::new(true, true, &Digest::from_bytes([9; 32]));
    let plan = Plan { kind: CheckKind::Full, nonce: [7; 32], gpus, probes: ProbeRules::NONE, started: now };
    let (mut check, mut effects) = Check::begin(plan);
    while let Some(effect) = effects.pop() {
        let event = match (effect, broken) {
            (_, Some(cause)) => Event::Broken(cause),
            (Effect::Connect, None) => Event::Connected { host_key: Digest::from_bytes([8; 32]) },
            (Effect::ReadClaims, None) => Event::ClaimsPrinted(claims()),
            (Effect::Recall(_), None) => Event::Recalled(Vec::new()),
            (Effect::Prove(_), None) => Event::Proof(proof.take().expect("a try proves once")),
            (Effect::Transfer, None) => Event::Transferred(None),
            (
                effect @ (Effect::Look(_)
                | Effect::RecallClaims
                | Effect::UploadProver
                | Effect::Survey
                | Effect::RunContainer(_)
                | Effect::Reach
                | Effect::SeekWitness(_)),
                None,
            ) => {
                unreachable!("a full check of an enrolled node has no {effect:?}")
            }
        };
        (check, effects) = check.step(event, now).expect("the events of a try in their order");
    }
    let conclusion = check.conclusion().expect("the last event ends a try");
    let Conclusion { finding, proving, after_nonce, .. } = conclusion.clone();
    Tried { finding, proving, after_nonce }
}

fn claims() -> Vec<u8> {
    let class: ClassName = "simulated-H100".parse().expect("the constant is a class name");
    let facts = DeviceFacts::simulated(&class, 0);
    let device = DeviceReport { index: 0, uuid: GpuUuid::from_bytes([7; 16]), class, facts };
    ClaimReport::new(None, vec![device]).expect("one device is within all bounds").to_json().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use basilica_types::Millis;
    use basilica_verification::Reason;
    use basilica_verification::classes::Limits;

    const NO_LIMITS: Limits = Limits { work: Millis(u64::MAX), walk: None };

    #[test]
    fn a_try_finds_what_its_proof_or_its_connection_says() {
        let transcript = Digest::from_bytes([0; 32]);
        let verified = ProofEnd::Verified { transcript, limits: NO_LIMITS, measured: Box::default() };
        assert_eq!(proved(verified).finding, Finding::Passed);
        let reason = Reason::ProofWalkMismatch;
        let end = ProofEnd::Rejected { reason, transcript, after_nonce: true };
        assert_eq!(proved(end), Tried { finding: Finding::Failed(reason), proving: true, after_nonce: true });
        assert_eq!(broken(Break::HostKey).finding, Finding::Failed(Reason::HostKeyChanged));
    }

    #[test]
    fn only_what_ends_a_begun_proof_is_held_against_a_node() {
        let beside = Control::Reachable;
        let reason = Reason::ProofIncomplete;
        let end = ProofEnd::Rejected { reason, transcript: Digest::from_bytes([0; 32]), after_nonce: false };
        assert_eq!(proved(end).observed(beside), Some(Observed::Broken(beside)));
        assert_eq!(broken(Break::Lost).observed(beside), None);
    }
}
