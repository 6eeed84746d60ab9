//! Which devices this node claims.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use basilica_proof::claim::{self, REPORT_BYTES_MAX, REPORT_VERSION};
use basilica_proof::{ClaimReport, ClassName, DeviceFacts, DeviceReport};
use basilica_types::{Digest, GpuUuid};
use serde::Deserialize;

use crate::gpus;

const MACHINE_ID: &str = "/etc/machine-id";
const CONFIG: &str = ".config/basilica/simulated-gpus.json";
/// What an operator reads where nothing is found.
const NO_GPU: &str = "no GPU found: is the NVIDIA driver loaded (nvidia-smi), and may this user use /dev/nvidia*? To have \
     the CPU play GPUs on a development chain, list them in ~/.config/basilica/simulated-gpus.json";

/// What a file of simulated devices says: a report in which the machine and the devices' facts may be left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SimulatedNode {
    version: u32,
    machine: Option<Digest>,
    devices: Vec<SimulatedDevice>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SimulatedDevice {
    index: u16,
    uuid: GpuUuid,
    class: ClassName,
    facts: Option<DeviceFacts>,
}

/// The devices from the file given, the user's file, or the driver, in this order. A machine without any claims none, and says
/// why on standard error: to simulate a GPU takes a file that says so, or a node whose driver died would claim another card
/// than it has.
pub(crate) fn devices(simulate: Option<&Path>) -> anyhow::Result<ClaimReport> {
    if let Some(path) = simulate {
        return read(path);
    }
    let configured = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(CONFIG));
    if let Some(path) = configured.filter(|path| path.exists()) {
        return read(&path);
    }
    let reports: Vec<_> = gpus::find()?.into_iter().map(|claimed| claimed.report).collect();
    if reports.is_empty() {
        crate::report(NO_GPU);
    }
    Ok(ClaimReport::new(machine(), reports)?)
}

fn read(path: &Path) -> anyhow::Result<ClaimReport> {
    let shown = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("open simulated devices {shown}"))?;
    let mut json = Vec::new();
    file.take(REPORT_BYTES_MAX as u64 + 1)
        .read_to_end(&mut json)
        .with_context(|| format!("read simulated devices {shown}"))?;
    let report = parse(&json).with_context(|| format!("parse simulated devices {shown}"))?;
    match report.devices.iter().find(|device| !device.class.is_simulated()) {
        None => Ok(report),
        Some(device) => bail!(
            "{shown} gives device {} the class `{}`: name it `simulated-…`, a CPU plays no other",
            device.index,
            device.class
        ),
    }
}

fn parse(json: &[u8]) -> anyhow::Result<ClaimReport> {
    ensure!(json.len() <= REPORT_BYTES_MAX, "it exceeds {REPORT_BYTES_MAX} bytes");
    let node: SimulatedNode =
        serde_json::from_slice(json).context("it is not of the form that --help shows")?;
    ensure!(node.version == REPORT_VERSION, "it has version {}, not {REPORT_VERSION}", node.version);
    let device = |device: SimulatedDevice| {
        let SimulatedDevice { index, uuid, class, facts } = device;
        let facts = facts.unwrap_or_else(|| DeviceFacts::simulated(&class, index));
        DeviceReport { index, uuid, class, facts }
    };
    let devices = node.devices.into_iter().map(device).collect();
    Ok(ClaimReport::new(node.machine.or_else(machine), devices)?)
}

/// This machine, if it has an identity that this user may read.
fn machine() -> Option<Digest> {
    claim::machine_id(&std::fs::read(MACHINE_ID).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_file_says_as_much_as_it_likes_and_the_rest_is_plausible() {
        let text = r#"{"version":2,"devices":[{"index":0,"uuid":"GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5b","class":"simulated-H100"}]}"#;
        let filled = devices(Some(file(text).path())).unwrap();
        assert_eq!(filled.devices[0].facts, DeviceFacts::simulated(&filled.devices[0].class, 0));
        let again = devices(Some(file(&filled.to_json()).path())).unwrap();
        assert_eq!(again, filled, "what `claims` prints is such a file");
        let other = text.replace(r#""devices""#, &format!(r#""machine":"{}","devices""#, "ab".repeat(32)));
        let named = devices(Some(file(&other).path())).unwrap();
        assert_eq!(named.machine.unwrap().to_string(), "ab".repeat(32));
    }

    #[test]
    fn bad_files_are_refused_with_their_reason() {
        let device =
            r#"{"index":0,"uuid":"GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5b","class":"simulated-H100"}"#;
        let cases = [
            (format!(r#"{{"version":1,"devices":[{device}]}}"#), "version 1"),
            (format!(r#"{{"version":2,"devices":[{device},{device}]}}"#), "out of order or twice"),
            (format!(r#"{{"version":2,"extra":0,"devices":[{device}]}}"#), "unknown field"),
            (format!(r#"{{"version":2,"devices":[{}]}}"#, device.replace("simulated-", "")), "simulated-…"),
            ("[".repeat(70_000), "exceeds"),
        ];
        for (text, reason) in cases {
            let error = format!("{:#}", devices(Some(file(&text).path())).unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
    }
}
