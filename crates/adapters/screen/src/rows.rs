//! The tables' rows, for the screen and for plain text.

use basilica_status::{Alert, Judgement, MinerStatus, NodeStatus, SessionStatus, percent};
use basilica_types::Timestamp;

use crate::say::{self, ahead, lasting, or_nothing};

pub(crate) const NODES: [&str; 10] =
    ["node", "state", "for", "GPUs", "use", "heat", "power", "keys", "verdict", "ramp"];
pub(crate) const SESSIONS: [&str; 5] = ["validator", "session", "opened", "ends in", "nodes"];
pub(crate) const VERDICTS: [&str; 7] = ["node", "validator", "last", "full", "score", "ramp", "next in"];
pub(crate) const ALERTS: [&str; 3] = ["", "what", "next"];

pub(crate) fn node(node: &NodeStatus, now: Timestamp) -> [String; 10] {
    let ramp = node.judgements.iter().filter_map(|judgement| judgement.ramp).max();
    let watts = node.gpus.power_milliwatts().map(|mw| mw.saturating_add(500) / 1_000);
    [
        node.address.to_string(),
        node.state.as_str().to_owned(),
        lasting(now, node.since),
        node.gpus.summary(),
        or_nothing(node.gpus.utilization(), " %"),
        or_nothing(node.gpus.hottest(), " °C"),
        or_nothing(watts, " W"),
        node.keys.len().to_string(),
        say::verdicts(node, now),
        or_nothing(ramp.map(percent), ""),
    ]
}

pub(crate) fn session(session: &SessionStatus, now: Timestamp) -> [String; 5] {
    [
        session.validator.to_string(),
        session.id.to_string(),
        format!("{} ago", lasting(now, Some(session.since))),
        ahead(now, Some(session.until)),
        session.nodes.to_string(),
    ]
}

pub(crate) fn verdict(node: &NodeStatus, judgement: &Judgement, now: Timestamp) -> [String; 7] {
    [
        node.address.to_string(),
        say::short(&judgement.validator.to_string()),
        say::verdict(judgement.last.as_ref()),
        say::verdict(judgement.last_full.as_ref()),
        say::score(judgement),
        or_nothing(judgement.ramp.map(percent), ""),
        ahead(now, judgement.next_check),
    ]
}

pub(crate) fn alert(alert: &Alert) -> [String; 3] {
    [alert.severity.as_str().to_owned(), alert.what.to_string(), alert.todo.to_string()]
}

/// A node in full, line by line; a line that begins without a blank is a heading.
pub(crate) fn details(node: &NodeStatus, status: &MinerStatus) -> Vec<String> {
    let now = status.at;
    let mut lines = vec![
        format!("{} · {} for {}", node.address, node.state.as_str(), lasting(now, node.since)),
        format!("  id          {}", node.id),
        format!("  last round  {} ago", lasting(now, node.checked)),
    ];
    let mut told = |label: &str, value: Option<String>| {
        lines.extend(value.map(|value| format!("  {label:<10}  {value}")));
    };
    told("region", node.region.as_ref().map(ToString::to_string));
    told("error", node.error.as_ref().map(ToString::to_string));
    told("what to do", node.advice.as_ref().map(ToString::to_string));
    told("host key", node.host_keys.trusted.clone());
    told("offered", node.host_keys.offered.clone());
    let maintenance = node.maintenance;
    told(
        "drained",
        maintenance.map(|m| {
            format!("{} of {} in 14 days", basilica_status::span(m.used), basilica_status::span(m.of))
        }),
    );
    for key in &node.keys {
        told("carries", Some(format!("the key of session {key}")));
    }
    lines.push(format!("GPUs: {}", node.gpus.summary()));
    if let basilica_status::Gpus::Failed { why, .. } = &node.gpus {
        lines.push(format!("  {why}"));
    }
    for card in node.gpus.cards() {
        let memory = card.memory_used_mib.zip(card.memory_total_mib);
        lines.push(format!(
            "  {:>2}  {}  {}  {}  {}  {}",
            card.index,
            card.model,
            or_nothing(card.utilization_percent, " %"),
            or_nothing(memory.map(|(used, all)| format!("{used}/{all}")), " MiB"),
            or_nothing(card.temperature_celsius, " °C"),
            or_nothing(card.power_milliwatts.map(|mw| mw.saturating_add(500) / 1_000), " W"),
        ));
    }
    for judgement in &node.judgements {
        lines.push(format!("Validator {}", judgement.validator));
        lines.push(format!(
            "  listed as {}, score {}, ramp {}, next check in {}",
            judgement.listed,
            say::score(judgement),
            or_nothing(judgement.ramp.map(percent), ""),
            ahead(now, judgement.next_check)
        ));
        if let Some(until) = judgement.banned_until.filter(|until| *until > now) {
            lines.push(format!("  banned until {}", until.rfc3339()));
        }
        if let Some(gate) = &judgement.gate_explanation {
            lines.push(format!("  {gate}"));
        }
        for last in judgement.last.iter().chain(&judgement.last_full) {
            let kind = if last.full { "full " } else { "light" };
            lines.push(format!(
                "  {kind}  {} ago  {}: {}",
                lasting(now, Some(last.finished)),
                last.reason,
                last.explanation
            ));
        }
    }
    lines
}
