//! `basilica-miner nodes list`.

use std::collections::BTreeMap;

use basilica_miner_service::config::NodeConfig;
use basilica_ports::{
    HostKeyRecord, MaintenanceWindow, MinerOperations as _, MinerStore as _, OpenWindows, OrderedBy,
};
use basilica_status::dollars;
use basilica_types::{HostKey, NodeId};
use serde_json::{Value, json};

use crate::cli::Cli;
use crate::commands::{answer, block_on, configured};
use crate::maintenance::is_running;
use crate::store;

struct Row<'a> {
    node: &'a NodeConfig,
    stored: Option<HostKeyRecord>,
    windows: OpenWindows,
    running: bool,
}

pub(crate) fn run(cli: &Cli) -> anyhow::Result<()> {
    let config = configured(cli, &cli.config)?.config;
    let (mut keys, mut windows) = block_on(async {
        let Some(store) = store::existing(&config.database).await? else {
            return Ok((BTreeMap::new(), BTreeMap::new()));
        };
        let keys: BTreeMap<NodeId, HostKeyRecord> =
            store.host_keys().await?.into_iter().map(|record| (record.node_id, record)).collect();
        Ok((keys, store.orders().await?.maintenance))
    })?;
    let running = is_running(&config.database)?;
    let row = |node: &'_ NodeConfig| (keys.remove(&node.id), windows.remove(&node.id).unwrap_or_default());
    let found: Vec<_> = config.fleet.nodes.iter().map(row).collect();
    let rows: Vec<Row<'_>> = config
        .fleet
        .nodes
        .iter()
        .zip(found)
        .map(|(node, (stored, windows))| Row { node, stored, windows, running })
        .collect();
    let data: Value = rows.iter().map(Row::json).collect();
    answer(cli, &data, || match rows.as_slice() {
        [] => {
            format!(
                "no nodes in {}; add one with: {} nodes add USER@HOST",
                cli.config.display(),
                cli.program()
            )
        }
        rows => rows.iter().map(Row::words).collect::<Vec<_>>().join("\n"),
    })
}

impl Row<'_> {
    /// What the miner believes, and who says so.
    fn host_key(&self) -> Option<(String, &'static str)> {
        let configured = self.node.host_key.as_ref().map(|key| (key.fingerprint(), "configuration"));
        let stored = || self.stored.as_ref().map(|record| (record.pinned.fingerprint(), "first contact"));
        configured.or_else(stored)
    }

    /// The key that the node shows instead.
    fn offered(&self) -> Option<String> {
        self.stored.as_ref()?.offered.as_ref().map(HostKey::fingerprint)
    }

    fn maintenance(&self) -> Option<String> {
        let configured = match (self.node.maintenance, self.windows.contains_key(&OrderedBy::Configuration)) {
            (true, false) if self.running => {
                Some("set in the configuration, which the running miner has not read (SIGHUP)")
            }
            (true, _) => Some("set in the configuration"),
            (false, true) => Some("set in the configuration when a miner read it last"),
            (false, false) => None,
        };
        let removed = self.windows.get(&OrderedBy::Removal).and_then(MaintenanceWindow::why);
        let drained = self.windows.get(&OrderedBy::Command);
        let drained = drained.map(|window| window.reason.as_deref().unwrap_or("drained"));
        let all: Vec<&str> = [configured, removed, drained].into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    fn json(&self) -> Value {
        let host_key = self.host_key();
        json!({
            "node_id": self.node.id.to_string(),
            "address": self.node.address.to_string(),
            "hourly_rate_per_gpu": self.node.hourly_rate_per_gpu.map(dollars),
            "region": self.node.region.as_ref().map(ToString::to_string),
            "host_key": host_key.map(|(fingerprint, from)| json!({ "fingerprint": fingerprint, "from": from })),
            "host_key_offered": self.offered(),
            "maintenance": self.maintenance(),
        })
    }

    fn words(&self) -> String {
        let rate = self.node.hourly_rate_per_gpu;
        let rate = rate.map_or_else(|| "no price".to_owned(), |rate| format!("{} USD/h", dollars(rate)));
        let key = self.host_key().map_or_else(
            || "host key not seen yet".to_owned(),
            |(fingerprint, from)| format!("{fingerprint} ({from})"),
        );
        let offered = self.offered().map(|key| format!("  SHOWS NOW {key}: see `host-key list`"));
        let out = self.maintenance().map(|why| format!("  maintenance: {why}"));
        let region = self.node.region.as_ref().map(|region| format!("  {region}")).unwrap_or_default();
        let more = offered.into_iter().chain(out).collect::<String>();
        format!("{}  {}  {rate}{region}  {key}{more}", self.node.id, self.node.address)
    }
}
