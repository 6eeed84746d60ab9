//! Looking at wallets without changing them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use basilica_types::Hotkey;
use basilica_wallet::{Form, KeyName, KeyReport, Problem, Protection, Secret, WalletError, Which};

use super::{Fixture, keypair};

const PHRASE: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";

fn key_of(fixture: &Fixture, key: &KeyName) -> KeyReport {
    let report = fixture.wallets.inspect(&"w".parse().unwrap(), &Which::One(key.clone()), None).unwrap();
    report.keys.into_iter().next().unwrap()
}

fn hotkey() -> KeyName {
    KeyName::Hotkey("hk".parse().unwrap())
}

#[test]
fn agreeing_files_are_verified_without_problems() {
    let fixture = Fixture::with_wallet();
    let report = key_of(&fixture, &hotkey());
    assert!(report.problems.is_empty() && report.verified, "{report:?}");
    assert_eq!(report.address, Some(keypair().hotkey()));
    assert_eq!((report.secret.form, report.secret.mode), (Form::Plain, Some(0o600)));
    assert_eq!(report.public.form, Form::Public);
    let coldkey = key_of(&fixture, &KeyName::Coldkey);
    assert!(coldkey.problems.is_empty() && !coldkey.verified, "a server's wallet is in order: {coldkey:?}");
}

#[test]
fn a_public_file_of_another_key_is_told() {
    let fixture = Fixture::with_wallet();
    let other = Hotkey::from_bytes([7; 32]);
    let path = fixture.path("w/hotkeys/hkpub.txt");
    fs::remove_file(&path).unwrap();
    fixture.wallets.add_public(&"w".parse().unwrap(), &hotkey(), other).unwrap();
    let report = key_of(&fixture, &hotkey());
    assert!(
        matches!(report.problems[..], [Problem::Disagree { in_public, .. }] if in_public == other),
        "{report:?}"
    );
}

#[test]
fn open_permissions_are_told_with_what_to_do() {
    let fixture = Fixture::with_wallet();
    for (file, mode) in [("w/hotkeys/hk", 0o644), ("w/hotkeys/hkpub.txt", 0o666)] {
        fs::set_permissions(fixture.path(file), fs::Permissions::from_mode(mode)).unwrap();
    }
    let report = key_of(&fixture, &hotkey());
    assert_eq!(report.problems.len(), 2, "{report:?}");
    for problem in &report.problems {
        let source = std::error::Error::source(problem).map(ToString::to_string).unwrap_or_default();
        assert!(format!("{problem} {source}").contains("run: chmod 600 '"), "{problem:?}");
    }
}

#[test]
fn words_that_do_not_give_the_key_are_told() {
    let fixture = Fixture::with_wallet();
    let path = fixture.path("w/hotkeys/hk");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen('{', &format!("{{\"secretPhrase\":\"{PHRASE}\","), 1)).unwrap();
    let report = key_of(&fixture, &hotkey());
    assert!(matches!(report.problems[..], [Problem::Words { .. }]), "{report:?}");
}

#[test]
fn what_is_not_there_is_told() {
    let fixture = Fixture::with_wallet();
    let report = key_of(&fixture, &KeyName::Hotkey("none".parse().unwrap()));
    assert!(matches!(report.problems[..], [Problem::Absent { .. }]), "{report:?}");
    let nobody = fixture.wallets.inspect(&"nobody".parse().unwrap(), &Which::All, None);
    assert!(matches!(nobody, Err(WalletError::NoWallet { .. })), "{nobody:?}");
    let hotkeys = fixture.wallets.inspect(&"w".parse().unwrap(), &Which::Hotkeys, None).unwrap();
    assert_eq!(hotkeys.keys.iter().map(|report| &report.key).collect::<Vec<_>>(), [&hotkey()]);
    fs::remove_dir_all(fixture.path("w/hotkeys")).unwrap();
    let none = fixture.wallets.inspect(&"w".parse().unwrap(), &Which::Hotkeys, None);
    assert!(matches!(none, Err(WalletError::NoKey { .. })), "{none:?}");
}

#[test]
fn the_list_names_wallets_and_hotkeys_in_order_with_their_addresses() {
    let fixture = Fixture::with_wallet();
    assert_eq!(Fixture::new().wallets.list().unwrap().wallets, []);
    let secret = Secret::from_phrase(PHRASE).unwrap();
    let (wallet, key) = ("a".parse().unwrap(), KeyName::Hotkey("second".parse().unwrap()));
    fixture.wallets.add(&wallet, &key, &secret, Protection::Plain).unwrap();
    fixture.wallets.add_public(&"w".parse().unwrap(), &key, secret.keypair().hotkey()).unwrap();
    for stray in ["w/hotkeys/default.lock", "w/hotkeys/.new-x", "not a wallet", "file"] {
        fs::write(fixture.path(stray), "").unwrap();
    }
    let listing = fixture.wallets.list().unwrap();
    let shown: Vec<_> = listing
        .wallets
        .iter()
        .map(|w| {
            (
                w.name.as_str(),
                w.coldkey.address.is_some(),
                w.hotkeys.iter().map(|(n, key)| (n.as_str(), key.address.is_some())).collect::<Vec<_>>(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [("a", false, vec![("second", true)]), ("w", true, vec![("hk", true), ("second", true)])]
    );
    assert_eq!(listing.skipped, ["file", "not a wallet"]);
}

#[test]
fn the_list_counts_what_is_wrong_with_a_key() {
    let fixture = Fixture::with_wallet();
    let problems = || fixture.wallets.list().unwrap().wallets[0].hotkeys[0].1.problems;
    assert_eq!(problems(), 0);
    fs::write(fixture.path("w/hotkeys/hk"), "{\"a").unwrap();
    assert_eq!(problems(), 1);
}
