//! The development chain's binary; everything is in the library.

use std::process::ExitCode;

use basilica_devchain::cli::{self, Flags, UsageError};

/// The chain cannot start or cannot go on.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let flags: Flags = match basilica_console::parse() {
        Ok(flags) => flags,
        Err(code) => return code,
    };
    match cli::run(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = if error.is::<UsageError>() { basilica_console::USAGE } else { FAILED };
            basilica_console::fail(&format!("{error:#}"), code)
        }
    }
}
