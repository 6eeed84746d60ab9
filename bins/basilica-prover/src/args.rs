//! Arguments.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use basilica_types::Digest;

use crate::watchdog::PATIENCE;

/// What `--help` prints.
pub const HELP: &str = "\
The open GPU prover: shows a validator, by exact arithmetic, that this node's devices multiply.

Usage: basilica-prover <COMMAND> [OPTIONS]

Commands:
  prove      answer one challenge: frames on standard input, frames on standard output
  stream     read a validator's request on standard input, write the bytes that it asks for (at most 1 GiB)
  serve-token  read a question and an answer of 16 bytes each on standard input, print `ready`, and on --port N tell whoever
             says the question the answer, once; ends with exit code 4 where the port is taken
  claims     print this node's devices as one line of JSON
  hash       print the BLAKE3 hash of this file
  bench      measure the multiplication kernels and one full round on this CPU, then as `gpus` does
  gpus       check this machine's CUDA devices against the CPU on random small sizes, then measure them: a round and the
             hashing's share of it, filling and reading memory, and the shares of the data sheet's peaks that are
             reached; takes most of a device's memory. Ends with exit code 3 where there is no device
  --selftest check every kernel, a small proof, and the CUDA devices if there are any
  --help, --version

Options:
  --expect-hash HEX  (prove, required) run only if this file has this BLAKE3 hash
  --simulate FILE    take the simulated devices from FILE
  --threads N        CPU threads to use in all (default: all cores)
  --port N           (serve-token, required) the TCP port, on every address of this machine
  --patience N       (prove, serve-token) end when the validator is silent for N seconds, 1 to 3600 (default: 180)

One `prove` runs at a time for all provers in one folder: another waits for it, 60 seconds at most, and then tells its
validator that the node is busy.

Devices are the NVIDIA ones that the driver (libcuda.so.1, of CUDA 12.8 or later) lets this process use, described by
NVML (libnvidia-ml.so.1). --simulate, or else ~/.config/basilica/simulated-gpus.json, names devices of a class that starts
with `simulated-` for the CPU to play, even where there are real ones; validators accept them on a development chain only.
Without such a file a machine that has no NVIDIA device claims none. The file's form is what `claims` prints; machine
(64 hex digits) and each device's facts may be left out, and are then this machine's and those of the card that the
class is named after:
  {\"version\":2,\"machine\":\"…\",\"devices\":[{\"index\":0,\"uuid\":\"GPU-…\",\"class\":\"simulated-H100\",\"facts\":{
    \"memory_bytes\":85520809984,\"sms\":132,\"compute_capability\":\"9.0\",\"l2_bytes\":52428800,
    \"sm_clock_max_mhz\":1980,\"pci_bus\":\"00000000:3b:00.0\",\"pci_id\":\"10de:2330\",\"driver\":\"570.124.06\",
    \"mig\":false}}]}
sm_clock_max_mhz and mig are absent where a driver does not tell them.";

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `prove`.
    Prove {
        /// The hash that this file must have; nothing if the option is missing, which only a checked identity minds.
        expected: Option<Digest>,
    },
    /// `stream`.
    Stream,
    /// `serve-token`.
    ServeToken {
        /// `--port`.
        port: Option<u16>,
    },
    /// `claims`.
    Claims,
    /// `hash`.
    Hash,
    /// `bench`.
    Bench,
    /// `gpus`.
    Gpus,
    /// `--selftest`.
    SelfTest,
    /// `--help`.
    Help,
    /// `--version`.
    Version,
}

/// Options that several commands share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `--simulate`.
    pub simulate: Option<PathBuf>,
    /// `--threads`.
    pub threads: Option<usize>,
    /// `--patience`, in seconds.
    pub patience: Option<u64>,
}

impl Options {
    /// How long the validator may be silent.
    pub fn patience(&self) -> Duration {
        self.patience.map_or(PATIENCE, Duration::from_secs)
    }

    /// The threads to use: those asked for, else all cores.
    pub fn threads(&self) -> anyhow::Result<usize> {
        match self.threads {
            Some(threads) => Ok(threads),
            None => Ok(std::thread::available_parallelism()
                .context("count the cores; pass --threads N to say how many to use")?
                .get()),
        }
    }
}

