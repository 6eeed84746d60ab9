//! The controls: blocks on demand, time, snapshots, reorganisations, storage, upgrades.

use basilica_devchain::profile::Profile;
use basilica_devchain::runtime::{Runtime, version_of};
use serde_json::{Value, json};
use sp_runtime::generic::Era;

use crate::extrinsics::remark;
use crate::support::{Client, Devchain, PATIENCE, number_of, sign, statuses};

async fn at(client: &Client, number: u64) -> Value {
    client.call("chain_getBlockHash", json!([number])).await
}

async fn finalized(client: &Client) -> u64 {
    let hash = client.call("chain_getFinalizedHead", json!([])).await;
    number_of(&client.call("chain_getHeader", json!([hash])).await)
}

async fn timestamp(client: &Client) -> u64 {
    client.storage(&pallet_timestamp::Now::<Runtime>::hashed_key()).await.expect("a timestamp")
}

async fn spec(client: &Client, block: Value) -> u64 {
    client.call("state_getRuntimeVersion", json!([block])).await["specVersion"].as_u64().expect("a number")
}

#[tokio::test]
async fn manual_blocks_come_only_when_told_and_take_a_block_time_each() {
    let chain = Devchain::start(&["--mining", "manual", "--block-time", "12s"]);
    let client = chain.client().await;
    client.call("dev_newBlock", json!([])).await;
    let before = timestamp(&client).await;
    let made = client.call("dev_newBlock", json!({"count": 5})).await;
    assert_eq!((made["number"].as_u64(), client.number().await), (Some(6), 6));
    assert_eq!(made["hash"], at(&client, 6).await);
    assert_eq!(timestamp(&client).await, before + 60_000);
    client.call("dev_newBlock", json!([1, 1_000])).await;
    assert_eq!(timestamp(&client).await, before + 61_000);
    assert_eq!(client.refusal("dev_newBlock", json!([1_000_000])).await.0, -32602);
    assert_eq!(client.refusal("dev_newBlock", json!([0])).await.0, -32602);
    for (method, parameters, words) in [
        ("dev_newBlock", json!([1, 0]), "advance_ms must be at least 1"),
        ("dev_newBlock", json!({"count": "5"}), "count: invalid type"),
        ("dev_reorg", json!([0]), "at least 1 block"),
        ("dev_now", json!([1]), "no parameters are taken"),
        ("dev_snapshot", json!({"id": 1}), "no parameters are taken"),
        ("dev_faults", json!([1]), "no parameters are taken"),
        ("dev_fault", json!([5]), "kind of a fault must be the name of one"),
        ("dev_setStorage", json!({"entries": [["0x01", null], [7]]}), "entries[1]"),
    ] {
        let (code, message) = client.refusal(method, parameters).await;
        assert!(code == -32602 && message.contains(words), "{method}: {message}");
    }
    assert_eq!(client.refusal("dev_newBlock", json!({"blocks": 1})).await.0, -32602);
    client.call("dev_setMining", json!(["instant"])).await;
    client.watch(&client.signed("//Bob", remark("now")).await).await;
    assert_eq!(client.number().await, 8);
}

#[tokio::test]
async fn no_block_comes_by_itself_once_mining_is_manual() {
    let chain = Devchain::start(&["--block-time", "10ms"]);
    let client = chain.client().await;
    for _ in 0..20 {
        client.call("dev_setMining", json!(["manual"])).await;
        let still = client.number().await;
        let made = client.call("dev_newBlock", json!([])).await;
        assert_eq!(made["number"], still + 1);
        client.call("dev_setMining", json!(["interval", 10])).await;
    }
}

