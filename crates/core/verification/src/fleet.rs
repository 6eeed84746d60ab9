//! The fleet epoch: all idle nodes of the subnet work at once, so that one card cannot answer for two registrations.
//!
//! # When
//! Every finalised block is a possible beacon. Its hash decides whether an epoch starts with it ([`Beacon::starts`]),
//! with the same small chance at every block: until the block is there nobody knows, and having waited long says
//! nothing. So a card that is fetched for the epochs has to be there always. Rejected: every n-th block (a cheater rents
//! by the minute around it), and one random block per period (once it has passed, the rest of the period is free). A
//! block's author can withhold a block to avoid an epoch, at the price of its reward.
//!
//! # Who
//! All idle nodes ([`starters`]), or in large subnets a cohort of them drawn anew by each beacon: two given nodes meet in
//! one of `cohorts` epochs. A node that misses is tried again beside the control, and a card shared by two registrations
//! would pass that retry alone. So a retry takes along every idle node of the same miner, and every node that is under
//! suspicion itself ([`companions`]): whoever takes turns in missing is asked together from the second turn on.
//!
//! # What counts as at once
//! Challenges sent within a spread so short that doing one node's work after the other's misses a deadline
//! ([`spread_max`]); longer apart shows nothing about sharing. The walks through memory start at one moment for all
//! ([`walks_start`]): else a second node's memory is filled when the first's walk is over.
//!
//! # Identities
//! A UUID, fingerprint, host key or machine id that two nodes claim accuses neither (RULES R10): the later claimant goes on
//! hold until a simultaneous challenge ([`collisions`], [`settle`]). A claim never transfers a fault.

use std::collections::{BTreeMap, BTreeSet};

use basilica_types::{BlockHash, BlockNumber, Digest, GpuUuid, Hotkey, Millis, NodeId, NodeKey, Timestamp};

use crate::calibration::StageTimes;

const BEACON_TAG: &[u8] = b"basilica/fleet-beacon/v1";
const START_TAG: &[u8] = b"basilica/fleet-start/v1";
const COHORT_TAG: &[u8] = b"basilica/fleet-cohort/v1";

/// How often, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetRules {
    /// An epoch starts at one block in so many, at least 1.
    pub mean_blocks: u32,
    /// The idle nodes are split over so many epochs, at least 1.
    pub cohorts: u16,
    /// All challenges of an epoch are sent within this span.
    pub spread: Millis,
}

impl Default for FleetRules {
    /// One block in 360, 72 minutes on average at 12 s a block (nearly every day has the four epochs that find whoever hangs up in them); everybody at once, within a second.
    fn default() -> Self {
        Self { mean_blocks: 360, cohorts: 1, spread: Millis::from_secs(1) }
    }
}

/// A finalised block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Beacon {
    /// Its height.
    pub height: BlockNumber,
    /// Its hash.
    pub hash: BlockHash,
}

impl Beacon {
    /// What goes into the binding of every challenge of the epoch: height and hash under a tag.
    pub fn digest(&self) -> Digest {
        self.hashed(BEACON_TAG, &[])
    }

    /// Whether an epoch starts with this block.
    pub fn starts(&self, rules: &FleetRules) -> bool {
        below(&self.hashed(START_TAG, &[]), rules.mean_blocks.max(1)) == 0
    }

    /// Whether a node belongs to the cohort of this epoch.
    pub fn takes(&self, node: &NodeId, rules: &FleetRules) -> bool {
        below(&self.hashed(COHORT_TAG, node.as_bytes()), u32::from(rules.cohorts.max(1))) == 0
    }

    /// Every field has a fixed length, so no two lists of fields run together.
    fn hashed(&self, tag: &[u8], node: &[u8]) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(tag);
        hasher.update(&self.height.0.to_le_bytes());
        hasher.update(self.hash.as_bytes());
        hasher.update(node);
        Digest::from_bytes(*hasher.finalize().as_bytes())
    }
}

/// A number below `range` from a hash; the bias is below 2⁻³².
fn below(digest: &Digest, range: u32) -> u32 {
    let first = digest.as_bytes().first_chunk::<8>().expect("a digest has 32 bytes");
    let scaled = (u128::from(u64::from_le_bytes(*first)) * u128::from(range)) >> 64;
    u32::try_from(scaled).expect("below a u32")
}

/// Whether a node can take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It waits for a tenant.
    Idle,
    /// A tenant has it: exempt, while its evidence ages (RULES R1).
    Rented,
    /// Its miner does not offer it now.
    Away,
}

/// A node as the fleet sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub key: NodeKey,
    /// Whether it can take part.
    pub availability: Availability,
    /// Its punctuality is [`crate::timing::Standing::Suspected`].
    pub suspected: bool,
}

