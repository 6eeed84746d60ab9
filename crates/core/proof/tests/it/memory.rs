//! The proof of memory: honest runs, and each way to hold less than was asked.

use std::sync::Arc;

use basilica_proof::gemm::Kernel;
use basilica_proof::prover::{BackendError, CpuBackend, ExactProduct, Memory, Ram, Resident};
use basilica_proof::residency::{Block, Cache, Items, Region, ResidencyParams, Space, WalkParams};
use basilica_proof::wire::{Message, SegmentRoot};
use basilica_proof::{
    Challenge, Deadlines, DeviceChallenge, ProofParams, Rejection, Stage, Transcript, Verifier, WrongCache,
};
use basilica_types::Digest;

use crate::run::{
    CACHE_LOG2, NONCE, NOW, OPENED, ROOTS, START, Sent, WALK, answers, begin, binding, challenge, device,
    frames, honest, memory_challenge, messages, region, run, verify,
};

const SPACES: [Space; 2] = [Space::Device, Space::Host];

#[test]
fn an_honest_run_proves_each_devices_memory() {
    let challenge = memory_challenge(2, &SPACES);
    let outcome = run(&challenge, honest).unwrap();
    for proven in &outcome.devices {
        assert_eq!(proven.residency, SPACES.map(region));
    }
    let walked: Vec<_> = outcome.walks.iter().map(|walk| (walk.params.space(), walk.device)).collect();
    assert_eq!(walked, [(Space::Host, 0), (Space::Host, 1), (Space::Device, 0), (Space::Device, 1)]);
}

