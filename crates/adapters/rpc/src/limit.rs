//! How often one peer may ask, whatever it asks for: discovery, reflection and health alike.
//!
//! A bucket for each address (of IPv6 for each /64), refilled evenly ([`governor`]'s GCRA), so that a flood from one place costs others
//! nothing, and costs this process no more than its refusal. It stands before the messages are read. Memory is bounded: buckets that are
//! full again are forgotten, and where too many are not, unknown peers wait.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tonic::{Request, Status};

use crate::connections::Place;

/// Buckets kept at a time.
const BUCKETS: usize = 65_536;
/// Requests between two clean-ups.
const CLEAN_EVERY: u32 = 4_096;

/// Requests of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerRate {
    /// In the long run.
    pub per_second: NonZeroU32,
    /// At once, after a pause.
    pub burst: NonZeroU32,
}

/// The buckets.
#[derive(Debug)]
pub(crate) struct PeerLimit {
    buckets: DefaultKeyedRateLimiter<IpAddr>,
    rate: PeerRate,
    clock: DefaultClock,
    asked: AtomicU32,
}

impl PeerLimit {
    pub(crate) fn new(rate: PeerRate) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        let (buckets, clock) = (RateLimiter::keyed(quota), DefaultClock::default());
        Self { buckets, rate, clock, asked: AtomicU32::new(0) }
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
        if self.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(CLEAN_EVERY)
            || self.buckets.len() >= BUCKETS
        {
            self.buckets.retain_recent();
        }
        if self.buckets.len() >= BUCKETS {
            return Err(self.refusal(1));
        }
        self.buckets.check_key(&peer).map_err(|not_until| {
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
}
