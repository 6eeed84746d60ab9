//! Every JSON-RPC method, by its names, with hex as clients write it: one table, and nothing is served that is not in it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::extrinsics::remark;
use crate::support::{Client, Devchain, PATIENCE, address_of};

/// What an answer must be.
#[derive(Debug, Clone, Copy)]
enum Is {
    /// `0x` and an even number of digits.
    Hex,
    /// `0x` and a number.
    Quantity,
    /// Any text.
    Text,
    Number,
    Object,
    /// An array with something in it.
    Many,
    /// An array.
    Array,
    Null,
}

impl Is {
    fn holds(self, answer: &Value) -> bool {
        let hex = |text: &str, even: bool| {
            text.strip_prefix("0x").is_some_and(|digits| {
                (!even || digits.len() % 2 == 0) && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
            })
        };
        match self {
            Self::Hex => answer.as_str().is_some_and(|text| hex(text, true)),
            Self::Quantity => answer.as_str().is_some_and(|text| hex(text, false)),
            Self::Text => answer.is_string(),
            Self::Number => answer.is_u64(),
            Self::Object => answer.is_object(),
            Self::Many => answer.as_array().is_some_and(|values| !values.is_empty()),
            Self::Array => answer.is_array(),
            Self::Null => answer.is_null(),
        }
    }
}

type Names = &'static [&'static str];

