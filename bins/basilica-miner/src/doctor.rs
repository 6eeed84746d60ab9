//! `doctor`: what is wrong with this miner and its nodes, and what to do about it (docs/doctor.md).

mod here;
mod report;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use basilica_chain::SubtensorChain;
use basilica_doctor_service::{
    Change, Doctor, Finding, OtherLogin, Patience, Proving, Remedy, judge, judge_here,
};
use basilica_miner_service::config::{MinerConfig, NodeConfig};
use basilica_ports::{Chain as _, Clock, Entropy, Identity, MinerStore as _, NodeShell as _};
use basilica_probing_service::{BeaconSource, Beacons, Drawn, Probing, ProbingSettings, ProverFile, Room};
use basilica_runtime_service::TaskSet;
use basilica_ssh::RusshShell;
use basilica_store::MinerDatabase;
use basilica_system::{OsEntropy, SystemClock};
use basilica_types::{ErrorChain, HostKey, Millis, Network, NodeAddress, SshPublicKey, Username};
use basilica_verification::{Break, GpuRules};
use clap::Args;
use serde::Serialize;

pub(crate) use self::here::chain;
use crate::cli::Cli;
use crate::commands::{Configured, configured, loaded, open, print};
use crate::select::select_all;

/// Nodes that are looked at side by side.
const AT_ONCE: usize = 32;
/// Nodes whose full checks run side by side: a proof's answer is held in memory until it is checked.
const PROOFS_AT_ONCE: usize = 4;
/// Most bytes of a prover.
const PROVER_BYTES: u64 = 64 << 20;
/// The same deadline as the validators', less what nobody waits for at a terminal.
const CHECK: Millis = Millis::from_secs(1_800);

/// What to look at, and what to change.
#[derive(Debug, Default, Args)]
pub(crate) struct DoctorArgs {
    /// Make the safe changes: permissions and directories of ours, the miner's own line. Each is shown before and after.
    #[arg(long)]
    pub(crate) fix: bool,
    /// Also have the nodes' sshd allow more logins and sessions at a time, where a finding asks for that and the login may become root. Without a new
    /// login within 90 s a node takes it back by itself.
    #[arg(long)]
    pub(crate) fix_sshd: bool,
    /// Only this node (user@host:port, or its host); may be given again.
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Vec<String>,
    /// No proof, no container, no port: only what is seen in seconds.
    #[arg(long)]
    pub(crate) quick: bool,
    /// The prover; default: basilica-prover beside this program.
    #[arg(long, value_name = "FILE")]
    pub(crate) prover: Option<PathBuf>,
    /// Key of another login on the nodes, which works: where the miner's is denied it shows why, and --fix repairs by it.
    #[arg(long, value_name = "FILE")]
    pub(crate) admin_key: Option<PathBuf>,
    /// As whom that key logs in.
    #[arg(long, value_name = "USER", default_value = "root", requires = "admin_key")]
    pub(crate) admin_user: String,
}

/// All that was found, for programs; the form is documented in docs/doctor.md.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Whether nothing is wrong.
    pub(crate) ok: bool,
    pub(crate) here: Vec<Finding>,
    pub(crate) nodes: Vec<NodeReport>,
}

/// One node.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NodeReport {
    pub(crate) node: NodeAddress,
    /// Milliseconds that the login took.
    pub(crate) login_ms: u64,
    /// What it is, in its own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) about: Option<String>,
    pub(crate) findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Change>,
    /// Why changes were not made.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_fixed: Option<String>,
}

/// Owned by every task that looks at a node.
struct Clinic {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    identity: Identity,
    key: Option<SshPublicKey>,
    other: Option<OtherLogin>,
    quick: bool,
    /// Whether `--fix` and `--fix-sshd` were given.
    fixes: (bool, bool),
    takes_private: bool,
    /// The prover and by which rules it is asked, or why it is not run.
    proving: Result<GpuRules, String>,
    prover: ProverFile,
    settings: ProbingSettings,
    room: Room,
    beacons: ChainBeacons,
    proofs: tokio::sync::Semaphore,
}

/// The chain's beacon for the doctor's challenges.
struct ChainBeacons {
    chain: Arc<SubtensorChain>,
    held: Beacons,
}

#[async_trait]
impl BeaconSource for ChainBeacons {
    async fn draw(&self, cache_log2: Option<u8>) -> Result<Drawn, Break> {
        self.held.draw(self.chain.as_ref(), cache_log2).await
    }
}

