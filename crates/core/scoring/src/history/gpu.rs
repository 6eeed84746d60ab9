//! What is remembered of one GPU, whichever node it is in (RULES R10).

use basilica_types::{Ppm, Timestamp};

use super::conduct::Conduct;
use super::{Absence, Check, CheckKind, Entry, Failure, Fault, Policy, Record};

/// Where a GPU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In its node.
    Node,
    /// On a host that nobody could log in to since the miner vouched for it: until the next login.
    UnknownHost,
    /// Not in its node, which passed a full check without it: until it is proved again.
    Missing,
}

/// Bans and ramp of a proven GPU.
///
/// It follows the node that proved it last: what happens to that node happens to it, as long as it is known to be there. A
/// full check that passed without it, and a host that nobody could log in to since the miner vouched for it, leave it as gone
/// as a node that its miner does not list: downtime, and no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuRecord {
    pub(super) conduct: Conduct,
    pub(super) place: Place,
}

impl GpuRecord {
    /// A GPU that nobody proved before, as of the check that now proves it on this node: it answers for what was found on
    /// the node before that could prove anything, and for nothing else.
    pub fn first_proved(node: &Record, node_has_gpus: bool, check: &Check, policy: &Policy) -> Self {
        let conduct = if node_has_gpus { Conduct::default() } else { node.conduct.bans_alone() };
        let mut gpu = Self { conduct, place: Place::Node };
        gpu.conduct.apply(&Entry::Check(*check), policy);
        gpu
    }

    /// What an entry of its node is to it. `node` is the node's record before that entry; `proved`: a passed full check in
    /// which the node proved it.
    pub fn follow(&mut self, entry: &Entry, node: &Record, proved: bool, policy: &Policy) {
        let is_login = |check: &Check| !matches!(check.failure, Some((Failure::Reachability, _)));
        match entry {
            Entry::Check(check) if check.kind == CheckKind::Full && check.failure.is_none() => {
                if !proved {
                    return self.lose(check.finished, Place::Missing, policy);
                }
                self.found(check, policy);
            }
            Entry::Check(check) if self.place == Place::UnknownHost && is_login(check) => {
                self.found(check, policy);
            }
            _ if self.place != Place::Node => {}
            Entry::Check(Check {
                started,
                failure: Some((Failure::Reachability, Fault::ConfirmedNode)),
                ..
            }) if !node.logged_in => self.lose(*started, Place::UnknownHost, policy),
            _ => self.conduct.apply(entry, policy),
        }
    }

    /// Bans and ramp.
    pub const fn conduct(&self) -> &Conduct {
        &self.conduct
    }

    /// A check of the host that it is on.
    fn found(&mut self, check: &Check, policy: &Policy) {
        if self.place != Place::Node {
            self.conduct.end_absence(check.finished, policy);
            self.place = Place::Node;
        }
        self.conduct.apply(&Entry::Check(*check), policy);
    }

    fn lose(&mut self, at: Timestamp, place: Place, policy: &Policy) {
        if self.place == Place::Node {
            self.conduct.unavailable(at, Absence::Unlisted, policy);
        }
        self.place = place;
    }
}

/// The mean of the multipliers of a node's GPUs, rounded down; none of none.
pub(super) fn mean_multiplier(multipliers: &[Ppm]) -> Option<Ppm> {
    let sum = multipliers.iter().fold(0u64, |sum, ppm| sum.saturating_add(u64::from(ppm.value())));
    let mean = sum.checked_div(u64::try_from(multipliers.len()).ok()?)?;
    u32::try_from(mean).ok().and_then(|ppm| Ppm::new(ppm).ok())
}
