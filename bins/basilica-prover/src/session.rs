//! One challenge, from its frame to the signature. All devices work at once, each on its share of the threads.

use std::io::{BufWriter, Read, Write};
use std::sync::{Arc, mpsc};

use anyhow::{Context, anyhow, bail};
use basilica_proof::prover::{Backend, BackendError, DeviceProver, Meetings, Run};
use basilica_proof::residency::{Cache, Space};
use basilica_proof::wire::{FRAME_HEADER_BYTES, FrameTooLarge, Message, Refusal, RefusalCode, frame};
use basilica_proof::{CHALLENGE_BYTES_MAX, Challenge, ClaimReport, DeviceChallenge, RunKey};

const NONCE_MESSAGE_BYTES: u32 = 33;
/// Messages that may wait for the channel, per device.
const WAITING_MAX: usize = 64;

/// One challenged device, whatever it is made of.
pub type Device = Box<dyn Backend + Send>;

/// Makes the devices of a run, several at once: the device that is challenged, and its share of the threads.
pub type Devices<'a> = &'a (dyn Fn(&DeviceChallenge, usize) -> Result<Device, BackendError> + Sync);

/// Answers one challenge. Failures that the validator can be told of are sent as a refusal first.
pub fn prove(
    mut input: impl Read,
    output: impl Write,
    claims: &ClaimReport,
    devices: Devices<'_>,
    threads: usize,
) -> anyhow::Result<()> {
    let mut output = BufWriter::new(output);
    let challenge = match read_challenge(&mut input) {
        Ok(challenge) => challenge,
        Err(error) => return refuse(&mut output, RefusalCode::Challenge, error),
    };
    let known = |device: &DeviceChallenge| claims.claims().any(|claim| claim == device.claim);
    if let Some(missing) = challenge.devices().iter().find(|device| !known(device)) {
        let error = anyhow!("no device {} here", missing.claim.uuid);
        return refuse(&mut output, RefusalCode::DeviceGone, error);
    }
    let share = threads / challenge.devices().len();
    // The beacon is public, so its cache is made while the drivers start.
    let (made, cache) = std::thread::scope(|scope| {
        let cache = scope.spawn(|| Cache::for_challenge(&challenge).map(Arc::new));
        (make_all(&challenge, devices, share), cache.join())
    });
    let cache = cache.map_err(|_| anyhow!("the thread that makes the cache panicked"))?;
    let made = match made.into_iter().collect::<Result<Vec<_>, _>>() {
        Ok(made) => made,
        Err(error) => return refuse(&mut output, error.refusal(), error.into()),
    };
    let run = Run::new(&challenge, run_key()?);
    let mut session = Session { challenge: &challenge, provers: Vec::new(), output: &mut output, run };
    match session.answer(&mut input, made, cache)? {
        Ok(()) => Ok(()),
        Err(error) => refuse(&mut output, error.refusal(), error.into()),
    }
}

/// All devices, made side by side: a driver takes its time to compile for each.
fn make_all(challenge: &Challenge, devices: Devices<'_>, share: usize) -> Vec<Result<Device, BackendError>> {
    std::thread::scope(|scope| {
        let make = |device| scope.spawn(move || devices(device, share));
        let making: Vec<_> = challenge.devices().iter().map(make).collect();
        let panicked = |_| Err(BackendError::Device("making it panicked".to_owned()));
        making.into_iter().map(|made| made.join().unwrap_or_else(panicked)).collect()
    })
}

fn run_key() -> anyhow::Result<RunKey> {
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy).context("draw the run's key")?;
    Ok(RunKey::from_entropy(&entropy))
}

/// The outer error is the channel's, the inner one a device's.
type Told = anyhow::Result<Result<(), BackendError>>;

struct Session<'a, W: Write> {
    challenge: &'a Challenge,
    provers: Vec<DeviceProver<Device>>,
    output: &'a mut BufWriter<W>,
    run: Run,
}

