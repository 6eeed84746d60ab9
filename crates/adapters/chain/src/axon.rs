//! Where a neuron listens, as the chain stores it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use basilica_ports::Axon;
use subxt::ext::scale_decode::DecodeAsType;

/// Where a neuron says it listens, as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(crate) struct AxonInfo {
    ip: u128,
    port: u16,
    ip_type: u8,
}

impl AxonInfo {
    pub(crate) fn of(axon: Axon) -> Self {
        let (ip, ip_type) = match axon.address.ip() {
            IpAddr::V4(ip) => (u128::from(u32::from(ip)), 4),
            IpAddr::V6(ip) => (u128::from(ip), 6),
        };
        Self { ip, port: axon.address.port(), ip_type }
    }

    pub(crate) const fn ip(&self) -> u128 {
        self.ip
    }

    pub(crate) const fn ip_type(&self) -> u8 {
        self.ip_type
    }

    /// The address, or nothing for the placeholder of a neuron that never served and for what cannot be one.
    pub(crate) fn axon(&self) -> Option<Axon> {
        let ip = match self.ip_type {
            4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(self.ip).ok()?)),
            6 => IpAddr::V6(Ipv6Addr::from(self.ip)),
            _ => return None,
        };
        (!ip.is_unspecified() && self.port != 0).then(|| Axon { address: SocketAddr::new(ip, self.port) })
    }
}

/// The same with the block of its last change.
#[derive(Clone, Copy, Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(crate) struct ServedAxon {
    /// 0 is never.
    pub(crate) block: u64,
    ip: u128,
    port: u16,
    ip_type: u8,
}

impl ServedAxon {
    pub(crate) fn axon(&self) -> Option<Axon> {
        AxonInfo { ip: self.ip, port: self.port, ip_type: self.ip_type }.axon()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(ip: u128, port: u16, ip_type: u8) -> Option<String> {
        AxonInfo { ip, port, ip_type }.axon().map(|axon| axon.address.to_string())
    }

    #[test]
    fn stored_endpoints_become_addresses() {
        assert_eq!(stored(0x7f00_0002, 9000, 4).as_deref(), Some("127.0.0.2:9000"));
        assert_eq!(stored(1, 1, 6).as_deref(), Some("[::1]:1"));
        assert_eq!(stored(0x2001_0db8 << 96 | 5, 65_535, 6).as_deref(), Some("[2001:db8::5]:65535"));
    }

    #[test]
    fn placeholders_and_nonsense_are_no_address() {
        for (ip, port, ip_type) in
            [(0, 0, 0), (0, 9000, 4), (0, 9000, 6), (1, 0, 4), (1, 9000, 0), (1, 9000, 5), (1 << 32, 9000, 4)]
        {
            assert_eq!(stored(ip, port, ip_type), None, "{ip} {port} {ip_type}");
        }
    }

    #[test]
    fn an_axon_is_stored_as_it_is_read() {
        for address in ["10.1.2.3:8091", "[2001:db8::7]:1"] {
            let axon = Axon { address: address.parse().unwrap() };
            assert_eq!(AxonInfo::of(axon).axon(), Some(axon));
        }
    }
}
