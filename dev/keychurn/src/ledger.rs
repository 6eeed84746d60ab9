//! Every key that was ever seen on a node.

use std::collections::{BTreeMap, BTreeSet};

use crate::page::Held;

/// Which keys were seen, and where they are now.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    lives: BTreeMap<(String, String), BTreeSet<usize>>,
    now: Vec<BTreeSet<Held>>,
    /// A key that came onto a node, each time.
    pub(crate) placements: usize,
    /// The most seconds after its end that a key was still seen.
    pub(crate) longest_overdue: i64,
}

impl Ledger {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { now: vec![BTreeSet::new(); nodes], ..Self::default() }
    }

    /// What a node carries now, seen at this second.
    pub(crate) fn saw(&mut self, node: usize, held: BTreeSet<Held>, now: i64) {
        let before = std::mem::replace(&mut self.now[node], held);
        for gone in before.difference(&self.now[node]) {
            if let Some(nodes) = self.lives.get_mut(&(gone.tag.clone(), gone.key.clone())) {
                nodes.remove(&node);
            }
        }
        for held in &self.now[node] {
            if !before.contains(held) {
                self.placements += 1;
                self.lives.entry((held.tag.clone(), held.key.clone())).or_default().insert(node);
            }
            self.longest_overdue = self.longest_overdue.max(now - held.epoch);
        }
    }

    /// Keys seen on a node.
    pub(crate) fn begun(&self) -> usize {
        self.lives.len()
    }

    /// Keys that are on a node now.
    pub(crate) fn open(&self) -> usize {
        self.lives.values().filter(|nodes| !nodes.is_empty()).count()
    }

    pub(crate) fn tags(&self) -> BTreeSet<&str> {
        self.lives.keys().map(|(tag, _)| tag.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_lasts_from_the_first_node_to_the_last() {
        let held = |key: &str| Held { tag: "t".to_owned(), key: key.to_owned(), epoch: 10 };
        let mut ledger = Ledger::new(2);
        ledger.saw(0, [held("a")].into(), 1);
        ledger.saw(1, [held("a"), held("b")].into(), 2);
        ledger.saw(0, BTreeSet::new(), 3);
        assert_eq!((ledger.begun(), ledger.open(), ledger.placements), (2, 2, 3));
        ledger.saw(1, [held("b")].into(), 14);
        assert_eq!((ledger.begun(), ledger.open(), ledger.longest_overdue), (2, 1, 4));
        ledger.saw(1, BTreeSet::new(), 15);
        assert_eq!((ledger.open(), ledger.tags().len()), (0, 1));
    }
}
