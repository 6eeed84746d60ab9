//! What stands in cells.

use basilica_status::{Alert, Gpus, Judgement, LastVerdict, NodeState, Severity, dollars, percent, span};
use basilica_types::{BasisPoints, Ppm, Rao, Timestamp, UsdMicros};

pub(crate) const NOTHING: &str = "–";

/// A hotkey or digest by its ends.
pub(crate) fn short(text: &str) -> String {
    let (length, kept) = (text.chars().count(), 6);
    if length <= 2 * kept + 1 {
        return text.to_owned();
    }
    let (head, tail): (String, String) =
        (text.chars().take(kept).collect(), text.chars().skip(length - kept).collect());
    format!("{head}…{tail}")
}

pub(crate) fn ago(now: Timestamp, then: Option<Timestamp>) -> String {
    then.map_or_else(|| NOTHING.to_owned(), |then| format!("{} ago", span(now.since(then))))
}

pub(crate) fn lasting(now: Timestamp, since: Option<Timestamp>) -> String {
    since.map_or_else(String::new, |since| span(now.since(since)))
}

pub(crate) fn ahead(now: Timestamp, then: Option<Timestamp>) -> String {
    match then {
        None => NOTHING.to_owned(),
        Some(then) if then <= now => "now".to_owned(),
        Some(then) => format!("in {}", span(then.since(now))),
    }
}

pub(crate) fn rate(rate: Option<UsdMicros>) -> String {
    rate.map_or_else(|| NOTHING.to_owned(), |rate| format!("${}", dollars(rate)))
}

pub(crate) fn share(share: Option<Ppm>) -> String {
    share.map_or_else(|| NOTHING.to_owned(), percent)
}

pub(crate) fn points(points: Option<BasisPoints>) -> String {
    let points = points.map(|points| u32::from(points.value()) * 100);
    share(points.and_then(|ppm| Ppm::new(ppm).ok()))
}

/// Stake in whole TAO.
pub(crate) fn stake(stake: Option<Rao>) -> String {
    stake.map_or_else(|| NOTHING.to_owned(), |stake| format!("{} TAO", stake.0 / 1_000_000_000))
}

pub(crate) fn watts(milliwatts: Option<u64>) -> String {
    milliwatts.map_or_else(|| NOTHING.to_owned(), |mw| format!("{} W", mw.saturating_add(500) / 1_000))
}

/// Of a badge: how bad it is.
pub(crate) const fn class(state: NodeState) -> &'static str {
    match state {
        NodeState::Healthy => "good",
        NodeState::Maintenance | NodeState::Unknown => "idle",
        NodeState::Degraded | NodeState::LockedOut => "warn",
        _ => "bad",
    }
}

pub(crate) const fn alert_class(alert: &Alert) -> &'static str {
    match alert.severity {
        Severity::Critical => "bad",
        Severity::Warning => "warn",
    }
}

/// A judgement in a few words, the worst first.
pub(crate) fn judged(judgement: &Judgement, now: Timestamp) -> (&'static str, String) {
    if let Some(until) = judgement.banned_until.filter(|until| *until > now) {
        return ("bad", format!("banned for {}", span(until.since(now))));
    }
    let score = points(judgement.score);
    match &judgement.last {
        Some(last) if !last.passed => ("bad", format!("{} · score {score}", last.reason)),
        Some(_) => ("good", format!("passed · score {score}")),
        None => ("idle", "no verdict yet".to_owned()),
    }
}

pub(crate) fn verdict(last: Option<&LastVerdict>, now: Timestamp) -> String {
    last.map_or_else(
        || NOTHING.to_owned(),
        |last| {
            let kind = if last.full { "full" } else { "light" };
            let fault = last.fault.as_ref().map_or_else(String::new, |fault| format!(", fault: {fault}"));
            let when = ago(now, Some(last.finished));
            format!("{} ({kind}, {when}{fault}): {}", last.reason, last.explanation)
        },
    )
}

/// Why there are no readings.
pub(crate) fn unread(gpus: &Gpus, now: Timestamp) -> String {
    match gpus {
        Gpus::Failed { at, why } => format!("nvidia-smi fails ({}): {why}", ago(now, Some(*at))),
        Gpus::NoTool { at } | Gpus::None { at } => format!("{} ({})", gpus.summary(), ago(now, Some(*at))),
        Gpus::Unasked | Gpus::Read { .. } => gpus.summary(),
    }
}
