//! Faults on order, as a client meets them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use jsonrpsee::core::client::Error;
use serde_json::json;

use crate::extrinsics::remark;
use crate::support::{Client, Devchain, PATIENCE, statuses};

/// What a raw HTTP request to a path is answered; empty if the connection is cut.
fn raw(chain: &Devchain, path: &str, method: &str) -> String {
    let address = chain.url.trim_start_matches("ws://");
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("sets a deadline");
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("sends");
    let mut answer = String::new();
    // A cut connection may end with a reset, which is what is asked for then.
    let _ = stream.read_to_string(&mut answer);
    answer
}

async fn is_cut(client: &Client) -> bool {
    tokio::time::timeout(PATIENCE, client.client.on_disconnect()).await.is_ok()
}

#[tokio::test]
async fn handshakes_are_refused_until_the_control_path_ends_it() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    client.call("dev_fault", json!({"kind": "handshake", "retry_after_s": 7})).await;
    let refused = raw(&chain, "/", "system_name");
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("retry-after: 7"), "{refused}");
    let refused = jsonrpsee::ws_client::WsClientBuilder::default().build(&chain.url).await;
    assert!(refused.is_err_and(|error| format!("{error:?}").contains("429")));
    assert!(raw(&chain, "/dev", "dev_clearFaults").contains("\"cleared\":1"));
    assert!(raw(&chain, "/", "system_name").contains("basilica-devchain"));
    client.call("dev_fault", json!({"kind": "refuse_connection", "count": 1})).await;
    assert_eq!(raw(&chain, "/", "system_name"), "");
    assert!(raw(&chain, "/", "system_name").contains("basilica-devchain"));
}

#[tokio::test]
async fn requests_are_limited_delayed_hung_and_cut_and_controls_never_are() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    client.call("dev_fault", json!({"kind": "rate_limit", "methods": ["system_*"], "count": 1})).await;
    assert_eq!(client.refusal("system_name", json!([])).await.0, 429);
    client.call("system_name", json!([])).await;
    client.call("dev_fault", json!({"kind": "delay", "ms": 30, "count": 1})).await;
    client.call("system_name", json!([])).await;
    client.call("dev_fault", json!({"kind": "hang", "methods": ["system_name"]})).await;
    let hung = client.try_call("system_name", json!([]));
    tokio::select! {
        _ = hung => panic!("no answer was to come"),
        listed = client.call("dev_faults", json!([])) => assert_eq!(listed.as_array().map(Vec::len), Some(3)),
    }
    client.call("dev_fault", json!({"kind": "disconnect", "methods": ["chain_*"], "count": 1})).await;
    let cut = client.try_call("chain_getHeader", json!([])).await;
    assert!(matches!(cut, Err(Error::RestartNeeded(_))), "{cut:?}");
    assert!(is_cut(&client).await);
    let client = chain.client().await;
    assert_eq!(client.number().await, 0);
    assert_eq!(client.call("dev_clearFaults", json!([])).await["cleared"], 4);
    assert_eq!(client.refusal("dev_clearFaults", json!([9])).await.0, -32602);
}

#[tokio::test]
async fn an_accepted_extrinsic_whose_answer_is_lost_is_in_the_pool() {
    let chain = Devchain::start(&["--mining", "manual"]);
    for (method, nonce) in [("author_submitExtrinsic", 1), ("author_submitAndWatchExtrinsic", 2)] {
        let client = chain.client().await;
        client.call("dev_fault", json!({"kind": "lose_answer", "count": 1})).await;
        let extrinsic = client.signed("//Bob", remark(method)).await;
        let lost = client.try_call(method, json!([extrinsic])).await;
        assert!(matches!(lost, Err(Error::RestartNeeded(_))), "{lost:?}");
        let client = chain.client().await;
        assert_eq!(client.nonce("//Bob").await, nonce, "{method}: accepted all the same");
        assert_eq!(client.refusal("author_submitExtrinsic", json!([extrinsic])).await.0, 1013);
    }
}

#[tokio::test]
async fn instant_blocks_go_on_when_a_stall_has_ended() {
    let chain = Devchain::start(&["--mining", "instant"]);
    let client = chain.client().await;
    client.call("dev_fault", json!({"kind": "stall_blocks", "count": 2})).await;
    let first = client.signed("//Bob", remark("held up")).await;
    assert!(client.watch(&first).await.iter().any(|status| status.get("inBlock").is_some()));
    assert_eq!(client.call("dev_faults", json!([])).await[0]["left"], 0);
}

