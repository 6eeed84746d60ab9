//! `cargo xtask keys`: thousands of keys come and go while much goes wrong; prints what is left of them.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use basilica_console as console;
use basilica_keychurn::{Plan, Report, run};
use basilica_testkit::built;
use clap::Parser;

/// Keys of validators come and go on real nodes while the miner is killed, nodes hang, others edit the same files and validators take turns. Exit code 1 if anything is left or
/// was ever seen half-written.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask keys")]
struct Args {
    /// Life-cycles of keys.
    #[arg(long, default_value_t = Plan::FULL.cycles)]
    cycles: usize,
    /// What everything is drawn from.
    #[arg(long, default_value_t = Plan::FULL.seed)]
    seed: u64,
    /// Real OpenSSH servers.
    #[arg(long, default_value_t = Plan::FULL.nodes)]
    nodes: usize,
    /// Validators.
    #[arg(long, default_value_t = Plan::FULL.validators)]
    validators: u8,
    /// The report as JSON.
    #[arg(long)]
    json: bool,
    /// An empty directory for the miner's files, which are kept, its log among them.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let plan = Plan {
        seed: args.seed,
        cycles: args.cycles,
        nodes: args.nodes,
        validators: args.validators,
        ..Plan::FULL
    };
    let scratch = tempfile::tempdir().expect("a directory for files");
    let home = args.keep.as_deref().unwrap_or(scratch.path());
    let program = built("basilica-miner");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let is_watched = std::io::stderr().is_terminal();
    let mut shown = 0;
    let report = runtime.block_on(run(&plan, &program, home, |cycles| {
        if is_watched && cycles >= shown {
            console::progress(&format!("{cycles}/{} life-cycles", plan.cycles));
            shown = cycles + 10;
        }
    }));
    if is_watched {
        console::tell("");
    }
    let mut wrong = report.check().err().unwrap_or_default();
    if report.cycles < plan.cycles {
        wrong.push(format!("only {} life-cycles in {}", report.cycles, plan.patience));
    }
    let text = if args.json { format!("{:#}\n", serde_json::json!(report)) } else { told(&report, &wrong) };
    let printed = console::print(&text).is_ok();
    if printed && wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn told(report: &Report, wrong: &[String]) -> String {
    wrong.iter().fold(report.to_string(), |text, line| text + &format!("NOT as it must be: {line}\n"))
}
