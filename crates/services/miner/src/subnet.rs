//! What the miner knows of its subnet, kept fresh beside the requests: no stranger's request costs a chain call.
//!
//! With every reading of the metagraph it is decided anew whose the nodes are. The assignment before is remembered in the
//! store, because a restart is no reason to choose another validator.

use std::sync::Arc;
use std::time::Duration;

use basilica_ports::{Assignment, BoxError, Chain, Clock, Entropy, Metagraph, MinerStore};
use basilica_runtime_service::{Backoff, Condition, ErrorChain, Stop};
use basilica_types::{Hotkey, Millis, NetUid, Rao, Timestamp, Uid};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::assignment::{AssignableNode, AssignmentStrategy, Pool, decide};
use crate::metrics::MinerMetrics;

/// First pause after the chain did not answer.
const RETRY_FIRST: Millis = Millis::from_secs(1);
/// Longest pause.
const RETRY_MOST: Millis = Millis::from_secs(60);
/// Between two reminders of what the strategy warns of.
const REMINDER: Millis = Millis::from_secs(3600);

/// The subnet at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) metagraph: Arc<Metagraph>,
    /// For people.
    pub(crate) fetched_at: Timestamp,
    /// The same moment by the clock that nobody sets: how old this is goes by it.
    pub(crate) fetched: Duration,
    /// Whose the nodes are.
    pub(crate) assignment: Arc<Assignment>,
}

impl Snapshot {
    /// Whether it is at most so old at the monotonic time `now`.
    pub(crate) const fn is_within(&self, most: Millis, now: Duration) -> bool {
        now.saturating_sub(self.fetched).as_millis() <= most.0 as u128
    }

    pub(crate) fn permits(&self, hotkey: &Hotkey) -> bool {
        self.metagraph.neuron(hotkey).is_some_and(|neuron| neuron.validator_permit)
    }
}

/// The newest snapshot; none until the chain answered once.
pub(crate) type SubnetView = watch::Receiver<Option<Snapshot>>;

/// Fetches the metagraph again and again.
pub(crate) struct SubnetFollower {
    pub(crate) chain: Arc<dyn Chain>,
    pub(crate) store: Arc<dyn MinerStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) netuid: NetUid,
    pub(crate) own: Hotkey,
    pub(crate) nodes: watch::Receiver<Vec<AssignableNode>>,
    pub(crate) strategy: Arc<dyn AssignmentStrategy>,
    pub(crate) min_stake: Option<Rao>,
    pub(crate) interval: Millis,
    pub(crate) readiness: Condition,
    pub(crate) metrics: Arc<MinerMetrics>,
    pub(crate) view: watch::Sender<Option<Snapshot>>,
}

/// What the follower carries from one reading to the next.
struct Course {
    /// What the store holds.
    remembered: Assignment,
    /// Why there was nobody for some node, as it was told last.
    told: Option<String>,
    /// By the monotonic clock.
    reminded: Duration,
    /// The own place on the subnet, as it was read last.
    uid: Option<Uid>,
}

impl SubnetFollower {
    /// Runs until the stop is requested; fails only where the last assignment cannot be read.
    pub(crate) async fn run(&self, stop: Stop) -> Result<(), BoxError> {
        let remembered = self.store.assignment().await.inspect_err(|_| {
            self.metrics.store_errors.inc();
        })?;
        // The warning itself is among the notices of the configuration, which were told just now.
        let mut course = Course { remembered, told: None, reminded: self.clock.monotonic(), uid: None };
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
        let mut nodes = self.nodes.clone();
        loop {
            nodes.mark_unchanged();
            // A chain that hangs must not hold up the stop.
            let answer = tokio::select! {
                () = stop.requested() => return Ok(()),
                answer = self.chain.metagraph(self.netuid) => answer,
            };
            let pause = match answer {
                Ok(metagraph) => {
                    backoff.reset();
                    self.publish(metagraph, &mut course).await;
                    self.interval
                }
                Err(error) => {
                    let pause = backoff.next(self.entropy.as_ref());
                    warn!(error = %ErrorChain(&error), retry_in = %pause, "chain does not answer");
                    self.metrics.chain_errors.inc();
                    self.readiness.not_ready("the chain does not answer");
                    pause
                }
            };
            tokio::select! {
                () = stop.requested() => return Ok(()),
                // Other nodes: whose they are depends on a metagraph of now.
                Ok(()) = nodes.changed() => {}
                () = self.clock.sleep(pause) => {}
            }
        }
    }

