//! Tries, verdicts, and whose GPU is whose.

use codec::Encode as _;

use super::*;

on_both_engines!(
    a_failed_try_is_continued_after_a_restart_and_ends_with_a_conclusion,
    verdicts_form_a_chain_that_takes_each_link_once,
    a_gpu_has_one_owner_until_that_owner_no_longer_proves_it,
    whoever_takes_a_gpu_over_takes_it_from_what_its_owner_is_paid_for,
    a_node_on_hold_is_not_paid_for_its_last_proof,
    a_check_under_keys_that_discovery_replaced_meanwhile_is_not_kept,
    a_light_check_does_not_put_off_a_full_one_that_discovery_asked_for,
    a_series_ends_when_its_node_is_no_longer_available,
    no_pass_and_no_restart_forgets_a_cut_off_opening,
    a_prover_is_known_to_work_by_another_nodes_pass_with_it,
    failures_standings_and_passes_elsewhere_read_back,
    a_fingerprint_is_its_nodes_own_and_survives_a_restart_until_it_is_old,
    whoever_proved_an_identity_first_stays_first_until_it_is_given_up,
    a_hold_lasts_until_a_check_says_otherwise_and_a_pair_shown_apart_may_prove_one_uuid,
    missed_deadlines_are_kept_with_and_without_a_verdict_and_no_unlisting_forgets_them,
    the_transcript_of_a_try_without_a_verdict_is_kept_as_long_as_any,
    a_transcript_is_read_part_by_part,
    verdicts_of_an_id_come_in_pages_whoever_lists_it,
);

async fn a_failed_try_is_continued_after_a_restart_and_ends_with_a_conclusion(on: On) {
    let fixture = Fixture::new(on).await;
    fixture.store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    let series = Series { since: NOW, last: NOW + Millis(1), failed: 2, controlled: true, silent: false };
    let retry = NOW + Millis(40_000);
    fixture.store.record_try(key(1, 7), CheckKind::Full, series, retry).await.unwrap();
    let Fixture { store, place: _keep } = fixture.reopened().await;
    assert!(store.due_nodes(CheckKind::Full, NOW, 10).await.unwrap().is_empty());
    let due = store.due_nodes(CheckKind::Full, retry, 10).await.unwrap();
    assert_eq!(due[0].series, Some((CheckKind::Full, series)));
    store.record_check(&passed(key(1, 7), 1, None, vec![])).await.unwrap();
    assert_eq!(store.node(key(1, 7)).await.unwrap().unwrap().series, None);
}

async fn verdicts_form_a_chain_that_takes_each_link_once(on: On) {
    let fixture = Fixture::new(on).await;
    fixture.store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    let first = passed(key(1, 7), 1, None, vec![gpu(1)]);
    assert_eq!(fixture.store.record_check(&first).await.unwrap(), Recorded::Stored);
    assert_eq!(fixture.store.record_check(&first).await.unwrap(), Recorded::NotNext);
    let Fixture { store, place: _keep } = fixture.reopened().await;
    let second = passed(key(1, 7), 2, Some(1), vec![gpu(1)]);
    assert_eq!(store.record_check(&second).await.unwrap(), Recorded::Stored);
    assert_eq!(kept(&store, key(1, 7)).await, 2);
    let by_digest = store.verdict(first.summary.digest).await.unwrap();
    assert_eq!(by_digest, Some(first.verdict));
    assert_eq!(store.verdict(basilica_types::Digest::from_bytes([99; 32])).await.unwrap(), None);
    assert_eq!(store.history(key(1, 7), NOW).await.unwrap().len(), 2);
    let node = store.node(key(1, 7)).await.unwrap().unwrap();
    assert_eq!(node.last_verdict, Some(second.summary));
    assert_eq!(node.last_full, Some(second.summary));
    assert_eq!(node.last_proof, Some((second.summary.finished, vec![paid(1)])));
    let mut light = passed(key(1, 7), 3, Some(2), vec![]);
    light.summary.kind = CheckKind::Light;
    assert_eq!(store.record_check(&light).await.unwrap(), Recorded::Stored);
    let node = store.node(key(1, 7)).await.unwrap().unwrap();
    assert_eq!((node.last_verdict, node.last_full), (Some(light.summary), Some(second.summary)));
}

