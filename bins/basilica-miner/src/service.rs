//! The running miner: adapters are made here and handed to the service as ports.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use basilica_chain::{ChainOptions, SubtensorChain};
use basilica_http::HttpValidatorApi;
use basilica_miner_service::config::{DatabaseConfig, ListenConfig, MinerConfig, WalletConfig};
use basilica_miner_service::{Miner, MinerPorts};
use basilica_ports::{Clock, Entropy, HotkeySigner, Identity};
use basilica_rpc::{MinerListener, PeerRate, ServeError, ServerLimits, ServerTls};
use basilica_runtime_service::{
    AdminListener, AdminRoutes, AdminState, BindError, LogLevel, Metrics, Readiness, Supervisor,
    TracingOptions, init_tracing_in_words,
};
use basilica_store::{Database, MINER_SCHEMA, MinerDatabase, MinerLock, OpenError, OpenOptions};
use basilica_system::{HostDisks, OsEntropy, SystemClock, UsageMetrics, raise_file_limit};
use basilica_types::{Millis, Timestamp};
use basilica_wallet::{Unattended, WalletSigner, Wallets};
use serde_json::Value;
use tracing::{info, warn};

use crate::audit;
use crate::cli::Cli;
use crate::commands::{Configured, Source, configured_from};
use crate::pages;
use crate::program::Program;
use crate::reload::{self, Reloader};
use crate::tls;

/// How long running requests and rounds may take to end after a signal: a discovery's 20 s and a little.
const GRACE: Millis = Millis::from_secs(25);
/// How the names of the program's metrics begin.
const METRICS: &str = "basilica_miner";
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) fn run(cli: &Cli) -> anyhow::Result<()> {
    let source = Source::new(cli, &cli.config);
    let Configured { loaded, config, notices } = configured_from(&source)?;
    let level = LogLevel::of_verbosity(cli.verbose).unwrap_or(config.logging.level);
    let logging = TracingOptions::from_env(cli.json || config.logging.json, level);
    let program = cli.program().in_log(logging.json);
    init_tracing_in_words(&logging, move |line| program.in_words(line)).context("start logging")?;
    for notice in notices {
        warn!(%notice, "configuration");
    }
    allow_files(config.fleet.nodes.len());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let started = serde_json::to_value(&loaded.value).context("keep the configuration")?;
    runtime.block_on(serve(config, (source, started), cli.program()))
}

/// Lets the process open as many files as it ever may, and says if those are too few: a kept connection and one being made
/// for each node, all connections of validators, and what the program itself has open.
fn allow_files(nodes: usize) {
    const OWN: usize = 64;
    let needed = 2 * nodes + ServerLimits::default().connections + OWN;
    match raise_file_limit() {
        Ok(Some(most)) if most < needed as u64 => warn!(
            limit = most,
            needed, "few open files are allowed; raise the limit (ulimit -n, or LimitNOFILE= of systemd)"
        ),
        Ok(_) => {}
        Err(error) => warn!(%error, "the limit of open files cannot be raised"),
    }
}

/// Ports that are bound before anything starts.
struct Listeners {
    grpc: MinerListener,
    /// The certificate that the gRPC port shows.
    tls: Option<ServerTls>,
    health: AdminListener,
    /// The other port for the same.
    compat: Option<AdminListener>,
    metrics: Option<AdminListener>,
}

impl Listeners {
    async fn bind(config: &MinerConfig, now: Timestamp) -> anyhow::Result<Self> {
        let metrics = admin(config.listen.metrics, "metrics.prometheus.port").await?;
        let compat = admin(config.listen.compat, "health.compat_port").await?;
        let health = AdminListener::bind(config.listen.health).await.context("health.listen")?;
        let transport = tls::transport(config.listen.tls.as_ref(), now)?;
        let grpc = MinerListener::bind(config.listen.grpc).await.map_err(|error| match error {
            // What the system says of an address means the same for each of our ports.
            ServeError::Bind { address, source } => {
                anyhow::Error::from(BindError::new(address, source)).context("validator_comms.port, and host")
            }
            other => anyhow::Error::from(other),
        })?;
        Ok(Self { tls: transport.tls().cloned(), grpc: grpc.speaking(transport), health, compat, metrics })
    }
}

async fn admin(address: Option<SocketAddr>, key: &'static str) -> anyhow::Result<Option<AdminListener>> {
    match address {
        Some(address) => AdminListener::bind(address).await.map(Some).context(key),
        None => Ok(None),
    }
}

/// What a start would find missing, as far as that shows without the network and without changing anything.
pub(crate) async fn obstacles(config: &MinerConfig) -> Vec<anyhow::Error> {
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let database = database_obstacle(&config.database).await;
    let tls = tls::obstacle(config, SystemClock::new().now());
    let audit_log = audit::obstacle(config);
    [signer(&config.wallet, &entropy).err(), database.map(Into::into), tls, audit_log]
        .into_iter()
        .flatten()
        .collect()
}

/// The disks that the miner writes to.
pub(crate) fn disks(config: &MinerConfig) -> HostDisks {
    HostDisks::of(config.kept())
}

