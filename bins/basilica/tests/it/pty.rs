//! The program at a terminal.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::{Home, mode};

/// Answers each question with the line beside it; returns all that the terminal showed.
fn at_a_terminal(home: &Home, arguments: &[&str], answers: &[(&str, &str)]) -> (Option<i32>, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let slave = OpenOptions::new().read(true).write(true).open(&name).unwrap();
    let end = || Stdio::from(slave.try_clone().unwrap());
    let mut child = Command::new("setsid")
        .args(["--ctty", "--wait", env!("CARGO_BIN_EXE_basilica"), "wallet"])
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home.path(""))
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .unwrap();
    drop(slave);
    let mut master = File::from(master);
    let mut shown = String::new();
    let mut seen = 0;
    let mut answers = answers.iter();
    let mut next = answers.next();
    let mut buffer = [0; 4096];
    // Reading fails once the program has let go of the terminal.
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
        if let Some((question, answer)) = next
            && shown[seen..].contains(question)
        {
            seen = shown.len();
            master.write_all(format!("{answer}\n").as_bytes()).unwrap();
            next = answers.next();
        }
    }
    assert!(next.is_none(), "not asked {next:?}: {shown}");
    (child.wait().unwrap().code(), shown)
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
