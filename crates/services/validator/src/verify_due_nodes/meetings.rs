//! Who is challenged at once: a fleet epoch's nodes, a retry's companions, and whoever contests an identity.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use basilica_ports::{NodeKey, NodeRecord, StoreError};
use basilica_types::{Digest, Millis, Timestamp};
use basilica_verification::asked::{ACCEPT_MOST, ANSWER_BYTES_OF_DEVICE};
use basilica_verification::fleet::{Availability, Member, Room, cohort, companions, groups, starters};
use basilica_verification::timing::{Standing, Tests};
use basilica_verification::{CheckKind, Fault, GpuRules, Outcome, Plan, Reason};
use tracing::info;

use super::Checks;
use crate::meeting::{Meeting, Patience};

/// GPUs that a node may have which has not proved any.
const DEVICES_UNKNOWN: u64 = 8;

/// Due nodes that are not asked alone.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// They missed or broke off their last proof: the retry takes companions along.
    missed: BTreeSet<NodeKey>,
    /// They are on hold until they pass at once with others.
    held: BTreeSet<NodeKey>,
}

impl Gathering {
    fn is_empty(&self) -> bool {
        self.missed.is_empty() && self.held.is_empty()
    }

    pub(super) fn contains(&self, node: &NodeKey) -> bool {
        self.missed.contains(node) || self.held.contains(node)
    }
}

/// Whether a node's last full check put it on hold.
fn is_held(node: &NodeRecord) -> bool {
    let outcome = node.last_full.as_ref().map(|verdict| verdict.outcome);
    let Some(Outcome::Failed { reason, .. }) = outcome else { return false };
    matches!(reason, Reason::GpuClaimedElsewhere | Reason::IdentityOnHold)
}

/// Whether a node's last full check failed by its own fault. Until it has passed one it is not paid, and an epoch would only find the
/// same again, as an event that does not come at the pace of RULES R3.
fn is_at_fault(node: &NodeRecord) -> bool {
    let outcome = node.last_full.as_ref().map(|verdict| verdict.outcome);
    matches!(outcome, Some(Outcome::Failed { fault: Fault::Node { confirmed: true }, .. }))
}

impl Checks {
    /// Whether the node is asked together with others; it is then put down for that.
    pub(super) fn gathers(&self, node: &NodeRecord, kind: CheckKind, gathering: &mut Gathering) -> bool {
        let retried = node.series.is_some_and(|(of, _)| of == CheckKind::Full);
        let missed = retried && self.missed.contains(&node.key);
        if kind == CheckKind::Full && missed {
            gathering.missed.insert(node.key);
        }
        if kind == CheckKind::Full && is_held(node) {
            gathering.held.insert(node.key);
        }
        kind == CheckKind::Full && (missed || is_held(node))
    }

    /// Begins the fleet epoch that is due, if one is.
    pub(super) async fn begin_epoch(&mut self, gpus: &GpuRules, now: Timestamp) -> Result<(), StoreError> {
        let Some(beacon) = self.shared.epochs.take_due() else { return Ok(()) };
        let mut nodes = self.fleet(now).await?;
        nodes.retain(|_, node| !is_at_fault(node));
        let fleet: Vec<Member> = self.free(&self.members(&nodes, now));
        let chosen = starters(&beacon, &fleet, &self.shared.settings.fleet, self.room());
        info!(target: "validator::verification", { block = beacon.height.0, nodes = chosen.len(), idle = fleet.len() }, "fleet epoch begins");
        let meeting = self.meet(&mut nodes, chosen, gpus, now);
        self.shared.epochs.begun(beacon, meeting);
        Ok(())
    }

    /// Begins the challenges of those that are due and of whoever must be asked at once with them, each group by itself. While one of
    /// a group is under check the group waits, up to one retry's interval: then it is left out.
    pub(super) async fn convene(
        &mut self,
        gathering: Gathering,
        gpus: &GpuRules,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        // The whole fleet is read for it, which is not done again at every tick while a group waits.
        if gathering.is_empty() || now < self.convene_after {
            return Ok(());
        }
        let mut nodes = self.fleet(now).await?;
        let fleet = self.members(&nodes, now);
        let Gathering { missed, held } = gathering;
        let mut first: BTreeSet<NodeKey> = missed.union(&held).copied().collect();
        let mut due: BTreeMap<NodeKey, BTreeSet<NodeKey>> = BTreeMap::new();
        for node in held {
            let by = self.shared.ports.store.holds(node).await?.by;
            first.extend(&by);
            due.insert(node, by);
        }
        for node in missed {
            due.entry(node).or_default().extend(companions(&BTreeSet::from([node]), &fleet));
        }
        for group in groups(&due) {
            let overdue = |key: &NodeKey| nodes.get(key).is_none_or(|node| self.is_overdue(node, now));
            let is_busy = group.all.iter().any(|key| self.running.contains_key(key));
            if is_busy && !group.due.iter().any(overdue) {
                self.convene_after = now + self.convene_pause();
                continue;
            }
            let draw = Digest::from_bytes(self.shared.ports.entropy.array());
            let free = self.free(&fleet);
            let chosen = cohort(
                &first.intersection(&group.all).copied().collect(),
                &group.all,
                &free,
                &draw,
                self.room(),
            );
            let asked = free.iter().filter(|member| group.all.contains(&member.key)).count();
            // Without room for two, nothing can be shown at once yet.
            if chosen.len() >= asked.min(2) {
                self.meet(&mut nodes, chosen, gpus, now);
            } else {
                self.convene_after = now + self.convene_pause();
            }
        }
        Ok(())
    }

