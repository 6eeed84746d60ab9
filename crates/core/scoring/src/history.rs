//! What a node's history says about it now: gate, score, ramp, ban.
//!
//! A history is folded entry by entry into a [`Record`], whose size is bounded whatever happens to the node, and which is
//! stored with it: what a check changes is one small record, not a month read again. Bans and ramp are
//! [`Conduct`], which the node has and each GPU that it proved ([`GpuRecord`], RULES R10): the same fold over the entries
//! that concern it. Folding all entries and going on from a stored record are the same, at any point.
//!
//! What depends on the moment only (the running ban, the age of the last full check, the success rate) is not stored but
//! asked of the record.

mod coding;
mod conduct;
mod gpu;
mod marks;
mod record;
mod verdicts;

pub use coding::RecordError;
pub use conduct::Conduct;
pub use gpu::GpuRecord;
pub use record::{Record, standing};

use basilica_types::{BasisPoints, Millis, Ppm, Timestamp};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// How deep a check looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// Liveness over SSH.
    Light,
    /// Everything, with the GPU proof.
    Full,
}

/// Who caused a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The node, confirmed as RULES R4 demands.
    ConfirmedNode,
    /// Looks like the node, but is not confirmed.
    SuspectedNode,
    /// The way between us.
    Network,
    /// This validator.
    Validator,
    /// Nobody can tell.
    Unknown,
}

impl Fault {
    /// Whether an attempt with this fault says anything about the node's SSH success rate (R1).
    const fn counts_as_attempt(self) -> bool {
        !matches!(self, Self::Network | Self::Validator)
    }
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No login, or the login did not answer.
    Reachability,
    /// Logged in, but what tenants need does not work there: the container engine, GPUs in containers, a port.
    Service,
    /// A proof that the verifier rejected.
    Proof,
    /// Logged in, but the machine is not what it must be.
    Hardware,
    /// A rental could not be started, or its container failed.
    Rental,
}

/// A finished check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// When its first attempt began.
    pub started: Timestamp,
    /// When its result was known; entries of a history are ordered by it.
    pub finished: Timestamp,
    /// How deep it looked.
    pub kind: CheckKind,
    /// None if it passed.
    pub failure: Option<(Failure, Fault)>,
}

/// Why a node is not available, as its miner says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Absence {
    /// The miner cannot reach it.
    Unreachable,
    /// The miner no longer lists it.
    Unlisted,
    /// Taken out by its operator.
    Maintenance,
    /// The validator's key is not confirmed on it.
    KeyPending,
}

impl Absence {
    /// Whether some of it is tolerated (R2): four hours in any two weeks. The rest is downtime from its start; or
    /// a miner could dodge every reset by not listing a node that is down.
    const fn is_leave(self) -> bool {
        matches!(self, Self::Maintenance | Self::KeyPending)
    }
}

/// One thing that happened to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A check.
    Check(Check),
    /// Its miner reported it as not available (R6), or as not available for another reason than before: no event, no
    /// weight, the ramp waits.
    Unavailable(Timestamp, Absence),
    /// Its miner reports it as available again.
    Available(Timestamp),
    /// Its miner vouches for another host than before: until a login on that, what is seen there says nothing about the
    /// hardware that was proved on the former (RULES R10).
    Moved(Timestamp),
}

impl Entry {
    /// When it became known; entries of a history are ordered by it.
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::Check(check) => check.finished,
            Self::Unavailable(at, _) | Self::Available(at) | Self::Moved(at) => *at,
        }
    }
}

/// The numbers of RULES R1–R3. Durations are configuration; the ban table is the seed's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Longest age of the last passed full check (default 12 h).
    pub full_max_age: Millis,
    /// Time to the full multiplier (default 14 d).
    pub ramp: Millis,
    /// Confirmed downtime above this resets the ramp (default 30 min).
    pub downtime_tolerance: Millis,
    /// Window of the SSH success rate (default 24 h).
    pub attempt_window: Millis,
}

impl Policy {
    /// What a record depends on that was folded by it: a record of another stamp is folded anew. Numbers that are asked for only
    /// with the standing are not in it.
    pub(crate) const fn stamp(&self) -> [u64; 2] {
        [self.downtime_tolerance.0, self.attempt_window.0]
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            full_max_age: Millis(12 * HOUR),
            ramp: Millis(14 * DAY),
            downtime_tolerance: Millis(HOUR / 2),
            attempt_window: Millis(DAY),
        }
    }
}

/// Why a node's score is what it is. The codes are part of the user interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// Past the gate: the score counts.
    Open,
    /// No full check has passed yet.
    AwaitingFullCheck,
    /// The last full check failed by a confirmed fault of the node.
    FullCheckFailed,
    /// The last passed full check is too old.
    FullCheckStale,
    /// Banned; see [`Standing::banned_until`].
    Banned,
    /// Its miner says that it is not available.
    Unavailable,
}

impl Gate {
    /// Every gate.
    pub const ALL: [Self; 6] = [
        Self::Open,
        Self::AwaitingFullCheck,
        Self::FullCheckFailed,
        Self::FullCheckStale,
        Self::Banned,
        Self::Unavailable,
    ];

    /// Stable code for logs, JSON and documentation.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Open => "ok",
            Self::AwaitingFullCheck => "awaiting_full_check",
            Self::FullCheckFailed => "full_check_failed",
            Self::FullCheckStale => "full_check_stale",
            Self::Banned => "executor_banned",
            Self::Unavailable => "unavailable",
        }
    }

    /// The gate with this code.
    pub fn by_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|gate| gate.code() == code)
    }

    /// The same in words, with what changes it.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Open => "the score counts",
            Self::AwaitingFullCheck => {
                "no full check has passed since the node became available; the next one decides"
            }
            Self::FullCheckFailed => {
                "the last full check failed by a confirmed fault of the node; its verdict says which, and the next full \
                 check that passes opens the gate"
            }
            Self::FullCheckStale => {
                "the last full check that passed is too old; the verdicts since then say why none has passed"
            }
            Self::Banned => {
                "banned for repeated confirmed faults; the verdicts say which, and the ban ends by itself"
            }
            Self::Unavailable => {
                "its miner does not name it as available; what the miner says is the node's state, and `basilica-miner \
                 health-check` there says why"
            }
        }
    }
}

/// What a history amounts to at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether and why not the node scores.
    pub gate: Gate,
    /// Zero unless the gate is open.
    pub score: BasisPoints,
    /// The uptime multiplier, whatever the gate says.
    pub multiplier: Ppm,
    /// End of the running ban.
    pub banned_until: Option<Timestamp>,
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "test arithmetic over small constants")]
mod tests;
