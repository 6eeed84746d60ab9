//! Nodes that do as they are told, over simulated time.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use basilica_ports::{
    AddressPolicy, Ask, Clock as _, Dial, ExitStatus, Identity, NodeKey, NodeRecord, NodeShell, Output,
    OutputLimits, Process, Shell, ShellError,
};
use basilica_runtime_service::testing::VirtualClock;
use basilica_types::{Argv, Host, HostKey, Hotkey, Millis, NodeAddress, SshPublicKey, Timestamp};
use basilica_verification::timing::DeadlineRecord;
use basilica_verification::{CheckKind, Due, GpuRules, Plan, ProbeRules};
use basilica_wire::discovery::NodeStatus;

pub(crate) const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Logs in and answers, each in so long.
    Answers { login: Millis, command: Millis },
    /// Nobody is there.
    BlackHole,
    /// Answers with something that nobody asked for.
    Garbage,
    /// Denies this miner's key, and penalises as OpenSSH 9.8 does.
    Denies(Hotkey),
}

impl Habit {
    pub(crate) const QUICK: Self = Self::Answers { login: Millis(20), command: Millis(10) };
}

/// What happened at all nodes.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Logins under way, and the most that were.
    pub(crate) dials: (usize, usize),
    /// When each command under way began.
    commands: BTreeMap<u64, Duration>,
    next: u64,
    /// The most commands at a time that had been under way for no longer than a slot is kept.
    pub(crate) most_fresh: usize,
    pub(crate) logins: usize,
    pub(crate) lockouts: usize,
    pub(crate) denials: usize,
    /// Until when each address counts penalties against us, and whether it shuts us out.
    penalties: BTreeMap<IpAddr, (Timestamp, bool)>,
}

pub(crate) struct Nodes {
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) habits: BTreeMap<IpAddr, Habit>,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

struct Node {
    host_key: HostKey,
    habit: Habit,
    clock: Arc<VirtualClock>,
    seen: Arc<Mutex<Seen>>,
}

impl Nodes {
    pub(crate) fn new(clock: &Arc<VirtualClock>, habits: BTreeMap<IpAddr, Habit>) -> Arc<Self> {
        Arc::new(Self { clock: Arc::clone(clock), habits, seen: Arc::default() })
    }

    /// Whether sshd lets this login in; it counts those that it does not.
    fn penalise(&self, at: IpAddr, denied: bool) -> Result<(), bool> {
        let now = self.clock.now();
        let mut seen = self.seen.lock().unwrap();
        let (until, shut) =
            seen.penalties.get(&at).copied().filter(|(until, _)| *until > now).unwrap_or((now, false));
        if shut {
            seen.lockouts += 1;
            return Err(true);
        }
        if !denied {
            return Ok(());
        }
        seen.denials += 1;
        let until = until + Millis::from_secs(5);
        let shut = until.since(now) >= Millis::from_secs(15);
        seen.penalties.insert(at, (until, shut));
        Err(false)
    }

    async fn log_in(&self, dial: &Dial, at: IpAddr) -> Result<Habit, ShellError> {
        let habit = self.habits.get(&at).copied().unwrap_or(Habit::QUICK);
        match habit {
            Habit::Answers { login, .. } => self.clock.sleep(login).await,
            Habit::Garbage => {}
            Habit::BlackHole => {
                self.clock.sleep(dial.deadline).await;
                return Err(ShellError::Deadline { step: "connecting", limit: dial.deadline });
            }
            Habit::Denies(miner) => {
                let denied =
                    matches!(&dial.identity, Identity::Ephemeral(seed) if **seed == *miner.as_bytes());
                match self.penalise(at, denied) {
                    Ok(()) => {}
                    Err(true) => return Err(ShellError::LockedOut { address: dial.address.clone() }),
                    Err(false) => {
                        return Err(ShellError::Denied {
                            address: dial.address.clone(),
                            takes_keys: true,
                            wants_more: false,
                        });
                    }
                }
            }
        }
        Ok(habit)
    }
}

#[async_trait]
impl NodeShell for Nodes {
    fn public_key(&self, _: &Identity) -> Result<SshPublicKey, ShellError> {
        Ok(HOST_KEY.parse().unwrap())
    }

    async fn resolve(
        &self,
        address: &NodeAddress,
        _: AddressPolicy,
        _: Millis,
    ) -> Result<Vec<SocketAddr>, ShellError> {
        let Host::Ip(ip) = address.host else { unreachable!("scripted nodes have no names") };
        Ok(vec![SocketAddr::new(ip, address.port())])
    }

