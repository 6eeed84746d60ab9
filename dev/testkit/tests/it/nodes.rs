//! The nodes themselves: separate, obedient, and gone when their owner is.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use basilica_localnet::nodes::{
    Isolation, Lan, NodeFile, NodeHosts, NodeSpec, NodesError, Place, Reach, Station,
};
use basilica_ports::OutputLimits;
use basilica_testkit::{Nodes, eventually};
use basilica_types::{Argv, Millis};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

const LIMITS: OutputLimits = OutputLimits { deadline: Millis::from_secs(30), stdout: 1 << 20, stderr: 4096 };

async fn says(nodes: &Nodes, name: &str, script: &'static str) -> String {
    let argv = Argv::script(script, [""; 0]).expect("a short script");
    let output = nodes.shell(name).await.run(&argv, b"", LIMITS).await.expect("the script runs");
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn nodes_do_not_see_each_others_files_keys_or_processes() {
    let nodes = Nodes::start(&["gpu-1", "gpu-2"]).await;
    assert_ne!(nodes.node("gpu-1").host_key(), nodes.node("gpu-2").host_key());
    assert_ne!(nodes.node("gpu-1").address(), nodes.node("gpu-2").address());
    says(&nodes, "gpu-1", "echo one >\"$HOME/mark\"").await;
    assert_eq!(says(&nodes, "gpu-1", "cat \"$HOME/mark\"").await, "one\n");
    assert_eq!(says(&nodes, "gpu-2", "cat \"$HOME/mark\"").await, "");
    let mark = nodes.node("gpu-1").home().join("mark");
    assert_eq!(nodes.node("gpu-1").read(&mark).unwrap(), b"one\n");
    if nodes.node("gpu-1").is_own_host() {
        says(&nodes, "gpu-1", "echo one >/usr/local/mark; echo one >/tmp/basilica-mark").await;
        assert_eq!(says(&nodes, "gpu-2", "cat /usr/local/mark /tmp/basilica-mark").await, "");
        assert!(!Path::new("/usr/local/mark").exists() && !Path::new("/tmp/basilica-mark").exists());
        assert_eq!(says(&nodes, "gpu-1", "hostname; id -un; echo \"$HOME\"").await, "gpu-1\nroot\n/root\n");
    }
}

#[tokio::test]
async fn files_of_a_spec_are_there_at_the_first_login() {
    let program = NodeFile {
        place: Place::Program("nvidia-smi".to_owned()),
        mode: 0o755,
        bytes: b"#!/bin/sh\necho a GPU\n".to_vec(),
    };
    let note = NodeFile { place: Place::Home("notes/a".into()), mode: 0o640, bytes: b"text".to_vec() };
    for isolation in [Isolation::Best, Isolation::Shared] {
        let nodes = Nodes::start_with(isolation, |key| {
            vec![NodeSpec { files: vec![program.clone(), note.clone()], ..NodeSpec::new("gpu-1", key) }]
        })
        .await;
        assert_eq!(says(&nodes, "gpu-1", "nvidia-smi").await, "a GPU\n");
        assert_eq!(
            says(&nodes, "gpu-1", "stat -c %a \"$HOME/notes/a\"; cat \"$HOME/notes/a\"").await,
            "640\ntext"
        );
    }
}

#[tokio::test]
async fn without_namespaces_a_login_sees_only_the_nodes_own_home() {
    let nodes = Nodes::start_as(Isolation::Shared, &["gpu-1", "gpu-2"]).await;
    for node in nodes.all() {
        assert!(!node.is_own_host());
        let home = says(&nodes, node.name(), "printf %s \"$HOME\"").await;
        assert_eq!(Path::new(&home), node.home());
        assert!(home.contains("basilica-node-"));
        assert!(node.read(&node.home().join(".ssh/authorized_keys")).is_ok());
        // A file of the machine is none of the node's.
        assert!(node.read(Path::new("/etc/passwd")).is_err());
        let outside = NodeFile { place: Place::Anywhere("/etc/x".into()), mode: 0o600, bytes: Vec::new() };
        assert!(node.place(&outside).is_err());
    }
    let homes: Vec<_> = nodes.all().iter().map(|node| node.home().to_owned()).collect();
    drop(nodes);
    assert!(homes.iter().all(|home| !home.exists()));
}

#[tokio::test]
async fn without_namespaces_nodes_hang_stop_and_change_keys_too() {
    let mut nodes = Nodes::start_as(Isolation::Shared, &["gpu-1"]).await;
    let shell = nodes.shell("gpu-1").await;
    nodes.node_mut("gpu-1").hang().await.unwrap();
    let limits = OutputLimits { deadline: Millis(300), ..LIMITS };
    assert!(shell.run(&Argv::new(["true"]).unwrap(), b"", limits).await.is_err());
    nodes.node_mut("gpu-1").resume().await.unwrap();
    assert_eq!(says(&nodes, "gpu-1", "echo back").await, "back\n");
    nodes.node_mut("gpu-1").stop().await.unwrap();
    eventually("the stop breaks connections", || !shell.is_open()).await;
    let key = nodes.node("gpu-1").host_key().clone();
    nodes.node_mut("gpu-1").start().await.unwrap();
    nodes.node_mut("gpu-1").change_host_key().await.unwrap();
    assert_ne!(nodes.node("gpu-1").host_key(), &key);
    assert_eq!(says(&nodes, "gpu-1", "echo new").await, "new\n");
}

#[tokio::test]
async fn a_killed_node_is_gone_and_the_others_are_not() {
    let mut nodes = Nodes::start(&["gpu-1", "gpu-2"]).await;
    let shell = nodes.shell("gpu-1").await;
    nodes.node_mut("gpu-1").kill().await;
    assert!(matches!(nodes.node_mut("gpu-1").start().await, Err(NodesError::Gone { .. })));
    assert!(nodes.node("gpu-1").processes().is_empty());
    assert_eq!(says(&nodes, "gpu-2", "echo fine").await, "fine\n");
    drop(shell);
}

#[tokio::test]
async fn names_that_are_no_host_names_are_refused() {
    for name in ["", "a b", "A", "x;id", "../x"] {
        let spec = NodeSpec { name: name.to_owned(), authorized_keys: Vec::new(), files: Vec::new() };
        let refused = NodeHosts::start(Isolation::Best, Reach::Entrants, vec![spec]).await;
        assert!(matches!(refused, Err(NodesError::Name { .. })), "{name:?}");
    }
}

/// Starts nodes in a process of their own (in a network of its own, where we may), kills that and looks for remains.
#[tokio::test]
async fn nothing_stays_when_the_owner_is_killed() {
    let root = we_are_root();
    let kind = if root { "own" } else { "shared" };
    let program = env!("CARGO_BIN_EXE_testkit-nodes");
    let mut command = if root {
        let mut command = Command::new("unshare");
        command.args(["--net", "--", program]);
        command
    } else {
        Command::new(program)
    };
    let mut owner = command
        .args(["2", "-", kind])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    while lines.next_line().await.unwrap().expect("the nodes start") != "ready" {}
    let family = descendants(owner.id().unwrap());
    let servers = family.iter().filter(|pid| comm(**pid) == "sshd").count();
    assert_eq!(servers, 2, "{family:?}");
    owner.start_kill().unwrap();
    owner.wait().await.unwrap();
    eventually("every process of the nodes ends", || {
        // A process that has ended but was not yet waited for has no command line.
        family.iter().all(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().is_empty())
    })
    .await;
}

fn we_are_root() -> bool {
    let metadata = std::fs::metadata("/proc/self").expect("/proc is mounted");
    std::os::unix::fs::MetadataExt::uid(&metadata) == 0
}

fn comm(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

fn descendants(root: u32) -> Vec<u32> {
    let mut family = Vec::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            next.extend(children.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
        }
        if pid != root {
            family.push(pid);
        }
    }
    family
}

/// Needs root.
#[tokio::test]
async fn a_cut_cable_loses_what_is_sent_and_tells_nobody() {
    let lan = Lan::start(Reach::Entrants).await.unwrap();
    lan.enter().unwrap();
    let mut station = Station::start(&lan, 0).await.unwrap();
    let listener = TcpListener::bind((lan.gateway(), 0)).unwrap();
    let here = listener.local_addr().unwrap();
    let soon = Duration::from_millis(300);
    let mut from = station.connect(here, soon).unwrap();
    let (mut to, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), station.ip());

    station.cut().await.unwrap();
    assert_eq!(station.connect(here, soon).unwrap_err().kind(), ErrorKind::TimedOut, "nobody refuses");
    from.write_all(b"late").unwrap();
    to.set_read_timeout(Some(soon)).unwrap();
    let mut read = [0; 4];
    assert_eq!(
        to.read(&mut read).unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "nothing comes, not even an end"
    );

    station.heal().await.unwrap();
    to.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    to.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"late", "the kernel sends it again until it is taken");
}
