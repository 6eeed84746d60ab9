//! Where validators reach the miner: the axon.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use basilica_ports::Axon;
use basilica_runtime_service::{ConfigError, Notice};
use basilica_types::{Host, Network};

use super::check::Check;

/// Why nobody reaches a miner at `ip`, wherever they are; none: somebody may.
pub fn unusable_ip(ip: IpAddr) -> Option<String> {
    let axon = Axon { address: SocketAddr::new(ip, 1) };
    if !axon.has_usable_ip() {
        let instead = "; where all is on this machine, 127.0.0.2 or another of 127.0.0.0/8 does";
        let instead = if ip.is_loopback() { instead } else { "" };
        return Some(format!("the chain does not take {ip} as an address{instead}"));
    }
    let is_nobodys = match ip.to_canonical() {
        IpAddr::V4(ip) => ip.octets()[0] == 0 || ip >= Ipv4Addr::new(224, 0, 0, 0),
        IpAddr::V6(ip) => ip.is_multicast(),
    };
    is_nobodys.then(|| format!("{ip} is the address of no single machine"))
}

impl Check<'_> {
    pub(super) fn axon(&self, notices: &mut Vec<Notice>) -> Result<Option<Axon>, ConfigError> {
        let bittensor = &self.settings.bittensor;
        if bittensor.read_only {
            notices.push(
                self.notice(
                    "bittensor.read_only",
                    "nothing is written to the chain; the axon stays as it is",
                ),
            );
            return Ok(None);
        }
        let Some((key, axon)) = self.published(notices)? else { return Ok(None) };
        let ip = axon.address.ip();
        // Those who are on this network too may reach it all the same.
        if bittensor.network != Network::Local && !Host::is_public_address(ip) {
            let message = format!(
                "{ip} is not an address of the internet: validators elsewhere do not reach the miner there; find yours with: curl -4 \
                 ifconfig.me"
            );
            notices.push(self.notice(key, message));
        }
        Ok(Some(axon))
    }

    /// What is to be published, and which key says so.
    fn published(&self, notices: &mut Vec<Notice>) -> Result<Option<(&'static str, Axon)>, ConfigError> {
        const IP: &str = "bittensor.external_ip";
        let bittensor = &self.settings.bittensor;
        if let Some(advertised) = self.advertised()? {
            return Ok(Some(advertised));
        }
        let Some(external_ip) = &bittensor.external_ip else {
            let message =
                "not set: the miner's address is not published, and validators find it only if it was before";
            notices.push(self.notice(IP, message));
            return Ok(None);
        };
        let Ok(ip) = external_ip.parse::<IpAddr>() else {
            return self.reject(IP, "is not an IP address", "find yours with: curl -4 ifconfig.me");
        };
        let port = bittensor.axon_port.unwrap_or(self.settings.validator_comms.port);
        self.reachable((IP, "bittensor.axon_port"), SocketAddr::new(ip, port)).map(|axon| Some((IP, axon)))
    }

    /// The address that the operator advertises. Validators know one only, the axon, and speak gRPC there.
    fn advertised(&self) -> Result<Option<(&'static str, Axon)>, ConfigError> {
        const AXON: &str = "advertised_addresses.axon_endpoint";
        const GRPC: &str = "advertised_addresses.grpc_endpoint";
        let endpoint = |key, endpoint: &Option<String>| {
            let Some(endpoint) = endpoint else { return Ok(None) };
            let address =
                endpoint.split_once("://").map_or(endpoint.as_str(), |(_, rest)| rest).trim_end_matches('/');
            let Ok(address) = address.parse() else {
                let help = "write it like \"http://203.0.113.45:50051\"";
                return self.reject(key, "is not an IP address and port", help);
            };
            self.reachable((key, key), address).map(|axon| Some((key, axon)))
        };
        let advertised = &self.settings.advertised_addresses;
        match (endpoint(AXON, &advertised.axon_endpoint)?, endpoint(GRPC, &advertised.grpc_endpoint)?) {
            (Some((_, axon)), Some((_, grpc))) if axon != grpc => {
                let why = format!("is another address than axon_endpoint, {}", axon.address);
                self.reject(GRPC, why, "validators speak gRPC where the axon is: remove one of the two")
            }
            (axon, grpc) => Ok(axon.or(grpc)),
        }
    }

    /// What the chain takes as an axon; the keys are those of the address and of its port.
    fn reachable(&self, (ip, port): (&str, &str), address: SocketAddr) -> Result<Axon, ConfigError> {
        if let Some(why) = unusable_ip(address.ip()) {
            return self.reject(ip, why, "find yours with: curl -4 ifconfig.me");
        }
        if address.port() == 0 {
            return self.reject(port, "0 is not a port that others can reach", "50051 is the default");
        }
        Ok(Axon { address })
    }
}
