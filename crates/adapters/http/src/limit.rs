//! How often one client may ask.
//!
//! A bucket for each client, refilled evenly ([`governor`]'s GCRA). Whoever shows the API key has one of
//! its own; of all others the address counts, of IPv6 its /64, since one host has all of it. Pages that cost more take more from it
//! ([`cost`]). Memory is bounded: buckets that are full again are forgotten, and where too many are not, unknown clients wait.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use basilica_types::subscriber;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::problem::Refusal;

/// Buckets kept at a time.
const BUCKETS: usize = 65_536;
/// Requests between two clean-ups.
const CLEAN_EVERY: u32 = 4_096;

/// As how many requests a page counts: by what it reads, in about a tenth of a millisecond of work.
pub(crate) fn cost(path: &str) -> u32 {
    let mut parts = path.trim_start_matches('/').split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("transcripts"), Some(_), None) => 25,
        (Some("nodes"), Some(_), Some("verdicts"))
        | (Some("verification"), Some("results"), Some(_))
        | (Some("verdicts"), Some(_), Some("inclusion")) => 5,
        (Some("nodes" | "miners" | "gpu-profiles" | "verdict-days"), None, None)
        | (Some("miners"), Some(_), Some("nodes")) => 2,
        _ => 1,
    }
}

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
        Self::Address(subscriber(address))
    }
}

/// The buckets.
#[derive(Debug)]
pub(crate) struct Limiter {
    buckets: Option<DefaultKeyedRateLimiter<Client>>,
    /// What a bucket holds; nothing costs more.
    burst: NonZeroU32,
    clock: DefaultClock,
    asked: AtomicU32,
}

impl Limiter {
    /// Without a limit, everybody may ask as often as the machine answers.
    pub(crate) fn new(limit: Option<RateLimit>) -> Self {
        let quota = |limit: RateLimit| Quota::per_second(limit.per_second).allow_burst(limit.burst);
        Self {
            buckets: limit.map(|limit| RateLimiter::keyed(quota(limit))),
            burst: limit.map_or(NonZeroU32::MAX, |limit| limit.burst),
            clock: DefaultClock::default(),
            asked: AtomicU32::new(0),
        }
    }

    pub(crate) fn take(&self, client: Client, cost: u32) -> Result<(), Refusal> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        if self.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(CLEAN_EVERY) || buckets.len() >= BUCKETS
        {
            buckets.retain_recent();
        }
        if buckets.len() >= BUCKETS && matches!(client, Client::Address(_)) {
            return Err(Refusal::rate_limited(1));
        }
        let cost = NonZeroU32::new(cost).unwrap_or(NonZeroU32::MIN).min(self.burst);
        match buckets.check_key_n(&client, cost) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(self.clock.now());
                Err(Refusal::rate_limited(wait.as_secs().saturating_add(1)))
            }
            // More than a bucket ever holds, which the minimum above rules out.
            Err(_) => Err(Refusal::rate_limited(1)),
        }
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
            limiter.take(at("198.51.100.1"), 1).unwrap();
        }
        assert!(limiter.take(at("198.51.100.1"), 1).is_err());
        assert!(limiter.take(at("::ffff:198.51.100.1"), 1).is_err(), "the same address in other words");
        limiter.take(at("198.51.100.2"), 1).unwrap();
        limiter.take(Client::ApiKey, 1).unwrap();
    }

    #[test]
    fn a_network_of_one_host_is_one_client() {
        let limiter = limiter(1);
        limiter.take(at("2001:db8::1"), 1).unwrap();
        assert!(limiter.take(at("2001:db8::ffff:2"), 1).is_err());
        limiter.take(at("2001:db8:0:1::1"), 1).unwrap();
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let limiter = Limiter::new(None);
        (0..10_000).for_each(|_| limiter.take(Client::ApiKey, 1).unwrap());
    }

    #[test]
    fn a_flood_of_addresses_does_not_fill_the_memory() {
        let limiter = limiter(1);
        for host in 0..u32::try_from(2 * BUCKETS).unwrap() {
            let _ = limiter.take(Client::at(IpAddr::from(host.to_be_bytes())), 1);
        }
        assert!(limiter.buckets.as_ref().unwrap().len() <= BUCKETS);
        limiter.take(Client::ApiKey, 1).unwrap();
    }

    #[test]
    fn pages_that_cost_more_take_more() {
        let limiter = limiter(10);
        let (id, digest) = ("00000000-0000-0000-0000-000000000000", "07".repeat(32));
        let verdicts = cost(&format!("/nodes/{id}/verdicts"));
        assert!(cost("/live") == 1 && cost("/nodes") > 1 && verdicts > cost("/nodes"));
        assert_eq!(cost(&format!("/verdicts/{digest}/inclusion")), verdicts);
        assert!(cost(&format!("/transcripts/{digest}")) > verdicts);
        limiter.take(at("198.51.100.1"), verdicts).unwrap();
        limiter.take(at("198.51.100.1"), verdicts).unwrap();
        assert!(limiter.take(at("198.51.100.1"), 1).is_err());
        // Dearer than the whole bucket: it takes the whole bucket, and is not refused for ever.
        limiter.take(at("198.51.100.2"), 1_000).unwrap();
        assert!(limiter.take(at("198.51.100.2"), 1).is_err());
    }
}
