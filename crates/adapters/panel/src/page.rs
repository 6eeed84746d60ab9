//! The pages' content, put into words before a template sees it.

use askama::Template;
use basilica_status::{
    Alert, GpuReading, Judgement, MinerStatus, NodeState, NodeStatus, Registration, Subject, counted,
    percent, span,
};
use basilica_types::NodeId;

use crate::say::{self, NOTHING};

/// A number with what it counts.
struct Tile {
    label: &'static str,
    value: String,
    note: String,
    class: &'static str,
}

/// An alert as it is shown.
struct AlertRow<'a> {
    class: &'static str,
    severity: &'static str,
    alert: &'a Alert,
    since: String,
    node: Option<NodeId>,
}

/// A node in the table.
struct NodeRow<'a> {
    node: &'a NodeStatus,
    class: &'static str,
    lasting: String,
    rate: String,
    gpus: String,
    utilization: Option<u64>,
    heat: String,
    power: String,
    judged: Vec<(&'static str, String)>,
    ramp: String,
}

struct SessionRow {
    id: String,
    validator: String,
    since: String,
    until: String,
    nodes: u32,
}

struct ValidatorRow {
    hotkey: String,
    assigned: bool,
    place: String,
    answered: String,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview<'a> {
    status: &'a MinerStatus,
    title: String,
    time: String,
    ready: bool,
    place: String,
    tiles: Vec<Tile>,
    alerts: Vec<AlertRow<'a>>,
    nodes: Vec<NodeRow<'a>>,
    sessions: Vec<SessionRow>,
    validators: Vec<ValidatorRow>,
}

/// A GPU in a node's table.
struct GpuRow<'a> {
    gpu: &'a GpuReading,
    uuid: String,
    memory: Option<(u64, u64)>,
    heat: String,
    power: String,
}

/// A validator's opinion in full.
struct JudgementRow<'a> {
    judgement: &'a Judgement,
    class: &'static str,
    summary: String,
    score: String,
    ramp: String,
    ban: String,
    next: String,
    last: String,
    last_full: String,
    at: String,
}

#[derive(Template)]
#[template(path = "node.html")]
struct NodePage<'a> {
    title: String,
    time: String,
    node: &'a NodeStatus,
    class: &'static str,
    lasting: String,
    facts: Vec<(&'static str, String)>,
    alerts: Vec<AlertRow<'a>>,
    gpus: Vec<GpuRow<'a>>,
    unread: String,
    driver: String,
    judgements: Vec<JudgementRow<'a>>,
}

fn render(template: &impl Template) -> String {
    template.render().expect("a page is written to memory, and its values are plain texts and numbers")
}

/// RFC 3339 without what is below a second.
fn clock(status: &MinerStatus) -> String {
    status.at.rfc3339().replace('T', " ").split('.').next().unwrap_or_default().to_owned()
}

pub(crate) fn overview(status: &MinerStatus) -> String {
    let place = match status.miner.registration {
        Registration::Unknown => "chain not read yet".to_owned(),
        Registration::Absent => "not registered".to_owned(),
        Registration::Registered { uid } => format!("uid {uid}"),
    };
    let healthy = status.count(NodeState::Healthy);
    let title = format!(
        "{healthy}/{} · {} · miner",
        counted(status.nodes.len(), "node"),
        counted(status.alerts.len(), "alert")
    );
    render(&Overview {
        status,
        title,
        time: clock(status),
        ready: status.is_ready(),
        place,
        tiles: tiles(status),
        alerts: status.alerts.iter().map(|alert| alert_row(alert, status)).collect(),
        nodes: by_trouble(status).into_iter().map(|node| node_row(node, status)).collect(),
        sessions: status.sessions.iter().map(|session| session_row(session, status)).collect(),
        validators: status.validators.iter().map(|validator| validator_row(validator, status)).collect(),
    })
}

/// Those that fail first, then as configured.
fn by_trouble(status: &MinerStatus) -> Vec<&NodeStatus> {
    let mut nodes: Vec<&NodeStatus> = status.nodes.iter().collect();
    nodes.sort_by_key(|node| node.state);
    nodes
}

