//! Set-up, checks and tests of this repository: `cargo xtask VERB`.
//!
//! Promises: the two commands of the README work on a fresh Debian or Ubuntu with rustup's stable toolchain; nothing is
//! skipped (what cannot run fails with its reason); nothing is downloaded behind the user's back except packages of
//! the distribution, the pinned Python clients, the pinned compiler of the GPU's kernels and one data file from crates.io, all announced. Next to no dependencies, because everyone who clones
//! the repository compiles this first. Rejected: a justfile or shell scripts (one more tool, no tests).
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "talking to a person at a terminal is this program's job"
)]

mod checks;
mod command;
mod dashboards;
mod failover;
mod finney;
mod fuzz;
mod gpu;
mod kernels;
mod keys;
mod layers;
mod licences;
mod localnet;
mod metadata;
mod nvrtc;
mod runner;
mod scale;
mod sdk;
mod setup;
mod sources;
mod wasm;
mod workspace;
mod zoo;

use std::process::ExitCode;

use crate::command::Failure;
use crate::workspace::Workspace;

const USAGE: &str = "\
usage: cargo xtask VERB

  localnet [-- ARGS]  build everything and run the whole network here (`basilica localnet up ARGS`);
                      `-- --once` ends after the first weights; also `localnet status|start|logs|down ARGS`
  test                everything that a change must pass: formatting, layers, licences, lints, documentation, all tests
  check               the part of `test` that runs no test: formatting, layers, licences, lints, documentation
  layers              the arrows between crates (DESIGN §4) and the words that may not stand in sources
  licences            that nothing in the programs that ship is under a licence other than a permissive one
  bench [-- ARGS]     all benchmarks; ARGS go to criterion
  fuzz [TARGET] [--seconds N] [--keep]
                      the decoders under libFuzzer, one or all, a minute each if not said; --keep adds to the corpus
  wasm                the verifier as a WebAssembly module for browsers; prints its size and BLAKE3
  gpu                 build the prover, check this machine's CUDA devices against the CPU, and measure them; ends with
                      exit code 3 where there is no device and nothing was measured
  dashboards          Grafana's dashboards (deploy/grafana), from the tables in dev/xtask/src/dashboards
  kernels             the GPU's kernels as PTX (crates/adapters/cuda/ptx), by a compiler from PyPI
  zoo [--quick] [--json]
                      the scorecard of the cheater zoo: every known way to cheat the GPU proof, over simulated days;
                      exit code 0 if each is detected or declared open in dev/sim/open.toml, 1 if not, 3 if that list
                      is out of date
  failover [--kills N] [--fault kill|pause|partition|terminate|restart|mixed]
                      two validators on one Postgres: strikes the leader N times (100) and prints how long the other
                      one took to write; exit code 1 if their history is not one
  scale [--small]     the real validator before 1,000 nodes, 200 of them real OpenSSH servers, many of the others silent, slow or
                      hostile; prints what it made of them, how long a round took and its memory; exit code 1 if a bound is missed
  keys [--cycles N] [--seed N] [--nodes N] [--validators N] [--json] [--keep DIR]
                      10,000 keys of validators come and go on 8 real OpenSSH servers while the miner is killed, nodes hang, others edit
                      the same files and validators take turns; exit code 1 if anything is left, changed or seen half-written
  setup               the system tools that localnet and the tests need

  Builds go to $CARGO_TARGET_DIR, or else to ${XDG_CACHE_HOME:-~/.cache}/basilica-target.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nerror: {failure}");
            failure.exit_code()
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let (verb, rest) = match arguments.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("", [].as_slice()),
    };
    // Cargo's alias hands on the `--` that separates our arguments from its own.
    let rest = if rest.first().is_some_and(|first| first == "--") { &rest[1..] } else { rest };
    let bare = |what: fn(&Workspace) -> Result<(), Failure>| match rest.first() {
        None => what(&Workspace::find()?),
        Some(extra) => Err(Failure::Usage(format!("`{verb}` takes no argument `{extra}`"))),
    };
    match verb {
        "localnet" => localnet::run(&Workspace::find()?, rest),
        "test" => bare(checks::test),
        "check" => bare(checks::check),
        "layers" => bare(checks::layers_and_sources),
        "licences" => bare(licences::check),
        "gpu" => bare(gpu::run_prover),
        "dashboards" => bare(dashboards::write),
        "kernels" => bare(kernels::write),
        "bench" => checks::bench(&Workspace::find()?, rest),
        "fuzz" => fuzz::run_verb(&Workspace::find()?, rest),
        "wasm" => bare(wasm::run_verb),
        "failover" => failover::strike(&Workspace::find()?, rest),
        "keys" => keys::churn(&Workspace::find()?, rest),
        "scale" => scale::measure(&Workspace::find()?, rest),
        "zoo" => zoo::scorecard(&Workspace::find()?, rest),
        "setup" => bare(|_| setup::run()),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        "" => Err(Failure::Usage("which verb?".to_owned())),
        unknown => Err(Failure::Usage(format!("no verb `{unknown}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        run(&arguments).expect_err("nothing runs").to_string()
    }

    #[test]
    fn wrong_calls_are_answered_with_the_usage() {
        for (arguments, reason) in [
            (&[][..], "which verb?"),
            (&["tset"], "no verb `tset`"),
            (&["test", "--no-sdk"], "`test` takes no argument `--no-sdk`"),
            (&["check", "--", "x"], "`check` takes no argument `x`"),
        ] {
            let refusal = refusal(arguments);
            assert!(refusal.starts_with(reason) && refusal.contains("usage: cargo xtask"), "{refusal}");
        }
    }
}
