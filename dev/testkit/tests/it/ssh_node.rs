//! Nodes that are servers of the test's own process, as our client meets them.

use std::sync::Arc;
use std::time::Duration;

use basilica_ports::{
    AddressPolicy, Dial, ExitStatus, HostKeyPolicy, Identity, NodeShell as _, Output, OutputLimits, Shell,
    ShellError,
};
use basilica_probing_service::{ProverFile, look};
use basilica_ssh::RusshShell;
use basilica_testkit::{Manner, SshNode, eventually};
use basilica_types::Millis;
use basilica_verification::ProbeRules;
use basilica_verification::probe::Seen;
use zeroize::Zeroizing;

const NONCE: [u8; 32] = [9; 32];

fn key(seed: u8) -> Identity {
    Identity::Ephemeral(Zeroizing::new([seed; 32]))
}

fn dial(node: &SshNode, seed: u8) -> Dial {
    Dial {
        address: node.address().clone(),
        identity: key(seed),
        host_keys: HostKeyPolicy::Pinned(vec![node.host_key().clone()]),
        addresses: AddressPolicy::Any,
        deadline: Millis::from_secs(20),
    }
}

/// A node of that manner, and a login there.
async fn entered(manner: Manner) -> (SshNode, Arc<dyn Shell>) {
    let node = SshNode::start(manner).await;
    node.admit(&RusshShell.public_key(&key(1)).expect("an ephemeral key has a public half"));
    let shell = RusshShell.connect(&dial(&node, 1)).await.expect("its key is admitted");
    (node, shell)
}

async fn look_at(shell: &dyn Shell, deadline: Millis) -> Result<Output, ShellError> {
    let command = look(&NONCE, &ProverFile::new(Vec::new()), &ProbeRules::default(), deadline);
    shell.run(&command, b"", OutputLimits { deadline, stdout: 128 * 1024, stderr: 4096 }).await
}

#[tokio::test]
async fn an_honest_node_shows_its_gpu_on_one_connection_and_a_slow_one_does_later() {
    for manner in [Manner::Honest, Manner::Slow(Duration::from_millis(50))] {
        let (node, shell) = entered(manner).await;
        for _ in 0..3 {
            let output = look_at(&*shell, Millis::from_secs(20)).await.unwrap();
            assert_eq!(output.status, ExitStatus::Code(0));
            let seen = Seen::parse(&output.stdout, &NONCE, true).unwrap();
            assert_eq!(seen.claims.unwrap().devices[0].uuid, node.gpu());
        }
        let met = node.met();
        assert_eq!((met.connections, met.logins, met.commands), (1, 1, 3));
    }
}

#[tokio::test]
async fn nonsense_is_no_look_and_what_never_ends_is_cut_off() {
    for manner in [Manner::Noise, Manner::Terminal] {
        let (_node, shell) = entered(manner).await;
        let output = look_at(&*shell, Millis::from_secs(20)).await.unwrap();
        assert!(Seen::parse(&output.stdout, &NONCE, true).is_err(), "{manner:?}");
    }
    let (_node, shell) = entered(Manner::Endless).await;
    let endless = look_at(&*shell, Millis::from_secs(20)).await;
    assert!(matches!(endless, Err(ShellError::TooMuchOutput { .. })), "{endless:?}");
    let silent = SshNode::start(Manner::BlackHole).await;
    let refused = RusshShell.connect(&Dial { deadline: Millis(200), ..dial(&silent, 1) }).await.err();
    assert!(matches!(refused, Some(ShellError::Deadline { .. })), "{refused:?}");
}

#[tokio::test]
async fn who_keeps_failing_is_shut_out_and_with_it_whoever_shares_its_address() {
    let (node, shell) = entered(Manner::Honest).await;
    // Penalties run down meanwhile: how many it takes depends on how fast they come.
    let mut failures = 0;
    loop {
        match RusshShell.connect(&dial(&node, 2)).await.err() {
            Some(ShellError::LockedOut { .. }) => break,
            Some(ShellError::Denied { .. }) => failures += 1,
            other => panic!("{other:?}"),
        }
        // The server takes note when a connection has ended.
        eventually("the end is noted", || node.met().denied == failures).await;
    }
    assert!(failures >= 3, "{failures}");
    let refused = RusshShell.connect(&dial(&node, 1)).await.err();
    assert!(matches!(refused, Some(ShellError::LockedOut { .. })), "{refused:?}");
    // Only new connections are.
    assert!(look_at(&*shell, Millis::from_secs(20)).await.is_ok());
    assert_eq!(node.met().shut_out, 2);
}