/// Who starts with this beacon, in order; nobody unless it starts an epoch.
pub fn starters(beacon: &Beacon, fleet: &[Member], rules: &FleetRules) -> BTreeSet<NodeKey> {
    if !beacon.starts(rules) {
        return BTreeSet::new();
    }
    let idle = fleet.iter().filter(|member| member.availability == Availability::Idle);
    idle.map(|member| member.key).filter(|key| beacon.takes(&key.node, rules)).collect()
}

/// Who is challenged together with the retries of the nodes that missed, those included.
pub fn companions(missed: &BTreeSet<NodeKey>, fleet: &[Member]) -> BTreeSet<NodeKey> {
    let miners: BTreeSet<Hotkey> = missed.iter().map(|key| key.miner).collect();
    let along = fleet.iter().filter(|member| {
        member.availability == Availability::Idle && (member.suspected || miners.contains(&member.key.miner))
    });
    along.map(|member| member.key).chain(missed.iter().copied()).collect()
}

/// The longest spread at which one card cannot do two nodes' work one after the other: twice the shortest time less the
/// deadline. None: the deadline is so wide that no spread helps, and only residency tells the two apart.
pub fn spread_max(shortest: Millis, deadline: Millis) -> Option<Millis> {
    let spread = shortest.0.saturating_mul(2).checked_sub(deadline.0)?;
    (spread > 0).then_some(Millis(spread))
}

/// When the nonces of all walks of an epoch are sent: when every node that is in time has filled its memory, whoever
/// started last.
pub fn walks_start(opened: Timestamp, deadlines: &StageTimes, rules: &FleetRules) -> Timestamp {
    opened + rules.spread + deadlines.work + deadlines.fill
}

/// Something that belongs to one machine or card only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// A card's UUID.
    Gpu(GpuUuid),
    /// A card's fingerprint.
    Fingerprint(Digest),
    /// The host key of an SSH server ([`crate::host_key_digest`]).
    HostKey(Digest),
    /// The machine id, hashed by the prover.
    MachineId(Digest),
}

impl Identity {
    /// Its kind, as in logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Gpu(_) => "gpu",
            Self::Fingerprint(_) => "fingerprint",
            Self::HostKey(_) => "host_key",
            Self::MachineId(_) => "machine_id",
        }
    }
}

/// What a node claims to be, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// The node. The same address listed by two miners is two nodes.
    pub node: NodeKey,
    /// When it first proved what it claims, or first claimed it.
    pub since: Timestamp,
    /// Its identities.
    pub identities: BTreeSet<Identity>,
}

/// An identity that several nodes claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collision {
    /// What they claim.
    pub identity: Identity,
    /// Who claimed it first, and is paid meanwhile.
    pub holder: NodeKey,
    /// Who claimed it later: on hold, unpaid, until a simultaneous challenge with the holder.
    pub on_hold: Vec<NodeKey>,
}

/// Every identity that more than one node claims. Equal times are ordered by miner and node id, so every validator agrees.
pub fn collisions(claimants: &[Claimant]) -> Vec<Collision> {
    let mut claims: BTreeMap<Identity, BTreeSet<(Timestamp, NodeKey)>> = BTreeMap::new();
    for claimant in claimants {
        for identity in &claimant.identities {
            claims.entry(*identity).or_default().insert((claimant.since, claimant.node));
        }
    }
    let shared = claims.into_iter().filter_map(|(identity, claimed)| {
        let mut nodes: Vec<NodeKey> = Vec::new();
        for (_, node) in claimed {
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        let (holder, later) = nodes.split_first()?;
        let on_hold = later.to_vec();
        (!on_hold.is_empty()).then_some(Collision { identity, holder: *holder, on_hold })
    });
    shared.collect()
}

/// One node's part in a challenge of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When its challenge was sent.
    pub sent: Timestamp,
    /// Whether it passed, all deadlines met.
    pub passed: bool,
}

/// What a challenge of the holder and a later claimant shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Both passed at once: two machines, whatever they claim. The hold ends with the warning `host_identity_shared`.
    Separate,
    /// Only the holder passed: the claimant stays on hold.
    Holder,
    /// Only the claimant passed: it becomes the holder, and the former holder goes on hold.
    Claimant,
    /// Neither passed, or they were not asked at once: nothing changes.
    Open,
}

/// Settles a collision. It never accuses: a failure counts against whoever failed, by the rules of every check.
pub fn settle(holder: Answer, claimant: Answer, spread: Millis) -> Settled {
    if holder.sent.abs_diff(claimant.sent) > spread {
        return Settled::Open;
    }
    match (holder.passed, claimant.passed) {
        (true, true) => Settled::Separate,
        (true, false) => Settled::Holder,
        (false, true) => Settled::Claimant,
        (false, false) => Settled::Open,
    }
}

#[cfg(test)]
mod tests;
