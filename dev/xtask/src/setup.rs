//! The system tools that the localnet, the tests and single verbs need. Installs them where it may, or says how.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Failure, succeeds};
use crate::wasm;

/// A tool, and the Debian and Ubuntu packages that have it.
struct Tool {
    name: &'static str,
    packages: &'static [&'static str],
    found: fn() -> bool,
}

/// For networks on this machine, and for building anything.
const NETWORK: [Tool; 8] = [
    Tool { name: "sshd", packages: &["openssh-server"], found: || on_path("sshd") },
    Tool {
        name: "ssh and ssh-keygen",
        packages: &["openssh-client"],
        found: || on_path("ssh") && on_path("ssh-keygen"),
    },
    Tool { name: "ip", packages: &["iproute2"], found: || on_path("ip") },
    Tool {
        name: "unshare and nsenter",
        packages: &["util-linux"],
        found: || on_path("unshare") && on_path("nsenter"),
    },
    Tool { name: "mount", packages: &["mount"], found: || on_path("mount") },
    Tool { name: "cc", packages: &["gcc", "libc6-dev"], found: || on_path("cc") },
    Tool { name: "kill", packages: &["procps"], found: || on_path("kill") },
    Tool { name: "python3 with venv", packages: &["python3", "python3-venv"], found: python_has_venv },
];

/// For the verifier's WebAssembly module.
const MODULE: [Tool; 1] = [Tool {
    name: "a compiler for WebAssembly",
    packages: &["rustc-web", "rust-web-src"],
    found: wasm::has_std,
}];

/// For its tests, which run the documentation's example.
const SCRIPTS: [Tool; 1] = [Tool { name: "node", packages: &["nodejs"], found: || on_path("node") }];

/// For the tests of the validator's store, which run on both of its engines.
const SERVERS: [Tool; 1] = [Tool {
    name: "postgres",
    packages: &["postgresql"],
    found: || on_path("postgres") || has_debian_postgres(),
}];

/// For the tests of the alerts and dashboards, which ask it.
const WATCHERS: [Tool; 1] = [Tool {
    name: "prometheus and promtool",
    packages: &["prometheus"],
    found: || on_path("prometheus") && on_path("promtool"),
}];

/// For the tests of the miner's compose file: it reads the file, and no daemon is asked.
const COMPOSE: [Tool; 1] = [Tool {
    name: "docker compose",
    packages: &["docker-compose"],
    found: || on_path("docker-compose") || succeeds(Command::new("docker").args(["compose", "version"])),
}];

/// For the tests of the GPU's kernels, which are compiled for this machine's CPU, and for the fuzzer's engine.
const CPLUSPLUS: [Tool; 1] = [Tool { name: "c++", packages: &["g++"], found: || on_path("c++") }];

/// What Debian asks before it starts a service of a freshly installed package.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Makes sure of what a network needs, and says nothing if it is there.
pub(crate) fn network() -> Result<(), Failure> {
    ensure(&NETWORK.iter().collect::<Vec<_>>())
}

/// The same for the validator's other engine.
pub(crate) fn servers() -> Result<(), Failure> {
    ensure(&SERVERS.iter().collect::<Vec<_>>())
}

/// The same for the verifier's module.
pub(crate) fn module() -> Result<(), Failure> {
    ensure(&MODULE.iter().collect::<Vec<_>>())
}

/// The same for the fuzzer.
pub(crate) fn fuzzer() -> Result<(), Failure> {
    ensure(&CPLUSPLUS.iter().collect::<Vec<_>>())
}

/// Makes sure of what the localnet and all tests need, and says so.
pub(crate) fn run() -> Result<(), Failure> {
    let tools: Vec<&Tool> = [&NETWORK[..], &MODULE, &SCRIPTS, &SERVERS, &WATCHERS, &COMPOSE, &CPLUSPLUS]
        .into_iter()
        .flatten()
        .collect();
    ensure(&tools)?;
    let names: Vec<&str> = tools.iter().map(|tool| tool.name).collect();
    println!("all system tools are there: {}", names.join(", "));
    Ok(())
}

fn ensure(tools: &[&Tool]) -> Result<(), Failure> {
    let missing = missing(tools);
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

fn missing<'a>(tools: &[&'a Tool]) -> Vec<&'a Tool> {
    tools.iter().copied().filter(|tool| !(tool.found)()).collect()
}

fn install(missing: &[&Tool]) -> Result<(), Failure> {
    let names = missing.iter().map(|tool| tool.name).collect::<Vec<_>>().join(", ");
    let mut packages: Vec<&str> = missing.iter().flat_map(|tool| tool.packages).copied().collect();
    packages.dedup();
    // Not every distribution has this one.
    let otherwise = match packages.contains(&"rustc-web") {
        true => format!(" ({})", wasm::ALTERNATIVE),
        false => String::new(),
    };
    let packages = packages.join(" ");
    if !on_path("apt-get") {
        return Err(Failure::Broken(format!(
            "missing: {names}. This system has no apt-get; install what Debian calls: {packages}{otherwise}"
        )));
    }
    println!("missing: {names}; installing {packages}{otherwise}");
    let script = script(&packages, POLICY);
    if is_root() {
        crate::command::run(Command::new("sh").args(["-c", &script]))?;
    } else if succeeds(Command::new("sudo").args(["-n", "true"])) {
        crate::command::run(Command::new("sudo").args(["-n", "sh", "-c", &script]))?;
    } else {
        return Err(Failure::Broken(format!(
            "missing: {names}. Run this line{otherwise}, then try again:\n\n    {}",
            by_hand(&packages)
        )));
    }
    let still: Vec<&str> = self::missing(missing).iter().map(|tool| tool.name).collect();
    if still.is_empty() {
        Ok(())
    } else {
        Err(Failure::Broken(format!("still missing: {}", still.join(", "))))
    }
}

