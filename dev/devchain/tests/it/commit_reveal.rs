//! Commit-reveal in both forms on a running chain that is killed between commit and reveal.

use basilica_devchain::runtime::newtypes::{MechId, NetUid, NetUidStorageIndex};
use basilica_devchain::runtime::subtensor::commits::{HashCommits, Reveal};
use basilica_devchain::runtime::subtensor::weights::max_upscale;
use basilica_devchain::runtime::subtensor::{self, Event};
use basilica_devchain::runtime::{Runtime, RuntimeCall, RuntimeEvent, admin_utils, drand};
use basilica_schedule::{BeaconClock, EpochClock};
use basilica_timelock::{BeaconKey, Round, WeightsPayload, encrypt};
use basilica_types::{BlockNumber, Hotkey, Millis, Timestamp};
use rand_core::SeedableRng as _;
use serde_json::{Value, json};

use crate::support::{Client, Devchain, account_of, hash_of};

const NETUID: NetUid = NetUid(39);
const INDEX: NetUidStorageIndex = NetUidStorageIndex(39);
const VALIDATOR: &str = "//Validator1";
const BLOCK_TIME: Millis = Millis(50);

fn start(directory: &std::path::Path) -> Devchain {
    let file = directory.join("chain");
    // Epochs of three seconds: long enough to act in one, with rounds of the beacon within.
    let genesis = directory.join("genesis.json");
    std::fs::write(&genesis, r#"{"drand_period_s": 1}"#).unwrap();
    let (file, genesis) = (file.to_str().unwrap(), genesis.to_str().unwrap());
    Devchain::start(&["--state", file, "--genesis", genesis, "--tempo", "60"])
}

async fn switch_on_commit_reveal(client: &Client) {
    let call = RuntimeCall::AdminUtils(admin_utils::Call::sudo_set_commit_reveal_weights_enabled {
        netuid: NETUID,
        enabled: true,
    });
    let sudo = RuntimeCall::Sudo(pallet_sudo::Call::sudo { call: Box::new(call) });
    client.watch(&client.signed("//Alice", sudo).await).await;
    client
        .until("permits", async |client| {
            let permits: Option<Vec<bool>> =
                client.storage(&subtensor::ValidatorPermit::<Runtime>::hashed_key_for(NETUID)).await;
            permits.is_some_and(|permits| permits.get(1) == Some(&true))
        })
        .await;
}

async fn watched(client: &Client, call: subtensor::Call<Runtime>) -> Vec<Event<Runtime>> {
    let extrinsic = client.signed(VALIDATOR, RuntimeCall::SubtensorModule(call)).await;
    let updates = client.watch(&extrinsic).await;
    events(client, &updates.last().unwrap()["finalized"]).await
}

async fn events(client: &Client, block: &Value) -> Vec<Event<Runtime>> {
    use frame_support::StorageHasher as _;
    let key = [frame_support::Twox128::hash(b"System"), frame_support::Twox128::hash(b"Events")].concat();
    let value = client.call("state_getStorage", json!([hex::encode(key), block])).await;
    let bytes = hex::decode(value.as_str().unwrap().trim_start_matches("0x")).unwrap();
    let records: Vec<frame_system::EventRecord<RuntimeEvent, basilica_devchain::runtime::Hash>> =
        codec::Decode::decode(&mut &bytes[..]).unwrap();
    records
        .into_iter()
        .filter_map(|record| match record.event {
            RuntimeEvent::SubtensorModule(event) => Some(event),
            _ => None,
        })
        .collect()
}

async fn row(client: &Client) -> Vec<(u16, u16)> {
    client.storage(&subtensor::Weights::<Runtime>::hashed_key_for(INDEX, 1)).await.unwrap_or_default()
}

async fn number(client: &Client, key: Vec<u8>) -> u64 {
    client.storage(&key).await.unwrap_or(0)
}

#[tokio::test]
async fn a_hash_commit_outlives_a_kill_and_is_revealed_in_its_epoch() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = start(directory.path());
    let client = chain.client().await;
    switch_on_commit_reveal(&client).await;
    let reveal = Reveal { uids: vec![4, 5], values: vec![3, 1], salt: vec![9; 8], version_key: 0 };
    let hash = reveal.hash::<Runtime>(&account_of(VALIDATOR), INDEX);
    let told = watched(&client, subtensor::Call::commit_weights { netuid: NETUID, commit_hash: hash }).await;
    assert_eq!(told, [Event::WeightsCommitted(account_of(VALIDATOR), INDEX, hash)]);
    chain.kill();

    chain = start(directory.path());
    let client = chain.client().await;
    let key = subtensor::WeightCommits::<Runtime>::hashed_key_for(INDEX, account_of(VALIDATOR));
    let commits: HashCommits = client.storage(&key).await.expect("the commit is still there");
    let epoch = commits[0].1;
    let Reveal { uids, values, salt, version_key } = reveal;
    let call = subtensor::Call::reveal_weights {
        netuid: NETUID,
        uids: uids.clone(),
        values: values.clone(),
        salt,
        version_key,
    };
    let early = client.signed(VALIDATOR, RuntimeCall::SubtensorModule(call.clone())).await;
    let refusal = client.refusal("author_submitExtrinsic", json!([early])).await;
    assert_eq!(refusal, (1010, "\"Custom error: 17\"".to_owned()));
    let index = subtensor::SubnetEpochIndex::<Runtime>::hashed_key_for(NETUID);
    client.until("the reveal epoch", async |client| number(client, index.clone()).await == epoch + 1).await;
    let told = watched(&client, call).await;
    assert_eq!(told.last(), Some(&Event::WeightsRevealed(account_of(VALIDATOR), INDEX, hash)));
    let expected: Vec<(u16, u16)> = uids.into_iter().zip(max_upscale(&values)).collect();
    assert_eq!(row(&client).await, expected);
}

