//! Timelock encryption and the commit-reveal schedule, seen from outside.

mod cipher;
mod payload;
mod schedule;
