//! Nodes and their GPUs.

use std::collections::BTreeMap;

use basilica_types::{GpuUuid, Hotkey, Millis, NodeAddress, NodeId, SessionId, Timestamp, UsdMicros};
use serde::{Deserialize, Serialize};

use crate::{Judgement, Words};

/// How a node is doing, as the miner sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// No login, however often it was tried.
    Unreachable,
    /// It shows another host key than the trusted one.
    HostKeyChanged,
    /// Its clock is wrong, so keys would not end when they should.
    ClockWrong,
    /// A login works, but the validators' keys are not confirmed.
    KeyPending,
    /// Its sshd shuts this host out for a while.
    LockedOut,
    /// It was lost, and its operator wants to take it back by hand.
    AwaitingOperator,
    /// The last attempts failed; more follow at once.
    Degraded,
    /// The first round has not ended yet.
    Unknown,
    /// Taken out by its operator.
    Maintenance,
    /// The node carries exactly the keys it should.
    Healthy,
}

impl NodeState {
    /// Every state, the worst first.
    pub const ALL: [Self; 10] = [
        Self::Unreachable,
        Self::HostKeyChanged,
        Self::ClockWrong,
        Self::KeyPending,
        Self::LockedOut,
        Self::AwaitingOperator,
        Self::Degraded,
        Self::Unknown,
        Self::Maintenance,
        Self::Healthy,
    ];

    /// As it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::HostKeyChanged => "host key changed",
            Self::ClockWrong => "clock wrong",
            Self::KeyPending => "key pending",
            Self::LockedOut => "locked out",
            Self::AwaitingOperator => "awaiting operator",
            Self::Degraded => "degraded",
            Self::Unknown => "not checked yet",
            Self::Maintenance => "maintenance",
            Self::Healthy => "healthy",
        }
    }

    /// Whether somebody must look after it. [`Self::Degraded`] is not one of these: it passes by itself or becomes one.
    pub const fn is_failing(self) -> bool {
        !matches!(self, Self::Degraded | Self::Unknown | Self::Maintenance | Self::Healthy)
    }
}

/// A node's host keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKeys {
    /// Fingerprint of the one that is trusted; none before the first contact.
    pub trusted: Option<String>,
    /// Fingerprint of another one that it shows and that waits for approval.
    pub offered: Option<String>,
}

/// How much of something was used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// So much.
    pub used: Millis,
    /// Of so much.
    pub of: Millis,
}

/// One of the miner's nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its id.
    pub id: NodeId,
    /// Where to log in.
    pub address: NodeAddress,
    /// Where it stands, as the operator calls it.
    pub region: Option<Words>,
    /// Price per GPU and hour; none: never offered for rent.
    pub hourly_rate_per_gpu: Option<UsdMicros>,
    /// How it is doing.
    pub state: NodeState,
    /// Since when; none while it starts.
    pub since: Option<Timestamp>,
    /// When the last round on it ended.
    pub checked: Option<Timestamp>,
    /// How long the last successful round took.
    pub latency: Option<Millis>,
    /// How much of the maintenance that costs nothing was used up.
    pub maintenance: Option<Allowance>,
    /// Why the last round failed.
    pub error: Option<Words>,
    /// What to do about it.
    pub advice: Option<Words>,
    /// By which keys it is known.
    pub host_keys: HostKeys,
    /// To whom it is assigned.
    pub assigned: Vec<Hotkey>,
    /// Sessions whose key it carries.
    pub keys: Vec<SessionId>,
    /// Until when a validator's key may be on it at the longest, for one that is out for maintenance and cannot be cleaned.
    #[serde(default)]
    pub unclean_until: Option<Timestamp>,
    /// What is plugged into it.
    pub gpus: Gpus,
    /// What runs containers on it.
    #[serde(default)]
    pub containers: Containers,
    /// What validators think of it.
    pub judgements: Vec<Judgement>,
}

