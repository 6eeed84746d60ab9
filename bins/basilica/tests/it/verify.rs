//! Proofs and verdicts, checked again by anybody.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use basilica_ports::EntropyRng;
use basilica_proof::Transcript;
use basilica_system::OsEntropy;
use basilica_types::{Category, Digest, GpuUuid, NetUid};
use basilica_verification::verdict_log::{Day, DayRecord, DayTree, Inclusion, SignedDay};
use basilica_verification::{ClaimedGpu, Measured, Outcome, ProvenGpu, SignedVerdict, Verdict};
use basilica_wire::{Keypair, Signed};
use codec::Encode as _;
use insta::assert_snapshot;
use sha2::{Digest as _, Sha256};

const TRANSCRIPT: &str = include_str!("../../../../vectors/proof/transcript.json");
const VERDICT: &str = include_str!("../../../../vectors/verdict/v3.hex");
const FIRST_VERDICT: &str = include_str!("../../../../vectors/verdict/v1.hex");

/// The frozen transcript of an honest run.
fn transcript() -> Vec<u8> {
    let vector: serde_json::Value = serde_json::from_str(TRANSCRIPT).unwrap();
    hex::decode(vector["transcript"].as_str().unwrap()).unwrap()
}

/// The frozen verdict, which rests on another transcript.
fn verdict() -> Vec<u8> {
    signed(VERDICT)
}

fn signed(vector: &str) -> Vec<u8> {
    hex::decode(vector.lines().find_map(|line| line.strip_prefix("signed ")).unwrap()).unwrap()
}

struct Scene(tempfile::TempDir);

impl Scene {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Exit code, and both outputs with the directory's path left out.
    fn run(&self, arguments: &[&str], input: Option<&Path>) -> (Option<i32>, String) {
        let stdin = input.map_or_else(Stdio::null, |path| std::fs::File::open(path).unwrap().into());
        let mut command = Command::new(env!("CARGO_BIN_EXE_basilica"));
        let output = command.args(arguments).current_dir(self.0.path()).stdin(stdin).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }
}

#[test]
fn a_proof_that_holds_is_told_with_what_it_is_bound_to() {
    let scene = Scene::new();
    let path = scene.file("proof", &transcript());
    let (code, text) = scene.run(&["proof", "verify", "proof"], None);
    assert_eq!(code, Some(0), "{text}");
    assert_snapshot!(text);
    let (code, json) = scene.run(&["proof", "verify", "-", "--json"], Some(&path));
    assert_eq!(code, Some(0), "{json}");
    assert_snapshot!(json);
}

#[test]
fn a_proof_that_does_not_hold_has_its_own_exit_code() {
    let scene = Scene::new();
    let mut bytes = transcript();
    // The byte before the signature's frame: a sibling of the last opening.
    let sibling = bytes.len() - 69 - 1;
    bytes[sibling] ^= 1;
    scene.file("proof", &bytes);
    let (code, text) = scene.run(&["proof", "verify", "proof"], None);
    assert_eq!(code, Some(5), "{text}");
    assert_snapshot!(text.lines().next().unwrap());
    let (code, json) = scene.run(&["proof", "verify", "proof", "--json"], None);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (code, &json["holds"], &json["reason"]),
        (Some(5), &false.into(), &"proof_merkle_path".into())
    );
}

#[test]
fn files_that_are_neither_are_refused_by_name() {
    let scene = Scene::new();
    scene.file("text", b"hello");
    scene.file("empty", b"");
    scene.file("proof", &transcript());
    scene.file("verdict", &verdict());
    let mut said = Vec::new();
    for (what, file) in [
        ("proof", "text"),
        ("proof", "empty"),
        ("proof", "verdict"),
        ("proof", "nosuch"),
        ("proof", "."),
        ("verdict", "proof"),
        ("verdict", "empty"),
    ] {
        let (code, text) = scene.run(&[what, "verify", file], None);
        assert_eq!(code, Some(1), "{what} {file}: {text}");
        said.push(format!("{what} verify {file}\n  {text}"));
    }
    assert_snapshot!(said.concat());
}

