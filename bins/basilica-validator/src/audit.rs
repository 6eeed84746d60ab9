//! `audit`: whether the audit log of SSH holds together.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use basilica_audit::{Broken, Summary, files, verify};
use basilica_types::Digest;
use basilica_validator_service::ValidatorConfig;
use serde_json::json;

use crate::{build, print};

/// Reads the named files as one log, or those that the configuration names.
pub(crate) fn check(
    config: &ValidatorConfig,
    named: Vec<PathBuf>,
    asked: Option<Digest>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let all = match (named.is_empty(), build::audit_log(config)?) {
        (false, _) => named,
        (true, Some(path)) => {
            let all = files(&path).with_context(|| format!("look for {}", path.display()))?;
            if all.is_empty() {
                bail!("there is no audit log at {}", path.display());
            }
            all
        }
        (true, None) => bail!(
            "name the log's files, or set ssh_session.audit_log_path, and do not set enable_audit_logging = false"
        ),
    };
    let mut log: Box<dyn Read> = Box::new(std::io::empty());
    for path in &all {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        log = Box::new(log.chain(file));
    }
    let summary = match verify(BufReader::new(log), asked) {
        Ok(summary) => summary,
        Err(Broken::Read(error)) => return Err(error).context("read the audit log"),
        Err(broken) if json => {
            print(&format!("{:#}\n", json!({ "holds": false, "files": all, "why": broken.to_string() })))?;
            return Ok(ExitCode::FAILURE);
        }
        Err(broken) => return Err(broken.into()),
    };
    let missing = asked.filter(|_| !summary.has_asked);
    if let (Some(asked), false) = (missing, json) {
        bail!(
            "no line of this log has the hash {asked}: it was written anew, or that line was cut off or is in a file that is not here"
        );
    }
    let answer = json!({
        "holds": missing.is_none(), "files": all, "lines": summary.lines, "torn": summary.torn, "lost": summary.lost, "first": summary.first,
        "last": summary.last, "follows": summary.follows, "head": summary.head,
    });
    print(&if json { format!("{answer:#}\n") } else { text(&summary, all.len()) })?;
    Ok(if missing.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(summary: &Summary, files: usize) -> String {
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let mut text = format!(
        "{} operations in {files} files, from {} to {}: each follows the one before it: of those written none was changed, left out or put in between\n",
        summary.lines,
        dash(&summary.first),
        dash(&summary.last)
    );
    if summary.torn > 0 {
        text.push_str(&format!("  unfinished  {} lines, after a crash\n", summary.torn));
    }
    if summary.lost > 0 {
        text.push_str(&format!("  lost        {} operations, which could not be written\n", summary.lost));
    }
    if let Some(follows) = &summary.follows {
        text.push_str(&format!("  follows     {follows}, the last line of a file that is not here\n"));
    }
    if let Some(head) = &summary.head {
        text.push_str(&format!(
            "  head        {head}: keep it elsewhere, and ask with --head whether it is still there\n"
        ));
    }
    text
}