#[tokio::test]
async fn instant_mining_makes_a_block_for_each_transaction_and_none_for_a_gap() {
    let chain = Devchain::start(&["--mining", "instant"]);
    let client = chain.client().await;
    let genesis = client.genesis().await;
    let bob = |nonce| sign("//Bob", remark("n"), nonce, Era::Immortal, (genesis, None));
    let later =
        client.subscribe("author_submitAndWatchExtrinsic", json!([bob(1)]), "author_unwatchExtrinsic").await;
    client.watch(&client.signed("//Charlie", remark("alone")).await).await;
    assert_eq!(client.number().await, 1, "the gap waits");
    let first = client.watch(&bob(0)).await;
    let second = statuses(later).await;
    assert_ne!(first.last(), second.last(), "a block each");
    assert_eq!(client.number().await, 3);
}

#[tokio::test]
async fn time_goes_forward_as_told_and_never_back() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    client.call("dev_newBlock", json!([])).await;
    let before = timestamp(&client).await;
    client.call("dev_timeTravel", json!([86_400_000])).await;
    client.call("dev_newBlock", json!([])).await;
    assert!(timestamp(&client).await >= before + 86_400_000);
    let target = before + 10 * 86_400_000;
    client.call("dev_setTime", json!({"timestamp_ms": target})).await;
    client.call("dev_newBlock", json!([])).await;
    assert!((target..target + 86_400_000).contains(&timestamp(&client).await));
    let (code, message) = client.refusal("dev_setTime", json!([before])).await;
    assert_eq!(code, -32602);
    assert!(message.contains("never go back"), "{message}");
}

#[tokio::test]
async fn a_restored_snapshot_is_the_chain_it_was_and_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("chain");
    let mut chain = Devchain::start(&["--mining", "manual", "--state", file.to_str().expect("plain")]);
    let client = chain.client().await;
    client.call("dev_newBlock", json!([3])).await;
    let everything = async |client: &Client| {
        let head = client.call("chain_getHead", json!([])).await;
        let mut blocks = Vec::new();
        for number in 0..=client.number().await {
            blocks.push(client.call("chain_getBlock", json!([at(client, number).await])).await);
        }
        (client.call("state_getPairs", json!(["0x", head])).await, blocks)
    };
    let before = everything(&client).await;
    let id = client.call("dev_snapshot", json!([])).await["id"].clone();
    for round in 0..2 {
        let extrinsic = client.signed("//Bob", remark("gone")).await;
        client.call("author_submitExtrinsic", json!([extrinsic])).await;
        client.call("dev_newBlock", json!([2])).await;
        assert_eq!(client.nonce("//Bob").await, 1);
        client.call("dev_restore", json!([id])).await;
        assert!(everything(&client).await == before, "round {round}: state and history are what they were");
        assert_eq!(client.nonce("//Bob").await, 0);
        assert_eq!(client.call("author_pendingExtrinsics", json!([])).await, json!([]));
    }
    client.call("dev_newBlock", json!([])).await;
    let after = everything(&client).await;
    chain.kill();
    let chain = Devchain::start(&["--mining", "manual", "--state", file.to_str().expect("plain")]);
    let client = chain.client().await;
    assert!(everything(&client).await == after, "and the file has it too");
    assert!(client.refusal("dev_restore", json!([id])).await.1.contains("no snapshot"));
}

#[tokio::test]
async fn blocks_become_final_with_the_lag_asked_for() {
    let chain = Devchain::start(&["--mining", "manual", "--finality-lag", "3"]);
    let client = chain.client().await;
    let mut finality =
        client.subscribe("chain_subscribeFinalizedHeads", json!([]), "chain_unsubscribeFinalizedHeads").await;
    client.call("dev_newBlock", json!([2])).await;
    assert_eq!(finalized(&client).await, 0);
    client.call("dev_newBlock", json!([5])).await;
    assert_eq!(finalized(&client).await, 4);
    for expected in 0..=4 {
        let head = tokio::time::timeout(PATIENCE, finality.next()).await.expect("in time");
        assert_eq!(number_of(&head.expect("goes on").expect("a head")), expected);
    }
    let id = client.call("dev_fault", json!({"kind": "stall_finality"})).await["id"].clone();
    client.call("dev_newBlock", json!([5])).await;
    assert_eq!(finalized(&client).await, 4);
    client.call("dev_clearFaults", json!([id])).await;
    client.call("dev_newBlock", json!([])).await;
    assert_eq!(finalized(&client).await, 10);
}

