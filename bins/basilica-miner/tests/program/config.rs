//! What a configuration is refused for, and what is shown of it.

use super::*;

#[test]
fn a_good_configuration_passes() {
    let home = Home::new();
    let ended = home.run(&["config", "validate"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.ends_with("Configuration validation passed\n"), "{}", ended.out);
    let read = format!("read: file {}; and BASILICA_HEALTH__LISTEN", home.config().display());
    assert!(ended.out.starts_with(&read), "{}", ended.out);
    let json: Value = serde_json::from_str(&home.run(&["--json", "config", "validate"]).out).unwrap();
    assert_eq!(json["valid"], true);
    assert_eq!(json["file"], home.config().to_str().unwrap());
    assert_eq!(json["variables"][0], "BASILICA_HEALTH__LISTEN");
    assert!(!home.path().join("data/miner.db").exists(), "a check leaves no file behind");
}

#[test]
fn validation_names_everything_that_a_start_would_miss() {
    let home = Home::new();
    std::fs::remove_dir_all(home.path().join(".bittensor")).unwrap();
    std::fs::remove_dir(home.path().join("data")).unwrap();
    let missing =
        ["Failed to load hotkey", ".bittensor/wallets/w/hotkeys/h", "data does not exist", "mkdir -p"];
    home.run(&["config", "validate"]).fails(1, &missing);
    // A start names the first of them, in the same words.
    let started = home.run(&[]);
    started.fails(1, &missing[..2]);
    let first = started.err.lines().last().unwrap().trim_start_matches("error: ");
    assert!(home.run(&["config", "validate"]).err.contains(first), "{first}");
}

#[test]
fn a_start_with_values_that_cannot_work_is_a_wrong_configuration() {
    let home = Home::new();
    for (name, value, words) in [
        ("BITTENSOR__NETWORK", "foo", "known values: finney, test, local"),
        ("BITTENSOR__CHAIN_ENDPOINT", "http://x y", "not a WebSocket URL"),
        ("DATABASE__URL", "mysql://x", "does not start with \"sqlite:\""),
        ("BITTENSOR__WALLET_NAME", "../w", "may hold only letters"),
    ] {
        for arguments in [[].as_slice(), &["config", "validate"]] {
            let mut command = home.command();
            let name = format!("BASILICA_{name}");
            let ended = Ended::from(command.env(&name, value).args(arguments).output().unwrap());
            ended.fails(78, &[words, &name]);
        }
    }
}

#[test]
fn the_generated_configuration_passes_once_what_it_names_exists() {
    let home = Home::new();
    let generated = home.run(&["--gen-config"]);
    assert_eq!(generated.code, Some(0));
    let text = generated
        .out
        .replace("~/.ssh/miner_node_key", "~/node_key")
        .replace("/opt/basilica/data/", &format!("{}/data/", home.path().display()))
        .replace("\"miner\" ", "\"w\" ")
        .replace("\"default\"", "\"h\"");
    std::fs::write(home.config(), text).unwrap();
    let ended = home.run(&["config", "validate"]);
    assert!(ended.out.contains("Configuration validation passed"), "{}{}", ended.out, ended.err);
}

#[test]
fn a_wrong_configuration_names_file_line_and_key() {
    let home = Home::new();
    home.configure("[validator_coms]\nport = 1");
    home.run(&[]).fails(78, &["miner.toml:1:", "validator_coms", "validator_comms"]);
    home.configure("[node_management]\nhealth_check_interval = \"soon\"");
    home.run(&["config", "validate"]).fails(78, &["miner.toml:2:", "health_check_interval"]);
    std::fs::write(home.config(), "[bittensor\n").unwrap();
    home.run(&["config", "validate"]).fails(78, &["miner.toml:1:"]);
}

#[test]
fn a_missing_configuration_says_how_to_make_one() {
    let home = Home::new();
    std::fs::remove_file(home.config()).unwrap();
    home.run(&[]).fails(
        78,
        &[
            "error: there is no configuration /",
            "read configuration file",
            "miner.toml",
            "basilica-miner init --output",
        ],
    );
    home.run(&["config", "validate"]).fails(78, &["basilica-miner init --output"]);
}

#[test]
fn a_missing_wallet_is_named() {
    let home = Home::new();
    std::fs::remove_dir_all(home.path().join(".bittensor")).unwrap();
    home.run(&[]).fails(1, &["Failed to load hotkey", ".bittensor/wallets/w/hotkeys/h"]);
}

/// Replaces the hotkey by the frozen keyfile of this form and returns its password.
fn encrypt_hotkey(home: &Home) -> String {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../../vectors/wallet/keyfiles.json")).unwrap();
    let forms = vectors["forms"].as_array().unwrap();
    let form = forms.iter().find(|form| form["form"] == "ansible-vault").unwrap();
    let bytes = hex::decode(form["hex"].as_str().unwrap()).unwrap();
    std::fs::write(home.path().join(".bittensor/wallets/w/hotkeys/h"), bytes).unwrap();
    vectors["password"].as_str().unwrap().to_owned()
}

#[test]
fn an_encrypted_hotkey_is_opened_with_the_password_file_and_refused_without() {
    let home = Home::new();
    let password = encrypt_hotkey(&home);
    let variable = basilica_wallet::sdk_variable(&home.path().join(".bittensor/wallets/w/hotkeys/h"));
    home.run(&[]).fails(1, &["Failed to load hotkey", "Ansible vault", "no password was given", &variable]);
    let file = home.path().join("password");
    std::fs::write(&file, "wrong\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let with_file = || {
        let mut command = home.command();
        command.env("BASILICA_BITTENSOR__WALLET_PASSWORD_FILE", &file);
        Ended::from(command.output().unwrap())
    };
    with_file().fails(1, &["Failed to load hotkey", "password is wrong"]);
    std::fs::write(&file, format!("{password}\n")).unwrap();
    // The next obstacle shows that the hotkey was opened.
    std::fs::remove_dir(home.path().join("data")).unwrap();
    with_file().fails(1, &["unable to open database file"]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    with_file().fails(1, &["Permissions 0640 for", "are too open; run: chmod 600"]);
}

#[test]
fn show_keeps_to_itself_where_secrets_are_and_what_may_hold_one_unless_asked() {
    let home = Home::new();
    home.configure(
        "verdicts.validators = [{ hotkey = \"5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY\", url = \"http://192.0.2.7:8080\" }]\n\
         [validator_comms]\ntls_cert_path = \"server.crt\"\ntls_key_path = \"server.key\"\n",
    );
    let text = std::fs::read_to_string(home.config()).unwrap();
    let more =
        "[bittensor]\nwallet_password_file = \"password\"\nfallback_endpoints = [\"wss://x.example/ACCESS\"]";
    std::fs::write(home.config(), text.replace("[bittensor]", more)).unwrap();
    let shown = home.run(&["config", "show"]);
    let hidden: Vec<&str> = shown
        .out
        .lines()
        .filter_map(|line| line.strip_suffix(" = \"(hidden; use --show-sensitive)\""))
        .collect();
    let expected = [
        "bittensor.chain_endpoint",
        "bittensor.fallback_endpoints",
        "bittensor.wallet_password_file",
        "bittensor.wallet_path",
        "database.url",
        "ssh_session.miner_node_key_path",
        "validator_comms.tls_key_path",
        "verdicts.validators.0.url",
    ];
    assert_eq!(hidden, expected, "{}{}", shown.out, shown.err);
    assert!(
        !shown.out.contains("ACCESS") && shown.out.contains("tls_cert_path = \"server.crt\""),
        "{}",
        shown.out
    );
    let whole = home.run(&["config", "show", "--show-sensitive"]).out;
    assert!(
        !whole.contains("hidden") && whole.contains("/ACCESS") && whole.contains("node_key\""),
        "{whole}"
    );
}

#[test]
fn a_configuration_that_is_a_pipe_is_not_waited_for_unless_a_shell_made_it() {
    let home = Home::new();
    let text = std::fs::read_to_string(home.config()).unwrap();
    std::fs::remove_file(home.config()).unwrap();
    assert!(Command::new("mkfifo").arg(home.config()).status().unwrap().success());
    home.run(&["config", "show"]).fails(78, &["miner.toml", "it is a pipe, not a file"]);
    let mut command = Command::new(home.command().get_program());
    command.env_clear().env("HOME", home.path()).args(["--config", "/dev/stdin", "config", "show"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn version_and_example_are_json_where_that_is_asked_for() {
    let home = Home::new();
    let json = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&home.run(arguments).out).expect("JSON")
    };
    assert_eq!(json(&["--json", "--version"])["version"], env!("CARGO_PKG_VERSION"));
    let example = json(&["--gen-config", "--json"])["toml"].as_str().unwrap().to_owned();
    assert_eq!(example, home.run(&["--gen-config"]).out);
}

#[test]
fn the_log_names_commands_for_the_configuration_that_is_in_use() {
    let home = Home::new();
    home.configure("[node_management]\nnodes = [{ host = \"127.0.0.1\", port = 1, username = \"gpu\" }]");
    std::fs::remove_dir_all(home.path().join(".bittensor")).unwrap();
    std::fs::rename(home.config(), home.path().join("an \"odd\" one.toml")).unwrap();
    let run = |more: &[&str]| {
        let mut command = Command::new(home.command().get_program());
        command.env_clear().env("HOME", home.path()).current_dir(home.path());
        Ended::from(command.args(["-c", "an \"odd\" one.toml"]).args(more).output().unwrap())
    };
    let paste = r#"basilica-miner -c 'an "odd" one.toml' nodes add NODE"#;
    run(&[]).fails(1, &[paste]);
    let ended = run(&["--json"]);
    let lines = ended.err.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let notices: Vec<String> = lines.filter_map(|line| Some(line["notice"].as_str()?.to_owned())).collect();
    assert!(notices.iter().any(|notice| notice.contains(paste)), "{}", ended.err);
}
