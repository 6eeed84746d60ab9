use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// A free port on a loopback address that this test process has to itself, so that it stays free once it is let go: for
/// programs that cannot say which port they took.
pub fn free_address() -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let listener = TcpListener::bind((Ipv4Addr::new(127, 77, high, low.max(1)), 0));
    listener.and_then(|listener| listener.local_addr()).expect("a loopback address has a free port")
}
