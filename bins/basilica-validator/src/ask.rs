//! Questions to a running validator, over its own API.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::bail;
use basilica_console as console;
use basilica_http::client::{self, AskError, Credential};
use basilica_http::{Epochs, Fleet, Health, Node, NodePage, VerdictPage, VerdictRow, WITHHELD};
use basilica_ports::{Clock as _, Entropy, HotkeySigner};
use basilica_system::{OsEntropy, SystemClock};
use basilica_types::{Millis, NodeAddress, NodeAddressError, NodeId};
use basilica_validator_service::ValidatorConfig;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Nodes asked for at once: the API's most.
const PAGE: usize = 500;

/// Where a validator answers, and what shows that its operator asks.
pub(crate) struct Validator {
    address: SocketAddr,
    known: Known,
    ramp: Millis,
}

/// What shows that the operator asks.
enum Known {
    ApiKey(String),
    Hotkey(Arc<dyn HotkeySigner>),
    /// Nothing, since no key is configured and the hotkey cannot be had.
    Not(anyhow::Error),
}

impl Validator {
    /// The one with this configuration. Asks with the API key or, where there is none, signs with the hotkey.
    pub(crate) fn of(config: &ValidatorConfig) -> anyhow::Result<Self> {
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
        let known = match crate::api::key(config)? {
            Some(key) => Known::ApiKey(key),
            None => crate::build::signer(config, &entropy).map_or_else(Known::Not, Known::Hotkey),
        };
        Ok(Self { address: config.api_address(), known, ramp: config.scoring.ramp_duration.millis() })
    }

    async fn page<T: DeserializeOwned>(&self, path: &str) -> Result<T, AskError> {
        let credential = match &self.known {
            Known::ApiKey(key) => Some(Credential::ApiKey(key)),
            Known::Hotkey(signer) => Some(Credential::Own { signer: signer.as_ref(), nonce: nonce() }),
            Known::Not(_) => None,
        };
        client::page(self.address, path, credential).await.map(|(_, page)| page)
    }

    /// What keeps the validator from telling all, if anything.
    pub(crate) fn unknown(&self) -> Option<String> {
        let Known::Not(why) = &self.known else { return None };
        Some(format!(
            "the validator tells that only to those with the key of api.api_key_file, which is not set, or with its hotkey: {why:#}"
        ))
    }

    async fn nodes(&self) -> Result<Vec<Node>, AskError> {
        let (mut nodes, mut cursor) = (Vec::new(), String::new());
        loop {
            let page: NodePage = self.page(&format!("/nodes?limit={PAGE}{cursor}")).await?;
            nodes.extend(page.nodes);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(nodes),
            }
        }
    }
}

/// Prints a line of an answer.
fn print(line: &str) -> anyhow::Result<()> {
    crate::print(&format!("{line}\n"))
}

fn or_dash(text: Option<&str>) -> &str {
    text.unwrap_or("-")
}

/// Basis points as a number up to 100.
fn of_hundred(score: Option<u16>) -> String {
    score.map_or_else(|| "-".to_owned(), |score| format!("{}.{:02}", score / 100, score % 100))
}

/// Now in nanoseconds, and below the clock's milliseconds by chance: no two requests have the same.
fn nonce() -> u64 {
    let millis = SystemClock::new().now().0.max(0).unsigned_abs();
    let chance = u32::from_le_bytes((&OsEntropy as &dyn Entropy).array());
    millis.saturating_mul(1_000_000).saturating_add(u64::from(chance % 1_000_000))
}

