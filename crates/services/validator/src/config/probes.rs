//! `[verification.probes]`: what a node must have beside GPUs that are proved, and how that is asked.

use std::fmt;
use std::str::FromStr;

use basilica_proof::claim::ComputeCapability;
use basilica_runtime_service::DurationSetting;
use basilica_types::{ImageName, Millis};
use basilica_verification::Demand;
use basilica_verification::probe::{CardRules, CudaVersion, ProbeRules};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

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

/// A version, written as text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VersionSetting<T>(pub T);

impl<T: fmt::Display> fmt::Debug for VersionSetting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for VersionSetting<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(de::Error::custom)
    }
}

impl<T: fmt::Display> Serialize for VersionSetting<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// `[verification.probes]`
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbesConfig {
    /// Docker or podman answers the validator's user.
    pub containers: ProbeDemand,
    /// It pulls an image, and a container of it sees every GPU.
    pub gpu_containers: ProbeDemand,
    /// Processor, memory and system can be read.
    pub hardware: ProbeDemand,
    /// Every GPU has at least the next two, and is whole.
    pub gpu_requirements: ProbeDemand,
    /// Least compute capability.
    pub min_compute_capability: VersionSetting<ComputeCapability>,
    /// Least CUDA version that the driver runs.
    pub min_cuda_version: VersionSetting<CudaVersion>,
    /// Room for images.
    pub storage: ProbeDemand,
    /// A port of the node answers from outside.
    pub reachability: ProbeDemand,
    /// The first and the last port of which one is drawn.
    pub reachability_ports: (u16, u16),
    /// For asking it.
    pub reachability_timeout: DurationSetting,
}

impl Default for ProbesConfig {
    fn default() -> Self {
        let CardRules { capability, cuda } = CardRules::default();
        Self {
            containers: ProbeDemand::Required,
            gpu_containers: ProbeDemand::Required,
            hardware: ProbeDemand::Required,
            gpu_requirements: ProbeDemand::Required,
            min_compute_capability: VersionSetting(capability),
            min_cuda_version: VersionSetting(cuda),
            storage: ProbeDemand::Required,
            reachability: ProbeDemand::Required,
            // Below the ports that systems give to connections of their own.
            reachability_ports: (20_000, 32_767),
            reachability_timeout: DurationSetting(Millis::from_secs(10)),
        }
    }
}

/// `[verification.docker_validation]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DockerValidationConfig {
    /// The image of the container that is to see the GPUs; it has to hold `nvidia-smi` or be given it by the NVIDIA
    /// container toolkit.
    pub docker_image: ImageName,
    /// For pulling it.
    pub pull_timeout_secs: DurationSetting,
    /// For asking its registry whether it offers the image, when a node could not pull it.
    pub registry_timeout: DurationSetting,
}

impl Default for DockerValidationConfig {
    fn default() -> Self {
        let image = "nvidia/cuda:12.8.0-runtime-ubuntu22.04".parse();
        Self {
            docker_image: image.expect("the constant is an image's name"),
            pull_timeout_secs: DurationSetting(Millis::from_secs(1800)),
            registry_timeout: DurationSetting(Millis::from_secs(10)),
        }
    }
}

/// `[verification.storage_validation]`
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageValidationConfig {
    /// Bytes that must be free where the container engine keeps its images.
    pub min_required_storage_bytes: u64,
}

impl Default for StorageValidationConfig {
    fn default() -> Self {
        Self { min_required_storage_bytes: ProbeRules::default().storage_bytes }
    }
}