fn by_hand(packages: &str) -> String {
    format!("sudo apt-get update && sudo apt-get install -y --no-install-recommends {packages}")
}

/// Installs without starting anything: Debian's packages start their services unless `policy-rc.d` forbids it, and
/// would start a freshly installed sshd at the next boot.
fn script(packages: &str, policy: &str) -> String {
    let fresh_sshd = if packages.contains("openssh-server") {
        "; ! command -v systemctl >/dev/null || systemctl disable ssh.service ssh.socket 2>/dev/null || true"
    } else {
        ""
    };
    format!(
        "set -e; export DEBIAN_FRONTEND=noninteractive; \
         if [ ! -e {policy} ]; then trap 'rm -f {policy}' EXIT; trap 'exit 130' INT TERM; \
         printf '#!/bin/sh\\nexit 101\\n' >{policy}; chmod 755 {policy}; fi; \
         apt-get update -q; apt-get install -q -y --no-install-recommends {packages}{fresh_sshd}"
    )
}

/// Where a program is, also in the folders that only root has on its path.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
}

fn on_path(program: &str) -> bool {
    find(program).is_some()
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Debian keeps the servers of all versions out of the path.
fn has_debian_postgres() -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.into_iter().any(|version| is_executable(&version.path().join("bin/postgres")))
}

fn python_has_venv() -> bool {
    succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"]))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().is_ok_and(|own| own.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_where_only_root_looks_too() {
        assert!(find("sh").is_some_and(|sh| sh.is_absolute()));
        assert_eq!(find("no-such-program-anywhere"), None);
        assert!(!is_executable(Path::new("/etc/passwd")) && !is_executable(Path::new("/usr")));
    }

    /// A folder that is gone at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
            std::fs::create_dir(&path).expect("a folder of this name is not there yet");
            Self(path)
        }

        fn program(&self, name: &str, script: &str) {
            use std::os::unix::fs::PermissionsExt;
            let file = self.0.join(name);
            std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("the folder is writable");
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&file, mode).expect("the file is ours");
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            // Left behind in the system's temporary folder at worst.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Runs the script with an apt-get that tells what it was asked and whether services may start meanwhile.
    fn installed(folder: &Folder, apt_get_ends: u8) -> (bool, String) {
        let policy = folder.0.join("policy-rc.d");
        let (policy, log) = (policy.display(), folder.0.join("log"));
        let record = |line: &str| format!("echo \"{line}\" >>{}", log.display());
        let services = format!("{policy}; test $? = 101 && {}", record("no services start"));
        folder.program("apt-get", &format!("{}\n{services}\nexit {apt_get_ends}", record("apt-get $*")));
        folder.program("systemctl", &record("systemctl $*"));
        let path = format!("{}:/usr/bin:/bin", folder.0.display());
        let mut command = Command::new("sh");
        command.args(["-c", &script("openssh-server gcc", &policy.to_string())]).env("PATH", path);
        (succeeds(&mut command), std::fs::read_to_string(&log).expect("apt-get was called"))
    }

    #[test]
    fn packages_are_installed_without_starting_their_services() {
        let folder = Folder::new("installs");
        let (done, log) = installed(&folder, 0);
        assert!(done);
        assert_eq!(
            log,
            "apt-get update -q\nno services start\n\
             apt-get install -q -y --no-install-recommends openssh-server gcc\nno services start\n\
             systemctl disable ssh.service ssh.socket\n"
        );
        assert!(!folder.0.join("policy-rc.d").exists(), "the policy was for this installation only");
    }

    #[test]
    fn a_failed_installation_fails_and_leaves_no_policy_behind() {
        let folder = Folder::new("fails");
        let (done, log) = installed(&folder, 100);
        assert!(!done && !log.contains("install"), "{log}");
        assert!(!folder.0.join("policy-rc.d").exists());
    }

    #[test]
    fn a_policy_of_the_machine_is_kept() {
        let folder = Folder::new("keeps");
        folder.program("policy-rc.d", "exit 101");
        assert!(installed(&folder, 0).0);
        assert!(folder.0.join("policy-rc.d").exists());
        assert!(!script("gcc", POLICY).contains("systemctl"), "nothing to disable");
    }

    #[test]
    fn the_line_to_run_by_hand_is_one_line() {
        assert_eq!(
            by_hand("gcc libc6-dev"),
            "sudo apt-get update && sudo apt-get install -y --no-install-recommends gcc libc6-dev"
        );
    }
}
