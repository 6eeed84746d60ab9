//! Who is on hold beside whom, over a real store.

use basilica_verification::fleet::Identity;

use super::*;

#[tokio::test]
async fn host_keys_and_machines_are_remembered_of_proofs_only_and_the_first_claimant_stays_first() {
    let [shared_key, machine] = [[1; 32], [2; 32]].map(Digest::from_bytes);
    let world = World::new();
    let first = world.judge_a_node().await;
    let shared = world.boot().await;
    let second = add_node(&shared, first).await;
    let facts = DeviceFacts::simulated(&"simulated-H100".parse().unwrap(), 0);
    let both = BTreeSet::from([Identity::HostKey(shared_key), Identity::MachineId(machine)]);
    let claimants = async || shared.ports.store.claimants(&both, Timestamp(0)).await.unwrap();
    let show = async |key: NodeKey, uuid: GpuUuid, finding: Finding| {
        world.clock.advance(Millis(1));
        let mut tried = tried(&shared, CheckKind::Full, finding.clone());
        tried.conclusion.host_key = Some(shared_key);
        if finding == Finding::Passed {
            tried.conclusion.gpus = vec![ProvenGpu { uuid, category: Category::H100 }];
            let print = Fingerprint { uuid, facts: facts.clone(), machine: Some(machine) };
            tried.conclusion.fingerprints = vec![print];
        }
        conclude(&shared, &node(&shared, key).await, tried).await.unwrap();
    };
    show(second, GPU, Finding::Passed).await;
    let outcome = Outcome::Failed { reason: Reason::GpuClaimedElsewhere, fault: Fault::Unknown };
    assert_eq!(node(&shared, second).await.last_verdict.unwrap().outcome, outcome);
    show(first, GPU, Finding::Failed(Reason::ProofOpeningMismatch)).await;
    assert_eq!(claimants().await, [], "who is on hold or fails claims nothing");

    show(first, GPU, Finding::Passed).await;
    show(second, GpuUuid::from_bytes([0xee; 16]), Finding::Passed).await;
    let outcome = Outcome::Failed { reason: Reason::IdentityOnHold, fault: Fault::Unknown };
    let held = node(&shared, second).await;
    assert_eq!(
        (held.last_verdict.unwrap().outcome, held.last_proof),
        (outcome, None),
        "unpaid, and nobody's fault"
    );
    assert_eq!(shared.ports.store.holds(second).await.unwrap().by, BTreeSet::from([first]));
    assert_eq!(
        claimants().await.iter().map(|claimant| claimant.node).collect::<BTreeSet<_>>(),
        BTreeSet::from([first])
    );
    show(first, GPU, Finding::Passed).await;
    assert_eq!(
        node(&shared, first).await.last_verdict.unwrap().outcome,
        Outcome::Passed,
        "the first is not touched"
    );
}

/// A passed full check of a node that shows this card on this machine, beside those that passed at once with it.
fn shows(shared: &Shared, uuid: GpuUuid, machine: u8, together: Option<&[NodeKey]>) -> Tried {
    let facts = DeviceFacts::simulated(&"simulated-H100".parse().unwrap(), 0);
    let mut tried = tried(shared, CheckKind::Full, Finding::Passed);
    tried.conclusion.gpus = vec![ProvenGpu { uuid, category: Category::H100 }];
    let machine = Some(Digest::from_bytes([machine; 32]));
    tried.conclusion.fingerprints = vec![Fingerprint { uuid, facts, machine }];
    tried.together = together.map(|nodes| nodes.iter().copied().collect());
    tried
}

