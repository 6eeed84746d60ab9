//! What a light check costs the validator: over a kept connection, on a new one, and by spawning `ssh` for the same command.
//!
//! One real sshd, one command (the service's own look at a node), one run; the three ways take turns, so that whatever else the
//! machine does hits all alike. Counted is the processor time, user and system, of this process and of the `ssh` processes
//! that it waited for, as the kernel accounts it (the counters of `getrusage`, read from `/proc/self/stat`). What the node
//! spends is its sshd's and not in it. Ours runs on a runtime with several threads, as in the validator's program.
//! `BASILICA_LIGHT_TURNS` (7) makes it shorter.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot run fails, and tells its figures"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use basilica_localnet::nodes::{Isolation, NodeHost, NodeHosts, NodeSpec, Reach};
use basilica_ports::{
    AddressPolicy, Dial, ExitStatus, HostKeyPolicy, Identity, NodeShell as _, OutputLimits, Shell,
};
use basilica_probing_service::{ProverFile, look};
use basilica_ssh::RusshShell;
use basilica_types::{Argv, Millis, SshPublicKey};
use basilica_verification::ProbeRules;
use tokio::task::JoinSet;

/// Checks of each kind in a turn: a turn of each takes some tenths of a second of processor time.
const WARM: u32 = 600;
const COLD: u32 = 60;
const SPAWNED: u32 = 20;
/// By default OpenSSH of these years exchanges keys by sntrup761 beside x25519, in portable C that takes most of its time. Our client
/// does x25519 with such servers, so `ssh` is measured with that, too.
const OUR_EXCHANGE: [&str; 2] = ["-o", "KexAlgorithms=curve25519-sha256"];
const LIMIT: Millis = Millis::from_secs(20);

/// Processor time until now in clock ticks.
#[derive(Clone, Copy)]
struct Ticks {
    own: u64,
    children: u64,
}

impl Ticks {
    fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        // The name may hold spaces; what follows its parenthesis begins with field 3.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let field = |number: usize| fields[number - 3].parse::<u64>().unwrap();
        Self { own: field(14) + field(15), children: field(16) + field(17) }
    }
}

/// Milliseconds in a clock tick.
fn tick_ms() -> f64 {
    let output = Command::new("getconf").arg("CLK_TCK").output().unwrap();
    let per_second: f64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    1_000.0 / per_second
}

/// Everything that both clients need to reach the node.
#[derive(Clone)]
struct Target {
    dial: Dial,
    key: PathBuf,
    known_hosts: PathBuf,
    command: Argv,
}

impl Target {
    fn new(node: &NodeHost, directory: &Path) -> Self {
        let (address, key, known_hosts) =
            (node.address(), directory.join("key"), directory.join("known_hosts"));
        let (host, port) = (&address.host, address.port());
        let lines = format!("[{host}]:{port} {key}\n{host} {key}\n", key = node.host_key());
        std::fs::write(&known_hosts, lines).unwrap();
        // An RSA or PEM key would cost both more; the validator's own are Ed25519 in memory.
        let dial = Dial {
            address: address.clone(),
            identity: Identity::File(key.clone()),
            host_keys: HostKeyPolicy::Pinned(vec![node.host_key().clone()]),
            addresses: AddressPolicy::Any,
            deadline: LIMIT,
        };
        let prover = ProverFile::new(b"no such prover is there".to_vec());
        Self { dial, key, known_hosts, command: look(&[7; 32], &prover, &ProbeRules::default(), LIMIT) }
    }

    async fn connect(&self) -> Arc<dyn Shell> {
        RusshShell.connect(&self.dial).await.unwrap()
    }

