//! A few of each fault; `cargo xtask failover` does more.

use basilica_failover::{Cluster, Fault};

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
