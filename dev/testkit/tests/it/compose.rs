//! The miner's compose file in each of the places that older guides copy it to, by their own lines (docs/seed-compatibility.md), as docker
//! compose itself reads it: its interpolation, its `.env`, its paths. No daemon is asked, so that nothing is built or started.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::older::{Home, docker_lines, said};

/// What Debian 12's docker compose, 1.29, is too old for, and what stands for it there. The one that the guides mean is 2 or newer.
const OLDER: [(&str, &str); 2] =
    [("\nname: basilica-miner\n", "\n"), ("bind: { create_host_path: false }", "bind: {}")];

/// The operator's copy of the sources, as far as docker compose looks at it, and a home.
struct Sources(tempfile::TempDir);

impl Sources {
    fn new() -> Self {
        let sources = Self(tempfile::tempdir().unwrap());
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/miner");
        std::fs::create_dir_all(sources.root().join("scripts/miner")).unwrap();
        for name in ["compose.prod.yml", "Dockerfile", ".env"] {
            std::fs::copy(scripts.join(name), sources.root().join("scripts/miner").join(name)).unwrap();
        }
        sources
    }

    fn root(&self) -> PathBuf {
        // A temporary directory may be behind a link, which docker compose resolves.
        self.0.path().canonicalize().unwrap()
    }

    /// What a guide's line does in the sources' root; the directory in which the shell is afterwards.
    fn type_line(&self, line: &str) -> PathBuf {
        assert!(docker_lines().contains(&line), "docs/seed-compatibility.md has no {line:?}");
        let output = Command::new("sh")
            .args(["-ec", &format!("{line}; pwd -P")])
            .current_dir(self.root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().into()
    }

    /// What docker compose makes of the file in a directory, line by line.
    fn resolved(&self, directory: &Path, file: &str, variables: &[(&str, &str)]) -> Vec<String> {
        let (mut command, is_older) = docker_compose();
        if is_older {
            let path = directory.join(file);
            let text = std::fs::read_to_string(&path).unwrap();
            let text = OLDER.iter().fold(text, |text, (newer, older)| {
                assert!(text.contains(newer), "{newer:?} is not in {file} any more");
                text.replace(newer, older)
            });
            std::fs::write(path, text).unwrap();
        }
        command.arg("config").current_dir(directory).env_clear().envs(variables.iter().copied());
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", "/home/operator");
        let output = command.output().unwrap();
        let text = said(&output);
        assert!(output.status.success() && !text.contains("variable is not set"), "{text}");
        text.lines().map(|line| line.trim_start_matches([' ', '-']).to_owned()).collect()
    }
}

/// The one that is there, and whether it is of before version 2.
fn docker_compose() -> (Command, bool) {
    for words in [&["docker", "compose"][..], &["docker-compose"]] {
        let command = || {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]);
            command
        };
        if let Some(version) = command().arg("version").output().ok().filter(|output| output.status.success())
        {
            return (command(), said(&version).contains("version 1."));
        }
    }
    panic!("docker compose is missing; install it: apt-get install docker-compose")
}

/// A path that is mounted where no other is.
fn mounts(resolved: &[String], source: &str, target: &str) -> bool {
    let newer = resolved
        .windows(2)
        .any(|lines| lines[0] == format!("source: {source}") && lines[1] == format!("target: {target}"));
    newer || resolved.iter().any(|line| *line == format!("{source}:{target}:rw"))
}

