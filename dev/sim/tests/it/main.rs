//! The committed scorecard, and how often skipping passes.

mod committed;
mod skipping;