impl<W: Write> Session<'_, W> {
    fn answer(&mut self, input: &mut impl Read, made: Vec<Device>, cache: Option<Arc<Cache>>) -> Told {
        let accept = self.run.accept();
        self.send(&accept)?;
        self.flush()?;
        if let Err(error) = self.start(input, made)? {
            return Ok(Err(error));
        }
        if let Err(error) = self.commit()? {
            return Ok(Err(error));
        }
        if let Some(cache) = &cache
            && let Err(error) = self.fill(cache)?
        {
            return Ok(Err(error));
        }
        for space in self.challenge.spaces() {
            if let Err(error) = self.walk(space, input)? {
                return Ok(Err(error));
            }
        }
        self.open(input)
    }

    /// Says back what is to be said back, until the nonce comes that the work starts from.
    fn start(&mut self, input: &mut impl Read, made: Vec<Device>) -> Told {
        let nonce = loop {
            match read_message(input, NONCE_MESSAGE_BYTES)? {
                Message::Echo(nonce) => {
                    let echoed = self.run.on_echo(&nonce);
                    self.send(&echoed)?;
                    self.flush()?;
                }
                Message::StartNonce(nonce) => break nonce,
                other => bail!("the validator sent {:?} where the start nonce was due", other.kind()),
            }
        };
        self.run.on_nonce(&nonce);
        let mut made = made.into_iter();
        let next = |_| made.next().ok_or_else(|| BackendError::Device("it was not made".to_owned()));
        Ok(DeviceProver::all(self.challenge, &nonce, next).map(|provers| self.provers = provers))
    }

    /// All rounds of all devices.
    fn commit(&mut self) -> Told {
        self.at_once(|prover, send| {
            while let Some(root) = prover.next_root()? {
                if !send(root) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// All memory of all devices.
    fn fill(&mut self, cache: &Arc<Cache>) -> Told {
        self.at_once(|prover, send| {
            if let Some(message) = prover.fill(cache)? {
                send(message);
            }
            Ok(())
        })
    }

    fn walk(&mut self, space: Space, input: &mut impl Read) -> Told {
        let nonce = match read_message(input, NONCE_MESSAGE_BYTES)? {
            Message::WalkNonce(nonce) => nonce,
            other => bail!("the validator sent {:?} where a walk's nonce was due", other.kind()),
        };
        self.run.on_nonce(&nonce);
        let walking = self.challenge.devices().iter().filter(|device| device.region(space).is_some()).count();
        let meetings = Meetings::new(walking);
        self.at_once(|prover, send| {
            let _part = meetings.part();
            prover.walk(space, &nonce, send, |device, barrier, root| meetings.meet(device, barrier, root))
        })
    }

    /// All devices recompute what they have to open at once; it is sent in the order asked.
    fn open(&mut self, input: &mut impl Read) -> Told {
        let nonce = match read_message(input, NONCE_MESSAGE_BYTES)? {
            Message::OpeningNonce(nonce) => nonce,
            other => bail!("the validator sent {:?} where the opening nonce was due", other.kind()),
        };
        let queries = self.run.on_opening_nonce(self.challenge, &nonce);
        let provers = &mut self.provers;
        let opened: Vec<_> = std::thread::scope(|scope| {
            let queries = &queries;
            let threads: Vec<_> =
                provers.iter_mut().map(|prover| scope.spawn(move || prover.open(queries))).collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        for device in opened {
            match device.map_err(|_| anyhow!("a thread of the openings panicked"))? {
                Ok(messages) => messages.iter().try_for_each(|message| self.send(message))?,
                Err(error) => return Ok(Err(error)),
            }
        }
        let signature = self.run.signature();
        self.send(&signature)?;
        self.flush()?;
        Ok(Ok(()))
    }

    /// Has every device do its part in a thread of its own; what they send goes out as it comes.
    fn at_once(
        &mut self,
        part: impl Fn(&mut DeviceProver<Device>, &mut dyn FnMut(Vec<u8>) -> bool) -> Result<(), BackendError>
        + Sync,
    ) -> Told {
        let mut provers = std::mem::take(&mut self.provers);
        let told = std::thread::scope(|scope| {
            let (sender, messages) = mpsc::sync_channel(provers.len() * WAITING_MAX);
            for prover in &mut provers {
                let (sender, part) = (sender.clone(), &part);
                scope.spawn(move || {
                    // The receiver goes away when the validator does; the rest of the work is then pointless.
                    let done = part(prover, &mut |message| sender.send(Ok(message)).is_ok());
                    if let Err(error) = done {
                        let _ = sender.send(Err(error));
                    }
                });
            }
            drop(sender);
            while let Ok(message) = messages.recv() {
                for message in std::iter::once(message).chain(messages.try_iter()) {
                    match message {
                        Ok(message) => self.send(&message)?,
                        Err(error) => return Ok(Err(error)),
                    }
                }
                self.flush()?;
            }
            Ok(Ok(()))
        });
        self.provers = provers;
        told
    }

    fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.run.sent(bytes);
        self.output.write_all(bytes).context("send to the validator")
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.output.flush().context("send to the validator")
    }
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

/// Tells the validator that another prover runs.
pub(crate) fn refuse_as_busy(output: &mut impl Write) -> anyhow::Result<()> {
    refuse(output, RefusalCode::Busy, anyhow!("another prover runs on this node"))
}

fn refuse(output: &mut impl Write, code: RefusalCode, error: anyhow::Error) -> anyhow::Result<()> {
    let refusal = Refusal::new(code, &format!("{error:#}"));
    let refusal = frame(&Message::Refusal(refusal).encode());
    output.write_all(&refusal).and_then(|()| output.flush()).context("send to the validator")?;
    Err(error.context("the challenge was refused"))
}