#[tokio::test]
async fn a_reorganisation_replaces_unfinalised_blocks_and_tells_their_watchers() {
    let chain = Devchain::start(&["--mining", "manual", "--finality-lag", "5"]);
    let client = chain.client().await;
    client.call("dev_newBlock", json!([6])).await;
    let mut heads = client.subscribe("chain_subscribeNewHeads", json!([]), "chain_unsubscribeNewHeads").await;
    let mut watched = Vec::new();
    for uri in ["//Bob", "//Charlie"] {
        let extrinsic = client.signed(uri, remark("moved")).await;
        let params = json!([extrinsic]);
        watched.push(
            client.subscribe("author_submitAndWatchExtrinsic", params, "author_unwatchExtrinsic").await,
        );
        client.call("dev_newBlock", json!([])).await;
    }
    let old: Vec<Value> = vec![at(&client, 7).await, at(&client, 8).await];
    let best = client.call("dev_reorg", json!([2])).await;
    assert_eq!((best["number"].as_u64(), client.number().await), (Some(9), 9));
    assert!(at(&client, 7).await != old[0] && at(&client, 8).await != old[1]);
    let stale = client.call("chain_getHeader", json!([old[1]])).await;
    assert_eq!((number_of(&stale), &stale["parentHash"]), (8, &old[0]), "still readable by hash");
    assert_eq!(client.refusal("state_getStorage", json!(["0x00", old[1]])).await.0, 4003);
    for number in [6, 7, 8, 9] {
        assert_eq!(number_of(&heads.next().await.unwrap().unwrap()), number, "the branch's best block alone");
    }
    client.call("dev_newBlock", json!([5])).await;
    let again = at(&client, 7).await;
    for (updates, old) in watched.into_iter().zip(&old) {
        let expected = [
            json!("ready"),
            json!({"inBlock": old}),
            json!({"retracted": old}),
            json!("ready"),
            json!({"inBlock": again}),
            json!({"finalized": again}),
        ];
        assert_eq!(statuses(updates).await, expected);
    }
    let (code, message) = client.refusal("dev_reorg", json!([6])).await;
    assert_eq!(code, -32602);
    assert!(message.contains("5 are not final"), "{message}");
}

#[tokio::test]
async fn a_reorganisation_can_lose_the_extrinsics_and_survives_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("chain");
    let flags = ["--mining", "manual", "--finality-lag", "5", "--state", file.to_str().expect("plain")];
    let mut chain = Devchain::start(&flags);
    let client = chain.client().await;
    let extrinsic = client.signed("//Bob", remark("lost")).await;
    let params = json!([extrinsic]);
    let updates = client.subscribe("author_submitAndWatchExtrinsic", params, "author_unwatchExtrinsic").await;
    client.call("dev_newBlock", json!([])).await;
    client.call("dev_reorg", json!({"depth": 1, "drop_extrinsics": true})).await;
    let told = statuses(updates).await;
    assert!(told[2].get("retracted").is_some() && told[3] == "dropped", "{told:?}");
    assert_eq!(client.nonce("//Bob").await, 0);
    let blocks = [at(&client, 1).await, at(&client, 2).await];
    chain.kill();
    let chain = Devchain::start(&flags);
    let client = chain.client().await;
    assert_eq!([at(&client, 1).await, at(&client, 2).await], blocks);
}

