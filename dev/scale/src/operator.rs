//! The real nodes' operator: an SSH key, and the miner's program.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use basilica_testkit::{free_address, miner_node, miner_sections};
use basilica_types::SshPublicKey;

use crate::nodes::Listed;

/// The key with which the miner reaches its nodes.
pub(crate) struct OperatorKey {
    path: PathBuf,
    pub(crate) public: SshPublicKey,
}

impl OperatorKey {
    pub(crate) fn create(directory: &Path) -> Self {
        let path = directory.join("miner_node_key");
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status();
        assert!(made.is_ok_and(|status| status.success()), "ssh-keygen: apt-get install openssh-client");
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap().parse().unwrap();
        Self { path, public }
    }
}

/// A program that ends with the run.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it with these arguments and nothing of this process's environment but what is given. The kernel kills it when the thread that
    /// started it ends, which is the one that waits for the whole run.
    pub(crate) fn start(program: &Path, log: PathBuf, with: impl FnOnce(&mut Command)) -> Self {
        let file = File::create(&log).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).env_clear();
        with(&mut command);
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: command.spawn().unwrap(), log }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails if it has ended, with its last words.
    pub(crate) fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            panic!("it ended with {status}:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }

    /// Its log until now.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `basilica-miner` with these nodes; returns it and where its axon is.
pub(crate) fn start_miner(
    program: &Path,
    directory: &Path,
    chain: &str,
    key: &OperatorKey,
    nodes: &[Listed],
) -> (Running, SocketAddr) {
    let axon = free_address();
    let config = directory.join("miner.toml");
    std::fs::write(&config, miner_config(directory, chain, axon, key, nodes)).unwrap();
    let running = Running::start(program, directory.join("miner.log"), |command| {
        command.arg("--config").arg(&config).env("HOME", directory);
    });
    (running, axon)
}

fn miner_config(
    directory: &Path,
    chain: &str,
    axon: SocketAddr,
    key: &OperatorKey,
    nodes: &[Listed],
) -> String {
    let rate = "hourly_rate_per_gpu = 2.50, ";
    let nodes: String = nodes.iter().map(|node| miner_node(&node.address, &node.host_key, rate)).collect();
    let (ip, port) = (axon.ip(), axon.port());
    let announced = format!("external_ip = \"{ip}\"\naxon_port = {port}");
    let sections = miner_sections(directory, chain, (axon, free_address()), &announced);
    format!(
        r#"{sections}
[node_management]
health_check_interval = "10m"
nodes = [
{nodes}]

[ssh_session]
miner_node_key_path = "{key}"

[validator_assignment]
strategy = "highest_stake"
refresh_interval = "2s"
"#,
        key = key.path.display(),
    )
}
