//! Dishonest provers for the localnet: each speaks the protocol perfectly and cheats in one way.
//!
//! `--as skip-work` (the default), `--as replay` and so on choose the cheat; `--as honest` is the prover itself, for cheats
//! that need its work. They take the same arguments as the honest one and ignore `--expect-hash`. A node's owner,
//! being root, runs them in place of the uploaded file: `basilica-prover-tampered --as NAME shim` prints a shell that does
//! so. Put it on the node as `sh`, first in PATH, or as the account's login shell; every other command passes
//! through to the real one. Nothing on the wire tells these programs from the honest one but what they cheat with.

mod fake_model;
mod inflate_vram;
mod replay;
mod skip_work;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use basilica_proof::DeviceChallenge;
use basilica_proof::gemm::Kernel;
use basilica_proof::prover::{BackendError, CpuBackend, ExactProduct, Memory, Product, Ram};
use basilica_prover::{Device, Identity};

/// The shell of a dishonest node: runs another prover than the one that was uploaded.
const SHIM: &str = r#"#!/bin/sh
case "$2 $SSH_ORIGINAL_COMMAND" in
  *basilica/prover-*" @VERB@"*|*basilica/prover-*"'@VERB@'"*|*basilica/prover-*'"@VERB@"'*) exec @PROVER@ --as @CHEAT@ @VERB@ ;;
esac
exec /bin/sh "$@"
"#;

#[derive(Clone, Copy)]
enum Cheat {
    Honest,
    SkipWork,
    InflateVram,
    Replay,
    FakeModel,
}

impl Cheat {
    const ALL: [Self; 5] = [Self::Honest, Self::SkipWork, Self::InflateVram, Self::Replay, Self::FakeModel];

    const fn name(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::SkipWork => "skip-work",
            Self::InflateVram => "inflate-vram",
            Self::Replay => "replay",
            Self::FakeModel => "fake-model",
        }
    }

    /// The command in which it cheats; in all others it is honest.
    const fn verb(self) -> &'static str {
        match self {
            Self::FakeModel => "claims",
            Self::Honest | Self::SkipWork | Self::InflateVram | Self::Replay => "prove",
        }
    }

    fn run(self, arguments: Vec<OsString>) -> ExitCode {
        let exact = ExactProduct(Kernel::detect());
        let cheats = arguments.first().is_some_and(|verb| verb == self.verb());
        match self {
            Self::SkipWork => prover(arguments, skip_work::Skipping(exact), Ram::DEFAULT),
            Self::InflateVram => prover(arguments, exact, inflate_vram::Half),
            Self::Replay if cheats => ended(replay::prove()),
            Self::FakeModel if cheats => ended(fake_model::claims()),
            Self::Honest | Self::Replay | Self::FakeModel => prover(arguments, exact, Ram::DEFAULT),
        }
    }

    fn shim(self) -> anyhow::Result<()> {
        let own = std::env::current_exe()?;
        let shim = SHIM
            .replace("@PROVER@", &own.display().to_string())
            .replace("@CHEAT@", self.name())
            .replace("@VERB@", self.verb());
        Ok(std::io::stdout().lock().write_all(shim.as_bytes())?)
    }
}

/// The prover with another product or other memory.
fn prover<P, M>(arguments: Vec<OsString>, product: P, memory: M) -> ExitCode
where
    P: Product + Copy + Send + 'static,
    M: Memory + Copy + 'static,
{
    let device = |_: &DeviceChallenge, threads| -> Result<Device, BackendError> {
        let limit = CpuBackend::<P>::LIMIT_DEFAULT;
        Ok(Box::new(CpuBackend::with_memory(product, memory, threads, limit)))
    };
    basilica_prover::run(arguments.into_iter(), Identity::Ignored, &device)
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => said(&format!("{error:#}"), ExitCode::FAILURE),
    }
}

fn said(text: &str, code: ExitCode) -> ExitCode {
    // If even that fails there is nobody left to tell.
    let _ = writeln!(std::io::stderr().lock(), "basilica-prover-tampered: {text}");
    code
}

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut cheat = Cheat::SkipWork;
    if arguments.first().is_some_and(|argument| argument == "--as") {
        let named = |cheat: &Cheat| arguments.get(1).is_some_and(|name| name == cheat.name());
        let Some(found) = Cheat::ALL.into_iter().find(named) else {
            let names = Cheat::ALL.map(Cheat::name).join(", ");
            return said(&format!("--as takes one of {names}"), ExitCode::from(2));
        };
        cheat = found;
        arguments.drain(..2);
    }
    if arguments.first().is_some_and(|argument| argument == "shim") {
        return ended(cheat.shim());
    }
    cheat.run(arguments)
}
