use basilica_types::{Kept, Millis};

use super::*;
use crate::testing::{HOUR, NOW, ago, judgement, node, well};
use crate::{
    Allowance, Axon, Chain, Condition, Containers, Gpus, Judgement, LittleRoom, NodeState, Registration,
};

fn budget(used_secs: u64) -> Allowance {
    Allowance { used: Millis::from_secs(used_secs), of: Millis::from_secs(4 * 3_600) }
}

/// Of a validator that found nothing wrong so long ago.
fn passed(before_ms: u64) -> Judgement {
    let mut judgement = judgement();
    let last = judgement.last_full.as_mut().unwrap();
    (last.passed, last.finished) = (true, NOW - Millis(before_ms));
    judgement
}

type Change = fn(&mut MinerStatus);

/// Each trouble, what it is told as, and what is nearest to it without being it.
const TROUBLES: &[(AlertCode, Severity, Change, Change)] = &[
    (
        AlertCode::DatabaseFailing,
        Severity::Critical,
        |s| s.miner.database_error = Some("disk full".into()),
        |_| {},
    ),
    (
        AlertCode::NotReloaded,
        Severity::Warning,
        |s| s.miner.reload_error = Some("miner.toml:3:1: unknown key".into()),
        |_| {},
    ),
    (
        AlertCode::DiskNearlyFull,
        Severity::Warning,
        |s| {
            s.miner.little_room =
                LittleRoom::of(Kept::Database, "/x/miner.db", (256 << 20) - 1).into_iter().collect()
        },
        |s| {
            s.miner.little_room =
                LittleRoom::of(Kept::Database, "/x/miner.db", 256 << 20).into_iter().collect()
        },
    ),
    (
        AlertCode::DiskNearlyFull,
        Severity::Critical,
        |s| s.miner.little_room = LittleRoom::of(Kept::Database, "/x/miner.db", 0).into_iter().collect(),
        |_| {},
    ),
    (
        AlertCode::DiscoveriesRefused,
        Severity::Warning,
        |s| (s.activity.discoveries, s.activity.discoveries_refused) = (4, 3),
        |s| (s.activity.discoveries, s.activity.discoveries_refused) = (5, 3),
    ),
    (
        AlertCode::NodeUnfit,
        Severity::Warning,
        |s| (s.nodes[0].gpus, s.nodes[0].judgements) = (Gpus::NoTool { at: NOW }, vec![passed(900_001)]),
        |s| (s.nodes[0].gpus, s.nodes[0].judgements) = (Gpus::NoTool { at: NOW }, vec![passed(900_000)]),
    ),
    (
        AlertCode::NodeUnfit,
        Severity::Warning,
        |s| {
            s.nodes[0].containers = Containers::Denied { at: NOW, program: "docker".into(), why: "no".into() }
        },
        |s| s.nodes[0].containers = Containers::Usable { at: NOW, program: "docker".into() },
    ),
    (
        AlertCode::NodeFailing,
        Severity::Warning,
        |s| {
            (s.nodes[0].state, s.nodes[0].error) = (NodeState::Maintenance, Some("timed out".into()));
            s.nodes[0].unclean_until = Some(ago(-HOUR));
        },
        |s| (s.nodes[0].state, s.nodes[0].error) = (NodeState::Maintenance, Some("timed out".into())),
    ),
    (
        AlertCode::NotRegistered,
        Severity::Critical,
        |s| s.miner.registration = Registration::Absent,
        |s| s.miner.registration = Registration::Unknown,
    ),
    (
        AlertCode::ClockOff,
        Severity::Critical,
        |s| s.chain.clock_ahead_ms = Some(240_001),
        |s| s.chain.clock_ahead_ms = Some(240_000),
    ),
    (
        AlertCode::ClockOff,
        Severity::Critical,
        |s| s.chain.clock_ahead_ms = Some(-30_001),
        |s| s.chain.clock_ahead_ms = Some(-30_000),
    ),
    (
        AlertCode::ChainSilent,
        Severity::Warning,
        |s| s.chain.read = Some(ago(300_001)),
        |s| s.chain.read = Some(ago(300_000)),
    ),
    (
        AlertCode::ChainSilent,
        Severity::Critical,
        |s| {
            (s.chain, s.miner.started) = (Chain::default(), ago(120_001));
            s.miner.registration = Registration::Unknown;
        },
        |s| (s.chain, s.miner.started) = (Chain::default(), ago(120_000)),
    ),
    (
        AlertCode::AxonNotServed,
        Severity::Critical,
        |s| s.miner.axon.on_chain = None,
        |s| s.miner.axon.configured = None,
    ),
    (
        AlertCode::AxonNotServed,
        Severity::Critical,
        |s| s.miner.axon = Axon { configured: None, on_chain: None },
        |s| (s.miner.axon.on_chain, s.miner.started) = (None, ago(120_000)),
    ),
    (
        AlertCode::ConditionFails,
        Severity::Warning,
        |s| {
            s.miner
                .conditions
                .push(Condition { name: "audit".to_owned(), problem: Some("cannot be written".into()) });
        },
        |s| s.miner.conditions[0].problem = Some("the chain does not answer".into()),
    ),
    (AlertCode::NoNodes, Severity::Warning, |s| s.nodes.clear(), |s| s.nodes.truncate(1)),
    (
        AlertCode::NoValidator,
        Severity::Warning,
        |s| s.assignment.validators.clear(),
        |s| (s.assignment.validators, s.chain.block) = (Vec::new(), None),
    ),
    (
        AlertCode::ValidatorUnseen,
        Severity::Warning,
        |s| s.activity.validator_seen = Some(ago(6 * HOUR + 1)),
        |s| (s.activity.validator_seen, s.miner.started) = (None, ago(6 * HOUR)),
    ),
    (
        AlertCode::LoginsRefused,
        Severity::Warning,
        |s| s.activity.logins_granted = 8,
        |s| (s.activity.logins, s.activity.logins_granted) = (9, 0),
    ),
    (
        AlertCode::RoundsFail,
        Severity::Warning,
        |s| s.activity.rounds_failed = 2,
        |s| (s.activity.rounds, s.activity.rounds_failed) = (9, 9),
    ),
    (
        AlertCode::HostKeyChanged,
        Severity::Critical,
        |s| {
            s.nodes[0].state = NodeState::Unreachable;
            s.nodes[0].host_keys.offered = Some("SHA256:new".to_owned());
        },
        |s| s.nodes[0].host_keys.trusted = Some("SHA256:old".to_owned()),
    ),
    (
        AlertCode::NodeUnreachable,
        Severity::Warning,
        |s| s.nodes[0].state = NodeState::Unreachable,
        |s| s.nodes[0].state = NodeState::Maintenance,
    ),
    (
        AlertCode::NodeUnreachable,
        Severity::Critical,
        |s| (s.nodes[0].state, s.nodes[0].since) = (NodeState::Unreachable, Some(ago(HOUR + 1))),
        |s| s.nodes[0].state = NodeState::Degraded,
    ),
    (AlertCode::NodeFailing, Severity::Warning, |s| s.nodes[0].state = NodeState::KeyPending, |_| {}),
    (
        AlertCode::NodeFailing,
        Severity::Critical,
        |s| (s.nodes[0].state, s.nodes[0].since) = (NodeState::ClockWrong, Some(ago(HOUR + 1))),
        |s| s.nodes[0].state = NodeState::Unknown,
    ),
    (
        AlertCode::MaintenanceBudget,
        Severity::Warning,
        |s| s.nodes[0].maintenance = Some(budget(3 * 3_600)),
        |s| s.nodes[0].maintenance = Some(budget(3 * 3_600 - 1)),
    ),
    (
        AlertCode::MaintenanceBudget,
        Severity::Critical,
        |s| s.nodes[0].maintenance = Some(budget(4 * 3_600)),
        |s| s.nodes[0].state = NodeState::Maintenance,
    ),
    (
        AlertCode::BanRunning,
        Severity::Critical,
        |s| {
            s.nodes[0].judgements =
                vec![Judgement { banned_until: Some(Timestamp(NOW.0 + HOUR)), ..judgement() }];
        },
        |s| {
            s.nodes[0].judgements =
                vec![Judgement { banned_until: Some(NOW), last_full: None, ..judgement() }];
        },
    ),
    (
        AlertCode::CheckFailed,
        Severity::Critical,
        |s| s.nodes[0].judgements = vec![judgement()],
        |s| {
            let mut other = judgement();
            other.last_full.as_mut().unwrap().fault = Some("network".into());
            s.nodes[0].judgements = vec![other];
        },
    ),
];

