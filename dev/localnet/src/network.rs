//! The parts of a running localnet and the order in which they come and go.

use std::time::Duration;

use anyhow::{Context as _, bail};
use basilica_wallet::Wallets;

use crate::accounts::Role;
use crate::addresses::Addresses;
use crate::configs;
use crate::http;
use crate::nodes::{Isolation, NodeHosts, Reach};
use crate::operator::Operator;
use crate::programs::Programs;
use crate::progress::Progress;
use crate::report::{Process, Report};
use crate::service::{Service, State, line_after};
use crate::settings::{Gpus, Layout, NETUID, Settings};
use crate::specs::{self, Planned};
use crate::view::View;

/// For one process to become ready.
const START_LIMIT: Duration = Duration::from_secs(30);
/// For one process to end when asked.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Blocks between epochs: with 250 ms a block, one every five seconds (RULES R24).
const TEMPO: u16 = 20;

/// A localnet.
pub(crate) struct Network {
    addresses: Addresses,
    layout: Layout,
    programs: Programs,
    nodes: Option<NodeHosts>,
    services: Vec<Service>,
    plan: Vec<Planned>,
    view: View,
}

impl Network {
    /// A localnet of which nothing runs yet.
    ///
    /// # Errors
    /// If real GPUs are asked for: the prover of this version has no CUDA backend.
    pub(crate) fn new(settings: &Settings, programs: &Programs, layout: &Layout) -> anyhow::Result<Self> {
        if settings.gpus == Gpus::Real {
            bail!(
                "--real-gpu: the prover of this version has no CUDA backend; leave it out to run simulated GPUs"
            );
        }
        let addresses = Addresses::choose(settings.ports)?;
        let mut network = Self {
            view: View::new(addresses)?,
            addresses,
            layout: layout.clone(),
            programs: programs.clone(),
            nodes: None,
            services: Vec::new(),
            plan: specs::plan(&settings.cheaters),
        };
        network.add_chain(settings.block_time);
        for role in [Role::Miner1, Role::Miner2] {
            network.add(role.name(), network.programs.miner(), &[]);
        }
        network.add(Role::Validator.name(), network.programs.validator(), &["start"]);
        Ok(network)
    }

    fn add_chain(&mut self, block_time: Duration) {
        let arguments = [
            "--listen".to_owned(),
            self.addresses.chain.to_string(),
            "--block-time".to_owned(),
            format!("{}ms", block_time.as_millis()),
            "--tempo".to_owned(),
            TEMPO.to_string(),
            "--state".to_owned(),
            self.layout.data("chain").to_string_lossy().into_owned(),
        ];
        let log = self.layout.log("chain");
        self.services.push(Service::new("chain", self.programs.devchain(), arguments.to_vec(), log));
    }

    /// A service with a configuration file of its own name.
    fn add(&mut self, name: &str, program: std::path::PathBuf, verb: &[&str]) {
        let config = configs::path(&self.layout, name).to_string_lossy().into_owned();
        let mut arguments = vec!["--config".to_owned(), config];
        arguments.extend(verb.iter().map(|word| (*word).to_owned()));
        self.services.push(Service::new(name, program, arguments, self.layout.log(name)));
    }

    fn service(&mut self, name: &str) -> anyhow::Result<&mut Service> {
        let names: Vec<String> = self.services.iter().map(|s| s.name().to_owned()).collect();
        self.services
            .iter_mut()
            .find(|service| service.name() == name)
            .with_context(|| format!("no process is called {name}; there are {}", names.join(", ")))
    }

