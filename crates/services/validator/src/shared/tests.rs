//! What the shared pieces of memory promise.

use basilica_types::{Millis, NodeAddress, SshPublicKey};

use super::*;
use crate::set_weights::tests::World;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const MINER: Hotkey = Hotkey::from_bytes([7; 32]);

fn access(shared: &Shared, lasts: Millis) -> Arc<Access> {
    let public_key: SshPublicKey = KEY.parse().unwrap();
    Arc::new(Access::of_test(public_key, shared.now() + lasts))
}

fn node(host: u8) -> NodeKey {
    let address: NodeAddress = format!("root@198.51.100.{host}:22").parse().unwrap();
    NodeKey { miner: MINER, node: address.node_id() }
}

const HOUR: Millis = Millis::from_secs(3600);

#[tokio::test]
async fn one_refusing_node_costs_its_neighbours_nothing() {
    let shared = World::new().boot().await;
    let granted = access(&shared, HOUR);
    shared.set_access(MINER, Arc::clone(&granted));
    for _ in 0..10 {
        shared.refuse_access(node(7), &granted);
    }
    assert!(shared.access(&MINER).is_some_and(|kept| Arc::ptr_eq(&kept, &granted)));
    assert!(shared.take_refusal(&MINER), "its miner is asked to deploy the key again");
    assert!(!shared.take_refusal(&MINER), "once");
}

#[tokio::test]
async fn a_session_that_several_nodes_refuse_is_given_up_but_never_the_next_one_for_it() {
    let shared = World::new().boot().await;
    let (first, second) = (access(&shared, HOUR), access(&shared, HOUR));
    shared.set_access(MINER, Arc::clone(&second));
    for host in 1..=9 {
        shared.refuse_access(node(host), &first);
    }
    assert!(shared.access(&MINER).is_some());
    shared.refuse_access(node(1), &second);
    shared.set_access(MINER, Arc::clone(&second));
    shared.refuse_access(node(2), &second);
    shared.refuse_access(node(3), &second);
    assert!(shared.access(&MINER).is_some(), "deployed again, the key gets another chance");
    shared.refuse_access(node(4), &second);
    assert!(shared.access(&MINER).is_none());
}

#[tokio::test]
async fn a_node_can_be_right_about_a_dead_session_only_at_its_end() {
    let shared = World::new().boot().await;
    let (first, second) = (access(&shared, HOUR), access(&shared, Millis::from_secs(10)));
    shared.set_access(MINER, Arc::clone(&first));
    assert!(!shared.may_be_over(&MINER, &first));
    shared.set_access(MINER, Arc::clone(&second));
    assert!(shared.may_be_over(&MINER, &first), "replaced");
    assert!(shared.may_be_over(&MINER, &second), "about to expire");
}

#[tokio::test]
async fn a_name_of_the_same_miner_is_no_witness() {
    let shared = World::new().boot().await;
    shared.note_resolved(MINER);
    assert!(!shared.resolved_elsewhere(&MINER, shared.now()));
    assert!(shared.resolved_elsewhere(&Hotkey::from_bytes([8; 32]), shared.now()));
}

#[tokio::test]
async fn one_miners_word_is_no_witness_for_a_pull_and_every_node_pulls_once_a_day() {
    let world = World::new();
    let shared = world.boot().await;
    let key = |miner: u8, host: u8| NodeKey { miner: Hotkey::from_bytes([miner; 32]), ..node(host) };
    let began = shared.now();
    for host in 1..9 {
        shared.note_pulled(key(1, host));
    }
    let seen = |by: u8| shared.pulled_elsewhere(&Hotkey::from_bytes([by; 32]), began);
    assert!(!seen(9), "one miner with many nodes");
    shared.note_pulled(key(2, 1));
    assert!(seen(9) && !seen(1) && !seen(2), "two others");
    assert!(shared.has_pulled(key(1, 1), began) && !shared.has_pulled(key(3, 1), began));
    world.clock.advance(PULLED_WITHIN);
    assert!(!shared.has_pulled(key(1, 1), shared.now() - PULLED_WITHIN + Millis(1)));
}

#[tokio::test]
async fn no_key_outlives_a_term() {
    let shared = World::new().boot().await;
    shared.set_access(MINER, access(&shared, HOUR));
    shared.end_sessions();
    assert!(shared.access(&MINER).is_none());
    let next = access(&shared, HOUR);
    shared.set_access(MINER, Arc::clone(&next));
    assert!(shared.access(&MINER).is_some_and(|kept| Arc::ptr_eq(&kept, &next)));
}
