//! The program as a validator meets it: a file that is run, with frames on its pipes.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails, also outside of test functions")]

mod elf;
mod gpus;
mod program;
