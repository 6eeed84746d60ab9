//! Clients that mean harm: the chain refuses them within its bounds, goes on, and serves the others.

use std::io::{Read as _, Write as _};

use basilica_devchain::runtime::RuntimeCall;
use serde_json::{Value, json};

use crate::extrinsics::remark;
use crate::raw::{BINARY, PING, Raw, TEXT, post, socket};
use crate::support::{Client, Devchain, PATIENCE};

fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

/// The chain still makes blocks, for a client that was there and for a new one.
async fn goes_on(chain: &Devchain, client: &Client) {
    let before = client.number().await;
    client.call("dev_newBlock", json!([])).await;
    assert_eq!(chain.client().await.number().await, before + 1);
}

#[tokio::test]
async fn nonsense_is_answered_with_an_error_and_the_chain_goes_on() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    let deep = request("dev_fault", &format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000)));
    let nested_batches = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let long_batch = format!("[{}]", vec![request("system_name", "[]"); 1_001].join(","));
    let huge = request("x", &format!("[\"{}\"]", "0".repeat(9 << 20)));
    let bodies: [&[u8]; 12] = [
        b"",
        b"{",
        b"[]",
        b"nul",
        b"\0",
        b"{\"jsonrpc\":\"1.0\"}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\xfe\"}",
        b"\xc3\x28",
        deep.as_bytes(),
        nested_batches.as_bytes(),
        long_batch.as_bytes(),
        huge.as_bytes(),
    ];
    for body in bodies {
        let answer = post(&chain, body);
        assert!(!answer.contains("\"result\""), "{}", &answer[..answer.len().min(300)]);
    }
    let mut web = Raw::connect(&chain).expect("connects");
    for (number, body) in (0..).zip(&bodies[..11]) {
        let kind = if number % 2 == 0 { TEXT } else { BINARY };
        assert!(web.send(kind, body));
        let (_, answer) = web.next().unwrap_or_else(|| panic!("body {number} ended the connection"));
        assert!(answer.contains("\"error\""), "{answer}");
    }
    goes_on(&chain, &client).await;
}

#[tokio::test]
async fn parameters_out_of_bounds_are_refused() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    let zeroes = "00".repeat(1 << 19);
    for (method, params) in [
        ("author_submitExtrinsic", json!([zeroes])),
        ("author_submitExtrinsic", json!(["0xffffffffffffffff"])),
        ("author_submitExtrinsic", json!(["0x0"])),
        ("author_submitExtrinsic", json!(["gg"])),
        ("author_submitExtrinsic", json!([[0, 1, 2]])),
        ("state_call", json!(["SubnetInfoRuntimeApi_get_selective_metagraph", "ffffffffffffffff"])),
        ("state_call", json!(["Core_execute_block", zeroes])),
        ("state_call", json!(["BlockBuilder_apply_extrinsic", zeroes])),
        ("state_getStorage", json!(["0xé"])),
        ("state_getKeysPaged", json!(["0x", u64::MAX])),
        ("state_queryStorageAt", json!([vec!["0x"; 10_001]])),
        ("chain_getBlockHash", json!([vec![1; 1_001]])),
        ("chain_getBlockHash", json!([-1])),
        ("chain_getBlockHash", json!(["0x100000000"])),
        ("chain_getHeader", json!(["0x00"])),
        ("system_accountNextIndex", json!(["5"])),
        ("dev_newBlock", json!([u64::MAX])),
        ("dev_newBlock", json!([10_001])),
        ("dev_setTime", json!([Value::Null])),
        ("dev_setStorage", json!({ "entries": vec![["0x00", "0x00"]; 10_001] })),
    ] {
        let refused = client.try_call(method, params.clone()).await;
        assert!(refused.is_err(), "{method} {}", &params.to_string()[..40]);
    }
    let state = client.call("dev_setStorage", json!(["0xaa", "00".repeat(1 << 19)])).await;
    assert_eq!(state["number"], 1);
    // Half a megabyte, a thousand times over, is not built up to be refused.
    assert_eq!(client.refusal("state_queryStorageAt", json!([vec!["0xaa"; 1_000]])).await.0, -32602);
    let many = json!([vec!["0xaa"; 1_001]]);
    for (keys, why) in [(many, "many"), (json!(["aa".repeat(200_000)]), "long")] {
        let refused =
            client.refuses_subscription("state_subscribeStorage", json!([keys]), "state_unsubscribeStorage");
        assert!(refused.await, "{why}");
    }
    goes_on(&chain, &client).await;
}