fn tiles(status: &MinerStatus) -> Vec<Tile> {
    let tile = |label, value: String, note: String, class| Tile { label, value, note, class };
    let (healthy, all) = (status.count(NodeState::Healthy), status.nodes.len());
    let failing = status.nodes.iter().filter(|node| node.state.is_failing()).count();
    let cards: Vec<&GpuReading> = status.nodes.iter().flat_map(|node| node.gpus.cards()).collect();
    let told: Vec<u64> = cards.iter().filter_map(|card| card.utilization_percent).map(u64::from).collect();
    let mean = told.iter().sum::<u64>().checked_div(told.len() as u64);
    let activity = &status.activity;
    let window = format!("in {}", span(activity.window));
    let clock =
        status.chain.clock_ahead_ms.map_or_else(String::new, |ms| format!("clock {} s from it", ms / 1_000));
    vec![
        tile(
            "healthy nodes",
            format!("{healthy} of {all}"),
            if failing == 0 { "none fails".to_owned() } else { format!("{failing} failing") },
            if failing == 0 { "" } else { "bad" },
        ),
        tile(
            "GPUs",
            cards.len().to_string(),
            mean.map_or_else(String::new, |mean| format!("{mean} % busy")),
            "",
        ),
        tile("sessions", status.sessions.len().to_string(), seen(status), ""),
        tile(
            "estimated share",
            say::share(status.miner.share.map(|share| share.share)),
            status.miner.share.map_or_else(
                || "no weights read yet".to_owned(),
                |share| format!("weights of {}", counted(share.validators, "validator")),
            ),
            "",
        ),
        tile("rounds on nodes", say::share(activity.round_rate()), window.clone(), ""),
        tile("logins granted", say::share(activity.login_rate()), window, ""),
        tile(
            "block",
            status.chain.block.map_or_else(|| NOTHING.to_owned(), |block| block.to_string()),
            clock,
            "",
        ),
        tile("uptime", span(status.uptime()), format!("version {}", status.miner.version), ""),
    ]
}

fn seen(status: &MinerStatus) -> String {
    match status.activity.validator_seen {
        Some(seen) => format!("last login {}", say::ago(status.at, Some(seen))),
        None => "no login since the start".to_owned(),
    }
}

fn alert_row<'a>(alert: &'a Alert, status: &MinerStatus) -> AlertRow<'a> {
    let node = match &alert.subject {
        Subject::Miner => None,
        Subject::Node { id, .. } | Subject::Judgement { id, .. } => Some(*id),
    };
    AlertRow {
        class: say::alert_class(alert),
        severity: alert.severity.as_str(),
        alert,
        since: say::lasting(status.at, alert.since),
        node,
    }
}

fn node_row<'a>(node: &'a NodeStatus, status: &MinerStatus) -> NodeRow<'a> {
    let heat = node.gpus.hottest().map_or_else(|| NOTHING.to_owned(), |heat| format!("{heat} °C"));
    let ramp = node.judgements.iter().filter_map(|judgement| judgement.ramp).max();
    NodeRow {
        node,
        class: say::class(node.state),
        lasting: say::lasting(status.at, node.since),
        rate: say::rate(node.hourly_rate_per_gpu),
        gpus: node.gpus.summary(),
        utilization: node.gpus.utilization(),
        heat,
        power: say::watts(node.gpus.power_milliwatts()),
        judged: node.judgements.iter().map(|judgement| say::judged(judgement, status.at)).collect(),
        ramp: say::share(ramp),
    }
}

fn session_row(session: &basilica_status::SessionStatus, status: &MinerStatus) -> SessionRow {
    SessionRow {
        id: session.id.to_string(),
        validator: session.validator.to_string(),
        since: say::ago(status.at, Some(session.since)),
        until: say::ahead(status.at, Some(session.until)),
        nodes: session.nodes,
    }
}

fn validator_row(validator: &basilica_status::ValidatorStatus, status: &MinerStatus) -> ValidatorRow {
    ValidatorRow {
        hotkey: validator.hotkey.to_string(),
        assigned: validator.assigned,
        place: validator
            .place
            .as_ref()
            .map_or_else(|| "no API known".to_owned(), |place| place.as_str().to_owned()),
        answered: say::ago(status.at, validator.answered),
        error: validator.error.as_ref().map(|error| error.as_str().to_owned()),
    }
}

