//! The command line for people.
//!
//! Exit codes: 0 done, 1 failed or a problem was found (the reason is on standard error), 2 the command line is wrong,
//! 3 a password is wrong, empty or not twice the same, 4 what should be written exists already (nothing was changed),
//! 5 a proof or verdict was read and does not hold.

use std::process::ExitCode;

use basilica_console as console;
use basilica_types::ErrorChain;
use clap::{Parser, Subcommand};

#[cfg(feature = "localnet")]
mod localnet;
mod verify;
mod wallet;

/// Basilica: a GPU compute network that anyone can check.
#[derive(Debug, Parser)]
#[command(name = "basilica", version, arg_required_else_help = true, max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole network on this machine: chain, nodes, miners, validator.
    #[cfg(feature = "localnet")]
    Localnet(localnet::Localnet),
    /// Proofs of GPUs, checked again by anybody.
    #[command(subcommand)]
    Proof(verify::Proof),
    /// Verdicts of validators, checked again by anybody.
    #[command(subcommand)]
    Verdict(verify::VerdictCommand),
    /// Keys of the chain, in the wallet directories of the Bittensor tools.
    #[command(after_help = wallet::EXIT_CODES)]
    Wallet(wallet::Wallet),
}

fn main() -> ExitCode {
    let cli = match console::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match run(cli) {
        Ok(code) => code,
        Err(error) => console::fail(&ErrorChain(error.as_ref()), wallet::exit_code(&error)),
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        #[cfg(feature = "localnet")]
        Command::Localnet(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Proof(command) => command.run(),
        Command::Verdict(command) => command.run(),
        Command::Wallet(command) => command.run(),
    }
}
