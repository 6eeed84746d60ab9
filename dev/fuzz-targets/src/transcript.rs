//! A transcript file: one encoding, and a replay that ends.

use std::sync::LazyLock;

use basilica_proof::report::Report;
use basilica_proof::{TRANSCRIPT_BYTES_MAX, Transcript};

use crate::vectors;

/// Larger caches take seconds to make, which is what is asked for then.
const CACHE_LOG2_MAX: u8 = 11;

pub(crate) static GOLDEN: LazyLock<Vec<Transcript>> = LazyLock::new(|| {
    let decode = |bytes: &Vec<u8>| Transcript::decode(bytes).expect("a golden transcript");
    vectors::transcripts().iter().map(decode).collect()
});

pub(crate) fn run(bytes: &[u8]) {
    let Ok(transcript) = Transcript::decode(bytes) else { return };
    assert!(bytes.len() as u64 <= TRANSCRIPT_BYTES_MAX);
    assert_eq!(transcript.encode(), bytes, "a transcript has one encoding");
    if transcript.challenge().cache_log2().is_some_and(|log2| log2 > CACHE_LOG2_MAX) {
        return;
    }
    let replay = transcript.verify();
    let report = Report::new(&transcript, &replay);
    assert_eq!(report.holds, replay.is_ok());
    // Only a prover makes a transcript that holds, and here is none.
    assert!(!report.holds || GOLDEN.contains(&transcript), "a forged proof holds");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    vectors::transcripts()
}
