//! Wallet directories on a real file system.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

mod encrypted;
mod inspect;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use basilica_ports::HotkeySigner as _;
use basilica_system::OsEntropy;
use basilica_types::Coldkey;
use basilica_wallet::{KeyfileError, NoPassword, Secret, WalletError, WalletSigner, Wallets};
use basilica_wire::Keypair;
use tempfile::TempDir;

/// A secret seed that is nobody's.
const SEED: [u8; 32] = [0x11; 32];

fn keypair() -> Keypair {
    Keypair::from_seed(&SEED).unwrap()
}

fn coldkey() -> Coldkey {
    Coldkey::from_bytes([7; 32])
}

struct Fixture {
    _dir: TempDir,
    wallets: Wallets,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { wallets: Wallets::at(dir.path().join("wallets")), _dir: dir }
    }

    fn with_wallet() -> Self {
        let fixture = Self::new();
        fixture.wallets.create("w", "hk", &keypair().into(), coldkey()).unwrap();
        fixture
    }

    fn path(&self, below: &str) -> PathBuf {
        self.wallets.root().join(below)
    }

    /// A hotkey file with this content and mode 0600.
    fn with_file(text: &str) -> Self {
        let fixture = Self::with_wallet();
        fs::write(fixture.path("w/hotkeys/hk"), text).unwrap();
        fixture
    }

    fn read(&self) -> Result<Keypair, WalletError> {
        self.wallets.hotkey("w", "hk", &NoPassword)
    }

    fn fault(&self) -> KeyfileError {
        match self.read() {
            Err(WalletError::Keyfile { source, .. }) => source,
            other => panic!("expected a keyfile error, got {other:?}"),
        }
    }
}

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn public_fields() -> String {
    let key = keypair().hotkey();
    format!(r#""publicKey":"0x{}","ss58Address":"{key}""#, hex::encode(key.as_bytes()))
}

#[test]
fn a_written_wallet_reads_back_and_is_private() {
    let fixture = Fixture::with_wallet();
    assert_eq!(fixture.read().unwrap().hotkey(), keypair().hotkey());
    assert_eq!(fixture.wallets.coldkey("w").unwrap(), coldkey());
    for directory in ["", "w", "w/hotkeys"] {
        assert_eq!(mode(fixture.path(directory)), 0o700, "{directory}");
    }
    for file in ["w/coldkeypub.txt", "w/hotkeys/hk", "w/hotkeys/hkpub.txt"] {
        assert_eq!(mode(fixture.path(file)), 0o600, "{file}");
    }
    let names: Vec<_> =
        fs::read_dir(fixture.path("w/hotkeys")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "no temporary file stays behind: {names:?}");
}

#[test]
fn a_keyfile_is_never_overwritten() {
    let fixture = Fixture::with_wallet();
    let before = fs::read(fixture.path("w/hotkeys/hk")).unwrap();
    let other = Keypair::from_seed(&[9; 32]).unwrap();
    let again = fixture.wallets.create("w", "hk", &other.into(), coldkey());
    assert!(matches!(again, Err(WalletError::Exists { .. })), "{again:?}");
    assert_eq!(fs::read(fixture.path("w/hotkeys/hk")).unwrap(), before);
}

#[test]
fn a_wallet_gains_hotkeys_of_its_own_coldkey_only() {
    let fixture = Fixture::with_wallet();
    let other = Keypair::from_seed(&[9; 32]).unwrap();
    let key = other.hotkey();
    let other = Secret::from(other);
    fixture.wallets.create("w", "second", &other, coldkey()).unwrap();
    assert_eq!(fixture.wallets.hotkey("w", "second", &NoPassword).unwrap().hotkey(), key);
    let stranger = fixture.wallets.create("w", "third", &other, Coldkey::from_bytes([8; 32]));
    assert!(matches!(stranger, Err(WalletError::OtherColdkey { .. })), "{stranger:?}");
    assert!(!fixture.path("w/hotkeys/third").exists());
}

#[test]
fn an_interrupted_creation_can_be_repeated() {
    let fixture = Fixture::with_wallet();
    fs::remove_file(fixture.path("w/hotkeys/hk")).unwrap();
    fixture.wallets.create("w", "hk", &keypair().into(), coldkey()).unwrap();
    assert_eq!(fixture.read().unwrap().hotkey(), keypair().hotkey());
}

#[test]
fn a_missing_hotkey_says_where_it_should_be_and_how_to_make_it() {
    let fixture = Fixture::new();
    let error = fixture.read().unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, WalletError::Missing { .. }));
    assert!(text.contains(&fixture.path("w/hotkeys/hk").display().to_string()), "{text}");
    assert!(text.contains("basilica wallet new hotkey --wallet-name w --hotkey hk"), "{text}");
}

