//! What the GPUs of a node do: use, memory, heat, power, for the operator's eyes; and whether its login can run containers.
//!
//! A keeper asks over its kept connection after its round, at most every [`EVERY`]: no second connection that an sshd could count
//! against this host, and never beside another command of its own, since a node may allow a single one at a time. That nothing is known is
//! a state of its own and no failure of the node: many nodes in tests have no GPU, and one whose driver is broken is what validators tell
//! loudly enough. A tool that does not answer is asked less and less often: a driver that hangs keeps each process that asked it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use basilica_ports::{Clock, ExitStatus, Output, Shell};
use basilica_runtime_service::ErrorChain;
use basilica_status::{Containers, GpuReading, Gpus};
use basilica_types::{Argv, Millis, NodeId, Timestamp};
use basilica_verification::probe::{READING_FIELDS, READINGS_BYTES, Reading, readings};
use tracing::debug;

use crate::key_editor::limits;
use crate::onboarding::{self, Engine};

/// Shortest time between two questions to a node.
const EVERY: Millis = Millis::from_secs(15);
/// The same for its container engine, which seldom changes.
const ENGINE_EVERY: Millis = Millis::from_secs(600);
/// Longest pause for a tool that does not answer.
const RETRY_MOST: Millis = Millis::from_secs(960);
/// A driver that resets a card takes its time.
const DEADLINE: Millis = Millis::from_secs(10);
/// There is no `nvidia-smi`; what `sh` itself says of a command that is not there.
const NOT_FOUND: u32 = 127;
/// What is printed before comes from the login shell's start files.
const MARK: &str = "basilica-gpus:";
/// `$1`: the fields. Drivers in containers and WSL put the tool beside the path.
const SCRIPT: &str = r#"
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/bin:/usr/local/nvidia/bin:/usr/lib/wsl/lib:/run/current-system/sw/bin
command -v nvidia-smi >/dev/null 2>&1 || exit 127
printf '\nbasilica-gpus:\n'
exec nvidia-smi "--query-gpu=$1" --format=csv,noheader,nounits
"#;

/// Asks a node for its GPUs; an error is that it did not answer.
async fn read(shell: &dyn Shell, timeout: Millis, clock: &dyn Clock) -> Result<Gpus, Gpus> {
    let command = Argv::script(SCRIPT, [READING_FIELDS])
        .map_err(|error| failed(clock.now(), &ErrorChain(&error).to_string()))?;
    // A login shell that greets has some room beside the answer.
    let limits = limits(timeout.min(DEADLINE), READINGS_BYTES + 64 * 1024);
    let ran = shell.run(&command, &[], limits).await;
    let now = clock.now();
    match ran {
        Ok(output) => Ok(understood(&output, now)),
        Err(error) => {
            debug!(error = %ErrorChain(&error), "GPUs of a node cannot be read");
            Err(failed(now, &ErrorChain(&error).to_string()))
        }
    }
}

/// Asks a node how containers can be run; an error is that the node did not answer, which says nothing of its engine: one that hangs is told
/// by the node.
async fn containers(shell: &dyn Shell, clock: &dyn Clock) -> Result<Containers, Option<Containers>> {
    let asked = onboarding::engine(shell, DEADLINE).await;
    let at = clock.now();
    match asked {
        Ok(Engine::Usable(program)) => Ok(Containers::Usable { at, program: program.into() }),
        Ok(Engine::Denied { program, why }) => {
            Ok(Containers::Denied { at, program: program.into(), why: why.into() })
        }
        Ok(Engine::Missing) => Ok(Containers::Missing { at }),
        Err(error) => {
            debug!(error = %ErrorChain(&error), "the container engine of a node does not answer");
            Err(None)
        }
    }
}

fn failed(at: Timestamp, why: &str) -> Gpus {
    Gpus::Failed { at, why: why.into() }
}

fn understood(output: &Output, at: Timestamp) -> Gpus {
    let printed = String::from_utf8_lossy(&output.stdout);
    let told = printed.rsplit_once(MARK).map_or("", |(_, told)| told).trim();
    match &output.status {
        ExitStatus::Code(NOT_FOUND) if told.is_empty() => Gpus::NoTool { at },
        _ if told.starts_with("No devices were found") => Gpus::None { at },
        ExitStatus::Code(0) => match readings(told.as_bytes()) {
            Ok(read) => shown(&read, at),
            Err(error) => failed(at, &error.to_string()),
        },
        status => {
            let words = if told.is_empty() { String::from_utf8_lossy(&output.stderr) } else { told.into() };
            let first = words.trim().lines().next().unwrap_or_default();
            failed(at, &format!("{} {first}", ended(status)))
        }
    }
}

