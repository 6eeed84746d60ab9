//! Leaving a node: everything of ours goes off it, whoever has to do that.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;

use anyhow::{Context as _, bail};
use basilica_console as console;
use basilica_miner_service::authorized_keys::KeyTag;
use basilica_miner_service::config::{DatabaseConfig, MinerConfig};
use basilica_miner_service::onboarding;
use basilica_miner_service::operator_key::{Lines, Removed};
use basilica_miner_service::rotation::{self, KeysAtHand};
use basilica_ports::{Clock as _, Shell, ShellError};
use basilica_status::span;
use basilica_system::SystemClock;
use basilica_types::{HostKey, Millis, NodeAddress, NodeId};

use super::{Closed, Remove};
use crate::keys::{Host, KeyFiles};
use crate::nodes::access::{Access, DEADLINE};
use crate::nodes::twins::{self, Keys, Need};
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
    /// Whether anybody logged in to see to that.
    pub(super) is_reached: bool,
    /// The listed node for which the miner's own key stays: it is the same login.
    pub(super) kept_for: Option<NodeAddress>,
    /// The node does not let the miner in any more, and carries nothing of validators'.
    pub(super) is_over: bool,
}

/// A node that may still carry something of ours.
pub(super) struct Unfinished {
    /// In words, and what becomes of validators' keys.
    pub(super) why: String,
    /// How many keys of validators the running miner took off it; none: they may still be on it.
    pub(super) validators: Option<usize>,
    /// Whether it is known by which host key to believe it.
    pub(super) is_met: bool,
}

/// Sees to it that everything of ours goes off the node; or why it does not, where the node or the running miner is the reason.
pub(super) async fn leave(
    (config, files, program): (&MinerConfig, &KeyFiles, &Program),
    closed: &Closed,
    remove: &Remove,
) -> anyhow::Result<Result<Left, Unfinished>> {
    let (database, node) = (&config.database, &closed.node);
    let leaver = closed.told.as_ref().filter(|told| **told != Reload::NotRunning);
    if let Some(told) = leaver
        && !until_left(database, closed, matches!(told, Reload::Told(_))).await?
    {
        let why = format!(
            "the running miner has not left {} within {}; its log says what is wrong, and it goes on trying to take validators' \
             keys off it, which end with their sessions anyway",
            node.address,
            span(PATIENCE)
        );
        return Ok(Err(Unfinished { why, validators: None, is_met: true }));
    }
    // Otherwise the running miner has taken them off, or they are gone for longer.
    let is_ours = leaver.is_none() && closed.told.is_some();
    let none = BTreeSet::new();
    let tags = if is_ours { &closed.tags } else { &none };
    let unfinished = |why: String, is_met| {
        let validators = leaver.map(|_| closed.deployed);
        let then = match validators {
            None if tags.is_empty() => "",
            None => "; keys of validators that it may carry end with their sessions",
            Some(_) => "; the running miner has left it, and no key of a validator is on it",
        };
        Ok(Err(Unfinished { why: format!("{why}{then}"), validators, is_met }))
    };
    if remove.keep_key && tags.is_empty() {
        end(database, (node.id, is_ours), tags).await?;
        let own = Removed { removed: 0, left: Vec::new() };
        return Ok(Ok(Left {
            validators: closed.deployed,
            own,
            is_reached: leaver.is_some(),
            kept_for: None,
            is_over: false,
        }));
    }
    let Some(host_key) = host_key(database, closed).await? else {
        return unfinished(format!("{} was never met, so its host key is not known", node.address), false);
    };
    let this = Host { address: node.address.clone(), host_key: Some(host_key.clone()) };
    let twins = twins::of(&this, &twins::listed(config).await?);
    let visit = Visit { files, program, closed, host_key: &host_key, tags, twins };
    match visit.run(remove).await {
        Ok(left) => {
            end(database, (node.id, is_ours), tags).await?;
            let validators = if is_ours { left.validators } else { closed.deployed };
            Ok(Ok(Left { validators, ..left }))
        }
        Err(error) => unfinished(format!("{error:#}"), true),
    }
}

/// Notes that the node carries none of these keys any more.
async fn end(
    database: &DatabaseConfig,
    (node, is_ours): (NodeId, bool),
    tags: &BTreeSet<KeyTag>,
) -> anyhow::Result<()> {
    if is_ours { store::forget(database, node, tags).await } else { store::reopen(database, node).await }
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
    /// Listed nodes that may be the same login.
    twins: Vec<Host>,
}

impl Visit<'_> {
    async fn run(&self, remove: &Remove) -> anyhow::Result<Left> {
        let keys = self.files.at_hand()?;
        let Some(shell) = self.log_in(&keys).await? else {
            let own = Removed { removed: 0, left: Vec::new() };
            return Ok(Left { validators: 0, own, is_reached: true, kept_for: None, is_over: true });
        };
        let done = self.clear(shell.as_ref(), &keys, remove).await;
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
        let (by_current, former) = (access(self.files.current()), self.files.former());
        let shell = by_current.log_in_with_either(keys.former.is_some().then_some(former.as_path())).await;
        match shell {
            Err(ShellError::Denied { .. }) if self.closed.is_resumed && self.tags.is_empty() => Ok(None),
            shell => Ok(Some(shell.map_err(|error| by_current.explained(error))?)),
        }
    }

    async fn clear(&self, shell: &dyn Shell, keys: &KeysAtHand, remove: &Remove) -> anyhow::Result<Left> {
        let which = if remove.all_lines { Lines::All } else { Lines::Written };
        let removed = onboarding::clear(shell, &SystemClock::new(), DEADLINE, self.tags).await?;
        let (mut own, mut kept_for) = (Removed { removed: 0, left: Vec::new() }, None);
        if !remove.keep_key {
            let former = keys.former.is_some().then(|| self.files.former());
            let at_hand = Keys { current: self.files.current(), former: former.as_deref() };
            match twins::need(shell, &self.twins, at_hand, self.program).await {
                Need::Nobody => own = rotation::leave(shell, DEADLINE, keys, which).await?,
                Need::By(twin) => kept_for = Some(twin.address),
                Need::Perhaps(twin, why) => bail!(
                    "{0} shows the same host key and may be the same server, which it does not say, so the miner's key stays ({why}); it \
                     comes off once {0} answers or is removed",
                    twin.address
                ),
            }
        }
        Ok(Left { validators: removed.len(), own, is_reached: true, kept_for, is_over: false })
    }
}
