//! The chain's rules for weight calls, in its own order, decided before anything is signed.
//!
//! A call that breaks a rule costs nothing on chain but a window; the point of asking first is to tell the operator
//! which rule, with its numbers. The chain stays the judge: whatever passes here may still be refused there.

use std::collections::HashSet;

use basilica_types::{BlockNumber, MechanismId, NetUid, Rao, Uid, Weight};

use crate::order::{WeightsCall, WeightsOrder};
use crate::rules::{CommitReveal, Consensus, OpenCommit, OpenCommitForm, OwnNeuron, WeightRules};

/// The chain keeps at most so many unrevealed commits of one hotkey.
const MAX_UNREVEALED: usize = 10;
/// The chain's bound on a timelocked payload.
const MAX_CIPHERTEXT: usize = 5_000;

/// Who or what can mend a broken [`Rule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// It passes by itself.
    Time,
    /// Somebody must change something: the operator, or the subnet's owner.
    Somebody,
    /// Nothing: another order is needed.
    OtherOrder,
}

/// A rule that a call would break, with its numbers and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// Set in the open where weights are committed.
    #[error(
        "subnet {0} takes committed weights only; let the validator commit them, or let the subnet's owner switch that off with \
         sudo_set_commit_reveal_weights_enabled"
    )]
    CommitReveal(NetUid),
    /// Committed or revealed where weights are set in the open.
    #[error("subnet {0} takes no committed weights, commit-reveal is off")]
    NoCommitReveal(NetUid),
    /// Subnet 0.
    #[error("the root network takes no such weights")]
    Root,
    /// Not there.
    #[error("subnet {0} or its mechanism {1} does not exist")]
    NoMechanism(NetUid, MechanismId),
    /// More than neurons.
    #[error("{given} weights for {neurons} neurons")]
    TooMany {
        /// Weights of the order.
        given: usize,
        /// Neurons of the subnet.
        neurons: u16,
    },
    /// The hotkey has no uid.
    #[error(
        "the hotkey is not registered on subnet {0}; register it with: btcli subnet register --netuid {0}"
    )]
    NotRegistered(NetUid),
    /// Below the threshold.
    #[error("stake weight {} rao is below the threshold of {} rao; add stake to the hotkey", .stake.0, .threshold.0)]
    Stake {
        /// The hotkey's.
        stake: Rao,
        /// The chain's.
        threshold: Rao,
    },
    /// Too old.
    #[error("version key {given} is below the subnet's {required}; update this validator")]
    VersionKey {
        /// The order's.
        given: u64,
        /// The subnet's.
        required: u64,
    },
    /// The chain wants timelocked commits in another form.
    #[error(
        "commits of version {given} are not what the chain takes, which is version {required}; update this validator"
    )]
    CommitVersion {
        /// The order's.
        given: u16,
        /// The chain's.
        required: u16,
    },
    /// The rate limit.
    #[error(
        "weights were set or the hotkey registered at block {last}, the next setting is allowed at block {next}"
    )]
    TooFast {
        /// `LastUpdate`.
        last: BlockNumber,
        /// The first block in which it may be done again.
        next: BlockNumber,
    },
    /// Ten commits wait for their reveal.
    #[error("{0} commits of this hotkey are not revealed yet, the chain keeps no more")]
    TooManyCommits(usize),
    /// The beacon has signed it already, so that anybody could read the commit.
    #[error("round {round} of the beacon is not after round {last}, which the chain has already")]
    RoundPassed {
        /// The order's.
        round: u64,
        /// The chain's newest.
        last: u64,
    },
    /// Larger than the chain takes.
    #[error("a timelocked commit of {0} bytes is larger than the 5000 that the chain takes")]
    CiphertextTooLong(usize),
    /// Nothing to reveal.
    #[error("the chain holds no commit by hash of this hotkey")]
    NoCommit,
    /// The reveal belongs into a later epoch.
    #[error("the commit of epoch {committed} is revealed in epoch {due}, it is epoch {now}")]
    TooEarly {
        /// The commit's epoch.
        committed: u64,
        /// The reveal's.
        due: u64,
        /// That of the next block.
        now: u64,
    },
    /// The reveal belonged into an earlier epoch.
    #[error("the commit of epoch {committed} had to be revealed in epoch {due}, it is epoch {now}")]
    TooLate {
        /// The commit's epoch.
        committed: u64,
        /// The reveal's.
        due: u64,
        /// That of the next block.
        now: u64,
    },
    /// No permit.
    #[error("the hotkey has no validator permit; permits go to the top stakes at each epoch")]
    NoPermit,
    /// Twice.
    #[error("uid {0} occurs twice")]
    DuplicateUid(Uid),
    /// Not there.
    #[error("uid {uid} does not exist, the subnet has {neurons} neurons")]
    NoSuchUid {
        /// Which.
        uid: Uid,
        /// Neurons of the subnet.
        neurons: u16,
    },
    /// Fewer than the subnet asks for.
    #[error("{given} weights are fewer than the {required} that the subnet asks for")]
    TooFew {
        /// Weights of the order.
        given: usize,
        /// The subnet's least.
        required: u16,
    },
    /// More than the allowed share.
    #[error("uid {uid} gets more than the allowed share of {limit}/65535")]
    TooHeavy {
        /// Whose weight.
        uid: Uid,
        /// Of 65,535.
        limit: u16,
    },
}

