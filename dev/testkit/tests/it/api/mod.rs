//! The REST API before the clients that people use, over a real store: schemathesis for its document, the Bittensor SDK for
//! signed requests.
#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod host;

use std::path::PathBuf;
use std::process::{Command, Output};

use self::host::{ApiHost, Fleet, KEY};

/// Small, but more than a page of nodes.
const FLEET: Fleet = Fleet { miners: 3, nodes: 60, verdicts: 3 };

/// A program that the tests' setup names by this variable.
fn program(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| {
            panic!("{variable} is not set; run the tests by `cargo xtask test`, which sets it")
        })
        .into()
}

async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_neither_a_server_error_nor_a_violation_of_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let host = ApiHost::start(folder.path(), FLEET, None).await;
    for (key_header, examples) in [(None, "5"), (Some(format!("X-API-Key: {KEY}")), "20")] {
        let mut command = Command::new(program("BASILICA_SCHEMATHESIS"));
        command.current_dir(folder.path());
        command.args(["run", &format!("http://{}/openapi.json", host.address)]);
        // Without a chain these are what they must be then: 503 with the reason.
        command.args(["--exclude-path", "/health", "--exclude-path", "/ready"]);
        command.args(["--seed", "7", "--max-examples", examples, "--no-color"]);
        if let Some(header) = &key_header {
            command.args(["-H", header]);
        }
        let output = run(command).await;
        assert!(output.status.success(), "{}", said(&output));
    }
    host.end().await;
}

/// Asks as the SDK's guide does.
const SIGNED: &str = r#"
import json, sys, urllib.request, urllib.error
import bittensor as bt
from bittensor.keyfiles import Keypair
url, receiver, seed, target = sys.argv[1:]
keypair = Keypair.create_from_seed(bytes.fromhex(seed))
def ask(headers):
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url + target, headers=headers))
        return answer.status
    except urllib.error.HTTPError as error:
        return error.code
def sign(path, to):
    return bt.http_auth.sign(keypair, method="GET", path=path, receiver_ss58=to)
good = sign(target, receiver)
print(json.dumps([ask(good), ask(good), ask(sign("/health", receiver)), ask(sign(target, None))]))
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_the_bittensor_sdk_signs_opens_the_operators_pages_once() {
    let folder = tempfile::tempdir().unwrap();
    let host = ApiHost::start(folder.path(), FLEET, None).await;
    let mut command = Command::new(program("BASILICA_SDK_PYTHON"));
    // The validator's own hotkey, which is always allowed.
    let seed = "2a".repeat(32);
    let url = format!("http://{}", host.address);
    command.args(["-c", SIGNED, &url, &host.validator.to_string(), &seed, "/config/emission"]);
    let output = run(command).await;
    assert_eq!(said(&output).trim(), "[200, 401, 401, 401]");
    host.end().await;
}
