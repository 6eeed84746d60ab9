//! `cargo xtask keys`: thousands of keys come and go while much goes wrong; prints what is left of them.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use basilica_keychurn::{Plan, run};
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
    let is_told = std::io::stderr().is_terminal();
    let mut told = 0;
    let report = runtime.block_on(run(&plan, &program, home, |cycles| {
        if is_told && cycles >= told {
            // Nobody reads it any more if it fails.
            let _ = write!(std::io::stderr(), "\r{cycles}/{} life-cycles", plan.cycles);
            told = cycles + 10;
        }
    }));
    if is_told {
        let _ = writeln!(std::io::stderr());
    }
    let mut wrong = report.check().err().unwrap_or_default();
    if report.cycles < plan.cycles {
        wrong.push(format!("only {} life-cycles in {}", report.cycles, plan.patience));
    }
    if args.json {
        print(&format!("{:#}\n", serde_json::json!(report)));
    } else {
        print(&report.to_string());
        for line in &wrong {
            print(&format!("NOT as it must be: {line}\n"));
        }
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::print_stdout, reason = "its output")]
fn print(text: &str) {
    print!("{text}");
}
