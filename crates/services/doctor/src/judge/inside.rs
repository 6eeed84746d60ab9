//! What is wrong behind a login.

use basilica_types::Timestamp;
use basilica_verification::Finding as CheckFinding;
use basilica_verification::probe::{CardRules, CudaVersion};

use super::{Checked, Inside, NodeSeen, account, validators};
use crate::examine::{Cache, Examined};
use crate::finding::{Code, Finding, Remedy};
use crate::shell::Commands;
use crate::sshd;

/// Beyond this the miner places no keys (see its key editor), in seconds.
const MAX_SKEW_SECS: i64 = 60;
/// A login takes one, checks side by side some more.
const FEW_STARTUPS: u32 = 10;
/// The validators' client runs so many commands at a time.
const FEW_SESSIONS: u32 = 5;
const RELOAD: &str = "then: sudo sshd -t && sudo systemctl reload ssh";
/// KiB.
const LITTLE_ROOM: i64 = 1024 * 1024;

pub(super) fn findings(seen: &NodeSeen, inside: &Inside) -> Vec<Finding> {
    let mut found = commands(seen, &inside.commands);
    let examined = inside.examined.as_ref().and_then(|examined| examined.as_ref().ok());
    if let Some(words) = &inside.second_refused {
        found.push(of_sshd(Code::SshdMaxSessions, words.clone(), examined));
    }
    match &inside.examined {
        None => {}
        Some(Err(why)) => found.push(unexamined(why)),
        Some(Ok(examined)) => {
            found.extend(clock(examined, inside.between));
            found.extend(tools(examined));
            found.extend(files(examined));
            found.extend(settings(seen, inside, examined));
            let passed =
                matches!(&inside.checked, Checked::Done(done) if done.finding == CheckFinding::Passed);
            if !passed {
                found.extend(driver(seen, examined));
                found.extend(containers(seen, examined));
            }
        }
    }
    let own: Vec<Code> = found.iter().map(|finding| finding.code).collect();
    found.extend(validators::findings(inside, &own));
    found
}

/// Of a setting that is too small.
fn of_sshd(code: Code, words: String, examined: Option<&Examined>) -> Finding {
    let [clear, add] = sshd::by_hand(sshd::setting(code).unwrap_or_default());
    let finding = Finding::new(code, words, &[&clear, &add, RELOAD]);
    let can_set = examined.is_some_and(Examined::can_set_sshd);
    if can_set { finding.healed_by(Remedy::Sshd) } else { finding }
}

fn unexamined(why: &str) -> Finding {
    if why.contains("took longer") {
        return slow(why.to_owned());
    }
    Finding::new(
        Code::ToolsMissing,
        why,
        &["on the node: sudo apt-get install --reinstall coreutils grep findutils"],
    )
}

fn slow(words: String) -> Finding {
    Finding::new(Code::NodeSlow, words, &["on the node: look at its load and disks (uptime, iostat, dmesg)"])
}

fn commands(seen: &NodeSeen, commands: &Commands) -> Vec<Finding> {
    let user = &seen.address.user;
    let finding = match commands {
        Commands::Work => return Vec::new(),
        Commands::Noise(words) => Finding::new(
            Code::ShellNoise,
            format!("before the answer came: {words}"),
            &[
                &format!("on the node, first line of ~{user}/.bashrc: case $- in *i*) ;; *) return ;; esac"),
                "and the same in whatever else prints it (ssh localhost echo ok must print ok alone)",
            ],
        ),
        Commands::Forced(words) => match forced_by_line(seen) {
            Some(options) => Finding::new(
                Code::KeyOptions,
                format!("before the key stands: {options}"),
                &[&format!("on the node, in ~{user}/.ssh/authorized_keys: remove {options} before the key")],
            ),
            None => Finding::new(
                Code::ForcedCommand,
                format!("asked to echo a word, it answered: {words}"),
                &[
                    "on the node, in /etc/ssh/sshd_config: remove ForceCommand for this user",
                    &format!(
                        "and in ~{user}/.ssh/authorized_keys: remove command=\"...\" before the miner's key"
                    ),
                    RELOAD,
                ],
            ),
        },
        Commands::Refused(words) | Commands::NotPosix(words) => Finding::new(
            Code::LoginShell,
            words.clone(),
            &[&format!("on the node: sudo chsh -s /bin/bash {user}")],
        ),
        Commands::Slow => slow("echo did not answer in time".to_owned()),
        Commands::NoSession(words) => of_sshd(Code::SshdMaxSessions, words.clone(), None),
        // sshd may let a key in and end the connection for what the account is.
        Commands::Lost(words) => {
            if let Some(Ok(examined)) = &seen.by_other {
                let found = account::findings(seen, examined, words);
                if !found.is_empty() {
                    return found;
                }
            }
            Finding::new(Code::ConnectionLost, words.clone(), &["on the node: sudo journalctl -u ssh -n 50"])
        }
    };
    vec![finding]
}