fn ended(status: &ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("nvidia-smi ended with {code}:"),
        ExitStatus::Signal(signal) => format!("nvidia-smi was ended by SIG{signal}:"),
        ExitStatus::Unknown => "nvidia-smi ended:".to_owned(),
    }
}

fn shown(read: &[Reading], at: Timestamp) -> Gpus {
    let Some(first) = read.first() else { return Gpus::None { at } };
    let card = |reading: &Reading| GpuReading {
        index: reading.index,
        uuid: reading.uuid,
        model: reading.name.as_str().into(),
        utilization_percent: reading.utilization_percent,
        memory_used_mib: reading.memory_used_mib,
        memory_total_mib: reading.memory_total_mib,
        temperature_celsius: reading.temperature_celsius,
        power_milliwatts: reading.power_milliwatts,
        power_limit_milliwatts: reading.power_limit_milliwatts,
    };
    Gpus::Read { at, driver: first.driver.as_str().into(), cards: read.iter().map(card).collect() }
}

/// What is made of an answer: its exit code, what it printed and what it complained of.
#[cfg(feature = "testing")]
pub fn gpus(code: u32, stdout: &[u8], stderr: &[u8]) -> Gpus {
    let status = ExitStatus::Code(code);
    understood(&Output { status, stdout: stdout.to_vec(), stderr: stderr.to_vec() }, Timestamp(0))
}

/// What was said last, if anything was.
#[derive(Debug, Default)]
struct Asked<T> {
    said: T,
    /// When it is asked again, by the clock that nobody sets.
    due: Duration,
    /// Questions since the last answer.
    unanswered: u32,
}

impl<T> Asked<T> {
    /// It was asked now; without an answer the next question waits for twice as long, and what was said stays unless something else is.
    fn again(self, now: Duration, every: Millis, answer: Result<T, Option<T>>) -> Self {
        let unanswered = if answer.is_ok() { 0 } else { self.unanswered.saturating_add(1) };
        let pause = Millis(every.0.saturating_mul(1 << unanswered.min(16))).min(RETRY_MOST.max(every));
        let said = answer.unwrap_or_else(|said| said.unwrap_or(self.said));
        Self { said, due: now.saturating_add(pause.as_duration()), unanswered }
    }
}

/// What is known of one node.
#[derive(Debug, Default)]
struct Known {
    gpus: Asked<Gpus>,
    containers: Asked<Containers>,
}

/// The last reading of every node.
#[derive(Debug, Default)]
pub(crate) struct Readings(Mutex<BTreeMap<NodeId, Known>>);

impl Readings {
    /// What is known of a node's GPUs and of its containers.
    pub(crate) fn of(&self, node: NodeId) -> (Gpus, Containers) {
        let told = |known: &Known| (known.gpus.said.clone(), known.containers.said.clone());
        self.lock().get(&node).map(told).unwrap_or_default()
    }

    /// Asks a node for what is due.
    pub(crate) async fn refresh(&self, node: NodeId, shell: &dyn Shell, timeout: Millis, clock: &dyn Clock) {
        let is_due = |due: fn(&Known) -> Duration| {
            let now = clock.monotonic();
            self.lock().get(&node).is_none_or(|known| due(known) <= now)
        };
        if is_due(|known| known.gpus.due) {
            let answer = read(shell, timeout, clock).await;
            let mut nodes = self.lock();
            let known = nodes.entry(node).or_default();
            known.gpus =
                std::mem::take(&mut known.gpus).again(clock.monotonic(), EVERY, answer.map_err(Some));
        }
        if is_due(|known| known.containers.due) {
            let answer = containers(shell, clock).await;
            let mut nodes = self.lock();
            let known = nodes.entry(node).or_default();
            let before = std::mem::take(&mut known.containers);
            known.containers = before.again(clock.monotonic(), ENGINE_EVERY, answer);
        }
    }

    /// Forgets all nodes but these.
    pub(crate) fn keep(&self, nodes: &BTreeSet<NodeId>) {
        self.lock().retain(|id, _| nodes.contains(id));
    }

    /// The map is whole after every statement.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use async_trait::async_trait;
    use basilica_ports::{OutputLimits, Process, ShellError};
    use basilica_runtime_service::testing::VirtualClock;
    use basilica_types::HostKey;

    use super::*;

    const H100: &str = "0, GPU-5e1c3a4b-0c1d-4e2f-8a9b-0123456789ab, NVIDIA H100 80GB HBM3, 570.124.06, 97, 70123, 81559, 64, 650.12, 700.00\n";
    const AT: Timestamp = Timestamp(7);

    fn output(code: u32, stdout: &str, stderr: &str) -> Output {
        let bytes = |text: &str| text.as_bytes().to_vec();
        Output { status: ExitStatus::Code(code), stdout: bytes(stdout), stderr: bytes(stderr) }
    }