/// Health and all nodes. Succeeds if the validator is healthy.
pub(crate) async fn status(validator: &Validator, json: bool) -> anyhow::Result<ExitCode> {
    let health: Health = validator.page("/health").await?;
    if !json {
        print(&format!("validator is {}{}", health.status, told_role(&health.role)))?;
        for (name, state) in &health.checks {
            print(&format!("  {name}: {state}"))?;
        }
    }
    if health.checks.values().any(|state| state == WITHHELD) {
        let _ = validator.unknown().map(|why| console::tell(&why));
    }
    // A validator without its database knows how it is and nothing else.
    let fleet = match validator.page::<Fleet>("/fleet").await {
        Ok(Fleet { epochs, .. }) => validator.nodes().await.map(|nodes| (epochs, nodes)),
        Err(error) => Err(error),
    };
    if json {
        let (epochs, nodes) = fleet.as_ref().map(|(epochs, nodes)| (epochs, nodes)).ok().unzip();
        print(&serde_json::json!({ "health": health, "epochs": epochs, "nodes": nodes }).to_string())?;
    }
    let (epochs, nodes) = fleet?;
    if !json {
        for line in told_epochs(&epochs) {
            print(&line)?;
        }
        for node in &nodes {
            print(&line(node))?;
        }
    }
    Ok(if health.status == "healthy" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What it does besides being well or not.
fn told_role(role: &str) -> &'static str {
    match role {
        "leader" => ", and leads",
        "standby" => ", and stands by while another one leads",
        _ => ", and neither leads nor stands by yet",
    }
}

/// When fleet epochs come, as far as anybody can tell, and how the last one went.
fn told_epochs(epochs: &Epochs) -> Vec<String> {
    let mut lines = Vec::new();
    match &epochs.next {
        Some(next) => {
            let when = next.after_block.map_or_else(
                || "not before this validator sees a block of the chain; then at any".to_owned(),
                |block| format!("at any block after {block}"),
            );
            lines.push(format!(
                "next fleet epoch: {when}, with a chance of 1 in {} for each",
                next.mean_blocks
            ));
        }
        None => {
            lines.push("next fleet epoch: never (verification.fleet_epoch_blocks is 0)".to_owned());
        }
    }
    if let Some(last) = &epochs.last {
        lines.push(format!(
            "last fleet epoch: block {} at {}, {} nodes, {} challenged at once, {} passed, {} under way",
            last.block, last.at, last.nodes, last.challenged_at_once, last.passed, last.under_way
        ));
    }
    lines
}

fn line(node: &Node) -> String {
    // A light check that passes does not make a failed full one good.
    let failed = node.last_verdict.as_ref().filter(|verdict| verdict.outcome == "failed");
    let verdict = failed.or(node.last_full.as_ref()).or(node.last_verdict.as_ref());
    let reason = verdict.map_or("no verdict yet", |verdict| &verdict.reason);
    let address = node.address.as_ref().map(|address| format!("{address}  ")).unwrap_or_default();
    format!(
        "{}  {address}{}  {reason}  gate {}  score {}",
        node.node_id,
        node.state,
        or_dash(node.gate.as_deref()),
        of_hundred(node.score)
    )
}

/// A node as an operator names it.
#[derive(Clone, Debug)]
pub(crate) enum NodeName {
    Id(NodeId),
    /// Its id follows from it: nobody has to be told addresses.
    Address(NodeAddress),
}

impl NodeName {
    pub(crate) fn id(&self) -> NodeId {
        match self {
            Self::Id(id) => *id,
            Self::Address(address) => address.node_id(),
        }
    }
}

impl FromStr for NodeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(address) => Ok(Self::Address(address)),
            Err(error) if text.contains('@') => Err(NodeAddressError::to_string(&error)),
            Err(_) => text.parse().map(Self::Id).map_err(|_| {
                "neither a node's whole id nor an address as user@host:port; `basilica-validator status` lists both"
                    .to_owned()
            }),
        }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// What the validator knows of a node, once for each miner that names it.
pub(crate) async fn node(validator: &Validator, wanted: &NodeName) -> anyhow::Result<NodePage> {
    match validator.page(&format!("/nodes/{}", wanted.id())).await {
        Ok(page) => Ok(page),
        Err(AskError::Refused { status: 404, .. }) => {
            bail!("the validator knows no node {wanted}; `basilica-validator status` lists them")
        }
        Err(error) => Err(error.into()),
    }
}

/// Its latest verdicts, newest first.
pub(crate) async fn verdicts(validator: &Validator, id: NodeId) -> Result<Vec<VerdictRow>, AskError> {
    let page: VerdictPage = validator.page(&format!("/nodes/{id}/verdicts")).await?;
    Ok(page.verdicts)
}

