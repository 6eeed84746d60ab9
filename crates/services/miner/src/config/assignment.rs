//! `[validator_assignment]`: who gets the nodes.

use std::collections::BTreeMap;

use basilica_runtime_service::{ConfigError, DurationSetting, Notice};
use basilica_types::{Hotkey, Millis, Region};
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::decimal::{Percent, Tao};
use crate::assignment::{AssignmentConfig, AssignmentRule, Fixed, Geographic, HighestStake, Open};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ValidatorAssignment {
    pub(super) enabled: bool,
    pub(super) strategy: Strategy,
    pub(super) validator_hotkey: Option<Hotkey>,
    pub(super) min_stake_threshold: Option<Tao>,
    pub(super) stake_margin_percent: Percent,
    pub(super) regions: BTreeMap<Region, Vec<Hotkey>>,
    pub(super) refresh_interval: DurationSetting,
}

impl Default for ValidatorAssignment {
    fn default() -> Self {
        Self {
            enabled: true,
            strategy: Strategy::HighestStake,
            validator_hotkey: None,
            min_stake_threshold: None,
            stake_margin_percent: Percent(HighestStake::DEFAULT_MARGIN),
            regions: BTreeMap::new(),
            refresh_interval: DurationSetting(Millis::from_secs(60)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Strategy {
    HighestStake,
    FixedAssignment,
    Geographic,
}

impl Check<'_> {
    pub(super) fn assignment(&self, notices: &mut Vec<Notice>) -> Result<AssignmentConfig, ConfigError> {
        let settings = &self.settings.validator_assignment;
        let min_stake = settings.min_stake_threshold.map(|tao| tao.0);
        if !settings.enabled {
            notices.push(self.notice("validator_assignment.enabled", Open::WARNING));
            return Ok(AssignmentConfig { rule: AssignmentRule::Open, min_stake });
        }
        let rule = match (settings.strategy, settings.validator_hotkey) {
            (Strategy::HighestStake, _) => AssignmentRule::HighestStake(self.highest_stake()),
            (Strategy::Geographic, _) => AssignmentRule::Geographic(self.geographic(notices)?),
            (Strategy::FixedAssignment, Some(hotkey)) => AssignmentRule::Fixed(Fixed(hotkey)),
            (Strategy::FixedAssignment, None) => {
                let help = "set validator_hotkey, or use highest_stake";
                let why = "fixed_assignment needs validator_hotkey";
                return self.reject("validator_assignment.strategy", why, help);
            }
        };
        if settings.validator_hotkey.is_some() && settings.strategy != Strategy::FixedAssignment {
            let message = "counts only with strategy = \"fixed_assignment\"; it is ignored";
            notices.push(self.notice("validator_assignment.validator_hotkey", message));
        }
        if !settings.regions.is_empty() && settings.strategy != Strategy::Geographic {
            let message = "counts only with strategy = \"geographic\"; it is ignored";
            notices.push(self.notice("validator_assignment.regions", message));
        }
        Ok(AssignmentConfig { rule, min_stake })
    }

    fn highest_stake(&self) -> HighestStake {
        HighestStake::new(self.settings.validator_assignment.stake_margin_percent.0)
    }

    fn geographic(&self, notices: &mut Vec<Notice>) -> Result<Geographic, ConfigError> {
        const KEY: &str = "validator_assignment.regions";
        let regions = &self.settings.validator_assignment.regions;
        if regions.is_empty() {
            let help = "write it like: [validator_assignment.regions] and eu-west = [\"5...\"]";
            return self.reject(KEY, "geographic needs the validators of at least one region", help);
        }
        let nodes = &self.settings.node_management.nodes;
        for region in
            regions.keys().filter(|region| !nodes.iter().any(|node| node.region.as_ref() == Some(*region)))
        {
            notices.push(self.notice(&format!("{KEY}.{region}"), "no node has this region"));
        }
        Ok(Geographic::new(regions.clone(), self.highest_stake()))
    }
}
