//! What to do next about weights.
//!
//! Two questions, asked of values read at one block: what becomes of the newest window ([`WeightRules::follow`]), and
//! whether and how the next one is opened ([`WeightRules::open`]). One window is under way at a time, so a
//! reveal period of several epochs means weights every so many epochs; several at once would be revealed in order
//! anyway and would only bring older weights.
//!
//! A commit is made only if what it hides would be taken today: the chain asks for permit, stake and vector not until the
//! reveal, an epoch too late to tell anybody. The form is timelocked where chain and beacon allow it, because then
//! nothing of ours must run at the reveal; by hash where they do not, where the operator asks for it, or after the chain
//! dropped a timelocked commit.
//!
//! **The reveal round** is counted from the newest round that the chain itself stores, plus the blocks until the reveal
//! epoch in rounds. That is the chain's own lag behind the beacon included, and this machine's clock, which may be
//! wrong, not: a round chosen by a clock that is ten minutes slow gives the weights away, by one that is fast loses them.
//! The clock serves only a chain that has stored no round yet, and to see that the beacon stalls: with a newest round that
//! is minutes old, the round so counted could be public long before its epoch, or never come. Such a beacon counts as
//! none, and a clock that is wrong by as much costs the timelock, not the secret.
//!
//! The chain dates a commit by the block that takes it, some blocks after the final one that everything was read at. One
//! that slipped into the next epoch would be opened an epoch later than its round is public, so no timelocked commit
//! is made whose era reaches into the next one. Epochs of ten blocks and fewer are shorter than that: there it can happen.

use basilica_types::{BlockNumber, Millis, Timestamp, Uid, Weight};

use crate::order::{WeightsCall, WeightsOrder};
use crate::preflight::{Cure, Rule};
use crate::rules::{CommitReveal, EpochClock, OpenCommit, OpenCommitForm, WeightRules};
use crate::window::{Lost, WindowEnd, WindowForm};

/// The timelocked commits that this program makes: the chain's `CommitRevealWeightsVersion`.
const TIMELOCK_VERSION: u16 = 4;
/// Blocks that the beacon's round may come after the first reveal block, as the public clients choose it.
const INGEST_MARGIN: u64 = 3;
/// Longest time between two reads of the rules while a known block is waited for.
const LOOK_AGAIN: u64 = 25;

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Blocks between the beginnings of two windows.
    pub interval: u64,
    /// Sent with the weights.
    pub version_key: u64,
    /// How to commit where commits are asked for.
    pub commit: CommitChoice,
}

/// How to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitChoice {
    /// Timelocked where it can be, by hash otherwise.
    Auto,
    /// By hash only.
    Hash,
}

/// How the next window is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Set in the open.
    Set,
    /// Commit by hash.
    CommitHash,
    /// Commit timelocked.
    CommitTimelocked {
        /// To this round.
        round: u64,
        /// In this version.
        version: u16,
    },
}

/// What becomes of a committed window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Nothing yet.
    Wait(Wait),
    /// Build the reveal.
    Reveal,
    /// The chain holds the commit no more: it was revealed if the chain's weights are the expected ones, and lost for this
    /// reason if they are not.
    AskWeights(Lost),
    /// Over.
    End(WindowEnd),
}

/// Why nothing is done, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Look again at this block; none: nobody can say when it ends.
    pub until: Option<BlockNumber>,
    /// What is waited for.
    pub why: Waiting,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Waiting {
    /// The next window's beginning.
    #[error("the next window begins {interval} blocks after the last one")]
    Interval {
        /// As configured.
        interval: u64,
    },
    /// After a refusal.
    #[error("the chain refused the last window; the next try follows after a tenth of the interval")]
    AfterRefusal,
    /// A rule of the chain.
    #[error(transparent)]
    Rule(#[from] Rule),
    /// The answer is older than what is known already.
    #[error("the endpoint is behind: it stands at block {at}, and block {known} is known to be final")]
    EndpointBehind {
        /// Where it stands.
        at: BlockNumber,
        /// The newest known.
        known: BlockNumber,
    },
    /// The reveal's epoch.
    #[error("the commit of epoch {committed} is revealed in epoch {due}, it is epoch {now}")]
    RevealEpoch {
        /// Of the commit.
        committed: u64,
        /// Of the reveal.
        due: u64,
        /// Now.
        now: u64,
    },
    /// The chain opens the commit once it has the round.
    #[error("the chain opens the commit when it has round {round} of the beacon; it has round {last:?}")]
    Round {
        /// To which it was encrypted.
        round: u64,
        /// The chain's newest.
        last: Option<u64>,
    },
    /// A timelocked commit made now might be counted to the next epoch, and be public before the chain opens it.
    #[error(
        "the epoch ends at block {next}: a timelocked commit might slip into the next one and be public before the chain opens it"
    )]
    EpochEnds {
        /// The next epoch's first block.
        next: BlockNumber,
    },
    /// The chain takes timelocked commits only, and its beacon gives no rounds.
    #[error(
        "the chain has had no round of the beacon since round {last}, and it takes no commits by hash; weights wait for the beacon"
    )]
    BeaconStalled {
        /// The chain's newest.
        last: u64,
    },
    /// A subnet whose commits are never revealed.
    #[error("the subnet's tempo is 0: no epoch runs, and no commit would ever be revealed")]
    NoEpochs,
    /// No way to commit.
    #[error(
        "the subnet takes committed weights only, and the chain's runtime has no call for a form that this validator makes; update it"
    )]
    NoForm,
}

