//! The validators' own check of a node, over the miner's login: the same state machine, commands and verifier.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use basilica_ports::{Output, OutputLimits, Shell};
use basilica_probing_service::{Line, Probing, command_break};
use basilica_types::{Argv, NodeAddress};
use basilica_verification::probe::Survey;
use basilica_verification::{
    Break, Check, CheckKind, Conclusion, Effect, Event, GpuRules, Plan, ProbeRules, host_key_digest,
};

/// A node's connection.
pub(crate) struct Patient<'a> {
    pub(crate) address: &'a NodeAddress,
    pub(crate) shell: Arc<dyn Shell>,
    pub(crate) at: IpAddr,
}

#[async_trait]
impl Line for Patient<'_> {
    async fn run(&mut self, command: &Argv, input: &[u8], limits: OutputLimits) -> Result<Output, Break> {
        self.shell.run(command, input, limits).await.map_err(|error| command_break(&error))
    }
}

impl Patient<'_> {
    /// A full check, to its conclusion; none if it could not be carried out for a defect of ours.
    pub(crate) async fn full_check(&mut self, probing: Probing<'_>, gpus: GpuRules) -> Option<Conclusion> {
        let plan = Plan {
            kind: CheckKind::Full,
            nonce: probing.entropy.array(),
            gpus,
            probes: ProbeRules::default(),
            started: probing.clock.now(),
        };
        let (mut check, mut effects) = Check::begin(plan);
        while check.conclusion().is_none() {
            let mut events = Vec::with_capacity(effects.len());
            for effect in effects {
                events.push(self.perform(probing, effect).await);
            }
            effects = Vec::new();
            for event in events {
                let (next, more) = check.step(event, probing.clock.now()).ok()?;
                check = next;
                effects.extend(more);
            }
        }
        check.conclusion().cloned()
    }

    /// Only what is read of the machine, its engine and its disk.
    pub(crate) async fn survey(&mut self, probing: Probing<'_>) -> Option<Survey> {
        let rules = ProbeRules::default();
        match probing.survey(self, &rules).await {
            Ok(Event::Surveyed(output)) => Survey::parse(&output, &rules).ok(),
            _ => None,
        }
    }

    async fn perform(&mut self, probing: Probing<'_>, effect: Effect) -> Event {
        let performed = match effect {
            Effect::Connect => Ok(Event::Connected { host_key: host_key_digest(self.shell.host_key()) }),
            Effect::ReadClaims => probing.read_claims(self).await,
            Effect::UploadProver => probing.upload(self).await,
            // Nothing is remembered here, so nothing can differ from it.
            Effect::Recall(_) => Ok(Event::Recalled(Vec::new())),
            Effect::Survey => probing.survey(self, &ProbeRules::default()).await,
            Effect::RunContainer(engine) => {
                probing.run_container(self, engine, false).await.map(|(event, _)| event)
            }
            Effect::Reach => {
                let shell = Arc::clone(&self.shell);
                probing.reach(self.address, shell.as_ref(), self.at).await
            }
            // A failure is told, whether or not a validator would hold the node to it.
            Effect::SeekWitness(_) => Ok(Event::Witnessed(true)),
            Effect::Prove(claims) => {
                let (shell, node) = (Arc::clone(&self.shell), self.address.node_id());
                let proof = probing.prove(node, shell.as_ref(), &claims, &|| false, None).await;
                proof.map(|proof| proof.event)
            }
            Effect::Transfer => Ok(Event::Transferred(None)),
            // Of a light check.
            Effect::Look(_) | Effect::RecallClaims => Err(Break::Internal),
        };
        performed.unwrap_or_else(Event::Broken)
    }
}
