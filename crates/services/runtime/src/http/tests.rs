use std::net::Ipv4Addr;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use super::*;
use crate::testing::VirtualClock;

/// Answers `/` with the peer's port, `/panic` by panicking, `/wait` once `gate` has a permit, and `/large` with [`LARGE`] bytes.
const LARGE: usize = 8 * 1024 * 1024;

struct Scene {
    clock: Arc<VirtualClock>,
    address: SocketAddr,
    gate: Arc<Semaphore>,
    stop: Stop,
    server: TaskSet<()>,
}

impl Scene {
    async fn new(limits: HttpLimits) -> Self {
        let clock = VirtualClock::new();
        let listener = HttpListener::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let address = listener.local_addr();
        let (gate, stop) = (Arc::new(Semaphore::new(0)), Stop::new());
        let opened = Arc::clone(&gate);
        let for_peer = move |peer: SocketAddr| {
            let gate = Arc::clone(&opened);
            service_fn(move |request: Request<Incoming>| {
                let gate = Arc::clone(&gate);
                async move {
                    match request.uri().path() {
                        "/panic" => panic!("asked to"),
                        "/large" => return Ok(Response::new(Full::new(Bytes::from(vec![b'x'; LARGE])))),
                        "/wait" => gate.acquire().await.unwrap().forget(),
                        _ => {}
                    }
                    let body = Full::new(Bytes::from(peer.port().to_string()));
                    Ok::<_, Infallible>(Response::new(body))
                }
            })
        };
        let mut server = TaskSet::new();
        let (ticking, stopping) = (Arc::<VirtualClock>::clone(&clock), stop.clone());
        server.spawn("http", async move { listener.serve(for_peer, limits, ticking, stopping).await });
        Self { clock, address, gate, stop, server }
    }

    async fn open(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

async fn ask(stream: &mut TcpStream, path: &str) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
}

/// What the server sends until it closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    // A connection that is cut off may be reset.
    let _ = stream.read_to_string(&mut text).await;
    text
}

/// One whole answer on a connection that stays open.
async fn answer_on(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let port = stream.local_addr().unwrap().port().to_string();
    while !text.ends_with(&format!("\r\n\r\n{port}")) {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).await.unwrap(), 1, "{text}");
        text.push(char::from(byte[0]));
    }
    text
}

#[tokio::test]
async fn a_connection_carries_many_requests_and_a_panic_ends_only_its_own() {
    let scene = Scene::new(HttpLimits::default()).await;
    let mut stream = scene.open().await;
    for _ in 0..3 {
        ask(&mut stream, "/").await;
        assert!(answer_on(&mut stream).await.starts_with("HTTP/1.1 200"));
    }
    let mut broken = scene.open().await;
    ask(&mut broken, "/panic").await;
    assert_eq!(rest(&mut broken).await, "");
    ask(&mut stream, "/").await;
    answer_on(&mut stream).await;
}

#[tokio::test]
async fn more_clients_than_allowed_wait_for_a_place() {
    let scene = Scene::new(HttpLimits { connections: 1, ..HttpLimits::default() }).await;
    let (mut first, mut second) = (scene.open().await, scene.open().await);
    ask(&mut first, "/wait").await;
    ask(&mut second, "/").await;
    scene.gate.add_permits(1);
    answer_on(&mut first).await;
    drop(first);
    answer_on(&mut second).await;
}

#[tokio::test]
async fn whoever_does_not_finish_a_head_is_closed() {
    let scene = Scene::new(HttpLimits { head: Millis(50), ..HttpLimits::default() }).await;
    let mut slow = scene.open().await;
    slow.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
    assert!(!rest(&mut slow).await.starts_with("HTTP/1.1 200"));
    let mut idle = scene.open().await;
    ask(&mut idle, "/").await;
    answer_on(&mut idle).await;
    assert!(!rest(&mut idle).await.starts_with("HTTP/1.1 200"), "an idle connection is closed too");
}

