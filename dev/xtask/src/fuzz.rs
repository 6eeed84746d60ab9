//! `cargo xtask fuzz`: libFuzzer on the targets of `dev/fuzz-targets`, through the programs in `fuzz/`.
//!
//! Needs the stable toolchain and a C++ compiler, nothing else: coverage is asked of the compiler by flags that stable has,
//! and no sanitizer is linked, for which a nightly toolchain would be needed. What a sanitizer would find, safe Rust does
//! not have; overflow and debug assertions are on. cargo-fuzz runs the same programs where somebody prefers it.
//!
//! What is found goes to the target directory, and a failure there is named. With `--keep` the inputs that reach something
//! new are merged into the repository's corpus.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Failure, output, run};
use crate::setup;
use crate::workspace::Workspace;

/// What the compiler adds: counters at every edge, and the operands of comparisons.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";
/// Where nothing else is said, per target.
const SECONDS: u64 = 60;
/// An input that takes longer has found something.
const SLOW: &str = "-timeout=20";
/// So has one that takes more memory, in MiB.
const LARGE: &str = "-rss_limit_mb=1024";
/// Longest input that is made, in bytes.
const LONG: &str = "-max_len=65536";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    target: Option<String>,
    seconds: u64,
    keep: bool,
}

impl Asked {
    fn read(arguments: &[String]) -> Result<Self, Failure> {
        let usage = |why: String| Failure::Usage(format!("`fuzz`: {why}"));
        let mut asked = Self { target: None, seconds: SECONDS, keep: false };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--keep" => asked.keep = true,
                "--seconds" => {
                    let number = words.next().and_then(|number| number.parse().ok());
                    asked.seconds = number.ok_or_else(|| usage("--seconds takes a number".to_owned()))?;
                }
                flag if flag.starts_with('-') => return Err(usage(format!("no option `{flag}`"))),
                name if asked.target.is_none() => asked.target = Some(name.to_owned()),
                more => return Err(usage(format!("one target or all, not also `{more}`"))),
            }
        }
        Ok(asked)
    }
}

/// Does what was asked, target after target.
pub(crate) fn run_verb(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let asked = Asked::read(arguments)?;
    let folder = workspace.root.join("fuzz");
    let known = targets(&folder)?;
    let chosen = match &asked.target {
        None => known,
        Some(name) if known.contains(name) => vec![name.clone()],
        Some(name) => {
            return Err(Failure::Usage(format!("no target `{name}`; there are {}", known.join(", "))));
        }
    };
    setup::fuzzer()?;
    let built = build(workspace, &folder)?;
    for target in &chosen {
        fuzz(workspace, &built.join(target), target, &asked)?;
    }
    Ok(())
}

/// The names of the programs.
fn targets(folder: &Path) -> Result<Vec<String>, Failure> {
    let sources = folder.join("fuzz_targets");
    let failed = |source| Failure::File { path: sources.clone(), source };
    let entries = std::fs::read_dir(&sources).map_err(failed)?;
    let files = entries.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut names: Vec<String> =
        files.iter().filter_map(|file| Some(file.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

/// Builds the programs; returns where they are.
fn build(workspace: &Workspace, folder: &Path) -> Result<PathBuf, Failure> {
    // The repository's versions: cargo adds the engine and leaves out what is not needed.
    let (lock, own) = (workspace.root.join("Cargo.lock"), folder.join("Cargo.lock"));
    std::fs::copy(&lock, &own).map_err(|source| Failure::File { path: own, source })?;
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or_else(|| Failure::Broken("`rustc -vV` names no host".to_owned()))?;
    let target = workspace.target.join("fuzz");
    // A named target keeps the flags from build scripts and macros.
    let mut command = workspace.cargo(&["build", "--release", "--target", host]);
    command.current_dir(folder).env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", COVERAGE);
    command.env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION");
    run(&mut command)?;
    Ok(target.join(host).join("release"))
}

fn fuzz(workspace: &Workspace, program: &Path, target: &str, asked: &Asked) -> Result<(), Failure> {
    let kept = workspace.root.join("fuzz/corpus").join(target);
    let found = workspace.target.join("fuzz/corpus").join(target);
    let failures = workspace.target.join("fuzz/artifacts").join(target);
    for folder in [&found, &failures] {
        std::fs::create_dir_all(folder).map_err(|source| Failure::File { path: folder.clone(), source })?;
    }
    let failing = format!("-artifact_prefix={}/", failures.display());
    let mut command = Command::new(program);
    command.args([SLOW, LARGE, LONG, &failing, "-print_final_stats=1"]);
    command.arg(format!("-max_total_time={}", asked.seconds));
    run(command.arg(&found).arg(&kept)).map_err(|failure| {
        let why = format!(
            "{failure}\nthe input is in {}: mend what it shows, and make it a test",
            failures.display()
        );
        Failure::Broken(format!("{target} breaks a promise: {why}"))
    })?;
    if asked.keep {
        // The fewest inputs that reach every edge; how often each is passed would keep several times as many.
        let fewest = ["-set_cover_merge=1", "-use_counters=0"];
        run(Command::new(program).arg(LONG).args(fewest).arg(&kept).arg(&found))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Asked, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Asked::read(&words).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_target_and_its_time_are_read() {
        assert_eq!(read(&[]), Ok(Asked { target: None, seconds: SECONDS, keep: false }));
        let asked = Asked { target: Some("text".to_owned()), seconds: 5, keep: true };
        assert_eq!(read(&["text", "--seconds", "5", "--keep"]), Ok(asked));
        for (words, reason) in [
            (&["--seconds"][..], "--seconds takes a number"),
            (&["--seconds", "soon"], "--seconds takes a number"),
            (&["--jobs"], "no option `--jobs`"),
            (&["text", "claims"], "one target or all"),
        ] {
            let refusal = read(words).expect_err("a wrong call");
            assert!(refusal.contains(reason), "{refusal}");
        }
    }

    #[test]
    fn every_target_is_known_by_its_program() {
        let workspace = Workspace::find().expect("a clone");
        let targets = targets(&workspace.root.join("fuzz")).expect("a folder");
        assert!(targets.contains(&"verifier".to_owned()), "{targets:?}");
    }
}
