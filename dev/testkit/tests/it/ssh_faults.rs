//! What goes wrong between us and a node, each with an error of its own.

use basilica_ports::{
    AddressPolicy, Dial, HostKeyPolicy, Identity, NodeShell as _, OutputLimits, ShellError,
};
use basilica_ssh::{NotSsh, RusshShell};
use basilica_testkit::{
    HostileServer, Nodes, black_hole_server, eventually, flooding_server, garbage_server, locked_out_server,
};
use basilica_types::{Argv, Host, Millis, NodeAddress};
use zeroize::Zeroizing;

const LIMITS: OutputLimits = OutputLimits { deadline: Millis::from_secs(30), stdout: 1 << 20, stderr: 4096 };

async fn refusal(dial: &Dial) -> ShellError {
    match RusshShell.connect(dial).await {
        Ok(_) => panic!("{} let us in", dial.address),
        Err(error) => error,
    }
}

fn stranger(address: NodeAddress) -> Dial {
    Dial {
        address,
        identity: Identity::Ephemeral(Zeroizing::new([7; 32])),
        host_keys: HostKeyPolicy::Learn,
        addresses: AddressPolicy::Any,
        deadline: Millis::from_secs(10),
    }
}

fn at(server: &HostileServer) -> Dial {
    stranger(server.address().clone())
}

#[tokio::test]
async fn a_key_that_the_node_does_not_know_is_denied() {
    let nodes = Nodes::start(&["gpu-1"]).await;
    let error = refusal(&Dial {
        identity: stranger(nodes.node("gpu-1").address().clone()).identity,
        ..nodes.dial("gpu-1")
    })
    .await;
    assert!(
        matches!(&error, ShellError::Denied { address, .. } if address == nodes.node("gpu-1").address()),
        "{error:?}"
    );
    // The seed's words, which users search their logs for.
    assert!(error.to_string().ends_with("Permission denied (publickey)"));
}

#[tokio::test]
async fn a_changed_host_key_is_refused_and_shown() {
    let mut nodes = Nodes::start(&["gpu-1"]).await;
    let before = nodes.dial("gpu-1");
    let old = nodes.node("gpu-1").host_key().clone();
    nodes.node_mut("gpu-1").change_host_key().await.unwrap();
    let new = nodes.node("gpu-1").host_key().clone();
    match refusal(&before).await {
        ShellError::HostKey { found, key: Some(key), .. } => {
            assert_eq!(found, new.fingerprint());
            assert_ne!(found, old.fingerprint());
            assert_eq!(*key, new);
        }
        other => panic!("{other:?}"),
    }
    // Approved: either key is believed.
    let approved = Dial { host_keys: HostKeyPolicy::Pinned(vec![old, new.clone()]), ..before.clone() };
    assert_eq!(RusshShell.connect(&approved).await.unwrap().host_key(), &new);
    let learning = Dial { host_keys: HostKeyPolicy::Learn, ..before.clone() };
    assert_eq!(RusshShell.connect(&learning).await.unwrap().host_key(), &new);
    let none = Dial { host_keys: HostKeyPolicy::Pinned(Vec::new()), ..before };
    assert!(matches!(refusal(&none).await, ShellError::HostKey { .. }));
}

#[tokio::test]
async fn a_hung_node_costs_a_deadline_and_nothing_more() {
    let mut nodes = Nodes::start(&["gpu-1", "gpu-2"]).await;
    let shell = nodes.shell("gpu-1").await;
    nodes.node_mut("gpu-1").hang().await.unwrap();
    let dial = Dial { deadline: Millis(400), ..nodes.dial("gpu-1") };
    let error = refusal(&dial).await;
    assert!(matches!(error, ShellError::Deadline { limit: Millis(400), .. }), "{error:?}");
    let limits = OutputLimits { deadline: Millis(400), ..LIMITS };
    let error = shell.run(&Argv::new(["true"]).unwrap(), b"", limits).await.unwrap_err();
    assert!(matches!(error, ShellError::Deadline { .. }), "{error:?}");
    assert!(nodes.shell("gpu-2").await.is_open());
    nodes.node_mut("gpu-1").resume().await.unwrap();
    let output = shell.run(&Argv::new(["echo", "back"]).unwrap(), b"", LIMITS).await.unwrap();
    assert_eq!(output.stdout, b"back\n");
}