/// Everything about one node, named by its id or its address. Fails for an unknown one.
pub(crate) async fn why(validator: &Validator, wanted: &NodeName, json: bool) -> anyhow::Result<ExitCode> {
    let page = node(validator, wanted).await?;
    let verdicts = verdicts(validator, wanted.id()).await?;
    if json {
        print(&serde_json::json!({ "nodes": page.nodes, "verdicts": verdicts }).to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    for node in &page.nodes {
        crate::print(&told_node(node, validator.ramp))?;
        for verdict in verdicts.iter().filter(|verdict| verdict.miner_hotkey == node.miner_hotkey) {
            crate::print(&told_verdict(verdict))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A node's state with its cause.
fn told_node(node: &Node, ramp: Millis) -> String {
    let mut text = String::new();
    let mut tell = |name: &str, what: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<11}{what}");
    };
    if let Some(address) = &node.address {
        tell("address", address);
    }
    let uid = node.miner_uid.map_or_else(|| "not in the metagraph".to_owned(), |uid| format!("uid {uid}"));
    tell("miner", &format!("{} ({uid})", node.miner_hotkey));
    tell("state", &node.state);
    let why = node.gate_explanation.as_deref().unwrap_or("not scored yet");
    tell("gate", &format!("{}: {why}", or_dash(node.gate.as_deref())));
    tell("score", &format!("{} of 100", of_hundred(node.score)));
    tell("ramp", &told_ramp(node.multiplier, ramp));
    tell("ban", &node.banned_until.as_ref().map_or("none".to_owned(), |until| format!("until {until}")));
    tell("next check", &format!("light {}, full {}", node.next_light, node.next_full));
    if let Some(tries) = node.tries_failed {
        tell("under way", &format!("a check of which {tries} tries failed; none decides yet"));
    }
    let gpus = node.gpus.as_deref().unwrap_or_default();
    let proven =
        node.last_full_passed.as_deref().map_or("none proven yet".to_owned(), |at| format!("proven at {at}"));
    tell("GPUs", &format!("{} that count, {proven}", gpus.len()));
    for gpu in gpus {
        tell("", &format!("{} {}", gpu.category, gpu.uuid));
    }
    format!("{}\n{text}", node.node_id)
}

/// The uptime multiplier, and how long it takes to be full if nothing interrupts it.
fn told_ramp(multiplier: Option<u32>, ramp: Millis) -> String {
    let Some(ppm) = multiplier else { return "not scored yet".to_owned() };
    let missing = u64::from(1_000_000u32.saturating_sub(ppm));
    if missing == 0 {
        return "full".to_owned();
    }
    let left = u128::from(ramp.0) * u128::from(missing) / 1_000_000;
    let left = Millis(u64::try_from(left).unwrap_or(u64::MAX));
    let (days, hours) = (left.0 / 86_400_000, left.0 / 3_600_000 % 24);
    format!(
        "{}.{:04} %; full after {days} d {hours} h more without an interruption",
        ppm / 10_000,
        ppm % 10_000
    )
}

pub(crate) fn told_verdict(verdict: &VerdictRow) -> String {
    let fault = verdict.fault.as_ref().map(|fault| format!(" (fault: {fault})")).unwrap_or_default();
    let mut text = format!(
        "  {} {:<5} {}{fault}: {}\n",
        verdict.finished, verdict.kind, verdict.outcome, verdict.explanation
    );
    for line in measured(&verdict.measured) {
        let _ = writeln!(text, "{line}");
    }
    text
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or("-")
}

/// What a verdict measured; rates are lower bounds.
fn measured(measured: &Value) -> Vec<String> {
    let rate = |of: &Value| of["bytes_per_second"].as_u64().map_or("-".to_owned(), |rate| rate.to_string());
    let mut lines = Vec::new();
    let stages = &measured["stages"];
    if stages.is_object() {
        let [work, fill, walk, openings] =
            ["work_ms", "fill_ms", "walk_ms", "openings_ms"].map(|stage| &stages[stage]);
        lines.push(format!("      work {work} ms, fill {fill} ms, walk {walk} ms, openings {openings} ms"));
    }
    for read in measured["memory"].as_array().into_iter().flatten() {
        let (uuid, space) = (text(read, "uuid"), text(read, "space"));
        lines.push(format!("      {uuid} {space} memory: at least {} bytes/s", rate(read)));
    }
    let network = &measured["network"];
    if network.is_object() {
        lines.push(format!(
            "      network: at least {} bytes/s ({}, {} of {} bytes)",
            rate(network),
            text(network, "end"),
            network["received"],
            network["asked"]
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_told_as_far_as_anybody_can_tell() {
        let epochs = |json: Value| serde_json::from_value::<Epochs>(json).unwrap();
        let told = told_epochs(&epochs(serde_json::json!({
            "enabled": true,
            "next": { "after_block": 7, "mean_blocks": 450 },
            "last": { "block": 3, "block_hash": "", "at": "1970-01-01T00:00:00.000Z", "nodes": 5,
                "challenged_at_once": 4, "passed": 3, "under_way": 0 },
        })));
        let expected = [
            "next fleet epoch: at any block after 7, with a chance of 1 in 450 for each",
            "last fleet epoch: block 3 at 1970-01-01T00:00:00.000Z, 5 nodes, 4 challenged at once, 3 passed, 0 under way",
        ];
        assert_eq!(told, expected);
        let unknown = serde_json::json!({ "enabled": true, "next": { "after_block": null, "mean_blocks": 450 }, "last": null });
        assert!(told_epochs(&epochs(unknown))[0].contains("not before this validator sees a block"));
        let never = serde_json::json!({ "enabled": false, "next": null, "last": null });
        assert_eq!(told_epochs(&epochs(never)).len(), 1);
    }

    #[test]
    fn the_ramp_is_told_with_the_time_that_is_left() {
        let fortnight = Millis::from_secs(14 * 86_400);
        assert_eq!(told_ramp(Some(1_000_000), fortnight), "full");
        assert_eq!(
            told_ramp(Some(250_000), fortnight),
            "25.0000 %; full after 10 d 12 h more without an interruption"
        );
        assert_eq!(told_ramp(None, fortnight), "not scored yet");
    }

    #[test]
    fn measurements_are_told_where_there_are_any() {
        let told = measured(&serde_json::json!({
            "stages": { "work_ms": 1, "fill_ms": 2, "walk_ms": 3, "openings_ms": 4 },
            "memory": [{ "uuid": "GPU-1", "space": "host", "bytes_per_second": 5 }],
            "network": { "asked": 9, "received": 8, "end": "cut_short", "bytes_per_second": null },
        }));
        let expected = [
            "      work 1 ms, fill 2 ms, walk 3 ms, openings 4 ms",
            "      GPU-1 host memory: at least 5 bytes/s",
            "      network: at least - bytes/s (cut_short, 8 of 9 bytes)",
        ];
        assert_eq!(told, expected);
        assert!(measured(&serde_json::json!({ "stages": null, "memory": [], "network": null })).is_empty());
    }
}
