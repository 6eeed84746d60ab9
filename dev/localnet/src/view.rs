//! Looks at a running localnet from outside: at the validator through its API, at the chain with a client of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use basilica_chain::{ChainOptions, SubtensorChain};
use basilica_ports::Chain as _;
use basilica_scoring::weights::upscale;
use basilica_system::{OsEntropy, SystemClock};
use basilica_types::{Hotkey, MechanismId, Millis, NetUid, Uid, Weight};

use crate::accounts::Role;
use crate::addresses::Addresses;
use crate::cheat::Cheat;
use crate::nodes::NodeHosts;
use crate::report::{Node, Process, Report, WeightRow};
use crate::settings::{BURN_UID, NETUID};
use crate::specs::Planned;
use crate::validator::{self, JudgedNode, SubmittedWeights};

/// For one look at the chain: a table that is late is better than none.
const CHAIN_LIMIT: Millis = Millis(3_000);

/// What is known beforehand of a node.
struct KnownNode {
    name: String,
    miner: &'static str,
    cheat: Option<Cheat>,
    address: String,
    id: String,
}

/// The onlooker.
pub(crate) struct View {
    addresses: Addresses,
    chain: SubtensorChain,
    validator: Hotkey,
    nodes: Vec<KnownNode>,
    /// Of the last window that was set, while the next one is open.
    submitted: Option<SubmittedWeights>,
    /// Once they have been read.
    names: BTreeMap<Uid, &'static str>,
}

impl View {
    /// An onlooker of a localnet at these addresses.
    pub(crate) fn new(addresses: Addresses) -> anyhow::Result<Self> {
        let mut options = ChainOptions::new(vec![format!("ws://{}", addresses.chain).parse()?]);
        options.call_deadline = CHAIN_LIMIT;
        options.request_deadline = CHAIN_LIMIT;
        let (clock, entropy) = (Arc::new(SystemClock::new()), Arc::new(OsEntropy));
        Ok(Self {
            addresses,
            chain: SubtensorChain::new(options, None, clock, entropy)?,
            validator: Role::Validator.hotkey()?,
            nodes: Vec::new(),
            submitted: None,
            names: BTreeMap::from([(Uid(BURN_UID), "burn")]),
        })
    }

    /// Learns the names and addresses of the nodes.
    pub(crate) fn know_nodes(&mut self, hosts: &NodeHosts, plan: &[Planned]) {
        let known = hosts.nodes().iter().zip(plan).map(|(host, planned)| KnownNode {
            name: host.name().to_owned(),
            miner: planned.owner.name(),
            cheat: planned.cheat,
            address: host.address().to_string(),
            id: host.address().node_id().to_string(),
        });
        self.nodes = known.collect();
    }

    /// How everything stands. What does not answer is missing from the report, which then says what it waits for;
    /// whoever does not run is not asked.
    pub(crate) async fn report(&mut self, processes: Vec<Process>) -> Report {
        let runs = |name: &str| processes.iter().any(|process| process.name == name && process.pid.is_some());
        let judged = if runs(Role::Validator.name()) { self.ask_validator().await } else { None };
        let (block, on_chain) = if runs("chain") { self.ask_chain().await } else { (None, None) };
        let nodes: Vec<Node> = self.nodes.iter().map(|node| node_row(node, judged.as_deref())).collect();
        let submitted = judged.is_some().then_some(self.submitted.as_ref()).flatten();
        let mut report = Report {
            chain_url: format!("ws://{}", self.addresses.chain),
            block,
            processes,
            weights: weight_rows(submitted, on_chain.as_deref(), &self.names),
            nodes,
            waiting_for: None,
        };
        report.waiting_for = missing(&report);
        report
    }

    /// What the validator says of its nodes; learns what it submitted last.
    async fn ask_validator(&mut self) -> Option<Vec<JudgedNode>> {
        let api = self.addresses.validator_api;
        let unanswered = |error: anyhow::Error| tracing::debug!(%error, "the validator does not answer");
        let nodes = validator::nodes(api).await.map_err(unanswered).ok()?;
        if let Some(submitted) = validator::weights(api).await.map_err(unanswered).ok()? {
            self.submitted = Some(submitted);
        }
        Some(nodes)
    }

    /// The chain's height and the weights that it stores; learns the names of the uids.
    async fn ask_chain(&mut self) -> (Option<u64>, Option<Vec<(Uid, Weight)>>) {
        let Ok(subnet) = self.chain.metagraph(NetUid(NETUID)).await else { return (None, None) };
        for role in [Role::Miner1, Role::Miner2, Role::Validator] {
            let uid = role.hotkey().ok().and_then(|hotkey| Some(subnet.neuron(&hotkey)?.uid));
            self.names.extend(uid.map(|uid| (uid, role.name())));
        }
        let weights = self.chain.weights_of(NetUid(NETUID), MechanismId(0), &self.validator).await;
        (Some(subnet.block.0), weights.ok().and_then(|(_, weights)| weights))
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
        let empty = WeightRow { uid: uid.0, who, submitted: None, expected: None, on_chain: None };
        change(rows.entry(uid).or_insert(empty));
    };
    if let Some(submitted) = submitted {
        for (uid, weight) in submitted {
            row(*uid, &|row| row.submitted = Some(weight.0));
        }
        for (uid, weight) in upscale(submitted) {
            row(uid, &|row| row.expected = Some(weight.0));
        }
    }
    for (uid, weight) in on_chain.into_iter().flatten() {
        row(*uid, &|row| row.on_chain = Some(weight.0));
    }
    rows.into_values().collect()
}

fn node_row(node: &KnownNode, judged: Option<&[JudgedNode]>) -> Node {
    let verdict = judged.and_then(|all| all.iter().find(|judged| judged.0.node_id == node.id));
    let (state, reason) = match (judged, verdict) {
        (None, _) => ("unknown", "validator_does_not_answer"),
        (Some(_), None) => ("waiting", "not_discovered_yet"),
        (Some(_), Some(verdict)) => (verdict.verdict(), verdict.reason()),
    };
    Node {
        name: node.name.clone(),
        miner: node.miner.to_owned(),
        cheat: node.cheat,
        address: node.address.clone(),
        verdict: state.to_owned(),
        reason: reason.to_owned(),
        score: verdict.and_then(|v| v.0.score),
        multiplier: verdict.and_then(|v| v.0.multiplier),
    }
}

/// What is missing until every node is judged, every cheater caught, every good one scores, and the chain stores what was computed from that.
fn missing(report: &Report) -> Option<String> {
    let unjudged: Vec<&str> = report
        .nodes
        .iter()
        .filter(|n| matches!(n.verdict.as_str(), "waiting" | "unknown"))
        .map(|n| n.name.as_str())
        .collect();
    if !unjudged.is_empty() {
        return Some(format!("a verdict on {}", unjudged.join(", ")));
    }
    if let Some(cheat) = report.nodes.iter().filter_map(|n| n.cheat).find(|cheat| !report.is_caught(*cheat)) {
        return Some(format!("the {} node to be caught ({})", cheat.name(), cheat.reason()));
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
