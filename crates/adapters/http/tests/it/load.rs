//! What many clients, and slow ones, can take from the others.

use std::sync::atomic::Ordering::Relaxed;

use basilica_http::ApiOptions;
use basilica_runtime_service::TaskSet;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::validator::TRANSCRIPT;
use crate::{KEY, Scene, options};

const LARGE: &str = "/transcripts/0707070707070707070707070707070707070707070707070707070707070707";

/// A client that reads the head of an answer, and no more. Returns its first line.
async fn begin(scene: &Scene, path: &str, headers: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes()).await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(stream.read_u8().await.unwrap()));
    }
    (stream, head)
}

#[tokio::test]
async fn a_large_file_is_read_as_it_is_taken() {
    let scene = Scene::new().await;
    let (mut stream, head) = begin(&scene, LARGE, "connection: close\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains(&format!("content-length: {TRANSCRIPT}")));
    // What the kernel and the connection hold is sent without being taken, and nothing beyond.
    let before = scene.validator.parts.load(Relaxed);
    assert!(before < 20, "{before} parts were read for a client that took none");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes.len() as u64, TRANSCRIPT);
    assert_eq!(scene.validator.parts.load(Relaxed), 24);
}

#[tokio::test]
async fn one_client_gets_two_large_files_at_a_time_and_leaves_the_rest_to_others() {
    let scene = Scene::new().await;
    let (first, _) = begin(&scene, LARGE, "").await;
    let (_second, head) = begin(&scene, LARGE, "").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    for _ in 0..5 {
        let refused = scene.get(LARGE).await;
        assert_eq!((refused.status, refused.problem().as_str()), (429, "rate_limited"));
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    assert_eq!(scene.get("/miners").await.status, 200, "nothing else waits for them");
    let (_operator, head) = begin(&scene, LARGE, &format!("x-api-key: {KEY}\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    drop(first);
    // Its place is free as soon as the connection is known to be gone.
    loop {
        let (_, head) = begin(&scene, LARGE, "").await;
        if head.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(head.starts_with("HTTP/1.1 429"), "{head}");
    }
}

#[tokio::test]
async fn clients_of_many_addresses_share_a_few_downloads() {
    let proxies = ["127.0.0.1".parse().unwrap()].into();
    let scene = Scene::with(ApiOptions { proxies, ..options() }).await;
    let (mut held, mut served) = (Vec::new(), 0);
    for host in 1..=30 {
        let (stream, head) = begin(&scene, LARGE, &format!("x-forwarded-for: 203.0.113.{host}\r\n")).await;
        served += usize::from(head.starts_with("HTTP/1.1 200"));
        held.push(stream);
    }
    assert_eq!(served, 16);
    let read = scene.validator.parts.load(Relaxed);
    assert!(read < 16 * 20, "{read} parts of half a megabyte were read for clients that took none");
}

#[tokio::test]
async fn requests_above_the_bound_wait_for_their_turn_and_health_does_not() {
    let scene = Scene::with(ApiOptions { at_once: 3, ..options() }).await;
    let mut clients = TaskSet::new();
    for _ in 0..40 {
        let address = scene.address;
        clients.spawn("client", async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = "GET /weights/windows HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer.starts_with("HTTP/1.1 200")
        });
    }
    while let Some(served) = clients.next().await {
        assert!(served.unwrap());
    }
    assert_eq!(scene.validator.most.load(Relaxed), 3);
    let scene = Scene::with(ApiOptions { at_once: 1, ..options() }).await;
    let nobody = format!("/transcripts/{}", "08".repeat(32));
    let mut waiting = TcpStream::connect(scene.address).await.unwrap();
    waiting.write_all(format!("GET {nobody} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    // Whether that one has the only turn by now or not, this never waits for it.
    for _ in 0..20 {
        assert_eq!(scene.get("/live").await.status, 200);
        assert_eq!(scene.get("/health").await.status, 200);
    }
}
