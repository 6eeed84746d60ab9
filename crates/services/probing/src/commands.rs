//! What is run on nodes. Constant scripts; values are arguments and never become code (decision D9).

use basilica_types::{Argv, Digest, ImageName, Millis};
use basilica_verification::ProbeRules;
use basilica_verification::probe::{self, Engine};

use crate::prover::ProverFile;

/// Exit code of the node's gate when the session's key has run out (RULES R9).
pub const GATE_CLOSED: u32 = 97;
/// `serve-token` found its port taken.
pub(crate) const PORT_TAKEN: u32 = 4;
/// The prover is not there or does not have its hash.
pub(crate) const PROVER_MISSING: u32 = probe::PROVER_MISSING as u32;

/// Writes standard input to the prover's place: beside it first, then renamed, if its hash is right.
const UPLOAD: &str = r#"set -eu
umask 077
dir="$HOME/.cache/basilica"
mkdir -p "$dir"
new=$(mktemp "$dir/.upload.XXXXXXXX")
trap 'rm -f "$new"' EXIT HUP INT TERM
cat >"$new"
sum=$(sha256sum <"$new")
[ "${sum%% *}" = "$2" ] || exit 65
chmod 700 "$new"
mv -f "$new" "$dir/prover-$1""#;

/// Runs the prover if its file has the hash, and nothing else otherwise; one script for each of its verbs.
macro_rules! run_prover {
    ($verb:literal) => {
        concat!(
            "file=\"$HOME/.cache/basilica/prover-$1\"\n",
            "[ -x \"$file\" ] || exit 66\n",
            "sum=$(sha256sum <\"$file\") || exit 66\n",
            "[ \"${sum%% *}\" = \"$2\" ] || exit 66\n",
            "exec \"$file\" ",
            $verb
        )
    };
}

/// Prints the output of one command as a section. Where a tool hangs, its section says so by `timeout`'s exit code; what it started goes with it.
macro_rules! in_sections {
    ($($script:literal),+) => {
        concat!(
            "export LC_ALL=C\n",
            "section() { printf '%s %s %s\\n%s\\n' \"$1\" \"$2\" \"${#3}\" \"$3\"; }\n",
            "run() { name=$1; limit=$2; shift 2; out=$(timeout -k 1 \"$limit\" \"$@\" 2>/dev/null </dev/null); code=$?; section \"$name\" \"$code\" \"$out\"; return \"$code\"; }\n",
            $($script,)+
            "section end 0 ''"
        )
    };
}

/// `$1` nonce, `$2` and `$3` the prover's hashes, `$4` the engines to look for, `$5` seconds for each of them, `$6` for the prover. The
/// first engine that answers is enough. Docker's labels are a list as text, podman's (which has no `.Label` before 4.9) a map.
const LOOK: &str = in_sections!(
    "section nonce 0 \"$1\"\n",
    "for engine in $4; do\n",
    "command -v \"$engine\" >/dev/null 2>&1 || continue\n",
    "case $engine in docker) label='.Label \"basilica.rental_id\"' ;; *) label='index .Labels \"basilica.rental_id\"' ;; esac\n",
    "run \"$engine\" \"$5\" \"$engine\" ps --no-trunc --filter label=basilica.rental_id --format \"{{.ID}} {{$label}}\" && break\n",
    "done\n",
    "file=\"$HOME/.cache/basilica/prover-$2\"\n",
    "if [ -x \"$file\" ] && sum=$(sha256sum <\"$file\") && [ \"${sum%% *}\" = \"$3\" ]; then\n",
    "run claims \"$6\" \"$file\" claims\n",
    "else section claims 66 ''; fi\n"
);

/// `$1` the engines to look for, `$2` whether to ask for the machine, `$3` whether for room, `$4` seconds for each tool. Room is that
/// of the place where an engine keeps its images; where none tells it, there is nothing to measure.
const SURVEY: &str = in_sections!(
    "if [ \"$2\" = yes ]; then\n",
    "run lscpu \"$4\" lscpu\n",
    "run meminfo \"$4\" cat /proc/meminfo\n",
    "[ -e /etc/os-release ] && run os-release \"$4\" cat /etc/os-release\n",
    "run uname \"$4\" uname -sr\n",
    "fi\n",
    "root=\n",
    "for engine in $1; do\n",
    "command -v \"$engine\" >/dev/null 2>&1 || continue\n",
    "run \"$engine\" \"$4\" \"$engine\" info --format '{{json .}}' || continue\n",
    "case $engine in docker) field='{{.DockerRootDir}}' ;; *) field='{{.Store.GraphRoot}}' ;; esac\n",
    "found=$(timeout -k 1 \"$4\" \"$engine\" info --format \"$field\" 2>/dev/null </dev/null) && [ -d \"$found\" ] && { root=$found; break; }\n",
    "done\n",
    "[ \"$3\" = yes ] && [ -n \"$root\" ] && run df \"$4\" df -P -B1 -- \"$root\"\n"
);

