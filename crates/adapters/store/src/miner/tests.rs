mod admission;
mod continuity;
mod operations;
mod recall;
mod restore;

use std::sync::Arc;

use basilica_ports::{
    DiscoveryProof, MinerOperations as _, MinerSessions as _, SessionChoice, SessionEnd, SessionRate,
};
use basilica_types::{DatabasePath, Digest, FencingToken, Millis, RequestNonce, SshPublicKey};

use super::*;
use crate::OpenOptions;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const START: Timestamp = Timestamp(1_800_000_000_000);

struct Fixture {
    _directory: tempfile::TempDir,
    url: DatabasePath,
    store: MinerDatabase,
}

async fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("miner.db").display()).parse().unwrap();
    Fixture { store: open(&url).await, url, _directory: directory }
}

async fn open(url: &DatabasePath) -> MinerDatabase {
    MinerDatabase::new(Database::open(url, &MINER_SCHEMA, OpenOptions::default()).await.unwrap())
}

fn hotkey(seed: u8) -> Hotkey {
    Hotkey::from_bytes([seed; 32])
}

fn node(host: &str) -> NodeAddress {
    format!("root@{host}:22").parse().unwrap()
}

fn key(seed: u8) -> SshPublicKey {
    let mut blob = KEY.parse::<SshPublicKey>().unwrap().blob().to_vec();
    *blob.last_mut().unwrap() = seed;
    SshPublicKey::from_blob(&blob).unwrap()
}

fn nonce(validator: u8, name: &str, now: Timestamp) -> NonceUse {
    let nonce: RequestNonce = format!("nonce-{name}").parse().unwrap();
    let forget_at = Timestamp(now.0 + 660_000);
    NonceUse { validator: hotkey(validator), nonce, signed_at: now, now, forget_at, limit: 4 }
}

fn session(seed: u8, now: Timestamp) -> NewSession {
    NewSession {
        id: SessionId::from_random([seed; 8]),
        token_hash: Digest::from_bytes([seed; 32]),
        expires_at: Timestamp(now.0 + 3_600_000),
        rate: None,
    }
}

fn discovery(token: u8, epoch: u64, timestamp_secs: i64) -> DiscoveryUse {
    DiscoveryUse {
        proof: DiscoveryProof::V2 { token_hash: Digest::from_bytes([token; 32]), epoch: FencingToken(epoch) },
        timestamp_secs,
        public_key: Some(key(1)),
        keyed_sessions: 2,
        rate: None,
    }
}

/// A session of the first validator's that has a key.
async fn keyed_session(store: &MinerDatabase) -> SessionId {
    store.open_session(&nonce(1, "aa", START), &session(1, START)).await.unwrap().unwrap();
    store.admit_discovery(&nonce(1, "key", START), &discovery(1, 0, 1)).await.unwrap().unwrap().id
}

fn after(ms: i64) -> Timestamp {
    Timestamp(START.0 + ms)
}

#[tokio::test]
async fn a_nonce_counts_once_even_after_a_restart() {
    let f = fixture().await;
    assert_eq!(f.store.open_session(&nonce(1, "aa", START), &session(1, START)).await.unwrap(), Ok(()));
    let again = f.store.open_session(&nonce(1, "aa", START), &session(2, START)).await.unwrap();
    assert_eq!(again, Err(Inadmissible::Replayed));
    assert_eq!(f.store.open_session(&nonce(2, "aa", START), &session(3, START)).await.unwrap(), Ok(()));
    f.store.database.close().await;
    let reopened = open(&f.url).await;
    let again = reopened.open_session(&nonce(1, "aa", after(659_999)), &session(4, START)).await.unwrap();
    assert_eq!(again, Err(Inadmissible::Replayed));
    assert_eq!(
        reopened.open_session(&nonce(1, "aa", after(660_000)), &session(5, START)).await.unwrap(),
        Ok(())
    );
}