#[test]
fn a_forged_verdict_does_not_hold() {
    let scene = Scene::new();
    let mut forged = verdict();
    *forged.last_mut().unwrap() ^= 1;
    scene.file("verdict", &forged);
    let (code, text) = scene.run(&["verdict", "verify", "verdict"], None);
    assert_eq!(code, Some(5), "{text}");
    assert_snapshot!(text);
    let (code, json) = scene.run(&["verdict", "verify", "verdict", "--json"], None);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["holds"], &json["signature"]), (Some(5), &false.into(), &"invalid".into()));
}

#[test]
fn a_verdict_of_somebody_else_does_not_hold() {
    let scene = Scene::new();
    scene.file("verdict", &verdict());
    let (signer, other) = (
        "5CcyqxXnJucaCnQQvvUg5EPzj1uoNAxACZvzArHw5aVDvgNH",
        "5CfCr47V5Dte6bwxNBE8K9oNnQd9fiay6aDEEkgYtFv7w4Fq",
    );
    let ask = |whose| scene.run(&["verdict", "verify", "verdict", "--validator", whose], None);
    assert_eq!(ask(signer).0, Some(0));
    let (code, text) = ask(other);
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains(&format!("{signer} signed it, not {other}")), "{text}");
    let asked = ["verdict", "verify", "verdict", "--validator", other, "--json"];
    let json: serde_json::Value = serde_json::from_str(&scene.run(&asked, None).1).unwrap();
    assert_eq!((&json["holds"], &json["signature"]), (&false.into(), &"valid".into()));
}

#[test]
fn an_endless_file_is_read_up_to_its_bound() {
    let (code, text) = Scene::new().run(&["verdict", "verify", "/dev/zero"], None);
    assert_eq!(code, Some(1));
    assert!(text.contains("more than 1048576 bytes"), "{text}");
}

#[test]
fn a_verdict_is_told_and_compared_with_its_transcript() {
    let scene = Scene::new();
    scene.file("verdict", &verdict());
    scene.file("proof", &transcript());
    let (code, text) = scene.run(&["verdict", "verify", "verdict"], None);
    assert_eq!(code, Some(0), "{text}");
    assert_snapshot!(text);
    let (code, text) = scene.run(&["verdict", "verify", "verdict", "--transcript", "proof"], None);
    assert_eq!(code, Some(5), "{text}");
    assert_snapshot!(text.lines().next().unwrap());
    let (code, json) = scene.run(&["verdict", "verify", "verdict", "--transcript", "proof", "--json"], None);
    assert_eq!(code, Some(5), "{json}");
    assert_snapshot!(json);
}

#[test]
fn a_verdict_of_version_1_is_told_without_measurements() {
    let scene = Scene::new();
    scene.file("verdict", &signed(FIRST_VERDICT));
    let (code, text) = scene.run(&["verdict", "verify", "verdict"], None);
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("bytes/s"), "{text}");
    let (_, json) = scene.run(&["verdict", "verify", "verdict", "--json"], None);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let nothing = serde_json::json!({ "stages": null, "memory": [], "network": null });
    assert_eq!((&json["holds"], &json["measured"]), (&true.into(), &nothing));
}

#[test]
fn a_verdict_that_passes_fewer_gpus_than_were_claimed_says_how_many_count() {
    let mut short = Signed::<Verdict>::decode_verified(&verdict()).unwrap().content().clone();
    let mut second = short.evidence.claims[0].clone();
    (second.index, second.uuid) = (1, GpuUuid::from_bytes([9; 16]));
    short.evidence.claims.push(second);
    short.outcome = Outcome::Passed;
    let signed = Signed::new(short, &Keypair::from_seed(&[1; 32]).unwrap(), EntropyRng(&OsEntropy));
    let scene = Scene::new();
    scene.file("verdict", &signed.encode());
    let (code, text) = scene.run(&["verdict", "verify", "verdict"], None);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("count unproven: 2 gpus were claimed and 1 count"), "{text}");
    let (_, json) = scene.run(&["verdict", "verify", "verdict", "--json"], None);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["count_unproven"], serde_json::json!({ "claimed": 2, "paid": 1 }));
}