/// A call of so many calls in each other, `Sudo.sudo` of `Sudo.sudo`, around nothing.
fn nested(levels: usize) -> String {
    "0c00".repeat(levels)
}

/// With the length that begins an extrinsic, unsigned.
fn extrinsic_of(call: &str) -> String {
    let body = hex::decode(format!("04{call}")).expect("hex");
    hex::encode(codec::Encode::encode(&body))
}

#[tokio::test]
async fn calls_nested_without_end_are_refused_before_they_fill_a_stack() {
    let chain = Devchain::start(&["--mining", "instant"]);
    let client = chain.client().await;
    for levels in [257, 30_000, 500_000] {
        let (call, extrinsic) = (nested(levels), extrinsic_of(&nested(levels)));
        assert_eq!(client.refusal("author_submitExtrinsic", json!([extrinsic])).await.0, 1001);
        for method in ["payment_queryInfo", "payment_queryFeeDetails"] {
            assert_eq!(client.refusal(method, json!([extrinsic])).await.0, 4003, "{method}");
        }
        let block = format!("{}04{extrinsic}", "00".repeat(98));
        for (method, arguments) in [
            ("BlockBuilder_apply_extrinsic", extrinsic.clone()),
            ("TransactionPaymentApi_query_info", format!("{extrinsic}00000000")),
            ("TransactionPaymentApi_query_fee_details", format!("{extrinsic}00000000")),
            ("TransactionPaymentCallApi_query_call_info", format!("{call}00000000")),
            ("TransactionPaymentCallApi_query_call_fee_details", format!("{call}00000000")),
            ("TaggedTransactionQueue_validate_transaction", format!("00{extrinsic}{}", "00".repeat(32))),
            ("Core_execute_block", block.clone()),
            ("BlockBuilder_check_inherents", format!("{block}00")),
        ] {
            assert_eq!(client.refusal("state_call", json!([method, arguments])).await.0, 4003, "{method}");
        }
    }
    // As deep as is allowed, and run: nothing of it is refused for its depth.
    let mut call = remark("at the bottom");
    for _ in 0..120 {
        call = RuntimeCall::Sudo(pallet_sudo::Call::sudo { call: Box::new(call) });
    }
    let statuses = client.watch(&client.signed("//Alice", call).await).await;
    assert!(statuses.iter().any(|status| status.get("inBlock").is_some()), "{statuses:?}");
    goes_on(&chain, &client).await;
}

#[tokio::test]
async fn frames_that_claim_too_much_or_never_end_cost_their_own_connection_only() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    let before = chain.resident();
    let mut unfinished = Vec::new();
    for _ in 0..20 {
        let mut web = Raw::connect(&chain).expect("connects");
        web.frame(TEXT, 8 << 20, b"[");
        unfinished.push(web);
    }
    let mut claims = Raw::connect(&chain).expect("connects");
    claims.frame(BINARY, 1 << 40, &[b'0'; 1 << 16]);
    if let Some((_, answer)) = claims.next() {
        assert!(answer.contains("error") || !answer.contains("result"), "{answer}");
    }
    let mut pings = Raw::connect(&chain).expect("connects");
    for _ in 0..10_000 {
        assert!(pings.send(PING, b"again"));
    }
    goes_on(&chain, &client).await;
    let grown = chain.resident().saturating_sub(before);
    assert!(
        grown < (20 * 8 + 64) << 20,
        "no more is set aside than what one request may have: {grown} bytes"
    );
}

