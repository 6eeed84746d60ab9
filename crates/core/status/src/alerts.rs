//! What somebody must look at, found in a snapshot.
//!
//! Thresholds that the seeds name are theirs: validators' logins and rounds on nodes below 90 %, no validator for six hours, a node
//! failing for an hour. Each alert says what is wrong, since when, why that matters and what to do next, with the command where
//! there is one. A fault that many nodes share is one alert: it has one cause.

mod miner;
mod node;

use basilica_types::{Hotkey, NodeAddress, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{MinerStatus, Words};

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Earnings are lost now.
    Critical,
    /// They will be, or something has less reserve than it should.
    Warning,
}

impl Severity {
    /// As it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

/// What kind of trouble it is; for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertCode {
    /// The database does not work.
    DatabaseFailing,
    /// The disk of something that the miner keeps is nearly full.
    DiskNearlyFull,
    /// The configuration was to be read again and was not taken up.
    NotReloaded,
    /// The hotkey has no place on the subnet.
    NotRegistered,
    /// The clock is not the chain's.
    ClockOff,
    /// The chain does not answer.
    ChainSilent,
    /// The chain has no axon of this miner, or another one.
    AxonNotServed,
    /// Another condition of readiness does not hold.
    ConditionFails,
    /// There is nothing to offer.
    NoNodes,
    /// Nobody qualifies for the nodes.
    NoValidator,
    /// No validator was let in for long.
    ValidatorUnseen,
    /// Too many logins of validators are refused.
    LoginsRefused,
    /// Discoveries of a validator that has nodes here are refused.
    DiscoveriesRefused,
    /// A node shows a host key that nobody approved.
    HostKeyChanged,
    /// A node cannot be logged into.
    NodeUnreachable,
    /// A node cannot be used for another reason.
    NodeFailing,
    /// A node lacks what every full check needs.
    NodeUnfit,
    /// A node's free maintenance is nearly used up, or it is.
    MaintenanceBudget,
    /// Too many rounds on nodes fail.
    RoundsFail,
    /// A validator has banned a node.
    BanRunning,
    /// A validator's full check found a node at fault.
    CheckFailed,
}

impl AlertCode {
    /// Every code.
    pub const ALL: [Self; 21] = [
        Self::DatabaseFailing,
        Self::DiskNearlyFull,
        Self::NotReloaded,
        Self::NotRegistered,
        Self::ClockOff,
        Self::ChainSilent,
        Self::AxonNotServed,
        Self::ConditionFails,
        Self::NoNodes,
        Self::NoValidator,
        Self::ValidatorUnseen,
        Self::LoginsRefused,
        Self::DiscoveriesRefused,
        Self::HostKeyChanged,
        Self::NodeUnreachable,
        Self::NodeFailing,
        Self::NodeUnfit,
        Self::MaintenanceBudget,
        Self::RoundsFail,
        Self::BanRunning,
        Self::CheckFailed,
    ];

    /// As in JSON and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DatabaseFailing => "database_failing",
            Self::DiskNearlyFull => "disk_nearly_full",
            Self::NotReloaded => "not_reloaded",
            Self::NotRegistered => "not_registered",
            Self::ClockOff => "clock_off",
            Self::ChainSilent => "chain_silent",
            Self::AxonNotServed => "axon_not_served",
            Self::ConditionFails => "condition_fails",
            Self::NoNodes => "no_nodes",
            Self::NoValidator => "no_validator",
            Self::ValidatorUnseen => "validator_unseen",
            Self::LoginsRefused => "logins_refused",
            Self::DiscoveriesRefused => "discoveries_refused",
            Self::HostKeyChanged => "host_key_changed",
            Self::NodeUnreachable => "node_unreachable",
            Self::NodeFailing => "node_failing",
            Self::NodeUnfit => "node_unfit",
            Self::MaintenanceBudget => "maintenance_budget",
            Self::RoundsFail => "rounds_fail",
            Self::BanRunning => "ban_running",
            Self::CheckFailed => "check_failed",
        }
    }
}

/// What an alert is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Subject {
    /// The miner, or many of its nodes.
    Miner,
    /// One node.
    Node {
        /// Its id.
        id: NodeId,
        /// Where it is.
        address: NodeAddress,
    },
    /// What a validator thinks of one node.
    Judgement {
        /// Its id.
        id: NodeId,
        /// Where it is.
        address: NodeAddress,
        /// Who thinks it.
        validator: Hotkey,
    },
}

/// Something that somebody must look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// How much it matters.
    pub severity: Severity,
    /// What kind of trouble.
    pub code: AlertCode,
    /// What it is about.
    pub subject: Subject,
    /// Since when, where that is known.
    pub since: Option<Timestamp>,
    /// What is wrong, in a line.
    pub what: Words,
    /// Why, and what follows from it.
    pub why: Words,
    /// What to do, with the command.
    pub todo: Words,
}

/// Everything in a snapshot that somebody must look at, the worst first. What [`MinerStatus::alerts`] holds is not looked at.
pub fn alerts(status: &MinerStatus) -> Vec<Alert> {
    let mut found = miner::alerts(status);
    found.extend(node::alerts(status));
    found.sort_by(|a, b| (a.severity, a.code, &a.subject).cmp(&(b.severity, b.code, &b.subject)));
    found
}

#[cfg(test)]
mod tests;
