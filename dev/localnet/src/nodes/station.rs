//! A place in the nodes' network for programs of this machine: a network of its own and nothing else (needs root).

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use super::NodesError;
use super::control::Control;
use super::lan::{Lan, NAMESPACES, enter};
use super::scripts::STATION;

/// A network namespace with one cable, which can be cut.
#[derive(Debug)]
pub struct Station {
    control: Control,
    pid: u32,
    ip: Ipv4Addr,
}

impl Station {
    /// The one of this number, which no node of the network may have.
    pub async fn start(lan: &Lan, index: usize) -> Result<Self, NodesError> {
        let ip = lan.address(index)?;
        let (keeper, port, address) = (lan.pid().to_string(), format!("port{index}"), format!("{ip}/24"));
        let mut arguments = NAMESPACES.to_vec();
        arguments.extend(["sh", "-c", STATION, "basilica-station", &keeper, &port, &address]);
        let mut control = Control::spawn(WHAT, "unshare", &arguments)?;
        let pid = control.pid(WHAT).await?;
        Ok(Self { control, pid, ip })
    }

    /// Its address.
    pub const fn ip(&self) -> IpAddr {
        IpAddr::V4(self.ip)
    }

    /// A program to be started there; its process is the one that is spawned.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid)).arg("--").arg(program);
        command
    }

    /// A connection as from there, which the calling thread may use where it is. What listens on the station's own
    /// loopback address is reached while the cable is cut, too.
    ///
    /// # Errors
    /// As [`TcpStream::connect_timeout`].
    pub fn connect(&self, to: SocketAddr, limit: std::time::Duration) -> std::io::Result<TcpStream> {
        let there = || {
            enter(self.pid).map_err(std::io::Error::other)?;
            TcpStream::connect_timeout(&to, limit)
        };
        // The thread that entered ends there.
        thread::scope(|scope| scope.spawn(there).join())
            .unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))
    }

    /// Has the switch drop all that comes and goes by the cable: what is sent either way is lost, and no end is told.
    pub async fn cut(&mut self) -> Result<(), NodesError> {
        self.control.ask(WHAT, "cut").await
    }

    /// Ends that.
    pub async fn heal(&mut self) -> Result<(), NodesError> {
        self.control.ask(WHAT, "heal").await
    }
}

const WHAT: &str = "a station";
