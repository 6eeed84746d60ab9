//! Against servers that speak SSH well and mean ill; real sshd is met in `dev/testkit`.

mod password;

use std::sync::Arc;

use basilica_ports::{
    AddressPolicy, Dial, HostKeyPolicy, Identity, NodeShell as _, OutputLimits, Shell, ShellError,
};
use basilica_ssh::RusshShell;
use basilica_types::{Argv, Millis};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey, run_stream};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

const LIMITS: OutputLimits = OutputLimits { deadline: Millis::from_secs(10), stdout: 1 << 20, stderr: 4096 };

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Opens a channel towards the client for every command.
    OpensChannels,
    /// Ends a command without telling how.
    Mute,
    /// Lets nobody in, and offers no other way.
    LetsNobodyIn,
    /// Takes a key, and asks for a password besides.
    WantsMore,
}

struct Server {
    manner: Manner,
    /// Tells whether the client accepted a channel.
    accepted: mpsc::Sender<bool>,
    opening: JoinSet<()>,
    // Kept so that commands stay open.
    channels: Vec<Channel<Msg>>,
}

impl Handler for Server {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(match self.manner {
            Manner::LetsNobodyIn => {
                Auth::Reject { proceed_with_methods: Some(MethodSet::empty()), partial_success: false }
            }
            Manner::WantsMore => Auth::Reject {
                proceed_with_methods: Some(MethodSet::from(&[MethodKind::Password][..])),
                partial_success: true,
            },
            _ => Auth::Accept,
        })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.push(channel);
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(id)?;
        if self.manner == Manner::Mute {
            return session.close(id);
        }
        let (handle, accepted) = (session.handle(), self.accepted.clone());
        self.opening.spawn(async move {
            let opened = handle.channel_open_forwarded_tcpip("node", 1, "node", 2).await;
            // The test may have seen enough.
            let _ = accepted.send(opened.is_ok()).await;
        });
        Ok(())
    }
}

/// A server for one connection, how to dial it, and what it found out.
async fn server(manner: Manner) -> (JoinSet<()>, Dial, mpsc::Receiver<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on loopback");
    let port = listener.local_addr().expect("a bound socket").port();
    let (accepted, findings) = mpsc::channel(16);
    let host_key = PrivateKey::from(Ed25519Keypair::from_seed(&[3; 32]));
    let config = Arc::new(Config {
        keys: vec![host_key],
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: std::time::Duration::ZERO,
        ..Config::default()
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (stream, _) = listener.accept().await.expect("the test connects");
        let handler = Server { manner, accepted, opening: JoinSet::new(), channels: Vec::new() };
        if let Ok(session) = run_stream(config, stream, handler).await {
            // The client's leaving is no failure of the test.
            let _ = session.await;
        }
    });
    let dial = Dial {
        address: format!("root@127.0.0.1:{port}").parse().expect("a node address"),
        identity: Identity::Ephemeral(Zeroizing::new([1; 32])),
        host_keys: HostKeyPolicy::Learn,
        addresses: AddressPolicy::Any,
        deadline: Millis::from_secs(10),
    };
    (tasks, dial, findings)
}

#[tokio::test]
async fn a_server_that_opens_channels_towards_us_loses_the_connection() {
    let (_tasks, dial, mut accepted) = server(Manner::OpensChannels).await;
    let shell = RusshShell.connect(&dial).await.unwrap();
    let outcome = shell.run(&Argv::new(["true"]).unwrap(), b"", LIMITS).await;
    assert!(matches!(outcome, Err(ShellError::Lost { .. })), "{outcome:?}");
    assert_ne!(accepted.recv().await, Some(true));
    assert!(!shell.is_open());
}

#[tokio::test]
async fn a_command_that_ends_without_a_status_is_unknown_not_successful() {
    let (_tasks, dial, _accepted) = server(Manner::Mute).await;
    let shell: Arc<dyn Shell> = RusshShell.connect(&dial).await.unwrap();
    let output = shell.run(&Argv::new(["true"]).unwrap(), b"", LIMITS).await.unwrap();
    assert!(!output.status.success());
}

#[tokio::test]
async fn a_refusal_without_alternatives_is_a_denial_not_a_lost_connection() {
    assert!(!wants_more(Manner::LetsNobodyIn).await);
}

#[tokio::test]
async fn a_key_that_is_accepted_and_not_enough_is_told_from_one_that_is_refused() {
    assert!(wants_more(Manner::WantsMore).await);
}

/// What a denial says.
async fn wants_more(manner: Manner) -> bool {
    let (_tasks, dial, _accepted) = server(manner).await;
    match RusshShell.connect(&dial).await {
        Err(ShellError::Denied { wants_more, .. }) => wants_more,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("let in"),
    }
}