#[test]
fn a_verdict_by_a_table_of_its_validators_own_is_compared_with_that_table() {
    let transcript = transcript();
    let proof = Transcript::decode(&transcript).unwrap();
    let (binding, claim) = (proof.challenge().binding(), &proof.challenge().devices()[0].claim);
    let mut verdict = Signed::<Verdict>::decode_verified(&verdict()).unwrap().content().clone();
    (verdict.node, verdict.outcome) = (binding.node, Outcome::Passed);
    let claims = ClaimedGpu { index: claim.index, uuid: claim.uuid, class: claim.class.clone() };
    verdict.evidence.claims = vec![claims];
    verdict.gpus = vec![ProvenGpu { uuid: claim.uuid, category: Category::Other }];
    verdict.evidence.measured = Measured::default();
    verdict.evidence.transcript = Some(proof.hash());
    verdict.evidence.host_key = Some(Digest::from_bytes(Sha256::digest(&binding.host_key).into()));
    let keypair = Keypair::from_seed(&[1; 32]).unwrap();
    verdict.validator = keypair.hotkey();
    let signed = Signed::new(verdict, &keypair, EntropyRng(&OsEntropy));
    let scene = Scene::new();
    scene.file("verdict", &signed.encode());
    scene.file("proof", &transcript);
    let page = |category: &str| {
        let row = serde_json::json!({ "name": "simulated-H100", "category": category, "min_vram_mib": 80_000,
            "max_vram_mib": 90_000, "class": "simulated", "configured": true });
        serde_json::to_vec(&serde_json::json!({ "categories": [], "cards": [row] })).unwrap()
    };
    scene.file("own", &page("OTHER"));
    scene.file("strange", &page("V100"));
    let asked = ["verdict", "verify", "verdict", "--transcript", "proof"];
    let (code, text) = scene.run(&asked, None);
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("as OTHER, and its class simulated-H100 is H100 in the table of cards"), "{text}");
    let with = |file| scene.run(&[&asked[..], &["--categories", file]].concat(), None);
    assert_eq!(with("own").0, Some(0), "{}", with("own").1);
    let (code, text) = with("strange");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("strange is no page /gpu-categories"), "{text}");
}

#[test]
fn a_verdict_is_shown_to_be_in_its_validators_log_or_not() {
    let scene = Scene::new();
    let keypair = Keypair::from_seed(&[3; 32]).unwrap();
    let content = |tries| {
        let mut content = SignedVerdict::decode_verified(&verdict()).unwrap().content().clone();
        content.validator = keypair.hotkey();
        content.evidence.tries = tries;
        content
    };
    let rng = || EntropyRng(&OsEntropy);
    let signed = Signed::new(content(1), &keypair, rng());
    scene.file("verdict", &signed.encode());
    let leaves = [Signed::new(content(2), &keypair, rng()).digest(), signed.digest()];
    let mut tree = DayTree::default();
    for (place, leaf) in (1..).zip(&leaves) {
        tree.push(place, leaf);
    }
    let record = || DayRecord::new(NetUid(39), Day(20_779), &tree, None);
    let shown = |by: &Keypair, leaf| {
        let day = SignedDay::new(record(), by, rng());
        Inclusion::new(day, &tree.blocks(), 0, &leaves, leaf).unwrap().encode()
    };
    scene.file("inclusion", &shown(&keypair, 1));
    let arguments = ["verdict", "verify", "verdict", "--inclusion", "inclusion"];
    let (code, text) = scene.run(&arguments, None);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("log of 2026-11-22: number 2 of 2 verdicts"), "{text}");
    let (_, json) = scene.run(&[&arguments[..], &["--json"]].concat(), None);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["holds"], &json["log"]["index"]), (&true.into(), &1.into()), "{json}");

    let other = Keypair::from_seed(&[4; 32]).unwrap();
    for (bytes, words) in [(shown(&keypair, 0), "does not lead"), (shown(&other, 1), "the log is that of")] {
        scene.file("inclusion", &bytes);
        let (code, text) = scene.run(&arguments, None);
        assert_eq!(code, Some(5), "{text}");
        assert!(text.contains("NOT shown") && text.contains(words), "{text}");
    }
    scene.file("inclusion", b"nonsense");
    let (code, text) = scene.run(&arguments, None);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("shows no inclusion"), "{text}");
}
