//! Snapshots for tests of whatever shows them.
#![expect(clippy::unwrap_used, reason = "constants of tests")]

use basilica_types::{
    BlockNumber, Digest, GpuUuid, Hotkey, Millis, NetUid, Network, NodeAddress, Rao, Timestamp, Uid,
};

use crate::{
    Activity, Assigned, Assignment, Axon, Chain, Condition, Containers, FORM, GpuReading, Gpus, HostKeys,
    Judgement, LastVerdict, MinerPart, MinerStatus, NodeState, NodeStatus, Registration,
};

/// An hour in milliseconds.
pub const HOUR: i64 = 3_600_000;
/// When [`well`] is true.
pub const NOW: Timestamp = Timestamp(1_000 * HOUR);

/// So many milliseconds before [`NOW`].
pub const fn ago(ms: i64) -> Timestamp {
    Timestamp(NOW.0 - ms)
}

/// A healthy node.
pub fn node(host: u8) -> NodeStatus {
    let address: NodeAddress = format!("root@192.0.2.{host}:22").parse().unwrap();
    NodeStatus {
        id: address.node_id(),
        address,
        region: None,
        hourly_rate_per_gpu: None,
        state: NodeState::Healthy,
        since: Some(ago(HOUR)),
        checked: Some(ago(1_000)),
        latency: None,
        maintenance: None,
        error: None,
        advice: None,
        host_keys: HostKeys::default(),
        assigned: Vec::new(),
        keys: Vec::new(),
        unclean_until: None,
        gpus: Gpus::Unasked,
        containers: Containers::Unknown,
        judgements: Vec::new(),
    }
}

/// A failed full check that is the node's fault.
pub fn judgement() -> Judgement {
    let last = LastVerdict {
        digest: Digest::from_bytes([7; 32]),
        full: true,
        finished: ago(HOUR),
        passed: false,
        reason: "proof_rejected".into(),
        explanation: "the proof does not hold".into(),
        fault: Some("node".into()),
        gpus: 0,
    };
    Judgement {
        validator: Hotkey::from_bytes([2; 32]),
        at: NOW,
        listed: "available".into(),
        gate: None,
        gate_explanation: None,
        score: None,
        ramp: None,
        banned_until: None,
        next_check: None,
        last: None,
        last_full: Some(last),
    }
}

/// A miner with which all is well.
pub fn well() -> MinerStatus {
    let address = ([203, 0, 113, 7], 50051).into();
    MinerStatus {
        form: FORM,
        at: NOW,
        miner: MinerPart {
            hotkey: Hotkey::from_bytes([1; 32]),
            version: "0.1.0".to_owned(),
            started: ago(10 * HOUR),
            network: Network::Finney,
            netuid: NetUid(39),
            registration: Registration::Registered { uid: Uid(5) },
            axon: Axon { configured: Some(address), on_chain: Some(address) },
            conditions: vec![Condition { name: "metagraph".to_owned(), problem: None }],
            database_error: None,
            is_database_full: false,
            little_room: Vec::new(),
            reload_error: None,
            share: None,
        },
        chain: Chain { block: Some(BlockNumber(9)), read: Some(ago(60_000)), clock_ahead_ms: Some(24_000) },
        assignment: Assignment {
            strategy: "highest_stake".to_owned(),
            validators: vec![Assigned {
                hotkey: Hotkey::from_bytes([2; 32]),
                uid: Some(Uid(0)),
                stake: Some(Rao(1)),
                nodes: 2,
            }],
        },
        activity: Activity {
            window: Millis::from_secs(3_600),
            logins: 10,
            logins_granted: 9,
            rounds: 10,
            rounds_failed: 1,
            discoveries: 4,
            discoveries_refused: 1,
            validator_seen: Some(ago(6 * HOUR)),
        },
        nodes: vec![node(1), node(2)],
        sessions: Vec::new(),
        validators: Vec::new(),
        alerts: Vec::new(),
    }
}

/// Eight cards that work.
pub fn gpus(model: &str) -> Gpus {
    let card = |index: u8| GpuReading {
        index: index.into(),
        uuid: Some(GpuUuid::from_bytes([index; 16])),
        model: model.into(),
        utilization_percent: Some(90 + index),
        memory_used_mib: Some(70_000),
        memory_total_mib: Some(81_559),
        temperature_celsius: Some(60 + u16::from(index)),
        power_milliwatts: Some(650_500),
        power_limit_milliwatts: Some(700_000),
    };
    Gpus::Read { at: ago(5_000), driver: "570.124.06".into(), cards: (0..8).map(card).collect() }
}
