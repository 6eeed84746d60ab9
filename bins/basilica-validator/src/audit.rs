//! `audit`: whether the audit log of SSH holds together.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use basilica_audit::Inspection;
use basilica_types::Digest;
use basilica_validator_service::ValidatorConfig;

use crate::{build, print};

/// Reads the named files as one log, or those that the configuration names.
pub(crate) fn check(
    config: &ValidatorConfig,
    named: Vec<PathBuf>,
    asked: Option<Digest>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let log = match (named.is_empty(), build::audit_log(config)?) {
        (false, _) => Inspection::of_files(named, asked)?,
        (true, Some(path)) => Inspection::of_log(&path, asked)?,
        (true, None) => bail!(
            "name the log's files, or set ssh_session.audit_log_path, and do not set enable_audit_logging = false"
        ),
    };
    let broken = log.broken();
    if let (Some(why), false) = (&broken, json) {
        bail!("{why}");
    }
    print(&if json { format!("{:#}\n", log.json()) } else { format!("{log}\n") })?;
    Ok(if broken.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
