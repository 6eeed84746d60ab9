//! Every combination of a command's order, the configuration's word, and what the running miner has read of it.

use basilica_ports::KnownNode;
use basilica_store::{Database, MINER_SCHEMA, OpenOptions};
use basilica_types::NodeAddress;

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// Why the miner that runs or ran last does not know a node of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unlisted {
    /// It does.
    No,
    /// The node is being removed, or was when the miner stopped.
    Removed,
    /// It never had it, or has left it.
    New,
}

/// A node before the command, and what the command is to say of it.
struct Case {
    drained: bool,
    /// `maintenance = true` in the file.
    configured: bool,
    /// The same as the miner read it that runs or ran last.
    noted: bool,
    /// It was removed, or is new, and its line was written by hand.
    unlisted: Unlisted,
    words: &'static str,
    kept: Option<Kept>,
    /// The orders that are in force afterwards.
    left: &'static [OrderedBy],
}

const fn case(
    (drained, configured, noted): (bool, bool, bool),
    words: &'static str,
    kept: Option<Kept>,
    left: &'static [OrderedBy],
) -> Case {
    Case { drained, configured, noted, unlisted: Unlisted::No, words, kept, left }
}

const fn removed(case: Case) -> Case {
    Case { unlisted: Unlisted::Removed, ..case }
}

const fn new(case: Case) -> Case {
    Case { unlisted: Unlisted::New, ..case }
}

const CONFIGURED: &[OrderedBy] = &[OrderedBy::Configuration];
const REMOVED: &[OrderedBy] = &[OrderedBy::Removal];
const BACK: &str = "taken back after 1 h (new fans)";
const STAYS: &str =
    "the order of `nodes drain` is taken back after 1 h (new fans), but it stays in maintenance";
const STAYED: &str = "stays in maintenance; no command had taken it out";

const UNSERVED: &str = "is not in service; no command had taken it out";
const UNSERVED_NOW: &str =
    "the order of `nodes drain` is taken back after 1 h (new fans), but it is not in service";

const RUNNING: [Case; 14] = [
    case((false, false, false), "was not taken out", None, &[]),
    case((true, false, false), BACK, None, &[]),
    case((false, false, true), STAYED, Some(Kept::Unread), CONFIGURED),
    case((true, false, true), STAYS, Some(Kept::Unread), CONFIGURED),
    case(
        (false, true, false),
        "was not taken out, but is when the running miner reads the configuration",
        Some(Kept::Ahead),
        &[],
    ),
    case(
        (true, true, false),
        "taken back after 1 h (new fans), until the running miner reads the configuration",
        Some(Kept::Ahead),
        &[],
    ),
    case((false, true, true), STAYED, Some(Kept::Configured), CONFIGURED),
    case((true, true, true), STAYS, Some(Kept::Configured), CONFIGURED),
    removed(case((false, false, false), UNSERVED, Some(Kept::Unlisted), REMOVED)),
    removed(case((true, false, false), UNSERVED_NOW, Some(Kept::Unlisted), REMOVED)),
    removed(case(
        (false, true, true),
        UNSERVED,
        Some(Kept::Unlisted),
        &[OrderedBy::Configuration, OrderedBy::Removal],
    )),
    new(case((false, false, false), UNSERVED, Some(Kept::Unlisted), &[])),
    new(case((true, false, false), UNSERVED_NOW, Some(Kept::Unlisted), &[])),
    new(case((false, true, false), UNSERVED, Some(Kept::Unlisted), &[])),
];

const STOPPED: [Case; 14] = [
    case((false, false, false), "was not taken out; no miner runs", None, &[]),
    case((true, false, false), "taken back after 1 h (new fans); no miner runs", None, &[]),
    case(
        (false, false, true),
        "taken back after 1 h (`maintenance = true` in the configuration); no miner runs",
        None,
        &[],
    ),
    case((true, false, true), "taken back after 1 h (new fans); no miner runs", None, &[]),
    case((false, true, false), STAYED, Some(Kept::Configured), &[]),
    case((true, true, false), STAYS, Some(Kept::Configured), &[]),
    case((false, true, true), STAYED, Some(Kept::Configured), CONFIGURED),
    case((true, true, true), STAYS, Some(Kept::Configured), CONFIGURED),
    removed(case(
        (false, false, false),
        "taken back after 1 h (removed from the configuration); no miner runs",
        None,
        &[],
    )),
    removed(case((true, false, false), "taken back after 1 h (new fans); no miner runs", None, &[])),
    removed(case((false, true, false), STAYED, Some(Kept::Configured), &[])),
    new(case((false, false, false), "was not taken out; no miner runs", None, &[])),
    new(case((true, false, false), "taken back after 1 h (new fans); no miner runs", None, &[])),
    new(case((false, true, false), STAYED, Some(Kept::Configured), &[])),
];

