//! The simulated chain is judged by the real development chain: the same calls in the same blocks have the same ends, and
//! leave the same rules and weights behind.
//!
//! One walk per generation of metadata, drawn from a seed: calls that are in order and calls that break each of the
//! rules, the owner's switches between them. The simulated chain seals nothing, so that its timelocked commits are
//! compared by epoch, block and round.

use std::collections::BTreeSet;
use std::sync::Arc;

use basilica_chain::{ChainOptions, SubtensorChain};
use basilica_ports::{
    Chain as _, ChainError, Effect, EntropyRng, EpochClock, OpenCommitForm, PreparedWeights, Salt,
    WeightRules, WeightsCall, WeightsOrder, WeightsOutcome,
};
use basilica_system::{OsEntropy, SystemClock};
use basilica_testkit::{Devchain, hotkey, keypair};
use basilica_timelock::{BeaconKey, Round, WeightsPayload, encrypt};
use basilica_types::{BlockHash, BlockNumber, Digest, Hotkey, MechanismId, Millis, NetUid, Uid, Weight};
use basilica_wallet::WalletSigner;
use codec::Encode as _;
use serde_json::json;

use super::Rng;
use super::ledger::{Knobs, Ledger, NETUID, revealed_hash};
use super::network::epochs;

const SUBNET: NetUid = NetUid(NETUID);
const STEPS: u32 = 110;
/// For the second mechanism, which differs in its names and indices only.
const FEWER_STEPS: u32 = 40;

/// A vector with its salt.
type Committed = (Vec<(Uid, Weight)>, Vec<u16>);

/// Both chains, in lock step.
struct Twins {
    profile: &'static str,
    devchain: Devchain,
    client: SubtensorChain,
    own: Hotkey,
    /// Of the newest block.
    rules: WeightRules,
    model: Ledger,
    /// Vectors committed by hash, with their salts.
    committed: Vec<Committed>,
    /// Ends that were met.
    seen: BTreeSet<String>,
}

impl Twins {
    async fn start(profile: &'static str, mechanism: MechanismId) -> Self {
        let settings = json!({
            "profile": profile, "block_time_ms": 50, "tempo": 8, "weights_rate_limit": 2, "drand_period_s": 1,
            "commit_reveal": false,
        });
        let devchain = Devchain::start(&settings, &["--mining", "manual"]);
        // The other walk's steps hold the thread, and a loaded machine is slow.
        let patience = Millis::from_secs(120);
        let options = ChainOptions {
            connect_deadline: patience,
            request_deadline: patience,
            call_deadline: patience,
            ..ChainOptions::new(vec![devchain.url.parse().unwrap()])
        };
        let signer = WalletSigner::new(keypair("//Validator1"), Arc::new(OsEntropy));
        let (clock, entropy) = (Arc::new(SystemClock::new()), Arc::new(OsEntropy));
        let client = SubtensorChain::new(options, Some(Arc::new(signer)), clock, entropy).unwrap();
        // Two epochs, for a permit.
        devchain.ask("dev_newBlock", &json!([20]));
        let own = hotkey("//Validator1");
        // As many neurons as two mechanisms have room for, then the second mechanism.
        devchain.sudo(&[vec![19, 15], (NETUID, 128u16).encode()].concat());
        devchain.sudo(&[vec![19, 76], (NETUID, 2u8).encode()].concat());
        devchain.ask("dev_newBlock", &json!([1]));
        let rules = client.weight_rules(SUBNET, mechanism).await.unwrap();
        let model = as_model(&rules);
        Self { profile, devchain, client, own, rules, model, committed: Vec::new(), seen: BTreeSet::new() }
    }

    /// The next block on both; the beacon's rounds come from outside of them.
    async fn block(&mut self) {
        self.devchain.ask("dev_newBlock", &json!([1]));
        self.rules = self.client.weight_rules(SUBNET, self.model.mechanism).await.unwrap();
        self.model = self.model.next(&self.own);
        self.model.round = last_round(&self.rules);
        if !self.model.opened.is_empty() {
            self.seen.insert("opened".to_owned());
        }
    }

