//! Whose fault a failed check is, over simulated time and a real store.

mod engines;
mod holds;
mod images;
mod quick;

use std::collections::{BTreeMap, BTreeSet};

use basilica_ports::{HistoryEntry, NodeRecord, SeenMiner, VerdictsOf};
use basilica_proof::DeviceFacts;
use basilica_scoring::weights::{MinerPoints, node_points};
use basilica_types::{Category, Digest, GpuUuid, Hotkey, Millis, NodeAddress, Uid};
use basilica_verification::fingerprint::Fingerprint;
use basilica_verification::probe::{EngineState, GpuLook, Look};
use basilica_verification::{
    CheckKind, ClaimedGpu, CountUnproven, Fault, GpuRules, Measured, Plan, Probes, ProvenGpu, RetryRules,
    SignedVerdict, Transfer, TransferEnd,
};
use basilica_wire::Signed;
use basilica_wire::discovery::{NodeReport, NodeStatus};

use super::*;
use crate::score;
use crate::set_weights::tests::{GPU, World};

/// A try of this kind that ended now.
fn tried(shared: &Shared, kind: CheckKind, finding: Finding) -> Tried {
    let gpus = GpuRules::new(true, true, &Digest::from_bytes([9; 32]));
    let started = shared.now();
    let conclusion = Conclusion {
        plan: Plan { kind, nonce: [0; 32], gpus, probes: shared.settings.probes, started },
        finding,
        finished: started,
        host_key: None,
        claims: Vec::new(),
        difference: None,
        noted: Vec::new(),
        gpus: Vec::new(),
        fingerprints: Vec::new(),
        transcript: None,
        measured: Measured::default(),
        probes: Probes::default(),
        proving: false,
        after_nonce: false,
    };
    Tried { conclusion, transcript: None, room: None, access: None, together: None }
}

/// Fails light checks of a node as they come due until there is a verdict.
async fn fail_until_judged(world: &World, shared: &Shared, key: NodeKey, reason: Reason) -> NodeRecord {
    let before = node(shared, key).await.last_verdict;
    for _ in 0..10 {
        let now = node(shared, key).await;
        if now.last_verdict != before {
            return now;
        }
        world.clock.advance(now.due.light.since(shared.now()));
        world.chain.advance();
        let tried = tried(shared, CheckKind::Light, Finding::Failed(reason));
        conclude(shared, &now, tried).await.unwrap();
    }
    panic!("ten tries and no verdict");
}

async fn node(shared: &Shared, key: NodeKey) -> NodeRecord {
    shared.ports.store.node(key).await.unwrap().unwrap()
}

#[tokio::test]
async fn four_timeouts_beside_a_chain_that_answers_are_one_confirmed_fault() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    let start = shared.now();
    let judged = fail_until_judged(&world, &shared, key, Reason::ConnectionTimeout).await;
    let outcome = judged.last_verdict.unwrap().outcome;
    let fault = Fault::Node { confirmed: true };
    assert_eq!(outcome, Outcome::Failed { reason: Reason::ConnectionTimeout, fault });
    assert!(shared.now().since(start) >= Millis::from_secs(120));
    let history = shared.ports.store.history(key, start).await.unwrap();
    let [_, HistoryEntry::Check { started, finished, .. }] = history[..] else {
        panic!("the retries are one attempt: {history:?}");
    };
    assert_eq!((started, finished), (start, shared.now()));
    assert!(judged.due.light > shared.now() && judged.series.is_none());
}

#[tokio::test]
async fn while_nothing_else_answers_the_validator_blames_itself() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    world.chain.fall_silent();
    let judged = fail_until_judged(&world, &shared, key, Reason::ConnectionTimeout).await;
    let outcome = judged.last_verdict.unwrap().outcome;
    assert_eq!(outcome, Outcome::Failed { reason: Reason::ConnectionTimeout, fault: Fault::Validator });
}

#[tokio::test]
async fn a_chain_whose_head_stands_still_clears_the_node() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    let mut next = node(&shared, key).await;
    for _ in 0..=shared.settings.retries.retries {
        world.clock.advance(next.due.light.since(shared.now()));
        let failed = tried(&shared, CheckKind::Light, Finding::Failed(Reason::ConnectionTimeout));
        conclude(&shared, &next, failed).await.unwrap();
        next = node(&shared, key).await;
    }
    let outcome = Outcome::Failed { reason: Reason::ConnectionTimeout, fault: Fault::Unknown };
    assert_eq!(next.last_verdict.unwrap().outcome, outcome);
}

