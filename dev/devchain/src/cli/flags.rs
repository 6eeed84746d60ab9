//! The flags, and the settings they make of a genesis file.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};

use crate::genesis::{Genesis, GenesisError, Settings, read_bounded};
use crate::node::Rules;
use crate::node::mine::Mining;
use crate::profile::Profile;

/// Blocks that may be unfinalised; more could not be reorganised.
const MAX_FINALITY_LAG: u32 = 200;

const AFTER_HELP: &str = "\
Examples:
  basilica-devchain
      subnet 39 with validators, miners and stakes on ws://127.0.0.1:9944;
      the keys are printed
  basilica-devchain --mining instant --finality-lag 3
      a block for every transaction, final when three more are made
  basilica-devchain --state ./chain --block-time 12s --tempo 360
      the public chain's pace, kept across restarts in one file
  basilica-devchain --neurons 256 --mining manual
      a full subnet that stands still until dev_newBlock
  basilica-devchain --profile legacy --json --listen 127.0.0.1:0
      what clients of spec 365 meet, on a free port, with all facts in JSON

While it runs (JSON-RPC on the same port, by WebSocket or POST):
  dev_newBlock [5]                        five blocks now
  dev_timeTravel [86400000]               a day later
  dev_snapshot [], dev_restore [1]        and back again
  dev_reorg [2]                           two blocks replaced
  dev_fault {\"kind\":\"delay\",\"ms\":3000}    a slow endpoint
  dev_upgradeRuntime {}                   a new spec version
  curl -sd '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"dev_newBlock\"}' \\
      -H 'content-type: application/json' http://127.0.0.1:9944

Exit codes:
  0  told to stop (SIGTERM, SIGINT)
  1  cannot start or cannot go on, with the reason on standard error
  2  wrong usage

Everything that it can do, with all faults and limits: docs/devchain.md";

/// A subtensor for your laptop: one program that the Bittensor SDKs, btcli and subxt take for the public chain.
///
/// No node, no wasm, no peers: it starts in a second with a subnet, registered validators and miners with stake, and a
/// block every 250 ms. Signatures, fees, nonces, weights, commit-reveal, epochs with Yuma consensus, and the errors are
/// the public chain's. Time, forks, slow and failing endpoints and runtime upgrades happen when you say so.
/// Its keys are public: never use it for value.
#[derive(Debug, Clone, Parser)]
#[command(name = "basilica-devchain", version, args_override_self = true, after_long_help = AFTER_HELP,
          after_help = "More, with examples: --help")]
pub struct Flags {
    /// Where to serve JSON-RPC, WebSocket and HTTP on one port; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9944", value_parser = address,
          help_heading = "Network")]
    pub(super) listen: SocketAddr,
    /// Whether the dev_* methods are served: everyone who reaches the port can use them.
    #[arg(long, value_name = "WHEN", default_value = "loopback", help_heading = "Network")]
    pub(super) dev_rpc: DevRpc,
    /// When blocks are made.
    #[arg(long, value_name = "MODE", default_value = "interval", help_heading = "Blocks")]
    mining: Mode,
    /// Time between blocks, 10ms to 60s, such as 250ms, 12s or 250 (milliseconds); over the genesis file's.
    #[arg(long, value_name = "TIME", value_parser = duration_ms, help_heading = "Blocks")]
    block_time: Option<u64>,
    /// Blocks that the best one is ahead of the final one, at most 200; only unfinalised blocks can be reorganised.
    /// Without --mining interval, blocks become final only as others are made after them.
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_FINALITY_LAG)), help_heading = "Blocks")]
    pub(super) finality_lag: u32,
    /// JSON file with the settings of a new chain; what it leaves out has the default.
    #[arg(long, value_name = "FILE", help_heading = "Chain")]
    genesis: Option<PathBuf>,
    /// Blocks between epochs, at least 2; over the genesis file's.
    #[arg(long, value_name = "BLOCKS", value_parser = clap::value_parser!(u16).range(2..), help_heading = "Chain")]
    tempo: Option<u16>,
    /// Which generation of the public chain to look like; over the genesis file's.
    #[arg(long, value_name = "PROFILE", help_heading = "Chain")]
    profile: Option<Profile>,
    /// Neurons of the subnet in all, at most 256: miners //Neuron{uid} are added to those of the genesis (6 by default).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=256), help_heading = "Chain")]
    neurons: Option<u16>,
    /// File that keeps the chain across restarts and crashes; without it everything is gone at the end.
    #[arg(long, value_name = "FILE", help_heading = "State")]
    pub(super) state: Option<PathBuf>,
    /// Where the chance of faults begins; the same seed makes the same faults.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Faults")]
    fault_seed: u64,
    /// Print one line of JSON when the chain is ready instead of text for people.
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
    /// Print nothing; --print-addr says when and where the chain listens.
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    pub(super) silent: bool,
    /// File to write the WebSocket URL to once the chain listens.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) print_addr: Option<PathBuf>,
}

/// When the controls are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DevRpc {
    /// On a loopback address.
    Loopback,
    /// Always.
    On,
    /// Never.
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// One every --block-time.
    Interval,
    /// One for each transaction, at once.
    Instant,
    /// Only by dev_newBlock.
    Manual,
}

/// What is wrong with the flags beyond what each says by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--{flag} {value} is not allowed: {rule}")]
pub struct UsageError {
    flag: &'static str,
    value: String,
    rule: &'static str,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let numbers =
        text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    numbers
        .parse()
        .map_err(|_| "an IP address and a port are needed, such as 127.0.0.1:9944 or [::1]:0".to_owned())
}