impl Clinic {
    fn doctor(&self) -> Doctor<'_> {
        let probing = Probing {
            clock: self.clock.as_ref(),
            entropy: self.entropy.as_ref(),
            nodes: &RusshShell,
            beacons: &self.beacons,
            prover: &self.prover,
            settings: &self.settings,
            room: &self.room,
        };
        let proving = match &self.proving {
            _ if self.quick => Proving::NotAsked(probing),
            Ok(gpus) => Proving::With(probing, gpus),
            Err(why) => Proving::Impossible(probing, why),
        };
        Doctor {
            nodes: &RusshShell,
            clock: self.clock.as_ref(),
            entropy: self.entropy.as_ref(),
            identity: &self.identity,
            key: self.key.as_ref(),
            other: self.other.as_ref(),
            proving,
            takes_private: self.takes_private,
            patience: Patience { check: CHECK, ..Patience::default() },
        }
    }

    async fn look(&self, node: &NodeConfig, known: &[HostKey]) -> NodeReport {
        // Closed never.
        let _place = if self.quick { None } else { self.proofs.acquire().await.ok() };
        let seen = self.doctor().look(&node.address, known).await;
        let mut report = NodeReport {
            node: node.address.clone(),
            login_ms: seen.took.0,
            about: seen.about(),
            findings: judge(&seen),
            changes: Vec::new(),
            not_fixed: None,
        };
        let allowed: fn(Remedy) -> bool = match self.fixes {
            (false, false) => return report,
            (true, false) => |remedy| !remedy.needs_consent(),
            (false, true) => Remedy::needs_consent,
            (true, true) => |_| true,
        };
        if !report.findings.iter().filter_map(|finding| finding.fixable).any(allowed) {
            return report;
        }
        let fixed = self.doctor().fix(&node.address, known, &report.findings, allowed).await;
        report.changes = fixed.changes;
        report.not_fixed = Some(fixed.not_fixed.join("; ")).filter(|why| !why.is_empty());
        let seen = self.doctor().look(&node.address, known).await;
        report.login_ms = seen.took.0;
        report.about = seen.about();
        report.findings = judge(&seen);
        report
    }
}

pub(crate) fn doctor(cli: &Cli, arguments: &DoctorArgs) -> anyhow::Result<ExitCode> {
    if arguments.fix
        && let Some((path, Change { before, after, .. })) = here::close_key(&loaded(cli, &cli.config)?)?
    {
        tell(&format!("fixed {}: {before} -> {after}", path.display()));
    }
    let configured = configured(cli, &cli.config)?;
    let all = &configured.config.fleet.nodes;
    let nodes = match arguments.node.as_slice() {
        [] => all.clone(),
        named => select_all(all, named)?.into_iter().cloned().collect(),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let report = runtime.block_on(examine(cli, arguments, &configured, nodes))?;
    let text = if cli.json {
        let value = serde_json::to_string_pretty(&report).context("write the findings as JSON")?;
        format!("{value}\n")
    } else {
        report::text(&report, std::io::stdout().is_terminal())
    };
    print(&text)?;
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(basilica_console::FAILURE) })
}

pub(crate) async fn examine(
    cli: &Cli,
    arguments: &DoctorArgs,
    configured: &Configured,
    nodes: Vec<NodeConfig>,
) -> anyhow::Result<Report> {
    let config = &configured.config;
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
        (Arc::new(SystemClock::new()), Arc::new(OsEntropy));
    let prover = prover(arguments.prover.clone());
    let screen = Screen::new(cli);
    screen.show("looking at this machine and the chain");
    let seen = here::look(configured, &clock, &entropy).await;
    screen.clear();
    let mut seen = seen?;
    seen.prover = prover.as_ref().err().filter(|_| !arguments.quick).map(|error| format!("{error:#}"));
    let mut here = judge_here(&seen);
    let clinic = Arc::new(clinic(arguments, config, prover, (&clock, &entropy)).await?);
    let known = known_keys(config).await;
    let mut nodes =
        if clinic.key.is_some() { look_at_all(&clinic, nodes, &known, &screen).await } else { Vec::new() };
    screen.clear();
    nodes.sort_by_cached_key(|report| {
        let worst = report.findings.iter().map(|finding| finding.severity).max();
        (std::cmp::Reverse(worst), report.node.to_string())
    });
    let program = cli.program();
    let mut ok = true;
    for finding in here.iter_mut().chain(nodes.iter_mut().flat_map(|report| &mut report.findings)) {
        ok &= !finding.is_wrong();
        finding.fix.iter_mut().for_each(|line| *line = program.in_words(line));
    }
    Ok(Report { ok, here, nodes })
}

