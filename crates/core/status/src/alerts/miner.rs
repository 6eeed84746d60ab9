//! Alerts about the miner as a whole.

use basilica_types::{Kept, Millis, Ppm};

use super::{Alert, AlertCode, Severity, Subject};
use crate::{LittleRoom, MinerStatus, Registration, percent, span};

/// A start may take so long before its absence of results is told as trouble.
const SETTLING: Millis = Millis::from_secs(120);
/// The metagraph is read every minute or so.
const METAGRAPH_OLD: Millis = Millis::from_secs(300);
/// By a metagraph so old nobody is let in.
const METAGRAPH_TOO_OLD: Millis = Millis::from_secs(900);
/// Requests are refused at 300 s (RULES R8), and the newest block that is read is a few blocks old.
const CLOCK_AHEAD_MS: i64 = 240_000;
const CLOCK_BEHIND_MS: i64 = -30_000;
/// No validator for so long.
const UNSEEN: Millis = Millis::from_secs(6 * 3_600);
/// Of logins and of rounds.
const LEAST_RATE_PPM: u32 = 900_000;
/// Fewer refused discoveries are no trouble.
const LEAST_REFUSED: u64 = 3;
/// Fewer say nothing about a rate.
const LEAST_SAMPLES: u64 = 10;

pub(super) fn alerts(status: &MinerStatus) -> Vec<Alert> {
    let checks = [
        database,
        reload,
        registration,
        clock,
        chain,
        axon,
        nodes,
        validator,
        seen,
        logins,
        discoveries,
        rounds,
    ];
    checks.iter().filter_map(|check| check(status)).chain(disks(status)).chain(conditions(status)).collect()
}

fn alert(
    severity: Severity,
    code: AlertCode,
    (what, why, todo): (String, impl AsRef<str>, impl AsRef<str>),
) -> Alert {
    Alert {
        severity,
        code,
        subject: Subject::Miner,
        since: None,
        what: what.into(),
        why: why.as_ref().into(),
        todo: todo.as_ref().into(),
    }
}

fn database(status: &MinerStatus) -> Option<Alert> {
    let error = status.miner.database_error.as_ref()?;
    let what = format!("the database does not work: {error}");
    let why = "validators are refused and keys are not placed while nothing can be remembered";
    let todo = "basilica-miner database health says whether the file is damaged, and what to do then; else see that the disk has room (df -h) and \
                that the miner may write to database.url";
    Some(alert(Severity::Critical, AlertCode::DatabaseFailing, (what, why, todo)))
}

/// Each disk that is nearly full, but one that fails the database, which says so.
fn disks(status: &MinerStatus) -> impl Iterator<Item = Alert> {
    let is_told = |room: &LittleRoom| status.miner.is_database_full && room.is_of(Kept::Database);
    status.miner.little_room.iter().filter(move |room| !is_told(room)).map(|room| {
        let (costs, why) = if room.is_of(Kept::AuditLog) {
            (false, "lines that cannot be written are missing in the audit log; the miner goes on working")
        } else {
            (true, "validators are refused once their sessions cannot be stored")
        };
        let severity = if costs && room.is_none() { Severity::Critical } else { Severity::Warning };
        alert(severity, AlertCode::DiskNearlyFull, (room.to_string(), why, room.todo()))
    })
}

fn reload(status: &MinerStatus) -> Option<Alert> {
    let error = status.miner.reload_error.as_ref()?;
    let what = format!("the changed configuration was not taken up: {error}");
    let why = "the miner goes on with what it had, and a restart may not begin";
    let todo =
        "basilica-miner config validate says what is wrong; have it read again (SIGHUP) when that is mended";
    Some(alert(Severity::Warning, AlertCode::NotReloaded, (what, why, todo)))
}

