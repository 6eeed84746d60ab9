//! Deadlines and sizes of probes.

use basilica_ports::AddressPolicy;
use basilica_proof::ProofParams;
use basilica_types::{ImageName, Millis};

/// What probes go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbingSettings {
    /// Which addresses may be dialled and asked (RULES R11).
    pub addresses: AddressPolicy,
    /// Work of a simulated device; a card's follows from its class.
    pub work: ProofParams,
    /// Of one stage of a proof.
    pub proof_deadline: Millis,
    /// Of a short command.
    pub command_deadline: Millis,
    /// Of putting the prover on the node.
    pub upload_deadline: Millis,
    /// What containers are made of.
    pub image: ImageName,
    /// Of pulling it.
    pub pull_deadline: Millis,
    /// First and last port that the helper may listen on.
    pub reach_ports: (u16, u16),
    /// Of one question to it.
    pub reach_deadline: Millis,
    /// Bytes of a transfer from the node; 0 for none.
    pub network_bytes: u64,
    /// Of that transfer.
    pub network_deadline: Millis,
}

impl Default for ProbingSettings {
    /// What validators of the main network go by unless they say otherwise; their configuration's defaults are compared with this.
    fn default() -> Self {
        let image = "nvidia/cuda:12.8.0-runtime-ubuntu22.04".parse();
        Self {
            addresses: AddressPolicy::PublicOnly,
            work: ProofParams::SIMULATED,
            proof_deadline: Millis::from_secs(120),
            command_deadline: Millis::from_secs(60),
            upload_deadline: Millis::from_secs(120),
            image: image.expect("the constant is an image's name"),
            pull_deadline: Millis::from_secs(1_800),
            reach_ports: (20_000, 32_767),
            reach_deadline: Millis::from_secs(10),
            network_bytes: 64 * 1024 * 1024,
            network_deadline: Millis::from_secs(60),
        }
    }
}
