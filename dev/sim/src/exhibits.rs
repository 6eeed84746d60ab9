//! What cheaters send, judged by the real verifier.
//!
//! Bytes are real: a real challenge is answered in full at a small size (n = 64 or 256, up to 256 openings) and given to
//! [`basilica_proof::Verifier`], with the times and deadlines of the class at full size, which the verifier compares without
//! regard to n. Whether a verdict depends on chance is known per exhibit: where it does not, a few runs under different
//! nonces are kept and reused ([`Judge`]); where it does (a share of skipped cells), the probability is the proof crate's
//! own [`ProofParams::evasion`], and tests hold real runs and real draws of openings against it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use basilica_proof::opening::{CellQuery, Query, queries};
use basilica_proof::prover::{BackendError, DeviceProver, Run};
use basilica_proof::residency::{Cache, ResidencyParams, Space, WalkParams, meeting};
use basilica_proof::wire::{Accept, Message, frame};
use basilica_proof::{
    Binding, Challenge, Deadlines, DeviceChallenge, DeviceClaim, LEAF_CELLS, NonceUse, PROTOCOL_VERSION,
    ProofParams, Rejection, RunDigest, RunKey, Step, Verifier,
};
use basilica_types::{GpuUuid, Millis, NodeId};
use basilica_verification::asked::{ACCEPT_MOST, limits as told_apart_by};
use basilica_verification::calibration::StageTimes;
use basilica_verification::{ProofEnd, Reason};

use crate::chance::Chance;
use crate::forger::Forger;
use crate::timing_model::walk_slack;
use crate::tries::{Tries, proved};

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exhibit {
    /// A right answer, work and memory.
    Honest,
    /// One cell in so many is left to a guess.
    Skips(u32),
    /// As [`Exhibit::Skips`], but after the nonce the connection is dropped.
    SkipsAndDrops(u32),
    /// A right answer that hangs up in the midst of its walk.
    HangsUp,
    /// One item in so many is guessed where it is read.
    Forgets(u32),
    /// All cells by the recurrence that holds for Hankel matrices.
    Hankel,
    /// Products of the first half of the terms only.
    HalfRank,
    /// An honest answer to an earlier challenge.
    Replay,
    /// The same with the acceptance rewritten for the present challenge.
    RewrittenReplay,
    /// One cell in so many is skipped, and of many commitments the one is sent that suits a guessed nonce best.
    Grinds(u32),
    /// A frame header that announces four gigabytes.
    Oversized,
    /// Bytes that are no message.
    Garbage,
    /// Openings before they were asked for, of whatever suits.
    Unsolicited,
}

/// Where an answer is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Late {
    /// Nowhere.
    Never,
    /// The last root of the work came after its deadline.
    Work,
    /// The last root of the walk came after its deadline.
    Walk,
}

/// How long an answer takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Work, filling, openings, and the walk's steps at an even pace.
    pub stages: StageTimes,
    /// From the walk's nonce until the walk begins.
    pub pause: Millis,
}

impl From<StageTimes> for Times {
    fn from(stages: StageTimes) -> Self {
        Self { stages, pause: Millis(0) }
    }
}

impl Times {
    /// When the root of a segment of the small walk comes, after the nonce.
    const fn root(&self, segment: u16) -> Millis {
        Millis(self.pause.0 + self.stages.walk.0 * (segment as u64 + 1) / SEGMENTS as u64)
    }
}

/// Runs exhibits once and remembers what was said.
#[derive(Debug, Default)]
pub struct Judge(Mutex<HashMap<(Exhibit, Late), Tries>>);

/// Nonces under which an exhibit is judged: some of them must catch the smallest share that is skipped, which one in five does.
const RUNS: u64 = 32;

impl Judge {
    /// What tries find in which an exhibit takes these times under these deadlines.
    pub fn tries(&self, exhibit: Exhibit, times: &Times, deadlines: &StageTimes) -> Tries {
        let late = late(times, deadlines);
        let mut known = self.0.lock().expect("no judge panics while it holds the lock");
        let tries = known
            .entry((exhibit, late))
            .or_insert_with(|| (0..RUNS).map(|run| proved(judge(exhibit, run, times, deadlines))).collect());
        Arc::clone(tries)
    }
}

