//! `basilica-zoo [--quick] [--json]`: prints the scorecard of the cheater zoo.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "talking to a person at a terminal is this program's job"
)]

use std::process::ExitCode;

use basilica_sim::open::{LIST, read};
use basilica_sim::scorecard::{Effort, Problem, compute};

const USAGE: &str = "\
usage: basilica-zoo [--quick] [--json]

  Every known way to cheat the GPU proof against the real verifier and the real decisions, over simulated days.
  --quick  fewer days: the same verdicts with wider intervals
  --json   for programs

  exit code 0: every adversary is detected, or open and declared in dev/sim/open.toml
            1: one is open and not declared, or honest nodes are rejected too often
            2: wrong call
            3: one is declared open and detected: the list is out of date";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (mut effort, mut json) = (Effort::FULL, false);
    for argument in &arguments {
        match argument.as_str() {
            "--quick" => effort = Effort::QUICK,
            "--json" => json = true,
            "--help" | "-h" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            unknown => {
                eprintln!("error: no argument `{unknown}`\n\n{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let open = match read(LIST) {
        Ok(open) => open,
        Err(error) => {
            eprintln!(
                "error: {error}: {}",
                std::error::Error::source(&error).map_or_else(String::new, ToString::to_string)
            );
            return ExitCode::from(2);
        }
    };
    let card = compute(effort);
    if json {
        match serde_json::to_string_pretty(&card) {
            Ok(text) => println!("{text}"),
            Err(error) => {
                eprintln!("error: the scorecard cannot be written as json: {error}");
                return ExitCode::FAILURE;
            }
        }
    } else {
        print!("{}", card.table(&open));
    }
    let mut code = ExitCode::SUCCESS;
    for problem in card.problems(&open) {
        match problem {
            Problem::Undeclared(id) => {
                eprintln!(
                    "error: {id} is open and not declared: find it, or add it to dev/sim/open.toml with reason and cost"
                );
                return ExitCode::FAILURE;
            }
            Problem::FalseRejects => {
                eprintln!("error: honest nodes are found at fault more often than 10^-6 per check");
                return ExitCode::FAILURE;
            }
            Problem::Stale(id) => {
                eprintln!("error: {id} is declared open and detected: remove it from dev/sim/open.toml");
                code = ExitCode::from(3);
            }
        }
    }
    code
}
