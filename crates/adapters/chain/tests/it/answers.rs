//! Every answer of every runtime API of the development chain decodes to its last byte by its own metadata.
//!
//! A client that decodes by metadata can trust the metadata only if the answers have the shapes that it tells.

use std::collections::BTreeSet;

use serde_json::json;
use subxt::client::OnlineClientAtBlock;
use subxt::config::substrate::SubstrateConfig;
use subxt::dynamic::{self, Value};
use subxt::ext::scale_value::scale::decode_as_type;

use crate::devchain::{Devchain, hotkey};
use crate::raw::{Raw, account, number};

/// What makes blocks: a client that called it would make one that nobody knows.
const MAKES_BLOCKS: [&str; 6] = [
    "Core_execute_block",
    "Core_initialize_block",
    "BlockBuilder_apply_extrinsic",
    "BlockBuilder_finalize_block",
    "BlockBuilder_inherent_extrinsics",
    "BlockBuilder_check_inherents",
];

/// What is empty on every chain: no call locks alpha here.
const EMPTY: [&str; 2] =
    ["StakeInfoRuntimeApi_get_coldkey_lock", "StakeInfoRuntimeApi_get_most_convicted_hotkey_on_subnet"];

/// The parts of a metagraph, all of which are asked for.
const PARTS: u16 = 80;

fn list(items: impl ExactSizeIterator<Item = Vec<u8>>) -> Vec<u8> {
    // A compact length: one byte up to 63, two above.
    let mut bytes = match u8::try_from(items.len() << 2) {
        Ok(small) => vec![small],
        Err(_) => u16::try_from((items.len() << 2) | 1).unwrap().to_le_bytes().to_vec(),
    };
    items.for_each(|item| bytes.extend(item));
    bytes
}

/// An argument by its name, encoded.
fn argument(at: &OnlineClientAtBlock<SubstrateConfig>, method: &str, name: &str) -> Vec<u8> {
    let key = |uri: &str| hotkey(uri).as_bytes().to_vec();
    let remark = dynamic::tx("System", "remark", vec![Value::from_bytes(b"hello")]);
    match name {
        "netuid" => 39u16.to_le_bytes().to_vec(),
        "mecid" | "subid" => vec![0],
        "uid" => 1u16.to_le_bytes().to_vec(),
        "metagraph_indexes" => list((0..PARTS).map(|part| part.to_le_bytes().to_vec())),
        "coldkey"
        | "coldkey_account"
        | "delegatee_account"
        | "origin_coldkey_account"
        | "destination_coldkey_account" => key("//Validator1Cold"),
        "coldkey_accounts" => list(["//Validator1Cold", "//Bob"].into_iter().map(key)),
        "account" | "hotkey" | "hotkey_account" | "delegate_account" => key("//Validator1"),
        // Stake of the coldkey's own hotkey on the subnet.
        "origin" | "destination" => [vec![1], key("//Validator1"), 39u16.to_le_bytes().to_vec()].concat(),
        // All.
        "netuids" => vec![0],
        "amount" | "tao" | "alpha" => 1_000_000_000u64.to_le_bytes().to_vec(),
        "version" => 15u32.to_le_bytes().to_vec(),
        "len" | "length" => 100u32.to_le_bytes().to_vec(),
        // Two compact numbers.
        "weight" => vec![4, 8],
        "call" => at.transactions().call_data(&remark).unwrap(),
        "uxt" | "tx" => at.transactions().create_unsigned(&remark).unwrap().into_encoded(),
        // From outside.
        "source" => vec![2],
        "block_hash" => at.block_hash().0.to_vec(),
        other => panic!("{method} takes {other}, which this test has no value for"),
    }
}

