//! Whether what two validators did is one history.

use std::collections::{BTreeMap, BTreeSet};

use crate::observer::Write;

/// All that is known of a run.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Committed writes in order.
    pub writes: Vec<Write>,
    /// Stored verdicts in order: node, digest, the one before.
    pub verdicts: Vec<(String, String, Option<String>)>,
    /// Digests that some process took for stored.
    pub acknowledged: BTreeSet<String>,
    /// Signed calls by window.
    pub calls: Vec<(i64, Vec<u8>)>,
    /// Every extrinsic of the chain.
    pub extrinsics: Vec<Vec<u8>>,
    /// How many calls of the hotkey the chain took.
    pub nonce: u64,
}

/// What was found in a history that is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Terms of office in which something was written.
    pub terms: usize,
    /// Committed writes of rows.
    pub writes: usize,
    /// Verdicts that were acknowledged, all of them stored.
    pub acknowledged: usize,
    /// Windows of weights, and how many calls of theirs the chain took.
    pub windows: usize,
    /// Calls that the chain took.
    pub calls: usize,
}

impl Record {
    /// Checks it.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn check(&self) -> Result<Summary, Vec<String>> {
        let mut wrong = Vec::new();
        let terms = self.tokens(&mut wrong);
        self.chains(&mut wrong);
        let windows: BTreeSet<i64> = self.calls.iter().map(|(window, _)| *window).collect();
        let calls = self.windows(&mut wrong);
        let summary = Summary {
            terms,
            writes: self.writes.len(),
            acknowledged: self.acknowledged.len(),
            windows: windows.len(),
            calls,
        };
        if wrong.is_empty() { Ok(summary) } else { Err(wrong) }
    }

    /// Tokens only grow, and each is one process's.
    fn tokens(&self, wrong: &mut Vec<String>) -> usize {
        let mut holders: BTreeMap<i64, &str> = BTreeMap::new();
        let mut newest = 0;
        for write in &self.writes {
            if write.token < newest {
                wrong.push(format!(
                    "a write to {} under token {} after one under {newest}",
                    write.table, write.token
                ));
            }
            newest = newest.max(write.token);
            let holder = holders.entry(write.token).or_insert(&write.process);
            if *holder != write.process {
                wrong.push(format!(
                    "{} wrote to {} under the token {} of {holder}",
                    write.process, write.table, write.token
                ));
            }
        }
        holders.len()
    }

    /// Nothing acknowledged is lost, and each node's verdicts are one chain.
    fn chains(&self, wrong: &mut Vec<String>) {
        let stored: BTreeSet<&str> = self.verdicts.iter().map(|(_, digest, _)| digest.as_str()).collect();
        for lost in self.acknowledged.iter().filter(|digest| !stored.contains(digest.as_str())) {
            wrong.push(format!("verdict {lost} was acknowledged and is lost"));
        }
        let mut heads: BTreeMap<&str, &str> = BTreeMap::new();
        for (node, digest, previous) in &self.verdicts {
            let head = heads.insert(node, digest);
            if head != previous.as_deref() {
                wrong.push(format!(
                    "verdict {digest} of node {node} follows {previous:?}, and {head:?} was the last"
                ));
            }
        }
    }

    /// Every call that the chain took is one of a window's, and was taken once.
    fn windows(&self, wrong: &mut Vec<String>) -> usize {
        let mut taken = 0;
        for (window, bytes) in &self.calls {
            let times = self.extrinsics.iter().filter(|extrinsic| *extrinsic == bytes).count();
            if times > 1 {
                wrong.push(format!("a call of window {window} was taken {times} times"));
            }
            taken += times;
        }
        if u64::try_from(taken) != Ok(self.nonce) {
            wrong.push(format!(
                "the chain took {} calls of the hotkey, and {taken} are of windows",
                self.nonce
            ));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(token: i64, process: &str) -> Write {
        Write { token, process: process.to_owned(), table: "nodes".to_owned() }
    }

    fn verdict(node: &str, digest: &str, previous: Option<&str>) -> (String, String, Option<String>) {
        (node.to_owned(), digest.to_owned(), previous.map(str::to_owned))
    }

    fn good() -> Record {
        Record {
            writes: vec![write(1, "a"), write(1, "a"), write(3, "b"), write(4, "a")],
            verdicts: vec![verdict("n", "x", None), verdict("m", "z", None), verdict("n", "y", Some("x"))],
            acknowledged: ["x".to_owned(), "y".to_owned()].into(),
            calls: vec![(1, vec![1]), (2, vec![2]), (3, vec![3])],
            extrinsics: vec![vec![9], vec![1], vec![2]],
            nonce: 2,
        }
    }

    #[test]
    fn one_history_is_accepted() {
        let summary = good().check().unwrap();
        assert_eq!(summary, Summary { terms: 3, writes: 4, acknowledged: 2, windows: 3, calls: 2 });
    }

    #[test]
    fn every_way_to_be_two_histories_is_seen() {
        type Spoil = fn(&mut Record);
        let spoilt: [(&str, Spoil); 7] = [
            ("after one under", |r| r.writes.push(write(3, "b"))),
            ("under the token", |r| r.writes.push(write(4, "b"))),
            ("is lost", |r| r.acknowledged.extend(["gone".to_owned()])),
            ("was the last", |r| r.verdicts.push(verdict("n", "fork", Some("x")))),
            ("was the last", |r| r.verdicts.push(verdict("m", "second root", None))),
            ("taken 2 times", |r| r.extrinsics.push(vec![1])),
            ("are of windows", |r| r.nonce += 1),
        ];
        for (what, spoil) in spoilt {
            let mut record = good();
            spoil(&mut record);
            let wrong = record.check().unwrap_err();
            assert!(wrong.iter().any(|line| line.contains(what)), "{what}: {wrong:?}");
        }
    }
}
