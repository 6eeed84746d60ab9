//! The chain's rules for publishing an endpoint, in its own order: registered, kind of address, address, rate limit, port.
//!
//! The kind needs no check: an address is IPv4 or IPv6.

use std::net::IpAddr;

use basilica_ports::{Axon, ChainError, FailureClass};
use basilica_schedule::Rule as WeightsRule;
use basilica_types::{BlockNumber, Hotkey, NetUid};

use crate::axon::ServedAxon;
use crate::item::{SERVING_RATE_LIMIT, UIDS, View};
use crate::weight_rules::refusal;

/// A rule that publishing an endpoint would break, with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Rule {
    #[error("nobody can reach {0}; serve a public address")]
    Address(IpAddr),
    #[error("the endpoint was changed at block {last}; it may change again at block {next}")]
    TooSoon { last: BlockNumber, next: BlockNumber },
    #[error("port 0 cannot be reached; serve another one")]
    Port,
}

impl From<Rule> for ChainError {
    fn from(rule: Rule) -> Self {
        let class = match rule {
            Rule::TooSoon { .. } => FailureClass::Transient,
            Rule::Address(_) | Rule::Port => FailureClass::Invalid,
        };
        Self::Preflight { rule: rule.to_string(), class }
    }
}

/// The first rule that publishing `axon` in the next block would break; `served` is what was published last.
pub(crate) async fn check(
    view: &View,
    (netuid, hotkey): (NetUid, &Hotkey),
    axon: Axon,
    served: Option<&ServedAxon>,
) -> Result<(), ChainError> {
    let uid: Option<u16> = view.storage(UIDS, (netuid.0, *hotkey.as_bytes())).await?;
    if uid.is_none() {
        return Err(refusal(WeightsRule::NotRegistered(netuid)));
    }
    let limit = view.value(SERVING_RATE_LIMIT, (netuid.0,)).await?;
    let next = view.at.block_number().saturating_add(1);
    Ok(first_broken(axon, served.map_or(0, |served| served.block), limit, next)?)
}

/// `served` is the block of the last change, 0 for never; `next` the block that would be the one of this.
fn first_broken(axon: Axon, served: u64, limit: u64, next: u64) -> Result<(), Rule> {
    if !axon.has_usable_ip() {
        return Err(Rule::Address(axon.address.ip()));
    }
    if limit != 0 && served != 0 && next.saturating_sub(served) < limit {
        let allowed = BlockNumber(served.saturating_add(limit));
        return Err(Rule::TooSoon { last: BlockNumber(served), next: allowed });
    }
    if axon.address.port() == 0 { Err(Rule::Port) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(address: &str, served: u64, limit: u64, next: u64) -> Result<(), Rule> {
        first_broken(Axon { address: address.parse().unwrap() }, served, limit, next)
    }

    #[test]
    fn rules_are_asked_in_the_chains_order() {
        let refused = |ip: &str| Err(Rule::Address(ip.parse().unwrap()));
        let soon = Err(Rule::TooSoon { last: BlockNumber(10), next: BlockNumber(60) });
        assert_eq!(broken("127.0.0.1:0", 10, 50, 11), refused("127.0.0.1"));
        assert_eq!(broken("10.1.2.3:0", 10, 50, 59), soon);
        assert_eq!(broken("10.1.2.3:0", 10, 50, 60), Err(Rule::Port));
        assert_eq!(broken("10.1.2.3:9000", 10, 50, 60), Ok(()));
        assert_eq!(broken("10.1.2.3:9000", 0, 50, 11), Ok(()), "never served");
        assert_eq!(broken("10.1.2.3:9000", 10, 0, 10), Ok(()), "no limit");
    }

    #[test]
    fn addresses_are_refused_as_the_chain_does() {
        for ip in ["127.0.0.1", "255.255.255.255", "0.0.0.0"] {
            assert_eq!(broken(&format!("{ip}:1"), 0, 0, 1), Err(Rule::Address(ip.parse().unwrap())));
        }
        for ip in ["::1", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
            assert_eq!(broken(&format!("[{ip}]:1"), 0, 0, 1), Err(Rule::Address(ip.parse().unwrap())));
        }
        for address in ["127.0.0.2:1", "192.168.0.1:1", "[2001:db8::7]:1"] {
            assert_eq!(broken(address, 0, 0, 1), Ok(()), "{address}");
        }
    }
}
