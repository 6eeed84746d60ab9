//! Runs tests one process each, where cargo-nextest is not installed.
//!
//! Not a test runner of its own taste: our fixtures rely on a process per test (RULES R23: each enters namespaces of
//! its own, which threads of one process cannot), and `cargo test` runs the tests of a crate as threads. This does the
//! least that keeps that promise: the same binaries, listed by libtest, each test by its exact name, its output shown
//! where it fails, a limit on its time. Groups and their width follow `.config/nextest.toml`.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

use crate::command::{Failure, output, spelled, succeeds};

/// The longest that one test may take.
const LIMIT: Duration = Duration::from_secs(600);
/// Its tests start whole networks: at most this many at a time.
const HEAVY: (&str, usize) = ("basilica-testkit", 2);

/// A test binary that cargo has built.
#[derive(Debug, PartialEq, Eq)]
struct Binary {
    package: String,
    /// Where its tests expect to run.
    folder: PathBuf,
    executable: PathBuf,
}

#[derive(Debug)]
struct Test<'a> {
    binary: &'a Binary,
    name: String,
}

/// Runs every test of the binaries that `build` (a `cargo test --no-run --message-format=json`) reports.
pub(crate) fn run(build: &mut Command) -> Result<(), Failure> {
    let report = output(build)?;
    let binaries = binaries(&report).map_err(|why| Failure::Answer { command: spelled(build), why })?;
    let environment: Vec<_> =
        build.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    let command = |binary: &Binary| {
        let mut command = Command::new(&binary.executable);
        command.current_dir(&binary.folder).envs(environment.iter().cloned());
        command.env("CARGO_MANIFEST_DIR", &binary.folder).env("CARGO_PKG_NAME", &binary.package);
        command
    };
    let mut tests = Vec::new();
    for binary in &binaries {
        let listed = output(command(binary).args(["--list", "--format", "terse"]))?;
        tests.extend(names(&listed).map(|name| Test { binary, name: name.to_owned() }));
    }
    if tests.is_empty() {
        return Err(Failure::Broken("no test was found".to_owned()));
    }
    let (heavy, light): (Vec<_>, Vec<_>) = tests.into_iter().partition(|t| t.binary.package == HEAVY.0);
    let width = std::thread::available_parallelism().map_or(1, usize::from);
    let total = heavy.len() + light.len();
    let mut failed = run_all(&light, width, &command);
    failed.extend(run_all(&heavy, width.min(HEAVY.1), &command));
    println!("    {} tests passed, {} failed", total - failed.len(), failed.len());
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::Broken(format!("these tests failed:\n  {}", failed.join("\n  "))))
}

/// Runs tests side by side; returns the names of those that failed.
fn run_all(tests: &[Test<'_>], width: usize, command: &(impl Fn(&Binary) -> Command + Sync)) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..width {
            scope.spawn(|| {
                while let Some(test) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let shown = format!("{} {}", test.binary.package, test.name);
                    let mut command = command(test.binary);
                    match run_one(command.args(["--exact", "--nocapture", &test.name]), LIMIT) {
                        Ok(()) => println!("    ok    {shown}"),
                        Err(why) => {
                            println!("    FAIL  {shown}\n{why}");
                            failed.lock().expect("no thread panics with the lock").push(shown);
                        }
                    }
                }
            });
        }
    });
    failed.into_inner().expect("no thread panics with the lock")
}

/// One test; the error is what to show.
fn run_one(command: &mut Command, limit: Duration) -> Result<(), String> {
    // A group of its own, so that what a late test has started can be ended with it.
    let command = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| format!("cannot start {}: {error}", spelled(command)))?;
    let (output, killed) =
        wait(child, limit).map_err(|error| format!("lost {}: {error}", spelled(command)))?;
    // A name that matches nothing is a pass for libtest.
    let stdout = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && stdout.contains("1 passed") {
        return Ok(());
    }
    let late = if killed { format!("killed after {limit:?}\n") } else { String::new() };
    Err(format!("{stdout}{}\n{late}{}", String::from_utf8_lossy(&output.stderr), output.status))
}