/// `$1` the engine, `$2` the image, `$3` and `$4` seconds for pulling and for running, `$5` whether to pull what is there. Why it could
/// not be pulled is told by the end of what the engine wrote. What is left of a container whose engine had to be killed is removed.
const CONTAINER: &str = in_sections!(
    "is_there() { timeout -k 1 15 \"$1\" image inspect \"$2\" >/dev/null 2>&1 </dev/null; }\n",
    "is_there \"$1\" \"$2\"; there=$?\n",
    "if [ \"$5\" = yes ] || [ \"$there\" != 0 ]; then\n",
    "why=$(timeout -k 1 \"$3\" \"$1\" pull -q \"$2\" 2>&1 >/dev/null </dev/null); pulled=$?\n",
    "[ \"$pulled\" = 0 ] && why=\n",
    "section pull \"$pulled\" \"$(printf %s \"$why\" | tail -c 2000)\"\n",
    "is_there \"$1\" \"$2\"; there=$?\n",
    "fi\n",
    "section image \"$there\" ''\n",
    "case $1 in docker) gpus='--gpus=all' ;; *) gpus='--device=nvidia.com/gpu=all' ;; esac\n",
    "if [ \"$there\" = 0 ]; then\n",
    "run gpus \"$4\" \"$1\" run --rm --name \"basilica-gpus-$$\" --network none --label basilica.probe=gpus \"$gpus\" --entrypoint nvidia-smi \"$2\" -L\n",
    "timeout -k 1 15 \"$1\" rm -f \"basilica-gpus-$$\" >/dev/null 2>&1 </dev/null\n",
    "fi\n"
);

const CLAIMS: &str = run_prover!("claims");
const PROVE: &str = run_prover!("prove --expect-hash \"$1\"");
const STREAM: &str = run_prover!("stream");
const SERVE: &str = run_prover!("serve-token --port \"$3\" --patience \"$4\"");

/// Seconds for one part in so many of what must end within the deadline, a tenth of which is for the rest. What hangs on the node
/// is then told by the section of its own, and not by silence.
fn share(deadline: Millis, parts: u64) -> u64 {
    (deadline.0 / 1_000 * 9 / 10 / parts).max(1)
}

/// A light check's look at a node, in sections (see `basilica_verification::probe::look`).
pub fn look(nonce: &[u8; 32], prover: &ProverFile, probes: &ProbeRules, deadline: Millis) -> Argv {
    let engines = if probes.containers.is_asked() { "docker podman" } else { "" };
    let nonce = Digest::from_bytes(*nonce).to_string();
    let hashes = [prover.name().to_string(), prover.checksum().to_string()];
    // Two engines may hang before the prover has its turn.
    let seconds = [share(deadline, 4), share(deadline, 2)].map(|seconds| seconds.to_string());
    let arguments = [nonce].into_iter().chain(hashes).chain([engines.to_owned()]).chain(seconds);
    Argv::script(LOOK, arguments).expect("a constant, digits and words fit")
}

/// Puts the prover on the node; its bytes are the command's input.
pub(crate) fn upload(prover: &ProverFile) -> Argv {
    script(UPLOAD, prover)
}

/// Lists the node's devices.
pub(crate) fn claims(prover: &ProverFile) -> Argv {
    script(CLAIMS, prover)
}

/// Answers a challenge on its standard streams.
pub(crate) fn prove(prover: &ProverFile) -> Argv {
    script(PROVE, prover)
}

/// A full check's survey of the machine.
pub(crate) fn survey(probes: &ProbeRules, deadline: Millis) -> Argv {
    let word = |is_asked: bool| if is_asked { "yes" } else { "no" };
    let engines = if probes.asks_containers() || probes.storage.is_asked() { "docker podman" } else { "" };
    // Files and lists hang together or not at all; two engines are asked two things each.
    let seconds = share(deadline, 6).to_string();
    let arguments =
        [engines, word(probes.hardware.is_asked()), word(probes.storage.is_asked()), seconds.as_str()];
    Argv::script(SURVEY, arguments).expect("a constant and words fit")
}

/// How long the parts of a container's run may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContainerTimes {
    pub(crate) pull: Millis,
    pub(crate) run: Millis,
}

