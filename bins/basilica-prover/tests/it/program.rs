use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use basilica_proof::residency::{Cache, ResidencyParams, Space, WalkParams};
use basilica_proof::stream::{StreamRequest, StreamVerifier};
use basilica_proof::{
    Binding, Challenge, ClaimReport, Deadlines, DeviceChallenge, NonceUse, Outcome, ProofParams, Rejection,
    Step, Verifier,
};
use basilica_types::NodeId;

pub(crate) const PROVER: &str = env!("CARGO_BIN_EXE_basilica-prover");

const DEVICES: &str = r#"{"version":2,"devices":[
    {"index":0,"uuid":"GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5b","class":"simulated-H100"},
    {"index":3,"uuid":"GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5c","class":"simulated-H100"}]}"#;

fn output(arguments: &[&str]) -> Output {
    Command::new(PROVER).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn devices_file() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), DEVICES).unwrap();
    file
}

/// What the program claims from that file.
fn devices() -> ClaimReport {
    let file = devices_file();
    let printed = output(&["claims", "--simulate", file.path().to_str().unwrap()]);
    ClaimReport::parse(&printed.stdout).unwrap()
}

pub(crate) fn hash() -> String {
    blake3::hash(&std::fs::read(PROVER).unwrap()).to_string()
}

/// A folder with the prover in it: provers of one folder wait for each other.
fn node() -> tempfile::TempDir {
    let built = Path::new(PROVER);
    let folder = tempfile::tempdir_in(built.parent().unwrap()).unwrap();
    std::fs::hard_link(built, folder.path().join("prover")).unwrap();
    folder
}

fn prover_of(node: &tempfile::TempDir, simulate: &Path, options: &[&str]) -> Child {
    spawn_in(&node.path().join("prover"), simulate, options)
}

/// A prover with a folder of its own.
struct Alone {
    child: Child,
    _node: tempfile::TempDir,
}