    /// Hangs, or says that there is no tool and what engine there is, and counts how often it was asked for GPUs, and for that.
    #[derive(Default)]
    struct Node {
        hangs: AtomicBool,
        times: AtomicU32,
        engines: AtomicU32,
    }

    #[async_trait]
    impl Shell for Node {
        fn host_key(&self) -> &HostKey {
            unreachable!("nobody asks")
        }

        fn is_open(&self) -> bool {
            true
        }

        async fn run(&self, command: &Argv, _: &[u8], limits: OutputLimits) -> Result<Output, ShellError> {
            let is_gpus = command.arguments().iter().any(|argument| argument == READING_FIELDS);
            let counted = if is_gpus { &self.times } else { &self.engines };
            counted.fetch_add(1, Ordering::Relaxed);
            if self.hangs.load(Ordering::Relaxed) {
                return Err(ShellError::Deadline { step: "run", limit: limits.deadline });
            }
            Ok(if is_gpus { output(127, "", "") } else { output(0, "login\nengine podman\n", "") })
        }

        async fn start(&self, _: &Argv) -> Result<Box<dyn Process>, ShellError> {
            unreachable!("nobody asks")
        }

        async fn close(&self) {}
    }

    #[tokio::test]
    async fn a_tool_that_hangs_is_asked_less_and_less_and_as_before_once_it_answers() {
        let clock = VirtualClock::new();
        let (readings, node) = (Readings::default(), NodeId::from_bytes([1; 16]));
        let shell = Node { hangs: true.into(), ..Node::default() };
        let hour = async |clock: &VirtualClock| {
            for _ in 0..240 {
                readings.refresh(node, &shell, DEADLINE, clock).await;
                clock.advance(EVERY);
            }
            shell.times.swap(0, Ordering::Relaxed)
        };
        let first = hour(&clock).await;
        assert!((6..=10).contains(&first), "{first}");
        shell.hangs.store(false, Ordering::Relaxed);
        assert!(hour(&clock).await > 120);
        assert_eq!(hour(&clock).await, 240);
        let asked = shell.engines.swap(0, Ordering::Relaxed);
        assert!((13..=20).contains(&asked), "each 10 minutes, less while it hung: {asked}");
        shell.hangs.store(true, Ordering::Relaxed);
        hour(&clock).await;
        let told = readings.of(node);
        let is_kept = matches!(&told.1, Containers::Usable { program, .. } if program.as_str() == "podman");
        assert!(matches!(told.0, Gpus::Failed { .. }) && is_kept, "{told:?}");
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_does_not_stop_the_questions() {
        let clock = VirtualClock::new();
        let (readings, node) = (Readings::default(), NodeId::from_bytes([1; 16]));
        let shell = Node::default();
        for (shift, asked) in [(0, 2), (-36_000_000, 1), (36_000_000, 1)] {
            clock.set_wall_clock(shift);
            readings.refresh(node, &shell, DEADLINE, &*clock).await;
            clock.advance(EVERY);
            readings.refresh(node, &shell, DEADLINE, &*clock).await;
            assert_eq!(shell.times.swap(0, Ordering::Relaxed), asked, "{shift}");
        }
    }

    #[test]
    fn each_way_to_have_no_reading_is_told_apart() {
        let mark = "\nbasilica-gpus:\n";
        assert_eq!(understood(&output(127, "welcome!", ""), AT), Gpus::NoTool { at: AT });
        for code in [0, 6] {
            let none = output(code, &format!("{mark}No devices were found\n"), "");
            assert_eq!(understood(&none, AT), Gpus::None { at: AT });
        }
        let broken = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that it runs.\n";
        let told = understood(&output(9, &format!("{mark}{broken}"), ""), AT);
        assert!(
            matches!(&told, Gpus::Failed { why, .. } if why.as_str().starts_with("nvidia-smi ended with 9: NVIDIA-SMI has failed")),
            "{told:?}"
        );
        let told = understood(&output(0, &format!("{mark}so many cards\n"), ""), AT);
        assert!(matches!(&told, Gpus::Failed { why, .. } if why.as_str().contains("ten fields")), "{told:?}");
        assert_eq!(understood(&output(0, mark, ""), AT), Gpus::None { at: AT });
    }

    #[test]
    fn what_a_login_shell_prints_before_is_passed_over() {
        let noisy = format!("Welcome, operator\nbasilica-gpus: none\n\nbasilica-gpus:\n{H100}");
        let told = understood(&output(0, &noisy, "warning"), AT);
        let Gpus::Read { driver, cards, .. } = &told else { panic!("{told:?}") };
        assert_eq!(
            (driver.as_str(), cards.len(), cards[0].power_milliwatts),
            ("570.124.06", 1, Some(650_120))
        );
    }
}
