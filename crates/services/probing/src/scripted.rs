//! What a probe works with in tests: a clock that tests move, and a beacon that never changes.

use std::sync::Arc;

use async_trait::async_trait;
use basilica_ports::{AddressPolicy, Ask, Dial, Entropy, Identity, NodeShell, Shell, ShellError};
use basilica_proof::residency::Cache;
use basilica_runtime_service::testing::{SeededEntropy, VirtualClock};
use basilica_types::{Millis, NodeAddress, SshPublicKey};
use basilica_verification::Break;

use crate::{BeaconSource, Drawn, Probing, ProbingSettings, ProverFile, Room};

pub(crate) const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

pub(crate) struct World {
    pub(crate) clock: Arc<VirtualClock>,
    entropy: Arc<dyn Entropy>,
    pub(crate) nodes: Arc<dyn NodeShell>,
    prover: ProverFile,
    pub(crate) settings: ProbingSettings,
    pub(crate) room: Room,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            clock: VirtualClock::new(),
            entropy: SeededEntropy::new(1),
            nodes: Arc::new(NoNodes),
            prover: ProverFile::new(b"\x7fELF".to_vec()),
            settings: ProbingSettings::default(),
            room: Room::default(),
        }
    }

    pub(crate) fn probing(&self) -> Probing<'_> {
        Probing {
            clock: self.clock.as_ref(),
            entropy: self.entropy.as_ref(),
            nodes: self.nodes.as_ref(),
            beacons: self,
            prover: &self.prover,
            settings: &self.settings,
            room: &self.room,
        }
    }
}

#[async_trait]
impl BeaconSource for World {
    async fn draw(&self, cache_log2: Option<u8>) -> Result<Drawn, Break> {
        let beacon = [9; 32];
        Ok(Drawn { beacon, cache: cache_log2.map(|log2| Arc::new(Cache::new(beacon, log2))) })
    }
}

/// No test asks a port or logs in without saying where.
struct NoNodes;

#[async_trait]
impl NodeShell for NoNodes {
    fn public_key(&self, _: &Identity) -> Result<SshPublicKey, ShellError> {
        unreachable!("nobody logs in")
    }

    async fn resolve(
        &self,
        _: &NodeAddress,
        _: AddressPolicy,
        _: Millis,
    ) -> Result<Vec<std::net::SocketAddr>, ShellError> {
        unreachable!("the connection says where the node is")
    }

    async fn ask(&self, _: &Ask) -> Result<Vec<u8>, ShellError> {
        unreachable!("no port is asked")
    }

    async fn connect(&self, _: &Dial) -> Result<Arc<dyn Shell>, ShellError> {
        unreachable!("the connection is there")
    }
}
