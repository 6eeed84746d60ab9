//! What the pages say, and how they refuse.

use std::collections::BTreeSet;

use basilica_types::Millis;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::Value;

use crate::validator::{address, miner};
use crate::{Answer, KEY, Scene, options};

#[tokio::test]
async fn health_follows_its_checks() {
    let scene = Scene::new().await;
    let healthy = scene.get("/health").await;
    assert_eq!((healthy.status, &healthy.json()["status"]), (200, &Value::from("healthy")));
    assert_eq!(healthy.json()["version"], "1.2.3");
    assert_eq!(scene.get("/ready").await.body, "ready\n");
    scene.validator.break_database();
    let sick = scene.get("/health").await;
    assert_eq!((sick.status, &sick.json()["checks"]["chain"]), (503, &Value::from("no endpoint answers")));
    let ready = scene.get("/ready").await;
    let lines = "not ready\nchain: no endpoint answers\ndatabase: does not hold; its operator sees why\n";
    assert_eq!((ready.status, &ready.body[..]), (503, lines.as_bytes()));
    assert_eq!(scene.get("/live").await.status, 200);
}

#[tokio::test]
async fn lists_go_on_after_their_cursor_to_their_end() {
    let scene = Scene::new().await;
    for (list, items, key) in [("/nodes", "nodes", "node_id"), ("/miners", "miners", "hotkey")] {
        let all = scene.get(list).await.json();
        assert_eq!(all["next_cursor"], Value::Null);
        let (mut seen, mut path) = (Vec::new(), format!("{list}?limit=2"));
        loop {
            let page = scene.get(&path).await.json();
            assert_eq!(page["total_count"], all["total_count"]);
            seen.extend(page[items].as_array().unwrap().iter().map(|item| item[key].clone()));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("{list}?limit=2&cursor={cursor}");
        }
        let expected: Vec<Value> =
            all[items].as_array().unwrap().iter().map(|item| item[key].clone()).collect();
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_node_tells_its_state_with_the_cause() {
    let scene = Scene::new().await;
    let page = scene.get(&format!("/nodes/{}", address(2).node_id())).await.json();
    let node = &page["nodes"][0];
    assert_eq!(node["last_verdict"]["reason"], "nonce_challenge_failed");
    assert_eq!(node["last_verdict"]["fault"], "node");
    assert_eq!(node["hourly_rate_micros_per_gpu"], 2_500_000);
    assert_eq!(node["next_check"], "2027-01-15T08:00:00.000Z");
}

#[tokio::test]
async fn a_miner_is_found_by_hotkey_and_by_uid() {
    let scene = Scene::new().await;
    let by_hotkey = scene.get(&format!("/miners/{}", miner(2))).await.json();
    for name in ["2", "miner_2"] {
        assert_eq!(scene.get(&format!("/miners/{name}")).await.json(), by_hotkey);
    }
    assert_eq!(scene.get("/miners/2/nodes").await.json()["total_count"], 2);
    assert_eq!(scene.get("/miners/3/health").await.json()["status"], "offline");
    assert_eq!(scene.get("/miners?status=offline").await.json()["total_count"], 1);
    for nobody in ["9", "5abc", "99999", "miner_"] {
        assert_eq!(scene.get(&format!("/miners/{nobody}")).await.problem(), "not_found", "{nobody}");
    }
}

#[tokio::test]
async fn what_a_window_paid_is_told_with_the_reason() {
    let scene = Scene::new().await;
    let page = scene.get("/weights/windows/3/emission?skip=1&limit=2").await.json();
    assert_eq!(page["parts"].as_array().unwrap().len(), 2);
    assert_eq!(page["parts"][0]["category"], "H100");
    assert_eq!(page["parts"][0]["points"], u128::MAX.to_string(), "exactly, which a JSON number is not");
    for nothing in ["3/emission?skip=5", "4/emission"] {
        assert_eq!(scene.get(&format!("/weights/windows/{nothing}")).await.problem(), "not_found");
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_a_question_is_said() {
    let scene = Scene::new().await;
    for path in [
        "/nodes?limit=0",
        "/nodes?limit=501",
        "/nodes?limit=1&limit=2",
        "/nodes?limit=x",
        "/nodes?colour=red",
        "/nodes?cursor=x",
        "/nodes?gpu_type=h100",
        "/nodes?min_gpu_memory=-1",
        "/verification/results/1?cursor=00",
        "/nodes/not-a-uuid",
        "/nodes/%ff",
        "/miners?status=fine",
        "/miners?min_score=10001",
        "/verdicts/zz",
        "/gpu-profiles/V100",
        "/gpu-categories?x=1",
        "/weights/windows?limit=101",
    ] {
        let answer = scene.get(path).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid_request"), "{path}");
    }
    assert_eq!(scene.get("/nowhere").await.problem(), "not_found");
    let nobody = scene.get("/nodes/00000000-0000-0000-0000-000000000000").await;
    assert_eq!((nobody.status, nobody.problem().as_str()), (404, "not_found"));
}

#[tokio::test]
async fn only_get_and_head_are_answered_and_nothing_with_a_body() {
    let scene = Scene::new().await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        for path in ["/nodes", "/config", "/nowhere"] {
            let request = Request::builder().method(method).uri(path).header("host", "x");
            let answer = scene.send(request.body(Full::default()).unwrap()).await;
            // Which pages there are is told to everybody; a method that no page has is refused before anything else.
            let expected = if path == "/nowhere" { 404 } else { 405 };
            assert_eq!(answer.status, expected, "{method} {path}");
            answer.problem();
            if expected == 405 {
                assert_eq!(answer.header("allow"), Some("GET, HEAD"));
            }
        }
    }
    let body = Request::get("/nodes").header("host", "x").body(Full::from(Bytes::from("hello"))).unwrap();
    assert_eq!(scene.send(body).await.problem(), "body_not_allowed");
    let head = Request::head("/nodes").header("host", "x").body(Full::default()).unwrap();
    let head = scene.send(head).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn files_come_as_bytes_and_may_be_kept() {
    let scene = Scene::new().await;
    let file = scene.get(&format!("/verdicts/{}", "07".repeat(32))).await;
    assert_eq!((file.status, &file.body[..]), (200, &[0, 255][..]));
    assert_eq!(file.header("content-type"), Some("application/octet-stream"));
    assert!(file.header("cache-control").unwrap().contains("immutable"));
    assert_eq!(scene.get(&format!("/verdicts/{}", "08".repeat(32))).await.problem(), "not_found");
    assert_eq!(scene.get("/nodes").await.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a_broken_database_is_503_without_its_secrets() {
    let scene = Scene::new().await;
    scene.validator.break_database();
    for path in ["/nodes", "/miners", "/miners/1", "/gpu-categories", "/weights", "/verification/results/1"] {
        let answer = scene.get(path).await;
        assert_eq!((answer.status, answer.problem().as_str()), (503, "database_unavailable"), "{path}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(!answer.json().to_string().contains("secret"));
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_504() {
    let mut options = options();
    options.deadline = Millis(1);
    let scene = Scene::with(options).await;
    let answer = scene.get(&format!("/transcripts/{}", "08".repeat(32))).await;
    assert_eq!((answer.status, answer.problem().as_str()), (504, "timeout"));
}

#[tokio::test]
async fn the_document_is_the_one_in_the_repository_and_is_served() {
    let scene = Scene::new().await;
    let made = format!("{}\n", serde_json::to_string_pretty(&basilica_http::document()).unwrap());
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../openapi/validator.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(kept == made, "openapi/validator.json is not what the code makes; UPDATE_OPENAPI=1 writes it");
    let expected: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(expected["openapi"], "3.1.0");
    for path in ["/openapi.json", "/api-docs/openapi.json"] {
        assert_eq!(scene.get(path).await.json(), expected, "{path}");
    }
    let ui = scene.get("/swagger-ui/").await;
    assert_eq!(ui.status, 200);
    assert!(String::from_utf8_lossy(&ui.body).contains("swagger-ui"));
}

#[test]
fn every_page_of_the_document_says_what_may_go_wrong() {
    let document = serde_json::to_value(basilica_http::document()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        assert_eq!(item.as_object().unwrap().keys().collect::<Vec<_>>(), ["get"], "{path} only reads");
        let get = &item["get"];
        assert!(!get["summary"].as_str().unwrap_or_default().is_empty(), "{path} has a summary");
        if !["/health", "/live", "/ready"].contains(&path.as_str()) {
            let responses = get["responses"].as_object().unwrap();
            for status in ["400", "401", "404", "429", "500", "503", "504"] {
                assert!(responses.contains_key(status), "{path} {status}");
            }
        }
    }
}

#[tokio::test]
async fn requests_are_counted_by_page_and_never_by_what_a_client_wrote() {
    let scene = Scene::new().await;
    for path in ["/live", "/nodes/not-an-id", "/nodes/nor-this", "/secret-1", "/secret-2"] {
        scene.get(path).await;
    }
    let told = scene.metrics.render().unwrap();
    for series in [
        r#"http_requests_total{method="GET",path="/live",status="200"} 1"#,
        r#"http_requests_total{method="GET",path="/nodes/{id}",status="400"} 2"#,
        r#"http_requests_total{method="GET",path="none",status="404"} 2"#,
        r#"http_request_duration_seconds_count{path="/nodes/{id}"} 2"#,
        r#"http_response_size_bytes_count{path="/live"} 1"#,
    ] {
        assert!(told.contains(&format!("\nbasilica_x_{series}\n")), "{series} in {told}");
    }
    assert!(!told.contains("secret") && !told.contains("nor-this"), "{told}");
}

#[tokio::test]
async fn the_log_of_verdicts_is_listed_and_served_day_by_day() {
    let scene = Scene::new().await;
    let first: serde_json::Value = scene.get("/verdict-days?limit=2").await.json();
    let days: Vec<_> =
        first["days"].as_array().unwrap().iter().map(|day| day["day"].as_str().unwrap()).collect();
    assert_eq!(days, ["1970-01-04", "1970-01-03"]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let last: serde_json::Value = scene.get(&format!("/verdict-days?limit=2&cursor={cursor}")).await.json();
    assert_eq!(
        (&last["days"][0]["day"], &last["next_cursor"]),
        (&"1970-01-02".into(), &serde_json::Value::Null)
    );
    let file = scene.get("/verdict-days/1970-01-03").await;
    let signed = basilica_verification::verdict_log::SignedDay::decode_verified(&file.body).unwrap();
    assert_eq!(signed.digest().to_string(), first["days"][1]["digest"].as_str().unwrap());
    for path in ["/verdict-days/1970-02-31", "/verdict-days/yesterday", "/verdict-days/2026-01-01"] {
        assert_eq!(scene.get(path).await.status, 404, "{path}");
    }
    let (kept, other) = ("07".repeat(32), "08".repeat(32));
    assert_eq!(scene.get(&format!("/verdicts/{kept}/inclusion")).await.body[..], [1, 2]);
    assert_eq!(scene.get(&format!("/verdicts/{other}/inclusion")).await.status, 404);
}

#[tokio::test]
async fn verdicts_of_a_node_or_a_miner_come_page_by_page_newest_first() {
    let scene = Scene::new().await;
    pages_of_verdicts(&scene, format!("/nodes/{}/verdicts?limit=2", address(2).node_id()), 1).await;
    pages_of_verdicts(&scene, "/verification/results/1?limit=2".to_owned(), 2).await;
}

async fn pages_of_verdicts(scene: &Scene, path: String, nodes: usize) {
    let mut of = BTreeSet::new();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for expected in [2, 2, 1] {
        let page = scene.get(&format!("{path}{cursor}")).await.json();
        let verdicts = page["verdicts"].as_array().unwrap();
        assert_eq!(verdicts.len(), expected);
        of.extend(verdicts.iter().map(|verdict| verdict["node_id"].as_str().unwrap().to_owned()));
        seen.extend(verdicts.iter().map(|verdict| verdict["finished"].as_str().unwrap().to_owned()));
        cursor = match page["next_cursor"].as_str() {
            Some(next) => format!("&cursor={next}"),
            None => String::new(),
        };
    }
    assert!(cursor.is_empty(), "none follows the last page");
    assert_eq!(of.len(), nodes, "{path}");
    assert!(seen.is_sorted_by(|one, next| one > next), "{seen:?}");
    let other_list = format!("{path}&cursor={}", "0".repeat(64));
    assert_eq!(scene.get(&other_list).await.problem(), "invalid_request");
}

#[tokio::test]
async fn why_something_fails_is_told_to_operators_and_of_the_chain_to_all() {
    let scene = Scene::new().await;
    scene.validator.break_database();
    let public = scene.get("/health").await;
    let known = scene.get_with("/health", &[("x-api-key", KEY)]).await;
    assert_eq!((public.status, known.status), (503, 503));
    let (public, known) = (public.json(), known.json());
    assert_eq!((&public["role"], &public["status"]), (&"standby".into(), &"unhealthy".into()));
    assert_eq!(public["checks"]["chain"], "no endpoint answers");
    assert_eq!(public["checks"]["database"], "does not hold; its operator sees why");
    assert_eq!(known["checks"]["database"], "postgres://10.0.0.7: connection refused");
    let ready = |answer: Answer| String::from_utf8_lossy(&answer.body).into_owned();
    assert!(!ready(scene.get("/ready").await).contains("10.0.0.7"));
    assert!(ready(scene.get_with("/ready", &[("x-api-key", KEY)]).await).contains("10.0.0.7"));
}
