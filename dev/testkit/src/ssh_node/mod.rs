//! GPU nodes as SSH servers of this process: hundreds of them cost no process and no disk.
//!
//! Each is a server of its own, with a port, a host key and an account that lets in the keys it was given. It speaks the protocol in full and answers
//! a validator's light check and the prover's `claims` (see `answers`) as a node with one simulated GPU does; no proof can be had
//! from it. Some behave as nodes do that trouble validators ([`Manner`]). All of them count failed logins against
//! their source as OpenSSH since 9.8 does (see `penalties`), and say the same words when they shut it out.

mod answers;
mod penalties;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use basilica_ports::Entropy;
use basilica_system::OsEntropy;
use basilica_types::{GpuUuid, Host, HostKey, NodeAddress, SshPublicKey, Username};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::server::{self, Auth, ChannelOpenHandle, Handle, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::penalties::{Failure, Penalties};

/// How a node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As it should, at once.
    Honest,
    /// As it should, after so long.
    Slow(Duration),
    /// To every command with bytes that mean nothing.
    Noise,
    /// To every command with bytes that never end.
    Endless,
    /// To every command with what would clear a terminal and pass for a prompt there.
    Terminal,
    /// Accepts connections and never says a word.
    BlackHole,
}

/// What a node met since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// TCP connections.
    pub connections: u64,
    /// Connections that logged in.
    pub logins: u64,
    /// Connections whose logins were all denied.
    pub denied: u64,
    /// Connections that were shut out for penalties.
    pub shut_out: u64,
    /// Commands.
    pub commands: u64,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    logins: AtomicU64,
    denied: AtomicU64,
    shut_out: AtomicU64,
    commands: AtomicU64,
}

#[derive(Debug)]
struct Node {
    user: Username,
    manner: Manner,
    claims: Vec<u8>,
    admitted: Mutex<BTreeSet<Vec<u8>>>,
    penalties: Mutex<Penalties>,
    counts: Counts,
}

/// A node; it ends when dropped.
#[derive(Debug)]
pub struct SshNode {
    address: NodeAddress,
    host_key: HostKey,
    gpu: GpuUuid,
    node: Arc<Node>,
    // Dropping it aborts the accept loop, which holds the connections.
    _accepting: JoinSet<()>,
}

