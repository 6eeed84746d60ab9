//! The miner's program, as its operator runs it.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use basilica_testkit::{miner_node, miner_sections};
use basilica_types::{HostKey, NodeAddress};
use rustix::process::{Pid, Signal, kill_process};

/// Of a login or command.
pub(crate) const TIMEOUT_SECS: u64 = 2;

/// How it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Every validator has all nodes.
    Open,
    /// The same with few sessions of each, which end for new ones long before their time is up.
    OpenToFew,
    /// The validator with the most stake has them; keys of others would stay for long if they were not taken off.
    HighestStake,
}

impl Variant {
    const fn settings(self) -> (&'static str, u32, u32) {
        match self {
            Self::Open => ("enabled = false", 32, 4),
            Self::OpenToFew => ("enabled = false", 3, 60),
            Self::HighestStake => ("strategy = \"highest_stake\"", 6, 60),
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Open => "the miner started: open",
            Self::OpenToFew => "the miner started: open to few sessions",
            Self::HighestStake => "the miner started: highest stake",
        }
    }
}

/// A node to be configured.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) address: NodeAddress,
    pub(crate) host_key: HostKey,
}

/// Where it lives, and whether it runs.
#[derive(Debug)]
pub(crate) struct Miner {
    pub(crate) program: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) chain: String,
    pub(crate) axon: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) nodes: Vec<Listed>,
    pub(crate) variant: Variant,
    /// The one that is not listed.
    pub(crate) absent: Option<usize>,
    pub(crate) child: Option<Child>,
}

impl Miner {
    fn config(&self) -> PathBuf {
        self.home.join("miner.toml")
    }

    /// Starts it. The kernel kills it when the thread that started it ends, which is the one that waits for the whole run.
    pub(crate) fn start(&mut self, variant: Variant, revoke_on_exit: bool) {
        self.variant = variant;
        self.configure();
        let log = OpenOptions::new().create(true).append(true).open(self.home.join("miner.log")).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program).env_clear().env("HOME", &self.home);
        command.arg("--config").arg(self.config());
        if revoke_on_exit {
            command.arg("--revoke-on-exit");
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Whole at any time: commands read it meanwhile.
    pub(crate) fn configure(&self) {
        let draft = self.home.join("miner.toml.new");
        std::fs::write(&draft, self.text()).unwrap();
        std::fs::rename(&draft, self.config()).unwrap();
    }

    /// At once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            // It may have ended.
            let _ = kill_process(Pid::from_child(child), signal);
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().unwrap())
    }

    /// One of its commands.
    pub(crate) fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.program);
        command.arg("--config").arg(self.config()).args(arguments).env_clear().env("HOME", &self.home);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// The last lines of its log.
    pub(crate) fn last_words(home: &Path) -> String {
        let log = std::fs::read_to_string(home.join("miner.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn text(&self) -> String {
        let listed = self.nodes.iter().enumerate().filter(|(at, _)| self.absent != Some(*at));
        let nodes: String = listed.map(|(_, node)| miner_node(&node.address, &node.host_key, "")).collect();
        let (assignment, sessions, lifetime) = self.variant.settings();
        let listens = (self.axon, self.health);
        let sections = miner_sections(&self.home, &self.chain, listens, "read_only = true");
        format!(
            r#"{sections}
[validator_comms.rate_limit]
enabled = false

[verdicts]
enabled = false

[node_management]
health_check_interval = "1s"
health_check_timeout = "{TIMEOUT_SECS}s"
max_retry_attempts = 1
nodes = [
{nodes}]

[ssh_session]
miner_node_key_path = "{home}/miner_node_key"
max_concurrent_sessions = {sessions_of_each}
session_rate_limit = 0

[security]
session_lifetime = "{lifetime}s"
max_nonces_per_validator = 1000000

[validator_assignment]
{assignment}
refresh_interval = "500ms"
"#,
            home = self.home.display(),
            sessions_of_each = sessions,
        )
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        self.kill();
    }
}
