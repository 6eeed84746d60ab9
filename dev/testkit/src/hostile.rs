//! Servers on loopback that answer as no healthy node does.
//!
//! They listen in the network of the thread that starts them: where a test uses [`Nodes`](crate::Nodes) as well, start
//! those first.

use std::net::SocketAddr;

use basilica_types::{Host, NodeAddress};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A misbehaving server; it ends when dropped.
#[derive(Debug)]
pub struct HostileServer {
    address: NodeAddress,
    // Dropping it aborts the accept loop, which holds the connections.
    _accepting: JoinSet<()>,
}

impl HostileServer {
    /// Where it listens, as a node's address.
    pub const fn address(&self) -> &NodeAddress {
        &self.address
    }

    async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on loopback");
        let local = listener.local_addr().expect("the address of a bound socket");
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            // An accept that fails ends the server, and the test with it, by a refused connection.
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, manner));
            }
        });
        Self { address: node_address(local), _accepting: accepting }
    }
}

fn node_address(socket: SocketAddr) -> NodeAddress {
    let user = "root".parse().expect("a valid user name");
    NodeAddress::new(user, Host::Ip(socket.ip()), socket.port()).expect("a bound port is not 0")
}

#[derive(Clone, Copy, Debug)]
enum Manner {
    LockedOut,
    BlackHole,
    Garbage,
    Flood,
}

async fn serve(mut stream: TcpStream, manner: Manner) {
    // Write errors mean that the client went away, which is its right.
    match manner {
        Manner::LockedOut => {
            let _ = stream.write_all(b"Not allowed at this time\r\n").await;
        }
        Manner::BlackHole => {
            let mut ignored = [0u8; 1024];
            while stream.read(&mut ignored).await.is_ok_and(|length| length > 0) {}
            // Not even a close.
            std::future::pending::<()>().await;
        }
        Manner::Garbage => {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
        }
        Manner::Flood => {
            let page = [b'x'; 16 * 1024];
            while stream.write_all(&page).await.is_ok() {}
        }
    }
}

/// Answers as OpenSSH >= 9.8 answers a client that its `PerSourcePenalties` shut out (RULES R25).
pub async fn locked_out_server() -> HostileServer {
    HostileServer::start(Manner::LockedOut).await
}

/// Accepts, reads and never says a word.
pub async fn black_hole_server() -> HostileServer {
    HostileServer::start(Manner::BlackHole).await
}

/// Speaks, but not SSH.
pub async fn garbage_server() -> HostileServer {
    HostileServer::start(Manner::Garbage).await
}

/// Sends without end and without a line break.
pub async fn flooding_server() -> HostileServer {
    HostileServer::start(Manner::Flood).await
}
