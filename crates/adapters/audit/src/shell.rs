//! SSH that is written down.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use basilica_ports::{
    AddressPolicy, Ask, Dial, ExitStatus, Identity, NodeShell, Output, OutputLimits, Process, Shell,
    ShellError,
};
use basilica_types::{Argv, ErrorChain, HostKey, Millis, NodeAddress, SshPublicKey};

use crate::AuditLog;
use crate::chain::{Line, Operation};
use crate::file::cut;

/// Another client, with a line for everything that it does on nodes.
#[derive(Clone)]
pub struct AuditedShell {
    shell: Arc<dyn NodeShell>,
    log: Arc<AuditLog>,
}

impl AuditedShell {
    /// Puts the log before a client.
    pub fn new(shell: Arc<dyn NodeShell>, log: Arc<AuditLog>) -> Self {
        Self { shell, log }
    }
}

impl std::fmt::Debug for AuditedShell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditedShell").field("log", &self.log).finish_non_exhaustive()
    }
}

struct Begun {
    log: Arc<AuditLog>,
    operation: Operation,
    node: String,
    what: Option<String>,
    began: Duration,
    sent: u64,
    received: u64,
}

impl Begun {
    fn end(&self, result: impl fmt::Display) {
        let took = self.log.clock.monotonic().saturating_sub(self.began);
        self.log.add(Line {
            previous: None,
            at: self.log.clock.now().rfc3339(),
            operation: self.operation,
            node: self.node.clone().into(),
            what: self.what.clone().map(cut),
            sent: self.sent,
            received: self.received,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            result: cut(result.to_string()),
            lost: 0,
        });
    }
}

fn bytes(of: &[u8]) -> u64 {
    of.len() as u64
}

fn ended(status: &ExitStatus) -> String {
    match status {
        ExitStatus::Code(0) => "ok".to_owned(),
        ExitStatus::Code(code) => format!("exit code {code}"),
        ExitStatus::Signal(signal) => format!("ended by SIG{signal}"),
        ExitStatus::Unknown => "ended without saying how".to_owned(),
    }
}

#[async_trait]
impl NodeShell for AuditedShell {
    fn public_key(&self, identity: &Identity) -> Result<SshPublicKey, ShellError> {
        self.shell.public_key(identity)
    }

    async fn resolve(
        &self,
        address: &NodeAddress,
        addresses: AddressPolicy,
        deadline: Millis,
    ) -> Result<Vec<SocketAddr>, ShellError> {
        self.shell.resolve(address, addresses, deadline).await
    }

    async fn ask(&self, ask: &Ask) -> Result<Vec<u8>, ShellError> {
        let node = ask.address.to_string();
        let mut begun = Talk::new(&self.log, Operation::Ask, &node, Some(ask.at.to_string()));
        let answer = self.shell.ask(ask).await;
        begun.count(bytes(&ask.question), answer.as_deref().map_or(0, bytes));
        match &answer {
            Ok(_) => begun.end("ok"),
            Err(error) => begun.end(ErrorChain(error)),
        }
        answer
    }

    async fn connect(&self, dial: &Dial) -> Result<Arc<dyn Shell>, ShellError> {
        let node = dial.address.to_string();
        let mut begun = Talk::new(&self.log, Operation::Login, &node, None);
        match self.shell.connect(dial).await {
            Ok(shell) => {
                begun.end("ok");
                Ok(Arc::new(AuditedConnection { shell, node, log: Arc::clone(&self.log) }))
            }
            Err(error) => {
                begun.end(ErrorChain(&error));
                Err(error)
            }
        }
    }
}

struct AuditedConnection {
    shell: Arc<dyn Shell>,
    node: String,
    log: Arc<AuditLog>,
}

impl AuditedConnection {
    fn begun(&self, operation: Operation, command: &Argv) -> Talk {
        Talk::new(&self.log, operation, &self.node, Some(command.to_command_line()))
    }
}

#[async_trait]
impl Shell for AuditedConnection {
    fn host_key(&self) -> &HostKey {
        self.shell.host_key()
    }

    fn is_open(&self) -> bool {
        self.shell.is_open()
    }

    async fn run(&self, command: &Argv, input: &[u8], limits: OutputLimits) -> Result<Output, ShellError> {
        let mut begun = self.begun(Operation::Run, command);
        let output = self.shell.run(command, input, limits).await;
        begun.count(
            bytes(input),
            output.as_ref().map_or(0, |output| bytes(&output.stdout) + bytes(&output.stderr)),
        );
        match &output {
            Ok(output) => begun.end(ended(&output.status)),
            Err(error) => begun.end(ErrorChain(error)),
        }
        output
    }

    async fn start(&self, command: &Argv) -> Result<Box<dyn Process>, ShellError> {
        let mut begun = self.begun(Operation::Talk, command);
        match self.shell.start(command).await {
            Ok(process) => Ok(Box::new(AuditedProcess { process, begun })),
            Err(error) => {
                begun.end(ErrorChain(&error));
                Err(error)
            }
        }
    }

    async fn close(&self) {
        self.shell.close().await;
    }
}

/// An operation under way, which is in the log however it ends: an abandoned one as such.
struct Talk(Option<Begun>);

impl Talk {
    fn new(log: &Arc<AuditLog>, operation: Operation, node: &str, what: Option<String>) -> Self {
        let (log, began) = (Arc::clone(log), log.clock.monotonic());
        Self(Some(Begun { log, operation, node: node.to_owned(), what, began, sent: 0, received: 0 }))
    }

    fn count(&mut self, sent: u64, received: u64) {
        if let Some(begun) = &mut self.0 {
            begun.sent += sent;
            begun.received += received;
        }
    }

    fn end(&mut self, result: impl fmt::Display) {
        if let Some(begun) = self.0.take() {
            begun.end(result);
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.end("abandoned");
    }
}

struct AuditedProcess {
    process: Box<dyn Process>,
    begun: Talk,
}

#[async_trait]
impl Process for AuditedProcess {
    async fn send(&mut self, sent: &[u8]) -> Result<(), ShellError> {
        self.process.send(sent).await.inspect_err(|error| self.begun.end(ErrorChain(error)))?;
        self.begun.count(bytes(sent), 0);
        Ok(())
    }

    async fn receive(&mut self) -> Result<Option<Vec<u8>>, ShellError> {
        let received = self.process.receive().await.inspect_err(|error| self.begun.end(ErrorChain(error)))?;
        self.begun.count(0, received.as_deref().map_or(0, bytes));
        Ok(received)
    }

    fn stderr(&self) -> &[u8] {
        self.process.stderr()
    }

    async fn finish(self: Box<Self>) -> Result<ExitStatus, ShellError> {
        let Self { process, mut begun } = *self;
        let status = process.finish().await;
        match &status {
            Ok(status) => begun.end(ended(status)),
            Err(error) => begun.end(ErrorChain(error)),
        }
        status
    }
}

#[cfg(test)]
mod tests;
