//! The validator's program sets weights on the development chain, whatever befalls it, chain and connection meanwhile.
//!
//! Its scores change by the second, so that whoever computed a vector anew instead of taking the stored one would be
//! seen: every call of the hotkey on chain must be one that a window holds, and each window's weights those it was
//! opened with.
#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

mod validator;

use std::sync::Arc;
use std::time::Duration;

use basilica_chain::{ChainOptions, SubtensorChain};
use basilica_ports::{Chain as _, Expiry, Lost, WeightWindow, WindowEnd, WindowForm, WindowState};
use basilica_scoring::weights::upscale;
use basilica_system::{OsEntropy, SystemClock};
use basilica_testkit::{Devchain, Relay, holds_within, hotkey};
use basilica_types::{MechanismId, NetUid, Uid, Weight};
use serde_json::json;

pub(crate) use self::validator::Validator;

const SUBNET: NetUid = NetUid(39);

fn settings(profile: &str, commit_reveal: bool, tempo: u16) -> serde_json::Value {
    json!({
        "profile": profile, "block_time_ms": 100, "tempo": tempo, "weights_rate_limit": 2,
        "commit_reveal": commit_reveal, "drand_period_s": 1,
    })
}

fn is_set(window: &WeightWindow) -> bool {
    matches!(window.state, WindowState::Ended(WindowEnd::Set { .. })) && window.read_back.is_some()
}

fn is_revealed(window: &WeightWindow) -> bool {
    matches!(window.state, WindowState::Ended(WindowEnd::Revealed { .. })) && window.read_back.is_some()
}

fn is_committed(window: &WeightWindow) -> bool {
    matches!(window.state, WindowState::Committed { .. })
}

fn is_timelocked(window: &WeightWindow) -> bool {
    matches!(window.opened.form, WindowForm::Timelocked { .. })
}

/// The weights of the validator, as anybody reads them.
async fn on_chain(chain: &Devchain) -> Vec<(Uid, Weight)> {
    let options = ChainOptions::new(vec![chain.url.parse().unwrap()]);
    let reader =
        SubtensorChain::new(options, None, Arc::new(SystemClock::new()), Arc::new(OsEntropy)).unwrap();
    let mut weights =
        reader.weights_of(SUBNET, MechanismId(0), &hotkey("//Validator1")).await.unwrap().1.unwrap();
    weights.sort();
    weights
}

fn sorted(mut weights: Vec<(Uid, Weight)>) -> Vec<(Uid, Weight)> {
    weights.retain(|(_, weight)| weight.0 > 0);
    weights.sort();
    weights
}

/// Kills the validator between a commit and its reveal, with the chain standing still meanwhile.
async fn killed_after_commit(chain: &Devchain, validator: &mut Validator, after: i64) -> WeightWindow {
    let committed = loop {
        let committed = validator.until("a commit", |w| w.id > after && is_committed(w)).await;
        chain.stand_still();
        validator.kill();
        let windows = validator.windows().await;
        let now = windows.iter().find(|w| w.id == committed.id).unwrap();
        if is_committed(now) {
            break now.clone();
        }
        // The reveal was faster; the next window is another chance.
        validator.start_again();
        chain.go_on();
    };
    validator.start_again();
    committed
}

/// It did not fail, unless the switch of commit-reveal met it on its way, or an upgrade that made its signature void.
fn is_well(state: &WindowState) -> bool {
    let WindowState::Ended(end) = state else { return true };
    match end {
        WindowEnd::Set { .. } | WindowEnd::Revealed { .. } => true,
        WindowEnd::Lost(Lost::SwitchedOff) | WindowEnd::Expired(Expiry::EraOver) => true,
        WindowEnd::Refused { error, .. } => error.starts_with("SubtensorModule.CommitReveal"),
        WindowEnd::Expired(_) | WindowEnd::Lost(_) => false,
    }
}

/// Every call of the hotkey is one of a window's, at most once in the chain, and there is no other.
async fn judge(chain: &Devchain, validator: &mut Validator) {
    chain.stand_still();
    validator.kill();
    let windows = validator.windows().await;
    let extrinsics = chain.extrinsics();
    let count = |bytes: &[u8]| extrinsics.iter().filter(|(_, extrinsic)| extrinsic == bytes).count();
    let mut calls = 0;
    for window in &windows {
        assert_eq!(window.opened.expected, upscale(&window.opened.weights), "{window:?}");
        let first = count(&window.opened.prepared.extrinsic);
        let reveal = window.reveal.as_ref().map_or(0, |reveal| count(&reveal.extrinsic));
        assert!(first <= 1 && reveal <= 1, "window {}: {first} first calls, {reveal} reveals", window.id);
        calls += first + reveal;
        if let Some(read) = &window.read_back {
            assert_eq!(sorted(read.clone()), sorted(window.opened.expected.clone()), "window {}", window.id);
        }
        assert!(is_well(&window.state), "window {} failed: {:?}", window.id, window.state);
    }
    // One nonce for each: nothing else was ever signed and taken.
    assert_eq!(chain.nonce(&hotkey("//Validator1")), u64::try_from(calls).unwrap());
    let vectors: std::collections::BTreeSet<_> = windows.iter().map(|w| w.opened.weights.clone()).collect();
    assert_eq!(vectors.len(), windows.len(), "scores moved between any two windows");
}