#[tokio::test]
async fn names_and_provers_need_witnesses_of_their_own() {
    for reason in [Reason::AddressUnresolved, Reason::ProverFailed] {
        let world = World::new();
        let key = world.judge_a_node().await;
        let shared = world.boot().await;
        let judged = fail_until_judged(&world, &shared, key, reason).await;
        assert_eq!(judged.last_verdict.unwrap().outcome, Outcome::Failed { reason, fault: Fault::Unknown });
    }
}

#[tokio::test]
async fn old_failures_and_one_new_glitch_are_not_one_outage() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    for _ in 0..3 {
        let now = node(&shared, key).await;
        world.clock.advance(now.due.light.since(shared.now()));
        world.chain.advance();
        let failed = tried(&shared, CheckKind::Light, Finding::Failed(Reason::ConnectionLost));
        conclude(&shared, &now, failed).await.unwrap();
    }
    let before = node(&shared, key).await;
    assert_eq!(before.series.unwrap().1.failed, 3);
    world.clock.advance(Millis::from_secs(6 * 3600));
    world.chain.advance();
    let glitch = tried(&shared, CheckKind::Light, Finding::Failed(Reason::ConnectionLost));
    conclude(&shared, &before, glitch).await.unwrap();
    let after = node(&shared, key).await;
    assert_eq!((after.last_verdict, after.series.unwrap().1.failed), (before.last_verdict, 1));
}

/// A second node of the same miner; it has passed nothing yet.
async fn add_node(shared: &Shared, owner: NodeKey) -> NodeKey {
    let address: NodeAddress = "root@198.51.100.8:22".parse().unwrap();
    let key = NodeKey { miner: owner.miner, node: address.node_id() };
    let other: NodeAddress = "root@198.51.100.7:22".parse().unwrap();
    let keys = node(shared, owner).await.host_keys;
    let reports = [other, address].map(|address| NodeReport {
        node_id: address.node_id(),
        address,
        status: NodeStatus::Available,
        hourly_rate_per_gpu: None,
        host_keys: keys.clone(),
    });
    shared.ports.store.record_discovery(owner.miner, &reports, shared.now()).await.unwrap();
    key
}

/// The opening of this node's proof is cut off, and then it passes.
async fn cut_off_and_pass(world: &World, shared: &Shared, key: NodeKey) -> Option<Outcome> {
    world.chain.advance();
    let mut cut = tried(shared, CheckKind::Full, Finding::Failed(Reason::ProofIncomplete));
    cut.conclusion.after_nonce = true;
    let before = node(shared, key).await;
    conclude(shared, &before, cut).await.unwrap();
    let judged = node(shared, key).await;
    if judged.last_verdict != before.last_verdict {
        return judged.last_verdict.map(|verdict| verdict.outcome);
    }
    world.clock.advance(shared.settings.retries.interval);
    let passed = tried(shared, CheckKind::Full, Finding::Passed);
    conclude(shared, &judged, passed).await.unwrap();
    world.clock.advance(Millis::from_secs(6 * 3600));
    None
}

#[tokio::test]
async fn a_prover_that_stops_whenever_it_would_be_caught_is_caught_the_third_time() {
    let world = World::new();
    let owner = world.judge_a_node().await;
    let shared = world.boot().await;
    let key = add_node(&shared, owner).await;
    assert_eq!(cut_off_and_pass(&world, &shared, key).await, None);
    assert_eq!(cut_off_and_pass(&world, &shared, key).await, None);
    let outcome = cut_off_and_pass(&world, &shared, key).await;
    let fault = Fault::Node { confirmed: true };
    assert_eq!(outcome, Some(Outcome::Failed { reason: Reason::ProofIncompleteAfterNonce, fault }));
}

#[tokio::test]
async fn openings_cut_off_while_nothing_else_answers_do_not_count() {
    let world = World::new();
    let owner = world.judge_a_node().await;
    let shared = world.boot().await;
    let key = add_node(&shared, owner).await;
    world.chain.fall_silent();
    for _ in 0..4 {
        assert_eq!(cut_off_and_pass(&world, &shared, key).await, None);
    }
}

