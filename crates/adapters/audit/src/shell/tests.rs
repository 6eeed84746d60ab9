use basilica_ports::HostKeyPolicy;
use basilica_runtime_service::testing::VirtualClock;

use super::*;
use crate::AuditRules;

const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

/// A client that lets in whoever asks for port 22, and whose commands say "hello".
struct Greeter(HostKey);

#[async_trait]
impl NodeShell for Greeter {
    fn public_key(&self, _: &Identity) -> Result<SshPublicKey, ShellError> {
        unreachable!("nobody asks")
    }

    async fn resolve(
        &self,
        _: &NodeAddress,
        _: AddressPolicy,
        _: Millis,
    ) -> Result<Vec<SocketAddr>, ShellError> {
        unreachable!("nobody asks")
    }

    async fn ask(&self, ask: &Ask) -> Result<Vec<u8>, ShellError> {
        Ok(ask.question.clone())
    }

    async fn connect(&self, dial: &Dial) -> Result<Arc<dyn Shell>, ShellError> {
        match dial.address.port() {
            22 => Ok(Arc::new(Self(self.0.clone()))),
            _ => {
                Err(ShellError::Denied { address: dial.address.clone(), takes_keys: true, wants_more: false })
            }
        }
    }
}

#[async_trait]
impl Shell for Greeter {
    fn host_key(&self) -> &HostKey {
        &self.0
    }

    fn is_open(&self) -> bool {
        true
    }

    async fn run(&self, _: &Argv, _: &[u8], _: OutputLimits) -> Result<Output, ShellError> {
        Ok(Output { status: ExitStatus::Code(3), stdout: b"hello".to_vec(), stderr: b"!".to_vec() })
    }

    async fn start(&self, _: &Argv) -> Result<Box<dyn Process>, ShellError> {
        Ok(Box::new(Echo))
    }

    async fn close(&self) {}
}

struct Echo;

#[async_trait]
impl Process for Echo {
    async fn send(&mut self, _: &[u8]) -> Result<(), ShellError> {
        Ok(())
    }

    async fn receive(&mut self) -> Result<Option<Vec<u8>>, ShellError> {
        Ok(Some(b"echo".to_vec()))
    }

    fn stderr(&self) -> &[u8] {
        &[]
    }

    async fn finish(self: Box<Self>) -> Result<ExitStatus, ShellError> {
        Ok(ExitStatus::Code(0))
    }
}

fn dial(address: &str) -> Dial {
    Dial {
        address: address.parse().unwrap(),
        identity: Identity::File("unread".into()),
        host_keys: HostKeyPolicy::Learn,
        addresses: AddressPolicy::Any,
        deadline: Millis(1),
    }
}

#[tokio::test]
async fn everything_that_is_done_on_a_node_is_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let log = AuditLog::open(&path, AuditRules::default(), VirtualClock::new(), Box::new(|_| {})).unwrap();
    let shell = AuditedShell::new(Arc::new(Greeter(HOST_KEY.parse().unwrap())), Arc::new(log));
    assert!(shell.connect(&dial("root@198.51.100.7:23")).await.is_err());
    let node = shell.connect(&dial("root@198.51.100.7:22")).await.unwrap();
    let limits = OutputLimits { stdout: 10, stderr: 10, deadline: Millis(1) };
    let command = Argv::new(["echo", "it's"]).unwrap();
    node.run(&command, b"in", limits).await.unwrap();
    let mut talk = node.start(&command).await.unwrap();
    talk.send(b"abc").await.unwrap();
    talk.receive().await.unwrap();
    talk.finish().await.unwrap();
    drop(node.start(&command).await.unwrap());
    let at = "198.51.100.7:30000".parse().unwrap();
    let (address, question) = (dial("root@198.51.100.7:22").address, b"?".to_vec());
    let ask = Ask { address, at, addresses: AddressPolicy::Any, question, most: 9, deadline: Millis(1) };
    shell.ask(&ask).await.unwrap();
    drop((node, shell));
    let text = std::fs::read_to_string(&path).unwrap();
    let told: Vec<String> = text
        .lines()
        .map(|line| {
            let line: Line<'_> = serde_json::from_str(line).unwrap();
            let what = line.what.unwrap_or_default();
            format!(
                "{:?} {what} sent {} received {}: {}",
                line.operation, line.sent, line.received, line.result
            )
        })
        .collect();
    let denied = "root@198.51.100.7:23 denied the login: Permission denied (publickey)";
    let quoted = command.to_command_line();
    let expected = [
        format!("Login  sent 0 received 0: {denied}"),
        "Login  sent 0 received 0: ok".to_owned(),
        format!("Run {quoted} sent 2 received 6: exit code 3"),
        format!("Talk {quoted} sent 3 received 4: ok"),
        format!("Talk {quoted} sent 0 received 0: abandoned"),
        "Ask 198.51.100.7:30000 sent 1 received 1: ok".to_owned(),
    ];
    assert_eq!(told, expected);
    assert_eq!(crate::verify(text.as_bytes(), None).unwrap().lines, 6);
}
