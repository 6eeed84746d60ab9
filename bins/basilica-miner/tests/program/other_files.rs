//! `--config` with a file that is something else: no secret of it ends up on a screen or in a log.

use super::Home;

#[test]
fn a_file_that_holds_a_secret_is_refused_without_a_word_of_it() {
    let home = Home::new();
    home.run(&["migrate"]);
    let key = home.path().join("id_ed25519");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    let write = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = [
        (home.path().join(".bittensor/wallets/w/hotkeys/h"), "miner's hotkey", "090909"),
        (home.path().join("data/miner.db"), "database", "SQLite"),
        (key.clone(), "ssh key", "OPENSSH"),
        (key.with_extension("pub"), "public key", "AAAA"),
        (write(".env", "BASILICA_TOKEN=hunter2\n"), ".env", "hunter2"),
        (write("mnemonic", "hunter2 witch collapse practice\n"), "mnemonic", "witch"),
        (write("other.toml", "[database]\npassword = \"hunter2\" # hunter2\n"), "other program's", "hunter2"),
        (write("slip.toml", "[bittensor]\nwallet_name = hunter2\n"), "slip", "hunter2"),
    ];
    for (file, what, secret) in files {
        std::fs::copy(&file, home.config()).unwrap();
        // Every command reads its configuration in the same way; without one the miner itself runs, which also logs.
        for command in [
            &["config", "validate"][..],
            &["--json", "config", "validate"],
            &["config", "show"],
            &["nodes", "list"],
            &["doctor"],
            &["status"],
            &[],
        ] {
            let ended = home.run(command);
            let said = format!("{}{}", ended.out, ended.err);
            assert_eq!(ended.code, Some(78), "{what} {command:?}: {said}");
            assert!(said.contains("miner.toml:"), "{what} {command:?}: {said}");
            assert!(!said.contains(secret), "{what} {command:?}: {said}");
        }
    }
    let refused = |text: &str, words: &[&str]| {
        std::fs::write(home.config(), text).unwrap();
        home.run(&["config", "validate"]).fails(78, words);
    };
    refused("[bittensor]\nwallet_name = w\n", &["miner.toml:2:15", "must be quoted", "wallet_name = …"]);
    refused("{\"secretSeed\":\"0x\"}", &["miner.toml:1:1", "is this the right file?"]);
}