#[tokio::test]
async fn a_connection_that_drops_during_a_command_is_lost() {
    let mut nodes = Nodes::start(&["gpu-1"]).await;
    let shell = nodes.shell("gpu-1").await;
    let mut process = shell.start(&Argv::new(["cat"]).unwrap()).await.unwrap();
    process.send(b"x").await.unwrap();
    assert_eq!(process.receive().await.unwrap().unwrap(), b"x");
    nodes.node_mut("gpu-1").stop().await.unwrap();
    let error = process.receive().await.unwrap_err();
    assert!(matches!(error, ShellError::Lost { .. }), "{error:?}");
    eventually("the connection is known to be closed", || !shell.is_open()).await;
    let error = shell.run(&Argv::new(["true"]).unwrap(), b"", LIMITS).await.unwrap_err();
    assert!(matches!(error, ShellError::Lost { .. }), "{error:?}");
    let error = refusal(&nodes.dial("gpu-1")).await;
    assert!(matches!(error, ShellError::Connect { .. }), "{error:?}");
    nodes.node_mut("gpu-1").start().await.unwrap();
    assert!(nodes.shell("gpu-1").await.is_open());
}

#[tokio::test]
async fn an_upload_to_a_node_that_stops_reading_ends_at_its_deadline() {
    let mut nodes = Nodes::start(&["gpu-1"]).await;
    let shell = nodes.shell("gpu-1").await;
    let mut process = shell.start(&Argv::new(["cat"]).unwrap()).await.unwrap();
    process.send(b"x").await.unwrap();
    assert_eq!(process.receive().await.unwrap().unwrap(), b"x");
    nodes.node_mut("gpu-1").hang().await.unwrap();
    let limits = OutputLimits { deadline: Millis(500), ..LIMITS };
    let error = shell.run(&Argv::new(["cat"]).unwrap(), &vec![0; 32 << 20], limits).await.unwrap_err();
    assert!(matches!(error, ShellError::Deadline { .. }), "{error:?}");
    drop(process);
    shell.close().await;
    eventually("the connection is closed", || !shell.is_open()).await;
}

#[tokio::test]
async fn a_lockout_is_not_a_dead_node() {
    let server = locked_out_server().await;
    for _ in 0..5 {
        let error = refusal(&at(&server)).await;
        assert!(
            matches!(&error, ShellError::LockedOut { address } if address == server.address()),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn servers_that_do_not_speak_ssh_are_told_as_such() {
    for server in [garbage_server().await, flooding_server().await] {
        match refusal(&at(&server)).await {
            ShellError::Connect { source, .. } => assert!(source.is::<NotSsh>(), "{source:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_never_speaks_costs_a_deadline() {
    let server = black_hole_server().await;
    let error = refusal(&Dial { deadline: Millis(300), ..at(&server) }).await;
    assert!(
        matches!(error, ShellError::Deadline { step: "the SSH key exchange", limit: Millis(300) }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_closed_port_is_a_failed_connect() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let address = format!("root@127.0.0.1:{port}").parse().unwrap();
    let error = refusal(&stranger(address)).await;
    assert!(matches!(error, ShellError::Connect { .. }), "{error:?}");
}

#[tokio::test]
async fn a_stranger_cannot_send_us_into_private_networks() {
    // A server that would answer: only the policy keeps us away.
    let server = locked_out_server().await;
    let port = server.address().port();
    for host in ["127.0.0.1", "localhost", "LocalHost.", "10.91.0.10", "169.254.169.254", "192.168.1.1"] {
        let host: Host = host.parse().unwrap();
        let address = NodeAddress::new("root".parse().unwrap(), host, port).unwrap();
        let dial = Dial { addresses: AddressPolicy::PublicOnly, ..stranger(address.clone()) };
        match refusal(&dial).await {
            ShellError::ForbiddenAddress { address: named, ip } => {
                assert_eq!(named, address);
                assert!(!Host::is_public_address(ip));
            }
            other => panic!("{address}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_name_without_an_address_is_a_failed_resolution() {
    let address = "root@no-such-host.invalid:22".parse().unwrap();
    let error = refusal(&Dial { addresses: AddressPolicy::PublicOnly, ..stranger(address) }).await;
    assert!(matches!(error, ShellError::Resolve { .. } | ShellError::Deadline { .. }), "{error:?}");
}

#[tokio::test]
async fn a_name_is_dialled_at_the_address_that_it_resolves_to() {
    let server = locked_out_server().await;
    let address = format!("root@localhost:{}", server.address().port()).parse().unwrap();
    let error = refusal(&stranger(address)).await;
    assert!(matches!(error, ShellError::LockedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn an_unusable_key_file_is_named() {
    let path = std::path::PathBuf::from("/no/such/key");
    let address = "root@127.0.0.1:22".parse().unwrap();
    let error = refusal(&Dial { identity: Identity::File(path.clone()), ..stranger(address) }).await;
    assert!(matches!(&error, ShellError::Identity { path: named, .. } if *named == path), "{error:?}");
}
