use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use basilica_ports::{
    Assignment, Axon, EntropyRng, JudgedNode, JudgedNodes, Metagraph, Neuron, ValidatorApiError,
};
use basilica_runtime_service::testing::{SeededEntropy, VirtualClock};
use basilica_types::{BasisPoints, BlockNumber, Coldkey, Ppm, Rao, Timestamp, Uid};
use basilica_verification::{CheckKind, Evidence, Fault, Outcome, Reason, Verdict};
use basilica_wire::{Keypair, Signed};
use codec::Encode as _;

use super::judging::NotIt;
use super::*;

const NODE: NodeId = NodeId::from_bytes([5; 16]);
const MINER: Hotkey = Hotkey::from_bytes([1; 32]);
const AT: Timestamp = Timestamp(1_000_000);

fn signer() -> Keypair {
    Keypair::from_seed(&[9; 32]).unwrap()
}

fn verdict(node: NodeId, miner: Hotkey, validator: Hotkey) -> Verdict {
    Verdict {
        miner,
        node,
        validator,
        previous: None,
        kind: CheckKind::Full,
        started: AT,
        finished: AT,
        outcome: Outcome::Failed { reason: Reason::CudaTooOld, fault: Fault::Node { confirmed: false } },
        gpus: Vec::new(),
        policy: Digest::from_bytes([0; 32]),
        evidence: Evidence {
            host_key: None,
            tries: 1,
            claims: Vec::new(),
            transcript: None,
            prover: Digest::from_bytes([0; 32]),
            measured: basilica_verification::Measured::default(),
            probes: basilica_verification::Probes::default(),
        },
    }
}

fn signed(verdict: Verdict) -> (Digest, Vec<u8>) {
    let signed = Signed::new(verdict, &signer(), EntropyRng(&*SeededEntropy::new(1)));
    (signed.digest(), signed.encode())
}

fn about() -> judging::About {
    judging::About { validator: signer().hotkey(), miner: MINER, node: NODE }
}

fn judged(last: Digest) -> JudgedNode {
    JudgedNode {
        node: NODE,
        listed: "available".to_owned(),
        gate: None,
        gate_explanation: None,
        score: BasisPoints::new(9_000).ok(),
        ramp: Ppm::new(1).ok(),
        banned_until: None,
        next_check: None,
        last: Some(last),
        last_full: Some(last),
    }
}

#[test]
fn a_verdict_is_shown_in_our_words_if_it_is_what_it_is_named() {
    let (digest, bytes) = signed(verdict(NODE, MINER, signer().hotkey()));
    let mut verdicts = Verdicts::default();
    verdicts.take(digest, &bytes, &about()).unwrap();
    let judgement = judging::judgement(signer().hotkey(), AT, &judged(digest), &verdicts);
    let last = judgement.last_full.unwrap();
    assert_eq!((last.passed, last.full, last.reason.as_str()), (false, true, "cuda_too_old"));
    assert_eq!(last.explanation.as_str(), Reason::CudaTooOld.explanation());
    assert_eq!(last.fault.unwrap().as_str(), "node_unconfirmed");
}

#[test]
fn a_verdict_of_another_or_about_another_is_shown_nowhere() {
    let own = signer().hotkey();
    let good = signed(verdict(NODE, MINER, own));
    let mut broken = good.clone();
    *broken.1.last_mut().unwrap() ^= 1;
    type Bad = ((Digest, Vec<u8>), judging::About, fn(&NotIt) -> bool);
    let cases: [Bad; 5] = [
        (broken, about(), |why| matches!(why, NotIt::Envelope(_))),
        ((Digest::from_bytes([3; 32]), good.1.clone()), about(), |why| matches!(why, NotIt::Other)),
        (good, judging::About { validator: MINER, ..about() }, |why| matches!(why, NotIt::Signer)),
        (signed(verdict(NODE, own, own)), about(), |why| matches!(why, NotIt::Node)),
        (signed(verdict(NodeId::from_bytes([6; 16]), MINER, own)), about(), |why| matches!(why, NotIt::Node)),
    ];
    for ((digest, bytes), about, is_why) in cases {
        let mut verdicts = Verdicts::default();
        let why = verdicts.take(digest, &bytes, &about).unwrap_err();
        assert!(is_why(&why), "{why:?}");
        assert_eq!(judging::judgement(own, AT, &judged(digest), &verdicts).last_full, None);
        // It is not asked for again as long as it is named.
        assert_eq!(verdicts.missing(&[(about.node, digest)]), []);
    }
}