#[tokio::test]
async fn a_full_share_refuses_and_never_evicts() {
    let f = fixture().await;
    for i in 0..4u8 {
        let name = format!("n{i}");
        assert_eq!(f.store.open_session(&nonce(1, &name, START), &session(i, START)).await.unwrap(), Ok(()));
    }
    let more = f.store.open_session(&nonce(1, "n5", START), &session(9, START)).await.unwrap();
    assert_eq!(more, Err(Inadmissible::Full));
    let replay = f.store.open_session(&nonce(1, "n0", START), &session(9, START)).await.unwrap();
    assert_eq!(replay, Err(Inadmissible::Replayed));
    assert_eq!(f.store.open_session(&nonce(2, "n5", START), &session(10, START)).await.unwrap(), Ok(()));
    let later = after(660_000);
    assert_eq!(f.store.open_session(&nonce(1, "n5", later), &session(9, later)).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn many_at_once_admit_each_nonce_exactly_once() {
    let f = fixture().await;
    let store = Arc::new(f.store.clone());
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..64u8 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut nonce = nonce(1, &format!("n{}", i % 16), START);
            nonce.limit = 1000;
            store.open_session(&nonce, &session(i, START)).await.unwrap()
        });
    }
    let outcomes = tasks.join_all().await;
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 16);
    assert_eq!(f.store.open_sessions(START).await.unwrap(), 16);
}

/// Drops what it polls after some polls, as a server does with the request of a peer that hangs up.
async fn cancelled_after<T>(polls: usize, request: impl Future<Output = T>) {
    let mut request = Box::pin(request);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return std::task::Poll::Ready(());
        }
        left -= 1;
        request.as_mut().poll(cx).map(drop)
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_cancelled_at_any_moment_takes_no_other_along() {
    let f = fixture().await;
    for polls in 1..=60u8 {
        let opened = |who: u8| {
            let mut nonce = nonce(who, &format!("p{polls}"), START);
            nonce.limit = 1000;
            let id = [who, polls, 0, 0, 0, 0, 0, 0];
            let mut token_hash = [0; 32];
            token_hash[..8].copy_from_slice(&id);
            let session = NewSession {
                id: SessionId::from_random(id),
                token_hash: Digest::from_bytes(token_hash),
                ..session(0, START)
            };
            let store = f.store.clone();
            async move { store.open_session(&nonce, &session).await }
        };
        let (_, second, third) = tokio::join!(cancelled_after(polls.into(), opened(1)), opened(2), opened(3));
        assert_eq!(second.unwrap(), Ok(()), "cancelled after {polls} polls");
        assert_eq!(third.unwrap(), Ok(()), "cancelled after {polls} polls");
    }
}

#[tokio::test]
async fn a_session_opens_for_its_validator_with_its_token_until_it_expires() {
    let f = fixture().await;
    f.store.open_session(&nonce(1, "aa", START), &session(1, START)).await.unwrap().unwrap();
    let refused = |outcome: Result<SessionRecord, Inadmissible>| outcome.unwrap_err();
    let wrong_token = f.store.admit_discovery(&nonce(1, "ab", START), &discovery(2, 0, 100)).await.unwrap();
    assert_eq!(refused(wrong_token), Inadmissible::NoSession);
    let other_validator =
        f.store.admit_discovery(&nonce(2, "ac", START), &discovery(1, 0, 100)).await.unwrap();
    assert_eq!(refused(other_validator), Inadmissible::NoSession);
    let late = after(3_600_000);
    let expired = f.store.admit_discovery(&nonce(1, "ad", late), &discovery(1, 0, 100)).await.unwrap();
    assert_eq!(refused(expired), Inadmissible::NoSession);
    let asked = after(50);
    let good = f.store.admit_discovery(&nonce(1, "ae", asked), &discovery(1, 0, 100)).await.unwrap().unwrap();
    let opened = SessionRecord {
        id: SessionId::from_random([1; 8]),
        validator: hotkey(1),
        opened_at: START,
        expires_at: late,
        public_key: Some(key(1)),
    };
    assert_eq!(good, opened);
    assert_eq!(f.store.keyed_sessions(START).await.unwrap(), [opened]);
    assert!(f.store.keyed_sessions(late).await.unwrap().is_empty());
    f.store.end_sessions(START).await.unwrap();
    let ended = f.store.admit_discovery(&nonce(1, "af", START), &discovery(1, 0, 101)).await.unwrap();
    assert_eq!(refused(ended), Inadmissible::NoSession);
}

