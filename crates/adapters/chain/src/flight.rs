//! The metagraph, fetched at most once at a time, and kept for callers that take an older one.
//!
//! A caller that comes while a fetch is under way waits for it and shares its result, which is newer than the call by
//! all that a caller can tell. When the fetch fails or its caller is dropped, the next one that waits fetches itself,
//! under its own deadline.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use basilica_ports::{Aged, ChainError, Clock, Metagraph};
use basilica_types::{BlockNumber, Millis, NetUid};
use tokio::sync::Mutex;

/// More subnets than this are not kept at once; a validator or miner asks for one.
const KEPT: usize = 16;

struct Fetched {
    metagraph: Arc<Metagraph>,
    /// When the answer came.
    at: Duration,
}

/// In place of a moment: nothing was fetched.
const NEVER: u64 = u64::MAX;

/// One subnet's.
struct Place {
    /// Held while it is fetched.
    kept: Mutex<Option<Fetched>>,
    /// When the answer came, in milliseconds, for those who only ask about it and must not wait.
    at_ms: AtomicU64,
}

impl Default for Place {
    fn default() -> Self {
        Self { kept: Mutex::default(), at_ms: AtomicU64::new(NEVER) }
    }
}

type Slot = Arc<Place>;

/// What was fetched last, by subnet.
pub(crate) struct Metagraphs {
    clock: Arc<dyn Clock>,
    slots: SyncMutex<BTreeMap<NetUid, Slot>>,
}

