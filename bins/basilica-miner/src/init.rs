//! `basilica-miner init`: a configuration for a new miner.
//!
//! Asks only what it cannot know, and checks each answer at once. What is given as a flag is not asked; with `--yes` nothing is, and what
//! is missing then is named. The text is the shipped example with the answers put in.

mod ask;
mod made;

use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use basilica_console as console;
use basilica_console::Terminal;
use basilica_miner_service::config::{
    Answers, NodeEntry, from_example, netuid_on, node_key_path, unusable_ip,
};
use basilica_types::{Host, Network, UsdMicros, Username, WalletName};
use basilica_wallet::{Unattended, Wallets};
use clap::Args;
use serde_json::json;

use self::ask::Asked;
use self::made::Made;
use crate::cli::Cli;
use crate::commands::{answer, checked, loaded};
use crate::config_file;
use crate::keys;
use crate::nodes;
use crate::program::Program;

/// Who logs in on nodes, unless something else is said.
const DEFAULT_USER: &str = "basilica";
/// Where a development chain's validators reach a miner of the same machine: the chain takes 127.0.0.1 from nobody.
const LOCAL_IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Ask nothing: take the flags, and what is usual for the rest.
    #[arg(long)]
    yes: bool,
    /// finney (main), test or local [default: finney].
    #[arg(long, value_parser = network)]
    network: Option<Network>,
    /// The subnet [default: 39, on test 387].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    netuid: Option<u16>,
    /// The wallet's name [default: the only one].
    #[arg(long)]
    wallet: Option<WalletName>,
    /// The hotkey's name [default: the wallet's only one].
    #[arg(long)]
    hotkey: Option<WalletName>,
    /// Directory of wallets [default: ~/.bittensor/wallets].
    #[arg(long, value_name = "DIR")]
    wallet_path: Option<PathBuf>,
    /// This server's public address, where validators connect [default: this host's own, if it is public].
    #[arg(long, value_name = "IP", value_parser = external_ip)]
    external_ip: Option<IpAddr>,
    /// A GPU server and its price in US dollars per GPU and hour; may be given several times.
    #[arg(long = "node", value_name = "[USER@]HOST[:PORT][=USD]", value_parser = node)]
    nodes: Vec<NodeEntry>,
    /// Directory of the database; made if it is not there [default: data, beside the configuration].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The file to be written [default: that of --config].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that is there; it is kept beside as FILE.old.
    #[arg(long)]
    force: bool,
}

fn network(text: &str) -> Result<Network, String> {
    let all = [Network::Finney, Network::Test, Network::Local];
    all.into_iter().find(|network| network.as_str() == text).ok_or_else(|| "finney, test or local".to_owned())
}

fn external_ip(text: &str) -> Result<IpAddr, String> {
    let ip: IpAddr =
        text.parse().map_err(|_| "is not an IP address; find yours with: curl -4 ifconfig.me")?;
    unusable_ip(ip).map_or(Ok(ip), Err)
}

fn node(text: &str) -> Result<NodeEntry, String> {
    let (address, rate) = match text.split_once('=') {
        Some((address, rate)) => (address, Some(rate)),
        None => (text, None),
    };
    let user: Username = DEFAULT_USER.parse().map_err(|error| format!("{error}"))?;
    let address = nodes::address(address, &user).map_err(|error| error.to_string())?;
    let rate = rate.map(UsdMicros::parse_dollars).transpose().map_err(|error| error.to_string())?;
    Ok(NodeEntry { hourly_rate_per_gpu: rate, ..NodeEntry::at(address) })
}

/// The node, unless it is one of the others.
fn once(others: &[NodeEntry], node: NodeEntry) -> Result<NodeEntry, String> {
    match others.iter().any(|other| other.address == node.address) {
        true => Err(format!("{} is given already; name each server once", node.address)),
        false => Ok(node),
    }
}

