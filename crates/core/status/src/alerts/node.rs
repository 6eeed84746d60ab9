//! Alerts about nodes.

use basilica_types::{Millis, Timestamp};

use super::{Alert, AlertCode, Severity, Subject};
use crate::{Allowance, Containers, Gpus, Judgement, MinerStatus, NodeState, NodeStatus, Words, span};

/// A node that fails for so long loses its ramp.
const FAILING_LONG: Millis = Millis::from_secs(3_600);
/// A full check that passed says for so long that nothing is missing.
const JUST_PASSED: Millis = Millis::from_secs(900);
/// More nodes than this with the same trouble are told together.
const TOLD_EACH: usize = 6;
/// Addresses that an alert about many names.
const NAMED: usize = 3;

pub(super) fn alerts(status: &MinerStatus) -> Vec<Alert> {
    let kinds = [host_key, unreachable, failing_otherwise, uncleaned, unfit, maintenance];
    let own = kinds.iter().flat_map(|kind| {
        let each = status.nodes.iter().filter_map(|node| kind(node, status.at));
        grouped(each.collect())
    });
    let judged = [banned, failed].into_iter().flat_map(|kind| {
        let all = status.nodes.iter().flat_map(|node| node.judgements.iter().map(move |j| (node, j)));
        grouped(all.filter_map(|(node, judgement)| kind(node, judgement, status.at)).collect())
    });
    own.chain(judged).collect()
}

/// One for all of them if they are many.
fn grouped(alerts: Vec<Alert>) -> Vec<Alert> {
    let (count, Some(first)) = (alerts.len(), alerts.first()) else { return alerts };
    if count <= TOLD_EACH {
        return alerts;
    }
    let names = alerts.iter().take(NAMED).filter_map(|alert| match &alert.subject {
        Subject::Miner => None,
        Subject::Node { address, .. } | Subject::Judgement { address, .. } => Some(address.to_string()),
    });
    let names: Vec<String> = names.collect();
    let what = match first.code {
        AlertCode::HostKeyChanged => "show another host key than the trusted one",
        AlertCode::NodeUnreachable => "cannot be logged into",
        AlertCode::NodeFailing => "cannot be used",
        AlertCode::NodeUnfit => "lack what every full check needs",
        AlertCode::MaintenanceBudget => "have used up most of their free maintenance",
        AlertCode::BanRunning => "are banned",
        _ => "failed their last full check",
    };
    let (severity, code) = (alerts.iter().map(|alert| alert.severity).min(), first.code);
    vec![Alert {
        severity: severity.unwrap_or(first.severity),
        code,
        subject: Subject::Miner,
        since: alerts.iter().filter_map(|alert| alert.since).min(),
        what: format!("{count} nodes {what}: {} and others", names.join(", ")).into(),
        why: format!("so many at once usually have one cause; of the first: {}", first.why).into(),
        todo: format!("begin with the first: {}", first.todo).into(),
    }]
}

fn about(node: &NodeStatus) -> Subject {
    Subject::Node { id: node.id, address: node.address.clone() }
}

fn host_key(node: &NodeStatus, _: Timestamp) -> Option<Alert> {
    let offered = node.host_keys.offered.as_ref()?;
    let todo = format!(
        "on the node itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub; if that is it: basilica-miner host-key approve {} {offered}",
        node.id
    );
    Some(Alert {
        severity: Severity::Critical,
        code: AlertCode::HostKeyChanged,
        subject: about(node),
        since: node.since,
        what: format!("{} shows host key {offered}, which nobody approved", node.address).into(),
        why: "the node was set up anew, or somebody stands between; it is not used until you decide".into(),
        todo: todo.into(),
    })
}

fn failing(node: &NodeStatus, now: Timestamp, code: AlertCode, what: &str) -> Alert {
    let lasting = node.since.map(|since| now.since(since));
    let is_long = lasting.is_some_and(|lasting| lasting > FAILING_LONG);
    let spell = lasting.map_or_else(String::new, |lasting| format!(" for {}", span(lasting)));
    let consequence = if is_long {
        "downtime of more than 30 minutes resets the uptime ramp"
    } else {
        "validators give it no score meanwhile"
    };
    let why =
        node.error.as_ref().map_or_else(|| consequence.to_owned(), |error| format!("{error}; {consequence}"));
    let NodeStatus { address, .. } = node;
    let by_hand = || {
        format!(
            "log in as the miner does: ssh -i MINER_NODE_KEY -p {} {}@{}; basilica-miner doctor --node {address} says why",
            address.port(),
            address.user,
            address.host
        )
        .into()
    };
    Alert {
        severity: if is_long { Severity::Critical } else { Severity::Warning },
        code,
        subject: about(node),
        since: node.since,
        what: format!("{address} {what}{spell}").into(),
        why: why.into(),
        todo: node.advice.clone().unwrap_or_else(by_hand),
    }
}

fn unreachable(node: &NodeStatus, now: Timestamp) -> Option<Alert> {
    // With another host key it is unreachable too, and that is told better.
    let is_it = node.state == NodeState::Unreachable && node.host_keys.offered.is_none();
    is_it.then(|| failing(node, now, AlertCode::NodeUnreachable, "cannot be logged into"))
}