#[tokio::test]
async fn a_series_goes_on_after_a_restart_and_a_success_ends_it_without_a_trace() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let first = world.boot().await;
    let failed = tried(&first, CheckKind::Light, Finding::Failed(Reason::ConnectionLost));
    conclude(&first, &node(&first, key).await, failed).await.unwrap();
    drop(first);
    let second = world.boot().await;
    let waiting = node(&second, key).await;
    assert_eq!(waiting.series.map(|(kind, series)| (kind, series.failed)), Some((CheckKind::Light, 1)));
    let passed = tried(&second, CheckKind::Light, Finding::Passed);
    conclude(&second, &waiting, passed).await.unwrap();
    let after = node(&second, key).await;
    assert_eq!((after.series, after.last_verdict.unwrap().outcome), (None, Outcome::Passed));
}

#[tokio::test]
async fn a_rejected_proof_is_judged_at_once_in_a_verdict_that_links_to_the_last() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    let before = node(&shared, key).await;
    let mut rejected = tried(&shared, CheckKind::Full, Finding::Failed(Reason::ProofOpeningMismatch));
    rejected.transcript = Some((Digest::from_bytes([8; 32]), vec![1, 2, 3]));
    let transfer = Transfer { asked: 9, received: 8, took_us: 7, end: TransferEnd::CutShort };
    rejected.conclusion.measured.network = Some(transfer);
    conclude(&shared, &before, rejected).await.unwrap();
    let newest = newest_verdict(&shared, key).await;
    let signed = SignedVerdict::decode_verified(&newest).unwrap();
    let verdict = signed.content();
    let fault = Fault::Node { confirmed: true };
    assert_eq!(verdict.outcome, Outcome::Failed { reason: Reason::ProofOpeningMismatch, fault });
    assert_eq!(verdict.evidence.measured.network, Some(transfer), "what was measured is signed");
    assert_eq!(verdict.previous, before.last_verdict.map(|verdict| verdict.digest));
    assert_eq!(
        (verdict.validator, signed.signer()),
        (shared.ports.signer.hotkey(), shared.ports.signer.hotkey())
    );
    assert!(shared.ports.store.transcript(Digest::from_bytes([8; 32]), 0, 9).await.unwrap().is_some());
}

async fn newest_verdict(shared: &Shared, key: NodeKey) -> Vec<u8> {
    let page = shared.ports.store.verdict_page(VerdictsOf::Node(key.node), None, 1).await;
    page.unwrap().remove(0).bytes
}

#[tokio::test]
async fn a_gpu_that_another_node_proved_puts_the_later_claimant_on_hold() {
    let world = World::new();
    let owner = world.judge_a_node().await;
    let shared = world.boot().await;
    let key = add_node(&shared, owner).await;
    let mut claim = tried(&shared, CheckKind::Full, Finding::Passed);
    claim.conclusion.gpus = vec![ProvenGpu { uuid: GPU, category: Category::H100 }];
    conclude(&shared, &node(&shared, key).await, claim).await.unwrap();
    let held = node(&shared, key).await;
    let outcome = Outcome::Failed { reason: Reason::GpuClaimedElsewhere, fault: Fault::Unknown };
    assert_eq!((held.last_verdict.unwrap().outcome, held.last_proof), (outcome, None));
}

#[tokio::test]
async fn a_node_whose_count_is_unproven_passes_is_paid_for_what_counts_and_keeps_what_it_claimed() {
    const SECOND: GpuUuid = GpuUuid::from_bytes([0xee; 16]);
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    let facts = DeviceFacts::simulated(&"simulated-H100".parse().unwrap(), 0);
    let claim = |(index, uuid)| ClaimedGpu { index, uuid, class: "NVIDIA H100 80GB HBM3".parse().unwrap() };
    let print = |uuid| Fingerprint { uuid, facts: facts.clone(), machine: None };
    let mut passed = tried(&shared, CheckKind::Full, Finding::Passed);
    passed.conclusion.claims = (0..).zip([GPU, SECOND]).map(claim).collect();
    passed.conclusion.gpus = vec![ProvenGpu { uuid: GPU, category: Category::H100 }];
    passed.conclusion.fingerprints = [GPU, SECOND].map(print).to_vec();
    conclude(&shared, &node(&shared, key).await, passed).await.unwrap();

    let newest = newest_verdict(&shared, key).await;
    let signed = Signed::<Verdict>::decode_verified(&newest).unwrap();
    assert_eq!(signed.content().unproven(), Some(CountUnproven { claimed: 2, paid: 1 }));
    let judged = node(&shared, key).await;
    let standing = judged.standing.clone().unwrap();
    let uids = BTreeMap::from([(key.miner, Uid(5))]);
    let scores = shared.ports.store.scores().await.unwrap();
    let points = score::points(&scores.nodes, &uids, &shared.settings, shared.now());
    let one = node_points(standing.score, 1, standing.multiplier);
    assert!(one > 0);
    assert_eq!(points, [MinerPoints { uid: Uid(5), category: Category::H100, points: one }]);

    let other = add_node(&shared, key).await;
    let mut claim = tried(&shared, CheckKind::Full, Finding::Passed);
    claim.conclusion.gpus = vec![ProvenGpu { uuid: SECOND, category: Category::H100 }];
    conclude(&shared, &node(&shared, other).await, claim).await.unwrap();
    let outcome = Outcome::Failed { reason: Reason::GpuClaimedElsewhere, fault: Fault::Unknown };
    assert_eq!(node(&shared, other).await.last_verdict.unwrap().outcome, outcome);
}

