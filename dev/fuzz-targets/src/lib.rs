//! What the fuzzer runs: every decoder of strangers' bytes, with what must hold of it whatever the bytes.
//!
//! A target is a plain function over bytes that panics where a promise is broken. `cargo xtask fuzz` runs it under
//! libFuzzer (`fuzz/`, a workspace of its own, so that no other build sees it); a test of this crate runs it on the corpus
//! that the repository keeps, with no fuzzer and on every compiler. `docs/fuzzing.md` has what was run, and for how long.
//!
//! Seeds come from the golden vectors. Rejected: targets inside `fuzz/` (only the fuzzer could run them, and the corpus would
//! rot), and functions of each crate's own (a decoder that nobody lists is never fuzzed).

mod claims;
mod gpus;
mod keyfile;
mod message;
mod miner;
mod plan;
mod probe;
mod text;
mod transcript;
mod vectors;
mod verdict;
mod verifier;

/// One decoder and its promises.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// As `cargo xtask fuzz` names it; the folder of its corpus.
    pub name: &'static str,
    /// Runs it.
    ///
    /// # Panics
    /// If a promise is broken.
    pub run: fn(&[u8]),
    /// Inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: [Target; 12] = [
    Target { name: "authorized_keys", run: miner::authorized_keys, seeds: miner::authorized_keys_seeds },
    Target { name: "claims", run: claims::run, seeds: claims::seeds },
    Target { name: "examined", run: gpus::examined, seeds: gpus::examined_seeds },
    Target { name: "gpus", run: gpus::run, seeds: gpus::seeds },
    Target { name: "keyfile", run: keyfile::run, seeds: keyfile::seeds },
    Target { name: "message", run: message::run, seeds: message::seeds },
    Target { name: "probe", run: probe::run, seeds: probe::seeds },
    Target { name: "rpc", run: miner::rpc, seeds: miner::rpc_seeds },
    Target { name: "text", run: text::run, seeds: text::seeds },
    Target { name: "transcript", run: transcript::run, seeds: transcript::seeds },
    Target { name: "verdict", run: verdict::run, seeds: verdict::seeds },
    Target { name: "verifier", run: verifier::run, seeds: verifier::seeds },
];

/// Runs the target of this name, as the programs in `fuzz/` do.
///
/// # Panics
/// If there is none, or if it panics.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    (target.run)(bytes);
}
