//! One round on a node: log in if need be, make the file of keys what it should be, end what runs with keys that are gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use basilica_runtime_service::ErrorChain;
use basilica_status::NodeState;
use basilica_types::Millis;
use tracing::warn;

use super::{Course, KeeperConfig, Kept, NodeKeeper, Seen};
use crate::access::{AccessError, NodeAccess};
use crate::authorized_keys::KeyTag;
use crate::key_editor::WantedKey;

/// A connection is made anew after one interval, so that each visit that is due logs in as validators do: an open one does not tell that
/// sshd takes no logins any more, or shows another host key. What has to be done in between goes over the open one. Where the interval is shorter
/// than this, it is used for so long.
const SHORTEST_USE: Millis = Millis::from_secs(3);

impl NodeKeeper {
    pub(super) async fn slotted_round(
        &self,
        config: &Arc<KeeperConfig>,
        course: &mut Course,
    ) -> Result<Seen, AccessError> {
        let _slot = self.slots.acquire().await.expect("the semaphore of the fleet is never closed");
        self.metrics.health_checks.inc();
        let began = self.clock.monotonic();
        let ended = self.round(config, course).await;
        self.metrics.health_check_seconds.observe(self.clock.monotonic().saturating_sub(began).as_secs_f64());
        ended
    }

    async fn round(&self, config: &Arc<KeeperConfig>, course: &mut Course) -> Result<Seen, AccessError> {
        self.view.send_modify(|view| view.connected = false);
        let access = self.access(config);
        let wanted = self.wanted(config, course).await?;
        let used_for = |kept: &Kept| self.clock.monotonic().saturating_sub(kept.made);
        let longest = config.policy.interval.max(SHORTEST_USE).as_duration();
        let reusable = course.kept.take().filter(|kept| kept.shell.is_open());
        let reused = match reusable {
            Some(kept) if used_for(&kept) < longest && kept.fits(config) => Some(kept),
            Some(outworn) => {
                outworn.shell.close().await;
                None
            }
            None => None,
        };
        let was_reused = reused.is_some();
        let mut kept = match reused {
            Some(reused) => reused,
            None => self.connect(config, &access).await?,
        };
        self.view.send_modify(|view| view.connected = true);
        let mut edited = access.edit(kept.shell.as_ref(), &wanted, &mut course.removed).await;
        if was_reused && edited.as_ref().is_err_and(AccessError::is_connection) {
            // A connection can be dead without anybody having noticed: once more on a fresh one. Until that stands the
            // node counts as one without a login, which is what a node is that died in the meantime.
            self.view.send_modify(|view| view.connected = false);
            kept.shell.close().await;
            kept = self.connect(config, &access).await?;
            self.view.send_modify(|view| view.connected = true);
            edited = access.edit(kept.shell.as_ref(), &wanted, &mut course.removed).await;
        }
        if edited.as_ref().is_err_and(AccessError::is_connection) {
            kept.shell.close().await;
        } else {
            course.kept = Some(kept);
        }
        let edited = edited?;
        self.metrics.deployments.inc_by(edited.added.len() as u64);
        Ok(Seen { others: edited.others, keys: edited.carried })
    }

    async fn connect(&self, config: &Arc<KeeperConfig>, access: &NodeAccess) -> Result<Kept, AccessError> {
        let (shell, host_key) = access.connect().await?;
        self.view.send_modify(|view| view.host_keys = vec![host_key]);
        let counted = self.metrics.login(Arc::clone(&self.clock));
        Ok(Kept { shell, made: self.clock.monotonic(), config: Arc::clone(config), _counted: counted })
    }

    /// The keys that should be on the node now.
    async fn wanted(&self, config: &KeeperConfig, course: &Course) -> Result<Vec<WantedKey>, AccessError> {
        let is_out = matches!(course.health.state(), NodeState::Maintenance | NodeState::AwaitingOperator);
        if is_out || config.leaving {
            return Ok(Vec::new());
        }
        let sessions = self.store.keyed_sessions(self.clock.now()).await?;
        let mine: Vec<_> = match self.owners(config) {
            Some(owners) => sessions.into_iter().filter(|s| owners.contains(&s.validator)).collect(),
            // While the subnet is unknown (a restart without the chain), nobody's key is taken away, and nobody gets one: whose
            // the node is now may be another one than before.
            None => {
                let there = self.store.deployments(config.node.id).await?;
                let is_there = |session| there.iter().any(|(known, _)| *known == session);
                sessions.into_iter().filter(|session| is_there(session.id)).collect()
            }
        };
        Ok(mine
            .into_iter()
            .filter_map(|session| {
                let tag = KeyTag { validator: session.validator, session: session.id };
                Some(WantedKey { tag, expires_at: session.expires_at, key: session.public_key? })
            })
            .collect())
    }

    /// Ends what still runs with keys that are no longer wanted. `confirmed`: the keys that were just seen on the node, if
    /// they were.
    pub(super) async fn end_revoked(
        &self,
        config: &KeeperConfig,
        confirmed: Option<BTreeSet<KeyTag>>,
        course: &mut Course,
    ) {
        let Some(kept) = &course.kept else { return };
        let access = self.access(config);
        let ended = match &confirmed {
            Some(confirmed) => {
                access.end_processes(kept.shell.as_ref(), (confirmed, &course.removed), true).await
            }
            None => match self.wanted(config, course).await {
                Ok(wanted) => {
                    let wanted = wanted.into_iter().map(|key| key.tag).collect();
                    access.end_processes(kept.shell.as_ref(), (&wanted, &course.removed), false).await
                }
                Err(error) => Err(error),
            },
        };
        let Err(error) = ended else {
            course.is_still_running_told = false;
            course.removed.clear();
            return;
        };
        self.metrics.process_end_failures.inc();
        if !std::mem::replace(&mut course.is_still_running_told, true) {
            warn!(node.id = %config.node.id, node.address = %config.node.address, error = %ErrorChain(&error),
                "Failed to end processes of removed keys; every round tries again");
        }
        if error.is_connection() {
            course.close().await;
        }
    }

    pub(super) async fn remove_keys(
        &self,
        config: &KeeperConfig,
        course: &mut Course,
    ) -> Result<(), AccessError> {
        let access = self.access(config);
        match course.kept.take().filter(|kept| kept.shell.is_open()) {
            Some(kept) => {
                let removed = access.clear(kept.shell.as_ref()).await;
                kept.shell.close().await;
                removed
            }
            None => access.remove_keys().await,
        }
    }
}