#[tokio::test]
async fn a_gpu_that_is_not_what_it_was_is_held_without_a_fault_and_without_pay() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    let facts = DeviceFacts::simulated(&"simulated-H100".parse().unwrap(), 0);
    let mut passed = tried(&shared, CheckKind::Full, Finding::Passed);
    passed.conclusion.gpus = vec![ProvenGpu { uuid: GPU, category: Category::H100 }];
    let first = Fingerprint { uuid: GPU, facts, machine: None };
    passed.conclusion.fingerprints = vec![first.clone()];
    conclude(&shared, &node(&shared, key).await, passed).await.unwrap();
    assert_eq!(shared.ports.store.fingerprints(key, &[GPU]).await.unwrap(), std::slice::from_ref(&first));

    let reason = Reason::GpuFingerprintChanged;
    let changed = tried(&shared, CheckKind::Full, Finding::Failed(reason));
    conclude(&shared, &node(&shared, key).await, changed).await.unwrap();
    let held = node(&shared, key).await;
    assert_eq!(held.last_verdict.unwrap().outcome, Outcome::Failed { reason, fault: Fault::Unknown });
    assert!(held.last_proof.is_some_and(|(_, gpus)| gpus.is_empty()), "it is paid for nothing");
    assert_eq!(shared.ports.store.fingerprints(key, &[GPU]).await.unwrap(), [first], "and not forgotten");
}

/// A full check of a node that ended now: late, or in time.
async fn prove(world: &World, shared: &Shared, key: NodeKey, in_time: bool) -> Option<Outcome> {
    let finding = if in_time { Finding::Passed } else { Finding::Failed(Reason::ProofDeadlineMissed) };
    end_proof(world, shared, key, finding).await
}

/// A proof of a node ends so, and what its check comes to, if it is concluded.
async fn end_proof(world: &World, shared: &Shared, key: NodeKey, finding: Finding) -> Option<Outcome> {
    world.chain.advance();
    let mut tried = tried(shared, CheckKind::Full, finding);
    tried.conclusion.proving = true;
    tried.conclusion.transcript = Some(Digest::from_bytes([8; 32]));
    let before = node(shared, key).await;
    conclude(shared, &before, tried).await.unwrap();
    let after = node(shared, key).await.last_verdict;
    // Three of these are the span that a confirmation takes.
    world.clock.advance(Millis(shared.settings.retries.span.0 / 3));
    after.filter(|_| after != before.last_verdict).map(|verdict| verdict.outcome)
}

#[tokio::test]
async fn a_node_that_misses_again_and_again_is_found_late_whatever_passes_in_between() {
    let world = World::new();
    let owner = world.judge_a_node().await;
    let mut shared = world.boot().await;
    let key = add_node(&shared, owner).await;
    let late =
        Outcome::Failed { reason: Reason::ProofDeadlineMissed, fault: Fault::Node { confirmed: true } };
    for _ in 0..2 {
        assert_eq!(prove(&world, &shared, key, false).await, None);
        assert_eq!(prove(&world, &shared, key, true).await, Some(Outcome::Passed));
        world.clock.advance(Millis::from_secs(6 * 3600));
        // The record is the store's: a restart forgets nothing.
        shared = world.boot().await;
    }
    assert_eq!(prove(&world, &shared, key, false).await, Some(late), "the third miss");
    let found = node(&shared, key).await;
    assert_eq!(found.series, None);
    assert_eq!(prove(&world, &shared, key, false).await, None, "what follows begins anew");
}

