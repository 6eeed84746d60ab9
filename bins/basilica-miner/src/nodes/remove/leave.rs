//! Leaving a node: everything of ours goes off it, whoever has to do that.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;

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
use crate::cli::Cli;
use crate::commands::configured;
use crate::keys::{Host, KeyFiles};
use crate::nodes::access::{Access, DEADLINE, refused};
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
    /// An earlier run was done with it, and it does not let the miner in.
    pub(super) is_over: bool,
}

impl Left {
    fn untouched(is_reached: bool, is_over: bool) -> Self {
        let own = Removed { removed: 0, left: Vec::new() };
        Self { validators: 0, own, is_reached, kept_for: None, is_over }
    }
}

/// A node that may still carry something of ours.
pub(super) struct Unfinished {
    /// In words, and what becomes of validators' keys.
    pub(super) why: String,
    /// How many keys of validators were taken off it; none: they may still be on it.
    pub(super) validators: Option<usize>,
    pub(super) then: Then,
}

/// What helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The same command, once the node answers.
    Again,
    /// To have it met first, as nobody knows by which host key to believe it.
    Meet,
    /// To look there: it refuses the miner's key.
    Look,
    /// To look there: what the miner can take off is off, and the key was not seen to be refused.
    Elsewhere,
}

impl Unfinished {
    fn new(error: &anyhow::Error, validators: Option<usize>) -> Self {
        Self { why: format!("{error:#}"), validators, then: Then::Again }
    }
}

/// Sees to it that everything of ours goes off the node; or why it does not, where the node or the running miner is the reason.
pub(super) async fn leave(
    cli: &Cli,
    (config, files): (&MinerConfig, &KeyFiles),
    closed: &Closed,
    remove: &Remove,
) -> anyhow::Result<Result<Left, Unfinished>> {
    let (database, node) = (&config.database, &closed.node);
    let host_key = host_key(database, closed).await?;
    let leaver = closed.told.as_ref().filter(|told| **told != Reload::NotRunning);
    if let Some(told) = leaver
        && !until_left(database, &node.address, matches!(told, Reload::Told(_))).await?
    {
        return Ok(Err(not_left(&node.address, host_key.as_ref())));
    }
    // Otherwise the running miner has taken them off, or they are gone for longer.
    let is_ours = leaver.is_none() && closed.told.is_some();
    let none = BTreeSet::new();
    let tags = if is_ours { &closed.tags } else { &none };
    let outcome = match &host_key {
        _ if remove.keep_key && tags.is_empty() => Ok(Left::untouched(leaver.is_some(), false)),
        None => {
            let why = format!("{} was never met, so its host key is not known", node.address);
            Err(Unfinished { why, validators: None, then: Then::Meet })
        }
        Some(host_key) => Visit { cli, files, closed, host_key, tags, remove }.run().await,
    };
    let taken = match &outcome {
        Ok(_) => true,
        Err(unfinished) => is_ours && unfinished.validators.is_some(),
    };
    if taken {
        end(database, (node.id, is_ours), tags).await?;
    }
    let of_miner = leaver.map(|_| closed.deployed);
    Ok(match outcome {
        Ok(left) if is_ours => Ok(left),
        Ok(left) => Ok(Left { validators: closed.deployed, ..left }),
        Err(Unfinished { why, validators, then }) => {
            let validators = if is_ours { validators } else { of_miner };
            let end = match validators {
                None if tags.is_empty() => "",
                None => "; keys of validators that it may carry end with their sessions",
                Some(_) if is_ours => "; no key of a validator is on it",
                Some(_) => "; the running miner has left it, and no key of a validator is on it",
            };
            Err(Unfinished { why: format!("{why}{end}"), validators, then })
        }
    })
}

fn not_left(address: &NodeAddress, host_key: Option<&HostKey>) -> Unfinished {
    let why = format!(
        "the running miner has not left {address} within {}; its log says what is wrong, and it goes on trying to take validators' keys off \
         it, which end with their sessions anyway",
        span(PATIENCE)
    );
    Unfinished { why, validators: None, then: if host_key.is_some() { Then::Again } else { Then::Meet } }
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

/// Whether the running miner has left the node in time: has nothing of validators' on it, or where it `was_told`, does not know it any more.
pub(crate) async fn until_left(
    database: &DatabaseConfig,
    address: &NodeAddress,
    was_told: bool,
) -> anyhow::Result<bool> {
    let id = address.node_id();
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
            console::tell(&format!("waiting until the running miner has taken the keys off {address}"));
            is_told = true;
        }
        clock.sleep(LOOK_EVERY).await;
    }
}