pub(crate) fn run(cli: &Cli, init: &Init) -> anyhow::Result<()> {
    let output = init.output.as_deref().unwrap_or(&cli.config);
    let shown = output.display();
    if output.exists() && !init.force {
        bail!(
            "{shown} exists already and is left alone; name another file with --output, or replace it with --force"
        );
    }
    let home = std::env::home_dir();
    let wallets = match (&init.wallet_path, &home) {
        (Some(path), _) => Wallets::at(path),
        (None, Some(home)) => Wallets::in_home(home),
        (None, None) => bail!("HOME is not set; give --wallet-path DIR"),
    };
    let mut asked = Asked::new(if init.yes { None } else { Some(terminal(output)?) });
    let answers = answers(init, output, &wallets, &mut asked)?;
    let text = from_example(&answers)?;
    let mut made = Made::default();
    if let Some(directory) = answers.database.parent() {
        made.next(directory);
        let made = std::fs::create_dir_all(directory);
        made.with_context(|| format!("make the database's directory {}", directory.display()))?;
    }
    let key = config_file::create(output, &text, config_file::ANYBODY, init.force, |path| {
        let loaded = loaded(cli, path)?;
        // A node needs the key's file; installing it is the next step.
        let key = node_key_path(&loaded, home.as_deref())?;
        [&key, &keys::half(&key)].into_iter().for_each(|file| made.next(file));
        nodes::ensure_key(&key)?;
        checked(&loaded)?;
        Ok(key)
    })?;
    made.keep();
    tell(cli, output, &answers, &key)
}

fn terminal(output: &Path) -> anyhow::Result<Terminal> {
    Terminal::open().map_err(|_| {
        anyhow::anyhow!(
            "there is no terminal to ask at; give --yes and what is not usual, such as: {} init --yes --network finney \
             --wallet NAME --hotkey NAME --external-ip IP --node USER@HOST=USD",
            Program::with(output)
        )
    })
}

fn answers(init: &Init, output: &Path, wallets: &Wallets, asked: &mut Asked) -> anyhow::Result<Answers> {
    let network = match init.network {
        Some(network) => network,
        None => {
            asked.value("Network (finney, test or local)", Some(Network::Finney), "--network", network)?
        }
    };
    let (wallet, hotkey) = wallet(init, wallets, asked)?;
    let external_ip = match init.external_ip {
        Some(ip) => ip,
        None => {
            let usual = if network == Network::Local { Some(LOCAL_IP) } else { own_public_ip() };
            let question = "Public IP address of this server (curl -4 ifconfig.me)";
            asked.value(question, usual, "--external-ip", external_ip)?
        }
    };
    let mut nodes = init.nodes.clone();
    if nodes.is_empty() {
        let question = "GPU server as USER@HOST[:PORT]=USD-per-GPU-and-hour (empty: no more)";
        nodes = asked.list(question, |others, text| once(others, node(text)?))?;
    }
    for (at, node) in nodes.iter().enumerate() {
        once(&nodes[..at], node.clone()).map_err(|why| anyhow::anyhow!("--node {why}"))?;
    }
    let directory = match &init.data_dir {
        Some(directory) => std::path::absolute(directory)?,
        None => std::path::absolute(output)?.parent().unwrap_or(Path::new("/")).join("data"),
    };
    Ok(Answers {
        wallet_path: init.wallet_path.as_ref().map(|path| path.display().to_string()),
        wallet,
        hotkey,
        network,
        netuid: init.netuid.unwrap_or(netuid_on(network)),
        external_ip: Some(external_ip),
        database: directory.join("miner.db"),
        nodes,
        default_user: DEFAULT_USER.parse()?,
    })
}

