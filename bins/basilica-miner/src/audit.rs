//! The audit log of SSH: the service keeps it, `audit` checks it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use basilica_audit::{AuditLog, AuditRules, AuditedShell, Inspection, OpenError, check_place, holder};
use basilica_console as console;
use basilica_miner_service::config::MinerConfig;
use basilica_ports::{Clock, NodeShell};
use basilica_runtime_service::Readiness;
use basilica_ssh::RusshShell;
use basilica_store::MinerLock;
use basilica_types::Digest;
use clap::Args;

use crate::cli::Cli;
use crate::commands::{answer, configured};

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Its files, oldest first; without any, those of the configuration.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The hash of a line, kept elsewhere, that must be in it: nobody has written the log anew up to there.
    #[arg(long, value_name = "HASH")]
    head: Option<Digest>,
}

pub(crate) fn run(cli: &Cli, arguments: &AuditArgs) -> anyhow::Result<ExitCode> {
    let log = if arguments.files.is_empty() {
        let Some(path) = configured(cli, &cli.config)?.config.audit_log else {
            bail!(
                "name the log's files, or set ssh_session.audit_log_path, and do not set enable_audit_logging = false"
            );
        };
        Inspection::of_log(&path, arguments.head)?
    } else {
        Inspection::of_files(arguments.files.clone(), arguments.head)?
    };
    let broken = log.broken();
    if let (Some(why), false) = (&broken, cli.json) {
        bail!("{why}");
    }
    answer(cli, &log.json(), || log.to_string())?;
    Ok(if broken.is_none() { ExitCode::SUCCESS } else { ExitCode::from(console::FAILURE) })
}

/// SSH, with a log before it where the configuration names one.
pub(crate) fn shell(
    path: Option<&Path>,
    clock: &Arc<dyn Clock>,
    readiness: &Readiness,
) -> anyhow::Result<Arc<dyn NodeShell>> {
    let Some(path) = path else { return Ok(Arc::new(RusshShell)) };
    let condition = readiness.condition("audit_log");
    let opened = condition.clone();
    let told = Box::new(move |written| match written {
        Ok(()) => condition.ready(),
        Err(why) => condition.not_ready(why),
    });
    let log = AuditLog::open(path, AuditRules::default(), Arc::clone(clock), told)?;
    opened.ready();
    Ok(Arc::new(AuditedShell::new(Arc::new(RusshShell), Arc::new(log))))
}

/// Why a start could not open the log, as far as that shows without making it.
pub(crate) fn obstacle(config: &MinerConfig) -> Option<anyhow::Error> {
    let path = config.audit_log.as_deref()?;
    if let Err(error) = check_place(path) {
        return Some(anyhow::Error::from(error).context("ssh_session.audit_log_path"));
    }
    // The miner of this configuration may have it; where that cannot be told, it counts as that one.
    let holder = holder(path)?;
    let is_own = match MinerLock::holder(&config.database.url) {
        Ok(miner) => miner.is_some_and(|miner| miner.pid.is_none_or(|pid| pid == holder)),
        Err(_) => true,
    };
    let error = OpenError::InUse { path: path.to_owned(), pid: Some(holder) };
    (!is_own).then(|| error.into())
}