#[test]
fn a_keyfile_that_others_can_read_is_refused() {
    for open in [0o644, 0o640, 0o604, 0o622, 0o601] {
        let fixture = Fixture::with_wallet();
        let path = fixture.path("w/hotkeys/hk");
        fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
        let text = fixture.fault().to_string();
        let path = path.display();
        assert_eq!(
            text,
            format!("Permissions {open:04o} for '{path}' are too open; run: chmod 600 '{path}'")
        );
    }
    let fixture = Fixture::with_wallet();
    fs::set_permissions(fixture.path("w/hotkeys/hk"), fs::Permissions::from_mode(0o400)).unwrap();
    assert!(fixture.read().is_ok());
}

#[test]
fn the_permissions_checked_are_those_of_the_file_behind_a_link() {
    let fixture = Fixture::with_wallet();
    let target = fixture.path("open-secret");
    fs::copy(fixture.path("w/hotkeys/hk"), &target).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(fixture.path("w/hotkeys/hk")).unwrap();
    symlink(&target, fixture.path("w/hotkeys/hk")).unwrap();
    assert!(matches!(fixture.fault(), KeyfileError::TooOpen { mode: 0o644, .. }));
}

#[test]
fn names_that_leave_the_directory_are_refused_before_any_file_is_touched() {
    let fixture = Fixture::with_wallet();
    for (wallet, hotkey) in
        [("..", "hk"), ("w", "../coldkey"), ("w/../w", "hk"), ("", "hk"), ("w", "/etc/passwd")]
    {
        assert!(
            matches!(fixture.wallets.hotkey(wallet, hotkey, &NoPassword), Err(WalletError::Name(_))),
            "{wallet} {hotkey}"
        );
        let written = fixture.wallets.create(wallet, hotkey, &keypair().into(), coldkey());
        assert!(matches!(written, Err(WalletError::Name(_))), "{wallet} {hotkey}");
    }
}

