//! Signed extrinsics from the pool to finality, and everything that refuses them.

use basilica_devchain::chain::genesis_header;
use basilica_devchain::executor::{self, Refusal};
use basilica_devchain::genesis::Settings;
use basilica_devchain::profile::Profile;
use basilica_devchain::runtime::newtypes::{MechId, NetUid};
use basilica_devchain::runtime::subtensor::weights::{max_upscale, storage_index};
use basilica_devchain::runtime::subtensor::{self, AxonInfo};
use basilica_devchain::runtime::{Runtime, RuntimeCall, RuntimeEvent, commitments, mev_shield};
use codec::Encode as _;
use frame_support::BoundedVec;
use serde_json::{Value, json};
use sp_io::hashing::twox_128;
use sp_runtime::generic::Era;
use sp_runtime::transaction_validity::{InvalidTransaction, TransactionValidityError};

use crate::support::{Client, Devchain, account_of, hash_of, number_of, sign, sign_under, statuses};

const NETUID: NetUid = NetUid(39);

fn serve(ip: [u8; 4], port: u16) -> RuntimeCall {
    RuntimeCall::SubtensorModule(subtensor::Call::serve_axon {
        netuid: NETUID,
        version: 1,
        ip: u32::from_be_bytes(ip).into(),
        port,
        ip_type: 4,
        protocol: 4,
        placeholder1: 0,
        placeholder2: 0,
    })
}

fn serve_tls(ip: [u8; 4], port: u16) -> RuntimeCall {
    RuntimeCall::SubtensorModule(subtensor::Call::serve_axon_tls {
        netuid: NETUID,
        version: 1,
        ip: u32::from_be_bytes(ip).into(),
        port,
        ip_type: 4,
        protocol: 4,
        placeholder1: 0,
        placeholder2: 0,
        certificate: vec![4, 1],
    })
}

fn serve_metrics(ip: [u8; 4], port: u16) -> RuntimeCall {
    let ip = u32::from_be_bytes(ip).into();
    let call = subtensor::Call::serve_prometheus { netuid: NETUID, version: 1, ip, port, ip_type: 4 };
    RuntimeCall::SubtensorModule(call)
}

fn commitment(netuid: u16) -> RuntimeCall {
    let info = commitments::CommitmentInfo { fields: BoundedVec::default() };
    RuntimeCall::Commitments(commitments::Call::set_commitment { netuid: NetUid(netuid), info })
}

fn subnet(hotkey: &str) -> RuntimeCall {
    RuntimeCall::SubtensorModule(subtensor::Call::register_network { hotkey: account_of(hotkey) })
}

fn weights(uids: &[u16], values: &[u16]) -> RuntimeCall {
    RuntimeCall::SubtensorModule(subtensor::Call::set_mechanism_weights {
        netuid: NETUID,
        mecid: MechId::MAIN,
        dests: uids.to_vec(),
        weights: values.to_vec(),
        version_key: 0,
    })
}

pub(crate) fn remark(text: &str) -> RuntimeCall {
    RuntimeCall::System(frame_system::Call::remark { remark: text.as_bytes().to_vec() })
}

