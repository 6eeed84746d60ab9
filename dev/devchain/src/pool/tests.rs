use sp_runtime::transaction_validity::{InvalidTransaction, TransactionValidityError};

use super::*;

fn account(n: u8) -> AccountId {
    AccountId::new([n; 32])
}

fn hash(n: u64) -> Hash {
    Hash::from_low_u64_be(n)
}

fn pooled(n: u64, who: u8, nonce: Nonce, priority: u64) -> (Pooled, mpsc::Receiver<Status>) {
    let (watcher, statuses) = mpsc::channel(STATUSES);
    let signer = Signer { account: account(who), nonce };
    let bytes = n.to_be_bytes().to_vec();
    let pooled = Pooled { hash: hash(n), bytes, signer, priority, valid_until: 100, watcher: Some(watcher) };
    (pooled, statuses)
}

fn news(statuses: &mut mpsc::Receiver<Status>) -> Vec<Status> {
    std::iter::from_fn(|| statuses.try_recv().ok()).collect()
}

fn hashes(pool: &Pool, nonce: Nonce) -> Vec<u64> {
    pool.candidates(PER_BLOCK, |_| nonce).iter().map(|(hash, _)| hash.to_low_u64_be()).collect()
}

#[test]
fn a_nonce_ahead_waits_until_the_gap_is_filled() {
    let mut pool = Pool::default();
    let (second, mut second_news) = pooled(2, 1, 6, 0);
    let (first, mut first_news) = pooled(1, 1, 5, 0);
    pool.add(second, 5).expect("room");
    assert_eq!(news(&mut second_news), [Status::Future]);
    assert_eq!(pool.next_nonce(&account(1), 5), 5);
    pool.add(first, 5).expect("room");
    assert_eq!(news(&mut first_news), [Status::Ready]);
    assert_eq!(news(&mut second_news), [Status::Ready]);
    assert_eq!(hashes(&pool, 5), [1, 2]);
    assert_eq!(hashes(&pool, 4), [0; 0], "never past a gap");
    assert_eq!(hashes(&pool, 7), [1, 2], "what is outdated is offered once more, to be refused");
    assert_eq!(pool.next_nonce(&account(1), 5), 7);
}

#[test]
fn a_higher_priority_takes_the_nonce_and_a_lower_one_is_refused() {
    let mut pool = Pool::default();
    let (old, mut old_news) = pooled(1, 1, 0, 5);
    pool.add(old, 0).expect("room");
    let equal = pool.add(pooled(2, 1, 0, 5).0, 0);
    assert_eq!(equal, Err(PoolRefusal::TooLowPriority { old: 5, new: 5 }));
    assert_eq!(pool.add(pooled(1, 1, 0, 9).0, 0), Err(PoolRefusal::AlreadyImported(hash(1))));
    pool.add(pooled(3, 1, 0, 6).0, 0).expect("outbids");
    assert_eq!(news(&mut old_news), [Status::Ready, Status::Usurped(hash(3))]);
    assert_eq!((hashes(&pool, 0), pool.len()), (vec![3], 1));
}

#[test]
fn settling_tells_inclusion_then_finality_and_keeps_what_may_come_later() {
    let mut pool = Pool::default();
    let mut receivers = Vec::new();
    for n in 1..=4u8 {
        let (extrinsic, receiver) = pooled(n.into(), n, 0, 0);
        pool.add(extrinsic, 0).expect("room");
        receivers.push(receiver);
    }
    let refused = |error| Inclusion::Refused(TransactionValidityError::Invalid(error));
    let outcomes = [
        (hash(1), Inclusion::Included),
        (hash(2), refused(InvalidTransaction::Custom(12))),
        (hash(3), refused(InvalidTransaction::Future)),
        (hash(4), Inclusion::Panicked),
    ];
    pool.settle(&outcomes, hash(99), 7);
    pool.finalize(7);
    let told: Vec<_> = receivers.iter_mut().map(news).collect();
    assert_eq!(told[0], [Status::Ready, Status::InBlock(hash(99)), Status::Finalized(hash(99))]);
    assert_eq!(told[1], [Status::Ready, Status::Invalid]);
    assert_eq!(told[2], [Status::Ready]);
    assert_eq!(told[3], [Status::Ready, Status::Invalid]);
    assert_eq!(hashes(&pool, 0), [3]);
    pool.settle(&[], hash(100), 100);
    assert_eq!(news(&mut receivers[2]), [Status::Invalid], "its last block has passed");
    assert!(pool.is_empty() && pool.bytes == 0);
}

