//! Calls every card by a dearer one's name and leaves its numbers as they are, like an NVML with a patched name.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use basilica_proof::ClaimReport;

const DEARER: &str = "simulated-H100";

/// Prints the honest claims under another name.
pub(crate) fn claims() -> anyhow::Result<()> {
    let honest = Command::new(std::env::current_exe()?)
        .args(["--as", "honest", "claims"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("ask the honest prover")?;
    if !honest.status.success() {
        bail!("the honest prover tells no claims");
    }
    let mut report = ClaimReport::parse(&honest.stdout)?;
    for device in &mut report.devices {
        device.class = DEARER.parse()?;
    }
    writeln!(std::io::stdout().lock(), "{}", report.to_json()).context("print the claims")
}
