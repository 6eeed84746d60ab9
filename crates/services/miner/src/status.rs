//! What the running miner tells people of itself, put together every other second from what its parts know.
//!
//! A view asks nobody: it is given the newest [`MinerStatus`] from memory, so that it is there when the database or the chain is not.
//! That one of them does not answer is part of the snapshot.

mod activity;
mod observed;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use basilica_ports::{Clock, HostKeyRecord, MaintenanceWindow, MinerStore, SessionRecord, StoreError};
use basilica_runtime_service::{ErrorChain, Metrics, Readiness, Stop, within};
use basilica_status::{
    Allowance, Assigned, Assignment, Axon, Chain, Condition, Containers, FORM, Gpus, HostKeys, LittleRoom,
    MinerPart, MinerStatus, NodeState, NodeStatus, Registration, SessionStatus, Words, alerts,
};
use basilica_types::{HostKey, Hotkey, Millis, NetUid, Network, NodeId, Timestamp};
use tokio::sync::watch;

use self::activity::{Counted, History};
use crate::config::SubnetConfig;
use crate::fleet::{Fleet, Member};
use crate::housekeeping::DatabaseTrouble;
use crate::maintenance;
use crate::metrics::MinerMetrics;
use crate::service::MinerPorts;
use crate::subnet::{Snapshot, SubnetView};
use crate::telemetry::Readings;
use crate::verdicts::Opinions;

/// All programs of the workspace have one version.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Between two snapshots.
const EVERY: Millis = Millis(2_000);
/// For what the database is asked for one.
const STORE_LIMIT: Millis = Millis(2_000);

/// The newest snapshot; cheap to clone.
#[derive(Clone, Debug)]
pub struct StatusView(pub(crate) watch::Receiver<Option<Arc<MinerStatus>>>);

impl StatusView {
    /// The newest snapshot, not older than a few seconds; none in the first moment of a start.
    pub fn newest(&self) -> Option<Arc<MinerStatus>> {
        self.0.borrow().clone()
    }
}

/// What does not change while a miner runs.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) hotkey: Hotkey,
    pub(crate) network: Network,
    pub(crate) netuid: NetUid,
    pub(crate) axon: Option<SocketAddr>,
    /// As the configuration calls it.
    pub(crate) strategy: &'static str,
}

impl Identity {
    pub(crate) fn new(hotkey: Hotkey, subnet: &SubnetConfig) -> Self {
        Self {
            hotkey,
            network: subnet.network,
            netuid: subnet.netuid,
            axon: subnet.axon.map(|axon| axon.address),
            strategy: subnet.assignment.rule.name(),
        }
    }
}

/// Puts the snapshots together.
pub(crate) struct StatusKeeper {
    pub(crate) identity: Identity,
    pub(crate) store: Arc<dyn MinerStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sources: Sources,
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Arc<MinerMetrics>,
    pub(crate) newest: watch::Sender<Option<Arc<MinerStatus>>>,
    pub(crate) reload: ReloadTrouble,
}

/// Why the configuration was not taken up when it was read again last; none where it was.
pub type ReloadTrouble = watch::Sender<Option<String>>;

/// What the database told last.
#[derive(Debug, Default)]
struct Remembered {
    sessions: Vec<SessionRecord>,
    host_keys: BTreeMap<NodeId, HostKeyRecord>,
    maintenance: BTreeMap<NodeId, Vec<MaintenanceWindow>>,
    /// When the last key ends that nodes may carry which are out and cannot be cleaned.
    unclean: BTreeMap<NodeId, Timestamp>,
    error: Option<Words>,
}

/// Where a snapshot's parts come from, beside the ports.
pub(crate) struct Sources {
    pub(crate) subnet: SubnetView,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) opinions: watch::Receiver<Arc<Opinions>>,
    pub(crate) readings: Arc<Readings>,
    pub(crate) database: watch::Receiver<Option<DatabaseTrouble>>,
    pub(crate) disks: watch::Receiver<Vec<LittleRoom>>,
}

impl StatusKeeper {
    pub(crate) fn new(
        ports: &MinerPorts,
        identity: Identity,
        sources: Sources,
        (readiness, metrics): (&Readiness, &Arc<MinerMetrics>),
    ) -> Self {
        Self {
            identity,
            store: Arc::clone(&ports.store),
            clock: Arc::clone(&ports.clock),
            sources,
            readiness: readiness.clone(),
            metrics: Arc::clone(metrics),
            newest: watch::Sender::new(None),
            reload: watch::Sender::new(None),
        }
    }