/// A login of our own on the node.
struct Visit<'a> {
    cli: &'a Cli,
    files: &'a KeyFiles,
    closed: &'a Closed,
    host_key: &'a HostKey,
    /// Keys of validators that are to be taken off.
    tags: &'a BTreeSet<KeyTag>,
    remove: &'a Remove,
}

impl Visit<'_> {
    async fn run(&self) -> Result<Left, Unfinished> {
        let (address, program) = (&self.closed.node.address, self.cli.program());
        let keys = self.files.at_hand().map_err(|error| Unfinished::new(&error, None))?;
        let former = keys.former.is_some().then(|| self.files.former());
        let at_hand = Keys { current: self.files.current(), former: former.as_deref() };
        let access =
            Access { address, host_key: self.host_key, key_path: at_hand.current, program: &program };
        let (shell, key) = match access.log_in_with_either(at_hand.former).await {
            Ok(entered) => entered,
            // What an earlier run was sure of.
            Err(ShellError::Denied { wants_more: false, .. }) if self.was_left() => {
                return Ok(Left::untouched(true, true));
            }
            Err(ShellError::Denied { wants_more, .. }) => {
                return Err(Unfinished {
                    why: refused(address, wants_more),
                    validators: None,
                    then: Then::Look,
                });
            }
            Err(error) => return Err(Unfinished::new(&access.explained(error), None)),
        };
        let done = self.clear(shell.as_ref(), &keys, at_hand, &program).await;
        shell.close().await;
        let left = done?;
        if !self.remove.keep_key && left.kept_for.is_none() && left.own.left.is_empty() {
            let off = access.are_off(at_hand.from(key)).await;
            off.map_err(|error| Unfinished {
                why: format!("{error:#}"),
                validators: Some(left.validators),
                then: Then::Elsewhere,
            })?;
        }
        Ok(left)
    }

    /// Nothing was noted to be on it when this command began.
    fn was_left(&self) -> bool {
        self.closed.is_resumed && !self.closed.was_owed && self.tags.is_empty()
    }

    async fn clear(
        &self,
        shell: &dyn Shell,
        keys: &KeysAtHand,
        at_hand: Keys<'_>,
        program: &Program,
    ) -> Result<Left, Unfinished> {
        let address = &self.closed.node.address;
        let failed = |error: anyhow::Error, validators| {
            Unfinished::new(&error.context(format!("remove keys from {address}")), validators)
        };
        let removed = onboarding::clear(shell, &SystemClock::new(), DEADLINE, self.tags).await;
        let validators = removed.map_err(|error| failed(error.into(), None))?.len();
        let mut left = Left { validators, ..Left::untouched(true, false) };
        if self.remove.keep_key {
            return Ok(left);
        }
        let twins = self.twins().await.map_err(|error| failed(error, Some(validators)))?;
        match twins::need(shell, &twins, at_hand, program).await {
            Need::Nobody => {
                let which = if self.remove.all_lines { Lines::All } else { Lines::Written };
                let own = rotation::leave(shell, DEADLINE, keys, which).await;
                left.own = own.map_err(|error| failed(error.into(), Some(validators)))?;
            }
            Need::By(twin) => left.kept_for = Some(twin.address),
            Need::Perhaps(twin, why) => {
                let why = format!(
                    "{0} shows the same host key and may be the same server, which it does not say, so the miner's key stays ({why}); it \
                     comes off once {0} answers or is removed",
                    twin.address
                );
                return Err(Unfinished { why, validators: Some(validators), then: Then::Again });
            }
        }
        Ok(left)
    }

    /// Nodes that may be the same login, of those that are listed now: of two commands that take out both, the one that comes last to this
    /// finds the other one's line gone.
    async fn twins(&self) -> anyhow::Result<Vec<Host>> {
        let listed = twins::listed(&configured(self.cli, &self.cli.config)?.config).await?;
        let this = Host { address: self.closed.node.address.clone(), host_key: Some(self.host_key.clone()) };
        Ok(twins::of(&this, &listed))
    }
}