    async fn look(&self, shell: &dyn Shell) {
        let limits = OutputLimits { deadline: LIMIT, stdout: 128 * 1024, stderr: 4 * 1024 };
        let output = shell.run(&self.command, b"", limits).await.unwrap();
        assert_eq!(output.status, ExitStatus::Code(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.starts_with(b"nonce 0 64\n"));
    }

    /// The same by the program: the same key, the same pinned host key, nothing of the user's own, and no master connection.
    fn spawn_ssh(&self, with: &[&str]) {
        let address = &self.dial.address;
        let output = Command::new("ssh")
            .args(["-F", "none", "-T", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"])
            .args(["-o", "StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=none", "-o"])
            .arg(format!("UserKnownHostsFile={}", self.known_hosts.display()))
            .args(with)
            .arg("-i")
            .arg(&self.key)
            .args(["-p", &address.port().to_string(), "-l", address.user.as_str()])
            .arg(address.host.to_string())
            .arg(self.command.to_command_line())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.starts_with(b"nonce 0 64\n"));
    }
}

/// Milliseconds per check.
#[derive(Clone, Copy)]
struct Turn {
    warm: f64,
    cold: f64,
    spawned: f64,
    spawned_alike: f64,
}

async fn turn(target: &Target, kept: &dyn Shell, tick: f64) -> Turn {
    let begin = Ticks::now();
    for _ in 0..WARM {
        target.look(kept).await;
    }
    let after_warm = Ticks::now();
    for _ in 0..COLD {
        let shell = target.connect().await;
        target.look(&*shell).await;
        shell.close().await;
    }
    let after_cold = Ticks::now();
    for _ in 0..SPAWNED {
        target.spawn_ssh(&[]);
    }
    let after_spawned = Ticks::now();
    for _ in 0..SPAWNED {
        target.spawn_ssh(&OUR_EXCHANGE);
    }
    let end = Ticks::now();
    #[expect(clippy::cast_precision_loss, reason = "some hundreds of ticks")]
    let each = |ticks: u64, checks: u32| ticks as f64 * tick / f64::from(checks);
    // What starting a process costs its parent is part of it.
    let both = |from: Ticks, to: Ticks| to.own - from.own + to.children - from.children;
    Turn {
        warm: each(after_warm.own - begin.own, WARM),
        cold: each(after_cold.own - after_warm.own, COLD),
        spawned: each(both(after_cold, after_spawned), SPAWNED),
        spawned_alike: each(both(after_spawned, end), SPAWNED),
    }
}

/// Median, least and most.
fn spread(turns: &[Turn], of: impl Fn(&Turn) -> f64) -> [f64; 3] {
    let mut values: Vec<f64> = turns.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    [values[values.len() / 2], values[0], values[values.len() - 1]]
}

fn report(turns: &[Turn]) {
    println!(
        "processor time of the validator's side per light check: median of {} turns (least to most)",
        turns.len()
    );
    let row = |name: &str, unit: &str, [median, least, most]: [f64; 3]| {
        println!("  {name:<34} {median:>7.3}{unit} ({least:.3} to {most:.3})");
    };
    row("over a kept connection", " ms", spread(turns, |turn| turn.warm));
    row("on a new connection", " ms", spread(turns, |turn| turn.cold));
    row("by spawning ssh", " ms", spread(turns, |turn| turn.spawned));
    row("by spawning ssh, our key exchange", " ms", spread(turns, |turn| turn.spawned_alike));
    row("ssh over a kept connection", " times", spread(turns, |turn| turn.spawned / turn.warm));
    row("ssh over a new connection", " times", spread(turns, |turn| turn.spawned / turn.cold));
    row("the same, our key exchange", " times", spread(turns, |turn| turn.spawned_alike / turn.warm));
    row("the same on a new connection", " times", spread(turns, |turn| turn.spawned_alike / turn.cold));
}

fn key_pair(directory: &Path) -> SshPublicKey {
    let path = directory.join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status();
    assert!(made.unwrap().success());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::read_to_string(path.with_extension("pub")).unwrap().parse().unwrap()
}

fn main() {
    let turns = std::env::var("BASILICA_LIGHT_TURNS").map_or(7, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let spec = NodeSpec::new("gpu-1", &key_pair(directory.path()));
    // Only the thread that starts the nodes enters their network, and those that it starts then.
    let fixture = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let hosts = fixture.block_on(NodeHosts::start(Isolation::Best, Reach::Entrants, vec![spec])).unwrap();
    hosts.enter().unwrap();
    let target = Target::new(&hosts.nodes()[0], directory.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let measured = runtime.block_on(async {
        let mut checks = JoinSet::new();
        checks.spawn(async move {
            let (kept, tick) = (target.connect().await, tick_ms());
            target.look(&*kept).await;
            target.spawn_ssh(&[]);
            let mut measured = Vec::new();
            for _ in 0..turns {
                measured.push(turn(&target, &*kept, tick).await);
            }
            measured
        });
        checks.join_next().await.unwrap().unwrap()
    });
    report(&measured);
    fixture.block_on(hosts.stop());
}