fn node(number: usize, maintenance: bool) -> NodeConfig {
    let address: NodeAddress = format!("root@192.0.2.{}:22", number + 1).parse().unwrap();
    NodeConfig {
        id: address.node_id(),
        address,
        hourly_rate_per_gpu: None,
        host_key: None,
        maintenance,
        region: None,
    }
}

async fn prepare(store: &MinerDatabase, node: &NodeConfig, case: &Case) {
    if case.unlisted != Unlisted::New {
        let (node_id, address) = (node.id, node.address.clone());
        store.remember_nodes(&[KnownNode { node_id, address, host_key: None }], NOW).await.unwrap();
    }
    let orders = [
        (case.drained, OrderedBy::Command, Some("new fans")),
        (case.noted, OrderedBy::Configuration, None),
        (case.unlisted == Unlisted::Removed, OrderedBy::Removal, None),
    ];
    for (_, by, reason) in orders.into_iter().filter(|(is_in_force, ..)| *is_in_force) {
        store.begin_maintenance(node.id, by, reason, NOW - Millis::from_secs(3_600)).await.unwrap();
    }
}

/// The complaint about all of them.
async fn check(cases: &[Case], running: bool) -> String {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("miner.db").display()).parse().unwrap();
    let store =
        MinerDatabase::new(Database::open(&url, &MINER_SCHEMA, OpenOptions::default()).await.unwrap());
    let nodes: Vec<NodeConfig> =
        cases.iter().enumerate().map(|(number, case)| node(number, case.configured)).collect();
    for (node, case) in nodes.iter().zip(cases) {
        prepare(&store, node, case).await;
    }
    let outcomes = take_back(&store, &nodes.iter().collect::<Vec<_>>(), running, NOW).await.unwrap();
    let orders = store.orders().await.unwrap();
    for (outcome, case) in outcomes.iter().zip(cases) {
        let words = outcome.words(&Program::with("miner.toml".as_ref()));
        let said =
            words.lines().next().unwrap().strip_prefix(&format!("{}: ", outcome.node.address)).unwrap();
        let expected = match (case.kept, running) {
            (Some(_), false) => format!("{}; no miner runs", case.words),
            _ => case.words.to_owned(),
        };
        assert_eq!((said, outcome.kept), (expected.as_str(), case.kept));
        let left: Vec<OrderedBy> = orders
            .maintenance
            .get(&outcome.node.id)
            .into_iter()
            .flat_map(|windows| windows.keys())
            .copied()
            .collect();
        assert_eq!(left, case.left, "{words}");
        let stays = case.kept.is_some_and(|kept| kept != Kept::Ahead);
        let json = outcome.json();
        assert_eq!((&json["stays"], &json["miner_running"]), (&stays.into(), &running.into()), "{words}");
        let drained = case.drained || said.starts_with("taken back");
        assert_eq!(json["was_drained"], drained, "{words}");
    }
    let kept = |why| {
        let these = outcomes.iter().zip(cases).filter(|(_, case)| case.kept == Some(why));
        these.map(|(outcome, _)| outcome.node.address.to_string()).collect::<Vec<_>>().join(", ")
    };
    let mut complaint = complaints(&outcomes).unwrap();
    for (why, name) in
        [(Kept::Configured, "SET"), (Kept::Ahead, "AHEAD"), (Kept::Unread, "GONE"), (Kept::Unlisted, "NEW")]
    {
        if !kept(why).is_empty() {
            complaint = complaint.replace(&kept(why), name);
        }
    }
    complaint
}

#[tokio::test]
async fn what_is_said_is_so_while_a_miner_runs() {
    let complaint = check(&RUNNING, true).await;
    let reload = "make the running miner read it: systemctl reload basilica-miner, or send it SIGHUP";
    assert_eq!(
        complaint,
        format!(
            "SET stays in maintenance: `maintenance = true` in the configuration wins; remove it there, then {reload}; \
             AHEAD is back only until the running miner reads the configuration, where `maintenance = true` is by now; remove it \
             there; \
             GONE stays in maintenance: `maintenance = true` is gone from the configuration, which the running miner has not read \
             since; {reload}; \
             NEW is not in service: the running miner has not read yet that it is in the configuration; {reload}"
        )
    );
}

#[tokio::test]
async fn what_is_said_is_so_while_no_miner_runs() {
    let complaint = check(&STOPPED, false).await;
    assert_eq!(
        complaint,
        "SET stays in maintenance: `maintenance = true` in the configuration wins; remove it there"
    );
}
