//! What OpenSSH >= 9.8 holds against a client's address: `PerSourcePenalties` with its defaults (RULES R25).
//!
//! Each connection that fails adds to the address's penalty, which runs down with the clock. Once it reaches `min` the address is shut
//! out until it has run down altogether; one below that shuts nobody out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// For a connection whose logins were all denied.
const AUTHFAIL: Duration = Duration::from_secs(5);
/// For a connection that ended before any login.
const NOAUTH: Duration = Duration::from_secs(1);
/// From here on an address is shut out.
const MIN: Duration = Duration::from_secs(15);
/// No penalty is longer.
const MAX: Duration = Duration::from_secs(600);

/// How a connection ended that never logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Denied.
    Denied,
    /// It never tried.
    NotTried,
}

#[derive(Clone, Copy, Debug)]
struct Penalty {
    until: Instant,
    shuts_out: bool,
}

/// The penalties of one server.
#[derive(Debug, Default)]
pub(super) struct Penalties(BTreeMap<IpAddr, Penalty>);

impl Penalties {
    pub(super) fn add(&mut self, source: IpAddr, failure: Failure, now: Instant) {
        let more = match failure {
            Failure::Denied => AUTHFAIL,
            Failure::NotTried => NOAUTH,
        };
        self.0.retain(|_, penalty| penalty.until > now);
        let penalty = self.0.entry(source).or_insert(Penalty { until: now, shuts_out: false });
        penalty.until = (penalty.until + more).min(now + MAX);
        penalty.shuts_out |= penalty.until.duration_since(now) >= MIN;
    }

    pub(super) fn shut_out(&self, source: IpAddr, now: Instant) -> bool {
        self.0.get(&source).is_some_and(|penalty| penalty.shuts_out && penalty.until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn the_third_failure_at_once_shuts_out_until_all_penalties_have_run_down() {
        let (mut penalties, now) = (Penalties::default(), Instant::now());
        for _ in 0..2 {
            penalties.add(SOURCE, Failure::Denied, now);
            assert!(!penalties.shut_out(SOURCE, now));
        }
        penalties.add(SOURCE, Failure::Denied, now);
        assert!(penalties.shut_out(SOURCE, now));
        assert!(penalties.shut_out(SOURCE, now + Duration::from_secs(14)));
        assert!(!penalties.shut_out(SOURCE, now + Duration::from_secs(15)));
        assert!(!penalties.shut_out("127.0.0.2".parse().unwrap(), now));
    }

    #[test]
    fn failures_that_lie_apart_never_shut_out() {
        let (mut penalties, mut now) = (Penalties::default(), Instant::now());
        for _ in 0..100 {
            penalties.add(SOURCE, Failure::Denied, now);
            penalties.add(SOURCE, Failure::NotTried, now);
            assert!(!penalties.shut_out(SOURCE, now));
            now += Duration::from_secs(6);
        }
    }
}
