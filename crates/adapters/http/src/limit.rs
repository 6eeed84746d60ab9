//! How often one client may ask.
//!
//! A bucket for each client, refilled evenly ([`governor`]'s GCRA). Whoever shows the API key has one of
//! its own; of all others the address counts, of IPv6 its /64, since one host has all of it. Memory is bounded: buckets that are full again are
//! forgotten, and where too many are not, unknown clients wait.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::problem::Refusal;

/// Buckets kept at a time.
const BUCKETS: usize = 65_536;
/// Requests between two clean-ups.
const CLEAN_EVERY: u32 = 4_096;

/// Requests of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// In the long run.
    pub per_second: NonZeroU32,
    /// At once, after a pause.
    pub burst: NonZeroU32,
}

/// Who is asking, as far as buckets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    Address(IpAddr),
    ApiKey,
}

impl Client {
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// The buckets.
#[derive(Debug)]
pub(crate) struct Limiter {
    buckets: Option<DefaultKeyedRateLimiter<Client>>,
    clock: DefaultClock,
    asked: AtomicU32,
}

impl Limiter {
    /// Without a limit, everybody may ask as often as the machine answers.
    pub(crate) fn new(limit: Option<RateLimit>) -> Self {
        let quota = |limit: RateLimit| Quota::per_second(limit.per_second).allow_burst(limit.burst);
        Self {
            buckets: limit.map(|limit| RateLimiter::keyed(quota(limit))),
            clock: DefaultClock::default(),
            asked: AtomicU32::new(0),
        }
    }

    pub(crate) fn take(&self, client: Client) -> Result<(), Refusal> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        if self.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(CLEAN_EVERY) || buckets.len() >= BUCKETS
        {
            buckets.retain_recent();
        }
        if buckets.len() >= BUCKETS && matches!(client, Client::Address(_)) {
            return Err(Refusal::rate_limited(1));
        }
        buckets.check_key(&client).map_err(|not_until| {
            Refusal::rate_limited(not_until.wait_time_from(self.clock.now()).as_secs().saturating_add(1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(burst: u32) -> Limiter {
        let per_second = NonZeroU32::MIN;
        Limiter::new(Some(RateLimit { per_second, burst: NonZeroU32::new(burst).unwrap() }))
    }

    fn at(address: &str) -> Client {
        Client::at(address.parse().unwrap())
    }

    #[test]
    fn each_client_has_its_own_bucket() {
        let limiter = limiter(3);
        for _ in 0..3 {
            limiter.take(at("198.51.100.1")).unwrap();
        }
        assert!(limiter.take(at("198.51.100.1")).is_err());
        assert!(limiter.take(at("::ffff:198.51.100.1")).is_err(), "the same address in other words");
        limiter.take(at("198.51.100.2")).unwrap();
        limiter.take(Client::ApiKey).unwrap();
    }

    #[test]
    fn a_network_of_one_host_is_one_client() {
        let limiter = limiter(1);
        limiter.take(at("2001:db8::1")).unwrap();
        assert!(limiter.take(at("2001:db8::ffff:2")).is_err());
        limiter.take(at("2001:db8:0:1::1")).unwrap();
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let limiter = Limiter::new(None);
        (0..10_000).for_each(|_| limiter.take(Client::ApiKey).unwrap());
    }

    #[test]
    fn a_flood_of_addresses_does_not_fill_the_memory() {
        let limiter = limiter(1);
        for host in 0..u32::try_from(2 * BUCKETS).unwrap() {
            let _ = limiter.take(Client::at(IpAddr::from(host.to_be_bytes())));
        }
        assert!(limiter.buckets.as_ref().unwrap().len() <= BUCKETS);
        limiter.take(Client::ApiKey).unwrap();
    }
}
