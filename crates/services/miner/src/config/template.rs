//! A configuration for a new miner: the shipped example with answers put in, so that there is one place for what each key means.

use std::net::IpAddr;
use std::path::PathBuf;

use basilica_types::{Network, NodeAddress, Username, WalletName};
use toml_edit::{Array, DocumentMut, Item, Table, Value};

use super::edit::{EditError, NodeEntry, set_node};

/// The annotated example that is shipped with the program.
pub const EXAMPLE: &str = include_str!("../../../../../config/miner.toml.example");

/// What nobody can know but the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// Directory of wallets, as it is to be written; none: the usual one.
    pub wallet_path: Option<String>,
    /// The wallet.
    pub wallet: WalletName,
    /// Its hotkey.
    pub hotkey: WalletName,
    /// Which chain.
    pub network: Network,
    /// Which subnet.
    pub netuid: u16,
    /// Where validators reach the miner; none: it is published by other means.
    pub external_ip: Option<IpAddr>,
    /// The database's file.
    pub database: PathBuf,
    /// GPU servers.
    pub nodes: Vec<NodeEntry>,
    /// Login of those that name none.
    pub default_user: Username,
}

/// The number of our subnet on a chain.
pub const fn netuid_on(network: Network) -> u16 {
    match network {
        Network::Finney | Network::Local => 39,
        Network::Test => 387,
    }
}

/// Puts a value in the place of the example's, whose comment stays.
fn put(section: &mut Table, key: &str, value: impl Into<Value>) {
    let mut value: Value = value.into();
    match section.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        // Inserting would also drop the comments above a key that is there.
        None => drop(section.insert(key, Item::Value(value))),
    }
}

/// The configuration's text.
///
/// # Errors
/// The example is not what it should be: a defect.
pub fn from_example(answers: &Answers) -> Result<String, EditError> {
    let mut document: DocumentMut = EXAMPLE.parse()?;
    let mut section = |name: &str, change: &mut dyn FnMut(&mut Table)| {
        document.get_mut(name).and_then(Item::as_table_mut).map(change).ok_or(EditError::Shape)
    };
    section("bittensor", &mut |table| {
        put(table, "wallet_name", answers.wallet.as_str());
        put(table, "hotkey_name", answers.hotkey.as_str());
        put(table, "network", answers.network.as_str());
        put(table, "netuid", i64::from(answers.netuid));
        put(table, "chain_endpoint", answers.network.endpoint().as_str());
        match answers.external_ip {
            Some(ip) => put(table, "external_ip", ip.to_string()),
            None => drop(table.remove("external_ip")),
        }
        if let Some(path) = &answers.wallet_path {
            put(table, "wallet_path", path.as_str());
        }
    })?;
    section("database", &mut |table| put(table, "url", format!("sqlite://{}", answers.database.display())))?;
    section("ssh_session", &mut |table| put(table, "default_node_username", answers.default_user.as_str()))?;
    section("node_management", &mut |table| {
        if let Some(nodes) = table.get_mut("nodes").and_then(Item::as_array_mut) {
            clear(nodes);
        }
    })?;
    let mut text = document.to_string();
    for node in &answers.nodes {
        text = set_node(&text, &answers.default_user, node)?.0;
    }
    Ok(text)
}

/// Takes the example's nodes out and leaves its notes.
fn clear(nodes: &mut Array) {
    let notes = nodes.trailing().as_str().unwrap_or_default().to_owned();
    nodes.clear();
    nodes.set_trailing_comma(false);
    nodes.set_trailing(notes);
}

impl NodeEntry {
    /// A node without anything but its address.
    pub const fn at(address: NodeAddress) -> Self {
        Self { address, hourly_rate_per_gpu: None, region: None, host_key: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basilica_types::UsdMicros;

    fn answers() -> Answers {
        Answers {
            wallet_path: None,
            wallet: "mine".parse().unwrap(),
            hotkey: "hot".parse().unwrap(),
            network: Network::Test,
            netuid: netuid_on(Network::Test),
            external_ip: Some("203.0.113.9".parse().unwrap()),
            database: "/srv/basilica/miner.db".into(),
            nodes: Vec::new(),
            default_user: "gpu".parse().unwrap(),
        }
    }

    /// Lines of the result that the example does not have.
    fn news(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !EXAMPLE.lines().any(|old| old == *line)).collect()
    }

    #[test]
    fn answers_take_the_examples_places_and_its_notes_stay() {
        let mut with_nodes = answers();
        let node = NodeEntry::at("gpu@10.0.0.1:22".parse().unwrap());
        with_nodes.nodes = vec![NodeEntry { hourly_rate_per_gpu: Some(UsdMicros(2_500_000)), ..node }];
        let text = from_example(&with_nodes).unwrap();
        assert_eq!(
            news(&text),
            [
                "wallet_name = \"mine\"                     # ~/.bittensor/wallets/{wallet_name}/hotkeys/{hotkey_name}",
                "hotkey_name = \"hot\"",
                "external_ip = \"203.0.113.9\"               # your server's public IP (curl -4 ifconfig.me); validators connect to it",
                "network = \"test\"                        # finney (main), test or local; endpoints of another chain are not used",
                "netuid = 387                               # 39 on finney, 387 on test",
                "chain_endpoint = \"wss://test.finney.opentensor.ai:443\"   # default: the network's own",
                "url = \"sqlite:///srv/basilica/miner.db\"   # the directory must exist",
                "  { host = \"10.0.0.1\", port = 22, username = \"gpu\", hourly_rate_per_gpu = 2.50 },",
                "default_node_username = \"gpu\"        # for nodes without username",
            ]
        );
        assert_eq!(text.lines().count(), EXAMPLE.lines().count());
        assert!(!text.contains("192.0.2.10"));
        let none = from_example(&answers()).unwrap();
        assert_eq!(
            none.parse::<DocumentMut>().unwrap()["node_management"]["nodes"].as_array().unwrap().len(),
            0
        );
        assert!(none.contains("# region = "), "{none}");
    }

    #[test]
    fn what_is_not_answered_is_not_there() {
        let answers = Answers { external_ip: None, wallet_path: Some("/w".to_owned()), ..answers() };
        let text = from_example(&answers).unwrap();
        assert!(!text.lines().any(|line| line.starts_with("external_ip")), "{text}");
        assert!(text.contains("wallet_path = \"/w\"\n"), "{text}");
    }
}
