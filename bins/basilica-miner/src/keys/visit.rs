//! What a rotation does on each node.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use basilica_console as console;
use basilica_miner_service::config::DatabaseConfig;
use basilica_miner_service::onboarding;
use basilica_miner_service::operator_key::Lines;
use basilica_miner_service::rotation::{self, KeysAtHand};
use basilica_ports::{Shell, ShellError};
use basilica_system::SystemClock;
use basilica_types::{HostKey, NodeAddress, NodeId, SshPublicKey};
use tokio::task::JoinSet;

use super::hosts::Host;
use crate::maintenance::is_running;
use crate::nodes::twins::{self, Keys, Need};
use crate::nodes::{Access, DEADLINE, refused, until_left};
use crate::program::Program;
use crate::select::Named as _;
use crate::store;

/// Nodes that are visited at a time.
const AT_ONCE: usize = 16;

/// A key, and the file that it is in.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) public: SshPublicKey,
    pub(super) file: PathBuf,
}

/// What is done on each node.
#[derive(Clone, Debug)]
pub(super) enum Errand {
    /// Put `next` on it, beside `current`, and log in with it.
    Spread { current: Key, next: Key },
    /// Take `former` off it. Where only that is known, because the node was left behind, `current` goes there first.
    Retire { current: Key, former: Key },
    /// Take all of the miner's keys off it.
    Leave(Leaving),
}

/// What a server that was removed is left with.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    pub(super) keys: KeysAtHand,
    pub(super) current: PathBuf,
    pub(super) former: Option<PathBuf>,
    /// One that is the same login as one of these keeps the miner's keys.
    pub(super) listed: Vec<Host>,
    pub(super) database: DatabaseConfig,
}

/// A node where it failed, and why.
pub(super) struct Failure {
    pub(super) address: NodeAddress,
    pub(super) id: NodeId,
    pub(super) why: String,
}

/// Those that failed, in the order of `hosts`. What they are told to do names commands of `program`.
pub(super) async fn visit_all(hosts: &[Host], errand: &Errand, program: &Program) -> Vec<Failure> {
    let is_watched = std::io::stderr().is_terminal();
    let visit = |(at, host): (usize, &Host)| {
        let (host, errand, program) = (host.clone(), errand.clone(), program.clone());
        async move {
            let done = errand.carry_out(&host, &program).await;
            (at, host, done)
        }
    };
    let mut waiting = hosts.iter().enumerate();
    let (mut under_way, mut failed, mut done) = (JoinSet::new(), Vec::new(), 0);
    for next in waiting.by_ref().take(AT_ONCE) {
        under_way.spawn(visit(next));
    }
    while let Some(ended) = under_way.join_next().await {
        // A visit that panics would leave its node out without a word.
        let (at, host, outcome) = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        if let Some(next) = waiting.next() {
            under_way.spawn(visit(next));
        }
        done += 1;
        if is_watched {
            let what = if outcome.is_ok() { errand.done() } else { "failed" };
            console::tell(&format!("{}: {what} ({done} of {})", host.address, hosts.len()));
        }
        if let Err(error) = outcome {
            failed.push((at, Failure { id: host.id(), address: host.address, why: format!("{error:#}") }));
        }
    }
    failed.sort_by_key(|(at, _)| *at);
    failed.into_iter().map(|(_, failure)| failure).collect()
}

impl Errand {
    fn done(&self) -> &'static str {
        match self {
            Self::Spread { .. } => "the new key works",
            Self::Retire { .. } => "the old key is gone",
            Self::Leave(_) => "was removed before; the miner's key is off it now",
        }
    }

    async fn carry_out(&self, host: &Host, program: &Program) -> anyhow::Result<()> {
        let Host { address, host_key } = host;
        let host_key = host_key.as_ref().with_context(|| {
            format!("its host key is not known yet; see to that with: {program} nodes add {address}")
        })?;
        let node = Node { address, host_key, program };
        match self {
            Self::Spread { current, next } => {
                let access = node.access(&current.file);
                let shell = access.log_in().await.map_err(|error| access.explained(error))?;
                node.spread(shell, current, next).await
            }
            Self::Retire { current, former } => node.retire(current, former).await,
            Self::Leave(leaving) => node.leave(host, leaving).await,
        }
    }
}

struct Node<'a> {
    address: &'a NodeAddress,
    host_key: &'a HostKey,
    program: &'a Program,
}

