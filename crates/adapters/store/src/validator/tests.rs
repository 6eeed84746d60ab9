//! What the validator's store promises, on real files.

use basilica_ports::{
    Absence, CheckEntry, Effect, Expiry, FleetStore, HistoryEntry, Lost, NewWindow, NodeChange, NodeKey,
    Opened, PreparedWeights, Recorded, Salt, SeenMiner, StoredStanding, VerdictStore, VerdictSummary,
    WeightStore, WindowEnd, WindowForm, WindowState,
};
use basilica_types::{
    BasisPoints, BlockNumber, Category, Digest, FencingToken, GpuUuid, Hotkey, MechanismId, Millis, NetUid,
    NodeAddress, Ppm, Timestamp, Uid, UsdMicros, Weight,
};
use basilica_verification::{CheckKind, Due, Fault, Outcome, ProvenGpu, Reason, Series};
use basilica_wire::discovery::{NodeReport, NodeStatus};

use super::{VALIDATOR_SCHEMA, ValidatorDatabase};
use crate::{Database, OpenOptions, Schema};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const PROVER: Digest = Digest::from_bytes([4; 32]);
const KEYS: [&str; 2] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4e",
];

struct Fixture {
    store: ValidatorDatabase,
    directory: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory).await;
        let miners = [1, 2].map(|n| SeenMiner {
            hotkey: miner(n),
            uid: Uid(u16::from(n)),
            axon: "198.51.100.7:50051".parse().unwrap(),
        });
        store.observe_miners(&miners, NOW).await.unwrap();
        Self { store, directory }
    }

    /// The same file as another process finds it after `kill -9`: what was not committed is not there.
    async fn reopened(self) -> Self {
        let Self { store, directory } = self;
        drop(store);
        Self { store: open(&directory).await, directory }
    }
}

async fn open(directory: &tempfile::TempDir) -> ValidatorDatabase {
    let url = format!("sqlite:{}", directory.path().join("validator.db").display()).parse().unwrap();
    ValidatorDatabase::new(Database::open(&url, &VALIDATOR_SCHEMA, OpenOptions::default()).await.unwrap())
}

fn miner(n: u8) -> Hotkey {
    Hotkey::from_bytes([n; 32])
}

fn report(host: u8) -> NodeReport {
    let address: NodeAddress = format!("root@198.51.100.{host}:22").parse().unwrap();
    NodeReport {
        node_id: address.node_id(),
        address,
        status: NodeStatus::Available,
        hourly_rate_per_gpu: Some(UsdMicros(2_500_000)),
        host_keys: vec![KEYS[0].parse().unwrap()],
    }
}

fn key(owner: u8, host: u8) -> NodeKey {
    NodeKey { miner: miner(owner), node: report(host).address.node_id() }
}

fn gpu(n: u8) -> ProvenGpu {
    ProvenGpu { uuid: GpuUuid::from_bytes([n; 16]), category: Category::H100 }
}

/// A passed full check of a node, its verdict named by `digest`.
fn passed(key: NodeKey, digest: u8, previous: Option<u8>, gpus: Vec<ProvenGpu>) -> CheckEntry {
    let digest = Digest::from_bytes([digest; 32]);
    let finished = NOW + Millis(5);
    CheckEntry {
        key,
        verdict: vec![1, 2, 3],
        digest,
        previous: previous.map(|d| Digest::from_bytes([d; 32])),
        started: NOW,
        host_keys: report(7).host_keys,
        prover: PROVER,
        summary: VerdictSummary { digest, kind: CheckKind::Full, outcome: Outcome::Passed, finished },
        gpus,
        gpus_stale_before: NOW,
        transcript: Some((digest, vec![9; 100])),
        due: Due { light: NOW + Millis(100), full: NOW + Millis(200) },
    }
}

