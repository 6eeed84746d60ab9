//! The verifier of GPU proofs for browsers and other WebAssembly hosts. `cargo xtask wasm` builds the module.
//!
//! # The interface
//! The module imports nothing and has no start function: it computes, and can do nothing else. It exports its `memory` and
//! four functions; numbers are 32-bit integers, addresses count bytes from the start of `memory`.
//!
//! | export | |
//! |---|---|
//! | `basilica_abi() -> version` | 1. Another version has another interface. |
//! | `basilica_allocate(length) -> address` | A buffer for a transcript of so many bytes, in place of the one before. 0 where it is longer than any transcript, or where memory is short. |
//! | `basilica_verify() -> address` | Checks what was written to the buffer, and frees it. The answer is UTF-8 JSON at that address. |
//! | `basilica_answer_length() -> length` | The bytes of that answer; it stays until the next call of `basilica_verify`. |
//!
//! The answer is what `basilica proof verify --json` prints ([`basilica_proof::report`]): `holds`, and where it does not,
//! `reason` (a stable code) and `explanation`, with what the transcript is bound to. For bytes that are no transcript it is
//! `{"error": "…"}`: they neither hold nor fail. Any growth of memory moves it, so that a host takes its views anew
//! after every call.
//!
//! # What it promises
//! No bytes make it trap. What checking needs is bounded by the protocol: the beacon's cache where memory was asked for (256 MiB
//! in practice, 512 at most), and a few times the transcript's size. It is asked of the host before, and where the
//! host does not grant it the answer is an `error`. The time is bounded too, and a full-size transcript takes seconds, the
//! cache alone ten of them. The module keeps its buffers itself and reads at no address that a host hands in, so that a host
//! cannot confuse it either.
//!
//! Rejected: wasm-bindgen and its generated JavaScript (a second tool and a hundred imports for three calls), WASI (an
//! import where none is needed), and a pointer argument (the module would have to trust it).

use std::cell::RefCell;

use basilica_proof::report::Report;
use basilica_proof::residency::BLOCK_BYTES;
use basilica_proof::{TRANSCRIPT_BYTES_MAX, Transcript};
use serde_json::json;

/// The version of the interface.
pub const ABI: u32 = 1;

/// A transcript in memory: decoded, kept by the verifier, encoded to be hashed; and buffers that grow by doubling.
const COPIES: usize = 6;
/// Openings, seeds and roots of the largest challenge.
const OVERHEAD: usize = 16 << 20;

/// What the host has asked for and been answered. A module has one thread.
#[derive(Debug, Default)]
struct Buffers {
    transcript: Vec<u8>,
    answer: String,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = const { RefCell::new(Buffers { transcript: Vec::new(), answer: String::new() }) };
}

/// The answer to the bytes of a file, as one line of JSON.
pub fn answer(bytes: &[u8]) -> String {
    let error = |why: String| json!({ "error": why });
    let answer = match Transcript::decode(bytes) {
        Err(why) => error(format!("this is no transcript of a proof: {why}")),
        Ok(transcript) if !is_granted(needed(&transcript, bytes.len())) => {
            error(format!("memory is short: {} bytes are needed", needed(&transcript, bytes.len())))
        }
        Ok(transcript) => serde_json::to_value(Report::new(&transcript, &transcript.verify()))
            .unwrap_or_else(|why| error(format!("the report is no json: {why}"))),
    };
    answer.to_string()
}

/// What checking a transcript allocates, at most: the beacon's cache, and the transcript's bytes in a few forms.
fn needed(transcript: &Transcript, length: usize) -> usize {
    let cache = transcript.challenge().cache_log2().map_or(0, |log2| BLOCK_BYTES << log2);
    cache.saturating_add(length.saturating_mul(COPIES)).saturating_add(OVERHEAD)
}

/// Asks for all of it first, because an allocation that fails later ends the module.
fn is_granted(bytes: usize) -> bool {
    Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
}

/// See the table above.
#[expect(unsafe_code, reason = "the name is the interface; no other crate of this name is linked")]
#[unsafe(no_mangle)]
pub extern "C" fn basilica_abi() -> u32 {
    ABI
}

/// See the table above.
#[expect(unsafe_code, reason = "the name is the interface; no other crate of this name is linked")]
#[unsafe(no_mangle)]
pub extern "C" fn basilica_allocate(length: usize) -> *mut u8 {
    let mut transcript = Vec::new();
    BUFFERS.with_borrow_mut(|buffers| {
        // What was there goes first: two transcripts never stand in memory.
        buffers.transcript = Vec::new();
        let granted = length > 0 && length as u64 <= TRANSCRIPT_BYTES_MAX;
        if !granted || transcript.try_reserve_exact(length).is_err() {
            return std::ptr::null_mut();
        }
        transcript.resize(length, 0);
        buffers.transcript = transcript;
        buffers.transcript.as_mut_ptr()
    })
}

/// See the table above.
#[expect(unsafe_code, reason = "the name is the interface; no other crate of this name is linked")]
#[unsafe(no_mangle)]
pub extern "C" fn basilica_verify() -> *const u8 {
    BUFFERS.with_borrow_mut(|buffers| {
        let transcript = std::mem::take(&mut buffers.transcript);
        buffers.answer = answer(&transcript);
        buffers.answer.as_ptr()
    })
}

/// See the table above.
#[expect(unsafe_code, reason = "the name is the interface; no other crate of this name is linked")]
#[unsafe(no_mangle)]
pub extern "C" fn basilica_answer_length() -> usize {
    BUFFERS.with_borrow(|buffers| buffers.answer.len())
}
