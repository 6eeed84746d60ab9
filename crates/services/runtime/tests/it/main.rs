//! A real process that gets real signals.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};

/// The example `service`, running.
struct Service {
    child: Child,
    address: String,
    log: BufReader<ChildStderr>,
    seen: Vec<serde_json::Value>,
}

impl Service {
    fn start(behaviour: &str) -> Self {
        let program = example("service");
        let mut child = Command::new(&program)
            .arg(behaviour)
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run `cargo build --examples`", program.display()));
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, address: address.trim().to_owned(), log, seen: Vec::new() }
    }

    fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Reads the log up to this message.
    fn wait_for(&mut self, message: &str) {
        loop {
            let mut line = String::new();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "no {message:?} in {:#?}", self.seen);
            let entry: serde_json::Value =
                serde_json::from_str(&line).expect("every line of the log is JSON");
            self.seen.push(entry.clone());
            if entry["message"] == message {
                return;
            }
        }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Exit code, and the last line of the log.
    fn end(mut self) -> (Option<i32>, serde_json::Value) {
        let code = self.child.wait().unwrap().code();
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        let lines =
            rest.lines().map(|line| serde_json::from_str(line).expect("every line of the log is JSON"));
        self.seen.extend(lines);
        (code, self.seen.pop().expect("something was logged"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Cargo builds examples beside the folder of test binaries.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples").join(name)
}

#[test]
fn sigterm_ends_a_service_in_order() {
    let mut service = Service::start("drain");
    service.wait_for("running");
    assert!(service.get("/ready").starts_with("HTTP/1.1 200"));
    assert!(service.get("/metrics").contains("\nbasilica_example_tasks_running 2\n"));
    service.signal("TERM");
    service.wait_for("drained");
    let (code, last) = service.end();
    assert_eq!((code, last["message"].as_str()), (Some(0), Some("stopped")));
}

#[test]
fn a_second_signal_ends_a_stubborn_service_at_once() {
    let mut service = Service::start("stubborn");
    service.wait_for("running");
    service.signal("TERM");
    service.wait_for("stopping on signal");
    service.signal("INT");
    let (code, last) = service.end();
    assert_eq!((code, last["signal"].as_str()), (Some(130), Some("SIGINT")));
}

#[test]
fn a_failed_service_ends_with_its_failure() {
    let (code, last) = Service::start("broken").end();
    assert_eq!((code, last["error"].as_str()), (Some(1), Some("task work failed: disk full")));
}

#[test]
fn a_panic_is_logged_and_ends_the_service() {
    let mut service = Service::start("panicking");
    service.wait_for("panic");
    assert_eq!(service.seen.last().unwrap()["panic.message"], "sum is off");
    let (code, last) = service.end();
    assert_eq!((code, last["error"].as_str()), (Some(1), Some("task work panicked: sum is off")));
}