fn forced_by_line(seen: &NodeSeen) -> Option<String> {
    let Some(Ok(examined)) = &seen.by_other else { return None };
    let key = seen.key.as_ref()?.to_string();
    let options = examined.all("key-line").iter().find_map(|line| account::options(line, &key))?;
    options.contains("command=").then(|| options.to_owned())
}

fn clock(examined: &Examined, (before, after): (Timestamp, Timestamp)) -> Option<Finding> {
    let now = examined.number("now")?;
    let off =
        if now < before.as_secs() { now - before.as_secs() } else { (now - after.as_secs() - 1).max(0) };
    (off.abs() > MAX_SKEW_SECS).then(|| {
        Finding::new(
            Code::ClockNode,
            format!("it is {} s {}", off.abs(), if off < 0 { "behind" } else { "ahead" }),
            &[
                "on the node: sudo timedatectl set-ntp true",
                "then: timedatectl (System clock synchronized: yes)",
            ],
        )
    })
}

fn tools(examined: &Examined) -> Option<Finding> {
    let missing = examined.all("missing");
    (!missing.is_empty()).then(|| {
        let fix = "on the node: sudo apt-get install --reinstall coreutils grep findutils";
        Finding::new(Code::ToolsMissing, format!("not found: {}", missing.join(", ")), &[fix])
    })
}

fn files(examined: &Examined) -> Vec<Finding> {
    let mut found = Vec::new();
    let own = "on the node: sudo chown -R \"$(id -un)\" ~/.cache ~/.ssh && chmod u+rwx ~/.cache ~/.ssh";
    match examined.cache() {
        Some(Cache::Unwritable(why)) if why.contains("No space left") || why.contains("quota") => {
            let fix = ["on the node: df -h ~ && du -xhd1 ~ | sort -h; then remove what is not needed"];
            found.push(Finding::new(Code::HomeFull, why, &fix));
        }
        Some(Cache::Unwritable(why)) => {
            let finding = Finding::new(Code::HomeUnwritable, why.clone(), &[own]);
            let is_mode = why.contains("Permission denied");
            found.push(if is_mode { finding.healed_by(Remedy::Directories) } else { finding });
        }
        Some(Cache::Noexec(why)) => {
            let fix = [
                "on the node: sudo mount -o remount,exec \"$(df --output=target ~ | tail -n 1)\", and the same in /etc/fstab",
            ];
            found.push(Finding::new(Code::HomeNoexec, why, &fix));
        }
        Some(Cache::Ok) | None => {}
    }
    let is_unreadable = examined.mode("mode-keys").is_some() && !examined.has("keys-read");
    // A file system that takes nothing is one cause.
    let is_read_only = matches!(examined.cache(), Some(Cache::Unwritable(why)) if why.contains("Read-only"));
    if !is_read_only && (examined.one("ssh-writable") == Some("no") || is_unreadable) {
        let seen = if is_unreadable { "authorized_keys cannot be read" } else { "~/.ssh cannot be written" };
        found.push(Finding::new(Code::KeysUnwritable, seen, &[own]).healed_by(Remedy::Directories));
    }
    if found.is_empty() && examined.number("home-free").is_some_and(|free| free < LITTLE_ROOM) {
        let free = examined.one("home-free").unwrap_or_default();
        found.push(Finding::new(Code::HomeSmall, format!("{free} KiB are free"), &["on the node: df -h ~"]));
    }
    found
}

fn settings(seen: &NodeSeen, inside: &Inside, examined: &Examined) -> Vec<Finding> {
    let mut found = Vec::new();
    if !examined.has("sshd-read") {
        found.push(Finding::new(
            Code::SshdUnknown,
            "sshd -T needs root, and sudo asks for a password",
            &["on the node: sudo sshd -T | grep -Ei 'maxstartups|maxsessions|persourcepenalties|allowtcpforwarding'"],
        ));
    }
    let number =
        |name: &str| examined.sshd(name).and_then(|value| value.split(':').next()?.parse::<u32>().ok());
    if let Some(few) = number("maxstartups").filter(|begin| *begin < FEW_STARTUPS) {
        let said = format!(
            "MaxStartups {} begins to drop at {few}",
            examined.sshd("maxstartups").unwrap_or_default()
        );
        found.push(of_sshd(Code::SshdMaxStartups, said, Some(examined)));
    }
    let few = number("maxsessions").filter(|most| *most < FEW_SESSIONS && inside.second_refused.is_none());
    if let Some(few) = few {
        found.push(of_sshd(Code::SshdMaxSessions, format!("MaxSessions {few}"), Some(examined)));
    }
    if let Some(penalties) = examined.sshd("persourcepenalties").filter(|value| !value.starts_with("no")) {
        let fix = [
            "on the node, with the validators' addresses: sudo sed -i '1i PerSourcePenaltyExemptList 203.0.113.7,203.0.113.8' /etc/ssh/sshd_config",
            RELOAD,
        ];
        found.push(Finding::new(Code::SshdPenalties, penalties, &fix));
    }
    found.extend(forwarding(examined));
    if let Some(version) = examined.one("openssh").filter(|version| is_old(version)) {
        found.push(Finding::new(
            Code::OpensshOld,
            version,
            &["on the node: sudo apt-get install openssh-server"],
        ));
    }
    if seen.address.user.as_str() == "root" {
        let fix = ["make a user in the group docker, and set username in miner.toml"];
        found.push(Finding::new(Code::RootLogin, "username is root", &fix));
    }
    found
}