impl SshNode {
    /// A node on a free port of loopback, in the network of the calling thread, with one simulated H100.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start(manner: Manner) -> Self {
        let entropy: &dyn Entropy = &OsEntropy;
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&entropy.array()));
        let blob = key.public_key().to_bytes().expect("a key has a blob");
        let host_key = SshPublicKey::from_blob(&blob).expect("an Ed25519 key");
        let gpu = GpuUuid::from_bytes(entropy.array());
        let class = "simulated-H100".parse().expect("a class");
        let node = Arc::new(Node {
            user: "root".parse().expect("a valid user name"),
            manner,
            claims: answers::claims(gpu, &class),
            admitted: Mutex::default(),
            penalties: Mutex::default(),
            counts: Counts::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on loopback");
        let local = listener.local_addr().expect("the address of a bound socket");
        let address = NodeAddress::new(node.user.clone(), Host::Ip(local.ip()), local.port())
            .expect("a bound port is not 0");
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&node), Arc::new(config(key))));
        Self { address, host_key, gpu, node, _accepting: accepting }
    }

    /// How to log in.
    pub const fn address(&self) -> &NodeAddress {
        &self.address
    }

    /// What it shows.
    pub const fn host_key(&self) -> &HostKey {
        &self.host_key
    }

    /// The one GPU that it claims.
    pub const fn gpu(&self) -> GpuUuid {
        self.gpu
    }

    /// How it answers.
    pub fn manner(&self) -> Manner {
        self.node.manner
    }

    /// Lets a key in from now on.
    pub fn admit(&self, key: &SshPublicKey) {
        locked(&self.node.admitted).insert(key.blob().to_vec());
    }

    /// What it met until now.
    pub fn met(&self) -> Met {
        let Counts { connections, logins, denied, shut_out, commands } = &self.node.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Met {
            connections: read(connections),
            logins: read(logins),
            denied: read(denied),
            shut_out: read(shut_out),
            commands: read(commands),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config(key: PrivateKey) -> server::Config {
    let mut methods = MethodSet::empty();
    methods.push(MethodKind::PublicKey);
    server::Config {
        methods,
        keys: vec![key],
        auth_rejection_time: Duration::ZERO,
        max_auth_attempts: 6,
        inactivity_timeout: None,
        channel_buffer_size: 8,
        nodelay: true,
        ..server::Config::default()
    }
}

async fn accept(listener: TcpListener, node: Arc<Node>, config: Arc<server::Config>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // An accept that fails ends the server, and the test with it, by a refused connection.
                let Ok((stream, from)) = accepted else { return };
                node.counts.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(serve(stream, from, Arc::clone(&node), Arc::clone(&config)));
            }
            // Ended ones are let go of.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut stream: TcpStream, from: SocketAddr, node: Arc<Node>, config: Arc<server::Config>) {
    if node.manner == Manner::BlackHole {
        let mut ignored = [0u8; 1024];
        while stream.read(&mut ignored).await.is_ok_and(|length| length > 0) {}
        return;
    }
    if locked(&node.penalties).shut_out(from.ip(), Instant::now()) {
        node.counts.shut_out.fetch_add(1, Ordering::Relaxed);
        // Its end of the connection is its own business.
        let _ = stream.write_all(b"Not allowed at this time\r\n").await;
        return;
    }
    let login = Arc::new(Login::default());
    let (peer, answering) = (Peer { node: Arc::clone(&node), login: Arc::clone(&login) }, JoinSet::new());
    // However it ends, what counts is whether somebody logged in.
    if let Ok(session) = server::run_stream(config, stream, Served { peer, answering }).await {
        let _ = session.await;
    }
    login.ended(&node, from.ip());
}

/// How far a connection came.
#[derive(Debug, Default)]
struct Login {
    tried: AtomicBool,
    succeeded: AtomicBool,
}

impl Login {
    fn ended(&self, node: &Node, source: IpAddr) {
        if self.succeeded.load(Ordering::Relaxed) {
            return;
        }
        let failure = if self.tried.load(Ordering::Relaxed) {
            node.counts.denied.fetch_add(1, Ordering::Relaxed);
            Failure::Denied
        } else {
            Failure::NotTried
        };
        locked(&node.penalties).add(source, failure, Instant::now());
    }
}

struct Peer {
    node: Arc<Node>,
    login: Arc<Login>,
}

impl Peer {
    fn judge(&self, user: &str, key: &russh::keys::PublicKey) -> Auth {
        self.login.tried.store(true, Ordering::Relaxed);
        let known = key.to_bytes().is_ok_and(|blob| locked(&self.node.admitted).contains(&blob));
        if known && user == self.node.user.as_str() { Auth::Accept } else { Auth::reject() }
    }
}

/// One connection.
struct Served {
    peer: Peer,
    /// Answers that take their time.
    answering: JoinSet<()>,
}

impl server::Handler for Served {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(self.peer.judge(user, offer.public_key))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let auth = self.peer.judge(user, key.public_key);
        if auth == Auth::Accept {
            self.peer.login.succeeded.store(true, Ordering::Relaxed);
            self.peer.node.counts.logins.fetch_add(1, Ordering::Relaxed);
        }
        Ok(auth)
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let node = &self.peer.node;
        node.counts.commands.fetch_add(1, Ordering::Relaxed);
        session.channel_success(channel)?;
        let honest = || answers::to(&String::from_utf8_lossy(command), &node.claims);
        while self.answering.try_join_next().is_some() {}
        match node.manner {
            Manner::Slow(pause) => {
                let (handle, answer) = (session.handle(), honest());
                self.answering.spawn(async move {
                    tokio::time::sleep(pause).await;
                    // A client that went away needs no answer.
                    let _ = say(&handle, channel, answer).await;
                });
                return Ok(());
            }
            Manner::Endless => {
                let handle = session.handle();
                self.answering
                    .spawn(async move { while handle.data(channel, vec![b'x'; 16 * 1024]).await.is_ok() {} });
                return Ok(());
            }
            Manner::Honest | Manner::BlackHole => {
                let answer = honest();
                session.data(channel, answer.stdout)?;
                session.exit_status_request(channel, answer.status)?;
            }
            Manner::Noise => {
                let entropy: &dyn Entropy = &OsEntropy;
                session.data(channel, entropy.array::<4096>().to_vec())?;
                session.exit_status_request(channel, 0)?;
            }
            Manner::Terminal => {
                session.data(
                    channel,
                    &b"\x1b[2J\x1b[H\x1b]0;root@validator\x07nonce 0 64\r\n\x08\x08\x1b[31m# "[..],
                )?;
                session.exit_status_request(channel, 0)?;
            }
        }
        session.eof(channel)?;
        session.close(channel)
    }
}

async fn say(handle: &Handle, channel: ChannelId, answer: answers::Answer) -> Result<(), ()> {
    handle.data(channel, answer.stdout).await.map_err(|_| ())?;
    handle.exit_status_request(channel, answer.status).await?;
    handle.eof(channel).await?;
    handle.close(channel).await
}
