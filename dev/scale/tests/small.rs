//! Sixty nodes; `cargo xtask scale` has a thousand, and looks at times and memory.

use basilica_scale::{Plan, run};
use basilica_testkit::built;

#[tokio::test(flavor = "multi_thread")]
async fn every_node_gets_its_verdict_connections_are_kept_and_nobody_shuts_us_out() {
    let programs = ["basilica-validator", "basilica-miner", "basilica-prover"].map(built);
    let report = run(&Plan::SMALL, programs[0].parent().expect("a directory")).await;
    if let Err(wrong) = report.check() {
        panic!("{}\n{report}", wrong.join("\n"));
    }
}