/// Why a start could not use the database.
pub(crate) async fn database_obstacle(config: &DatabaseConfig) -> Option<OpenError> {
    let opened = Database::check(&config.url, &MINER_SCHEMA, open_options(config)).await;
    match opened {
        Ok(()) => Database::check_pages(&config.url).await.err(),
        Err(error) => Some(error),
    }
}

pub(crate) fn signer(
    wallet: &WalletConfig,
    entropy: &Arc<dyn Entropy>,
) -> anyhow::Result<Arc<dyn HotkeySigner>> {
    let passwords = Unattended::new(wallet.password_file.clone(), |name| std::env::var_os(name));
    let keypair = Wallets::at(&wallet.root)
        .hotkey(wallet.wallet.as_str(), wallet.hotkey.as_str(), &passwords)
        .context("Failed to load hotkey")?;
    Ok(Arc::new(WalletSigner::new(keypair, Arc::clone(entropy))))
}

const fn open_options(database: &DatabaseConfig) -> OpenOptions {
    OpenOptions { readers: database.readers, migrate: database.migrate }
}

/// What strangers may use up, as far as the configuration says.
fn limits(config: &ListenConfig) -> ServerLimits {
    let rate = config.request_rate.map(|rate| PeerRate { per_second: rate.per_second, burst: rate.burst });
    ServerLimits { request_timeout: config.request_timeout, rate, ..ServerLimits::default() }
}

/// The store, measured, as is what the process uses of the host that it stands on.
fn store(database: &Database, config: &DatabaseConfig, metrics: &Metrics) -> MinerDatabase {
    let store = MinerDatabase::new(database.clone());
    let usage = Box::new(UsageMetrics::new(METRICS, config.url.as_path().to_owned()));
    metrics.register(|registry| {
        registry.register_collector(usage);
        store.observe(registry, METRICS);
    });
    store
}

async fn serve(
    config: MinerConfig,
    (source, started): (Source, Value),
    program: Program,
) -> anyhow::Result<()> {
    let hangups = reload::hangups().context("install the handler of SIGHUP")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let signer = signer(&config.wallet, &entropy)?;
    let _alone = MinerLock::take(&config.database.url)?;
    Database::check_pages(&config.database.url).await?;
    let database =
        Database::open(&config.database.url, &MINER_SCHEMA, open_options(&config.database)).await?;
    let listeners = Listeners::bind(&config, clock.now()).await?;
    let chain = Arc::new(SubtensorChain::new(
        ChainOptions::new(config.subnet.endpoints.clone()).of_network(config.subnet.network),
        Some(Arc::clone(&signer)),
        Arc::clone(&clock),
        Arc::clone(&entropy),
    )?);
    let (readiness, metrics) = (Readiness::new(), Metrics::new());
    let supervisor = Supervisor::new(Arc::clone(&clock), Arc::clone(&entropy));
    supervisor.observe(&metrics, METRICS);
    info!(hotkey = %signer.hotkey(), grpc = %listeners.grpc.local_addr()?, health = %listeners.health.local_addr(),
        nodes = config.fleet.nodes.len(), "basilica-miner starts");
    let store = store(&database, &config.database, &metrics);
    store.resume(clock.now()).await.context("read what validators' requests are decided by")?;
    let ports = MinerPorts {
        chain: Arc::<SubtensorChain>::clone(&chain),
        shell: audit::shell(config.audit_log.as_deref(), &clock, &readiness)?,
        operator: Identity::File(config.fleet.ssh_key.clone()),
        store: Arc::new(store),
        disks: Arc::new(disks(&config)),
        signer,
        clock: Arc::clone(&clock),
        entropy,
    };
    let miner = Miner::new(ports, config.fleet, config.admission, &config.subnet, (&readiness, &metrics));
    let miner = miner.asking_validators(Arc::new(HttpValidatorApi), config.verdicts);
    let pages = pages::of(miner.status(), program);
    let state = |routes| AdminState {
        readiness: readiness.clone(),
        metrics: metrics.clone(),
        clock: Arc::clone(&clock),
        version: VERSION,
        routes,
        pages: pages.clone(),
    };
    let admin = [
        Some((listeners.health, state(AdminRoutes::Health))),
        listeners.compat.map(|l| (l, state(AdminRoutes::Health))),
        listeners.metrics.map(|l| (l, state(AdminRoutes::Metrics))),
    ];
    let (api, grpc) = (miner.api(), listeners.grpc);
    let (fleet, trouble, tls) = (miner.fleet(), miner.reload_trouble(), listeners.tls);
    let reloader = Reloader { source, started, fleet, trouble, tls, clock: Arc::clone(&clock) };
    let limits = limits(&config.listen);
    miner.start(&supervisor);
    supervisor.spawn_once("reload", move |stop| reloader.run(hangups, stop));
    supervisor.spawn_once("grpc", move |stop| async move {
        grpc.serve(api, limits, async move { stop.requested().await }).await.map_err(Into::into)
    });
    supervisor.spawn_once("chain_endpoints", move |stop| async move {
        tokio::select! {
            () = chain.watch() => {}
            () = stop.requested() => {}
        }
        Ok(())
    });
    for (listener, state) in admin.into_iter().flatten() {
        supervisor.spawn_once("admin", move |stop| async move {
            listener.serve(state, stop).await;
            Ok(())
        });
    }
    let ended = supervisor.run_until_stopped(GRACE).await;
    database.close().await;
    Ok(ended?)
}
