//! The public wallets and signature libraries judge ours, and ours theirs.
#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use basilica_ports::EntropyRng;
use basilica_system::OsEntropy;
use basilica_wallet::{
    KeyName, Password, PasswordError, PasswordSource, Protection, Secret, Unattended, Wallets, sdk_variable,
};
use basilica_wire::{Keypair, Signature};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// Substrate's development phrase: nothing of value may ever stand under it.
const PHRASE: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
const PASSWORD: &str = "correct horse battery staple";
const MESSAGE: &str = "who signs this?";

/// Runs the peer with the Python of this variable.
fn ask(variable: &str, question: &Value) -> Value {
    let python = std::env::var_os(variable).unwrap_or_else(|| {
        panic!("{variable} names a Python with the public SDK; `cargo xtask test` makes one")
    });
    let mut peer = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/wallet_peer.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the Python runs");
    peer.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = peer.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The former SDK greets before it answers.
    let answer = output.stdout.trim_ascii().rsplit(|byte| *byte == b'\n').next().unwrap();
    serde_json::from_slice(answer).expect("the peer's last line is JSON")
}

struct Given;

impl PasswordSource for Given {
    fn password(&self, _: &Path) -> Result<Option<Password>, PasswordError> {
        Password::new(Zeroizing::new(PASSWORD.to_owned())).map(Some)
    }
}

/// Two wallets of ours: one encrypted, one plain, each with the hotkey `default`.
fn our_wallets(root: &Path) -> (Wallets, [(&'static str, Secret, Secret); 2]) {
    let wallets = Wallets::at(root);
    let uri = |uri| Secret::from_uri(uri, &OsEntropy).unwrap();
    let made = [
        ("sealed", Secret::from_phrase(PHRASE).unwrap(), uri("//Sealed/hot")),
        ("open", uri("//Open"), uri("0x0909090909090909090909090909090909090909090909090909090909090909")),
    ];
    let password = Password::new(Zeroizing::new(PASSWORD.to_owned())).unwrap();
    for (name, coldkey, hotkey) in &made {
        let wallet = name.parse().unwrap();
        let protection =
            if *name == "sealed" { Protection::Encrypted(&password, &OsEntropy) } else { Protection::Plain };
        wallets.add(&wallet, &KeyName::Coldkey, coldkey, protection).unwrap();
        let key = KeyName::Hotkey("default".parse().unwrap());
        wallets.add(&wallet, &key, hotkey, Protection::Plain).unwrap();
    }
    (wallets, made)
}

fn assert_opened(opened: &Value, made: &[(&str, Secret, Secret)]) {
    assert_eq!(opened.as_object().unwrap().len(), made.len());
    for (name, coldkey, hotkey) in made {
        let coldkey = coldkey.keypair().hotkey().to_string();
        assert_eq!(opened[name]["coldkey"], coldkey, "{name}");
        assert_eq!(opened[name]["coldkeypub"], coldkey, "{name}");
        assert_eq!(opened[name]["hotkey"], hotkey.keypair().hotkey().to_string(), "{name}");
    }
}

#[test]
fn the_sdk_opens_our_wallets_and_we_open_all_its_encrypted_forms() {
    let directory = tempfile::tempdir().unwrap();
    let (wallets, made) = our_wallets(&directory.path().join("wallets"));
    let theirs = directory.path().join("theirs");
    let variable = sdk_variable(&theirs.join("w/hotkeys/nacl"));
    let answer = ask(
        "BASILICA_SDK_PYTHON",
        &json!({
            "kind": "sdk", "path": wallets.root(), "password": PASSWORD, "message": MESSAGE, "mnemonic": PHRASE,
            "variable": variable,
        }),
    );
    assert_opened(&answer["opened"], &made);
    for (name, coldkey, _) in &made {
        let signature: Signature = answer["opened"][name]["signature"].as_str().unwrap().parse().unwrap();
        assert!(signature.verifies(&coldkey.keypair().hotkey(), MESSAGE.as_bytes()), "{name}");
    }
    let hotkeys = theirs.join("w/hotkeys");
    fs::create_dir_all(&hotkeys).unwrap();
    let wanted = Secret::from_phrase(PHRASE).unwrap().keypair().hotkey();
    for (form, data) in answer["forms"].as_object().unwrap() {
        let path = hotkeys.join(form);
        fs::write(&path, hex::decode(data.as_str().unwrap()).unwrap()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let secret = Wallets::read_keyfile(&path, &Given).unwrap();
        assert_eq!(secret.keypair().hotkey(), wanted, "{form}");
        assert_eq!(secret.phrase(), Some(PHRASE), "{form}");
    }
    assert_eq!(answer["forms"].as_object().unwrap().len(), 3);
    let value = answer["variable"].as_str().unwrap().to_owned();
    assert!(!value.contains(PASSWORD));
    let look = move |name: &str| (name == variable).then(|| OsString::from(&value));
    let opened = Wallets::at(&theirs).hotkey("w", "nacl", &Unattended::new(None, look)).unwrap();
    assert_eq!(opened.hotkey(), wanted, "with the SDK's own variable");
}

#[test]
fn the_former_sdk_opens_our_wallets() {
    let directory = tempfile::tempdir().unwrap();
    let (wallets, made) = our_wallets(directory.path());
    let question = json!({ "kind": "sdk10", "path": wallets.root(), "password": PASSWORD });
    let answer = ask("BASILICA_SDK10_PYTHON", &question);
    assert_opened(&answer["opened"], &made);
}

#[test]
fn signatures_hold_in_both_directions_and_altered_ones_in_neither() {
    let messages: Vec<Vec<u8>> =
        (0..40).map(|length: u8| (0..length).map(|byte| byte.wrapping_mul(7)).collect()).collect();
    let seed = [0x2a; 32];
    let keys = [
        Keypair::from_seed(&seed).unwrap(),
        Keypair::from_seed(&seed).unwrap().derive_hard("Alice").derive_soft("7", EntropyRng(&OsEntropy)),
    ];
    let mut signatures = Vec::new();
    for key in &keys {
        for message in &messages {
            let signature = key.sign(message, EntropyRng(&OsEntropy));
            let mut altered = *signature.as_bytes();
            altered[message.len()] ^= 1;
            for bytes in [*signature.as_bytes(), altered] {
                let row = [key.hotkey().as_bytes().as_slice(), message, &bytes].map(hex::encode);
                signatures.push(row);
            }
        }
    }
    let question = json!({
        "kind": "sr25519", "seed": hex::encode(seed), "signatures": signatures,
        "messages": messages.iter().map(hex::encode).collect::<Vec<_>>(),
    });
    let answer = ask("BASILICA_SDK10_PYTHON", &question);
    let verified: Vec<bool> =
        answer["verified"].as_array().unwrap().iter().map(|v| v.as_bool().unwrap()).collect();
    let wanted: Vec<bool> = (0..signatures.len()).map(|index| index % 2 == 0).collect();
    assert_eq!(verified, wanted, "ours, judged by py-sr25519-bindings");
    assert_eq!(answer["public"], hex::encode(keys[0].hotkey().as_bytes()));
    for (message, signed) in messages.iter().zip(answer["signed"].as_array().unwrap()) {
        let signature: Signature = signed.as_str().unwrap().parse().unwrap();
        assert!(signature.verifies(&keys[0].hotkey(), message), "theirs, judged by us");
        assert!(!signature.verifies(&keys[1].hotkey(), message));
    }
}
