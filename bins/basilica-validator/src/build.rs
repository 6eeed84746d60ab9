//! The composition root: the only place of the validator that names technologies.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use basilica_audit::{AuditLog, AuditRules, AuditedShell, check_place};
use basilica_chain::{ChainOptions, SubtensorChain};
use basilica_http::ApiKey;
use basilica_ports::{Clock, Entropy, HotkeySigner, NodeShell};
use basilica_probing_service::ProverFile;
use basilica_registry::OciRegistry;
use basilica_rpc::GrpcMinerDialer;
use basilica_runtime_service::{
    AdminListener, AdminPages, AdminRoutes, AdminState, HttpListener, Metrics, OwnThreads, Readiness,
    Supervisor,
};
use basilica_ssh::RusshShell;
use basilica_store::ValidatorDatabase;
use basilica_system::{OsEntropy, SystemClock, UsageMetrics, raise_file_limit};
use basilica_types::{Millis, NetUid};
use basilica_validator_service::{Ports, Settings, Validator, ValidatorConfig};
use basilica_wallet::{Unattended, WalletSigner, Wallets};
use tracing::{info, warn};

use crate::{api, database, endpoints};

/// Of the metrics that every program of ours has.
const PREFIX: &str = "basilica_validator";
/// Connections on which the API and the metrics read, beside those of `database.max_connections`.
const FACE_READERS: u32 = 4;

/// Half of the machine's processors at most for what strangers ask.
fn face_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2))
}

/// Open files with which a thousand nodes work.
const FILES: u64 = 4_096;
/// For tasks to end after SIGTERM.
const GRACE: Millis = Millis::from_secs(10);

/// Binds ports, opens what can be opened, starts the reconcilers and runs until stopped.
pub(crate) async fn start(config: &ValidatorConfig, settings: Settings) -> anyhow::Result<ExitCode> {
    allow_files();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let signer = signer(config, &entropy)?;
    let prover = ProverFile::new(prover(config)?);
    let faces = Arc::new(OwnThreads::start("faces", face_threads()).context("start the API's threads")?);
    let listener = faces.run(HttpListener::bind(config.api_address())).await?.context("bind the API")?;
    let prometheus = match config.metrics_address() {
        Some(address) => Some(faces.run(AdminListener::bind(address)).await?.context("bind the metrics")?),
        None => None,
    };
    let store = ValidatorDatabase::open(&database::url(config)?, database::options(config)).await?;
    let store = store.scored_by(settings.node_rules().2);
    let shown = store.with_own_readers(FACE_READERS);
    let chain = Arc::new(chain(config, &signer, &clock, &entropy)?);
    let (metrics, readiness) = (Metrics::new(), Readiness::new());
    let nodes = nodes(config, &clock, &readiness)?;
    let ports = Ports {
        chain: Arc::<SubtensorChain>::clone(&chain),
        miners: Arc::new(GrpcMinerDialer::default()),
        nodes,
        registry: Arc::new(OciRegistry::new()),
        store: Arc::new(store.clone()),
        shown: Arc::new(shown.clone()),
        signer: Arc::clone(&signer),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
    };
    let supervisor = Supervisor::new(Arc::clone(&clock), entropy);
    supervisor.observe(&metrics, PREFIX);
    readiness.observe(&metrics, PREFIX);
    let usage = Box::new(UsageMetrics::new(PREFIX, database::file(config)));
    metrics.register(|registry| registry.register_collector(usage));
    metrics.register(|registry| store.observe(&shown, registry, PREFIX));
    endpoints::observe(&chain, NetUid(config.bittensor.netuid), &metrics);
    let validator = Validator::new(ports, settings, prover.clone(), &metrics, &readiness);
    let api = api::api(config, Arc::new(validator.queries()))?;
    metrics.register(|registry| api.observe(registry, PREFIX));
    info!(validator.hotkey = %signer.hotkey(), api.address = %listener.local_addr(), prover.hash = %prover.name(),
        "validator starts");
    let (limits, ticking, answering) = (api::limits(config), Arc::clone(&clock), Arc::clone(&faces));
    let listener = listener.behind(api::proxies(config));
    supervisor.spawn_once("api", move |stop| async move {
        let serve = async move { listener.serve(|peer| api.for_peer(peer), limits, ticking, stop).await };
        Ok(answering.run(serve).await?)
    });
    if let Some(prometheus) = prometheus {
        let state = AdminState {
            readiness,
            metrics,
            clock,
            version: env!("CARGO_PKG_VERSION"),
            routes: AdminRoutes::Metrics,
            pages: AdminPages::default(),
        };
        supervisor.spawn_once("metrics", move |stop| async move {
            Ok(faces.run(prometheus.serve(state, stop)).await?)
        });
    }
    supervisor.spawn_once("chain_endpoints", move |stop| async move {
        tokio::select! {
            () = chain.watch() => {}
            () = stop.requested() => {}
        }
        Ok(())
    });
    validator.start(&supervisor, Arc::new(store.clone()), holder(config));
    let ended = supervisor.run_until_stopped(GRACE).await;
    shown.close().await;
    store.close().await;
    ended?;
    info!("validator stopped");
    Ok(ExitCode::SUCCESS)
}

