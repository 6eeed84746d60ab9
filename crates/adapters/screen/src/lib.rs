//! The miner's status in a terminal: what `basilica-miner top` shows.
//!
//! What is shown is a function of the newest snapshot and of what was pressed (`view`, `draw`), so that every frame can be
//! tested without a terminal; [`run()`] is the loop around it. The terminal is given back as it was however the loop
//! ends: by a key, a signal, an error or a panic. Asking the miner happens on a thread of its own, so that a miner that
//! hangs freezes no key. This crate is the only one that sees ratatui and crossterm.
//!
//! Rejected: colours as the only sign of anything (each state is a word), and keys that change something: this is a view.

mod draw;
mod plain;
mod rows;
mod run;
mod say;
mod view;

pub use plain::plain;
pub use run::run;