/// How the miner's login can run containers on the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Containers {
    /// It was not asked yet, or did not answer.
    #[default]
    Unknown,
    /// By this program.
    Usable {
        /// When it was asked.
        at: Timestamp,
        /// `docker` or `podman`.
        program: Words,
    },
    /// The program is there and does not work for this login.
    Denied {
        /// When it was asked.
        at: Timestamp,
        /// `docker` or `podman`.
        program: Words,
        /// In its own words.
        why: Words,
    },
    /// There is neither docker nor podman.
    Missing {
        /// When it was asked.
        at: Timestamp,
    },
}

/// What the node's driver tells of its GPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Gpus {
    /// Not yet.
    #[default]
    Unasked,
    /// There is no `nvidia-smi`.
    NoTool {
        /// When it was asked.
        at: Timestamp,
    },
    /// `nvidia-smi` ran and found none.
    None {
        /// When it was asked.
        at: Timestamp,
    },
    /// `nvidia-smi` failed, or said what cannot be read.
    Failed {
        /// When it was asked.
        at: Timestamp,
        /// Why.
        why: Words,
    },
    /// In order of their index.
    Read {
        /// When it was asked.
        at: Timestamp,
        /// The driver's version.
        driver: Words,
        /// One each.
        cards: Vec<GpuReading>,
    },
}

impl Gpus {
    /// The readings; empty if there are none.
    pub fn cards(&self) -> &[GpuReading] {
        match self {
            Self::Read { cards, .. } => cards,
            _ => &[],
        }
    }

    /// When the node was asked last.
    pub const fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Unasked => None,
            Self::NoTool { at } | Self::None { at } | Self::Failed { at, .. } | Self::Read { at, .. } => {
                Some(*at)
            }
        }
    }

    /// What there is, in a few words: `8 × NVIDIA H100 80GB HBM3`, or why nothing is known.
    pub fn summary(&self) -> String {
        match self {
            Self::Unasked => "not asked yet".to_owned(),
            Self::NoTool { .. } => "no nvidia-smi".to_owned(),
            Self::None { .. } => "no GPU".to_owned(),
            Self::Failed { .. } => "nvidia-smi fails".to_owned(),
            Self::Read { cards, .. } => {
                let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
                for card in cards {
                    let count = counts.entry(card.model.as_str()).or_default();
                    *count = count.saturating_add(1);
                }
                let each = counts.iter().map(|(model, count)| format!("{count} × {model}"));
                each.collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// Mean of the cards that tell it, in percent.
    pub fn utilization(&self) -> Option<u64> {
        let told: Vec<u64> =
            self.cards().iter().filter_map(|card| card.utilization_percent).map(u64::from).collect();
        told.iter().fold(0_u64, |sum, one| sum.saturating_add(*one)).checked_div(told.len() as u64)
    }

    /// Of the hottest card that tells it, in degrees Celsius.
    pub fn hottest(&self) -> Option<u16> {
        self.cards().iter().filter_map(|card| card.temperature_celsius).max()
    }

    /// Drawn by all cards that tell it.
    pub fn power_milliwatts(&self) -> Option<u64> {
        let told = self.cards().iter().filter_map(|card| card.power_milliwatts);
        told.reduce(u64::saturating_add)
    }
}

/// One GPU at one moment. What the driver does not tell (`[N/A]`) is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuReading {
    /// The driver's number.
    pub index: u16,
    /// Its identity.
    pub uuid: Option<GpuUuid>,
    /// What the driver calls it.
    pub model: Words,
    /// Share of time in which it worked, 0 to 100.
    pub utilization_percent: Option<u8>,
    /// Memory in use.
    pub memory_used_mib: Option<u64>,
    /// Memory.
    pub memory_total_mib: Option<u64>,
    /// Of the chip.
    pub temperature_celsius: Option<u16>,
    /// Drawn now.
    pub power_milliwatts: Option<u64>,
    /// The most that it may draw.
    pub power_limit_milliwatts: Option<u64>,
}
