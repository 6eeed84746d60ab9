//! What became of a run.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::lateness::{Lateness, Why};

/// What a run did and found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What everything was drawn from.
    pub seed: u64,
    /// Real OpenSSH servers.
    pub nodes: usize,
    /// Keys that were seen on a node: life-cycles begun.
    pub cycles: usize,
    /// Keys that came onto a node, counted for each node.
    pub placements: usize,
    /// Keys of ours on any node in the end.
    pub stale_keys: usize,
    /// Processes that were started with one of the keys and run in the end.
    pub stale_processes: usize,
    /// Sessions of which the miner's database still says that a node may carry the key.
    pub stale_records: usize,
    /// Edits of the foreign hand that fell between the miner's comparison and its rename; see the crate's words.
    pub edits_overwritten: usize,
    /// Files beside `authorized_keys` in the end.
    pub left_behind: Vec<String>,
    /// How often something was seen that must not be: half a line, a foreign line changed, other permissions, disorder.
    pub wrong: usize,
    /// The first of it.
    pub first_wrong: Vec<String>,
    /// The most seconds after its end that a key was still seen in a file, while its miner was dead or its node hung at times.
    pub longest_overdue_secs: i64,
    /// How late keys went that had to go, while the miner ran and the node answered.
    pub late: BTreeMap<Why, Lateness>,
    /// The most milliseconds that is allowed, as it follows from the miner's intervals.
    pub late_bound_ms: u64,
    /// How often everything else happened.
    pub counts: BTreeMap<&'static str, usize>,
    /// Milliseconds of the whole run.
    pub took_ms: u64,
}

impl Report {
    /// What is not as it must be, if anything.
    ///
    /// # Errors
    /// A line for each.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = self.first_wrong.clone();
        let mut none = |what: &str, count: usize| {
            if count > 0 {
                wrong.push(format!("{count} {what}"));
            }
        };
        none("observations in all that must not be", self.wrong);
        none("keys are stale", self.stale_keys);
        none("processes of keys that are gone still run", self.stale_processes);
        none("sessions are still recorded as deployed", self.stale_records);
        none("files were left behind", self.left_behind.len());
        if self.edits_overwritten > self.may_be_overwritten() {
            wrong.push(format!("{} edits were overwritten", self.edits_overwritten));
        }
        for (why, late) in self.late.iter().filter(|(_, late)| late.max_ms > self.late_bound_ms) {
            let (late, bound) = (late.max_ms, self.late_bound_ms);
            wrong.push(format!("a key went {late} ms late ({why:?}), more than {bound} ms"));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

impl Report {
    /// Edits that may fall between the miner's comparison and its rename: one program does both, and is rarely interrupted just there. Where the
    /// start of a program lies between, it is some thousandths of all edits; a miner that did not compare would overwrite a tenth.
    fn may_be_overwritten(&self) -> usize {
        let edits = self.counts.iter().filter(|(what, _)| what.starts_with("edits: "));
        1 + edits.map(|(_, count)| count).sum::<usize>() / 2_000
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took_ms / 1_000;
        writeln!(
            f,
            "seed {}: {} life-cycles of keys on {} nodes in {seconds} s",
            self.seed, self.cycles, self.nodes
        )?;
        writeln!(f, "  keys that came onto a node: {}", self.placements)?;
        for (what, count) in &self.counts {
            writeln!(f, "  {what}: {count}")?;
        }
        writeln!(f, "  longest that a key was seen after its end: {} s", self.longest_overdue_secs)?;
        for (why, Lateness { keys, median_ms, max_ms }) in &self.late {
            writeln!(f, "  {why:?}: {keys} keys went, median after {median_ms} ms, last after {max_ms} ms")?;
        }
        writeln!(
            f,
            "afterwards: {} stale keys, {} processes, {} records, {} files left behind; wrong at any time: {}",
            self.stale_keys,
            self.stale_processes,
            self.stale_records,
            self.left_behind.len(),
            self.wrong
        )?;
        writeln!(f, "edits of the foreign hand overwritten in the miner's rename: {}", self.edits_overwritten)
    }
}