impl Rule {
    /// For metrics and pages.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::CommitReveal(_) => "commit_reveal_on",
            Self::NoCommitReveal(_) => "commit_reveal_off",
            Self::Root => "root_network",
            Self::NoMechanism(..) => "no_mechanism",
            Self::TooMany { .. } => "too_many_weights",
            Self::NotRegistered(_) => "not_registered",
            Self::Stake { .. } => "stake_too_low",
            Self::VersionKey { .. } => "version_key",
            Self::CommitVersion { .. } => "commit_version",
            Self::TooFast { .. } => "rate_limit",
            Self::TooManyCommits(_) => "too_many_commits",
            Self::RoundPassed { .. } => "round_passed",
            Self::CiphertextTooLong(_) => "ciphertext_too_long",
            Self::NoCommit => "no_commit",
            Self::TooEarly { .. } => "reveal_too_early",
            Self::TooLate { .. } => "reveal_too_late",
            Self::NoPermit => "no_permit",
            Self::DuplicateUid(_) => "duplicate_uid",
            Self::NoSuchUid { .. } => "no_such_uid",
            Self::TooFew { .. } => "too_few_weights",
            Self::TooHeavy { .. } => "weight_too_large",
        }
    }

    /// What can mend it.
    pub const fn cure(&self) -> Cure {
        match self {
            Self::TooFast { .. } | Self::NoPermit | Self::TooManyCommits(_) | Self::TooEarly { .. } => {
                Cure::Time
            }
            Self::CommitReveal(_)
            | Self::Root
            | Self::NoMechanism(..)
            | Self::NotRegistered(_)
            | Self::Stake { .. }
            | Self::VersionKey { .. }
            | Self::CommitVersion { .. } => Cure::Somebody,
            Self::NoCommitReveal(_)
            | Self::TooMany { .. }
            | Self::RoundPassed { .. }
            | Self::CiphertextTooLong(_)
            | Self::NoCommit
            | Self::TooLate { .. }
            | Self::DuplicateUid(_)
            | Self::NoSuchUid { .. }
            | Self::TooFew { .. }
            | Self::TooHeavy { .. } => Cure::OtherOrder,
        }
    }
}

impl WeightRules {
    /// The first rule that `order` would break in the next block.
    ///
    /// # Errors
    /// That rule.
    pub fn check(&self, order: &WeightsOrder) -> Result<(), Rule> {
        match &order.call {
            WeightsCall::Set { weights, version_key } => {
                if self.commit_reveal.is_some() {
                    return Err(Rule::CommitReveal(order.netuid));
                }
                self.check_set(order, weights, *version_key)
            }
            WeightsCall::CommitHash { .. } => {
                let rules = self.commit_reveal.ok_or(Rule::NoCommitReveal(order.netuid))?;
                self.check_commit(order, rules, None)
            }
            WeightsCall::CommitTimelocked { ciphertext, reveal_round, version } => {
                let rules = self.commit_reveal.ok_or(Rule::NoCommitReveal(order.netuid))?;
                if ciphertext.len() > MAX_CIPHERTEXT {
                    return Err(Rule::CiphertextTooLong(ciphertext.len()));
                }
                self.check_commit(order, rules, Some((*reveal_round, *version)))
            }
            WeightsCall::Reveal { weights, version_key, .. } => {
                self.commit_reveal.ok_or(Rule::NoCommitReveal(order.netuid))?;
                self.check_reveal_epoch()?;
                self.check_set(order, weights, *version_key)
            }
        }
    }

    /// Whether the weights of a setting would be taken if they were revealed now.
    pub(crate) fn check_hidden(&self, order: &WeightsOrder) -> Result<(), Rule> {
        match &order.call {
            WeightsCall::Set { weights, version_key } => self.check_set(order, weights, *version_key),
            _ => Ok(()),
        }
    }

    /// Whether a reveal of just this commit would be taken now, in its epoch.
    pub(crate) fn check_of(&self, order: &WeightsOrder, commit: OpenCommit) -> Result<(), Rule> {
        let alone = Self { open_commits: vec![commit], ..self.clone() };
        alone.check(order)
    }

    /// What a setting must fulfil, in the open or revealed.
    fn check_set(
        &self,
        order: &WeightsOrder,
        weights: &[(Uid, Weight)],
        version_key: u64,
    ) -> Result<(), Rule> {
        let own = self.check_place(order, weights.len())?;
        self.check_stake(own)?;
        if self.version_key != 0 && version_key < self.version_key {
            return Err(Rule::VersionKey { given: version_key, required: self.version_key });
        }
        if self.commit_reveal.is_none() {
            self.check_rate(own)?;
        }
        let self_weight = is_self_weight(own, weights);
        let excepted = self.consensus == Consensus::Yuma && (own.is_owner || self_weight);
        if !own.permit && !excepted {
            return Err(Rule::NoPermit);
        }
        self.check_vector(weights, self_weight)
    }

