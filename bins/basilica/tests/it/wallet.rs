//! Without a terminal.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use basilica_testkit::spawn_unread;
use insta::assert_snapshot;

use super::{Home, mode};

const PHRASE: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";

#[test]
fn the_help_names_the_commands_and_the_exit_codes() {
    assert_snapshot!(Home::new().run(&["--help"]).good());
}

#[test]
fn the_help_of_new_is_the_documentation_of_its_flags() {
    assert_snapshot!(Home::new().run(&["new", "--help"]).good());
}

#[test]
fn the_help_of_import_is_the_documentation_of_its_flags() {
    assert_snapshot!(Home::new().run(&["import", "--help"]).good());
}

#[test]
fn import_show_and_list_tell_what_is_there() {
    let home = Home::new();
    let secret = home.file("secret", PHRASE, 0o600);
    let secret = secret.to_str().unwrap();
    assert_snapshot!(home.run(&["import", "coldkey", "--uri", "//Alice", "--no-password"]).good());
    assert_snapshot!(
        home.run(&["import", "hotkey", "--wallet.hotkey", "hk", "--secret-file", secret]).good()
    );
    assert_snapshot!(home.run(&["show"]).good());
    assert_snapshot!(home.run(&["show", "--hotkey", "hk", "--json"]).good());
    assert_snapshot!(home.run(&["list"]).good());
    assert_snapshot!(home.run(&["list", "--json"]).good());
    for file in
        ["default/coldkey", "default/coldkeypub.txt", "default/hotkeys/hk", "default/hotkeys/hkpub.txt"]
    {
        assert_eq!(mode(&home.wallets(file)), 0o600, "{file}");
    }
}

