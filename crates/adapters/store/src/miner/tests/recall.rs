//! What is known by heart decides as the file does.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::*;

/// A request, in small numbers so that they meet; or what else is done to the file.
#[derive(Clone, Debug)]
enum Deed {
    Open { nonce: u8, limited: bool },
    Discover { by_other: bool, nonce: u8, before: u8, order: (u64, i64), key: Option<u8>, is_v1: bool },
    Revoke(u8),
    Prune,
}

fn deed() -> impl Strategy<Value = Deed> {
    let open = (0..100u8, prop::bool::weighted(0.2));
    let open = open.prop_map(|(nonce, limited)| Deed::Open { nonce, limited });
    let order = (prop_oneof![20 => Just(0u64), 1 => Just(1)], 0..4i64);
    let rare = || prop::bool::weighted(0.05);
    let discover = (rare(), 0..100u8, 1..4u8, order, option::weighted(0.3, 1..3u8), rare());
    let discover = discover.prop_map(|(by_other, nonce, before, order, key, is_v1)| Deed::Discover {
        by_other,
        nonce,
        before,
        order,
        key,
        is_v1,
    });
    prop_oneof![5 => open, 10 => discover, 2 => (1..3u8).prop_map(Deed::Revoke), 1 => Just(Deed::Prune)]
}

/// The validator that opens a session.
const fn whose(number: u8) -> u8 {
    1 + number % 2
}

/// Each deed's answer, in words. All come at once; `opened` counts sessions, whose numbers are their tokens.
async fn done(store: &MinerDatabase, deeds: &[Deed], now: Timestamp, opened: &mut u8) -> Vec<String> {
    let rate = SessionRate { most: 3, within: Millis::from_secs(900) };
    let mut asked = tokio::task::JoinSet::new();
    for (place, deed) in deeds.iter().cloned().enumerate() {
        let (store, token) = (store.clone(), *opened);
        if matches!(deed, Deed::Open { .. }) {
            *opened += 1;
        }
        let use_of = move |validator, number: u8| NonceUse {
            limit: 30,
            ..nonce(validator, &format!("{number:02}"), now)
        };
        asked.spawn(async move {
            let answer = match deed {
                Deed::Open { nonce, limited } => {
                    let new = NewSession { rate: limited.then_some(rate), ..session(token, now) };
                    format!("{:?}", store.open_session(&use_of(whose(token), nonce), &new).await.unwrap())
                }
                Deed::Discover { by_other, nonce, before, order: (epoch, at), key: with, is_v1 } => {
                    let (token, at) = (token.saturating_sub(before), now.as_secs() + at);
                    let validator = whose(token + u8::from(by_other));
                    let mut asked = DiscoveryUse { public_key: with.map(key), ..discovery(token, epoch, at) };
                    if is_v1 {
                        asked.proof = DiscoveryProof::V1;
                    }
                    format!("{:?}", store.admit_discovery(&use_of(validator, nonce), &asked).await.unwrap())
                }
                Deed::Revoke(validator) => {
                    let choice = SessionChoice::Of(hotkey(validator));
                    format!("{:?}", store.revoke_sessions(choice, now).await.unwrap())
                }
                Deed::Prune => format!("{:?}", store.prune(now).await.unwrap()),
            };
            (place, answer)
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort();
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// All that requests write.
async fn contents(store: &MinerDatabase) -> Vec<String> {
    let text = "SELECT 'v' || hotkey || seen_v2 || '|' || last_epoch || '|' || last_ts_secs || sessions_opened FROM validators \
                UNION ALL SELECT 'n' || seq || hotkey || nonce || forget_at FROM nonces \
                UNION ALL SELECT 's' || seq || id || validator || hex(token_hash) || opened_at || '|' || expires_at \
                || coalesce(public_key, '-') || coalesce(ended_at, '-') || coalesce(ended_why, '-') FROM sessions ORDER BY 1";
    sqlx::query_scalar(text).fetch_all(store.database.readers()).await.unwrap()
}

/// The one store does all of it; the other finds before each group that something else was written.
async fn compare(groups: Vec<(Vec<Deed>, i64)>) -> Result<(), TestCaseError> {
    let (kept, anew) = (fixture().await, fixture().await);
    let other = sqlx::query("CREATE TABLE other (number INTEGER PRIMARY KEY)");
    other.execute(anew.store.database.writer()).await.unwrap();
    let (mut now, mut opened) = (START, 0);
    for (deeds, pause) in groups {
        now = Timestamp(now.0 + pause);
        let mut opened_too = opened;
        let by_heart = done(&kept.store, &deeds, now, &mut opened).await;
        let written = sqlx::query("INSERT INTO other DEFAULT VALUES");
        written.execute(anew.store.database.writer()).await.unwrap();
        let by_the_file = done(&anew.store, &deeds, now, &mut opened_too).await;
        prop_assert_eq!(by_heart, by_the_file, "{:?} at {}", deeds, now.0 - START.0);
    }
    prop_assert_eq!(contents(&kept.store).await, contents(&anew.store).await);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn requests_are_decided_by_heart_as_they_are_by_the_file(
        groups in vec((vec(deed(), 1..4), 0..60_000i64), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compare(groups))?;
    }
}

/// What was decided by heart is taken back, and nothing of it stays.
#[tokio::test]
async fn a_request_that_meets_anothers_write_is_decided_by_what_that_wrote() {
    let f = fixture().await;
    let other = open(&f.url).await;
    f.store.open_session(&nonce(1, "a0", START), &session(1, START)).await.unwrap().unwrap();
    let plain = |order| DiscoveryUse { public_key: None, ..discovery(1, 0, order) };
    f.store.admit_discovery(&nonce(1, "a1", START), &plain(1)).await.unwrap().unwrap();
    other.revoke_sessions(SessionChoice::All, START).await.unwrap();
    let refused = f.store.admit_discovery(&nonce(1, "a2", START), &plain(2)).await.unwrap();
    assert_eq!(refused.unwrap_err(), Inadmissible::NoSession);
    let text = "SELECT count(*) FROM nonces";
    let nonces: i64 = sqlx::query_scalar(text).fetch_one(f.store.database.readers()).await.unwrap();
    assert_eq!(nonces, 2, "that of a refused request stays unused");
    let opened = f.store.open_session(&nonce(1, "a2", START), &session(2, START)).await.unwrap();
    assert_eq!(opened, Ok(()));
    assert_eq!(contents(&f.store).await.len(), 1 + 3 + 2);
}
