//! `[verification.probes]`: what a node must have beside GPUs that are proved.

use basilica_verification::Demand;
use serde::{Deserialize, Serialize};

/// What becomes of a probe's finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeDemand {
    /// A node that does not pass it fails its check.
    Required,
    /// It is asked and kept in the verdict.
    Recorded,
    /// It is not asked.
    Off,
}

impl From<ProbeDemand> for Demand {
    fn from(demand: ProbeDemand) -> Self {
        match demand {
            ProbeDemand::Required => Self::Required,
            ProbeDemand::Recorded => Self::Recorded,
            ProbeDemand::Off => Self::Off,
        }
    }
}

/// `[verification.probes]`
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbesConfig {
    /// Docker or podman answers the validator's user.
    pub containers: ProbeDemand,
}

impl Default for ProbesConfig {
    fn default() -> Self {
        Self { containers: ProbeDemand::Required }
    }
}
