//! The proof as a whole: honest runs, attacks, hostile bytes, golden vectors.

mod attacks;
mod honest;
mod hostile_bytes;
mod run;
mod vectors;