#[tokio::test]
async fn a_timelocked_commit_outlives_a_kill_and_the_chain_opens_it_when_the_client_computed() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = start(directory.path());
    let client = chain.client().await;
    switch_on_commit_reveal(&client).await;
    // What a client reads: the beacon and the epoch clock, at one block.
    let beacon: drand::BeaconConfiguration =
        client.storage(&drand::BeaconConfig::<Runtime>::hashed_key()).await.expect("a beacon");
    let clock = BeaconClock {
        genesis: Timestamp::from_secs(i64::from(beacon.genesis_time)),
        period: Millis(u64::from(beacon.period) * 1_000),
    };
    let head = client.number().await;
    let hash = client.call("chain_getBlockHash", json!([head])).await;
    let at = async |key: Vec<u8>| {
        let value = client.call("state_getStorage", json!([hex::encode(key), hash])).await;
        let bytes = hex::decode(value.as_str().unwrap_or("0x").trim_start_matches("0x")).unwrap();
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(&bytes);
        u64::from_le_bytes(wide)
    };
    let epochs = EpochClock::Stateful {
        last_epoch: BlockNumber(at(subtensor::LastEpochBlock::<Runtime>::hashed_key_for(NETUID)).await),
        pending_at: BlockNumber(at(subtensor::PendingEpochAt::<Runtime>::hashed_key_for(NETUID)).await),
        index: at(subtensor::SubnetEpochIndex::<Runtime>::hashed_key_for(NETUID)).await,
        since_last_step: at(subtensor::BlocksSinceLastStep::<Runtime>::hashed_key_for(NETUID)).await,
        tempo: u16::try_from(at(subtensor::Tempo::<Runtime>::hashed_key_for(NETUID)).await).unwrap(),
    };
    let now = at(pallet_timestamp::Now::<Runtime>::hashed_key().to_vec()).await;
    let subnet = basilica_types::NetUid(NETUID.0);
    let first = epochs.first_reveal_block(BlockNumber(head), subnet, 1).unwrap().0;
    let arrived = Millis((first + 3 - head) * BLOCK_TIME.0);
    let now = Timestamp(i64::try_from(now).unwrap());
    let reveal_round = clock.latest(now.saturating_add(arrived)).unwrap();

    let hotkey = Hotkey::from_bytes(account_of(VALIDATOR).into());
    let payload = WeightsPayload::new(&hotkey, vec![4, 5], vec![1, 3], 0).to_bytes();
    let key = BeaconKey::from_bytes(&beacon.public_key).expect("a key");
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
    let ciphertext = encrypt(&key, Round(reveal_round), &payload, &mut rng).unwrap();
    let call = subtensor::Call::commit_timelocked_mechanism_weights {
        netuid: NETUID,
        mecid: MechId::MAIN,
        commit: ciphertext.try_into().unwrap(),
        reveal_round,
        commit_reveal_version: 4,
    };
    let told = watched(&client, call).await;
    assert!(
        matches!(told.as_slice(), [Event::TimelockedWeightsCommitted(_, INDEX, _, r)] if *r == reveal_round),
        "{told:?}"
    );
    chain.kill();

    chain = start(directory.path());
    let client = chain.client().await;
    client.until("the reveal", async |client| !row(client).await.is_empty()).await;
    assert_eq!(row(&client).await, [(4, 21_845), (5, 65_535)]);
    // Find the block that revealed it.
    let mut revealed_in = None;
    for number in first..=client.number().await {
        let hash = client.call("chain_getBlockHash", json!([number])).await;
        assert!(hash_of(&hash) != Default::default());
        let told = events(&client, &hash).await;
        if told.contains(&Event::TimelockedWeightsRevealed(INDEX, account_of(VALIDATOR))) {
            revealed_in = Some(number);
            break;
        }
    }
    let revealed_in = revealed_in.expect("an event tells the reveal");
    assert!((first..first + 60).contains(&revealed_in), "in block {revealed_in}, its epoch began in {first}");
    chain.kill();
}
