//! Where a node is reached, and the identity that follows from it (RULES R10).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use uuid::Uuid;

use crate::Hotkey;
use crate::text::serde_as_text;

/// Namespace of node ids: UUIDv5 of `basilica:node:v1` in the RFC 9562 URL namespace. Frozen; see ARCHITECTURE.md.
const NODE_NAMESPACE: Uuid = Uuid::from_bytes([
    0x7e, 0x58, 0x1f, 0x75, 0x4a, 0x4d, 0x5b, 0x9f, 0xb0, 0xc3, 0xa4, 0xe2, 0xb6, 0x90, 0x6d, 0x3f,
]);

/// Why a text is not a node's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeAddressError {
    /// Not of the form `user@host:port`.
    #[error("node address is not of the form user@host:port")]
    Form,
    /// Only what `useradd` would create; a leading `-` would be read as an option by other tools.
    #[error(
        "user name must be 1 to 32 of a-z, A-Z, 0-9, '_', '-' or '.', and start with a letter, digit or '_'"
    )]
    User,
    /// Neither an IP address nor a DNS name.
    #[error("host is neither an IP address nor a DNS name of at most 253 letters, digits, '-' and '.'")]
    Host,
    /// 1..=65,535.
    #[error("port is not a number from 1 to 65535")]
    Port,
}

/// A login name on a node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Username(String);

impl Username {
    /// The name, safe as a separate argument of any program.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Username {
    type Err = NodeAddressError;

    fn from_str(text: &str) -> Result<Self, NodeAddressError> {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        let first = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let valid = text.len() <= 32 && text.bytes().next().is_some_and(first) && text.bytes().all(inner);
        if valid { Ok(Self(text.to_owned())) } else { Err(NodeAddressError::User) }
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(Username);

/// An IP address or DNS name in canonical form: lower case, no trailing dot, IPv4-mapped IPv6 as IPv4.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A literal address.
    Ip(IpAddr),
    /// A DNS name, not yet resolved.
    Name(DnsName),
}

/// A DNS name in canonical form; made only by parsing a [`Host`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

impl DnsName {
    /// The name in lower case without its trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        // A last label of digits only is how `inet_aton` spellings of an address (127.1, 2130706433) look;
        // a resolver would quietly turn those into addresses.
        let numeric_end = |l: &str| l.bytes().all(|b| b.is_ascii_digit()) || l.starts_with("0x");
        let valid = name.len() <= 253
            && name.split('.').all(label)
            && !name.rsplit('.').next().is_none_or(numeric_end);
        valid.then_some(Self(name))
    }
}

impl FromStr for Host {
    type Err = NodeAddressError;

    /// Accepts an IPv6 address with or without brackets.
    fn from_str(text: &str) -> Result<Self, NodeAddressError> {
        let bracketed = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        if let Some(inner) = bracketed {
            let ip: Ipv6Addr = inner.parse().map_err(|_| NodeAddressError::Host)?;
            return Ok(Self::Ip(IpAddr::V6(ip).to_canonical()));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Ip(ip.to_canonical()));
        }
        DnsName::parse(text).map(Self::Name).ok_or(NodeAddressError::Host)
    }
}

impl fmt::Display for Host {
    /// Without brackets; [`NodeAddress`] adds them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name.as_str()),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(Host);

/// How a node is logged into: `user@host:port`, canonical, so that equal text means equal address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAddress {
    /// Login name.
    pub user: Username,
    /// IP address or DNS name.
    pub host: Host,
    port: u16,
}

impl NodeAddress {
    /// An address from its parts; port 0 does not exist.
    pub fn new(user: Username, host: Host, port: u16) -> Result<Self, NodeAddressError> {
        if port == 0 { Err(NodeAddressError::Port) } else { Ok(Self { user, host, port }) }
    }

    /// SSH port, never 0.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The node's id: UUIDv5 of the canonical text (RULES R10). Unique per miner only.
    pub fn node_id(&self) -> NodeId {
        NodeId(Uuid::new_v5(&NODE_NAMESPACE, self.to_string().as_bytes()))
    }
}

impl FromStr for NodeAddress {
    type Err = NodeAddressError;

    fn from_str(text: &str) -> Result<Self, NodeAddressError> {
        let (user, rest) = text.split_once('@').ok_or(NodeAddressError::Form)?;
        let (host, port) = rest.rsplit_once(':').ok_or(NodeAddressError::Form)?;
        if host.contains(':') && !host.starts_with('[') {
            return Err(NodeAddressError::Form);
        }
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = if digits { port.parse().map_err(|_| NodeAddressError::Port)? } else { 0 };
        Self::new(user.parse()?, host.parse()?, port)
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "{}@[{ip}]:{}", self.user, self.port),
            host => write!(f, "{}@{host}:{}", self.user, self.port),
        }
    }
}

impl fmt::Debug for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_text!(NodeAddress);

