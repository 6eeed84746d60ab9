//! The development chain's binary; everything is in the library.

use std::process::ExitCode;

use clap::Parser as _;

#[expect(clippy::print_stderr, reason = "the one place where a command's failure is told to its user")]
fn main() -> ExitCode {
    match basilica_devchain::cli::run(&basilica_devchain::cli::Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
