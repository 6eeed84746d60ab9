//! `basilica-miner nodes list`.

use std::collections::BTreeMap;

use basilica_miner_service::config::NodeConfig;
use basilica_ports::{HostKeyRecord, MaintenanceWindow, MinerStore as _, OrderedBy};
use basilica_status::dollars;
use basilica_types::{HostKey, NodeAddress, NodeId};
use serde_json::{Value, json};

use crate::cli::Cli;
use crate::commands::{answer, block_on, configured};
use crate::keys::{Host, owed};
use crate::maintenance::{InForce, Kept, in_force, is_running};
use crate::nodes::twins;
use crate::select::Named as _;
use crate::store;

struct Row<'a> {
    node: &'a NodeConfig,
    /// The first one before it that shows the same host key.
    twin: Option<NodeAddress>,
    stored: Option<HostKeyRecord>,
    kept: Option<Kept>,
    /// The order of `nodes drain`.
    drained: Option<MaintenanceWindow>,
}

pub(crate) fn run(cli: &Cli) -> anyhow::Result<()> {
    let config = configured(cli, &cli.config)?.config;
    let nodes: Vec<&NodeConfig> = config.fleet.nodes.iter().collect();
    let running = is_running(&config.database)?;
    let hosts = block_on(twins::listed(&config))?;
    let (mut keys, in_force) = block_on(async {
        let Some(store) = store::existing(&config.database).await? else {
            return Ok((BTreeMap::new(), InForce::default()));
        };
        let keys: BTreeMap<NodeId, HostKeyRecord> =
            store.host_keys().await?.into_iter().map(|record| (record.node_id, record)).collect();
        Ok((keys, in_force(&store, &nodes, running).await?))
    })?;
    let twins = nodes.iter().map(|node| twins::first(node.id, &hosts));
    let row = |(node, twin)| Row {
        node,
        twin,
        stored: keys.remove(&node.id),
        kept: in_force.kept(node),
        drained: in_force.orders.window(node.id, OrderedBy::Command).cloned(),
    };
    let rows: Vec<Row<'_>> = nodes.iter().copied().zip(twins).map(row).collect();
    let (owed, unread) = match owed(&config) {
        Ok(owed) => (owed, Ok(())),
        Err(error) => (Vec::new(), Err(error)),
    };
    let data: Value = rows.iter().map(Row::json).chain(owed.iter().map(removed_json)).collect();
    answer(cli, &data, || match rows.as_slice() {
        [] if owed.is_empty() => {
            format!(
                "no nodes in {}; add one with: {} nodes add USER@HOST",
                cli.config.display(),
                cli.program()
            )
        }
        rows => {
            rows.iter().map(Row::words).chain(owed.iter().map(removed_words)).collect::<Vec<_>>().join("\n")
        }
    })?;
    // The listed ones are told all the same.
    unread
}

/// One that is listed no more.
fn removed_json(host: &Host) -> Value {
    let (id, fingerprint) = (host.id().to_string(), host.host_key.as_ref().map(HostKey::fingerprint));
    json!({
        "node_id": id,
        "address": host.address.to_string(),
        "listed": false,
        "host_key": fingerprint.map(|fingerprint| json!({ "fingerprint": fingerprint, "from": "removal" })),
    })
}

fn removed_words(host: &Host) -> String {
    format!(
        "{}  {}  NOT LISTED, and may still let in the miner's key: see `config validate`",
        host.id(),
        host.address
    )
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
        let kept = self.kept.map(|kept| match kept {
            Kept::Configured => "set in the configuration",
            Kept::Ahead => "set in the configuration, which the running miner has not read (SIGHUP)",
            Kept::Unread => "set in the configuration when the running miner read it last (SIGHUP)",
            Kept::Unlisted => {
                "not in service, because the running miner has not read that it is listed (SIGHUP)"
            }
        });
        let drained = self.drained.as_ref().map(|window| window.reason.as_deref().unwrap_or("drained"));
        let all: Vec<&str> = kept.into_iter().chain(drained).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    fn json(&self) -> Value {
        let host_key = self.host_key();
        json!({
            "node_id": self.node.id.to_string(),
            "address": self.node.address.to_string(),
            "listed": true,
            "hourly_rate_per_gpu": self.node.hourly_rate_per_gpu.map(dollars),
            "region": self.node.region.as_ref().map(ToString::to_string),
            "host_key": host_key.map(|(fingerprint, from)| json!({ "fingerprint": fingerprint, "from": from })),
            "host_key_offered": self.offered(),
            "same_host_key_as": self.twin.as_ref().map(ToString::to_string),
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
        let twin = self.twin.as_ref().map(|twin| format!("  same host key as {twin}: see `config validate`"));
        let more = offered.into_iter().chain(twin).chain(out).collect::<String>();
        format!("{}  {}  {rate}{region}  {key}{more}", self.node.id, self.node.address)
    }
}
