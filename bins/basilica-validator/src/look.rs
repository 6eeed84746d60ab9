//! How far one gets at a node now: `connect`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use basilica_console as console;
use basilica_ports::{
    AddressPolicy, Clock as _, Dial, Entropy, HostKeyPolicy, Identity, NodeShell as _, ShellError,
};
use basilica_ssh::RusshShell;
use basilica_system::{OsEntropy, SystemClock};
use basilica_types::{ErrorChain, Host, HostKey, Millis, NodeAddress};
use basilica_validator_service::ValidatorConfig;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::ask::{self, NodeName, Validator};
use crate::print;

/// How far one of a name's addresses lets us come.
struct Reached {
    at: SocketAddr,
    took: Duration,
    result: Result<HostKey, ShellError>,
}

/// Goes as far as the host key at each address that a node's stands for, and no further: nothing logs in. Exit code 1 if none of them speaks SSH.
pub(crate) async fn connect(
    config: &ValidatorConfig,
    node: &NodeName,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let address = match node {
        NodeName::Address(address) => address.clone(),
        NodeName::Id(_) => known_address(&Validator::of(config)?, node).await?,
    };
    let deadline = config.ssh_session.connection_timeout.millis();
    let policy =
        if config.verification.allow_private_hosts { AddressPolicy::Any } else { AddressPolicy::PublicOnly };
    let resolved = RusshShell.resolve(&address, policy, deadline).await.map_err(told)?;
    let clock = SystemClock::new();
    let mut reached = Vec::new();
    for at in resolved {
        let began = clock.monotonic();
        let result = host_key(&address, at, policy, deadline).await;
        reached.push(Reached { at, took: clock.monotonic().saturating_sub(began), result });
    }
    let works = reached.iter().any(|one| one.result.is_ok());
    if json {
        let rows: Vec<Value> = reached.iter().map(as_json).collect();
        print(&format!(
            "{:#}\n",
            json!({ "address": address.to_string(), "node_id": address.node_id().to_string(), "reached": rows })
        ))?;
    } else {
        print(&format!("{address} is node {}\n", address.node_id()))?;
        for one in &reached {
            print(&as_text(one))?;
        }
    }
    Ok(if works { ExitCode::SUCCESS } else { ExitCode::from(console::FAILURE) })
}

/// An error with its causes.
fn told(error: ShellError) -> anyhow::Error {
    anyhow::Error::new(error)
}

/// The address of a node that the running validator knows.
async fn known_address(validator: &Validator, node: &NodeName) -> anyhow::Result<NodeAddress> {
    let page = ask::node(validator, node).await?;
    let address = page.nodes.iter().find_map(|node| node.address.clone());
    let Some(address) = address else {
        let why = validator.unknown().unwrap_or_else(|| "the validator does not tell".to_owned());
        bail!("no address of node {node}: {why}; or name the node as user@host:port");
    };
    address.parse().with_context(|| format!("read the address {address:?} of node {node}"))
}

/// The key that a server shows. No key is pinned, so every key is refused, and refusing tells which it was.
async fn host_key(
    address: &NodeAddress,
    at: SocketAddr,
    addresses: AddressPolicy,
    deadline: Millis,
) -> Result<HostKey, ShellError> {
    let mut direct = address.clone();
    direct.host = Host::Ip(at.ip());
    let dial = Dial {
        address: direct,
        identity: Identity::Ephemeral(Zeroizing::new((&OsEntropy as &dyn Entropy).array())),
        host_keys: HostKeyPolicy::Pinned(Vec::new()),
        addresses,
        deadline,
    };
    match RusshShell.connect(&dial).await {
        Err(ShellError::HostKey { key: Some(key), .. }) => Ok(*key),
        Err(error) => Err(error),
        Ok(shell) => Ok(shell.host_key().clone()),
    }
}

fn as_json(reached: &Reached) -> Value {
    let took = u64::try_from(reached.took.as_millis()).unwrap_or(u64::MAX);
    match &reached.result {
        Ok(key) => {
            json!({ "at": reached.at.to_string(), "took_ms": took, "host_key": key.to_string(), "fingerprint": key.fingerprint() })
        }
        Err(error) => {
            json!({ "at": reached.at.to_string(), "took_ms": took, "error": ErrorChain(error).to_string() })
        }
    }
}

fn as_text(reached: &Reached) -> String {
    let (at, took) = (reached.at, reached.took.as_millis());
    match &reached.result {
        Ok(key) => format!("  {at}  speaks SSH after {took} ms\n  host key {}\n  {key}\n", key.fingerprint()),
        Err(error) => format!("  {at}  {} after {took} ms\n", ErrorChain(error)),
    }
}
