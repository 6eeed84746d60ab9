//! The strategies that come with the miner.

use std::collections::{BTreeMap, BTreeSet};

use basilica_ports::Assignment;
use basilica_types::{BasisPoints, Hotkey, NodeId, Region};

use super::{AssignableNode, AssignmentStrategy, Candidate, Pool, exceeds};

/// All nodes to the validator with the most stake; of equals to the one with the lowest uid.
///
/// Who has the nodes keeps them until another has more stake by the margin, or until it is no candidate any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HighestStake {
    margin: BasisPoints,
}

impl HighestStake {
    /// Of the incumbent's stake. Far above what emissions add between two validators of the same stake within a day, and far
    /// below what a validator that means to take over would stake.
    pub const DEFAULT_MARGIN: BasisPoints = match BasisPoints::new(100) {
        Ok(margin) => margin,
        Err(_) => BasisPoints::ONE,
    };

    /// With the share of the incumbent's stake by which a challenger must exceed it.
    pub const fn new(margin: BasisPoints) -> Self {
        Self { margin }
    }

    /// With [`Self::DEFAULT_MARGIN`].
    pub const fn with_default_margin() -> Self {
        Self::new(Self::DEFAULT_MARGIN)
    }

    /// Who gets those of the nodes that this strategy decides about.
    fn choose<'a>(
        &self,
        pool: &'a Pool,
        nodes: &BTreeSet<NodeId>,
        before: &Assignment,
    ) -> Option<&'a Candidate> {
        let best = pool.candidates().iter().max_by(|a, b| a.stake.cmp(&b.stake).then(b.uid.cmp(&a.uid)))?;
        match incumbent(pool, nodes, before) {
            Some(incumbent) if !exceeds(best.stake, incumbent.stake, self.margin) => Some(incumbent),
            _ => Some(best),
        }
    }
}

/// Who had most of the nodes to itself; of equals the one with the lowest uid. Nodes that were shared tell of no choice.
fn incumbent<'a>(pool: &'a Pool, nodes: &BTreeSet<NodeId>, before: &Assignment) -> Option<&'a Candidate> {
    let mut held: BTreeMap<Hotkey, usize> = BTreeMap::new();
    for node in nodes {
        let mut validators = before.of(*node).into_iter().flatten();
        if let (Some(validator), None) = (validators.next(), validators.next()) {
            *held.entry(*validator).or_default() += 1;
        }
    }
    let candidates = pool.candidates().iter().filter_map(|c| Some((held.get(&c.hotkey)?, c)));
    candidates.max_by(|(a, x), (b, y)| a.cmp(b).then(y.uid.cmp(&x.uid))).map(|(_, candidate)| candidate)
}

impl AssignmentStrategy for HighestStake {
    fn assign(&self, pool: &Pool, nodes: &[AssignableNode], before: &Assignment) -> Assignment {
        let nodes: BTreeSet<NodeId> = nodes.iter().map(|node| node.id).collect();
        let chosen = self.choose(pool, &nodes, before);
        chosen.map(|chosen| nodes.iter().map(|node| (*node, chosen.hotkey)).collect()).unwrap_or_default()
    }
}

/// All nodes to one validator, as long as it is a candidate; nobody replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed(
    /// Who it is.
    pub Hotkey,
);

impl AssignmentStrategy for Fixed {
    fn assign(&self, pool: &Pool, nodes: &[AssignableNode], _: &Assignment) -> Assignment {
        let chosen = pool.candidate(&self.0);
        nodes.iter().filter_map(|node| Some((node.id, chosen?.hotkey))).collect()
    }

    fn why_nobody(&self, pool: &Pool) -> String {
        pool.why_not(&self.0)
    }
}

/// Each node to the first candidate that is named for its region; nodes of other regions, of none, and of those whose
/// validators all do not qualify, to the highest stake.
///
/// The order of the names counts, not their stake, so that nothing here can change with every block. Regions are the
/// operator's words on both sides: the chain does not say where a validator is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geographic {
    preferred: BTreeMap<Region, Vec<Hotkey>>,
    others: HighestStake,
}

impl Geographic {
    /// With the validators of each region, the preferred first, and what goes for all other nodes.
    pub const fn new(preferred: BTreeMap<Region, Vec<Hotkey>>, others: HighestStake) -> Self {
        Self { preferred, others }
    }

    fn of_region(&self, pool: &Pool, region: &Region) -> Option<Hotkey> {
        self.preferred.get(region)?.iter().copied().find(|hotkey| pool.candidate(hotkey).is_some())
    }
}

impl AssignmentStrategy for Geographic {
    fn assign(&self, pool: &Pool, nodes: &[AssignableNode], before: &Assignment) -> Assignment {
        let (mut assignment, mut others) = (Assignment::default(), BTreeSet::new());
        for node in nodes {
            match node.region.as_ref().and_then(|region| self.of_region(pool, region)) {
                Some(validator) => assignment.insert(node.id, validator),
                None => {
                    others.insert(node.id);
                }
            }
        }
        if let Some(chosen) = self.others.choose(pool, &others, before) {
            others.into_iter().for_each(|node| assignment.insert(node, chosen.hotkey));
        }
        assignment
    }
}

/// Every node to every candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open;

impl Open {
    /// What this means.
    pub const WARNING: &str = "open access: every validator with a permit gets keys on all nodes. Each of them can log in on \
                               them at any time; meant for tests. Set validator_assignment.enabled = true for one validator";
}

impl AssignmentStrategy for Open {
    fn assign(&self, pool: &Pool, nodes: &[AssignableNode], _: &Assignment) -> Assignment {
        let pairs = nodes.iter().flat_map(|node| pool.candidates().iter().map(|c| (node.id, c.hotkey)));
        pairs.collect()
    }

    fn warning(&self) -> Option<&'static str> {
        Some(Self::WARNING)
    }
}
