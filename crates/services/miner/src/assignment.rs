//! Which validators the nodes belong to. Pure: the metagraph and the assignment before in, an assignment out.
//!
//! Two steps. A [`Pool`] is made of the metagraph: the validators with a permit and at least `min_stake_threshold`. Nobody
//! else can be assigned anything, whatever the strategy. Then an [`AssignmentStrategy`] says for the whole fleet which node
//! belongs to which of them. Nodes of a validator that loses a node are told by comparing with the assignment before: their
//! keepers remove its keys.
//!
//! Stakes move with every block, so that two validators of about the same stake would change places all the time, and each
//! change ends sessions and rentals. Hence the hysteresis of [`HighestStake`]. Rejected: a least time between two changes (a
//! validator that lost its permit keeps nothing for a minute) and smoothing of stakes (needs a history, and lags where a
//! validator really loses its stake).
//!
//! # A strategy of your own
//!
//! Write a type that implements [`AssignmentStrategy`], and name it in `AssignmentConfig::strategy` beside the others. It is
//! called with every reading of the metagraph (`validator_assignment.refresh_interval`), from one task, and must be quick and
//! deterministic: it may look only at what it is given. [`Geographic`] is an example that uses the nodes' regions.

mod strategies;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use basilica_ports::{Assignment, Metagraph};
use basilica_types::{BasisPoints, Hotkey, NodeId, Rao, Region, Uid};

pub use strategies::{Fixed, Geographic, HighestStake, Open};

use crate::config::NodeConfig;

/// A validator that may be assigned nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its slot: of equals the lower one is preferred.
    pub uid: Uid,
    /// Who it is.
    pub hotkey: Hotkey,
    /// Its stake as the chain reports it.
    pub stake: Rao,
}

/// A node as a strategy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignableNode {
    /// Which node.
    pub id: NodeId,
    /// Where it stands, if its operator said so.
    pub region: Option<Region>,
}

impl From<&NodeConfig> for AssignableNode {
    fn from(node: &NodeConfig) -> Self {
        Self { id: node.id, region: node.region.clone() }
    }
}

/// Who of a subnet may be assigned nodes, and how many were looked at for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// By uid.
    candidates: Vec<Candidate>,
    /// Those with a permit but too little stake, by uid.
    poor: Vec<Candidate>,
    neurons: usize,
    min_stake: Option<Rao>,
}

impl Pool {
    /// The validators of the metagraph with a permit and, if given, at least `min_stake`.
    pub fn new(metagraph: &Metagraph, min_stake: Option<Rao>) -> Self {
        let permitted = metagraph.neurons.iter().filter(|neuron| neuron.validator_permit);
        let mut permitted: Vec<Candidate> = permitted
            .map(|neuron| Candidate { uid: neuron.uid, hotkey: neuron.hotkey, stake: neuron.stake })
            .collect();
        permitted.sort_by_key(|candidate| candidate.uid);
        let (candidates, poor) = permitted
            .into_iter()
            .partition(|candidate| min_stake.is_none_or(|least| candidate.stake >= least));
        Self { candidates, poor, neurons: metagraph.neurons.len(), min_stake }
    }

    /// Those who may be assigned nodes, by uid.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// The candidate with this hotkey.
    pub fn candidate(&self, hotkey: &Hotkey) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.hotkey == *hotkey)
    }

    /// How many were looked at, and why none of them qualified.
    pub fn why_nobody(&self) -> String {
        let (neurons, permitted) = (self.neurons, self.candidates.len() + self.poor.len());
        let most = self.poor.iter().max_by_key(|candidate| candidate.stake);
        match (most, self.min_stake) {
            (Some(most), Some(least)) => format!(
                "{neurons} neurons looked at, {permitted} with a validator permit; the most stake among these is {} TAO of {}, \
                 and min_stake_threshold asks for {} TAO",
                most.stake.tao(),
                most.hotkey,
                least.tao()
            ),
            _ => format!("{neurons} neurons looked at, {permitted} with a validator permit"),
        }
    }

    /// Why this one validator may not be assigned anything.
    fn why_not(&self, hotkey: &Hotkey) -> String {
        match self.poor.iter().find(|candidate| candidate.hotkey == *hotkey) {
            Some(found) => format!(
                "{hotkey} has {} TAO, and min_stake_threshold asks for {} TAO",
                found.stake.tao(),
                self.min_stake.unwrap_or(Rao(0)).tao()
            ),
            None => format!(
                "{hotkey} is not registered or has no validator permit; {} neurons looked at, {} with a permit",
                self.neurons,
                self.candidates.len() + self.poor.len()
            ),
        }
    }
}