#[tokio::test]
async fn who_watches_a_block_that_a_restored_chain_lacks_is_told_that_it_is_gone() {
    let chain = Devchain::start(&["--mining", "manual", "--finality-lag", "8"]);
    let client = chain.client().await;
    client.call("dev_newBlock", json!([3])).await;
    let id = client.call("dev_snapshot", json!([])).await["id"].clone();
    client.call("dev_reorg", json!({"depth": 2, "drop_extrinsics": true})).await;
    client.call("dev_restore", json!([id])).await;
    client.call("dev_reorg", json!({"depth": 2})).await;
    let extrinsic = client.signed("//Bob", remark("in another branch")).await;
    let watched = client
        .subscribe("author_submitAndWatchExtrinsic", json!([extrinsic]), "author_unwatchExtrinsic")
        .await;
    client.call("dev_reorg", json!({"depth": 2})).await;
    client.call("dev_restore", json!([id])).await;
    let told = statuses(watched).await;
    assert_eq!(told.last(), Some(&json!("dropped")), "{told:?}");
    assert!(told.iter().any(|status| status.get("inBlock").is_some()), "{told:?}");
    client.call("dev_newBlock", json!([12])).await;
}

#[tokio::test]
async fn storage_is_set_by_a_block_of_its_own() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    let key = format!("0x{}", hex::encode(b"a key of mine"));
    let changed = client.call("dev_setStorage", json!([key, "0x0102"])).await;
    assert_eq!(changed["number"], 1);
    assert_eq!(client.call("state_getStorage", json!([key])).await, "0x0102");
    assert_eq!(client.call("state_getStorage", json!([key, at(&client, 0).await])).await, Value::Null);
    client.call("dev_setStorage", json!({"entries": [[key, null]]})).await;
    assert_eq!(client.call("state_getStorage", json!([key])).await, Value::Null);
    assert_eq!(client.refusal("dev_setStorage", json!(["0xzz", "0x00"])).await.0, -32602);
    assert_eq!(client.refusal("dev_setStorage", json!({})).await.0, -32602);
    let (code, message) = client.refusal("dev_setStorage", json!([key])).await;
    assert!(code == -32602 && message.contains("missing field `value`"), "{message}");
    assert_eq!(client.refusal("dev_setStorage", json!({"value": null})).await.0, -32602);
    assert_eq!(client.number().await, 2);
}

#[tokio::test]
async fn an_upgrade_shows_in_version_metadata_events_and_signatures_and_only_from_its_block_on() {
    let chain = Devchain::start(&["--mining", "instant", "--finality-lag", "3"]);
    let client = chain.client().await;
    let mut versions =
        client.subscribe("state_subscribeRuntimeVersion", json!([]), "state_unsubscribeRuntimeVersion").await;
    let first = versions.next().await.unwrap().unwrap()["specVersion"].as_u64().unwrap();
    let metadata = async |client: &Client, block: Value| {
        let answer = client.call("state_call", json!(["Metadata_metadata_at_version", "0x0f000000", block]));
        answer.await.as_str().expect("hex").to_owned()
    };
    let before = at(&client, 0).await;
    let old = sign("//Bob", remark("old"), 0, Era::Immortal, (client.genesis().await, None));
    let made = client
        .call(
            "dev_upgradeRuntime",
            json!({"spec_versions": 2, "changes": [
                {"change": "wrap", "pallet": "SubtensorModule", "item": "Tempo", "name": "Blocks"},
                {"change": "remove_storage", "pallet": "SubtensorModule", "item": "TokenSymbol"},
                {"change": "remove_api", "api": "SubnetInfoRuntimeApi", "method": "get_metagraph"},
                {"change": "add_extension", "name": "CheckWhatever"},
            ]}),
        )
        .await;
    let upgraded = made["hash"].clone();
    assert_eq!(spec(&client, upgraded.clone()).await, first + 2);
    assert_eq!(spec(&client, before.clone()).await, first);
    assert_eq!(versions.next().await.unwrap().unwrap()["specVersion"], first + 2);
    let (old_metadata, new_metadata) =
        (metadata(&client, before.clone()).await, metadata(&client, upgraded.clone()).await);
    let shows = |metadata: &str, name: &str| {
        let length = u8::try_from(name.len()).expect("short") << 2;
        metadata.contains(&format!("{length:02x}{}", hex::encode(name)))
    };
    assert!(shows(&old_metadata, "TokenSymbol") && !shows(&new_metadata, "TokenSymbol"));
    assert!(!shows(&old_metadata, "CheckWhatever") && shows(&new_metadata, "CheckWhatever"));
    let call = json!(["SubnetInfoRuntimeApi_get_metagraph", "2700", upgraded]);
    let (code, message) = client.refusal("state_call", call).await;
    assert_eq!(code, 4003);
    assert!(message.contains("Exported method SubnetInfoRuntimeApi_get_metagraph is not found"), "{message}");
    client.call("state_call", json!(["SubnetInfoRuntimeApi_get_metagraph", "2700", before])).await;
    let refused = client.refusal("author_submitExtrinsic", json!([old])).await;
    assert_eq!(
        refused,
        (1010, "\"Transaction has a bad signature\"".to_owned()),
        "signed for the old version"
    );
    let header = client.call("chain_getHeader", json!([upgraded])).await;
    assert_eq!(header["digest"]["logs"], json!(["0x08"]), "RuntimeEnvironmentUpdated");
    client.call("dev_newBlock", json!([])).await;
    let key = frame_system::LastRuntimeUpgrade::<Runtime>::hashed_key();
    let last: frame_system::LastRuntimeUpgradeInfo = client.storage(&key).await.expect("kept");
    assert_eq!(u64::from(last.spec_version.0), first + 2);
    client.call("dev_reorg", json!([2])).await;
    assert_eq!(spec(&client, Value::Null).await, first, "a reorganisation takes an upgrade back");
}

