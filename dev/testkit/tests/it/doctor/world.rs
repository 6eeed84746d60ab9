//! Hosts with a miner's key, a driver and a container engine that are played by scripts; and a doctor beside them.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use basilica_doctor_service::{Doctor, Finding, Fixed, NodeSeen, OtherLogin, Patience, Proving, judge};
use basilica_localnet::nodes::{Isolation, NodeFile, NodeSpec, Place};
use basilica_ports::{Entropy, Identity, NodeShell as _, OutputLimits};
use basilica_probing_service::{Probing, ProbingSettings, ProverFile, Room};
use basilica_ssh::RusshShell;
use basilica_system::{OsEntropy, SystemClock};
use basilica_testkit::{Nodes, black_hole_server, garbage_server, locked_out_server};
use basilica_types::{Argv, Host, HostKey, Millis, NodeAddress, SshPublicKey};
use basilica_verification::GpuRules;
use zeroize::Zeroizing;

use super::cases::{Case, HOSTS, Other};
use super::proving::Still;

/// The account of a provider's node, and programs that every one has.
const FURNISH: &str = r#"
set -eu
sed -i '/^node:/d' /etc/passwd /etc/group /etc/shadow
echo 'node:x:4242:4242::/home/node:/bin/bash' >>/etc/passwd
echo 'node:x:4242:' >>/etc/group
echo 'node:*:19000:0:99999:7:::' >>/etc/shadow
for home in /home/node /root; do
  mkdir -p -m 700 "$home/.ssh"
  printf '%s miner\n%s other\n' "$KEY" "$OTHER" >>"$home/.ssh/authorized_keys"
  chmod 600 "$home/.ssh/authorized_keys"
done
chmod 755 /home/node
rm -f /usr/bin/docker /usr/bin/podman
chown -R 4242:4242 /home/node
"#;
pub(crate) const DOCKER: &str = r#"#!/bin/sh
case "$*" in
  *DockerRootDir*) echo /var/lib/nowhere ;;
  *Runtimes*) echo 'nvidia runc ' ;;
  'info --format'*) echo '{"ServerVersion":"27.5.1","Driver":"overlay2"}' ;;
esac
"#;
const NVIDIA_SMI: &str = r#"#!/bin/sh
case "$*" in
  *query-gpu*) echo '570.86.15, NVIDIA H100 80GB HBM3' ;;
  *) echo '| NVIDIA-SMI 570.86.15  Driver Version: 570.86.15  CUDA Version: 12.8 |' ;;
