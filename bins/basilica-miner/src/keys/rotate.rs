//! `basilica-miner keys rotate`.
//!
//! The running miner needs no word of it: it reads its key at each login, and the sessions that are open go on.
//!
//! **Nodes that come meanwhile** get the new key too: `nodes add` and `nodes remove` are refused, and the nodes are read once more
//! before the new key takes the old one's place, because the configuration can also be written by hand. **Nodes that are left behind**
//! may know the old key alone, which is therefore kept until a later run finds none of them. So may **servers that were removed** and
//! not seen without the miner's key: each run tries first to take it off them, and none of them holds it up or gets the new one. Where there
//! is nobody else, that is all a run does: what key files an earlier one left stay, as this may be another miner's configuration.
//!
//! **A key is off a node** only where sshd was seen to refuse it, after its lines went: it may be let in by another file than the one that they
//! were in. Where that is so, the old key is kept.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail, ensure};
use basilica_miner_service::rotation::{KeysAtHand, Stage};
use basilica_status::counted;
use basilica_system::OsEntropy;
use basilica_types::{NodeId, SshPublicKey};
use clap::Args;
use serde_json::{Value, json};

use super::files::KeyFiles;
use super::hosts::{Host, Hosts};
use super::visit::{Errand, Failure, Key, Leaving, visit_all};
use crate::cli::Cli;
use crate::commands::{answer, block_on, configured};
use crate::program::Program;
use crate::select::Named as _;

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Go on without this node, by id, address or host; it may know the old key alone, which is kept for the next `keys rotate`. Can
    /// be repeated.
    #[arg(long, value_name = "NODE")]
    leave_behind: Vec<String>,
}

/// How far it came.
struct Report {
    progress: Progress,
    key: SshPublicKey,
    /// How many were to be visited.
    nodes: usize,
    left_behind: Vec<Host>,
    /// Not listed, and not seen without the key yet.
    owed: Vec<Failure>,
    /// Not listed, and seen without the key now.
    freed: Vec<Host>,
    /// Whether an earlier run made the key.
    resumed: bool,
}

enum Progress {
    /// The new key does not work everywhere, so the old one stays in use.
    Spread(Vec<Failure>),
    /// The new key is used; the old one may still be on these.
    Retire(Vec<Failure>),
    /// The new key is used, and the old one is gone from where it was looked for.
    Done,
    /// There is no node whose key could be replaced, so the key files stay as they are, and nothing but unlisted servers was visited.
    NoNode,
}

pub(crate) fn run(cli: &Cli, rotate: &Rotate) -> anyhow::Result<()> {
    let files = KeyFiles::to_replace(&configured(cli, &cli.config)?.config.fleet.ssh_key)?;
    let rotation = Rotation { cli, leave_behind: &rotate.leave_behind, files };
    let report = block_on(rotation.go_on())?;
    tell(cli, &report, &rotation.files)
}

struct Rotation<'a> {
    cli: &'a Cli,
    leave_behind: &'a [String],
    files: KeyFiles,
}