#[test]
fn verdicts_are_fetched_a_few_at_a_time_and_once() {
    let named: Vec<(NodeId, Digest)> = (0..200).map(|n| (NODE, Digest::from_bytes([n; 32]))).collect();
    let twice: Vec<_> = named.iter().chain(&named).copied().collect();
    let mut verdicts = Verdicts::default();
    let mut rounds = 0;
    loop {
        let missing = verdicts.missing(&twice);
        if missing.is_empty() {
            break;
        }
        rounds += 1;
        for (_, digest) in missing {
            let _ = verdicts.take(digest, b"", &about());
        }
    }
    assert_eq!(rounds, 4);
    verdicts.keep(&named[..1]);
    assert_eq!(verdicts.missing(&named).len(), 64);
}

/// Answers from a list, last first, and writes down what it was asked.
#[derive(Default)]
struct Scripted {
    nodes: Mutex<Vec<Result<JudgedNodes, u16>>>,
    verdicts: BTreeMap<Digest, Vec<u8>>,
    asked: Mutex<Vec<String>>,
    /// Who never comes to an end with a verdict.
    drags: Vec<ValidatorPlace>,
}

#[async_trait]
impl ValidatorApi for Scripted {
    async fn nodes(&self, at: &ValidatorPlace, miner: Hotkey) -> Result<JudgedNodes, ValidatorApiError> {
        assert_eq!(miner, MINER);
        self.asked.lock().unwrap().push(at.to_string());
        let answer = self.nodes.lock().unwrap().pop().unwrap_or(Err(503));
        answer.map_err(|status| ValidatorApiError::Refused { place: at.clone(), status })
    }

    async fn verdict(
        &self,
        at: &ValidatorPlace,
        digest: Digest,
    ) -> Result<Option<Vec<u8>>, ValidatorApiError> {
        self.asked.lock().unwrap().push(format!("{at}/verdicts"));
        if self.drags.contains(at) {
            std::future::pending::<()>().await;
        }
        Ok(self.verdicts.get(&digest).cloned())
    }
}

struct Scene {
    api: Arc<Scripted>,
    clock: Arc<VirtualClock>,
    asker: Arc<Asker>,
    asked: BTreeMap<Hotkey, Asked>,
}

impl Scene {
    fn new(api: Scripted, network: Network, validators: BTreeMap<Hotkey, ValidatorPlace>) -> Self {
        let (api, clock) = (Arc::new(api), VirtualClock::new());
        let asker = Arc::new(Asker {
            api: Arc::clone(&api) as Arc<dyn ValidatorApi>,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            entropy: SeededEntropy::new(1),
            own: MINER,
            network,
            config: VerdictsConfig { enabled: true, validators },
        });
        Self { api, clock, asker, asked: BTreeMap::new() }
    }

    async fn round(&mut self, sessions: &[Hotkey]) -> Vec<String> {
        let (snapshot, nodes) = (snapshot(), BTreeSet::from([NODE]));
        let about = About { snapshot: &snapshot, sessions, nodes: &nodes };
        self.asker.round(&about, &mut self.asked, &|_| {}).await;
        std::mem::take(&mut *self.api.asked.lock().unwrap())
    }

    fn only(&self) -> &Asked {
        self.asked.values().next().unwrap()
    }
}

/// The validator that signs has all nodes, and an axon.
fn snapshot() -> Snapshot {
    let neuron = Neuron {
        uid: Uid(0),
        hotkey: signer().hotkey(),
        coldkey: Coldkey::from_bytes([0; 32]),
        stake: Rao(1),
        validator_permit: true,
        axon: Some(Axon { address: ([127, 0, 0, 2], 8080).into() }),
        last_update: BlockNumber(0),
    };
    let mut assignment = Assignment::default();
    assignment.insert(NODE, signer().hotkey());
    Snapshot {
        metagraph: Arc::new(Metagraph {
            netuid: NetUid(39),
            block: BlockNumber(1),
            at: Timestamp(0),
            tempo: 360,
            owner_hotkey: None,
            neurons: vec![neuron],
        }),
        fetched_at: Timestamp(0),
        fetched: Duration::ZERO,
        assignment: Arc::new(assignment),
    }
}

fn place(last: u8) -> ValidatorPlace {
    ValidatorPlace { host: Host::Ip([127, 0, 0, last].into()), port: 8080, addresses: AddressPolicy::Any }
}

fn answer(digest: Digest) -> Result<JudgedNodes, u16> {
    Ok(JudgedNodes { nodes: vec![judged(digest)], at: AT })
}