/// The dispatch error, if any, that the block's events show.
async fn failures(client: &Client, block: &Value) -> Vec<sp_runtime::DispatchError> {
    use frame_support::StorageHasher as _;
    let mut key = frame_support::Twox128::hash(b"System").to_vec();
    key.extend(frame_support::Twox128::hash(b"Events"));
    let value = client.call("state_getStorage", json!([hex::encode(key), block])).await;
    let bytes = hex::decode(value.as_str().unwrap().trim_start_matches("0x")).unwrap();
    let events: Vec<frame_system::EventRecord<RuntimeEvent, basilica_devchain::runtime::Hash>> =
        codec::Decode::decode(&mut &bytes[..]).unwrap();
    events
        .into_iter()
        .filter_map(|record| match record.event {
            RuntimeEvent::System(frame_system::Event::ExtrinsicFailed { dispatch_error, .. }) => {
                Some(dispatch_error)
            }
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn an_axon_is_served_finalised_and_read_back() {
    let chain = Devchain::start(&[]);
    let client = chain.client().await;
    let extrinsic = client.signed("//Miner1", serve([127, 0, 0, 2], 9000)).await;
    let updates = client.watch(&extrinsic).await;
    assert_eq!(updates[0], "ready");
    let block = &updates[1]["inBlock"];
    assert_eq!(updates[2], json!({ "finalized": block }));
    let body = client.call("chain_getBlock", json!([block])).await;
    assert!(body["block"]["extrinsics"].as_array().unwrap().contains(&json!(extrinsic)));
    let key = subtensor::Axons::<Runtime>::hashed_key_for(NETUID, account_of("//Miner1"));
    let axon: AxonInfo = client.storage(&key).await.expect("an axon");
    assert_eq!((axon.ip, axon.port), (0x7f00_0002, 9000));
    assert_eq!(axon.block, number_of(&body["block"]["header"]));
    assert_eq!(client.nonce("//Miner1").await, 1);
    assert_eq!(failures(&client, block).await, []);
}

#[tokio::test]
async fn broken_rules_are_refused_before_the_pool_with_the_chains_codes() {
    let chain = Devchain::start(&[]);
    let client = chain.client().await;
    let long_limit = RuntimeCall::Sudo(pallet_sudo::Call::sudo {
        call: Box::new(RuntimeCall::AdminUtils(
            basilica_devchain::runtime::admin_utils::Call::sudo_set_serving_rate_limit {
                netuid: NETUID,
                serving_rate_limit: 1_000_000,
            },
        )),
    });
    let set = client.signed("//Alice", long_limit.clone()).await;
    assert!(client.watch(&set).await.last().unwrap().get("finalized").is_some());
    let served = client.signed("//Miner2", serve([10, 0, 0, 1], 1)).await;
    client.watch(&served).await;
    client.watch(&client.signed("//Alice", subnet("//Subnet")).await).await;
    let wrapped = RuntimeCall::Utility(pallet_utility::Call::batch { calls: vec![serve([127, 0, 0, 1], 1)] });
    for (uri, call, data) in [
        ("//Miner1", serve([127, 0, 0, 1], 1), "\"Custom error: 11\""),
        ("//Miner1", serve([10, 0, 0, 1], 0), "\"Custom error: 13\""),
        ("//Miner2", serve([10, 0, 0, 2], 1), "\"Custom error: 12\""),
        ("//Bob", serve([10, 0, 0, 1], 1), "\"Custom error: 10\""),
        ("//Miner1", serve_tls([127, 0, 0, 1], 1), "\"Custom error: 11\""),
        ("//Miner1", serve_metrics([0, 0, 0, 0], 1), "\"Custom error: 11\""),
        ("//Bob", serve_metrics([10, 0, 0, 1], 0), "\"Custom error: 10\""),
        ("//Miner1", commitment(41), "\"Custom error: 3\""),
        ("//Bob", commitment(NETUID.0), "\"Custom error: 19\""),
        ("//Alice", subnet("//Another"), "\"Custom error: 6\""),
        ("//Miner1", weights(&[0], &[1]), "\"Custom error: 1\""),
        ("//Bob", wrapped, "\"Custom error: 10\""),
        ("//Bob", long_limit, "\"Invalid signing address\""),
        ("//Nobody", remark("poor"), "\"Inability to pay some fees (e.g. account balance too low)\""),
    ] {
        let extrinsic = client.signed(uri, call).await;
        for method in ["author_submitExtrinsic", "author_submitAndWatchExtrinsic"] {
            assert_eq!(client.refusal(method, json!([extrinsic])).await, (1010, data.to_owned()), "{uri}");
        }
    }
}

#[tokio::test]
async fn forged_replayed_foreign_and_malformed_extrinsics_are_refused() {
    let chain = Devchain::start(&[]);
    let client = chain.client().await;
    let genesis = client.genesis().await;
    let good = sign("//Bob", remark("once"), 0, Era::Immortal, (genesis, None));
    let mut forged = hex::decode(good.trim_start_matches("0x")).unwrap();
    *forged.last_mut().unwrap() ^= 1;
    let submit = async |extrinsic: &str| client.refusal("author_submitExtrinsic", json!([extrinsic])).await;
    let bad_proof = (1010, "\"Transaction has a bad signature\"".to_owned());
    assert_eq!(submit(&hex::encode(&forged)).await, bad_proof);
    let elsewhere = sign("//Bob", remark("x"), 0, Era::Immortal, (Default::default(), None));
    assert_eq!(submit(&elsewhere).await, bad_proof, "signed for another chain");
    assert_eq!(submit(&good[..good.len() - 2]).await.0, 1001, "cut short");
    assert_eq!(submit("0x00").await.0, 1001);
    let bare = hex::encode(basilica_devchain::runtime::UncheckedExtrinsic::new_bare(remark("bare")).encode());
    assert_eq!(submit(&bare).await.0, 1011);
    let updates = client.watch(&good).await;
    assert!(updates.last().unwrap().get("finalized").is_some());
    assert_eq!(submit(&good).await, (1010, "\"Transaction is outdated\"".to_owned()));
}

#[tokio::test]
async fn a_future_nonce_waits_for_the_gap_and_pending_nonces_count() {
    let chain = Devchain::start(&["--block-time", "250ms"]);
    let client = chain.client().await;
    let genesis = client.genesis().await;
    let at = |nonce| sign("//Bob", remark("n"), nonce, Era::Immortal, (genesis, None));
    let ahead = at(1);
    let params = json!([ahead]);
    let mut later =
        client.subscribe("author_submitAndWatchExtrinsic", params, "author_unwatchExtrinsic").await;
    assert_eq!(later.next().await.unwrap().unwrap(), "future");
    let before = client.number().await;
    client.until("two blocks", async |client| client.number().await >= before + 2).await;
    assert_eq!(client.nonce("//Bob").await, 0, "a gap is not skipped");
    assert_eq!(client.call("author_pendingExtrinsics", json!([])).await.as_array().unwrap().len(), 1);
    assert_eq!(client.refusal("author_submitExtrinsic", json!([ahead])).await.0, 1013);
    let rival = client.refusal("author_submitExtrinsic", json!([at(1)])).await;
    assert_eq!(rival.0, 1014, "the same nonce without more priority");
    let first = client.watch(&at(0)).await;
    assert_eq!(first.len(), 3);
    let updates = statuses(later).await;
    assert_eq!(updates[0], "ready");
    assert_eq!(updates[2], json!({ "finalized": first[2]["finalized"] }), "both in one block");
    assert_eq!(client.nonce("//Bob").await, 2);
}

#[tokio::test]
async fn a_mortal_extrinsic_lives_until_its_era_ends() {
    let chain = Devchain::start(&[]);
    let client = chain.client().await;
    let genesis = client.genesis().await;
    client.until("block 4", async |client| client.number().await >= 4).await;
    let birth = client.number().await;
    let hash = hash_of(&client.call("chain_getBlockHash", json!([birth])).await);
    let era = Era::mortal(64, birth);
    let good = sign("//Bob", remark("short"), 0, era, (genesis, Some(hash)));
    assert_eq!(client.watch(&good).await.len(), 3);
    let short = Era::mortal(4, birth);
    let waiting = sign("//Bob", remark("gap"), 9, short, (genesis, Some(hash)));
    client.until("the era's end", async |client| client.number().await >= birth + 4).await;
    let (code, _) = client.refusal("author_submitExtrinsic", json!([waiting])).await;
    assert_eq!(code, 1010, "its birth block is no longer the era's");
}

#[tokio::test]
async fn weights_need_a_permit_read_back_upscaled_and_are_rate_limited() {
    let chain = Devchain::start(&["--mining", "instant"]);
    let client = chain.client().await;
    let early = client.signed("//Validator2", weights(&[4, 5], &[1, 2])).await;
    let updates = client.watch(&early).await;
    let block = updates.last().unwrap()["finalized"].clone();
    let failed = failures(&client, &block).await;
    assert_eq!(failed, [subtensor::Error::<Runtime>::NeuronNoValidatorPermit.into()], "no epoch yet");

    client.call("dev_newBlock", json!([11])).await;
    let sent = [40_000, 20_000, 1];
    let good = client.signed("//Validator1", weights(&[0, 4, 5], &sent)).await;
    let updates = client.watch(&good).await;
    assert_eq!(failures(&client, &updates.last().unwrap()["finalized"]).await, []);
    let key = subtensor::Weights::<Runtime>::hashed_key_for(storage_index(NETUID, MechId::MAIN), 1);
    let row: Vec<(u16, u16)> = client.storage(&key).await.expect("a row");
    let expected: Vec<(u16, u16)> = [0, 4, 5].into_iter().zip(max_upscale(&sent)).collect();
    assert_eq!(row, expected);
    assert_eq!(row[1].1, 32_767, "the chain's truncated ratio, not the rounded share");

    let again = client.signed("//Validator1", weights(&[4], &[1])).await;
    let refusal = client.refusal("author_submitExtrinsic", json!([again])).await;
    assert_eq!(refusal, (1010, "\"Custom error: 6\"".to_owned()), "too soon");
    let bytes = hex::decode(again.trim_start_matches("0x")).unwrap();
    let length = u32::try_from(bytes.len()).unwrap();
    let arguments = format!("0x{}{}", hex::encode(bytes), hex::encode(length.encode()));
    let fees = client.call("state_call", json!(["TransactionPaymentApi_query_info", arguments])).await;
    assert!(fees.as_str().unwrap().ends_with(&"00".repeat(8)), "setting weights is free: {fees}");
}

#[test]
fn an_encrypted_extrinsic_lives_eight_blocks_at_most() {
    let state = Settings::default().resolve().expect("valid").state().expect("builds");
    let genesis = executor::hash_of(&genesis_header(&state));
    // The hash of the key, no encapsulated key, a nonce.
    let ciphertext = [&twox_128(&mev_shield::public_key())[..], &[0; 2 + 24]].concat();
    let ciphertext = BoundedVec::try_from(ciphertext).expect("short");
    let carrier = RuntimeCall::MevShield(mev_shield::Call::submit_encrypted { ciphertext });
    let plain = RuntimeCall::System(frame_system::Call::remark { remark: Vec::new() });
    let verdict = |call: &RuntimeCall, era| {
        let extrinsic = sign_under(Profile::Newest, "//Bob", (call.clone(), 0), era, (genesis, None));
        executor::validate(&state, extrinsic, genesis)
    };
    assert!(verdict(&carrier, Era::mortal(4, 0)).is_ok());
    assert!(verdict(&carrier, Era::mortal(8, 0)).is_ok());
    for era in [Era::mortal(16, 0), Era::mortal(128, 0), Era::Immortal] {
        let refused = verdict(&carrier, era);
        let stale = TransactionValidityError::from(InvalidTransaction::Stale);
        assert!(matches!(refused, Err(Refusal::Invalid(why)) if why == stale), "{era:?}: {refused:?}");
        assert!(verdict(&plain, era).is_ok(), "others live as long as they like");
    }
}