    /// Adds what the newest snapshot says of GPUs and alerts to the metrics of the process.
    pub(crate) fn observe(&self, metrics: &Metrics) {
        let collector = Box::new(observed::Observed(StatusView(self.newest.subscribe())));
        metrics.register(|registry| registry.register_collector(collector));
    }

    pub(crate) async fn run(&self, stop: Stop) {
        let started = self.clock.now();
        let mut history = History::new(started, self.counted());
        let mut remembered = Remembered::default();
        loop {
            self.ask_store(&mut remembered).await;
            let now = self.clock.now();
            let mut status = self.status(started, now, &remembered);
            status.activity = history.activity(now, self.counted());
            status.alerts = alerts(&status);
            self.newest.send_replace(Some(Arc::new(status)));
            tokio::select! {
                () = stop.requested() => return,
                () = self.clock.sleep(EVERY) => {}
            }
        }
    }

    fn counted(&self) -> Counted {
        Counted {
            logins: self.metrics.auth_requests.get(),
            granted: self.metrics.auth_successes.get(),
            rounds: self.metrics.health_checks.get(),
            rounds_failed: self.metrics.deployment_failures.get(),
            discoveries: self.metrics.assigned_discoveries.get(),
            discoveries_refused: self.metrics.refused_discoveries.get(),
        }
    }

    /// Asks the database; what it told before stays where it does not answer.
    async fn ask_store(&self, remembered: &mut Remembered) {
        let asked = async {
            let now = self.clock.now();
            let sessions = self.store.keyed_sessions(now).await?;
            let host_keys = self.store.host_keys().await?;
            let maintenance = self.store.maintenance(now - maintenance::WINDOW).await?;
            let mut unclean = BTreeMap::new();
            for node in self.out_of_reach() {
                if let Some(until) = self.store.deployed_until(node).await? {
                    unclean.insert(node, until);
                }
            }
            Ok::<_, StoreError>((sessions, host_keys, maintenance, unclean))
        };
        remembered.error = match within(self.clock.as_ref(), STORE_LIMIT, asked).await {
            Ok(Ok((sessions, host_keys, maintenance, unclean))) => {
                let by_node = host_keys.into_iter().map(|record| (record.node_id, record)).collect();
                (remembered.sessions, remembered.host_keys) = (sessions, by_node);
                (remembered.maintenance, remembered.unclean) = (maintenance, unclean);
                None
            }
            Ok(Err(error)) => Some(ErrorChain(&error).to_string().into()),
            Err(elapsed) => Some(elapsed.to_string().into()),
        };
    }

    /// Nodes that are out for maintenance and whose last round failed.
    fn out_of_reach(&self) -> Vec<NodeId> {
        let members = self.sources.fleet.members();
        let failing = members.iter().filter(|member| {
            let view = member.view.borrow();
            view.state == NodeState::Maintenance && view.failure().is_some()
        });
        failing.map(|member| member.config().node.id).collect()
    }

    fn status(&self, started: Timestamp, now: Timestamp, remembered: &Remembered) -> MinerStatus {
        let snapshot = self.sources.subnet.borrow().clone();
        let Sources { fleet, opinions, readings, .. } = &self.sources;
        let opinions = Arc::clone(&opinions.borrow());
        let mut nodes: Vec<NodeStatus> =
            fleet.members().iter().map(|member| node(member, remembered, snapshot.as_ref(), now)).collect();
        readings.keep(&nodes.iter().map(|node| node.id).collect());
        for node in &mut nodes {
            node.unclean_until = remembered.unclean.get(&node.id).copied().filter(|until| *until > now);
            node.judgements = opinions.judgements.get(&node.id).cloned().unwrap_or_default();
            (node.gpus, node.containers) = readings.of(node.id);
        }
        let sessions = remembered.sessions.iter().filter(|session| session.expires_at > now);
        MinerStatus {
            form: FORM,
            at: now,
            miner: MinerPart { share: opinions.share, ..self.miner(started, remembered, snapshot.as_ref()) },
            chain: snapshot.as_ref().map(chain).unwrap_or_default(),
            assignment: assignment(self.identity.strategy, snapshot.as_ref()),
            activity: basilica_status::Activity::default(),
            sessions: sessions.map(|session| self.session(session, &nodes)).collect(),
            nodes,
            validators: opinions.validators.clone(),
            alerts: Vec::new(),
        }
    }

