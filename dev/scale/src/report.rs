//! What came out.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use basilica_testkit::{Manner, Met, SshNode};
use basilica_types::{Millis, Timestamp};
use serde_json::Value;

use crate::events::{End, Finding};
use crate::nodes::Listed;
use crate::plan::Plan;
use crate::validator::ValidatorProcess;

/// What a node is in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A real OpenSSH server.
    Real,
    /// A server of this process that answers.
    Honest,
    /// The same, which another miner claims too.
    Claimed,
    /// Takes half of the time that it may take.
    Slow,
    /// Answers nonsense.
    Garbage,
    /// Never says a word.
    BlackHole,
    /// Another's node under a name that lets nobody in.
    Stranger,
}

impl Kind {
    /// Whether it passes its checks.
    pub const fn passes(self) -> bool {
        matches!(self, Self::Real | Self::Honest | Self::Claimed | Self::Slow)
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::Real => "real OpenSSH servers",
            Self::Honest => "simulated, honest",
            Self::Claimed => "simulated, honest, claimed by a stranger too",
            Self::Slow => "simulated, slow",
            Self::Garbage => "simulated, answering nonsense",
            Self::BlackHole => "simulated, silent",
            Self::Stranger => "strangers' claims",
        }
    }
}

/// Nodes of one kind by what their last verdict says.
type Reasons = BTreeMap<Kind, BTreeMap<String, usize>>;

/// The figures of a run.
#[derive(Clone, Debug)]
pub struct Report {
    plan: Plan,
    reasons: Reasons,
    without_reason: usize,
    /// From the moment at which all were due to the last first finding.
    pub first_round: Duration,
    /// The longest from due to finding in later rounds, of nodes that answer.
    pub later_rounds: Duration,
    /// Most memory of the validator, in KiB.
    pub peak_kib: u64,
    light: usize,
    attempted: u64,
    opened: u64,
    reused: u64,
    postponed: u64,
    /// Failed tries, put down to be repeated, of nodes that answer.
    repeated: usize,
    claimed: Met,
    honest: Met,
    honest_servers: usize,
}

impl Report {
    pub(crate) async fn new(
        plan: &Plan,
        listed: &[Listed],
        due: Timestamp,
        pages: &[Value],
        process: &ValidatorProcess,
        servers: &[SshNode],
    ) -> Self {
        let findings = process.findings();
        let kinds: BTreeMap<String, Kind> =
            listed.iter().map(|node| (node.address.node_id().to_string(), node.kind)).collect();
        let (reasons, without_reason) = reasons(&kinds, pages);
        let passing = |id: &String| kinds.get(id).is_some_and(|kind| kind.passes());
        let of_passing = findings.iter().filter(|(id, _)| passing(id)).flat_map(|(_, all)| all);
        let is_light = |finding: &&Finding| !finding.full && finding.end != End::Retried;
        let kind_of: BTreeMap<String, Kind> =
            listed.iter().map(|node| (node.address.to_string(), node.kind)).collect();
        let met = |kind: Kind| {
            let of_kind = |server: &&SshNode| kind_of.get(&server.address().to_string()) == Some(&kind);
            servers.iter().filter(of_kind).map(SshNode::met).fold(Met::default(), sum)
        };
        Self {
            plan: *plan,
            reasons,
            without_reason,
            first_round: first_round(listed, &findings, due),
            later_rounds: later_rounds(&findings, plan, due),
            peak_kib: process.peak_kib(),
            light: findings.values().flatten().filter(is_light).count(),
            attempted: process.metric("basilica_validator_ssh_connections_total").await,
            opened: process.metric("basilica_validator_ssh_connections_opened_total").await,
            reused: process.metric("basilica_validator_ssh_connections_reused_total").await,
            postponed: process.metric("basilica_validator_ssh_logins_postponed_total").await,
            repeated: of_passing.filter(|finding| finding.end == End::Retried).count(),
            claimed: met(Kind::Claimed),
            honest: met(Kind::Honest),
            honest_servers: servers.iter().filter(|server| server.manner() == Manner::Honest).count(),
        }
    }

