//! What is printed when the chain is ready: its facts, its keys, and how to connect.

use std::io::Write;

use serde_json::json;

use super::Flags;
use crate::genesis::{Genesis, NamedAccount};
use crate::node::Node;
use crate::node::mine::Mining;
use crate::runtime::Version;

/// Prints everything; the last line, `listening ws://…`, says that the chain can be used. With `--json` it is one object.
pub(super) fn print(flags: &Flags, genesis: &Genesis, node: &Node, url: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if flags.json {
        writeln!(out, "{}", as_json(flags, genesis, node, url))?;
    } else {
        as_text(&mut out, flags, genesis, node, url)?;
    }
    out.flush()?;
    Ok(())
}

/// The version of the best block's runtime; 0 if the runtime cannot say.
fn spec_version(node: &Node) -> u32 {
    use frame_support::traits::Get as _;
    let state = node.chain().best_state();
    crate::executor::read(&state, Version::get).map_or(0, |version| version.spec_version)
}

fn mining(node: &Node) -> String {
    match node.mining() {
        Mining::Interval(ms) => format!("one every {ms} ms"),
        Mining::Instant => "one for each transaction, at once".to_owned(),
        Mining::Manual => "only by dev_newBlock".to_owned(),
    }
}

fn as_text(
    out: &mut impl Write,
    flags: &Flags,
    genesis: &Genesis,
    node: &Node,
    url: &str,
) -> std::io::Result<()> {
    let subnet = &genesis.subnet;
    writeln!(
        out,
        "basilica-devchain {}: its keys are public, never use it for value\n",
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(
        out,
        "{:<9} {}, {} neurons, an epoch every {} blocks",
        "subnet",
        subnet.netuid,
        subnet.neurons.len(),
        subnet.tempo
    )?;
    writeln!(out, "{:<9} {}; {} behind is final", "blocks", mining(node), flags.rules(genesis).finality_lag)?;
    writeln!(out, "{:<9} {:?}", "genesis", node.genesis())?;
    let (number, spec) = (node.best().header.number, spec_version(node));
    writeln!(
        out,
        "{:<9} profile {}, spec version {spec}, now at block {number}",
        "runtime", genesis.profile
    )?;
    match &flags.state {
        Some(path) => writeln!(out, "{:<9} kept in {}", "state", path.display())?,
        None => writeln!(out, "{:<9} in memory, gone at the end (--state FILE keeps it)", "state")?,
    }
    let controls = if flags.controls() { "dev_* methods are on" } else { "off (--dev-rpc on serves them)" };
    writeln!(out, "{:<9} {controls}\n", "controls")?;
    writeln!(out, "{:<20} {:<48} {:>15}  URI", "account", "address", "TAO")?;
    for account in &genesis.accounts {
        write_account(out, genesis, account)?;
    }
    if genesis.unlisted > 0 {
        writeln!(
            out,
            "and {} more neurons, hotkeys //Neuron{{uid}}, coldkeys //Neuron{{uid}}Cold",
            genesis.unlisted
        )?;
    }
    writeln!(out, "\nconnect")?;
    writeln!(out, "  btcli   btcli subnets list --network {url}")?;
    writeln!(out, "  Python  bittensor.Subtensor(\"{url}\")")?;
    writeln!(out, "  Rust    subxt::OnlineClient::<SubstrateConfig>::from_insecure_url(\"{url}\")\n")?;
    writeln!(out, "listening {url}")
}

fn write_account(out: &mut impl Write, genesis: &Genesis, account: &NamedAccount) -> std::io::Result<()> {
    let rao = genesis.balance_of(&account.account);
    let tao = format!("{}.{:09}", rao / 1_000_000_000, rao % 1_000_000_000);
    let uri = account.uri.as_deref().unwrap_or("");
    writeln!(
        out,
        "{:<20} {} {:>15}  {uri}",
        account.role,
        account.address(),
        tao.trim_end_matches('0').trim_end_matches('.')
    )
}

fn as_json(flags: &Flags, genesis: &Genesis, node: &Node, url: &str) -> serde_json::Value {
    let accounts: Vec<_> = genesis
        .accounts
        .iter()
        .map(|account| {
            json!({
                "role": account.role,
                "address": account.address(),
                "uri": account.uri,
                "rao": genesis.balance_of(&account.account),
            })
        })
        .collect();
    json!({
        "url": url,
        "netuid": genesis.subnet.netuid.0,
        "neurons": genesis.subnet.neurons.len(),
        "tempo": genesis.subnet.tempo,
        "block_time_ms": genesis.block_time_ms,
        "finality_lag": flags.rules(genesis).finality_lag,
        "genesis": format!("{:?}", node.genesis()),
        "profile": genesis.profile.to_string(),
        "spec_version": spec_version(node),
        "block": node.best().header.number,
        "state": flags.state,
        "controls": flags.controls(),
        "accounts": accounts,
    })
}