#[tokio::test]
async fn a_hold_ends_when_both_pass_at_once_survives_a_restart_and_stays_ended() {
    const OTHER: GpuUuid = GpuUuid::from_bytes([0xee; 16]);
    // A copy of one image with a card of its own, and a card under another's name.
    for (uuid, reason) in [(OTHER, Reason::IdentityOnHold), (GPU, Reason::GpuClaimedElsewhere)] {
        let world = World::new();
        let first = world.judge_a_node().await;
        let shared = world.boot().await;
        let second = add_node(&shared, first).await;
        let check = async |shared: &Shared, key: NodeKey, uuid: GpuUuid, together: Option<&[NodeKey]>| {
            world.clock.advance(Millis::from_secs(60));
            let before = node(shared, key).await;
            conclude(shared, &before, shows(shared, uuid, 2, together)).await.unwrap();
            let after = node(shared, key).await;
            (after.last_verdict.unwrap().outcome, after.due.full.since(shared.now()))
        };
        let held = Outcome::Failed { reason, fault: Fault::Unknown };
        assert_eq!(check(&shared, first, GPU, None).await.0, Outcome::Passed);
        let (outcome, until_next) = check(&shared, second, uuid, None).await;
        assert_eq!(
            (outcome, until_next),
            (held, shared.settings.retries.interval),
            "the challenge at once comes soon"
        );
        drop(shared);
        let shared = world.boot().await;
        let (outcome, until_next) = check(&shared, second, uuid, Some(&[])).await;
        assert_eq!(
            (outcome, until_next),
            (held, shared.settings.intervals.full_after_fault),
            "it passed, the first did not"
        );
        assert_eq!(check(&shared, second, uuid, Some(&[first])).await.0, Outcome::Passed);
        assert!(
            node(&shared, second).await.last_proof.is_some_and(|(_, gpus)| gpus.len() == 1),
            "it is paid"
        );
        let holds = shared.ports.store.holds(second).await.unwrap();
        assert_eq!((holds.by, holds.apart), (BTreeSet::new(), BTreeSet::from([first])));
        for key in [first, second, first] {
            let shown = if key == first { GPU } else { uuid };
            assert_eq!(check(&shared, key, shown, None).await.0, Outcome::Passed, "asked alone again");
        }
        assert_eq!(node(&shared, first).await.last_proof.map(|(_, gpus)| gpus.len()), Some(1));
    }
}

#[tokio::test]
async fn a_card_that_a_processor_plays_stays_on_hold_whoever_passes_at_once_with_it() {
    let world = World::new();
    let first = world.judge_a_node().await;
    let shared = world.boot().await;
    let second = add_node(&shared, first).await;
    conclude(&shared, &node(&shared, first).await, shows(&shared, GPU, 2, None)).await.unwrap();
    let mut claim = shows(&shared, GPU, 3, Some(&[first]));
    claim.conclusion.claims =
        vec![ClaimedGpu { index: 0, uuid: GPU, class: "simulated-H100".parse().unwrap() }];
    conclude(&shared, &node(&shared, second).await, claim).await.unwrap();
    let outcome = Outcome::Failed { reason: Reason::GpuClaimedElsewhere, fault: Fault::Unknown };
    assert_eq!(node(&shared, second).await.last_verdict.unwrap().outcome, outcome);
}

#[tokio::test]
async fn whoever_shares_with_two_must_pass_at_once_with_both() {
    let world = World::new();
    let first = world.judge_a_node().await;
    let shared = world.boot().await;
    let second = add_node(&shared, first).await;
    let third = NodeKey { miner: Hotkey::from_bytes([8; 32]), ..second };
    let axon = "198.51.100.1:50051".parse().unwrap();
    let miner = SeenMiner { hotkey: third.miner, uid: Uid(3), axon };
    let report = NodeReport {
        node_id: third.node,
        address: node(&shared, second).await.address,
        status: NodeStatus::Available,
        hourly_rate_per_gpu: None,
        host_keys: node(&shared, second).await.host_keys,
    };
    shared.ports.store.observe_miners(&[miner], shared.now()).await.unwrap();
    shared.ports.store.record_discovery(third.miner, &[report], shared.now()).await.unwrap();
    let check = async |key: NodeKey, card: u8, together: &[NodeKey]| {
        world.clock.advance(Millis::from_secs(60));
        let uuid = GpuUuid::from_bytes([card; 16]);
        conclude(&shared, &node(&shared, key).await, shows(&shared, uuid, 2, Some(together))).await.unwrap();
        node(&shared, key).await.last_verdict.unwrap().outcome
    };
    let held = Outcome::Failed { reason: Reason::IdentityOnHold, fault: Fault::Unknown };
    assert_eq!(check(first, 0xa1, &[]).await, Outcome::Passed);
    assert_eq!(check(second, 0xa2, &[first]).await, Outcome::Passed);
    assert_eq!(check(third, 0xa3, &[first]).await, held, "it could share the second's card");
    assert_eq!(check(third, 0xa3, &[second]).await, Outcome::Passed, "one after the other will do");
}