    fn miner(&self, started: Timestamp, remembered: &Remembered, snapshot: Option<&Snapshot>) -> MinerPart {
        let own = &self.identity;
        let neuron = snapshot.map(|snapshot| snapshot.metagraph.neuron(&own.hotkey));
        let registration = match neuron {
            None => Registration::Unknown,
            Some(None) => Registration::Absent,
            Some(Some(neuron)) => Registration::Registered { uid: neuron.uid },
        };
        let trouble = self.sources.database.borrow().clone();
        let condition = |(name, holds): (&'static str, Result<(), String>)| Condition {
            name: name.to_owned(),
            problem: holds.err().map(Words::from),
        };
        MinerPart {
            hotkey: own.hotkey,
            version: VERSION.to_owned(),
            started,
            network: own.network,
            netuid: own.netuid,
            registration,
            axon: Axon {
                configured: own.axon,
                on_chain: neuron.flatten().and_then(|neuron| neuron.axon).map(|axon| axon.address),
            },
            conditions: self.readiness.report().into_iter().map(condition).collect(),
            is_database_full: trouble.as_ref().is_some_and(|trouble| trouble.is_full),
            database_error: trouble.map(|trouble| trouble.words).or_else(|| remembered.error.clone()),
            little_room: self.sources.disks.borrow().clone(),
            reload_error: self.reload.borrow().as_deref().map(Words::from),
            share: None,
        }
    }

    fn session(&self, session: &SessionRecord, nodes: &[NodeStatus]) -> SessionStatus {
        let carriers = nodes.iter().filter(|node| node.keys.contains(&session.id)).count();
        SessionStatus {
            id: session.id,
            validator: session.validator,
            since: session.opened_at,
            until: session.expires_at,
            nodes: u32::try_from(carriers).unwrap_or(u32::MAX),
        }
    }
}

fn chain(snapshot: &Snapshot) -> Chain {
    Chain {
        block: Some(snapshot.metagraph.block),
        read: Some(snapshot.fetched_at),
        clock_ahead_ms: Some(snapshot.fetched_at.0.saturating_sub(snapshot.metagraph.at.0)),
    }
}

fn assignment(strategy: &str, snapshot: Option<&Snapshot>) -> Assignment {
    let assigned = |snapshot: &Snapshot| {
        let assigned = snapshot.assignment.counts().into_iter().map(|(hotkey, nodes)| {
            let neuron = snapshot.metagraph.neuron(&hotkey);
            Assigned {
                hotkey,
                uid: neuron.map(|neuron| neuron.uid),
                stake: neuron.map(|neuron| neuron.stake),
                nodes: u32::try_from(nodes).unwrap_or(u32::MAX),
            }
        });
        assigned.collect()
    };
    Assignment { strategy: strategy.to_owned(), validators: snapshot.map(assigned).unwrap_or_default() }
}

fn node(member: &Member, remembered: &Remembered, snapshot: Option<&Snapshot>, now: Timestamp) -> NodeStatus {
    let (config, view) = (&member.config().node, member.view.borrow());
    let record = remembered.host_keys.get(&config.id);
    let trusted = config.host_key.as_ref().or_else(|| view.host_keys.first());
    let trusted = trusted.or_else(|| record.map(|record| &record.pinned)).map(HostKey::fingerprint);
    let offered = record.and_then(|record| record.offered.as_ref()).map(HostKey::fingerprint);
    let failure = view.failure();
    let windows = remembered.maintenance.get(&config.id).map_or(&[][..], Vec::as_slice);
    let used = maintenance::used(windows, now);
    NodeStatus {
        id: config.id,
        address: config.address.clone(),
        region: config.region.as_ref().map(|region| region.to_string().into()),
        hourly_rate_per_gpu: config.hourly_rate_per_gpu,
        state: view.state,
        since: Some(view.since),
        checked: view.checked_at,
        latency: view.latency,
        maintenance: (used.0 > 0).then_some(Allowance { used, of: maintenance::ALLOWANCE }),
        error: failure.map(|failure| failure.text.as_str().into()),
        advice: failure.map(|failure| failure.remedy.as_str().into()),
        host_keys: HostKeys { trusted, offered: offered.filter(|_| config.host_key.is_none()) },
        assigned: snapshot.and_then(|s| s.assignment.of(config.id)).into_iter().flatten().copied().collect(),
        keys: view.keys.keys().copied().collect(),
        unclean_until: None,
        gpus: Gpus::Unasked,
        containers: Containers::Unknown,
        judgements: Vec::new(),
    }
}
