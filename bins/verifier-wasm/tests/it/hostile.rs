use basilica_proof::{TRANSCRIPT_BYTES_MAX, Transcript};
use wasmi::{Engine, Module};

use crate::module::{Verifier, bytes, golden};

#[test]
fn the_module_imports_nothing_and_exports_what_is_documented() {
    let module = Module::new(&Engine::default(), bytes()).unwrap();
    let imports: Vec<String> = module.imports().map(|import| format!("{import:?}")).collect();
    assert!(imports.is_empty(), "{imports:?}");
    let functions: Vec<&str> =
        module.exports().filter(|export| export.ty().func().is_some()).map(|export| export.name()).collect();
    assert_eq!(functions, ["basilica_abi", "basilica_allocate", "basilica_answer_length", "basilica_verify"]);
    assert!(module.exports().any(|export| export.name() == "memory" && export.ty().memory().is_some()));
}

#[test]
fn the_module_holds_no_path_of_the_machine_that_built_it() {
    let module = bytes();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    for path in [Some(root.to_owned()), std::env::home_dir()].into_iter().flatten() {
        let path = path.into_os_string().into_encoded_bytes();
        assert!(!module.windows(path.len()).any(|window| window == path));
    }
}

#[test]
fn sizes_that_no_transcript_has_get_no_buffer() {
    let mut verifier = Verifier::new();
    let before = verifier.pages();
    let most = u32::try_from(TRANSCRIPT_BYTES_MAX).unwrap();
    for length in [0, most + 1, u32::MAX] {
        assert_eq!(verifier.allocate(length), 0, "{length}");
    }
    assert_eq!(verifier.pages(), before);
    assert_ne!(verifier.allocate(most), 0);
}

#[test]
fn nothing_written_is_answered_as_an_error() {
    let mut verifier = Verifier::new();
    let error = |answer: String| {
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let answer = answer.as_object().unwrap().clone();
        assert_eq!(answer.keys().collect::<Vec<_>>(), ["error"]);
        answer["error"].as_str().unwrap().to_owned()
    };
    assert!(error(verifier.verify()).starts_with("this is no transcript of a proof: "));
    // The largest buffer, full of what the host left in it.
    verifier.allocate(u32::try_from(TRANSCRIPT_BYTES_MAX).unwrap());
    error(verifier.verify());
    // A transcript is checked once: the buffer is gone.
    verifier.answer(&golden()[0].1);
    error(verifier.verify());
}

/// A golden transcript that asks for memory, asking for a cache of 256 MiB instead of its own.
fn with_a_large_cache() -> Vec<u8> {
    let asks = |bytes: &[u8]| Transcript::decode(bytes).unwrap().challenge().cache_log2().is_some();
    let (_, mut bytes) = golden().into_iter().find(|(_, bytes)| asks(bytes)).expect("one asks for memory");
    let key = Transcript::decode(&bytes).unwrap().challenge().binding().host_key.len();
    // Magic, version and length; tag and version; beacon, nonce and node; the host key behind its length.
    bytes[14 + 3 + 80 + 4 + key] = 22;
    assert_eq!(Transcript::decode(&bytes).unwrap().challenge().cache_log2(), Some(22));
    bytes
}

#[test]
fn a_host_that_grants_too_little_memory_is_told_so() {
    let mut verifier = Verifier::within(64 << 20);
    let told = verifier.answer(&with_a_large_cache());
    assert!(told.starts_with(r#"{"error":"memory is short: "#), "{told}");
    let (name, transcript) = golden().swap_remove(0);
    assert!(verifier.answer(&transcript).contains(r#""holds":true"#), "{name}");
}

#[test]
fn many_transcripts_take_no_more_memory_than_a_few() {
    let mut verifier = Verifier::new();
    let (_, transcript) = golden().into_iter().min_by_key(|(_, bytes)| bytes.len()).expect("there are some");
    let first = verifier.answer(&transcript);
    (0..8).for_each(|_| drop(verifier.answer(&transcript)));
    let settled = verifier.pages();
    for _ in 0..50 {
        assert_eq!(verifier.answer(&transcript), first);
    }
    assert_eq!(verifier.pages(), settled);
}