    /// A call in the next block on both. `real` and `model` are the same call.
    async fn call(&mut self, real: &WeightsCall, model: WeightsCall) {
        let order = WeightsOrder { netuid: SUBNET, mechanism: self.model.mechanism, call: model };
        let extrinsic = self.devchain.signed("//Validator1", &encoded(real, self.model.mechanism));
        let born = self.model.number;
        let hex = format!("0x{}", hex::encode(&extrinsic));
        let coming = self.model.coming();
        let submitted = self.devchain.try_ask("author_submitExtrinsic", &json!([hex]));
        let refused = submitted.err().map(|error| code(error["data"].as_str().unwrap_or_default()));
        assert_eq!(
            refused,
            coming.refuses(&self.own, &order),
            "{} {:?} in {coming:?}",
            self.profile,
            order.call
        );
        self.block().await;
        if let Some(code) = refused {
            self.seen.insert(format!("custom {code}"));
            return;
        }
        let followed = self.client.conclude_weights(&self.followed(extrinsic, born)).await;
        if let Some(code) = self.model.refuses(&self.own, &order) {
            // The block did not take it any more.
            assert!(
                matches!(&followed, Err(ChainError::Pool { reason, .. }) if reason.contains(&format!("error {code} "))),
                "{}: {followed:?}, and the model says {code}",
                self.profile
            );
            return;
        }
        let followed = followed.unwrap_or_else(|error| {
            panic!("{} {:?}: {error:?} in {:?}", self.profile, order.call, self.model)
        });
        let found = match followed {
            WeightsOutcome::Set { .. } => Ok(()),
            WeightsOutcome::Failed { error, .. } => Err(error),
            expired @ WeightsOutcome::Expired(_) => panic!("{}: {expired:?}", self.profile),
        };
        let mut after = self.model.clone();
        let expected = after.apply(&self.own, &order);
        if expected.is_ok() {
            self.model = after;
            if matches!(order.call, WeightsCall::Reveal { .. }) {
                self.seen.insert("revealed".to_owned());
            }
        }
        let expected = expected.map_err(|name| format!("SubtensorModule.{name}"));
        assert_eq!(found, expected, "{} {:?} in {:?}", self.profile, order.call, self.model);
        self.seen.extend(found.err().map(|name| name.trim_start_matches("SubtensorModule.").to_owned()));
    }

    fn followed(&self, extrinsic: Vec<u8>, born: u64) -> PreparedWeights {
        let hash = |number: u64| {
            let hash = self.devchain.ask("chain_getBlockHash", &json!([number]));
            hash.as_str().unwrap().trim_start_matches("0x").parse::<BlockHash>().unwrap()
        };
        PreparedWeights {
            hash: super::ledger::digest(&extrinsic),
            extrinsic,
            nonce: u64::MAX,
            netuid: SUBNET,
            mechanism: self.model.mechanism,
            effect: Effect::Other,
            genesis: hash(0),
            born: BlockNumber(born),
            born_hash: hash(born),
            dies: BlockNumber(born + 64),
        }
    }

    /// What a worker would read of either.
    async fn compare(&self) {
        let (rules, model, profile) = (&self.rules, &self.model, self.profile);
        let context = format!("{profile}: {rules:?}\n{model:?}");
        assert_eq!(rules.block.0, model.number, "{context}");
        assert_eq!(rules.own.as_ref().unwrap().last_update.0, model.last_update, "{context}");
        assert_eq!(rules.commit_reveal.is_some(), model.knobs.commit_reveal, "{context}");
        assert_eq!(
            (rules.reveal_period, rules.rate_limit, rules.version_key),
            (model.knobs.period, model.knobs.rate_limit, model.knobs.version_key),
            "{context}"
        );
        assert_eq!(rules.epochs, epochs(model), "{context}");
        let now = rules.epochs.epoch_of(rules.block, rules.block, SUBNET);
        assert_eq!(now, model.epoch(), "{context}");
        let mut found: Vec<_> = rules
            .open_commits
            .iter()
            .map(|commit| {
                let (hash, round) = match commit.form {
                    OpenCommitForm::Hash(hash) => (Some(hash), 0),
                    OpenCommitForm::Timelocked { round, .. } => (None, round),
                };
                (commit.block.0, commit.epoch, hash, round)
            })
            .collect();
        let hashes = model
            .hashes
            .iter()
            .map(|(hash, at, block)| (*block, model.epoch_of_hash(*at, *block), Some(*hash), 0));
        let sealed = model.timelocked.iter().map(|commit| (commit.block, commit.epoch, None, commit.round));
        let mut expected: Vec<_> = hashes.chain(sealed).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{context}");
        let own = hotkey("//Validator1");
        let (_, weights) = self.client.weights_of(SUBNET, model.mechanism, &own).await.unwrap();
        assert_eq!(weights.as_ref(), Some(&model.weights), "{context}");
    }

