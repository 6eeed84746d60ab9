//! The module as `cargo xtask wasm` builds it, beside the same code compiled for this machine.
//!
//! It runs in wasmi, an interpreter in Rust: it builds with cargo alone on every machine, where a compiler such as wasmtime
//! would cost minutes, and it counts what the module may spend.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails, also outside of test functions")]

mod equality;
mod example;
mod hostile;
mod module;