/// Milliseconds of `250ms`, `12s` or a bare number of milliseconds.
fn duration_ms(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => match text.strip_suffix('s') {
            Some(digits) => (digits, 1_000),
            None => (text, 1),
        },
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|value| value.checked_mul(factor))
        .filter(|ms| (10..=60_000).contains(ms))
        .ok_or_else(|| "a time from 10ms to 60s is needed, such as 250ms or 12s".to_owned())
}

/// The line of a genesis file on which a key is written that was refused.
fn line_of(text: &str, error: &GenesisError) -> Option<usize> {
    let (GenesisError::Key { key, .. } | GenesisError::DuplicateHotkey { key, .. }) = error else {
        return None;
    };
    let written = serde_json::to_string(key).ok()?;
    let mut lines =
        text.lines().zip(1..).filter(|(line, _)| line.contains(&written)).map(|(_, number)| number);
    // A key that is refused is refused where it comes first; one that comes twice, where it comes again.
    if matches!(error, GenesisError::Key { .. }) { lines.next() } else { lines.last() }
}

impl Flags {
    pub(super) fn genesis(&self) -> anyhow::Result<Genesis> {
        let mut settings = match &self.genesis {
            Some(path) => Settings::read(path)?,
            None => Settings::default(),
        };
        if let Some(block_time_ms) = self.block_time {
            settings.block_time_ms = block_time_ms;
        }
        if let Some(tempo) = self.tempo {
            settings.tempo = tempo;
        }
        if let Some(profile) = self.profile {
            settings.profile = profile;
        }
        if let Some(neurons) = self.neurons {
            settings.neurons = neurons;
        }
        let resolved = match settings.resolve() {
            Err(GenesisError::Value { field, value, rule })
                if field == "neurons" && self.neurons.is_some() =>
            {
                return Err(UsageError { flag: "neurons", value, rule }.into());
            }
            resolved => resolved,
        };
        let Some(path) = &self.genesis else { return Ok(resolved?) };
        resolved.map_err(|error| {
            let line = read_bounded(path).ok().and_then(|text| line_of(&text, &error));
            let place = line.map_or_else(String::new, |line| format!(", line {line}"));
            anyhow::Error::new(error).context(format!("the genesis file {}{place}", path.display()))
        })
    }

    pub(super) fn rules(&self, genesis: &Genesis) -> Rules {
        let mining = match self.mining {
            Mode::Interval => Mining::Interval(genesis.block_time_ms),
            Mode::Instant => Mining::Instant,
            Mode::Manual => Mining::Manual,
        };
        Rules {
            mining,
            block_time_ms: genesis.block_time_ms,
            finality_lag: self.finality_lag,
            fault_seed: self.fault_seed,
        }
    }

    pub(super) fn controls(&self) -> bool {
        match self.dev_rpc {
            DevRpc::On => true,
            DevRpc::Off => false,
            DevRpc::Loopback => self.listen.ip().is_loopback(),
        }
    }

    pub(super) fn write_address(&self, url: &str) -> anyhow::Result<()> {
        match &self.print_addr {
            None => Ok(()),
            Some(path) => std::fs::write(path, format!("{url}\n"))
                .with_context(|| format!("cannot write the address to {}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_times_have_units() {
        assert_eq!(duration_ms("250ms"), Ok(250));
        assert_eq!(duration_ms("12s"), Ok(12_000));
        assert_eq!(duration_ms("40"), Ok(40));
        for text in ["", "s", "1m", "-1ms", "9ms", "61s", "99999999999999999999ms", "18446744073709551615s"] {
            assert!(duration_ms(text).is_err(), "{text}");
        }
    }

    #[test]
    fn controls_are_off_where_strangers_could_reach_them_unless_asked_for() {
        let controls = |arguments: &[&str]| {
            let arguments = ["basilica-devchain"].iter().chain(arguments);
            Flags::try_parse_from(arguments).expect("parses").controls()
        };
        assert!(controls(&[]));
        assert!(!controls(&["--listen", "0.0.0.0:9944"]));
        assert!(controls(&["--listen", "0.0.0.0:9944", "--dev-rpc", "on"]));
        assert!(controls(&["--listen", "[::1]:0"]));
        assert!(!controls(&["--dev-rpc", "off"]));
    }

    #[test]
    fn addresses_are_numbers_or_this_machine() {
        assert_eq!(address("localhost:0"), address("127.0.0.1:0"));
        assert!(address("[::1]:9944").is_ok());
        for text in ["", "9944", "localhost", "example.org:1", "127.0.0.1"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_hotkey_that_comes_twice_is_found_where_it_comes_again() {
        let text =
            "{\n  \"owner\": {\"hotkey\": \"//A\"},\n  \"miners\": [\n    {\"hotkey\": \"//A\"}\n  ]\n}";
        let settings: Settings = serde_json::from_str(text).expect("parses");
        assert_eq!(line_of(text, &settings.resolve().expect_err("must be refused")), Some(4));
    }

    #[test]
    fn a_refused_key_is_found_in_its_file() {
        let text = "{\n  \"miners\": [\n    {\"hotkey\": \"Miner1\"}\n  ]\n}";
        let settings: Settings = serde_json::from_str(text).expect("parses");
        let error = settings.resolve().expect_err("must be refused");
        assert_eq!(line_of(text, &error), Some(3));
    }
}