fn registration(status: &MinerStatus) -> Option<Alert> {
    if status.miner.registration != Registration::Absent {
        return None;
    }
    let (hotkey, netuid, network) = (&status.miner.hotkey, status.miner.netuid, status.miner.network);
    let what = format!("hotkey {hotkey} is not registered on subnet {netuid} of {network}");
    let why = "validators look for miners on the chain and do not find this one";
    let todo = format!(
        "register it (btcli subnet register --netuid {netuid}), or name the wallet that is registered in [bittensor]"
    );
    Some(alert(Severity::Critical, AlertCode::NotRegistered, (what, why, todo)))
}

fn clock(status: &MinerStatus) -> Option<Alert> {
    let ahead = status.chain.clock_ahead_ms?;
    if (CLOCK_BEHIND_MS..=CLOCK_AHEAD_MS).contains(&ahead) {
        return None;
    }
    let word = if ahead < 0 { "behind" } else { "ahead of" };
    let what = format!("this host's clock is {} {word} the chain", span(Millis(ahead.unsigned_abs())));
    let why = "from 5 minutes on, requests of validators count as expired and are refused";
    let todo = "set the clock (timedatectl set-ntp true, then timedatectl timesync-status); if it is right, the chain's endpoint lags";
    Some(alert(Severity::Critical, AlertCode::ClockOff, (what, why, todo)))
}

fn chain(status: &MinerStatus) -> Option<Alert> {
    let since = status.chain.read;
    let silent = status.at.since(since.unwrap_or(status.miner.started));
    let limit = if since.is_some() { METAGRAPH_OLD } else { SETTLING };
    if silent <= limit {
        return None;
    }
    let severity =
        if since.is_none() || silent > METAGRAPH_TOO_OLD { Severity::Critical } else { Severity::Warning };
    let what = match since {
        Some(_) => format!("the chain has not answered for {}", span(silent)),
        None => format!("the chain has not answered since the start {} ago", span(silent)),
    };
    let why = "without a metagraph of the last 15 minutes nobody is let in";
    let todo = "see that bittensor.chain_endpoint is reachable from here, and name others in bittensor.fallback_endpoints";
    Some(Alert { since, ..alert(severity, AlertCode::ChainSilent, (what, why, todo)) })
}

fn axon(status: &MinerStatus) -> Option<Alert> {
    let axon = status.miner.axon;
    let is_known = matches!(status.miner.registration, Registration::Registered { .. });
    if !is_known || status.uptime() <= SETTLING {
        return None;
    }
    let (what, todo) = match (axon.configured, axon.on_chain) {
        (Some(own), on_chain) if on_chain != Some(own) => {
            let there = on_chain.map_or_else(|| "none".to_owned(), |there| there.to_string());
            let what = format!("the axon on chain is {there}, not {own}");
            let todo = if on_chain.is_some() {
                "see that no other miner runs with this hotkey; the condition `axon` of basilica-miner status says when this one publishes \
                 its address again; a restart does it at once"
            } else {
                "the condition `axon` of basilica-miner status says what the chain answers"
            };
            (what, todo)
        }
        (None, None) => {
            let todo =
                "set bittensor.external_ip to this server's public address (curl -4 ifconfig.me) and restart";
            ("the chain has no axon of this miner".to_owned(), todo)
        }
        _ => return None,
    };
    let why = "validators call the address that is on chain";
    Some(alert(Severity::Critical, AlertCode::AxonNotServed, (what, why, todo)))
}

fn nodes(status: &MinerStatus) -> Option<Alert> {
    if !status.nodes.is_empty() {
        return None;
    }
    let why = "a miner earns by its nodes";
    let todo = "put a GPU server to work: basilica-miner nodes add USER@HOST --hourly-rate-per-gpu USD";
    Some(alert(Severity::Warning, AlertCode::NoNodes, ("no nodes are configured".to_owned(), why, todo)))
}