/// A further registration, beside the first, which stays as it is.
async fn register(shared: &Shared, first: NodeKey, miner: Hotkey, address: &str) -> NodeKey {
    let known = node(shared, first).await;
    let axon = "198.51.100.1:50051".parse().unwrap();
    let seen = [first.miner, miner].into_iter().collect::<BTreeSet<_>>();
    let seen: Vec<SeenMiner> =
        (2..).zip(seen).map(|(uid, hotkey)| SeenMiner { hotkey, uid: Uid(uid), axon }).collect();
    shared.ports.store.observe_miners(&seen, shared.now()).await.unwrap();
    let address: NodeAddress = address.parse().unwrap();
    let own = (miner == first.miner).then(|| known.address.clone());
    let reports: Vec<NodeReport> = own
        .into_iter()
        .chain([address.clone()])
        .map(|address| NodeReport {
            node_id: address.node_id(),
            address,
            status: NodeStatus::Available,
            hourly_rate_per_gpu: None,
            host_keys: known.host_keys.clone(),
        })
        .collect();
    shared.ports.store.record_discovery(miner, &reports, shared.now()).await.unwrap();
    NodeKey { miner, node: address.node_id() }
}

#[tokio::test]
async fn one_host_registered_twice_is_paid_once_however_it_is_called() {
    const OTHER_MINER: Hotkey = Hotkey::from_bytes([8; 32]);
    for (address, miner) in [
        ("root@gpu.example.org:22", None),
        ("root@198.51.100.7:2222", None),
        ("ubuntu@198.51.100.7:22", None),
        ("root@[2606:4700::7]:22", None),
        ("root@198.51.100.7:22", Some(OTHER_MINER)),
        ("root@gpu.example.org:22", Some(OTHER_MINER)),
    ] {
        // The same card under its own name, and under a new one on the same machine.
        for (uuid, reason) in
            [(GPU, Reason::GpuClaimedElsewhere), (GpuUuid::from_bytes([0xee; 16]), Reason::IdentityOnHold)]
        {
            let world = World::new();
            let first = world.judge_a_node().await;
            let shared = world.boot().await;
            let second = register(&shared, first, miner.unwrap_or(first.miner), address).await;
            assert_ne!(second, first);
            let passes = async |key: NodeKey, uuid: GpuUuid| {
                world.clock.advance(Millis(1));
                conclude(&shared, &node(&shared, key).await, shows(&shared, uuid, 2, None)).await.unwrap();
            };
            passes(first, GPU).await;
            passes(second, uuid).await;
            let outcome = Outcome::Failed { reason, fault: Fault::Unknown };
            let held = node(&shared, second).await;
            let verdict = held.last_verdict.unwrap().outcome;
            assert_eq!((verdict, held.last_proof), (outcome, None), "{address} is on hold, unpaid");
            assert!(node(&shared, first).await.last_proof.is_some(), "the first stays paid");
            assert_eq!(shared.ports.store.holds(second).await.unwrap().by, BTreeSet::from([first]));
        }
    }
}
