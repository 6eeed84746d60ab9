//! `cargo xtask scale`: the real validator before a subnet's nodes; prints what it made of them, and how long that took.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use basilica_console as console;
use basilica_scale::{Plan, run};
use clap::Parser;

/// Beyond one timeout.
const MARGIN: Duration = Duration::from_secs(2);
const MEMORY_KIB: u64 = 300 * 1024;

/// The validator's program before 1,000 nodes. Exit code 1 if something is not as it must be.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask scale")]
struct Args {
    /// The 60 nodes of the test in place of 1,000.
    #[arg(long)]
    small: bool,
    /// Where the validator, the miner and the prover are; beside this program if not said.
    #[arg(long)]
    programs: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let plan = if args.small { Plan::SMALL } else { Plan::SUBNET };
    let beside = || std::env::current_exe().ok()?.parent().map(PathBuf::from);
    let programs = args.programs.or_else(beside).expect("this program has a directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let report = runtime.expect("a runtime").block_on(run(&plan, &programs));
    let mut wrong = report.check().err().unwrap_or_default();
    for (what, span) in [("the first round", report.first_round), ("a later check", report.later_rounds)] {
        if span > plan.timeout + MARGIN {
            wrong.push(format!("{what} took {span:?}, more than {:?} and {MARGIN:?}", plan.timeout));
        }
    }
    if report.peak_kib > MEMORY_KIB {
        wrong.push(format!("the validator took {} KiB, more than {MEMORY_KIB}", report.peak_kib));
    }
    let text =
        wrong.iter().fold(report.to_string(), |text, line| text + &format!("NOT as it must be: {line}\n"));
    let printed = console::print(&text).is_ok();
    if printed && wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
