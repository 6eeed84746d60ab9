//! What the running miner tells of itself.

use std::path::PathBuf;

use basilica_ports::MinerStore as _;
use basilica_runtime_service::testing::VirtualClock;
use basilica_status::{Alert, AlertCode, Containers, Gpus, MinerStatus, NodeState, NodeStatus, Subject};
use basilica_testkit::eventually;

use super::*;

/// Plays what `nvidia-smi` of a machine with two cards printed; there is no GPU where tests run.
const RECORDED: &str = "#!/bin/sh
[ \"$2\" = --format=csv,noheader,nounits ] || exit 2
cat <<'END'
0, GPU-5e1c3a4b-0c1d-4e2f-8a9b-0123456789ab, NVIDIA H100 80GB HBM3, 570.124.06, 97, 70123, 81559, 64, 650.12, 700.00
1, GPU-5e1c3a4b-0c1d-4e2f-8a9b-0123456789ac, NVIDIA H100 80GB HBM3, 570.124.06, [N/A], 4, 81559, 31, [N/A], 700.00
END
";
const BROKEN: &str = "#!/bin/sh
echo \"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\"
exit 9
";

/// docker, to a user who is not in its group.
const DENIED: &str = "#!/bin/sh
echo 'permission denied while trying to connect to the docker API' >&2
exit 1
";

/// Gives a node a program.
fn install(nodes: &Nodes, name: &str, (program, script): (&str, &str)) {
    let node = nodes.node(name);
    // A node that is a host of its own has all paths; another one its home, with a `bin` that is searched.
    let folder =
        if nodes.gateway().is_some() { PathBuf::from("/usr/local/bin") } else { node.home().join("bin") };
    node.write(&folder.join(program), 0o755, script.as_bytes()).unwrap();
}

fn node<'a>(status: &'a MinerStatus, nodes: &Nodes, name: &str) -> &'a NodeStatus {
    let id = nodes.node(name).address().node_id();
    status.nodes.iter().find(|node| node.id == id).unwrap()
}

#[tokio::test]
async fn the_status_tells_nodes_gpus_and_sessions() {
    let nodes = Nodes::start(&["cards", "broken", "bare"]).await;
    install(&nodes, "cards", ("nvidia-smi", RECORDED));
    install(&nodes, "cards", ("docker", "#!/bin/sh\n"));
    install(&nodes, "broken", ("nvidia-smi", BROKEN));
    install(&nodes, "broken", ("docker", DENIED));
    install(&nodes, "bare", ("docker", "#!/bin/sh\nexec sleep 30\n"));
    let site = Site::start(Some(&nodes), Settings::default()).await;
    let grant = site.first.authenticate(&site).await;
    site.first.discover(&site, &grant).await;
    let newest = || site.running().status.newest();
    eventually("the key is on every node, and each was asked for its GPUs", || {
        newest().is_some_and(|status| {
            status.sessions.first().is_some_and(|session| session.nodes == 3)
                && status.nodes.iter().all(|node| node.gpus != Gpus::Unasked)
        })
    })
    .await;
    let status = newest().unwrap();
    assert_eq!(status.count(NodeState::Healthy), 3);
    assert_eq!(status.sessions[0].validator, site.first.party.hotkey());
    assert_eq!(status.assignment.validators[0].hotkey, site.first.party.hotkey());
    let Gpus::Read { driver, cards, .. } = &node(&status, &nodes, "cards").gpus else {
        panic!("{status:#?}")
    };
    assert_eq!((driver.as_str(), cards.len()), ("570.124.06", 2));
    assert_eq!((cards[0].utilization_percent, cards[1].utilization_percent), (Some(97), None));
    let broken = &node(&status, &nodes, "broken").gpus;
    assert!(
        matches!(broken, Gpus::Failed { why, .. } if why.as_str().contains("NVIDIA-SMI has failed")),
        "{broken:?}"
    );
    assert!(matches!(node(&status, &nodes, "bare").gpus, Gpus::NoTool { .. }));
    // That there are no readings fails no round, and is told.
    assert_eq!(status.activity.rounds_failed, 0);
    let unfit = |name| {
        let id = nodes.node(name).address().node_id();
        let is_it = |alert: &&Alert| {
            matches!(alert.subject, Subject::Node { id: about, .. } if about == id)
                && alert.code == AlertCode::NodeUnfit
        };
        newest().unwrap().alerts.iter().find(is_it).map(|alert| alert.what.as_str().to_owned())
    };
    eventually("the engines were asked for, too", || {
        let said = |name, words| unfit(name).is_some_and(|what: String| what.contains(words));
        let denied = "has a docker that does not work for this login (permission denied";
        let cards = newest().is_some_and(|status| {
            matches!(node(&status, &nodes, "cards").containers, Containers::Usable { .. })
        });
        cards
            && said("bare", "has no nvidia-smi, and has a docker that does not work for this login (it does not answer within 4 s)")
            && said("broken", "NVIDIA-SMI has failed")
            && said("broken", denied)
    })
    .await;
    assert_eq!(unfit("cards"), None);
    let client = site.client().await;
    for _ in 0..3 {
        let deposed = DiscoverClaim { epoch: FencingToken(0), ..site.first.claim(&grant) };
        assert_eq!(code(client.discover(site.first.signed(deposed)).await), RefusalCode::PermissionDenied);
    }
    let is_told = || newest().unwrap().alerts.iter().any(|alert| alert.code == AlertCode::DiscoveriesRefused);
    eventually("it is told that the validator does not get through", is_told).await;
}

#[tokio::test]
async fn a_database_that_is_gone_is_told_although_nothing_fails_yet() {
    let clock = VirtualClock::new();
    let mut site = Site::prepare(None, Settings::default());
    site.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    site.start_miner().await;
    let running = site.running();
    let told = || {
        let mut conditions = running.readiness.report().into_iter();
        conditions.find(|(name, _)| *name == "database").expect("a condition").1
    };
    eventually("the database is in order", || told().is_ok()).await;
    let (file, away) = (site.directory.path().join("miner.db"), site.directory.path().join("away.db"));
    std::fs::rename(&file, &away).unwrap();
    // What is open stays open: only whoever looks at the file itself sees it.
    let alerted = || {
        let status = running.status.newest();
        status.is_some_and(|s| s.alerts.iter().any(|alert| alert.code == AlertCode::DatabaseFailing))
    };
    eventually("somebody looked", || {
        clock.advance_to_next();
        told().is_err_and(|why| why.contains("check pages")) && alerted()
    })
    .await;
    assert_eq!(running.store.host_keys().await.unwrap(), []);
    std::fs::rename(&away, &file).unwrap();
    eventually("it is in order again", || {
        clock.advance_to_next();
        told().is_ok() && !alerted()
    })
    .await;
    site.stop_miner().await;
}
