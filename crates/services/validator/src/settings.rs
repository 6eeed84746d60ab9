//! The configuration as domain values: checked once, before anything starts.

use std::collections::BTreeMap;

use basilica_ports::AddressPolicy;
use basilica_probing_service::ProbingSettings;
use basilica_proof::ProofParams;
use basilica_runtime_service::{ConfigError, Loaded};
use basilica_schedule::{CommitChoice, Policy};
use basilica_scoring::history;
use basilica_scoring::weights::Allocation;
use basilica_types::{BasisPoints, Category, MechanismId, Millis, NetUid, Ppm, Uid};
use basilica_verification::fleet::FleetRules;
use basilica_verification::probe::CardRules;
use basilica_verification::{CardTable, Intervals, ProbeRules, RetryRules};

use crate::config::{GpuAllocation, ValidatorConfig, WeightCommit};
use crate::leadership::LeaseRules;

mod cards;
mod check;

/// What a node must have of a category to share in its emission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Minimum {
    /// So many GPUs…
    pub(crate) gpus: u32,
    /// …each of which has so much memory.
    pub(crate) memory_bytes: u64,
}

impl Minimum {
    const ANY: Self = Self { gpus: 1, memory_bytes: 0 };
}

/// What the reconcilers go by.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) netuid: NetUid,
    pub(crate) lease: LeaseRules,
    pub(crate) allow_simulated_gpus: bool,
    /// Which card shares in which category.
    pub(crate) cards: CardTable,
    pub(crate) metagraph_ttl: Millis,
    pub(crate) discovery_interval: Millis,
    pub(crate) rediscovery_pause: Millis,
    pub(crate) max_nodes_per_miner: usize,
    pub(crate) session_grace: Millis,
    pub(crate) tick: Millis,
    pub(crate) intervals: Intervals,
    pub(crate) retries: RetryRules,
    pub(crate) fleet: FleetRules,
    pub(crate) probes: ProbeRules,
    pub(crate) probing: ProbingSettings,
    pub(crate) registry_deadline: Millis,
    pub(crate) connect_deadline: Millis,
    pub(crate) concurrent_light: usize,
    pub(crate) concurrent_full: usize,
    pub(crate) concurrent_dials: usize,
    pub(crate) gpu_ownership_ttl: Millis,
    pub(crate) scoring: history::Policy,
    pub(crate) score_interval: Millis,
    pub(crate) score_max_age: Millis,
    pub(crate) allocation: Allocation,
    pub(crate) minima: BTreeMap<Category, Minimum>,
    pub(crate) weight_mechanism: MechanismId,
    pub(crate) weight_policy: Policy,
    pub(crate) weights_poll: Millis,
    pub(crate) retention: Millis,
    pub(crate) transcripts_per_node: u32,
    pub(crate) prune_interval: Millis,
}

impl Settings {
    /// Checks everything that the file's types do not.
    pub fn new(loaded: &Loaded<ValidatorConfig>) -> Result<Self, ConfigError> {
        let c = &loaded.value;
        let v = &c.verification;
        let proof = v.proof;
        let work = ProofParams::new(proof.side, proof.inner, proof.rounds, proof.openings)
            .map_err(|error| loaded.reject("verification.proof", error.to_string(), None))?;
        check::all(loaded)?;
        let longest = c.scoring.ramp_duration.millis().0.saturating_add(14 * 86_400_000);
        Ok(Self {
            netuid: NetUid(c.bittensor.netuid),
            lease: LeaseRules {
                lease: c.ha.lease.millis(),
                renew: c.ha.renew_interval.millis(),
                poll: c.ha.poll_interval.millis(),
            },
            allow_simulated_gpus: v.allow_simulated_gpus,
            cards: cards::cards(loaded)?,
            metagraph_ttl: v.cache_miner_info_ttl.millis(),
            discovery_interval: c.automatic_verification.discovery_interval.millis(),
            rediscovery_pause: c.automatic_verification.rediscovery_pause.millis(),
            max_nodes_per_miner: v.max_nodes_per_miner,
            session_grace: v.session_grace.millis(),
            tick: v.tick.millis(),
            intervals: Intervals {
                light: v.verification_interval.millis(),
                full: v.node_validation_interval.millis(),
                full_after_fault: v.full_retry_after_fault.millis(),
                while_failing: v.failing_interval.millis(),
            },
            retries: RetryRules {
                retries: v.retries,
                interval: v.retry_interval.millis(),
                span: v.retry_span.millis(),
            },
            fleet: FleetRules { mean_blocks: v.fleet_epoch_blocks, ..FleetRules::default() },
            probes: probes(c),
            probing: probing(c, work),
            registry_deadline: v.docker_validation.registry_timeout.millis(),
            connect_deadline: c.ssh_session.connection_timeout.millis(),
            concurrent_light: v.max_concurrent_verifications,
            concurrent_full: v.max_concurrent_full_validations,
            concurrent_dials: v.max_concurrent_dials,
            gpu_ownership_ttl: v.gpu_assignment_cleanup_ttl.millis(),
            scoring: history::Policy {
                full_max_age: c.scoring.full_max_age.millis(),
                ramp: c.scoring.ramp_duration.millis(),
                downtime_tolerance: c.scoring.downtime_tolerance.millis(),
                attempt_window: c.scoring.attempt_window.millis(),
            },
            score_interval: c.scoring.interval.millis(),
            score_max_age: Millis(c.scoring.interval.millis().0.saturating_mul(10).max(60_000)),
            allocation: allocation(loaded)?,
            minima: minima(c),
            weight_mechanism: MechanismId(c.emission.weight_mechanism),
            weight_policy: Policy {
                interval: c.emission.weight_set_interval_blocks,
                version_key: c.emission.weight_version_key,
                commit: match c.emission.weight_commit {
                    WeightCommit::Auto => CommitChoice::Auto,
                    WeightCommit::Hash => CommitChoice::Hash,
                },
            },
            weights_poll: c.emission.poll_interval.millis(),
            retention: Millis(c.retention.history.millis().0.max(longest)),
            transcripts_per_node: c.retention.transcripts_per_node,
            prune_interval: c.retention.interval.millis(),
        })
    }

