//! When a check may begin, and what its panic leaves behind.

use basilica_ports::{CheckEntry, Recorded, SeenMiner, VerdictSummary};
use basilica_types::{Digest, NodeAddress, Uid};
use basilica_verification::{Due, Fault, Outcome, Reason, Series};
use basilica_wire::discovery::{NodeReport, NodeStatus};

use super::*;
use crate::fleet_epochs;
use crate::set_weights::tests::{MINER, World};

fn checks(shared: Shared) -> Checks {
    Checks::new(Arc::new(shared))
}

#[tokio::test]
async fn after_a_restart_a_long_due_node_waits_for_its_miners_session() {
    let world = World::new();
    let key = world.judge_a_node().await;
    // The validator is off for a day; the node has been due all the time.
    world.clock.advance(Millis::from_secs(86_400));
    let mut checks = checks(world.boot().await);
    let grace = checks.shared.settings.session_grace;
    checks.start_due().await.unwrap();
    assert!(checks.running.is_empty(), "the missing session is not the miner's doing yet");
    world.clock.advance(Millis(grace.0 - 1));
    checks.start_due().await.unwrap();
    assert!(checks.running.is_empty());
    world.clock.advance(Millis(1));
    checks.start_due().await.unwrap();
    assert_eq!(checks.running.keys().copied().collect::<Vec<_>>(), [key], "now its absence is");
}

#[tokio::test]
async fn grace_runs_from_the_loss_of_the_last_session() {
    let world = World::new();
    let mut checks = checks(world.boot().await);
    let grace = checks.shared.settings.session_grace;
    assert!(!checks.may_begin(&MINER, checks.shared.now()));
    world.clock.advance(grace);
    assert!(checks.may_begin(&MINER, checks.shared.now()));
    let expires = checks.shared.now() + Millis(1_000);
    checks.shared.set_access(MINER, Arc::new(crate::sessions::Access::until(expires)));
    checks.start_due().await.unwrap();
    assert!(checks.may_begin(&MINER, checks.shared.now()));
    world.clock.advance(Millis(1_000));
    assert!(!checks.may_begin(&MINER, checks.shared.now()), "the session was lost only now");
    world.clock.advance(grace);
    assert!(checks.may_begin(&MINER, checks.shared.now()));
}

#[tokio::test]
async fn a_check_that_panicked_frees_its_node_and_its_slot() {
    let world = World::new();
    world.judge_a_node().await;
    let mut checks = checks(world.boot().await);
    let gauge = checks.shared.metrics.in_flight.get_or_create(&type_of(CheckKind::Full)).clone();
    // Logging in anywhere panics in this world; a session lets the check get that far.
    let expires = checks.shared.now() + Millis::from_secs(3_600);
    checks.shared.set_access(MINER, Arc::new(crate::sessions::Access::until(expires)));
    checks.start_due().await.unwrap();
    assert_eq!((checks.running.len(), gauge.get()), (1, 1));
    let ended = checks.tasks.next().await.unwrap().expect("the panic is not the loop's");
    assert!(ended.result.is_err());
    checks.ended(ended);
    assert_eq!((checks.running.len(), gauge.get()), (0, 0));
    checks.start_due().await.unwrap();
    assert!(checks.running.is_empty(), "not at once");
    world.clock.advance(AFTER_PANIC);
    checks.start_due().await.unwrap();
    assert_eq!(checks.running.len(), 1, "it is due still");
}

#[tokio::test]
async fn no_check_begins_while_the_clock_is_before_the_chains_blocks() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let mut checks = checks(world.boot().await);
    let expires = checks.shared.now() + Millis::from_secs(3_600);
    checks.shared.set_access(MINER, Arc::new(crate::sessions::Access::until(expires)));
    world.clock.set_wall_clock(-60_001);
    checks.start_due().await.unwrap();
    assert!(checks.running.is_empty(), "its verdict would be of a wrong time");
    world.clock.set_wall_clock(0);
    checks.start_due().await.unwrap();
    assert_eq!(checks.running.keys().copied().collect::<Vec<_>>(), [key]);
}

