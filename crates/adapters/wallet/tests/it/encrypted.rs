//! Encrypted keyfiles: the frozen forms, what is written, and what hostile files are answered with.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use basilica_system::OsEntropy;
use basilica_wallet::{
    Encryption, KeyName, KeyfileError, NoPassword, Password, PasswordError, PasswordSource, Protection,
    Secret, Unattended, WalletError, Wallets,
};
use proptest::prelude::*;
use serde_json::Value;
use zeroize::Zeroizing;

use super::Fixture;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../../vectors/wallet/keyfiles.json")).unwrap()
}

fn form(name: &str) -> Vec<u8> {
    let vectors = vectors();
    let forms = vectors["forms"].as_array().unwrap();
    let form = forms.iter().find(|form| form["form"] == name).unwrap();
    hex::decode(form["hex"].as_str().unwrap()).unwrap()
}

fn password(text: &str) -> Password {
    Password::new(Zeroizing::new(text.to_owned())).unwrap()
}

/// Always answers with one text.
struct Given(String);

impl PasswordSource for Given {
    fn password(&self, _: &Path) -> Result<Option<Password>, PasswordError> {
        Password::new(Zeroizing::new(self.0.clone())).map(Some)
    }
}

fn with_bytes(bytes: &[u8]) -> Fixture {
    let fixture = Fixture::with_wallet();
    fs::write(fixture.path("w/hotkeys/hk"), bytes).unwrap();
    fixture
}

fn fault(fixture: &Fixture, passwords: &dyn PasswordSource) -> KeyfileError {
    match fixture.wallets.hotkey("w", "hk", passwords) {
        Err(WalletError::Keyfile { source, .. }) => source,
        other => panic!("expected a keyfile error, got {other:?}"),
    }
}

fn opens(name: &str) {
    let vectors = vectors();
    let given = Given(vectors["password"].as_str().unwrap().to_owned());
    let key = with_bytes(&form(name)).wallets.hotkey("w", "hk", &given).unwrap();
    assert_eq!(key.hotkey().to_string(), vectors["address"].as_str().unwrap());
}

#[test]
fn the_plain_form_opens() {
    opens("plain");
}

#[test]
fn the_nacl_form_opens() {
    opens("nacl");
}

#[test]
fn the_ansible_vault_form_opens() {
    opens("ansible-vault");
}

#[test]
fn the_fernet_form_opens() {
    opens("fernet");
}

#[test]
fn without_a_password_the_form_and_the_variable_are_named() {
    for (name, encryption) in [
        ("nacl", Encryption::Nacl),
        ("ansible-vault", Encryption::AnsibleVault),
        ("fernet", Encryption::Fernet),
    ] {
        let fixture = with_bytes(&form(name));
        let fault = fault(&fixture, &NoPassword);
        assert!(
            matches!(fault, KeyfileError::NoPassword { encryption: found, .. } if found == encryption),
            "{fault}"
        );
        let variable = basilica_wallet::sdk_variable(&fixture.path("w/hotkeys/hk"));
        assert!(fault.to_string().contains(&variable), "{fault}");
    }
}

#[test]
fn a_wrong_password_is_not_a_damaged_file() {
    let given = Given("hunter2".to_owned());
    let fixture = with_bytes(&form("ansible-vault"));
    let wrong = fault(&fixture, &given);
    assert!(matches!(wrong, KeyfileError::WrongPassword(Encryption::AnsibleVault)), "{wrong}");
    assert!(!format!("{wrong:?} {wrong}").contains("hunter2"));
    let whole = form("ansible-vault");
    for damaged in [&whole[..40], &whole[..whole.len() - 3], b"$ANSIBLE_VAULT;1.2;AES256;label\n3061"] {
        let fault = fault(&with_bytes(damaged), &given);
        assert!(matches!(fault, KeyfileError::Damaged { .. }), "{fault}");
    }
    for (name, cut) in [("nacl", 44), ("fernet", 60)] {
        let fault = fault(&with_bytes(&form(name)[..cut]), &given);
        assert!(matches!(fault, KeyfileError::Damaged { .. }), "{name}: {fault}");
    }
}

#[test]
fn a_wrong_password_for_a_nacl_keyfile_is_told() {
    let wrong = fault(&with_bytes(&form("nacl")), &Given("hunter2".to_owned()));
    assert!(matches!(wrong, KeyfileError::WrongPassword(Encryption::Nacl)), "{wrong}");
}

