//! Everything but running: each command opens what it needs, answers and ends.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use basilica_miner_service::config::{IGNORED, MinerConfig, NodeConfig, Settings, check};
use basilica_miner_service::little_room;
use basilica_ports::{Clock as _, HostKeyApproval, HostKeyRecord, Identity, MinerStore as _, NodeShell as _};
use basilica_runtime_service::{ConfigError, ConfigSource, Loaded, Notice, load};
use basilica_ssh::RusshShell;
use basilica_store::{Database, MINER_SCHEMA, MinerDatabase, MinerLock, OpenError, OpenOptions};
use basilica_system::SystemClock;
use basilica_types::{ErrorChain, HostKey, NodeAddress};
use serde_json::{Value, json};

use crate::cli::Cli;
use crate::keys::unfinished;
use crate::nodes::twins;
use crate::program::Program;
use crate::select::{meant, select};
use crate::service;
use crate::store;

/// Keys that `config show` keeps to itself unless asked: where secrets are, and addresses that may have one in them. docs/miner.md names them.
const SENSITIVE: [&str; 7] = [
    "wallet_path",
    "wallet_password_file",
    "miner_node_key_path",
    "tls_key_path",
    "url",
    "chain_endpoint",
    "fallback_endpoints",
];

/// The configuration with what its user should know.
pub(crate) struct Configured {
    pub(crate) loaded: Loaded<Settings>,
    pub(crate) config: MinerConfig,
    pub(crate) notices: Vec<Notice>,
}

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    path: PathBuf,
    metrics: bool,
    revoke_on_exit: bool,
}

