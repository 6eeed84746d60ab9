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
//! All idle nodes ([`starters`]), or as many of them as there is room for at once, drawn anew by each beacon. A node that
//! misses is tried again beside the control, and a card shared by two registrations
//! would pass that retry alone. So a retry takes along every idle node of the same miner, and every node that is under
//! suspicion itself ([`companions`]): whoever takes turns in missing is asked together from the second turn on.
//!
//! # What counts as at once
//! Challenges sent within a spread so short that doing one node's work after the other's misses a deadline
//! ([`spread_max`]); longer apart shows nothing about sharing. The walks through memory start at one moment for all
//! ([`walks_start`]): else a second node's memory is filled when the first's walk is over. So it is the beginning of its walk
//! by which an answer is at once with another ([`passed_with`]).
//!
//! # Identities
//! A UUID, host key or machine id that two nodes claim accuses neither (RULES R10). Whoever proved it later is on hold, unpaid
//! ([`hold`]), until it has passed at once with everybody who proved it before: then they are different machines, such as copies of
//! one image. Else the earlier ones keep their standing and it stays on hold. A claim never transfers a fault, and an earlier
//! claimant that fails the challenge loses nothing by it: else shooting down a competitor's line would win its name.

use std::collections::{BTreeMap, BTreeSet};

use basilica_types::{BlockHash, BlockNumber, Digest, GpuUuid, Hotkey, Millis, NodeKey, Timestamp};

use crate::{ClaimedGpu, Reason};

const BEACON_TAG: &[u8] = b"basilica/fleet-beacon/v1";
const START_TAG: &[u8] = b"basilica/fleet-start/v1";
const COHORT_TAG: &[u8] = b"basilica/fleet-cohort/v1";

/// How often, and what is at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetRules {
    /// An epoch starts at one block in so many; 0: at none.
    pub mean_blocks: u32,
    /// Challenges that are sent within this span are at once.
    pub spread: Millis,
}

impl Default for FleetRules {
    /// One block in 360, 72 minutes on average at 12 s a block; within a second. Nearly every day has the four epochs that find
    /// whoever hangs up in them; oftener costs idle nodes more power.
    fn default() -> Self {
        Self { mean_blocks: 360, spread: Millis::from_secs(1) }
    }
}

/// How much can be challenged at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Nodes.
    pub nodes: usize,
    /// Bytes of their answers.
    pub bytes: u64,
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
        self.hashed(BEACON_TAG)
    }

    /// Whether an epoch starts with this block.
    pub fn starts(&self, rules: &FleetRules) -> bool {
        rules.mean_blocks > 0 && below(&self.hashed(START_TAG), rules.mean_blocks) == 0
    }

    /// Every field has a fixed length, so no two lists of fields run together.
    fn hashed(&self, tag: &[u8]) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(tag);
        hasher.update(&self.height.0.to_le_bytes());
        hasher.update(self.hash.as_bytes());
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
    /// Bytes that its answer may take.
    pub bytes: u64,
}

/// Who starts with this beacon; nobody unless it starts an epoch.
pub fn starters(beacon: &Beacon, fleet: &[Member], rules: &FleetRules, room: Room) -> BTreeSet<NodeKey> {
    if !beacon.starts(rules) {
        return BTreeSet::new();
    }
    let idle: BTreeSet<NodeKey> = fleet
        .iter()
        .filter(|member| member.availability == Availability::Idle)
        .map(|member| member.key)
        .collect();
    cohort(&BTreeSet::new(), &idle, fleet, &beacon.digest(), room)
}

/// As many of the wanted as there is room for: `first` before the others, and within both whoever `draw` says, which nobody can
/// foresee. The draw goes by the id, so that one address that two miners list is drawn as one. Who is not of the fleet is left out.
pub fn cohort(
    first: &BTreeSet<NodeKey>,
    wanted: &BTreeSet<NodeKey>,
    fleet: &[Member],
    draw: &Digest,
    room: Room,
) -> BTreeSet<NodeKey> {
    let place = |member: &Member| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(COHORT_TAG).update(draw.as_bytes()).update(member.key.node.as_bytes());
        (!first.contains(&member.key), *hasher.finalize().as_bytes(), member.key)
    };
    let mut drawn: Vec<&Member> =
        fleet.iter().filter(|member| first.contains(&member.key) || wanted.contains(&member.key)).collect();
    drawn.sort_by_cached_key(|member| place(member));
    let (mut taken, mut bytes) = (BTreeSet::new(), 0u64);
    for member in drawn {
        let more = bytes.saturating_add(member.bytes);
        if taken.len() < room.nodes && more <= room.bytes && taken.insert(member.key) {
            bytes = more;
        }
    }
    taken
}

/// Who is challenged together with the retries of the nodes that missed, those included.
pub fn companions(missed: &BTreeSet<NodeKey>, fleet: &[Member]) -> BTreeSet<NodeKey> {
    let miners: BTreeSet<Hotkey> = missed.iter().map(|key| key.miner).collect();
    let along = fleet.iter().filter(|member| {
        member.availability == Availability::Idle && (member.suspected || miners.contains(&member.key.miner))
    });
    along.map(|member| member.key).chain(missed.iter().copied()).collect()
}