    /// By which nodes are checked and judged: when, when a failure is confirmed, and what verdicts come to.
    pub const fn node_rules(&self) -> (Intervals, RetryRules, history::Policy) {
        (self.intervals, self.retries, self.scoring)
    }

    /// What a node must have of a category to bring points in it.
    pub(crate) fn minimum(&self, category: Category) -> Minimum {
        self.minima.get(&category).copied().unwrap_or(Minimum::ANY)
    }
}

fn allocation(loaded: &Loaded<ValidatorConfig>) -> Result<Allocation, ConfigError> {
    let emission = &loaded.value.emission;
    let burn =
        percent(emission.burn_percentage, 10_000).and_then(|ppm| Ppm::new(ppm).ok()).ok_or_else(|| {
            loaded.reject(
                "emission.burn_percentage",
                "is not a percentage from 0 to 100 with at most 4 decimals",
                None,
            )
        })?;
    let mut shares = Vec::new();
    for (category, part) in &emission.gpu_allocations {
        let weight = match part {
            GpuAllocation::Percent(weight) => *weight,
            GpuAllocation::Table(table) => table.weight,
        };
        let share = percent(weight, 100).and_then(|bp| u16::try_from(bp).ok());
        let share = share.and_then(|bp| BasisPoints::new(bp).ok()).ok_or_else(|| {
            let key = format!("emission.gpu_allocations.{category}");
            loaded.reject(&key, "is not a percentage from 0 to 100 with at most 2 decimals", None)
        })?;
        shares.push((*category, share));
    }
    Allocation::new(Uid(emission.burn_uid), burn, &shares).map_err(|error| {
        let help = "the percentages of all categories must sum to 100".to_owned();
        loaded.reject("emission.gpu_allocations", error.to_string(), Some(help))
    })
}

fn probing(config: &ValidatorConfig, work: ProofParams) -> ProbingSettings {
    let (v, ssh) = (&config.verification, &config.ssh_session);
    ProbingSettings {
        addresses: if v.allow_private_hosts { AddressPolicy::Any } else { AddressPolicy::PublicOnly },
        work,
        proof_deadline: v.challenge_timeout.millis(),
        command_deadline: ssh.command_timeout.millis(),
        upload_deadline: ssh.upload_timeout.millis(),
        image: v.docker_validation.docker_image.clone(),
        pull_deadline: v.docker_validation.pull_timeout_secs.millis(),
        reach_ports: v.probes.reachability_ports,
        reach_deadline: v.probes.reachability_timeout.millis(),
        network_bytes: v.network_bytes,
        network_deadline: v.network_timeout.millis(),
    }
}

fn probes(config: &ValidatorConfig) -> ProbeRules {
    let v = &config.verification;
    let p = &v.probes;
    ProbeRules {
        containers: p.containers.into(),
        gpu_containers: p.gpu_containers.into(),
        hardware: p.hardware.into(),
        cards: p.gpu_requirements.into(),
        card_rules: CardRules { capability: p.min_compute_capability.0, cuda: p.min_cuda_version.0 },
        storage: p.storage.into(),
        storage_bytes: v.storage_validation.min_required_storage_bytes,
        reachability: p.reachability.into(),
    }
}

fn minima(config: &ValidatorConfig) -> BTreeMap<Category, Minimum> {
    let minimum = |part: &GpuAllocation| match part {
        GpuAllocation::Percent(_) => Minimum::ANY,
        GpuAllocation::Table(table) => Minimum {
            gpus: table.min_gpu_count,
            memory_bytes: u64::from(table.min_gpu_vram).saturating_mul(1_000_000_000),
        },
    };
    config.emission.gpu_allocations.iter().map(|(category, part)| (*category, minimum(part))).collect()
}

/// A percentage as an integer in units of 1/`per_percent` percent; none if it is negative, above 100 or finer than
/// that. Goes through the decimal text, because TOML's float is the nearest binary number to what was written.
fn percent(value: f64, per_percent: u32) -> Option<u32> {
    let decimals = per_percent.ilog10();
    let text = format!("{value}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let missing = usize::try_from(decimals).ok()?.checked_sub(fraction.len())?;
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let number: u32 = format!("{whole}{fraction}{}", "0".repeat(missing)).parse().ok()?;
    (number <= per_percent.checked_mul(100)?).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_exact_or_refused() {
        assert_eq!(percent(95.0, 10_000), Some(950_000));
        assert_eq!(percent(33.33, 100), Some(3_333));
        assert_eq!(percent(0.0001, 10_000), Some(1));
        assert_eq!(percent(100.0, 100), Some(10_000));
        for bad in [-1.0, 100.01, f64::NAN, f64::INFINITY, 0.001] {
            assert_eq!(percent(bad, 100), None, "{bad}");
        }
    }
}
