//! Whole runs in memory.

use std::time::Duration;

use basilica_proof::gemm::Kernel;
use basilica_proof::prover::{self, Backend, BackendError, CpuBackend, DeviceProver, ExactProduct};
use basilica_proof::{
    Binding, Challenge, Deadlines, DeviceChallenge, DeviceClaim, Outcome, ProofParams, Rejection, Step,
    Transcript, Verifier,
};
use basilica_types::{GpuUuid, NodeId};

pub(crate) const NOW: Duration = Duration::from_millis(5);
pub(crate) const NONCE: [u8; 32] = [0x5a; 32];

pub(crate) fn binding() -> Binding {
    Binding {
        beacon: [0; 32],
        validator_nonce: [0x11; 32],
        node: NodeId::from_bytes([0x22; 16]),
        host_key: b"\0\0\0\x0bssh-ed25519\0\0\0\x20an ed25519 host key of 32 bytes.".to_vec(),
    }
}

pub(crate) fn device(index: u16, params: ProofParams) -> DeviceChallenge {
    let uuid = GpuUuid::from_bytes([u8::try_from(index).unwrap(); 16]);
    DeviceChallenge { claim: DeviceClaim { index, uuid, class: "simulated-H100".parse().unwrap() }, params }
}

pub(crate) fn challenge(devices: u16, params: ProofParams) -> Challenge {
    Challenge::new(binding(), (0..devices).map(|index| device(index, params)).collect()).unwrap()
}

pub(crate) fn tiny() -> ProofParams {
    ProofParams::new(64, 64, 2, 8).unwrap()
}

pub(crate) fn honest() -> CpuBackend {
    CpuBackend::new(ExactProduct(Kernel::detect()), 2, 4_096)
}

/// What a prover with these backends sends: everything before the nonce, then everything after it.
pub(crate) fn answers<B: Backend>(
    challenge: &Challenge,
    backend: impl Fn() -> B,
    nonce: &[u8; 32],
) -> (Vec<u8>, Vec<u8>) {
    let mut devices = DeviceProver::all(challenge, |_| Ok::<_, BackendError>(backend())).unwrap();
    let mut commitments = prover::accept(challenge);
    let mut sent = true;
    while sent {
        sent = false;
        for device in &mut devices {
            if let Some(root) = device.next_root().unwrap() {
                commitments.extend(root);
                sent = true;
            }
        }
    }
    let mut openings = Vec::new();
    prover::open_all(challenge, &mut devices, nonce, |bytes| {
        openings.extend_from_slice(bytes);
        Ok::<_, BackendError>(())
    })
    .unwrap();
    (commitments, openings)
}

pub(crate) fn verify(
    challenge: &Challenge,
    (commitments, openings): &(Vec<u8>, Vec<u8>),
    nonce: &[u8; 32],
) -> (Result<Outcome, Rejection>, Transcript) {
    let mut verifier = Verifier::new(challenge.clone(), Deadlines::UNLIMITED);
    let result = drive(&mut verifier, commitments, openings, nonce);
    (result, verifier.into_transcript())
}

fn drive(
    verifier: &mut Verifier,
    commitments: &[u8],
    openings: &[u8],
    nonce: &[u8; 32],
) -> Result<Outcome, Rejection> {
    match verifier.on_bytes(commitments, NOW)? {
        Step::DrawNonce => {}
        Step::More => return Err(verifier.on_end()),
        Step::Done(_) => panic!("done before the openings"),
    }
    verifier.open(*nonce, NOW).expect("the nonce is due");
    match verifier.on_bytes(openings, NOW)? {
        Step::Done(outcome) => Ok(outcome),
        Step::More => Err(verifier.on_end()),
        Step::DrawNonce => panic!("a second nonce"),
    }
}

pub(crate) fn run<B: Backend>(challenge: &Challenge, backend: impl Fn() -> B) -> Result<Outcome, Rejection> {
    verify(challenge, &answers(challenge, backend, &NONCE), &NONCE).0
}
