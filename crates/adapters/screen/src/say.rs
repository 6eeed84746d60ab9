//! What stands in cells.

use basilica_status::{Judgement, LastVerdict, MinerStatus, NodeStatus, Registration, percent, span};
use basilica_types::{Ppm, Timestamp};

pub(crate) const NOTHING: &str = "-";

pub(crate) fn or_nothing<T: std::fmt::Display>(value: Option<T>, unit: &str) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| format!("{value}{unit}"))
}

pub(crate) fn lasting(now: Timestamp, since: Option<Timestamp>) -> String {
    or_nothing(since.map(|since| span(now.since(since))), "")
}

pub(crate) fn ahead(now: Timestamp, until: Option<Timestamp>) -> String {
    or_nothing(until.filter(|until| *until > now).map(|until| span(until.since(now))), "")
}

/// A hotkey by its ends.
pub(crate) fn short(text: &str) -> String {
    match (text.get(..6), text.get(text.len().saturating_sub(6)..)) {
        (Some(head), Some(tail)) if text.len() > 13 => format!("{head}…{tail}"),
        _ => text.to_owned(),
    }
}

pub(crate) fn score(judgement: &Judgement) -> String {
    let ppm = judgement.score.and_then(|points| Ppm::new(u32::from(points.value()) * 100).ok());
    or_nothing(ppm.map(percent), "")
}

pub(crate) fn verdict(last: Option<&LastVerdict>) -> String {
    or_nothing(last.map(|last| &last.reason), "")
}

/// The verdicts of all validators on a node, the worst first.
pub(crate) fn verdicts(node: &NodeStatus, now: Timestamp) -> String {
    let banned = node.judgements.iter().filter_map(|judgement| judgement.banned_until).max();
    if let Some(until) = banned.filter(|until| *until > now) {
        return format!("banned {}", span(until.since(now)));
    }
    let failed = node.judgements.iter().filter_map(|judgement| judgement.last.as_ref());
    let worst = failed.min_by_key(|last| (last.passed, last.finished));
    verdict(worst)
}

/// The miner in two lines.
pub(crate) fn heading(status: &MinerStatus) -> [String; 2] {
    let miner = &status.miner;
    let place = match miner.registration {
        Registration::Unknown => "chain not read".to_owned(),
        Registration::Absent => "NOT REGISTERED".to_owned(),
        Registration::Registered { uid } => format!("uid {uid}"),
    };
    let ready = if status.is_ready() { "ready" } else { "NOT READY" };
    let assigned: Vec<String> =
        status.assignment.validators.iter().map(|v| short(&v.hotkey.to_string())).collect();
    let assigned = if assigned.is_empty() { "nobody".to_owned() } else { assigned.join(", ") };
    [
        format!(
            "{ready} · {} · {place} on {} {} · up {} · version {}",
            miner.hotkey,
            miner.network,
            miner.netuid,
            span(status.uptime()),
            miner.version
        ),
        format!(
            "block {} · assigned to {assigned} · share {} · rounds {} · logins {}",
            or_nothing(status.chain.block, ""),
            or_nothing(miner.share.map(|share| percent(share.share)), ""),
            or_nothing(status.activity.round_rate().map(percent), ""),
            or_nothing(status.activity.login_rate().map(percent), ""),
        ),
    ]
}
