//! How a validator reaches what it shares with the other one, and how that is cut.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use basilica_localnet::nodes::Station;

use crate::relay::Relay;

/// For a connection to a program of this machine.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) enum Link {
    /// On this machine, with a relay before the database. Cut: only the database is out of reach, and what is sent to it arrives late.
    Relay(Relay),
    /// In a network namespace of its own. Cut: everything is out of reach, and what is sent is lost.
    Station(Box<Station>),
}

impl Link {
    pub(crate) async fn cut(&mut self) {
        match self {
            Self::Relay(relay) => relay.cut(),
            Self::Station(station) => station.cut().await.unwrap(),
        }
    }

    pub(crate) async fn heal(&mut self) {
        match self {
            Self::Relay(relay) => relay.heal(),
            Self::Station(station) => station.heal().await.unwrap(),
        }
    }

    /// A program to be started at this end.
    pub(crate) fn command(&self, program: &Path) -> Command {
        match self {
            Self::Relay(_) => Command::new(program),
            Self::Station(station) => station.command(program),
        }
    }

    /// A connection to what listens at this end, cut or not.
    pub(crate) fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        match self {
            Self::Relay(_) => TcpStream::connect_timeout(&to, LIMIT),
            Self::Station(station) => station.connect(to, LIMIT),
        }
    }
}
