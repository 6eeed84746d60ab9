//! The API as its clients meet it: over its own router, with a validator that answers from memory.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod access;
mod load;
mod pages;
mod validator;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use basilica_http::{Api, ApiKey, ApiOptions};
use basilica_runtime_service::testing::VirtualClock;
use basilica_runtime_service::{HttpLimits, HttpListener, Metrics, Stop, TaskSet};
use basilica_types::Millis;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::validator::Remembering;

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A listening API.
struct Scene {
    validator: Arc<Remembering>,
    address: SocketAddr,
    metrics: Metrics,
    _stop: Stop,
    _server: TaskSet<()>,
}

/// What came back.
struct Answer {
    status: u16,
    head: hyper::HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.get(name).map(|value| value.to_str().unwrap())
    }

    /// Its code, if it is a problem as it must be.
    fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{:?}", self.body);
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{problem}");
        problem["code"].as_str().unwrap().to_owned()
    }
}

fn options() -> ApiOptions {
    ApiOptions {
        version: "1.2.3",
        config: serde_json::json!({ "verification": { "retries": 3 }, "emission": { "burn_uid": 204 } }),
        api_key: Some(ApiKey::new(KEY).unwrap()),
        hotkeys: BTreeSet::new(),
        proxies: BTreeSet::new(),
        rate_limit: None,
        at_once: 64,
        deadline: Millis::from_secs(10),
    }
}

impl Scene {
    async fn new() -> Self {
        Self::with(options()).await
    }

    async fn with(options: ApiOptions) -> Self {
        let validator = Arc::new(Remembering::new());
        let api = Api::new(Arc::<Remembering>::clone(&validator), options);
        let metrics = Metrics::new();
        metrics.register(|registry| api.observe(registry, "basilica_x"));
        let listener = HttpListener::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let (address, stop) = (listener.local_addr(), Stop::new());
        let mut server = TaskSet::new();
        let (clock, stopping) = (VirtualClock::new(), stop.clone());
        server.spawn("api", async move {
            listener.serve(|peer| api.for_peer(peer), HttpLimits::default(), clock, stopping).await;
        });
        Self { validator, address, metrics, _stop: stop, _server: server }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let (answer, _) = tokio::join!(
            async move {
                let answer: Response<hyper::body::Incoming> = sender.send_request(request).await.unwrap();
                let (parts, body) = answer.into_parts();
                Answer {
                    status: parts.status.as_u16(),
                    head: parts.headers,
                    body: body.collect().await.unwrap().to_bytes(),
                }
            },
            connection
        );
        answer
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).header("host", "x").body(Full::default()).unwrap()).await
    }

    async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::get(path).header("host", "x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::default()).unwrap()).await
    }
}
