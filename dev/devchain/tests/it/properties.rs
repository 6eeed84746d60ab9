//! Arbitrary bytes and parameters, straight into the methods: an answer or a refusal, never a panic, and the chain goes on.

use std::sync::{Arc, LazyLock};

use basilica_devchain::chain::Chain;
use basilica_devchain::executor;
use basilica_devchain::genesis::Settings;
use basilica_devchain::node::mine::Mining;
use basilica_devchain::node::{Node, Rules};
use basilica_devchain::rpc;
use jsonrpsee::RpcModule;
use proptest::prelude::*;
use serde_json::{Value, json};
use sp_runtime::generic::Era;
use tokio::runtime::Runtime;

use crate::extrinsics::remark;
use crate::support::{hash_of, sign};

/// A chain without a network, and what runs its methods.
struct Bench {
    node: Arc<Node>,
    methods: RpcModule<Arc<Node>>,
    names: Vec<String>,
    runtime: Runtime,
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    executor::install_panic_hook();
    let genesis = Settings::default().resolve().expect("settings");
    let rules = Rules { mining: Mining::Manual, block_time_ms: 250, finality_lag: 4, fault_seed: 0 };
    let node = Arc::new(Node::new(Chain::new(genesis.state().expect("a state")), None, rules));
    let methods = rpc::methods(Arc::clone(&node), true).expect("methods");
    // A fault may let every later case fail, and subscriptions are not answered without a connection.
    let names = methods
        .method_names()
        .filter(|name| !name.contains("ubscribe") && !name.contains("atchExtrinsic") && *name != "dev_fault")
        .map(str::to_owned)
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    Bench { node, methods, names, runtime }
});

impl Bench {
    /// The answer to a request, or the code of its error.
    fn ask(&self, method: &str, params: &Value) -> Result<Value, i64> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let answer = self.runtime.block_on(self.methods.raw_json_request(&request, 1));
        let (answer, _) = answer.expect("a request");
        let mut answer: Value = serde_json::from_str(answer.get()).expect("JSON");
        match answer.get("error") {
            None => Ok(answer["result"].take()),
            Some(error) => Err(error["code"].as_i64().expect("a code")),
        }
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => proptest::collection::vec(any::<u8>(), 0..80).prop_map(hex::encode),
        3 => proptest::collection::vec(any::<u8>(), 0..80).prop_map(|bytes| format!("0x{}", hex::encode(bytes))),
        1 => any::<[u8; 32]>().prop_map(|bytes| format!("0x{}", hex::encode(bytes))),
        1 => Just("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY".to_owned()),
        1 => Just("0x658faa385070e074c85bf6b568cf0555".to_owned()),
        2 => any::<String>(),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        // Not more blocks at once than a test has time for.
        (0..5i64).prop_map(Value::from),
        (i64::MIN..0).prop_map(Value::from),
        (20_000..=u64::MAX).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("[a-z_]{1,12}", inner, 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// What a method of ours answers when something of ours broke: a panic in a method becomes this.
const INTERNAL: i64 = -32_603;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_parameters_break_a_method(
        method in any::<prop::sample::Index>(),
        params in proptest::collection::vec(value(), 0..4),
    ) {
        let method = method.get(&BENCH.names);
        let answer = BENCH.ask(method, &Value::Array(params));
        // The runtime may be unable to live with storage that is set; that is said with this code, and nothing is changed.
        prop_assert!(method == "dev_setStorage" || answer != Err(INTERNAL), "{}", method);
    }

    #[test]
    fn no_arguments_break_a_runtime_api(
        api in any::<prop::sample::Index>(),
        arguments in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let exported = [
            "Core_version", "Core_execute_block", "Core_initialize_block", "BlockBuilder_apply_extrinsic",
            "BlockBuilder_finalize_block", "BlockBuilder_inherent_extrinsics", "BlockBuilder_check_inherents",
            "TaggedTransactionQueue_validate_transaction", "Metadata_metadata_at_version",
            "AccountNonceApi_account_nonce", "TransactionPaymentApi_query_info",
            "SubnetInfoRuntimeApi_get_metagraph", "SubnetInfoRuntimeApi_get_selective_metagraph",
            "SubnetInfoRuntimeApi_get_mechagraph", "SubnetInfoRuntimeApi_get_subnet_state",
            "NeuronInfoRuntimeApi_get_neuron", "NeuronInfoRuntimeApi_get_neurons_lite",
            "StakeInfoRuntimeApi_get_stake_info_for_coldkeys", "SwapRuntimeApi_current_alpha_price",
        ];
        let api = api.get(&exported);
        let answer = BENCH.ask("state_call", &json!([api, hex::encode(arguments)]));
        prop_assert!(answer.is_ok() || answer == Err(4003), "{}: {:?}", api, answer);
    }

    #[test]
    fn no_bytes_break_the_pool_or_a_block(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let answer = BENCH.ask("author_submitExtrinsic", &json!([hex::encode(bytes)]));
        prop_assert!(matches!(answer, Err(1001 | 1002 | 1010 | 1011)), "{:?}", answer);
    }

    #[test]
    fn a_signed_extrinsic_with_a_byte_changed_is_refused(
        place in any::<prop::sample::Index>(),
        change in 1..=255u8,
    ) {
        let genesis = hash_of(&BENCH.ask("chain_getBlockHash", &json!([0])).expect("a hash"));
        let nonce = BENCH.ask("account_nextIndex", &json!([crate::support::address_of("//Dave")])).expect("a nonce");
        let nonce = u32::try_from(nonce.as_u64().expect("a number")).expect("small");
        let signed = sign("//Dave", remark("changed on its way"), nonce, Era::Immortal, (genesis, None));
        let mut bytes = hex::decode(signed.trim_start_matches("0x")).expect("hex");
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        let answer = BENCH.ask("author_submitExtrinsic", &json!([hex::encode(bytes)]));
        prop_assert!(matches!(answer, Err(1001 | 1002 | 1010 | 1011)), "byte {}: {:?}", place, answer);
        prop_assert_eq!(BENCH.node.pending().len(), 0);
    }
}
