//! Has a port of the node answer from outside: a helper on the node listens, and the validator asks it over plain TCP.
//!
//! The helper is the prover's `serve-token`: it needs no container engine, ends by itself, and answers only the question that it
//! was given over SSH. It is asked at the address that the connection is to: a name may stand for several machines, and the helper runs on
//! one of them. That its port is taken is nobody's fault; another is drawn.

use std::io;
use std::net::{IpAddr, SocketAddr};

use basilica_ports::{Ask, BoxError, ExitStatus, Process, Shell, ShellError};
use basilica_runtime_service::{ErrorChain, within};
use basilica_types::{Millis, NodeAddress};
use basilica_verification::probe::{Reach, ReachEnd};
use basilica_verification::{Break, Event};
use tracing::debug;

use crate::Probing;
use crate::breaks::command_break;
use crate::commands::{self, PORT_TAKEN, PROVER_MISSING};

/// Ports that are drawn before all are said to be taken.
pub const DRAWS: u64 = 8;
/// What the helper says once it listens.
const READY: &[u8] = b"ready\n";
/// Bytes of the question, and of the answer.
const HALF: usize = 16;

impl Probing<'_> {
    /// Reaches one port of the node, at the address at which the shell is.
    ///
    /// # Errors
    /// If the shell breaks, or this machine cannot ask.
    pub async fn reach(self, node: &NodeAddress, shell: &dyn Shell, at: IpAddr) -> Result<Event, Break> {
        for _ in 0..DRAWS {
            let port = draw_port(self.settings.reach_ports, self.entropy.array());
            let token: [u8; 2 * HALF] = self.entropy.array();
            let mut process = match start(self, shell, port, &token).await? {
                Helper::Listens(process) => process,
                Helper::Missing => return Ok(Event::ProverMissing),
                Helper::PortTaken => continue,
                Helper::Ended => return Ok(Event::CommandFailed),
            };
            let (question, answer) = token.split_at(HALF);
            let ask = Ask {
                address: node.clone(),
                at: SocketAddr::new(at, port),
                addresses: self.settings.addresses,
                question: question.to_vec(),
                most: HALF,
                deadline: self.settings.reach_deadline,
            };
            let end = end_of(self.nodes.ask(&ask).await, answer)?;
            debug!(target: "validator::verification", { node.address = %node, port, end = ?end }, "port asked");
            // Whatever it says now is not waited for: it ends by itself.
            let _ = within(self.clock, Millis::from_secs(1), process.receive()).await;
            return Ok(Event::Reached(Reach { port, end }));
        }
        Ok(Event::PortsTaken)
    }
}

/// What the helper did first.
enum Helper {
    Listens(Box<dyn Process>),
    Missing,
    PortTaken,
    /// It cannot listen.
    Ended,
}

async fn start(probing: Probing<'_>, shell: &dyn Shell, port: u16, token: &[u8]) -> Result<Helper, Break> {
    let clock = probing.clock;
    let seconds = probing.settings.reach_deadline.0.div_ceil(1_000).saturating_add(5);
    let command = commands::serve_token(probing.prover, port, seconds);
    let mut process = shell.start(&command).await.map_err(|error| command_break(&error))?;
    let mut heard = Vec::new();
    // A node may stop reading as well as stop talking: one deadline for both.
    let listens = async {
        // One that has ended already says so where it is read.
        let _ = process.send(token).await;
        while heard.len() < READY.len() {
            match process.receive().await? {
                Some(bytes) => heard.extend(bytes),
                None => return Ok(false),
            }
        }
        Ok::<_, ShellError>(heard == READY)
    };
    let listened = within(clock, probing.settings.command_deadline, listens).await;
    match listened.map_err(|_elapsed| Break::CommandDeadline)? {
        Ok(true) => Ok(Helper::Listens(process)),
        Ok(false) => {
            let words = String::from_utf8_lossy(process.stderr()).trim().to_owned();
            debug!(target: "validator::verification", { port, stderr = %words }, "helper does not listen");
            let ended = within(clock, Millis::from_secs(5), process.finish()).await;
            let code = ended.map_err(|_elapsed| Break::CommandDeadline)?;
            Ok(match code {
                Ok(ExitStatus::Code(PROVER_MISSING)) => Helper::Missing,
                Ok(ExitStatus::Code(PORT_TAKEN)) => Helper::PortTaken,
                _ => Helper::Ended,
            })
        }
        Err(error) => {
            debug!(target: "validator::ssh", { error = %ErrorChain(&error) }, "helper lost");
            Err(command_break(&error))
        }
    }
}

fn end_of(answered: Result<Vec<u8>, ShellError>, wanted: &[u8]) -> Result<ReachEnd, Break> {
    match answered {
        Ok(answer) if answer == wanted => Ok(ReachEnd::Answered),
        Ok(_) | Err(ShellError::TooMuchOutput { .. }) => Ok(ReachEnd::Wrong),
        Err(ShellError::Lost { .. }) => Ok(ReachEnd::Refused),
        Err(ShellError::Connect { source, .. }) => refused(&source),
        Err(ShellError::Deadline { .. }) => Ok(ReachEnd::Silent),
        Err(other) => Err(command_break(&other)),
    }
}

/// What an error of connecting says of the node: without a route or a free descriptor here, nothing.
fn refused(source: &BoxError) -> Result<ReachEnd, Break> {
    match source.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable,
        ) => Ok(ReachEnd::Refused),
        Some(io::ErrorKind::TimedOut) => Ok(ReachEnd::Silent),
        _ => Err(Break::Internal),
    }
}

/// One of the ports, each as likely as the next but for less than a thousandth.
fn draw_port((first, last): (u16, u16), drawn: [u8; 4]) -> u16 {
    let span = u32::from(last.saturating_sub(first)).saturating_add(1);
    let offset = u32::from_le_bytes(drawn) % span;
    first.saturating_add(u16::try_from(offset).unwrap_or(0))
}

#[cfg(test)]
mod tests;
