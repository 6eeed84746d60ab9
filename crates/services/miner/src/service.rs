//! Assembly: which tasks a miner consists of.

use std::sync::Arc;

use basilica_ports::{
    Axon, Chain, Clock, Disks, Entropy, HotkeySigner, Identity, MinerApi, MinerStore, NodeShell, ValidatorApi,
};
use basilica_runtime_service::{Condition, Metrics, OnFailure, Readiness, Supervisor};
use basilica_types::{Millis, NetUid};
use tokio::sync::watch;

use crate::assignment::AssignableNode;
use crate::axon::AxonServer;
use crate::config::{AdmissionConfig, FleetConfig, SubnetConfig, VerdictsConfig};
use crate::disk_watch::DiskWatch;
use crate::fleet::{Fleet, Workshop};
use crate::gate::Gate;
use crate::housekeeping::{DATABASE, Housekeeper};
use crate::log_budget::LogBudget;
use crate::metrics::MinerMetrics;
use crate::orders::OrdersFollower;
use crate::status::{self, ReloadTrouble, Sources, StatusKeeper, StatusView};
use crate::subnet::{SubnetFollower, SubnetView};
use crate::telemetry::Readings;
use crate::verdicts::{Asker, Opinions, VerdictsFollower};

const RESTART: OnFailure = OnFailure::Restart { initial: Millis::from_secs(1), max: Millis::from_secs(60) };

/// What a miner needs from the world.
#[derive(Clone)]
pub struct MinerPorts {
    /// The chain.
    pub chain: Arc<dyn Chain>,
    /// SSH.
    pub shell: Arc<dyn NodeShell>,
    /// As whom to log in on the nodes.
    pub operator: Identity,
    /// Memory.
    pub store: Arc<dyn MinerStore>,
    /// The hotkey.
    pub signer: Arc<dyn HotkeySigner>,
    /// Where that is, and what else it writes.
    pub disks: Arc<dyn Disks>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for MinerPorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MinerPorts")
    }
}

/// A miner, built but not running.
pub struct Miner {
    ports: MinerPorts,
    gate: Arc<Gate>,
    fleet: Arc<Fleet>,
    orders: Arc<OrdersFollower>,
    follower: Arc<SubnetFollower>,
    axon: Option<Arc<AxonServer>>,
    housekeeper: Arc<Housekeeper>,
    status: Arc<StatusKeeper>,
    opinions: watch::Sender<Arc<Opinions>>,
    verdicts: Option<Arc<VerdictsFollower>>,
}

impl std::fmt::Debug for Miner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Miner({:?})", self.fleet)
    }
}

impl Miner {
    /// Builds a miner; nothing runs and nothing is contacted yet.
    pub fn new(
        ports: MinerPorts,
        fleet: FleetConfig,
        admission: AdmissionConfig,
        subnet: &SubnetConfig,
        (readiness, metrics): (&Readiness, &Metrics),
    ) -> Self {
        let registry = metrics;
        let metrics = Arc::new(MinerMetrics::register(registry));
        let (view, subnet_view) = watch::channel(None);
        let (assignable, nodes) = watch::channel(fleet.nodes.iter().map(AssignableNode::from).collect());
        let follower = Arc::new(SubnetFollower {
            chain: Arc::clone(&ports.chain),
            clock: Arc::clone(&ports.clock),
            entropy: Arc::clone(&ports.entropy),
            netuid: subnet.netuid,
            own: ports.signer.hotkey(),
            store: Arc::clone(&ports.store),
            nodes,
            strategy: subnet.assignment.strategy(),
            min_stake: subnet.assignment.min_stake,
            interval: subnet.refresh_interval,
            readiness: readiness.condition("metagraph"),
            metrics: Arc::clone(&metrics),
            view,
        });
        let axon = subnet.axon.map(|axon| {
            let condition = readiness.condition("axon");
            let parts = (condition, Arc::clone(&metrics));
            Arc::new(axon_server(&ports, (subnet.netuid, axon), subnet_view.clone(), parts))
        });
        let (orders, orders_view) = watch::channel(None);
        let readings = Arc::new(Readings::default());
        let workshop = Workshop {
            shell: Arc::clone(&ports.shell),
            store: Arc::clone(&ports.store),
            clock: Arc::clone(&ports.clock),
            subnet: subnet_view.clone(),
            orders: orders_view,
            metrics: Arc::clone(&metrics),
            readings: Arc::clone(&readings),
        };
        let fleet = Arc::new(Fleet::new(workshop, fleet, ports.operator.clone(), assignable));
        let orders = Arc::new(OrdersFollower {
            store: Arc::clone(&ports.store),
            clock: Arc::clone(&ports.clock),
            fleet: Arc::clone(&fleet),
            metrics: Arc::clone(&metrics),
            view: orders,
        });
        let (opinions, told) = watch::channel(Arc::default());
        let identity = status::Identity::new(ports.signer.hotkey(), subnet);
        let ((trouble, database), (little_room, disks)) = (watch::channel(None), watch::channel(Vec::new()));
        let sources = Sources {
            subnet: subnet_view.clone(),
            fleet: Arc::clone(&fleet),
            opinions: told,
            readings,
            database,
            disks,
        };
        let status = Arc::new(StatusKeeper::new(&ports, identity, sources, (readiness, &metrics)));
        status.observe(registry);
        let gate = Arc::new(gate(&ports, admission, subnet_view, (&fleet, &metrics)));
        let housekeeper = Arc::new(Housekeeper {
            store: Arc::clone(&ports.store),
            clock: Arc::clone(&ports.clock),
            condition: readiness.condition(DATABASE),
            trouble,
            disks: DiskWatch::new(Arc::clone(&ports.disks), Arc::clone(&ports.clock), little_room),
            fleet: Arc::clone(&fleet),
            metrics,
        });
        Self { ports, gate, fleet, orders, follower, axon, housekeeper, status, opinions, verdicts: None }
    }

