//! `basilica-miner keys rotate`.
//!
//! The running miner needs no word of it: it reads its key at each login, and the sessions that are open go on.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail, ensure};
use basilica_console as console;
use basilica_miner_service::config::MinerConfig;
use basilica_miner_service::rotation::{self, Stage};
use basilica_ports::{MinerOperations as _, Shell, ShellError};
use basilica_system::OsEntropy;
use basilica_types::{HostKey, NodeAddress, NodeId, SshPublicKey};
use clap::Args;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::files::KeyFiles;
use crate::cli::Cli;
use crate::commands::{answer, block_on, configured};
use crate::nodes::{Access, DEADLINE, explained};
use crate::select::select_all;
use crate::store;

/// Nodes that are visited at a time.
const AT_ONCE: usize = 16;

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Go on without this node, by id, address or host; the old key stays on it, and it needs `nodes add` afterwards. Can be repeated.
    #[arg(long, value_name = "NODE")]
    leave_behind: Vec<String>,
}

/// What is done on each node.
#[derive(Clone, Debug)]
enum Errand {
    /// Put `next` on it, beside `current`, and log in with it from this file.
    Spread { current: SshPublicKey, next: SshPublicKey, next_file: PathBuf },
    /// Take this key off it.
    Retire { former: SshPublicKey },
}

/// A node and what it is visited with.
#[derive(Clone, Debug)]
struct Visit {
    address: NodeAddress,
    id: NodeId,
    host_key: Option<HostKey>,
    key: PathBuf,
    errand: Errand,
}

/// A node to visit, and its host key where that is known.
type Host = (NodeAddress, NodeId, Option<HostKey>);

/// What came of a visit; why nothing, in words.
type Visited = (NodeAddress, NodeId, Result<(), String>);

/// How far it came.
struct Report {
    stage: &'static str,
    key: SshPublicKey,
    nodes: usize,
    failed: Vec<Visited>,
}

pub(crate) fn run(cli: &Cli, rotate: &Rotate) -> anyhow::Result<()> {
    let config = configured(cli, &cli.config)?.config;
    let files = KeyFiles::lock(&config.fleet.ssh_key)?;
    let report = block_on(async {
        let hosts = hosts(&config, &rotate.leave_behind).await?;
        rotated(&files, &hosts).await
    })?;
    tell(cli, &report)
}

/// The nodes to visit with their host keys: those of the configuration, and those that were taken out of it and may still carry
/// validators' keys, which the miner takes off with its own.
async fn hosts(config: &MinerConfig, leave_behind: &[String]) -> anyhow::Result<Vec<Host>> {
    let known = match store::existing(&config.database).await? {
        Some(store) => store.known_nodes().await?,
        None => Vec::new(),
    };
    let leaving =
        known.into_iter().filter(|known| config.fleet.nodes.iter().all(|node| node.id != known.node_id));
    let (left, leaving): (Vec<_>, Vec<_>) = leaving.partition(|known| {
        let names = [known.node_id.to_string(), known.address.to_string()];
        leave_behind.iter().any(|text| names.contains(text))
    });
    let named = |text: &&String| {
        !left.iter().any(|known| [known.node_id.to_string(), known.address.to_string()].contains(*text))
    };
    let others: Vec<String> = leave_behind.iter().filter(named).cloned().collect();
    let left: BTreeSet<NodeId> =
        select_all(&config.fleet.nodes, &others)?.iter().map(|node| node.id).collect();
    let configured = config.fleet.nodes.iter().filter(|node| !left.contains(&node.id));
    let configured = configured.map(|node| (node.address.clone(), node.id, node.host_key.clone()));
    let leaving = leaving.into_iter().map(|known| (known.address, known.node_id, known.host_key));
    let mut hosts: Vec<Host> = configured.chain(leaving).collect();
    ensure!(
        !hosts.is_empty(),
        "there is no node whose key could be replaced, and servers that know the old key would be lost; is this the right configuration?"
    );
    for (_, id, host_key) in hosts.iter_mut().filter(|(_, _, host_key)| host_key.is_none()) {
        *host_key = store::pinned(&config.database, *id).await?;
    }
    Ok(hosts)
}

/// Goes on until it is done, or until a node is in the way.
async fn rotated(files: &KeyFiles, hosts: &[Host]) -> anyhow::Result<Report> {
    let keys = files.at_hand()?;
    let stage = keys.stage().with_context(|| {
        let [next, former] = [files.next(), files.former()].map(|path| path.display().to_string());
        format!(
            "look at {}, {next} and {former}, and put away what is not to be used",
            files.current().display()
        )
    })?;
    let former = match stage {
        Stage::Retire { former } => former,
        Stage::Make | Stage::Spread { .. } => {
            let next = match stage {
                Stage::Spread { next } => next,
                _ => files.make(&OsEntropy)?,
            };
            let next_file = files.next();
            let errand = Errand::Spread { current: keys.current.clone(), next: next.clone(), next_file };
            let failed = visit_all(files.current(), hosts, &errand, "the new key works").await;
            if !failed.is_empty() {
                return Ok(Report { stage: "spread", key: next, nodes: hosts.len(), failed });
            }
            files.switch()?;
            keys.current
        }
    };
    let errand = Errand::Retire { former };
    let failed = visit_all(files.current(), hosts, &errand, "the old key is gone").await;
    let key = files.at_hand()?.current;
    if failed.is_empty() {
        files.finish()?;
    }
    let stage = if failed.is_empty() { "done" } else { "retire" };
    Ok(Report { stage, key, nodes: hosts.len(), failed })
}