/// Nodes of two miners with sessions, none of them due within the hour.
async fn fleet(world: &World, miners: &[(Hotkey, &[u8])]) -> (Shared, Vec<NodeKey>) {
    let shared = world.boot().await;
    let store = &shared.ports.store;
    let axon = "198.51.100.1:50051".parse().unwrap();
    let seen: Vec<SeenMiner> = (2..)
        .zip(miners)
        .map(|(uid, (hotkey, _))| SeenMiner { hotkey: *hotkey, uid: Uid(uid), axon })
        .collect();
    store.observe_miners(&seen, shared.now()).await.unwrap();
    let mut keys = Vec::new();
    for (miner, hosts) in miners {
        let report = |host: &u8| {
            let address: NodeAddress = format!("root@198.51.100.{host}:22").parse().unwrap();
            let node_id = address.node_id();
            NodeReport {
                node_id,
                address,
                status: NodeStatus::Available,
                hourly_rate_per_gpu: None,
                host_keys: Vec::new(),
            }
        };
        let reports: Vec<NodeReport> = hosts.iter().map(report).collect();
        store.record_discovery(*miner, &reports, shared.now()).await.unwrap();
        let expires = shared.now() + Millis::from_secs(86_400);
        shared.set_access(*miner, Arc::new(crate::sessions::Access::until(expires)));
        for report in reports {
            let key = NodeKey { miner: *miner, node: report.node_id };
            fails_a_try(&shared, key, Millis::from_secs(3_600)).await;
            keys.push(key);
        }
    }
    (shared, keys)
}

/// The node's full check failed now and is tried again after so long.
async fn fails_a_try(shared: &Shared, key: NodeKey, again: Millis) {
    let now = shared.now();
    let series = Series { since: now, last: now, failed: 1, controlled: true, silent: false };
    shared.ports.store.record_try(key, CheckKind::Full, series, now + again).await.unwrap();
}

fn running(checks: &Checks) -> BTreeSet<NodeKey> {
    checks.running.keys().copied().collect()
}

const OTHER: Hotkey = Hotkey::from_bytes([8; 32]);

#[tokio::test]
async fn a_fleet_epoch_challenges_all_idle_nodes_at_once_and_no_more_than_there_is_room_for() {
    for (most, expected) in [(1_024, 5), (3, 3), (1, 2)] {
        let world = World::new();
        let (mut shared, keys) = fleet(&world, &[(MINER, &[1, 2, 3]), (OTHER, &[3, 4])]).await;
        shared.settings.concurrent_full = most;
        shared.settings.fleet.mean_blocks = 1;
        let mut checks = checks(shared);
        checks.start_due().await.unwrap();
        assert!(checks.running.is_empty(), "nothing is due");
        fleet_epochs::look(&checks.shared).await.unwrap();
        checks.start_due().await.unwrap();
        assert_eq!(checks.running.len(), expected);
        assert!(running(&checks).is_subset(&keys.iter().copied().collect()));
        let last = checks.shared.epochs.view(1).last.unwrap();
        assert_eq!((last.nodes as usize, last.block.0), (expected, 100));
        assert_eq!(checks.shared.under_way.all().len(), expected);
        checks.start_due().await.unwrap();
        assert_eq!(checks.running.len(), expected, "an epoch begins once");
    }
}

/// A full verdict of this outcome, its next checks an hour away.
fn entry(key: NodeKey, now: Timestamp, outcome: Outcome) -> CheckEntry {
    let digest = Digest::from_bytes([key.node.as_bytes()[0]; 32]);
    let later = now + Millis::from_secs(3_600);
    CheckEntry {
        key,
        verdict: vec![1],
        digest,
        previous: None,
        started: now,
        host_keys: Vec::new(),
        prover: digest,
        summary: VerdictSummary { digest, kind: CheckKind::Full, outcome, finished: now },
        gpus: Vec::new(),
        fingerprints: Vec::new(),
        identities: BTreeSet::new(),
        held_by: None,
        apart_from: BTreeSet::new(),
        gpus_stale_before: now,
        deadlines: None,
        transcript: None,
        due: Due { light: later, full: later },
    }
}

/// Stores it of a node that had none.
async fn judged(shared: &Shared, key: NodeKey, outcome: Outcome) {
    let entry = entry(key, shared.now(), outcome);
    assert_eq!(shared.ports.store.record_check(&entry).await.unwrap(), Recorded::Stored);
}