#[test]
fn a_seed_alone_a_private_key_alone_and_both_give_the_same_key() {
    let seed = format!(r#""secretSeed":"0x{}""#, hex::encode(SEED));
    let private = format!(r#""privateKey":"0x{}""#, hex::encode(keypair().to_secret_bytes().as_slice()));
    for text in [
        format!("{{{seed}}}"),
        format!("{{{private}}}"),
        format!("{{{seed},{private}}}"),
        format!(r#"{{{seed},{},"secretPhrase":null,"cryptoType":1}}"#, public_fields()),
        format!(r#"{{"secretPhrase":"a b c",{},{private}}}"#, public_fields()),
    ] {
        assert_eq!(Fixture::with_file(&text).read().unwrap().hotkey(), keypair().hotkey(), "{text}");
    }
}

/// `privateKey` of `//Alice` as the Python SDK 11.3.0 writes it, and the same secret in the form of polkadot-js.
const ALICE_PRIVATE: [&str; 2] = [
    "33a6f3093f158a7109f679410bef1a0c54168145e0cecb4df006c1c2fffb1f09\
     925a225d97aa00682d6a59b95b18780c10d7032336e88f3442b42361f4a66011",
    "98319d4ff8a9508c4bb0cf0b5a78d760a0b2082c02775e6e82370816fedfff48\
     925a225d97aa00682d6a59b95b18780c10d7032336e88f3442b42361f4a66011",
];

#[test]
fn both_forms_of_a_private_key_are_understood() {
    let alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    for private in ALICE_PRIVATE {
        let text = format!(r#"{{"privateKey":"0x{private}","ss58Address":"{alice}","cryptoType":1}}"#);
        assert_eq!(Fixture::with_file(&text).read().unwrap().hotkey().to_string(), alice);
    }
}

#[test]
fn a_keyfile_that_contradicts_itself_is_refused() {
    let other = Keypair::from_seed(&[9; 32]).unwrap();
    let seed = format!(r#""secretSeed":"0x{}""#, hex::encode(SEED));
    let other_private = hex::encode(other.to_secret_bytes().as_slice());
    let other_public = hex::encode(other.hotkey().as_bytes());
    for (text, field) in [
        (format!(r#"{{{seed},"privateKey":"0x{other_private}"}}"#), "secretSeed"),
        (format!(r#"{{{seed},"publicKey":"0x{other_public}"}}"#), "publicKey"),
        (format!(r#"{{{seed},"ss58Address":"{}"}}"#, other.hotkey()), "ss58Address"),
        (format!(r#"{{{seed},{},"accountId":"0x{other_public}"}}"#, public_fields()), "accountId"),
    ] {
        let fault = Fixture::with_file(&text).fault();
        assert!(matches!(fault, KeyfileError::Mismatch { field: found } if found == field), "{fault}");
    }
}

#[test]
fn broken_keyfiles_are_refused_without_quoting_them() {
    let cases = [
        "",
        "{",
        "[]",
        "null",
        r#"{"secretSeed":5}"#,
        r#"{"secretSeed":"0x1234"}"#,
        r#"{"privateKey":"hunter2hunter2"}"#,
        r#"{"secretPhrase":"hunter2 hunter2"}"#,
        r#"{"cryptoType":2,"secretSeed":"0x1111111111111111111111111111111111111111111111111111111111111111"}"#,
    ];
    for text in cases {
        let fixture = Fixture::with_file(text);
        let mut shown = format!("{:?}", fixture.read());
        let fault = fixture.fault();
        shown.push_str(&fault.to_string());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    assert!(matches!(Fixture::with_file("{}").fault(), KeyfileError::NoSecret));
    assert!(matches!(Fixture::with_file(cases[7]).fault(), KeyfileError::Phrase(_)));
    assert!(matches!(Fixture::with_file(cases[8]).fault(), KeyfileError::CryptoType(2)));
    assert!(matches!(Fixture::with_file(&" ".repeat(70_000)).fault(), KeyfileError::TooLarge(_)));
}

#[test]
fn directories_and_pipes_are_no_keyfiles() {
    let fixture = Fixture::with_wallet();
    fs::create_dir(fixture.path("w/hotkeys/dir")).unwrap();
    let made = Command::new("mkfifo").arg(fixture.path("w/hotkeys/pipe")).status().unwrap();
    assert!(made.success());
    for name in ["dir", "pipe"] {
        let read = fixture.wallets.hotkey("w", name, &NoPassword);
        assert!(
            matches!(read, Err(WalletError::Keyfile { source: KeyfileError::NotAFile, .. })),
            "{name}: {read:?}"
        );
    }
}

#[test]
fn the_signer_signs_as_the_hotkey_and_hides_the_secret() {
    let signer = WalletSigner::new(keypair(), Arc::new(OsEntropy));
    assert!(signer.sign(b"payload").verifies(&keypair().hotkey(), b"payload"));
    let secret = hex::encode(keypair().to_secret_bytes().as_slice());
    let shown = format!("{signer:?}");
    assert!(shown.contains("redacted") && !shown.contains(&secret[..16]));
}