    fn check_commit(
        &self,
        order: &WeightsOrder,
        rules: CommitReveal,
        timelocked: Option<(u64, u16)>,
    ) -> Result<(), Rule> {
        let own = self.check_place(order, 0)?;
        self.check_stake(own)?;
        if let (Some((_, given)), Some(required)) = (timelocked, rules.version)
            && given != required
        {
            return Err(Rule::CommitVersion { given, required });
        }
        self.check_rate(own)?;
        if let Some((round, _)) = timelocked
            && let Some(last) = self.beacon.as_ref().and_then(|beacon| beacon.last_round)
            && round <= last
        {
            return Err(Rule::RoundPassed { round, last });
        }
        let now = self.epochs.epoch_of(self.next_block(), self.block, self.netuid);
        // The chain drops expired hashes before it counts.
        let counts = |commit: &&OpenCommit| match commit.form {
            OpenCommitForm::Hash(_) => {
                timelocked.is_none() && commit.epoch.saturating_add(self.reveal_period) >= now
            }
            OpenCommitForm::Timelocked { .. } => timelocked.is_some(),
        };
        let open = self.open_commits.iter().filter(counts).count();
        if open >= MAX_UNREVEALED { Err(Rule::TooManyCommits(open)) } else { Ok(()) }
    }

    /// Whether some commit by hash may be revealed in the next block.
    fn check_reveal_epoch(&self) -> Result<(), Rule> {
        let now = self.epochs.epoch_of(self.next_block(), self.block, self.netuid);
        let mut missed = Rule::NoCommit;
        for commit in &self.open_commits {
            let OpenCommitForm::Hash(_) = commit.form else { continue };
            let (committed, due) = (commit.epoch, commit.epoch.saturating_add(self.reveal_period));
            match now.cmp(&due) {
                std::cmp::Ordering::Equal => return Ok(()),
                std::cmp::Ordering::Less => missed = Rule::TooEarly { committed, due, now },
                std::cmp::Ordering::Greater => missed = Rule::TooLate { committed, due, now },
            }
        }
        Err(missed)
    }

    fn check_place(&self, order: &WeightsOrder, given: usize) -> Result<&OwnNeuron, Rule> {
        if order.netuid == NetUid(0) {
            return Err(Rule::Root);
        }
        if !self.mechanism_exists {
            return Err(Rule::NoMechanism(order.netuid, order.mechanism));
        }
        if given > usize::from(self.neurons) {
            return Err(Rule::TooMany { given, neurons: self.neurons });
        }
        self.own.as_ref().ok_or(Rule::NotRegistered(order.netuid))
    }

    fn check_stake(&self, own: &OwnNeuron) -> Result<(), Rule> {
        match own.stake {
            Some(stake) if !own.is_owner && stake < self.stake_threshold => {
                Err(Rule::Stake { stake, threshold: self.stake_threshold })
            }
            _ => Ok(()),
        }
    }

    fn check_rate(&self, own: &OwnNeuron) -> Result<(), Rule> {
        let next = BlockNumber(own.last_update.0.saturating_add(self.rate_limit));
        if own.last_update.0 == 0 || self.next_block() >= next {
            return Ok(());
        }
        Err(Rule::TooFast { last: own.last_update, next })
    }

    /// What is asked.
    fn check_vector(&self, weights: &[(Uid, Weight)], self_weight: bool) -> Result<(), Rule> {
        let mut seen = HashSet::new();
        if let Some((uid, _)) = weights.iter().find(|(uid, _)| !seen.insert(*uid)) {
            return Err(Rule::DuplicateUid(*uid));
        }
        if let Some((uid, _)) = weights.iter().find(|(uid, _)| uid.0 >= self.neurons) {
            return Err(Rule::NoSuchUid { uid: *uid, neurons: self.neurons });
        }
        if self_weight {
            return Ok(());
        }
        let required = self.min_weights.min(self.neurons);
        if weights.len() < usize::from(required) {
            return Err(Rule::TooFew { given: weights.len(), required });
        }
        // The chain compares after upscaling, which keeps shares up to its rounding; where that decides, it decides.
        let sum = weights.iter().fold(0u64, |sum, (_, weight)| sum.saturating_add(u64::from(weight.0)));
        let share = |weight: u16| u64::from(weight).saturating_mul(u64::from(u16::MAX));
        let too_heavy = |weight: u16| share(weight) > u64::from(self.max_weight).saturating_mul(sum);
        match weights.iter().find(|(_, weight)| self.max_weight != u16::MAX && too_heavy(weight.0)) {
            Some((uid, _)) => Err(Rule::TooHeavy { uid: *uid, limit: self.max_weight }),
            None => Ok(()),
        }
    }

    /// The first block that could contain a call.
    pub(crate) const fn next_block(&self) -> BlockNumber {
        BlockNumber(self.block.0.saturating_add(1))
    }
}

fn is_self_weight(own: &OwnNeuron, weights: &[(Uid, Weight)]) -> bool {
    matches!(weights, [(uid, _)] if *uid == own.uid)
}

#[cfg(test)]
mod tests;