#[tokio::test]
async fn a_discovered_node_is_pinned_due_at_once_and_survives_a_restart() {
    let fixture = Fixture::new().await;
    let changes = fixture.store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    assert_eq!(changes, [NodeChange::New(key(1, 7))]);
    assert!(fixture.store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap().is_empty());
    let fixture = fixture.reopened().await;
    let due = fixture.store.due_nodes(NOW, 10).await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!(
        (due[0].key, &due[0].host_keys, due[0].due),
        (key(1, 7), &report(7).host_keys, Due::at_once(NOW))
    );
}

#[tokio::test]
async fn a_changed_host_key_is_an_event_and_wants_a_full_check() {
    let Fixture { store, directory: _keep } = Fixture::new().await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    store.record_check(&passed(key(1, 7), 1, None, vec![gpu(1)])).await.unwrap();
    let later = NOW + Millis(50);
    assert!(store.due_nodes(later, 10).await.unwrap().is_empty());
    let changed = NodeReport { host_keys: vec![KEYS[1].parse().unwrap()], ..report(7) };
    let changes = store.record_discovery(miner(1), &[changed], later).await.unwrap();
    assert!(matches!(&changes[..], [NodeChange::HostKey { before, after, .. }] if before != after));
    let due = store.due_nodes(later, 10).await.unwrap();
    assert_eq!(due[0].due.kind(later), Some(CheckKind::Full));
    let history = store.history(key(1, 7), NOW).await.unwrap();
    let absent = HistoryEntry::Unavailable(later, Absence::KeyPending);
    assert_eq!(history[1..], [absent, HistoryEntry::Available(later)]);
}