impl Source {
    pub(crate) fn new(cli: &Cli, path: &Path) -> Self {
        Self { path: path.to_owned(), metrics: cli.metrics, revoke_on_exit: cli.revoke_on_exit }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

pub(crate) fn configured(cli: &Cli, path: &Path) -> anyhow::Result<Configured> {
    configured_from(&Source::new(cli, path))
}

pub(crate) fn configured_from(from: &Source) -> anyhow::Result<Configured> {
    let loaded = loaded_from(from)?;
    let (config, notices) = checked(&loaded)?;
    Ok(Configured { loaded, config, notices })
}

/// What the service would run on, and what its user should know.
pub(crate) fn checked(loaded: &Loaded<Settings>) -> Result<(MinerConfig, Vec<Notice>), ConfigError> {
    check(loaded, std::env::home_dir().as_deref())
}

/// The file as its user wrote it, not checked against this machine yet.
pub(crate) fn loaded(cli: &Cli, path: &Path) -> anyhow::Result<Loaded<Settings>> {
    loaded_from(&Source::new(cli, path))
}

fn loaded_from(from: &Source) -> anyhow::Result<Loaded<Settings>> {
    let env = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let mut source = ConfigSource {
        path: Some(&from.path),
        env_prefix: "BASILICA_",
        legacy_env_prefix: Some("BASILCA_"),
        env: env.collect(),
        ignored: IGNORED,
        ..ConfigSource::default()
    };
    if from.metrics {
        source.overrides.push(("metrics.enabled".to_owned(), true.into()));
    }
    if from.revoke_on_exit {
        source.overrides.push(("security.remove_keys_on_shutdown".to_owned(), true.into()));
    }
    load::<Settings>(&source).map_err(|error| match error {
        ConfigError::Read { ref source, .. } if source.kind() == ErrorKind::NotFound => {
            let path = from.path.display();
            let whole = std::path::absolute(&from.path).unwrap_or_else(|_| from.path.clone());
            anyhow::Error::from(error).context(format!(
                "there is no configuration {}; name yours with --config, or make one with: basilica-miner init --output {path}",
                whole.display()
            ))
        }
        ConfigError::Read { ref source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            anyhow::Error::from(error).context("run this as a user who may read the configuration")
        }
        error => error.into(),
    })
}

pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    basilica_console::print(text).context("write to standard output")
}

pub(crate) fn answer(cli: &Cli, data: &Value, words: impl FnOnce() -> String) -> anyhow::Result<()> {
    let text = if cli.json { format!("{data:#}") } else { words() };
    print(&format!("{text}\n"))
}

/// A miner starts with a key that it cannot log in with: one that is put in its place is taken up. Until then it has no node.
fn unusable_key(config: &MinerConfig) -> Option<String> {
    if config.fleet.nodes.is_empty() {
        return None;
    }
    let error = RusshShell.public_key(&Identity::File(config.fleet.ssh_key.clone())).err()?;
    Some(format!(
        "no node can be reached with the key of ssh_session.miner_node_key_path ({}); `basilica-miner doctor` says how to mend it",
        ErrorChain(&error)
    ))
}

pub(crate) fn validate(cli: &Cli, path: Option<&Path>) -> anyhow::Result<()> {
    let path = path.unwrap_or(&cli.config);
    let Configured { loaded, config, notices } = configured(cli, path)?;
    let program = Program::with(path);
    let mut notices: Vec<String> = notices.iter().map(ToString::to_string).collect();
    notices.extend(unusable_key(&config));
    notices.extend(unfinished(&config));
    notices
        .extend(little_room(&service::disks(&config)).iter().map(|room| format!("{room}; {}", room.todo())));
    // A database that cannot be read is told below.
    notices
        .extend(block_on(twins::warnings(&config)).unwrap_or_default().into_iter().map(|(_, words)| words));
    notices.iter_mut().for_each(|notice| *notice = program.in_words(notice));
    let warnings: String = notices.iter().map(|notice| format!("warning: {notice}\n")).collect();
    let obstacles = block_on(async { Ok(service::obstacles(&config).await) })?;
    if !obstacles.is_empty() {
        let lines: String =
            obstacles.iter().map(|error| format!("\n  {}", ErrorChain(error.as_ref()))).collect();
        let lines = program.in_words(&lines);
        let beside: String =
            notices.iter().map(|notice| format!("\n  beside that, a warning: {notice}")).collect();
        bail!(
            "the configuration ({}) is valid, but the miner could not start:{lines}{beside}",
            loaded.origin()
        );
    }
    let data = json!({
        "valid": true,
        "file": loaded.file().map(|path| path.display().to_string()),
        "variables": loaded.variables(),
        "notices": notices,
    });
    answer(cli, &data, || format!("read: {}\n{warnings}Configuration validation passed", loaded.origin()))
}

pub(crate) fn show(cli: &Cli, show_sensitive: bool) -> anyhow::Result<()> {
    let Configured { loaded, .. } = configured(cli, &cli.config)?;
    let mut settings = serde_json::to_value(&loaded.value).context("show the configuration")?;
    if !show_sensitive {
        mask(&mut settings);
    }
    answer(cli, &settings, || {
        let mut lines = Vec::new();
        flatten("", &settings, &mut lines);
        lines.join("\n")
    })
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if SENSITIVE.contains(&name.as_str()) && !field.is_null() {
                    *field = Value::from("(hidden; use --show-sensitive)");
                } else {
                    mask(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

fn flatten(prefix: &str, value: &Value, lines: &mut Vec<String>) {
    let mut each = |name: String, item: &Value| {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        flatten(&key, item, lines);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, item)| each(name.clone(), item)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().enumerate().for_each(|(at, item)| each(at.to_string(), item));
        }
        Value::Null => lines.push(format!("# {prefix} is not set")),
        other => lines.push(format!("{prefix} = {other}")),
    }
}

/// A small runtime for one command.
pub(crate) fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(future)
}

pub(crate) async fn open(config: &MinerConfig, migrate: bool) -> anyhow::Result<Database> {
    let options = OpenOptions { readers: 1, migrate };
    let url = &config.database.url;
    Database::open(url, &MINER_SCHEMA, options).await.map_err(|error| match (&error, MinerLock::holder(url)) {
        (OpenError::Absent { path, .. }, Ok(Some(_))) => {
            anyhow::anyhow!(
                "database file {} is gone, and a miner runs on it: put it back, or stop the miner and restore a backup; `basilica-miner doctor \
                 --quick` says what is lost without one",
                path.display()
            )
        }
        _ => error.into(),
    })
}

fn host_key_json(record: &HostKeyRecord, configured: bool) -> Value {
    json!({
        "node_id": record.node_id.to_string(),
        "address": record.address.to_string(),
        "pinned": record.pinned.fingerprint(),
        "offered": record.offered.as_ref().map(HostKey::fingerprint),
        "configured": configured,
    })
}

/// The host key of every node: the one that the configuration names, or else the one that was seen first or approved.
fn trusted(nodes: &[NodeConfig], records: Vec<HostKeyRecord>) -> Vec<(HostKeyRecord, bool)> {
    let configured = nodes.iter().filter_map(|node| {
        let pinned = node.host_key.clone()?;
        Some(HostKeyRecord { node_id: node.id, address: node.address.clone(), pinned, offered: None })
    });
    let mut all: Vec<(HostKeyRecord, bool)> = configured.map(|record| (record, true)).collect();
    for record in records {
        if !all.iter().any(|(other, _)| other.node_id == record.node_id) {
            all.push((record, false));
        }
    }
    all.sort_by_cached_key(|(record, _)| record.address.to_string());
    all
}

pub(crate) fn list_host_keys(cli: &Cli) -> anyhow::Result<()> {
    let config = configured(cli, &cli.config)?.config;
    let records = block_on(async { Ok(MinerDatabase::new(open(&config, false).await?).host_keys().await?) })?;
    let keys = trusted(&config.fleet.nodes, records);
    answer(cli, &keys.iter().map(|(record, configured)| host_key_json(record, *configured)).collect(), || {
        let line = |(record, configured): &(HostKeyRecord, bool)| {
            let note = match &record.offered {
                Some(key) => format!("  shows now: {}", key.fingerprint()),
                None if *configured => "  from the configuration".to_owned(),
                None => String::new(),
            };
            format!("{}  {}  {}{note}", record.node_id, record.address, record.pinned.fingerprint())
        };
        match keys.as_slice() {
            [] => {
                "no host key of a node is known: the miner learns it when it first meets the node".to_owned()
            }
            keys => keys.iter().map(line).collect::<Vec<_>>().join("\n"),
        }
    })
}

/// The address of the listed node that is meant, or of one that a miner has met.
fn known_address(config: &MinerConfig, node: &str) -> anyhow::Result<NodeAddress> {
    let listed = &config.fleet.nodes;
    if meant(listed, node).is_empty() {
        let met = block_on(store::remembered(&config.database))?;
        if !meant(&met, node).is_empty() {
            return Ok(select(&met, node)?.address.clone());
        }
    }
    Ok(select(listed, node)?.address.clone())
}

pub(crate) fn approve_host_key(cli: &Cli, node: &str, fingerprint: &str) -> anyhow::Result<()> {
    let config = configured(cli, &cli.config)?.config;
    let address = known_address(&config, node)?;
    let id = address.node_id();
    if let Some(fixed) = config.fleet.nodes.iter().find(|n| n.id == id && n.host_key.is_some()) {
        bail!(
            "node {0} has its host_key in the configuration; if the key shown is its own: {1} nodes add {0} --fingerprint \
             {fingerprint}",
            fixed.address,
            cli.program()
        );
    }
    let approval = block_on(async {
        let store = MinerDatabase::new(open(&config, false).await?);
        Ok(store.approve_host_key(id, fingerprint, SystemClock::new().now()).await?)
    })?;
    let before = match approval {
        HostKeyApproval::Approved(before) => before,
        HostKeyApproval::OtherKey(record) => {
            let shown = record.offered.as_ref().map_or_else(String::new, HostKey::fingerprint);
            bail!(
                "node {address} shows host key {shown}, not {fingerprint}; nothing was approved. Find out on the node itself \
                 which one is its own (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)"
            );
        }
        HostKeyApproval::NothingOffered => bail!(
            "node {address} shows no other host key than the one that is trusted; nothing to approve (see `host-key list`)"
        ),
    };
    answer(cli, &host_key_json(&before, false), || {
        let now = before.offered.as_ref().map_or_else(String::new, HostKey::fingerprint);
        format!("{}: host key {} replaced by {now}", before.address, before.pinned.fingerprint())
    })
}
