//! What cheaters send, judged by the real verifier.
//!
//! Bytes are real: a real challenge is answered in full at a small size (n = 64 or 256, up to 256 openings) and given to
//! [`basilica_proof::Verifier`], with the times and deadlines of the class at full size, which the verifier compares without
//! regard to n. Whether a verdict depends on chance is known per exhibit: where it does not, a few runs under different
//! nonces are kept and reused ([`Judge`]); where it does (a share of skipped cells), the probability is the proof crate's
//! own [`ProofParams::evasion`], and tests hold real runs and real draws of openings against it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use basilica_proof::gemm::Kernel;
use basilica_proof::merkle::{Leaf, Tree};
use basilica_proof::opening::{CellQuery, Query, queries};
use basilica_proof::prf::{Matrix, fill_rows};
use basilica_proof::prover::{
    Advance, Backend, BackendError, CpuBackend, DeviceProver, ExactProduct, Memory, Pick, Ram, Resident, Run,
    Traced,
};
use basilica_proof::residency::{
    Block, Cache, Items, Region, ResidencyParams, Space, Walk, WalkParams, meeting,
};
use basilica_proof::seed::Seed;
use basilica_proof::wire::{Accept, Message, frame};
use basilica_proof::{
    Binding, Challenge, Deadlines, DeviceChallenge, DeviceClaim, LEAF_CELLS, NonceUse, PROTOCOL_VERSION,
    ProofParams, Rejection, RunDigest, RunKey, Step, Verifier,
};
use basilica_types::{Digest, GpuUuid, Millis, NodeId};
use basilica_verification::calibration::StageTimes;
use basilica_verification::{ProofEnd, Reason};

use crate::chance::Chance;
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

/// Runs exhibits once and remembers what was said.
#[derive(Debug, Default)]
pub struct Judge(Mutex<HashMap<(Exhibit, Late), Tries>>);

/// Nonces under which an exhibit is judged.
const RUNS: u64 = 12;

impl Judge {
    /// What tries find in which an exhibit takes these times under these deadlines.
    pub fn tries(&self, exhibit: Exhibit, times: &StageTimes, deadlines: &StageTimes) -> Tries {
        let late = late(times, deadlines);
        let mut known = self.0.lock().expect("no judge panics while it holds the lock");
        let tries = known
            .entry((exhibit, late))
            .or_insert_with(|| (0..RUNS).map(|run| proved(judge(exhibit, run, times, deadlines))).collect());
        Arc::clone(tries)
    }
}

/// Which deadline is missed first.
pub fn late(times: &StageTimes, deadlines: &StageTimes) -> Late {
    if times.work > deadlines.work {
        Late::Work
    } else if times.walk > deadlines.walk {
        Late::Walk
    } else {
        Late::Never
    }
}

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
    let walk =
        WalkParams { lanes: 16, steps: 16, reads: 16, windows: 2, barriers: 3, picks: 8, lanes_per_pick: 4 };
    let region = || ResidencyParams::new(Space::Device, 1 << 10, 8, walk).expect("constants within bounds");
    let residency = memory.then(region).into_iter().collect();
    Challenge::new(binding, memory.then_some(CACHE_LOG2), vec![DeviceChallenge { claim, params, residency }])
        .expect("one device is within all bounds")
}

