//! The golden vectors, which are compiled in: a fuzzer runs anywhere.

use basilica_proof::Transcript;
use serde_json::Value;

const TRANSCRIPTS: [&str; 2] = [
    include_str!("../../../vectors/proof/transcript.json"),
    include_str!("../../../vectors/proof/transcript-memory.json"),
];
const VERDICTS: [&str; 3] = [
    include_str!("../../../vectors/verdict/v1.hex"),
    include_str!("../../../vectors/verdict/v2.hex"),
    include_str!("../../../vectors/verdict/v3.hex"),
];
const KEYFILES: &str = include_str!("../../../vectors/wallet/keyfiles.json");

/// The transcripts of honest runs.
pub(crate) fn transcripts() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for vector in TRANSCRIPTS {
        collect(&serde_json::from_str(vector).expect("the vector is json"), "transcript", &mut found);
    }
    assert!(
        found.iter().all(|bytes| Transcript::decode(bytes).is_ok()),
        "golden transcripts are transcripts"
    );
    found
}

/// The signed verdict of each version.
pub(crate) fn verdicts() -> [Vec<u8>; 3] {
    VERDICTS.map(|vector| {
        let signed = vector.lines().find_map(|line| line.strip_prefix("signed "));
        hex::decode(signed.expect("the vector has a signed verdict")).expect("the vector is hex")
    })
}

/// Keyfiles in every form.
pub(crate) fn keyfiles() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    collect(&serde_json::from_str(KEYFILES).expect("the vector is json"), "hex", &mut found);
    found
}

/// The bytes behind every field of this name.
fn collect(value: &Value, wanted: &str, found: &mut Vec<Vec<u8>>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str().filter(|_| name == wanted) {
                    Some(text) => found.push(hex::decode(text).expect("the vector is hex")),
                    None => collect(field, wanted, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, wanted, found)),
        _ => {}
    }
}
