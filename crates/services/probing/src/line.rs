//! The short commands of a check: what is run, and which event its answer is.

use async_trait::async_trait;
use basilica_ports::{ExitStatus, Output, OutputLimits};
use basilica_types::{Argv, Millis};
use basilica_verification::probe::Engine;
use basilica_verification::{Break, Event, ProbeRules};

use crate::Probing;
use crate::commands::{self, ContainerTimes, PROVER_MISSING};

/// Bytes of a node's answer to a short command; a claim report is at most 64 KiB.
const ANSWER_BYTES: usize = 128 * 1024;
/// For looking for the image and removing what is left of the container.
const CONTAINER_REST: Millis = Millis::from_secs(60);
/// Bytes of standard error that are kept.
const ERROR_BYTES: usize = 4 * 1024;

/// The caller's connection to a node, with what it does about one that has died.
#[async_trait]
pub trait Line: Send {
    /// Runs a command to its end.
    ///
    /// # Errors
    /// If there is no answer; what the command's exit code says is no error.
    async fn run(&mut self, command: &Argv, input: &[u8], limits: OutputLimits) -> Result<Output, Break>;
}

/// Whether a container's run pulled its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulled(pub bool);

impl Probing<'_> {
    /// Of a short command.
    const fn limits(self) -> OutputLimits {
        OutputLimits { deadline: self.settings.command_deadline, stdout: ANSWER_BYTES, stderr: ERROR_BYTES }
    }

    /// A light check's one command.
    ///
    /// # Errors
    /// If the line breaks; so for all of these.
    pub async fn look(
        self,
        line: &mut dyn Line,
        nonce: &[u8; 32],
        probes: &ProbeRules,
    ) -> Result<Event, Break> {
        let command = commands::look(nonce, self.prover, probes, self.limits().deadline);
        let output = line.run(&command, b"", self.limits()).await?;
        Ok(if output.status.success() { Event::Looked(output.stdout) } else { Event::CommandFailed })
    }

    /// Lists the node's devices, if the prover is there.
    pub async fn read_claims(self, line: &mut dyn Line) -> Result<Event, Break> {
        let output = line.run(&commands::claims(self.prover), b"", self.limits()).await?;
        Ok(match output.status {
            ExitStatus::Code(0) => Event::ClaimsPrinted(output.stdout),
            ExitStatus::Code(PROVER_MISSING) => Event::ProverMissing,
            _ => Event::CommandFailed,
        })
    }

    /// Puts the prover on the node.
    pub async fn upload(self, line: &mut dyn Line) -> Result<Event, Break> {
        let limits = OutputLimits { deadline: self.settings.upload_deadline, ..self.limits() };
        let output = line.run(&commands::upload(self.prover), self.prover.bytes(), limits).await?;
        Ok(if output.status.success() { Event::Uploaded } else { Event::UploadFailed })
    }

    /// Asks what machine it is.
    pub async fn survey(self, line: &mut dyn Line, probes: &ProbeRules) -> Result<Event, Break> {
        let command = commands::survey(probes, self.limits().deadline);
        let output = line.run(&command, b"", self.limits()).await?;
        Ok(if output.status.success() { Event::Surveyed(output.stdout) } else { Event::CommandFailed })
    }

    /// Has a container list the GPUs; its image is pulled where it is not there, and `anew` where it is.
    pub async fn run_container(
        self,
        line: &mut dyn Line,
        engine: Engine,
        anew: bool,
    ) -> Result<(Event, Pulled), Break> {
        let (pull, run) = (self.settings.pull_deadline, self.settings.command_deadline);
        let command = commands::container(engine, &self.settings.image, ContainerTimes { pull, run }, anew);
        // The node ends both by itself; what it says about that is heard.
        let both = pull.0.saturating_add(run.0).saturating_add(CONTAINER_REST.0);
        let limits = OutputLimits { deadline: Millis(both), ..self.limits() };
        let output = line.run(&command, b"", limits).await?;
        if !output.status.success() {
            return Ok((Event::CommandFailed, Pulled(false)));
        }
        let pulled = Pulled(output.stdout.starts_with(b"pull 0 "));
        Ok((Event::ContainerRan(output.stdout), pulled))
    }
}