/// One real run.
fn judge(exhibit: Exhibit, run: u64, times: &StageTimes, deadlines: &StageTimes) -> ProofEnd {
    let memory = matches!(exhibit, Exhibit::Honest | Exhibit::Forgets(_));
    let asked = challenge(run, params(exhibit), memory);
    let limits = Deadlines {
        work: deadlines.work.as_duration(),
        fill: deadlines.fill.as_duration(),
        walk: deadlines.walk.as_duration(),
        walk_slack: deadlines.walk.as_duration(),
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
        None => ProofEnd::Verified { transcript },
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
    fn held(&mut self, verifier: &mut Verifier, times: &StageTimes) -> Result<(), Rejection> {
        let mut now = times.work;
        let mut step = verifier.on_bytes(&self.cheater.committed(), now.as_duration())?;
        loop {
            match step {
                Step::Done(_) => return Ok(()),
                Step::More => return Err(verifier.on_end()),
                Step::DrawNonce(NonceUse::Walk(space)) => {
                    let nonce = Chance::of("walk nonce", &[self.run]).bytes();
                    verifier.send_nonce(nonce, now.as_duration()).expect("the nonce is due");
                    now = Millis(now.0 + times.walk.0);
                    step = verifier.on_bytes(&self.cheater.walked(space, &nonce), now.as_duration())?;
                }
                Step::DrawNonce(NonceUse::Openings) => {
                    let nonce = Chance::of("opening nonce", &[self.run]).bytes();
                    verifier.send_nonce(nonce, now.as_duration()).expect("the nonce is due");
                    self.after_nonce = true;
                    if matches!(self.cheater.exhibit, Exhibit::SkipsAndDrops(_)) {
                        return Err(verifier.on_end());
                    }
                    now = Millis(now.0 + times.openings.0);
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
    device: DeviceProver<Forger>,
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
        let variant = match exhibit {
            Exhibit::Grinds(one_in) => best_variant(one_in, &answered),
            _ => 0,
        };
        let mut devices =
            DeviceProver::all(&answered, |_| Ok::<_, BackendError>(Forger::new(exhibit, variant)))
                .expect("forgers are ready");
        let device = devices.pop().expect("one device is challenged");
        let run = Run::new(&answered, key());
        Self { exhibit, asked: asked.clone(), answered, cache, device, run }
    }

    /// Everything before the first nonce.
    fn committed(&mut self) -> Vec<u8> {
        let mut bytes = match self.exhibit {
            Exhibit::RewrittenReplay => {
                let accept =
                    Accept { version: PROTOCOL_VERSION, challenge: self.asked.digest(), key: key().public() };
                frame(&Message::Accept(accept).encode())
            }
            _ => self.run.accept(),
        };
        match self.exhibit {
            Exhibit::Oversized => bytes.extend_from_slice(&u32::MAX.to_le_bytes()),
            Exhibit::Garbage => bytes.extend_from_slice(&frame(&[0xee; 40])),
            _ => {
                while let Some(root) = self.device.next_root().expect("a forger refuses nothing") {
                    bytes.extend(root);
                }
            }
        }
        if let Some(cache) = &self.cache {
            let filled = self.device.fill(Space::Device, cache).expect("64 KiB are there");
            bytes.extend(filled.into_iter().flatten());
        }
        self.run.sent(&bytes);
        if self.exhibit == Exhibit::Unsolicited {
            bytes.extend(self.opened(&[0x5a; 32]));
        }
        bytes
    }

    fn walked(&mut self, space: Space, nonce: &[u8; 32]) -> Vec<u8> {
        self.run.on_walk_nonce(nonce);
        let mut roots = Vec::new();
        let mut send = |root: Vec<u8>| {
            roots.extend(root);
            true
        };
        let meet = |_, barrier, root| Some(meeting(barrier, std::iter::once(&root)));
        self.device.walk(space, nonce, &mut send, meet).expect("the region was filled");
        self.run.sent(&roots);
        roots
    }

    fn opened(&mut self, nonce: &[u8; 32]) -> Vec<u8> {
        let queries = self.run.on_opening_nonce(&self.answered, nonce);
        let mut bytes = self.device.open(&queries).expect("every leaf was committed").concat();
        self.run.sent(&bytes);
        bytes.extend(self.run.signature());
        bytes
    }
}

fn key() -> RunKey {
    RunKey::from_entropy(&[0x77; 32])
}

/// Of 32 commitments the one whose openings under a guessed nonce hit the fewest skipped cells.
fn best_variant(one_in: u32, asked: &Challenge) -> u32 {
    let hits = |variant: &u32| {
        let forger = |_| Ok::<_, BackendError>(Forger::new(Exhibit::Grinds(one_in), *variant));
        let mut devices = DeviceProver::all(asked, forger).expect("forgers are ready");
        let mut run = RunDigest::new(asked);
        run.sent(&Run::new(asked, key()).accept());
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

/// A backend that commits to whatever suits it and can open every leaf of it. Its memory is real but for what it forgets.
#[derive(Debug)]
struct Forger {
    exhibit: Exhibit,
    variant: u32,
    rounds: Vec<(Vec<Leaf>, Tree)>,
    memory: CpuBackend<ExactProduct, Forgetful>,
}

/// Memory in which one item in so many is guessed; none forgets nothing.
#[derive(Clone, Copy, Debug)]
struct Forgetful(Option<u32>);

struct Guessed(Resident, Option<u32>);

impl Items for Guessed {
    type Error = BackendError;

    fn item(&self, index: u64) -> Result<Block, BackendError> {
        match self.1 {
            Some(one_in) if index.is_multiple_of(u64::from(one_in)) => Ok([7; 16]),
            _ => self.0.item(index),
        }
    }
}

impl Memory for Forgetful {
    fn fill(&self, region: &Region, cache: &Cache, threads: usize) -> Result<Resident, BackendError> {
        Ok(Box::new(Guessed(Ram::DEFAULT.fill(region, cache, threads)?, self.0)))
    }
}

impl Backend for Forger {
    fn commit(&mut self, seed: &Seed, params: &ProofParams) -> Result<Digest, BackendError> {
        let cells = self.cells(seed, params);
        let leaves: Vec<Leaf> = cells.as_chunks::<LEAF_CELLS>().0.iter().map(|cells| Leaf(*cells)).collect();
        let tree = Tree::new(leaves.iter().map(Leaf::hash).collect());
        let root = tree.root();
        self.rounds.push((leaves, tree));
        Ok(root)
    }

    fn open(&mut self, round: u32, leaf: u32) -> Result<(Leaf, Vec<Digest>), BackendError> {
        let missing = BackendError::NotCommitted { round, leaf };
        let (leaves, tree) = self.rounds.get(round as usize).ok_or(missing.clone())?;
        let cells = leaves.get(leaf as usize).ok_or(missing.clone())?;
        Ok((cells.clone(), tree.siblings(leaf).ok_or(missing)?))
    }

    fn fill(&mut self, region: &Region, cache: &Arc<Cache>) -> Result<(), BackendError> {
        self.memory.fill(region, cache)
    }

    fn walk(&mut self, walk: &Walk, on_root: &mut dyn FnMut(Digest) -> Advance) -> Result<(), BackendError> {
        self.memory.walk(walk, on_root)
    }

    fn trace(&mut self, walk: &Walk, picks: &[Pick]) -> Result<Vec<Traced>, BackendError> {
        self.memory.trace(walk, picks)
    }
}

impl Forger {
    fn new(exhibit: Exhibit, variant: u32) -> Self {
        let forgets = match exhibit {
            Exhibit::Forgets(one_in) => Some(one_in),
            _ => None,
        };
        let memory = CpuBackend::with_memory(ExactProduct(Kernel::detect()), Forgetful(forgets), 1, 256);
        Self { exhibit, variant, rounds: Vec::new(), memory }
    }
}

impl Forger {
    fn cells(&self, seed: &Seed, params: &ProofParams) -> Vec<i32> {
        let (side, inner) = (params.side() as usize, params.inner() as usize);
        let kernel = Kernel::detect();
        let (mut a, mut b) = (vec![0; side * inner], vec![0; side * inner]);
        fill_rows(kernel, seed, Matrix::A, 0, inner, &mut a);
        fill_rows(kernel, seed, Matrix::B, 0, inner, &mut b);
        let mut product = vec![0; side * side];
        match self.exhibit {
            Exhibit::Hankel => hankel(&a, &b, side, inner, &mut product),
            Exhibit::HalfRank => {
                a.chunks_exact_mut(inner).for_each(|row| row[inner / 2..].fill(0));
                kernel.multiply(&a, &b, inner, &mut product);
            }
            Exhibit::Skips(one_in) | Exhibit::SkipsAndDrops(one_in) | Exhibit::Grinds(one_in) => {
                kernel.multiply(&a, &b, inner, &mut product);
                let guess = 1 + i32::try_from(self.variant).expect("below 32");
                // A guess is never right here: the share that luck adds is in `ProofParams::evasion`.
                product.iter_mut().step_by(one_in as usize).for_each(|cell| *cell = cell.wrapping_add(guess));
            }
            _ => kernel.multiply(&a, &b, inner, &mut product),
        }
        product
    }
}

/// The forgery that breaks every challenge with `A[i][j] = a[i + j]` in O(n²) steps: the first row and column are
/// computed, every other cell follows from its upper left neighbour.
fn hankel(a: &[i8], b: &[i8], side: usize, inner: usize, product: &mut [i32]) {
    let cell = |m: &[i8], row: usize, at: usize| i32::from(m[row * inner + at]);
    let dot = |i: usize, j: usize| (0..inner).map(|t| cell(a, i, t) * cell(b, j, t)).sum::<i32>();
    for i in 0..side {
        for j in 0..side {
            product[i * side + j] = if i == 0 || j == 0 {
                dot(i, j)
            } else {
                product[(i - 1) * side + j - 1] - cell(a, i - 1, 0) * cell(b, j - 1, 0)
                    + cell(a, i, inner - 1) * cell(b, j, inner - 1)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basilica_types::Millis;

    const TIMES: StageTimes =
        StageTimes { work: Millis(4_000), fill: Millis(0), walk: Millis(3_000), openings: Millis(500) };
    const DEADLINES: StageTimes = StageTimes {
        work: Millis(6_000),
        fill: Millis(30_000),
        walk: Millis(5_000),
        openings: Millis(30_000),
    };

    fn reasons(exhibit: Exhibit) -> Vec<Reason> {
        let reason = |run| match judge(exhibit, run, &TIMES, &DEADLINES) {
            ProofEnd::Rejected { reason, .. } => reason,
            other => panic!("{exhibit:?} was not caught: {other:?}"),
        };
        let mut reasons: Vec<Reason> = (0..20).map(reason).collect();
        reasons.sort_unstable();
        reasons.dedup();
        reasons
    }

    #[test]
    fn every_forgery_is_rejected_by_the_real_verifier_for_its_own_reason() {
        for (exhibit, expected) in [
            (Exhibit::Hankel, Reason::ProofOpeningMismatch),
            (Exhibit::HalfRank, Reason::ProofOpeningMismatch),
            (Exhibit::Skips(20), Reason::ProofOpeningMismatch),
            (Exhibit::Grinds(20), Reason::ProofOpeningMismatch),
            (Exhibit::Forgets(20), Reason::ProofWalkMismatch),
            (Exhibit::SkipsAndDrops(20), Reason::ProofIncomplete),
            (Exhibit::Replay, Reason::ProofChallengeMismatch),
            (Exhibit::Oversized, Reason::ProofTooLarge),
            (Exhibit::Garbage, Reason::ProofMalformed),
            (Exhibit::Unsolicited, Reason::ProofUnsolicitedBytes),
        ] {
            assert_eq!(reasons(exhibit), [expected], "{exhibit:?}");
        }
        let rewritten = reasons(Exhibit::RewrittenReplay);
        assert!(
            rewritten.iter().all(|r| matches!(r, Reason::ProofOpeningMismatch | Reason::ProofOpeningOrder)),
            "{rewritten:?}"
        );
    }

    #[test]
    fn an_honest_answer_passes_in_time_and_not_late() {
        let verified = |times: &StageTimes| {
            matches!(judge(Exhibit::Honest, 1, times, &DEADLINES), ProofEnd::Verified { .. })
        };
        assert!(verified(&TIMES));
        for late in [StageTimes { work: Millis(6_001), ..TIMES }, StageTimes { walk: Millis(5_001), ..TIMES }]
        {
            let end = judge(Exhibit::Honest, 1, &late, &DEADLINES);
            let ProofEnd::Rejected { reason, .. } = end else { panic!("{late:?} passed") };
            assert_eq!(reason, Reason::ProofDeadlineMissed);
        }
    }

    /// The regression that every later design must keep: matrices with structure would let this forgery through.
    #[test]
    fn the_hankel_forgery_works_on_hankel_matrices_and_finds_nothing_in_ours() {
        let (side, inner) = (64, 64);
        let mut chance = Chance::new(5);
        let mut series =
            || -> Vec<i8> { (0..side + inner).map(|_| chance.bytes()[0].cast_signed()).collect() };
        let structured = |s: &[i8]| -> Vec<i8> { (0..side).flat_map(|i| s[i..i + inner].to_vec()).collect() };
        let (a, b) = (structured(&series()), structured(&series()));
        let (mut forged, mut exact) = (vec![0; side * side], vec![0; side * side]);
        hankel(&a, &b, side, inner, &mut forged);
        Kernel::Scalar.multiply(&a, &b, inner, &mut exact);
        assert_eq!(forged, exact, "the forgery is exact where the matrices have structure");
        let seed = Seed::from_bytes([3; 32]);
        let (mut a, mut b) = (vec![0; side * inner], vec![0; side * inner]);
        fill_rows(Kernel::Scalar, &seed, Matrix::A, 0, inner, &mut a);
        fill_rows(Kernel::Scalar, &seed, Matrix::B, 0, inner, &mut b);
        hankel(&a, &b, side, inner, &mut forged);
        Kernel::Scalar.multiply(&a, &b, inner, &mut exact);
        let right = forged.iter().zip(&exact).filter(|(x, y)| x == y).count();
        assert!(right < 2 * side + 8, "{right} right cells; the first row and column are honest");
    }

    #[test]
    fn real_runs_pass_as_often_as_the_proof_crate_says() {
        // Few openings and many skipped cells, so that passing is common enough to count.
        let params = ProofParams::new(64, 64, 1, 8).unwrap();
        let passes = (0..400u64)
            .filter(|run| {
                let asked = challenge(*run, params, false);
                let mut verifier = Verifier::new(asked.clone(), None, Deadlines::UNLIMITED).unwrap();
                let cheater = Cheater::new(Exhibit::Skips(8), &asked, None);
                Talk { run: *run, after_nonce: false, cheater }.held(&mut verifier, &TIMES).is_ok()
            })
            .count();
        let expected = params.evasion(1.0 / 8.0) * 400.0;
        let passes = f64::from(u32::try_from(passes).unwrap());
        assert!(
            (passes - expected).abs() < 5.0 * (expected * 0.66).sqrt(),
            "{passes} passed, expected {expected}"
        );
    }
}
