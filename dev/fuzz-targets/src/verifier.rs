//! The verifier at the end of a hostile line: honest runs, changed, cut into any chunks, under other nonces and late.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use basilica_proof::residency::Cache;
use basilica_proof::wire::Message;
use basilica_proof::{Challenge, Deadlines, ProvenDevice, Rejection, Step, Transcript, Verifier};

use crate::plan::Plan;
use crate::vectors;

static RUNS: LazyLock<Vec<Run>> = LazyLock::new(honest_runs);

/// The limit of every stage, for runs that may be late.
const LIMIT: Duration = Duration::from_millis(500);

/// Caches of the golden challenges, made once.
static CACHES: LazyLock<Vec<Arc<Cache>>> = LazyLock::new(|| {
    RUNS.iter().filter_map(|run| Cache::for_challenge(&run.challenge)).map(Arc::new).collect()
});

/// Most changes of one run.
const CHANGES: u8 = 6;

/// One run: what the prover sends before the first nonce, and after each.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) challenge: Challenge,
    pub(crate) turns: Vec<Vec<u8>>,
    nonces: Vec<[u8; 32]>,
}

impl Run {
    fn cache(&self) -> Option<Arc<Cache>> {
        CACHES.iter().find(|cache| cache.serves(&self.challenge)).cloned()
    }
}

pub(crate) fn run(bytes: &[u8]) {
    let mut plan = Plan::new(bytes);
    let honest = &RUNS[usize::from(plan.byte()) % RUNS.len()];
    let mut run = honest.clone();
    for _ in 0..plan.byte() % CHANGES {
        let turn = usize::from(plan.byte()) % run.turns.len();
        plan.change(&mut run.turns[turn]);
    }
    let other_nonce = plan.byte();
    if let Some(nonce) = run.nonces.get_mut(usize::from(other_nonce / 2)).filter(|_| other_nonce % 2 == 1) {
        nonce[0] ^= plan.byte();
    }
    let chunk = 1 + usize::from(plan.byte()) * usize::from(plan.byte() % 8);
    let cache = run.cache();
    let (live, transcript) = drive(&run, &cache, chunk, Deadlines::UNLIMITED, Duration::ZERO);
    assert_eq!(
        live.is_ok(),
        run == *honest,
        "a run holds if, and only if, it is the honest one: {:?}",
        live.err()
    );
    let whole = drive(&run, &cache, usize::MAX, Deadlines::UNLIMITED, Duration::ZERO).0;
    assert_eq!(whole, live, "chunks do not matter");
    let replayed = transcript.verify_with(cache.clone()).expect("the challenge's cache");
    assert_eq!(replayed, live, "a transcript replays to what was seen");
    assert_eq!(Transcript::decode(&transcript.encode()).as_ref(), Ok(&transcript));
    // Late by the caller's clock: it ends, and a run that is not honest does not hold for it.
    let pace = Duration::from_millis(u64::from(plan.byte()));
    let late = drive(&run, &cache, chunk, Deadlines::all(LIMIT), pace).0;
    assert!(late.is_err() || live.is_ok());
}

/// Feeds a run to a verifier whose clock moves by `pace` with every chunk.
fn drive(
    run: &Run,
    cache: &Option<Arc<Cache>>,
    chunk: usize,
    deadlines: Deadlines,
    pace: Duration,
) -> (Result<Vec<ProvenDevice>, Rejection>, Transcript) {
    let verifier = Verifier::new(run.challenge.clone(), cache.clone(), deadlines);
    let mut verifier = verifier.expect("the challenge's cache");
    let ended = feed(&mut verifier, run, chunk, pace);
    if let Err(rejection) = &ended {
        assert_eq!(verifier.on_bytes(&[1], Duration::ZERO), Err(rejection.clone()), "a rejection stays");
        assert_eq!((verifier.on_end(), verifier.on_deadline()), (rejection.clone(), rejection.clone()));
    }
    (ended, verifier.into_transcript())
}

fn feed(
    verifier: &mut Verifier,
    run: &Run,
    chunk: usize,
    pace: Duration,
) -> Result<Vec<ProvenDevice>, Rejection> {
    let mut elapsed = Duration::ZERO;
    let mut nonces = run.nonces.iter();
    for turn in &run.turns {
        let mut step = Step::More;
        for piece in turn.chunks(chunk) {
            elapsed += pace;
            step = verifier.on_bytes(piece, elapsed)?;
        }
        match (step, nonces.next()) {
            (Step::Done(outcome), _) => return Ok(outcome.devices),
            (Step::DrawNonce(_), Some(nonce)) => {
                verifier.send_nonce(*nonce, elapsed).expect("a nonce is due");
            }
            _ => return Err(verifier.on_end()),
        }
    }
    Err(verifier.on_end())
}

/// The golden transcripts, taken apart.
pub(crate) fn honest_runs() -> Vec<Run> {
    vectors::transcripts().iter().map(|bytes| take_apart(bytes).expect("a golden transcript")).collect()
}

/// The fields of a transcript file: magic and version, then each of challenge and turns behind its length.
fn take_apart(bytes: &[u8]) -> Option<Run> {
    let mut rest = bytes.get(10..)?;
    let Message::Challenge(challenge) = Message::decode(field(&mut rest)?).ok()? else { return None };
    let mut run = Run { challenge, turns: vec![field(&mut rest)?.to_vec()], nonces: Vec::new() };
    let (turns, mut rest) = rest.split_first()?;
    for _ in 0..*turns {
        let (nonce, after) = rest.split_first_chunk()?;
        rest = after;
        run.nonces.push(*nonce);
        run.turns.push(field(&mut rest)?.to_vec());
    }
    rest.is_empty().then_some(run)
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk()?;
    let (field, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = after;
    Some(field)
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let runs = u8::try_from(RUNS.len()).expect("few runs");
    // Unchanged; a flipped bit of each turn; another nonce.
    (0..runs)
        .flat_map(|run| {
            let flips = (0..4u8).map(move |turn| vec![run, 1, turn, 0, 200, 0, 3, 0, 9, 1]);
            [vec![run], vec![run, 0, 1, 1]].into_iter().chain(flips)
        })
        .collect()
}