#[test]
fn one_account_cannot_fill_the_pool() {
    let mut pool = Pool::default();
    for nonce in 0..u32::try_from(PER_ACCOUNT).expect("small") {
        pool.add(pooled(nonce.into(), 1, nonce, 0).0, 0).expect("room");
    }
    assert_eq!(pool.add(pooled(1_000, 1, 1_000, 0).0, 0), Err(PoolRefusal::Full));
    pool.add(pooled(1_001, 2, 0, 0).0, 0).expect("room for others");
    let order = hashes(&pool, 0);
    assert!(order.iter().position(|n| *n == 1_001) <= Some(1), "accounts take turns");
}

#[test]
fn a_retracted_inclusion_is_told_and_its_watcher_given_back() {
    let mut pool = Pool::default();
    let (kept, mut kept_news) = pooled(1, 1, 0, 0);
    let (moved, mut moved_news) = pooled(2, 2, 0, 0);
    pool.add(kept, 0).expect("room");
    pool.add(moved, 0).expect("room");
    pool.settle(&[(hash(1), Inclusion::Included)], hash(90), 5);
    pool.settle(&[(hash(2), Inclusion::Included)], hash(91), 6);
    let given_back = pool.retract(5);
    assert_eq!(given_back.keys().collect::<Vec<_>>(), [&hash(2)]);
    pool.finalize(6);
    assert_eq!(news(&mut kept_news), [Status::Ready, Status::InBlock(hash(90)), Status::Finalized(hash(90))]);
    assert_eq!(
        news(&mut moved_news),
        [Status::Ready, Status::InBlock(hash(91)), Status::Retracted(hash(91))]
    );
}

#[test]
fn without_finality_a_watcher_is_told_so_in_the_end() {
    let mut pool = Pool::default();
    let (extrinsic, mut told) = pooled(1, 1, 0, 0);
    pool.add(extrinsic, 0).expect("room");
    pool.settle(&[(hash(1), Inclusion::Included)], hash(90), 5);
    pool.settle(&[], hash(91), 5 + included::FINALITY_TIMEOUT - 1);
    assert_eq!(news(&mut told), [Status::Ready, Status::InBlock(hash(90))]);
    pool.settle(&[], hash(92), 5 + included::FINALITY_TIMEOUT);
    assert_eq!(news(&mut told), [Status::FinalityTimeout(hash(90))]);
}

#[test]
fn dropping_tells_and_frees() {
    let mut pool = Pool::default();
    let (extrinsic, mut told) = pooled(1, 1, 0, 0);
    pool.add(extrinsic, 0).expect("room");
    assert_eq!(pool.drop_where(|pooled| pooled.hash == hash(2)), 0);
    assert_eq!(pool.drop_where(|pooled| pooled.hash == hash(1)), 1);
    assert_eq!(news(&mut told), [Status::Ready, Status::Dropped]);
    assert!(pool.is_empty() && pool.bytes == 0);
}

#[test]
fn who_waits_longest_is_first_among_accounts() {
    let mut pool = Pool::default();
    for (n, who) in [(1, 9), (2, 5), (3, 7)] {
        pool.add(pooled(n, who, 0, 0).0, 0).expect("room");
    }
    pool.add(pooled(4, 9, 1, 0).0, 0).expect("room");
    assert_eq!(hashes(&pool, 0), [1, 2, 3, 4]);
    assert_eq!(pool.candidates(1, |_| 0).first().map(|(first, _)| *first), Some(hash(1)));
}