/// Names of one method, parameters, what all names answer. `$HASH` is block 1's hash, `$KEY` a storage key with a value, `$PREFIX` one
/// with keys below it, `$ALICE` an address, `$EXTRINSIC` a signed one, `$CALL` the one SCALE-encoded argument 39u16.
const CALLS: &[(Names, &str, Is)] = &[
    (&["author_pendingExtrinsics"], "[]", Is::Array),
    (&["author_removeExtrinsic"], r#"[[{"hash":"$HASH"}]]"#, Is::Array),
    (&["author_submitExtrinsic"], r#"["$EXTRINSIC"]"#, Is::Hex),
    (&["chain_getBlock"], r#"["$HASH"]"#, Is::Object),
    (&["chain_getBlock"], "[]", Is::Object),
    (&["chain_getBlockHash", "chain_getHead"], "[1]", Is::Hex),
    (&["chain_getBlockHash", "chain_getHead"], "[]", Is::Hex),
    (&["chain_getBlockHash", "chain_getHead"], "[[0, 1]]", Is::Many),
    (&["chain_getFinalizedHead", "chain_getFinalisedHead"], "[]", Is::Hex),
    (&["chain_getHeader"], r#"["$HASH"]"#, Is::Object),
    (&["chain_getHeader"], "[]", Is::Object),
    (&["state_getRuntimeVersion", "chain_getRuntimeVersion"], r#"["$HASH"]"#, Is::Object),
    (&["state_getRuntimeVersion", "chain_getRuntimeVersion"], "[null]", Is::Object),
    (&["state_call", "state_callAt"], r#"["SubnetInfoRuntimeApi_get_metagraph", "$CALL", "$HASH"]"#, Is::Hex),
    (&["state_call", "state_callAt"], r#"["Metadata_metadata_at_version", "0x0f000000"]"#, Is::Hex),
    (&["state_getKeys"], r#"["$PREFIX", "$HASH"]"#, Is::Many),
    (&["state_getKeysPaged", "state_getKeysPagedAt"], r#"["$PREFIX", 10, null, "$HASH"]"#, Is::Many),
    (&["state_getKeysPaged", "state_getKeysPagedAt"], r#"["$PREFIX", 10, "$PREFIX"]"#, Is::Many),
    (&["state_getMetadata"], r#"["$HASH"]"#, Is::Hex),
    (&["state_getPairs"], r#"["$PREFIX", "$HASH"]"#, Is::Many),
    (&["state_getStorage", "state_getStorageAt"], r#"["$KEY", "$HASH"]"#, Is::Hex),
    (&["state_getStorage", "state_getStorageAt"], r#"["00"]"#, Is::Null),
    (&["state_getStorageHash", "state_getStorageHashAt"], r#"["$KEY", "$HASH"]"#, Is::Hex),
    (&["state_getStorageSize", "state_getStorageSizeAt"], r#"["$KEY", "$HASH"]"#, Is::Number),
    (&["state_queryStorageAt"], r#"[["$KEY", "00"], "$HASH"]"#, Is::Many),
    (&["system_accountNextIndex", "account_nextIndex"], r#"["$ALICE"]"#, Is::Number),
    (&["payment_queryInfo"], r#"["$EXTRINSIC", "$HASH"]"#, Is::Object),
    (&["payment_queryFeeDetails"], r#"["$EXTRINSIC", "$HASH"]"#, Is::Object),
    (&["rpc_methods"], "[]", Is::Object),
    (&["system_properties"], "[]", Is::Object),
    (&["system_health"], "[]", Is::Object),
    (&["system_syncState"], "[]", Is::Object),
    (&["system_chain"], "[]", Is::Text),
    (&["system_chainType"], "[]", Is::Text),
    (&["system_name"], "[]", Is::Text),
    (&["system_version"], "[]", Is::Text),
    (&["system_nodeRoles"], "[]", Is::Many),
    (&["system_peers"], "[]", Is::Array),
    (&["system_localListenAddresses"], "[]", Is::Array),
    (&["eth_chainId"], "[]", Is::Quantity),
    (&["eth_blockNumber"], "[]", Is::Quantity),
    (&["net_version"], "[]", Is::Text),
    (&["web3_clientVersion"], "[]", Is::Text),
];

/// Names to subscribe, parameters, names to unsubscribe, the notification's name, and what it brings at once.
const SUBSCRIPTIONS: &[(Names, &str, Names, &str, Is)] = &[
    (
        &["chain_subscribeNewHeads", "chain_subscribeNewHead", "subscribe_newHead"],
        "[]",
        &["chain_unsubscribeNewHeads", "chain_unsubscribeNewHead", "unsubscribe_newHead"],
        "chain_newHead",
        Is::Object,
    ),
    (&["chain_subscribeAllHeads"], "[]", &["chain_unsubscribeAllHeads"], "chain_allHead", Is::Object),
    (
        &["chain_subscribeFinalizedHeads", "chain_subscribeFinalisedHeads"],
        "[]",
        &["chain_unsubscribeFinalizedHeads", "chain_unsubscribeFinalisedHeads"],
        "chain_finalizedHead",
        Is::Object,
    ),
    (
        &["state_subscribeRuntimeVersion", "chain_subscribeRuntimeVersion"],
        "[]",
        &["state_unsubscribeRuntimeVersion", "chain_unsubscribeRuntimeVersion"],
        "state_runtimeVersion",
        Is::Object,
    ),
    (
        &["state_subscribeStorage"],
        r#"[["$KEY"]]"#,
        &["state_unsubscribeStorage"],
        "state_storage",
        Is::Object,
    ),
    (
        &["author_submitAndWatchExtrinsic"],
        r#"["$EXTRINSIC"]"#,
        &["author_unwatchExtrinsic"],
        "author_extrinsicUpdate",
        Is::Text,
    ),
];

/// Fills parameters in. Extrinsics come from one account after the other, so that none is submitted twice.
struct Filling {
    hash: String,
    prefix: String,
    key: String,
    signers: std::vec::IntoIter<&'static str>,
}

impl Filling {
    async fn of(client: &Client) -> Self {
        let made = client.call("dev_newBlock", json!([])).await;
        let prefix = frame_support::storage::storage_prefix(b"SubtensorModule", b"Tempo");
        let prefix = format!("0x{}", hex::encode(prefix));
        let keys = client.call("state_getKeysPaged", json!([prefix, 1])).await;
        Self {
            hash: made["hash"].as_str().expect("a hash").to_owned(),
            key: keys[0].as_str().expect("a key").to_owned(),
            prefix,
            signers: vec!["//Bob", "//Charlie", "//Dave", "//Eve", "//Alice", "//Miner1Cold", "//Miner2Cold"]
                .into_iter(),
        }
    }

    /// The parameters with hex as it is written mostly, and with the prefix left out where it was or put where it was not.
    async fn both(&mut self, client: &Client, params: &str) -> [Value; 2] {
        let extrinsic = match params.contains("$EXTRINSIC") {
            true => client.signed(self.signers.next().expect("enough accounts"), remark("m")).await,
            false => String::new(),
        };
        let fill = |prefixed: bool| {
            let written = |hex: &str| match prefixed {
                true => format!("0x{}", hex.trim_start_matches("0x")),
                false => hex.trim_start_matches("0x").to_owned(),
            };
            let text = params
                .replace("$HASH", &written(&self.hash))
                .replace("$PREFIX", &written(&self.prefix))
                .replace("$KEY", &written(&self.key))
                .replace("$CALL", &written("2700"))
                .replace("$ALICE", &address_of("//Alice"))
                .replace("$EXTRINSIC", &written(&extrinsic));
            serde_json::from_str(&text).expect("JSON")
        };
        [fill(true), fill(false)]
    }
}

#[tokio::test]
async fn every_method_answers_by_all_its_names_with_hex_of_both_kinds() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    let mut filling = Filling::of(&client).await;
    for (names, params, is) in CALLS {
        let [prefixed, plain] = filling.both(&client, params).await;
        let mut answers = Vec::new();
        for name in *names {
            for params in [&prefixed, &plain] {
                if *name == "author_submitExtrinsic" && !answers.is_empty() {
                    // The same bytes were taken with the prefix.
                    assert_eq!(client.refusal(name, params.clone()).await.0, 1013);
                    continue;
                }
                let answer = client.call(name, params.clone()).await;
                assert!(is.holds(&answer), "{name} {params}: {answer}");
                answers.push(answer);
            }
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{names:?} differ");
    }
}

#[tokio::test]
async fn every_subscription_begins_and_ends_by_all_its_names() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    let mut filling = Filling::of(&client).await;
    for (names, params, ends, _, is) in SUBSCRIPTIONS {
        assert_eq!(names.len(), ends.len());
        for (name, end) in names.iter().zip(*ends) {
            let [prefixed, _] = filling.both(&client, params).await;
            let mut news = client.subscribe(name, prefixed, end).await;
            let first = tokio::time::timeout(PATIENCE, news.next()).await.expect("in time");
            let first = first.expect("goes on").expect("news");
            assert!(is.holds(&first), "{name}: {first}");
            news.unsubscribe().await.expect("unsubscribes");
        }
    }
}

#[tokio::test]
async fn notifications_carry_substrates_names() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    let mut filling = Filling::of(&client).await;
    for (names, params, ends, notification, _) in SUBSCRIPTIONS {
        let [params, _] = filling.both(&client, params).await;
        let mut web = crate::raw::Raw::connect(&chain).expect("connects");
        let subscribe = json!({ "jsonrpc": "2.0", "id": 7, "method": names[0], "params": params });
        assert!(web.send(crate::raw::TEXT, subscribe.to_string().as_bytes()));
        let parse = |frame: Option<(u8, String)>| -> Value {
            serde_json::from_str(&frame.expect("goes on").1).expect("JSON")
        };
        let id = parse(web.next())["result"].clone();
        let news = parse(web.next());
        assert_eq!((&news["method"], &news["params"]["subscription"]), (&json!(notification), &id));
        let end = json!({ "jsonrpc": "2.0", "id": 8, "method": ends[0], "params": [id] });
        assert!(web.send(crate::raw::TEXT, end.to_string().as_bytes()));
        assert_eq!(parse(web.next())["result"], true, "{}", ends[0]);
    }
}

#[tokio::test]
async fn nothing_is_served_that_the_tables_lack() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    let listed = client.call("rpc_methods", json!([])).await;
    let served: BTreeSet<&str> = listed["methods"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .filter(|name| !name.starts_with("dev_"))
        .collect();
    let tables = CALLS.iter().flat_map(|(names, ..)| names.iter());
    let subscriptions = SUBSCRIPTIONS.iter().flat_map(|(names, _, ends, ..)| names.iter().chain(*ends));
    let known: BTreeSet<&str> = tables.chain(subscriptions).copied().collect();
    assert_eq!(served, known);
}
