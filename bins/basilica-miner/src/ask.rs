//! Asks the miner that runs with this configuration, over plain HTTP on its health port.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use basilica_status::{FORM, MinerStatus};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::pages::STATUS;

/// Of connecting, and of each wait for more of an answer.
const DEADLINE: Duration = Duration::from_secs(3);
/// A snapshot of the largest fleet is a tenth of it.
const LIMIT: u64 = 64 << 20;

/// The part of a snapshot that says whether the rest can be read.
#[derive(Deserialize)]
struct Form {
    form: u32,
}

/// The running miner's snapshot.
///
/// # Errors
/// No miner answers there, or one of another version.
pub(crate) fn status(address: SocketAddr) -> anyhow::Result<MinerStatus> {
    let (code, body) = get(address, STATUS)?;
    if code == 404 {
        bail!(
            "who answers at {address} does not tell a miner's status: a miner that is older than this program (restart it), or another program"
        );
    }
    ensure!(code == 200, "the miner at {address} answers {code}: {}", text(&body));
    let form: Form = read(&body)?;
    if form.form != FORM {
        bail!(
            "the miner at {address} tells its status in form {}, and this program reads form {FORM}: let both have the same version",
            form.form
        );
    }
    read(&body)
}

/// `GET /health`, whatever its status: an unhealthy miner's answer is one too.
pub(crate) fn health(address: SocketAddr) -> anyhow::Result<serde_json::Value> {
    read(&get(address, "/health")?.1)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(body).context("the answer is not what a miner of this version says")
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim().chars().take(200).collect()
}

/// Status and body.
fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, Vec<u8>)> {
    let address = reachable(address);
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LIMIT).read_to_end(&mut answer).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            anyhow!("it does not answer within {} s", DEADLINE.as_secs())
        }
        _ => error.into(),
    })?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("the answer is not HTTP")?;
    let head = std::str::from_utf8(&answer[..end]).context("the answer is not HTTP")?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("the answer is not HTTP")?;
    Ok((code, answer.split_off(end + 4)))
}

/// Who listens on all addresses is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