/// A hotkey that can be loaded: the one named, the only one, or the one chosen.
fn wallet(init: &Init, wallets: &Wallets, asked: &mut Asked) -> anyhow::Result<(WalletName, WalletName)> {
    let root = wallets.root().display().to_string();
    let listing = wallets.list().with_context(|| format!("look for wallets in {root}"))?;
    let fits =
        |wanted: &Option<WalletName>, name: &WalletName| wanted.as_ref().is_none_or(|wanted| wanted == name);
    let found: Vec<(WalletName, WalletName)> = listing
        .wallets
        .iter()
        .filter(|wallet| fits(&init.wallet, &wallet.name))
        .flat_map(|wallet| wallet.hotkeys.iter().map(|(hotkey, _)| (wallet.name.clone(), hotkey.clone())))
        .filter(|(_, hotkey)| fits(&init.hotkey, hotkey))
        .collect();
    let names: Vec<String> = found.iter().map(|(wallet, hotkey)| format!("{wallet}/{hotkey}")).collect();
    if found.is_empty() {
        bail!(
            "no such hotkey is in {root}; make one with `basilica wallet new`, copy yours there, or name it with --wallet, --hotkey and \
             --wallet-path"
        );
    }
    let check = |text: &str| {
        let at = names
            .iter()
            .position(|name| name == text)
            .ok_or_else(|| format!("one of {}", names.join(", ")))?;
        let (wallet, hotkey) = &found[at];
        let passwords = Unattended::new(None, |name| std::env::var_os(name));
        let loaded = wallets.hotkey(wallet.as_str(), hotkey.as_str(), &passwords);
        loaded.map_err(|error| {
            let why = anyhow::Error::new(error);
            format!(
                "Failed to load hotkey: {why:#}; put that right, or choose another by --wallet, --hotkey and --wallet-path \
                 (`basilica wallet list` names them)"
            )
        })?;
        Ok(found[at].clone())
    };
    if let [only] = names.as_slice() {
        return check(only).map_err(anyhow::Error::msg);
    }
    let question = format!("Wallet and hotkey ({})", names.join(", "));
    asked.value(&question, None::<&str>, "--wallet and --hotkey", check)
}

/// The address by which this host would reach others, if others can reach it there. Sends nothing.
fn own_public_ip() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Of the addresses kept for documentation; connecting a datagram socket only chooses a route.
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    Host::is_public_address(ip).then_some(ip)
}

fn tell(cli: &Cli, output: &Path, answers: &Answers, key: &Path) -> anyhow::Result<()> {
    let shown = output.display();
    let program = Program::with(output);
    let mut next: Vec<String> =
        answers.nodes.iter().map(|node| format!("{program} nodes add {}", node.address)).collect();
    if next.is_empty() {
        next.push(format!("{program} nodes add USER@HOST --hourly-rate-per-gpu USD"));
    }
    next.push(format!("{program} config validate"));
    next.push(program.to_string());
    let (_, notices) = checked(&loaded(cli, output)?)?;
    // That there is no node yet is what comes next.
    let warnings = notices.iter().filter(|notice| notice.key != "node_management.nodes");
    let warnings: Vec<String> = warnings.map(|notice| program.in_words(&notice.to_string())).collect();
    let data = json!({
        "file": shown.to_string(),
        "network": answers.network.as_str(),
        "netuid": answers.netuid,
        "wallet": answers.wallet.as_str(),
        "hotkey": answers.hotkey.as_str(),
        "external_ip": answers.external_ip.map(|ip| ip.to_string()),
        "database": answers.database.display().to_string(),
        "node_key": key.display().to_string(),
        "nodes": answers.nodes.iter().map(|node| node.address.to_string()).collect::<Vec<_>>(),
        "warnings": warnings,
        "next": next,
    });
    if !cli.json {
        warnings.iter().for_each(|warning| console::tell(&format!("warning: {warning}")));
    }
    answer(cli, &data, || {
        format!(
            "{shown} is written: {}/{} on {} (subnet {}); the nodes' SSH key is {}\nnext:\n  {}",
            answers.wallet,
            answers.hotkey,
            answers.network,
            answers.netuid,
            key.display(),
            next.join("\n  ")
        )
    })
}
