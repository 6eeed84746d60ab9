//! The proof as a whole: honest runs, attacks, hostile bytes, golden vectors.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails, also outside of test functions")]

mod attacks;
mod honest;
mod hostile_bytes;
mod memory;
mod run;
mod stream;
mod vectors;
