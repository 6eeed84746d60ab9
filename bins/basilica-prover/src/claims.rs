//! Which devices this node claims. Only simulated ones exist in this version.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use basilica_proof::claim::REPORT_BYTES_MAX;
use basilica_proof::{ClaimReport, DeviceClaim};
use basilica_types::GpuUuid;

const CONFIG: &str = ".config/basilica/simulated-gpus.json";
/// What tells one machine from another, as far as any user may read it.
const MACHINE_FILES: [&str; 3] =
    ["/etc/machine-id", "/proc/sys/kernel/hostname", "/etc/ssh/ssh_host_ed25519_key.pub"];

/// The devices from the file given, the user's file, or the machine's identity, in this order.
pub(crate) fn devices(simulate: Option<&Path>) -> anyhow::Result<ClaimReport> {
    if let Some(path) = simulate {
        return read(path);
    }
    let configured = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(CONFIG));
    match configured.filter(|path| path.exists()) {
        Some(path) => read(&path),
        None => default_device(&MACHINE_FILES.map(Path::new)),
    }
}

fn read(path: &Path) -> anyhow::Result<ClaimReport> {
    let shown = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("open simulated devices {shown}"))?;
    let mut json = Vec::new();
    file.take(REPORT_BYTES_MAX as u64 + 1)
        .read_to_end(&mut json)
        .with_context(|| format!("read simulated devices {shown}"))?;
    let report = ClaimReport::parse(&json).with_context(|| format!("parse simulated devices {shown}"))?;
    match report.devices.iter().find(|device| !device.class.is_simulated()) {
        None => Ok(report),
        Some(device) => bail!(
            "{shown} gives device {} the class `{}`: name it `simulated-…`, a CPU plays no other",
            device.index,
            device.class
        ),
    }
}

fn default_device(machine_files: &[&Path]) -> anyhow::Result<ClaimReport> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"basilica simulated gpu");
    let mut found = false;
    for path in machine_files {
        // A machine may lack any of them; it must have one.
        if let Ok(text) = std::fs::read(path) {
            hasher.update(blake3::hash(&text).as_bytes());
            found = true;
        }
    }
    if !found {
        bail!("this machine has no readable identity; list its simulated devices in ~/{CONFIG}");
    }
    let mut uuid = [0; 16];
    hasher.finalize_xof().fill(&mut uuid);
    let class = "simulated-H100".parse().context("class of the default device")?;
    Ok(ClaimReport::new(vec![DeviceClaim { index: 0, uuid: GpuUuid::from_bytes(uuid), class }])?)
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
    fn a_file_of_devices_round_trips() {
        let text = r#"{"version":1,"devices":[{"index":0,"uuid":"GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5b","class":"simulated-H100"}]}"#;
        assert_eq!(devices(Some(file(text).path())).unwrap().to_json(), text);
    }

    #[test]
    fn bad_files_are_refused_with_their_reason() {
        let device =
            r#"{"index":0,"uuid":"GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5b","class":"simulated-H100"}"#;
        let cases = [
            (format!(r#"{{"version":2,"devices":[{device}]}}"#), "version 2"),
            (format!(r#"{{"version":1,"devices":[{device},{device}]}}"#), "out of order or twice"),
            (format!(r#"{{"version":1,"extra":0,"devices":[{device}]}}"#), "unknown field"),
            (format!(r#"{{"version":1,"devices":[{}]}}"#, device.replace("simulated-", "")), "simulated-…"),
            ("[".repeat(70_000), "exceeds"),
        ];
        for (text, reason) in cases {
            let error = format!("{:#}", devices(Some(file(&text).path())).unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn the_default_uuid_is_the_machines() {
        let (one, two) = (file("one"), file("two"));
        let uuid = |files: &[&Path]| default_device(files).unwrap().devices[0].uuid;
        assert_eq!(uuid(&[one.path()]), uuid(&[one.path()]));
        assert_ne!(uuid(&[one.path()]), uuid(&[two.path()]));
        default_device(&[Path::new("/nonexistent/machine-id")]).unwrap_err();
    }
}
