//! The program on a machine with NVIDIA devices, played by the kernels on this CPU behind the driver's interface.

use std::process::{Command, Output, Stdio};

use basilica_proof::residency::{ResidencyParams, Space, WalkParams};
use basilica_proof::{Binding, Challenge, ClaimReport, DeviceChallenge, ProofParams};
use basilica_types::NodeId;

use crate::program::{PROVER, hash, run};

const CLASS: &str = "Kernels on the host";

/// The program among `count` devices, without a user's file of simulated ones.
fn prover(count: u32, home: &tempfile::TempDir) -> Command {
    let mut command = Command::new(PROVER);
    command
        .env("LD_LIBRARY_PATH", basilica_cuda_host::folder())
        .env("BASILICA_HOST_GPUS", count.to_string())
        .env("HOME", home.path())
        .env_remove("BASILICA_HOST_NVML")
        .stdin(Stdio::null());
    command
}

fn output(count: u32, arguments: &[&str], lie: Option<&str>) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = prover(count, &home);
    if let Some(lie) = lie {
        command.env("BASILICA_HOST_NVML", lie);
    }
    let output = command.args(arguments).output().unwrap();
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    output
}

fn claims(count: u32) -> ClaimReport {
    ClaimReport::parse(&output(count, &["claims"], None).stdout).unwrap()
}

#[test]
fn all_devices_prove_work_and_memory_over_pipes() {
    let walk =
        WalkParams { lanes: 32, steps: 18, reads: 4, windows: 2, barriers: 3, picks: 4, lanes_per_pick: 4 };
    let region = |space| ResidencyParams::new(space, 1_500, 16, walk).unwrap();
    let params = ProofParams::new(256, 128, 2, 8).unwrap();
    let claimed = claims(2);
    let devices = claimed.claims().map(|claim| {
        let residency = Space::ALL.map(region).to_vec();
        DeviceChallenge { claim, params, residency }
    });
    let binding = Binding {
        beacon: [1; 32],
        validator_nonce: [7; 32],
        node: NodeId::from_bytes([8; 16]),
        host_key: b"host key".to_vec(),
    };
    let challenge = Challenge::new(binding, Some(10), devices.collect()).unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut child = prover(2, &home)
        .args(["prove", "--expect-hash", &hash()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let outcome = run(&mut child, challenge).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(outcome.devices.len(), 2);
    assert!(outcome.devices.iter().all(|device| device.residency.len() == 3));
}

#[test]
fn claims_are_what_the_driver_and_nvml_tell() {
    let report = claims(3);
    let named: Vec<_> =
        report.devices.iter().map(|d| (d.index, d.class.as_str(), d.uuid.to_string())).collect();
    let uuid = |last: u32| format!("GPU-40414243-4445-4647-4849-4a4b4c4d4e{last:02x}");
    assert_eq!(named, [(0, CLASS, uuid(0)), (1, CLASS, uuid(1)), (2, CLASS, uuid(2))]);
    let facts = &report.devices[1].facts;
    assert_eq!((facts.memory_bytes, facts.sms, facts.l2_bytes), (512 << 20, 2, 50 << 20));
    assert_eq!(
        (facts.pci_bus.to_string(), facts.pci_id.to_string()),
        ("00000000:02:00.0".to_owned(), "10de:2330".to_owned())
    );
    assert_eq!((facts.sm_clock_max_mhz, facts.mig), (Some(1_980), Some(false)));
    assert_eq!(
        (facts.compute_capability.to_string(), facts.driver.as_str()),
        ("8.0".to_owned(), "570.124.06")
    );
    let old = output(1, &["claims"], Some("old"));
    let old = ClaimReport::parse(&old.stdout).unwrap();
    assert_eq!((old.devices[0].facts.sm_clock_max_mhz, old.devices[0].facts.mig), (None, None));
}

#[test]
fn a_library_that_contradicts_the_driver_is_named() {
    for (lie, said) in [
        (
            "uuid",
            "has uuid `GPU-40414243-4445-4647-4849-4a4b4c4d4eee` by nvml and `GPU-40414243-4445-4647-4849-4a4b4c4d4e00` by the driver",
        ),
        ("name", "impossible name"),
        ("endless", "nvmlDeviceGetName gives a text that does not end"),
        ("place", "nvml lists no device at pci bus id 00000000:01:00.0"),
    ] {
        let refused = output(1, &["claims"], Some(lie));
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{told}");
        assert!(told.contains(said) && refused.stdout.is_empty(), "{lie}: {told}");
    }
}

#[test]
fn devices_are_compared_with_the_cpu_on_request() {
    let tested = output(1, &["--selftest"], None);
    let said = String::from_utf8_lossy(&tested.stdout).into_owned();
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
    assert!(
        said.contains("device 0: Kernels on the host GPU-40414243") && said.contains("equal to the CPU"),
        "{said}"
    );
}

#[test]
fn without_a_device_nothing_is_measured_and_the_cpu_is_claimed() {
    let measured = output(0, &["gpus"], None);
    assert_eq!(measured.status.code(), Some(3));
    assert!(measured.stdout.is_empty());
    let said = String::from_utf8_lossy(&measured.stderr).into_owned();
    assert!(said.contains("no CUDA device: nothing was measured"), "{said}");
    assert!(claims(0).devices.iter().all(|device| device.class.is_simulated()));
}
