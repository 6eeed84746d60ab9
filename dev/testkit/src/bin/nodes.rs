//! Starts nodes to play with and keeps them until its standard input closes: `testkit-nodes COUNT [KEY.pub] [own|shared]`.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use basilica_localnet::nodes::{Isolation, NodeHosts, NodeSpec, Reach};
use basilica_types::SshPublicKey;
use tokio::io::{AsyncReadExt as _, stdin};

/// Who gets in if no key is named: nobody, since nobody knows the other half of a key whose bytes count up from 0.
const NOBODY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program for the terminal")]
#[expect(
    clippy::disallowed_methods,
    reason = "a program for the terminal, which shows how long a start took"
)]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    ensure!(!arguments.is_empty(), "usage: testkit-nodes COUNT [KEY.pub] [own|shared]");
    let count: usize = arguments[0].parse().context("COUNT is a number")?;
    let line = match arguments.get(1).filter(|path| path.as_str() != "-") {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("read {path}"))?,
        None => NOBODY.to_owned(),
    };
    let key: SshPublicKey = line.parse()?;
    let isolation = match arguments.get(2).map(String::as_str) {
        Some("own") => Isolation::Own,
        Some("shared") => Isolation::Shared,
        _ => Isolation::Best,
    };
    let specs = (1..=count).map(|i| NodeSpec::new(format!("gpu-node-{i}"), &key)).collect();
    let begun = Instant::now();
    let hosts = NodeHosts::start(isolation, Reach::Machine, specs).await?;
    println!("started in {:?}", begun.elapsed());
    for node in hosts.nodes() {
        println!("{} {} {}", node.name(), node.address(), node.host_key());
    }
    println!("ready");
    stdin().read_to_end(&mut Vec::new()).await?;
    hosts.stop().await;
    Ok(())
}
