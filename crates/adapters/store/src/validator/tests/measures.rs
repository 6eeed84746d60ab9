//! What the database is asked for is counted where it is asked.

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use super::*;

fn told(registry: &Registry) -> String {
    let mut told = String::new();
    text::encode(&mut told, registry).unwrap();
    told
}

fn value(registry: &Registry, series: &str) -> i64 {
    let told = told(registry);
    let line = told.lines().find_map(|line| line.strip_prefix(&format!("x_database_{series} ")));
    line.unwrap_or_else(|| panic!("{series} in {told}")).parse().unwrap()
}

async fn reads_and_writes_are_counted_with_how_long_they_took(on: super::On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    let faces = store.with_own_readers(2);
    let mut registry = Registry::default();
    store.observe(&faces, &mut registry, "x");
    let count = |series: &str| value(&registry, series);
    let reads = count("operations_total{pool=\"checks\"}");
    let writes = count("operations_total{pool=\"writes\"}");
    store.nodes().await.unwrap();
    faces.nodes().await.unwrap();
    faces.miners().await.unwrap();
    store.observe_miners(&[], NOW).await.unwrap();
    assert!(count("operations_total{pool=\"checks\"}") > reads);
    assert!(count("operations_total{pool=\"faces\"}") >= 2);
    assert_eq!(count("operations_total{pool=\"writes\"}"), writes + 1);
    assert_eq!(count("query_duration_seconds_count{pool=\"writes\"}"), writes + 1);
    for pool in ["checks", "faces", "writes"] {
        assert_eq!(count(&format!("errors_total{{pool=\"{pool}\"}}")), 0, "{pool}");
    }
    assert_eq!(count("connections_max{pool=\"faces\"}"), 2);
    let held = store.begin("test").await.unwrap();
    assert_eq!(count("connections_active{pool=\"writes\"}"), 1);
    drop(held);
    assert_eq!(count("errors_total{pool=\"writes\"}"), 1, "a transaction that was left");
    store.close().await;
    faces.close().await;
    assert!(faces.nodes().await.is_err() && store.begin("test").await.is_err());
    assert_eq!(count("errors_total{pool=\"faces\"}"), 1);
    assert_eq!(count("errors_total{pool=\"writes\"}"), 2);
}

on_both_engines!(reads_and_writes_are_counted_with_how_long_they_took);
