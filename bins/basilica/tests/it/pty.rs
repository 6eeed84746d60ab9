//! The program at a terminal.

use std::process::Command;

use super::{Home, mode};

/// Answers each question with the line beside it; returns all that the terminal showed.
fn at_a_terminal(home: &Home, arguments: &[&str], answers: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_basilica"));
    command.arg("wallet").args(arguments).env("HOME", home.path(""));
    basilica_testkit::at_a_terminal(&command, answers)
}

#[test]
fn a_new_wallet_asks_twice_without_echo_and_shows_each_mnemonic_once() {
    let home = Home::new();
    let asked = [("Password for the new key: ", "hunter2"), ("The same again: ", "hunter2")];
    let (code, shown) = at_a_terminal(&home, &["new"], &asked);
    assert_eq!(code, Some(0), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(shown.matches("mnemonic, shown this once").count(), 2, "{shown}");
    assert!(std::fs::read(home.wallets("default/coldkey")).unwrap().starts_with(b"$NACL"));
    assert_eq!(mode(&home.wallets("default/coldkey")), 0o600);
    let open = [("coldkey: ", "wrong")];
    let (code, shown) = at_a_terminal(&home, &["show", "coldkey", "--unlock"], &open);
    assert_eq!(code, Some(3), "{shown}");
    assert!(shown.contains("password is wrong"), "{shown}");
}

#[test]
fn passwords_that_differ_write_nothing() {
    let home = Home::new();
    let asked = [("Password for the new key: ", "hunter2"), ("The same again: ", "hunter3")];
    let (code, shown) = at_a_terminal(&home, &["new"], &asked);
    assert_eq!(code, Some(3), "{shown}");
    assert!(shown.contains("two passwords differ; nothing was written"), "{shown}");
    assert!(!home.wallets("default").exists());
}

#[test]
fn an_import_asks_for_the_words_without_echo() {
    let home = Home::new();
    let words = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
    let asked = [("(not shown): ", words)];
    let (code, shown) = at_a_terminal(&home, &["import", "hotkey"], &asked);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV"), "{shown}");
    assert!(!shown.contains("bottom"), "{shown}");
}