/// A text that is not a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node id is not a UUID")]
pub struct NodeIdError;

/// A node within one miner. A claim until derived from the address: see [`NodeAddress::node_id`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Uuid);

impl NodeId {
    /// The 16 bytes, as they enter hashes and payloads.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// An id read back from bytes that this program wrote.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    /// Only the hyphenated form, so that an id has one spelling.
    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        let id = Uuid::try_parse(text).map_err(|_| NodeIdError)?;
        if text.len() == 36 { Ok(Self(id)) } else { Err(NodeIdError) }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_text!(NodeId);

/// Whether an address may be dialled when it came from a stranger (RULES R11): public unicast only.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmarking = a == 198 && (18..20).contains(&b);
    let protocol_assignments = (a, b, c) == (192, 0, 0);
    let relay_anycast = (a, b, c) == (192, 88, 99);
    !(ip.is_unspecified()
        || a == 0
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_multicast()
        || a >= 240
        || shared
        || benchmarking
        || protocol_assignments
        || relay_anycast)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [first, second, third, ..] = ip.segments();
    // 2000::/3 is all that has been handed out. Inside it, forms that embed or tunnel to IPv4 are refused.
    let global = first & 0xe000 == 0x2000;
    let documentation = (first, second) == (0x2001, 0x0db8) || first == 0x3fff;
    let teredo_or_orchid = first == 0x2001 && second < 0x0200;
    let six_to_four = first == 0x2002;
    let nat64 = (first, second, third) == (0x0064, 0xff9b, 0);
    global && !documentation && !teredo_or_orchid && !six_to_four && !nat64
}

impl Host {
    /// Whether a connection to the resolved address `ip` may be made on a stranger's word (RULES R11).
    ///
    /// Loopback, private, link-local (cloud metadata among them), documentation and tunnel ranges are not
    /// public. Call it on what the name resolved to and connect to that very address.
    pub fn is_public_address(ip: IpAddr) -> bool {
        is_public(ip)
    }
}

/// A node's identity: an id is unique within its miner only (RULES R10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey {
    /// Whose node.
    pub miner: Hotkey,
    /// Which of its nodes.
    pub node: NodeId,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_match_an_independent_uuid5() {
        // Computed with Python's uuid module.
        for (address, id) in [
            ("basilica@192.168.1.100:22", "e7d18728-129b-5170-abae-175e640360b9"),
            ("root@[2001:db8::1]:2222", "6db86c51-e9b8-55f5-8ac8-21fd89376e02"),
        ] {
            let address: NodeAddress = address.parse().unwrap();
            assert_eq!(address.node_id().to_string(), id);
        }
    }

    #[test]
    fn aliases_of_one_address_share_one_id() {
        let id = |a: &str| a.parse::<NodeAddress>().unwrap().node_id();
        assert_eq!(id("gpu@Node.Example.COM.:22"), id("gpu@node.example.com:22"));
        assert_eq!(id("gpu@[::ffff:10.0.0.1]:22"), id("gpu@10.0.0.1:22"));
        assert_eq!(id("gpu@[2001:0db8:0:0::1]:22"), id("gpu@[2001:db8::1]:22"));
        assert_eq!(id("gpu@host.example:0022"), id("gpu@host.example:22"));
    }

    #[test]
    fn hostile_addresses_are_refused() {
        for bad in [
            "",
            "@",
            "a@b",
            "a@b:0",
            "a@b:65536",
            "a@b:+22",
            "-oProxyCommand=x@h.example:22",
            "a@-h.example:22",
            "a@h.example;id:22",
            "a b@h.example:22",
            "a@h example:22",
            "a@$(id):22",
            "a@127.1:22",
            "a@2130706433:22",
            "a@0x7f000001:22",
            "a@2001:db8::1:22",
            "a@h..example:22",
            "a\n@h.example:22",
            "a@h.example:22\n",
        ] {
            assert!(bad.parse::<NodeAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_public_unicast_may_be_dialled_for_a_stranger() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "2001::1",
            "ff02::1",
        ] {
            assert!(!Host::is_public_address(private.parse().unwrap()), "{private}");
        }
        for public in ["1.1.1.1", "203.0.114.1", "100.128.0.1", "2606:4700::1111", "2a00::1"] {
            assert!(Host::is_public_address(public.parse().unwrap()), "{public}");
        }
    }

    proptest! {
        #[test]
        fn addresses_print_and_parse(user in "[a-z_][a-z0-9_-]{0,20}", host in "[a-z0-9-]{1,20}\\.[a-z]{2,8}", port: u16) {
            if let Ok(address) = format!("{user}@{host}:{port}").parse::<NodeAddress>() {
                prop_assert_eq!(address.to_string().parse::<NodeAddress>(), Ok(address));
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = text.parse::<NodeAddress>();
            let _ = text.parse::<NodeId>();
        }
    }
}