impl Rotation<'_> {
    /// As they are now.
    async fn hosts(&self) -> anyhow::Result<Hosts> {
        let config = configured(self.cli, &self.cli.config)?.config;
        ensure!(
            self.files.is_of(&config.fleet.ssh_key),
            "ssh_session.miner_node_key_path was changed meanwhile; look at it, then run the command again"
        );
        Hosts::read(&config, &self.files, self.leave_behind).await
    }

    /// Until it is done, or until a node is in the way.
    async fn go_on(&self) -> anyhow::Result<Report> {
        let mut hosts = self.hosts().await?;
        let keys = self.files.at_hand()?;
        let stage = keys.stage().with_context(|| self.tangle())?;
        let resumed = stage != Stage::Make;
        if hosts.owed.is_empty() {
            hosts.expected()?;
        }
        let owed = self.leave(&hosts, &keys).await?;
        if hosts.visited.is_empty() {
            return Ok(Report::new(Progress::NoNode, keys.current, (hosts, owed), resumed));
        }
        let former = match stage {
            Stage::Retire { former } => former,
            stage => {
                let next = match stage {
                    Stage::Spread { next } => next,
                    _ => self.files.make(&OsEntropy)?,
                };
                let failed = self.spread(&mut hosts, &keys, &next).await?;
                if !failed.is_empty() {
                    return Ok(Report::new(Progress::Spread(failed), next, (hosts, owed), resumed));
                }
                self.files.switch()?;
                keys.current
            }
        };
        let key = self.files.at_hand()?.current;
        let errand = Errand::Retire {
            current: Key { public: key.clone(), file: self.files.current().to_owned() },
            former: Key { public: former, file: self.files.former() },
        };
        let failed = visit_all(&hosts.visited, &errand, &self.cli.program()).await;
        if !failed.is_empty() {
            return Ok(Report::new(Progress::Retire(failed), key, (hosts, owed), resumed));
        }
        if hosts.left_behind.is_empty() && owed.is_empty() {
            self.files.finish()?;
        }
        Ok(Report::new(Progress::Done, key, (hosts, owed), resumed))
    }

    /// Takes the miner's keys off servers that were removed and may still have them; which do, for all that is known.
    async fn leave(&self, hosts: &Hosts, keys: &KeysAtHand) -> anyhow::Result<Vec<Failure>> {
        let config = configured(self.cli, &self.cli.config)?.config;
        let errand = Errand::Leave(Leaving {
            keys: keys.clone(),
            current: self.files.current().to_owned(),
            former: keys.former.is_some().then(|| self.files.former()),
            listed: hosts.listed.clone(),
            database: config.database,
        });
        let failed = visit_all(&hosts.owed, &errand, &self.cli.program()).await;
        let left = hosts.owed.iter().filter(|host| failed.iter().all(|failure| failure.id != host.id()));
        left.map(Host::id).try_for_each(|id| self.files.settle(id))?;
        Ok(failed)
    }

    /// Puts the new key on all nodes, also on those that come meanwhile; where it failed.
    async fn spread(
        &self,
        hosts: &mut Hosts,
        keys: &KeysAtHand,
        next: &SshPublicKey,
    ) -> anyhow::Result<Vec<Failure>> {
        let errand = Errand::Spread {
            current: Key { public: keys.current.clone(), file: self.files.current().to_owned() },
            next: Key { public: next.clone(), file: self.files.next() },
        };
        let mut carrying: BTreeSet<NodeId> = BTreeSet::new();
        loop {
            let others: Vec<Host> =
                hosts.visited.iter().filter(|host| !carrying.contains(&host.id())).cloned().collect();
            if others.is_empty() {
                return Ok(Vec::new());
            }
            let failed = visit_all(&others, &errand, &self.cli.program()).await;
            if !failed.is_empty() {
                return Ok(failed);
            }
            carrying.extend(others.iter().map(Host::id));
            let owed = std::mem::take(&mut hosts.owed);
            *hosts = Hosts { owed, ..self.hosts().await? };
            hosts.expected()?;
        }
    }

    fn tangle(&self) -> String {
        let [current, next, former] =
            [self.files.current().to_owned(), self.files.next(), self.files.former()]
                .map(|path| path.display().to_string());
        format!("look at {current}, {next} and {former}, and put away what is not to be used")
    }
}

impl Report {
    fn new(
        progress: Progress,
        key: SshPublicKey,
        (hosts, owed): (Hosts, Vec<Failure>),
        resumed: bool,
    ) -> Self {
        let Hosts { visited, left_behind, owed: mut freed, .. } = hosts;
        freed.retain(|host| owed.iter().all(|failure| failure.id != host.id()));
        Self { progress, key, nodes: visited.len(), left_behind, owed, freed, resumed }
    }