impl Waiting {
    /// For metrics and pages.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Interval { .. } => "interval",
            Self::AfterRefusal => "after_refusal",
            Self::Rule(rule) => rule.code(),
            Self::EndpointBehind { .. } => "endpoint_behind",
            Self::RevealEpoch { .. } => "reveal_epoch",
            Self::Round { .. } => "beacon_round",
            Self::EpochEnds { .. } => "epoch_ends",
            Self::BeaconStalled { .. } => "beacon_stalled",
            Self::NoEpochs => "no_epochs",
            Self::NoForm => "no_commit_form",
        }
    }

    /// Whether an operator has to do something.
    pub const fn needs_operator(&self) -> bool {
        match self {
            Self::Rule(rule) => !matches!(rule.cure(), Cure::Time),
            Self::NoForm | Self::NoEpochs => true,
            Self::Interval { .. }
            | Self::AfterRefusal
            | Self::EndpointBehind { .. }
            | Self::RevealEpoch { .. }
            | Self::Round { .. }
            | Self::EpochEnds { .. }
            | Self::BeaconStalled { .. } => false,
        }
    }
}

/// The block in which the next window may be opened; none: now. `last` is how the one before ended, and the last block that
/// could have taken its first call.
pub fn next_window(last: Option<(&WindowEnd, BlockNumber)>, policy: &Policy) -> Option<Wait> {
    let after = |block: &BlockNumber, span: u64, why: Waiting| {
        Some(Wait { until: Some(BlockNumber(block.0.saturating_add(span))), why })
    };
    let interval = policy.interval;
    let (end, dies) = last?;
    match end {
        WindowEnd::Set { block } | WindowEnd::Revealed { committed: block, .. } => {
            after(block, interval, Waiting::Interval { interval })
        }
        // Asking again at once would be refused again.
        WindowEnd::Refused { block, .. } => {
            let tenth = (interval / 10).max(1);
            after(block, tenth, Waiting::AfterRefusal)
        }
        // Given up, and still the chain's: a timelocked commit opens if the tempo comes back.
        WindowEnd::Lost(Lost::OutOfReach) => after(&dies, interval, Waiting::Interval { interval }),
        WindowEnd::Expired(_) | WindowEnd::Lost(_) => None,
    }
}

impl WeightRules {
    /// Whether and how a window with `weights` is opened now; `last` is how the one before ended.
    ///
    /// # Errors
    /// What is waited for.
    pub fn open(
        &self,
        policy: &Policy,
        weights: &[(Uid, Weight)],
        last: Option<&WindowEnd>,
        now: Timestamp,
    ) -> Result<Opening, Wait> {
        let set = WeightsCall::Set { weights: weights.to_vec(), version_key: policy.version_key };
        let Some(rules) = self.commit_reveal else {
            return self.allowed(set).map(|()| Opening::Set);
        };
        // What is hidden must be fit to be shown.
        self.check_hidden(&self.order(set)).map_err(|rule| self.wait_for(rule))?;
        if !self.epochs.runs() {
            return Err(Wait { until: None, why: Waiting::NoEpochs });
        }
        let opening = self.form(policy, rules, last, now).ok_or_else(|| self.without_form(rules, now))?;
        let call = match opening {
            Opening::CommitTimelocked { round, version } => {
                WeightsCall::CommitTimelocked { ciphertext: Vec::new(), reveal_round: round, version }
            }
            Opening::CommitHash | Opening::Set => {
                WeightsCall::CommitHash { hash: basilica_types::Digest::from_bytes([0; 32]) }
            }
        };
        self.allowed(call)?;
        if let Opening::CommitTimelocked { .. } = opening {
            self.check_slip(BlockNumber(self.block.0.saturating_add(WeightsCall::TIMELOCKED_ERA - 1)))?;
        }
        Ok(opening)
    }