    async fn ask(&self, _: &Ask) -> Result<Vec<u8>, ShellError> {
        unreachable!("light checks reach no port")
    }

    async fn connect(&self, dial: &Dial) -> Result<Arc<dyn Shell>, ShellError> {
        {
            let mut seen = self.seen.lock().unwrap();
            seen.dials.0 += 1;
            seen.dials.1 = seen.dials.1.max(seen.dials.0);
        }
        let Host::Ip(at) = dial.address.host else { unreachable!("what is dialled was resolved") };
        let result = self.log_in(dial, at).await;
        let mut seen = self.seen.lock().unwrap();
        seen.dials.0 -= 1;
        let habit = result?;
        seen.logins += 1;
        Ok(Arc::new(Node {
            host_key: HOST_KEY.parse().unwrap(),
            habit,
            clock: Arc::clone(&self.clock),
            seen: Arc::clone(&self.seen),
        }))
    }
}

#[async_trait]
impl Shell for Node {
    fn host_key(&self) -> &HostKey {
        &self.host_key
    }

    fn is_open(&self) -> bool {
        true
    }

    async fn run(&self, command: &Argv, _: &[u8], limits: OutputLimits) -> Result<Output, ShellError> {
        let id = {
            let now = self.clock.monotonic();
            let mut seen = self.seen.lock().unwrap();
            seen.next += 1;
            let id = seen.next;
            seen.commands.insert(id, now);
            let fresh =
                |began: &&Duration| now.saturating_sub(**began) < crate::slots::PATIENCE.as_duration();
            seen.most_fresh = seen.most_fresh.max(seen.commands.values().filter(fresh).count());
            id
        };
        let takes = if let Habit::Answers { command, .. } = self.habit { command } else { Millis(1) };
        self.clock.sleep(takes.min(limits.deadline)).await;
        self.seen.lock().unwrap().commands.remove(&id);
        if takes > limits.deadline {
            return Err(ShellError::Deadline { step: "a command", limit: limits.deadline });
        }
        let stdout = match self.habit {
            Habit::Garbage => b"\x1b[31m\0\xff".to_vec(),
            _ => answer(command),
        };
        Ok(Output { status: ExitStatus::Code(0), stdout, stderr: Vec::new() })
    }

    async fn start(&self, _: &Argv) -> Result<Box<dyn Process>, ShellError> {
        unreachable!("scripted nodes prove nothing")
    }

    async fn close(&self) {}
}

/// What an honest node prints to a light check: `sh -c SCRIPT basilica NONCE …`.
fn answer(command: &Argv) -> Vec<u8> {
    let claims = r#"{"version":2,"devices":[]}"#;
    let nonce = &command.arguments()[4];
    format!("nonce 0 64\n{nonce}\nclaims 0 {}\n{claims}\nend 0 0\n\n", claims.len()).into_bytes()
}

/// A node as the store tells it: known, with the scripted host key.
pub(crate) fn record(miner: Hotkey, address: &str, now: Timestamp) -> NodeRecord {
    let address: NodeAddress = address.parse().unwrap();
    NodeRecord {
        key: NodeKey { miner, node: address.node_id() },
        address,
        listed: Some(NodeStatus::Available),
        rate: None,
        host_keys: vec![HOST_KEY.parse().unwrap()],
        first_seen: now,
        due: Due::at_once(now),
        deadlines: DeadlineRecord::default(),
        series: None,
        last_verdict: None,
        last_full: None,
        last_proof: None,
        standing: None,
    }
}

pub(crate) fn light(now: Timestamp) -> Plan {
    let gpus = GpuRules::new(true, true, &basilica_types::Digest::from_bytes([9; 32]));
    let probes = ProbeRules::NONE;
    Plan { kind: CheckKind::Light, nonce: [0xab; 32], gpus, probes, started: now }
}

/// Runs the work, and lets time go on whenever everything waits for it.
pub(crate) async fn over_time<T>(clock: &VirtualClock, work: impl Future<Output = T>) -> T {
    let time_goes_on = async {
        loop {
            clock.sleepers(1).await;
            // Whoever was woken goes first, and whoever that wakes.
            for _ in 0..16 {
                tokio::task::yield_now().await;
            }
            clock.advance_to_next();
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        () = time_goes_on => unreachable!("time goes on for ever"),
    }
}
