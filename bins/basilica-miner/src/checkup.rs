//! The doctor's smaller sisters: `health-check`, `service test-ssh` and `service test-bittensor`.
//!
//! They look as `doctor --quick` does and say less: a line for each part, and an exit code.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use basilica_doctor_service::{Code, Finding, Stage};
use basilica_ports::{Chain as _, ChainError, ChainIdentity, Clock, Entropy, Metagraph};
use basilica_runtime_service::ErrorChain;
use basilica_status::counted;
use basilica_system::{OsEntropy, SystemClock};
use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use crate::cli::Cli;
use crate::commands::{Configured, answer, block_on, configured};
use crate::doctor::{self, DoctorArgs, NodeReport, Report, Screen};
use crate::service;

/// Tries of one part each.
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Log in on every node: what it is, how long it took, why it failed.
    TestSsh,
    /// Ask the chain: endpoint, block, the own registration.
    TestBittensor,
}

/// Most nodes of which a line says why they cannot be reached.
const NAMED: usize = 3;

/// What can be wrong with the database.
const DATABASE_CODES: [Code; 6] = [
    Code::DatabaseUnwritable,
    Code::DatabaseDamaged,
    Code::DatabaseGone,
    Code::DatabaseForeign,
    Code::DatabaseNewer,
    Code::DatabaseOutdated,
];

/// One part of a health check.
#[derive(Debug, Serialize)]
struct Part {
    part: &'static str,
    ok: bool,
    words: String,
}

fn quick(cli: &Cli, configured: &Configured) -> anyhow::Result<Report> {
    let arguments = DoctorArgs { quick: true, ..DoctorArgs::default() };
    let nodes = configured.config.fleet.nodes.clone();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(doctor::examine(cli, &arguments, configured, nodes))
}

fn exit(ok: bool) -> ExitCode {
    if ok { ExitCode::SUCCESS } else { ExitCode::from(basilica_console::FAILURE) }
}

/// Why one cannot work on a node, if one cannot.
fn trouble(node: &NodeReport) -> Option<&Finding> {
    let blocks = |finding: &&Finding| {
        finding.is_wrong() && matches!(finding.code.stage(), Stage::Login | Stage::Shell)
    };
    node.findings.iter().find(blocks)
}

/// Why a node that can be logged into proves nothing, if it does not.
fn unfit(node: &NodeReport) -> Option<&Finding> {
    let blocks = |finding: &&Finding| {
        finding.is_wrong() && matches!(finding.code.stage(), Stage::Files | Stage::Driver | Stage::Containers)
    };
    node.findings.iter().find(blocks)
}

/// The part of the nodes, and the part of what is on those that can be logged into.
fn of_nodes(nodes: &[NodeReport], has_key: bool) -> [Part; 2] {
    let part = |part, ok, words| Part { part, ok, words };
    let (all, reachable) =
        (nodes.len(), nodes.iter().filter(|node| trouble(node).is_none()).collect::<Vec<_>>());
    let logins = match (has_key, all) {
        (false, _) => part("nodes", false, "not tried without a key".to_owned()),
        (true, 0) => {
            part("nodes", false, "none are configured: basilica-miner nodes add USER@HOST".to_owned())
        }
        (true, _) => {
            let lost = nodes.iter().filter_map(|node| Some((node, trouble(node)?)));
            let lost: Vec<String> = lost
                .take(NAMED)
                .map(|(node, finding)| format!("; {}: {} ({})", node.node, finding.seen, finding.code))
                .collect();
            let words = format!("{} of {all} reachable{}", reachable.len(), lost.concat());
            part("nodes", reachable.len() == all, words)
        }
    };
    let troubles: Vec<(&NodeReport, &Finding)> =
        reachable.iter().filter_map(|node| Some((*node, unfit(node)?))).collect();
    let words = match troubles.first() {
        None if reachable.is_empty() => "unknown: no node could be looked at".to_owned(),
        None => format!("driver, containers and disk in order on {} of {all}", reachable.len()),
        Some((node, finding)) => {
            let others = match troubles.len() {
                1 => String::new(),
                several => format!(", and {}", counted(several - 1, "more node")),
            };
            format!("{}: {}: {}{others}", node.node, finding.cause, finding.seen)
        }
    };
    // What nobody has seen is not in order; without nodes there is nothing that should be.
    let in_order = troubles.is_empty() && (all == 0 || !reachable.is_empty());
    [logins, part("gpus", in_order, words)]
}

