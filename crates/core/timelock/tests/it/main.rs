//! Timelock encryption and committed payloads, seen from outside.

mod cipher;
mod payload;
