//! What the program says before it serves: help, refusals and their exit codes, and to whom nobody listens.

use std::fs::OpenOptions;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{PATIENCE, command};

/// Between two looks at a file.
const POLL: Duration = Duration::from_millis(20);

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The exit code and what stands on standard error.
fn refusal(arguments: &[&str]) -> (Option<i32>, String) {
    let output = command().args(["--listen", "127.0.0.1:0"]).args(arguments).output().expect("runs");
    assert!(output.stdout.is_empty(), "nothing is announced");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn wrong_flags_are_wrong_usage_and_are_named() {
    for (arguments, part) in [
        (&["--tempo", "1"][..], "--tempo"),
        (&["--block-time", "1m"], "a time from 10ms to 60s is needed"),
        (&["--block-time", "9ms"], "a time from 10ms to 60s is needed"),
        (&["--neurons", "257"], "--neurons"),
        (&["--neurons", "3"], "--neurons 3 is not allowed: 0, or at least as many as the owner"),
        (&["--finality-lag", "201"], "--finality-lag"),
        (&["--listen", "example.org"], "such as 127.0.0.1:9944"),
    ] {
        let (code, message) = refusal(arguments);
        assert_eq!(code, Some(2), "{arguments:?}");
        assert!(message.starts_with("error: ") && message.contains(part), "{arguments:?}: {message}");
    }
    let (code, message) = refusal(&["--json", "--neurons", "3"]);
    let told: Value = serde_json::from_str(&message).expect("one line of JSON");
    assert_eq!((code, &told["exit_code"]), (Some(2), &json!(2)));
    assert!(told["error"].as_str().expect("text").starts_with("--neurons 3"));
}

#[test]
fn a_mistake_in_a_genesis_file_is_told_with_its_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("genesis.json");
    for (text, parts) in [
        ("{\n\"tempo\":\n1}", ["genesis.json: genesis value tempo = 1", "at least 2"]),
        ("{\n\"miners\": [\n{\"hotkey\": \"Bob\"}]}", ["genesis.json, line 3", "\"Bob\" of miner 1 hotkey"]),
        (
            "{\n\"miners\": [\n{\"hotkey\": \"//Owner\"}]}",
            ["line 3", "\"//Owner\" of miner 1 is that of owner too"],
        ),
    ] {
        std::fs::write(&path, text).expect("writes");
        let (code, message) = refusal(&["--genesis", path.to_str().expect("a plain path")]);
        assert_eq!(code, Some(1), "{message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn help_fits_the_width_of_a_terminal() {
    for width in [80, 100] {
        let output = command().arg("--help").env("COLUMNS", width.to_string()).output().expect("runs");
        let help = String::from_utf8(output.stdout).expect("text");
        let wide: Vec<&str> = help.lines().filter(|line| line.chars().count() > width).collect();
        assert!(wide.is_empty(), "{wide:#?}");
        let [row] = help.lines().filter(|line| line.contains("dev_timeTravel")).collect::<Vec<_>>()[..]
        else {
            panic!("one line of {help}")
        };
        assert!(row.ends_with("a day later"), "the table is not broken at {width}: {row}");
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let address = directory.path().join("address");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let errors = std::fs::File::create(directory.path().join("errors")).expect("a file");
    drop(reader);
    let child = command()
        .args(["--listen", "127.0.0.1:0", "--print-addr", address.to_str().expect("a plain path")])
        .stdout(writer)
        .stderr(errors)
        .spawn()
        .expect("starts");
    let mut child = Killed(child);
    let serves = async {
        loop {
            assert_eq!(child.0.try_wait().expect("is a child"), None, "it has ended");
            let url = std::fs::read_to_string(&address).unwrap_or_default();
            let url = url.trim().strip_prefix("ws://").unwrap_or_default();
            if let Ok(mut stream) = std::net::TcpStream::connect(url) {
                use std::io::{Read as _, Write as _};
                let body = r#"{"jsonrpc":"2.0","id":1,"method":"system_chain","params":[]}"#;
                let head =
                    "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n";
                write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).expect("writes");
                let mut answer = String::new();
                stream.read_to_string(&mut answer).expect("reads");
                return answer;
            }
            // A file cannot be waited for otherwise.
            tokio::time::sleep(POLL).await;
        }
    };
    let answer = tokio::time::timeout(PATIENCE, serves).await.expect("it serves in time");
    assert!(answer.contains("\"result\""), "{answer}");
    assert_eq!(std::fs::read_to_string(directory.path().join("errors")).expect("reads"), "");
}

#[test]
fn an_announcement_that_cannot_be_written_is_a_failure() {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("every Linux has it");
    let child = command()
        .args(["--listen", "127.0.0.1:0"])
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let output = child.wait_with_output().expect("ends");
    let message = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains("cannot say on standard output where the chain listens"), "{message}");
}