    /// The owner's switches, of both.
    async fn turn(&mut self, index: u8, argument: Vec<u8>, knob: impl FnOnce(&mut Knobs)) {
        self.devchain.sudo(&[vec![19, index], argument].concat());
        self.block().await;
        knob(&mut self.model.knobs);
    }

    async fn meddle(&mut self, rng: &mut Rng) {
        let amount = rng.below(5);
        match rng.below(6) {
            0..3 => {
                let on = !self.model.knobs.commit_reveal;
                self.turn(49, (NETUID, on).encode(), |knobs| knobs.commit_reveal = on).await;
            }
            3 => {
                self.turn(57, (NETUID, 1 + amount % 2).encode(), |knobs| knobs.period = 1 + amount % 2).await
            }
            4 => self.turn(7, (NETUID, amount).encode(), |knobs| knobs.rate_limit = amount).await,
            _ => {
                self.turn(6, (NETUID, 9 * (amount % 2)).encode(), |knobs| {
                    knobs.version_key = 9 * (amount % 2)
                })
                .await
            }
        }
    }

    async fn step(&mut self, rng: &mut Rng) {
        let word = |rng: &mut Rng| u16::try_from(1 + rng.below(60_000)).unwrap();
        let weights = vec![(Uid(0), Weight(word(rng))), (Uid(4), Weight(word(rng)))];
        let version_key = if rng.one_in(4) { 0 } else { 9 };
        match rng.below(20) {
            0..3 => {
                let set = WeightsCall::Set { weights, version_key };
                self.call(&set, set.clone()).await;
                if rng.one_in(2) {
                    // Too fast, where anything was set.
                    self.call(&set, set.clone()).await;
                }
            }
            3..8 => {
                let salt = vec![word(rng); 8];
                let commit = WeightsCall::CommitHash { hash: self.hash_of(&weights, &salt) };
                self.call(&commit, commit.clone()).await;
                self.committed.push((weights, salt));
            }
            8..13 => {
                let newest = self.committed.len().saturating_sub(1);
                let back = usize::try_from(rng.below(3)).unwrap();
                // Sometimes one that was never committed.
                let (weights, salt) = match self.committed.get(newest.saturating_sub(back)) {
                    Some(found) if !rng.one_in(8) => found.clone(),
                    _ => (weights, vec![1; 8]),
                };
                let reveal = WeightsCall::Reveal { weights, salt: Salt::new(salt), version_key: 9 };
                self.call(&reveal, reveal.clone()).await;
            }
            13..16 => self.commit_timelocked(&weights, version_key, rng).await,
            16 => self.meddle(rng).await,
            _ => self.block().await,
        }
        self.compare().await;
    }

    fn hash_of(&self, weights: &[(Uid, Weight)], salt: &[u16]) -> Digest {
        revealed_hash(&self.own, self.model.mechanism, (weights, salt, 9))
    }

    async fn commit_timelocked(&mut self, weights: &[(Uid, Weight)], version_key: u64, rng: &mut Rng) {
        let last = last_round(&self.rules);
        // One that has passed, one that never comes, or one that time brings before its epoch.
        let round = match rng.below(6) {
            0 => last - 1,
            1 => last + 1_000_000,
            _ => last + 1,
        };
        let version = if rng.one_in(8) { 3 } else { 4 };
        self.seal(weights, version_key, (round, version)).await;
        if round == last + 1 {
            // Published before its epoch comes.
            self.devchain.ask("dev_timeTravel", &json!([1_000]));
        }
    }

    /// A commit in the block in which an epoch runs by the old formula, which old runtimes date by the next one.
    async fn commit_in_the_last_block_of_an_epoch(&mut self) {
        self.turn(49, (NETUID, true).encode(), |knobs| knobs.commit_reveal = true).await;
        let tempo = u64::from(self.model.knobs.tempo);
        while (self.model.number + 1 + u64::from(NETUID) + 1) % (tempo + 1) != tempo {
            self.block().await;
        }
        let round = last_round(&self.rules) + 1_000_000;
        self.seal(&[(Uid(0), Weight(1)), (Uid(4), Weight(2))], 9, (round, 4)).await;
        self.compare().await;
        assert_eq!(self.rules.open_commits.len(), 1, "{}: {:?}", self.profile, self.rules);
    }