/// Has a container of the image list the GPUs. It is pulled where it is not there, and `anew` where it is.
pub(crate) fn container(engine: Engine, image: &ImageName, times: ContainerTimes, anew: bool) -> Argv {
    let seconds = |span: Millis| span.0.div_ceil(1_000).to_string();
    let word = if anew { "yes" } else { "no" };
    let (engine, image) = (engine.program().to_owned(), image.in_full());
    let arguments = [engine, image, seconds(times.pull), seconds(times.run), word.to_owned()];
    Argv::script(CONTAINER, arguments).expect("a constant, a bounded name and numbers fit")
}

/// Answers once on a port, for so many seconds; question and answer are its input.
pub(crate) fn serve_token(prover: &ProverFile, port: u16, seconds: u64) -> Argv {
    let hashes = [prover.name().to_string(), prover.checksum().to_string()];
    let numbers = [port.to_string(), seconds.to_string()];
    Argv::script(SERVE, hashes.into_iter().chain(numbers)).expect("a constant, hashes and numbers fit")
}

/// Sends the bytes that it is asked for on its standard input.
pub(crate) fn stream(prover: &ProverFile) -> Argv {
    script(STREAM, prover)
}

fn script(text: &'static str, prover: &ProverFile) -> Argv {
    let hashes = [prover.name().to_string(), prover.checksum().to_string()];
    Argv::script(text, hashes).expect("a constant and two hashes fit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    /// Runs a command as sshd would, in a home of its own.
    fn run(home: &std::path::Path, argv: &Argv, input: &[u8]) -> (Option<i32>, Vec<u8>) {
        let mut child = Command::new("sh")
            .args(["-c", &argv.to_command_line()])
            .env("HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), output.stdout)
    }

    #[test]
    fn the_prover_runs_only_with_its_hash_and_is_replaced_when_altered() {
        let home = tempfile::tempdir().unwrap();
        let program = b"#!/bin/sh\necho \"$@\"\n".to_vec();
        let prover = ProverFile::new(program.clone());
        let missing = i32::try_from(PROVER_MISSING).unwrap();
        assert_eq!(run(home.path(), &claims(&prover), b"").0, Some(missing));
        assert_eq!(run(home.path(), &upload(&prover), &program).0, Some(0));
        assert_eq!(run(home.path(), &claims(&prover), b""), (Some(0), b"claims\n".to_vec()));
        let expected = format!("prove --expect-hash {}\n", prover.name());
        assert_eq!(run(home.path(), &prove(&prover), b""), (Some(0), expected.into_bytes()));
        let file = home.path().join(format!(".cache/basilica/prover-{}", prover.name()));
        std::fs::write(&file, b"#!/bin/sh\necho forged\n").unwrap();
        assert_eq!(run(home.path(), &claims(&prover), b"").0, Some(missing));
        assert_eq!(run(home.path(), &upload(&prover), &program).0, Some(0));
        assert_eq!(run(home.path(), &claims(&prover), b"").0, Some(0));
    }

    /// A home whose prover claims one GPU, and a PATH with these engines beside the system's tools.
    fn node(engines: &[(&str, &str)]) -> (tempfile::TempDir, ProverFile) {
        let home = tempfile::tempdir().unwrap();
        let program = b"#!/bin/sh\necho '{\"version\":2,\"devices\":[]}'\n".to_vec();
        let prover = ProverFile::new(program.clone());
        assert_eq!(run(home.path(), &upload(&prover), &program).0, Some(0));
        std::fs::create_dir(home.path().join("bin")).unwrap();
        for tool in ["sh", "timeout", "sha256sum", "cat", "sleep"] {
            let there = ["/usr/bin", "/bin"].iter().map(|dir| std::path::Path::new(dir).join(tool));
            let tool_path = there.into_iter().find(|path| path.exists()).expect("coreutils are installed");
            std::os::unix::fs::symlink(tool_path, home.path().join("bin").join(tool)).unwrap();
        }
        for (engine, script) in engines {
            let path = home.path().join("bin").join(engine);
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        (home, prover)
    }

    const LIMIT: Millis = Millis::from_secs(60);

    fn look_at(home: &std::path::Path, prover: &ProverFile, rules: &ProbeRules) -> probe::Seen {
        let nonce = [0xab; 32];
        let line = look(&nonce, prover, rules, Millis::from_secs(60)).to_command_line();
        let output = Command::new("/bin/sh")
            .args(["-c", &line])
            .env("HOME", home)
            .env("PATH", home.join("bin"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        probe::Seen::parse(&output.stdout, &nonce, rules.containers.is_asked()).unwrap()
    }

    #[test]
    fn a_look_reads_nonce_engine_rentals_and_gpus_in_one_command() {
        use basilica_verification::probe::{Engine, EngineState};
        let listing = format!("#!/bin/sh\necho {} rental-1\n", "ab".repeat(32));
        let silent = "#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n";
        for (engines, state, rentals) in [
            (vec![], EngineState::Absent, 0),
            (vec![("docker", listing.as_str())], EngineState::Answers(Engine::Docker), 1),
            (vec![("docker", silent)], EngineState::Silent(Engine::Docker), 0),
            (vec![("docker", silent), ("podman", "#!/bin/sh\n")], EngineState::Answers(Engine::Podman), 0),
        ] {
            let (home, prover) = node(&engines);
            let seen = look_at(home.path(), &prover, &ProbeRules::default());
            assert_eq!((seen.engine, seen.rentals.0.len()), (state, rentals));
            assert!(seen.claims.is_some_and(|report| report.devices.is_empty()));
            let unasked = look_at(home.path(), &prover, &ProbeRules::NONE);
            assert_eq!(unasked.engine, EngineState::NotAsked);
        }
    }

    #[test]
    fn podman_is_asked_in_its_own_words_and_only_where_docker_does_not_answer() {
        use basilica_verification::probe::{Engine, EngineState};
        let listing = format!("echo {} rental-1", "ab".repeat(32));
        let only = |template: &str, engine: &str| {
            format!(
                "#!/bin/sh\n: >\"$HOME/{engine}-was-asked\"\n\
                 case \"$*\" in *'{template} \"basilica.rental_id\"'*) {listing} ;; *) exit 125 ;; esac\n"
            )
        };
        let (docker, podman) = (only(".Label", "docker"), only("index .Labels", "podman"));
        let (home, prover) = node(&[("docker", &docker), ("podman", &podman)]);
        let seen = look_at(home.path(), &prover, &ProbeRules::default());
        assert_eq!((seen.engine, seen.rentals.0.len()), (EngineState::Answers(Engine::Docker), 1));
        assert!(!home.path().join("podman-was-asked").exists(), "one answer is enough");
        // As podman-docker installs it, before 4.9.
        let (home, prover) = node(&[("docker", &podman), ("podman", &podman)]);
        let seen = look_at(home.path(), &prover, &ProbeRules::default());
        assert_eq!((seen.engine, seen.rentals.0.len()), (EngineState::Answers(Engine::Podman), 1));
    }

    #[test]
    fn what_hangs_on_a_node_ends_before_its_command_does() {
        for seconds in [10, 30, 60, 600] {
            let deadline = Millis::from_secs(seconds);
            assert!(2 * share(deadline, 4) + share(deadline, 2) < seconds, "{seconds}");
            assert!(5 * share(deadline, 6) < seconds, "{seconds}");
        }
    }

    #[test]
    fn room_is_measured_where_an_engine_keeps_its_images_or_not_at_all() {
        use basilica_verification::probe::{Found, Survey};
        let rules = ProbeRules::default();
        let elsewhere = engine("exit 1").replace("echo / ;;", "echo /not/on/this/host ;;");
        let (home, _) = node(&[("docker", &elsewhere), ("podman", "#!/bin/sh\nexit 1\n")]);
        let survey = Survey::parse(&printed(home.path(), &survey(&rules, LIMIT)), &rules).unwrap();
        assert_eq!(survey.storage, Some(Found::Unreadable), "the home is no place for images");
    }

    #[test]
    fn a_look_without_the_prover_or_with_another_says_so() {
        let (home, prover) = node(&[]);
        std::fs::write(home.path().join(format!(".cache/basilica/prover-{}", prover.name())), "x").unwrap();
        assert_eq!(look_at(home.path(), &prover, &ProbeRules::NONE).claims, None);
        let other = ProverFile::new(b"another".to_vec());
        assert_eq!(look_at(home.path(), &other, &ProbeRules::NONE).claims, None);
    }

    /// What a command prints on that node.
    fn printed(home: &std::path::Path, argv: &Argv) -> Vec<u8> {
        let path = std::env::join_paths([home.join("bin"), "/usr/bin".into(), "/bin".into()]).unwrap();
        let output = Command::new("/bin/sh")
            .args(["-c", &argv.to_command_line()])
            .env("HOME", home)
            .env("PATH", path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// An engine that answers `info` as Docker does, and runs a container that prints this.
    fn engine(run: &str) -> String {
        format!(
            "#!/bin/sh\ncase \"$1 $3\" in\n\
             'info {{{{json .}}}}') echo '{{\"ServerVersion\":\"27.3.1\",\"Driver\":\"overlay2\"}}' ;;\n\
             'info {{{{.DockerRootDir}}}}') echo / ;;\n\
             pull*) echo \"$3\" >>\"$HOME/pulls\"; case $3 in docker.io/good/*) : >\"$HOME/image\" ;;\n\
             */busy/*) printf '%3000s' toomanyrequests >&2; exit 1 ;; */slow/*) exit 124 ;; *) echo 'no such host' >&2; exit 1 ;; esac ;;\n\
             'image '*) [ -e \"$HOME/image\" ] ;;\n\
             run*) echo \"$4\" >\"$HOME/container\"; {run} ;;\n\
             'rm '*) rm \"$HOME/container\" ;;\n*) exit 9 ;; esac\n"
        )
    }

    #[test]
    fn a_survey_reads_this_machine_and_its_engine() {
        use basilica_verification::probe::{EngineState, Found, Survey};
        let rules = ProbeRules::default();
        let fake = engine("exit 1");
        let (home, _) = node(&[("docker", &fake)]);
        let survey = Survey::parse(&printed(home.path(), &survey(&rules, LIMIT)), &rules).unwrap();
        assert!(matches!(survey.hardware, Some(Found::Read(machine)) if machine.cpus > 0));
        assert!(matches!(survey.storage, Some(Found::Read(room)) if room.total_bytes > 0));
        let Some(Found::Read(host)) = survey.containers else { panic!("{:?}", survey.containers) };
        assert_eq!((host.engine, host.version.as_str()), (EngineState::Answers(Engine::Docker), "27.3.1"));
        let nothing = printed(home.path(), &super::survey(&ProbeRules::NONE, LIMIT));
        assert_eq!(nothing, b"end 0 0\n\n", "what is not asked is not done");
    }

    /// What a container comes to, with one GPU wanted.
    fn ran(home: &std::path::Path, image: &str, anew: bool) -> probe::ContainerRun {
        let image: ImageName = image.parse().unwrap();
        let times = ContainerTimes { pull: Millis::from_secs(20), run: Millis::from_secs(20) };
        let output = printed(home, &container(Engine::Docker, &image, times, anew));
        assert!(!home.join("container").exists(), "nothing is left");
        probe::ContainerRun::parse(&output, &[UUID.parse().unwrap()].into()).unwrap()
    }

    const UUID: &str = "GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5b";

    #[test]
    fn a_container_is_run_of_the_image_and_its_failures_are_told_apart() {
        use basilica_verification::probe::ContainerRun;
        let seen = format!("echo 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: {UUID})'");
        for (run, image, expected) in [
            (seen.as_str(), "good/image:1", ContainerRun::SawAll),
            ("true", "good/image:1", ContainerRun::Missed(1)),
            ("exit 125", "good/image:1", ContainerRun::Failed),
            (seen.as_str(), "bad/image:1", ContainerRun::NoImage),
            (seen.as_str(), "slow/image:1", ContainerRun::PullPutOff),
            (seen.as_str(), "busy/image:1", ContainerRun::PullPutOff),
        ] {
            let (home, _) = node(&[("docker", &engine(run))]);
            assert_eq!(ran(home.path(), image, true), expected);
        }
    }

    #[test]
    fn an_image_that_is_there_is_run_without_a_pull_and_after_a_pull_that_failed() {
        use basilica_verification::probe::ContainerRun;
        let seen = format!("echo 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: {UUID})'");
        let (home, _) = node(&[("docker", &engine(&seen))]);
        let pulls = || std::fs::read_to_string(home.path().join("pulls")).unwrap().lines().count();
        assert_eq!(
            (ran(home.path(), "good/image:1", false), pulls()),
            (ContainerRun::SawAll, 1),
            "not there"
        );
        assert_eq!((ran(home.path(), "good/image:1", false), pulls()), (ContainerRun::SawAll, 1));
        assert_eq!((ran(home.path(), "good/image:1", true), pulls()), (ContainerRun::SawAll, 2));
        assert_eq!(ran(home.path(), "down/image:1", true), ContainerRun::SawAllUnpulled);
    }

    #[test]
    fn a_torn_upload_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let prover = ProverFile::new(b"#!/bin/sh\n".to_vec());
        assert_eq!(run(home.path(), &upload(&prover), b"#!/bin").0, Some(65));
        let left = std::fs::read_dir(home.path().join(".cache/basilica")).unwrap().count();
        assert_eq!(left, 0);
    }
}