#[tokio::test]
async fn a_fleet_epoch_leaves_out_who_is_at_fault_until_it_passes_at_its_own_pace() {
    let world = World::new();
    let (mut shared, keys) = fleet(&world, &[(MINER, &[1, 2]), (OTHER, &[3])]).await;
    shared.settings.fleet.mean_blocks = 1;
    let failed = |confirmed| Outcome::Failed { reason: Reason::NoGpu, fault: Fault::Node { confirmed } };
    judged(&shared, keys[0], failed(true)).await;
    judged(&shared, keys[1], failed(false)).await;
    let mut checks = checks(shared);
    fleet_epochs::look(&checks.shared).await.unwrap();
    checks.start_due().await.unwrap();
    assert_eq!(running(&checks), keys[1..].iter().copied().collect());
}

#[tokio::test]
async fn a_retry_after_a_missed_proof_takes_the_miners_other_nodes_along_and_any_other_retry_goes_alone() {
    for missed in [true, false] {
        let world = World::new();
        let (shared, keys) = fleet(&world, &[(MINER, &[1, 2]), (OTHER, &[3])]).await;
        let mut checks = checks(shared);
        fails_a_try(&checks.shared, keys[0], Millis(0)).await;
        let kind = CheckKind::Full;
        checks.running.insert(keys[0], kind);
        checks.ended(Ended { key: keys[0], kind, took: Duration::ZERO, result: Ok(End::Tried { missed }) });
        checks.start_due().await.unwrap();
        let expected: &[NodeKey] = if missed { &keys[..2] } else { &keys[..1] };
        assert_eq!(running(&checks), expected.iter().copied().collect());
    }
}

#[tokio::test]
async fn a_retry_waits_for_a_companion_that_is_under_check_but_not_for_ever() {
    let world = World::new();
    let (shared, keys) = fleet(&world, &[(MINER, &[1, 2])]).await;
    let mut checks = checks(shared);
    fails_a_try(&checks.shared, keys[0], Millis(0)).await;
    checks.missed.insert(keys[0]);
    checks.running.insert(keys[1], CheckKind::Light);
    checks.start_due().await.unwrap();
    assert!(!checks.running.contains_key(&keys[0]));
    world.clock.advance(checks.shared.settings.retries.interval);
    checks.start_due().await.unwrap();
    assert!(checks.running.contains_key(&keys[0]), "it is asked without it");
}

#[tokio::test]
async fn a_retry_that_waits_keeps_no_other_miners_retry_waiting() {
    let world = World::new();
    let (shared, keys) = fleet(&world, &[(MINER, &[1, 2]), (OTHER, &[3, 4])]).await;
    let mut checks = checks(shared);
    for retried in [keys[0], keys[2]] {
        fails_a_try(&checks.shared, retried, Millis(0)).await;
        checks.missed.insert(retried);
    }
    checks.running.insert(keys[1], CheckKind::Light);
    checks.start_due().await.unwrap();
    assert_eq!(
        running(&checks),
        keys[1..].iter().copied().collect(),
        "only the first waits for its companion"
    );
}

#[tokio::test]
async fn a_check_that_hangs_ends_and_is_the_validators_fault() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    let plan =
        checks(world.boot().await).plan(CheckKind::Full, &shared.chain_view().unwrap().gpus, shared.now());
    let Ok(Ran::Tried(tried)) = Tried::given_up(plan, shared.now()) else { panic!("it was tried") };
    let node = shared.ports.store.node(key).await.unwrap().unwrap();
    conclude_check::conclude(&shared, &node, *tried).await.unwrap();
    let outcome = shared.ports.store.node(key).await.unwrap().unwrap().last_full.unwrap().outcome;
    assert_eq!(outcome, Outcome::Failed { reason: Reason::Internal, fault: Fault::Validator });
    let settings = &shared.settings;
    assert!(
        overall(settings, CheckKind::Light) > WAITS
            && overall(settings, CheckKind::Full) > settings.probing.pull_deadline
    );
}