#[tokio::test]
async fn timelocked_weights_come_on_chain_through_kills_upgrades_and_lost_endpoints() {
    let chain = Devchain::start(&settings("newest", false, 30), &[]);
    let relay = Relay::before(&chain);
    let mut validator = Validator::start(&[&relay.url, &chain.url], "").await;

    // In the open first, and committed as soon as the subnet asks for it.
    let open = validator.until("weights in the open", is_set).await;
    assert_eq!(open.opened.form, WindowForm::Open);
    chain.set_commit_reveal(SUBNET, true);
    let revealed = validator.until("timelocked weights", |w| w.id > open.id && is_revealed(w)).await;
    assert!(is_timelocked(&revealed), "{revealed:?}");

    // The chain reveals while no validator runs.
    let committed = validator.until("a commit", |w| w.id > revealed.id && is_committed(w)).await;
    validator.kill();
    let expected = sorted(committed.opened.expected.clone());
    let opened = async {
        while on_chain(&chain).await != expected {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), opened).await.expect("the chain's own reveal");
    validator.start_again();
    validator.until("the end of that window", |w| w.id == committed.id && is_revealed(w)).await;

    // Killed between commit and reveal.
    let committed = killed_after_commit(&chain, &mut validator, committed.id).await;
    chain.go_on();
    validator.until("the end of that window", |w| w.id == committed.id && is_revealed(w)).await;

    // The runtime is upgraded under it: a newtype around what it reads, an item that it can do without gone.
    chain.ask(
        "dev_upgradeRuntime",
        &json!({ "spec_versions": 1, "changes": [
            { "change": "wrap", "pallet": "SubtensorModule", "item": "WeightsSetRateLimit", "name": "Blocks" },
            { "change": "remove_storage", "pallet": "SubtensorModule", "item": "CollateralLockShare" },
        ] }),
    );
    let upgraded =
        validator.until("weights after the upgrade", |w| w.id > committed.id + 1 && is_revealed(w)).await;
    assert!(is_timelocked(&upgraded), "{upgraded:?}");

    // The endpoint that it uses goes away; the other serves the same chain.
    assert!(relay.is_used());
    relay.cut_off();
    let last = validator.until("weights over the other", |w| w.id > upgraded.id + 1 && is_revealed(w)).await;
    assert_eq!(on_chain(&chain).await, sorted(last.opened.expected.clone()));
    judge(&chain, &mut validator).await;
}

#[tokio::test]
async fn weights_committed_by_hash_are_revealed_by_whoever_finds_the_salt_after_a_kill() {
    let chain = Devchain::start(&settings("legacy", true, 40), &[]);
    let mut validator = Validator::start(&[&chain.url], "weight_commit = \"hash\"").await;
    let committed = killed_after_commit(&chain, &mut validator, 0).await;
    let WindowForm::Hash { hash, salt } = committed.opened.form.clone() else { panic!("{committed:?}") };
    chain.go_on();
    let revealed = validator.until("the reveal", |w| w.id == committed.id && is_revealed(w)).await;
    assert_eq!(revealed.opened.form, WindowForm::Hash { hash, salt });
    assert_eq!(revealed.opened, committed.opened);
    assert_eq!(on_chain(&chain).await, sorted(committed.opened.expected.clone()));

    // Switched off and on again while it runs.
    chain.set_commit_reveal(SUBNET, false);
    let open = validator.until("weights in the open", |w| w.id > committed.id && is_set(w)).await;
    chain.set_commit_reveal(SUBNET, true);
    validator.until("a reveal again", |w| w.id > open.id && is_revealed(w)).await;

    // An upgrade makes something of an item that nobody can read.
    chain.ask(
        "dev_upgradeRuntime",
        &json!({ "spec_versions": 1, "changes": [
            { "change": "opaque", "pallet": "SubtensorModule", "item": "MinAllowedWeights" },
        ] }),
    );
    let mut said = String::new();
    let named = holds_within(Duration::from_secs(60), || {
        said = validator.readiness();
        said.starts_with("HTTP/1.1 503") && said.contains("SubtensorModule.MinAllowedWeights")
    });
    assert!(named.await, "{said}");
    judge(&chain, &mut validator).await;
}