pub(crate) fn node(status: &MinerStatus, id: NodeId) -> Option<String> {
    let node = status.nodes.iter().find(|node| node.id == id)?;
    let alerts = status.alerts.iter().map(|alert| alert_row(alert, status));
    let driver = match &node.gpus {
        basilica_status::Gpus::Read { driver, at, .. } => {
            format!("driver {driver}, read {}", say::ago(status.at, Some(*at)))
        }
        _ => String::new(),
    };
    Some(render(&NodePage {
        title: format!("{} · miner", node.address),
        time: clock(status),
        node,
        class: say::class(node.state),
        lasting: say::lasting(status.at, node.since),
        facts: facts(node, status),
        alerts: alerts.filter(|row| row.node == Some(id)).collect(),
        gpus: node.gpus.cards().iter().map(gpu_row).collect(),
        unread: say::unread(&node.gpus, status.at),
        driver,
        judgements: node.judgements.iter().map(|judgement| judgement_row(judgement, status)).collect(),
    }))
}

fn facts(node: &NodeStatus, status: &MinerStatus) -> Vec<(&'static str, String)> {
    let text = |words: Option<&basilica_status::Words>| words.map(|words| words.as_str().to_owned());
    let keys: Vec<String> = node.keys.iter().map(ToString::to_string).collect();
    let assigned: Vec<String> = node.assigned.iter().map(ToString::to_string).collect();
    let listed = |list: &[String]| (!list.is_empty()).then(|| list.join(", "));
    let maintenance = node.maintenance.map(|m| format!("{} of {} in 14 days", span(m.used), span(m.of)));
    [
        ("id", Some(node.id.to_string())),
        ("region", text(node.region.as_ref())),
        ("rate per GPU and hour", Some(say::rate(node.hourly_rate_per_gpu))),
        ("last round", Some(say::ago(status.at, node.checked))),
        ("it took", node.latency.map(|latency| latency.to_string())),
        ("last error", text(node.error.as_ref())),
        ("what to do", text(node.advice.as_ref())),
        ("host key", node.host_keys.trusted.clone()),
        ("host key offered", node.host_keys.offered.clone()),
        ("maintenance used", maintenance),
        ("assigned to", listed(&assigned)),
        ("keys of sessions", listed(&keys)),
    ]
    .into_iter()
    .filter_map(|(label, value)| Some((label, value?)))
    .collect()
}

fn gpu_row(gpu: &GpuReading) -> GpuRow<'_> {
    let limit = gpu
        .power_limit_milliwatts
        .map_or_else(String::new, |limit| format!(" of {}", say::watts(Some(limit))));
    GpuRow {
        gpu,
        uuid: gpu.uuid.map_or_else(|| NOTHING.to_owned(), |uuid| uuid.to_string()),
        memory: gpu.memory_used_mib.zip(gpu.memory_total_mib),
        heat: gpu.temperature_celsius.map_or_else(|| NOTHING.to_owned(), |heat| format!("{heat} °C")),
        power: format!("{}{limit}", say::watts(gpu.power_milliwatts)),
    }
}

fn judgement_row<'a>(judgement: &'a Judgement, status: &MinerStatus) -> JudgementRow<'a> {
    let (class, summary) = say::judged(judgement, status.at);
    let running = judgement.banned_until.filter(|until| *until > status.at);
    JudgementRow {
        judgement,
        class,
        summary,
        score: say::points(judgement.score),
        ramp: judgement.ramp.map_or_else(|| NOTHING.to_owned(), percent),
        ban: running.map_or_else(
            || "none".to_owned(),
            |until| format!("until {} ({})", until.rfc3339(), say::ahead(status.at, Some(until))),
        ),
        next: say::ahead(status.at, judgement.next_check),
        last: say::verdict(judgement.last.as_ref(), status.at),
        last_full: say::verdict(judgement.last_full.as_ref(), status.at),
        at: say::ago(status.at, Some(judgement.at)),
    }
}