#[tokio::test]
async fn a_node_on_hold_is_challenged_at_once_with_whoever_proved_the_same_before() {
    let world = World::new();
    let (shared, keys) = fleet(&world, &[(MINER, &[1, 2]), (OTHER, &[3])]).await;
    let [first, _, later] = keys[..] else { panic!("three nodes") };
    let now = shared.now();
    let outcome = Outcome::Failed { reason: Reason::IdentityOnHold, fault: Fault::Unknown };
    let due = Due { light: now + Millis::from_secs(3_600), full: now };
    let hold = CheckEntry { held_by: Some(BTreeSet::from([first])), due, ..entry(later, now, outcome) };
    assert_eq!(shared.ports.store.record_check(&hold).await.unwrap(), Recorded::Stored);
    let mut checks = checks(shared);
    checks.start_due().await.unwrap();
    assert_eq!(running(&checks), BTreeSet::from([first, later]));
}

/// Puts each node's next checks so long after now.
async fn becomes_due(shared: &Shared, keys: &[NodeKey], light: Millis, full: Millis) {
    let now = shared.now();
    for key in keys {
        let digest = Digest::from_bytes(shared.ports.entropy.array());
        let entry = entry(*key, now, Outcome::Passed);
        let summary = VerdictSummary { digest, ..entry.summary };
        let entry =
            CheckEntry { digest, summary, due: Due { light: now + light, full: now + full }, ..entry };
        assert_eq!(shared.ports.store.record_check(&entry).await.unwrap(), Recorded::Stored);
    }
}

fn of_kind(checks: &Checks, kind: CheckKind) -> BTreeSet<NodeKey> {
    checks.running.iter().filter(|(_, of)| **of == kind).map(|(key, _)| *key).collect()
}

#[tokio::test]
async fn a_backlog_of_one_kind_of_check_hides_nothing_of_the_other() {
    let (soon, later) = (Millis(2), Millis::from_secs(3_600));
    let hosts: Vec<u8> = (1..=40).collect();
    for backlog in [CheckKind::Full, CheckKind::Light] {
        let world = World::new();
        let (mut shared, keys) = fleet(&world, &[(MINER, &hosts)]).await;
        shared.settings.concurrent_full = 2;
        (shared.settings.concurrent_light, shared.settings.concurrent_dials) = (1, 1);
        // Whoever is in the backlog was due before.
        let (long_due, few) = keys.split_at(38);
        let (full, light) = match backlog {
            CheckKind::Full => {
                becomes_due(&shared, long_due, later, Millis(1)).await;
                becomes_due(&shared, few, soon, later).await;
                (long_due, few)
            }
            CheckKind::Light => {
                becomes_due(&shared, long_due, Millis(1), later).await;
                becomes_due(&shared, few, later, soon).await;
                (few, long_due)
            }
        };
        let mut checks = checks(shared);
        world.clock.advance(soon);
        checks.start_due().await.unwrap();
        for (kind, due) in [(CheckKind::Full, full), (CheckKind::Light, light)] {
            let begun = of_kind(&checks, kind);
            assert_eq!(begun.len(), 2, "{backlog:?}: {kind:?}");
            assert!(begun.is_subset(&due.iter().copied().collect()), "{backlog:?}: {kind:?}");
        }
    }
}

#[tokio::test]
async fn who_is_due_for_both_gets_one_check_and_waits_for_no_full_one_with_its_light_one() {
    let world = World::new();
    let (mut shared, keys) = fleet(&world, &[(MINER, &[1, 2, 3, 4, 5, 6])]).await;
    shared.settings.concurrent_full = 2;
    (shared.settings.concurrent_light, shared.settings.concurrent_dials) = (2, 1);
    becomes_due(&shared, &keys[..5], Millis(2), Millis(1)).await;
    becomes_due(&shared, &keys[5..], Millis(1), Millis::from_secs(3_600)).await;
    let mut checks = checks(shared);
    world.clock.advance(Millis(2));
    for _ in 0..2 {
        checks.start_due().await.unwrap();
        let (full, light) = (of_kind(&checks, CheckKind::Full), of_kind(&checks, CheckKind::Light));
        assert_eq!((full.len(), light.len()), (2, 3));
        assert!(light.contains(&keys[5]), "nobody who waits for a full check is ahead of it");
    }
}
