use basilica_proof::Transcript;
use basilica_verifier_wasm::answer;
use proptest::prelude::*;

use crate::module::{Verifier, golden};

/// The distance between the places of a transcript that are tried: about 250, or 60 where each makes a cache first.
fn stride(transcript: &[u8]) -> usize {
    let decoded = Transcript::decode(transcript).expect("a golden transcript");
    transcript.len().div_ceil(if decoded.challenge().cache_log2().is_some() { 60 } else { 250 })
}

#[test]
fn golden_transcripts_hold_in_the_module_as_they_do_here() {
    let mut verifier = Verifier::new();
    for (name, transcript) in golden() {
        let told = verifier.answer(&transcript);
        assert_eq!(told, answer(&transcript), "{name}");
        let report: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&report["holds"], &report["reason"]), (&true.into(), &serde_json::Value::Null), "{name}");
    }
}

#[test]
fn mutations_are_answered_with_the_same_reason() {
    let mut verifier = Verifier::new();
    let mut reasons = std::collections::BTreeSet::new();
    for (name, transcript) in golden() {
        for at in (0..transcript.len()).step_by(stride(&transcript)) {
            let mut mutated = transcript.clone();
            mutated[at] ^= 1 << (at % 8);
            let told = verifier.answer(&mutated);
            assert_eq!(told, answer(&mutated), "{name}: bit {} of byte {at}", at % 8);
            let report: serde_json::Value = serde_json::from_str(&told).unwrap();
            assert_ne!(report["holds"], true, "{name}: bit {} of byte {at}", at % 8);
            reasons.insert(report["reason"].as_str().unwrap_or("no transcript").to_owned());
        }
    }
    let few = ["no transcript", "proof_challenge_mismatch", "proof_merkle_path", "proof_opening_order"];
    assert!(few.iter().all(|reason| reasons.contains(*reason)), "{reasons:?}");
}

#[test]
fn cut_and_lengthened_transcripts_are_answered_alike() {
    let mut verifier = Verifier::new();
    for (name, transcript) in golden() {
        for length in (1..transcript.len()).step_by(stride(&transcript)) {
            let cut = &transcript[..length];
            assert_eq!(verifier.answer(cut), answer(cut), "{name}: {length} bytes");
        }
        let longer = [&transcript[..], &[0]].concat();
        assert_eq!(verifier.answer(&longer), answer(&longer), "{name} and a byte");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn spliced_transcripts_are_answered_alike(
        which: prop::sample::Index,
        at: prop::sample::Index,
        removed in 0usize..64,
        put in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut transcript = which.get(&golden()).1.clone();
        let at = at.index(transcript.len());
        let end = (at + removed).min(transcript.len());
        transcript.splice(at..end, put);
        prop_assume!(!transcript.is_empty());
        prop_assert_eq!(Verifier::new().answer(&transcript), answer(&transcript));
    }
}
