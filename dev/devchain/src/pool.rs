//! Extrinsics that wait for a block.
//!
//! Per account they are ordered by nonce; one whose nonce is ahead waits as `future` until the gap is filled. The pool
//! is bounded in number, per account and in bytes. It decides only: validation and blocks happen elsewhere, and every
//! change of status is told to the watcher that came with the extrinsic, if any.

use std::collections::{BTreeMap, HashSet};

use tokio::sync::mpsc;

use crate::executor::{Inclusion, Signer};
use crate::runtime::{AccountId, Hash, Nonce};

/// Extrinsics in the pool.
pub const CAPACITY: usize = 4_096;
/// Extrinsics of one account.
pub const PER_ACCOUNT: usize = 64;
/// Bytes in the pool.
pub const CAPACITY_BYTES: usize = 8 << 20;
/// Extrinsics tried for one block.
pub const PER_BLOCK: usize = 512;
/// Bytes tried for one block; below the runtime's own limit for normal extrinsics.
const PER_BLOCK_BYTES: usize = 3 << 20;
/// Statuses one watcher can have before it reads them; an extrinsic has fewer.
pub const STATUSES: usize = 8;

/// What happens to a watched extrinsic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Its nonce is ahead of its account's.
    Future,
    /// It waits for a block.
    Ready,
    /// It is in this block.
    InBlock(Hash),
    /// The block is final; nothing follows.
    Finalized(Hash),
    /// Another one took its nonce; nothing follows.
    Usurped(Hash),
    /// It is no longer valid; nothing follows.
    Invalid,
}

/// An extrinsic that passed validation.
#[derive(Debug)]
pub struct Pooled {
    /// Its hash.
    pub hash: Hash,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Who signed it.
    pub signer: Signer,
    /// Its priority among extrinsics of the same nonce.
    pub priority: u64,
    /// The last block that may contain it.
    pub valid_until: u64,
    /// Who wants to know.
    pub watcher: Option<mpsc::Sender<Status>>,
}

impl Pooled {
    fn tell(&self, status: Status) {
        if let Some(watcher) = &self.watcher {
            // A watcher that went away or does not read loses only its own news.
            let _ = watcher.try_send(status);
        }
    }
}

/// Why a valid extrinsic does not enter the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PoolRefusal {
    /// It is here already.
    #[error("extrinsic {0:?} is already in the pool")]
    AlreadyImported(Hash),
    /// One with the same nonce has at least its priority.
    #[error("priority is too low: ({old} vs {new})")]
    TooLowPriority {
        /// Priority of the one that stays.
        old: u64,
        /// Priority of the one refused.
        new: u64,
    },
    /// A bound is reached.
    #[error("the pool is full")]
    Full,
}

/// The extrinsics that wait.
#[derive(Debug, Default)]
pub struct Pool {
    accounts: BTreeMap<AccountId, BTreeMap<Nonce, Pooled>>,
    hashes: HashSet<Hash>,
    bytes: usize,
}

impl Pool {
    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Adds an extrinsic whose account stands at `account_nonce`.
    ///
    /// # Errors
    /// It is known, outbid, or a bound is reached.
    pub fn add(&mut self, extrinsic: Pooled, account_nonce: Nonce) -> Result<(), PoolRefusal> {
        if self.hashes.contains(&extrinsic.hash) {
            return Err(PoolRefusal::AlreadyImported(extrinsic.hash));
        }
        let waiting = self.accounts.get(&extrinsic.signer.account);
        let usurped = waiting.and_then(|waiting| waiting.get(&extrinsic.signer.nonce));
        if let Some(old) = usurped {
            if old.priority >= extrinsic.priority {
                return Err(PoolRefusal::TooLowPriority { old: old.priority, new: extrinsic.priority });
            }
        } else if self.len() >= CAPACITY || waiting.is_some_and(|waiting| waiting.len() >= PER_ACCOUNT) {
            return Err(PoolRefusal::Full);
        }
        if self.bytes + extrinsic.bytes.len() > CAPACITY_BYTES {
            return Err(PoolRefusal::Full);
        }
        let (account, nonce, hash) =
            (extrinsic.signer.account.clone(), extrinsic.signer.nonce, extrinsic.hash);
        self.bytes += extrinsic.bytes.len();
        self.hashes.insert(hash);
        let waiting = self.accounts.entry(account).or_default();
        if let Some(old) = waiting.insert(nonce, extrinsic) {
            self.hashes.remove(&old.hash);
            self.bytes -= old.bytes.len();
            old.tell(Status::Usurped(hash));
        }
        Self::announce(waiting, nonce, account_nonce);
        Ok(())
    }