    /// The block at which the rules are read again after they said to wait: the wait's end, or earlier where epochs are
    /// short or it is far off, since what was predicted may change. None: at the next look.
    pub fn look_again(&self, wait: &Wait) -> Option<BlockNumber> {
        let span = (self.epochs.length() / 4).clamp(1, LOOK_AGAIN);
        wait.until.map(|until| until.min(BlockNumber(self.block.0.saturating_add(span))))
    }

    /// What becomes of a window whose commit is final since `committed`.
    pub fn follow(
        &self,
        form: &WindowForm,
        committed: BlockNumber,
        weights: &[(Uid, Weight)],
        version_key: u64,
    ) -> Follow {
        if self.block < committed {
            let why = Waiting::EndpointBehind { at: self.block, known: committed };
            return Follow::Wait(Wait { until: Some(committed), why });
        }
        match form {
            // Set in the open it is over with its first call; a stored window cannot say otherwise.
            WindowForm::Open => Follow::End(WindowEnd::Set { block: committed }),
            WindowForm::Timelocked { digest, round } => {
                let held = self
                    .held(|form| matches!(form, OpenCommitForm::Timelocked { digest: d, .. } if d == digest));
                self.follow_timelocked(held, *round)
            }
            WindowForm::Hash { hash, salt } => {
                let held = self.held(|form| matches!(form, OpenCommitForm::Hash(h) if h == hash));
                let Some(held) = held else { return Follow::AskWeights(Lost::Gone) };
                if self.commit_reveal.is_none() {
                    return Follow::End(WindowEnd::Lost(Lost::SwitchedOff));
                }
                let reveal =
                    WeightsCall::Reveal { weights: weights.to_vec(), salt: salt.clone(), version_key };
                self.follow_hash(held, reveal)
            }
        }
    }

    /// The order that makes `call` here.
    pub const fn order(&self, call: WeightsCall) -> WeightsOrder {
        WeightsOrder { netuid: self.netuid, mechanism: self.mechanism, call }
    }

    fn follow_hash(&self, held: OpenCommit, reveal: WeightsCall) -> Follow {
        let due = held.epoch.saturating_add(self.reveal_period);
        let now = self.epochs.epoch_of(self.next_block(), self.block, self.netuid);
        if now > due {
            return Follow::End(WindowEnd::Lost(Lost::EpochPassed));
        }
        if now < held.epoch {
            return Follow::End(WindowEnd::Lost(Lost::OutOfReach));
        }
        if now < due {
            let first = self.epochs.first_block_of(due, self.block, self.netuid);
            // The reveal is to be in that block, so it is made on the one before.
            let until = first.map(|block| BlockNumber(block.0.saturating_sub(1)));
            let why = Waiting::RevealEpoch { committed: held.epoch, due, now };
            return Follow::Wait(Wait { until, why });
        }
        match self.check_of(&self.order(reveal), held) {
            Ok(()) => Follow::Reveal,
            Err(rule) => Follow::Wait(self.wait_for(rule)),
        }
    }

    fn follow_timelocked(&self, held: Option<OpenCommit>, round: u64) -> Follow {
        let Some(held) = held else { return Follow::AskWeights(Lost::NotRevealed) };
        let now = self.epochs.epoch_of(self.block, self.block, self.netuid);
        // The chain opens what it holds even while commit-reveal is off.
        let due = held.epoch.saturating_add(self.reveal_period);
        // Where epochs are counted by block height, a commit in an epoch's last block belongs to the next one.
        if now.saturating_add(1) < held.epoch {
            return Follow::End(WindowEnd::Lost(Lost::OutOfReach));
        }
        if now < due {
            let why = Waiting::RevealEpoch { committed: held.epoch, due, now };
            return Follow::Wait(Wait {
                until: self.epochs.first_block_of(due, self.block, self.netuid),
                why,
            });
        }
        if now == due {
            let last = self.beacon.as_ref().and_then(|beacon| beacon.last_round);
            let why = Waiting::Round { round, last };
            return Follow::Wait(Wait { until: Some(self.next_block()), why });
        }
        Follow::End(WindowEnd::Lost(Lost::NotRevealed))
    }

