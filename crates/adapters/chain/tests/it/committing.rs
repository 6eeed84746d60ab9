//! Both forms of commit-reveal against the real development chain, on both generations of metadata.

use basilica_chain::SubtensorChain;
use basilica_ports::{
    Chain as _, ChainError, Clock as _, EntropyRng, FailureClass, OpenCommitForm, Salt, WeightRules,
    WeightsCall, WeightsOrder, WeightsOutcome,
};
use basilica_system::{OsEntropy, SystemClock};
use basilica_timelock::{BeaconKey, Round, WeightsPayload, commit_hash, encrypt};
use basilica_types::{BlockNumber, Digest, MechanismId, Millis, Uid, Weight};
use serde_json::{Value, json};

use crate::devchain::{Devchain, SUBNET, hotkey, permitted, soon};

const MECHANISM: MechanismId = MechanismId(0);

fn committing() -> Value {
    json!({ "commit_reveal": true, "tempo": 40, "drand_period_s": 1 })
}

async fn rules(chain: &SubtensorChain) -> WeightRules {
    chain.weight_rules(SUBNET, MECHANISM).await.unwrap()
}

/// Does what is asked as soon as the chain's rules allow it.
async fn done(chain: &SubtensorChain, call: WeightsCall) -> BlockNumber {
    let order = WeightsOrder { netuid: SUBNET, mechanism: MECHANISM, call };
    let prepare = async {
        loop {
            match chain.prepare_weights(&order).await {
                Err(ChainError::Preflight { class: FailureClass::Transient, .. }) => {
                    SystemClock::new().sleep(Millis(50)).await;
                }
                prepared => return prepared.unwrap(),
            }
        }
    };
    let prepared = soon("the chain's leave", prepare).await;
    match chain.conclude_weights(&prepared).await.unwrap() {
        WeightsOutcome::Set { block } => block,
        other => panic!("{other:?}"),
    }
}

async fn weights_become(chain: &SubtensorChain, expected: &[(Uid, Weight)]) {
    let look = async {
        while chain.weights_of(SUBNET, MECHANISM, &hotkey("//Validator1")).await.unwrap().1.unwrap()
            != expected
        {
            SystemClock::new().sleep(Millis(50)).await;
        }
    };
    soon("the weights", look).await;
}

#[tokio::test]
async fn weights_are_committed_by_hash_and_revealed_in_their_epoch() {
    tokio::join!(committed_by_hash("newest"), committed_by_hash("legacy"));
}

async fn committed_by_hash(profile: &str) {
    let devchain = Devchain::of(profile, committing());
    let chain = devchain.client("//Validator1");
    permitted(&chain).await;
    let before = rules(&chain).await;
    let forms = before.commit_reveal.unwrap();
    assert!(forms.by_hash && forms.timelocked && forms.version == Some(4), "{profile}: {forms:?}");
    let weights = vec![(Uid(4), Weight(u16::MAX)), (Uid(5), Weight(7))];
    let salt = vec![1, 2, 65_535];
    let hash = commit_hash(&hotkey("//Validator1"), SUBNET.0, (&[4, 5], &[u16::MAX, 7]), &salt, 0);
    let hash = Digest::from_bytes(hash);
    let block = done(&chain, WeightsCall::CommitHash { hash }).await;
    let open = rules(&chain).await.open_commits;
    assert_eq!(
        (open.len(), open[0].form, open[0].block),
        (1, OpenCommitForm::Hash(hash), block),
        "{profile}"
    );
    let epochs = rules(&chain).await.epochs;
    assert_eq!(open[0].epoch, epochs.epoch_of(block, block, SUBNET), "{profile}: {open:?} {epochs:?}");
    let salt = Salt::new(salt);
    done(&chain, WeightsCall::Reveal { weights: weights.clone(), salt, version_key: 0 }).await;
    weights_become(&chain, &weights).await;
    assert_eq!(rules(&chain).await.open_commits, [], "{profile}");
}

#[tokio::test]
async fn timelocked_weights_are_opened_by_the_chain_itself() {
    tokio::join!(committed_timelocked("newest"), committed_timelocked("legacy"));
}

async fn committed_timelocked(profile: &str) {
    let devchain = Devchain::of(profile, committing());
    let chain = devchain.client("//Validator1");
    permitted(&chain).await;
    let beacon = rules(&chain).await.beacon.unwrap();
    assert_eq!(beacon.clock.period, Millis(1_000), "{profile}: {beacon:?}");
    // Published before the next epoch, which is four seconds long.
    let latest = beacon.clock.latest(SystemClock::new().now()).unwrap();
    let round = latest + 3;
    let payload = WeightsPayload::new(&hotkey("//Validator1"), vec![4, 5], vec![u16::MAX, 9], 0);
    let key = BeaconKey::from_bytes(&beacon.public_key).unwrap();
    let mut rng = EntropyRng(&OsEntropy);
    let ciphertext = encrypt(&key, Round(round), &payload.to_bytes(), &mut rng).unwrap();
    let commit = WeightsCall::CommitTimelocked { ciphertext, reveal_round: round, version: 4 };
    let order = WeightsOrder { netuid: SUBNET, mechanism: MECHANISM, call: commit.clone() };
    let prepared = chain.prepare_weights(&order).await.unwrap();
    assert_eq!(prepared.dies.0 - prepared.born.0, 7, "no later block may date it");
    let block = done(&chain, commit).await;
    let open = rules(&chain).await.open_commits;
    // It may be open already on a slow machine; what is held is ours.
    assert!(
        open.iter().all(|commit| commit.block == block
            && matches!(commit.form, OpenCommitForm::Timelocked { round: held, .. } if held == round)),
        "{profile}: {open:?}"
    );
    weights_become(&chain, &[(Uid(4), Weight(u16::MAX)), (Uid(5), Weight(9))]).await;
}

#[tokio::test]
async fn commits_that_the_chain_would_refuse_are_not_signed() {
    let devchain = Devchain::with(committing());
    let chain = devchain.client("//Validator1");
    permitted(&chain).await;
    let ask = async |call| {
        let order = WeightsOrder { netuid: SUBNET, mechanism: MECHANISM, call };
        match chain.prepare_weights(&order).await {
            Err(ChainError::Preflight { rule, .. }) => rule,
            other => panic!("{other:?}"),
        }
    };
    let timelocked =
        |version| WeightsCall::CommitTimelocked { ciphertext: vec![0; 200], reveal_round: u64::MAX, version };
    assert!(ask(timelocked(3)).await.contains("version 3"));
    let reveal =
        WeightsCall::Reveal { weights: vec![(Uid(4), Weight(1))], salt: Salt::new(vec![1]), version_key: 0 };
    assert!(ask(reveal).await.contains("no commit by hash"));
    let open = WeightsCall::Set { weights: vec![(Uid(4), Weight(1))], version_key: 0 };
    assert!(ask(open).await.contains("takes committed weights only"));
}