#[test]
fn each_trouble_is_told_once_and_what_is_nearest_to_it_is_not() {
    assert_eq!(alerts(&well()), []);
    for (code, severity, trouble, none) in TROUBLES {
        let mut status = well();
        trouble(&mut status);
        let told = alerts(&status);
        let codes: Vec<_> = told.iter().map(|alert| (alert.code, alert.severity)).collect();
        assert_eq!(codes, [(*code, *severity)], "{told:#?}");
        assert!(
            told.iter().all(|alert| ![&alert.what, &alert.why, &alert.todo].contains(&&Words::default()))
        );
        let mut status = well();
        none(&mut status);
        assert_eq!(alerts(&status), [], "{code:?}");
    }
}

#[test]
fn an_alert_names_since_when_why_and_what_to_do() {
    let mut status = well();
    let node = &mut status.nodes[1];
    (node.state, node.since) = (NodeState::Unreachable, Some(ago(2 * HOUR)));
    node.error = Some("connect to root@192.0.2.2:22: Connection refused".into());
    let [alert] = &alerts(&status)[..] else { panic!("one alert") };
    assert_eq!(alert.what.as_str(), "root@192.0.2.2:22 cannot be logged into for 2 h");
    assert_eq!(alert.since, Some(ago(2 * HOUR)));
    assert!(alert.why.as_str().starts_with("connect to root@192.0.2.2:22: Connection refused; downtime"));
    assert_eq!(
        alert.todo.as_str(),
        "log in as the miner does: ssh -i MINER_NODE_KEY -p 22 root@192.0.2.2; basilica-miner doctor --node root@192.0.2.2:22 says why"
    );
    status.nodes[1].advice = Some("start sshd".into());
    assert_eq!(alerts(&status)[0].todo.as_str(), "start sshd");
}

