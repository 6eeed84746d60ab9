use proptest::prelude::*;

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const EXAMPLE: &str = include_str!("../../../../../../config/miner.toml.example");

fn user() -> Username {
    "basilica".parse().unwrap()
}

fn entry(address: &str, cents: Option<u64>) -> NodeEntry {
    NodeEntry {
        address: address.parse().unwrap(),
        hourly_rate_per_gpu: cents.map(|cents| UsdMicros(cents * 10_000)),
        region: None,
        host_key: None,
    }
}

fn set(text: &str, entry: &NodeEntry) -> (String, NodeChange) {
    let (edited, change) = set_node(text, &user(), entry).unwrap();
    let again = set_node(&edited, &user(), entry).unwrap();
    assert_eq!(again, (edited.clone(), NodeChange::Unchanged), "a second edit changes nothing");
    (edited, change)
}

fn remove(text: &str, address: &str) -> Option<String> {
    remove_node(text, &user(), &address.parse().unwrap()).unwrap()
}

/// Lines of `new` that `old` has not, and the other way round.
fn difference(old: &str, new: &str) -> (Vec<String>, Vec<String>) {
    let only = |a: &str, b: &str| {
        a.lines().filter(|line| !b.lines().any(|other| other == *line)).map(str::to_owned).collect()
    };
    (only(new, old), only(old, new))
}

#[test]
fn a_node_joins_the_shipped_example_and_nothing_else_changes() {
    let (text, change) = set(EXAMPLE, &entry("root@gpu.example.com:2222", Some(180)));
    assert_eq!(change, NodeChange::Added);
    let line =
        "  { host = \"gpu.example.com\", port = 2222, username = \"root\", hourly_rate_per_gpu = 1.80 },";
    assert_eq!(difference(EXAMPLE, &text), (vec![line.to_owned()], vec![]));
    assert_eq!(remove(&text, "root@gpu.example.com:2222").as_deref(), Some(EXAMPLE));
}

#[test]
fn comments_stay_beside_their_nodes() {
    let text = "[node_management]\nnodes = [ # all of them\n  # US East\n  { host = \"a\" }, # the old one\n  \
                # EU West\n  { host = \"b\", port = 22 }, # rack 2\n  # spare\n]\nhealth_check_interval = 60 # s\n";
    let (more, _) = set(text, &entry("basilica@c:22", Some(250)));
    let line = "  { host = \"c\", port = 22, username = \"basilica\", hourly_rate_per_gpu = 2.50 },";
    assert_eq!(difference(text, &more), (vec![line.to_owned()], vec![]));
    assert!(more.contains("# rack 2\n  { host = \"c\""), "{more}");
    let fewer = remove(text, "basilica@b:22").unwrap();
    let gone = "  { host = \"b\", port = 22 }, # rack 2".to_owned();
    assert_eq!(difference(text, &fewer), (vec![], vec![gone]));
    let fewer = remove(text, "basilica@a:22").unwrap();
    assert_eq!(difference(text, &fewer), (vec![], vec!["  { host = \"a\" }, # the old one".to_owned()]));
    assert_eq!(remove(text, "basilica@d:22"), None);
}

#[test]
fn a_list_is_begun_where_there_is_none() {
    let expected = "nodes = [\n  { host = \"10.0.0.1\", port = 22, username = \"root\" },\n]\n";
    for text in ["", "[node_management]\n", "[node_management]\nnodes = []\n"] {
        let (text, change) = set(text, &entry("root@10.0.0.1:22", None));
        assert_eq!((text, change), (format!("[node_management]\n{expected}"), NodeChange::Added));
    }
    let (text, _) = set("[bittensor]\nnetuid = 39", &entry("root@10.0.0.1:22", None));
    assert_eq!(text, format!("[bittensor]\nnetuid = 39\n\n[node_management]\n{expected}"));
    let (text, _) = set("[node_management]\nnodes = [{ host = \"a\" }]\n", &entry("root@10.0.0.1:22", None));
    assert_eq!(text.parse::<DocumentMut>().unwrap()["node_management"]["nodes"].as_array().unwrap().len(), 2);
}

#[test]
fn values_change_in_their_place() {
    let text = "[node_management]\nnodes = [{ host = \"A.example.\", hourly_rate_per_gpu = 2.5, username=\"basilica\" }] # one\n";
    let (same, change) = set(text, &entry("basilica@a.example:22", Some(250)));
    assert_eq!((same.as_str(), change), (text, NodeChange::Unchanged));
    let (dearer, change) = set(text, &entry("basilica@a.example:22", Some(275)));
    assert_eq!((dearer, change), (text.replace("2.5,", "2.75,"), NodeChange::Updated));
    let more = NodeEntry {
        region: Some("eu-west".parse().unwrap()),
        host_key: Some(KEY.parse().unwrap()),
        ..entry("basilica@a.example:22", None)
    };
    let (text, change) = set(text, &more);
    assert_eq!(change, NodeChange::Updated);
    assert!(text.contains("region = \"eu-west\", host_key = \"ssh-ed25519 AAAA"), "{text}");
    assert!(text.ends_with("}] # one\n"), "{text}");
}

#[test]
fn tables_of_nodes_are_edited_alike() {
    let text = "[[node_management.nodes]]\nhost = \"a\" # first\nport = 22\n\n[[node_management.nodes]]\nhost = \"b\"\n";
    let (more, change) = set(text, &entry("root@c:22", Some(100)));
    assert_eq!(change, NodeChange::Added);
    assert!(more.starts_with(text) && more.contains("[[node_management.nodes]]\nhost = \"c\"\n"), "{more}");
    let fewer = remove(text, "basilica@b:22").unwrap();
    assert_eq!(fewer.trim_end(), "[[node_management.nodes]]\nhost = \"a\" # first\nport = 22");
}

#[test]
fn what_is_no_list_is_refused() {
    for text in ["node_management = 3", "[node_management]\nnodes = 3", "[node_management]\nnodes = \"x\""] {
        let error = set_node(text, &user(), &entry("root@a:22", None)).unwrap_err();
        assert!(matches!(error, EditError::Shape), "{text}: {error}");
    }
    assert!(matches!(remove_node("= 3", &user(), &"root@a:22".parse().unwrap()), Err(EditError::Syntax(_))));
}

proptest! {
    #[test]
    fn any_price_is_read_back_exactly(micros in 0u64..2_000_000_000) {
        let mut node = entry("root@a:22", None);
        node.hourly_rate_per_gpu = Some(UsdMicros(micros));
        let (text, _) = set_node("", &user(), &node).unwrap();
        let table: toml::Table = toml::from_str(&text).unwrap();
        let rate = table["node_management"]["nodes"][0]["hourly_rate_per_gpu"].as_float().unwrap();
        prop_assert_eq!(UsdMicros::parse_dollars(&rate.to_string()).unwrap(), UsdMicros(micros));
    }

    #[test]
    fn adding_and_removing_leaves_the_other_nodes(hosts in proptest::collection::btree_set("[a-z]{1,4}", 1..6), pick in 0usize..6) {
        let mut text = String::new();
        for host in &hosts {
            text = set(&text, &entry(&format!("root@{host}:22"), Some(1))).0;
        }
        let gone = hosts.iter().nth(pick % hosts.len()).unwrap();
        let rest = remove(&text, &format!("root@{gone}:22")).unwrap();
        for host in &hosts {
            prop_assert_eq!(remove(&rest, &format!("root@{host}:22")).is_some(), host != gone);
        }
    }
}