    async fn seal(&mut self, weights: &[(Uid, Weight)], version_key: u64, (round, version): (u64, u16)) {
        let beacon = self.rules.beacon.clone().unwrap();
        let (uids, values) = weights.iter().map(|(uid, w)| (uid.0, w.0)).unzip();
        let payload = WeightsPayload::new(&self.own, uids, values, version_key).to_bytes();
        let key = BeaconKey::from_bytes(&beacon.public_key).unwrap();
        let sealed = encrypt(&key, Round(round), &payload, &mut EntropyRng(&OsEntropy)).unwrap();
        let call = |ciphertext| WeightsCall::CommitTimelocked { ciphertext, reveal_round: round, version };
        self.call(&call(sealed), call(payload)).await;
    }
}

/// The number in a node's prose about `InvalidTransaction::Custom`.
fn code(text: &str) -> u8 {
    text.rsplit(' ')
        .next()
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no code in {text:?}"))
}

fn last_round(rules: &WeightRules) -> u64 {
    rules.beacon.as_ref().and_then(|beacon| beacon.last_round).unwrap_or(0)
}

/// The simulated chain at the block at which these rules were read.
fn as_model(rules: &WeightRules) -> Ledger {
    let own = rules.own.as_ref().unwrap();
    let (stateful, tempo) = match rules.epochs {
        EpochClock::Stateful { tempo, .. } => (true, tempo),
        EpochClock::Modular { tempo } => (false, tempo),
    };
    let knobs = Knobs {
        commit_reveal: rules.commit_reveal.is_some(),
        period: rules.reveal_period,
        tempo,
        rate_limit: rules.rate_limit,
        version_key: rules.version_key,
        permit: own.permit,
        beacon_runs: false,
    };
    let mut model = Ledger::genesis(knobs, stateful);
    model.mechanism = rules.mechanism;
    (model.number, model.last_update, model.round) = (rules.block.0, own.last_update.0, last_round(rules));
    model.last_epoch = model.number;
    if let EpochClock::Stateful { last_epoch, pending_at, index, since_last_step, .. } = rules.epochs {
        (model.last_epoch, model.pending, model.index, model.since) =
            (last_epoch.0, pending_at.0, index, since_last_step);
    }
    model
}

/// As the chain takes it: the mechanism's form of each call.
fn encoded(call: &WeightsCall, mechanism: MechanismId) -> Vec<u8> {
    let place = (NETUID, mechanism.0);
    let columns = |weights: &[(Uid, Weight)]| -> (Vec<u16>, Vec<u16>) {
        weights.iter().map(|(uid, weight)| (uid.0, weight.0)).unzip()
    };
    let (index, arguments) = match call {
        WeightsCall::Set { weights, version_key } => (119u8, (columns(weights), version_key).encode()),
        WeightsCall::CommitHash { hash } => (115, hash.as_bytes().encode()),
        WeightsCall::Reveal { weights, salt, version_key } => {
            (116, (columns(weights), salt.expose(), version_key).encode())
        }
        WeightsCall::CommitTimelocked { ciphertext, reveal_round, version } => {
            (118, (ciphertext, reveal_round, version).encode())
        }
    };
    [vec![7, index], place.encode(), arguments].concat()
}

#[tokio::test]
async fn the_simulated_chain_does_what_the_development_chain_does() {
    let (main, second) = (MechanismId(0), MechanismId(1));
    let (newest, legacy, other) = tokio::join!(
        walk("newest", main, (39, STEPS)),
        walk("legacy", main, (40, STEPS)),
        walk("newest", second, (41, FEWER_STEPS))
    );
    let seen: BTreeSet<String> = newest.into_iter().chain(legacy).chain(other).collect();
    for end in [
        "CommitRevealEnabled",
        "CommitRevealDisabled",
        "CommittingWeightsTooFast",
        "SettingWeightsTooFast",
        "IncorrectWeightVersionKey",
        "IncorrectCommitRevealVersion",
        "custom 6",
        "custom 15",
        "custom 16",
        "custom 17",
        "opened",
        "revealed",
    ] {
        assert!(seen.contains(end), "no call ended as {end}; there were {seen:?}");
    }
}

/// The ends that were met.
async fn walk(profile: &'static str, mechanism: MechanismId, (seed, steps): (u64, u32)) -> BTreeSet<String> {
    let mut twins = Twins::start(profile, mechanism).await;
    twins.commit_in_the_last_block_of_an_epoch().await;
    let mut rng = Rng(seed);
    for _ in 0..steps {
        twins.step(&mut rng).await;
    }
    twins.seen
}