/// Makes a chain in which nothing that can be asked for is empty.
async fn lived_in(raw: &Raw) {
    let calls = |name| ("SubtensorModule", name);
    let now = Value::unnamed_variant(
        "AdminUtils",
        [Value::named_variant("sudo_set_network_immunity_period", [("immunity_period", number(0u8))])],
    );
    raw.submit("//Alice", ("Sudo", "sudo"), vec![("call", now)]).await;
    raw.submit("//Validator1Cold", calls("root_register"), vec![("hotkey", account("//Validator1"))]).await;
    let destination = vec![("netuid", number(39u16)), ("hotkey", account("//Validator2"))];
    raw.submit("//Validator1Cold", calls("set_coldkey_auto_stake_hotkey"), destination).await;
    let fields = ["name", "url", "github_repo", "image", "discord", "description", "additional"];
    let identity = fields.map(|field| (field, Value::from_bytes(field))).to_vec();
    raw.submit("//Validator1Cold", calls("set_identity"), identity).await;
    let endpoint = [("netuid", 39u128), ("version", 1), ("ip", 0x0a01_0203), ("port", 9000), ("ip_type", 4)];
    let rest = [("protocol", 4u128), ("placeholder1", 0), ("placeholder2", 0)];
    let mut axon: Vec<_> = endpoint.into_iter().chain(rest).map(|(name, of)| (name, number(of))).collect();
    axon.push(("certificate", Value::from_bytes([4, 1, 2, 3])));
    raw.submit("//Miner1", calls("serve_axon_tls"), axon).await;
    let metrics = endpoint.into_iter().map(|(name, of)| (name, number(of))).collect();
    raw.submit("//Miner1", calls("serve_prometheus"), metrics).await;
}

#[tokio::test]
async fn every_answer_decodes_to_its_end_by_the_metadata_of_its_profile() {
    let mut seen = Vec::new();
    for profile in ["newest", "legacy"] {
        let devchain = Devchain::of(profile, json!({}));
        let raw = Raw::connect(&devchain).await;
        lived_in(&raw).await;
        let at = raw.at().await;
        let metadata = at.metadata_ref();
        let mut methods = BTreeSet::new();
        for api in metadata.runtime_api_traits() {
            for method in api.methods() {
                let name = format!("{}_{}", api.name(), method.name());
                methods.insert(name.clone());
                if MAKES_BLOCKS.contains(&name.as_str()) {
                    continue;
                }
                let inputs: Vec<u8> =
                    method.inputs().flat_map(|input| argument(&at, &name, &input.name)).collect();
                let answer = at.runtime_apis().call_raw(&name, Some(&inputs)).await;
                let answer = answer.unwrap_or_else(|error| panic!("{profile} {name}: {error}"));
                let mut rest = &answer[..];
                let value = decode_as_type(&mut rest, method.output_ty(), metadata.types());
                let value = value.unwrap_or_else(|error| panic!("{profile} {name}: {error}"));
                assert!(rest.is_empty(), "{profile} {name}: {} bytes beyond {value}", rest.len());
                let is_empty = EMPTY.contains(&name.as_str());
                assert_eq!(answer == [0], is_empty, "{profile} {name}: {value}");
            }
        }
        let stale: Vec<_> = MAKES_BLOCKS.iter().filter(|name| !methods.contains(**name)).collect();
        assert!(stale.is_empty(), "{profile} has no {stale:?}");
        seen.push(methods);
    }
    let younger: Vec<_> = seen[0].difference(&seen[1]).map(String::as_str).collect();
    let expected = [
        "StakeInfoRuntimeApi_get_coldkey_lock",
        "StakeInfoRuntimeApi_get_hotkey_conviction",
        "StakeInfoRuntimeApi_get_most_convicted_hotkey_on_subnet",
        "StakeInfoRuntimeApi_get_stake_availability_for_coldkeys",
        "SubnetInfoRuntimeApi_get_block_emission",
        "SubnetInfoRuntimeApi_get_next_epoch_start_block",
        "SubnetInfoRuntimeApi_get_subnet_account_id",
        "SubnetInfoRuntimeApi_get_subnet_hyperparams_v3",
        "SwapRuntimeApi_current_alpha_price_all",
    ];
    assert_eq!(younger, expected, "what only the newest answers");
    assert_eq!(seen[1].difference(&seen[0]).next(), None);
}
