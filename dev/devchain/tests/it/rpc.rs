//! Shapes of answers, subscriptions, errors and bounds.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use basilica_devchain::runtime::marker::MARKER;
use serde_json::{Value, json};

use crate::support::{Devchain, PATIENCE, address_of, command, hash_of, number_of};

#[test]
fn a_port_in_use_is_refused_with_the_address_and_exit_code_one() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = listener.local_addr().expect("has an address").to_string();
    let output = command().args(["--listen", &address]).output().expect("runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains(&address) && message.contains("--listen"), "{message}");
}

#[test]
fn it_prints_its_keys_writes_its_address_and_ends_cleanly_on_sigterm() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("address");
    let mut chain = Devchain::start(&["--print-addr", file.to_str().expect("a plain path")]);
    let owner = address_of("//Owner");
    assert!(chain.printed.iter().any(|line| line.contains(&owner) && line.ends_with("//Owner")));
    let waited =
        std::iter::repeat_with(|| std::fs::read_to_string(&file)).take(1_000_000).find_map(Result::ok);
    assert_eq!(waited.map(|text| text.trim().to_owned()), Some(chain.url.clone()));
    assert_eq!(chain.terminate(), Some(0));
}

#[tokio::test]
async fn only_legacy_methods_are_listed_and_every_listed_one_exists() {
    let chain = Devchain::start(&[]);
    let client = chain.client().await;
    let listed = client.call("rpc_methods", json!([])).await;
    let names: Vec<&str> =
        listed["methods"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for needed in [
        "account_nextIndex",
        "author_submitAndWatchExtrinsic",
        "author_unwatchExtrinsic",
        "chain_getFinalizedHead",
        "chain_getHead",
        "chain_subscribeFinalizedHeads",
        "state_call",
        "state_getKeysPaged",
        "state_queryStorageAt",
        "state_subscribeRuntimeVersion",
        "system_accountNextIndex",
    ] {
        assert!(names.contains(&needed), "{needed} is missing");
    }
    for modern in ["chainHead", "chainSpec", "transactionWatch", "transaction_v1", "archive"] {
        assert!(
            !names.iter().any(|name| name.starts_with(modern)),
            "{modern} would turn clients to the new API"
        );
    }
    assert_eq!(client.refusal("chainHead_v1_follow", json!([])).await.0, -32601);
}

#[tokio::test]
async fn state_calls_take_hex_with_and_without_prefix_and_refuse_nonsense() {
    let chain = Devchain::start(&[]);
    let client = chain.client().await;
    let plain =
        client.call("state_call", json!(["SubnetInfoRuntimeApi_get_subnet_hyperparams", "2700"])).await;
    let prefixed = client
        .call("state_call", json!(["SubnetInfoRuntimeApi_get_subnet_hyperparams", "0x2700", null]))
        .await;
    assert_eq!(plain, prefixed);
    assert!(plain.as_str().unwrap().starts_with("0x01"), "subnet 39 exists");
    assert_eq!(
        client.call("state_call", json!(["SubnetInfoRuntimeApi_get_metagraph", "2800"])).await,
        json!("0x00")
    );
    let (code, message) = client.refusal("state_call", json!(["Metadata_of_nothing", "0x"])).await;
    assert_eq!(code, 4003);
    assert!(message.contains("Exported method Metadata_of_nothing is not found"), "{message}");
    let (code, message) =
        client.refusal("state_call", json!(["SubnetInfoRuntimeApi_get_metagraph", "0x27"])).await;
    assert_eq!(code, 4003, "{message}");
    assert_eq!(client.refusal("state_call", json!(["Core_version", "xyz"])).await.0, -32602);
    assert_eq!(client.refusal("state_call", json!([])).await.0, -32602);
}

#[tokio::test]
async fn metadata_of_every_version_carries_the_development_marker() {
    let chain = Devchain::start(&[]);
    let client = chain.client().await;
    for version in ["0x0e000000", "0x0f000000", "0x10000000"] {
        let metadata = client.call("state_call", json!(["Metadata_metadata_at_version", version])).await;
        let metadata = metadata.as_str().unwrap();
        assert!(metadata.contains(&hex::encode(MARKER)), "the marker is missing in version {version}");
        assert!(metadata.contains(&hex::encode("BasilicaDevchain")));
    }
    let legacy = client.call("state_getMetadata", json!([])).await;
    assert!(legacy.as_str().unwrap().starts_with("0x6d657461"), "the magic `meta` comes first");
}

#[tokio::test]
async fn hashes_headers_and_blocks_agree_by_number_hash_and_alias() {
    let chain = Devchain::start(&[]);
    let client = chain.client().await;
    client.until("block 3", async |client| client.number().await >= 3).await;
    let third = client.call("chain_getBlockHash", json!([3])).await;
    assert_eq!(client.call("chain_getBlockHash", json!(["0x3"])).await, third);
    assert_eq!(client.call("chain_getBlockHash", json!([[2, 3]])).await[1], third);
    assert_eq!(client.call("chain_getBlockHash", json!([1_000_000])).await, Value::Null);
    let header = client.call("chain_getHeader", json!([third])).await;
    assert_eq!(number_of(&header), 3);
    assert_eq!(header["parentHash"], client.call("chain_getBlockHash", json!([2])).await);
    let block = client.call("chain_getBlock", json!([third])).await;
    assert_eq!(block["block"]["header"], header);
    assert_eq!(block["block"]["extrinsics"].as_array().unwrap().len(), 1, "the timestamp");
    let unknown = json!([format!("0x{}", "ab".repeat(32))]);
    assert_eq!(client.call("chain_getHeader", unknown.clone()).await, Value::Null);
    assert_eq!(client.refusal("state_getRuntimeVersion", unknown).await.0, 4003);
    assert!(
        hash_of(&client.call("chain_getHead", json!([])).await) != hash_of(&third)
            || client.number().await == 3
    );
    let version = client.call("state_getRuntimeVersion", json!([null])).await;
    assert_eq!(version["specName"], "node-subtensor");
    assert_eq!(version["transactionVersion"], 1);
}

#[tokio::test]
async fn keys_come_in_pages_that_join_without_gap_or_repeat() {
    let chain = Devchain::start(&[]);
    let client = chain.client().await;
    let at = client.call("chain_getBlockHash", json!([0])).await;
    let all = client.call("state_getKeysPaged", json!(["0x", 1_000, null, at])).await;
    let all = all.as_array().unwrap().clone();
    assert!(all.len() > 50);
    let mut joined: Vec<Value> = Vec::new();
    loop {
        let after = joined.last().cloned().unwrap_or(Value::Null);
        let page = client.call("state_getKeysPaged", json!(["0x", 7, after, at])).await;
        let page = page.as_array().unwrap().clone();
        if page.is_empty() {
            break;
        }
        joined.extend(page);
    }
    assert_eq!(joined, all);
    assert_eq!(client.refusal("state_getKeysPaged", json!(["0x", 1_001])).await.0, 4002);
    let values = client.call("state_queryStorageAt", json!([[all[0], "0xdead"], at])).await;
    assert_eq!(values[0]["block"], at);
    assert_eq!(values[0]["changes"][0][0], all[0]);
    assert!(values[0]["changes"][0][1].is_string());
    assert_eq!(values[0]["changes"][1], json!(["0xdead", null]));
}

#[tokio::test]
async fn subscriptions_tell_every_head_in_order() {
    let chain = Devchain::start(&[]);
    let client = chain.client().await;
    for (subscribe, unsubscribe) in [
        ("chain_subscribeNewHeads", "chain_unsubscribeNewHeads"),
        ("chain_subscribeFinalizedHeads", "chain_unsubscribeFinalizedHeads"),
        ("chain_subscribeAllHeads", "chain_unsubscribeAllHeads"),
    ] {
        let mut heads = client.subscribe(subscribe, json!([]), unsubscribe).await;
        let mut numbers = Vec::new();
        while numbers.len() < 5 {
            let head = tokio::time::timeout(PATIENCE, heads.next()).await.expect("a head in time");
            numbers.push(number_of(&head.expect("heads go on").expect("a head")));
        }
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{subscribe}: {numbers:?}");
        heads.unsubscribe().await.expect("unsubscribes");
    }
    let mut versions =
        client.subscribe("state_subscribeRuntimeVersion", json!([]), "state_unsubscribeRuntimeVersion").await;
    assert_eq!(versions.next().await.unwrap().unwrap()["specName"], "node-subtensor");
}

#[test]
fn http_answers_single_requests_and_batches() {
    let chain = Devchain::start(&[]);
    let address = chain.url.trim_start_matches("ws://");
    let post = |body: &str| -> Value {
        let mut stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("sets a deadline");
        write!(
            stream,
            "POST / HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).expect("JSON")
    };
    let single = post(r#"{"jsonrpc":"2.0","id":1,"method":"system_chain"}"#);
    assert_eq!(single["result"], "Basilica Development");
    let batch = post(
        r#"[{"jsonrpc":"2.0","id":1,"method":"system_name","params":[]},{"jsonrpc":"2.0","id":2,"method":"no_such"}]"#,
    );
    assert_eq!(batch[0]["result"], "basilica-devchain");
    assert_eq!(batch[1]["error"]["code"], -32601);
    assert_eq!(post("[1,")["error"]["code"], -32700);
}
