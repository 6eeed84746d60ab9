//! The real program: what it answers to what a user gets wrong, and that it lives while the chain is down.

#![expect(clippy::unwrap_used, reason = "a test panics where it cannot go on")]

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use basilica_testkit::{eventually, free_address, spawn_unread};
use basilica_wallet::Wallets;

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn with_wallet(self) -> Self {
        let keypair = basilica_wire::Keypair::from_seed(&[7; 32]).unwrap();
        let coldkey = basilica_types::Coldkey::from_bytes([9; 32]);
        Wallets::at(self.path().join("wallets"))
            .create("validator", "default", &keypair.into(), coldkey)
            .unwrap();
        self
    }

    fn config(&self, extra: &str) -> String {
        let home = self.path().display();
        let prover = self.path().join("prover");
        std::fs::write(&prover, b"\x7fELF\x02").unwrap();
        format!(
            "[bittensor]\nwallet_path = \"{home}/wallets\"\nnetwork = \"local\"\n\
             chain_endpoint = \"ws://127.0.0.1:1\"\n[database]\nurl = \"sqlite:{home}/validator.db\"\n\
             [verification]\nprover_path = \"{}\"\n{extra}",
            prover.display()
        )
    }

    fn command(&self, config: &str, arguments: &[&str]) -> Command {
        let path = self.path().join("validator.toml");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_basilica-validator"));
        command.arg("-c").arg(path).args(arguments).env_clear().env("HOME", self.path());
        command
    }

    fn run(&self, config: &str, arguments: &[&str]) -> Output {
        self.command(config, arguments).output().unwrap()
    }
}

fn failure(output: &Output) -> String {
    failure_with(1, output)
}

fn failure_with(code: i32, output: &Output) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn an_example_configuration_is_printed_on_demand() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_basilica-validator"));
    let printed = command.arg("--gen-config").env_clear().output().unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let example = include_str!("../../../../config/validator.toml.example");
    assert_eq!(String::from_utf8(printed.stdout).unwrap().trim_end(), example.trim_end());
}

