//! Timelock encryption and reveal rounds, judged by the public SDK's own binary.
#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use basilica_ports::{Beacon, BeaconClock, Consensus, EpochClock, WeightRules};
use basilica_timelock::{
    BeaconKey, CIPHERTEXT_OVERHEAD, Envelope, Round, RoundSignature, WeightsPayload, decrypt, encrypt,
};
use basilica_types::{BlockNumber, Hotkey, MechanismId, Millis, NetUid, Rao, Timestamp};
use codec::{Decode, Encode};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_json::{Value, json};

/// quicknet's signature of its round 1000: the one round that can be opened without the network.
const ROUND_1000: &str =
    "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39";

fn ask_the_sdk(question: &Value) -> Value {
    let python = std::env::var_os("BASILICA_SDK_PYTHON")
        .expect("BASILICA_SDK_PYTHON names a Python with bittensor==11.3.0; `cargo xtask test` makes one");
    let mut peer = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/timelock_peer.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the Python of BASILICA_SDK_PYTHON runs");
    peer.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = peer.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the peer prints JSON")
}

fn hex_of(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

#[test]
fn the_sdk_opens_our_ciphertexts_and_we_open_the_sdks() {
    let mut rng = ChaCha20Rng::seed_from_u64(39);
    let signature = RoundSignature::from_bytes(&hex::decode(ROUND_1000).unwrap()).unwrap();
    let hotkey = Hotkey::from_bytes([3; 32]);
    let weights = WeightsPayload::new(&hotkey, (0..256).collect(), vec![257; 256], 1).to_bytes();
    let plaintexts = [Vec::new(), b"x".to_vec(), weights, vec![0xa5; 4_000]];
    let envelopes: Vec<String> = plaintexts
        .iter()
        .map(|plaintext| {
            let round = Round(1_000);
            let ciphertext = encrypt(&BeaconKey::quicknet(), round, plaintext, &mut rng).unwrap();
            hex::encode(Envelope { ciphertext, round }.encode())
        })
        .collect();
    let answer = ask_the_sdk(&json!({
        "signature": ROUND_1000,
        "round": 1_000,
        "open": envelopes,
        "seal": plaintexts.iter().map(hex::encode).collect::<Vec<_>>(),
        "clocks": [],
    }));
    for (index, plaintext) in plaintexts.iter().enumerate() {
        assert_eq!(hex_of(&answer["opened"][index]), *plaintext, "ours, opened by the SDK");
        let sealed = Envelope::decode(&mut &hex_of(&answer["sealed"][index])[..]).unwrap();
        assert_eq!(sealed.round, Round(1_000));
        assert_eq!(decrypt(&sealed.ciphertext, &signature).unwrap(), *plaintext, "the SDK's, opened by us");
    }
}

const SUBNET: NetUid = NetUid(39);
/// Blocks between the first reveal block and the SDK's target, for the beacon's signature to arrive on chain.
const SDK_MARGIN: u64 = 3;

/// One subnet's clock, head, reveal period and block time.
#[derive(Debug)]
struct Moment {
    last_epoch: u64,
    pending_at: u64,
    index: u64,
    since_last_step: u64,
    tempo: u16,
    head: u64,
    period: u64,
    block_time: Millis,
}

impl Moment {
    fn clock(&self) -> EpochClock {
        EpochClock::Stateful {
            last_epoch: BlockNumber(self.last_epoch),
            pending_at: BlockNumber(self.pending_at),
            index: self.index,
            since_last_step: self.since_last_step,
            tempo: self.tempo,
        }
    }

    /// The round that the SDK's formula gives for the first reveal block that our clock predicts.
    fn by_the_sdks_formula(&self, now: Timestamp) -> u64 {
        let margin = Millis(SDK_MARGIN * self.block_time.0);
        let target = now.saturating_add(self.until_revealed()).saturating_add(margin);
        let quicknet = BeaconClock::QUICKNET;
        target.since(quicknet.genesis).0 / quicknet.period.0
    }

    /// Until the first block whose reveals open what is committed in the next one.
    fn until_revealed(&self) -> Millis {
        let first = self.clock().first_reveal_block(BlockNumber(self.head), SUBNET, self.period).unwrap();
        Millis((first.0 - self.head) * self.block_time.0)
    }

    /// The round that a validator of ours chooses, where the chain has this newest round or none yet.
    fn by_our_plan(&self, now: Timestamp, last_round: Option<u64>) -> u64 {
        let rules = WeightRules {
            block: BlockNumber(self.head),
            netuid: SUBNET,
            mechanism: MechanismId(0),
            mechanism_exists: true,
            neurons: 0,
            uids: BTreeMap::new(),
            own: None,
            stake_threshold: Rao(0),
            version_key: 0,
            rate_limit: 0,
            min_weights: 0,
            max_weight: u16::MAX,
            consensus: Consensus::Yuma,
            commit_reveal: None,
            reveal_period: self.period,
            open_commits: Vec::new(),
            epochs: self.clock(),
            beacon: Some(Beacon { public_key: Vec::new(), clock: BeaconClock::QUICKNET, last_round }),
            block_time: self.block_time,
        };
        rules.reveal_round(now).unwrap()
    }
}

fn one_of<'a>(below: &mut impl FnMut(u64) -> u64, choices: &'a [u64]) -> &'a u64 {
    &choices[usize::try_from(below(choices.len() as u64)).unwrap()]
}