/// `health-check`.
pub(crate) fn health_check(cli: &Cli) -> anyhow::Result<ExitCode> {
    let configured = configured(cli, &cli.config)?;
    let report = quick(cli, &configured)?;
    let of = |part, codes: &[Code]| {
        let found = report.here.iter().find(|finding| codes.contains(&finding.code) && finding.is_wrong());
        let words =
            found.map_or_else(|| "ok".to_owned(), |finding| format!("{}: {}", finding.cause, finding.seen));
        Part { part, ok: found.is_none(), words }
    };
    let key_codes =
        [Code::KeyMissing, Code::KeyUnreadable, Code::KeyTooOpen, Code::KeyPassphrase, Code::KeyInvalid];
    let has_key = of("ssh key", &key_codes);
    let mut database = of("database", &DATABASE_CODES);
    if database.ok && !configured.config.database.url.as_path().exists() {
        database.words = "there is none yet; the miner makes it when it starts".to_owned();
    }
    let [nodes, gpus] = of_nodes(&report.nodes, has_key.ok);
    let parts = vec![
        // A wrong one ends the program before.
        Part { part: "configuration", ok: true, words: "ok".to_owned() },
        of("system", &[Code::ClockHere, Code::DiskFullHere, Code::AuditDiskFullHere]),
        of("wallet", &[Code::WalletUnreadable]),
        database,
        of("chain", &[Code::ChainUnreachable, Code::NotRegistered, Code::AxonMissing]),
        has_key,
        nodes,
        gpus,
        of("miner", &[Code::NotRunning, Code::PortTaken, Code::AxonUnreachable]),
    ];
    let ok = parts.iter().all(|part| part.ok);
    answer(cli, &json!({ "ok": ok, "parts": parts }), || {
        let line = |part: &Part| {
            format!("{:<4} {:<14} {}", if part.ok { "ok" } else { "FAIL" }, part.part, part.words)
        };
        let mut lines: Vec<String> = parts.iter().map(line).collect();
        if !ok {
            lines.push("more: basilica-miner doctor".to_owned());
        }
        cli.program().in_words(&lines.join("\n"))
    })?;
    Ok(exit(ok))
}

/// `service test-ssh`.
pub(crate) fn test_ssh(cli: &Cli) -> anyhow::Result<ExitCode> {
    let report = quick(cli, &configured(cli, &cli.config)?)?;
    let key = report.here.iter().find(|finding| finding.code.as_str().starts_with("key-"));
    if let Some(finding) = key {
        anyhow::bail!("{}: {}; {}", finding.cause, finding.seen, finding.fix.join("; "));
    }
    // Without nodes nothing was tried.
    let ok = !report.nodes.is_empty() && report.nodes.iter().all(|node| trouble(node).is_none());
    let of = |node: &NodeReport| {
        let trouble = trouble(node);
        json!({
            "node": node.node.to_string(),
            "ok": trouble.is_none(),
            "login_ms": node.login_ms,
            "about": node.about,
            "code": trouble.map(|finding| finding.code),
            "error": trouble.map(|finding| finding.seen.clone()),
        })
    };
    let nodes: Vec<serde_json::Value> = report.nodes.iter().map(of).collect();
    answer(cli, &json!({ "ok": ok, "nodes": nodes }), || {
        let line = |node: &NodeReport| match trouble(node) {
            None => format!(
                "ok    {}  {} ms  {}",
                node.node,
                node.login_ms,
                node.about.as_deref().unwrap_or_default()
            ),
            Some(finding) => format!("FAIL  {}  {} ({})", node.node, finding.seen, finding.code),
        };
        match report.nodes.as_slice() {
            [] => format!("no nodes are configured; add one with: {} nodes add USER@HOST", cli.program()),
            nodes => nodes.iter().map(line).collect::<Vec<_>>().join("\n"),
        }
    })?;
    Ok(exit(ok))
}

/// `service test-bittensor`.
pub(crate) fn test_bittensor(cli: &Cli) -> anyhow::Result<ExitCode> {
    let config = configured(cli, &cli.config)?.config;
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
        (Arc::new(SystemClock::new()), Arc::new(OsEntropy));
    let endpoints: Vec<String> =
        config.subnet.endpoints.iter().map(basilica_types::ChainUrl::shown).collect();
    let hotkey = service::signer(&config.wallet, &entropy)?.hotkey();
    let chain = doctor::chain(&config, &clock, &entropy)?;
    let screen = Screen::new(cli);
    screen.show(&format!("asking the chain at {}", endpoints.join(", ")));
    let read: Result<(ChainIdentity, Metagraph), ChainError> = block_on(async {
        Ok(async { Ok((chain.identity().await?, chain.metagraph(config.subnet.netuid).await?)) }.await)
    })?;
    screen.clear();
    let (identity, metagraph) = read.map_err(|error| {
        let (words, action) = (ErrorChain(&error).to_string(), error.action());
        anyhow::anyhow!("the chain at {} does not answer: {words}; {action}", endpoints.join(", "))
    })?;
    let own = metagraph.neuron(&hotkey);
    let axon = own.and_then(|neuron| neuron.axon).map(|axon| axon.address.to_string());
    let permits = metagraph.neurons.iter().filter(|neuron| neuron.validator_permit).count();
    let data = json!({
        "ok": own.is_some(),
        "endpoints": endpoints,
        "spec": format!("{} {}", identity.spec_name, identity.spec_version),
        "genesis": identity.genesis.to_string(),
        "netuid": metagraph.netuid.0,
        "block": metagraph.block.0,
        "neurons": metagraph.neurons.len(),
        "validator_permits": permits,
        "hotkey": hotkey.to_string(),
        "uid": own.map(|neuron| neuron.uid.0),
        "stake_rao": own.map(|neuron| neuron.stake.0),
        "axon": axon,
    });
    answer(cli, &data, || {
        let registered = match own {
            Some(neuron) => format!(
                "registered as uid {}, stake {} rao, axon {}",
                neuron.uid.0,
                neuron.stake.0,
                axon.as_deref().unwrap_or("not published")
            ),
            None => "NOT registered on this subnet".to_owned(),
        };
        format!(
            "endpoint   {}\nchain      {} {}, block {}\nsubnet     {}: {} neurons, {permits} with a validator permit\nhotkey     {hotkey}\n           {registered}",
            endpoints.join(", "),
            identity.spec_name,
            identity.spec_version,
            metagraph.block.0,
            metagraph.netuid.0,
            metagraph.neurons.len(),
        )
    })?;
    Ok(exit(own.is_some()))
}