#[tokio::test]
async fn the_assigned_validator_is_asked_every_minute_and_each_verdict_is_fetched_once() {
    let (digest, bytes) = signed(verdict(NODE, MINER, signer().hotkey()));
    let api = Scripted {
        nodes: Mutex::new(vec![answer(digest), answer(digest)]),
        verdicts: BTreeMap::from([(digest, bytes)]),
        ..Scripted::default()
    };
    let mut scene = Scene::new(api, Network::Local, BTreeMap::new());
    assert_eq!(scene.round(&[]).await, ["http://127.0.0.2:8080", "http://127.0.0.2:8080/verdicts"]);
    let judgement = &scene.only().judgements[&NODE];
    assert_eq!(judgement.last_full.as_ref().unwrap().reason.as_str(), "cuda_too_old");
    assert!(scene.only().status.assigned && scene.only().status.error.is_none());
    assert_eq!(scene.round(&[]).await, [""; 0]);
    scene.clock.advance(EVERY);
    assert_eq!(scene.round(&[]).await, ["http://127.0.0.2:8080"]);
}

#[tokio::test]
async fn a_silent_validator_is_asked_less_and_less_and_what_it_said_stays() {
    let (digest, _) = signed(verdict(NODE, MINER, signer().hotkey()));
    let api = Scripted { nodes: Mutex::new(vec![answer(digest)]), ..Scripted::default() };
    let mut scene = Scene::new(api, Network::Local, BTreeMap::new());
    scene.round(&[]).await;
    let mut asked = 0;
    for _ in 0..120 {
        scene.clock.advance(EVERY);
        asked += scene.round(&[]).await.len();
    }
    assert!((5..30).contains(&asked), "two hours: {asked}");
    assert!(scene.only().status.error.as_ref().unwrap().as_str().contains("answers 503"));
    assert_eq!(scene.only().judgements.len(), 1);
}

#[tokio::test]
async fn the_operators_word_comes_before_the_chains_and_the_chains_reaches_public_addresses_only() {
    let own = signer().hotkey();
    let scene = Scene::new(Scripted::default(), Network::Finney, BTreeMap::new());
    let (_, place) = scene.asker.wanted(&snapshot(), &[])[&own].clone();
    assert_eq!(place.unwrap().addresses, AddressPolicy::PublicOnly);
    let named = ValidatorPlace {
        host: "validator.example".parse().unwrap(),
        port: 80,
        addresses: AddressPolicy::Any,
    };
    let scene = Scene::new(Scripted::default(), Network::Finney, BTreeMap::from([(own, named.clone())]));
    let other = Hotkey::from_bytes([8; 32]);
    let wanted = scene.asker.wanted(&snapshot(), &[other, own]);
    assert_eq!(wanted[&own], (true, Some(named)));
    // With a session and without a place it is shown, and asked nowhere.
    assert_eq!(wanted[&other], (false, None));
}

#[tokio::test]
async fn who_no_longer_has_anything_is_forgotten_and_many_are_not_asked() {
    let mut scene = Scene::new(Scripted::default(), Network::Finney, BTreeMap::new());
    let many: Vec<Hotkey> = (10..100).map(|n| Hotkey::from_bytes([n; 32])).collect();
    scene.round(&many).await;
    assert_eq!(scene.asked.len(), VALIDATORS);
    scene.round(&[]).await;
    assert_eq!(scene.asked.keys().collect::<Vec<_>>(), [&signer().hotkey()]);
}