#[test]
fn a_device_that_is_asked_for_no_memory_waits_for_those_that_are() {
    let with = DeviceChallenge { residency: vec![region(Space::Host)], ..device(0, crate::run::tiny()) };
    let without = device(1, crate::run::tiny());
    let challenge = Challenge::new(binding(), Some(CACHE_LOG2), vec![with, without]).unwrap();
    let outcome = run(&challenge, honest).unwrap();
    assert_eq!(outcome.devices.iter().map(|d| d.residency.len()).collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn threads_send_the_same_bytes() {
    let challenge = memory_challenge(1, &SPACES);
    let expected = answers(&challenge, honest, &NONCE);
    for threads in [1, 3] {
        let backend = || CpuBackend::new(ExactProduct(Kernel::detect()), threads, 2_048);
        assert!(answers(&challenge, backend, &NONCE) == expected, "{threads} threads");
    }
}

#[test]
fn the_answer_is_within_the_announced_size() {
    let challenge = memory_challenge(2, &SPACES);
    let bytes = answers(&challenge, honest, &NONCE).concat().len() as u64;
    let first_steps_save = challenge.answer_bytes() - bytes;
    assert!(first_steps_save.is_multiple_of(64 + 1 + (4 + 2) * 32), "{first_steps_save}");
    assert!(first_steps_save < challenge.answer_bytes() / 8);
}

/// Holds every item but one in `one_in`, and guesses those.
#[derive(Clone, Copy)]
struct Short {
    one_in: u64,
}

struct Guessed(Resident, u64);

impl Items for Guessed {
    type Error = BackendError;

    fn item(&self, index: u64) -> Result<Block, BackendError> {
        if index.is_multiple_of(self.1) { Ok([7; 16]) } else { self.0.item(index) }
    }
}

impl Memory for Short {
    fn fill(&self, region: &Region, cache: &Cache, threads: usize) -> Result<Resident, BackendError> {
        Ok(Box::new(Guessed(Ram::DEFAULT.fill(region, cache, threads)?, self.one_in)))
    }
}

#[test]
fn missing_memory_is_caught_by_the_items() {
    // Of 96 opened reads each hits a missing item with probability 1/16: all miss it with 0.2 %, and this nonce is no such.
    let challenge = memory_challenge(1, &[Space::Device]);
    let short = || CpuBackend::with_memory(ExactProduct(Kernel::detect()), Short { one_in: 16 }, 1, 2_048);
    let rejected = run(&challenge, short).unwrap_err();
    assert!(
        matches!(rejected, Rejection::WalkMismatch { device: 0, space: Space::Device, .. }),
        "{rejected}"
    );
}

#[test]
fn the_share_of_runs_that_missing_memory_passes_is_below_the_bound() {
    let walk =
        WalkParams { lanes: 8, steps: 6, reads: 2, windows: 1, barriers: 1, picks: 2, lanes_per_pick: 2 };
    let params = ResidencyParams::new(Space::Device, 1 << 10, 2, walk).unwrap();
    let asked =
        DeviceChallenge { residency: vec![params], ..device(0, ProofParams::new(64, 64, 1, 1).unwrap()) };
    let challenge = Challenge::new(binding(), Some(CACHE_LOG2), vec![asked]).unwrap();
    let short = || CpuBackend::with_memory(ExactProduct(Kernel::detect()), Short { one_in: 8 }, 1, 2_048);
    let passed = (0..300u32)
        .filter(|trial| {
            let mut nonce = [0; 32];
            nonce[..4].copy_from_slice(&trial.to_le_bytes());
            verify(&challenge, &answers(&challenge, short, &nonce), &nonce).0.is_ok()
        })
        .count();
    // (7/8)^8 = 0.344 if all four opened steps are different ones; repeated draws pass a little more often.
    let expected = 300.0 * params.evasion(0.125);
    let passed = f64::from(u32::try_from(passed).unwrap());
    assert!((passed - expected).abs() < 60.0, "{passed} of 300 passed, {expected} expected");
}

/// Replaces the messages of one turn.
fn changed(sent: &Sent, turn: usize, change: impl Fn(&mut Vec<Message>)) -> Sent {
    let mut sent = sent.clone();
    let mut list = messages(&sent[turn]);
    change(&mut list);
    sent[turn] = frames(&list);
    sent
}

#[test]
fn roots_of_a_walk_made_before_the_nonce_do_not_hold() {
    // The walk of another nonce, made while there was time, and the honest openings of it.
    let challenge = memory_challenge(1, &[Space::Device]);
    let sent = answers(&challenge, honest, &NONCE);
    let cache = Arc::new(Cache::for_challenge(&challenge).unwrap());
    let mut verifier = Verifier::new(challenge, Some(cache), Deadlines::UNLIMITED).unwrap();
    begin(&mut verifier, &sent, NOW, NOW);
    verifier.on_bytes(&sent[ROOTS], NOW).unwrap();
    verifier.send_nonce([0xee; 32], NOW).unwrap();
    verifier.on_bytes(&sent[WALK], NOW).unwrap();
    verifier.send_nonce(NONCE, NOW).unwrap();
    let rejected = verifier.on_bytes(&sent[OPENED], NOW).unwrap_err();
    assert!(matches!(rejected, Rejection::OpeningOrder { .. }), "{rejected}");
}

#[test]
fn every_step_is_bound_to_the_walks_nonce() {
    use basilica_proof::residency::{LightItems, Walk};
    let cache = Cache::new([0; 32], CACHE_LOG2);
    let region = Region::new(&basilica_proof::seed::Seed::from_bytes([1; 32]), region(Space::Device));
    let items = LightItems { region: &region, cache: &cache };
    let state = [9; 16];
    let after = |nonce: u8, step: u32| {
        let mut state = state;
        let mut walk = Walk::new(region, &[nonce; 32]);
        walk.pass(&Digest::from_bytes([0; 32]));
        let Ok(()) = walk.step(&items, 0, step, &mut state);
        state
    };
    assert_ne!(after(1, 4), after(2, 4), "a seam at any later step would hide a walk made ahead");
    assert_ne!(after(1, 4), after(1, 5));
}

#[test]
fn lanes_that_are_made_equal_part_again() {
    use basilica_proof::residency::{LightItems, Walk};
    let cache = Cache::new([0; 32], CACHE_LOG2);
    let region = Region::new(&basilica_proof::seed::Seed::from_bytes([1; 32]), region(Space::Device));
    let items = LightItems { region: &region, cache: &cache };
    let mut walk = Walk::new(region, &[1; 32]);
    walk.pass(&Digest::from_bytes([0; 32]));
    // Lanes of one window, from one state: if they stayed together, one lane's reads would do for all of them.
    let windows = u32::from(region.params().walk().windows);
    let states = [0, windows, 2 * windows].map(|lane| {
        let mut state = [9; 16];
        let Ok(()) = walk.step(&items, lane, 4, &mut state);
        state
    });
    assert!(states[0] != states[1] && states[1] != states[2] && states[0] != states[2]);
}

#[test]
fn one_lane_walked_for_all_is_found_at_nearly_every_opened_step() {
    use basilica_proof::merkle::Tree;
    use basilica_proof::prover::{Advance, Backend, Pick, Traced, Tracing};
    use basilica_proof::residency::{LightItems, Walk, lane_hash};
    use basilica_proof::wire::LaneState;
    /// Commits to the walk of one lane in all of them.
    struct Merged(CpuBackend);
    impl Merged {
        fn step(walk: &Walk, step: u32, state: &mut Block) -> Tree {
            let cache = Cache::new([0; 32], CACHE_LOG2);
            let items = LightItems { region: walk.region(), cache: &cache };
            let Ok(()) = walk.step(&items, 0, step, state);
            Tree::new(vec![lane_hash(state); walk.region().params().walk().lanes as usize])
        }
    }
    impl Backend for Merged {
        fn commit(
            &mut self,
            seed: &basilica_proof::seed::Seed,
            params: &ProofParams,
        ) -> Result<Digest, BackendError> {
            self.0.commit(seed, params)
        }
        fn open(
            &mut self,
            round: u32,
            leaf: u32,
        ) -> Result<(basilica_proof::merkle::Leaf, Vec<Digest>), BackendError> {
            self.0.open(round, leaf)
        }
        fn fill(&mut self, _: &Region, _: &Arc<Cache>) -> Result<(), BackendError> {
            Ok(())
        }
        fn walk(
            &mut self,
            walk: &Walk,
            on_root: &mut dyn FnMut(Digest) -> Advance,
        ) -> Result<(), BackendError> {
            let (mut own, mut state) = (walk.clone(), walk.start(0));
            for step in 0..walk.region().params().walk().steps {
                let root = Self::step(&own, step, &mut state).root();
                if let Advance::Rekey(key) = on_root(root) {
                    own.begin(key);
                }
            }
            Ok(())
        }
        fn trace(&mut self, walk: &Walk, picks: &[Pick]) -> Result<Vec<Traced>, BackendError> {
            let (mut tracing, mut state) = (Tracing::new(picks), walk.start(0));
            for step in 0..walk.region().params().walk().steps {
                let tree = Self::step(walk, step, &mut state);
                tracing.keep(step, |lane| Some(LaneState { state, siblings: tree.siblings(lane)? }));
            }
            tracing.finish()
        }
    }
    // One window, so that all lanes could be one; the seam is step 0.
    let whole = WalkParams { windows: 1, ..*region(Space::Device).walk() };
    let whole = ResidencyParams::new(Space::Device, 1 << 10, 8, whole).unwrap();
    let asked = DeviceChallenge { residency: vec![whole], ..device(0, crate::run::tiny()) };
    let challenge = Challenge::new(binding(), Some(CACHE_LOG2), vec![asked]).unwrap();
    let rejected = run(&challenge, || Merged(honest())).unwrap_err();
    assert!(matches!(rejected, Rejection::WalkMismatch { step: 1.., .. }), "not the seam alone: {rejected}");
}

#[test]
fn the_roots_of_a_walk_come_at_an_even_pace() {
    let ms = std::time::Duration::from_millis;
    let challenge = memory_challenge(1, &[Space::Device]);
    let sent = answers(&challenge, honest, &NONCE);
    let deadlines = Deadlines { walk: ms(130), walk_slack: ms(10), ..Deadlines::UNLIMITED };
    assert_eq!((deadlines.pace(0, 4), deadlines.pace(3, 4)), (ms(40), ms(130)));
    let wide = Deadlines { walk_slack: ms(1), ..Deadlines::UNLIMITED };
    assert_eq!(wide.pace(3, 4), std::time::Duration::MAX);
    let run = |first_half: u64, second_half: u64| {
        let cache = Arc::new(Cache::for_challenge(&challenge).unwrap());
        let mut verifier = Verifier::new(challenge.clone(), Some(cache), deadlines).unwrap();
        begin(&mut verifier, &sent, ms(0), ms(0));
        verifier.on_bytes(&sent[ROOTS], ms(0)).unwrap();
        verifier.send_nonce(crate::run::walk_nonce(Space::Device), ms(0)).unwrap();
        let (one, other) = sent[WALK].split_at(sent[WALK].len() / 2);
        verifier.on_bytes(one, ms(first_half))?;
        verifier.on_bytes(other, ms(second_half))
    };
    run(40, 80).unwrap();
    // Begun when another node's walk was over: the last root would be in time.
    let late = Rejection::DeadlineMissed { stage: Stage::Walk, limit: ms(40) };
    assert_eq!(run(65, 130), Err(late));
}

#[test]
fn devices_that_do_not_wait_for_each_other_are_found_out() {
    use basilica_proof::prover::{DeviceProver, Run};
    let challenge = memory_challenge(2, &[Space::Device]);
    let cache = Arc::new(Cache::for_challenge(&challenge).unwrap());
    let mut devices = DeviceProver::all(&challenge, &START, |_| Ok::<_, BackendError>(honest())).unwrap();
    let mut run = Run::new(&challenge, crate::run::key());
    let mut sent = crate::run::acceptance(&mut run);
    run.on_nonce(&START);
    sent.extend([Vec::new(), Vec::new()]);
    for device in &mut devices {
        while let Some(root) = device.next_root().unwrap() {
            sent[ROOTS].extend(root);
        }
    }
    for device in &mut devices {
        sent[ROOTS].extend(device.fill(&cache).unwrap().unwrap());
    }
    run.sent(&sent[ROOTS]);
    let nonce = crate::run::walk_nonce(Space::Device);
    run.on_nonce(&nonce);
    // One card walks through one region after the other; at the barriers it has only its own roots.
    for device in &mut devices {
        let roots = &mut sent[WALK];
        let send = |root: Vec<u8>| {
            roots.extend(root);
            true
        };
        let alone = |_, barrier, root| Some(basilica_proof::residency::meeting(barrier, [root].iter()));
        device.walk(Space::Device, &nonce, send, alone).unwrap();
    }
    run.sent(&sent[WALK]);
    let queries = run.on_opening_nonce(&challenge, &NONCE);
    sent.push(devices.iter_mut().flat_map(|device| device.open(&queries).unwrap()).flatten().collect());
    run.sent(&sent[OPENED]);
    sent[OPENED].extend(run.signature());
    let rejected = verify(&challenge, &sent, &NONCE).0.unwrap_err();
    assert!(matches!(rejected, Rejection::WalkMismatch { .. }), "{rejected}");
}

#[test]
fn every_device_of_a_space_has_the_same_barriers() {
    let fewer = WalkParams { barriers: 2, ..*region(Space::Device).walk() };
    let fewer = ResidencyParams::new(Space::Device, 1 << 10, 8, fewer).unwrap();
    let device =
        |index, region| DeviceChallenge { residency: vec![region], ..device(index, crate::run::tiny()) };
    let devices = vec![device(0, region(Space::Device)), device(1, fewer)];
    let refused = Challenge::new(binding(), Some(CACHE_LOG2), devices).unwrap_err();
    assert!(refused.to_string().contains("barriers"), "{refused}");
}

#[test]
fn segments_cut_the_steps_evenly() {
    for steps in 1..80u32 {
        for barriers in 0..u16::try_from(steps).unwrap() {
            let walk = WalkParams { steps, barriers, ..*region(Space::Device).walk() };
            let ends = (0..steps).filter(|step| walk.ends_segment(*step)).count();
            assert_eq!(ends, usize::from(barriers) + 1, "{steps} steps");
            assert_eq!((walk.segment(0), walk.segment(steps - 1)), (0, u32::from(barriers)), "{steps} steps");
            assert_eq!(walk.segment_start(walk.segments()), steps);
            for step in 0..steps {
                let start = walk.segment_start(walk.segment(step));
                assert!(start <= step && walk.segment(start) == walk.segment(step), "step {step} of {steps}");
                assert!(step - start < 1 << walk.segment_depth(), "step {step} of {steps}");
            }
            let lengths: Vec<u32> = (0..walk.segments())
                .map(|segment| walk.segment_start(segment + 1) - walk.segment_start(segment))
                .collect();
            assert!(lengths.iter().max().unwrap() - lengths.iter().min().unwrap() <= 1, "{lengths:?}");
        }
    }
}

#[test]
fn a_state_that_was_not_committed_is_named() {
    let challenge = memory_challenge(1, &[Space::Device]);
    let sent = answers(&challenge, honest, &NONCE);
    let moved = changed(&sent, WALK, |messages| {
        let Message::SegmentRoot(SegmentRoot { root, .. }) = &mut messages[3] else {
            panic!("a segment's root")
        };
        *root = basilica_types::Digest::from_bytes([1; 32]);
    });
    // The openings are drawn from the roots, so other ones are due now.
    let rejected = verify(&challenge, &moved, &NONCE).0.unwrap_err();
    assert!(matches!(rejected, Rejection::OpeningOrder { .. }), "{rejected}");
    let lied = changed(&sent, OPENED, |messages| {
        let opened = messages.iter_mut().find_map(|message| match message {
            Message::WalkOpening(opening) => Some(opening),
            _ => None,
        });
        opened.unwrap().after.state[0] ^= 1;
    });
    let rejected = verify(&challenge, &lied, &NONCE).0.unwrap_err();
    assert!(matches!(rejected, Rejection::WalkPath { .. }), "{rejected}");
}

#[test]
fn segments_and_fills_come_in_order_and_once() {
    let challenge = memory_challenge(2, &[Space::Device]);
    let sent = answers(&challenge, honest, &NONCE);
    let rejected = |turn: usize, change: &dyn Fn(&mut Vec<Message>)| {
        verify(&challenge, &changed(&sent, turn, change)[..=turn], &NONCE).0.unwrap_err()
    };
    let fills = messages(&sent[ROOTS]).len() - 2;
    let again = rejected(ROOTS, &|list| list[fills + 1] = list[fills].clone());
    assert_eq!(again, Rejection::FillRepeated { device: 0 });
    assert_eq!(rejected(ROOTS, &|list| list[fills] = Message::Filled(9)), Rejection::UnknownDevice(9));
    let swapped = rejected(WALK, &|list| list.swap(2, 3));
    assert_eq!(swapped, Rejection::SegmentOrder { device: 0, segment: 3, expected: 2 });
    let segments = region(Space::Device).walk().segments();
    let beyond = rejected(WALK, &|list| {
        let one_more = list[0].clone();
        list.insert(segments as usize, one_more);
    });
    assert_eq!(beyond, Rejection::SegmentOrder { device: 0, segment: 0, expected: segments });
    let few = rejected(WALK, &|list| list.truncate(5));
    let expected = u64::from(segments) * 2;
    assert_eq!(few, Rejection::Incomplete { stage: Stage::Walk, received: 5, expected });
    let unfilled = rejected(ROOTS, &|list| list.truncate(fills));
    assert_eq!(unfilled, Rejection::Incomplete { stage: Stage::Fill, received: 0, expected: 2 });
}

#[test]
fn what_a_walk_sends_does_not_grow_with_its_steps() {
    let bytes = |steps: u32| {
        let walk = WalkParams { steps, ..*region(Space::Device).walk() };
        let params = ResidencyParams::new(Space::Device, 1 << 10, 8, walk).unwrap();
        let asked = DeviceChallenge { residency: vec![params], ..device(0, crate::run::tiny()) };
        let challenge = Challenge::new(binding(), Some(CACHE_LOG2), vec![asked]).unwrap();
        answers(&challenge, honest, &NONCE)[WALK].len()
    };
    assert_eq!(bytes(13), bytes(400));
}

#[test]
fn nothing_of_the_work_can_be_done_before_the_start_nonce() {
    use basilica_proof::seed::Seed;
    let challenge = memory_challenge(1, &[Space::Device]);
    let seed = |start| Seed::first(challenge.binding(), &challenge.devices()[0], &start);
    assert_ne!(seed(START), seed([0; 32]));
    assert_ne!(
        Region::new(&seed(START), region(Space::Device)),
        Region::new(&seed([0; 32]), region(Space::Device))
    );
    let sent = answers(&challenge, honest, &NONCE);
    let mut early = sent[..ROOTS].to_vec();
    early[ROOTS - 1].extend(&sent[ROOTS]);
    assert_eq!(verify(&challenge, &early, &NONCE).0, Err(Rejection::UnsolicitedBytes));
}

#[test]
fn a_challenge_that_would_take_too_long_to_check_is_refused() {
    let walk = WalkParams { reads: 64, picks: 64, lanes_per_pick: 64, ..*region(Space::Device).walk() };
    let params = ResidencyParams::new(Space::Device, 1 << 10, 1_024, walk).unwrap();
    let asked = DeviceChallenge { residency: vec![params], ..device(0, crate::run::tiny()) };
    let refused = Challenge::new(binding(), Some(CACHE_LOG2), vec![asked]).unwrap_err();
    assert!(refused.to_string().contains("reads of the cache"), "{refused}");
}

#[test]
fn walking_before_the_nonce_is_refused() {
    let challenge = memory_challenge(1, &[Space::Device]);
    let sent = answers(&challenge, honest, &NONCE);
    let mut early = sent[..WALK].to_vec();
    early[ROOTS].extend(&sent[WALK]);
    assert_eq!(verify(&challenge, &early, &NONCE).0, Err(Rejection::UnsolicitedBytes));
}

#[test]
fn each_stage_has_its_own_deadline() {
    let ms = std::time::Duration::from_millis;
    let challenge = memory_challenge(1, &[Space::Device]);
    let sent = answers(&challenge, honest, &NONCE);
    let (walk, walk_slack) = (ms(20), ms(20));
    let deadlines =
        Deadlines { accept: ms(900), work: ms(100), fill: ms(40), walk, walk_slack, openings: ms(50) };
    let cache = Arc::new(Cache::for_challenge(&challenge).unwrap());
    let mut verifier = Verifier::new(challenge, Some(cache), deadlines).unwrap();
    begin(&mut verifier, &sent, ms(800), ms(1_000));
    assert_eq!(verifier.deadline(), ms(1_100), "getting ready does not count as work");
    let filled = sent[ROOTS].len() - 7;
    verifier.on_bytes(&sent[ROOTS][..filled], ms(1_090)).unwrap();
    assert_eq!(verifier.deadline(), ms(1_130), "from the last root");
    verifier.on_bytes(&sent[ROOTS][filled..], ms(1_120)).unwrap();
    verifier.send_nonce(crate::run::walk_nonce(Space::Device), ms(1_121)).unwrap();
    assert_eq!(verifier.deadline(), ms(1_141));
    let missed = Rejection::DeadlineMissed { stage: Stage::Walk, limit: walk };
    assert_eq!(verifier.on_bytes(&sent[WALK], ms(1_142)), Err(missed));
}

#[test]
fn another_beacons_cache_is_refused() {
    let memory = memory_challenge(1, &[Space::Device]);
    let cache = |beacon: u8, log2| Some(Arc::new(Cache::new([beacon; 32], log2)));
    for (asked, cache) in [
        (&memory, None),
        (&memory, cache(1, CACHE_LOG2)),
        (&memory, cache(0, CACHE_LOG2 + 1)),
        (&challenge(1, crate::run::tiny()), cache(0, CACHE_LOG2)),
    ] {
        let refused = Verifier::new(asked.clone(), cache, Deadlines::UNLIMITED);
        assert_eq!(refused.err(), Some(WrongCache));
    }
}

#[test]
fn another_key_cannot_end_a_run() {
    use basilica_proof::RunKey;
    use basilica_types::Digest;
    let challenge = memory_challenge(1, &[Space::Device]);
    let sent = answers(&challenge, honest, &NONCE);
    let other = RunKey::from_entropy(&[1; 32]).sign(&Digest::from_bytes([0; 32]));
    let forged = changed(&sent, OPENED, |messages| *messages.last_mut().unwrap() = Message::Signature(other));
    assert_eq!(verify(&challenge, &forged, &NONCE).0, Err(Rejection::Signature));
    let unsigned = changed(&sent, OPENED, |messages| messages.truncate(messages.len() - 1));
    let missing = Rejection::Incomplete { stage: Stage::Signature, received: 0, expected: 1 };
    assert_eq!(verify(&challenge, &unsigned, &NONCE).0, Err(missing));
}

#[test]
fn every_one_bit_mutation_of_a_transcript_with_memory_is_rejected() {
    let walk =
        WalkParams { lanes: 4, steps: 5, reads: 2, windows: 2, barriers: 2, picks: 2, lanes_per_pick: 2 };
    let params = ResidencyParams::new(Space::Device, 1 << 10, 3, walk).unwrap();
    let asked =
        DeviceChallenge { residency: vec![params], ..device(0, ProofParams::new(64, 64, 1, 1).unwrap()) };
    let challenge = Challenge::new(binding(), Some(CACHE_LOG2), vec![asked]).unwrap();
    let cache = Arc::new(Cache::for_challenge(&challenge).unwrap());
    let (result, transcript) = verify(&challenge, &answers(&challenge, honest, &NONCE), &NONCE);
    result.unwrap();
    let bytes = transcript.encode();
    let mut reasons = std::collections::BTreeMap::<&str, usize>::new();
    for bit in 0..bytes.len() * 8 {
        let mut mutated = bytes.clone();
        mutated[bit / 8] ^= 1 << (bit % 8);
        let reason = match Transcript::decode(&mutated) {
            Err(_) => "undecodable",
            Ok(read) if !cache.serves(read.challenge()) => "another cache",
            Ok(read) => match read.verify_with(Some(Arc::clone(&cache))).unwrap() {
                Err(rejection) => rejection.code(),
                Ok(_) => panic!("bit {bit} of {} does not matter", bytes.len() * 8),
            },
        };
        *reasons.entry(reason).or_default() += 1;
    }
    assert!(reasons["proof_signature"] >= 64 * 8, "{reasons:?}");
    for expected in
        ["proof_walk_path", "proof_merkle_path", "proof_opening_order", "proof_challenge_mismatch"]
    {
        assert!(reasons.contains_key(expected), "no {expected} in {reasons:?}");
    }
}