/// Which deadline is missed first, as the verifier will find.
pub fn late(times: &Times, deadlines: &StageTimes) -> Late {
    let slack = walk_slack();
    let even = deadlines.walk.saturating_sub(slack);
    let due = |segment: u16| Millis(slack.0 + even.0 * (u64::from(segment) + 1) / u64::from(SEGMENTS));
    if times.stages.work > deadlines.work {
        Late::Work
    } else if (0..SEGMENTS).any(|segment| times.root(segment) > due(segment)) {
        Late::Walk
    } else {
        Late::Never
    }
}

/// Segments of the small walk; each stands for its share of the class's.
const SEGMENTS: u16 = 16;
const CACHE_LOG2: u8 = 10;
const BEACON: [u8; 32] = [0xbe; 32];

/// The challenge of one run, with 64 KiB of memory to be shown or none. The beacon is one, as for all nodes of an epoch.
pub fn challenge(run: u64, params: ProofParams, memory: bool) -> Challenge {
    let binding = Binding {
        beacon: BEACON,
        validator_nonce: Chance::of("challenge", &[run]).bytes(),
        node: NodeId::from_bytes([0x22; 16]),
        host_key: b"\0\0\0\x0bssh-ed25519\0\0\0\x20an ed25519 host key of 32 bytes.".to_vec(),
    };
    let claim = DeviceClaim {
        index: 0,
        uuid: GpuUuid::from_bytes([7; 16]),
        class: "simulated-H100".parse().expect("the constant is a class name"),
    };
    let walk = WalkParams {
        lanes: 16,
        steps: 2 * u32::from(SEGMENTS),
        reads: 16,
        windows: 2,
        barriers: SEGMENTS - 1,
        picks: 8,
        lanes_per_pick: 4,
    };
    let region = || ResidencyParams::new(Space::Device, 1 << 10, 8, walk).expect("constants within bounds");
    let residency = memory.then(region).into_iter().collect();
    Challenge::new(binding, memory.then_some(CACHE_LOG2), vec![DeviceChallenge { claim, params, residency }])
        .expect("one device is within all bounds")
}

/// One real run.
fn judge(exhibit: Exhibit, run: u64, times: &Times, deadlines: &StageTimes) -> ProofEnd {
    let memory = matches!(exhibit, Exhibit::Honest | Exhibit::HangsUp | Exhibit::Forgets(_));
    let asked = challenge(run, params(exhibit), memory);
    let limits = Deadlines {
        accept: ACCEPT_MOST.as_duration(),
        work: deadlines.work.as_duration(),
        fill: deadlines.fill.as_duration(),
        walk: deadlines.walk.as_duration(),
        walk_slack: walk_slack().as_duration(),
        openings: deadlines.openings.as_duration(),
    };
    let cache = Cache::for_challenge(&asked).map(Arc::new);
    let mut verifier =
        Verifier::new(asked.clone(), cache.clone(), limits).expect("the challenge's own cache");
    let mut talk = Talk { run, after_nonce: false, cheater: Cheater::new(exhibit, &asked, cache) };
    let rejected = talk.held(&mut verifier, times).err();
    let transcript = verifier.into_transcript().hash();
    match rejected {
        Some(rejected) => ProofEnd::Rejected {
            reason: Reason::of_rejection(&rejected),
            transcript,
            after_nonce: talk.after_nonce,
        },
        None => ProofEnd::Verified { transcript, limits: told_apart_by(&limits), measured: Box::default() },
    }
}

/// Sizes: skipping needs enough cells for its share, everything else the smallest.
fn params(exhibit: Exhibit) -> ProofParams {
    let (side, openings) = match exhibit {
        Exhibit::Skips(_) | Exhibit::SkipsAndDrops(_) | Exhibit::Grinds(_) => (256, 256),
        _ => (64, 64),
    };
    ProofParams::new(side, 64, 1, openings).expect("constants within bounds")
}