/// Those that failed, in the configuration's order.
async fn visit_all(key: &Path, hosts: &[Host], errand: &Errand, words: &str) -> Vec<Visited> {
    let is_watched = std::io::stderr().is_terminal();
    let visits = hosts.iter().map(|(address, id, host_key)| Visit {
        address: address.clone(),
        id: *id,
        host_key: host_key.clone(),
        key: key.to_owned(),
        errand: errand.clone(),
    });
    let mut waiting = visits.enumerate();
    let (mut under_way, mut failed, mut done) = (JoinSet::new(), Vec::new(), 0);
    for (at, visit) in waiting.by_ref().take(AT_ONCE) {
        under_way.spawn(async move { (at, visit.run().await) });
    }
    while let Some(ended) = under_way.join_next().await {
        // A visit that panics would leave its node out without a word.
        let (at, visited) = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        if let Some((at, visit)) = waiting.next() {
            under_way.spawn(async move { (at, visit.run().await) });
        }
        done += 1;
        if is_watched {
            let (address, what) = (&visited.0, visited.2.as_ref().map_or("failed", |()| words));
            console::tell(&format!("{address}: {what} ({done} of {})\n", hosts.len()));
        }
        if visited.2.is_err() {
            failed.push((at, visited));
        }
    }
    failed.sort_by_key(|(at, _)| *at);
    failed.into_iter().map(|(_, visited)| visited).collect()
}

impl Visit {
    async fn run(self) -> Visited {
        let outcome = self.carried_out().await.map_err(|error| format!("{error:#}"));
        (self.address, self.id, outcome)
    }

    async fn carried_out(&self) -> anyhow::Result<()> {
        let address = &self.address;
        let host_key = self.host_key.as_ref().with_context(|| {
            format!("its host key is not known yet; see to that with: basilica-miner nodes add {address}")
        })?;
        let shell = self.log_in(host_key, &self.key).await.map_err(|error| explained(error, address))?;
        let done = self.edit(shell.as_ref()).await;
        shell.close().await;
        done?;
        let Errand::Spread { next_file, .. } = &self.errand else { return Ok(()) };
        match self.log_in(host_key, next_file).await {
            Ok(shell) => shell.close().await,
            Err(ShellError::Denied { .. }) => bail!(
                "the new key is in ~/.ssh/authorized_keys, and sshd does not let it in; look at sshd's log there (journalctl -u ssh), \
                 and at how the key in use is let in (`sudo sshd -T | grep -i authorizedkeys`)"
            ),
            Err(error) => return Err(explained(error, address)),
        }
        Ok(())
    }

    async fn log_in(&self, host_key: &HostKey, key_path: &Path) -> Result<Arc<dyn Shell>, ShellError> {
        Access { address: &self.address, host_key, key_path }.log_in().await
    }

    async fn edit(&self, shell: &dyn Shell) -> anyhow::Result<()> {
        match &self.errand {
            Errand::Spread { current, next, .. } => {
                let installed =
                    rotation::spread(shell, DEADLINE, current, next).await.context("install the new key")?;
                if installed.home_writable {
                    return Err(anyhow!(
                        "others may write the home directory, so sshd ignores its keys; on the node: chmod go-w ~"
                    ));
                }
            }
            Errand::Retire { former } => {
                rotation::retire(shell, DEADLINE, former).await.context("take the old key off")?;
            }
        }
        Ok(())
    }
}

fn tell(cli: &Cli, report: &Report) -> anyhow::Result<()> {
    let Report { stage, key, nodes, failed } = report;
    let failures: Vec<Value> = failed
        .iter()
        .map(|(address, id, why)| json!({ "node_id": id.to_string(), "address": address.to_string(), "error": why.as_ref().err() }))
        .collect();
    let data = json!({ "stage": stage, "new_key": key.to_string(), "nodes": nodes, "failed": failures });
    let at = failed
        .iter()
        .map(|(address, _, why)| format!("\n  {address}: {}", why.as_ref().err().map_or("", String::as_str)));
    let list: String = at.collect();
    answer(cli, &data, || match *stage {
        "done" => format!(
            "the miner's SSH key is replaced on {nodes} nodes; the old one is on none of them. The running miner uses the new one from \
             its next login on\n{key}"
        ),
        "retire" => format!("the new key is used; the old one may still be on:{list}"),
        _ => format!("the new key does not work everywhere, so the old one stays in use:{list}"),
    })?;
    if failed.is_empty() {
        return Ok(());
    }
    bail!(
        "{} of {nodes} nodes are in the way; mend them and run `basilica-miner keys rotate` again, which goes on where it stands, or go \
         on without them: --leave-behind NODE",
        failed.len()
    )
}
