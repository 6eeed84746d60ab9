//! A TCP relay that can fall silent without closing, as overloaded endpoints do.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

pub(crate) struct Proxy {
    pub(crate) url: String,
    silent: Arc<AtomicBool>,
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
