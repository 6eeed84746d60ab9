//! What a passed check claims, and whether others claimed it before (RULES R10).

use std::collections::BTreeSet;

use basilica_ports::NodeKey;
use basilica_verification::fleet::{Contest, Hold, Identity, contests, hold, tells_apart};
use basilica_verification::{CheckKind, Conclusion, Fault, Outcome, Reason};
use tracing::{info, warn};

use super::ConcludeError;
use crate::shared::Shared;

/// What a check claims. One that did not pass, and a light one, claim nothing.
#[derive(Default)]
pub(super) struct Claim {
    /// What belongs to one machine only, of the node that showed it.
    shown: BTreeSet<Identity>,
    contests: Vec<Contest>,
    hold: Option<Hold>,
    /// Whom the node passed at once with, of those that count.
    pub(super) apart_from: BTreeSet<NodeKey>,
    /// It was asked alone, so that no hold could end.
    alone: bool,
}

/// What this check claims, beside what is known and who passed at once with it; none if it was asked alone.
pub(super) async fn claim(
    shared: &Shared,
    node: NodeKey,
    conclusion: &Conclusion,
    outcome: &Outcome,
    together: Option<&BTreeSet<NodeKey>>,
) -> Result<Claim, ConcludeError> {
    if (conclusion.plan.kind, outcome) != (CheckKind::Full, &Outcome::Passed) {
        return Ok(Claim::default());
    }
    let failed = |source| ConcludeError::Store { node, source };
    let shown = shown(conclusion);
    let store = &shared.ports.store;
    let alone = together.is_none();
    let seen_since = conclusion.finished - shared.settings.gpu_ownership_ttl;
    let contests = contests(node, &shown, &store.claimants(&shown, seen_since).await.map_err(failed)?);
    let known = store.holds(node).await.map_err(failed)?;
    let earlier = || contests.iter().flat_map(|contest| &contest.earlier).chain(&known.by);
    let together = together.filter(|_| tells_apart(&conclusion.claims));
    let passed_with = |other: &&NodeKey| together.is_some_and(|together| together.contains(other));
    let apart_from: BTreeSet<NodeKey> = earlier().filter(passed_with).copied().collect();
    let hold = hold(&contests, &known.apart.union(&apart_from).copied().collect());
    Ok(Claim { shown, contests, hold, apart_from, alone })
}

fn shown(conclusion: &Conclusion) -> BTreeSet<Identity> {
    let prints = &conclusion.fingerprints;
    let gpus = prints.iter().map(|print| print.uuid).chain(conclusion.gpus.iter().map(|gpu| gpu.uuid));
    let machine = prints.first().and_then(|print| print.machine).map(Identity::MachineId);
    gpus.map(Identity::Gpu).chain(machine).chain(conclusion.host_key.map(Identity::HostKey)).collect()
}

impl Claim {
    /// The same, but another node has just proved one of the GPUs.
    pub(super) fn taken_by(self, owner: NodeKey) -> Self {
        let by = self.hold.iter().flat_map(|hold| &hold.by).copied().chain([owner]).collect();
        Self { hold: Some(Hold { by, reason: Reason::GpuClaimedElsewhere }), ..self }
    }

    /// Why it does not count, if it does not.
    pub(super) fn reason(&self) -> Option<Reason> {
        self.hold.as_ref().map(|hold| hold.reason)
    }

    /// The outcome of a check with this claim.
    pub(super) fn outcome(&self, outcome: Outcome) -> Outcome {
        self.reason().map_or(outcome, |reason| Outcome::Failed { reason, fault: Fault::Unknown })
    }

    /// What is to be remembered of the machine: nothing while the node is on hold.
    pub(super) fn identities(&self) -> BTreeSet<Identity> {
        if self.hold.is_none() { self.shown.clone() } else { BTreeSet::new() }
    }

    /// Whom the node is on hold by from now on; none if this says nothing of that.
    pub(super) fn held_by(&self) -> Option<BTreeSet<NodeKey>> {
        match &self.hold {
            Some(hold) => Some(hold.by.clone()),
            None => (!self.shown.is_empty()).then(BTreeSet::new),
        }
    }

    /// A hold that no challenge at once has tried to end yet.
    pub(super) const fn is_fresh_hold(&self) -> bool {
        self.alone && self.hold.is_some()
    }

    /// Two nodes that prove GPUs behind one host key or on one machine id may be one host cut in two, or copies of one image: an
    /// operator's business, and no fault.
    pub(super) fn tell(&self, node: NodeKey) {
        for contest in &self.contests {
            let Some(first) = contest.earlier.first() else { continue };
            match self.reason() {
                Some(reason) => {
                    warn!(target: "validator::verification", { node.id = %node.node, miner.hotkey = %node.miner,
                        reason = reason.code(), identity = contest.identity.as_str(), first.id = %first.node,
                        first.miner = %first.miner, claimants = contest.earlier.len() },
                        "another node proved the same before; on hold until both pass when challenged at once");
                }
                None => {
                    info!(target: "validator::verification", { node.id = %node.node, miner.hotkey = %node.miner,
                        code = "host_identity_shared", identity = contest.identity.as_str(), first.id = %first.node,
                        first.miner = %first.miner, claimants = contest.earlier.len() },
                        "nodes show the same and passed when challenged at once");
                }
            }
        }
    }
}
