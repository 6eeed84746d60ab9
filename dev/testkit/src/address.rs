use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;

/// The ports given so far: the kernel may offer one again once it is let go.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A free port on a loopback address that this test process has to itself, so that it stays free once it is let go: for
/// programs that cannot say which port they took. No port is given twice.
pub fn free_address() -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, 77, high, low.max(1));
    loop {
        let listener = TcpListener::bind((ip, 0)).and_then(|listener| listener.local_addr());
        let address = listener.expect("a loopback address has a free port");
        if GIVEN.lock().expect("no test panics in here").insert(address.port()) {
            return address;
        }
    }
}