async fn a_gpu_has_one_owner_until_that_owner_no_longer_proves_it(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    store.record_discovery(miner(2), &[report(8)], NOW).await.unwrap();
    store.record_check(&passed(key(1, 7), 1, None, vec![gpu(1)])).await.unwrap();
    let claim = passed(key(2, 8), 2, None, vec![gpu(2), gpu(1)]);
    assert_eq!(store.record_check(&claim).await.unwrap(), Recorded::GpuTaken { owner: key(1, 7) });
    assert_eq!(kept(&store, key(2, 8)).await, 0, "nothing of a refused claim is kept");
    let stale = CheckEntry { gpus_stale_before: NOW + Millis(6), ..claim };
    assert_eq!(store.record_check(&stale).await.unwrap(), Recorded::Stored);
}

async fn whoever_takes_a_gpu_over_takes_it_from_what_its_owner_is_paid_for(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    store.record_discovery(miner(2), &[report(8)], NOW).await.unwrap();
    store.record_check(&passed(key(1, 7), 1, None, vec![gpu(1), gpu(2)])).await.unwrap();
    let claim = CheckEntry { gpus_stale_before: NOW + Millis(6), ..passed(key(2, 8), 2, None, vec![gpu(1)]) };
    assert_eq!(store.record_check(&claim).await.unwrap(), Recorded::Stored);
    let proof = async |key| store.node(key).await.unwrap().unwrap().last_proof.map(|(_, gpus)| gpus);
    assert_eq!(proof(key(1, 7)).await, Some(vec![paid(2)]));
    assert_eq!(proof(key(2, 8)).await, Some(vec![paid(1)]));
}

async fn a_node_on_hold_is_not_paid_for_its_last_proof(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    store.record_check(&passed(key(1, 7), 1, None, vec![gpu(1)])).await.unwrap();
    let mut held = passed(key(1, 7), 2, Some(1), vec![]);
    held.summary.outcome = Outcome::Failed { reason: Reason::GpuClaimedElsewhere, fault: Fault::Unknown };
    assert_eq!(store.record_check(&held).await.unwrap(), Recorded::Stored);
    let node = store.node(key(1, 7)).await.unwrap().unwrap();
    assert_eq!(node.last_proof, Some((NOW + Millis(5), vec![])));
    store.record_check(&passed(key(1, 7), 3, Some(2), vec![gpu(1)])).await.unwrap();
    let node = store.node(key(1, 7)).await.unwrap().unwrap();
    assert_eq!(node.last_proof, Some((NOW + Millis(5), vec![paid(1)])));
}

async fn a_check_under_keys_that_discovery_replaced_meanwhile_is_not_kept(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    let changed = NodeReport { host_keys: vec![KEYS[1].parse().unwrap()], ..report(7) };
    store.record_discovery(miner(1), std::slice::from_ref(&changed), NOW).await.unwrap();
    let old = passed(key(1, 7), 1, None, vec![gpu(1)]);
    assert_eq!(store.record_check(&old).await.unwrap(), Recorded::NotNext);
    assert_eq!(store.node(key(1, 7)).await.unwrap().unwrap().last_proof, None);
    let new = CheckEntry { host_keys: changed.host_keys, ..old };
    assert_eq!(store.record_check(&new).await.unwrap(), Recorded::Stored);
}

async fn a_light_check_does_not_put_off_a_full_one_that_discovery_asked_for(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    let mut light = passed(key(1, 7), 1, None, vec![]);
    light.summary.kind = CheckKind::Light;
    store.record_check(&light).await.unwrap();
    let due = store.node(key(1, 7)).await.unwrap().unwrap().due;
    assert_eq!(due, Due { light: NOW + Millis(100), full: NOW });
}

