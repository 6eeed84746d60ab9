//! What the miner's guides say of the program is what the program does.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use basilica_testkit::built;

use crate::printed::literals_of_the_miner;

const TROUBLES: &str = include_str!("../../../../docs/troubleshooting.md");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = std::fs::read_dir(root().join("docs"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    pages.push(root().join("README.md"));
    pages
}

/// Whether a literal says what a heading shows, `…` standing for what is filled in. A heading that does not begin with that begins the message.
fn says(literal: &str, heading: &str) -> bool {
    let (mut rest, mut is_start) = (literal, true);
    heading.split('…').all(|part| {
        let (part, anchored) = (part.trim(), std::mem::take(&mut is_start));
        let found = rest.find(part).filter(|at| !anchored || part.is_empty() || *at == 0);
        rest = found.and_then(|at| rest.get(at + part.len()..)).unwrap_or_default();
        found.is_some()
    })
}

/// Headings whose words come together only in the running program: what shows them.
const COMPOSED: [&str; 2] = ["SSH key … does not exist", "… denied the login: Permission denied (publickey)"];

#[test]
fn every_message_that_is_explained_is_the_words_of_one_message() {
    assert!(says("the key in {} is {}", "the key in … is …") && says("{} is damaged", "… is damaged"));
    assert!(!says("a key in {} is", "key in …") && !says("is {}: the key in", "the key in … is …"));
    let literals = literals_of_the_miner();
    let headings: Vec<&str> =
        TROUBLES.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    assert!(headings.len() > 40, "{headings:?}");
    for heading in headings {
        let is_said = literals.iter().any(|literal| says(literal, heading));
        assert_ne!(is_said, COMPOSED.contains(&heading), "whether one message says {heading:?}");
    }
}

/// A command line as it can be tried: what is to be filled in filled in, without the shell's part.
fn tried(line: &str) -> Vec<String> {
    let fingerprint = format!("SHA256:{}", "A".repeat(43));
    let hotkey = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    let shells = [" # ", ";", "2>", ">", "|"];
    let line = shells.iter().fold(line, |line, end| line.split(end).next().unwrap());
    let digest = "07".repeat(32);
    let mut words = Vec::new();
    let mut quoted: Option<String> = None;
    for word in line.split_whitespace() {
        match &mut quoted {
            Some(text) => *text += word,
            None if word.starts_with('"') => quoted = Some(word.to_owned()),
            None => words.push(match word.trim_matches(['[', ']']) {
                "SHA256:..." | "FINGERPRINT" => fingerprint.clone(),
                "NODE" => "root@203.0.113.7:22".to_owned(),
                "HOTKEY" => hotkey.to_owned(),
                "HASH" => digest.clone(),
                "ID" => "0123456789abcdef".to_owned(),
                "USD" => "2.50".to_owned(),
                word => word.to_owned(),
            }),
        }
        if quoted.as_ref().is_some_and(|text| text.len() > 1 && text.ends_with('"')) {
            words.extend(quoted.take());
        }
    }
    words
}

/// Command lines of the miner within the text and the blocks of a page.
pub(crate) fn commands_of(page: &str) -> Vec<&str> {
    let (text, blocks): (Vec<_>, Vec<_>) =
        page.split("```").enumerate().partition(|(index, _)| index % 2 == 0);
    let inline = text.iter().flat_map(|(_, text)| text.split('`').skip(1).step_by(2));
    let lines = blocks.iter().filter_map(|(_, block)| block.strip_prefix("sh\n")).flat_map(str::lines);
    let lines = inline.chain(lines.map(str::trim));
    lines.filter(|line| line.split(' ').next() == Some("basilica-miner")).collect()
}

#[test]
fn every_command_of_the_miner_that_the_pages_name_exists() {
    let mut found = 0;
    for path in pages() {
        let page = std::fs::read_to_string(&path).unwrap();
        let is_table = path.ends_with("seed-compatibility.md");
        for line in commands_of(&page).into_iter().filter_map(|line| line.strip_prefix("basilica-miner ")) {
            // That page names what does not exist too, and has a test of its own.
            if line == "--gen-config" || is_table {
                continue;
            }
            let output =
                Command::new(built("basilica-miner")).args(tried(line)).arg("--help").output().unwrap();
            assert!(output.status.success(), "{}: {line}: {output:?}", path.display());
            found += 1;
        }
    }
    assert!(found >= 30, "{found}");
}

/// Configurations within the miner's pages, each of which is one to begin with.
#[test]
fn every_configuration_that_the_miners_pages_show_is_valid() {
    let mut found = 0;
    for name in ["miner-access.md", "miner-view.md", "miner-protocol.md", "miner.md"] {
        let page = std::fs::read_to_string(root().join("docs").join(name)).unwrap();
        let blocks = page.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("toml\n"));
        for block in blocks {
            let home = tempfile::tempdir().unwrap();
            let hotkey = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
            std::fs::write(home.path().join("miner.toml"), block.replace("5...", hotkey)).unwrap();
            std::fs::create_dir(home.path().join(".ssh")).unwrap();
            let key = home.path().join(".ssh/miner_node_key");
            let made =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
            assert!(made.unwrap().success());
            let mut command = Command::new(built("basilica-miner"));
            command
                .args(["config", "validate"])
                .current_dir(home.path())
                .env_clear()
                .env("HOME", home.path());
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            // There is no wallet, and no directory of the database; neither is a fault of the page.
            assert!(said.contains("is valid, but"), "{name}: {said}");
            found += 1;
        }
    }
    assert!(found >= 2, "{found}");
}

