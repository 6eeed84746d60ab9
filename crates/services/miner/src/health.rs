//! What a node's rounds add up to: pure, total, told by events with the time.
//!
//! A round that fails says little by itself, so a node that was lost sight of is `degraded` first and tried again on new
//! connections with short pauses; only when all of that failed is its loss told. Failures that no second attempt can
//! change (a denied login, a changed host key, a wrong clock) are told at once, and an sshd that shuts us out is left alone
//! for longer each time, because asking it again is what it punishes (RULES R25). Two orders of the operator stand
//! above whatever the rounds say: maintenance, and the wait for `nodes recover` where nodes are not taken back by themselves.

use basilica_status::NodeState;
use basilica_types::{Millis, NodeAddress, Timestamp};
use serde::Serialize;

/// First pause before a node that failed is tried again; doubles.
const RETRY_FIRST: Millis = Millis(500);
/// Longest of these pauses.
const RETRY_MOST: Millis = Millis(5_000);
/// First pause for an sshd that shuts us out; doubles. Its shortest punishment by default.
const LOCKOUT_FIRST: Millis = Millis::from_secs(15);
/// Longest of these pauses; sshd's longest punishment by default.
const LOCKOUT_MOST: Millis = Millis::from_secs(600);

/// Why a round failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No connection, or one that broke or hung.
    Network,
    /// The sshd refuses connections from this address for a while.
    LockedOut,
    /// The login is not accepted.
    Denied,
    /// The miner's own SSH key cannot be used.
    OwnKey,
    /// The host key is not the trusted one.
    HostKey,
    /// The node's clock.
    Clock,
    /// The file of keys, or what runs with them.
    AuthorizedKeys,
    /// The miner's own database.
    Database,
}

impl Cause {
    /// What the operator can do about it where it happened on this node. Brief: it is shown in few characters ([`basilica_status::Words`]),
    /// with the configuration in each command.
    pub fn remedy(self, node: &NodeAddress) -> String {
        match self {
            Self::Network => format!(
                "basilica-miner doctor --node {node} says why; check that the node is up and that its SSH port answers from this host"
            ),
            Self::LockedOut => {
                "wait: the miner asks less and less often; if it lasts, exempt this host with PerSourcePenaltyExemptList or raise \
                 MaxStartups in the node's sshd_config"
                    .to_owned()
            }
            Self::Denied => format!(
                "basilica-miner nodes add {node} lets the miner's key in again; if not: basilica-miner doctor --node {node}"
            ),
            Self::OwnKey => {
                "basilica-miner doctor --quick says what is wrong with the file of ssh_session.miner_node_key_path".to_owned()
            }
            Self::HostKey => format!(
                "compare with ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub on the node itself, then: basilica-miner nodes add {node} \
                 --fingerprint SHA256:..."
            ),
            Self::Clock => "set the node's clock (NTP): timedatectl set-ntp true".to_owned(),
            Self::AuthorizedKeys => format!(
                "basilica-miner doctor --node {node} looks at ~/.ssh/authorized_keys there: its owner, its size, free space on its disk"
            ),
            Self::Database => "basilica-miner doctor --quick says what is wrong with the miner's database".to_owned(),
        }
    }
}

/// What the operator ordered for a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It is taken out.
    pub maintenance: bool,
    /// It stays out after a failure until its operator takes it back.
    pub held: bool,
}

/// What happened to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A round ended as it should.
    Succeeded,
    /// A round failed.
    Failed {
        /// Why.
        cause: Cause,
        /// Whether it had logged in.
        connected: bool,
    },
    /// This is what the operator wants now.
    Ordered(Standing),
}

/// How nodes are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    /// Between two rounds.
    pub interval: Millis,
    /// Attempts after the first failed one before a loss is told.
    pub retries: u32,
    /// Whether a lost node is taken back by itself.
    pub auto_recovery: bool,
}

/// One node's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    state: NodeState,
    since: Timestamp,
    attempts: u32,
    lockouts: u32,
    was_well: bool,
    standing: Standing,
}