/// Says which validators the nodes belong to.
pub trait AssignmentStrategy: fmt::Debug + Send + Sync + 'static {
    /// Whose each of `nodes` is from now on. Only validators of the pool count; a node without an entry is nobody's.
    ///
    /// `before` is the assignment until now, over a restart of the miner too; it may name nodes and validators that are no
    /// longer there. A strategy that compares stakes should prefer who has a node already.
    fn assign(&self, pool: &Pool, nodes: &[AssignableNode], before: &Assignment) -> Assignment;

    /// Why a node got nobody, for the log.
    fn why_nobody(&self, pool: &Pool) -> String {
        pool.why_nobody()
    }

    /// What the operator is told at the start and reminded of from time to time.
    fn warning(&self) -> Option<&'static str> {
        None
    }
}

/// The operator's choice of a strategy (`[validator_assignment]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssignmentRule {
    /// All nodes to the validator with the most stake.
    HighestStake(HighestStake),
    /// All nodes to one validator.
    Fixed(Fixed),
    /// Each node to a preferred validator of its region.
    Geographic(Geographic),
    /// Every node to every validator.
    Open,
}

impl AssignmentRule {
    /// As `validator_assignment.strategy` calls it; `open` stands for `enabled = false`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::HighestStake(_) => "highest_stake",
            Self::Fixed(_) => "fixed_assignment",
            Self::Geographic(_) => "geographic",
            Self::Open => "open",
        }
    }
}

/// Who gets the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignmentConfig {
    /// How to choose.
    pub rule: AssignmentRule,
    /// Least stake of whoever gets any; none: a permit is enough.
    pub min_stake: Option<Rao>,
}

impl AssignmentConfig {
    /// What the shipped configuration says: the highest stake with [`HighestStake::DEFAULT_MARGIN`], and no least stake.
    pub const fn highest_stake() -> Self {
        Self { rule: AssignmentRule::HighestStake(HighestStake::with_default_margin()), min_stake: None }
    }

    /// The strategy to go by. A fork's own one is named here.
    pub(crate) fn strategy(&self) -> Arc<dyn AssignmentStrategy> {
        match self.rule.clone() {
            AssignmentRule::HighestStake(strategy) => Arc::new(strategy),
            AssignmentRule::Fixed(strategy) => Arc::new(strategy),
            AssignmentRule::Geographic(strategy) => Arc::new(strategy),
            AssignmentRule::Open => Arc::new(Open),
        }
    }
}

/// What the strategy says, less what it may not say: nobody but a candidate gets anything, and only nodes that are there.
pub(crate) fn decide(
    strategy: &dyn AssignmentStrategy,
    pool: &Pool,
    nodes: &[AssignableNode],
    before: &Assignment,
) -> Assignment {
    let candidates: BTreeSet<Hotkey> = pool.candidates().iter().map(|candidate| candidate.hotkey).collect();
    let present: BTreeSet<NodeId> = nodes.iter().map(|node| node.id).collect();
    let said = strategy.assign(pool, nodes, before);
    said.pairs().filter(|(node, hotkey)| present.contains(node) && candidates.contains(hotkey)).collect()
}

/// Whether `challenger` has more than `incumbent` by at least `margin`, and more at all.
fn exceeds(challenger: Rao, incumbent: Rao, margin: BasisPoints) -> bool {
    let whole = u128::from(BasisPoints::ONE.value());
    let needed = u128::from(incumbent.0) * (whole + u128::from(margin.value()));
    challenger > incumbent && u128::from(challenger.0) * whole >= needed
}

#[cfg(test)]
mod tests;
