use basilica_status::testing::{HOUR, NOW, ago, gpus, judgement, node as a_node, well};
use basilica_status::{Gpus, Judgement, MinerStatus, NodeState, ValidatorStatus, Words, alerts};
use basilica_types::{Hotkey, Ppm, Timestamp};
use proptest::prelude::*;

use super::*;

fn with_alerts(mut status: MinerStatus) -> MinerStatus {
    status.alerts = alerts(&status);
    status
}

/// The text without its tags.
fn text(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_overview_tells_who_the_miner_is_and_how_its_nodes_are() {
    let mut status = well();
    status.nodes[0].gpus = gpus("NVIDIA H100 80GB HBM3");
    let page = text(&overview(&with_alerts(status)));
    for words in [
        "Miner ready",
        "uid 5 on subnet 39 of finney",
        "healthy nodes 2 of 2 none fails",
        "root@192.0.2.1:22 healthy 1 h 8 × NVIDIA H100 80GB HBM3 93 % 67 °C 5204 W",
        "No validator has a key on a node.",
        "as of 1970-02-11 16:00:00 UTC",
    ] {
        assert!(page.contains(words), "{words}\n{page}");
    }
}

#[test]
fn alerts_stand_above_everything_with_their_cause_and_the_next_step() {
    let mut status = well();
    let node = &mut status.nodes[1];
    (node.state, node.since) = (NodeState::Unreachable, Some(ago(2 * HOUR)));
    node.error = Some("Connection refused".into());
    let page = overview(&with_alerts(status));
    let at = |words: &str| page.find(words).unwrap_or_else(|| panic!("{words}\n{page}"));
    assert!(at("cannot be logged into for 2 h") < at("healthy nodes"));
    assert!(
        text(&page).contains("Next: log in as the miner does: ssh -i MINER_NODE_KEY -p 22 root@192.0.2.2")
    );
    // The failing node is the first of the table.
    assert!(page.rfind("root@192.0.2.2:22</a>") < page.rfind("root@192.0.2.1:22</a>"));
}

#[test]
fn a_nodes_page_tells_its_gpus_and_every_verdict() {
    let mut status = well();
    let node = &mut status.nodes[0];
    node.gpus = gpus("NVIDIA H100 80GB HBM3");
    let failed = judgement().last_full;
    node.judgements = vec![Judgement {
        banned_until: Some(Timestamp(NOW.0 + HOUR)),
        ramp: Some(Ppm::new(250_000).unwrap()),
        last: failed.clone(),
        last_full: failed,
        ..judgement()
    }];
    let id = node.id;
    let page = text(&super::node(&with_alerts(status), id).unwrap());
    for words in [
        "root@192.0.2.1:22 healthy 1 h",
        "is banned for another 1 h, until 1970-02-11T17:00:00.000Z",
        "GPUs driver 570.124.06, read 5 s ago",
        "97 % 70000 of 81559 MiB 67 °C 651 W of 700 W",
        "uptime ramp 25.00 %",
        "proof_rejected (full, 1 h ago, fault: node): the proof does not hold",
    ] {
        assert!(page.contains(words), "{words}\n{page}");
    }
    assert_eq!(super::node(&well(), a_node(77).id), None);
}

#[test]
fn what_is_not_known_is_shown_as_such() {
    let mut status = well();
    status.nodes[0].gpus = Gpus::NoTool { at: ago(1_000) };
    status.nodes[1].gpus = Gpus::Failed { at: ago(1_000), why: "driver mismatch".into() };
    let ids = [status.nodes[0].id, status.nodes[1].id];
    let pages = ids.map(|id| text(&super::node(&status, id).unwrap()));
    assert!(pages[0].contains("GPUs no nvidia-smi (1 s ago)"), "{}", pages[0]);
    assert!(pages[1].contains("nvidia-smi fails (1 s ago): driver mismatch"), "{}", pages[1]);
    status.nodes.clear();
    assert!(text(&overview(&with_alerts(status))).contains("no nodes are configured"));
}

/// Every text that a stranger can have a say in.
fn hostile(words: &str) -> MinerStatus {
    let mut status = well();
    let said = || Some(Words::new(words));
    let last = judgement().last_full.map(|last| basilica_status::LastVerdict {
        reason: words.into(),
        explanation: words.into(),
        fault: Some(format!("node{words}").as_str().into()),
        ..last
    });
    let node = &mut status.nodes[0];
    (node.state, node.error, node.advice, node.region) = (NodeState::Unreachable, said(), said(), said());
    node.host_keys.offered = Some(words.to_owned());
    node.gpus = gpus(words);
    node.judgements = vec![Judgement {
        listed: words.into(),
        gate: said(),
        gate_explanation: said(),
        last: last.clone(),
        last_full: last,
        ..judgement()
    }];
    status.nodes[1].gpus = Gpus::Failed { at: NOW, why: words.into() };
    status.miner.database_error = said();
    status.miner.conditions[0].problem = said();
    status.validators = vec![ValidatorStatus {
        hotkey: Hotkey::from_bytes([3; 32]),
        place: said(),
        assigned: true,
        asked: Some(NOW),
        answered: None,
        error: said(),
    }];
    with_alerts(status)
}

fn pages(status: &MinerStatus) -> Vec<String> {
    let nodes = status.nodes.iter().map(|node| super::node(status, node.id).unwrap());
    nodes.chain([overview(status)]).collect()
}

#[test]
fn nothing_that_a_stranger_says_becomes_markup() {
    let words = r#""><script>alert(1)</script><img src=x onerror='alert(2)'>&lt;"#;
    for page in pages(&hostile(words)) {
        assert!(page.contains("&#60;script&#62;"), "it is shown: {page}");
        assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("onerror='"), "{page}");
    }
}

proptest! {
    #[test]
    fn a_page_has_the_same_markup_whatever_strangers_say(words in "[\\PC]{1,40}") {
        let words = Words::new(&words);
        prop_assume!(!words.as_str().is_empty());
        let tags = |page: &str| page.matches('<').count();
        for (page, plain) in pages(&hostile(words.as_str())).iter().zip(pages(&hostile("x"))) {
            prop_assert_eq!(tags(page), tags(&plain), "{}", page);
        }
    }
}

#[test]
fn a_fleet_of_200_nodes_is_one_page_of_moderate_size() {
    let mut status = well();
    status.nodes = (0..200).map(a_node).collect();
    for node in &mut status.nodes {
        node.gpus = gpus("NVIDIA H100 80GB HBM3");
        node.judgements = vec![judgement()];
    }
    let page = overview(&with_alerts(status));
    assert!(page.len() < 400_000, "{}", page.len());
    assert_eq!(page.matches("data-label=\"Node\"").count(), 200);
}