#[tokio::test]
async fn nodes_of_others_are_neither_kept_nor_asked_about() {
    let (digest, _) = signed(verdict(NODE, MINER, signer().hotkey()));
    let foreign = |n: u16| {
        let mut id = [7; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        JudgedNode { node: NodeId::from_bytes(id), ..judged(digest) }
    };
    let nodes: Vec<JudgedNode> = (0..1_000).map(foreign).chain([judged(digest)]).collect();
    let api = Scripted { nodes: Mutex::new(vec![Ok(JudgedNodes { nodes, at: AT })]), ..Scripted::default() };
    let mut scene = Scene::new(api, Network::Local, BTreeMap::new());
    assert_eq!(scene.round(&[]).await.len(), 2, "the list, and one verdict");
    assert_eq!(scene.only().judgements.keys().collect::<Vec<_>>(), [&NODE]);
}

#[tokio::test]
async fn a_validator_that_drags_its_answer_out_ends_and_is_asked_less_and_less() {
    let (digest, _) = signed(verdict(NODE, MINER, signer().hotkey()));
    let nodes = Mutex::new(vec![answer(digest), answer(digest)]);
    let api = Scripted { nodes, drags: vec![place(2)], ..Scripted::default() };
    let mut scene = Scene::new(api, Network::Local, BTreeMap::new());
    let clock = Arc::clone(&scene.clock);
    let mut pauses = Vec::new();
    for _ in 0..2 {
        tokio::join!(scene.round(&[]), async {
            clock.sleepers(1).await;
            clock.advance(ASK);
        });
        let error = scene.only().status.error.clone().unwrap();
        assert!(error.as_str().contains("not done within 30"), "{error:?}");
        pauses.push(scene.only().due - clock.monotonic());
        clock.advance(RETRY_MOST);
    }
    assert!(pauses[1] > pauses[0], "{pauses:?}");
}

/// Validators beside the assigned one, at the places from 100 on.
fn others(count: u8) -> BTreeMap<Hotkey, ValidatorPlace> {
    (100..100 + count).map(|n| (Hotkey::from_bytes([n; 32]), place(n))).collect()
}

#[tokio::test]
async fn sixteen_that_drag_their_answers_out_take_the_time_of_four() {
    let (digest, _) = signed(verdict(NODE, MINER, signer().hotkey()));
    let others = others(15);
    let api = Scripted {
        nodes: Mutex::new((0..VALIDATORS).map(|_| answer(digest)).collect()),
        drags: others.values().cloned().chain([place(2)]).collect(),
        ..Scripted::default()
    };
    let sessions: Vec<Hotkey> = others.keys().copied().collect();
    let mut scene = Scene::new(api, Network::Local, others);
    let (clock, api) = (Arc::clone(&scene.clock), Arc::clone(&scene.api));
    let mut rounds = 0;
    {
        let mut round = std::pin::pin!(scene.round(&sessions));
        loop {
            tokio::select! {
                biased;
                asked = &mut round => {
                    assert_eq!(asked.len(), 2 * VALIDATORS, "each was asked, and for a verdict");
                    break;
                }
                () = clock.sleepers(AT_ONCE) => {}
            }
            rounds += 1;
            assert!(api.asked.lock().unwrap().len() <= 2 * AT_ONCE * rounds, "no more than so many at once");
            clock.advance(ASK);
        }
    }
    assert_eq!((rounds, clock.monotonic()), (4, 4 * ASK.as_duration()));
    assert!(scene.asked.values().all(|asked| asked.status.error.is_some()));
}

#[tokio::test]
async fn who_answers_is_heard_while_others_drag() {
    let (digest, _) = signed(verdict(NODE, MINER, signer().hotkey()));
    let others = others(8);
    let api = Scripted {
        nodes: Mutex::new((0..9).map(|_| answer(digest)).collect()),
        drags: others.values().take(AT_ONCE - 1).cloned().collect(),
        ..Scripted::default()
    };
    let sessions: Vec<Hotkey> = others.keys().copied().collect();
    let mut scene = Scene::new(api, Network::Local, others);
    let (snapshot, nodes) = (snapshot(), BTreeSet::from([NODE]));
    let about = About { snapshot: &snapshot, sessions: &sessions, nodes: &nodes };
    let heard = AtomicUsize::new(0);
    let each = |_: &BTreeMap<Hotkey, Asked>| _ = heard.fetch_add(1, Ordering::Relaxed);
    // Nobody moves the clock.
    tokio::select! {
        () = scene.asker.round(&about, &mut scene.asked, &each) => panic!("some are still asked"),
        () = async { while heard.load(Ordering::Relaxed) < 9 - (AT_ONCE - 1) { tokio::task::yield_now().await } } => {}
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_nobody_from_being_asked() {
    let (digest, _) = signed(verdict(NODE, MINER, signer().hotkey()));
    let api = Scripted {
        nodes: Mutex::new(vec![answer(digest), answer(digest), answer(digest)]),
        ..Scripted::default()
    };
    let mut scene = Scene::new(api, Network::Local, BTreeMap::new());
    assert_eq!(scene.round(&[]).await.len(), 2);
    for hours in [-5, 5] {
        scene.clock.set_wall_clock(hours * 3_600_000);
        assert_eq!(scene.round(&[]).await, [""; 0], "nor is anybody asked too soon");
        scene.clock.advance(EVERY);
        assert!(!scene.round(&[]).await.is_empty());
    }
}

#[tokio::test]
async fn what_one_said_is_told_before_the_next_is_asked() {
    let (digest, _) = signed(verdict(NODE, MINER, signer().hotkey()));
    let other = Hotkey::from_bytes([8; 32]);
    let named = BTreeMap::from([(signer().hotkey(), place(2)), (other, place(3))]);
    let api = Scripted { nodes: Mutex::new(vec![answer(digest), answer(digest)]), ..Scripted::default() };
    let mut scene = Scene::new(api, Network::Local, named);
    let (snapshot, nodes) = (snapshot(), BTreeSet::from([NODE]));
    let about = About { snapshot: &snapshot, sessions: &[other], nodes: &nodes };
    let told = Mutex::new(Vec::new());
    let count = |asked: &BTreeMap<Hotkey, Asked>| asked.values().filter(|a| a.status.asked.is_some()).count();
    scene.asker.round(&about, &mut scene.asked, &|asked| told.lock().unwrap().push(count(asked))).await;
    assert_eq!(*told.lock().unwrap(), [1, 2]);
}