#[test]
fn the_file_finds_sources_configuration_and_keys_from_both_places_that_guides_copy_it_to() {
    let root_line = "cp ./scripts/miner/compose.prod.yml compose.yml";
    let miner_line = "cd scripts/miner; cp compose.prod.yml docker-compose.yml";
    let sources = Sources::new();
    let root = sources.root().display().to_string();
    let data = format!("{root}/data");
    let places = [
        (root_line, "compose.yml", root.as_str(), data.as_str()),
        (miner_line, "docker-compose.yml", "/opt/basilica/config", "/opt/basilica/data"),
    ];
    for (line, file, config, data) in places {
        let directory = sources.type_line(line);
        let resolved = sources.resolved(&directory, file, &[]);
        let has = |line: &str| resolved.iter().any(|found| found == line);
        assert!(
            has(&format!("context: {root}")) && has("dockerfile: scripts/miner/Dockerfile"),
            "{resolved:?}"
        );
        assert!(has("image: basilica-miner:latest") && has("miner:"), "{resolved:?}");
        for (source, target) in [
            ("/home/operator/.bittensor", "/root/.bittensor"),
            ("/home/operator/.ssh", "/root/.ssh"),
            (config, "/opt/basilica/config"),
            (data, "/opt/basilica/data"),
        ] {
            assert!(mounts(&resolved, source, target), "{source} -> {target}: {resolved:?}");
        }
    }
}

#[test]
fn whatever_the_env_file_names_can_be_set_and_the_environment_decides_over_it() {
    let sources = Sources::new();
    let line = "cd scripts/miner; cp compose.prod.yml docker-compose.yml";
    let directory = sources.type_line(line);
    let text = std::fs::read_to_string(directory.join(".env")).unwrap();
    let is_name = |name: &&str| name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_');
    let settings = text.lines().filter_map(|line| line.trim_start_matches('#').split_once('='));
    let named: BTreeSet<&str> = settings.map(|(name, _)| name).filter(is_name).collect();
    let file = std::fs::read_to_string(directory.join("docker-compose.yml")).unwrap();
    let taken = file.split("${").skip(1).map(|rest| rest.split(":-").next().unwrap());
    assert_eq!(named, taken.collect(), "{text}");

    // An older one wants the sources to be there.
    let value = |name: &str| {
        let folder = sources.root().join(name.to_lowercase());
        std::fs::create_dir(&folder).unwrap();
        folder.display().to_string()
    };
    let values: Vec<(&str, String)> = named.iter().map(|name| (*name, value(name))).collect();
    let profile = [("COMPOSE_PROFILES", "watchtower")];
    let variables: Vec<(&str, &str)> =
        values.iter().map(|(name, value)| (*name, value.as_str())).chain(profile).collect();
    let resolved = sources.resolved(&directory, "docker-compose.yml", &variables).join("\n");
    for (name, value) in &values {
        assert!(resolved.contains(value), "{name}: {resolved}");
    }
}

/// What a container is started with counts over the mounted file, which has metrics listen where no published port leads.
#[test]
fn a_published_metrics_port_answers_whether_compose_starts_the_container_or_docker_run_does() {
    let sources = Sources::new();
    let directory = sources.type_line("cp ./scripts/miner/compose.prod.yml compose.yml");
    let dockerfile = std::fs::read_to_string(sources.root().join("scripts/miner/Dockerfile")).unwrap();
    let set: Vec<&str> = dockerfile.lines().filter_map(|line| line.strip_prefix("ENV ")).collect();
    let [variable] = set[..] else { panic!("{set:?}") };
    let resolved = sources.resolved(&directory, "compose.yml", &[]);
    assert!(resolved.contains(&variable.replace('=', ": ")), "{variable}: {resolved:?}");
    let ports = dockerfile.lines().find_map(|line| line.strip_prefix("EXPOSE ")).unwrap();
    let run = docker_lines().into_iter().find(|line| line.starts_with("docker run ")).expect("its row");
    for port in ports.split(' ') {
        assert!(run.contains(&format!("-p {port}:{port}")), "{port}: {run}");
    }
    let home = Home::new();
    home.configure("metrics.prometheus.host = \"127.0.0.1\"");
    for (variable, host) in [(None, "127.0.0.1"), (Some(variable), "0.0.0.0")] {
        let shown = said(&home.run(variable, &["config", "show"]));
        assert!(shown.contains(&format!("metrics.prometheus.host = \"{host}\"")), "{shown}");
    }
}
