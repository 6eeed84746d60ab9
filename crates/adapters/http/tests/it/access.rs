//! Who may see what, and how often.

use std::num::NonZeroU32;

use basilica_http::{ApiKey, ApiOptions, RateLimit};
use basilica_wire::Keypair;
use basilica_wire::btauth::{RequestLine, SignedRequest};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sha2::{Digest as _, Sha256};

use crate::validator::{NOW, address};
use crate::{Answer, KEY, Scene, options};

const PRIVATE: [&str; 4] = ["/config", "/config/verification", "/config/emission", "/verification/active"];

fn keypair(seed: u8) -> Keypair {
    Keypair::from_seed(&[seed; 32]).unwrap()
}

fn nonce(offset_ms: i64) -> u64 {
    u64::try_from(NOW.0 + offset_ms).unwrap() * 1_000_000
}

/// The headers of a request for `target`, signed for the scene's validator.
fn signed(scene: &Scene, by: &Keypair, target: &str, nonce: u64) -> Vec<(&'static str, String)> {
    let parties = (by.hotkey(), scene.validator.own.hotkey());
    let line = RequestLine { method: "GET", target, body_sha256: Sha256::digest([]).into() };
    let sign = |bytes: &[u8]| by.sign(bytes, ChaCha20Rng::seed_from_u64(nonce));
    SignedRequest::sign(&line, nonce, parties, sign).headers().to_vec()
}

async fn get(scene: &Scene, target: &str, headers: &[(&str, String)]) -> Answer {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    scene.get_with(target, &headers).await
}

#[tokio::test]
async fn pages_for_operators_want_a_key_or_a_signature() {
    let mut options = options();
    options.hotkeys.insert(keypair(5).hotkey());
    let scene = Scene::with(options).await;
    for (turn, path) in PRIVATE.into_iter().enumerate() {
        let at = i64::try_from(turn).unwrap();
        assert_eq!(scene.get(path).await.problem(), "unauthorized", "{path}");
        assert_eq!(scene.get_with(path, &[("x-api-key", KEY)]).await.status, 200, "{path}");
        let own = signed(&scene, &scene.validator.own, path, nonce(at));
        assert_eq!(get(&scene, path, &own).await.status, 200, "{path}");
        let named = signed(&scene, &keypair(5), path, nonce(at));
        assert_eq!(get(&scene, path, &named).await.status, 200, "{path}");
        let stranger = signed(&scene, &keypair(6), path, nonce(at));
        assert_eq!(get(&scene, path, &stranger).await.problem(), "forbidden", "{path}");
    }
    assert_eq!(
        scene.get_with("/config/emission", &[("x-api-key", KEY)]).await.json(),
        serde_json::json!({ "burn_uid": 204 })
    );
}

#[tokio::test]
async fn addresses_of_nodes_are_for_operators() {
    let scene = Scene::new().await;
    let id = address(2).node_id();
    for path in ["/nodes".to_owned(), format!("/nodes/{id}"), "/miners/1/nodes".to_owned()] {
        let public = scene.get(&path).await;
        assert!(!String::from_utf8_lossy(&public.body).contains("198.51.100"), "{path}");
        let known = scene.get_with(&path, &[("x-api-key", KEY)]).await;
        assert!(known.json()["nodes"][0]["address"].as_str().unwrap().starts_with("root@198.51.100."));
    }
}

#[tokio::test]
async fn a_standby_names_its_leader_to_operators() {
    let scene = Scene::new().await;
    let public = scene.get("/leadership").await.json();
    assert_eq!((&public["role"], &public["leader"]["token"]), (&"standby".into(), &4.into()));
    assert!(public["leader"].get("holder").is_none());
    let known = scene.get_with("/leadership", &[("x-api-key", KEY)]).await.json();
    assert_eq!(known["leader"]["holder"], "vali-2:17");
}