#[tokio::test]
async fn an_older_request_or_leader_is_refused() {
    let f = fixture().await;
    f.store.open_session(&nonce(1, "aa", START), &session(1, START)).await.unwrap().unwrap();
    let mut admitted = Vec::new();
    for (name, epoch, ts) in [("b1", 3, 100), ("b2", 3, 100), ("b3", 2, 500), ("b4", 3, 101), ("b5", 4, 50)] {
        let mut nonce = nonce(1, name, START);
        nonce.limit = 100;
        admitted.push(f.store.admit_discovery(&nonce, &discovery(1, epoch, ts)).await.unwrap().map(drop));
    }
    let superseded = Err(Inadmissible::Superseded);
    assert_eq!(admitted, [Ok(()), superseded, superseded, Ok(()), Ok(())]);
    let late = after(660_000);
    let absurd = f.store.admit_discovery(&nonce(1, "b6", late), &discovery(1, u64::MAX, 999)).await.unwrap();
    assert_eq!(absurd.unwrap_err(), Inadmissible::Superseded);
}

#[tokio::test]
async fn a_refused_discovery_leaves_nothing_behind() {
    let f = fixture().await;
    f.store.open_session(&nonce(1, "aa", START), &session(1, START)).await.unwrap().unwrap();
    let refused = f.store.admit_discovery(&nonce(1, "ab", START), &discovery(9, 7, 999)).await.unwrap();
    assert_eq!(refused.unwrap_err(), Inadmissible::NoSession);
    let next = f.store.admit_discovery(&nonce(1, "ab", START), &discovery(1, 0, 1)).await.unwrap();
    assert!(next.is_ok(), "{next:?}");
}

#[tokio::test]
async fn the_first_version_is_refused_after_the_second_was_seen() {
    let f = fixture().await;
    f.store.open_session(&nonce(1, "aa", START), &session(1, START)).await.unwrap().unwrap();
    let v1 = |ts| DiscoveryUse { proof: DiscoveryProof::V1, ..discovery(0, 0, ts) };
    assert!(f.store.admit_discovery(&nonce(1, "ab", START), &v1(1)).await.unwrap().is_ok());
    assert!(f.store.admit_discovery(&nonce(1, "ac", START), &discovery(1, 0, 2)).await.unwrap().is_ok());
    let downgraded = f.store.admit_discovery(&nonce(1, "ad", START), &v1(3)).await.unwrap();
    assert_eq!(downgraded.unwrap_err(), Inadmissible::Downgrade);
}

#[tokio::test]
async fn the_oldest_keyed_session_ends_for_one_too_many() {
    let f = fixture().await;
    for i in 1..=3u8 {
        let now = after(i64::from(i));
        let mut opened = nonce(1, &format!("o{i}"), now);
        opened.limit = 100;
        f.store.open_session(&opened, &session(i, now)).await.unwrap().unwrap();
        let mut asked = nonce(1, &format!("d{i}"), now);
        asked.limit = 100;
        f.store.admit_discovery(&asked, &discovery(i, 0, i64::from(i))).await.unwrap().unwrap();
    }
    let keyed: Vec<SessionId> =
        f.store.keyed_sessions(after(10)).await.unwrap().into_iter().map(|s| s.id).collect();
    assert_eq!(keyed, [SessionId::from_random([2; 8]), SessionId::from_random([3; 8])]);
}

