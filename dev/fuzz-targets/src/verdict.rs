//! Signed verdicts: canonical SCALE, and nothing that is not truly signed.

use std::sync::LazyLock;

use basilica_verification::{Verdict, audit};
use basilica_wire::{EnvelopeError, Signed};
use codec::{Compact, DecodeAll as _, Encode as _};

use crate::transcript::GOLDEN;
use crate::vectors;

static SIGNED: LazyLock<Vec<u8>> = LazyLock::new(vectors::verdict);

pub(crate) fn run(bytes: &[u8]) {
    match Signed::<Verdict>::decode_verified(bytes) {
        Ok(signed) => {
            assert_eq!(signed.encode(), bytes, "a signed verdict has one encoding");
            assert_eq!(signed.content().encode(), content(&SIGNED), "a forged verdict is believed");
        }
        Err(EnvelopeError::Signature { .. }) => {
            let verdict = Verdict::decode_all(&mut content(bytes)).expect("only its signature is wrong");
            assert_eq!(verdict.encode(), content(bytes));
        }
        Err(_) => {}
    }
    // Without the envelope, whose signature no fuzzer finds.
    if let Ok(verdict) = Verdict::decode_all(&mut &bytes[..]) {
        let again = Verdict::decode_all(&mut &verdict.encode()[..]).expect("what is written reads back");
        assert_eq!(again, verdict);
        // The comparison ends, whatever the verdict says.
        GOLDEN.iter().for_each(|transcript| drop(audit(&verdict, transcript)));
    }
}

/// What stands between the tag and the signer.
fn content(envelope: &[u8]) -> &[u8] {
    let tag = <Verdict as basilica_wire::Domain>::TAG;
    let head = Compact(u32::try_from(tag.len()).expect("a tag is short")).encode().len() + tag.len();
    let tail = 32 + 64;
    &envelope[head..envelope.len() - tail]
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let signed = vectors::verdict();
    let bare = content(&signed).to_vec();
    assert!(
        Signed::<Verdict>::decode_verified(&signed).is_ok() && Verdict::decode_all(&mut &bare[..]).is_ok()
    );
    vec![signed, bare]
}
