use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const DIGEST: &str = "0707070707070707070707070707070707070707070707070707070707070707";
const NODE: &str = "9d2d9396-fe10-5249-b354-707f414bc226";

fn miner() -> Hotkey {
    Hotkey::from_bytes([1; 32])
}

fn node() -> Value {
    let verdict = json!({
        "digest": DIGEST, "kind": "full", "outcome": "passed", "reason": "passed", "explanation": "every check passed",
        "fault": null, "finished": "2025-01-01T00:00:00.000Z",
    });
    json!({
        "node_id": NODE, "miner_hotkey": miner().to_string(), "miner_uid": 5, "state": "available", "available": true,
        "hourly_rate_micros_per_gpu": null, "host_keys": [], "gpus": null, "last_verdict": verdict, "last_full": verdict,
        "last_full_passed": null, "tries_failed": null, "gate": "ok", "gate_explanation": "fine", "score": 9_000,
        "multiplier": 250_000, "banned_until": null, "next_check": "2025-01-01T00:10:00.000Z",
        "next_light": "2025-01-01T00:10:00.000Z", "next_full": "2025-01-01T06:00:00.000Z",
    })
}

fn page(nodes: &[Value], cursor: Value) -> String {
    let page = json!({
        "nodes": nodes, "total_count": 1, "next_cursor": cursor, "timestamp": "2025-01-01T00:01:00.000Z",
    });
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{page}", page.to_string().len())
}

/// A validator that gives these answers, one for each connection, and then what it was asked.
async fn validator(answers: Vec<String>) -> (ValidatorPlace, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let place = ValidatorPlace { host: Host::Ip(at.ip()), port: at.port(), addresses: AddressPolicy::Any };
    #[expect(clippy::disallowed_methods, reason = "the other side of a test")]
    let asked = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            asked.push(String::from_utf8(head).unwrap());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        asked
    });
    (place, asked)
}

async fn answered(answers: Vec<String>) -> Result<JudgedNodes, ValidatorApiError> {
    let (place, _asked) = validator(answers).await;
    HttpValidatorApi.nodes(&place, miner()).await
}

#[tokio::test]
async fn what_a_validator_tells_of_our_nodes_is_read_page_by_page() {
    let answers = vec![page(&[node()], "ab12".into()), page(&[node()], Value::Null)];
    let (place, asked) = validator(answers).await;
    let judged = HttpValidatorApi.nodes(&place, miner()).await.unwrap();
    let asked = asked.await.unwrap();
    assert!(
        asked[0].starts_with(&format!("GET /miners/{}/nodes?limit=500 HTTP/1.1", miner())),
        "{}",
        asked[0]
    );
    assert!(asked[1].contains("&cursor=ab12 "), "{}", asked[1]);
    assert_eq!(judged.at.rfc3339(), "2025-01-01T00:01:00.000Z");
    assert_eq!(judged.nodes.len(), 2);
    let first = &judged.nodes[0];
    assert_eq!((first.node.to_string().as_str(), first.listed.as_str()), (NODE, "available"));
    assert_eq!((first.score, first.ramp), (BasisPoints::new(9_000).ok(), Ppm::new(250_000).ok()));
    assert_eq!((first.last, first.last_full), (DIGEST.parse().ok(), DIGEST.parse().ok()));
}

#[tokio::test]
async fn another_miners_nodes_are_not_taken_for_ours() {
    let mut other = node();
    other["miner_hotkey"] = Hotkey::from_bytes([2; 32]).to_string().into();
    assert_eq!(answered(vec![page(&[other], Value::Null)]).await.unwrap().nodes, []);
}

#[tokio::test]
async fn hostile_answers_are_none() {
    let with = |field: &str, value: Value| {
        let mut bad = node();
        bad[field] = value;
        page(&[bad], Value::Null)
    };
    for answer in [
        with("score", 10_001.into()),
        with("multiplier", 1_000_001.into()),
        with("next_check", "soon".into()),
        with("node_id", "x".into()),
        with("gate", "x".repeat(TEXT + 1).into()),
        page(&[node()], "../../config?x=\r\nHost: y".into()),
        page(&[node()], "".into()),
        page(&vec![node(); NODES + 1], Value::Null),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]".to_owned(),
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PAGE + 1) + &"x".repeat(PAGE + 1),
        "nonsense".to_owned(),
    ] {
        let told = answered(vec![answer.clone()]).await;
        assert!(told.is_err(), "{told:?}: {}", answer.chars().take(300).collect::<String>());
    }
    let unknown = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned();
    assert_eq!(answered(vec![unknown]).await.unwrap().nodes, []);
}

#[tokio::test]
async fn a_list_without_end_is_left() {
    let endless = vec![page(&[node()], "ab".into()); PAGES];
    assert_eq!(answered(endless).await.unwrap().nodes.len(), PAGES);
}

#[tokio::test]
async fn a_place_that_the_chain_names_must_be_a_public_address() {
    let (mut place, _asked) = validator(vec![page(&[], Value::Null)]).await;
    place.addresses = AddressPolicy::PublicOnly;
    let refused = HttpValidatorApi.nodes(&place, miner()).await;
    assert!(matches!(refused, Err(ValidatorApiError::Address { source: None, .. })), "{refused:?}");
    for metadata in ["169.254.169.254", "10.0.0.1", "::1", "localhost"] {
        let place = ValidatorPlace { host: metadata.parse().unwrap(), ..place.clone() };
        let refused = HttpValidatorApi.verdict(&place, Digest::from_bytes([1; 32])).await;
        assert!(matches!(refused, Err(ValidatorApiError::Address { .. })), "{metadata}: {refused:?}");
    }
}

#[tokio::test]
async fn a_verdict_is_bytes_or_nothing() {
    let (place, _asked) = validator(vec!["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc".to_owned()]).await;
    let digest = Digest::from_bytes([7; 32]);
    assert_eq!(HttpValidatorApi.verdict(&place, digest).await.unwrap(), Some(b"abc".to_vec()));
    let gone = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned();
    let (place, _asked) = validator(vec![gone]).await;
    assert_eq!(HttpValidatorApi.verdict(&place, digest).await.unwrap(), None);
}
