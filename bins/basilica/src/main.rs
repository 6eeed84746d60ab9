//! The command line for people.
//!
//! Exit codes: 0 done, 1 failed (the reason is on standard error), 2 the command line is wrong.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod localnet;

/// Basilica: a GPU compute network that anyone can check.
#[derive(Debug, Parser)]
#[command(name = "basilica", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole network on this machine: chain, nodes, miners, validator.
    Localnet(localnet::Localnet),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a command line's errors belong there")]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Localnet(command) => command.run(),
    }
}