impl Metagraphs {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, slots: SyncMutex::default() }
    }

    /// A metagraph not older than `max_age`, by `fetch` if there is none.
    pub(crate) async fn within<F, Fut>(
        &self,
        netuid: NetUid,
        max_age: Millis,
        fetch: F,
    ) -> Result<Aged<Metagraph>, ChainError>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<Metagraph, ChainError>> + Send,
    {
        let asked = self.clock.monotonic();
        let slot = self.slot(netuid);
        let mut kept = slot.kept.lock().await;
        if let Some(fetched) = &*kept {
            let age = Millis::from(self.clock.monotonic().saturating_sub(fetched.at));
            if fetched.at > asked || age.0 < max_age.0 {
                return Ok(Aged { value: Arc::clone(&fetched.metagraph), age });
            }
        }
        let metagraph = Arc::new(fetch().await?);
        self.keep(&slot, &mut kept, &metagraph);
        Ok(Aged { value: metagraph, age: Millis(0) })
    }

    /// The metagraph at just this block, by `fetch` unless it was read there already: what is read beside other things
    /// of one block must be of that block too.
    pub(crate) async fn at<F, Fut>(
        &self,
        netuid: NetUid,
        block: BlockNumber,
        fetch: F,
    ) -> Result<Arc<Metagraph>, ChainError>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<Metagraph, ChainError>> + Send,
    {
        let slot = self.slot(netuid);
        let mut kept = slot.kept.lock().await;
        if let Some(fetched) = kept.as_ref().filter(|fetched| fetched.metagraph.block == block) {
            return Ok(Arc::clone(&fetched.metagraph));
        }
        let metagraph = Arc::new(fetch().await?);
        if kept.as_ref().is_none_or(|fetched| fetched.metagraph.block < metagraph.block) {
            self.keep(&slot, &mut kept, &metagraph);
        }
        Ok(metagraph)
    }

    fn keep(&self, slot: &Place, kept: &mut Option<Fetched>, metagraph: &Arc<Metagraph>) {
        let at = self.clock.monotonic();
        slot.at_ms.store(Millis::from(at).0, Ordering::Release);
        *kept = Some(Fetched { metagraph: Arc::clone(metagraph), at });
    }

    /// How old the newest metagraph is; none if there is none. Waits for nobody.
    pub(crate) fn age(&self, netuid: NetUid) -> Option<Millis> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let at = slots.get(&netuid)?.at_ms.load(Ordering::Acquire);
        let now = Millis::from(self.clock.monotonic()).0;
        (at != NEVER).then(|| Millis(now.saturating_sub(at)))
    }

    fn slot(&self, netuid: NetUid) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if !slots.contains_key(&netuid) && slots.len() >= KEPT {
            // Any but one that is being filled; callers that hold one keep it.
            let idle = slots.iter().find(|(_, slot)| slot.kept.try_lock().is_ok()).map(|(netuid, _)| *netuid);
            slots.remove(&idle.unwrap_or(netuid));
        }
        Arc::clone(slots.entry(netuid).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use async_trait::async_trait;
    use basilica_ports::FailureClass;
    use basilica_types::Timestamp;
    use tokio::sync::Notify;

    use super::*;

    /// A clock that the test sets.
    #[derive(Default)]
    struct Hand(SyncMutex<Duration>);

    impl Hand {
        fn set(&self, ms: u64) {
            *self.0.lock().unwrap() = Duration::from_millis(ms);
        }
    }

    #[async_trait]
    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }

        fn monotonic(&self) -> Duration {
            *self.0.lock().unwrap()
        }

        async fn sleep(&self, _: Millis) {
            std::future::pending().await
        }
    }

    fn at(block: u64) -> Metagraph {
        Metagraph {
            netuid: NetUid(39),
            block: BlockNumber(block),
            at: Timestamp(0),
            tempo: 1,
            owner_hotkey: None,
            neurons: Vec::new(),
        }
    }

    fn refused() -> ChainError {
        ChainError::Preflight { rule: "no".to_owned(), class: FailureClass::Transient }
    }

    #[tokio::test]
    async fn callers_that_come_during_a_fetch_share_it() {
        let clock = Arc::new(Hand::default());
        let metagraphs = Metagraphs::new(clock.clone());
        let (calls, arrived) = (AtomicU32::new(0), Notify::new());
        let ask = || {
            metagraphs.within(NetUid(39), Millis(0), || async {
                let call = calls.fetch_add(1, Ordering::SeqCst);
                arrived.notified().await;
                clock.set(7);
                Ok(at(u64::from(call)))
            })
        };
        let release = async { arrived.notify_one() };
        let (a, b, c, ()) = tokio::join!(ask(), ask(), ask(), release);
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert_eq!(a.unwrap().value.block, b.unwrap().value.block);
        assert_eq!(c.unwrap().age, Millis(0));
    }

    #[tokio::test]
    async fn the_caller_says_which_age_will_do() {
        let clock = Arc::new(Hand::default());
        let metagraphs = Metagraphs::new(clock.clone());
        let ask = async |max_age: u64, block: u64| {
            let aged = metagraphs.within(NetUid(39), Millis(max_age), || async move { Ok(at(block)) }).await;
            let aged = aged.unwrap();
            (aged.value.block.0, aged.age.0)
        };
        assert_eq!(metagraphs.age(NetUid(39)), None);
        assert_eq!(ask(0, 1).await, (1, 0));
        clock.set(500);
        assert_eq!(metagraphs.age(NetUid(39)), Some(Millis(500)));
        assert_eq!(ask(501, 2).await, (1, 500));
        assert_eq!(ask(500, 3).await, (3, 0));
        assert_eq!(ask(0, 4).await, (4, 0), "no age will do: always asked");
    }

    #[tokio::test]
    async fn a_failed_or_dropped_fetch_leaves_the_next_caller_free() {
        let metagraphs = Metagraphs::new(Arc::new(Hand::default()));
        let failed = metagraphs.within(NetUid(39), Millis(9), || async { Err(refused()) }).await;
        assert!(failed.is_err());
        let hung = metagraphs.within(NetUid(39), Millis(9), std::future::pending);
        assert!(tokio::time::timeout(Duration::from_millis(1), hung).await.is_err());
        let next = metagraphs.within(NetUid(39), Millis(9), || async { Ok(at(3)) }).await;
        assert_eq!(next.unwrap().value.block, BlockNumber(3));
    }

    #[tokio::test]
    async fn a_metagraph_of_one_block_is_shared_and_never_replaces_a_newer_one() {
        let metagraphs = Metagraphs::new(Arc::new(Hand::default()));
        let calls = AtomicU32::new(0);
        let ask = async |block: u64| {
            let fetch = || async {
                calls.fetch_add(1, Ordering::SeqCst);
                Ok(at(block))
            };
            metagraphs.at(NetUid(39), BlockNumber(block), fetch).await.unwrap().block.0
        };
        assert_eq!((ask(5).await, ask(5).await, calls.load(Ordering::SeqCst)), (5, 5, 1));
        assert_eq!((ask(4).await, ask(5).await, calls.load(Ordering::SeqCst)), (4, 5, 2));
        assert_eq!((ask(6).await, calls.load(Ordering::SeqCst)), (6, 3));
    }

    #[tokio::test]
    async fn no_more_subnets_are_kept_than_the_bound() {
        let metagraphs = Metagraphs::new(Arc::new(Hand::default()));
        for netuid in 0..40 {
            metagraphs.within(NetUid(netuid), Millis(0), || async { Ok(at(1)) }).await.unwrap();
        }
        assert_eq!(metagraphs.slots.lock().unwrap().len(), KEPT);
    }
}
