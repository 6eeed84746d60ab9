//! Whole runs in memory.

use std::time::Duration;

use basilica_proof::gemm::Kernel;
use std::sync::{Arc, Mutex};

use basilica_proof::prover::{Backend, BackendError, CpuBackend, DeviceProver, ExactProduct, Meetings, Run};
use basilica_proof::residency::{Cache, ResidencyParams, Space, WalkParams};
use basilica_proof::wire::{FrameBuffer, Message, frame};
use basilica_proof::{
    Binding, Challenge, Deadlines, DeviceChallenge, DeviceClaim, ECHOES, NonceUse, Outcome, ProofParams,
    Rejection, RunKey, Step, Transcript, Verifier,
};
use basilica_types::{GpuUuid, NodeId};

pub(crate) const NOW: Duration = Duration::from_millis(5);
pub(crate) const NONCE: [u8; 32] = [0x5a; 32];
/// The nonce that starts a run's work.
pub(crate) const START: [u8; 32] = [0x51; 32];
/// The nonce of every echo.
pub(crate) const ECHO: [u8; 32] = [0xec; 32];
/// Turns of what is sent: from the start nonce on, and, if there is one walk, of that and of the openings.
pub(crate) const ROOTS: usize = 1 + ECHOES as usize;
pub(crate) const WALK: usize = ROOTS + 1;
pub(crate) const OPENED: usize = ROOTS + 2;

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
    let claim = DeviceClaim { index, uuid, class: "simulated-H100".parse().unwrap() };
    DeviceChallenge { claim, params, residency: Vec::new() }
}

pub(crate) fn challenge(devices: u16, params: ProofParams) -> Challenge {
    Challenge::new(binding(), None, (0..devices).map(|index| device(index, params)).collect()).unwrap()
}

/// Memory of 64 KiB in a space.
pub(crate) fn region(space: Space) -> ResidencyParams {
    let walk =
        WalkParams { lanes: 16, steps: 13, reads: 4, windows: 3, barriers: 3, picks: 6, lanes_per_pick: 4 };
    ResidencyParams::new(space, 1 << 10, 8, walk).unwrap()
}

pub(crate) const CACHE_LOG2: u8 = 10;

/// A challenge for work and for memory in these spaces.
pub(crate) fn memory_challenge(devices: u16, spaces: &[Space]) -> Challenge {
    let device = |index| {
        let residency = spaces.iter().map(|space| region(*space)).collect();
        DeviceChallenge { residency, ..device(index, tiny()) }
    };
    Challenge::new(binding(), Some(CACHE_LOG2), (0..devices).map(device).collect()).unwrap()
}

/// The nonce of a run's walk through a space.
pub(crate) fn walk_nonce(space: Space) -> [u8; 32] {
    [0xa0 + space as u8; 32]
}

pub(crate) fn tiny() -> ProofParams {
    ProofParams::new(64, 64, 2, 8).unwrap()
}

pub(crate) fn honest() -> CpuBackend {
    CpuBackend::new(ExactProduct(Kernel::detect()), 2, 4_096)
}

/// What a prover sends: before the start nonce, then after each nonce.
pub(crate) type Sent = Vec<Vec<u8>>;

pub(crate) fn key() -> RunKey {
    RunKey::from_entropy(&[0x77; 32])
}

/// What a prover with these backends sends.
pub(crate) fn answers<B: Backend + Send>(
    challenge: &Challenge,
    backend: impl Fn() -> B,
    nonce: &[u8; 32],
) -> Sent {
    let mut devices = DeviceProver::all(challenge, &START, |_| Ok::<_, BackendError>(backend())).unwrap();
    let cache = Cache::for_challenge(challenge).map(Arc::new);
    let mut run = Run::new(challenge, key());
    let mut turns = acceptance(&mut run);
    run.on_nonce(&START);
    turns.push(Vec::new());
    loop {
        let roots: Vec<u8> =
            devices.iter_mut().filter_map(|device| device.next_root().unwrap()).flatten().collect();
        if roots.is_empty() {
            break;
        }
        turns[ROOTS].extend(roots);
    }
    if let Some(cache) = &cache {
        let filled = devices.iter_mut().filter_map(|device| device.fill(cache).unwrap());
        turns[ROOTS].extend(filled.flatten());
    }
    for space in challenge.spaces() {
        run.sent(turns.last().unwrap());
        run.on_nonce(&walk_nonce(space));
        turns.push(walk_all(challenge, space, &mut devices));
    }
    run.sent(turns.last().unwrap());
    let queries = run.on_opening_nonce(challenge, nonce);
    let openings = devices.iter_mut().flat_map(|device| device.open(&queries).unwrap());
    turns.push(openings.flatten().collect());
    run.sent(turns.last().unwrap());
    turns.last_mut().unwrap().extend(run.signature());
    turns
}