#[tokio::test]
async fn controls_answer_although_everything_else_hangs() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    client.call("dev_fault", json!({"kind": "hang"})).await;
    let mut web = crate::raw::Raw::connect(&chain).expect("connects");
    for id in 0..300 {
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": "system_name" });
        assert!(web.send(crate::raw::TEXT, request.to_string().as_bytes()));
    }
    let clear = json!({ "jsonrpc": "2.0", "id": "clear", "method": "dev_clearFaults" });
    assert!(web.send(crate::raw::TEXT, clear.to_string().as_bytes()));
    let cleared = std::iter::from_fn(|| web.next()).find(|(_, answer)| answer.contains("clear"));
    assert!(cleared.is_some_and(|(_, answer)| answer.contains("\"cleared\":1")));
}

#[tokio::test]
async fn a_fault_that_could_never_strike_is_refused() {
    let chain = Devchain::start(&["--mining", "manual", "--finality-lag", "8"]);
    let client = chain.client().await;
    for (fault, part) in [
        (json!({"kind": "hang", "count": 0}), "at least 1"),
        (json!({"kind": "hang", "methods": ["nosuch_method"]}), "nosuch_method"),
        (json!({"kind": "delay", "ms": 1, "methods": ["system_name", "nosuch_*"]}), "nosuch_*"),
        (json!({"kind": "disconnect", "methods": ["dev_now"]}), "dev_now"),
        (json!({"kind": "rate_limit", "methods": ["dev_*"]}), "dev_*"),
        (json!({"kind": "refuse_extrinsic", "pallet": "Nope", "call": "x"}), "no call Nope.x"),
        (json!({"kind": "reorg", "depth": 9}), "8 are not final"),
    ] {
        let (code, message) = client.refusal("dev_fault", fault.clone()).await;
        assert!(code == -32602 && message.contains(part), "{fault}: {message}");
    }
    assert_eq!(client.call("dev_faults", json!([])).await, json!([]));
    for fault in [
        json!({"kind": "hang", "methods": ["rpc_methods", "chain_subscribe*"]}),
        json!({"kind": "reorg", "depth": 8}),
        json!({"kind": "stall_finality"}),
        json!({"kind": "reorg", "depth": 9}),
    ] {
        client.call("dev_fault", fault).await;
    }
}

#[tokio::test]
async fn a_class_of_extrinsics_is_refused_or_dropped_later() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    let fault =
        json!({"kind": "refuse_extrinsic", "pallet": "System", "call": "remark", "code": 6, "count": 1});
    client.call("dev_fault", fault).await;
    let extrinsic = client.signed("//Bob", remark("x")).await;
    let refused = client.refusal("author_submitExtrinsic", json!([extrinsic])).await;
    assert_eq!(refused, (1010, "\"Custom error: 6\"".to_owned()));
    client
        .call("dev_fault", json!({"kind": "refuse_extrinsic", "pallet": "System", "late": "dropped"}))
        .await;
    let params = json!([extrinsic]);
    let updates = client.subscribe("author_submitAndWatchExtrinsic", params, "author_unwatchExtrinsic").await;
    client.call("dev_newBlock", json!([])).await;
    assert_eq!(statuses(updates).await, [json!("ready"), json!("dropped")]);
    assert_eq!(client.nonce("//Bob").await, 0);
}

#[tokio::test]
async fn blocks_stall_and_branches_change_by_themselves_as_the_seed_says() {
    let run = async || {
        let chain = Devchain::start(&["--mining", "manual", "--finality-lag", "8", "--fault-seed", "5"]);
        let client = chain.client().await;
        client.call("dev_fault", json!({"kind": "reorg", "depth": 2, "probability": 0.3})).await;
        client.call("dev_newBlock", json!([30])).await;
        client.call("dev_faults", json!([])).await[0]["hits"].as_u64().expect("a number")
    };
    let hits = run().await;
    assert!((1..30).contains(&hits), "{hits}");
    assert_eq!(run().await, hits);
    let chain = Devchain::start(&[]);
    let client = chain.client().await;
    client.call("dev_fault", json!({"kind": "stall_blocks", "count": 3})).await;
    client
        .until("blocks go on after three were left out", async |client| {
            let listed = client.call("dev_faults", json!([])).await;
            listed[0]["left"] == 0 && client.number().await > 2
        })
        .await;
}