#[tokio::test]
async fn subscriptions_are_bounded_for_one_connection_and_free_for_the_next() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    let mut web = Raw::connect(&chain).expect("connects");
    let asking = web.other();
    let asked = 1_500;
    let asker = std::thread::spawn(move || {
        let mut asking = asking;
        (0..asked).all(|_| asking.send(TEXT, request("chain_subscribeAllHeads", "[]").as_bytes()))
    });
    let (mut granted, mut refused) = (0, 0);
    while granted + refused < asked {
        let (_, answer) = web.next().expect("answers");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        match (answer.get("result"), answer.get("error")) {
            (Some(_), _) => granted += 1,
            (_, Some(error)) => {
                assert!([-32_006, -32_009].contains(&error["code"].as_i64().unwrap()), "{error}");
                refused += 1;
            }
            _ => assert_eq!(answer["method"], "chain_allHead"),
        }
    }
    assert!(asker.join().expect("asks"), "the connection lives");
    assert!((1..=1_024).contains(&granted), "{granted}");
    let heads = client.subscribe("chain_subscribeNewHeads", json!([]), "chain_unsubscribeNewHeads").await;
    drop(web);
    drop(heads);
    goes_on(&chain, &client).await;
}

#[tokio::test]
async fn batches_of_big_answers_are_cut_off_at_the_bound() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    let bomb = format!("[{}]", vec![request("state_getMetadata", "[]"); 1_000].join(","));
    let answers: Vec<_> = std::thread::scope(|scope| {
        let posts: Vec<_> = (0..2).map(|_| scope.spawn(|| post(&chain, bomb.as_bytes()))).collect();
        posts.into_iter().map(|post| post.join().expect("posts")).collect()
    });
    for answer in answers {
        assert!(answer.contains("\"code\":-32011") && answer.len() < 1_000, "{}", answer.len());
    }
    goes_on(&chain, &client).await;
}

#[tokio::test]
async fn a_client_that_asks_and_does_not_read_waits_for_itself() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    client.call("dev_setStorage", json!(["0xaa", "00".repeat(1 << 19)])).await;
    let before = chain.resident();
    let mut web = Raw::connect(&chain).expect("connects");
    const ASKED: usize = 100;
    for _ in 0..ASKED {
        assert!(web.send(TEXT, request("state_getStorage", "[\"0xaa\"]").as_bytes()));
    }
    let (mut last, mut still) = (0, 0);
    while still < 100 {
        client.call("chain_getHeader", json!([])).await;
        let now = chain.resident();
        still = if now == last && now > before + (8 << 20) { still + 1 } else { 0 };
        last = now;
    }
    let grown = last.saturating_sub(before);
    assert!(grown < 64 << 20, "a megabyte each, but no more than the bound and its copies: {grown} bytes");
    goes_on(&chain, &client).await;
    for number in 0..ASKED {
        let (_, answer) = web.next().unwrap_or_else(|| panic!("answer {number} is missing"));
        assert!(answer.contains("result"), "{}", answer.len());
    }
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_holds_up_nobody() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let (slow, other) = (chain.client().await, chain.client().await);
    let mut heads = slow.subscribe("chain_subscribeNewHeads", json!([]), "chain_unsubscribeNewHeads").await;
    other.call("dev_newBlock", json!([100])).await;
    let mut last = None;
    while last != Some(100) {
        let head = tokio::time::timeout(PATIENCE, heads.next()).await.expect("in time");
        let number = crate::support::number_of(&head.expect("goes on").expect("a head"));
        assert!(last < Some(number), "in order");
        last = Some(number);
    }
}

#[tokio::test]
async fn a_flood_of_connections_is_refused_and_ends() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    let flood: Vec<_> = (0..300).map(|_| Raw::connect(&chain)).collect();
    let refused = flood.iter().filter_map(|connected| connected.as_ref().err());
    let refused: Vec<_> = refused.map(|head| head.split(' ').nth(1).unwrap_or("cut")).collect();
    assert!(refused.len() >= 44 && refused.iter().all(|status| *status == "429"), "{refused:?}");
    client.call("dev_newBlock", json!([])).await;
    drop(flood);
    while Raw::connect(&chain).is_err() {
        client.call("chain_getHeader", json!([])).await;
    }
    goes_on(&chain, &client).await;
}

#[tokio::test]
async fn a_connection_without_a_request_is_ended() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    let mut begun = ["", "POST / HTTP/1.1\r\nhost: dev"].map(|begin| {
        let mut stream = socket(&chain);
        stream.write_all(begin.as_bytes()).expect("sends");
        stream
    });
    for stream in &mut begun {
        let mut rest = Vec::new();
        // Reset or closed, it ends before the patience does.
        let ended = stream.read_to_end(&mut rest);
        assert!(ended.is_ok_and(|count| count == 0));
    }
    goes_on(&chain, &client).await;
}