fn moments(count: usize) -> Vec<Moment> {
    let mut rng = ChaCha20Rng::seed_from_u64(40);
    let mut below = |bound: u64| rng.next_u64() % bound;
    (0..count)
        .map(|_| {
            let longest_tempo = *one_of(&mut below, &[5, 400, 65_535]);
            let tempo = u16::try_from(1 + below(longest_tempo)).unwrap();
            let last_epoch = below(8_000_000);
            let head = last_epoch + below(u64::from(tempo) + 20);
            let pending_at = if below(3) == 0 { (head + below(500)).saturating_sub(20) } else { 0 };
            let most_blocks = *one_of(&mut below, &[20, 51_000]);
            let index = below(50_000);
            let since_last_step = below(most_blocks);
            let block_time = Millis(*one_of(&mut below, &[250, 1_000, 12_000]));
            let period = 1 + below(4);
            Moment { last_epoch, pending_at, index, since_last_step, tempo, head, period, block_time }
        })
        .collect()
}

#[test]
fn our_reveal_rounds_follow_the_sdks() {
    let moments = moments(600);
    let hotkey = Hotkey::from_bytes([3; 32]);
    let clocks: Vec<Value> = moments
        .iter()
        .map(|moment| {
            json!({
                "uids": [1, 2], "values": [3, 4], "version_key": 5, "hotkey": hex::encode(hotkey.as_bytes()),
                "last_epoch_block": moment.last_epoch,
                "pending_epoch_at": moment.pending_at,
                "epoch_index": moment.index,
                "blocks_since_last_step": moment.since_last_step,
                "tempo": moment.tempo,
                "head": moment.head,
                "reveal_period": moment.period,
                "block_time_ms": moment.block_time.0,
            })
        })
        .collect();
    let answer = ask_the_sdk(&json!({
        "signature": ROUND_1000, "round": 1_000, "open": [], "seal": [], "clocks": clocks,
    }));
    let length =
        WeightsPayload::new(&hotkey, vec![1, 2], vec![3, 4], 5).to_bytes().len() + CIPHERTEXT_OVERHEAD;
    let chosen = answer["chosen"].as_array().unwrap();
    assert_eq!(chosen.len(), moments.len());
    for (moment, chosen) in moments.iter().zip(chosen) {
        let at = |when: &str| Timestamp(chosen[when].as_i64().unwrap());
        let theirs = chosen["round"].as_u64().unwrap();
        // A round may begin between the two looks at the wall clock.
        let formula =
            moment.by_the_sdks_formula(at("before_ms"))..=moment.by_the_sdks_formula(at("after_ms"));
        assert!(formula.contains(&theirs), "{moment:?}: ours {formula:?}, theirs {theirs}");
        // Theirs is out just before their target, ours at it or after it, and never before the epoch begins; short epochs
        // have a smaller margin.
        for stored in [true, false] {
            let ours = |when: &str| {
                let now = at(when);
                moment.by_our_plan(now, BeaconClock::QUICKNET.latest(now).filter(|_| stored))
            };
            let plan = ours("before_ms")..=ours("after_ms");
            let public = BeaconClock::QUICKNET.published(*plan.start());
            let begins = at("before_ms").saturating_add(moment.until_revealed());
            assert!(public >= begins, "{moment:?}: {plan:?} is public before its epoch begins");
            if moment.tempo >= 12 {
                // Where their margin is shorter than a period, theirs can be public too early; ours never is.
                let covered = SDK_MARGIN * moment.block_time.0 >= BeaconClock::QUICKNET.period.0;
                let latest = theirs + if covered { 2 } else { 3 };
                assert!(
                    *plan.start() > theirs && *plan.end() <= latest,
                    "{moment:?}: {plan:?}, theirs {theirs}"
                );
            }
        }
        assert_eq!(chosen["length"].as_u64().unwrap(), length as u64, "the payload has the same fields");
    }
}