/// Waits for the end of a child, and kills its group when its time is over.
fn wait(child: Child, limit: Duration) -> std::io::Result<(Output, bool)> {
    let (ended, watched) = channel::<()>();
    let group = format!("-{}", child.id());
    let watch = std::thread::spawn(move || {
        // The child has not been waited for while this thread is not told, so that its id is still its own.
        let late = watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        late && succeeds(Command::new("kill").args(["-KILL", "--", &group]))
    });
    let output = child.wait_with_output();
    drop(ended);
    let killed = watch.join().unwrap_or(false);
    Ok((output?, killed))
}

/// The test binaries among cargo's messages.
fn binaries(report: &str) -> Result<Vec<Binary>, String> {
    let mut found = Vec::new();
    for line in report.lines().filter(|line| line.starts_with('{')) {
        let message: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let Some(executable) = message["executable"].as_str() else { continue };
        if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
            continue;
        }
        let manifest =
            PathBuf::from(message["manifest_path"].as_str().ok_or("an artifact without manifest")?);
        let folder = manifest.parent().ok_or("a manifest without folder")?.to_owned();
        let id = message["package_id"].as_str().ok_or("an artifact without package")?;
        found.push(Binary { package: package_name(id).to_owned(), folder, executable: executable.into() });
    }
    Ok(found)
}

/// `path+file:///w/dev/testkit#basilica-testkit@0.1.0` and `path+file:///w/dev/xtask#0.1.0` name packages.
fn package_name(id: &str) -> &str {
    let (path, fragment) = id.rsplit_once('#').unwrap_or((id, ""));
    match fragment.split_once('@') {
        Some((name, _)) => name,
        None => path.rsplit('/').next().unwrap_or(path),
    }
}

/// The tests in libtest's terse list.
fn names(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().filter_map(|line| line.strip_suffix(": test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_binaries_are_found_among_cargos_messages() {
        let report = concat!(
            "{\"reason\":\"compiler-artifact\",\"executable\":null,\"profile\":{\"test\":false}}\n",
            "{\"reason\":\"compiler-artifact\",\"executable\":\"/t/basilica\",\"profile\":{\"test\":false}}\n",
            "{\"reason\":\"compiler-artifact\",\"executable\":\"/t/deps/it-1\",\"profile\":{\"test\":true},",
            "\"manifest_path\":\"/w/dev/testkit/Cargo.toml\",",
            "\"package_id\":\"path+file:///w/dev/testkit#basilica-testkit@0.1.0\"}\n",
            "not json\n{\"reason\":\"build-finished\",\"success\":true}\n",
        );
        let want = Binary {
            package: HEAVY.0.to_owned(),
            folder: "/w/dev/testkit".into(),
            executable: "/t/deps/it-1".into(),
        };
        assert_eq!(binaries(report), Ok(vec![want]));
        assert_eq!(package_name("path+file:///w/dev/xtask#0.1.0"), "xtask");
    }

    #[test]
    fn benchmarks_are_not_tests() {
        assert_eq!(names("a::b: test\nc: benchmark\n\n2 tests, 1 benchmark\n").collect::<Vec<_>>(), ["a::b"]);
    }

    #[test]
    fn a_test_passes_only_if_it_ran() {
        let own = std::env::current_exe().expect("this test's binary");
        let run = |name: &str| run_one(Command::new(&own).args(["--exact", "--nocapture", name]), LIMIT);
        assert_eq!(run("runner::tests::benchmarks_are_not_tests"), Ok(()));
        let why = run("runner::tests::no_such_test").expect_err("nothing ran");
        assert!(why.contains("0 passed"), "{why}");
        assert!(run_one(&mut Command::new("/nonexistent"), LIMIT).is_err());
        let mut failing = Command::new("sh");
        failing.args(["-c", "echo out; echo err >&2; exit 3"]);
        let why = run_one(&mut failing, LIMIT).expect_err("it failed");
        assert!(why.contains("out\nerr\n") && why.contains("exit status: 3"), "{why}");
    }

    #[test]
    fn a_test_that_does_not_end_is_killed_with_what_it_started() {
        let limit = Duration::from_millis(50);
        let mut endless = Command::new("sh");
        endless.args(["-c", "sleep 1000 & echo started; wait"]);
        // Returns only once the pipe is closed, which the background process holds open too.
        let why = run_one(&mut endless, limit).expect_err("its time is over");
        assert!(why.contains("killed after 50ms") && why.contains("signal: 9"), "{why}");
    }
}