#[test]
fn problems_are_named_with_what_to_do() {
    let home = Home::new();
    home.run(&["import", "hotkey", "--uri", "//Alice"]).good();
    home.run(&["import", "hotkey", "-H", "bob", "--uri", "//Bob"]).good();
    let hotkeys = home.wallets("default/hotkeys");
    std::fs::copy(hotkeys.join("bobpub.txt"), hotkeys.join("defaultpub.txt")).unwrap();
    std::fs::set_permissions(hotkeys.join("bob"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let ended = home.run(&["show"]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert_snapshot!(ended.out);
}

#[test]
fn nothing_is_overwritten() {
    let home = Home::new();
    home.run(&["import", "hotkey", "--uri", "//Alice"]).good();
    let before = std::fs::read(home.wallets("default/hotkeys/default")).unwrap();
    assert_snapshot!(home.run(&["new", "hotkey"]).fails(4));
    assert_snapshot!(home.run(&["import", "hotkey", "--uri", "//Bob"]).fails(4));
    assert_snapshot!(home.run(&["import", "hotkey", "--address", BOB]).fails(4));
    home.run(&["import", "coldkey", "--address", BOB]).good();
    assert_snapshot!(home.run(&["import", "coldkey", "--uri", "//Alice", "--no-password"]).fails(4));
    assert_eq!(std::fs::read(home.wallets("default/hotkeys/default")).unwrap(), before);
    assert!(!home.wallets("default/coldkey").exists());
}

#[test]
fn new_makes_nothing_where_any_file_of_any_key_is_taken() {
    let home = Home::new();
    // Of the second key, and only its public half.
    home.run(&["import", "hotkey", "--address", BOB]).good();
    let words = home.run(&["new", "--no-password"]).fails(4);
    assert!(words.contains("defaultpub.txt") && words.contains("states another key"), "{words}");
    assert!(!home.wallets("default/coldkey").exists() && !home.wallets("default/coldkeypub.txt").exists());
    // And watched without its secret: a new one would be another.
    home.run(&["import", "coldkey", "-w", "watched", "--address", BOB]).good();
    let words = home.run(&["new", "coldkey", "-w", "watched", "--no-password"]).fails(4);
    assert!(words.contains("coldkeypub.txt"), "{words}");
    assert!(!home.wallets("watched/coldkey").exists());
}

#[test]
fn what_new_made_before_it_failed_is_told() {
    let home = Home::new();
    std::fs::create_dir_all(home.wallets("default")).unwrap();
    // A directory in which nobody can make a file, not even root.
    std::os::unix::fs::symlink("/proc/self", home.wallets("default/hotkeys")).unwrap();
    let ended = home.run(&["new", "--no-password", "--show-mnemonic"]);
    assert_eq!(ended.code, Some(1), "something was changed: {}", ended.err);
    assert!(ended.err.contains("coldkey was made and stays; the rest was not"), "{}", ended.err);
    assert!(ended.out.contains("mnemonic"), "{}", ended.out);
    assert!(home.wallets("default/coldkey").exists() && home.wallets("default/coldkeypub.txt").exists());
}

const BOB: &str = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty";

#[test]
fn secrets_are_not_taken_from_the_command_line() {
    let home = Home::new();
    let refused = home.run(&["import", "hotkey", "--uri", PHRASE]).fails(1);
    assert!(!refused.contains("bottom"), "{refused}");
    assert_snapshot!(refused);
    assert!(!home.wallets("default").exists());
}

#[test]
fn without_a_terminal_a_password_must_come_from_somewhere() {
    let home = Home::new();
    assert_snapshot!(home.run(&["new"]).fails(1));
    let open = home.file("open", "pw\n", 0o644);
    assert_snapshot!(home.run(&["new", "--password-file", open.to_str().unwrap()]).fails(1));
    assert_snapshot!(home.run(&["import", "coldkey"]).fails(1));
    let unused = ["new", "hotkey", "--password-file", open.to_str().unwrap()];
    assert_snapshot!(home.run(&unused).fails(1));
    assert!(!home.wallets("default").exists());
}

#[test]
fn without_a_terminal_a_mnemonic_is_shown_only_where_asked_for() {
    let home = Home::new();
    let quiet = home.run(&["new", "--no-password", "--json"]).good();
    assert!(!quiet.contains("mnemonic"), "{quiet}");
    let quiet = home.run(&["new", "hotkey", "-H", "second"]).good();
    assert!(!quiet.contains("mnemonic"), "{quiet}");
    let asked = home.run(&["new", "hotkey", "-H", "third", "--n-words", "24", "--show-mnemonic"]).good();
    let words = asked.lines().last().unwrap().split_whitespace().count();
    assert_eq!(words, 24, "{asked}");
}

#[test]
fn words_can_come_through_a_pipe() {
    use std::io::Write as _;
    let home = Home::new();
    let mut child = home
        .command(&["import", "hotkey", "--secret-file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{PHRASE}//Alice\n").as_bytes()).unwrap();
    let out = home.ended(child.wait_with_output().unwrap()).good();
    assert!(out.contains("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"), "{out}");
}

#[test]
fn a_keyfile_in_an_old_form_is_brought_over_and_kept_encrypted() {
    let home = Home::new();
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../../vectors/wallet/keyfiles.json")).unwrap();
    let forms = vectors["forms"].as_array().unwrap();
    let old = forms.iter().find(|form| form["form"] == "ansible-vault").unwrap();
    let old = home.file("old", hex::decode(old["hex"].as_str().unwrap()).unwrap(), 0o600);
    let good = home.file("good", vectors["password"].as_str().unwrap(), 0o600);
    let wrong = home.file("wrong", "hunter2", 0o600);
    let import = |password: &std::path::Path| {
        let arguments = [
            "import",
            "coldkey",
            "--keyfile",
            old.to_str().unwrap(),
            "--keyfile-password-file",
            password.to_str().unwrap(),
        ];
        let choice = ["--password-file", good.to_str().unwrap()];
        home.run(&[arguments.as_slice(), &choice].concat())
    };
    assert_snapshot!(import(&wrong).fails(3));
    assert_snapshot!(import(&good).good());
    assert!(std::fs::read(home.wallets("default/coldkey")).unwrap().starts_with(b"$NACL"));
    let unlock = ["show", "coldkey", "--unlock", "--password-file", good.to_str().unwrap()];
    assert_snapshot!(home.run(&unlock).good());
    assert_snapshot!(home.run(&["show", "coldkey"]).good());
}

#[test]
fn commands_end_as_they_should_when_nobody_reads_their_answer() {
    let home = Home::new();
    home.run(&["import", "hotkey", "--uri", "//Alice"]).good();
    for (arguments, code) in [
        (["list"].as_slice(), 0),
        (&["show"], 0),
        (&["new", "hotkey"], 4),
        (&["frobnicate"], 2),
        // What is shown this once is lost.
        (&["new", "hotkey", "-H", "lost", "--show-mnemonic"], 1),
    ] {
        let mut child = spawn_unread(&mut home.command(arguments));
        assert_eq!(child.wait().unwrap().code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn with_json_a_failure_is_one_json_object() {
    let home = Home::new();
    home.run(&["import", "hotkey", "--uri", "//Alice"]).good();
    for (arguments, code, words) in [
        (["new", "hotkey", "--json"], 4, "exists already"),
        (["frobnicate", "--json", "x"], 2, "unrecognized subcommand"),
    ] {
        let error = home.run(&arguments).fails(code);
        let error: serde_json::Value = serde_json::from_str(error.lines().last().unwrap()).unwrap();
        assert_eq!(error["exit_code"], code);
        assert!(error["error"].as_str().unwrap().contains(words), "{error}");
    }
}

#[test]
fn every_hotkey_is_shown_unless_one_is_named() {
    let home = Home::new();
    home.run(&["import", "hotkey", "-w", "owner", "-H", "a", "--uri", "//Alice"]).good();
    home.run(&["import", "hotkey", "-w", "owner", "-H", "b", "--uri", "//Bob"]).good();
    let both = home.run(&["show", "hotkey", "-w", "owner"]).good();
    assert!(both.contains("hotkey a ") && both.contains("hotkey b "), "{both}");
    let one = home.run(&["show", "hotkey", "-w", "owner", "-H", "b"]).good();
    assert!(!one.contains("hotkey a ") && one.contains("hotkey b "), "{one}");
}

#[test]
fn what_is_not_there_is_named_with_what_to_do() {
    let home = Home::new();
    let error = home.run(&["show", "owner"]).fails(2);
    assert!(error.contains("a wallet is named with -w owner"), "{error}");
    let error = home.run(&["show", "-w", "owner"]).fails(1);
    assert!(error.contains("there is no wallet owner") && error.contains("basilica wallet list"), "{error}");
    home.run(&["import", "coldkey", "-w", "owner", "--address", BOB]).good();
    let error = home.run(&["show", "hotkey", "-w", "owner"]).fails(1);
    assert!(error.contains("basilica wallet new hotkey --wallet-name owner"), "{error}");
    let error = home.run(&["new", "-w", "owner", "-H", "second", "--no-password"]).fails(4);
    assert!(error.ends_with("basilica wallet new hotkey --wallet-name owner --hotkey second\n"), "{error}");
    home.run(&["new", "hotkey", "-w", "other", "-H", "second"]).good();
    let error = home.run(&["new", "-w", "other", "-H", "second", "--no-password"]).fails(4);
    assert!(!error.contains("for a hotkey alone"), "{error}");
}

#[test]
fn without_a_terminal_the_flag_that_helps_is_named() {
    let home = Home::new();
    let password = home.file("password", "correct horse", 0o600);
    home.run(&["new", "coldkey", "--password-file", password.to_str().unwrap()]).good();
    let shown = home.run(&["show", "--unlock"]);
    assert_eq!(shown.code, Some(1), "no password is not a wrong one: {}", shown.err);
    assert!(shown.out.contains("(here: --password-file FILE)"), "{}", shown.out);
    let error = home.run(&["import", "hotkey"]).fails(1);
    assert!(error.contains("--secret-file FILE") && !error.contains("os error"), "{error}");
    let keyfile = home.wallets("default/coldkey");
    let import = ["import", "hotkey", "--keyfile", keyfile.to_str().unwrap()];
    let error = home.run(&import).fails(1);
    assert!(error.contains("give --keyfile-password-file FILE"), "{error}");
}

#[test]
fn an_empty_password_is_a_wrong_one() {
    let home = Home::new();
    let empty = home.file("empty", "\n", 0o600);
    let error = home.run(&["new", "--password-file", empty.to_str().unwrap()]).fails(3);
    assert!(error.contains("password is empty"), "{error}");
    assert!(!home.wallets("default").exists());
}

#[test]
fn the_list_marks_a_key_that_is_damaged() {
    let home = Home::new();
    home.run(&["import", "hotkey", "--uri", "//Alice"]).good();
    home.run(&["import", "hotkey", "-H", "sound", "--uri", "//Bob"]).good();
    std::fs::write(home.wallets("default/hotkeys/default"), "{\"a").unwrap();
    let listed = home.run(&["list"]);
    assert_eq!(listed.code, Some(1), "{}", listed.err);
    let marked: Vec<&str> = listed.out.lines().filter(|line| line.contains("has problems")).collect();
    assert!(
        matches!(marked[..], [line] if line.contains("default 5Grw") && line.contains("show -w default")),
        "{marked:?}"
    );
    let json: serde_json::Value = serde_json::from_str(&home.run(&["list", "--json"]).out).unwrap();
    assert_eq!(json["wallets"][0]["hotkeys"][0]["problems"], 1);
    assert_eq!(json["wallets"][0]["hotkeys"][1]["problems"], 0);
}

#[test]
fn the_help_fits_a_terminal_of_80_columns() {
    let home = Home::new();
    for arguments in [["--help"].as_slice(), &["new", "--help"], &["import", "--help"], &["show", "--help"]] {
        for line in home.run(arguments).good().lines() {
            assert!(line.chars().count() <= 80, "{arguments:?}: {line}");
        }
    }
}