/// Each kept connection to a node is a file or two, so that a shell's usual thousand ends at some hundreds of nodes.
fn allow_files() {
    match raise_file_limit() {
        Ok(Some(most)) if most < FILES => warn!(
            limit = most,
            "few open files are allowed; raise the limit (ulimit -n, or LimitNOFILE= of systemd) for more than some hundreds of nodes"
        ),
        Ok(_) => {}
        Err(error) => warn!(%error, "the limit of open files cannot be raised"),
    }
}

/// SSH, with a log before it where the configuration names one.
fn nodes(
    config: &ValidatorConfig,
    clock: &Arc<dyn Clock>,
    readiness: &Readiness,
) -> anyhow::Result<Arc<dyn NodeShell>> {
    let Some(path) = audit_log(config)? else { return Ok(Arc::new(RusshShell)) };
    let condition = readiness.condition("audit_log");
    let opened = condition.clone();
    let told = Box::new(move |written| match written {
        Ok(()) => condition.ready(),
        Err(why) => condition.not_ready(why),
    });
    let log = AuditLog::open(&path, AuditRules::default(), Arc::clone(clock), told)?;
    opened.ready();
    Ok(Arc::new(AuditedShell::new(Arc::new(RusshShell), Arc::new(log))))
}

/// Where the audit log is to be, if anywhere.
pub(crate) fn audit_log(config: &ValidatorConfig) -> anyhow::Result<Option<PathBuf>> {
    let path = config.ssh_session.audit_log_path.as_deref();
    path.filter(|_| config.ssh_session.enable_audit_logging).map(expand).transpose()
}

/// Whether a start could open the audit log, as far as that shows without making it.
fn check_audit_log(config: &ValidatorConfig) -> anyhow::Result<()> {
    let Some(path) = audit_log(config)? else { return Ok(()) };
    check_place(&path).context("ssh_session.audit_log_path")
}

/// What a start would find missing, as far as that shows without the network and without changing anything.
pub(crate) async fn obstacles(config: &ValidatorConfig) -> Vec<anyhow::Error> {
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let database = database::check(config).await;
    let key = api::key(config).and_then(|key| Ok(key.as_deref().map(ApiKey::new).transpose()?));
    let audit_log = check_audit_log(config);
    [signer(config, &entropy).err(), prover(config).err(), key.err(), database.err(), audit_log.err()]
        .into_iter()
        .flatten()
        .collect()
}

/// What other validators are told of this one while it leads.
fn holder(config: &ValidatorConfig) -> String {
    let own = || format!("{}:{}", rustix::system::uname().nodename().to_string_lossy(), std::process::id());
    config.ha.name.clone().unwrap_or_else(own)
}

/// The configured hotkey.
pub(crate) fn signer(
    config: &ValidatorConfig,
    entropy: &Arc<dyn Entropy>,
) -> anyhow::Result<Arc<dyn HotkeySigner>> {
    let wallets = match &config.bittensor.wallet_path {
        Some(path) => Wallets::at(expand(path)?),
        None => Wallets::in_home(&home()?),
    };
    let password_file = config.bittensor.wallet_password_file.as_deref().map(expand).transpose()?;
    let passwords = Unattended::new(password_file, |name| std::env::var_os(name));
    let keypair = wallets
        .hotkey(config.bittensor.wallet_name.as_str(), config.bittensor.hotkey_name.as_str(), &passwords)
        .context("Failed to load hotkey")?;
    Ok(Arc::new(WalletSigner::new(keypair, Arc::clone(entropy))))
}

fn home() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    home.map(PathBuf::from).ok_or_else(|| anyhow!("HOME is not set; set it or bittensor.wallet_path"))
}

/// `~/…` of a path; anything else as it is.
pub(crate) fn expand(path: &std::path::Path) -> anyhow::Result<PathBuf> {
    match path.strip_prefix("~") {
        Ok(rest) => Ok(home()?.join(rest)),
        Err(_) => Ok(path.to_owned()),
    }
}

/// Most bytes of a prover.
const PROVER_BYTES: u64 = 256 * 1024 * 1024;
/// How a program for nodes begins.
const ELF_OF_64_BITS: &[u8] = b"\x7fELF\x02";

/// The prover from the configured file, or from beside this program.
fn prover(config: &ValidatorConfig) -> anyhow::Result<Vec<u8>> {
    let path = match &config.verification.prover_path {
        Some(path) => expand(path)?,
        None => {
            std::env::current_exe().context("find this program's own file")?.with_file_name("basilica-prover")
        }
    };
    let shown = path.display();
    let advice = "build it (cargo build -p basilica-prover) or set verification.prover_path";
    let bytes = std::fs::File::open(&path)
        .and_then(|file| basilica_console::read_at_most(file, PROVER_BYTES))
        .with_context(|| format!("read the prover {shown}; {advice}"))?;
    if !bytes.starts_with(ELF_OF_64_BITS) {
        bail!("the prover {shown} is no program that a node could run; {advice}");
    }
    Ok(bytes)
}

fn chain(
    config: &ValidatorConfig,
    signer: &Arc<dyn HotkeySigner>,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> anyhow::Result<SubtensorChain> {
    let options = ChainOptions::new(config.chain_endpoints()).of_network(config.bittensor.network);
    Ok(SubtensorChain::new(options, Some(Arc::clone(signer)), Arc::clone(clock), Arc::clone(entropy))?)
}
