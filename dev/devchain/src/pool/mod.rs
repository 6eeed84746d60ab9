//! Extrinsics that wait for a block.
//!
//! Per account they are ordered by nonce; one whose nonce is ahead waits as `future` until the gap is filled. The pool
//! is bounded in number, per account and in bytes. It decides only: validation and blocks happen elsewhere, and every
//! change of status is told to the watcher that came with the extrinsic, if any.

mod included;

use std::collections::{BTreeMap, HashMap};

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
/// Statuses one watcher can have before it reads them; what comes on top is lost to it.
pub const STATUSES: usize = 64;

/// What happens to a watched extrinsic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Its nonce is ahead of its account's.
    Future,
    /// It waits for a block.
    Ready,
    /// It is in this block.
    InBlock(Hash),
    /// The block is no longer on the best chain.
    Retracted(Hash),
    /// The block is final; nothing follows.
    Finalized(Hash),
    /// The block was not final for too long; nothing follows.
    FinalityTimeout(Hash),
    /// It left the pool without a block; nothing follows.
    Dropped,
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
    /// Those in the pool, and which came when.
    hashes: HashMap<Hash, u64>,
    arrived: u64,
    bytes: usize,
    included: included::Watched,
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
        if self.hashes.contains_key(&extrinsic.hash) {
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
        self.arrived += 1;
        self.hashes.insert(hash, self.arrived);
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

    /// At most `limit` candidates for the next block: each account's in order of nonce up to the first gap, accounts in
    /// turn, the one that waits longest first, within the block's bounds. What is behind its account's nonce comes too, so that the runtime refuses it and
    /// it leaves.
    #[must_use]
    pub fn candidates(
        &self,
        limit: usize,
        account_nonce: impl Fn(&AccountId) -> Nonce,
    ) -> Vec<(Hash, Vec<u8>)> {
        let limit = limit.min(PER_BLOCK);
        let mut queues: Vec<_> = self
            .accounts
            .iter()
            .map(|(account, waiting)| {
                let next = account_nonce(account);
                let gapless = waiting.range(next..).zip(next..).take_while(|((nonce, _), due)| *nonce == due);
                waiting.range(..next).chain(gapless.map(|(entry, _)| entry)).map(|(_, extrinsic)| extrinsic)
            })
            .collect();
        queues
            .sort_by_cached_key(|queue| queue.clone().next().and_then(|first| self.hashes.get(&first.hash)));
        let mut chosen = Vec::new();
        let mut bytes = 0;
        while !queues.is_empty() {
            queues.retain_mut(|queue| match queue.next() {
                Some(extrinsic)
                    if chosen.len() < limit && bytes + extrinsic.bytes.len() <= PER_BLOCK_BYTES =>
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

    /// Settles what a block did with its candidates and drops what this was the last block for. How many left the pool.
    pub fn settle(&mut self, outcomes: &[(Hash, Inclusion)], block: Hash, number: u32) -> usize {
        use sp_runtime::transaction_validity::{InvalidTransaction, TransactionValidityError};
        let mut leaving = HashMap::new();
        for (hash, inclusion) in outcomes {
            match inclusion {
                Inclusion::Included => leaving.insert(*hash, true),
                Inclusion::Refused(TransactionValidityError::Invalid(
                    InvalidTransaction::Future | InvalidTransaction::ExhaustsResources,
                )) => None,
                Inclusion::Refused(_) | Inclusion::Panicked => leaving.insert(*hash, false),
            };
        }
        let mut watched = Vec::new();
        let left = self.take_out(|extrinsic| match leaving.get(&extrinsic.hash) {
            Some(true) => {
                extrinsic.tell(Status::InBlock(block));
                watched.extend(extrinsic.watcher.take().map(|watcher| (extrinsic.hash, watcher)));
                true
            }
            Some(false) => {
                extrinsic.tell(Status::Invalid);
                true
            }
            None if u64::from(number) >= extrinsic.valid_until => {
                extrinsic.tell(Status::Invalid);
                true
            }
            None => false,
        });
        for (hash, watcher) in watched {
            self.included.add(number, block, hash, watcher);
        }
        self.included.time_out(number);
        left
    }

    /// Everything up to this number is final.
    pub fn finalize(&mut self, number: u32) {
        self.included.finalize(number);
    }

    /// Blocks above this number are no longer on the best chain: tells who watched their extrinsics, and gives the
    /// watchers back by extrinsic.
    pub fn retract(&mut self, above: u32) -> HashMap<Hash, mpsc::Sender<Status>> {
        self.included.retract(above)
    }

    /// The chain is another one now: tells who watched extrinsics in blocks that are not of it.
    pub fn abandon(&mut self, is_on_chain: impl Fn(u32, &Hash) -> bool) {
        self.included.keep(is_on_chain);
    }

    /// Takes extrinsics out as dropped. How many they were.
    pub fn drop_where(&mut self, mut dropped: impl FnMut(&Pooled) -> bool) -> usize {
        self.take_out(|extrinsic| {
            let leaves = dropped(extrinsic);
            if leaves {
                extrinsic.tell(Status::Dropped);
            }
            leaves
        })
    }

    fn take_out(&mut self, mut leaves: impl FnMut(&mut Pooled) -> bool) -> usize {
        let before = self.hashes.len();
        let (hashes, bytes) = (&mut self.hashes, &mut self.bytes);
        for waiting in self.accounts.values_mut() {
            waiting.retain(|_, extrinsic| {
                if !leaves(extrinsic) {
                    return true;
                }
                hashes.remove(&extrinsic.hash);
                *bytes -= extrinsic.bytes.len();
                false
            });
        }
        self.accounts.retain(|_, waiting| !waiting.is_empty());
        before - self.hashes.len()
    }
}

#[cfg(test)]
mod tests;