    async fn publish(&self, metagraph: Metagraph, course: &mut Course) {
        if let Some(neuron) = metagraph.neuron(&self.own) {
            self.readiness.ready();
            self.metrics.uid.set(i64::from(neuron.uid.0));
            // A gauge is a float; in TAO, as people say it.
            self.metrics.stake.set(neuron.stake.0 as f64 / 1e9);
            if course.uid.replace(neuron.uid) != Some(neuron.uid) {
                self.metrics.found_registered.inc();
            }
        } else {
            warn!(hotkey = %self.own, netuid = %self.netuid, "own hotkey is not registered on the subnet; validators will not find this miner");
            self.readiness.not_ready("the hotkey is not registered on the subnet");
            self.metrics.stake.set(0.0);
            course.uid = None;
        }
        let pool = Pool::new(&metagraph, self.min_stake);
        let published = self.view.borrow().as_ref().map(|snapshot| Arc::clone(&snapshot.assignment));
        let before = published.as_deref().unwrap_or(&course.remembered);
        let assignment = Arc::new(decide(self.strategy.as_ref(), &pool, &self.nodes.borrow(), before));
        self.remember(&assignment, course).await;
        self.view.send_replace(Some(Snapshot {
            metagraph: Arc::new(metagraph),
            fetched_at: self.clock.now(),
            fetched: self.clock.monotonic(),
            assignment: Arc::clone(&assignment),
        }));
        self.tell_changes(published.as_deref().unwrap_or(&Assignment::default()), &assignment);
        self.tell_nobody(&pool, &assignment, course);
        self.remind(course);
    }

    /// What could not be remembered is tried again with the next reading.
    async fn remember(&self, assignment: &Assignment, course: &mut Course) {
        if *assignment == course.remembered {
            return;
        }
        match self.store.remember_assignment(assignment).await {
            Ok(()) => course.remembered = assignment.clone(),
            Err(error) => {
                self.metrics.store_errors.inc();
                warn!(error = %ErrorChain(&error), "the assignment is not remembered over a restart yet");
            }
        }
    }

    /// A validator's losses come first: they end its sessions' keys.
    fn tell_changes(&self, before: &Assignment, now: &Assignment) {
        let (before, now) = (before.counts(), now.counts());
        for (validator, nodes) in &before {
            if !now.contains_key(validator) {
                info!(validator.hotkey = %validator, nodes, "Validator is no longer assigned; its keys are removed");
            }
        }
        for (validator, nodes) in &now {
            if before.get(validator) != Some(nodes) {
                info!(validator.hotkey = %validator, nodes, "Assigned nodes to validator");
            }
        }
    }

    /// Told once for each reason, not with every reading.
    fn tell_nobody(&self, pool: &Pool, assignment: &Assignment, course: &mut Course) {
        let left =
            |node: &&AssignableNode| assignment.of(node.id).is_none_or(|validators| validators.is_empty());
        let nodes = self.nodes.borrow().iter().filter(left).count();
        let why = (nodes > 0).then(|| self.strategy.why_nobody(pool));
        if let Some(why) = why.as_ref().filter(|why| course.told.as_ref() != Some(*why)) {
            warn!(nodes, "No validators found matching criteria: {why}");
        }
        course.told = why;
    }

    fn remind(&self, course: &mut Course) {
        let now = self.clock.monotonic();
        if let Some(warning) = self.strategy.warning()
            && now.saturating_sub(course.reminded) >= REMINDER.as_duration()
        {
            warn!("{warning}");
            course.reminded = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use basilica_runtime_service::testing::VirtualClock;
    use basilica_types::BlockNumber;

    use super::*;

    #[test]
    fn a_clock_that_is_set_back_makes_no_snapshot_younger() {
        let clock = VirtualClock::new();
        let metagraph = Metagraph {
            netuid: NetUid(39),
            block: BlockNumber(1),
            at: clock.now(),
            tempo: 360,
            owner_hotkey: None,
            neurons: Vec::new(),
        };
        let snapshot = Snapshot {
            metagraph: Arc::new(metagraph),
            fetched_at: clock.now(),
            fetched: clock.monotonic(),
            assignment: Arc::default(),
        };
        let most = Millis::from_secs(600);
        for shift in [0, -86_400_000, 86_400_000] {
            clock.set_wall_clock(shift);
            assert!(snapshot.is_within(most, clock.monotonic()), "{shift}");
        }
        clock.advance(most);
        assert!(snapshot.is_within(most, clock.monotonic()));
        clock.advance(Millis(1));
        for shift in [0, -86_400_000, 86_400_000] {
            clock.set_wall_clock(shift);
            assert!(!snapshot.is_within(most, clock.monotonic()), "{shift}");
        }
    }
}
