//! Signed verdicts: canonical SCALE, and nothing that is not truly signed.

use std::sync::LazyLock;

use basilica_types::Digest;
use basilica_verification::verdict_log::Inclusion;
use basilica_verification::{CardTable, SignedVerdict, Verdict, audit};
use basilica_wire::EnvelopeError;
use codec::{DecodeAll as _, Encode as _};

use crate::transcript::GOLDEN;
use crate::vectors;

static SIGNED: LazyLock<[Vec<u8>; 3]> = LazyLock::new(vectors::verdicts);

pub(crate) fn run(bytes: &[u8]) {
    match SignedVerdict::decode_verified(bytes) {
        Ok(_) => {
            assert!(
                SIGNED.iter().any(|signed| content(signed) == content(bytes)),
                "a forged verdict is believed"
            );
        }
        Err(EnvelopeError::Signature { .. }) if bytes.starts_with(&head()) => {
            let verdict = Verdict::decode_all(&mut content(bytes)).expect("only its signature is wrong");
            assert_eq!(verdict.encode(), content(bytes));
        }
        Err(_) => {}
    }
    if let Ok(shown) = Inclusion::decode_bounded(bytes) {
        assert_eq!(shown.encode(), bytes, "an inclusion has one form");
        let is_shown = shown.verify(&Digest::from_bytes([1; 32])).is_ok();
        assert!(!is_shown, "a verdict that is in no tree is believed to be in one");
    }
    // Without the envelope, whose signature no fuzzer finds.
    if let Ok(verdict) = Verdict::decode_all(&mut &bytes[..]) {
        let again = Verdict::decode_all(&mut &verdict.encode()[..]).expect("what is written reads back");
        assert_eq!(again, verdict);
        // The comparison ends, whatever the verdict says.
        GOLDEN.iter().for_each(|transcript| drop(audit(&verdict, transcript, &CardTable::built_in())));
    }
}

/// The tag of the version that is written, as every envelope begins; those of earlier versions are as long.
fn head() -> Vec<u8> {
    <Verdict as basilica_wire::Domain>::TAG.encode()
}

/// What stands between the tag and the signer.
fn content(envelope: &[u8]) -> &[u8] {
    let tail = 32 + 64;
    &envelope[head().len()..envelope.len() - tail]
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let [first, second, signed] = vectors::verdicts();
    let bare = content(&signed).to_vec();
    let is_read = |bytes: &[u8]| SignedVerdict::decode_verified(bytes).is_ok();
    assert!(
        is_read(&first)
            && is_read(&second)
            && is_read(&signed)
            && Verdict::decode_all(&mut &bare[..]).is_ok()
    );
    vec![first, second, signed, bare]
}