/// Arguments that make no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageError {
    /// Nothing to do.
    NoCommand,
    /// Not a command or option.
    Unknown(String),
    /// An option without its value.
    NoValue(&'static str),
    /// An option with a value that does not parse.
    BadValue(&'static str, String),
}

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoCommand => f.write_str("no command given"),
            Self::Unknown(text) => write!(f, "unknown argument `{text}`"),
            Self::NoValue(option) => write!(f, "{option} needs a value"),
            Self::BadValue(option, value) => write!(f, "{option} does not accept `{value}`"),
        }
    }
}

impl std::error::Error for UsageError {}

const THREADS_MAX: usize = 1_024;
const PATIENCE_MAX: u64 = 3_600;

/// Reads arguments without the program's name.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<(Command, Options), UsageError> {
    let mut arguments = arguments;
    let mut command = None;
    let mut options = Options::default();
    let (mut expected, mut port) = (None, None);
    while let Some(argument) = arguments.next() {
        let mut value = |option| arguments.next().ok_or(UsageError::NoValue(option));
        match argument.to_str() {
            Some("--expect-hash") => expected = Some(parsed("--expect-hash", &value("--expect-hash")?)?),
            Some("--port") => port = Some(parsed("--port", &value("--port")?)?),
            Some("--simulate") => options.simulate = Some(value("--simulate")?.into()),
            Some("--threads") => {
                let given = value("--threads")?;
                let threads: usize = parsed("--threads", &given)?;
                if !(1..=THREADS_MAX).contains(&threads) {
                    return Err(UsageError::BadValue("--threads", threads.to_string()));
                }
                options.threads = Some(threads);
            }
            Some("--patience") => {
                let given = value("--patience")?;
                let seconds: u64 = parsed("--patience", &given)?;
                if !(1..=PATIENCE_MAX).contains(&seconds) {
                    return Err(UsageError::BadValue("--patience", seconds.to_string()));
                }
                options.patience = Some(seconds);
            }
            Some(text) if command.is_none() => command = Some(named(text)?),
            _ => return Err(UsageError::Unknown(argument.to_string_lossy().into_owned())),
        }
    }
    match command.ok_or(UsageError::NoCommand)? {
        Command::Prove { .. } => Ok((Command::Prove { expected }, options)),
        Command::ServeToken { .. } => Ok((Command::ServeToken { port }, options)),
        other => Ok((other, options)),
    }
}

fn named(text: &str) -> Result<Command, UsageError> {
    Ok(match text {
        "prove" => Command::Prove { expected: None },
        "stream" => Command::Stream,
        "serve-token" => Command::ServeToken { port: None },
        "claims" => Command::Claims,
        "hash" => Command::Hash,
        "bench" => Command::Bench,
        "gpus" => Command::Gpus,
        "--selftest" => Command::SelfTest,
        "--help" | "-h" | "help" => Command::Help,
        "--version" | "-V" => Command::Version,
        other => return Err(UsageError::Unknown(other.to_owned())),
    })
}

fn parsed<T: std::str::FromStr>(option: &'static str, value: &OsString) -> Result<T, UsageError> {
    let text = value.to_string_lossy();
    text.parse().map_err(|_| UsageError::BadValue(option, text.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Command, Options), UsageError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn commands_and_options_are_read_in_any_order() {
        let (command, options) = read("--threads 3 claims --simulate a.json").unwrap();
        assert_eq!(command, Command::Claims);
        assert_eq!(options, Options { simulate: Some("a.json".into()), threads: Some(3), patience: None });
        assert_eq!(read("prove --patience 7").unwrap().1.patience(), Duration::from_secs(7));
        assert_eq!(options.patience(), PATIENCE);
        let hash = "ab".repeat(32);
        let (command, _) = read(&format!("prove --expect-hash {hash}")).unwrap();
        assert_eq!(command, Command::Prove { expected: Some(hash.parse().unwrap()) });
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!(read(""), Err(UsageError::NoCommand));
        assert_eq!(read("prov"), Err(UsageError::Unknown("prov".into())));
        assert_eq!(read("claims prove"), Err(UsageError::Unknown("prove".into())));
        assert_eq!(read("bench --threads"), Err(UsageError::NoValue("--threads")));
        assert_eq!(read("bench --threads 0"), Err(UsageError::BadValue("--threads", "0".into())));
        assert_eq!(read("prove --patience 0"), Err(UsageError::BadValue("--patience", "0".into())));
        assert_eq!(read("prove --expect-hash 12"), Err(UsageError::BadValue("--expect-hash", "12".into())));
    }
}
