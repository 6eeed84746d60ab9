//! How often one peer may ask, whatever it asks for: discovery, reflection and health alike.
//!
//! A bucket for each address (of IPv6 for each /64), refilled evenly ([`governor`]'s GCRA), so that a flood from one place costs others
//! nothing, and costs this process no more than its refusal. It stands before the messages are read. Memory is bounded: buckets that are
//! full again are forgotten, and where too many are not, peers that have none share one; those that have one keep it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use governor::clock::{Clock as _, DefaultClock};
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};
use tonic::{Request, Status};

use crate::connections::Place;

/// Buckets kept at a time.
const BUCKETS: usize = 65_536;
/// Requests between two clean-ups, and as long as all buckets are taken.
const CLEAN_EVERY: u32 = 4_096;
const CLEAN_FULL: u32 = 256;
/// Whose bucket the peers share that have none: nobody connects from there.
const OTHERS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Requests of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerRate {
    /// In the long run.
    pub per_second: NonZeroU32,
    /// At once, after a pause.
    pub burst: NonZeroU32,
}

/// So many of [`governor`]'s states as may be, each the time when its bucket is full again.
#[derive(Debug)]
struct Buckets {
    most: usize,
    full_at: Mutex<HashMap<IpAddr, Nanos>>,
}

impl Buckets {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Nanos>> {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for Buckets {
    type Key = IpAddr;

    fn measure_and_replace<T, F, E>(&self, peer: &IpAddr, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut buckets = self.lock();
        let has_one = buckets.contains_key(peer) || buckets.len() < self.most;
        let peer = if has_one { *peer } else { OTHERS };
        let (answer, full_at) = measure(buckets.get(&peer).copied())?;
        buckets.insert(peer, full_at);
        Ok(answer)
    }
}

impl ShrinkableKeyedStateStore<IpAddr> for Buckets {
    fn retain_recent(&self, drop_below: Nanos) {
        self.lock().retain(|_, full_at| *full_at > drop_below);
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

/// The limit of all peers.
#[derive(Debug)]
pub(crate) struct PeerLimit {
    limiter: RateLimiter<IpAddr, Buckets, DefaultClock>,
    rate: PeerRate,
    clock: DefaultClock,
    asked: AtomicU32,
}

impl PeerLimit {
    pub(crate) fn new(rate: PeerRate) -> Self {
        Self::with_buckets(rate, BUCKETS)
    }

    fn with_buckets(rate: PeerRate, most: usize) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        let (buckets, clock) = (Buckets { most, full_at: Mutex::default() }, DefaultClock::default());
        let limiter = RateLimiter::new(quota, buckets, clock.clone());
        Self { limiter, rate, clock, asked: AtomicU32::new(0) }
    }

    /// Lets a request pass whose sender has not used up its bucket.
    pub(crate) fn check(&self, request: Request<()>) -> Result<Request<()>, Status> {
        // Every connection of ours has a place; one that had none would be counted with its like.
        let place = request.extensions().get::<Arc<Place>>();
        let peer = place.map_or(IpAddr::from([0; 4]), |place| place.subscriber());
        self.take(peer).map(|()| request)
    }

    /// One request of this peer.
    pub(crate) fn take(&self, peer: IpAddr) -> Result<(), Status> {
        let full = self.limiter.len() >= BUCKETS;
        let every = if full { CLEAN_FULL } else { CLEAN_EVERY };
        if self.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(every) {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&peer).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            self.refusal(wait.as_secs().saturating_add(1))
        })
    }

    fn refusal(&self, secs: u64) -> Status {
        let most = self.rate.per_second;
        Status::resource_exhausted(format!(
            "Too many requests from this address: {most} per second are allowed; come again in {secs} s"
        ))
    }
}

#[cfg(test)]
mod tests {
    use basilica_types::subscriber;

    use super::*;

    #[test]
    fn a_peer_uses_up_its_own_bucket_only() {
        let burst = NonZeroU32::new(3).unwrap();
        let limit = PeerLimit::new(PeerRate { per_second: NonZeroU32::MIN, burst });
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let passed = |text: &str| (0..5).filter(|_| limit.take(subscriber(address(text))).is_ok()).count();
        assert_eq!(passed("192.0.2.1"), 3);
        assert_eq!(passed("192.0.2.2"), 3);
        assert_eq!(passed("2001:db8:0:1::1"), 3);
        assert_eq!(passed("2001:db8:0:1:ffff::2"), 0, "one subscriber has all of a /64");
    }

    #[test]
    fn where_all_buckets_are_taken_who_has_one_keeps_it_and_others_share() {
        let burst = NonZeroU32::new(3).unwrap();
        let limit = PeerLimit::with_buckets(PeerRate { per_second: NonZeroU32::MIN, burst }, 2);
        let take = |last: u8| limit.take(IpAddr::from([192, 0, 2, last])).is_ok();
        assert!(take(1) && take(2));
        assert!(take(3) && take(4) && take(5), "three of all others");
        assert!(!take(6) && !take(3));
        assert!(take(1) && take(2) && take(1), "who is known has what is left of its own");
        assert!(!take(1));
        assert_eq!(limit.limiter.len(), 3);
    }
}
