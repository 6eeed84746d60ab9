//! Relays before a chain that misbehave as endpoints do: one that can fall silent without closing, and one that reads
//! the JSON-RPC and answers some requests itself.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use soketto::handshake::{Server, server::Response};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

use crate::devchain::post;

pub(crate) struct Proxy {
    pub(crate) url: String,
    silent: Arc<AtomicBool>,
}

/// What the relay does with a request instead of passing it on.
pub(crate) enum Rewrite {
    /// Answers with an error of this code.
    Error(i32, String),
    /// Passes it on and changes the answer's result.
    Result(Box<dyn FnOnce(Value) -> Value + Send>),
    /// Passes it on and closes the connection instead of handing the answer back.
    Lose,
    /// Closes the connection.
    Drop,
}

impl Proxy {
    /// A relay to the chain at `url`. Its threads end with the test's process.
    pub(crate) fn before(url: &str) -> Self {
        let target = url.strip_prefix("ws://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let silent = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&silent);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&target) else { continue };
                let pairs = [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)];
                for (from, to) in pairs {
                    let silent = Arc::clone(&shared);
                    thread::spawn(move || relay(from, to, &silent));
                }
            }
        });
        Self { url, silent }
    }

    /// A relay that asks `rule` about each request's method.
    pub(crate) fn rewriting(
        url: &str,
        mut rule: impl FnMut(&str) -> Option<Rewrite> + Send + 'static,
    ) -> Self {
        Self::rewriting_requests(url, move |request| rule(request["method"].as_str().unwrap()))
    }

    /// A relay that asks `rule` about each request.
    pub(crate) fn rewriting_requests(
        url: &str,
        rule: impl FnMut(&Value) -> Option<Rewrite> + Send + 'static,
    ) -> Self {
        let target = url.strip_prefix("ws://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let rule = Arc::new(Mutex::new(rule));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (rule, target) = (Arc::clone(&rule), target.clone());
                thread::spawn(move || {
                    let mut rule = move |request: &Value| (rule.lock().unwrap())(request);
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    // It ends when either side goes away.
                    let _ = runtime.block_on(converse(client, &target, &mut rule));
                });
            }
        });
        Self { url, silent: Arc::new(AtomicBool::new(false)) }
    }

    /// From now on nothing passes, and nothing closes.
    pub(crate) fn fall_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, silent: &AtomicBool) {
    let mut buffer = [0u8; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !silent.load(Ordering::SeqCst) && to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

/// One request after the other, each over HTTP to the chain: the client uses no subscriptions.
async fn converse(
    client: TcpStream,
    target: &str,
    rule: &mut dyn FnMut(&Value) -> Option<Rewrite>,
) -> Result<(), Box<dyn std::error::Error>> {
    client.set_nonblocking(true)?;
    let mut server = Server::new(tokio::net::TcpStream::from_std(client)?.compat());
    let key = server.receive_request().await?.key();
    server.send_response(&Response::Accept { key, protocol: None }).await?;
    let (mut sender, mut receiver) = server.into_builder().finish();
    loop {
        let mut text = Vec::new();
        receiver.receive_data(&mut text).await?;
        let request: Value = serde_json::from_slice(&text)?;
        let answer = match rule(&request) {
            Some(Rewrite::Drop) => return Ok(()),
            Some(Rewrite::Error(code, message)) => {
                json!({ "jsonrpc": "2.0", "id": request["id"], "error": { "code": code, "message": message } })
            }
            Some(Rewrite::Lose) => {
                post(target, "/", &request);
                return Ok(());
            }
            Some(Rewrite::Result(change)) => {
                let mut answer = post(target, "/", &request);
                answer["result"] = change(answer["result"].take());
                answer
            }
            None => post(target, "/", &request),
        };
        sender.send_text(answer.to_string()).await?;
        sender.flush().await?;
    }
}