    /// What answers validators; to be served over gRPC.
    pub fn api(&self) -> Arc<dyn MinerApi> {
        Arc::clone(&self.gate) as Arc<dyn MinerApi>
    }

    /// What people are shown of it, once it runs.
    pub fn status(&self) -> StatusView {
        StatusView(self.status.newest.subscribe())
    }

    /// To be told why a changed configuration was not taken up; for its status only.
    pub fn reload_trouble(&self) -> ReloadTrouble {
        self.status.reload.clone()
    }

    /// Its nodes, to be looked at and to be changed while it runs.
    pub fn fleet(&self) -> Arc<Fleet> {
        Arc::clone(&self.fleet)
    }

    /// Lets it ask validators what they think of its nodes; for its status only.
    #[must_use]
    pub fn asking_validators(mut self, api: Arc<dyn ValidatorApi>, config: VerdictsConfig) -> Self {
        let (ports, identity) = (&self.ports, &self.status.identity);
        self.verdicts = config.enabled.then(|| {
            Arc::new(VerdictsFollower {
                asker: Arc::new(Asker {
                    api,
                    clock: Arc::clone(&ports.clock),
                    entropy: Arc::clone(&ports.entropy),
                    own: identity.hotkey,
                    network: identity.network,
                    config,
                }),
                chain: Arc::clone(&ports.chain),
                netuid: identity.netuid,
                subnet: self.status.sources.subnet.clone(),
                status: self.status(),
                opinions: self.opinions.clone(),
            })
        });
        self
    }

    /// Starts everything but the listeners.
    pub fn start(self, supervisor: &Supervisor) {
        let follower = self.follower;
        supervisor.spawn("subnet", RESTART, move |stop| {
            let follower = Arc::clone(&follower);
            async move { follower.run(stop).await }
        });
        if let Some(axon) = self.axon {
            supervisor.spawn("axon", RESTART, move |stop| {
                let axon = Arc::clone(&axon);
                async move { axon.run(stop).await }
            });
        }
        let orders = self.orders;
        supervisor.spawn("orders", RESTART, move |stop| {
            let orders = Arc::clone(&orders);
            async move {
                orders.run(stop).await;
                Ok(())
            }
        });
        self.fleet.start(supervisor);
        let (fleet, keepers) = (Arc::clone(&self.fleet), supervisor.clone());
        supervisor.spawn("fleet", RESTART, move |stop| {
            let (fleet, keepers) = (Arc::clone(&fleet), keepers.clone());
            async move {
                fleet.run(&keepers, stop).await;
                Ok(())
            }
        });
        if let Some(verdicts) = self.verdicts {
            supervisor.spawn("verdicts", RESTART, move |stop| {
                let verdicts = Arc::clone(&verdicts);
                async move {
                    verdicts.run(stop).await;
                    Ok(())
                }
            });
        }
        let status = self.status;
        supervisor.spawn("status", RESTART, move |stop| {
            let status = Arc::clone(&status);
            async move {
                status.run(stop).await;
                Ok(())
            }
        });
        let keeper = self.housekeeper;
        supervisor.spawn("housekeeping", RESTART, move |stop| {
            let keeper = Arc::clone(&keeper);
            async move { keeper.run(&stop).await.map_err(Into::into) }
        });
    }
}

fn axon_server(
    ports: &MinerPorts,
    (netuid, axon): (NetUid, Axon),
    subnet: SubnetView,
    (readiness, metrics): (Condition, Arc<MinerMetrics>),
) -> AxonServer {
    AxonServer {
        chain: Arc::clone(&ports.chain),
        clock: Arc::clone(&ports.clock),
        entropy: Arc::clone(&ports.entropy),
        netuid,
        own: ports.signer.hotkey(),
        axon,
        subnet,
        readiness,
        metrics,
    }
}

fn gate(
    ports: &MinerPorts,
    config: AdmissionConfig,
    subnet: SubnetView,
    (fleet, metrics): (&Arc<Fleet>, &Arc<MinerMetrics>),
) -> Gate {
    Gate {
        config,
        signer: Arc::clone(&ports.signer),
        store: Arc::clone(&ports.store),
        clock: Arc::clone(&ports.clock),
        entropy: Arc::clone(&ports.entropy),
        subnet,
        fleet: Arc::clone(fleet),
        metrics: Arc::clone(metrics),
        refusals: LogBudget::default(),
        grants: LogBudget::default(),
        discoveries: LogBudget::default(),
    }
}
