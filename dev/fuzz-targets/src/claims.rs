//! What a node says it has.

use basilica_proof::ClaimReport;

/// A report as the prover prints it, with everything that may be in one.
const SEEDS: [&str; 2] = [
    r#"{"version":2,"machine":"1111111111111111111111111111111111111111111111111111111111111111","devices":[{"index":0,"uuid":"GPU-00000000-0000-0000-0000-000000000001","class":"NVIDIA H100 80GB HBM3","facts":{"memory_bytes":85520809984,"sms":132,"compute_capability":"9.0","l2_bytes":52428800,"sm_clock_max_mhz":1980,"pci_bus":"00000000:3b:00.0","pci_id":"10de:2330","driver":"570.124.06","mig":false}}]}"#,
    r#"{"version":2,"devices":[]}"#,
];

pub(crate) fn run(bytes: &[u8]) {
    let Ok(report) = ClaimReport::parse(bytes) else { return };
    let printed = report.to_json();
    let again = ClaimReport::parse(printed.as_bytes()).expect("what is printed reads back");
    assert_eq!(again, report);
    assert_eq!(again.to_json(), printed);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    assert!(SEEDS.iter().all(|seed| ClaimReport::parse(seed.as_bytes()).is_ok()), "they are reports");
    SEEDS.map(|seed| seed.as_bytes().to_vec()).to_vec()
}