    fn is_overdue(&self, node: &NodeRecord, now: Timestamp) -> bool {
        now.since(node.due.full) >= self.shared.settings.retries.interval
    }

    /// Until a group that waits is looked at again.
    fn convene_pause(&self) -> Millis {
        Millis(self.shared.settings.retries.interval.0 / 8)
    }

    /// The nodes that can be checked now, or are under check.
    async fn fleet(&mut self, now: Timestamp) -> Result<BTreeMap<NodeKey, NodeRecord>, StoreError> {
        let all = self.shared.ports.store.nodes().await?;
        let known: BTreeSet<NodeKey> = all.iter().map(|node| node.key).collect();
        self.missed.retain(|key| known.contains(key));
        self.shared.keep_surveys(|key| known.contains(key));
        let free = |node: &NodeRecord| {
            let resting = self.resting.get(&node.key).is_some_and(|until| *until > now);
            node.is_available() && !resting && self.shared.access(&node.key.miner).is_some()
        };
        Ok(all.into_iter().filter(free).map(|node| (node.key, node)).collect())
    }

    fn members(&self, nodes: &BTreeMap<NodeKey, NodeRecord>, now: Timestamp) -> Vec<Member> {
        nodes.values().map(|node| self.member(node, now)).collect()
    }

    fn free(&self, fleet: &[Member]) -> Vec<Member> {
        fleet.iter().filter(|member| !self.running.contains_key(&member.key)).copied().collect()
    }

    fn member(&self, node: &NodeRecord, now: Timestamp) -> Member {
        let standing = node.deadlines.standing(&Tests::default(), &self.shared.settings.retries, now);
        let proved = node.last_proof.as_ref().map_or(0, |(_, gpus)| gpus.len());
        let devices = u64::try_from(proved).unwrap_or(u64::MAX);
        let devices = if devices == 0 { DEVICES_UNKNOWN } else { devices };
        Member {
            key: node.key,
            // Rentals are not known here yet.
            availability: Availability::Idle,
            suspected: standing == Standing::Suspected,
            bytes: devices.saturating_mul(ANSWER_BYTES_OF_DEVICE),
        }
    }

    /// What can be challenged at once beside what is under check. Two always can: a pair is the least that shows anything.
    fn room(&self) -> Room {
        let full = self.running.values().filter(|kind| **kind == CheckKind::Full).count();
        let nodes = self.shared.settings.concurrent_full.max(2).saturating_sub(full);
        Room { nodes, bytes: self.shared.room.left() }
    }

    fn meet(
        &mut self,
        nodes: &mut BTreeMap<NodeKey, NodeRecord>,
        chosen: BTreeSet<NodeKey>,
        gpus: &GpuRules,
        now: Timestamp,
    ) -> Arc<Meeting> {
        let settings = &self.shared.settings;
        let sum = |one: Millis, other: Millis| Millis(one.0.saturating_add(other.0));
        let patience = Patience {
            // What connecting, reading the claims and accepting the challenge may take of any node. Less than a prover's own patience:
            // the first to accept wait for the last.
            gather: sum(sum(settings.connect_deadline, settings.probing.command_deadline), ACCEPT_MOST),
            end: sum(settings.probing.proof_deadline, settings.probing.network_deadline),
        };
        let meeting = Meeting::new(&self.shared.ports.clock, settings.fleet, patience, chosen.clone());
        for key in chosen {
            let Some(node) = nodes.remove(&key) else { continue };
            let plan = self.plan(CheckKind::Full, gpus, now);
            // Others wait for it; the rest is asked when it is due alone.
            let plan = Plan { probes: plan.probes.quick(), ..plan };
            self.begin(node, plan, meeting.seat(key));
        }
        meeting
    }
}
