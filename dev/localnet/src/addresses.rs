//! Who listens where. All addresses are loopback; the chain refuses 127.0.0.1 as an axon, so miners have their own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context as _;

use crate::settings::Ports;

/// Where one miner listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MinerAddresses {
    /// gRPC, which is its axon.
    pub grpc: SocketAddr,
    /// `/health`, `/ready`.
    pub health: SocketAddr,
    /// `/metrics`.
    pub metrics: SocketAddr,
}

/// Where everybody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// The chain's WebSocket.
    pub chain: SocketAddr,
    /// Both miners.
    pub miners: [MinerAddresses; 2],
    /// The validator's API.
    pub validator_api: SocketAddr,
    /// The validator's metrics.
    pub validator_metrics: SocketAddr,
}

const fn loopback(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

impl Addresses {
    /// The documented ports, or free ones.
    pub(crate) fn choose(ports: Ports) -> anyhow::Result<Self> {
        // Held until all are chosen: a port that is let go may be the next one's.
        let mut held = Vec::new();
        let mut at = |last: u8, standing: u16| match ports {
            Ports::Standing => Ok(SocketAddr::new(loopback(last), standing)),
            Ports::Auto => free(loopback(last), &mut held),
        };
        let mut miner = |last: u8| -> anyhow::Result<MinerAddresses> {
            Ok(MinerAddresses { grpc: at(last, 50051)?, health: at(last, 8091)?, metrics: at(last, 9090)? })
        };
        let miners = [miner(2)?, miner(3)?];
        Ok(Self { chain: at(1, 9944)?, miners, validator_api: at(1, 8080)?, validator_metrics: at(1, 9090)? })
    }
}

/// A port that is free now. Another process may take it before its user binds; the user then says so and ends.
fn free(ip: IpAddr, held: &mut Vec<TcpListener>) -> anyhow::Result<SocketAddr> {
    let listener =
        TcpListener::bind(SocketAddr::new(ip, 0)).with_context(|| format!("find a free port on {ip}"))?;
    let address = listener.local_addr()?;
    held.push(listener);
    Ok(address)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn assert_no_collision(a: &Addresses) {
        let mut all = vec![a.chain, a.validator_api, a.validator_metrics];
        all.extend(a.miners.iter().flat_map(|m| [m.grpc, m.health, m.metrics]));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "{a:?}");
        assert!(all.iter().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn standing_addresses_do_not_collide() {
        assert_no_collision(&Addresses::choose(Ports::Standing).unwrap());
    }

    /// Of ports that are let go at once, two of so many are the same almost always.
    #[test]
    fn a_free_port_is_given_once() {
        let mut held = Vec::new();
        let given: BTreeSet<_> = (0..600).map(|_| free(loopback(2), &mut held).unwrap()).collect();
        assert_eq!(given.len(), 600);
        assert_no_collision(&Addresses::choose(Ports::Auto).unwrap());
    }
}