    /// Starts everything in order, with a line of progress for each part.
    pub(crate) async fn start(&mut self, progress: &Progress) -> anyhow::Result<()> {
        self.start_chain(progress).await?;
        let operator = Operator::create(&self.layout).await?;
        self.start_nodes(&operator, progress).await?;
        self.write_wallets_and_configs(&operator)?;
        for (role, addresses) in [Role::Miner1, Role::Miner2].into_iter().zip(self.addresses.miners) {
            let service = self.service(role.name())?;
            service.start()?;
            let ready = async || http::is_ok(addresses.health, "/ready").await.then_some(());
            service.wait_for("its readiness", START_LIMIT, ready).await?;
            progress.line(format_args!("{} serves its axon on {}", role.name(), addresses.grpc));
        }
        let api = self.addresses.validator_api;
        let validator = self.service(Role::Validator.name())?;
        validator.start()?;
        let answers = async || http::get_json(api, "/health").await.ok();
        validator.wait_for("an answer on its API", START_LIMIT, answers).await?;
        progress.line(format_args!("validator runs, API on http://{api}"));
        Ok(())
    }

    async fn start_chain(&mut self, progress: &Progress) -> anyhow::Result<()> {
        let log = self.layout.log("chain");
        let chain = self.service("chain")?;
        chain.start()?;
        let listens = async || line_after(&log, "listening ");
        let url = chain.wait_for("its address", START_LIMIT, listens).await?;
        progress.line(format_args!("chain listens on {url}, subnet {NETUID}"));
        Ok(())
    }

    async fn start_nodes(&mut self, operator: &Operator, progress: &Progress) -> anyhow::Result<()> {
        let nodes = specs::nodes(&self.plan, &self.programs, operator)?;
        let hosts =
            NodeHosts::start(Isolation::Best, Reach::Machine, nodes).await.context("start the nodes")?;
        for (node, planned) in hosts.nodes().iter().zip(&self.plan) {
            let what = planned.in_words();
            progress.line(format_args!("node {} at {} ({what})", node.name(), node.address()));
        }
        self.view.know_nodes(&hosts, &self.plan);
        self.nodes = Some(hosts);
        Ok(())
    }

    fn write_wallets_and_configs(&self, operator: &Operator) -> anyhow::Result<()> {
        let wallets = Wallets::at(self.layout.wallets());
        for role in [Role::Miner1, Role::Miner2, Role::Validator] {
            role.write_wallet(&wallets)?;
            std::fs::create_dir_all(self.layout.data(role.name()))?;
        }
        let Some(hosts) = &self.nodes else { bail!("the nodes are started before the miners") };
        for role in [Role::Miner1, Role::Miner2] {
            let all = hosts.nodes().iter().zip(&self.plan);
            let own: Vec<_> =
                all.filter(|(_, planned)| planned.owner == role).map(|(node, _)| node).collect();
            configs::write_miner(&self.layout, role, &self.addresses, &own, operator)?;
        }
        configs::write_validator(&self.layout, &self.addresses, &self.programs)
    }

    /// Starts a process that has ended.
    pub(crate) fn start_again(&mut self, name: &str) -> anyhow::Result<()> {
        let service = self.service(name)?;
        if let State::Running(pid) = service.state() {
            bail!("{name} runs already, as process {pid}");
        }
        service.start()
    }

    /// How everything stands.
    pub(crate) async fn report(&mut self) -> Report {
        let addresses = self.addresses;
        let processes = self.services.iter_mut().map(|service| process(service, &addresses)).collect();
        self.view.report(processes).await
    }

    /// Ends everything, in the reverse order of the start.
    pub(crate) async fn stop(&mut self) {
        for service in self.services.iter_mut().rev() {
            service.stop(STOP_LIMIT).await;
        }
        if let Some(nodes) = self.nodes.take() {
            nodes.stop().await;
        }
    }
}

fn process(service: &mut Service, addresses: &Addresses) -> Process {
    let [first, second] = addresses.miners;
    let address = match service.name() {
        "chain" => format!("ws://{}", addresses.chain),
        "miner-1" => first.grpc.to_string(),
        "miner-2" => second.grpc.to_string(),
        _ => format!("http://{}", addresses.validator_api),
    };
    let (pid, state) = match service.state() {
        State::Running(pid) => (Some(pid), "running".to_owned()),
        State::Ended(how) => (None, how),
    };
    Process { name: service.name().to_owned(), pid, state, address: Some(address) }
}