/// A run under way.
struct Talk {
    run: u64,
    after_nonce: bool,
    cheater: Cheater,
}

impl Talk {
    fn held(&mut self, verifier: &mut Verifier, times: &Times) -> Result<(), Rejection> {
        let mut now = Millis(0);
        let mut step = verifier.on_bytes(&self.cheater.accepted(), now.as_duration())?;
        loop {
            match step {
                Step::Done(_) => return Ok(()),
                Step::More => return Err(verifier.on_end()),
                Step::DrawNonce(NonceUse::Echo) => {
                    let nonce = Chance::of("echo nonce", &[self.run]).bytes();
                    verifier.send_nonce(nonce, now.as_duration()).expect("the nonce is due");
                    step = verifier.on_bytes(&self.cheater.echoed(&nonce), now.as_duration())?;
                }
                Step::DrawNonce(NonceUse::Start) => {
                    let nonce = Chance::of("start nonce", &[self.run]).bytes();
                    verifier.send_nonce(nonce, now.as_duration()).expect("the nonce is due");
                    now = Millis(now.0 + times.stages.work.0);
                    step = verifier.on_bytes(&self.cheater.committed(&nonce), now.as_duration())?;
                }
                Step::DrawNonce(NonceUse::Walk(space)) => {
                    let nonce = Chance::of("walk nonce", &[self.run]).bytes();
                    verifier.send_nonce(nonce, now.as_duration()).expect("the nonce is due");
                    let began = now;
                    for (number, root) in (0..).zip(self.cheater.walked(space, &nonce)) {
                        now = Millis(began.0 + times.root(number).0);
                        step = verifier.on_bytes(&root, now.as_duration())?;
                        if self.cheater.exhibit == Exhibit::HangsUp {
                            return Err(verifier.on_end());
                        }
                    }
                }
                Step::DrawNonce(NonceUse::Openings) => {
                    let nonce = Chance::of("opening nonce", &[self.run]).bytes();
                    verifier.send_nonce(nonce, now.as_duration()).expect("the nonce is due");
                    self.after_nonce = true;
                    if matches!(self.cheater.exhibit, Exhibit::SkipsAndDrops(_)) {
                        return Err(verifier.on_end());
                    }
                    now = Millis(now.0 + times.stages.openings.0);
                    step = verifier.on_bytes(&self.cheater.opened(&nonce), now.as_duration())?;
                }
            }
        }
    }
}

/// The prover's side of one run.
struct Cheater {
    exhibit: Exhibit,
    asked: Challenge,
    /// What it answers: the challenge asked, or an old one.
    answered: Challenge,
    cache: Option<Arc<Cache>>,
    device: Option<DeviceProver<Forger>>,
    run: Run,
}

impl Cheater {
    fn new(exhibit: Exhibit, asked: &Challenge, cache: Option<Arc<Cache>>) -> Self {
        let answered = match exhibit {
            Exhibit::Replay | Exhibit::RewrittenReplay => {
                challenge(u64::MAX, asked.devices()[0].params, false)
            }
            _ => asked.clone(),
        };
        let run = Run::new(&answered, key());
        Self { exhibit, asked: asked.clone(), answered, cache, device: None, run }
    }

    /// Everything before the start nonce.
    fn accepted(&mut self) -> Vec<u8> {
        let bytes = match self.exhibit {
            Exhibit::RewrittenReplay => {
                let accept =
                    Accept { version: PROTOCOL_VERSION, challenge: self.asked.digest(), key: key().public() };
                frame(&Message::Accept(accept).encode())
            }
            _ => self.run.accept(),
        };
        self.run.sent(&bytes);
        bytes
    }

    fn echoed(&mut self, nonce: &[u8; 32]) -> Vec<u8> {
        let echoed = self.run.on_echo(nonce);
        self.run.sent(&echoed);
        echoed
    }

