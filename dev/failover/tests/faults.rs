//! A few of each fault; `cargo xtask failover` does more.

use std::time::Duration;

use basilica_failover::{Cluster, Fault};

/// A lease ends after 3 s, and a session that stands in the middle of a write after 2 s; the rest is a busy machine's. Who waits for
/// TCP to give up waits for minutes.
const BOUND: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_the_leader_the_other_takes_over_and_the_history_is_one() {
    let mut cluster = Cluster::start([0, 0]).await;
    for fault in [Fault::Kill, Fault::Pause, Fault::Partition, Fault::Restart, Fault::Terminate, Fault::Kill]
    {
        cluster.strike(fault).await;
        for page in cluster.pages("/nodes") {
            assert!(page.unwrap()["total_count"].as_u64().unwrap() > 0, "both answer the API");
        }
    }
    cluster.until_windows(3).await;
    let summary = cluster.end().await.check().unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")));
    assert!(summary.terms >= 6 && summary.acknowledged > 0 && summary.calls > 0, "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_an_hour_apart_do_not_matter() {
    let mut cluster = Cluster::start([-3600, 0]).await;
    for fault in [Fault::Kill, Fault::Pause, Fault::Partition] {
        cluster.strike(fault).await;
    }
    let summary = cluster.end().await.check().unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")));
    assert!(summary.terms >= 4, "{summary:?}");
}

/// Needs root.
#[tokio::test]
async fn a_leader_whose_network_is_gone_without_a_word_is_followed_and_follows() {
    let mut cluster = Cluster::start_apart().await;
    for _ in 0..3 {
        let took = cluster.strike(Fault::Partition).await;
        assert!(took < BOUND, "{took:?}");
    }
    cluster.until_windows(3).await;
    let summary = cluster.end().await.check().unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")));
    assert!(summary.terms >= 4 && summary.acknowledged > 0 && summary.calls > 0, "{summary:?}");
}
