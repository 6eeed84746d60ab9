//! The prover program without its `main`: arguments, claims, and the protocol over standard input and output.
//!
//! It is uploaded to nodes, so it stays one small file: arguments are read by hand (a parser crate would be a
//! third of the binary for seven options), and everything it knows about the proof is `basilica-proof`. It runs
//! as any user, opens no socket but for one answer of `serve-token`, and writes no file but one without a name, where a proof asks for the disk. One of them
//! proves at a time (`lock`), and none waits for ever (`watchdog`). Standard
//! output carries frames or one line of JSON and nothing else; explanations go to standard error.

mod args;
mod claims;
mod disk;
mod gpus;
mod identity;
mod lock;
mod measure;
mod measure_gpus;
mod send;
mod serve;
mod session;
mod watchdog;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;

pub use args::{Command, HELP, Options, UsageError, parse};
pub use gpus::honest_device;
pub use identity::own_hash;
pub use session::{Device, Devices, prove};

use lock::Taken;
use watchdog::Watchdog;

/// Whether `prove` insists on being the file that the validator asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Runs only if `--expect-hash` names this very file.
    Checked,
    /// Runs regardless: what a dishonest owner would build.
    Ignored,
}

/// No device to measure: `gpus` has nothing to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NoDevice;

impl std::fmt::Display for NoDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no CUDA device: nothing was measured")
    }
}

impl std::error::Error for NoDevice {}

/// The exit code for [`NoDevice`].
const NO_DEVICE: u8 = 3;
/// The exit code for [`serve::PortTaken`].
const PORT_TAKEN: u8 = 4;

/// Runs the program. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no CUDA device (`gpus` alone), 4 the port is taken
/// (`serve-token` alone).
pub fn run(
    arguments: impl Iterator<Item = std::ffi::OsString>,
    identity: Identity,
    devices: Devices<'_>,
) -> ExitCode {
    let result = match parse(arguments) {
        Ok((command, options)) => execute(command, &options, identity, devices),
        Err(usage) => {
            report(&format!("{usage}\nrun `basilica-prover --help` for the commands"));
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("{error:#}"));
            if error.is::<NoDevice>() {
                ExitCode::from(NO_DEVICE)
            } else if error.is::<serve::PortTaken>() {
                ExitCode::from(PORT_TAKEN)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn execute(
    command: Command,
    options: &Options,
    identity: Identity,
    devices: Devices<'_>,
) -> anyhow::Result<()> {
    match command {
        Command::Help => print(HELP),
        Command::Version => print(env!("CARGO_PKG_VERSION")),
        Command::Hash => print(&own_hash()?.to_string()),
        Command::Claims => print(&claims::devices(options.simulate.as_deref())?.to_json()),
        Command::Stream => send::stream(std::io::stdin().lock(), std::io::stdout().lock()),
        Command::ServeToken { port } => {
            let patience = options.patience();
            // It does not outlive its validator's interest, whoever connects meanwhile.
            let end = move || {
                let (_never, done) = std::sync::mpsc::channel::<()>();
                let _elapsed = done.recv_timeout(patience);
                report("nobody said the question in time");
                std::process::exit(1)
            };
            std::thread::Builder::new().spawn(end).context("start the thread that ends it in time")?;
            let port = port.context("serve-token needs --port N")?;
            serve::serve(port, std::io::stdin().lock(), std::io::stdout().lock())
        }
        Command::SelfTest => {
            print(&measure::self_test()?)?;
            measure_gpus::self_test(&gpus::find()?, &mut print)
        }
        Command::Bench => {
            print(&measure::bench(options.threads()?)?)?;
            measure_gpus::bench(&gpus::find()?, &mut print)
        }
        Command::Gpus => {
            let found = gpus::find()?;
            if found.is_empty() {
                return Err(NoDevice.into());
            }
            measure_gpus::self_test(&found, &mut print)?;
            measure_gpus::bench(&found, &mut print)
        }
        Command::Prove { expected } => {
            if identity == Identity::Checked {
                identity::check(expected)?;
            }
            answer(options, identity, devices)
        }
    }
}

/// Answers one challenge, alone and watched. What its owner does with a dishonest program is not our care.
fn answer(options: &Options, identity: Identity, devices: Devices<'_>) -> anyhow::Result<()> {
    let patience = options.patience();
    let watchdog = Watchdog::start(patience, |stalled| {
        report(&format!("{stalled}: ended, so that the devices are free"));
        std::process::exit(1);
    });
    let watchdog = watchdog.context("start the watchdog's thread")?;
    let input = watchdog.guard(std::io::stdin().lock());
    let mut output = watchdog.guard(std::io::stdout().lock());
    let _alone = match identity {
        Identity::Ignored => None,
        Identity::Checked => match lock::of_this_program(lock::WAIT.min(patience)) {
            Taken::Busy => return session::refuse_as_busy(&mut output),
            Taken::Unlocked(error) => {
                report(&format!("warning: another prover is not waited for: {error}"));
                None
            }
            alone @ Taken::Alone(_) => Some(alone),
        },
    };
    let claims = claims::devices(options.simulate.as_deref())?;
    prove(input, output, &claims, devices, options.threads()?)
}

fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{}", text.trim_end()).context("write to standard output")
}

/// Tells the user; if even that fails there is nobody left to tell.
fn report(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "basilica-prover: {text}");
}