#[tokio::test]
async fn three_misses_close_together_wait_for_the_span_and_a_pass_then_does_not_help() {
    let world = World::new();
    let owner = world.judge_a_node().await;
    let shared = world.boot().await;
    let key = add_node(&shared, owner).await;
    for _ in 0..3 {
        assert_eq!(prove(&world, &shared, key, false).await, None);
    }
    let late =
        Outcome::Failed { reason: Reason::ProofDeadlineMissed, fault: Fault::Node { confirmed: true } };
    assert_eq!(prove(&world, &shared, key, true).await, Some(late));
    assert_eq!(node(&shared, key).await.last_proof, None, "a late proof counts for nothing");
}

#[tokio::test]
async fn misses_while_nothing_else_is_seen_to_work_find_nobody_late() {
    let world = World::new();
    let owner = world.judge_a_node().await;
    let shared = world.boot().await;
    let key = add_node(&shared, owner).await;
    world.chain.fall_silent();
    for _ in 0..9 {
        let outcome = prove(&world, &shared, key, false).await;
        assert!(!matches!(outcome, Some(Outcome::Failed { fault: Fault::Node { .. }, .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn what_a_late_provers_bytes_prove_is_said_by_its_own_name() {
    let world = World::new();
    let owner = world.judge_a_node().await;
    let shared = world.boot().await;
    let key = add_node(&shared, owner).await;
    for _ in 0..3 {
        assert_eq!(prove(&world, &shared, key, false).await, None);
    }
    let reason = Reason::ProofOpeningMismatch;
    let wrong = end_proof(&world, &shared, key, Finding::Failed(reason)).await;
    assert_eq!(wrong, Some(Outcome::Failed { reason, fault: Fault::Node { confirmed: true } }));
    let late =
        Outcome::Failed { reason: Reason::ProofDeadlineMissed, fault: Fault::Node { confirmed: true } };
    assert_eq!(prove(&world, &shared, key, true).await, Some(late), "and the misses are not forgotten");
}

#[tokio::test]
async fn a_prover_that_hangs_up_whenever_it_would_be_late_is_found_whatever_passes_in_between() {
    let world = World::new();
    let owner = world.judge_a_node().await;
    let mut shared = world.boot().await;
    let key = add_node(&shared, owner).await;
    let found = Outcome::Failed { reason: Reason::ProofBrokenOff, fault: Fault::Node { confirmed: true } };
    let ends = [Reason::ConnectionLost, Reason::ProofIncomplete, Reason::ProofRefused];
    for end in ends {
        assert_eq!(end_proof(&world, &shared, key, Finding::Failed(end)).await, None, "{end}");
        assert_eq!(prove(&world, &shared, key, true).await, Some(Outcome::Passed));
        world.clock.advance(Millis::from_secs(6 * 3600));
        // The record is the store's: a restart forgets nothing.
        shared = world.boot().await;
    }
    let fourth = end_proof(&world, &shared, key, Finding::Failed(Reason::ProverAltered)).await;
    assert_eq!(fourth, Some(found));
    let fifth = end_proof(&world, &shared, key, Finding::Failed(Reason::ConnectionLost)).await;
    assert_eq!(fifth, None, "what follows begins anew");
}

#[tokio::test]
async fn being_busy_is_no_fault_and_being_busy_again_and_again_is_one() {
    let world = World::new();
    let owner = world.judge_a_node().await;
    let shared = world.boot().await;
    let key = add_node(&shared, owner).await;
    let busy = Outcome::Failed { reason: Reason::ProofBusy, fault: Fault::Unknown };
    for _ in 0..3 {
        let ended = end_proof(&world, &shared, key, Finding::Failed(Reason::ProofBusy)).await;
        assert_eq!(ended, Some(busy));
        world.clock.advance(Millis::from_secs(1800));
    }
    let fourth = end_proof(&world, &shared, key, Finding::Failed(Reason::ProofBusy)).await;
    let fault = Fault::Node { confirmed: true };
    assert_eq!(fourth, Some(Outcome::Failed { reason: Reason::ProofBrokenOff, fault }));
}

#[tokio::test]
async fn a_proof_that_was_broken_off_keeps_its_transcript_though_it_is_retried() {
    let world = World::new();
    let owner = world.judge_a_node().await;
    let shared = world.boot().await;
    let key = add_node(&shared, owner).await;
    let mut cut = tried(&shared, CheckKind::Full, Finding::Failed(Reason::ConnectionLost));
    let digest = Digest::from_bytes([7; 32]);
    cut.conclusion.proving = true;
    cut.transcript = Some((digest, vec![1, 2, 3]));
    world.chain.advance();
    conclude(&shared, &node(&shared, key).await, cut).await.unwrap();
    let waiting = node(&shared, key).await;
    assert!(waiting.series.is_some());
    let wait = waiting.due.full.since(shared.now());
    let RetryRules { interval, .. } = shared.settings.retries;
    assert!(wait >= interval && wait.0 < interval.0 * 3 / 2, "{wait}");
    let kept = shared.ports.store.transcript(digest, 0, 9).await.unwrap();
    assert_eq!(kept.map(|part| part.bytes), Some(vec![1, 2, 3]));
}

#[tokio::test]
async fn breaks_while_nothing_else_is_seen_to_work_find_nobody() {
    let world = World::new();
    let owner = world.judge_a_node().await;
    let shared = world.boot().await;
    let key = add_node(&shared, owner).await;
    world.chain.fall_silent();
    for _ in 0..9 {
        let outcome = end_proof(&world, &shared, key, Finding::Failed(Reason::ProofIncomplete)).await;
        assert!(!matches!(outcome, Some(Outcome::Failed { fault: Fault::Node { .. }, .. })), "{outcome:?}");
    }
}

/// The node passes a full check in which it claimed these GPUs.
pub(crate) async fn passes_with_claims(shared: &Shared, key: NodeKey, gpus: &[GpuUuid]) {
    let mut passed = tried(shared, CheckKind::Full, Finding::Passed);
    let class = || "simulated-H100".parse().unwrap();
    let claim = |(index, uuid): (u16, &GpuUuid)| ClaimedGpu { index, uuid: *uuid, class: class() };
    passed.conclusion.claims = (0..).zip(gpus).map(claim).collect();
    conclude(shared, &node(shared, key).await, passed).await.unwrap();
}

/// A light check of the node that saw these GPUs.
async fn looks(shared: &Shared, key: NodeKey, gpus: GpuLook) -> NodeRecord {
    let finding = gpus.failure().map_or(Finding::Passed, Finding::Failed);
    let mut light = tried(shared, CheckKind::Light, finding);
    let look = Look { engine: EngineState::NotAsked, unknown_rentals: 0, gpus };
    light.conclusion.probes.look = Some(look);
    conclude(shared, &node(shared, key).await, light).await.unwrap();
    node(shared, key).await
}

#[tokio::test]
async fn other_gpus_than_proved_have_a_full_check_look_at_once_and_convict_nobody() {
    let gone = || GpuLook::Differs { missing: BTreeSet::from([GPU]), additional: BTreeSet::new() };
    for (gpus, at_once) in [(gone(), true), (GpuLook::ProverMissing, true), (GpuLook::Same, false)] {
        let world = World::new();
        let key = world.judge_a_node().await;
        let shared = world.boot().await;
        let passed = tried(&shared, CheckKind::Full, Finding::Passed);
        conclude(&shared, &node(&shared, key).await, passed).await.unwrap();
        world.clock.advance(Millis::from_secs(600));
        let judged = looks(&shared, key, gpus.clone()).await;
        assert_eq!(judged.due.full <= shared.now(), at_once, "{gpus:?}");
        if let Some(reason) = gpus.failure() {
            let fault = Fault::Node { confirmed: false };
            assert_eq!(judged.last_verdict.unwrap().outcome, Outcome::Failed { reason, fault });
        }
        assert!(judged.last_proof.is_some(), "what was proved stays until the full check tells");
    }
}

#[tokio::test]
async fn while_full_checks_fail_other_gpus_hurry_nothing() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    let failed = tried(&shared, CheckKind::Full, Finding::Failed(Reason::NoGpu));
    conclude(&shared, &node(&shared, key).await, failed).await.unwrap();
    let due = node(&shared, key).await.due.full;
    let gone = GpuLook::Differs { missing: BTreeSet::from([GPU]), additional: BTreeSet::new() };
    let judged = looks(&shared, key, gone).await;
    assert_eq!((judged.due.full, due > shared.now()), (due, true));
}
