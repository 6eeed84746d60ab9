//! Input that means harm: the chain answers with an error and goes on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::{Devchain, PATIENCE};

fn post(chain: &Devchain, body: &str) -> String {
    let address = chain.url.trim_start_matches("ws://");
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("sets a deadline");
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[tokio::test]
async fn nonsense_is_answered_with_an_error_and_the_chain_goes_on() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let deep = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"dev_fault\",\"params\":{}1{}}}",
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    let nested_batches = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let long_batch =
        format!("[{}]", vec![r#"{"jsonrpc":"2.0","id":1,"method":"system_name"}"#; 1_001].join(","));
    for body in ["", "{", "[]", "nul", "\u{0}", "{\"jsonrpc\":\"1.0\"}", &deep, &nested_batches, &long_batch]
    {
        let answer = post(&chain, body);
        assert!(!answer.contains("\"result\""), "{}", &answer[..answer.len().min(300)]);
    }
    let huge = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":[\"{}\"]}}",
        "0".repeat(16 << 20)
    );
    assert!(!post(&chain, &huge).contains("\"result\""));
    let client = chain.client().await;
    let zeroes = "00".repeat(4 << 20);
    for (method, params) in [
        ("author_submitExtrinsic", json!([zeroes])),
        ("author_submitExtrinsic", json!(["0xffffffffffffffff"])),
        ("state_call", json!(["SubnetInfoRuntimeApi_get_selective_metagraph", "ffffffffffffffff"])),
        ("state_call", json!(["Core_execute_block", zeroes])),
        ("state_getKeysPaged", json!(["0x", u64::MAX])),
        ("chain_getBlockHash", json!([vec![1; 1_001]])),
        ("chain_getBlockHash", json!([-1])),
        ("chain_getHeader", json!(["0x00"])),
        ("dev_newBlock", json!([u64::MAX])),
        ("dev_setTime", json!([Value::Null])),
    ] {
        assert!(client.try_call(method, params).await.is_err(), "{method}");
    }
    assert_eq!(client.call("dev_newBlock", json!([])).await["number"], 1);
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_holds_up_nobody() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let (slow, other) = (chain.client().await, chain.client().await);
    let mut heads = slow.subscribe("chain_subscribeNewHeads", json!([]), "chain_unsubscribeNewHeads").await;
    other.call("dev_newBlock", json!([200])).await;
    let mut last = None;
    while last != Some(200) {
        let head = tokio::time::timeout(PATIENCE, heads.next()).await.expect("in time");
        let number = crate::support::number_of(&head.expect("goes on").expect("a head"));
        assert!(last < Some(number), "in order");
        last = Some(number);
    }
}
