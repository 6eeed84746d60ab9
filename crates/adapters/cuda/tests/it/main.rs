//! The whole crate against the kernels on the host: the same launches, the same memory, bit for bit the CPU's answers.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails, also outside of test functions")]

mod claims;
mod host;
mod memory;
mod work;
