//! Which check a due node gets now, beside those that are under way.

use std::collections::BTreeMap;

use basilica_ports::{NodeKey, NodeRecord};
use basilica_types::{Hotkey, Timestamp};
use basilica_verification::CheckKind;

use crate::settings::Settings;

/// One miner's nodes may have so great a part of the places for full checks: a full check may wait half an hour on a node, and
/// whoever lists a thousand slow nodes is not to keep all others unproved.
const PART_OF_ONE: usize = 8;
/// And so many at least, if there are as many.
const LEAST_OF_ONE: usize = 8;

/// How many checks may be under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    light: usize,
    full: usize,
}

impl Bounds {
    pub(super) const fn of(settings: &Settings) -> Self {
        // What bounds light checks is what they do (see `crate::slots`).
        Self {
            light: settings.concurrent_light.saturating_add(settings.concurrent_dials),
            full: settings.concurrent_full,
        }
    }

    fn full_of_one(&self) -> usize {
        (self.full / PART_OF_ONE).max(LEAST_OF_ONE).min(self.full)
    }
}

/// How many are.
#[derive(Clone, Debug)]
pub(super) struct Load {
    bounds: Bounds,
    light: usize,
    full: usize,
    full_of: BTreeMap<Hotkey, usize>,
}

impl Load {
    pub(super) fn of(running: &BTreeMap<NodeKey, CheckKind>, bounds: Bounds) -> Self {
        let mut load = Self { bounds, light: 0, full: 0, full_of: BTreeMap::new() };
        running.iter().for_each(|(key, kind)| load.begun(key.miner, *kind));
        load
    }

    pub(super) fn begun(&mut self, miner: Hotkey, kind: CheckKind) {
        match kind {
            CheckKind::Light => self.light = self.light.saturating_add(1),
            CheckKind::Full => {
                self.full = self.full.saturating_add(1);
                let of = self.full_of.entry(miner).or_default();
                *of = of.saturating_add(1);
            }
        }
    }

    /// How many checks of a kind may be under way.
    pub(super) const fn places(&self, kind: CheckKind) -> usize {
        match kind {
            CheckKind::Light => self.bounds.light,
            CheckKind::Full => self.bounds.full,
        }
    }

    /// Whether one more may.
    pub(super) const fn has_place(&self, kind: CheckKind) -> bool {
        let under_way = match kind {
            CheckKind::Light => self.light,
            CheckKind::Full => self.full,
        };
        under_way < self.places(kind)
    }

    /// The check that a node gets on its turn among those whose check of the kind `turn` is due. A full check stands for the
    /// light one; where it has to wait, the light one is made meanwhile, but on the node's turn among those: or whoever waits for a
    /// full check would be ahead of everybody else's light ones.
    pub(super) fn kind(&self, node: &NodeRecord, turn: CheckKind, now: Timestamp) -> Option<CheckKind> {
        let full_of = self.full_of.get(&node.key.miner).copied().unwrap_or(0);
        let full = self.has_place(CheckKind::Full) && full_of < self.bounds.full_of_one();
        let light = self.has_place(CheckKind::Light) && turn == CheckKind::Light;
        if full && node.due.full <= now {
            Some(CheckKind::Full)
        } else {
            (light && node.due.light <= now).then_some(CheckKind::Light)
        }
    }
}

#[cfg(test)]
mod tests {
    use basilica_types::Millis;
    use basilica_verification::Due;

    use super::*;
    use crate::scripted::record;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn node(miner: u8, light: u64, full: u64) -> NodeRecord {
        let due = Due { light: NOW + Millis(light), full: NOW + Millis(full) };
        NodeRecord { due, ..record(Hotkey::from_bytes([miner; 32]), "root@203.0.113.9:22", NOW) }
    }

    fn load(full: usize) -> Load {
        Load::of(&BTreeMap::new(), Bounds { light: 50, full })
    }

    #[test]
    fn a_full_check_that_has_to_wait_leaves_the_light_one_to_be_made() {
        let mut load = load(2);
        let both = node(9, 0, 0);
        for turn in [CheckKind::Full, CheckKind::Light] {
            assert_eq!(load.kind(&both, turn, NOW), Some(CheckKind::Full), "it stands for both");
        }
        load.begun(Hotkey::from_bytes([1; 32]), CheckKind::Full);
        load.begun(Hotkey::from_bytes([2; 32]), CheckKind::Full);
        let light = CheckKind::Light;
        assert_eq!(load.kind(&both, light, NOW), Some(light));
        assert_eq!(
            load.kind(&both, CheckKind::Full, NOW),
            None,
            "not before others whose light check is due"
        );
        assert_eq!(load.kind(&node(9, 1, 0), light, NOW), None, "it was made a moment ago");
        assert_eq!(load.kind(&node(9, 0, 1), light, NOW), Some(light));
        (0..50).for_each(|_| load.begun(both.key.miner, light));
        assert_eq!(load.kind(&both, light, NOW), None);
    }

    #[test]
    fn no_miner_holds_all_places() {
        let mut load = load(1_024);
        let (greedy, other) = (node(1, 1, 0), node(2, 1, 0));
        let mut begun = 0;
        while load.kind(&greedy, CheckKind::Full, NOW) == Some(CheckKind::Full) {
            load.begun(greedy.key.miner, CheckKind::Full);
            begun += 1;
        }
        assert_eq!(begun, 128);
        assert_eq!(load.kind(&other, CheckKind::Full, NOW), Some(CheckKind::Full));
        for (full, most) in [(1, 1), (8, 8), (24, 8)] {
            assert_eq!(Bounds { light: 1, full }.full_of_one(), most);
        }
    }
}
