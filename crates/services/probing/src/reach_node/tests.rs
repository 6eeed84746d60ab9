//! What a port comes to with an honest helper, and with whatever else may be there.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use basilica_ports::{AddressPolicy, Dial, Identity, NodeShell, Output, OutputLimits};
use basilica_types::{Argv, HostKey, SshPublicKey};

use super::*;
use crate::scripted::{HOST_KEY, World};

/// One of the addresses of `gpu.example.org`.
const AT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    Honest,
    /// So many of the ports drawn are taken.
    Taken(usize),
    NoProver,
    /// The helper ends with an error of its own.
    Broken,
    /// Starts the helper and never reads what it is told.
    Deaf,
    Firewall,
    Drops,
    OtherProgram,
    Floods,
}

/// The node, its helper and the network before it.
#[derive(Clone)]
struct Node {
    host_key: HostKey,
    habit: Habit,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    starts: usize,
    ports: Vec<String>,
    token: Vec<u8>,
    asked: Vec<Ask>,
}

struct Running {
    node: Node,
    listens: bool,
}

#[async_trait]
impl Shell for Node {
    fn host_key(&self) -> &HostKey {
        &self.host_key
    }

    fn is_open(&self) -> bool {
        true
    }

    async fn run(&self, _: &Argv, _: &[u8], _: OutputLimits) -> Result<Output, ShellError> {
        unreachable!("a helper is talked with")
    }

    async fn start(&self, command: &Argv) -> Result<Box<dyn Process>, ShellError> {
        let mut state = self.state.lock().unwrap();
        state.starts += 1;
        state.ports.push(command.arguments()[6].clone());
        let listens = match self.habit {
            Habit::NoProver | Habit::Broken => false,
            Habit::Taken(many) => state.starts > many,
            _ => true,
        };
        Ok(Box::new(Running { node: self.clone(), listens }))
    }

    async fn close(&self) {}
}

#[async_trait]
impl Process for Running {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), ShellError> {
        if self.node.habit == Habit::Deaf {
            std::future::pending::<()>().await;
        }
        self.node.state.lock().unwrap().token = bytes.to_vec();
        Ok(())
    }

    async fn receive(&mut self) -> Result<Option<Vec<u8>>, ShellError> {
        Ok(std::mem::take(&mut self.listens).then(|| READY.to_vec()))
    }

    fn stderr(&self) -> &[u8] {
        b""
    }

    async fn finish(self: Box<Self>) -> Result<ExitStatus, ShellError> {
        Ok(ExitStatus::Code(match self.node.habit {
            Habit::NoProver => PROVER_MISSING,
            Habit::Broken => 1,
            _ => PORT_TAKEN,
        }))
    }
}

#[async_trait]
impl NodeShell for Node {
    fn public_key(&self, _: &Identity) -> Result<SshPublicKey, ShellError> {
        unreachable!("nobody logs in")
    }

    async fn resolve(
        &self,
        _: &NodeAddress,
        _: AddressPolicy,
        _: Millis,
    ) -> Result<Vec<SocketAddr>, ShellError> {
        unreachable!("the connection says where the node is")
    }

    async fn ask(&self, ask: &Ask) -> Result<Vec<u8>, ShellError> {
        let mut state = self.state.lock().unwrap();
        state.asked.push(ask.clone());
        assert_eq!(ask.question, state.token[..HALF], "the helper knows the question");
        match self.habit {
            Habit::Firewall => {
                let source = io::Error::from(io::ErrorKind::ConnectionRefused).into();
                Err(ShellError::Connect { address: ask.address.clone(), source })
            }
            Habit::Drops => Err(ShellError::Deadline { step: "asking a port", limit: ask.deadline }),
            Habit::OtherProgram => Ok(b"SSH-2.0-x".to_vec()),
            Habit::Floods => Err(ShellError::TooMuchOutput { limit: ask.most }),
            _ => Ok(state.token[HALF..].to_vec()),
        }
    }

    async fn connect(&self, _: &Dial) -> Result<Arc<dyn Shell>, ShellError> {
        unreachable!("the connection is there")
    }
}

fn address() -> NodeAddress {
    "root@gpu.example.org:22".parse().unwrap()
}

/// What it comes to; and what was seen.
async fn reached(habit: Habit) -> (Event, Arc<Mutex<State>>) {
    let mut world = World::new();
    let node = Node { host_key: HOST_KEY.parse().unwrap(), habit, state: Arc::default() };
    world.nodes = Arc::new(node.clone());
    let event = world.probing().reach(&address(), &node, AT).await.unwrap();
    (event, node.state)
}

#[tokio::test]
async fn every_end_of_a_port_is_told_apart() {
    for (habit, end) in [
        (Habit::Honest, ReachEnd::Answered),
        (Habit::Taken(2), ReachEnd::Answered),
        (Habit::Firewall, ReachEnd::Refused),
        (Habit::Drops, ReachEnd::Silent),
        (Habit::OtherProgram, ReachEnd::Wrong),
        (Habit::Floods, ReachEnd::Wrong),
    ] {
        let (event, state) = reached(habit).await;
        let state = state.lock().unwrap();
        let ask = state.asked.last().unwrap();
        assert_eq!(event, Event::Reached(Reach { port: ask.at.port(), end }), "{habit:?}");
        assert_eq!(ask.at.ip(), AT, "where the connection is");
        assert_eq!(state.ports.last().unwrap(), &ask.at.port().to_string());
        assert!((20_000..=32_767).contains(&ask.at.port()));
    }
}

#[tokio::test]
async fn what_the_validators_own_machine_cannot_do_is_not_the_nodes_fault() {
    // No descriptors left, no route, no port of its own left.
    for code in [24, 101, 99] {
        let answered = Err(ShellError::Connect {
            address: "root@203.0.113.9:22".parse().unwrap(),
            source: io::Error::from_raw_os_error(code).into(),
        });
        assert_eq!(end_of(answered, b""), Err(Break::Internal), "{code}");
    }
}

#[tokio::test]
async fn a_node_that_does_not_read_holds_no_check_up() {
    let mut world = World::new();
    let node = Node { host_key: HOST_KEY.parse().unwrap(), habit: Habit::Deaf, state: Arc::default() };
    world.nodes = Arc::new(node.clone());
    let address = address();
    let (reached, ()) = tokio::join!(world.probing().reach(&address, &node, AT), async {
        world.clock.sleepers(1).await;
        world.clock.advance(world.settings.command_deadline);
    });
    assert_eq!(reached, Err(Break::CommandDeadline));
}

#[tokio::test]
async fn a_helper_that_does_not_come_up_fails_nobody_for_its_network() {
    let (event, state) = reached(Habit::Taken(9)).await;
    assert_eq!((event, state.lock().unwrap().starts), (Event::PortsTaken, 8));
    let (event, state) = reached(Habit::Broken).await;
    assert_eq!((event, state.lock().unwrap().starts), (Event::CommandFailed, 1), "another port helps nobody");
    assert_eq!(reached(Habit::NoProver).await.0, Event::ProverMissing);
}

#[test]
fn ports_are_drawn_from_the_range_and_its_ends() {
    assert_eq!(draw_port((20_000, 20_000), [0xff; 4]), 20_000);
    assert_eq!(draw_port((20_000, 20_001), [1, 0, 0, 0]), 20_001);
    assert_eq!(draw_port((1_024, 65_535), [0xff; 4]), draw_port((1_024, 65_535), [0xff; 4]));
}
