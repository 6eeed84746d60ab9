use std::net::Ipv4Addr;

use prometheus_client::metrics::counter::Counter;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::TaskSet;
use crate::testing::VirtualClock;

struct Scene {
    clock: Arc<VirtualClock>,
    readiness: Readiness,
    address: SocketAddr,
    stop: Stop,
    server: TaskSet<()>,
}

impl Scene {
    async fn new(routes: AdminRoutes) -> Self {
        let clock = VirtualClock::new();
        let readiness = Readiness::new();
        let metrics = Metrics::new();
        metrics.register(|registry| {
            registry.register("basilica_seen", "Seen", Counter::<u64>::default());
        });
        let listener = AdminListener::bind((Ipv4Addr::LOCALHOST, 0).into()).await.expect("a free port");
        let address = listener.local_addr();
        let state = AdminState {
            readiness: readiness.clone(),
            metrics,
            clock: clock.clone(),
            version: "0.1.0",
            routes,
            pages: AdminPages::new(|path| match path {
                "/own" => Some(AdminPage::html("<p>own</p>")),
                "/health" => Some(AdminPage::json("{}")),
                "/later" => Some(AdminPage::not_yet("later\n")),
                _ => None,
            }),
        };
        let stop = Stop::new();
        let mut server = TaskSet::new();
        server.spawn("admin", listener.serve(state, stop.clone()));
        Self { clock, readiness, address, stop, server }
    }

    /// Status and body of a request.
    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        parse(&answer)
    }

    /// Everything that the server answers until it closes. The peer may be cut off while it still writes.
    async fn send(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).await.expect("the listener accepts");
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    }

    async fn is_alive(&self) -> bool {
        self.get("/live").await == (200, "alive\n".to_owned())
    }
}

fn parse(answer: &[u8]) -> (u16, String) {
    let text = String::from_utf8(answer.to_vec()).expect("answers are text");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status code");
    (status, body.to_owned())
}

#[tokio::test]
async fn readiness_follows_its_conditions_with_reasons() {
    let scene = Scene::new(AdminRoutes::All).await;
    assert_eq!(scene.get("/ready").await, (200, "ready\n".to_owned()));
    let chain = scene.readiness.condition("chain");
    assert_eq!(scene.get("/ready").await, (503, "not ready\nchain: starting\n".to_owned()));
    chain.ready();
    assert_eq!(scene.get("/ready?verbose=1").await.0, 200);
}

#[tokio::test]
async fn health_tells_every_check_the_version_and_the_time() {
    let scene = Scene::new(AdminRoutes::Health).await;
    scene.readiness.condition("store").ready();
    let (status, body) = scene.get("/health").await;
    assert_eq!(status, 200);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&body).expect("JSON"),
        json!({
            "status": "healthy",
            "checks": {"store": "ok"},
            "version": "0.1.0",
            "timestamp": "2025-01-01T00:00:00.000Z",
        })
    );
    scene.readiness.condition("chain").not_ready("no endpoint \"answers\"");
    let (status, body) = scene.get("/health").await;
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &body["status"]), (503, &json!("unhealthy")));
    assert_eq!(body["checks"], json!({"chain": "no endpoint \"answers\"", "store": "ok"}));
}

#[tokio::test]
async fn metrics_are_rendered_where_they_are_served() {
    let scene = Scene::new(AdminRoutes::Metrics).await;
    let (status, body) = scene.get("/metrics").await;
    assert!(status == 200 && body.contains("basilica_seen_total 0"), "{body}");
    assert_eq!(scene.get("/health").await.0, 404);
    let scene = Scene::new(AdminRoutes::Health).await;
    assert_eq!((scene.get("/metrics").await.0, scene.get("/ready").await.0), (404, 200));
}