impl Health {
    /// That of a node of which nothing is known yet.
    pub const fn new(now: Timestamp) -> Self {
        let standing = Standing { maintenance: false, held: false };
        Self { state: NodeState::Unknown, since: now, attempts: 0, lockouts: 0, was_well: false, standing }
    }

    /// What the node is.
    pub const fn state(&self) -> NodeState {
        self.state
    }

    /// Since when.
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// Rounds that failed since the last one that did not.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether a round on the node ever ended as it should.
    pub const fn was_well(&self) -> bool {
        self.was_well
    }

    /// Whether the node's sshd is to be left alone until the pause is over, whoever asks.
    pub const fn is_locked_out(&self) -> bool {
        self.lockouts > 0
    }

    /// Whether further attempts follow before the last failure means anything.
    pub const fn is_retrying(&self) -> bool {
        matches!(self.state, NodeState::Degraded)
    }

    /// What is after `event`. True beside it if the node is to be held from now on.
    #[must_use]
    pub fn after(self, event: Event, policy: &HealthPolicy, now: Timestamp) -> (Self, bool) {
        let mut next = self;
        let mut hold = false;
        let judged = match event {
            Event::Ordered(standing) => {
                next.standing = standing;
                let was_ordered = matches!(self.state, NodeState::Maintenance | NodeState::AwaitingOperator);
                if was_ordered && standing == Standing::default() {
                    next.attempts = 0;
                    NodeState::Unknown
                } else {
                    self.state
                }
            }
            Event::Succeeded => {
                (next.attempts, next.lockouts, next.was_well) = (0, 0, true);
                NodeState::Healthy
            }
            Event::Failed { cause, connected } => {
                next.attempts = self.attempts.saturating_add(1);
                next.lockouts = if cause == Cause::LockedOut { self.lockouts.saturating_add(1) } else { 0 };
                let judged = judge(cause, connected, next.attempts > policy.retries);
                hold = judged == NodeState::Unreachable
                    && self.was_well
                    && !policy.auto_recovery
                    && self.standing == Standing::default();
                judged
            }
        };
        next.standing.held |= hold;
        next.state = match next.standing {
            Standing { maintenance: true, .. } => NodeState::Maintenance,
            Standing { held: true, .. } => NodeState::AwaitingOperator,
            Standing { .. } => judged,
        };
        if next.state != self.state {
            next.since = now;
        }
        (next, hold)
    }

    /// Until the next round, if nothing happens in between.
    pub fn pause(&self, policy: &HealthPolicy) -> Millis {
        if self.lockouts > 0 {
            let pause = doubled(LOCKOUT_FIRST, self.lockouts - 1, LOCKOUT_MOST);
            return if pause > policy.interval { pause } else { policy.interval };
        }
        if self.is_retrying() {
            return doubled(RETRY_FIRST, self.attempts.saturating_sub(1), RETRY_MOST).min(policy.interval);
        }
        policy.interval
    }
}

/// What a failed round makes of a node, if its operator ordered nothing. `enough`: no further attempt is due.
const fn judge(cause: Cause, connected: bool, enough: bool) -> NodeState {
    match cause {
        Cause::Network if !enough => NodeState::Degraded,
        Cause::Network if connected => NodeState::KeyPending,
        Cause::Network | Cause::Denied | Cause::OwnKey => NodeState::Unreachable,
        Cause::LockedOut => NodeState::LockedOut,
        Cause::HostKey => NodeState::HostKeyChanged,
        Cause::Clock => NodeState::ClockWrong,
        Cause::AuthorizedKeys | Cause::Database => NodeState::KeyPending,
    }
}

fn doubled(first: Millis, times: u32, most: Millis) -> Millis {
    let factor = 1_u64.checked_shl(times).unwrap_or(u64::MAX);
    Millis(first.0.saturating_mul(factor)).min(most)
}

#[cfg(test)]
mod tests;