    fn held(&self, is: impl Fn(&OpenCommitForm) -> bool) -> Option<OpenCommit> {
        self.open_commits.iter().find(|commit| is(&commit.form)).copied()
    }

    fn form(
        &self,
        policy: &Policy,
        rules: CommitReveal,
        last: Option<&WindowEnd>,
        now: Timestamp,
    ) -> Option<Opening> {
        let dropped = matches!(last, Some(WindowEnd::Lost(Lost::NotRevealed)));
        let hash = rules.by_hash.then_some(Opening::CommitHash);
        let usable = rules.timelocked && rules.version.is_none_or(|version| version == TIMELOCK_VERSION);
        let timelocked = match &self.beacon {
            Some(beacon)
                if usable && beacon.stalled(now).is_none() && policy.commit == CommitChoice::Auto =>
            {
                self.reveal_round(now)
                    .map(|round| Opening::CommitTimelocked { round, version: TIMELOCK_VERSION })
            }
            _ => None,
        };
        if dropped { hash.or(timelocked) } else { timelocked.or(hash) }
    }

    /// Why there is no form to commit in.
    fn without_form(&self, rules: CommitReveal, now: Timestamp) -> Wait {
        let stalled =
            self.beacon.as_ref().filter(|_| rules.timelocked).and_then(|beacon| beacon.stalled(now));
        let why = stalled.map_or(Waiting::NoForm, |last| Waiting::BeaconStalled { last });
        Wait { until: None, why }
    }

    /// Whether a timelocked commit that no block takes after `dies` is sure to be of the epoch of the next block.
    ///
    /// # Errors
    /// What to wait for: it could be of the next epoch.
    pub fn check_slip(&self, dies: BlockNumber) -> Result<(), Wait> {
        let next = self.epochs.epoch_of(self.next_block(), self.block, self.netuid).saturating_add(1);
        let Some(next) = self.epochs.first_block_of(next, self.block, self.netuid) else { return Ok(()) };
        // Where epochs are counted by block height, the last block's commits belong to the next one.
        let modular = u64::from(matches!(self.epochs, EpochClock::Modular { .. }));
        let end = next.0.saturating_sub(modular);
        let room = self.epochs.length().saturating_mul(3) / 4;
        let short = room < WeightsCall::TIMELOCKED_ERA && end.saturating_sub(self.block.0) >= room;
        if dies.0 < end || short {
            return Ok(());
        }
        // A call made on the block before is in the next epoch.
        let until = Some(BlockNumber(next.0.saturating_sub(1)));
        Err(Wait { until, why: Waiting::EpochEnds { next } })
    }

    /// The round that the chain will have shortly after the first reveal block of a commit made in the next block, and
    /// nobody before it; none without a beacon or without epochs.
    pub fn reveal_round(&self, now: Timestamp) -> Option<u64> {
        let beacon = self.beacon.as_ref()?;
        let first = self.epochs.first_reveal_block(self.block, self.netuid, self.reveal_period)?;
        let margin = INGEST_MARGIN.min(self.epochs.length() / 4);
        let rounds_until = |block: u64| {
            let blocks = block.saturating_sub(self.block.0);
            beacon.clock.rounds_in(Millis(blocks.saturating_mul(self.block_time.0)))
        };
        let wanted = rounds_until(first.0.saturating_add(margin));
        // The newest round may be nearly a period old. Where the margin is shorter than that, it does not cover it.
        let rounds = wanted.max(rounds_until(first.0).saturating_add(1));
        let newest = beacon.last_round.or_else(|| beacon.clock.latest(now))?;
        newest.checked_add(rounds)
    }

    fn allowed(&self, call: WeightsCall) -> Result<(), Wait> {
        self.check(&self.order(call)).map_err(|rule| self.wait_for(rule))
    }

    fn wait_for(&self, rule: Rule) -> Wait {
        let until = match &rule {
            // The call may be made on the block before.
            Rule::TooFast { next, .. } => Some(BlockNumber(next.0.saturating_sub(1))),
            Rule::NoPermit | Rule::TooManyCommits(_) => {
                let next = self.epochs.epoch_of(self.block, self.block, self.netuid).saturating_add(1);
                self.epochs.first_block_of(next, self.block, self.netuid)
            }
            _ => None,
        };
        Wait { until, why: Waiting::Rule(rule) }
    }
}

#[cfg(test)]
mod tests;