async fn look_at_all(
    clinic: &Arc<Clinic>,
    nodes: Vec<NodeConfig>,
    known: &[(NodeAddress, HostKey)],
    screen: &Screen,
) -> Vec<NodeReport> {
    let count = nodes.len();
    let mut reports = Vec::with_capacity(count);
    // One that hangs may be the first.
    screen.show(&format!("0 of {count} nodes looked at"));
    let mut tasks: TaskSet<NodeReport> = TaskSet::new();
    let mut waiting = nodes.into_iter();
    loop {
        while tasks.len() < AT_ONCE
            && let Some(node) = waiting.next()
        {
            let clinic = Arc::clone(clinic);
            let own = node.host_key.clone().into_iter();
            let pinned = known.iter().filter(|(address, _)| *address == node.address);
            let known: Vec<HostKey> = match own.collect::<Vec<_>>() {
                configured if !configured.is_empty() => configured,
                _ => pinned.map(|(_, key)| key.clone()).collect(),
            };
            tasks.spawn("look", async move { clinic.look(&node, &known).await });
        }
        match tasks.next().await {
            None => return reports,
            Some(Ok(report)) => {
                reports.push(report);
                screen.show(&format!("{} of {count} nodes looked at", reports.len()));
            }
            Some(Err(panicked)) => tell(&panicked.to_string()),
        }
    }
}

async fn clinic(
    arguments: &DoctorArgs,
    config: &MinerConfig,
    prover: anyhow::Result<ProverFile>,
    (clock, entropy): (&Arc<dyn Clock>, &Arc<dyn Entropy>),
) -> anyhow::Result<Clinic> {
    let identity = Identity::File(config.fleet.ssh_key.clone());
    let chain = Arc::new(here::chain(config, clock, entropy)?);
    let proving = match &prover {
        _ if arguments.quick => Err(String::new()),
        Err(_) => Err("there is no prover here, so no proof was run".to_owned()),
        Ok(_) => chain
            .identity()
            .await
            .map(|identity| GpuRules::new(true, identity.development, &identity.genesis))
            .map_err(|error| {
                format!("the chain does not answer, and without it nobody can be challenged: {error}")
            }),
    };
    let other = match &arguments.admin_key {
        None => None,
        Some(path) => {
            let user: Username = arguments.admin_user.parse().context("--admin-user")?;
            Some(OtherLogin { user, identity: Identity::File(path.clone()) })
        }
    };
    let key = RusshShell.public_key(&identity).ok();
    Ok(Clinic {
        clock: Arc::clone(clock),
        entropy: Arc::clone(entropy),
        identity,
        key,
        other,
        quick: arguments.quick,
        fixes: (arguments.fix, arguments.fix_sshd),
        takes_private: config.subnet.network == Network::Local,
        proving,
        prover: prover.unwrap_or_else(|_| ProverFile::new(Vec::new())),
        // The own operator's nodes may be anywhere.
        settings: ProbingSettings {
            addresses: basilica_ports::AddressPolicy::Any,
            network_bytes: 0,
            ..ProbingSettings::default()
        },
        room: Room::default(),
        beacons: ChainBeacons { chain, held: Beacons::default() },
        proofs: tokio::sync::Semaphore::new(PROOFS_AT_ONCE),
    })
}

fn prover(path: Option<PathBuf>) -> anyhow::Result<ProverFile> {
    let path = match path {
        Some(path) => path,
        None => {
            std::env::current_exe().context("find this program's own file")?.with_file_name("basilica-prover")
        }
    };
    let bytes = std::fs::File::open(&path)
        .and_then(|file| basilica_console::read_at_most(file, PROVER_BYTES))
        .with_context(|| format!("read the prover {} (--prover names another)", path.display()))?;
    Ok(ProverFile::new(bytes))
}

/// The host keys that nodes are known by. Without a database none is, and any is learnt for this one look; of a database that does
/// not work that is told, as a key that has changed would pass.
async fn known_keys(config: &MinerConfig) -> Vec<(NodeAddress, HostKey)> {
    if !config.database.url.as_path().exists() {
        return Vec::new();
    }
    let read = async {
        let store = MinerDatabase::new(open(config, false).await?);
        Ok::<_, anyhow::Error>(store.host_keys().await?)
    };
    match read.await {
        Ok(records) => records.into_iter().map(|record| (record.address, record.pinned)).collect(),
        Err(error) => {
            basilica_console::tell(&format!(
                "host keys of first contacts cannot be read, so any is taken for the nodes' own: {}",
                ErrorChain(error.as_ref())
            ));
            Vec::new()
        }
    }
}

/// How far it is, on a terminal only.
pub(crate) struct Screen {
    live: bool,
}

impl Screen {
    pub(crate) fn new(cli: &Cli) -> Self {
        Self { live: !cli.json && std::io::stderr().is_terminal() }
    }

    /// What is waited for.
    pub(crate) fn show(&self, words: &str) {
        if self.live {
            basilica_console::progress(words);
        }
    }

    pub(crate) fn clear(&self) {
        self.show("");
    }
}

fn tell(words: &str) {
    basilica_console::tell(words);
}