esac
"#;
/// As csh does: a command of one line runs, and one of several does not.
const CSH_LIKE: &str = r#"#!/bin/sh
case $2 in *"
"*) echo "Unmatched '''." >&2; exit 1 ;; esac
exec /bin/sh "$@"
"#;
const PATIENCE: Patience = Patience {
    login: Millis::from_secs(8),
    command: Millis::from_secs(8),
    check: Millis::from_secs(60),
    confirm: Millis::from_secs(60),
};

pub(crate) struct World {
    nodes: Nodes,
    miner: Identity,
    key: SshPublicKey,
    other: Identity,
    clock: SystemClock,
    pub(crate) settings: ProbingSettings,
    room: Room,
    pub(crate) prover: ProverFile,
    pub(crate) patience: Patience,
}

fn identity() -> (Identity, SshPublicKey) {
    let entropy: &dyn Entropy = &OsEntropy;
    let identity = Identity::Ephemeral(Zeroizing::new(entropy.array()));
    let key = RusshShell.public_key(&identity).unwrap();
    (identity, key)
}

impl World {
    /// A host for each case.
    pub(crate) async fn start() -> Self {
        let names: Vec<&str> = HOSTS.iter().map(|case| case.name).collect();
        Self::start_with(&names).await
    }

    pub(crate) async fn start_with(names: &[&str]) -> Self {
        let (miner, key) = identity();
        let (other, other_key) = identity();
        let program = |name: &str, text: &str| NodeFile {
            place: Place::Program(name.to_owned()),
            mode: 0o755,
            bytes: text.as_bytes().to_vec(),
        };
        let specs = |operator: &SshPublicKey| -> Vec<NodeSpec> {
            let spec = |name: &&str| {
                let mut spec = NodeSpec::new(*name, operator);
                let programs = [("docker", DOCKER), ("nvidia-smi", NVIDIA_SMI), ("csh-like", CSH_LIKE)];
                spec.files.extend(programs.map(|(name, text)| program(name, text)));
                spec
            };
            names.iter().map(spec).collect()
        };
        let nodes = Nodes::start_with(Isolation::Own, specs).await;
        for name in names {
            run(&nodes, name, FURNISH, &key, &other_key).await;
        }
        Self {
            nodes,
            miner,
            key,
            other,
            clock: SystemClock::new(),
            settings: ProbingSettings::default(),
            room: Room::default(),
            prover: ProverFile::new(Vec::new()),
            patience: PATIENCE,
        }
    }

    pub(crate) async fn break_host(&mut self, case: &Case) {
        run(&self.nodes, case.name, case.script, &self.key, &self.key).await;
        if case.sshd.is_empty() {
            return;
        }
        let path = PathBuf::from("/etc/ssh/basilica_sshd_config");
        let node = self.nodes.node_mut(case.name);
        let before = String::from_utf8(node.read(&path).unwrap()).unwrap();
        // The first of two equal settings counts, and what follows `Match` belongs to it.
        let name = case.sshd.split(' ').next().unwrap();
        let kept: String =
            before.lines().filter(|line| !line.starts_with(name)).map(|line| format!("{line}\n")).collect();
        let mode = if case.script.contains("chmod 644 /etc/ssh/") { 0o644 } else { 0o600 };
        node.write(&path, mode, format!("{kept}{}\n", case.sshd).as_bytes()).unwrap();
        node.stop().await.unwrap();
        node.start().await.unwrap();
    }

    fn address(&self, case: &Case) -> NodeAddress {
        let address = self.nodes.node(case.name).address();
        NodeAddress::new(case.user.parse().unwrap(), address.host.clone(), address.port()).unwrap()
    }

    fn known(&self, name: &str) -> Vec<HostKey> {
        vec![self.nodes.node(name).host_key().clone()]
    }

    fn other(&self, case: &Case) -> Option<OtherLogin> {
        let user = match case.other {
            Other::None => return None,
            Other::Root => "root",
            Other::Plain => "node",
        };
        Some(OtherLogin { user: user.parse().unwrap(), identity: self.other.clone() })
    }

    fn probing(&self) -> Probing<'_> {
        Probing {
            clock: &self.clock,
            entropy: &OsEntropy,
            nodes: &RusshShell,
            beacons: &Still,
            prover: &self.prover,
            settings: &self.settings,
            room: &self.room,
        }
    }

    /// A look with the whole check.
    pub(crate) async fn prove(&self, name: &str, gpus: &GpuRules) -> NodeSeen {
        let doctor = Doctor { proving: Proving::With(self.probing(), gpus), ..self.doctor(None) };
        let host = self.nodes.node(name).address().host.clone();
        let address = NodeAddress::new("node".parse().unwrap(), host, 22).unwrap();
        doctor.look(&address, &self.known(name)).await
    }

    /// Runs a script on a host, as root.
    pub(crate) async fn run(&self, name: &str, script: &str) {
        run(&self.nodes, name, script, &self.key, &self.key).await;
    }

    /// A file of a host, if it is there.
    pub(crate) fn file(&self, name: &str, path: &str) -> Option<String> {
        let bytes = self.nodes.node(name).read(path.as_ref()).ok()?;
        Some(String::from_utf8(bytes).unwrap())
    }

    fn doctor<'a>(&'a self, other: Option<&'a OtherLogin>) -> Doctor<'a> {
        Doctor {
            nodes: &RusshShell,
            clock: &self.clock,
            entropy: &OsEntropy,
            identity: &self.miner,
            key: Some(&self.key),
            other,
            proving: Proving::NotAsked(self.probing()),
            takes_private: true,
            patience: self.patience,
        }
    }

    pub(crate) async fn look(&self, case: &Case) -> NodeSeen {
        let other = self.other(case);
        self.doctor(other.as_ref()).look(&self.address(case), &self.known(case.name)).await
    }

    pub(crate) async fn fix(&self, case: &Case, findings: &[Finding]) -> Fixed {
        let other = self.other(case);
        self.doctor(other.as_ref()).fix(&self.address(case), &self.known(case.name), findings, |_| true).await
    }

    /// What is found where nobody answers as an sshd does, if it is something else than it should be.
    pub(crate) async fn addresses_without_sshd(&mut self) -> Vec<String> {
        let gateway = self.nodes.gateway().expect("hosts of their own");
        run(
            &self.nodes,
            "dropping",
            &format!("(sleep 1; ip route add blackhole {gateway}/32) >/dev/null 2>&1 </dev/null &"),
            &self.key,
            &self.key,
        )
        .await;
        let dropping = self.nodes.node("dropping").address().to_string();
        let (_, dropping) = dropping.split_once('@').unwrap();
        // Its answers to the command that cuts it off are lost, too. A busy machine may take a second for a connection that works.
        let tried = || tokio::net::TcpStream::connect(dropping);
        while tokio::time::timeout(std::time::Duration::from_secs(4), tried()).await.is_ok() {}
        self.nodes.node_mut("gone").stop().await.unwrap();
        self.nodes.node_mut("hung").hang().await.unwrap();
        let changed = self.nodes.node("plain").host_key().clone();
        self.nodes.node_mut("plain").change_host_key().await.unwrap();
        let (locked, silent, garbage) =
            (locked_out_server().await, black_hole_server().await, garbage_server().await);
        let at = |host: &str| {
            NodeAddress::new("node".parse().unwrap(), host.parse::<Host>().unwrap(), 22).unwrap()
        };
        let of = |name: &str| self.nodes.node(name).address().clone();
        let cases: BTreeMap<&str, (NodeAddress, Vec<HostKey>)> = [
            ("sshd-locks-out", (locked.address().clone(), Vec::new())),
            ("sshd-silent", (silent.address().clone(), Vec::new())),
            ("not-ssh", (garbage.address().clone(), Vec::new())),
            ("port-closed", (of("gone"), Vec::new())),
            ("port-filtered", (of("dropping"), Vec::new())),
            ("host-key-changed", (of("plain"), vec![changed])),
            ("host-unreachable", (at("203.0.113.1"), Vec::new())),
            ("address-ipv6-only", (at("[2001:db8::1]"), Vec::new())),
            ("address-unresolved", (at("gpu.invalid"), Vec::new())),
        ]
        .into();
        let mut failures = Vec::new();
        for (expected, (address, known)) in cases {
            let found = judge(&self.doctor(None).look(&address, &known).await);
            // That it is IPv6 is told beside whatever else.
            if found.first().map(|finding| finding.code.as_str()) != Some(expected)
                || super::wrong(&found).len() != 1
            {
                failures.push(format!("{expected}: {found:#?}"));
            }
        }
        let hung = judge(&self.doctor(None).look(&of("hung"), &self.known("hung")).await);
        if super::wrong(&hung) != ["sshd-silent"] {
            failures.push(format!("hung: {hung:#?}"));
        }
        failures
    }
}

/// Runs a script as root, to whom another key than the doctor's is known.
async fn run(nodes: &Nodes, name: &str, script: &str, key: &SshPublicKey, other: &SshPublicKey) {
    let whole = format!("KEY='{key}'; OTHER='{other}'\n{script}");
    let shell = nodes.shell(name).await;
    let command = Argv::new(["sh", "-c", whole.as_str()]).unwrap();
    let limits = OutputLimits { deadline: Millis::from_secs(20), stdout: 4096, stderr: 4096 };
    let output = shell.run(&command, b"", limits).await.unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    shell.close().await;
}
