//! The certificate of the gRPC port: `tls self-signed` makes one, the service loads it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use basilica_miner_service::config::{MinerConfig, TlsConfig, tls_paths};
use basilica_ports::Clock as _;
use basilica_rpc::{SelfSigned, ServerTls, Transport, self_signed};
use basilica_system::SystemClock;
use basilica_types::{Host, Millis, Timestamp};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::cli::Cli;
use crate::commands::{answer, configured, loaded};
use crate::pair::{self, Pair};
use crate::running;

#[derive(Debug, Subcommand)]
pub(crate) enum TlsCommand {
    /// Make a key and a certificate that vouches for itself, for validator_comms.tls_enabled.
    SelfSigned(SelfSignedArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SelfSignedArgs {
    /// Name or address by which clients reach this miner; can be repeated.
    #[arg(long = "host", value_name = "HOST", required = true)]
    hosts: Vec<Host>,
    /// How long it counts.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Where to put the certificate; default: validator_comms.tls_cert_path.
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Where to put the key; default: validator_comms.tls_key_path.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Replace what is there; it is kept as FILE.old, FILE.old.2 and so on.
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(cli: &Cli, command: &TlsCommand) -> anyhow::Result<()> {
    let TlsCommand::SelfSigned(arguments) = command;
    let (certificate, key) = places(cli, arguments)?;
    if certificate == key {
        bail!("certificate and key cannot be the same file");
    }
    if let (false, Some(there)) =
        (arguments.force, [&certificate, &key].into_iter().find(|path| path.exists()))
    {
        bail!("{} is there already; --force replaces both files and keeps them as FILE.old", there.display());
    }
    let hosts: Vec<String> = arguments.hosts.iter().map(ToString::to_string).collect();
    let life = Millis::from_secs(u64::from(arguments.days) * 86_400);
    let made = self_signed(&hosts, SystemClock::new().now(), life)?;
    let pair = Pair { key: &key, certificate: &certificate };
    let kept = pair.write(&made.key, &made.certificate, arguments.force)?;
    let taken_up = taken_up(cli, pair)?;
    let words = taken_up.as_ref().map_or_else(
        || in_the_configuration(&certificate, &key),
        |reload| format!("{}\n", reload.words(&cli.program())),
    );
    let data = json!({
        "certificate": certificate, "key": key, "hosts": hosts,
        "sha256_fingerprint": made.fingerprint, "until": made.until.rfc3339(),
        "kept": kept, "configured": taken_up.is_some(), "miner": taken_up.map(|reload| reload.json()),
    });
    answer(cli, &data, || told(&made, pair, &kept) + &words)
}

fn places(cli: &Cli, arguments: &SelfSignedArgs) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (arguments.cert.clone(), arguments.key.clone());
    if let (Some(certificate), Some(key)) = (&certificate, &key) {
        return Ok((certificate.clone(), key.clone()));
    }
    let loaded = loaded(cli, &cli.config)?;
    let configured = tls_paths(&loaded, std::env::home_dir().as_deref())?;
    let place = |given: Option<PathBuf>, configured: Option<PathBuf>, option: &str, name: &str| {
        given.or(configured).with_context(|| {
            format!("where to put it is not known: give {option} FILE, or set validator_comms.{name}")
        })
    };
    Ok((
        place(certificate, configured.0, "--cert", "tls_cert_path")?,
        place(key, configured.1, "--key", "tls_key_path")?,
    ))
}

/// Whether the miner that runs, if one does, shows the certificate from now on. None where the configuration does not name both files.
fn taken_up(cli: &Cli, pair: Pair<'_>) -> anyhow::Result<Option<running::Reload>> {
    // A configuration that is not valid yet names nothing that runs.
    let Ok(configured) = configured(cli, &cli.config) else { return Ok(None) };
    let same = |one: &Path, other: &Path| one.canonicalize().ok() == other.canonicalize().ok();
    let named = configured
        .config
        .listen
        .tls
        .is_some_and(|tls| same(&tls.certificate, pair.certificate) && same(&tls.key, pair.key));
    named.then(|| running::reload(&configured.config.database.url)).transpose()
}

fn told(made: &SelfSigned, pair: Pair<'_>, kept: &[PathBuf]) -> String {
    let kept: String =
        kept.iter().map(|path| format!("what was there is kept: {}\n", path.display())).collect();
    format!(
        "certificate: {}\nkey: {} (for this user only)\n{kept}SHA-256 fingerprint: {}\ncounts until: {}\n",
        pair.certificate.display(),
        pair.key.display(),
        made.fingerprint,
        made.until.rfc3339()
    )
}

fn in_the_configuration(certificate: &Path, key: &Path) -> String {
    // The service may be started elsewhere.
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let value = |path: &Path| Value::from(whole(path).display().to_string());
    format!(
        "to use it, put this into [validator_comms] and restart the miner:\n  tls_enabled = true\n  tls_cert_path = {}\n  \
         tls_key_path = {}",
        value(certificate),
        value(key)
    )
}

/// What the gRPC port speaks. An expired certificate is told and used.
pub(crate) fn transport(tls: Option<&TlsConfig>, now: Timestamp) -> anyhow::Result<Transport> {
    let Some(config) = tls else { return Ok(Transport::Plain) };
    let tls = load(config)?;
    tell(&tls, now);
    Ok(if config.required { Transport::Encrypted(tls) } else { Transport::Either(tls) })
}

/// Shows the certificate that is in its file now, if it can be used.
pub(crate) fn renew(shown: &ServerTls, config: &TlsConfig, now: Timestamp) -> anyhow::Result<()> {
    let new = load(config)?;
    if new.fingerprint() != shown.fingerprint() {
        tell(&new, now);
    }
    // Also where the certificate is the same: its chain may be another.
    shown.renew(&new);
    Ok(())
}

fn load(config: &TlsConfig) -> anyhow::Result<ServerTls> {
    pair::load(Pair { key: &config.key, certificate: &config.certificate })
}

fn tell(tls: &ServerTls, now: Timestamp) {
    let (validity, fingerprint) = (tls.validity(), tls.fingerprint());
    let (from, until) = (validity.from.rfc3339(), validity.until.rfc3339());
    if validity.covers(now) {
        info!(fingerprint, until, "TLS certificate of the gRPC port");
    } else {
        warn!(
            fingerprint,
            from, until, "the TLS certificate does not count now, and clients that check it will not connect"
        );
    }
}

/// What is wrong with the configured certificate, its time included.
pub(crate) fn obstacle(config: &MinerConfig, now: Timestamp) -> Option<anyhow::Error> {
    let config = config.listen.tls.as_ref()?;
    let tls = match load(config) {
        Ok(tls) => tls,
        Err(error) => return Some(error),
    };
    let validity = tls.validity();
    (!validity.covers(now)).then(|| {
        anyhow!(
            "the certificate in {} counts from {} until {}, and not now; renew it, or make one with: basilica-miner tls \
             self-signed --force --host YOUR_PUBLIC_IP",
            config.certificate.display(),
            validity.from.rfc3339(),
            validity.until.rfc3339()
        )
    })
}
