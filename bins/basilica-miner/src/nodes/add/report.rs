//! What was done, and what keeps the node from earning.

use std::path::Path;

use basilica_console as console;
use basilica_doctor_service::docker_denies;
use basilica_miner_service::config::NodeChange;
use basilica_miner_service::onboarding::{Engine, Gpus, NodeLook};
use basilica_ports::MaintenanceWindow;
use basilica_status::dollars;
use basilica_types::{HostKey, NodeAddress, UsdMicros};
use serde_json::{Value, json};

use crate::cli::Cli;
use crate::commands::answer;
use crate::maintenance::in_brackets;
use crate::nodes::access::Key;
use crate::program::Program;
use crate::running::Reload;

pub(super) struct Report<'a> {
    pub(super) address: NodeAddress,
    pub(super) host_key: HostKey,
    pub(super) key_path: &'a Path,
    pub(super) key_made: bool,
    pub(super) how: Key,
    pub(super) look: NodeLook,
    pub(super) rate: Option<UsdMicros>,
    pub(super) change: NodeChange,
    /// None where there was nothing to tell.
    pub(super) told: Option<Reload>,
    /// The order that keeps the node out, from before it was added.
    pub(super) drained: Option<MaintenanceWindow>,
    /// What the configuration's check says of it.
    pub(super) notices: Vec<String>,
}

impl Report<'_> {
    pub(super) fn tell(&self, cli: &Cli) -> anyhow::Result<()> {
        let warnings = self.warnings(&cli.program());
        let data = json!({
            "node_id": self.address.node_id().to_string(),
            "address": self.address.to_string(),
            "change": self.changed(),
            "host_key": { "type": self.host_key.algorithm(), "fingerprint": self.host_key.fingerprint() },
            "key": {
                "path": self.key_path.display().to_string(),
                "made": self.key_made,
                "installed": matches!(self.how, Key::Installed),
            },
            "containers": engine_json(&self.look.engine),
            "gpus": match &self.look.gpus { Gpus::Seen(names) => json!(names), _ => json!([]) },
            "hourly_rate_per_gpu": self.rate.map(dollars),
            "drained_since": self.drained.as_ref().map(|window| window.began_at.rfc3339()),
            "warnings": warnings,
            "config": cli.config.display().to_string(),
            "miner": self.told.as_ref().map(Reload::json),
        });
        answer(cli, &data, || self.words(cli))?;
        if !cli.json {
            warnings.iter().for_each(|warning| console::tell(&format!("warning: {warning}")));
        }
        Ok(())
    }

    const fn changed(&self) -> &'static str {
        match self.change {
            NodeChange::Added => "added",
            NodeChange::Updated => "updated",
            NodeChange::Unchanged => "unchanged",
        }
    }

    fn words(&self, cli: &Cli) -> String {
        let key = match (&self.how, self.key_made) {
            (Key::Installed, true) => "made and installed",
            (Key::Installed, false) => "installed",
            (Key::Known, _) => "was there already",
        };
        let engine = match &self.look.engine {
            Engine::Usable(program) => format!("{program}, without sudo"),
            Engine::Denied { program, .. } => format!("{program} is there, but not usable"),
            Engine::Missing => "none".to_owned(),
        };
        let gpus = match &self.look.gpus {
            Gpus::Seen(names) => grouped(names),
            Gpus::DriverFails | Gpus::NoDriver => "none".to_owned(),
        };
        let rate = self.rate.map_or_else(|| "none".to_owned(), |rate| format!("{} USD/h", dollars(rate)));
        let rows = [
            ("node id", self.address.node_id().to_string()),
            ("host key", format!("{} {}", self.host_key.algorithm(), self.host_key.fingerprint())),
            ("login", format!("{} ({key})", self.key_path.display())),
            ("containers", engine),
            ("GPUs", gpus),
            ("price", rate),
        ];
        let mut text = format!("{}: {} in {}", self.address, self.changed(), cli.config.display());
        for (name, value) in rows {
            text.push_str(&format!("\n  {name:<10}  {value}"));
        }
        if let Some(told) = &self.told {
            text.push_str(&format!("\n{}", told.words(&cli.program())));
        }
        text
    }

    fn warnings(&self, program: &Program) -> Vec<String> {
        let (address, user) = (&self.address, &self.address.user);
        let drained = self.drained.as_ref().map(|window| {
            let (since, why) = (window.began_at.rfc3339(), in_brackets(window.reason.as_deref()));
            format!(
                "the node was drained at {since}{why}, and stays out until: {program} nodes undrain {address}"
            )
        });
        let engine = match &self.look.engine {
            Engine::Usable(_) => None,
            Engine::Denied { program, why } if docker_denies(program, why) => Some(format!(
                "{user} may not use docker ({why}), so no rental can run; on the node: sudo usermod -aG docker {user}"
            )),
            Engine::Denied { program, why } => Some(format!("{program} does not work for {user}: {why}")),
            Engine::Missing => Some(
                "neither docker nor podman is installed on the node, so no rental can run; on the node: \
                 curl -fsSL https://get.docker.com | sudo sh"
                    .to_owned(),
            ),
        };
        let gpus = match &self.look.gpus {
            Gpus::Seen(_) => None,
            Gpus::DriverFails => Some(
                "nvidia-smi fails on the node, so no GPU can be verified; run it there to see why (after an update of the driver, \
                 reboot)"
                    .to_owned(),
            ),
            Gpus::NoDriver => Some("there is no nvidia-smi on the node; install NVIDIA's driver".to_owned()),
        };
        [drained, engine, gpus].into_iter().flatten().chain(self.notices.iter().cloned()).collect()
    }
}

fn engine_json(engine: &Engine) -> Value {
    match engine {
        Engine::Usable(program) => json!({ "program": program, "usable": true }),
        Engine::Denied { program, why } => json!({ "program": program, "usable": false, "why": why }),
        Engine::Missing => Value::Null,
    }
}

/// `2 × NVIDIA H100 PCIe, 1 × NVIDIA A100`.
fn grouped(names: &[String]) -> String {
    let mut groups: Vec<(&String, usize)> = Vec::new();
    for name in names {
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => groups.push((name, 1)),
        }
    }
    let groups: Vec<String> = groups.into_iter().map(|(name, count)| format!("{count} × {name}")).collect();
    groups.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_shown_as_people_write_them() {
        assert_eq!(grouped(&["A", "B", "A"].map(String::from)), "2 × A, 1 × B");
    }
}
