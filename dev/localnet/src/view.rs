//! Looks at a running localnet from outside: at the validator through its API, at the chain with a client of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use basilica_chain::{ChainOptions, SubtensorChain};
use basilica_ports::{Chain as _, Metagraph};
use basilica_scoring::weights::upscale;
use basilica_system::{OsEntropy, SystemClock};
use basilica_types::{Hotkey, Millis, NetUid, Uid, Weight};

use crate::accounts::Role;
use crate::addresses::Addresses;
use crate::nodes::NodeHosts;
use crate::report::{Node, Process, Report, WeightRow};
use crate::settings::{BURN_UID, NETUID};
use crate::specs;
use crate::validator::{self, JudgedNode, SubmittedWeights};

/// For one look at the chain: a table that is late is better than none.
const CHAIN_LIMIT: Millis = Millis(3_000);

/// What is known beforehand of a node.
struct KnownNode {
    name: String,
    miner: &'static str,
    address: String,
}

/// The onlooker.
pub(crate) struct View {
    addresses: Addresses,
    chain: SubtensorChain,
    validator: Hotkey,
    nodes: Vec<KnownNode>,
}

impl View {
    /// An onlooker of a localnet at these addresses.
    pub(crate) fn new(addresses: Addresses) -> anyhow::Result<Self> {
        let mut options = ChainOptions::new(vec![format!("ws://{}", addresses.chain)]);
        options.call_deadline = CHAIN_LIMIT;
        options.request_deadline = CHAIN_LIMIT;
        let (clock, entropy) = (Arc::new(SystemClock::new()), Arc::new(OsEntropy));
        Ok(Self {
            addresses,
            chain: SubtensorChain::new(options, None, clock, entropy)?,
            validator: Role::Validator.hotkey()?,
            nodes: Vec::new(),
        })
    }

    /// Learns the names and addresses of the nodes.
    pub(crate) fn know_nodes(&mut self, hosts: &NodeHosts) {
        let mut nodes = Vec::new();
        for (index, role) in [Role::Miner1, Role::Miner2].into_iter().enumerate() {
            for host in specs::of_miner(hosts.nodes(), index) {
                nodes.push(KnownNode {
                    name: host.name().to_owned(),
                    miner: role.name(),
                    address: host.address().to_string(),
                });
            }
        }
        self.nodes = nodes;
    }

    /// How everything stands. What does not answer is missing from the report, which then says what it waits for.
    pub(crate) async fn report(&self, processes: Vec<Process>) -> Report {
        let block = self.chain.head().await.ok().map(|block| block.0);
        let judged = validator::nodes(self.addresses.validator_api).await.unwrap_or_else(|error| {
            tracing::debug!(error = %error, "the validator does not tell its nodes");
            Vec::new()
        });
        let submitted = validator::weights(self.addresses.validator_api).await.unwrap_or_else(|error| {
            tracing::debug!(error = %error, "the validator does not tell its weights");
            None
        });
        let subnet = self.chain.metagraph(NetUid(NETUID)).await.ok();
        let on_chain = self.weights_on_chain(subnet.as_ref()).await;
        let nodes: Vec<Node> = self.nodes.iter().map(|node| node_row(node, &judged)).collect();
        let mut report = Report {
            chain_url: format!("ws://{}", self.addresses.chain),
            block,
            processes,
            weights: weight_rows(submitted.as_ref(), on_chain.as_deref(), &names(subnet.as_ref())),
            nodes,
            waiting_for: None,
        };
        report.waiting_for = missing(&report);
        report
    }

    async fn weights_on_chain(&self, subnet: Option<&Metagraph>) -> Option<Vec<(Uid, Weight)>> {
        let own = subnet?.neuron(&self.validator)?.uid;
        self.chain.weights(NetUid(NETUID), own).await.ok()
    }
}

fn weight_rows(
    submitted: Option<&SubmittedWeights>,
    on_chain: Option<&[(Uid, Weight)]>,
    names: &BTreeMap<Uid, &str>,
) -> Vec<WeightRow> {
    let mut rows: BTreeMap<Uid, WeightRow> = BTreeMap::new();
    let mut row = |uid: Uid, change: &dyn Fn(&mut WeightRow)| {
        let who = (*names.get(&uid).unwrap_or(&"?")).to_owned();
        let empty = WeightRow { uid: uid.0, who, submitted: 0, expected: 0, on_chain: None };
        change(rows.entry(uid).or_insert(empty));
    };
    if let Some(submitted) = submitted {
        for (uid, weight) in submitted {
            row(*uid, &|row| row.submitted = weight.0);
        }
        for (uid, weight) in upscale(submitted) {
            row(uid, &|row| row.expected = weight.0);
        }
    }
    for (uid, weight) in on_chain.into_iter().flatten() {
        row(*uid, &|row| row.on_chain = Some(weight.0));
    }
    rows.into_values().collect()
}

/// What the uids are called here.
fn names(subnet: Option<&Metagraph>) -> BTreeMap<Uid, &'static str> {
    let mut names = BTreeMap::from([(Uid(BURN_UID), "burn")]);
    for role in [Role::Miner1, Role::Miner2, Role::Validator] {
        let uid = role.hotkey().ok().and_then(|hotkey| Some(subnet?.neuron(&hotkey)?.uid));
        names.extend(uid.map(|uid| (uid, role.name())));
    }
    names
}

fn node_row(node: &KnownNode, judged: &[JudgedNode]) -> Node {
    let verdict = judged.iter().find(|judged| judged.address == node.address);
    Node {
        name: node.name.clone(),
        miner: node.miner.to_owned(),
        address: node.address.clone(),
        verdict: verdict.map_or("waiting", |v| v.verdict()).to_owned(),
        reason: verdict.map_or("not_discovered_yet", |v| v.reason()).to_owned(),
        score: verdict.and_then(|v| v.score),
        multiplier: verdict.and_then(|v| v.multiplier),
    }
}

/// What is missing until every node is judged, every good one scores, and the chain stores what was computed from that.
fn missing(report: &Report) -> Option<String> {
    let unjudged: Vec<&str> =
        report.nodes.iter().filter(|n| n.verdict == "waiting").map(|n| n.name.as_str()).collect();
    if !unjudged.is_empty() {
        return Some(format!("a verdict on {}", unjudged.join(", ")));
    }
    let earning = |node: &&Node| node.score.is_some_and(|s| s > 0) && node.multiplier.is_some_and(|m| m > 0);
    let unscored: Vec<&str> = report
        .nodes
        .iter()
        .filter(|node| node.verdict == "passed" && !earning(node))
        .map(|n| n.name.as_str())
        .collect();
    if !unscored.is_empty() {
        return Some(format!("a score above zero for {}", unscored.join(", ")));
    }
    let unpaid = report.nodes.iter().filter(earning).find(|node| {
        let paid = |row: &WeightRow| row.who == node.miner && row.on_chain.is_some_and(|w| w > 0);
        !report.weights.iter().any(paid)
    });
    if let Some(node) = unpaid {
        return Some(format!("a weight of {} on chain", node.miner));
    }
    (!report.weights_match()).then(|| "the chain to store the weights as computed".to_owned())
}