#[tokio::test]
async fn credentials_that_do_not_hold_are_refused_on_every_page() {
    let scene = Scene::new().await;
    let own = &scene.validator.own;
    let wrong_key = "fedcba9876543210fedcba9876543210";
    assert_eq!(scene.get_with("/nodes", &[("x-api-key", wrong_key)]).await.problem(), "unauthorized");
    let refused = async |headers: Vec<(&'static str, String)>, target: &str| {
        assert_eq!(get(&scene, target, &headers).await.problem(), "unauthorized", "{headers:?}");
    };
    refused(signed(&scene, own, "/nodes", nonce(0)), "/config").await;
    refused(signed(&scene, own, "/config", nonce(0)), "/config?").await;
    refused(signed(&scene, own, "/config", nonce(-10_001)), "/config").await;
    refused(signed(&scene, own, "/config", nonce(2_001)), "/config").await;
    let mut twice = signed(&scene, own, "/config", nonce(0));
    twice.push(("x-bittensor-hotkey", keypair(6).hotkey().to_string()));
    refused(twice, "/config").await;
    refused(vec![("x-bittensor-hotkey", own.hotkey().to_string())], "/config").await;
    let mut forged = signed(&scene, &keypair(6), "/config", nonce(0));
    forged[1].1 = own.hotkey().to_string();
    refused(forged, "/config").await;
}

#[tokio::test]
async fn a_signed_request_counts_once() {
    let scene = Scene::new().await;
    let request = signed(&scene, &scene.validator.own, "/config", nonce(0));
    assert_eq!(get(&scene, "/config", &request).await.status, 200);
    assert_eq!(get(&scene, "/config", &request).await.problem(), "unauthorized");
}

#[tokio::test]
async fn without_a_key_in_the_configuration_no_key_opens_anything() {
    let scene = Scene::with(ApiOptions { api_key: None, ..options() }).await;
    assert_eq!(scene.get_with("/config", &[("x-api-key", KEY)]).await.problem(), "unauthorized");
    assert_eq!(scene.get_with("/config", &[("x-api-key", "")]).await.problem(), "unauthorized");
}

#[tokio::test]
async fn whoever_asks_too_often_waits_and_the_operator_does_not() {
    let rate_limit = Some(RateLimit { per_second: NonZeroU32::MIN, burst: NonZeroU32::new(3).unwrap() });
    let scene = Scene::with(ApiOptions { rate_limit, ..options() }).await;
    for _ in 0..3 {
        assert_eq!(scene.get("/live").await.status, 200);
    }
    let late = scene.get("/live").await;
    assert_eq!((late.status, late.problem().as_str()), (429, "rate_limited"));
    assert!(late.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(scene.get_with("/live", &[("x-api-key", KEY)]).await.status, 200);
    assert_eq!(scene.get_with("/live", &[("x-api-key", "wrong")]).await.status, 429, "guessing keys counts");
    let named = scene.get_with("/live", &[("x-forwarded-for", "203.0.113.9")]).await;
    assert_eq!(named.status, 429, "nobody but a proxy of ours says for whom it asks");
}

#[tokio::test]
async fn behind_a_proxy_each_client_counts_for_itself() {
    let rate_limit = Some(RateLimit { per_second: NonZeroU32::MIN, burst: NonZeroU32::MIN });
    let proxies = ["127.0.0.1".parse().unwrap()].into();
    let scene = Scene::with(ApiOptions { rate_limit, proxies, ..options() }).await;
    for (client, expected) in [
        ("203.0.113.9", 200),
        ("203.0.113.9", 429),
        ("203.0.113.8", 200),
        ("203.0.113.7, 203.0.113.8", 429),
        ("nonsense", 200),
        ("nonsense", 429),
    ] {
        let answer = scene.get_with("/live", &[("x-forwarded-for", client)]).await;
        assert_eq!(answer.status, expected, "{client}");
    }
}

#[test]
fn keys_are_long_words_and_never_shown() {
    assert!(ApiKey::new("short").is_err() && ApiKey::new(&"x y".repeat(20)).is_err());
    assert_eq!(ApiKey::new(&format!("  {KEY}\n")).unwrap(), ApiKey::new(KEY).unwrap());
    assert_eq!(format!("{:?}", ApiKey::new(KEY).unwrap()), "ApiKey(redacted)");
}