#[tokio::test]
async fn a_node_that_is_no_longer_named_or_available_is_not_checked() {
    let Fixture { store, directory: _keep } = Fixture::new().await;
    store.record_discovery(miner(1), &[report(7), report(8)], NOW).await.unwrap();
    let pending = NodeReport { status: NodeStatus::KeyPending, host_keys: vec![], ..report(8) };
    store.record_discovery(miner(1), &[pending], NOW).await.unwrap();
    assert!(store.due_nodes(NOW, 10).await.unwrap().is_empty());
    let node = store.node(key(1, 8)).await.unwrap().unwrap();
    assert_eq!((node.listed, node.host_keys.len()), (Some(NodeStatus::KeyPending), 1));
    assert_eq!(store.node(key(1, 7)).await.unwrap().unwrap().listed, None);
    store.record_discovery(miner(1), &[report(8)], NOW).await.unwrap();
    assert_eq!(store.due_nodes(NOW, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn history_keeps_why_a_node_was_absent_and_each_change_of_it_once() {
    let Fixture { store, directory: _keep } = Fixture::new().await;
    let with = |status| vec![NodeReport { status, ..report(7) }];
    let reports = [
        with(NodeStatus::Available),
        with(NodeStatus::Unreachable),
        with(NodeStatus::Unreachable),
        with(NodeStatus::Maintenance),
        // A new key during an absence does not begin it anew.
        vec![NodeReport {
            host_keys: vec![KEYS[1].parse().unwrap()],
            ..with(NodeStatus::Maintenance).remove(0)
        }],
        with(NodeStatus::KeyPending),
        vec![],
        vec![],
        with(NodeStatus::Available),
    ];
    let mut at = NOW;
    for reports in reports {
        store.record_discovery(miner(1), &reports, at).await.unwrap();
        at = at + Millis(1);
    }
    let absent = |ms, absence| HistoryEntry::Unavailable(NOW + Millis(ms), absence);
    let expected = [
        absent(1, Absence::Unreachable),
        absent(3, Absence::Maintenance),
        absent(5, Absence::KeyPending),
        absent(6, Absence::Unlisted),
        HistoryEntry::Available(NOW + Millis(8)),
    ];
    assert_eq!(store.history(key(1, 7), NOW).await.unwrap(), expected);
    let pending = NodeReport { status: NodeStatus::KeyPending, ..report(8) };
    store.record_discovery(miner(1), &[pending], at).await.unwrap();
    let first = HistoryEntry::Unavailable(at, Absence::KeyPending);
    assert_eq!(store.history(key(1, 8), NOW).await.unwrap(), [first], "absent from the start");
}

#[tokio::test]
async fn dropped_nodes_are_forgotten_when_nothing_about_them_matters() {
    let Fixture { store, directory: _keep } = Fixture::new().await;
    let (judged, banned, listed, unjudged) = (key(1, 7), key(1, 8), key(1, 9), key(1, 10));
    let all = [7, 8, 9, 10].map(report);
    store.record_discovery(miner(1), &all, NOW).await.unwrap();
    for (digest, key) in [(1, judged), (2, banned), (3, listed)] {
        store.record_check(&passed(key, digest, None, vec![gpu(digest)])).await.unwrap();
    }
    let ban = NOW + Millis(5_000);
    let standing = StoredStanding {
        gate: "executor_banned".into(),
        score: BasisPoints::ZERO,
        multiplier: Ppm::ZERO,
        banned_until: Some(ban),
        at: NOW,
    };
    store.record_standings(&[(banned, standing)]).await.unwrap();
    assert_eq!(store.prune_nodes(ban, ban, 10).await.unwrap(), 0, "listed nodes stay, whatever their age");
    let dropped = NOW + Millis(1_000);
    store.record_discovery(miner(1), &[report(9)], dropped).await.unwrap();
    assert_eq!(store.nodes_of(miner(1)).await.unwrap().len(), 4);
    // Within retention only the node goes of which nobody ever knew anything.
    assert_eq!(store.prune_nodes(dropped, dropped, 10).await.unwrap(), 1);
    assert_eq!(store.node(unjudged).await.unwrap(), None);
    let later = dropped + Millis(1);
    assert_eq!(store.prune_nodes(later, later, 10).await.unwrap(), 1, "the banned node stays");
    assert_eq!(store.node(judged).await.unwrap(), None);
    assert!(store.history(judged, NOW).await.unwrap().is_empty());
    assert!(store.transcript(Digest::from_bytes([1; 32])).await.unwrap().is_none());
    let claim = passed(listed, 4, Some(3), vec![gpu(1)]);
    assert_eq!(store.record_check(&claim).await.unwrap(), Recorded::Stored, "its gpu is free");
    assert_eq!(store.prune_nodes(later, ban, 10).await.unwrap(), 1);
    assert_eq!(store.nodes_of(miner(1)).await.unwrap(), [listed.node]);
}

#[tokio::test]
async fn a_batch_of_forgotten_nodes_is_bounded() {
    let Fixture { store, directory: _keep } = Fixture::new().await;
    let many: Vec<_> = (10..20).map(report).collect();
    store.record_discovery(miner(1), &many, NOW).await.unwrap();
    store.record_discovery(miner(1), &[], NOW).await.unwrap();
    assert_eq!(store.prune_nodes(NOW, NOW, 4).await.unwrap(), 4);
    assert_eq!(store.nodes_of(miner(1)).await.unwrap().len(), 6);
}

#[tokio::test]
async fn miners_take_turns_and_unknown_miners_wait() {
    let Fixture { store, directory: _keep } = Fixture::new().await;
    let many: Vec<_> = (10..30).map(report).collect();
    store.record_discovery(miner(1), &many, NOW).await.unwrap();
    store.record_discovery(miner(2), &[report(7), report(8)], NOW).await.unwrap();
    let due = store.due_nodes(NOW, 4).await.unwrap();
    assert_eq!(due.iter().filter(|n| n.key.miner == miner(2)).count(), 2);
    store.observe_miners(&[], NOW).await.unwrap();
    assert!(store.due_nodes(NOW, 4).await.unwrap().is_empty());
    assert!(store.miners().await.unwrap().iter().all(|m| m.uid.is_none()));
}

#[tokio::test]
async fn a_failed_try_is_continued_after_a_restart_and_ends_with_a_conclusion() {
    let fixture = Fixture::new().await;
    fixture.store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    let series = Series { since: NOW, last: NOW + Millis(1), failed: 2, controlled: true, silent: false };
    let retry = NOW + Millis(40_000);
    fixture.store.record_try(key(1, 7), CheckKind::Full, series, retry).await.unwrap();
    let Fixture { store, directory: _keep } = fixture.reopened().await;
    assert!(store.due_nodes(NOW, 10).await.unwrap().is_empty());
    let due = store.due_nodes(retry, 10).await.unwrap();
    assert_eq!(due[0].series, Some((CheckKind::Full, series)));
    store.record_check(&passed(key(1, 7), 1, None, vec![])).await.unwrap();
    assert_eq!(store.node(key(1, 7)).await.unwrap().unwrap().series, None);
}

#[tokio::test]
async fn verdicts_form_a_chain_that_takes_each_link_once() {
    let fixture = Fixture::new().await;
    fixture.store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    let first = passed(key(1, 7), 1, None, vec![gpu(1)]);
    assert_eq!(fixture.store.record_check(&first).await.unwrap(), Recorded::Stored);
    assert_eq!(fixture.store.record_check(&first).await.unwrap(), Recorded::NotNext);
    let Fixture { store, directory: _keep } = fixture.reopened().await;
    let second = passed(key(1, 7), 2, Some(1), vec![gpu(1)]);
    assert_eq!(store.record_check(&second).await.unwrap(), Recorded::Stored);
    assert_eq!(store.verdicts(key(1, 7), 10).await.unwrap().len(), 2);
    assert_eq!(store.history(key(1, 7), NOW).await.unwrap().len(), 2);
    let node = store.node(key(1, 7)).await.unwrap().unwrap();
    assert_eq!(node.last_verdict, Some(second.summary));
    assert_eq!(node.last_full, Some(second.summary));
    assert_eq!(node.last_proof, Some((second.summary.finished, vec![gpu(1)])));
    let mut light = passed(key(1, 7), 3, Some(2), vec![]);
    light.summary.kind = CheckKind::Light;
    assert_eq!(store.record_check(&light).await.unwrap(), Recorded::Stored);
    let node = store.node(key(1, 7)).await.unwrap().unwrap();
    assert_eq!((node.last_verdict, node.last_full), (Some(light.summary), Some(second.summary)));
}

#[tokio::test]
async fn a_gpu_has_one_owner_until_that_owner_no_longer_proves_it() {
    let Fixture { store, directory: _keep } = Fixture::new().await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    store.record_discovery(miner(2), &[report(8)], NOW).await.unwrap();
    store.record_check(&passed(key(1, 7), 1, None, vec![gpu(1)])).await.unwrap();
    let claim = passed(key(2, 8), 2, None, vec![gpu(2), gpu(1)]);
    assert_eq!(store.record_check(&claim).await.unwrap(), Recorded::GpuTaken { owner: key(1, 7) });
    assert!(store.verdicts(key(2, 8), 1).await.unwrap().is_empty(), "nothing of a refused claim is kept");
    let stale = CheckEntry { gpus_stale_before: NOW + Millis(6), ..claim };
    assert_eq!(store.record_check(&stale).await.unwrap(), Recorded::Stored);
}

#[tokio::test]
async fn whoever_takes_a_gpu_over_takes_it_from_what_its_owner_is_paid_for() {
    let Fixture { store, directory: _keep } = Fixture::new().await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    store.record_discovery(miner(2), &[report(8)], NOW).await.unwrap();
    store.record_check(&passed(key(1, 7), 1, None, vec![gpu(1), gpu(2)])).await.unwrap();
    let claim = CheckEntry { gpus_stale_before: NOW + Millis(6), ..passed(key(2, 8), 2, None, vec![gpu(1)]) };
    assert_eq!(store.record_check(&claim).await.unwrap(), Recorded::Stored);
    let proof = async |key| store.node(key).await.unwrap().unwrap().last_proof.map(|(_, gpus)| gpus);
    assert_eq!(proof(key(1, 7)).await, Some(vec![gpu(2)]));
    assert_eq!(proof(key(2, 8)).await, Some(vec![gpu(1)]));
}

#[tokio::test]
async fn a_node_on_hold_is_not_paid_for_its_last_proof() {
    let Fixture { store, directory: _keep } = Fixture::new().await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    store.record_check(&passed(key(1, 7), 1, None, vec![gpu(1)])).await.unwrap();
    let mut held = passed(key(1, 7), 2, Some(1), vec![]);
    held.summary.outcome = Outcome::Failed { reason: Reason::GpuClaimedElsewhere, fault: Fault::Unknown };
    assert_eq!(store.record_check(&held).await.unwrap(), Recorded::Stored);
    let node = store.node(key(1, 7)).await.unwrap().unwrap();
    assert_eq!(node.last_proof, Some((NOW + Millis(5), vec![])));
    store.record_check(&passed(key(1, 7), 3, Some(2), vec![gpu(1)])).await.unwrap();
    let node = store.node(key(1, 7)).await.unwrap().unwrap();
    assert_eq!(node.last_proof, Some((NOW + Millis(5), vec![gpu(1)])));
}

#[tokio::test]
async fn a_check_under_keys_that_discovery_replaced_meanwhile_is_not_kept() {
    let Fixture { store, directory: _keep } = Fixture::new().await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    let changed = NodeReport { host_keys: vec![KEYS[1].parse().unwrap()], ..report(7) };
    store.record_discovery(miner(1), std::slice::from_ref(&changed), NOW).await.unwrap();
    let old = passed(key(1, 7), 1, None, vec![gpu(1)]);
    assert_eq!(store.record_check(&old).await.unwrap(), Recorded::NotNext);
    assert_eq!(store.node(key(1, 7)).await.unwrap().unwrap().last_proof, None);
    let new = CheckEntry { host_keys: changed.host_keys, ..old };
    assert_eq!(store.record_check(&new).await.unwrap(), Recorded::Stored);
}

#[tokio::test]
async fn a_light_check_does_not_put_off_a_full_one_that_discovery_asked_for() {
    let Fixture { store, directory: _keep } = Fixture::new().await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    let mut light = passed(key(1, 7), 1, None, vec![]);
    light.summary.kind = CheckKind::Light;
    store.record_check(&light).await.unwrap();
    let due = store.node(key(1, 7)).await.unwrap().unwrap().due;
    assert_eq!(due, Due { light: NOW + Millis(100), full: NOW });
}

#[tokio::test]
async fn a_series_ends_when_its_node_is_no_longer_available() {
    let Fixture { store, directory: _keep } = Fixture::new().await;
    let series = Series { since: NOW, last: NOW, failed: 3, controlled: true, silent: false };
    for gone in [vec![], vec![NodeReport { status: NodeStatus::Maintenance, ..report(7) }]] {
        store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
        store.record_try(key(1, 7), CheckKind::Light, series, NOW).await.unwrap();
        assert!(store.node(key(1, 7)).await.unwrap().unwrap().series.is_some());
        store.record_discovery(miner(1), &gone, NOW).await.unwrap();
        // A try that was under way does not bring it back.
        store.record_try(key(1, 7), CheckKind::Light, series, NOW).await.unwrap();
        store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
        assert_eq!(store.node(key(1, 7)).await.unwrap().unwrap().series, None);
    }
}

#[tokio::test]
async fn no_pass_and_no_restart_forgets_a_cut_off_opening() {
    let fixture = Fixture::new().await;
    fixture.store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    let (first, second, third) = (NOW, NOW + Millis(10), NOW + Millis(20));
    fixture.store.record_aborted_opening(key(1, 7), first, NOW).await.unwrap();
    fixture.store.record_check(&passed(key(1, 7), 1, None, vec![gpu(1)])).await.unwrap();
    let Fixture { store, directory: _keep } = fixture.reopened().await;
    assert_eq!(store.record_aborted_opening(key(1, 7), second, NOW).await.unwrap(), [first, second]);
    assert_eq!(store.record_aborted_opening(key(1, 7), third, second).await.unwrap(), [second, third]);
}

#[tokio::test]
async fn a_prover_is_known_to_work_by_another_nodes_pass_with_it() {
    let Fixture { store, directory: _keep } = Fixture::new().await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    store.record_check(&passed(key(1, 7), 1, None, vec![gpu(1)])).await.unwrap();
    assert!(!store.prover_passed_elsewhere(PROVER, key(1, 7)).await.unwrap());
    assert!(store.prover_passed_elsewhere(PROVER, key(1, 8)).await.unwrap());
    assert!(!store.prover_passed_elsewhere(Digest::from_bytes([5; 32]), key(1, 8)).await.unwrap());
}

#[tokio::test]
async fn failures_standings_and_passes_elsewhere_read_back() {
    let Fixture { store, directory: _keep } = Fixture::new().await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    let outcome =
        Outcome::Failed { reason: Reason::ProofOpeningMismatch, fault: Fault::Node { confirmed: true } };
    let mut entry = passed(key(1, 7), 1, None, vec![]);
    entry.summary.outcome = outcome;
    store.record_check(&entry).await.unwrap();
    assert!(matches!(
        store.history(key(1, 7), NOW).await.unwrap()[..],
        [HistoryEntry::Check { outcome: kept, kind: CheckKind::Full, .. }] if kept == outcome
    ));
    assert_eq!(store.last_pass_elsewhere(miner(2)).await.unwrap(), None);
    store.record_check(&passed(key(1, 7), 2, Some(1), vec![])).await.unwrap();
    assert_eq!(store.last_pass_elsewhere(miner(2)).await.unwrap(), Some(NOW + Millis(5)));
    assert_eq!(store.last_pass_elsewhere(miner(1)).await.unwrap(), None);
    let standing = StoredStanding {
        gate: "ok".into(),
        score: BasisPoints::ONE,
        multiplier: Ppm::ONE,
        banned_until: Some(NOW),
        at: NOW,
    };
    store.record_standings(&[(key(1, 7), standing.clone())]).await.unwrap();
    assert_eq!(store.node(key(1, 7)).await.unwrap().unwrap().standing, Some(standing));
}

fn window(fencing: u64) -> NewWindow {
    NewWindow {
        netuid: NetUid(39),
        mechanism: MechanismId(0),
        fencing: FencingToken(fencing),
        created: NOW,
        weights: vec![(Uid(0), Weight(60_000)), (Uid(4), Weight(5_535))],
        expected: vec![(Uid(0), Weight(65_535)), (Uid(4), Weight(6_046))],
        version_key: u64::MAX,
        form: WindowForm::Open,
        prepared: PreparedWeights {
            extrinsic: vec![1, 2, 3],
            hash: Digest::from_bytes([7; 32]),
            nonce: 3,
            netuid: NetUid(39),
            mechanism: MechanismId(0),
            effect: Effect::Weights,
            genesis: Digest::from_bytes([8; 32]),
            born: BlockNumber(100),
            born_hash: Digest::from_bytes([9; 32]),
            dies: BlockNumber(108),
        },
    }
}

#[tokio::test]
async fn one_window_is_under_way_at_a_time_even_across_a_restart() {
    let fixture = Fixture::new().await;
    let Opened::Window(id) = fixture.store.open_window(&window(0)).await.unwrap() else {
        panic!("not opened")
    };
    let Fixture { store, directory: _keep } = fixture.reopened().await;
    assert_eq!(store.open_window(&window(0)).await.unwrap(), Opened::Busy(id));
    let kept = store.windows(5).await.unwrap();
    assert_eq!((kept.len(), &kept[0].opened, &kept[0].state), (1, &window(0), &WindowState::Prepared));
    let set = WindowEnd::Set { block: BlockNumber(103) };
    store.end_window(id, &set).await.unwrap();
    store.end_window(id, &WindowEnd::Expired(Expiry::EraOver)).await.unwrap();
    store.record_read_back(id, &window(0).expected).await.unwrap();
    let kept = store.windows(5).await.unwrap();
    assert_eq!(kept[0].state, WindowState::Ended(set), "an end is final");
    assert_eq!(kept[0].read_back, Some(window(0).expected));
    assert_eq!(store.last_set().await.unwrap(), Some(BlockNumber(103)));
    assert!(matches!(store.open_window(&window(0)).await.unwrap(), Opened::Window(_)));
}

fn committing(form: WindowForm) -> NewWindow {
    NewWindow { form, ..window(0) }
}

fn reveal() -> PreparedWeights {
    PreparedWeights {
        extrinsic: vec![4, 5],
        nonce: 4,
        effect: Effect::Reveal,
        born: BlockNumber(150),
        dies: BlockNumber(213),
        ..window(0).prepared
    }
}

#[tokio::test]
async fn a_committed_window_survives_a_restart_with_its_salt_and_its_reveal() {
    let mut fixture = Fixture::new().await;
    let hash = Digest::from_bytes([3; 32]);
    let opened = committing(WindowForm::Hash { hash, salt: Salt::new(vec![1, 65_535, 7]) });
    let Opened::Window(id) = fixture.store.open_window(&opened).await.unwrap() else { panic!("not opened") };
    let stale = FencingToken(1);
    assert_eq!(fixture.store.open_reveal(id, FencingToken(0), &reveal()).await.unwrap(), Opened::Busy(id));
    fixture.store.record_commit(id, BlockNumber(101)).await.unwrap();
    fixture = fixture.reopened().await;
    let kept = fixture.store.windows(1).await.unwrap().pop().unwrap();
    assert_eq!(kept.opened, opened);
    assert_eq!(kept.state, WindowState::Committed { block: BlockNumber(101) });
    assert_eq!(fixture.store.open_window(&window(0)).await.unwrap(), Opened::Busy(id));
    assert!(matches!(fixture.store.open_reveal(id, stale, &reveal()).await.unwrap(), Opened::Fenced { .. }));
    let token = FencingToken(0);
    assert_eq!(fixture.store.open_reveal(id, token, &reveal()).await.unwrap(), Opened::Window(id));
    assert_eq!(fixture.store.open_reveal(id, token, &reveal()).await.unwrap(), Opened::Busy(id));
    fixture = fixture.reopened().await;
    let kept = fixture.store.windows(1).await.unwrap().pop().unwrap();
    assert_eq!(
        (kept.reveal, kept.state),
        (Some(reveal()), WindowState::Revealing { block: BlockNumber(101) })
    );
    fixture.store.drop_reveal(id).await.unwrap();
    let kept = fixture.store.windows(1).await.unwrap().pop().unwrap();
    assert_eq!((kept.reveal, kept.state), (None, WindowState::Committed { block: BlockNumber(101) }));
    fixture.store.open_reveal(id, token, &reveal()).await.unwrap();
    let end = WindowEnd::Revealed { committed: BlockNumber(101), block: BlockNumber(160) };
    fixture.store.end_window(id, &end).await.unwrap();
    fixture.store.drop_reveal(id).await.unwrap();
    let kept = fixture.store.windows(1).await.unwrap().pop().unwrap();
    assert_eq!((kept.reveal, kept.state), (Some(reveal()), WindowState::Ended(end)));
    assert_eq!(fixture.store.last_set().await.unwrap(), Some(BlockNumber(160)));
}

#[tokio::test]
async fn every_end_is_kept_with_its_reason() {
    let Fixture { store, directory: _keep } = Fixture::new().await;
    let ends = [
        WindowEnd::Refused { block: BlockNumber(5), error: "SubtensorModule.NotRegistered".into() },
        WindowEnd::Expired(Expiry::EraOver),
        WindowEnd::Expired(Expiry::NonceTaken),
        WindowEnd::Expired(Expiry::OtherChain),
        WindowEnd::Lost(Lost::EpochPassed),
        WindowEnd::Lost(Lost::SwitchedOff),
        WindowEnd::Lost(Lost::Gone),
        WindowEnd::Lost(Lost::OutOfReach),
        WindowEnd::Lost(Lost::NotRevealed),
    ];
    let digest = Digest::from_bytes([4; 32]);
    for end in ends {
        let opened = committing(WindowForm::Timelocked { digest, round: 77 });
        let Opened::Window(id) = store.open_window(&opened).await.unwrap() else { panic!("not opened") };
        store.end_window(id, &end).await.unwrap();
        let kept = store.windows(1).await.unwrap().pop().unwrap();
        assert_eq!((kept.opened, kept.state), (opened, WindowState::Ended(end)));
    }
    assert_eq!(store.last_set().await.unwrap(), None);
}

#[tokio::test]
async fn windows_of_the_first_schema_are_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("validator.db").display()).parse().unwrap();
    let old = Schema { migrations: &VALIDATOR_SCHEMA.migrations[..1], ..VALIDATOR_SCHEMA };
    let database = Database::open(&url, &old, OpenOptions::default()).await.unwrap();
    let mut transaction = database.begin("write as the first version did").await.unwrap();
    let zeros = "0".repeat(64);
    for (state, block, error) in [
        ("set", "9", "NULL"),
        ("failed", "12", "'Some.Error'"),
        ("expired", "NULL", "NULL"),
        ("prepared", "NULL", "NULL"),
    ] {
        let insert = format!(
            "INSERT INTO windows (netuid, fencing, created, weights, expected, extrinsic, hash, nonce, genesis, born,
                 born_hash, dies, state, block, error)
             VALUES (39, 0, 1, '[[0,65535]]', '[[0,65535]]', x'01', '{zeros}', 3, '{zeros}', 8, '{zeros}', 9, '{state}',
                 {block}, {error})"
        );
        sqlx::query(sqlx::AssertSqlSafe(insert)).execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
    drop(database);
    let database = Database::open(&url, &VALIDATOR_SCHEMA, OpenOptions::default()).await.unwrap();
    let states: Vec<WindowState> =
        ValidatorDatabase::new(database).windows(9).await.unwrap().into_iter().map(|w| w.state).collect();
    let refused = WindowEnd::Refused { block: BlockNumber(12), error: "Some.Error".into() };
    assert_eq!(
        states,
        [
            WindowState::Prepared,
            WindowState::Ended(WindowEnd::Expired(Expiry::EraOver)),
            WindowState::Ended(refused),
            WindowState::Ended(WindowEnd::Set { block: BlockNumber(9) }),
        ]
    );
}

#[tokio::test]
async fn a_stale_leader_cannot_open_a_window() {
    let Fixture { store, directory: _keep } = Fixture::new().await;
    assert_eq!(store.open_window(&window(1)).await.unwrap(), Opened::Fenced { current: FencingToken(0) });
    assert!(store.windows(5).await.unwrap().is_empty());
}

#[tokio::test]
async fn pruning_keeps_the_last_link_the_newest_transcripts_and_open_windows() {
    let Fixture { store, directory: _keep } = Fixture::new().await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    for digest in 1..=4u8 {
        let previous = (digest > 1).then(|| digest - 1);
        store.record_check(&passed(key(1, 7), digest, previous, vec![])).await.unwrap();
    }
    store.open_window(&window(0)).await.unwrap();
    let end = NOW + Millis(1_000);
    let mut removed = 0;
    for _ in 0..10 {
        let pruned = store.prune(end, 2, 1).await.unwrap();
        assert!(pruned.history <= 1, "each call is bounded");
        removed += pruned.history;
    }
    assert_eq!(removed, 4);
    assert_eq!(store.verdicts(key(1, 7), 10).await.unwrap().len(), 1);
    let mut kept = 0;
    for digest in 1..=4u8 {
        kept += usize::from(store.transcript(Digest::from_bytes([digest; 32])).await.unwrap().is_some());
    }
    assert_eq!((kept, store.windows(5).await.unwrap().len()), (2, 1));
}
