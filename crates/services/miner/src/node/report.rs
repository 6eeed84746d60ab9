//! What a round says of its node: to whoever looks at the node, to the log, to the metrics.

use basilica_ports::NodeHold;
use basilica_runtime_service::ErrorChain;
use basilica_status::NodeState;
use basilica_types::{Millis, Timestamp};
use tracing::{error, info, warn};

use super::{Course, KeeperConfig, NodeKeeper, Seen};
use crate::access::AccessError;
use crate::health::{Event, Health};
use crate::metrics::NodeLabels;
use crate::view::NodeFailure;

impl NodeKeeper {
    /// Draws from a round what it says of the node, and publishes that.
    pub(super) async fn settle(
        &self,
        config: &KeeperConfig,
        generation: u64,
        (ended, took): (Result<Seen, AccessError>, Millis),
        course: &mut Course,
    ) {
        let now = self.clock.now();
        let connected = self.view.borrow().connected;
        let event = match &ended {
            Ok(_) => Event::Succeeded,
            Err(error) => Event::Failed { cause: error.cause(), connected },
        };
        if let Err(error) = &ended {
            self.metrics.deployment_failures.inc();
            if matches!(error, AccessError::Store(_)) {
                self.metrics.store_errors.inc();
            }
        }
        let (before, is_new) = (course.health.state(), !course.health.was_well());
        let (health, hold) = course.health.after(event, &config.policy, now);
        course.health = health;
        if is_new && ended.is_ok() {
            info!(node.id = %config.node.id, node.address = %config.node.address,
                "Registered node: its login works, and its keys are as they should be");
        }
        self.log(config, before, ended.as_ref().err(), course);
        if let (true, Err(error)) = (hold, &ended) {
            self.hold(config, error, course).await;
        }
        self.tell_of_others(config, ended.as_ref().ok(), course);
        self.publish(generation, (ended, took), &health, now);
    }

    async fn hold(&self, config: &KeeperConfig, error: &AccessError, course: &mut Course) {
        let hold = NodeHold { since: self.clock.now(), why: ErrorChain(error).to_string() };
        match self.store.hold_node(config.node.id, &hold).await {
            Ok(revision) => course.held_at = revision,
            Err(error) => {
                self.metrics.store_errors.inc();
                warn!(node.id = %config.node.id, error = %ErrorChain(&error),
                    "that the node waits for its operator cannot be stored; a restart would forget it");
            }
        }
    }

    fn publish(
        &self,
        generation: u64,
        (ended, took): (Result<Seen, AccessError>, Millis),
        health: &Health,
        now: Timestamp,
    ) {
        self.view.send_modify(|view| {
            (view.state, view.since, view.attempts) = (health.state(), health.since(), health.attempts());
            view.was_well = health.was_well();
            view.checked_at = Some(now);
            view.reachable_since = view.connected.then_some(view.reachable_since.unwrap_or(now));
            if !health.is_retrying() {
                view.generation = generation;
            }
            match ended {
                Ok(seen) => {
                    (view.succeeded_at, view.latency) = (Some(now), Some(took));
                    view.foreign_keys = seen.others.len();
                    view.keys = seen.keys.into_iter().map(|key| (key.tag.session, key.key)).collect();
                }
                Err(error) => {
                    let cause = error.cause();
                    let (text, remedy) = (ErrorChain(&error).to_string(), cause.remedy(&view.address));
                    view.last_failure = Some(NodeFailure { at: now, cause, text, remedy });
                    // What was seen last still counts while a failure says nothing about it.
                    if !matches!(health.state(), NodeState::Degraded | NodeState::LockedOut) {
                        view.keys.clear();
                    }
                }
            }
        });
        let view = self.view.borrow();
        let up = view.reachable_since.map_or(0, |since| now.since(since).0 / 1000);
        let labels = NodeLabels { node_id: view.node_id.to_string() };
        // Seconds of uptime fit a float exactly for longer than the universe lasts.
        self.metrics.node_uptime.get_or_create(&labels).set(f64::from(u32::try_from(up).unwrap_or(u32::MAX)));
    }

    /// Another miner on the same node is told of once, and again when its keys change.
    fn tell_of_others(&self, config: &KeeperConfig, seen: Option<&Seen>, course: &mut Course) {
        let Some(seen) = seen.filter(|seen| seen.others != course.others) else { return };
        if let Some(tag) = seen.others.first() {
            warn!(node.id = %config.node.id, node.address = %config.node.address, keys = seen.others.len(), first = %tag,
                "Node carries keys of another miner, or of this one with another database; they stay until they expire");
        }
        course.others.clone_from(&seen.others);
    }

    /// A failure is told once, not every minute, and only when no further attempt is due.
    fn log(
        &self,
        config: &KeeperConfig,
        before: NodeState,
        error: Option<&AccessError>,
        course: &mut Course,
    ) {
        let now = course.health.state();
        if before == now {
            return;
        }
        let (id, address) = (&config.node.id, &config.node.address);
        if now == NodeState::Healthy && std::mem::replace(&mut course.is_trouble_told, false) {
            info!(node.id = %id, node.address = %address, "Node connectivity restored");
        }
        let Some(error) = error else { return };
        if matches!(now, NodeState::Degraded | NodeState::Maintenance) {
            return;
        }
        course.is_trouble_told = true;
        let (remedy, error) = (error.cause().remedy(address), ErrorChain(error));
        match now {
            NodeState::AwaitingOperator => {
                warn!(node.id = %id, node.address = %address, error = %error, remedy,
                take_back = format!("basilica-miner nodes recover {id}"), "Node connectivity lost")
            }
            NodeState::HostKeyChanged if config.node.host_key.is_some() => {
                error!(node.id = %id, node.address = %address, error = %error,
                    approve = "change host_key of the node in the configuration",
                    "Host key of node changed; the node is not used until you approve the new one");
            }
            NodeState::Unreachable | NodeState::HostKeyChanged => {
                warn!(node.id = %id, node.address = %address, error = %error, remedy, "Node connectivity lost");
            }
            NodeState::LockedOut => warn!(node.id = %id, node.address = %address, error = %error, remedy,
                "Node refuses connections for a while; what it carries stays, and it is asked less often"),
            _ => {
                warn!(node.id = %id, node.address = %address, error = %error, remedy, "Failed to deploy SSH keys");
            }
        }
    }
}
