//! Some hundred keys; `cargo xtask keys` has ten thousand.

use basilica_keychurn::{Plan, run};
use basilica_testkit::built;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_the_miner_no_key_stays_and_no_line_of_others_changes() {
    let home = tempfile::tempdir().unwrap();
    let report = run(&Plan::SMALL, &built("basilica-miner"), home.path(), |_| ()).await;
    if let Err(wrong) = report.check() {
        panic!("{}\n{report}", wrong.join("\n"));
    }
    assert!(report.cycles >= 100 && report.placements > report.cycles, "{report}");
    let count = |what: &str| report.counts.get(what).copied().unwrap_or(0);
    for what in [
        "the miner killed",
        "the miner ended in order",
        "the miner started: open",
        "the miner started: open to few sessions",
        "the miner started: highest stake",
        "stakes changed",
        "nodes unlisted",
        "nodes drained",
        "nodes hung",
        "edits: append",
        "edits: insert",
        "edits: delete",
        "edits: damage",
        "edits: stale save",
        "edits written in place",
        "logins that left a process",
    ] {
        assert!(count(what) > 0, "{what}: {report}");
    }
    assert!(count("revocations") + count("revocations of nothing") > 0, "{report}");
    assert!(count("calms") > 0 && report.late.values().map(|late| late.keys).sum::<usize>() > 0, "{report}");
}