impl Node<'_> {
    fn access<'a>(&'a self, key_path: &'a Path) -> Access<'a> {
        Access { address: self.address, host_key: self.host_key, key_path, program: self.program }
    }

    /// In this session, which `from` opened.
    async fn spread(&self, shell: Arc<dyn Shell>, from: &Key, to: &Key) -> anyhow::Result<()> {
        let installed = rotation::spread(shell.as_ref(), DEADLINE, &from.public, &to.public).await;
        shell.close().await;
        if installed.context("install the new key")?.home_writable {
            bail!("others may write the home directory, so sshd ignores its keys; on the node: chmod go-w ~");
        }
        let access = self.access(&to.file);
        match access.log_in().await {
            Ok(shell) => shell.close().await,
            Err(ShellError::Denied { .. }) => bail!(
                "the new key is in ~/.ssh/authorized_keys, and sshd does not let it in; look at sshd's log there (journalctl -u ssh), \
                 and at how the key in use is let in (`sudo sshd -T | grep -i authorizedkeys`)"
            ),
            Err(error) => return Err(access.explained(error)),
        }
        Ok(())
    }

    async fn retire(&self, current: &Key, former: &Key) -> anyhow::Result<()> {
        let access = self.access(&current.file);
        let explained = |error| access.explained(error);
        let shell = match access.log_in().await {
            Ok(shell) => shell,
            Err(denied @ ShellError::Denied { .. }) => {
                let Ok(shell) = self.access(&former.file).log_in().await else {
                    return Err(explained(denied));
                };
                self.spread(shell, former, current).await?;
                access.log_in().await.map_err(explained)?
            }
            Err(error) => return Err(explained(error)),
        };
        let retired = rotation::retire(shell.as_ref(), DEADLINE, &former.public).await;
        shell.close().await;
        retired.context("take the old key off")?;
        access.are_off(std::iter::once(former.file.as_path())).await
    }

    /// A server that refuses the keys may have them all the same.
    async fn leave(&self, host: &Host, leaving: &Leaving) -> anyhow::Result<()> {
        let at_hand = Keys { current: &leaving.current, former: leaving.former.as_deref() };
        let access = self.access(at_hand.current);
        let (shell, key) = match access.log_in_with_either(at_hand.former).await {
            Ok(entered) => entered,
            Err(ShellError::Denied { wants_more, .. }) => bail!("{}", refused(self.address, wants_more)),
            Err(error) => return Err(access.explained(error)),
        };
        let left = async {
            self.clear(shell.as_ref(), &leaving.database).await.context("take validators' keys off")?;
            self.take_own(shell.as_ref(), host, (leaving, at_hand)).await
        };
        let left = left.await;
        shell.close().await;
        if left? { access.are_off(at_hand.from(key)).await } else { Ok(()) }
    }

    /// Validators' keys. A running miner that is at it goes first, because what two take off at the same time one of them can put back; one
    /// that has only the new key by now may not get in.
    async fn clear(&self, shell: &dyn Shell, database: &DatabaseConfig) -> anyhow::Result<()> {
        let id = self.address.node_id();
        if !store::remnant(database, id).await?.is_some_and(|remnant| remnant.is_known) {
            return Ok(());
        }
        let (tags, _) = store::close(database, id).await?;
        if is_running(database)? && until_left(database, self.address, false).await? {
            return store::reopen(database, id).await;
        }
        onboarding::clear(shell, &SystemClock::new(), DEADLINE, &tags).await?;
        store::forget(database, id, &tags).await
    }

    /// Whether the key goes: another node may need it.
    async fn take_own(
        &self,
        shell: &dyn Shell,
        host: &Host,
        (leaving, at_hand): (&Leaving, Keys<'_>),
    ) -> anyhow::Result<bool> {
        let twins = twins::of(host, &leaving.listed);
        match twins::need(shell, &twins, at_hand, self.program).await {
            Need::Nobody => {}
            // It gets the new key as that one, and loses the old one so.
            Need::By(_) => return Ok(false),
            Need::Perhaps(twin, why) => {
                bail!("{} may be the same server, and does not say: {why}", twin.address)
            }
        }
        let left = rotation::leave(shell, DEADLINE, &leaving.keys, Lines::Written).await;
        let lines = left.context("take the miner's key off")?.left;
        let (address, program) = (self.address, self.program);
        ensure!(
            lines.is_empty(),
            "lines with the miner's key that it did not write stay in ~/.ssh/authorized_keys there ({}); to take them out: {program} nodes \
             remove {address} --all-lines ; to leave them: {program} nodes remove {address} --keep-key",
            lines.join("; ")
        );
        Ok(true)
    }
}
