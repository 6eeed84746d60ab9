//! Who is challenged at once: a fleet epoch's nodes, a retry's companions, and whoever contests an identity.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use basilica_ports::{NodeKey, NodeRecord, StoreError};
use basilica_types::{Digest, Millis, Timestamp};
use basilica_verification::asked::{ACCEPT_MOST, ANSWER_BYTES_OF_DEVICE};
use basilica_verification::fleet::{Availability, Member, Room, cohort, companions, starters};
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
    pub(super) async fn begin_epoch(&mut self, gpus: GpuRules, now: Timestamp) -> Result<(), StoreError> {
        let Some(beacon) = self.shared.epochs.take_due() else { return Ok(()) };
        let mut nodes = self.fleet(now).await?;
        nodes.retain(|_, node| !is_at_fault(node));
        let fleet: Vec<Member> = self.free(&self.members(&nodes, now));
        let chosen = starters(&beacon, &fleet, &self.shared.settings.fleet, self.room());
        info!(target: "validator::verification", { block = beacon.height.0, nodes = chosen.len(), idle = fleet.len() }, "fleet epoch begins");
        let meeting = self.meet(nodes, chosen, gpus, now);
        self.shared.epochs.begun(beacon, meeting);
        Ok(())
    }

    /// Begins the challenge of those that are due and of whoever must be asked at once with them. While one of these is under
    /// check they wait, up to one retry's interval: then it is left out.
    pub(super) async fn convene(
        &mut self,
        gathering: Gathering,
        gpus: GpuRules,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Gathering { missed, held } = gathering;
        if missed.is_empty() && held.is_empty() {
            return Ok(());
        }
        let mut first: BTreeSet<NodeKey> = missed.union(&held).copied().collect();
        for node in &held {
            first.extend(self.shared.ports.store.holds(*node).await?.by);
        }
        let nodes = self.fleet(now).await?;
        let fleet = self.members(&nodes, now);
        let along = if missed.is_empty() { BTreeSet::new() } else { companions(&missed, &fleet) };
        let overdue = |key: &NodeKey| {
            nodes
                .get(key)
                .is_none_or(|node| now.since(node.due.full) >= self.shared.settings.retries.interval)
        };
        let is_busy = first.iter().chain(&along).any(|key| self.running.contains_key(key));
        if is_busy && !missed.union(&held).all(overdue) {
            return Ok(());
        }
        let draw = Digest::from_bytes(self.shared.ports.entropy.array());
        let free = self.free(&fleet);
        let chosen = cohort(&first, &along, &free, &draw, self.room());
        let asked =
            free.iter().filter(|member| first.contains(&member.key) || along.contains(&member.key)).count();
        // Without room for two, nothing can be shown at once yet.
        if chosen.len() >= asked.min(2) {
            self.meet(nodes, chosen, gpus, now);
        }
        Ok(())
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
        Room { nodes, bytes: self.shared.proof_memory_left() }
    }

    fn meet(
        &mut self,
        mut nodes: BTreeMap<NodeKey, NodeRecord>,
        chosen: BTreeSet<NodeKey>,
        gpus: GpuRules,
        now: Timestamp,
    ) -> Arc<Meeting> {
        let settings = &self.shared.settings;
        let sum = |one: Millis, other: Millis| Millis(one.0.saturating_add(other.0));
        let patience = Patience {
            // What connecting, reading the claims and accepting the challenge may take of any node. Less than a prover's own patience:
            // the first to accept wait for the last.
            gather: sum(sum(settings.connect_deadline, settings.command_deadline), ACCEPT_MOST),
            end: sum(settings.proof_deadline, settings.network_deadline),
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
