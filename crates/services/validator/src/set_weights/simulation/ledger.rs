//! The chain's own rules for weights, block by block, written from the pallet's behaviour and not from our preflight.

use basilica_ports::{WeightsCall, WeightsOrder};
use basilica_scoring::weights::upscale;
use basilica_timelock::{OpenedPayload, commit_hash};
use basilica_types::{Digest, Hotkey, MechanismId, Uid, Weight};
use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};

pub(super) const OWN: Uid = Uid(1);
pub(super) const NETUID: u16 = 39;
/// Rounds of the beacon in one block: 12 s of 3 s.
pub(super) const ROUNDS: u64 = 4;
/// Of the beacon, where a life begins.
pub(super) const FIRST_ROUND: u64 = 50_000;

/// What the subnet's owner and the chain's upgrades can change.
#[derive(Clone, Debug)]
pub(super) struct Knobs {
    pub(super) commit_reveal: bool,
    pub(super) period: u64,
    pub(super) tempo: u16,
    pub(super) rate_limit: u64,
    pub(super) version_key: u64,
    pub(super) permit: bool,
    pub(super) beacon_runs: bool,
}

#[derive(Clone, Debug)]
pub(super) struct TimelockedCommit {
    pub(super) ciphertext: Vec<u8>,
    pub(super) epoch: u64,
    pub(super) block: u64,
    pub(super) round: u64,
}

/// The state after a block.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    pub(super) number: u64,
    pub(super) knobs: Knobs,
    /// Whose weights these are.
    pub(super) mechanism: MechanismId,
    /// Version of the runtime, which each signature covers.
    pub(super) spec: u32,
    pub(super) nonce: u64,
    /// The block after which the hotkey was registered last.
    pub(super) registered: u64,
    pub(super) last_update: u64,
    pub(super) weights: Vec<(Uid, Weight)>,
    pub(super) hashes: Vec<(Digest, u64, u64)>,
    pub(super) timelocked: Vec<TimelockedCommit>,
    pub(super) round: u64,
    /// When it was made, in blocks' times: more than its number where blocks were reorganised away.
    pub(super) time: u64,
    pub(super) stateful: bool,
    pub(super) last_epoch: u64,
    pub(super) pending: u64,
    pub(super) index: u64,
    pub(super) since: u64,
    /// Our calls in this block, with the chain's name of the error.
    pub(super) included: Vec<(Vec<u8>, Option<&'static str>)>,
    /// The weights of a timelocked commit came onto the chain in this block.
    pub(super) opened: Vec<Digest>,
}

pub(super) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Blake2b::<U32>::digest(bytes).into())
}

/// What a reveal shows, as it was hashed: the vector, its salt and the version key.
type Shown<'a> = (&'a [(Uid, Weight)], &'a [u16], u64);

/// The hash names the mechanism by the index under which the chain stores its weights.
pub(super) fn revealed_hash(own: &Hotkey, mechanism: MechanismId, shown: Shown<'_>) -> Digest {
    let (weights, salt, version_key) = shown;
    let (uids, values): (Vec<u16>, Vec<u16>) = weights.iter().map(|(uid, w)| (uid.0, w.0)).unzip();
    let index = 4_096 * u16::from(mechanism.0) + NETUID;
    Digest::from_bytes(commit_hash(own, index, (&uids, &values), salt, version_key))
}