    /// What is not as it must be, apart from times and memory, which depend on the machine.
    ///
    /// # Errors
    /// Each with a line.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        let mut must = |holds: bool, what: String| {
            if !holds {
                wrong.push(what);
            }
        };
        must(
            self.without_reason == 0,
            format!("{} nodes have no verdict with a reason", self.without_reason),
        );
        for (kind, reasons) in &self.reasons {
            let expected = |reason: &str| match kind {
                kind if kind.passes() => reason == "passed",
                Kind::BlackHole => reason == "ssh_connection_timeout",
                Kind::Stranger => reason == "ssh_login_denied",
                _ => ["probe_output_invalid", "nonce_challenge_failed", "output_too_large"].contains(&reason),
            };
            for (reason, count) in reasons.iter().filter(|(reason, _)| !expected(reason)) {
                must(false, format!("{count} {}: {reason}", kind.in_words()));
            }
        }
        must(self.claimed.shut_out == 0, format!("shut out {} times", self.claimed.shut_out));
        must(self.claimed.denied > 0, "no stranger was ever denied: nothing is shown".to_owned());
        // A retry is on a new connection (RULES R4).
        let (logins, servers) = (self.claimed.logins + self.honest.logins, self.honest_servers as u64);
        must(
            (servers..=servers + self.repeated as u64).contains(&logins),
            format!("{logins} logins at {servers} servers that answer, {} tries repeated", self.repeated),
        );
        let checks = servers * (1 + self.plan.warm_rounds as u64);
        let commands = self.claimed.commands + self.honest.commands;
        must(commands >= checks, format!("{commands} commands for {checks} checks"));
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

fn reasons(kinds: &BTreeMap<String, Kind>, pages: &[Value]) -> (Reasons, usize) {
    let (mut reasons, mut without) = (Reasons::new(), 0);
    for node in pages {
        let verdict = &node["last_verdict"];
        match (verdict["reason"].as_str(), verdict["explanation"].as_str()) {
            (Some(reason), Some(words)) if !words.is_empty() => {
                let kind = kinds[node["node_id"].as_str().unwrap()];
                *reasons.entry(kind).or_default().entry(reason.to_owned()).or_insert(0) += 1;
            }
            _ => without += 1,
        }
    }
    (reasons, without)
}

const fn sum(a: Met, b: Met) -> Met {
    Met {
        connections: a.connections + b.connections,
        logins: a.logins + b.logins,
        denied: a.denied + b.denied,
        shut_out: a.shut_out + b.shut_out,
        commands: a.commands + b.commands,
    }
}

fn since(later: Timestamp, earlier: Timestamp) -> Duration {
    Duration::from_millis(later.since(earlier).0)
}

/// To the last of the first findings that came once all were due. Not in it are strangers, whose logins are spaced on purpose,
/// and nodes that proved themselves before, whose light check is due an interval after that.
fn first_round(listed: &[Listed], findings: &BTreeMap<String, Vec<Finding>>, due: Timestamp) -> Duration {
    let first = |node: &Listed| {
        let all = findings.get(&node.address.node_id().to_string())?;
        all.iter().find(|finding| finding.at >= due)
    };
    let last = listed.iter().filter(|node| node.seeded).filter_map(first).map(|finding| finding.at).max();
    last.map_or(Duration::MAX, |at| since(at, due))
}

/// From the end of a passed light check and the interval to the next finding.
fn later_rounds(findings: &BTreeMap<String, Vec<Finding>>, plan: &Plan, due: Timestamp) -> Duration {
    let interval = Millis(u64::try_from(plan.interval.as_millis()).unwrap());
    let lateness = |pair: &[Finding]| {
        let [before, next] = pair else { return None };
        let passed = before.end == End::Passed && !before.full && before.at >= due;
        passed.then(|| since(next.at, before.at + interval))
    };
    findings.values().flat_map(|all| all.windows(2).filter_map(lateness)).max().unwrap_or(Duration::MAX)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.plan;
        writeln!(f, "{} nodes; a login and a command may take {:?} each", plan.nodes(), plan.timeout)?;
        for (kind, reasons) in &self.reasons {
            for (reason, count) in reasons {
                writeln!(f, "  {count:>5} {:<46} {reason}", kind.in_words())?;
            }
        }
        writeln!(f, "  {:>5} without a verdict or a reason", self.without_reason)?;
        let seconds = |span: Duration| format!("{:.2} s", span.as_secs_f64());
        writeln!(
            f,
            "first round, no connection open: {} from due to the last finding",
            seconds(self.first_round)
        )?;
        writeln!(
            f,
            "later rounds: at most {} from due to finding, a slow node's {} included",
            seconds(self.later_rounds),
            seconds(plan.slowness())
        )?;
        writeln!(f, "the validator's memory: at most {:.1} MiB resident", self.peak_kib as f64 / 1024.0)?;
        writeln!(
            f,
            "connections: {} logins tried, {} opened, {} postponed; {} checks on a kept one, of {} concluded light checks",
            self.attempted, self.opened, self.postponed, self.reused, self.light
        )?;
        writeln!(f, "tries of nodes that answer that failed and were repeated: {}", self.repeated)?;
        writeln!(
            f,
            "servers with penalties that a stranger claims: {} logins denied, {} times shut out, {} commands of {} logins",
            self.claimed.denied, self.claimed.shut_out, self.claimed.commands, self.claimed.logins
        )
    }
}
