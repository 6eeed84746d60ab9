//! Leaving a node: everything of ours goes off it, whoever has to do that.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;

use anyhow::Context as _;
use basilica_console as console;
use basilica_miner_service::authorized_keys::KeyTag;
use basilica_miner_service::config::{DatabaseConfig, MinerConfig};
use basilica_miner_service::onboarding;
use basilica_miner_service::operator_key::{self, Lines, Removed};
use basilica_miner_service::rotation::KeysAtHand;
use basilica_ports::{Clock as _, Shell, ShellError};
use basilica_system::SystemClock;
use basilica_types::{HostKey, Millis, NodeId};

use super::{Closed, Remove};
use crate::keys::KeyFiles;
use crate::nodes::access::{Access, DEADLINE};
use crate::program::Program;
use crate::running::Reload;
use crate::store;

/// For how long the running miner is waited for: until it has read the file, and a round on the node.
const PATIENCE: Millis = Millis::from_secs(30);
/// Between two looks.
const LOOK_EVERY: Millis = Millis(200);
/// After which a person is told what the command waits for.
const SILENCE: Millis = Millis::from_secs(2);

/// What was taken off a node.
pub(super) struct Left {
    pub(super) validators: usize,
    /// Lines with the miner's own key.
    pub(super) own: Removed,
    /// The node does not let the miner in any more, and carries nothing of validators'.
    pub(super) is_over: bool,
}

/// Sees to it that everything of ours goes off the node; or why it does not, where the node or the running miner is the reason.
pub(super) async fn leave(
    (config, files, program): (&MinerConfig, &KeyFiles, &Program),
    closed: &Closed,
    remove: &Remove,
) -> anyhow::Result<Result<Left, String>> {
    let (database, node) = (&config.database, &closed.node);
    let leaver = closed.told.as_ref().filter(|told| **told != Reload::NotRunning);
    if let Some(told) = leaver
        && !until_left(database, closed, matches!(told, Reload::Told(_))).await?
    {
        return Ok(Err(format!(
            "the running miner has not left {} within {PATIENCE}; its log says what is wrong, and it goes on trying",
            node.address
        )));
    }
    let Some(host_key) = host_key(database, closed).await? else {
        return Ok(Err(format!("{} was never met, so its host key is not known", node.address)));
    };
    // Otherwise the running miner has taken them off, or they are gone for longer.
    let is_ours = leaver.is_none() && closed.told.is_some();
    let none = BTreeSet::new();
    let tags = if is_ours { &closed.tags } else { &none };
    let visit = Visit { files, program, closed, host_key: &host_key, tags };
    Ok(match visit.run(remove).await {
        Ok(left) if is_ours => {
            store::forget(database, node.id, tags).await?;
            Ok(left)
        }
        Ok(left) => {
            store::reopen(database, node.id).await?;
            Ok(Left { validators: closed.deployed, ..left })
        }
        Err(error) => Err(format!("{error:#}; nothing was removed from the node")),
    })
}

async fn host_key(database: &DatabaseConfig, closed: &Closed) -> anyhow::Result<Option<HostKey>> {
    match &closed.node.host_key {
        Some(key) => Ok(Some(key.clone())),
        None => store::pinned(database, closed.node.id).await,
    }
}

/// Whether the running miner has left the node in time.
async fn until_left(database: &DatabaseConfig, closed: &Closed, was_told: bool) -> anyhow::Result<bool> {
    let id: NodeId = closed.node.id;
    let clock = SystemClock::new();
    let began = clock.monotonic();
    let mut is_told = !std::io::stderr().is_terminal();
    loop {
        if store::is_left(database, id, was_told).await? {
            return Ok(true);
        }
        let waited = Millis::from(clock.monotonic().saturating_sub(began));
        if waited >= PATIENCE {
            return Ok(false);
        }
        if !is_told && waited >= SILENCE {
            console::tell(&format!(
                "waiting until the running miner has taken the keys off {}",
                closed.node.address
            ));
            is_told = true;
        }
        clock.sleep(LOOK_EVERY).await;
    }
}

/// A login of our own on the node.
struct Visit<'a> {
    files: &'a KeyFiles,
    program: &'a Program,
    closed: &'a Closed,
    host_key: &'a HostKey,
    /// Keys of validators that are to be taken off.
    tags: &'a BTreeSet<KeyTag>,
}

impl Visit<'_> {
    async fn run(&self, remove: &Remove) -> anyhow::Result<Left> {
        let keys = self.files.at_hand()?;
        let Some(shell) = self.log_in(&keys).await? else {
            let own = Removed { removed: 0, left: Vec::new() };
            return Ok(Left { validators: 0, own, is_over: true });
        };
        let done = self.clear(shell.as_ref(), keys, remove).await;
        shell.close().await;
        done.with_context(|| format!("remove keys from {}", self.closed.node.address))
    }

    /// None: an earlier run has taken the miner's key off, which is the last thing that a removal does.
    async fn log_in(&self, keys: &KeysAtHand) -> anyhow::Result<Option<std::sync::Arc<dyn Shell>>> {
        let access = |key_path| Access {
            address: &self.closed.node.address,
            host_key: self.host_key,
            key_path,
            program: self.program,
        };
        let (by_current, former_file) = (access(self.files.current()), self.files.former());
        let shell = match by_current.log_in().await {
            // A node that a rotation left behind knows the old key alone.
            Err(ShellError::Denied { .. }) if keys.former.is_some() => access(&former_file).log_in().await,
            other => other,
        };
        match shell {
            Err(ShellError::Denied { .. }) if self.closed.is_resumed && self.tags.is_empty() => Ok(None),
            shell => Ok(Some(shell.map_err(|error| by_current.explained(error))?)),
        }
    }

    async fn clear(&self, shell: &dyn Shell, keys: KeysAtHand, remove: &Remove) -> anyhow::Result<Left> {
        let KeysAtHand { current, next, former } = keys;
        let which = if remove.all_lines { Lines::All } else { Lines::Written };
        let removed = onboarding::clear(shell, &SystemClock::new(), DEADLINE, self.tags).await?;
        let mut own = Removed { removed: 0, left: Vec::new() };
        // The one that let this session in goes last: until then the command can be run again.
        for key in [next, former, Some(current)].into_iter().flatten().filter(|_| !remove.keep_key) {
            let removed = operator_key::remove(shell, DEADLINE, &key, which).await?;
            own.removed += removed.removed;
            own.left.extend(removed.left);
        }
        Ok(Left { validators: removed.len(), own, is_over: false })
    }
}
