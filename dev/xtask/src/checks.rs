//! What a change must pass. Cheap failures come first; every step is named, and timed at the end.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::command::{Failure, run, succeeds};
use crate::workspace::Workspace;
use crate::{finney, kernels, layers, licences, runner, sdk, setup, sources, wasm};

/// Named steps, one after another, up to the first that fails.
struct Steps {
    done: Vec<(&'static str, Duration)>,
    total: usize,
}

impl Steps {
    const fn of(total: usize) -> Self {
        Self { done: Vec::new(), total }
    }

    fn run<T>(
        &mut self,
        name: &'static str,
        step: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        println!("\n==> {}/{} {name}", self.done.len() + 1, self.total);
        let began = now();
        let result = step();
        self.done.push((name, began.elapsed()));
        if result.is_err() {
            println!("{}", self.times(Some(name)));
        }
        result
    }

    /// What each step took.
    fn times(&self, failed: Option<&str>) -> String {
        let line = |name: &str, span: Duration| {
            let note = if failed == Some(name) { "  FAILED" } else { "" };
            format!("  {name:<28} {:>4} min {:02} s{note}\n", span.as_secs() / 60, span.as_secs() % 60)
        };
        let total = self.done.iter().map(|(_, span)| *span).sum();
        let lines: String = self.done.iter().map(|(name, span)| line(name, *span)).collect();
        format!("\ntimes:\n{lines}{}", line("all", total))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing is decided by these times; they are shown to a person"
)]
fn now() -> Instant {
    Instant::now()
}

/// `cargo xtask check`.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let mut steps = Steps::of(6);
    quick_checks(workspace, &mut steps)?;
    compiler_checks(workspace, &mut steps)?;
    println!("{}", steps.times(None));
    Ok(())
}

/// `cargo xtask test`.
pub(crate) fn test(workspace: &Workspace) -> Result<(), Failure> {
    println!("building into {}", workspace.target.display());
    let mut steps = Steps::of(14);
    steps.run("system tools", setup::run)?;
    quick_checks(workspace, &mut steps)?;
    let clients = steps.run("Python clients", || sdk::variables(workspace))?;
    let finney = steps.run("metadata of spec 365", || finney::variable(workspace))?;
    let compiler = steps.run("compiler of the GPU's kernels", || kernels::variables(workspace))?;
    compiler_checks(workspace, &mut steps)?;
    // Everything at once, binaries too: integration tests start them.
    steps.run("build", || workspace.build(&["--lib", "--tests", "--examples"]))?;
    steps.run("WebAssembly module", || wasm::build(workspace))?;
    let features = workspace.features()?;
    let cargo = |arguments: &[&str]| {
        let mut command = workspace.cargo(arguments);
        command.arg(&features);
        command
            .env("BASILICA_BIN_DIR", workspace.binaries())
            .envs(clients.iter().cloned())
            .envs(compiler.iter().cloned())
            .env(finney.0, &finney.1);
        command
    };
    let examples = ["test", "--workspace", "--doc", "--quiet"];
    steps.run("documentation's examples", || run(&mut cargo(&examples)))?;
    steps.run("tests", || {
        if succeeds(&mut workspace.cargo(&["nextest", "--version"])) {
            run(&mut cargo(&["nextest", "run", "--workspace"]))
        } else {
            println!("    cargo-nextest is not installed; running one process per test without it");
            runner::run(&mut cargo(&["test", "--workspace", "--no-run", "--message-format=json"]))
        }
    })?;
    println!("{}", steps.times(None));
    Ok(())
}

/// What takes seconds.
fn quick_checks(workspace: &Workspace, steps: &mut Steps) -> Result<(), Failure> {
    steps.run("formatting", || run(&mut workspace.cargo(&["fmt", "--all", "--", "--check"])))?;
    steps.run("layers and sources", || layers_and_sources(workspace))?;
    // Before any step that would quietly rewrite a lock file that does not fit the manifests.
    steps.run("dependencies as locked", || {
        run(&mut workspace.cargo(&["fetch", "--locked", "--target", "host-tuple"]))
    })?;
    steps.run("licences of what ships", || licences::check(workspace))
}

/// What the compiler and its documentation say about every target.
fn compiler_checks(workspace: &Workspace, steps: &mut Steps) -> Result<(), Failure> {
    let features = workspace.features()?;
    steps.run("lints", || {
        let arguments = ["clippy", "--workspace", "--all-targets", &features, "--", "-D", "warnings"];
        run(&mut workspace.cargo(&arguments))
    })?;
    steps.run("documentation", || {
        let arguments = ["doc", "--workspace", "--no-deps", "--document-private-items", &features];
        run(workspace.cargo(&arguments).env("RUSTDOCFLAGS", "-D warnings"))
    })
}

/// `cargo xtask layers`.
pub(crate) fn layers_and_sources(workspace: &Workspace) -> Result<(), Failure> {
    let packages = workspace.packages()?;
    let mut problems = layers::check(&workspace.root, &packages)?;
    problems.extend(sources::check(&workspace.root)?);
    if problems.is_empty() {
        println!("    {} crates keep their layers", packages.len());
        for (path, lines) in sources::long_files(&workspace.root)? {
            println!("    note: {} has {lines} lines; can it be two?", path.display());
        }
        return Ok(());
    }
    Err(Failure::Broken(format!("rules of the repository are broken:\n  {}", problems.join("\n  "))))
}

/// `cargo xtask bench`: every benchmark of the workspace, none of the test harnesses.
pub(crate) fn bench(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let mut command: Command = workspace.cargo(&["bench"]);
    let packages = workspace.packages()?;
    let benched: Vec<_> = packages.iter().filter(|package| !package.benches.is_empty()).collect();
    if benched.is_empty() {
        return Err(Failure::Broken("no crate has a benchmark".to_owned()));
    }
    for package in benched {
        command.args(["--package", &package.name]);
        for bench in &package.benches {
            command.args(["--bench", &bench.name]);
        }
    }
    run(command.arg("--").args(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_end_at_the_first_failure_and_say_which() {
        let mut steps = Steps::of(2);
        steps.run("good", || Ok(1)).expect("it is good");
        steps.run("bad", || Err::<(), _>(Failure::Broken("no".to_owned()))).expect_err("it is bad");
        let times = steps.times(Some("bad"));
        assert!(times.contains("good") && times.contains("s  FAILED\n"), "{times}");
        assert_eq!(times.matches("FAILED").count(), 1);
    }
}
