//! What becomes of groups of requests beside what they decide.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_group_that_cannot_be_written_leaves_nothing_and_harms_no_later_one() {
    let f = fixture().await;
    f.store.open_session(&nonce(1, "first", START), &session(7, START)).await.unwrap().unwrap();
    // The table takes no second session of that id, which only a broken source of randomness would make.
    let (twice, second) = (session(7, START), nonce(1, "second", START));
    f.store.open_session(&second, &twice).await.unwrap_err();
    assert_eq!(
        f.store.open_session(&second, &session(8, START)).await.unwrap(),
        Ok(()),
        "the nonce is unused"
    );
    let reopened = open(&f.url).await;
    assert_eq!(reopened.open_sessions(START).await.unwrap(), 2);
    assert_eq!(
        reopened.open_session(&second, &session(9, START)).await.unwrap(),
        Err(Inadmissible::Replayed),
        "what was admitted is on disk"
    );
}

#[tokio::test]
async fn the_write_ahead_log_is_copied_while_the_database_is_in_use() {
    let f = fixture().await;
    let size = || std::fs::metadata(f.url.as_path()).unwrap().len();
    let before = size();
    for at in 0..=u8::MAX {
        let nonce = NonceUse { limit: 1_000, ..nonce(1, &format!("n{at}"), START) };
        f.store.open_session(&nonce, &session(at, START)).await.unwrap().unwrap();
    }
    let copied = async {
        while size() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), copied)
        .await
        .expect("it is far too short for a commit to copy it");
}
