//! `sessions list` and `sessions revoke` on a database in which a miner has left sessions, and no miner runs.

use basilica_ports::{Clock as _, DiscoveryProof, DiscoveryUse, MinerStore as _, NewSession, NonceUse};
use basilica_store::{Database, MINER_SCHEMA, MinerDatabase, OpenOptions};
use basilica_system::SystemClock;
use basilica_types::{Digest, FencingToken, Hotkey, Millis, NodeAddress, SessionId};

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

fn hotkey(seed: u8) -> Hotkey {
    Hotkey::from_bytes([seed; 32])
}

fn id(seed: u8) -> SessionId {
    SessionId::from_random([seed; 8])
}

/// One session with a key of validator 1 and one without of validator 2.
async fn fill(home: &Home, deployed_on: Option<&NodeAddress>) {
    let url = format!("sqlite://{}/data/miner.db", home.path().display()).parse().unwrap();
    let database = Database::open(&url, &MINER_SCHEMA, OpenOptions::default()).await.unwrap();
    let store = MinerDatabase::new(database.clone());
    let now = SystemClock::new().now();
    let hour = Millis::from_secs(3600);
    let nonce = |validator, name: &str| NonceUse {
        validator,
        nonce: name.parse().unwrap(),
        signed_at: now,
        now,
        forget_at: now + hour,
        limit: 100,
    };
    for seed in [1, 2] {
        let token_hash = Digest::from_bytes([seed; 32]);
        let session = NewSession { id: id(seed), token_hash, expires_at: now + hour, rate: None };
        store
            .open_session(&nonce(hotkey(seed), &format!("open-000{seed}")), &session)
            .await
            .unwrap()
            .unwrap();
    }
    let discovery = DiscoveryUse {
        proof: DiscoveryProof::V2 { token_hash: Digest::from_bytes([1; 32]), epoch: FencingToken(1) },
        timestamp_secs: now.as_secs(),
        public_key: Some(KEY.parse().unwrap()),
        keyed_sessions: 5,
        rate: None,
    };
    store.admit_discovery(&nonce(hotkey(1), "discover-1"), &discovery).await.unwrap().unwrap();
    if let Some(address) = deployed_on {
        let taken = store.record_deployments(address.node_id(), &[id(1)], now).await.unwrap();
        assert_eq!(taken, [id(1)].into());
    }
    database.close().await;
}

fn filled(deployed_on: Option<&NodeAddress>) -> Home {
    let home = Home::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(fill(&home, deployed_on));
    home
}

fn ids(listed: &Value) -> Vec<&str> {
    listed.as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap()).collect()
}

fn list(home: &Home, arguments: &[&str]) -> Value {
    let ended = home.run(&[&["--json", "sessions", "list"], arguments].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

#[test]
fn sessions_are_listed_and_those_revoked_are_over_with_the_reason() {
    let home = filled(None);
    let listed = list(&home, &[]);
    assert_eq!(ids(&listed).len(), 2);
    let first = listed.as_array().unwrap().iter().find(|session| session["id"] == id(1).to_string()).unwrap();
    assert_eq!(first["validator"], hotkey(1).to_string());
    assert!(first["key"].as_str().unwrap().starts_with("SHA256:") && first["ended"].is_null(), "{first}");
    let words = home.run(&["sessions", "list"]).out;
    assert!(words.contains("no key yet") && words.contains(&hotkey(2).to_string()), "{words}");

    let revoked = home.run(&["sessions", "revoke", &id(1).to_string(), "--yes"]);
    assert_eq!(revoked.code, Some(0), "{}", revoked.err);
    assert!(
        revoked.out.contains("revoked 1 session") && revoked.out.contains("no node carries"),
        "{}",
        revoked.out
    );
    assert_eq!(ids(&list(&home, &[])), [id(2).to_string()]);
    let all = list(&home, &["--all"]);
    let first = all.as_array().unwrap().iter().find(|session| session["id"] == id(1).to_string()).unwrap();
    assert_eq!(first["ended_why"], "revoked");
    home.run(&["sessions", "revoke", &id(1).to_string(), "--yes"]).fails(1, &["no open session fits"]);
    let hotkey = hotkey(2).to_string();
    assert_eq!(home.run(&["sessions", "revoke", "--validator", &hotkey, "--yes"]).code, Some(0));
    assert!(home.run(&["sessions", "list"]).out.contains("no open sessions"));
}

#[test]
fn a_key_that_may_still_be_on_a_node_is_named_and_no_success() {
    let address: NodeAddress = "root@192.0.2.1:22".parse().unwrap();
    let home = filled(Some(&address));
    let ended = home.run(&["--json", "sessions", "revoke", "--all", "--yes"]);
    let node = address.node_id().to_string();
    ended.fails(1, &["keys may still be on", &node, "no miner runs"]);
    let data: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(data["still_on"], serde_json::json!([node]));
    assert_eq!((data["miner_running"].as_bool(), ids(&data["revoked"]).len()), (Some(false), 2));
    assert_eq!(ids(&list(&home, &[])), [id(1).to_string()], "it is over, but concerns its operator");
}

#[test]
fn nothing_is_revoked_without_a_choice_or_a_person_who_agrees() {
    let home = filled(None);
    assert_eq!(home.run(&["sessions", "revoke", "--yes"]).code, Some(2));
    assert_eq!(
        home.run(&["sessions", "revoke", "--all", "--validator", &hotkey(1).to_string()]).code,
        Some(2)
    );
    assert_eq!(home.run(&["sessions", "revoke", "0123"]).code, Some(2));
    let mut command = home.command();
    command.args(["sessions", "revoke", "--all"]);
    // A session of its own has no terminal.
    let mut alone = Command::new("setsid");
    alone.arg("--wait").arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        alone.env(name, value.unwrap());
    }
    alone.env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    Ended::from(alone.output().unwrap()).fails(1, &["--yes revokes without asking"]);
    assert_eq!(ids(&list(&home, &[])).len(), 2);
}
