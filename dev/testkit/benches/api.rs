//! Reads of the REST API at 2,000 a second, with 10,000 nodes and 1,000,000 verdicts in the database.
//!
//! The real service, store (SQLite) and server, and the clients that load them, share the machine. The load is open: each
//! request has a time at which it is due, and its latency runs from there, so that an answer that is late is not hidden by requests that
//! were never sent. `BASILICA_API_VERDICTS` (of each node, 100 if not set) makes it smaller, `BASILICA_API_SECONDS` (20) shorter;
//! `BASILICA_API_FOLDER` keeps the database there for the next time.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot run fails, and tells its figures"
)]

#[path = "../tests/it/api/host.rs"]
mod host;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use basilica_runtime_service::OwnThreads;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::host::{ApiHost, Fleet, key};

const PER_SECOND: u64 = 2_000;
const CONNECTIONS: u64 = 64;

fn from_environment(variable: &str, default: u32) -> u32 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// The question of a turn: of twenty, seven for a node, four for a node's verdicts, three for a page of nodes, two for a miner's nodes, two for
/// miners, one for categories, and one for who leads.
fn path(fleet: Fleet, turn: u64) -> String {
    let node = u32::try_from(turn.wrapping_mul(7_919) % u64::from(fleet.nodes)).unwrap();
    let key = key(fleet, node);
    match turn % 20 {
        0..7 => format!("/nodes/{}", key.node),
        7..11 => format!("/nodes/{}/verdicts", key.node),
        11..14 => {
            let cursor = [&key.miner.as_bytes()[..], key.node.as_bytes()].concat();
            format!("/nodes?limit=50&cursor={}", hex::encode(cursor))
        }
        14 | 15 => format!("/miners/{}/nodes", node % u32::from(fleet.miners)),
        16 | 17 => "/miners?limit=50".to_owned(),
        18 => "/gpu-categories".to_owned(),
        _ => "/leadership".to_owned(),
    }
}

async fn connect(address: SocketAddr, tasks: &mut JoinSet<()>) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tasks.spawn(async move { connection.await.unwrap() });
    sender
}

/// The latencies of a client's share of the turns.
async fn client(address: SocketAddr, paths: Arc<Vec<String>>, share: u64, start: Instant) -> Vec<Duration> {
    let mut connections = JoinSet::new();
    let mut sender = connect(address, &mut connections).await;
    let mut latencies = Vec::new();
    for (turn, path) in (0u64..)
        .zip(paths.iter())
        .skip(usize::try_from(share).unwrap())
        .step_by(usize::try_from(CONNECTIONS).unwrap())
    {
        let due = start + Duration::from_nanos(1_000_000_000 / PER_SECOND * turn);
        sleep_until(due).await;
        let request = Request::get(path).header("host", "x").body(Empty::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.into_body().collect().await.unwrap();
        latencies.push(due.elapsed());
    }
    latencies
}

/// The latencies of all clients.
async fn load(address: SocketAddr, paths: Arc<Vec<String>>, start: Instant) -> Vec<Duration> {
    let mut clients = JoinSet::new();
    for share in 0..CONNECTIONS {
        clients.spawn(client(address, Arc::clone(&paths), share, start));
    }
    clients.join_all().await.into_iter().flatten().collect()
}

#[tokio::main]
async fn main() {
    let fleet =
        Fleet { miners: 256, nodes: 10_000, verdicts: from_environment("BASILICA_API_VERDICTS", 100) };
    let seconds = u64::from(from_environment("BASILICA_API_SECONDS", 20));
    let ours = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("BASILICA_API_FOLDER").map(PathBuf::from);
    let began = Instant::now();
    let host = ApiHost::start(kept.as_deref().unwrap_or(ours.path()), fleet, None).await;
    println!(
        "{} nodes with {} verdicts each, of {}, stored in {:?}",
        fleet.nodes,
        fleet.verdicts,
        host.validator,
        began.elapsed()
    );
    let paths: Arc<Vec<String>> = Arc::new((0..PER_SECOND * seconds).map(|turn| path(fleet, turn)).collect());
    // Threads of their own: the service's work is not to hold up the clients.
    let clients = OwnThreads::start("clients", 1).unwrap();
    let asked = Instant::now();
    let first = client(host.address, Arc::new(vec!["/miners?limit=50".to_owned()]), 0, asked);
    clients.run(first).await.unwrap();
    println!("the first read after the start, which waits for the fleet to be read: {:?}", asked.elapsed());
    for round in ["first", "second"] {
        let start = Instant::now() + Duration::from_millis(100);
        let mut latencies = clients.run(load(host.address, Arc::clone(&paths), start)).await.unwrap();
        let rate = latencies.len() as u128 * 1_000_000 / start.elapsed().as_micros();
        latencies.sort_unstable();
        let at = |permille: usize| latencies[(latencies.len() * permille / 1_000).min(latencies.len() - 1)];
        println!(
            "{round} round: {} reads, {rate}/s; p50 {:?}, p90 {:?}, p99 {:?}, p99.9 {:?}, most {:?}",
            latencies.len(),
            at(500),
            at(900),
            at(990),
            at(999),
            at(1_000)
        );
    }
    host.end().await;
}