#[test]
fn what_is_written_encrypted_hides_the_key_and_opens_with_the_password_alone() {
    let fixture = Fixture::new();
    let phrase = vectors()["mnemonic"].as_str().unwrap().to_owned();
    let secret = Secret::from_phrase(&phrase).unwrap();
    let (wallet, key) = ("w".parse().unwrap(), KeyName::Coldkey);
    let chosen = password("correct horse");
    fixture.wallets.add(&wallet, &key, &secret, Protection::Encrypted(&chosen, &OsEntropy)).unwrap();
    let path = fixture.path("w/coldkey");
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.starts_with(b"$NACL"));
    assert!(!bytes.windows(6).any(|window| window == b"bottom"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let back = Wallets::read_keyfile(&path, &Given("correct horse".to_owned())).unwrap();
    assert_eq!(back.phrase(), Some(phrase.as_str()));
}

#[test]
fn what_is_written_plain_has_the_fields_that_the_sdk_writes() {
    let fixture = Fixture::new();
    let secret = Secret::from_phrase(vectors()["mnemonic"].as_str().unwrap()).unwrap();
    let key = KeyName::Hotkey("hk".parse().unwrap());
    fixture.wallets.add(&"w".parse().unwrap(), &key, &secret, Protection::Plain).unwrap();
    let ours: Value = serde_json::from_slice(&fs::read(fixture.path("w/hotkeys/hk")).unwrap()).unwrap();
    let theirs: Value = serde_json::from_slice(&form("plain")).unwrap();
    assert_eq!(ours, theirs);
}

#[test]
fn a_server_takes_the_password_from_its_file_or_from_the_sdk_s_variable() {
    let text = vectors()["password"].as_str().unwrap().to_owned();
    let fixture = with_bytes(&form("ansible-vault"));
    let file = fixture.path("password");
    fs::write(&file, format!("{text}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let from_file = Unattended::new(Some(file.clone()), |_| None);
    assert!(fixture.wallets.hotkey("w", "hk", &from_file).is_ok());

    let variable = basilica_wallet::sdk_variable(&fixture.path("w/hotkeys/hk"));
    let masked: Vec<u8> = text.bytes().zip(variable.bytes().cycle()).map(|(a, b)| a ^ b).collect();
    let value = base64(&masked);
    let look = move |name: &str| (name == variable).then(|| OsString::from(&value));
    assert!(fixture.wallets.hotkey("w", "hk", &Unattended::new(None, look)).is_ok());

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let open = fault(&fixture, &from_file);
    let KeyfileError::Password(PasswordError::File { source, .. }) = open else { panic!("{open}") };
    assert!(matches!(*source, KeyfileError::TooOpen { mode: 0o644, .. }), "{source}");
}

/// As Python's `base64.b64encode`, by its definition.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let digit = |at: usize| {
            let index = usize::try_from(bits >> (18 - 6 * at) & 63).unwrap();
            if at <= chunk.len() { char::from(DIGITS[index]) } else { '=' }
        };
        (0..4).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// A server has a wallet directory in which the coldkey's secret is not, or cannot be read.
#[test]
fn reading_a_hotkey_needs_no_coldkey_and_touches_none() {
    let fixture = Fixture::with_wallet();
    assert!(!fixture.path("w/coldkey").exists());
    fs::remove_file(fixture.path("w/coldkeypub.txt")).unwrap();
    assert!(fixture.read().is_ok());
    // Reading a pipe would wait for a writer for ever.
    let made = std::process::Command::new("mkfifo").arg(fixture.path("w/coldkey")).status().unwrap();
    assert!(made.success());
    assert!(fixture.read().is_ok());
}

/// Names that a keyfile has, and one that it has not.
fn field() -> impl Strategy<Value = String> {
    let names = [
        "publicKey",
        "accountId",
        "ss58Address",
        "privateKey",
        "secretSeed",
        "secretPhrase",
        "cryptoType",
        "x",
    ];
    prop::sample::select(names.to_vec()).prop_map(str::to_owned)
}

/// Values right for one field or another, and values right for none.
fn value() -> impl Strategy<Value = String> {
    let key = Secret::from_seed_hex(&"11".repeat(32)).unwrap().into_keypair();
    let quoted = |text: String| format!("\"{text}\"");
    let hex = |bytes: &[u8]| quoted(format!("0x{}", hex::encode(bytes)));
    prop::sample::select(vec![
        hex(key.hotkey().as_bytes()),
        hex(&[0x11; 32]),
        hex(&*key.to_secret_bytes()),
        hex(&[0xff; 64]),
        hex(&[]),
        quoted(key.hotkey().to_string()),
        quoted(vectors()["mnemonic"].as_str().unwrap().to_owned()),
        quoted("hunter2".to_owned()),
        "1".to_owned(),
        "0".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "1e400".to_owned(),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_files_are_answered_with_typed_errors(
        mark in prop::sample::select(vec!["", "{", "$NACL", "$ANSIBLE_VAULT;1.1;AES256\n", "gAAAA", "gAAAAAAA"]),
        body in prop::collection::vec(any::<u8>(), 0..38),
    ) {
        let file = [mark.as_bytes(), &body].concat();
        let fault = fault(&with_bytes(&file), &Given("x".to_owned()));
        let typed = matches!(fault, KeyfileError::Json { .. } | KeyfileError::Damaged { .. });
        prop_assert!(typed, "{fault:?}");
    }

    #[test]
    fn a_keyfile_of_any_fields_is_read_as_the_key_that_it_states_or_refused(
        fields in prop::collection::vec((field(), value()), 0..6),
    ) {
        let body: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let text = format!("{{{}}}", body.join(","));
        let fixture = with_bytes(text.as_bytes());
        match fixture.wallets.hotkey("w", "hk", &NoPassword) {
            Ok(key) => {
                let digits = hex::encode(key.hotkey().as_bytes());
                for (name, value) in &fields {
                    prop_assert!(name != "publicKey" || value == "null" || value.contains(&digits), "{text}");
                }
            }
            Err(error) => prop_assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}"),
        }
    }
}
