//! The network that nodes stand on, and how it is reached.

use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::process::Command;

use super::NodesError;
use super::control::Control;
use super::scripts::LAN;

const WHAT: &str = "the nodes' network, which needs root (in a container CAP_SYS_ADMIN and CAP_NET_ADMIN)";
/// The third byte of a network that nobody else sees.
const PRIVATE_SUBNET: u8 = 0;
/// First node; below are the gateway and room.
const FIRST_HOST: u8 = 10;
/// Nodes that fit.
pub(super) const MAX_NODES: usize = 240;

/// Who can reach the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Threads that enter the network: see [`NodeHosts::enter`](super::NodeHosts::enter). The machine's own network is
    /// not touched.
    Entrants,
    /// Every process of this machine, through one virtual cable. Nodes have no other route, so nobody beyond the
    /// machine gets an answer from them.
    Machine,
}

/// A bridge in namespaces of its own, kept alive by one process.
#[derive(Debug)]
pub struct Lan {
    control: Control,
    pid: u32,
    subnet: u8,
    /// The machine's end, if it has one.
    cable: Option<String>,
}

impl Lan {
    /// Makes it. Needs root.
    pub async fn start(reach: Reach) -> Result<Self, NodesError> {
        let subnet = match reach {
            Reach::Entrants => PRIVATE_SUBNET,
            Reach::Machine => unused_subnet()?,
        };
        let gateway = format!("{}/24", gateway(subnet));
        let own = std::process::id();
        let cable = format!("bas{own}");
        let namespace = format!("/proc/{own}/ns/net");
        let mut arguments = NAMESPACES.to_vec();
        arguments.extend(["sh", "-c", LAN, "basilica-lan", &gateway]);
        if reach == Reach::Machine {
            arguments.extend([cable.as_str(), namespace.as_str()]);
        }
        let mut control = Control::spawn(WHAT, "unshare", &arguments)?;
        let pid = control.pid(WHAT).await?;
        if reach == Reach::Machine {
            ip(&["addr", "add", &gateway, "dev", &cable]).await?;
            ip(&["link", "set", &cable, "up"]).await?;
        }
        Ok(Self { control, pid, subnet, cable: (reach == Reach::Machine).then_some(cable) })
    }

    /// The process that keeps the network.
    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Where whoever is in the network without a place of their own listens: the bridge's own address, or the machine's.
    pub const fn gateway(&self) -> Ipv4Addr {
        gateway(self.subnet)
    }

    /// The address of the node that was started as number `index`.
    pub(super) fn address(&self, index: usize) -> Result<Ipv4Addr, NodesError> {
        let host = u8::try_from(index).ok().filter(|_| index < MAX_NODES).ok_or(NodesError::TooMany)?;
        Ok(Ipv4Addr::new(10, 91, self.subnet, FIRST_HOST + host))
    }

    /// Moves the calling thread into the network, where it stays; threads and processes that it starts from then on are in it
    /// too.
    pub fn enter(&self) -> Result<(), NodesError> {
        enter(self.pid)
    }

    pub(super) async fn end(self) {
        if let Some(cable) = &self.cable {
            // The kernel takes it with the namespace, but some time later; it may be gone.
            let _ = ip(&["link", "del", cable]).await;
        }
        self.control.end().await;
    }
}

const fn gateway(subnet: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 91, subnet, 1)
}

/// Moves the calling thread into the network of a process.
pub(super) fn enter(pid: u32) -> Result<(), NodesError> {
    let file = std::fs::File::open(format!("/proc/{pid}/ns/net")).map_err(NodesError::Enter)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|errno| NodesError::Enter(errno.into()))
}

/// Options of `unshare` for a process that shall keep and take with it all that it makes.
pub(super) const NAMESPACES: [&str; 6] = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--"];

async fn ip(arguments: &[&str]) -> Result<(), NodesError> {
    let what = "the cable to the nodes' network";
    let output = Command::new("ip").args(arguments).output().await.map_err(|source| NodesError::Spawn {
        what: what.to_owned(),
        program: "ip".to_owned(),
        source,
    })?;
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(NodesError::Failed { what: what.to_owned(), output })
}

fn unused_subnet() -> Result<u8, NodesError> {
    let routes = std::fs::read_to_string("/proc/net/route").map_err(NodesError::Files)?;
    // Runs side by side begin their search at different places.
    let start = std::process::id().to_le_bytes()[0];
    free_subnet(&routes, start).ok_or(NodesError::NoSubnet)
}

/// The first of 10.91.0.0/24 to 10.91.255.0/24, counted from `start`, that no route but the default one covers.
/// `routes` has the form of `/proc/net/route`: addresses and masks as little-endian hexadecimal words.
fn free_subnet(routes: &str, start: u8) -> Option<u8> {
    let taken: Vec<(u32, u32)> = routes
        .lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let word = |i: usize| u32::from_str_radix(words.get(i)?, 16).ok().map(u32::swap_bytes);
            Some((word(1)?, word(7)?))
        })
        .filter(|(_, mask)| *mask != 0)
        .collect();
    (0..=u8::MAX).map(|step| start.wrapping_add(step)).find(|third| {
        let base = u32::from(Ipv4Addr::new(10, 91, *third, 0));
        let own = u32::from(Ipv4Addr::new(255, 255, 255, 0));
        taken.iter().all(|(net, mask)| (net ^ base) & mask & own != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";

    #[test]
    fn subnets_under_foreign_routes_are_passed_over() {
        let default = "eth0 00000000 0102A8C0 0003 0 0 0 00000000 0 0 0\n";
        let five = "x 00055B0A 00000000 0001 0 0 0 00FFFFFF 0 0 0\n";
        let host_in_six = "x 07065B0A 00000000 0001 0 0 0 FFFFFFFF 0 0 0\n";
        assert_eq!(free_subnet(&format!("{HEAD}{default}"), 5), Some(5));
        assert_eq!(free_subnet(&format!("{HEAD}{default}{five}{host_in_six}"), 5), Some(7));
        assert_eq!(free_subnet(&format!("{HEAD}{five}"), 255), Some(255));
        let all_of_ten = "tun0 0000000A 00000000 0001 0 0 0 000000FF 0 0 0\n";
        assert_eq!(free_subnet(&format!("{HEAD}{all_of_ten}"), 0), None);
    }
}
