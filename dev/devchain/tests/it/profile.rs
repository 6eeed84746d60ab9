//! The two generations of the public chain, as a client of each meets them.

use basilica_devchain::profile::Profile;
use basilica_devchain::runtime::newtypes::NetUid;
use basilica_devchain::runtime::{Runtime, marker, subtensor, version_of};
use serde_json::json;

use crate::support::{Devchain, hash_of};

#[tokio::test]
async fn a_legacy_chain_hides_what_came_later_and_a_newest_chain_what_is_gone() {
    let younger = subtensor::CollateralLockShare::<Runtime>::hashed_key_for(NetUid(39));
    let older = subtensor::Rank::<Runtime>::hashed_key_for(NetUid(39));
    let of_both = subtensor::Tempo::<Runtime>::hashed_key_for(NetUid(39));
    let profile_key = marker::Profile::<Runtime>::hashed_key();
    for (flag, profile, hidden) in
        [("newest", Profile::Newest, &older), ("legacy", Profile::Legacy, &younger)]
    {
        let chain = Devchain::start(&["--profile", flag]);
        let client = chain.client().await;
        assert!(
            chain.printed.iter().any(|line| line.contains(&format!("{flag}, spec version"))),
            "{:?}",
            chain.printed
        );
        assert_eq!(client.storage::<Profile>(&profile_key).await, Some(profile));
        assert_eq!(client.storage::<u16>(&of_both).await, Some(10));
        assert_eq!(client.storage::<Vec<u8>>(hidden).await, None);
        let page = client.call("state_getKeysPaged", json!([hex::encode(&hidden[..32]), 10])).await;
        assert_eq!(page, json!([]), "{flag}");
        let version = client.call("state_getRuntimeVersion", json!([])).await;
        assert_eq!(version["specVersion"], version_of(profile).spec_version);
    }
}

#[tokio::test]
async fn a_runtime_api_that_came_later_is_not_found_on_a_legacy_chain() {
    let method = "SubnetInfoRuntimeApi_get_next_epoch_start_block";
    let newest = Devchain::start(&[]);
    let answer = newest.client().await.call("state_call", json!([method, "2700"])).await;
    assert_eq!(answer.as_str().map(|text| &text[..4]), Some("0x01"));
    let legacy = Devchain::start(&["--profile", "legacy"]);
    let (_, why) = legacy.client().await.refusal("state_call", json!([method, "2700"])).await;
    assert!(why.contains(&format!("Exported method {method} is not found")), "{why}");
}

#[tokio::test]
async fn two_profiles_never_share_a_genesis() {
    let newest = Devchain::start(&[]).client().await.genesis().await;
    let legacy = Devchain::start(&["--profile", "legacy"]);
    let client = legacy.client().await;
    assert_ne!(client.genesis().await, newest);
    assert_eq!(hash_of(&client.call("chain_getBlockHash", json!([0])).await), client.genesis().await);
}