impl std::ops::Deref for Alone {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl std::ops::DerefMut for Alone {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

fn spawn(simulate: &Path) -> Alone {
    let node = node();
    Alone { child: prover_of(&node, simulate, &[]), _node: node }
}

fn spawn_in(program: &Path, simulate: &Path, options: &[&str]) -> Child {
    Command::new(program)
        .args(["prove", "--threads", "2", "--expect-hash", &hash(), "--simulate"])
        .arg(simulate)
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn challenge(params: ProofParams) -> Challenge {
    let binding = Binding {
        beacon: [0; 32],
        validator_nonce: [7; 32],
        node: NodeId::from_bytes([8; 16]),
        host_key: b"host key".to_vec(),
    };
    let claimed = devices();
    let devices = claimed.claims().map(|claim| DeviceChallenge { claim, params, residency: Vec::new() });
    Challenge::new(binding, None, devices.collect()).unwrap()
}

/// The same, with a little memory in each of these spaces.
fn memory_challenge(params: ProofParams, spaces: &[Space]) -> Challenge {
    let walk =
        WalkParams { lanes: 64, steps: 20, reads: 4, windows: 1, barriers: 4, picks: 4, lanes_per_pick: 4 };
    let region = |space| ResidencyParams::new(space, 1 << 12, 16, walk).unwrap();
    let work = challenge(params);
    let devices = work.devices().iter().cloned().map(|device| {
        let residency = spaces.iter().map(|space| region(*space)).collect();
        DeviceChallenge { residency, ..device }
    });
    Challenge::new(work.binding().clone(), Some(12), devices.collect()).unwrap()
}

pub(crate) fn run(child: &mut Child, challenge: Challenge) -> Result<Outcome, Rejection> {
    let cache = Cache::for_challenge(&challenge).map(Arc::new);
    let mut verifier = Verifier::new(challenge, cache, Deadlines::UNLIMITED).unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    input.write_all(&verifier.start()).unwrap();
    let mut piece = [0; 4_096];
    loop {
        let step = match output.read(&mut piece).unwrap() {
            0 => return Err(verifier.on_end()),
            length => verifier.on_bytes(&piece[..length], Duration::ZERO)?,
        };
        match step {
            Step::More => {}
            Step::DrawNonce(_) => {
                let nonce = verifier.send_nonce([9; 32], Duration::ZERO).unwrap();
                input.write_all(&nonce).unwrap();
            }
            Step::Done(outcome) => return Ok(outcome),
        }
    }
}

#[test]
fn a_challenge_is_answered_over_pipes() {
    let file = devices_file();
    let mut child = spawn(file.path());
    let params = ProofParams::new(256, 256, 3, 64).unwrap();
    let outcome = run(&mut child, challenge(params)).unwrap();
    assert_eq!(outcome.devices.len(), 2);
    assert!(child.wait().unwrap().success());
}

#[test]
fn memory_is_filled_and_walked_through_over_pipes() {
    let file = devices_file();
    let mut child = spawn(file.path());
    let outcome =
        run(&mut child, memory_challenge(ProofParams::new(64, 64, 2, 8).unwrap(), &Space::ALL)).unwrap();
    assert_eq!(outcome.walks.len(), 6);
    assert!(outcome.devices.iter().all(|device| device.residency.len() == 3));
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_simulated_class_is_proved_at_its_own_size() {
    let file = devices_file();
    let mut child = spawn(file.path());
    run(&mut child, challenge(ProofParams::SIMULATED)).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn another_hash_or_none_is_refused() {
    for arguments in [&["prove"][..], &["prove", "--expect-hash", &"00".repeat(32)]] {
        let refused = output(arguments);
        assert_eq!(refused.status.code(), Some(1));
        assert!(refused.stdout.is_empty(), "nothing that could be taken for a frame");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("hash"));
    }
    assert_eq!(String::from_utf8(output(&["hash"]).stdout).unwrap().trim(), hash());
}

#[test]
fn work_beyond_the_cpu_and_unknown_devices_are_refused_in_the_protocol() {
    let file = devices_file();
    let mut child = spawn(file.path());
    let rejected = run(&mut child, challenge(ProofParams::new(4_096, 64, 1, 1).unwrap())).unwrap_err();
    let Rejection::Refused(refusal) = rejected else { panic!("{rejected}") };
    assert!(refusal.text().contains("4096"), "{}", refusal.text());
    assert_eq!(child.wait().unwrap().code(), Some(1));

    let empty = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(empty.path(), r#"{"version":2,"devices":[]}"#).unwrap();
    let mut child = spawn(empty.path());
    let rejected = run(&mut child, challenge(ProofParams::new(64, 64, 1, 1).unwrap())).unwrap_err();
    assert_eq!(rejected.code(), "proof_refused");
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_malformed_challenge_is_refused_and_an_absent_validator_ends_it() {
    for sent in [&[0xffu8; 64][..], &[3, 0, 0, 0, 9, 9, 9]] {
        let file = devices_file();
        let mut child = spawn(file.path());
        child.stdin.take().unwrap().write_all(sent).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }
    let file = devices_file();
    let mut child = spawn(file.path());
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

/// Brings a prover so far that it has filled its memory and waits for the walk's nonce.
fn leave(child: &mut Child) {
    let asked = memory_challenge(ProofParams::new(64, 64, 2, 8).unwrap(), &[Space::Device]);
    let cache = Cache::for_challenge(&asked).map(Arc::new);
    let mut verifier = Verifier::new(asked, cache, Deadlines::UNLIMITED).unwrap();
    let (input, output) = (child.stdin.as_mut().unwrap(), child.stdout.as_mut().unwrap());
    input.write_all(&verifier.start()).unwrap();
    let mut piece = [0; 4_096];
    loop {
        let length = output.read(&mut piece).unwrap();
        assert!(length > 0, "it ended before it was left");
        match verifier.on_bytes(&piece[..length], Duration::ZERO).unwrap() {
            Step::DrawNonce(NonceUse::Echo | NonceUse::Start) => {
                let nonce = verifier.send_nonce([9; 32], Duration::ZERO).unwrap();
                input.write_all(&nonce).unwrap();
            }
            Step::DrawNonce(NonceUse::Walk(_)) => return,
            _ => {}
        }
    }
}

#[test]
fn a_prover_whose_validator_falls_silent_ends_and_the_next_one_passes() {
    let (node, file) = (node(), devices_file());
    let mut silent = prover_of(&node, file.path(), &["--patience", "1"]);
    leave(&mut silent);
    let mut next = prover_of(&node, file.path(), &[]);
    run(&mut next, challenge(ProofParams::new(64, 64, 2, 8).unwrap())).unwrap();
    assert!(next.wait().unwrap().success());
    assert_eq!(silent.wait().unwrap().code(), Some(1), "it ended by itself");
    let left: Vec<_> =
        std::fs::read_dir(node.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["prover"], "nothing but the program is left");
}

#[test]
fn a_prover_beside_another_one_says_that_the_node_is_busy() {
    let (node, file) = (node(), devices_file());
    let mut first = prover_of(&node, file.path(), &["--patience", "3600"]);
    leave(&mut first);
    let mut second = prover_of(&node, file.path(), &["--patience", "1"]);
    let busy = run(&mut second, challenge(ProofParams::new(64, 64, 2, 8).unwrap())).unwrap_err();
    assert_eq!(busy.code(), "proof_busy");
    assert_eq!(second.wait().unwrap().code(), Some(1));
    drop(first.stdin.take());
    assert_eq!(first.wait().unwrap().code(), Some(1));
    let mut third = prover_of(&node, file.path(), &[]);
    run(&mut third, challenge(ProofParams::new(64, 64, 2, 8).unwrap())).unwrap();
    assert!(third.wait().unwrap().success());
}

#[test]
fn claims_come_from_the_file_given() {
    let named: Vec<_> =
        devices().devices.iter().map(|d| (d.index, d.uuid.to_string(), d.facts.sms)).collect();
    assert_eq!(
        named,
        [
            (0, "GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5b".to_owned(), 132),
            (3, "GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5c".to_owned(), 132)
        ]
    );
}

#[test]
fn a_machine_without_a_gpu_claims_none_and_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let claims = Command::new(PROVER).arg("claims").env("HOME", home.path()).output().unwrap();
    let report = ClaimReport::parse(&claims.stdout).unwrap();
    assert!(report.devices.iter().all(|device| !device.class.is_simulated()), "nothing is played unasked");
    let said = String::from_utf8_lossy(&claims.stderr);
    assert_eq!(report.devices.is_empty(), said.contains("no GPU found"), "{said}");
}

#[test]
fn self_test_passes_here_and_help_states_what_is_needed() {
    let tested = output(&["--selftest"]);
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
    let help = String::from_utf8(output(&["--help"]).stdout).unwrap();
    assert!(help.contains("Ends with exit code 3 where there is no device"));
    assert_eq!(output(&["prov"]).status.code(), Some(2));
}

#[cfg(feature = "tampered")]
mod tampered {
    use super::*;

    const TAMPERED: &str = env!("CARGO_BIN_EXE_basilica-prover-tampered");

    #[test]
    fn skipped_work_is_caught_by_arithmetic() {
        let file = devices_file();
        let rejected =
            run(&mut spawn_in(Path::new(TAMPERED), file.path(), &[]), challenge(ProofParams::SIMULATED))
                .unwrap_err();
        assert_eq!(rejected.code(), "proof_opening_mismatch");
    }

    /// The program as one of its cheats.
    fn cheating(cheat: &str) -> Command {
        let mut command = Command::new(TAMPERED);
        command.args(["--as", cheat]);
        command
    }

    fn answers(mut command: Command, simulate: &Path, challenge: Challenge) -> Result<Outcome, Rejection> {
        let mut child = command
            .args(["prove", "--threads", "2", "--simulate"])
            .arg(simulate)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let outcome = run(&mut child, challenge);
        child.wait().unwrap();
        outcome
    }

    #[test]
    fn memory_that_is_not_there_is_caught_by_its_items() {
        let file = devices_file();
        let challenge =
            memory_challenge(ProofParams::new(64, 64, 2, 8).unwrap(), &[Space::Device, Space::Host]);
        let rejected = answers(cheating("inflate-vram"), file.path(), challenge.clone()).unwrap_err();
        assert_eq!(rejected.code(), "proof_walk_mismatch");
        answers(cheating("honest"), file.path(), challenge).unwrap();
    }

    #[test]
    fn a_replayed_run_answers_another_challenge() {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join(".config/basilica");
        std::fs::create_dir_all(&config).unwrap();
        std::fs::write(config.join("simulated-gpus.json"), DEVICES).unwrap();
        let replays = |challenge: Challenge| {
            let mut child = cheating("replay")
                .arg("prove")
                .env("HOME", home.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let outcome = run(&mut child, challenge);
            child.wait().unwrap();
            outcome
        };
        let first = challenge(ProofParams::new(64, 64, 2, 8).unwrap());
        replays(first.clone()).unwrap();
        let binding = Binding { validator_nonce: [70; 32], ..first.binding().clone() };
        let second = Challenge::new(binding, None, first.devices().to_vec()).unwrap();
        assert_eq!(replays(second).unwrap_err().code(), "proof_challenge_mismatch");
    }

    #[test]
    fn a_dearer_name_does_not_change_the_numbers() {
        let file = devices_file();
        let cheaper = DEVICES.replace("H100", "A100");
        std::fs::write(file.path(), cheaper).unwrap();
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join(".config/basilica");
        std::fs::create_dir_all(&config).unwrap();
        std::fs::copy(file.path(), config.join("simulated-gpus.json")).unwrap();
        let told = cheating("fake-model").arg("claims").env("HOME", home.path()).output().unwrap();
        let report = ClaimReport::parse(&told.stdout).unwrap();
        assert!(report.devices.iter().all(|d| d.class.as_str() == "simulated-H100" && d.facts.sms == 108));
    }

    #[test]
    fn the_shim_swaps_the_program_and_passes_everything_else_on() {
        let home = tempfile::tempdir().unwrap();
        let shim = Command::new(TAMPERED).arg("shim").output().unwrap().stdout;
        let sh = home.path().join("sh");
        std::fs::write(&sh, shim).unwrap();
        let through =
            |command: &str| Command::new("/bin/sh").arg(&sh).args(["-c", command]).output().unwrap();
        assert_eq!(through("echo passed on").stdout, b"passed on\n");
        let swapped = through("'/root/.cache/basilica/prover-00' 'prove' '--expect-hash' '00'");
        let said = String::from_utf8_lossy(&swapped.stderr).into_owned();
        assert!(said.contains("refused"), "the tampered prover ran and met no challenge: {said}");
    }
}

#[test]
fn a_stream_that_is_asked_for_on_its_pipes_verifies() {
    let binding = challenge(ProofParams::new(64, 64, 1, 1).unwrap()).binding().clone();
    let request = StreamRequest::new(&binding, 1_000_003).unwrap();
    let mut child =
        Command::new(PROVER).arg("stream").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&request.encode()).unwrap();
    let (mut verifier, mut output) = (StreamVerifier::new(&request), child.stdout.take().unwrap());
    let mut piece = vec![0; 10_000];
    loop {
        match output.read(&mut piece).unwrap() {
            0 => break,
            length => drop(verifier.on_bytes(&piece[..length]).unwrap()),
        }
    }
    assert_eq!(verifier.on_end(), Ok(()));
    assert!(child.wait().unwrap().success());
}