#[test]
fn an_answer_that_a_full_disk_does_not_take_is_a_failure() {
    let home = Home::new();
    for arguments in [["--help"].as_slice(), &["config", "show"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let words = failure(&home.command(&home.config(""), arguments).stdout(full).output().unwrap());
        assert!(words.contains("write to standard output"), "{words}");
    }
    let both = failure_with(2, &home.run("", &["--gen-config", "start"]));
    assert!(both.contains("--gen-config"), "{both}");
}

#[test]
fn a_file_that_is_no_configuration_is_refused_without_a_word_of_it() {
    let home = Home::new().with_wallet();
    let hotkey = std::fs::read_to_string(home.path().join("wallets/validator/hotkeys/default")).unwrap();
    let others = [
        (hotkey.as_str(), "070707"),
        ("TOKEN=hunter2\n", "hunter2"),
        ("token = \"hunter2\" # hunter2\n", "hunter2"),
    ];
    for (text, secret) in others {
        for command in
            [&["check-config"][..], &["config", "validate", "--json"], &["config", "show"], &["start"]]
        {
            let output = home.run(text, command);
            let said = failure_with(78, &output) + &String::from_utf8(output.stdout).unwrap();
            assert!(said.contains("validator.toml:1:") && !said.contains(secret), "{command:?}: {said}");
        }
    }
}

#[test]
fn a_good_configuration_passes_and_a_wrong_key_is_named_with_its_line() {
    let home = Home::new().with_wallet();
    let good = home.run(&home.config(""), &["check-config"]);
    assert!(good.status.success(), "{good:?}");
    let file = home.path().join("validator.toml");
    let shown = format!("read: file {}\nConfiguration validation passed\n", file.display());
    assert_eq!(String::from_utf8(good.stdout).unwrap(), shown);
    assert!(!home.path().join("validator.db").exists(), "a check leaves no file behind");
    let json = home.run(&home.config(""), &["config", "validate", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["valid"], json["file"].as_str()), (&true.into(), file.to_str()));
    let words = failure_with(78, &home.run(&home.config("retires = 3\n"), &["check-config"]));
    assert!(words.contains("validator.toml:9") && words.contains("retries"), "{words}");
}

#[test]
fn help_documents_the_exit_codes_within_80_columns() {
    let help = Home::new().run("", &["--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    let words: Vec<&str> = help.split_whitespace().collect();
    assert!(words.join(" ").contains("78 the configuration is wrong"), "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
}

fn answer(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_database_moves_from_a_file_to_a_server_while_the_validator_runs() {
    let server = basilica_postgres::Postgres::start();
    let home = Home::new().with_wallet();
    let free = free_address();
    let extra = format!("[api]\nbind = \"{free}\"\n[metrics]\nenabled = false\n");
    let file = home.config(&extra);
    let before = failure(&home.run(&file, &["database", "health"]));
    assert!(before.contains("basilica-validator database migrate"), "{before}");
    let made = answer(&home.run(&file, &["database", "migrate", "--json"]));
    assert_eq!(made["from"], 0);
    let child = home.command(&file, &["start"]).stderr(Stdio::null()).spawn().unwrap();
    let mut running = Running(child);
    eventually("it serves", || get(free, "/ready").is_some()).await;
    let second = failure(&home.run(&file, &["start"]));
    assert!(second.contains("runs already on database file") || second.contains("bind"), "{second}");
    let health = answer(&home.run(&file, &["database", "health", "--json"]));
    assert_eq!((&health["healthy"], &health["engine"]), (&true.into(), &"sqlite".into()));
    let backup = home.path().join("backup.jsonl");
    let to = backup.to_str().unwrap();
    let written = answer(&home.run(&file, &["database", "backup", "--to", to, "--json"]));
    let again = failure(&home.run(&file, &["database", "backup", "--to", to]));
    assert!(again.contains("is there already"), "{again}");
    terminate(&mut running);
    // The password is not needed here; that it stands in a file is what is tested.
    let secret = home.path().join("secret");
    std::fs::write(&secret, "s3cret/+ word\n").unwrap();
    let old = format!("url = \"sqlite:{}/validator.db\"", home.path().display());
    let new = format!("url = \"{}\"\npassword_file = \"{}\"", server.database(), secret.display());
    assert!(file.contains(&old));
    let moved = file.replace(&old, &new);
    let restored = answer(&home.run(&moved, &["database", "restore", "--from", to, "--json"]));
    assert_eq!(restored["rows"], written["rows"]);
    let health = answer(&home.run(&moved, &["database", "health", "--json"]));
    assert_eq!(health["engine"], "postgres");
    assert!(health["leadership"]["token"].as_u64().unwrap() >= 1_000_000, "{health}");
    let stats = answer(&home.run(&moved, &["database", "stats", "--json"]));
    assert_eq!(stats["tables"]["leadership"], 1);
    for arguments in [["config", "show"].as_slice(), &["database", "stats"]] {
        let shown = home.run(&moved, arguments);
        assert!(shown.status.success() && !format!("{shown:?}").contains("s3cret"), "{shown:?}");
    }
    let child = home.command(&moved, &["start"]).stderr(Stdio::null()).spawn().unwrap();
    let mut running = Running(child);
    eventually("it leads", || {
        get(free, "/leadership").is_some_and(|page| page.contains("\"role\":\"leader\""))
    })
    .await;
    terminate(&mut running);
    let after = answer(&home.run(&moved, &["database", "health", "--json"]));
    assert!(after["leadership"]["holder"].is_null(), "it gave the lead back: {after}");
}

#[test]
fn with_json_a_failure_is_one_json_object() {
    let home = Home::new();
    let wrong = home.config("retires = 3\n");
    for (arguments, code, words) in [
        (["check-config", "--json"], 78, "validator.toml:9"),
        (["start", "--json"], 78, "validator.toml:9"),
        (["frobnicate", "--json"], 2, "unrecognized subcommand"),
    ] {
        let output = home.run(&wrong, &arguments);
        let error: serde_json::Value = serde_json::from_str(&failure_with(code, &output)).unwrap();
        assert_eq!(error["exit_code"], code);
        assert!(error["error"].as_str().unwrap().contains(words), "{error}");
    }
}

#[test]
fn without_a_file_a_check_says_so() {
    let home = Home::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_basilica-validator"));
    command.env_clear().env("HOME", home.path()).arg("check-config");
    let words = failure(&command.current_dir(home.path()).output().unwrap());
    assert!(words.contains("(no file, the defaults alone) is valid, but"), "{words}");
}

#[test]
fn a_check_names_everything_that_a_start_would_miss() {
    let home = Home::new();
    let config = home.config("").replace("/prover\"", "/nothing\"").replace("/validator.db", "/no/v.db");
    let words = failure(&home.run(&config, &["check-config"]));
    let missing = ["Failed to load hotkey", "wallets/validator", "read the prover", "no does not exist"];
    for word in missing {
        assert!(words.contains(word), "{word} is not in {words}");
    }
    // A start names the first of them, in the same words.
    let started = failure(&home.run(&config, &["start"]));
    let first = started.lines().last().unwrap().trim_start_matches("error: ");
    assert!(words.contains(first), "{first} is not in {words}");
}

/// The same command by somebody who is not root, who may write everywhere.
fn unprivileged(home: &Home, command: &Command) -> Output {
    let program = home.path().join("program");
    if !program.exists() {
        let built = command.get_program();
        std::fs::hard_link(built, &program).or_else(|_| std::fs::copy(built, &program).map(|_| ())).unwrap();
        std::fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
    }
    let mut same = Command::new(program);
    same.args(command.get_args()).env_clear().env("HOME", home.path());
    if rustix::process::geteuid().is_root() {
        same.uid(65_534);
    }
    same.output().unwrap()
}

#[test]
fn a_check_tests_the_audit_logs_path_and_makes_nothing_there() {
    let home = Home::new().with_wallet();
    let at = |path: &Path| home.config(&format!("[ssh_session]\naudit_log_path = \"{}\"\n", path.display()));
    let check = |path: &Path| home.run(&at(path), &["check-config"]);
    let (good, nowhere) = (home.path().join("audit.log"), home.path().join("no/audit.log"));
    assert!(check(&good).status.success());
    assert!(!good.exists(), "a check leaves no file behind");
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(check(&file).status.success());
    let cases = [
        (nowhere.as_path(), "no does not exist; make that directory first"),
        (home.path(), "is a directory; name a file in it"),
        (&file.join("audit.log"), "name a file in a directory"),
    ];
    for (path, words) in cases {
        let shown = failure(&check(path));
        assert!(shown.contains("ssh_session.audit_log_path") && shown.contains(words), "{shown}");
    }
    assert!(!nowhere.parent().unwrap().exists());
    let locked = home.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    let mode = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let kept = locked.join("audit.log");
    std::fs::write(&kept, "").unwrap();
    for (of_log, of_directory, words) in
        [(0o444, 0o777, "must be read and written"), (0o666, 0o555, "files cannot be made beside")]
    {
        mode(&kept, of_log);
        mode(&locked, of_directory);
        let checked = unprivileged(&home, &home.command(&at(&kept), &["check-config"]));
        assert!(failure(&checked).contains(words), "{checked:?}");
    }
    let off = at(&nowhere) + "enable_audit_logging = false\n";
    assert!(home.run(&off, &["check-config"]).status.success(), "a log that is not kept needs no place");
}

#[test]
fn a_start_with_values_that_cannot_work_is_a_wrong_configuration() {
    let home = Home::new().with_wallet();
    for (good, wrong, words) in [
        ("\"local\"", "\"foo\"", "validator.toml:3:"),
        ("ws://127.0.0.1:1", "http://x y", "validator.toml:4:"),
        ("sqlite:", "mysql://x", "validator.toml:6:"),
        ("[verification]", "[emission]\nweight_set_interval_blocks = 0\n[verification]", "validator.toml:8:"),
    ] {
        let config = home.config("").replace(good, wrong);
        for command in ["start", "check-config"] {
            let shown = failure_with(78, &home.run(&config, &[command]));
            assert!(shown.contains(words), "{shown}");
        }
    }
}

#[test]
fn a_missing_wallet_is_named() {
    let home = Home::new();
    let words = failure(&home.run(&home.config(""), &["start"]));
    assert!(words.contains("Failed to load hotkey") && words.contains("wallets/validator"), "{words}");
}

#[test]
fn an_encrypted_hotkey_is_opened_with_the_password_file_and_refused_without() {
    let home = Home::new().with_wallet();
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../../vectors/wallet/keyfiles.json")).unwrap();
    let forms = vectors["forms"].as_array().unwrap();
    let form = forms.iter().find(|form| form["form"] == "ansible-vault").unwrap();
    let hotkey = home.path().join("wallets/validator/hotkeys/default");
    std::fs::write(&hotkey, hex::decode(form["hex"].as_str().unwrap()).unwrap()).unwrap();
    let words = failure(&home.run(&home.config(""), &["start"]));
    assert!(words.contains("Failed to load hotkey") && words.contains("no password was given"), "{words}");
    let file = home.path().join("password");
    std::fs::write(&file, vectors["password"].as_str().unwrap()).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let config = home.config("").replacen(
        "[bittensor]\n",
        &format!("[bittensor]\nwallet_password_file = \"{}\"\n", file.display()),
        1,
    );
    // The next obstacle shows that the hotkey was opened.
    std::fs::write(home.path().join("prover"), "root:x:0:0:root:/root:/bin/bash\n").unwrap();
    let words = failure(&home.run(&config, &["start"]));
    assert!(words.contains("is no program that a node could run"), "{words}");
    std::fs::remove_file(home.path().join("prover")).unwrap();
    let words = failure(&home.run(&config, &["start"]));
    assert!(words.contains("read the prover"), "{words}");
}

#[test]
fn a_port_in_use_is_named() {
    let home = Home::new().with_wallet();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = home.config(&format!("[api]\nbind = \"{address}\"\n"));
    let words = failure(&home.run(&config, &["start"]));
    assert!(words.contains("already in use") && words.contains(&address.to_string()), "{words}");
}

#[test]
fn a_missing_prover_and_a_silent_api_are_answered() {
    let home = Home::new().with_wallet();
    let config = home.config("").replace("/prover\"", "/nothing\"");
    let words = failure(&home.run(&config, &["start"]));
    assert!(words.contains("verification.prover_path"), "{words}");
    let free = free_address();
    let config = home.config(&format!("[api]\nbind = \"{free}\"\n"));
    let words = failure(&home.run(&config, &["status"]));
    assert!(words.contains("is it running"), "{words}");
}

/// Ends with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Ends a running validator as an operator does.
fn terminate(running: &mut Running) {
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = running.0.wait().unwrap();
    assert!(ended.success(), "{ended}");
}

#[tokio::test]
async fn without_a_chain_it_lives_says_why_it_is_not_ready_and_stops_on_sigterm() {
    let home = Home::new().with_wallet();
    let free = free_address();
    let config = home.config(&format!("[api]\nbind = \"{free}\"\n[metrics]\nenabled = false\n"));
    let child = home.command(&config, &["start"]).stderr(Stdio::null()).spawn().unwrap();
    let mut running = Running(child);
    eventually("readiness names the chain", || {
        get(free, "/ready").is_some_and(|a| {
            a.starts_with("HTTP/1.1 503") && a.contains("chain") && a.contains("ws://127.0.0.1:1")
        })
    })
    .await;
    eventually("the page of the weights says the same", || {
        get(free, "/weights").is_some_and(|a| a.contains("\"reason\":\"chain_unreachable\""))
    })
    .await;
    assert!(get(free, "/nodes").unwrap().contains("\"total_count\":0"));
    assert!(get(free, "/weights").unwrap().contains("\"latest\":null"));
    assert!(get(free, "/elsewhere").unwrap().starts_with("HTTP/1.1 404"));
    let status = home.run(&config, &["status"]);
    assert_eq!(status.status.code(), Some(1), "unhealthy is exit code 1");
    let told = String::from_utf8_lossy(&status.stdout);
    assert!(told.contains("validator is unhealthy, and leads\n"), "{status:?}");
    assert!(told.contains("not before this validator sees a block of the chain"), "{status:?}");
    let words = failure(&home.run(&config, &["why", "root@198.51.100.7:22"]));
    assert!(words.contains("knows no node"), "{words}");
    terminate(&mut running);
}

#[tokio::test]
async fn why_a_condition_does_not_hold_is_told_to_whoever_has_the_hotkey_and_others_are_told_what_they_need()
{
    let mut server = basilica_postgres::Postgres::start();
    let home = Home::new().with_wallet();
    let free = free_address();
    let old = format!("url = \"sqlite:{}/validator.db\"", home.path().display());
    let config = home
        .config(&format!("[api]\nbind = \"{free}\"\n[metrics]\nenabled = false\n"))
        .replace(&old, &format!("url = \"{}\"", server.database()));
    let child = home.command(&config, &["start"]).stderr(Stdio::null()).spawn().unwrap();
    let mut running = Running(child);
    let leads = || get(free, "/leadership").is_some_and(|page| page.contains("\"role\":\"leader\""));
    eventually("it leads", leads).await;
    server.crash();
    let withheld = basilica_http::WITHHELD;
    eventually("strangers are told no reason", || get(free, "/health").is_some_and(|a| a.contains(withheld)))
        .await;
    let told = home.run(&config, &["status"]);
    let words = String::from_utf8_lossy(&told.stdout);
    assert_eq!(told.status.code(), Some(1), "{told:?}");
    assert!(words.contains("validator is unhealthy") && words.contains("leadership: "), "{words}");
    assert!(!words.contains(withheld), "{words}");
    let json = home.run(&config, &["status", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["health"]["status"], "unhealthy", "{json}");

    std::fs::rename(home.path().join("wallets"), home.path().join("elsewhere")).unwrap();
    let others = home.run(&config, &["status"]);
    assert!(String::from_utf8_lossy(&others.stdout).contains(withheld), "{others:?}");
    let needed = String::from_utf8_lossy(&others.stderr);
    assert!(needed.contains("api.api_key_file") && needed.contains("Failed to load hotkey"), "{needed}");
    terminate(&mut running);
}

#[tokio::test]
async fn it_lives_on_when_nobody_reads_its_log() {
    let home = Home::new().with_wallet();
    let free = free_address();
    let config = home.config(&format!("[api]\nbind = \"{free}\"\n[metrics]\nenabled = false\n"));
    let mut running = Running(spawn_unread(&mut home.command(&config, &["start", "-v"])));
    eventually("it asks the chain, and says so to nobody", || {
        get(free, "/ready").is_some_and(|answer| answer.contains("ws://127.0.0.1:1"))
    })
    .await;
    terminate(&mut running);
}

#[test]
fn commands_end_as_they_should_when_nobody_reads_their_answer() {
    let home = Home::new().with_wallet();
    let good = home.config("");
    let wrong = home.config("retires = 3\n");
    for (config, arguments, code) in [
        (&good, ["check-config"].as_slice(), 0),
        (&good, &["config", "show"], 0),
        (&wrong, &["check-config"], 78),
        (&wrong, &["start", "--json"], 78),
        (&good, &["frobnicate"], 2),
        (&good, &["--help"], 0),
        (&good, &["status"], 1),
    ] {
        let mut child = spawn_unread(&mut home.command(config, arguments));
        assert_eq!(child.wait().unwrap().code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn the_configuration_is_shown_without_access_keys_unless_asked() {
    let home = Home::new().with_wallet();
    let config = home.config("").replace("ws://127.0.0.1:1", "wss://user:hunter2@node.example:443/hunter2");
    for arguments in [["config", "show"].as_slice(), &["config", "show", "--json"]] {
        let output = home.command(&config, arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("wss://node.example:443"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let output = home.command(&config, &["config", "show", "--show-sensitive"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("hunter2"));
}

/// A validator on `network` whose first endpoint is the chain of these tests, and a key in its URL.
fn on_devchain(home: &Home, url: &str, network: &str, (api, metrics): (SocketAddr, SocketAddr)) -> Running {
    let config = home
        .config(&format!(
            "[api]\nbind = \"{api}\"\n[metrics.prometheus]\nhost = \"{}\"\nport = {}\n",
            metrics.ip(),
            metrics.port()
        ))
        .replace("ws://127.0.0.1:1", &format!("{url}/?apikey=hunter2"))
        .replace("network = \"local\"", &format!("network = \"{network}\""));
    Running(home.command(&config, &["start"]).stderr(Stdio::null()).spawn().unwrap())
}

#[tokio::test]
async fn the_endpoints_of_the_chain_and_the_age_of_the_metagraph_are_metrics() {
    let devchain = basilica_testkit::Devchain::start(&serde_json::json!({ "block_time_ms": 200 }), &[]);
    let (home, api, metrics) = (Home::new().with_wallet(), free_address(), free_address());
    let _running = on_devchain(&home, &devchain.url, "local", (api, metrics));
    let labels = format!("{{endpoint=\"{}\",place=\"0\"", devchain.url);
    let expected = [
        format!("chain_endpoint_up{labels}}} 1"),
        format!("chain_endpoint_in_use{labels}}} 1"),
        format!("chain_endpoint_state{labels},state=\"healthy\"}} 1"),
        format!("chain_endpoint_head{labels}}} "),
        "chain_metagraph_age_seconds ".to_owned(),
    ];
    eventually("the metrics", || {
        get(metrics, "/metrics").is_some_and(|text| expected.iter().all(|line| text.contains(line)))
    })
    .await;
    assert!(!get(metrics, "/metrics").unwrap().contains("hunter2"), "a key of the URL is shown to nobody");
}

#[tokio::test]
async fn an_endpoint_of_another_chain_cannot_pass_for_the_main_network() {
    let devchain = basilica_testkit::Devchain::start(&serde_json::json!({ "block_time_ms": 200 }), &[]);
    let (home, api, metrics) = (Home::new().with_wallet(), free_address(), free_address());
    let _running = on_devchain(&home, &devchain.url, "finney", (api, metrics));
    eventually("readiness names the wrong chain", || {
        get(api, "/ready").is_some_and(|a| a.starts_with("HTTP/1.1 503") && a.contains("genesis 0x"))
    })
    .await;
    let up = format!("chain_endpoint_up{{endpoint=\"{}\",place=\"0\"}} 0", devchain.url);
    eventually("the endpoint is not up", || get(metrics, "/metrics").is_some_and(|text| text.contains(&up)))
        .await;
}

#[test]
fn a_policy_is_simulated_without_wallet_or_network_and_the_same_by_the_same_seed() {
    let home = Home::new();
    let config = home.config("retries = 4\n");
    let arguments =
        ["--json", "simulate-policy", "--node-months", "40", "--scenario", "tampered", "--seed", "7"];
    let output = home.run(&config, &arguments);
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let measure = &report["scenarios"][0]["measures"][0];
    assert_eq!((&measure["hits"], &measure["of"]), (&40.into(), &40.into()), "{report:#}");
    assert_eq!(home.run(&config, &arguments).stdout, output.stdout);
    let unknown = home.run(&config, &["simulate-policy", "--scenario", "sunshine"]);
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn an_example_configuration_is_written_to_a_new_file_only() {
    let home = Home::new();
    let path = home.path().join("new.toml");
    let run = || home.run("no configuration is read", &["config", "gen", "-o", path.to_str().unwrap()]);
    assert!(run().status.success());
    assert_eq!(std::fs::read(&path).unwrap(), include_bytes!("../../../../config/validator.toml.example"));
    let again = failure(&run());
    assert!(again.contains("new.toml exists already") && again.contains("never written over"), "{again}");
    let nowhere = failure(&home.run("", &["config", "gen", "-o", "/nonexistent/v.toml"]));
    assert!(nowhere.contains("directory does not exist") && !nowhere.contains("written over"), "{nowhere}");
}

#[tokio::test]
async fn connecting_goes_as_far_as_the_host_key_and_logs_in_nowhere() {
    let home = Home::new();
    let config = home.config("allow_private_hosts = true\n");
    let nodes = basilica_testkit::Nodes::start(&["gpu"]).await;
    let node = nodes.node("gpu");
    let address = node.address().to_string();
    let shown = answer(&home.run(&config, &["connect", &address, "--json"]));
    let key = node.host_key();
    let reached = &shown["reached"][0];
    assert_eq!(reached["host_key"].as_str(), Some(key.to_string().as_str()), "{shown}");
    assert_eq!(reached["fingerprint"].as_str(), Some(key.fingerprint().as_str()));
    let text = home.run(&config, &["connect", &address]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("speaks SSH") && text.contains(&key.fingerprint()), "{text}");

    let nobody = format!("root@{}", free_address());
    let output = home.run(&config, &["connect", &nobody]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("refused"), "{output:?}");
    let private = failure(&home.run(&home.config(""), &["connect", &address]));
    assert!(private.contains("not a public address"), "{private}");
}

#[test]
fn a_node_that_is_named_wrongly_is_a_wrong_argument() {
    let home = Home::new();
    for (arguments, words) in [
        (["connect", "nonsense"].as_slice(), "neither a node's whole id nor an address"),
        (&["connect", "root@h:99999"], "port is not a number from 1 to 65535"),
        (&["why", "27aa7e36"], "neither a node's whole id nor an address"),
        (&["verify", "--node", "root@h"], "not of the form user@host:port"),
    ] {
        let shown = failure_with(2, &home.run(&home.config(""), arguments));
        assert!(shown.contains(words), "{arguments:?}: {shown}");
    }
}

#[test]
fn an_audit_log_is_checked_and_a_change_in_it_is_named() {
    let home = Home::new();
    let line = |previous: &str, at: u8| {
        format!(
            r#"{{"previous":{previous},"at":"2026-01-01T00:00:0{at}.000Z","operation":"login","node":"root@198.51.100.7:22","what":null,"sent":0,"received":0,"took_ms":1,"result":"ok"}}"#
        )
    };
    let first = line("null", 1);
    let head = format!("\"{}\"", blake3::hash(first.as_bytes()).to_hex());
    let path = home.path().join("audit.log");
    let write = |first: &str| std::fs::write(&path, format!("{first}\n{}\n", line(&head, 2))).unwrap();
    write(&first);
    let config = home.config(&format!("[ssh_session]\naudit_log_path = \"{}\"\n", path.display()));
    let good = answer(&home.run(&config, &["audit", "--json"]));
    assert_eq!((&good["lines"], &good["holds"]), (&2.into(), &true.into()), "{good}");
    let kept = good["head"].as_str().unwrap();
    answer(&home.run(&config, &["audit", "--json", "--head", kept]));
    let other = "07".repeat(32);
    let anew = failure(&home.run(&config, &["audit", "--head", &other]));
    assert!(anew.contains("no line of this log has the hash 0707"), "{anew}");
    write(&line("null", 3));
    let broken = home.run(&config, &["audit", "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&broken.stdout).unwrap();
    assert!(!broken.status.success() && told["holds"] == false, "{broken:?}");
    let words = failure(&home.run(&config, &["audit"]));
    assert!(words.contains("line 2 does not follow"), "{words}");
    let none = failure(&home.run(&home.config(""), &["audit"]));
    assert!(none.contains("ssh_session.audit_log_path"), "{none}");
}