/// What hardened hosts turn off (seed 001).
fn forwarding(examined: &Examined) -> Option<Finding> {
    let value = examined.sshd("allowtcpforwarding").filter(|value| *value != "no")?;
    let [comment, write] = sshd::by_hand("AllowTcpForwarding no");
    let seen = format!("AllowTcpForwarding {value}");
    Some(Finding::new(Code::SshdForwarding, seen, &[&comment, &write, RELOAD]))
}

/// Before 7.7.
fn is_old(version: &str) -> bool {
    let Some(rest) = version.strip_prefix("OpenSSH_") else { return false };
    let mut numbers = rest.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < (7, 7))
}

fn driver(seen: &NodeSeen, examined: &Examined) -> Option<Finding> {
    const INSTALL: &str = "on the node: sudo apt-get install nvidia-driver-570-server, then sudo reboot";
    if seen.takes_private && examined.has("simulated") {
        return None;
    }
    let Some(said) = examined.driver() else {
        let fix = [INSTALL];
        return examined
            .has("driver")
            .then(|| Finding::new(Code::DriverMissing, "nvidia-smi: command not found", &fix));
    };
    if said.words.contains("No devices were found") || (said.code == 0 && said.words.is_empty()) {
        let words = if said.words.is_empty() { "nvidia-smi lists nothing".to_owned() } else { said.words };
        return Some(Finding::new(
            Code::NoGpu,
            words,
            &["on the node: lspci | grep -i nvidia; sudo dmesg | grep -i nvrm"],
        ));
    }
    if said.code != 0 {
        let fix = ["on the node: sudo modprobe nvidia; sudo dmesg | grep -i nvidia", INSTALL];
        return Some(Finding::new(Code::DriverBroken, format!("nvidia-smi: {}", said.words), &fix));
    }
    let CudaVersion { major, minor } = CardRules::default().cuda;
    let (has_major, has_minor) = examined.cuda()?;
    ((has_major, has_minor) < (u32::from(major), u32::from(minor))).then(|| {
        let seen = format!(
            "driver {} runs CUDA {has_major}.{has_minor}; validators ask for {major}.{minor}",
            said.words
        );
        Finding::new(Code::CudaTooOld, seen, &[INSTALL])
    })
}

/// Whether an engine's words are docker's to a user who is not in its group.
pub fn docker_denies(program: &str, words: &str) -> bool {
    program == "docker" && words.to_lowercase().contains("permission denied")
}

fn containers(seen: &NodeSeen, examined: &Examined) -> Option<Finding> {
    let user = &seen.address.user;
    let engines = examined.engines();
    let Some(first) = engines.first() else {
        let fix = [format!(
            "on the node: curl -fsSL https://get.docker.com | sudo sh && sudo usermod -aG docker {user}"
        )];
        let fix: Vec<&str> = fix.iter().map(String::as_str).collect();
        return Some(Finding::new(
            Code::DockerMissing,
            "docker: command not found; podman: command not found",
            &fix,
        ));
    };
    if let Some(answers) = engines.iter().find(|engine| engine.said.code == 0) {
        let runtimes = examined.one("runtimes")?;
        let lacks = answers.program == "docker" && !runtimes.split(' ').any(|runtime| runtime == "nvidia");
        return lacks.then(|| no_gpu_in_containers(format!("docker knows the runtimes {runtimes}")));
    }
    let words = format!("{}: {}", first.program, first.said.words);
    if docker_denies(&first.program, &first.said.words) {
        let fix = format!(
            "on the node: sudo usermod -aG docker {user}; then run doctor again (a new login has the group)"
        );
        return Some(Finding::new(Code::DockerDenied, words, &[&fix]));
    }
    let fix = ["on the node: sudo systemctl enable --now docker; sudo journalctl -u docker -n 50"];
    Some(Finding::new(Code::DockerDown, words, &fix))
}

pub(super) fn no_gpu_in_containers(words: String) -> Finding {
    Finding::new(
        Code::DockerNoGpu,
        words,
        &[
            "on the node: sudo apt-get install -y nvidia-container-toolkit",
            "then: sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker",
            "it is right when this lists the GPUs: docker run --rm --gpus all ubuntu nvidia-smi -L",
        ],
    )
}