    /// Everything from the start nonce to the next.
    fn committed(&mut self, start: &[u8; 32]) -> Vec<u8> {
        self.run.on_nonce(start);
        let variant = match self.exhibit {
            Exhibit::Grinds(one_in) => best_variant(one_in, &self.answered, start),
            _ => 0,
        };
        let forger = |_| Ok::<_, BackendError>(Forger::new(self.exhibit, variant));
        let mut devices = DeviceProver::all(&self.answered, start, forger).expect("forgers are ready");
        let mut device = devices.pop().expect("one device is challenged");
        let mut bytes = Vec::new();
        match self.exhibit {
            Exhibit::Oversized => bytes.extend_from_slice(&u32::MAX.to_le_bytes()),
            Exhibit::Garbage => bytes.extend_from_slice(&frame(&[0xee; 40])),
            _ => {
                while let Some(root) = device.next_root().expect("a forger refuses nothing") {
                    bytes.extend(root);
                }
            }
        }
        if let Some(cache) = &self.cache {
            let filled = device.fill(cache).expect("64 KiB are there");
            bytes.extend(filled.into_iter().flatten());
        }
        self.device = Some(device);
        self.run.sent(&bytes);
        if self.exhibit == Exhibit::Unsolicited {
            bytes.extend(self.opened(&[0x5a; 32]));
        }
        bytes
    }

    /// The roots of all segments.
    fn walked(&mut self, space: Space, nonce: &[u8; 32]) -> Vec<Vec<u8>> {
        self.run.on_nonce(nonce);
        let mut roots = Vec::new();
        let send = |root: Vec<u8>| {
            roots.push(root);
            true
        };
        // One device meets itself.
        let meet = |_, barrier, root| Some(meeting(barrier, std::iter::once(&root)));
        let device = self.device.as_mut().expect("the work was started");
        device.walk(space, nonce, send, meet).expect("the region was filled");
        roots.iter().for_each(|root| self.run.sent(root));
        roots
    }

    fn opened(&mut self, nonce: &[u8; 32]) -> Vec<u8> {
        let queries = self.run.on_opening_nonce(&self.answered, nonce);
        let device = self.device.as_mut().expect("the work was started");
        let mut bytes = device.open(&queries).expect("every leaf was committed").concat();
        self.run.sent(&bytes);
        bytes.extend(self.run.signature());
        bytes
    }
}

fn key() -> RunKey {
    RunKey::from_entropy(&[0x77; 32])
}

/// Of 32 commitments the one whose openings under a guessed nonce hit the fewest skipped cells.
fn best_variant(one_in: u32, asked: &Challenge, start: &[u8; 32]) -> u32 {
    let hits = |variant: &u32| {
        let forger = |_| Ok::<_, BackendError>(Forger::new(Exhibit::Grinds(one_in), *variant));
        let mut devices = DeviceProver::all(asked, start, forger).expect("forgers are ready");
        let mut run = RunDigest::new(asked);
        // A guess of what the opening nonce will be takes no notice of the echoes.
        run.sent(&Run::new(asked, key()).accept());
        run.nonce(start);
        while let Some(root) = devices[0].next_root().expect("a forger refuses nothing") {
            run.sent(&root);
        }
        let hit = |query: &Query| match query {
            Query::Cell(CellQuery { leaf, cell, .. }) => is_skipped(one_in, *leaf, *cell),
            Query::Step(_) => false,
        };
        queries(asked, &run.digest(), &[0x5a; 32]).iter().filter(|query| hit(query)).count()
    };
    (0..32).min_by_key(hits).expect("32 variants")
}

/// Whether a cell is one of those skipped: evenly spread, as a cheater who knows the openings' law would.
pub const fn is_skipped(one_in: u32, leaf: u32, cell: u32) -> bool {
    (leaf as u64 * LEAF_CELLS as u64 + cell as u64).is_multiple_of(one_in as u64)
}

#[cfg(test)]
mod tests;