async fn a_series_ends_when_its_node_is_no_longer_available(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
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

async fn no_pass_and_no_restart_forgets_a_cut_off_opening(on: On) {
    let fixture = Fixture::new(on).await;
    fixture.store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    let (first, second, third) = (NOW, NOW + Millis(10), NOW + Millis(20));
    fixture.store.record_aborted_opening(key(1, 7), first, NOW).await.unwrap();
    fixture.store.record_check(&passed(key(1, 7), 1, None, vec![gpu(1)])).await.unwrap();
    let Fixture { store, place: _keep } = fixture.reopened().await;
    assert_eq!(store.record_aborted_opening(key(1, 7), second, NOW).await.unwrap(), [first, second]);
    assert_eq!(store.record_aborted_opening(key(1, 7), third, second).await.unwrap(), [second, third]);
}

async fn a_prover_is_known_to_work_by_another_nodes_pass_with_it(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    store.record_check(&passed(key(1, 7), 1, None, vec![gpu(1)])).await.unwrap();
    assert!(!store.prover_passed_elsewhere(PROVER, key(1, 7)).await.unwrap());
    assert!(store.prover_passed_elsewhere(PROVER, key(1, 8)).await.unwrap());
    assert!(!store.prover_passed_elsewhere(Digest::from_bytes([5; 32]), key(1, 8)).await.unwrap());
}

async fn failures_standings_and_passes_elsewhere_read_back(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
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

async fn a_fingerprint_is_its_nodes_own_and_survives_a_restart_until_it_is_old(on: On) {
    let fixture = Fixture::new(on).await;
    fixture.store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    fixture.store.record_discovery(miner(2), &[report(8)], NOW).await.unwrap();
    let machine = Digest::from_bytes([6; 32]);
    let print = |n, name: &str| {
        let facts = DeviceFacts::simulated(&name.parse().unwrap(), 0);
        Fingerprint { uuid: gpu(n).uuid, facts, machine: Some(machine) }
    };
    let (first, other) = (print(1, "simulated-H100"), print(2, "simulated-A100"));
    let shown = vec![first.clone(), other.clone()];
    let entry = CheckEntry { fingerprints: shown, ..passed(key(1, 7), 1, None, vec![gpu(1), gpu(2)]) };
    fixture.store.record_check(&entry).await.unwrap();
    // A claim that is refused leaves no fingerprint either.
    let taken = CheckEntry { fingerprints: vec![first.clone()], ..passed(key(2, 8), 2, None, vec![gpu(1)]) };
    assert!(matches!(fixture.store.record_check(&taken).await.unwrap(), Recorded::GpuTaken { .. }));

    let Fixture { store, place: _keep } = fixture.reopened().await;
    let asked = [gpu(1).uuid, gpu(3).uuid, gpu(2).uuid];
    assert_eq!(store.fingerprints(key(1, 7), &asked).await.unwrap(), [first.clone(), other.clone()]);
    assert_eq!(store.fingerprints(key(2, 8), &asked).await.unwrap(), []);
    let facts = DeviceFacts { driver: "999.1".parse().unwrap(), ..first.facts.clone() };
    let moved = Fingerprint { facts, machine: None, ..first };
    let mut later = passed(key(1, 7), 3, Some(1), vec![gpu(1)]);
    later.fingerprints = vec![moved.clone()];
    later.summary.finished = NOW + Millis(50);
    store.record_check(&later).await.unwrap();
    let known = store.fingerprints(key(1, 7), &asked).await.unwrap();
    assert_eq!(known, [moved.clone(), other]);
    assert_eq!(store.prune(NOW + Millis(50), 9, 9).await.unwrap().fingerprints, 1);
    assert_eq!(store.fingerprints(key(1, 7), &asked).await.unwrap(), [moved]);
}

async fn whoever_proved_an_identity_first_stays_first_until_it_is_given_up(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    store.record_discovery(miner(2), &[report(7)], NOW).await.unwrap();
    let [host_key, machine] =
        [Identity::HostKey, Identity::MachineId].map(|of| of(Digest::from_bytes([6; 32])));
    let shows = |entry: CheckEntry, at: u64, identities: &[Identity]| {
        let summary = VerdictSummary { finished: NOW + Millis(at), ..entry.summary };
        CheckEntry { identities: identities.iter().copied().collect(), summary, ..entry }
    };
    let both = BTreeSet::from([host_key, machine]);
    let claim = |owner: u8, at: u64, identity: Identity| Claimant {
        node: key(owner, 7),
        since: NOW + Millis(at),
        identities: BTreeSet::from([identity]),
    };
    let first = passed(key(1, 7), 1, None, vec![gpu(1)]);
    store.record_check(&shows(first, 10, &[host_key])).await.unwrap();
    let second = passed(key(2, 7), 2, None, vec![gpu(2)]);
    store.record_check(&shows(second, 20, &[host_key, machine])).await.unwrap();
    let again = passed(key(1, 7), 3, Some(1), vec![gpu(1)]);
    store.record_check(&shows(again, 30, &[host_key, machine])).await.unwrap();
    let found = store.claimants(&both, NOW).await.unwrap();
    assert_eq!(
        found,
        [claim(1, 10, host_key), claim(2, 20, host_key), claim(2, 20, machine), claim(1, 30, machine)],
        "each identity by itself: whoever takes one over late is late in it"
    );
    let fresh = store.claimants(&both, NOW + Millis(25)).await.unwrap();
    assert_eq!(fresh, [claim(1, 10, host_key), claim(1, 30, machine)], "the other has given them up");
    store.prune(NOW + Millis(25), 9, 9).await.unwrap();
    assert_eq!(store.claimants(&both, NOW).await.unwrap(), fresh);
}

async fn a_hold_lasts_until_a_check_says_otherwise_and_a_pair_shown_apart_may_prove_one_uuid(on: On) {
    let fixture = Fixture::new(on).await;
    let store = &fixture.store;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    store.record_discovery(miner(2), &[report(7)], NOW).await.unwrap();
    let [first, later] = [key(1, 7), key(2, 7)];
    store.record_check(&passed(first, 1, None, vec![gpu(1)])).await.unwrap();
    let uuid = BTreeSet::from([Identity::Gpu(gpu(1).uuid)]);
    let owner = store.claimants(&uuid, NOW).await.unwrap();
    assert_eq!(owner.iter().map(|claimant| claimant.node).collect::<Vec<_>>(), [first]);

    let reason = Reason::GpuClaimedElsewhere;
    let outcome = Outcome::Failed { reason, fault: Fault::Unknown };
    let held = |digest: u8, previous: Option<u8>| {
        let entry = passed(later, digest, previous, vec![]);
        let summary = VerdictSummary { outcome, ..entry.summary };
        CheckEntry { summary, held_by: Some(BTreeSet::from([first])), ..entry }
    };
    store.record_check(&held(2, None)).await.unwrap();
    let light = passed(later, 3, Some(2), vec![]);
    let summary = VerdictSummary { kind: CheckKind::Light, ..light.summary };
    store.record_check(&CheckEntry { summary, ..light }).await.unwrap();
    let fixture = fixture.reopened().await;
    let store = &fixture.store;
    let by = BTreeSet::from([first]);
    assert_eq!(store.holds(later).await.unwrap(), Holds { by: by.clone(), ..Holds::default() });

    let claim = passed(later, 4, Some(3), vec![gpu(1)]);
    let taken = store.record_check(&claim).await.unwrap();
    assert_eq!(taken, Recorded::GpuTaken { owner: first });
    let ended = CheckEntry { held_by: Some(BTreeSet::new()), apart_from: by.clone(), ..claim };
    assert_eq!(store.record_check(&ended).await.unwrap(), Recorded::Stored);
    assert_eq!(store.holds(later).await.unwrap(), Holds { by: BTreeSet::new(), apart: by });
    assert_eq!(
        store.holds(first).await.unwrap().apart,
        BTreeSet::from([later]),
        "a pair is known from both sides"
    );
    let again = passed(first, 5, Some(1), vec![gpu(1)]);
    assert_eq!(store.record_check(&again).await.unwrap(), Recorded::Stored, "the first keeps its name");
    assert_eq!(store.node(later).await.unwrap().unwrap().last_proof.unwrap().1, [paid(1)]);
    store.prune(NOW + Millis(50), 9, 9).await.unwrap();
    assert_eq!(store.holds(later).await.unwrap(), Holds::default());
}

async fn missed_deadlines_are_kept_with_and_without_a_verdict_and_no_unlisting_forgets_them(on: On) {
    let fixture = Fixture::new(on).await;
    fixture.store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    let missed = |times| {
        let one = |record: DeadlineRecord, _| {
            record.after(Observed::Missed(Control::Reachable), &Tests::default(), NOW)
        };
        (0..times).fold(DeadlineRecord::default(), one)
    };
    fixture.store.record_deadlines(key(1, 7), missed(1)).await.unwrap();
    let Fixture { store, place: _keep } = fixture.reopened().await;
    assert_eq!(store.node(key(1, 7)).await.unwrap().unwrap().deadlines, missed(1));
    store.record_discovery(miner(1), &[], NOW).await.unwrap();
    assert_eq!(store.prune_nodes(NOW, NOW, 10).await.unwrap(), 0, "dropping a node erases no miss");
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    store.record_check(&passed(key(1, 7), 1, None, vec![gpu(1)])).await.unwrap();
    assert_eq!(store.node(key(1, 7)).await.unwrap().unwrap().deadlines, missed(1));
    let second = CheckEntry { deadlines: Some(missed(2)), ..passed(key(1, 7), 2, Some(1), vec![gpu(1)]) };
    store.record_check(&second).await.unwrap();
    assert_eq!(store.node(key(1, 7)).await.unwrap().unwrap().deadlines, missed(2));
}

#[tokio::test]
async fn a_record_from_before_breaks_were_counted_is_read_as_one_without_breaks() {
    let old = Schema { migrations: &VALIDATOR_SCHEMA.migrations[..6], ..VALIDATOR_SCHEMA };
    let directory = tempfile::tempdir().unwrap();
    let url: DatabasePath =
        format!("sqlite:{}", directory.path().join("validator.db").display()).parse().unwrap();
    let database = Database::open(&url, &old, OpenOptions::default()).await.unwrap();
    let missed = Observed::Missed(Control::Reachable);
    let record = DeadlineRecord::default().after(missed, &Tests::default(), NOW);
    let store = ValidatorDatabase::new(database);
    let axon = "198.51.100.7:50051".parse().unwrap();
    store.observe_miners(&[SeenMiner { hotkey: miner(1), uid: Uid(1), axon }], NOW).await.unwrap();
    let mut bytes = record.encode();
    bytes.truncate(bytes.len() - 11);
    let of_misses = bytes.clone();
    let mut transaction = store.begin("store an old record").await.unwrap();
    let insert = query(
        "INSERT INTO nodes (miner, node, address, host_keys, first_seen, due_light, due_full, deadlines)
         VALUES ($1, $2, $3, $4, 0, 0, 0, $5)",
    );
    let (key, report) = (key(1, 7), report(7));
    let insert =
        insert.bind(key.miner.to_string()).bind(key.node.to_string()).bind(report.address.to_string());
    insert.bind(KEYS[0]).bind(of_misses).execute(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    drop(store);
    let store = ValidatorDatabase::open(&DatabaseUrl::Sqlite(url), OpenOptions::default()).await.unwrap();
    let read = store.node(key).await.unwrap().unwrap().deadlines;
    bytes.extend([0; 11]);
    assert_eq!(read.encode(), bytes, "as many misses, and no breaks");
}

async fn the_transcript_of_a_try_without_a_verdict_is_kept_as_long_as_any(on: On) {
    let fixture = Fixture::new(on).await;
    let store = &fixture.store;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    for n in 0..3u8 {
        let at = NOW + Millis(u64::from(n));
        store.record_transcript(key(1, 7), at, Digest::from_bytes([n; 32]), &[n]).await.unwrap();
    }
    store.prune(NOW, 2, 9).await.unwrap();
    let mut kept = Vec::new();
    for n in 0..3u8 {
        let part = store.transcript(Digest::from_bytes([n; 32]), 0, 9).await.unwrap();
        kept.push(part.map(|part| part.bytes));
    }
    assert_eq!(kept, [None, Some(vec![1]), Some(vec![2])]);
}

async fn a_transcript_is_read_part_by_part(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    store.record_discovery(miner(1), &[report(7)], NOW).await.unwrap();
    let (digest, bytes) = (Digest::from_bytes([1; 32]), (0..=255u8).cycle().take(1_000).collect::<Vec<_>>());
    store.record_transcript(key(1, 7), NOW, digest, &bytes).await.unwrap();
    let mut read = Vec::new();
    loop {
        let part = store.transcript(digest, read.len() as u64, 300).await.unwrap().unwrap();
        assert_eq!(part.size, 1_000);
        if part.bytes.is_empty() {
            break;
        }
        read.extend(part.bytes);
    }
    assert_eq!(read, bytes);
    assert_eq!(store.transcript(digest, 0, u32::MAX).await.unwrap().unwrap().bytes, bytes);
    assert!(store.transcript(digest, u64::MAX, u32::MAX).await.unwrap().unwrap().bytes.is_empty());
    assert_eq!(store.transcript(Digest::from_bytes([2; 32]), 0, 1).await.unwrap(), None);
}

async fn verdicts_of_an_id_come_in_pages_whoever_lists_it(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    for owner in [1, 2] {
        store.record_discovery(miner(owner), &[report(7), report(8)], NOW).await.unwrap();
    }
    let mut previous = [None, None];
    for digest in 1..=9u8 {
        let owner = 1 + digest % 2;
        let before = previous[usize::from(owner - 1)].replace(digest);
        let mut entry = passed(key(owner, 7), digest, before, vec![]);
        entry.verdict = vec![digest];
        // Three of one moment: when they were stored tells them apart.
        entry.summary.finished = NOW + Millis(u64::from(digest / 3));
        assert_eq!(store.record_check(&entry).await.unwrap(), Recorded::Stored);
    }
    let mut other = passed(key(1, 8), 10, None, vec![]);
    other.verdict = vec![10];
    other.summary.finished = NOW + Millis(1);
    assert_eq!(store.record_check(&other).await.unwrap(), Recorded::Stored);
    let readers = store.with_own_readers(1);
    for (of, expected) in [
        (VerdictsOf::Node(key(1, 7).node), &[9, 8, 7, 6, 5, 4, 3, 2, 1][..]),
        (VerdictsOf::Node(key(1, 8).node), &[10]),
        (VerdictsOf::Node(key(1, 9).node), &[]),
        (VerdictsOf::Miner(miner(1)), &[8, 6, 10, 4, 2]),
        (VerdictsOf::Miner(miner(2)), &[9, 7, 5, 3, 1]),
        (VerdictsOf::Miner(miner(3)), &[]),
    ] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = readers.verdict_page(of, after, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.place);
            seen.extend(page.into_iter().flat_map(|kept| kept.bytes));
        }
        assert_eq!(seen, expected, "{of:?}");
    }
}