/// Nodes that are to be asked at once, and have nothing to do with any other group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Who is due.
    pub due: BTreeSet<NodeKey>,
    /// Those and whoever is to be asked with them.
    pub all: BTreeSet<NodeKey>,
}

/// Those that are due, each with whom it is to be asked at once, in groups that share no node: one that waits for a node keeps no
/// other waiting.
pub fn groups(due: &BTreeMap<NodeKey, BTreeSet<NodeKey>>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (node, with) in due {
        let mut joined = Group { due: BTreeSet::from([*node]), all: with.clone() };
        joined.all.insert(*node);
        let (apart, touching): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.all.is_disjoint(&joined.all));
        for group in touching {
            joined.due.extend(group.due);
            joined.all.extend(group.all);
        }
        groups = apart;
        groups.push(joined);
    }
    groups
}

/// The longest spread at which one card cannot do two nodes' work one after the other: twice the shortest time less the
/// deadline. None: the deadline is so wide that no spread helps, and only residency tells the two apart.
pub fn spread_max(shortest: Millis, deadline: Millis) -> Option<Millis> {
    let spread = shortest.0.saturating_mul(2).checked_sub(deadline.0)?;
    (spread > 0).then_some(Millis(spread))
}

/// When the nonces of all walks of an epoch are sent: when every node that is in time has filled its memory, whoever
/// started last.
pub const fn walks_start(opened: Millis, work: Millis, fill: Millis, rules: &FleetRules) -> Millis {
    Millis(opened.0.saturating_add(rules.spread.0).saturating_add(work.0).saturating_add(fill.0))
}

/// Something that belongs to one machine or card only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// A card's UUID.
    Gpu(GpuUuid),
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
    /// When it first proved what it claims.
    pub since: Timestamp,
    /// Its identities.
    pub identities: BTreeSet<Identity>,
}

/// An identity that others proved before a node did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contest {
    /// What they claim.
    pub identity: Identity,
    /// Who proved it earlier.
    pub earlier: BTreeSet<NodeKey>,
}

/// What a node shows that others proved before it. One that is not among the claimants of an identity comes last; equal times are
/// ordered by miner and node id, so every validator agrees.
pub fn contests(node: NodeKey, shown: &BTreeSet<Identity>, claimants: &[Claimant]) -> Vec<Contest> {
    let contest = |identity: &Identity| {
        let claimed: Vec<&Claimant> = claimants.iter().filter(|c| c.identities.contains(identity)).collect();
        let own = claimed.iter().filter(|c| c.node == node).map(|c| c.since).min();
        let is_earlier = |c: &&&Claimant| own.is_none_or(|own| (c.since, c.node) < (own, node));
        let earlier: BTreeSet<NodeKey> =
            claimed.iter().filter(|c| c.node != node).filter(is_earlier).map(|c| c.node).collect();
        (!earlier.is_empty()).then_some(Contest { identity: *identity, earlier })
    };
    shown.iter().filter_map(contest).collect()
}

/// Why a node that proved its cards is not paid for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Whom it must be challenged together with.
    pub by: BTreeSet<NodeKey>,
    /// The reason of its verdict.
    pub reason: Reason,
}

/// Whether a node is on hold for what it shows: unless it was challenged at once with everybody who proved the same before, and both
/// passed.
pub fn hold(contests: &[Contest], separate: &BTreeSet<NodeKey>) -> Option<Hold> {
    let open = contests.iter().filter(|contest| !contest.earlier.is_subset(separate));
    let of_gpu = |contest: &Contest| matches!(contest.identity, Identity::Gpu(_));
    let is_gpu = open.clone().any(of_gpu);
    let by: BTreeSet<NodeKey> =
        open.flat_map(|contest| contest.earlier.difference(separate)).copied().collect();
    let reason = if is_gpu { Reason::GpuClaimedElsewhere } else { Reason::IdentityOnHold };
    (!by.is_empty()).then_some(Hold { by, reason })
}

/// One node's part in a challenge of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When its walk began, or its work where it did not come to that, by a clock that is never set.
    pub began: Millis,
    /// Whether it passed, all deadlines met.
    pub passed: bool,
}

/// Whether passing at once shows that these cards are not another node's: a card that a processor plays it can play twice, so a
/// hold on one ends with the claim alone.
pub fn tells_apart(claims: &[ClaimedGpu]) -> bool {
    claims.iter().all(|claim| !claim.class.is_simulated())
}

/// Who passed at once with a node that passed itself: two machines, whatever they claim. Nobody, if it did not pass. A failure
/// accuses nobody here: it counts against whoever failed, by the rules of every check.
pub fn passed_with(node: NodeKey, answers: &BTreeMap<NodeKey, Answer>, spread: Millis) -> BTreeSet<NodeKey> {
    let Some(own) = answers.get(&node).filter(|own| own.passed) else { return BTreeSet::new() };
    let with = |(key, answer): (&NodeKey, &Answer)| {
        (*key != node && answer.passed && answer.began.0.abs_diff(own.began.0) <= spread.0).then_some(*key)
    };
    answers.iter().filter_map(|(key, answer)| with((key, answer))).collect()
}

#[cfg(test)]
mod tests;