#[test]
fn a_trouble_of_many_nodes_is_one_alert_as_bad_as_the_worst_of_them() {
    let mut status = well();
    status.nodes = (1..=200).map(node).collect();
    for node in &mut status.nodes {
        node.state = NodeState::Unreachable;
    }
    status.nodes[99].since = Some(ago(5 * HOUR));
    let [alert] = &alerts(&status)[..] else { panic!("one alert") };
    assert_eq!((alert.code, alert.severity), (AlertCode::NodeUnreachable, Severity::Critical));
    assert_eq!((&alert.subject, alert.since), (&Subject::Miner, Some(ago(5 * HOUR))));
    assert!(alert.what.as_str().starts_with("200 nodes cannot be logged into: root@192.0.2.1:22, "));
}

#[test]
fn the_worst_comes_first() {
    let mut status = well();
    status.nodes[0].state = NodeState::Unreachable;
    status.miner.registration = Registration::Absent;
    status.miner.database_error = Some("gone".into());
    let codes: Vec<_> = alerts(&status).into_iter().map(|alert| alert.code).collect();
    assert_eq!(codes, [AlertCode::DatabaseFailing, AlertCode::NotRegistered, AlertCode::NodeUnreachable]);
}

#[test]
fn a_full_disk_is_told_once_and_by_what_it_keeps() {
    let mut status = well();
    let full = |kept, path: &str| LittleRoom::of(kept, path, 0).unwrap();
    status.miner.little_room = vec![full(Kept::Database, "/x/miner.db"), full(Kept::AuditLog, "/y/a.log")];
    let told = |status: &MinerStatus| -> Vec<(AlertCode, String, String)> {
        let said = |alert: Alert| (alert.code, alert.what.to_string(), alert.why.to_string());
        alerts(status).into_iter().map(said).collect()
    };
    let both = told(&status);
    assert!(both.len() == 2 && both.iter().all(|(code, ..)| *code == AlertCode::DiskNearlyFull), "{both:?}");
    assert!(both[0].1.contains("/x/miner.db") && both[0].2.contains("validators are refused"), "{both:?}");
    assert!(both[1].1.contains("/y/a.log") && both[1].2.contains("missing in the audit log"), "{both:?}");
    assert!(!both[1].2.contains("refused"), "{both:?}");
    let severities: Vec<_> = alerts(&status).into_iter().map(|alert| alert.severity).collect();
    assert_eq!(severities, [Severity::Critical, Severity::Warning]);
    // Damage says nothing of the disk.
    status.miner.database_error = Some("damaged".into());
    let codes = |status: &MinerStatus| told(status).into_iter().map(|(code, ..)| code).collect::<Vec<_>>();
    let (failing, disk) = (AlertCode::DatabaseFailing, AlertCode::DiskNearlyFull);
    assert_eq!(codes(&status), [failing, disk, disk]);
    status.miner.is_database_full = true;
    assert_eq!(codes(&status), [failing, disk]);
    assert!(told(&status)[1].1.contains("/y/a.log"));
}

#[test]
fn a_snapshot_reads_back_from_its_json() {
    let mut status = well();
    status.nodes[0].state = NodeState::Unreachable;
    status.nodes[0].judgements = vec![judgement()];
    status.alerts = alerts(&status);
    let json = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<MinerStatus>(&json).unwrap(), status);
    assert!(json.contains(r#""form":1,"at":3600000000,"#), "{json}");
}

#[test]
fn codes_are_spelt_alike_in_json_and_in_metrics() {
    for code in AlertCode::ALL {
        assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{}\"", code.as_str()));
        assert!(TROUBLES.iter().any(|(told, ..)| *told == code), "{code:?} is not tested");
    }
}