fn failing_otherwise(node: &NodeStatus, now: Timestamp) -> Option<Alert> {
    let told = matches!(node.state, NodeState::Unreachable) || node.host_keys.offered.is_some();
    if !node.state.is_failing() || told {
        return None;
    }
    let what = match node.state {
        NodeState::KeyPending => "does not take validators' keys",
        NodeState::ClockWrong => "has a wrong clock",
        NodeState::LockedOut => "shuts this host out",
        NodeState::HostKeyChanged => "shows another host key than the configured one",
        _ => "stays out until you take it back",
    };
    Some(failing(node, now, AlertCode::NodeFailing, what))
}

/// A node that was drained and does not let the miner in.
fn uncleaned(node: &NodeStatus, _: Timestamp) -> Option<Alert> {
    let (until, error) = (node.unclean_until?, node.error.as_ref()?);
    if node.host_keys.offered.is_some() {
        return None;
    }
    let NodeStatus { address, .. } = node;
    let by_hand = || format!("basilica-miner doctor --node {address} says why").into();
    Some(Alert {
        severity: Severity::Warning,
        code: AlertCode::NodeFailing,
        subject: about(node),
        since: node.since,
        what: format!("{address} is out for maintenance, and validators' keys may still be on it").into(),
        why: format!("{error}; the last of them ends by itself at {}", until.rfc3339()).into(),
        todo: node.advice.clone().unwrap_or_else(by_hand),
    })
}

/// What a validator would fail the node for, unless one has just found all of it there.
fn unfit(node: &NodeStatus, now: Timestamp) -> Option<Alert> {
    let has_just_passed = |judgement: &Judgement| {
        judgement
            .last_full
            .as_ref()
            .is_some_and(|last| last.passed && now.since(last.finished) <= JUST_PASSED)
    };
    if node.state != NodeState::Healthy || node.judgements.iter().any(has_just_passed) {
        return None;
    }
    let gpus = match &node.gpus {
        Gpus::Unasked | Gpus::Read { .. } => None,
        Gpus::NoTool { .. } => Some("has no nvidia-smi".to_owned()),
        Gpus::None { .. } => Some("shows no GPU".to_owned()),
        Gpus::Failed { why, .. } => Some(format!("does not show its GPUs ({why})")),
    };
    let containers = match &node.containers {
        Containers::Unknown | Containers::Usable { .. } => None,
        Containers::Missing { .. } => Some("has neither docker nor podman".to_owned()),
        Containers::Denied { program, why, .. } => {
            Some(format!("has a {program} that does not work for this login ({why})"))
        }
    };
    let lacks: Vec<String> = [gpus, containers].into_iter().flatten().collect();
    if lacks.is_empty() {
        return None;
    }
    Some(Alert {
        severity: Severity::Warning,
        code: AlertCode::NodeUnfit,
        subject: about(node),
        since: None,
        what: format!("{} {}", node.address, lacks.join(", and ")).into(),
        why: "as long as that is so, every full check of a validator fails on it, and it gets no score"
            .into(),
        todo: format!("basilica-miner doctor --node {} says what to install or to change", node.address)
            .into(),
    })
}

fn maintenance(node: &NodeStatus, _: Timestamp) -> Option<Alert> {
    let Allowance { used, of } = node.maintenance?;
    let is_over = used >= of;
    if used.0 < of.0 / 4 * 3 {
        return None;
    }
    let todo = if node.state == NodeState::Maintenance {
        format!("take it back: basilica-miner nodes undrain {}", node.id)
    } else {
        "put off further maintenance".to_owned()
    };
    Some(Alert {
        severity: if is_over { Severity::Critical } else { Severity::Warning },
        code: AlertCode::MaintenanceBudget,
        subject: about(node),
        since: None,
        what: format!(
            "{}: {} of {} of maintenance in 14 days are used up",
            node.address,
            span(used),
            span(of)
        )
        .into(),
        why: "what goes beyond counts as downtime, which resets the uptime ramp".into(),
        todo: todo.into(),
    })
}

fn by(node: &NodeStatus, judgement: &Judgement) -> Subject {
    Subject::Judgement { id: node.id, address: node.address.clone(), validator: judgement.validator }
}

fn banned(node: &NodeStatus, judgement: &Judgement, now: Timestamp) -> Option<Alert> {
    let until = judgement.banned_until.filter(|until| *until > now)?;
    let reason =
        judgement.last_full.as_ref().filter(|last| !last.passed).map(|last| last.explanation.clone());
    let why = reason.unwrap_or_else(|| Words::from("several checks failed within a short time"));
    Some(Alert {
        severity: Severity::Critical,
        code: AlertCode::BanRunning,
        subject: by(node, judgement),
        since: None,
        what: format!(
            "{} is banned for another {}, until {}",
            node.address,
            span(until.since(now)),
            until.rfc3339()
        )
        .into(),
        why,
        todo:
            "mend what the last verdict names: checks go on during a ban, and a failure after it is a new one"
                .into(),
    })
}

fn failed(node: &NodeStatus, judgement: &Judgement, now: Timestamp) -> Option<Alert> {
    let last = judgement.last_full.as_ref().filter(|last| !last.passed)?;
    let is_ours = last.fault.as_ref().is_some_and(|fault| fault.as_str().starts_with("node"));
    let is_told = judgement.banned_until.is_some_and(|until| until > now);
    if !is_ours || is_told {
        return None;
    }
    Some(Alert {
        severity: Severity::Critical,
        code: AlertCode::CheckFailed,
        subject: by(node, judgement),
        since: Some(last.finished),
        what: format!("{} failed its last full check: {}", node.address, last.reason).into(),
        why: last.explanation.clone(),
        todo: format!("docs/reasons.md says what to do about {}", last.reason).into(),
    })
}
