//! Strangers who want others to wait: from addresses of their own on loopback, for as long as they live.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use basilica_wire::discovery::AuthRequest;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Calls of one flood at the same time.
const CALLS: u8 = 32;
/// Addresses that a flood of calls comes from, and that one of connections does.
const CALLERS: u8 = 4;
const HOLDERS: u8 = 48;
/// Connections of each of these; more than the miner takes in all.
const HELD: u8 = 32;

/// What is tried.
#[derive(Clone, Debug)]
pub(crate) enum Flood {
    /// Connections that send a byte now and then.
    SlowLoris,
    /// Calls of a mebibyte.
    Oversized,
    /// Calls that are no messages.
    Garbage,
    /// One validator's request, over and over.
    Replay(Vec<u8>),
}

impl Flood {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::SlowLoris => "slow-loris",
            Self::Oversized => "oversized",
            Self::Garbage => "garbage",
            Self::Replay(_) => "replay",
        }
    }
}

/// A flood under way; it ends when dropped.
pub(crate) struct UnderWay {
    _tasks: JoinSet<()>,
    /// Calls answered, or connections that stand.
    pub(crate) count: Arc<AtomicU64>,
}

fn stranger(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 1, number + 1).into()
}

/// Begins a flood of the miner at `target`.
pub(crate) fn begin(flood: &Flood, target: SocketAddr) -> UnderWay {
    let (mut tasks, count) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
    match flood {
        Flood::SlowLoris => {
            for from in (0..HOLDERS).flat_map(|holder| std::iter::repeat_n(stranger(holder), HELD.into())) {
                tasks.spawn(hold(from, target, Arc::clone(&count)));
            }
        }
        Flood::Oversized => spawn_callers(&mut tasks, target, &vec![0x0a; 1 << 20], &count),
        Flood::Garbage => spawn_callers(&mut tasks, target, &vec![0xff; 512], &count),
        Flood::Replay(message) => spawn_callers(&mut tasks, target, message, &count),
    }
    UnderWay { _tasks: tasks, count }
}

fn spawn_callers(tasks: &mut JoinSet<()>, target: SocketAddr, message: &[u8], count: &Arc<AtomicU64>) {
    for call in 0..CALLS {
        tasks.spawn(call_again_and_again(
            stranger(call % CALLERS),
            target,
            message.to_vec(),
            Arc::clone(count),
        ));
    }
}

/// A connection that begins a request and never ends it; a new one when it is closed.
async fn hold(from: IpAddr, target: SocketAddr, count: Arc<AtomicU64>) {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    // The head of a HEADERS frame that announces 16,000 bytes.
    const BEGINNING: &[u8] = b"\x00\x3e\x80\x01\x04\x00\x00\x00\x01";
    loop {
        if let Ok(mut stream) = connect(from, target).await
            && stream.write_all(PREFACE).await.is_ok()
            && stream.write_all(BEGINNING).await.is_ok()
        {
            count.fetch_add(1, Ordering::Relaxed);
            while stream.write_all(b"\x00").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            count.fetch_sub(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn connect(from: IpAddr, target: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(target).await
}

async fn call_again_and_again(from: IpAddr, target: SocketAddr, message: Vec<u8>, count: Arc<AtomicU64>) {
    let endpoint = Endpoint::from_shared(format!("http://{target}")).expect("an address is a URL");
    let endpoint = endpoint.local_address(Some(from));
    loop {
        if let Ok(channel) = endpoint.connect().await {
            while call(&channel, message.clone()).await {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether the connection is good for another call.
async fn call(channel: &Channel, message: Vec<u8>) -> bool {
    let path = "/basilica.miner.v1.MinerDiscovery/AuthenticateValidator".parse().expect("a path");
    let mut client = tonic::client::Grpc::new(channel.clone());
    if client.ready().await.is_err() {
        return false;
    }
    match client.unary(Request::new(message), path, Bytes).await {
        Ok(_) => true,
        Err(status) => status.code() != tonic::Code::Unknown,
    }
}

/// Messages that are sent as they are.
#[derive(Clone, Copy, Default)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;
    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        prost::bytes::BufMut::put_slice(to, &item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = ();
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        prost::bytes::Buf::advance(from, prost::bytes::Buf::remaining(from));
        Ok(Some(()))
    }
}

/// The request as `ValidatorAuthRequest` of miner.proto.
pub(crate) fn message(request: &AuthRequest) -> Vec<u8> {
    let mut seconds = vec![0x08];
    let mut rest = u64::try_from(request.timestamp_secs).expect("a time after 1970");
    while rest >= 0x80 {
        seconds.push(u8::try_from(rest & 0x7f).expect("seven bits") | 0x80);
        rest >>= 7;
    }
    seconds.push(u8::try_from(rest).expect("seven bits"));
    let fields = [
        (1, request.validator.to_string().into_bytes()),
        (2, hex::encode(request.signature.as_bytes()).into_bytes()),
        (3, request.nonce.as_str().as_bytes().to_vec()),
        (4, field(1, &seconds)),
        (5, request.target.to_string().into_bytes()),
    ];
    fields.iter().flat_map(|(number, bytes)| field(*number, bytes)).collect()
}

/// A length-delimited field; all of ours fit two bytes of length.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    match u8::try_from(bytes.len()) {
        Ok(length) if length < 0x80 => field.push(length),
        _ => field.extend([
            u8::try_from(bytes.len() & 0x7f).expect("seven bits") | 0x80,
            u8::try_from(bytes.len() >> 7).expect("short"),
        ]),
    }
    field.extend(bytes);
    field
}