#[tokio::test]
async fn only_so_many_sessions_are_opened_within_a_time_that_slides_along_over_a_restart_too() {
    let f = fixture().await;
    let rate = Some(SessionRate { most: 2, within: Millis(1000) });
    let attempts = [
        (0, 1, Ok(())),
        (400, 1, Ok(())),
        (500, 1, Err(Inadmissible::TooManySessions { again_at: after(1000) })),
        (500, 2, Ok(())),
        (999, 1, Err(Inadmissible::TooManySessions { again_at: after(1000) })),
        (1000, 1, Ok(())),
        (1001, 1, Err(Inadmissible::TooManySessions { again_at: after(1400) })),
        // A clock that was ahead and is set right shuts nobody out.
        (-5000, 1, Ok(())),
    ];
    for (at, (ms, validator, expected)) in attempts.into_iter().enumerate() {
        let seed = u8::try_from(at).unwrap();
        let nonce = NonceUse { limit: 100, ..nonce(validator, &format!("s{at}"), after(ms)) };
        let session = NewSession { rate, ..session(seed, after(ms)) };
        // Each attempt is made by another process.
        let store = open(&f.url).await;
        assert_eq!(store.open_session(&nonce, &session).await.unwrap(), expected, "at {ms} ms");
        store.database.close().await;
    }
    let unlimited = NonceUse { limit: 100, ..nonce(1, "free", START) };
    assert_eq!(f.store.open_session(&unlimited, &session(99, START)).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn another_key_within_a_session_counts_as_a_new_session() {
    let f = fixture().await;
    let rate = Some(SessionRate { most: 2, within: Millis(1000) });
    let opened = NonceUse { limit: 100, ..nonce(1, "open", START) };
    f.store.open_session(&opened, &NewSession { rate, ..session(1, START) }).await.unwrap().unwrap();
    let asked = async |name: &str, secs: i64, seed: u8| {
        let now = after(secs);
        let nonce = NonceUse { limit: 100, ..nonce(1, name, now) };
        let discovery = DiscoveryUse { rate, public_key: Some(key(seed)), ..discovery(1, 0, secs) };
        f.store.admit_discovery(&nonce, &discovery).await.unwrap().map(|record| record.public_key)
    };
    assert_eq!(asked("first", 1, 1).await, Ok(Some(key(1))), "the session's own key costs nothing");
    assert_eq!(asked("again", 2, 1).await, Ok(Some(key(1))), "nor does the same one again");
    assert_eq!(asked("other", 3, 2).await, Ok(Some(key(2))));
    let refused = Err(Inadmissible::TooManySessions { again_at: after(1000) });
    assert_eq!(asked("third", 4, 3).await, refused);
    assert_eq!(asked("third", 4, 2).await, Ok(Some(key(2))), "what was refused left nothing behind");
    let opened = NonceUse { limit: 100, ..nonce(1, "more", after(5)) };
    let session = NewSession { rate, ..session(2, after(5)) };
    assert!(f.store.open_session(&opened, &session).await.unwrap().is_err());
    assert_eq!(asked("later", 1000, 3).await, Ok(Some(key(3))));
}

#[tokio::test]
async fn how_long_sessions_lasted_is_told_once_whichever_way_they_ended() {
    let f = fixture().await;
    for (seed, at) in [(1, 0), (2, 100)] {
        let opened = nonce(1, &format!("life{seed}"), after(at));
        f.store.open_session(&opened, &session(seed, after(at))).await.unwrap().unwrap();
    }
    let choice = SessionChoice::One(SessionId::from_random([1; 8]));
    f.store.revoke_sessions(choice, after(5_000)).await.unwrap();
    let lives = async |from, to| f.store.session_lives(after(from), after(to)).await.unwrap();
    assert_eq!(lives(0, 4_999).await, []);
    assert_eq!(lives(4_999, 5_000).await, [Millis(5_000)]);
    assert_eq!(lives(5_000, 3_600_100).await, [Millis(3_600_000)], "the other one expired");
    assert_eq!(lives(3_600_100, i64::MAX - START.0).await, []);
}

#[tokio::test]
async fn what_the_database_is_asked_for_is_counted() {
    let f = fixture().await;
    let mut registry = Registry::default();
    f.store.observe(&mut registry, "x");
    f.store.open_session(&nonce(1, "counted", START), &session(1, START)).await.unwrap().unwrap();
    f.store.orders().await.unwrap();
    f.store.host_keys().await.unwrap();
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "x_database_operations_total{pool=\"reads\"} 2",
        "x_database_operations_total{pool=\"writes\"} 1",
        "x_database_query_duration_seconds_count{pool=\"writes\"} 1",
        "x_database_connections_max{pool=\"writes\"} 1",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn sessions_are_listed_with_their_nodes_and_why_they_ended() {
    let f = fixture().await;
    let nodes = [node("192.0.2.1").node_id()];
    for seed in 1..=4u8 {
        let (name, now) = (format!("x{seed}"), after(i64::from(seed)));
        let validator = if seed == 4 { 2 } else { 1 };
        let opened = NonceUse { limit: 100, ..nonce(validator, &format!("{name}o"), now) };
        f.store.open_session(&opened, &session(seed, now)).await.unwrap().unwrap();
        let asked = NonceUse { limit: 100, ..nonce(validator, &format!("{name}d"), now) };
        f.store.admit_discovery(&asked, &discovery(seed, 0, i64::from(seed))).await.unwrap().unwrap();
    }
    let id = |seed| SessionId::from_random([seed; 8]);
    let taken = f.store.record_deployments(nodes[0], &[id(2)], after(5)).await.unwrap();
    assert_eq!(taken, [id(2)].into());
    let before = f.store.revision().await.unwrap();
    let choice = SessionChoice::One(id(2));
    let revoked = f.store.revoke_sessions(choice, after(10)).await.unwrap();
    assert_eq!(revoked.iter().map(|session| session.id).collect::<Vec<_>>(), [id(2)]);
    assert_eq!(revoked[0].nodes, nodes);
    assert_eq!(f.store.revoke_sessions(choice, after(11)).await.unwrap(), [], "it is over");
    assert!(f.store.revision().await.unwrap() > before, "the running miner is told");
    f.store.prune(after(20)).await.unwrap();
    let listed = f.store.sessions(after(3_600_003)).await.unwrap();
    let ends: Vec<_> = listed.iter().map(|session| (session.id, session.ended)).collect();
    assert_eq!(
        ends,
        [
            (id(4), None),
            (id(3), Some((after(3_600_003), SessionEnd::Expired))),
            (id(2), Some((after(10), SessionEnd::Revoked))),
            (id(1), Some((after(3), SessionEnd::Replaced))),
        ]
    );
    assert_eq!((&listed[2].nodes[..], listed[2].public_key.clone()), (&nodes[..], Some(key(1))));
    let refused = NonceUse { limit: 100, ..nonce(1, "late", after(12)) };
    let refused = f.store.admit_discovery(&refused, &discovery(2, 0, 99)).await.unwrap();
    assert_eq!(refused.unwrap_err(), Inadmissible::NoSession, "its token is refused");
    let others = f.store.revoke_sessions(SessionChoice::Of(hotkey(2)), after(13)).await.unwrap();
    assert_eq!(others.len(), 1);
    f.store.prune(after(86_400_020)).await.unwrap();
    let left: Vec<_> = f.store.sessions(after(86_400_020)).await.unwrap().iter().map(|s| s.id).collect();
    assert_eq!(left, [id(4), id(3), id(2)], "the newest, those of a day, and what a node may still carry");
}

#[tokio::test]
async fn a_session_is_remembered_until_its_key_is_gone_from_every_node() {
    let f = fixture().await;
    let id = keyed_session(&f.store).await;
    let (a, b) = (node("192.0.2.1").node_id(), node("192.0.2.2").node_id());
    for node in [a, b, a] {
        assert_eq!(f.store.record_deployments(node, &[id], START).await.unwrap(), [id].into());
    }
    let late = after(100_000_000);
    f.store.prune(late).await.unwrap();
    assert_eq!(f.store.deployments(a).await.unwrap(), [(id, hotkey(1))]);
    f.store.forget_deployments(a, &[id]).await.unwrap();
    f.store.prune(late).await.unwrap();
    assert_eq!(f.store.deployments(b).await.unwrap(), [(id, hotkey(1))]);
    f.store.forget_deployments(b, &[id]).await.unwrap();
    f.store.prune(late).await.unwrap();
    assert!(f.store.deployments(b).await.unwrap().is_empty());
    let share_is_free = f.store.open_session(&nonce(1, "aa", late), &session(1, late)).await.unwrap();
    assert_eq!(share_is_free, Ok(()));
}

#[tokio::test]
async fn a_host_key_stays_pinned_until_its_change_is_approved() {
    let f = fixture().await;
    let address = node("gpu.example");
    let id = address.node_id();
    assert_eq!(f.store.host_key(id).await.unwrap(), None);
    let named = key(2).fingerprint();
    let nothing = f.store.approve_host_key(id, &named, START).await.unwrap();
    assert_eq!(nothing, HostKeyApproval::NothingOffered);
    f.store.pin_host_key(id, &address, &key(1), START).await.unwrap();
    f.store.pin_host_key(id, &address, &key(2), START).await.unwrap();
    assert!(!f.store.offer_host_key(id, &key(1), START).await.unwrap(), "the pinned key is no news");
    assert!(f.store.offer_host_key(id, &key(2), START).await.unwrap());
    assert!(!f.store.offer_host_key(id, &key(2), START).await.unwrap(), "the same key is no news twice");
    let record = f.store.host_key(id).await.unwrap().unwrap();
    assert_eq!((&record.pinned, &record.offered), (&key(1), &Some(key(2))));
    let other = f.store.approve_host_key(id, &key(3).fingerprint(), START).await.unwrap();
    assert_eq!(
        other,
        HostKeyApproval::OtherKey(record.clone()),
        "only the key that was looked at is trusted"
    );
    let approved = f.store.approve_host_key(id, &named, START).await.unwrap();
    assert_eq!(approved, HostKeyApproval::Approved(record));
    let record = f.store.host_keys().await.unwrap().remove(0);
    assert_eq!((record.pinned, record.offered, record.address), (key(2), None, address));
}

#[tokio::test]
async fn an_offered_host_key_is_withdrawn_when_the_pinned_one_is_shown_again() {
    let f = fixture().await;
    let address = node("gpu.example");
    let id = address.node_id();
    f.store.pin_host_key(id, &address, &key(1), START).await.unwrap();
    f.store.offer_host_key(id, &key(2), START).await.unwrap();
    f.store.withdraw_host_key(id, &key(3)).await.unwrap();
    assert_eq!(f.store.host_key(id).await.unwrap().unwrap().offered, Some(key(2)), "not its pinned key");
    f.store.withdraw_host_key(id, &key(1)).await.unwrap();
    let late = f.store.approve_host_key(id, &key(2).fingerprint(), START).await.unwrap();
    assert_eq!(late, HostKeyApproval::NothingOffered);
    assert!(f.store.offer_host_key(id, &key(2), START).await.unwrap(), "shown once more it is news again");
}

#[tokio::test]
async fn an_assignment_survives_and_is_replaced_as_a_whole() {
    let f = fixture().await;
    assert_eq!(f.store.assignment().await.unwrap(), Assignment::default());
    let (first, second) = (node("192.0.2.1").node_id(), node("192.0.2.2").node_id());
    let both: Assignment =
        [(first, hotkey(1)), (first, hotkey(2)), (second, hotkey(1))].into_iter().collect();
    f.store.remember_assignment(&both).await.unwrap();
    f.store.database.close().await;
    let reopened = open(&f.url).await;
    assert_eq!(reopened.assignment().await.unwrap(), both);
    let later: Assignment = [(first, hotkey(2)), (second, hotkey(3))].into_iter().collect();
    reopened.remember_assignment(&later).await.unwrap();
    assert_eq!(reopened.assignment().await.unwrap(), later);
}
