//! One challenge, from its frame to the last opening. All devices work at once, each on its share of the threads.

use std::io::{Read, Write};
use std::sync::mpsc;

use anyhow::{Context, anyhow, bail};
use basilica_proof::prover::{self, Backend, BackendError, CpuBackend, DeviceProver, Product};
use basilica_proof::wire::{FRAME_HEADER_BYTES, FrameTooLarge, Message, Refusal, RefusalCode, frame};
use basilica_proof::{CHALLENGE_BYTES_MAX, Challenge, ClaimReport};

const NONCE_MESSAGE_BYTES: u32 = 33;

/// Answers one challenge. Failures that the validator can be told of are sent as a refusal first.
pub fn prove<P: Product + Copy + Send>(
    mut input: impl Read,
    mut output: impl Write,
    claims: &ClaimReport,
    product: P,
    threads: usize,
) -> anyhow::Result<()> {
    let challenge = match read_challenge(&mut input) {
        Ok(challenge) => challenge,
        Err(error) => return refuse(&mut output, RefusalCode::Challenge, error),
    };
    let known = |device: &basilica_proof::DeviceChallenge| claims.claims().any(|claim| claim == device.claim);
    if let Some(missing) = challenge.devices().iter().find(|device| !known(device)) {
        let error = anyhow!("no device {} here", missing.claim.uuid);
        return refuse(&mut output, RefusalCode::DeviceGone, error);
    }
    let share = threads / challenge.devices().len();
    let backend = |_| Ok::<_, BackendError>(CpuBackend::new(product, share, CpuBackend::<P>::LIMIT_DEFAULT));
    let mut devices = DeviceProver::all(&challenge, backend)?;
    send(&mut output, &prover::accept(&challenge))?;
    if let Err(error) = commit_all(&mut devices, &mut output)? {
        return refuse(&mut output, error.refusal(), error.into());
    }
    let nonce = match read_message(&mut input, NONCE_MESSAGE_BYTES)? {
        Message::OpeningNonce(nonce) => nonce,
        other => bail!("the validator sent {:?} where the opening nonce was due", other.kind()),
    };
    let mut output = std::io::BufWriter::new(output);
    prover::open_all(&challenge, &mut devices, &nonce, |bytes| {
        output.write_all(bytes).context("send an opening")
    })?;
    output.flush().context("send the openings")
}

/// All rounds of all devices, each root sent as soon as it is there. The outer error is the channel's, the inner one a
/// device's.
fn commit_all<B: Backend + Send>(
    devices: &mut [DeviceProver<B>],
    output: &mut impl Write,
) -> anyhow::Result<Result<(), BackendError>> {
    let (roots, arriving) = mpsc::sync_channel(devices.len());
    std::thread::scope(|scope| {
        for device in devices {
            let roots = roots.clone();
            scope.spawn(move || {
                while let Some(root) = device.next_root().transpose() {
                    let failed = root.is_err();
                    // The receiver goes away when the validator does; the rest of the work is then pointless.
                    if roots.send(root).is_err() || failed {
                        break;
                    }
                }
            });
        }
        drop(roots);
        for root in arriving {
            match root {
                Ok(root) => send(output, &root)?,
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    })
}

fn read_challenge(input: &mut impl Read) -> anyhow::Result<Challenge> {
    match read_message(input, CHALLENGE_BYTES_MAX)? {
        Message::Challenge(challenge) => Ok(challenge),
        other => bail!("the validator sent {:?} where the challenge was due", other.kind()),
    }
}

fn read_message(input: &mut impl Read, limit: u32) -> anyhow::Result<Message> {
    let mut header = [0; FRAME_HEADER_BYTES];
    input.read_exact(&mut header).context("read from the validator")?;
    let bytes = u32::from_le_bytes(header);
    if bytes > limit {
        return Err(FrameTooLarge { bytes, limit }.into());
    }
    let mut body = vec![0; bytes as usize];
    input.read_exact(&mut body).context("read from the validator")?;
    Ok(Message::decode(&body)?)
}

fn send(output: &mut impl Write, bytes: &[u8]) -> anyhow::Result<()> {
    output.write_all(bytes).and_then(|()| output.flush()).context("send to the validator")
}

fn refuse(output: &mut impl Write, code: RefusalCode, error: anyhow::Error) -> anyhow::Result<()> {
    let refusal = Refusal::new(code, &format!("{error:#}"));
    send(output, &frame(&Message::Refusal(refusal).encode()))?;
    Err(error.context("the challenge was refused"))
}