#[tokio::test]
async fn head_gives_no_body_and_other_methods_are_refused() {
    let scene = Scene::new(AdminRoutes::All).await;
    let head = parse(&scene.send(b"HEAD /live HTTP/1.1\r\nHost: x\r\n\r\n").await);
    assert_eq!(head, (200, String::new()));
    for method in ["POST", "DELETE", "BREW"] {
        let request = format!("{method} /live HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(parse(&scene.send(request.as_bytes()).await).0, 405, "{method}");
    }
}

#[tokio::test]
async fn requests_with_a_body_or_too_much_head_are_refused() {
    let scene = Scene::new(AdminRoutes::All).await;
    let body = b"GET /live HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(parse(&scene.send(body).await).0, 413);
    let chunked =
        b"GET /live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(parse(&scene.send(chunked).await).0, 413);
    let mut many = String::from("GET /live HTTP/1.1\r\n");
    (0..=MAX_HEADERS).for_each(|n| many.push_str(&format!("X-{n}: y\r\n")));
    assert_eq!(parse(&scene.send(format!("{many}\r\n").as_bytes()).await).0, 431);
    let long = format!("GET /live HTTP/1.1\r\nX: {}", "y".repeat(MAX_HEAD));
    let answer = scene.send(long.as_bytes()).await;
    assert!(answer.is_empty() || parse(&answer).0 == 431, "{answer:?}");
    assert!(scene.is_alive().await);
}

#[tokio::test]
async fn a_silent_peer_is_cut_off_at_the_deadline() {
    let scene = Scene::new(AdminRoutes::All).await;
    let mut slow = TcpStream::connect(scene.address).await.expect("the listener accepts");
    slow.write_all(b"GET /live HT").await.expect("the connection is open");
    scene.clock.sleepers(1).await;
    scene.clock.advance(CONNECTION_LIMIT);
    assert_eq!(slow.read(&mut [0u8; 16]).await.expect("closed, not reset"), 0);
    assert!(scene.is_alive().await);
}

#[tokio::test]
async fn silent_peers_can_hold_no_more_than_the_bound_and_not_for_long() {
    let scene = Scene::new(AdminRoutes::All).await;
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS + 8 {
        held.push(TcpStream::connect(scene.address).await.expect("the kernel's queue has room"));
    }
    scene.clock.sleepers(MAX_CONNECTIONS).await;
    let (alive, ()) = tokio::join!(scene.is_alive(), async {
        scene.clock.advance(CONNECTION_LIMIT);
        // The other eight take the places of the first ones, and the request comes after them.
        scene.clock.sleepers(8).await;
    });
    assert!(alive);
}

#[tokio::test]
async fn the_stop_ends_the_endpoint_and_frees_its_port() {
    let mut scene = Scene::new(AdminRoutes::All).await;
    assert!(scene.is_alive().await);
    scene.stop.request();
    assert_eq!(scene.server.next().await, Some(Ok(())));
    TcpStream::connect(scene.address).await.expect_err("nobody listens any more");
}

#[tokio::test]
async fn a_port_in_use_is_named_with_what_to_do() {
    let first = AdminListener::bind((Ipv4Addr::LOCALHOST, 0).into()).await.expect("a free port");
    let error = AdminListener::bind(first.local_addr()).await.expect_err("it is taken");
    assert!(matches!(error, BindError::InUse { .. }));
    assert_eq!(
        error.to_string(),
        format!(
            "{} is already in use; stop the process that listens there (`ss -ltnp` names it) or configure another port",
            first.local_addr()
        )
    );
    let foreign = AdminListener::bind("192.0.2.1:0".parse().expect("an address")).await;
    assert!(matches!(foreign, Err(BindError::NotLocal { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_bytes_do_not_end_the_endpoint(
        junk in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..512),
            "(GET|HEAD|POST) [/a-z?%\\x00-\\x20]{0,40} HTTP/[0-9.]{0,4}\r\n[\\x00-\\x7f]{0,80}\r\n\r\n"
                .prop_map(String::into_bytes),
        ],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let scene = Scene::new(AdminRoutes::All).await;
            let _ = scene.send(&junk).await;
            assert!(scene.is_alive().await);
        });
    }
}

#[tokio::test]
async fn a_services_own_pages_are_served_with_health_and_under_its_policies() {
    let scene = Scene::new(AdminRoutes::Health).await;
    let answer = scene.send(b"GET /own HTTP/1.1\r\nHost: 127.0.0.1:8091\r\n\r\n").await;
    let head = String::from_utf8(answer.clone()).expect("answers are text").to_ascii_lowercase();
    assert_eq!(parse(&answer), (200, "<p>own</p>".to_owned()));
    for line in [
        "content-security-policy: default-src 'none'; style-src 'self'",
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
    ] {
        assert!(head.contains(line), "{line}\n{head}");
    }
    let later = scene.send(b"GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(parse(&later), (503, "later\n".to_owned()));
    // The endpoint's own pages stay what they are.
    assert!(scene.get("/health").await.1.contains("timestamp"));
    assert_eq!(scene.get("/none").await.0, 404);
    let post = scene.send(b"POST /own HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(parse(&post).0, 405);
    let metrics = Scene::new(AdminRoutes::Metrics).await;
    let there = metrics.send(b"GET /own HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(parse(&there).0, 404);
}

#[tokio::test]
async fn a_site_whose_name_points_here_reads_no_page() {
    let scene = Scene::new(AdminRoutes::All).await;
    for host in ["evil.example", "evil.example:8091", "127.0.0.1\r\nHost: evil.example"] {
        let answer = scene.send(format!("GET /own HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await;
        let (status, body) = parse(&answer);
        assert!(matches!(status, 400 | 403) && !body.contains("own<"), "{host}: {status} {body}");
    }
}