fn validator(status: &MinerStatus) -> Option<Alert> {
    if status.chain.block.is_none() || !status.assignment.validators.is_empty() || status.nodes.is_empty() {
        return None;
    }
    let what = format!("no validator qualifies for the nodes ({})", status.assignment.strategy);
    let why = "nobody is given keys, so nobody can check the nodes";
    let todo = "look at [validator_assignment]: who is to have the nodes must have a permit on this subnet, and at least min_stake_threshold; the \
                log says why nobody qualifies";
    Some(alert(Severity::Warning, AlertCode::NoValidator, (what, why, todo)))
}

fn seen(status: &MinerStatus) -> Option<Alert> {
    let last = status.activity.validator_seen;
    let since = last.unwrap_or(status.miner.started);
    let unseen = status.at.since(since);
    if unseen <= UNSEEN {
        return None;
    }
    let what = match last {
        Some(_) => format!("no validator was let in for {}", span(unseen)),
        None => format!("no validator was let in since the start {} ago", span(unseen)),
    };
    let why = "nodes that nobody checks have no score";
    let todo = "see from outside that the axon's port is open (nc -vz ADDRESS PORT) and that the axon on chain is this one";
    Some(Alert { since: last, ..alert(Severity::Warning, AlertCode::ValidatorUnseen, (what, why, todo)) })
}

fn too_low(rate: Option<Ppm>, samples: u64) -> Option<Ppm> {
    rate.filter(|rate| samples >= LEAST_SAMPLES && rate.value() < LEAST_RATE_PPM)
}

fn logins(status: &MinerStatus) -> Option<Alert> {
    let activity = &status.activity;
    let rate = too_low(activity.login_rate(), activity.logins)?;
    let what = format!(
        "{} of {} logins of validators were granted in the last {}",
        percent(rate),
        activity.logins,
        span(activity.window)
    );
    let why = "validators that are refused do not see the nodes; strangers that knock count here too";
    let todo = "look for refusals in the log: each says who and why";
    Some(alert(Severity::Warning, AlertCode::LoginsRefused, (what, why, todo)))
}

/// A validator asks a few times an hour: two in three that are refused are no accident.
fn discoveries(status: &MinerStatus) -> Option<Alert> {
    let activity = &status.activity;
    let (all, refused) = (activity.discoveries, activity.discoveries_refused);
    if refused < LEAST_REFUSED || refused.saturating_mul(3) < all.saturating_mul(2) {
        return None;
    }
    let window = span(activity.window);
    let what = format!(
        "{refused} of {all} discoveries of validators that have nodes here were refused in the last {window}"
    );
    let why = "a validator whose discovery is refused gets no key onto the nodes, and does not check them";
    let todo = "look for \"Validator authentication failed\" in the log: it says whose and why; docs/troubleshooting.md says what to do then";
    Some(alert(Severity::Warning, AlertCode::DiscoveriesRefused, (what, why, todo)))
}

fn rounds(status: &MinerStatus) -> Option<Alert> {
    let activity = &status.activity;
    let rate = too_low(activity.round_rate(), activity.rounds)?;
    let what = format!(
        "{} of {} rounds on nodes succeeded in the last {}",
        percent(rate),
        activity.rounds,
        span(activity.window)
    );
    let why = "where this miner cannot log in, validators cannot either, and half of the score is their success rate";
    let todo = "look at the nodes that fail: each says why";
    Some(alert(Severity::Warning, AlertCode::RoundsFail, (what, why, todo)))
}

/// Conditions that nothing above explains better.
fn conditions(status: &MinerStatus) -> impl Iterator<Item = Alert> {
    let explained = ["metagraph", "axon", "database"];
    let others = status.miner.conditions.iter().filter(move |c| !explained.contains(&c.name.as_str()));
    let settled = status.uptime() > SETTLING;
    others.filter_map(move |condition| {
        let problem = condition.problem.as_ref().filter(|_| settled)?;
        let what = format!("condition {} does not hold: {problem}", condition.name);
        let why = "the miner is not ready";
        Some(alert(Severity::Warning, AlertCode::ConditionFails, (what, why, "the log says more")))
    })
}