/// Every file below `scripts/`.
fn scripts(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            scripts(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn every_script_is_one_and_is_told_apart_where_it_is_called_wrongly() {
    let mut found = Vec::new();
    scripts(&root().join("scripts"), &mut found);
    let mut tried = 0;
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        let shell = text.starts_with("#!/bin/sh") || text.starts_with("# shellcheck shell=sh");
        let check = match path.extension().and_then(|extension| extension.to_str()) {
            Some("py") => Command::new("python3")
                .args(["-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())"])
                .arg(&path)
                .output(),
            _ if shell => Command::new("sh").arg("-n").arg(&path).output(),
            _ => continue,
        };
        let check = check.unwrap();
        assert!(check.status.success(), "{}: {check:?}", path.display());
        tried += 1;
    }
    assert!(tried >= 7, "{tried}");
    for (script, arguments, code) in [
        ("setup_ssh_keys.sh", ["--wrong", ""], 2),
        ("generate_config.sh", ["--help", ""], 0),
        ("setup_ssh_keys.sh", ["--help", ""], 0),
        ("miner/build.sh", ["--wrong", ""], 2),
        ("miner/deploy.sh", ["nowhere.toml", ""], 1),
        ("check_miner_health.py", ["--wrong", ""], 2),
        ("check_miner_health.py", ["--config", "nowhere.toml"], 78),
    ] {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(root().join("scripts").join(script).canonicalize().unwrap());
        command.args(arguments.iter().filter(|argument| !argument.is_empty())).current_dir(home.path());
        let program = built("basilica-miner");
        let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let output = command.env("HOME", home.path()).env("PATH", path).output().unwrap();
        let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
        assert_eq!(output.status.code(), Some(code), "{script} {arguments:?}: {said}");
        assert!(!said.is_empty(), "{script} {arguments:?}");
    }
}

/// Before there is a configuration: what ssh-copy-id is asked, and what the miner makes of the lines that the script prints.
#[test]
fn the_first_set_up_takes_every_form_of_address_that_the_miner_takes() {
    let nodes = [
        ("[::1]:2222", "-p 2222 basilica@::1", "basilica@[::1]:2222"),
        ("root@[2001:db8::1]", "-p 22 root@2001:db8::1", "root@[2001:db8::1]:22"),
        ("2001:db8::2", "-p 22 basilica@2001:db8::2", "basilica@[2001:db8::2]:22"),
        ("me@192.0.2.1:23", "-p 23 me@192.0.2.1", "me@192.0.2.1:23"),
        ("gpu.example.com", "-p 22 basilica@gpu.example.com", "basilica@gpu.example.com:22"),
    ];
    let home = tempfile::tempdir().unwrap();
    let programs = home.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    // Nobody is asked at these addresses.
    let copy = programs.join("ssh-copy-id");
    std::fs::write(&copy, "#!/bin/sh\nshift 2\necho \"asked $*\"\n").unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let output = Command::new(root().join("scripts/setup_ssh_keys.sh").canonicalize().unwrap())
        .args(["--nodes", &nodes.map(|(given, ..)| given).join(" ")])
        .current_dir(home.path())
        .env("HOME", home.path())
        .env("PATH", path)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let asked: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("asked ")).collect();
    assert_eq!(asked, nodes.map(|(_, asked, _)| asked));

    let (_, printed) = said.split_once("[ssh_session]").unwrap();
    let config = format!("[ssh_session]{}\n]\n", printed.split("\n]").next().unwrap());
    std::fs::write(home.path().join("miner.toml"), config).unwrap();
    let listed = Command::new(built("basilica-miner"))
        .args(["--json", "nodes", "list"])
        .current_dir(home.path())
        .env("HOME", home.path())
        .output()
        .unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let addresses: Vec<&str> =
        listed.as_array().unwrap().iter().map(|node| node["address"].as_str().unwrap()).collect();
    assert_eq!(addresses, nodes.map(|(.., address)| address));
}