    /// Tells the new extrinsic where it stands, and those behind it that the gap is filled.
    fn announce(waiting: &BTreeMap<Nonce, Pooled>, added: Nonce, account_nonce: Nonce) {
        let gapless = (account_nonce..added).all(|nonce| waiting.contains_key(&nonce));
        if !gapless {
            if let Some(extrinsic) = waiting.get(&added) {
                extrinsic.tell(Status::Future);
            }
            return;
        }
        let mut expected = added;
        for (nonce, extrinsic) in waiting.range(added..) {
            if *nonce != expected {
                break;
            }
            extrinsic.tell(Status::Ready);
            expected = expected.saturating_add(1);
        }
    }

    /// The account's next free nonce, counting what waits without a gap.
    #[must_use]
    pub fn next_nonce(&self, account: &AccountId, account_nonce: Nonce) -> Nonce {
        let mut next = account_nonce;
        if let Some(waiting) = self.accounts.get(account) {
            while waiting.contains_key(&next) {
                next = next.saturating_add(1);
            }
        }
        next
    }

    /// Candidates for the next block: each account's in order of nonce up to the first gap, accounts in turn, within the
    /// block's bounds. What is behind its account's nonce comes too, so that the runtime refuses it and it leaves.
    #[must_use]
    pub fn candidates(&self, account_nonce: impl Fn(&AccountId) -> Nonce) -> Vec<(Hash, Vec<u8>)> {
        let mut queues: Vec<_> = self
            .accounts
            .iter()
            .map(|(account, waiting)| {
                let next = account_nonce(account);
                let gapless = waiting.range(next..).zip(next..).take_while(|((nonce, _), due)| *nonce == due);
                waiting.range(..next).chain(gapless.map(|(entry, _)| entry)).map(|(_, extrinsic)| extrinsic)
            })
            .collect();
        let mut chosen = Vec::new();
        let mut bytes = 0;
        while !queues.is_empty() {
            queues.retain_mut(|queue| match queue.next() {
                Some(extrinsic)
                    if chosen.len() < PER_BLOCK && bytes + extrinsic.bytes.len() <= PER_BLOCK_BYTES =>
                {
                    bytes += extrinsic.bytes.len();
                    chosen.push((extrinsic.hash, extrinsic.bytes.clone()));
                    true
                }
                _ => false,
            });
        }
        chosen
    }

    /// All extrinsics that wait, for a client that asks.
    #[must_use]
    pub fn pending(&self) -> Vec<Vec<u8>> {
        self.accounts.values().flat_map(BTreeMap::values).map(|extrinsic| extrinsic.bytes.clone()).collect()
    }

    /// Settles what a block did with its candidates and drops what this was the last block for. Every block is final,
    /// so inclusion and finality are told one after the other.
    pub fn settle(&mut self, outcomes: &[(Hash, Inclusion)], block: Hash, number: u32) {
        use sp_runtime::transaction_validity::{InvalidTransaction, TransactionValidityError};
        let mut leaving = BTreeMap::new();
        for (hash, inclusion) in outcomes {
            match inclusion {
                Inclusion::Included => leaving.insert(*hash, true),
                Inclusion::Refused(TransactionValidityError::Invalid(
                    InvalidTransaction::Future | InvalidTransaction::ExhaustsResources,
                )) => None,
                Inclusion::Refused(_) | Inclusion::Panicked => leaving.insert(*hash, false),
            };
        }
        let (hashes, bytes) = (&mut self.hashes, &mut self.bytes);
        for waiting in self.accounts.values_mut() {
            waiting.retain(|_, extrinsic| {
                match leaving.get(&extrinsic.hash) {
                    Some(true) => {
                        extrinsic.tell(Status::InBlock(block));
                        extrinsic.tell(Status::Finalized(block));
                    }
                    Some(false) => extrinsic.tell(Status::Invalid),
                    None if u64::from(number) >= extrinsic.valid_until => extrinsic.tell(Status::Invalid),
                    None => return true,
                }
                hashes.remove(&extrinsic.hash);
                *bytes -= extrinsic.bytes.len();
                false
            });
        }
        self.accounts.retain(|_, waiting| !waiting.is_empty());
    }
}

#[cfg(test)]
mod tests {
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
        let pooled =
            Pooled { hash: hash(n), bytes, signer, priority, valid_until: 100, watcher: Some(watcher) };
        (pooled, statuses)
    }

    fn news(statuses: &mut mpsc::Receiver<Status>) -> Vec<Status> {
        std::iter::from_fn(|| statuses.try_recv().ok()).collect()
    }

    fn hashes(pool: &Pool, nonce: Nonce) -> Vec<u64> {
        pool.candidates(|_| nonce).iter().map(|(hash, _)| hash.to_low_u64_be()).collect()
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
}