#[tokio::test]
async fn an_old_connection_ends_with_its_request_or_without() {
    let limits = HttpLimits::default();
    let scene = Scene::new(limits).await;
    let mut stream = scene.open().await;
    ask(&mut stream, "/wait").await;
    scene.clock.sleepers(1).await;
    scene.clock.advance(limits.connection);
    scene.gate.add_permits(1);
    assert!(rest(&mut stream).await.contains("200 OK"), "the request under way is answered");
    let mut stuck = scene.open().await;
    ask(&mut stuck, "/wait").await;
    scene.clock.sleepers(1).await;
    scene.clock.advance(limits.connection);
    scene.clock.sleepers(1).await;
    scene.clock.advance(limits.drain);
    assert_eq!(rest(&mut stuck).await, "");
}

#[tokio::test]
async fn the_stop_waits_for_requests_under_way_and_takes_no_more() {
    let mut scene = Scene::new(HttpLimits::default()).await;
    let mut stream = scene.open().await;
    ask(&mut stream, "/wait").await;
    scene.clock.sleepers(1).await;
    scene.stop.request();
    scene.gate.add_permits(1);
    assert!(rest(&mut stream).await.contains("200 OK"));
    scene.server.next().await.unwrap().unwrap();
    assert!(TcpStream::connect(scene.address).await.is_err());
}

#[tokio::test]
async fn too_large_heads_are_refused() {
    let scene = Scene::new(HttpLimits::default()).await;
    let mut stream = scene.open().await;
    let head = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2 * HttpLimits::default().head_bytes));
    let _ = stream.write_all(head.as_bytes()).await;
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 414") || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

/// The head of an answer and its body up to the end of the connection.
async fn all_of(stream: &mut TcpStream) -> usize {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    bytes.len()
}

#[tokio::test]
async fn whoever_does_not_read_an_answer_is_cut_off_and_gives_its_place_back() {
    let limits = HttpLimits { per_peer: 1, ..HttpLimits::default() };
    let scene = Scene::new(limits).await;
    let mut deaf = scene.open().await;
    ask(&mut deaf, "/large").await;
    let mut turned_away = 0;
    loop {
        scene.clock.sleepers(1).await;
        let mut next = scene.open().await;
        ask(&mut next, "/").await;
        if rest_of_refused(&mut next).await {
            turned_away += 1;
            scene.clock.advance(limits.pace.within);
        } else {
            break;
        }
    }
    assert!(turned_away > 0, "while it held its place nobody else of its address got one");
    assert!(all_of(&mut deaf).await < LARGE, "the rest of the answer was thrown away");
}

/// Whether the connection was closed without an answer.
async fn rest_of_refused(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    !matches!(stream.read(&mut byte).await, Ok(1))
}

#[tokio::test]
async fn whoever_reads_slowly_gets_all_of_it() {
    let limits = HttpLimits::default();
    let scene = Scene::new(limits).await;
    let mut slow = scene.open().await;
    ask(&mut slow, "/large").await;
    let mut taken = 0;
    let mut part = vec![0; 512 * 1024];
    while taken < LARGE {
        let read = slow.read_exact(&mut part).await;
        taken += read.expect("its pace is half a megabyte in each span");
        scene.clock.advance(limits.pace.within);
        if LARGE - taken < part.len() {
            part.truncate(LARGE - taken);
        }
    }
}

#[tokio::test]
async fn many_connections_from_one_address_leave_room_for_others() {
    let limits = HttpLimits { connections: 8, per_peer: 4, ..HttpLimits::default() };
    let scene = Scene::new(limits).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = scene.open().await;
        ask(&mut stream, "/").await;
        answer_on(&mut stream).await;
        held.push(stream);
    }
    for _ in 0..20 {
        let mut stream = scene.open().await;
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(rest_of_refused(&mut stream).await);
    }
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, 2), 0).into()).unwrap();
    let mut other = socket.connect(scene.address).await.unwrap();
    ask(&mut other, "/").await;
    answer_on(&mut other).await;
    for stream in &mut held {
        ask(stream, "/").await;
        answer_on(stream).await;
    }
}