impl Ledger {
    pub(super) fn genesis(knobs: Knobs, stateful: bool) -> Self {
        Self {
            number: 1_000,
            knobs,
            mechanism: MechanismId(0),
            spec: 435,
            nonce: 3,
            registered: 900,
            last_update: 900,
            weights: Vec::new(),
            hashes: Vec::new(),
            timelocked: Vec::new(),
            round: FIRST_ROUND,
            time: 0,
            stateful,
            last_epoch: 995,
            pending: 0,
            index: 70,
            since: 5,
            included: Vec::new(),
            opened: Vec::new(),
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        if self.stateful { self.index } else { self.modular_epoch(self.number) }
    }

    /// Old runtimes date a hash by its block, counted with the tempo of now; the newer ones by what they stored.
    pub(super) fn epoch_of_hash(&self, stored: u64, block: u64) -> u64 {
        if self.stateful { stored } else { self.modular_epoch(block) }
    }

    /// Old runtimes count the block in which an epoch runs, its last, to the next one, for timelocked commits only.
    fn epoch_of_timelocked(&self) -> u64 {
        let into = (self.number + u64::from(NETUID) + 1) % (u64::from(self.knobs.tempo) + 1);
        self.epoch() + u64::from(!self.stateful && into == u64::from(self.knobs.tempo))
    }

    fn modular_epoch(&self, block: u64) -> u64 {
        (block + u64::from(NETUID) + 1) / (u64::from(self.knobs.tempo) + 1)
    }

    /// The next block before its calls, and before the beacon's rounds, which come with them.
    pub(super) fn next(&self, own: &Hotkey) -> Self {
        let mut next =
            Self { number: self.number + 1, included: Vec::new(), opened: Vec::new(), ..self.clone() };
        next.step_epoch();
        next.open_timelocked(own);
        next
    }

    /// The next block as the pool sees it: of its hooks only the epoch's step, which the runtime looks ahead to.
    pub(super) fn coming(&self) -> Self {
        let mut coming = Self { number: self.number + 1, ..self.clone() };
        coming.step_epoch();
        coming
    }

    fn step_epoch(&mut self) {
        let due = (self.pending > 0 && self.number >= self.pending)
            || self.number - self.last_epoch >= u64::from(self.knobs.tempo);
        if due {
            (self.last_epoch, self.pending, self.since) = (self.number, 0, 0);
            self.index += 1;
        } else {
            self.since += 1;
        }
    }

    fn open_timelocked(&mut self, own: &Hotkey) {
        let (now, period) = (self.epoch(), self.knobs.period);
        let all = std::mem::take(&mut self.timelocked);
        for commit in all {
            if now > commit.epoch + period {
                continue;
            }
            if now < commit.epoch + period || self.round < commit.round {
                self.timelocked.push(commit);
                continue;
            }
            let Ok(payload) = OpenedPayload::open(&commit.ciphertext, own) else { continue };
            let weights: Vec<_> =
                payload.uids.into_iter().map(Uid).zip(payload.values.into_iter().map(Weight)).collect();
            if self.set(&weights, payload.version_key).is_ok() {
                self.opened.push(digest(&commit.ciphertext));
            }
        }
    }

    /// `InvalidTransaction::Custom` by which the next block would not even take the call: rules that are asked before the
    /// pool and again before inclusion.
    pub(super) fn refuses(&self, own: &Hotkey, order: &WeightsOrder) -> Option<u8> {
        let limited = self.stateful && self.number - self.last_update < self.knobs.rate_limit;
        match &order.call {
            WeightsCall::Set { .. } => (limited && !self.knobs.commit_reveal).then_some(6),
            WeightsCall::CommitHash { .. } => limited.then_some(6),
            WeightsCall::CommitTimelocked { reveal_round, .. } if *reveal_round < self.round => Some(15),
            WeightsCall::CommitTimelocked { .. } => limited.then_some(6),
            WeightsCall::Reveal { weights, salt, version_key } => {
                let hash = revealed_hash(own, self.mechanism, (weights, salt.expose(), *version_key));
                let held = self.hashes.iter().find(|(held, ..)| *held == hash);
                let Some((_, stored, block)) = held else { return Some(16) };
                let due = self.epoch_of_hash(*stored, *block) + self.knobs.period;
                (self.epoch() != due).then_some(17)
            }
        }
    }

    /// A call of ours in this block.
    pub(super) fn apply(&mut self, own: &Hotkey, order: &WeightsOrder) -> Result<(), &'static str> {
        match &order.call {
            WeightsCall::Set { weights, version_key } => {
                if self.knobs.commit_reveal {
                    return Err("CommitRevealEnabled");
                }
                self.set(weights, *version_key)?;
            }
            WeightsCall::CommitHash { hash } => {
                self.commit(None)?;
                self.drop_expired();
                if self.hashes.len() >= 10 {
                    return Err("TooManyUnrevealedCommits");
                }
                self.hashes.push((*hash, self.epoch(), self.number));
                self.last_update = self.number;
            }
            WeightsCall::CommitTimelocked { ciphertext, reveal_round, version } => {
                self.commit(Some(*version))?;
                self.timelocked.push(TimelockedCommit {
                    ciphertext: ciphertext.clone(),
                    epoch: self.epoch_of_timelocked(),
                    block: self.number,
                    round: *reveal_round,
                });
                self.last_update = self.number;
            }
            WeightsCall::Reveal { weights, salt, version_key } => {
                self.reveal(own, weights, salt.expose(), *version_key)?;
            }
        }
        Ok(())
    }

    fn drop_expired(&mut self) {
        let epoch = self.epoch();
        let hashes = std::mem::take(&mut self.hashes);
        let fresh = |at: u64, block: u64| epoch <= self.epoch_of_hash(at, block) + self.knobs.period;
        self.hashes = hashes.into_iter().filter(|(_, at, block)| fresh(*at, *block)).collect();
    }

    fn commit(&self, version: Option<u16>) -> Result<(), &'static str> {
        if !self.knobs.commit_reveal {
            return Err("CommitRevealDisabled");
        }
        if version.is_some_and(|version| version != 4) {
            return Err("IncorrectCommitRevealVersion");
        }
        if self.number - self.last_update < self.knobs.rate_limit {
            return Err("CommittingWeightsTooFast");
        }
        Ok(())
    }

    fn reveal(
        &mut self,
        own: &Hotkey,
        weights: &[(Uid, Weight)],
        salt: &[u16],
        version_key: u64,
    ) -> Result<(), &'static str> {
        if !self.knobs.commit_reveal {
            return Err("CommitRevealDisabled");
        }
        let hash = revealed_hash(own, self.mechanism, (weights, salt, version_key));
        let Some(found) = self.hashes.iter().position(|(held, ..)| *held == hash) else {
            let mut fresh = self.clone();
            fresh.drop_expired();
            let none = fresh.hashes.is_empty();
            return Err(if none { "NoWeightsCommitFound" } else { "InvalidRevealCommitHashNotMatch" });
        };
        let (_, stored, block) = self.hashes[found];
        let due = self.epoch_of_hash(stored, block) + self.knobs.period;
        match self.epoch().cmp(&due) {
            std::cmp::Ordering::Less => return Err("RevealTooEarly"),
            std::cmp::Ordering::Greater => return Err("ExpiredWeightCommit"),
            std::cmp::Ordering::Equal => {}
        }
        self.set(weights, version_key)?;
        // What was committed before it is superseded, and what expired is dropped.
        self.hashes.drain(..=found);
        self.drop_expired();
        Ok(())
    }

    fn set(&mut self, weights: &[(Uid, Weight)], version_key: u64) -> Result<(), &'static str> {
        if version_key < self.knobs.version_key {
            return Err("IncorrectWeightVersionKey");
        }
        if !self.knobs.commit_reveal && self.number - self.last_update < self.knobs.rate_limit {
            return Err("SettingWeightsTooFast");
        }
        if !self.knobs.permit {
            return Err("NeuronNoValidatorPermit");
        }
        self.weights = upscale(weights);
        if !self.knobs.commit_reveal {
            self.last_update = self.number;
        }
        Ok(())
    }
}