/// What comes before the start nonce: the acceptance and the echoes, a turn each, of which the run is told.
pub(crate) fn acceptance(run: &mut Run) -> Sent {
    let mut turns = vec![run.accept()];
    run.sent(&turns[0]);
    for _ in 0..ECHOES {
        turns.push(run.on_echo(&ECHO));
        run.sent(turns.last().unwrap());
    }
    turns
}

/// Brings a verifier to where the start nonce was sent.
pub(crate) fn begin(verifier: &mut Verifier, sent: &Sent, accepted: Duration, started: Duration) {
    for bytes in &sent[..ROOTS] {
        verifier.on_bytes(bytes, accepted).unwrap();
        let last = verifier.round_trips().len() == usize::from(ECHOES);
        let (nonce, now) = if last { (START, started) } else { (ECHO, accepted) };
        verifier.send_nonce(nonce, now).unwrap();
    }
}

/// All devices at once, since they meet at the barriers.
fn walk_all<B: Backend + Send>(
    challenge: &Challenge,
    space: Space,
    devices: &mut [DeviceProver<B>],
) -> Vec<u8> {
    let walking = challenge.devices().iter().filter(|device| device.region(space).is_some()).count();
    let meetings = Meetings::new(walking);
    let sent = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for device in devices {
            scope.spawn(|| {
                let send = |root: Vec<u8>| {
                    sent.lock().unwrap().push(root);
                    true
                };
                let meet = |device, barrier, root| meetings.meet(device, barrier, root);
                device.walk(space, &walk_nonce(space), send, meet).unwrap();
            });
        }
    });
    // In a fixed order, so that vectors do not depend on the threads.
    let mut sent = sent.into_inner().unwrap();
    sent.sort_by_key(|frame| frame[5..7].to_vec());
    sent.concat()
}

pub(crate) fn verify(
    challenge: &Challenge,
    sent: &[Vec<u8>],
    nonce: &[u8; 32],
) -> (Result<Outcome, Rejection>, Transcript) {
    let cache = Cache::for_challenge(challenge).map(Arc::new);
    let mut verifier = Verifier::new(challenge.clone(), cache, Deadlines::UNLIMITED).unwrap();
    let result = drive(&mut verifier, sent, nonce);
    (result, verifier.into_transcript())
}

fn drive(verifier: &mut Verifier, sent: &[Vec<u8>], nonce: &[u8; 32]) -> Result<Outcome, Rejection> {
    let (first, turns) = sent.split_first().unwrap();
    let mut step = verifier.on_bytes(first, NOW)?;
    for turn in turns {
        let nonce = match step {
            Step::DrawNonce(NonceUse::Openings) => *nonce,
            Step::DrawNonce(NonceUse::Echo) => ECHO,
            Step::DrawNonce(NonceUse::Start) => START,
            Step::DrawNonce(NonceUse::Walk(space)) => walk_nonce(space),
            Step::More => return Err(verifier.on_end()),
            Step::Done(_) => panic!("done before the openings"),
        };
        verifier.send_nonce(nonce, NOW).expect("the nonce is due");
        step = verifier.on_bytes(turn, NOW)?;
    }
    match step {
        Step::Done(outcome) => Ok(outcome),
        Step::More | Step::DrawNonce(_) => Err(verifier.on_end()),
    }
}

pub(crate) fn run<B: Backend + Send>(
    challenge: &Challenge,
    backend: impl Fn() -> B,
) -> Result<Outcome, Rejection> {
    verify(challenge, &answers(challenge, backend, &NONCE), &NONCE).0
}

/// The messages of what was sent.
pub(crate) fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut frames = FrameBuffer::default();
    let mut messages = Vec::new();
    while let Some(body) = frames.fill(&mut bytes, u32::MAX).unwrap() {
        messages.push(Message::decode(&body).unwrap());
        if bytes.is_empty() {
            break;
        }
    }
    messages
}

/// The reverse of [`messages`].
pub(crate) fn frames(messages: &[Message]) -> Vec<u8> {
    messages.iter().flat_map(|message| frame(&message.encode())).collect()
}