#[tokio::test]
async fn a_removed_call_is_refused_and_nonsense_upgrades_too() {
    let chain = Devchain::start(&["--mining", "instant"]);
    let client = chain.client().await;
    let change = json!([[{"change": "remove_call", "pallet": "System", "call": "remark"}]]);
    client.call("dev_upgradeRuntime", change).await;
    let version = spec(&client, Value::Null).await;
    assert_eq!(version, u64::from(version_of(Profile::Newest).spec_version) + 1);
    let extrinsic = client.signed("//Bob", remark("x")).await;
    assert_eq!(client.refusal("author_submitExtrinsic", json!([extrinsic])).await.0, 1001);
    for (changes, part) in [
        (
            json!([{"change": "wrap", "pallet": "No", "item": "Tempo", "name": "B"}]),
            "no storage item No.Tempo",
        ),
        (json!([{"change": "remove_call", "pallet": "System", "call": "remark"}]), "no call System.remark"),
        (json!([{"change": "opaque", "pallet": "SubtensorModule", "item": "TokenSymbol"}]), "no fixed size"),
        (json!([{"change": "remove_api", "api": "Core", "method": "nothing"}]), "no runtime API method"),
        (json!([{"change": "explode"}]), "unknown variant"),
        (
            json!([{"change": "rename_storage", "pallet": "SubtensorModule", "item": "Tempo", "to": "Kappa"}]),
            "SubtensorModule.Kappa already",
        ),
        (json!([{"change": "add_extension", "name": ""}]), "\"\" is no name"),
        (
            json!([{"change": "wrap", "pallet": "SubtensorModule", "item": "Tempo", "name": "not a name!"}]),
            "\"not a name!\" is no name",
        ),
    ] {
        let (code, message) = client.refusal("dev_upgradeRuntime", json!({"changes": changes})).await;
        assert_eq!(code, -32602);
        assert!(message.contains(part), "{message}");
    }
    let (code, message) = client.refusal("dev_upgradeRuntime", json!({"spec_versions": 0})).await;
    assert!(code == -32602 && message.contains("at least 1"), "{message}");
    let (code, message) = client.refusal("dev_upgradeRuntime", json!({"spec_versions": u32::MAX})).await;
    assert!(code == -32602 && message.contains("at most 1000000000"), "{message}");
    assert_eq!(spec(&client, Value::Null).await, version, "nothing of this made a block");
}