    fn stage(&self) -> &'static str {
        match self.progress {
            Progress::Spread(_) => "spread",
            Progress::Retire(_) => "retire",
            Progress::Done if self.is_over() => "done",
            Progress::Done => "left_behind",
            Progress::NoNode => "no_node",
        }
    }

    /// Whether nobody may know the old key alone.
    fn is_over(&self) -> bool {
        self.left_behind.is_empty() && self.owed.is_empty()
    }

    fn failed(&self) -> &[Failure] {
        match &self.progress {
            Progress::Spread(failed) | Progress::Retire(failed) => failed,
            Progress::Done => &[],
            // Here nothing else was to be done.
            Progress::NoNode => &self.owed,
        }
    }

    fn json(&self) -> Value {
        let host =
            |host: &Host| json!({ "node_id": host.id().to_string(), "address": host.address.to_string() });
        let failure = |Failure { address, id, why }: &Failure| json!({ "node_id": id.to_string(), "address": address.to_string(), "error": why });
        json!({
            "stage": self.stage(),
            "new_key": (!matches!(self.progress, Progress::NoNode)).then(|| self.key.to_string()),
            "resumed": self.resumed,
            "nodes": self.nodes,
            "left_behind": self.left_behind.iter().map(host).collect::<Vec<_>>(),
            "removed_and_freed": self.freed.iter().map(host).collect::<Vec<_>>(),
            "removed_and_not_met": self.owed.iter().map(failure).collect::<Vec<_>>(),
            "failed": self.failed().iter().map(failure).collect::<Vec<_>>(),
        })
    }

    fn words(&self, files: &KeyFiles, program: &Program) -> String {
        let (key, replaced) = (&self.key, counted(self.nodes, "node"));
        let failed = || told(self.failed());
        match self.progress {
            Progress::Spread(_) => {
                format!("the new key does not work everywhere, so the old one stays in use:{}", failed())
            }
            Progress::Retire(_) => format!("the new key is used; the old one may still be on:{}", failed()),
            Progress::Done if self.is_over() => {
                let earlier = if self.resumed { ", which an earlier run began" } else { "" };
                format!(
                    "the miner's SSH key is replaced on {replaced}{earlier}; the old one is gone from there. The running miner uses the new \
                     one from its next login on\n{key}"
                )
            }
            Progress::Done => {
                let former = files.former();
                let kept = format!(
                    "the miner's SSH key is replaced on {replaced}; the old one is kept in {}",
                    former.display()
                );
                format!("{kept}{}{}\n{key}", self.behind(program), self.removed(program))
            }
            Progress::NoNode => {
                let mut words =
                    "there is no node whose key could be replaced, so the key in use stays".to_owned();
                if !self.freed.is_empty() {
                    words += &format!("; it is off servers that are not listed:{}", listed(&self.freed));
                }
                if !self.owed.is_empty() {
                    words += &format!("\nThese may still let it in:{}", told(&self.owed));
                }
                if self.resumed {
                    words += "\nThe rotation that an earlier run began goes on once there is a node";
                }
                words
            }
        }
    }

    fn behind(&self, program: &Program) -> String {
        if self.left_behind.is_empty() {
            return String::new();
        }
        format!(
            "\nThose that were left behind may know the old one alone:{}\nWhen they answer, run `{program} keys rotate` again: they get the \
             new key, and the old one ends. Until then no other key is made. One that never comes back: take it out with \
             `{program} nodes remove`",
            listed(&self.left_behind)
        )
    }

    fn removed(&self, program: &Program) -> String {
        if self.owed.is_empty() {
            return String::new();
        }
        format!(
            "\nThose that were removed may still let it in:{}\nWhen they answer and take it, run `{program} keys rotate` again: it comes off \
             them and ends. Until then no other key is made. One that is gone for good, or has the key no more: \
             `{program} nodes remove NODE --keep-key`",
            told(&self.owed)
        )
    }
}

fn listed(hosts: &[Host]) -> String {
    hosts.iter().map(|host| format!("\n  {}", host.address)).collect()
}

fn told(failures: &[Failure]) -> String {
    failures.iter().map(|failure| format!("\n  {}: {}", failure.address, failure.why)).collect()
}

fn tell(cli: &Cli, report: &Report, files: &KeyFiles) -> anyhow::Result<()> {
    let program = cli.program();
    answer(cli, &report.json(), || report.words(files, &program))?;
    let failed = report.failed().len();
    if failed == 0 {
        return Ok(());
    }
    if matches!(report.progress, Progress::NoNode) {
        bail!(
            "{} may still let the miner's key in; see to that and run `{program} keys rotate` again. One that is gone for good, or has the key no \
             more: `{program} nodes remove NODE --keep-key`",
            counted(failed, "server")
        );
    }
    bail!(
        "{failed} of {} {} in the way; see to that and run `{program} keys rotate` again, which goes on where it stands, or go on \
         without: --leave-behind NODE",
        counted(report.nodes, "node"),
        if failed == 1 { "is" } else { "are" }
    )
}
